r"""Losses whose logarithm is computed without forming the loss: what a run over $t = e^{1000}$ needs."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import jax
import jax.numpy as jnp

#: Above this margin $\log\log(1 + e^{-m}) = -m - e^{-m}/2$ to rounding: the next term is $5 e^{-2m}/24$.
LARGE_MARGIN = 30.0


@runtime_checkable
class LogLoss(Protocol):
    r"""A positive loss that knows $\log f(z)$ also where $f(z)$ itself underflows.

    $e^s \nabla f = e^{s + \log f} \nabla \log f$: only the sum $s + \log f$ is exponentiated, and along a gradient
    flow in logarithmic time that sum stays of order one.
    """

    def log_value(self, z) -> jax.Array:
        r"""$\log f(z)$. Jit-compatible, and so are its derivatives."""
        ...


def log_exponential(margins: jax.Array) -> jax.Array:
    r"""$\log e^{-m} = -m$, entry by entry."""
    return -margins


def log_logistic(margins: jax.Array) -> jax.Array:
    r"""$\log\log(1 + e^{-m})$, entry by entry, for every finite margin.

    Both branches see arguments at which they are finite: a nan under a `where` would poison the gradient.
    """
    is_large = margins > LARGE_MARGIN
    small, large = jnp.where(is_large, 0.0, margins), jnp.where(is_large, margins, LARGE_MARGIN)
    return jnp.where(is_large, -large - 0.5 * jnp.exp(-large), jnp.log(jax.nn.softplus(-small)))


def log_mean_exp(logarithms: jax.Array, reduction: str) -> jax.Array:
    """The logarithm of the mean, or of the sum, of the numbers with these logarithms."""
    total = jax.scipy.special.logsumexp(logarithms)
    return total - jnp.log(float(logarithms.size)) if reduction == "mean" else total
