r"""One balanced mode of any depth: when it is learned, in closed form, and which comes next. Not jit-compatible."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .._checks import SQUARABLE, real_array, real_number


def depth_mode_time(s: Any, sigma: float, s0: float, depth: float) -> np.ndarray:
    r"""The time at which $s' = L\, s^{2 - 2/L} (\sigma - s)$ leads from $s_0$ to s.

    With $y = (s/\sigma)^{1/L}$,
    $$t = \frac{G(y) - G(y_0)}{\sigma^{2 - 2/L}}, \qquad
      G(y) = -\frac{y^{2-L}}{L-2} + \frac{y^2}{2}\, {}_2F_1(1, \tfrac2L; 1 + \tfrac2L; y^L) \quad (y < 1).$$

    Args:
        s: values to reach, between `s0` and `sigma`.
        sigma: the target, positive.
        s0: the start, positive, on the same side of `sigma` as `s`.
        depth: L, a real number above 2 (for 2 see `balanced_mode_time`).

    Returns:
        Times in the shape of `s`, in gradient-flow time of $\frac12(s - \sigma)^2$.

    Raises:
        ValueError: a value that is not positive, not reached, or on the other side of `sigma`; a depth of at most 2.

    Validity:
        Exact for balanced layers and whitened data. Close to `sigma` and to a tiny `s0` the function is steep: compare
        times, not values.

    References:
        [saxe2014exact].

    Example:
        >>> print(f"{depth_mode_time(1.0, 2.0, 1e-3, 3.0):.6f}")
        4.661328
    """
    sigma, s0, depth = _checked(sigma, s0, depth)
    values = real_array(s, "s")
    low, high = min(s0, sigma), max(s0, sigma)
    if not np.all((values >= low) & (values <= high) & (values != sigma)):
        raise ValueError(
            f"Argument `s` must lie between s0 = {s0:g} and sigma = {sigma:g}, without sigma, but is {s!r}."
        )
    if s0 == sigma:
        raise ValueError(
            f"Argument `s0` must differ from `sigma`, but both are {sigma:g}: the mode never moves."
        )
    return (_primitive(values / sigma, depth) - _primitive(s0 / sigma, depth)) / sigma ** (2.0 - 2.0 / depth)


def depth_mode(t: Any, sigma: float, s0: float, depth: float) -> np.ndarray:
    r"""$s(t)$ of a balanced mode of depth $L > 2$, by inverting `depth_mode_time` in $\log(s/|\sigma - s|)$.

    Args:
        t: times, at least 0.
        sigma: the target, positive.
        s0: the start, positive.
        depth: L, a real number above 2.

    Returns:
        $s(t)$ in the shape of `t`. In the rise from a tiny start an error of 1e-12 in t is a thousand times that in s.

    Raises:
        ValueError: a negative time, or what `depth_mode_time` refuses.
    """
    from scipy.optimize import brentq

    sigma, s0, depth = _checked(sigma, s0, depth)
    times = real_array(t, "t", finite=False)
    if not np.all(times >= 0):
        raise ValueError(f"Argument `t` must be at least 0, but its smallest value is {np.nanmin(times):g}.")
    if s0 == sigma:
        return np.full(times.shape, sigma)
    sign = 1.0 if s0 < sigma else -1.0

    def value(x: float) -> float:
        # s/(sigma - s) = e^x below the target, s/(s - sigma) = e^x above it.
        return sigma / (1.0 + sign * math.exp(-x))

    start = math.log(s0) - math.log(abs(sigma - s0))
    last = 34.0  # s equals sigma to rounding
    start, last = (start, last) if sign > 0 else (max(start, 1e-12), last)
    clock = lambda x: float(depth_mode_time(value(x), sigma, s0, depth))
    end = clock(last) if start < last else 0.0
    # Before this the change of s is rounding in the clock, and its first-order term is exact to rounding.
    nearby = start + 1e-12 * max(1.0, abs(start))
    first = clock(nearby) if start < last else 0.0
    speed = depth * s0 ** (2.0 - 2.0 / depth) * (sigma - s0)
    result = np.empty(times.shape)
    for place, time in np.ndenumerate(times):
        if time == 0:
            result[place] = s0
        elif time >= end:
            result[place] = sigma
        elif time <= first:
            result[place] = s0 + speed * time
        else:
            root: Any = brentq(lambda x, time=time: clock(x) - time, nearby, last, xtol=1e-13)
            result[place] = value(root)
    return result


def learning_time(sigma: float, s0: float, depth: float) -> float:
    r"""Leading-order time until a mode is half learned from a small start.

    $\frac{1}{2\sigma} \log \frac{\sigma}{s_0}$ for two layers, $\frac{s_0^{-(1 - 2/L)}}{(L - 2)\,\sigma}$ for more:
    deep networks wait a power of $1/s_0$ where shallow ones wait a logarithm.

    Args:
        sigma: the target, positive.
        s0: the start, positive, below `sigma`.
        depth: L, at least 2.

    Validity:
        Asymptotic for $s_0 \to 0$.

    Raises:
        ValueError: `sigma` or `s0` is not positive, or `s0` is not below `sigma`.

    Example:
        >>> print(f"{learning_time(2.0, 1e-8, 2):.3f} {learning_time(2.0, 1e-8, 3):.1f}")
        4.778 232.1
    """
    sigma, s0, depth = _checked(sigma, s0, depth, least=2.0)
    if s0 >= sigma:
        raise ValueError(
            f"Argument `s0` must be below sigma = {sigma:g}, but is {s0:g}: the mode is learned."
        )
    if depth == 2:
        return math.log(sigma / s0) / (2.0 * sigma)
    return s0 ** -(1.0 - 2.0 / depth) / ((depth - 2.0) * sigma)


def next_mode(sigma1: float, sigma2: float, s0: float, depth: float) -> float:
    r"""Where the weaker mode is when the stronger one is half learned, both from $s_0$: are modes learned one by one?

    $s_0^{1 - \sigma_2/\sigma_1} \sigma_1^{\sigma_2/\sigma_1}$ for two layers, only a power of $s_0$;
    $s_0 (1 - \sigma_2/\sigma_1)^{-L/(L-2)}$ for more, still of the order of $s_0$.

    Args:
        sigma1: the stronger mode.
        sigma2: the weaker mode, positive.
        s0: the common start, positive.
        depth: L, at least 2.

    Validity:
        Asymptotic for $s_0 \to 0$.

    References:
        [saxe2019mathematical]; [gissin2020implicit] for incremental learning.

    Raises:
        ValueError: not $0 < \sigma_2 < \sigma_1$, or another value is not positive.
    """
    real_number(sigma1, "sigma1", above=0, maximum=SQUARABLE)
    sigma2 = real_number(sigma2, "sigma2")
    sigma1, s0, depth = _checked(sigma1, s0, depth, least=2.0)
    if not 0 < sigma2 < sigma1:
        raise ValueError(
            f"Argument `sigma2` must be positive and below sigma1 = {sigma1:g}, but is {sigma2:g}."
        )
    ratio = sigma2 / sigma1
    if depth == 2:
        return s0 ** (1.0 - ratio) * sigma1**ratio
    return s0 * (1.0 - ratio) ** (-depth / (depth - 2.0))


def _primitive(share, depth: float):
    r"""$G$ at $y = \text{share}^{1/L}$, below and above the target."""
    from scipy.special import hyp2f1

    share = np.asarray(share, dtype=np.float64)
    b = 2.0 / depth
    wait = -(share ** (b - 1.0)) / (depth - 2.0)
    below = 0.5 * share**b * hyp2f1(1.0, b, 1.0 + b, np.minimum(share, 1.0))
    inverse = 1.0 / np.maximum(share, 1.0)
    above = -wait * hyp2f1(1.0, 1.0 - b, 2.0 - b, inverse)
    return wait + np.where(share < 1.0, below, above)


def _checked(sigma: Any, s0: Any, depth: Any, least: float | None = None) -> tuple[float, float, float]:
    # Powers of these, and quotients of the one by the other, stay within floats.
    sigma, s0 = (
        real_number(real_number(value, name, above=0), name, minimum=1 / SQUARABLE, maximum=SQUARABLE)
        for name, value in (("sigma", sigma), ("s0", s0))
    )
    above, minimum = (2, None) if least is None else (None, least)
    return sigma, s0, real_number(depth, "depth", above=above, minimum=minimum, maximum=1e6)
