r"""Newton's method for $A\,c_\alpha(A^\top\nu) = b$ with a steep curve, continued from large to small $\alpha$."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from .._errors import InfeasibleError

#: Largest change of an exponent in one step: the curves are exponentials.
STEP_LIMIT = 1.0
MAX_STEPS = 400
FACTOR = 3.0

Curve = Callable[[np.ndarray, float], tuple[np.ndarray, np.ndarray]]


def dual_newton(
    matrix: np.ndarray, targets: np.ndarray, curve: Curve, alpha: float
) -> tuple[np.ndarray, int]:
    r"""$\nu$ with $A\,c_\alpha(A^\top\nu) = b$: the stationarity of a convex dual.

    Args:
        matrix: $A$ (constraints, n), full row rank.
        targets: $b$ (constraints,).
        curve: maps exponents $w$ (n,) and $\alpha$ to $c_\alpha(w)$ and its positive slope.
        alpha: the last $\alpha$; the continuation starts at 1 or there, whichever is larger.

    Returns:
        $\nu$ and the number of Newton steps.

    Raises:
        InfeasibleError: no convergence within the limit of steps at one $\alpha$; for a curve with a bounded range, no
            solution may exist.
    """
    levels = [alpha]
    while levels[-1] * FACTOR < 1.0:
        levels.append(levels[-1] * FACTOR)
    nu, total = np.zeros(len(matrix)), 0
    scale = float(np.max(np.abs(targets))) or 1.0
    for level in reversed(levels):
        is_last = level == alpha
        previous = math.inf
        for _ in range(MAX_STEPS):
            value, slope = curve(matrix.T @ nu, level)
            # Rounding of the sum, not of the result, limits what can be reached.
            rounding = 1e-15 * float(np.max(np.abs(matrix) @ np.abs(value), initial=scale))
            gap = targets - matrix @ value
            size = float(np.max(np.abs(gap)))
            if size <= rounding or (is_last and size >= previous and size <= 1e-11 * scale):
                break
            if not is_last and size <= 1e-6 * scale:
                break
            change = _solve(matrix, slope, gap)
            steepest = float(np.max(np.abs(matrix.T @ change)))
            nu = nu + change * min(1.0, STEP_LIMIT / steepest if steepest else 1.0)
            previous = size
            total += 1
        else:
            raise InfeasibleError(
                f"Argument `targets` must be reachable, but after {MAX_STEPS} Newton steps at alpha = {level:.3g} the "
                f"constraints are still off by {size / scale:.3g} relative."
            )
    return nu, total


def _solve(matrix: np.ndarray, slope: np.ndarray, gap: np.ndarray) -> np.ndarray:
    r"""$(A\,\mathrm{diag}(c')A^\top)^{-1}$ times the gap, by QR: the slopes range over many orders of magnitude."""
    rows = np.sqrt(slope)[:, None] * matrix.T
    # Rows by decreasing size: Householder QR is then stable row by row.
    order = np.argsort(-np.max(np.abs(rows), axis=1))
    r = np.asarray(np.linalg.qr(rows[order], mode="r"))
    return np.linalg.solve(r, np.linalg.solve(r.T, gap))
