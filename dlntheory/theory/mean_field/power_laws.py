r"""Power-law data: spectra, the exponents of lazy and rich training, and slopes measured on curves."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._checks import integer, real_array, real_number


def power_law_modes(
    decay: float, source: float, *, exact: int = 40, bins: int = 120, end: float = 1e12
) -> dict[str, Any]:
    r"""Eigenvalues $\lambda_k = k^{-a}$ with teacher $\lambda_k \beta_{*k}^2 \propto k^{-ab-1}$, the tail in bins.

    A truncated spectrum bends the loss upward long before its last mode is learned; geometric bins, each with the exact
    integral of $k^{-ab-1}$ as its weight, carry the tail to `end`. Normalised to $\sum_k p_k \lambda_k b_k^2 = 1$: the
    test error of the zero function is 1; $\lambda_1 = 1$.

    Args:
        decay: $a$, the capacity exponent.
        source: $b$, the source exponent; below 1 the task is hard, $\sum_k \beta_{*k}^2 = \infty$.
        exact: number of modes kept one by one.
        bins: number of geometric bins beyond them.
        end: where the last bin ends.

    Returns:
        `lam`, `p` (equal shares: at infinite width and data only $p_k b_k^2$ matters) and `teacher2`, arguments of
        `MeanFieldConfig`.

    Example:
        >>> modes = power_law_modes(1.5, 0.5)
        >>> float(np.sum(modes["p"] * modes["lam"] * modes["teacher2"])).__round__(12)
        1.0
    """
    a = real_number(decay, "decay", above=0, maximum=100)
    b = real_number(source, "source", above=0, maximum=100)
    exact, bins = integer(exact, "exact"), integer(bins, "bins")
    end = real_number(end, "end", above=exact + 0.5)
    head = np.arange(1.0, exact + 1.0)
    edges = np.geomspace(exact + 0.5, end, bins + 1)
    tail = (edges[:-1] ** (-a * b) - edges[1:] ** (-a * b)) / (a * b)
    signal = np.concatenate([head ** (-a * b - 1.0), tail])
    lam = np.concatenate([head**-a, np.sqrt(edges[:-1] * edges[1:]) ** -a])
    share = np.full(len(lam), 1.0 / len(lam))
    return {"lam": lam, "p": share, "teacher2": signal / np.sum(signal) / (lam * share)}


def lazy_exponent(source: float) -> float:
    """Exponent of the test error in time for lazy training, gen ~ t^(-b), at infinite width on the population."""
    return real_number(source, "source", above=0)


def rich_exponent(source: float, L: int) -> float:
    r"""Exponent of the test error in time for rich training with $L$ hidden layers.

    $(L+1) b/(1 + L b)$ for $b < 1$, faster than the lazy $b$; $b$ for $b \geq 1$. A rank-one kernel of strength
    $|\beta|^{2L/(L+1)}$ grows with what is learned and speeds up time.

    Validity:
        Asymptotic in time, infinite width, population; an argument of scale, confirmed by `rank_one_flow` to .01.

    Example:
        >>> rich_exponent(0.5, 2)
        0.75
    """
    b, L = real_number(source, "source", above=0), integer(L, "L")
    return (L + 1) * b / (1.0 + L * b) if b < 1 else b


def log_slope(times: np.ndarray, values: np.ndarray, start: float, stop: float) -> float:
    r"""Least-squares slope of $-\log$ `values` against $\log$ `times` between `start` and `stop`.

    Raises:
        ValueError: fewer than two times in between, or a value there that is not positive.

    Example:
        >>> t = np.arange(1.0, 100.0)
        >>> round(log_slope(t, 3 * t**-0.5, 10, 100), 12)
        0.5
    """
    times, values = real_array(times, "times", ndim=1), real_array(values, "values", ndim=1, finite=False)
    start, stop = real_number(start, "start"), real_number(stop, "stop", finite=False)
    if len(times) != len(values):
        raise ValueError(
            f"Argument `values` must have an entry for each of {len(times)} times, but has {len(values)}."
        )
    inside = (times >= start) & (times <= stop) & (times > 0)
    if np.count_nonzero(inside) < 2:
        raise ValueError(
            f"Argument `times` must have two entries between {start:g} and {stop:g}, "
            f"but has {np.count_nonzero(inside)}."
        )
    if not np.all(values[inside] > 0):
        raise ValueError(
            "Argument `values` must be positive between `start` and `stop`, but is not everywhere."
        )
    return -float(np.polyfit(np.log(times[inside]), np.log(values[inside]), 1)[0])
