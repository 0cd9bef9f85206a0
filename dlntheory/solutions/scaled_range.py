r"""An orthonormal basis of the range of $[I; \mathrm{diag}(e^{c})\, Z]$ for row scales $c$ too large for any float."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def scaled_range(z: Any, scales: Any, floor: Any = 0.0) -> tuple[jax.Array, jax.Array]:
    r"""$[B_1; B_2]$ with orthonormal columns that span those of $[I_h; \mathrm{diag}(e^c) Z]$.

    Columns are reduced with complete pivoting, the pivot being chosen by $\log|\text{entry}| + \text{scale of the
    row}$ (0 for the rows of $I_h$). Each reduced column is divided by its scaled pivot, which only takes differences
    of scales: all entries are then at most 1 in size. The rows are sorted by size before a Householder factorisation,
    which makes small rows as accurate, relative to themselves, as large ones.

    Fixed shapes and one counted loop of length h: compatible with jit, vmap and grad (with respect to `z`; the scales
    are constants of the derivative).

    Args:
        z: (n, h).
        scales: (n,), $c$; any finite size.
        floor: a number or (n,): what is left of an entry of `z` after elimination counts as 0 if it is not above
            this. For columns known to be dependent, where only rounding is left, which a large scale would lift.

    Returns:
        $B_1$ (h, h) and $B_2$ (n, h). The basis is one of many; $B_2 B_2^\top = I - (I + Y Y^\top)^{-1}$ with
        $Y = \mathrm{diag}(e^c) Z$ is unique.

    References:
        Derived here; row-wise stability of the sorted factorisation: [higham2002accuracy], section 19.4.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> _, b = scaled_range(jnp.ones((1, 1)), jnp.array([1000.0]))
        >>> print(f"{float((b @ b.T)[0, 0]):.12f}")
        1.000000000000
    """
    z = jnp.asarray(z)
    width = z.shape[1]
    rows = jnp.concatenate([jnp.eye(width, dtype=z.dtype), z])
    scale = jax.lax.stop_gradient(jnp.concatenate([jnp.zeros(width, z.dtype), jnp.asarray(scales)]))
    is_free = jnp.ones(width, bool)
    least = jnp.broadcast_to(jnp.asarray(floor, z.dtype), z.shape[:1])
    least = jax.lax.stop_gradient(jnp.concatenate([jnp.zeros(width, z.dtype), least]))

    def reduce(carry: Any, _: Any) -> Any:
        rows, is_free, lift = carry
        size = jnp.abs(jax.lax.stop_gradient(rows))
        is_rounding = is_free[None, :] & (size <= least[:, None])
        rows, size = jnp.where(is_rounding, 0.0, rows), jnp.where(is_rounding, 0.0, size)
        weight = jnp.log(jnp.where(size > 0, size, 1.0)) + scale[:, None]
        weight = jnp.where((size > 0) & is_free[None, :], weight, -jnp.inf)
        row, column = jnp.divmod(jnp.argmax(weight), width)
        is_pivot = jnp.arange(width) == column
        pivot_row, pivot_column = rows[row], rows[:, column]
        factors = jnp.where(is_free & ~is_pivot, pivot_row / pivot_row[column], 0.0)
        rows = rows - pivot_column[:, None] * factors[None, :]
        # Exact zeros in the pivot's row: rounding there would be multiplied by the largest scale of all.
        rows = jnp.where(
            (jnp.arange(rows.shape[0]) == row)[:, None] & (is_free & ~is_pivot)[None, :], 0.0, rows
        )
        rows = jnp.where(is_pivot[None, :], rows / pivot_row[column], rows)
        lift = jnp.where(is_pivot, scale[row], lift)
        return (rows, is_free & ~is_pivot, lift), None

    (rows, _, lift), _ = jax.lax.scan(reduce, (rows, is_free, jnp.zeros(width, z.dtype)), None, length=width)
    # Where an entry is 0 its scale may be far above the pivot's: exp would be infinite, and 0 * inf no number.
    gap = jnp.where(rows != 0, scale[:, None] - lift[None, :], 0.0)
    balanced = rows * jnp.exp(gap)
    order = jnp.argsort(-jnp.max(jnp.abs(jax.lax.stop_gradient(balanced)), axis=1))
    basis, _ = jnp.linalg.qr(balanced[order])
    basis = basis[jnp.argsort(order)]
    return basis[:width], basis[width:]


def numerical_null_space(matrix: np.ndarray, tolerance: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Left basis of the range, right basis of the null space, and singular values; those up to `tolerance` are zero.

    Args:
        matrix: (m, n).
        tolerance: absolute.

    Returns:
        (m, rank), (n, n - rank), (min(m, n),).
    """
    left, singular, right = np.linalg.svd(matrix)
    rank = int(np.sum(singular > tolerance))
    return left[:, :rank], right[rank:].T, singular
