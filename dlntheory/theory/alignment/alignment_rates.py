r"""The rates at which layers grow and align, as powers of $\log t$, and their fit along a run."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._checks import integer
from ..._errors import ConditionError
from ...display.displayed import Displayed
from .log_time_flow import AlignmentRun
from .problem import SeparableProblem


@dataclasses.dataclass(frozen=True)
class Rate:
    """One exponent of $s = \\log(1 + t)$.

    Attributes:
        quantity: what decays or grows.
        predicted: the exponent of the theory.
        fitted: the slope of least squares on logarithmic axes.
        last: the value at the end of the run.
    """

    quantity: str
    predicted: float
    fitted: float
    last: float


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Rates(Displayed):
    r"""Fitted exponents with their predictions, for $t \to \infty$:

    $\|W_k\|_F \sim (\log t/\gamma)^{1/L}$; $1 - |\langle v_{k+1}, u_k\rangle| = \Theta((\log t)^{-4/L})$;
    $\gamma - \min_i z_i/\|w\| = \Theta(1/\log t)$; $1 - \cos(w, \bar u) = \Theta((\log t)^{-2})$.

    Attributes:
        depth: $L$.
        window: the interval of $s$ that was fitted.
        rates: by name: `norm`, `misalignment` (for $L \ge 2$), `margin_gap`, `direction`, `rank_one` (for $L \ge 2$).
        growth: $\gamma\|w\|/s$ at the end; tends to 1.
        log_log: $(-\log R - s)/\log s$ at the end; tends to $2 - 2/L$, slowly.
    """

    depth: int
    window: tuple[float, float]
    rates: dict[str, Rate]
    growth: float
    log_log: float

    def __repr__(self) -> str:
        fits = ", ".join(f"{name} {rate.fitted:.3f}" for name, rate in self.rates.items())
        return f"Rates(L = {self.depth}, {fits})"

    def _title(self) -> str:
        return "rates of alignment"

    def _notes(self) -> list[str]:
        return [self._head()]

    def _head(self) -> str:
        start, end = self.window
        return f"L = {self.depth}: exponents of s = log(1 + t) over [{start:g}, {end:g}]"

    def _tables(self) -> list[tuple[Any, ...]]:
        rows = [
            (r.quantity, f"{r.predicted:.4f}", f"{r.fitted:.4f}", f"{r.last:.3e}")
            for r in self.rates.values()
        ]
        rows.append(("gamma |w| / s", "1", f"{self.growth:.5f}", ""))
        rows.append(("(-log R - s) / log s", f"{2 - 2 / self.depth:.4f}", f"{self.log_log:.4f}", ""))
        return [(rows, ("quantity", "predicted", "fitted", "at the end"), "lrrr")]


def predicted_exponents(depth: int, spans: bool = True) -> dict[str, float]:
    r"""The exponents of $\log t$ by quantity.

    Args:
        depth: $L$.
        spans: whether the support vectors span the space.

    Derivation: $\|w\| \approx \prod_k\|W_k\|$ and $\gamma\|w\| \approx \log t$ give $\|W_k\| \sim (\log t)^{1/L}$. A
    bounded symmetric perturbation $A_k$ turns the top eigenvector of a matrix with gap $\|W\|^2$ by an angle
    $O(\|W\|^{-2})$, and $1 - \cos$ is half its square: $\|W\|^{-4}$. The rank-one residual is
    $\sqrt{\text{gap}_k}/\|W_k\|$ with a gap that converges.

    Without span the part of $W_1$ orthogonal to the support vectors converges to a constant, and the layers above
    amplify it to $(\log t)^{1 - 1/L}$ in $w$. Hence $1 - \cos(w, \bar u) = \Theta((\log t)^{-2/L})$, and the
    margin gap, which contains $\gamma$ times it, is of order $(\log t)^{-\min(1, 2/L)}$: depth slows the approach.

    Example:
        >>> predicted_exponents(2)
        {'norm': 0.5, 'misalignment': -2.0, 'margin_gap': -1.0, 'direction': -2.0, 'rank_one': -0.5}
    """
    depth = integer(depth, "depth")
    direction = -2.0 if spans else -2.0 / depth
    return {
        "norm": 1.0 / depth,
        "misalignment": -4.0 / depth,
        "margin_gap": max(-1.0, direction),
        "direction": direction,
        "rank_one": -1.0 / depth,
    }


def limit_constants(problem: SeparableProblem) -> dict[str, float]:
    r"""The limits of $s\,(\gamma - \min_i z_i/\|w\|)$ and of $s^2\,(1 - \cos(w, \bar u))$, the same for every depth.

    On the way to infinity the weights $c_i$ of the support vectors become proportional to their dual weights $a_i$,
    so that their margins are $z_i = \gamma\|w\| + \rho_i$ with $\rho_i = -\log a_i - H$,
    $H = -\sum_j a_j\log a_j$. With $\gamma\|w\| \sim s$ the two limits are $\gamma(H + \log\max_i a_i)$ and
    $\frac12\gamma^2\|Z_S^{-1}\rho\|^2$. For equal weights both are zero: the approach is then faster.

    Returns:
        The limits by the names `margin_gap` and `direction`.

    Raises:
        ConditionError: the support vectors are not a basis of the space, or have a dual weight of zero.

    Validity:
        Asymptotic, exponential and logistic loss; derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> limits = limit_constants(SeparableProblem([[0.5, 0.5], [0.5, -0.75]], [1, 1]))
        >>> [f"{limit:.5f}" for limit in limits.values()]
        ['0.08109', '0.01315']
    """
    margin = problem.margin
    if not margin.spans or len(margin.support) != margin.dimension:
        raise ConditionError(
            f"Argument `problem` must have {margin.dimension} linearly independent support vectors, but has "
            f"{len(margin.support)} of rank {margin.support_rank}.",
            measured=float(
                abs(len(margin.support) - margin.dimension) + margin.dimension - margin.support_rank
            ),
        )
    if margin.least_dual <= 0:
        raise ConditionError(
            "Argument `problem` must have positive dual weights on all support vectors, but one is zero.",
            measured=0.0,
        )
    logs = np.log(margin.dual[margin.support])
    entropy = -float(margin.dual[margin.support] @ logs)
    turn = np.linalg.solve(problem.signed_inputs[margin.support], -logs - entropy)
    return {
        "margin_gap": margin.margin * (entropy + float(np.max(logs))),
        "direction": 0.5 * margin.margin**2 * float(turn @ turn),
    }


def fitted_rates(run: AlignmentRun, window: tuple[float, float] | None = None) -> Rates:
    r"""Exponents of a run by least squares in $(\log s, \log\cdot)$, over layers the slowest.

    Args:
        run: a run to $s$ of several hundreds at least.
        window: the interval of $s$; by default from 100 to the end. Earlier, the fit of the margin gap is nonsense.

    Raises:
        ValueError: fewer than five saved times in the window.

    Validity:
        Asymptotic, for generic data with positive dual weights. The exponents of norm and alignment follow from
        the conservation laws, as does that of the direction without span; with span, margin gap and direction
        are measured.
    """
    low, high = window or (100.0, float(run.s[-1]))
    inside = (run.s >= low) & (run.s <= high)
    if np.sum(inside) < 5:
        raise ValueError(
            f"Argument `window` must hold at least 5 saved states, but [{low:g}, {high:g}] holds "
            f"{int(np.sum(inside))} of {len(run.s)} (the run ends at s = {run.s[-1]:g})."
        )
    seen, predicted = run.observables, predicted_exponents(run.depth, run.problem.margin.spans)
    columns = {
        "norm": ("|W_k|", seen.norms[:, 0]),
        "margin_gap": ("margin gap", seen.margin_gap),
        "direction": ("1 - cos(w, u)", seen.direction_error),
    }
    if run.depth > 1:
        worst = int(np.argmax(seen.misalignment[-1]))
        columns["misalignment"] = ("1 - |<v_(k+1), u_k>|", seen.misalignment[:, worst])
        worst = int(np.argmax(seen.rank_one_residual[-1]))
        columns["rank_one"] = ("rank-one residual", seen.rank_one_residual[:, worst])
    rates = {}
    for name in predicted:
        if name in columns:
            words, values = columns[name]
            slope = np.polyfit(np.log(run.s[inside]), np.log(values[inside]), 1)[0]
            rates[name] = Rate(words, predicted[name], float(slope), float(values[-1]))
    s = float(run.s[-1])
    return Rates(
        depth=run.depth,
        window=(low, high),
        rates=rates,
        growth=run.problem.margin.margin * float(seen.predictor_norm[-1]) / s,
        log_log=(-float(run.log_risk[-1]) - s) / np.log(s),
    )
