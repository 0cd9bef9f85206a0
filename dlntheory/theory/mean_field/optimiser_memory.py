r"""Memory of a linear optimiser: $W(t) = d(t) W(0) + \sum_{s<t} k(t,s)$ × the unit-rate gradient step at $s$."""

from __future__ import annotations

import numpy as np

from .config import MeanFieldConfig


def memory(config: MeanFieldConfig) -> tuple[np.ndarray, np.ndarray]:
    r"""The kernel $k$ and the shrinkage $d$ of the optimiser.

    | optimiser, with step direction $g$ | $k(t,s)$ for $s < t$ | $d(t)$ |
    | --- | --- | --- |
    | gradient descent | $\eta_s$ | 1 |
    | heavy ball, $m' = \mu m + \eta g$, $W' = W + m'$ | $\eta_s (1 - \mu^{t-s})/(1 - \mu)$ | 1 |
    | weight decay, $W' = f W + \eta g$, $f_t = 1 - \eta_t c$ | $\eta_s \prod_{s<r<t} f_r$ | $\prod_{r<t} f_r$ |

    Returns:
        $k$ (T, T), strictly lower triangular, and $d$ (T,).

    Example:
        >>> k, d = memory(MeanFieldConfig(T=3, L=1, eta=0.1))
        >>> k.tolist(), d.tolist()
        ([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.1, 0.1, 0.0]], [1.0, 1.0, 1.0])
    """
    steps, rates = config.T, config.rates
    if config.weight_decay == 0:
        lag = np.arange(steps)[:, None] - np.arange(steps)[None, :]
        # (1 - mu^n)/(1 - mu) as 1 + mu + ... + mu^(n-1): exact for mu = 0, no cancellation near mu = 1.
        powers = np.cumsum(config.momentum ** np.arange(steps))
        kernel = np.where(lag > 0, rates[None, :] * powers[np.maximum(lag - 1, 0)], 0.0)
        return kernel, np.ones(steps)
    factors = 1.0 - rates * config.weight_decay
    shrinkage = np.concatenate([[1.0], np.cumprod(factors[:-1])])
    kernel = np.zeros((steps, steps))
    for t in range(1, steps):
        # Products, not ratios of `shrinkage`: those lose everything once the product underflows.
        kernel[t, : t - 1] = kernel[t - 1, : t - 1] * factors[t - 1]
        kernel[t, t - 1] = rates[t - 1]
    return kernel, shrinkage
