r"""The phase transition in the width: whether a start with weights of variance $w^{-\gamma}$ is near a saddle."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from ..._checks import real_array, real_number
from ..._errors import ConditionError
from ...display.displayed import Displayed
from ...display.progress import collect
from ...families import linear_network
from ...initial import gaussian
from ...losses.base import checked_array
from .chain_inputs import check_depth, layers_of, product_of
from .distances import nearest_minimum, nearest_saddle


@dataclasses.dataclass(frozen=True)
class PredictedDistance:
    r"""$d \approx c\,w^p$ for large widths.

    Attributes:
        constant: $c$.
        exponent: $p$.
        correction: exponent of the relative correction where the theory gives it, else `None`.
    """

    constant: float
    exponent: float
    correction: float | None

    def __call__(self, width: float) -> float:
        """The leading term at a width."""
        return self.constant * float(width) ** self.exponent


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PhaseTransition(Displayed):
    r"""Measured distances over widths at one $\gamma$, with what the theory predicts.

    Attributes:
        depth: $L$.
        gamma: $\gamma$.
        widths: (n,).
        minimum: mean over seeds of $d_m$ (n,).
        saddle: mean over seeds of the upper bound of $d_s$ (n,).
        predicted_minimum: (n,): below $\gamma = 1$ with $\|A_* - A(\theta_0)\|_F$ of the starts themselves.
        predicted_saddle: (n,).
        seeds: number of seeds.
        interrupted: whether the user stopped it: the widths are those that were finished.
    """

    depth: int
    gamma: float
    widths: np.ndarray
    minimum: np.ndarray
    saddle: np.ndarray
    predicted_minimum: np.ndarray
    predicted_saddle: np.ndarray
    seeds: int
    interrupted: bool = False

    def slope(self, name: str, last: int = 3) -> float:
        """Fitted exponent in the width of `"minimum"` or `"saddle"` over the last few widths."""
        values = {"minimum": self.minimum, "saddle": self.saddle}[name]
        return float(np.polyfit(np.log(self.widths[-last:]), np.log(values[-last:]), 1)[0])

    def deficit_slope(self) -> float:
        r"""Fitted exponent of $1 - d_m/d_m(\infty)$ over all widths: $-(\gamma - 1)/2$ for $\gamma > 1$."""
        deficit = 1.0 - self.minimum / self.predicted_minimum
        return float(np.polyfit(np.log(self.widths), np.log(deficit), 1)[0])

    def __repr__(self) -> str:
        mark = ", interrupted" if self.interrupted else ""
        return (
            f"PhaseTransition(L = {self.depth}, gamma = {self.gamma:g}, widths {self.widths.tolist()}{mark})"
        )

    def _title(self) -> str:
        return f"distances at initialisation, L = {self.depth}, gamma = {self.gamma:g}, {self.seeds} seeds"

    def _notes(self) -> list[str]:
        return ["(interrupted)"] if self.interrupted else []

    def _tables(self) -> list[tuple[Any, ...]]:
        rows = zip(
            self.widths, self.minimum, self.predicted_minimum, self.saddle, self.predicted_saddle, strict=True
        )
        return [(list(rows), ("width", "d_m", "predicted", "d_s at most", "predicted"))]


def predicted_minimum(target: Any, depth: int, gamma: float, start: Any = 0.0) -> PredictedDistance:
    r"""The distance to the nearest minimum for weights of variance $w^{-\gamma}$, $w \to \infty$.

    $d_m \sim \|A_* - A(\theta_0)\|_F L^{-1/2} w^{-(1-\gamma)(L-1)/2}$ for $\gamma < 1$ (the tangent kernel tends to
    $L w^{(1-\gamma)(L-1)} I$); $d_m \to \sqrt{L \sum_i s_i(A_*)^{2/L}}$ for $\gamma > 1$ (the balanced factorisation of
    least norm), with a relative correction of order $w^{-(\gamma-1)/2}$.

    Args:
        target: $A_*$, the only minimiser of the cost.
        depth: $L \ge 2$.
        gamma: at least $1 - 1/L$ and not 1, where no constant is known.
        start: $A(\theta_0)$; used for $\gamma < 1$.

    Raises:
        ConditionError: $\gamma < 1 - 1/L$, where $A(\theta_0)$ itself diverges; ValueError: $\gamma = 1$.

    Validity:
        The exponents: Jacot et al. 2021. The constants are derived here for $C = \frac12\|A - A_*\|_F^2$; asymptotic.

    Example:
        >>> round(predicted_minimum(np.diag([2.0, 1.0, 0.6]), 3, 2.0).constant, 4)
        3.1458
    """
    layers, goal = check_gamma(depth, gamma), np.atleast_2d(checked_array(target, "target"))
    if gamma < 1:
        begun = checked_array(start, "start")
        if begun.shape not in ((), goal.shape):
            raise ValueError(f"Argument `start` must have shape {goal.shape}, but has shape {begun.shape}.")
        constant = float(np.linalg.norm(goal - begun)) / np.sqrt(layers)
        return PredictedDistance(constant, -(1 - gamma) * (layers - 1) / 2, None)
    s = np.linalg.svd(goal, compute_uv=False)
    # An L-th root would turn rounding in a zero singular value into a visible weight.
    s = s[s > 1e-12 * s[0]]
    return PredictedDistance(float(np.sqrt(layers * np.sum(s ** (2.0 / layers)))), 0.0, -(gamma - 1) / 2)


def predicted_saddle(target: Any, depth: int, gamma: float) -> PredictedDistance:
    r"""The distance to the nearest saddle: $\sqrt2\,w^{(1-\gamma)/2}$, or at most $\sqrt{2r}\,w^{-(\gamma-1)/2}$.

    For $\gamma < 1$ one singular pair is switched off; for $\gamma > 1$ all $r = \operatorname{rank} G(0)$ of them, by
    $W_1 = 0$ on the row space and $W_L = 0$ on the column space of $G(0)$. Arguments as for `predicted_minimum`.

    Raises:
        ConditionError: $\gamma < 1 - 1/L$; ValueError: $\gamma = 1$.

    Example:
        >>> round(predicted_saddle(np.diag([2.0, 1.0, 0.6]), 2, 2.0)(1024), 4)
        0.0765
    """
    check_gamma(depth, gamma)
    goal = real_array(target, "target", ndim=(0, 1, 2))
    rank = 1 if gamma < 1 else int(np.linalg.matrix_rank(np.atleast_2d(goal)))
    return PredictedDistance(float(np.sqrt(2.0 * rank)), (1 - gamma) / 2, None)


def phase_transition(
    target: Any,
    depth: int,
    gamma: float,
    widths: Sequence[int],
    *,
    seeds: int = 2,
    progress: bool | None = None,
) -> PhaseTransition:
    r"""Distances from random starts of growing width, averaged over seeds.

    Ctrl-C returns the widths that are done, with `interrupted` set; before the first one it propagates.

    Args:
        target: $A_*$.
        depth: $L \ge 2$.
        gamma: weights have variance $w^{-\gamma}$; at least $1 - 1/L$. At $\gamma = 1$ nothing is predicted (nan).
        widths: of the hidden layers, at least the rank of the target.
        seeds: seeds 0, …, averaged. For $\gamma > 1$ and three or more layers each takes seconds to minutes: keep
            widths at 64 or below.
        progress: show a bar; by default on a terminal and in a notebook.

    Raises:
        ConditionError: $\gamma < 1 - 1/L$; ValueError: malformed arguments, a width below the rank of the target.
    """
    layers, goal = check_gamma(depth, gamma, allow_one=True), np.atleast_2d(checked_array(target, "target"))
    one = lambda width: np.mean(
        [_one(goal, layers, gamma, int(width), seed) for seed in range(seeds)], axis=0
    )
    rows, interrupted = collect(one, widths, "distances", unit="width", progress=progress)
    minimum, saddle, predicted_m, predicted_s = np.array(rows).T
    done = np.asarray(widths)[: len(rows)]
    return PhaseTransition(
        layers, float(gamma), done, minimum, saddle, predicted_m, predicted_s, seeds, interrupted
    )


def check_gamma(depth: Any, gamma: Any, *, allow_one: bool = False) -> int:
    """The depth, if the theory holds for this depth and $\\gamma$.

    Raises:
        ConditionError: $\\gamma < 1 - 1/L$; ValueError: $\\gamma = 1$ unless allowed, or a malformed depth.
    """
    layers, gamma = check_depth(depth), real_number(gamma, "gamma")
    if not gamma >= 1 - 1 / layers:
        raise ConditionError(
            f"Argument `gamma` must be at least 1 - 1/L = {1 - 1 / layers:.4g} for L = {layers}, but is {gamma}: "
            "below, the end-to-end map of the start itself diverges with the width.",
            measured=float(gamma),
            tolerance=1 - 1 / layers,
        )
    if gamma == 1 and not allow_one:
        raise ValueError(
            "Argument `gamma` must not be 1, but is: both distances are then of order 1, without known constants."
        )
    return layers


def _one(goal: np.ndarray, depth: int, gamma: float, width: int, seed: int) -> tuple[float, ...]:
    arch = linear_network((goal.shape[1], *[width] * (depth - 1), goal.shape[0]))
    weights = {
        name: np.asarray(layer)
        for name, layer in gaussian(arch, jax.random.key(seed), scale=width ** (-gamma / 2)).items()
    }
    predicted = (np.nan, np.nan)
    if gamma != 1:
        minimum = predicted_minimum(goal, depth, gamma, product_of(layers_of(weights)))
        predicted = (minimum(width), predicted_saddle(goal, depth, gamma)(width))
    return (nearest_minimum(weights, goal).distance, nearest_saddle(weights, goal)[0], *predicted)
