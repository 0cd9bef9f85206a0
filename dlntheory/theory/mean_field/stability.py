r"""The largest stable learning rate of a lazy network of infinite width, and advice on doubtful configurations."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from .config import MeanFieldConfig

SMALL_RICHNESS = 1e-3


def lazy_kernel(config: MeanFieldConfig) -> float:
    r"""Strength $\kappa$ of the tangent kernel at initialisation and infinite width, in units of that of the inputs.

    $\kappa = \sum_{l=0}^L \prod_{j \neq l} s_j^2$ for a plain network ($L+1$ with unit weights); for a residual one
    each inner factor $s_j^2$ becomes $1 + e_2 s_j^2$, and the term that leaves out block $l$ gets a factor
    $e_2 = b^2/(L-1)$.

    Example:
        >>> lazy_kernel(MeanFieldConfig(T=2, L=3, eta=0.1))
        4.0
    """
    factors, derivatives = config.variances.copy(), np.ones(config.L + 1)
    if config.residual is not None:
        derivatives[1:-1] = config.branch2
        factors[1:-1] = 1.0 + config.branch2 * factors[1:-1]
    return float(sum(derivatives[l] * np.prod(np.delete(factors, l)) for l in range(config.L + 1)))


def largest_curvature(config: MeanFieldConfig) -> float:
    r"""Upper edge of the spectrum of the empirical covariance $X^\top X/P$; $\lambda_{\max}$ on the population.

    The edge is $\min_m\, [\,1/m + \frac1\alpha \sum_k p_k \lambda_k/(1 - \lambda_k m)\,]$ over $0 < m <
    1/\lambda_{\max}$; for isotropic data $(1 + \alpha^{-1/2})^2$.

    Example:
        >>> round(largest_curvature(MeanFieldConfig(T=2, L=1, eta=0.1, alpha=4.0)), 12)
        2.25
    """
    from scipy.optimize import minimize_scalar

    lam, p, _ = config.modes
    lam, p = lam[p > 0], p[p > 0]
    top = float(np.max(lam))
    if config.is_population or config.data == "onepass":
        return top

    def edge(share: float) -> float:
        m = share / top
        return 1.0 / m + float(np.sum(p * lam / (1.0 - lam * m))) / config.alpha

    found: Any = minimize_scalar(edge, bounds=(1e-12, 1 - 1e-12), method="bounded", options={"xatol": 1e-12})
    return float(found.fun)


def lazy_edge(config: MeanFieldConfig) -> float:
    r"""Learning rate above which a lazy, infinitely wide network diverges.

    With $c = \eta\kappa$ (see `lazy_kernel`): $c \lambda < 2(1 + \mu)$ for the largest curvature $\lambda$ and momentum
    $\mu$; for one-pass training without momentum also $\frac1\alpha \sum_k p_k \frac{c\lambda_k}{2 - c\lambda_k} < 1$
    (the noise of the batches must not feed itself). Minibatches of a fixed set are held to the full-batch rule, which
    is necessary for them.

    Example:
        >>> round(lazy_edge(MeanFieldConfig(T=2, L=1, eta=0.1, alpha=0.5, data="onepass")), 9)  # 2/(1 + 1/alpha)/2
        0.333333333
    """
    from scipy.optimize import brentq

    kernel = lazy_kernel(config)
    if kernel == 0:
        return math.inf
    rate = 2.0 * (1.0 + config.momentum) / (kernel * largest_curvature(config))
    if config.data != "onepass" or config.is_population or config.momentum > 0:
        return rate
    lam, p, _ = config.modes

    def excess(share: float) -> float:
        c = share * rate * kernel * lam
        return float(np.sum(p * c / (2.0 - c))) / config.alpha - 1.0

    top = 1.0 - 1e-12
    if excess(top) <= 0:
        return rate
    share: Any = brentq(excess, 0.0, top, xtol=1e-14)
    return rate * float(share)


def advice(config: MeanFieldConfig) -> tuple[str, ...]:
    """What a user should know before reading the result; each a sentence, none if all is well."""
    lines = []
    if config.gamma0 < SMALL_RICHNESS and not config.centered and not math.isinf(config.nu):
        size = float(np.prod(config.variances)) / (config.gamma0**2 * config.nu)
        lines.append(
            f"gamma0 = {config.gamma0:g} at finite nu without centring: the initial function, about {size:.2g} in "
            "the test error, dominates everything. Set centered=True for the lazy limit."
        )
    if (
        config.gamma0 < SMALL_RICHNESS
        and config.centered
        and config.weight_decay
        and not math.isinf(config.nu)
    ):
        lines.append(
            f"gamma0 = {config.gamma0:g} with weight decay: the initial function, of size 1/gamma0, is subtracted as "
            "it was at the start, but fades: the rest of it is the error. Set weight_decay=0 for the lazy limit."
        )
    edge, rate = lazy_edge(config), float(np.max(config.rates))
    if rate > edge:
        lines.append(
            f"eta = {rate:g} is above {edge:.4g}, the largest stable rate of a lazy network of infinite width: "
            "expect oscillation or divergence, in which finite networks differ from the theory and each other."
        )
    return tuple(lines)
