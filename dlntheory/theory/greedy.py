r"""Small initialisation on whitened data: how closely training passes the best rank-one map. Host functions.

References:
    [li2021resolving]; [jacot2021saddle].
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np


def closest_approach_exponent(ratio: float) -> float:
    r"""The exponent of $\epsilon$ in the closest distance to the best rank-one map: $2(1-\rho)/(1+\rho)$.

    Two layers, balanced, whitened data, weights of size $\epsilon$ (product $\epsilon^2$), $\rho = \sigma_2/\sigma_1$.
    A poor gap gives a small exponent: report it, rather than a yes or no whether modes are learned one by one.

    Args:
        ratio: $\rho$ in [0, 1].

    Raises:
        ValueError: a ratio outside [0, 1].

    References:
        Setting of [li2021resolving] and [jacot2021saddle]; the exponent is derived here.

    Example:
        >>> closest_approach_exponent(0.0), closest_approach_exponent(1.0)
        (2.0, 0.0)
    """
    if not (math.isfinite(ratio) and 0 <= ratio <= 1):
        raise ValueError(f"Argument `ratio` must lie in [0, 1], but is {ratio!r}.")
    return 2.0 * (1.0 - ratio) / (1.0 + ratio)


def closest_approach(sigma1: float, sigma2: float, scales: Any) -> np.ndarray:
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
        >>> near = closest_approach(3.0, 1.0, [1e-6, 1e-7])
        >>> print(f"{np.log10(near[0] / near[1]):.4f}")
        1.0000
    """
    from scipy.optimize import minimize_scalar

    if not (math.isfinite(sigma1) and 0 < sigma2 < sigma1):
        raise ValueError(
            f"Argument `sigma2` must be positive and below sigma1 = {sigma1:g}, but is {sigma2:g}."
        )
    epsilons = np.asarray(scales, dtype=np.float64)
    if not (np.all(epsilons > 0) and np.all(epsilons**2 < sigma2)):
        raise ValueError(f"Argument `scales` must be positive with squares below sigma2, but is {scales!r}.")

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
