r"""How closely a path passes the saddles: exponents in $\alpha$, which depth changes from marginal to sharp."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._checks import real_array, real_number
from ..._errors import ConditionError
from ...display.displayed import Displayed
from .chain_inputs import check_depth
from .path_integration import PathRun
from .plateaus import CONJECTURE


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ApproachStudy(Displayed):
    r"""Closest approach to each saddle over scales.

    Attributes:
        depth: $L$.
        alphas: scales (n,).
        distances: $\min_t \|A(t) - A_k\|_F$ (n, saddles).
        predicted: exponent of each saddle (saddles,).
    """

    depth: int
    alphas: np.ndarray
    distances: np.ndarray
    predicted: np.ndarray

    def slopes(self) -> np.ndarray:
        r"""Fitted exponents in $\alpha$ (saddles,)."""
        return np.polyfit(np.log(self.alphas), np.log(self.distances), 1)[0]

    def __repr__(self) -> str:
        return f"ApproachStudy(L = {self.depth}, alpha from {max(self.alphas):g} to {min(self.alphas):g})"

    def _title(self) -> str:
        return f"closest approach to saddles, L = {self.depth}"

    def _notes(self) -> list[str]:
        return [CONJECTURE]

    def _tables(self) -> list[tuple[Any, ...]]:
        saddles = range(1, self.distances.shape[1] + 1)
        rows = [(alpha, *row) for alpha, row in zip(self.alphas, self.distances, strict=True)]
        rows += [("slope", *self.slopes()), ("predicted", *self.predicted)]
        return [(rows, ("alpha", *(f"saddle {k}" for k in saddles)), "r" * (len(saddles) + 1))]


def approach_exponent(depth: int, s_k: float, s_next: float) -> float:
    r"""The exponent $p$ of $\min_t \|A(t) - A_k\| = \Theta(\alpha^p)$ at the $k$-th saddle, whitened regression.

    $p = 2(s_k - s_{k+1})/(s_k + s_{k+1})$ for two layers: the minimum of $e^{2 s_{k+1} t}\alpha^2 + \alpha^{-2}
    e^{-2 s_k t}$ over $t$. A poor gap gives a small exponent: report it, rather than a yes or no whether modes are
    learned one by one. $p = L$ for $L \ge 3$: waiting modes stay at layer size $\alpha$ while the plateau, of length
    $\alpha^{-(L-2)}$, lets the learnt ones converge.

    Args:
        depth: $L \ge 2$.
        s_k: the $k$-th singular value of the target, just learnt.
        s_next: the next one.

    Raises:
        ValueError: fewer than two layers; ConditionError: not $s_k > s_{k+1} > 0$.

    Validity:
        Derived here, for $\alpha \to 0$. For two layers it holds at the saddles at which the modes before $k$ have long
        converged; a mode that waits much longer adds nothing.

    Example:
        >>> approach_exponent(2, 3.0, 1.8), round(approach_exponent(2, 1.8, 1.0), 3), approach_exponent(3, 3.0, 1.8)
        (0.5, 0.571, 3.0)
    """
    layers = check_depth(depth)
    s_k, s_next = real_number(s_k, "s_k"), real_number(s_next, "s_next")
    if not s_k > s_next > 0:
        raise ConditionError(
            f"Arguments `s_k` and `s_next` must decrease and be positive, but are {s_k} and {s_next}: equal modes are "
            "learnt at once, without a saddle between them.",
            measured=float(s_k - s_next),
        )
    return float(2 * (s_k - s_next) / (s_k + s_next)) if layers == 2 else float(layers)


def closest_approach(run: PathRun, saddles: Any) -> np.ndarray:
    r"""$\min_t \|A(t) - A_k\|_F$ for each saddle $A_k$ (k, d_out, d_in) along a run.

    Between recorded steps the minimum is that of a parabola through the logarithm at three of them.
    """
    found = []
    for saddle in np.asarray(saddles, dtype=float):
        away = np.linalg.norm(run.z - saddle, axis=(1, 2))
        best = int(np.argmin(away))
        if 0 < best < len(away) - 1 and np.all(away[best - 1 : best + 2] > 0):
            found.append(_vertex(run.ts[best - 1 : best + 2], away[best - 1 : best + 2]))
        else:
            found.append(float(away[best]))
    return np.array(found)


def closest_approach_of_modes(sigma1: float, sigma2: float, scales: Any) -> np.ndarray:
    r"""The least distance of two aligned balanced modes from $(\sigma_1, 0)$ over all times, for each $\epsilon$.

    Both modes start at $\epsilon^2$ and follow their closed form; the time of closest approach is found by a search.

    Args:
        sigma1: the stronger mode.
        sigma2: the weaker mode, positive and below `sigma1`.
        scales: $\epsilon$, positive, with $\epsilon^2$ below `sigma2`.

    Returns:
        Distances in the shape of `scales`.

    Raises:
        ValueError: modes or scales out of range.

    Example:
        >>> near = closest_approach_of_modes(3.0, 1.0, [1e-6, 1e-7])
        >>> print(f"{np.log10(near[0] / near[1]):.4f}")
        1.0000
    """
    from scipy.optimize import minimize_scalar

    sigma1 = real_number(sigma1, "sigma1", above=0, maximum=1e150)
    sigma2 = real_number(sigma2, "sigma2", above=0, below=sigma1)
    epsilons = real_array(scales, "scales")
    if not (np.all(epsilons > 1e-75) and np.all(epsilons**2 < sigma2)):
        raise ValueError(
            f"Argument `scales` must be above 1e-75 with squares below sigma2, but is {scales!r}."
        )

    def log_distance(t: float, s0: float) -> float:
        decay1, decay2 = math.exp(-2 * sigma1 * t), math.exp(-2 * sigma2 * t)
        # sigma_1 - s_1 and s_2 of the closed form, each without cancellation.
        missing = decay1 * (sigma1 - s0) / (decay1 + s0 * -math.expm1(-2 * sigma1 * t) / sigma1)
        second = s0 / (decay2 + s0 * -math.expm1(-2 * sigma2 * t) / sigma2)
        return math.log(math.hypot(missing, second))

    distances = np.empty(epsilons.shape)
    for place, epsilon in np.ndenumerate(epsilons):
        s0 = float(epsilon) ** 2
        # Balance of what is missing and what has grown: exp(2 t (sigma_1 + sigma_2)) = s0^-2 sigma_1^2.
        guess = math.log(sigma1**2 / s0**2) / (2 * (sigma1 + sigma2))
        found: Any = minimize_scalar(
            log_distance,
            args=(s0,),
            bounds=(0.5 * guess, 1.5 * guess),
            method="bounded",
            options={"xatol": 1e-10},
        )
        distances[place] = math.exp(found.fun)
    return distances


def approach_study(runs: Sequence[PathRun], target: Any, saddles: int = 2) -> ApproachStudy:
    r"""Closest approach to the first saddles of whitened regression, over runs of several scales.

    Args:
        runs: from `follow_path`, one for each $\alpha$, of one network and target.
        target: $A_*$.
        saddles: how many after the origin; the $k$-th is the best rank-$k$ map.

    Raises:
        ValueError: fewer than two runs; ConditionError: singular values that are not distinct.
    """
    if len(runs) < 2:
        raise ValueError(f"Argument `runs` must hold at least two runs, but holds {len(runs)}.")
    left, s, right = np.linalg.svd(np.asarray(target, dtype=float), full_matrices=False)
    maps = np.stack([(left[:, :k] * s[:k]) @ right[:k] for k in range(1, saddles + 1)])
    predicted = [approach_exponent(runs[0].depth, s[k - 1], s[k]) for k in range(1, saddles + 1)]
    distances = np.stack([closest_approach(run, maps) for run in runs])
    return ApproachStudy(runs[0].depth, np.array([run.alpha for run in runs]), distances, np.array(predicted))


def _vertex(ts: np.ndarray, away: np.ndarray) -> float:
    left, right = (ts[0] - ts[1], ts[2] - ts[1])
    low, high = np.log(away[0] / away[1]), np.log(away[2] / away[1])
    curvature = (high / right - low / left) / (right - left)
    slope = low / left - curvature * left
    if curvature <= 0:
        return float(away[1])
    return float(away[1] * np.exp(-(slope**2) / (4 * curvature)))
