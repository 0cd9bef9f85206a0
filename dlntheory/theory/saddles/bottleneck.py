r"""The escape law of a scalar chain of which only some layers start small: the number of those is what counts."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from ..._checks import integer, real_number
from .chain_inputs import check_depth


def bottleneck_time(depth: int, small: int, eps: float, level: float = 0.5) -> float:
    r"""The time at which $p = \prod_l a_l$ reaches `level` for $a_l' = (1 - p)\,p/a_l$.

    `small` layers start at $\epsilon$ and the others at 1. The differences of squares are conserved, so that one
    variable $a$ is left, with $p = a^r (1 + a^2 - \epsilon^2)^{(L-r)/2}$, and $t = \int da\,a/((1 - p)\,p)$ is a
    quadrature.

    Args:
        depth: $L \ge 2$.
        small: $r$, from 1 to $L$.
        eps: $\epsilon$ in (0, 1).
        level: of $p$, above its start and below 1.

    Raises:
        ValueError: an argument out of range.

    Validity:
        Exact for the scalar chain, to the accuracy of the quadrature (relative $10^{-10}$).

    Example:
        >>> round(bottleneck_time(4, 3, 1e-4) * 1e-4, 3)
        1.0
    """
    from scipy.integrate import quad
    from scipy.optimize import brentq

    layers = check_depth(depth)
    count = integer(small, "small", maximum=layers)
    eps, level = real_number(eps, "eps", minimum=1e-30, below=1), real_number(level, "level")
    if not eps**count < level < 1:
        raise ValueError(
            f"Argument `level` must be above the start {eps**count:.3g} and below 1, but is {level}."
        )

    def p(log_a: float) -> float:
        a2 = np.exp(2 * log_a)
        return float(np.exp(count * log_a) * (1 + a2 - eps**2) ** ((layers - count) / 2))

    start = float(np.log(eps))
    end = float(brentq(lambda x: p(x) - level, start, 0.0, xtol=1e-14))  # pyright: ignore[reportArgumentType]

    def slowness(log_a: float) -> float:
        product = p(log_a)
        return float(np.exp(2 * log_a) / ((1 - product) * product))

    # The integrand falls over many decades: piece by piece it is smooth for the quadrature.
    knots = np.linspace(start, end, max(2, int(2 * (end - start)) + 1))
    return float(sum(quad(slowness, a, b, epsabs=0.0, epsrel=1e-11)[0] for a, b in pairwise(knots)))


def bottleneck_law(small: int, eps: float) -> float:
    r"""The law for $\epsilon \to 0$: $\epsilon^{-(r-2)}/(r-2)$ for $r \ge 3$, $\log(1/\epsilon)$ for $r = 2$.

    Raises:
        ValueError: fewer than two small layers, where the time stays bounded.

    Validity:
        Up to a factor $1 + o(1)$; the depth $L$ does not enter. For nonlinear networks this is a theorem on a
        permutation-symmetric manifold (Rawal and DeWeese 2026), which is not checked here.

    Example:
        >>> bottleneck_law(3, 1e-3), bottleneck_law(4, 1e-2)
        (1000.0, 5000.0)
    """
    # One small layer delays nothing: the time stays bounded.
    small, eps = integer(small, "small", minimum=2), real_number(eps, "eps", minimum=1e-30, below=1)
    return float(np.log(1 / eps)) if small == 2 else eps ** -(small - 2.0) / (small - 2)


def bottleneck_slope(depth: int, small: int, eps: Sequence[float] = (1e-2, 1e-3, 1e-4)) -> float:
    r"""Fitted exponent of the escape time in $1/\epsilon$ over the last two scales: $r - 2$ in the limit."""
    times = np.log([bottleneck_time(depth, small, one) for one in eps[-2:]])
    return float(-(times[1] - times[0]) / np.log(eps[-1] / eps[-2]))
