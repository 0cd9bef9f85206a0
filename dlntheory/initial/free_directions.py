r"""The free singular directions of a λ-balanced chain: $t \ge 0$ with $\prod_l (t + c_l) = \sigma^2$.

In a direction that passes through every layer the squares of the singular values are $t + c_l$ with the offsets
$c_l = \sum_{k<l} \lambda_k$, shifted to minimum 0 (`index_chains.offsets`), and their product is a squared
singular value of the end-to-end map.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

#: Five steps reach rounding from the start below (it is at most log 2 per factor off); three are margin.
STEPS = 8


@jax.jit
def free_square(x: jax.Array, offsets: jax.Array) -> jax.Array:
    r"""The $t \ge 0$ with $\prod_l (t + c_l) = x$, elementwise; 0 at $x = 0$.

    Newton in $\tau = \log t$ for $\sum_l \log(e^\tau + c_l) = \log x$. The left side is increasing and convex, and
    the start $\min_j \frac1j\big(\log x - \sum_{k>j} \log c_{(k)}\big)$ (sorted offsets) is above the root, so every
    step goes down towards it: no safeguard is needed, and a fixed number of steps serves.

    Args:
        x: $\sigma^2 \ge 0$, any shape.
        offsets: $c_l \ge 0$ with minimum exactly 0, shape (L,).

    Returns:
        $t$ in the shape of `x`. Pure; not meant to be differentiated (the spectral operators have their own rules).

    Example:
        >>> import numpy as np
        >>> float(free_square(np.array(6.0), np.array([0.0, 1.0])))  # 2 (2 + 1)
        2.0
    """
    x = jnp.asarray(x)
    flat = jnp.ravel(x)
    positive = flat > 0
    target = jnp.log(jnp.where(positive, flat, 1.0))[:, None]
    ordered = jnp.sort(jnp.asarray(offsets))[None, :]
    logs = jnp.where(ordered > 0, jnp.log(jnp.where(ordered > 0, ordered, 1.0)), -jnp.inf)
    # Column j: the sum of the logs after the j + 1 smallest offsets; -inf, no bound, where one of them is 0.
    after = jnp.flip(jnp.cumsum(jnp.flip(logs, axis=1), axis=1), axis=1)[:, 1:]
    tails = jnp.concatenate([after, jnp.zeros((1, 1))], axis=1)
    counts = jnp.arange(1, ordered.shape[1] + 1, dtype=target.dtype)[None, :]
    tau = jnp.min((target - tails) / counts, axis=1, keepdims=True)

    def newton(_, tau):
        factors = jnp.exp(tau) + ordered
        excess = jnp.sum(jnp.log(factors), axis=1, keepdims=True) - target
        slope = jnp.sum(jnp.exp(tau) / factors, axis=1, keepdims=True)
        return tau - excess / slope

    tau = jax.lax.fori_loop(0, STEPS, newton, tau)
    return jnp.reshape(jnp.where(positive, jnp.exp(tau[:, 0]), 0.0), x.shape)
