r"""The root $t \ge 0$ of $\prod_l (t + c_l) = p^2$: the smallest squared weight of a scalar chain with product $p$."""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...initial.free_directions import free_square


@jax.custom_jvp
def smallest_square(product, gaps):
    r"""$t(p)$ with $\prod_{l=1}^L (t + c_l) = p^2$, entry by entry: `free_square` with gaps of its own for each.

    Args:
        product: $p$, any shape.
        gaps: $c \ge 0$, of shape (L, *shape of p), with a 0 in every column.

    Returns:
        $t$ in the shape of $p$; 0 where $p = 0$. Differentiable in both arguments (at $p = 0$ only where a single
        gap is 0; elsewhere its tangent there is set to 0).
    """
    columns = jnp.reshape(gaps, (gaps.shape[0], -1)).T
    return jnp.reshape(jax.vmap(free_square)(jnp.ravel(product) ** 2, columns), product.shape)


@smallest_square.defjvp
def _smallest_square_jvp(primals, tangents):
    product, gaps = primals
    dproduct, dgaps = tangents
    t = smallest_square(product, gaps)
    partial = others(t, gaps)
    slope = jnp.sum(partial, axis=0)
    change = 2 * product * dproduct - jnp.sum(partial * dgaps, axis=0)
    return t, jnp.where(slope > 0, change / jnp.where(slope > 0, slope, 1.0), 0.0)


def others(t, gaps):
    r"""$\prod_{k \ne l} (t + c_k)$ for every $l$, (L, …), by products alone so that zeros do no harm."""
    squares = t[None] + gaps
    depth = gaps.shape[0]
    rows = []
    for l in range(depth):
        row = jnp.ones_like(t)
        for k in range(depth):
            row = row if k == l else row * squares[k]
        rows.append(row)
    return jnp.stack(rows)


def chain_metric(product, gaps):
    r"""$K = P'(t) = \sum_l \prod_{k \ne l} (t + c_k)$ at the root $P(t) = p^2$; see `smallest_square`.

    Example:
        >>> import jax.numpy as jnp
        >>> gaps = jnp.asarray([[0.0], [3.0]])  # weights 1 and 2: t = 1, K = 1 + 4
        >>> bool(abs(chain_metric(jnp.asarray([2.0]), gaps)[0] - 5.0) < 1e-14)
        True
    """
    return jnp.sum(others(smallest_square(product, gaps), gaps), axis=0)
