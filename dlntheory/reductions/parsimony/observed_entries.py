"""`ObservedEntries`: the known entries of a matrix, laid out so that a step costs entries times rank."""

from __future__ import annotations

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integers, real_array
from ...losses.base import checked_array

#: Rows of the layout handled together: their gathered factors stay in the cache.
BLOCK = 8


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class ObservedEntries:
    r"""Some entries $\Phi_{ij}$, $(i, j) \in \Omega$, of a matrix.

    Args:
        rows: i (n,).
        columns: j (n,).
        values: $\Phi_{ij}$ (n,).
        shape: (d_L, d_0) of the matrix.

    Raises:
        ValueError: lengths that differ, indices out of range or repeated, non-finite values.

    Example:
        >>> ObservedEntries([0, 1, 1], [0, 0, 2], [1.0, 2.0, 3.0], (2, 3))
        ObservedEntries(3 of 2 x 3 entries, 50 %)
    """

    rows: np.ndarray
    columns: np.ndarray
    values: np.ndarray
    shape: tuple[int, int]

    def __post_init__(self):
        rows, columns = (
            _indices(array, name) for array, name in ((self.rows, "rows"), (self.columns, "columns"))
        )
        values = real_array(self.values, "values", ndim=1)
        if not len(rows) == len(columns) == len(values):
            raise ValueError(
                "Arguments `rows`, `columns` and `values` must be vectors of one length, but have "
                f"{len(rows)}, {len(columns)} and {values.shape}."
            )
        shape = integers(self.shape, "shape", at_least=2)[:2]
        for array, size, name in ((rows, shape[0], "rows"), (columns, shape[1], "columns")):
            if array.min() < 0 or array.max() >= size:
                raise ValueError(
                    f"Argument `{name}` must hold indices from 0 to {size - 1}, but reaches from {array.min()} to "
                    f"{array.max()}."
                )
        order = np.lexsort((columns, rows))
        rows, columns, values = rows[order], columns[order], values[order]
        repeated = int(np.sum((np.diff(rows) == 0) & (np.diff(columns) == 0)))
        if repeated:
            raise ValueError(f"Arguments `rows`, `columns` must name each entry once, but {repeated} repeat.")
        for name, value in (("rows", rows), ("columns", columns), ("values", values), ("shape", shape)):
            object.__setattr__(self, name, value)

    @classmethod
    def from_mask(cls, target: Any, mask: Any) -> ObservedEntries:
        """The entries of a matrix where a boolean mask is true; others may be nan.

        Raises:
            ValueError: a mask that is not boolean, of another shape, or all false.
        """
        values, observed = checked_array(target, "target", finite=False), np.asarray(mask)
        if observed.dtype != np.bool_ or observed.shape != values.shape or observed.ndim != 2:
            raise ValueError(
                f"Argument `mask` must be boolean of the shape {values.shape} of `target`, but has dtype "
                f"{observed.dtype} and shape {observed.shape}."
            )
        if not observed.any():
            raise ValueError(f"Argument `mask` must observe an entry, but all {observed.size} are false.")
        rows, columns = np.nonzero(observed)
        return cls(rows, columns, values[rows, columns], (values.shape[0], values.shape[1]))

    @property
    def density(self) -> float:
        """The fraction of entries observed."""
        return len(self.values) / (self.shape[0] * self.shape[1])

    def __len__(self) -> int:
        return len(self.values)

    def __repr__(self) -> str:
        return f"ObservedEntries({len(self)} of {self.shape[0]} x {self.shape[1]} entries, {100 * self.density:.3g} %)"

    def leading_vectors(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        r"""Top left and right singular vectors of the matrix that is $\Phi$ on $\Omega$ and 0 elsewhere, by Lanczos."""
        from scipy.sparse import csr_matrix
        from scipy.sparse.linalg import svds

        matrix = csr_matrix((self.values, (self.rows, self.columns)), shape=self.shape)
        start = np.random.default_rng(0).standard_normal(min(self.shape))
        triple: Any = svds(matrix, k=count, v0=start)
        return np.ascontiguousarray(triple[0][:, ::-1]), np.ascontiguousarray(triple[2][::-1].T)


class Layout(NamedTuple):
    """Entries row by row and column by column, padded to the longest, in blocks of `BLOCK`; arrays for a step.

    Attributes:
        columns: column of each entry (blocks, BLOCK, longest).
        values: its value.
        is_entry: 1.0 for an entry, 0.0 for padding.
        rows: row of each entry, column by column.
        places: where the residual of that entry stands in the row-wise layout.
        is_entry_by_column: as `is_entry`, column by column.
    """

    columns: Any
    values: Any
    is_entry: Any
    rows: Any
    places: Any
    is_entry_by_column: Any


def sparse_layout(entries: ObservedEntries) -> Layout:
    """The arrays of `sparse_gradients`; memory is twelve numbers or so for each entry."""
    padded_rows = -(-entries.shape[0] // BLOCK) * BLOCK
    padded_columns = -(-entries.shape[1] // BLOCK) * BLOCK
    by_row, place = _slots(entries.rows, padded_rows)
    order = np.lexsort((entries.rows, entries.columns))
    by_column, place_of_column = _slots(entries.columns[order], padded_columns)

    def spread(shape: tuple[int, int], places: np.ndarray, values: np.ndarray, dtype) -> np.ndarray:
        out = np.zeros(shape[0] * shape[1], dtype=dtype)
        out[places] = values
        return out.reshape(-1, BLOCK, shape[1])

    return Layout(
        jnp.asarray(spread(by_row, place, entries.columns, np.int32)),
        jnp.asarray(spread(by_row, place, entries.values, np.float64)),
        jnp.asarray(spread(by_row, place, np.ones(len(entries)), np.float64)),
        jnp.asarray(spread(by_column, place_of_column, entries.rows[order], np.int32)),
        jnp.asarray(spread(by_column, place_of_column, place[order], np.int32)),
        jnp.asarray(spread(by_column, place_of_column, np.ones(len(entries)), np.float64)),
    )


def sparse_gradients(layout: Layout, left, right) -> tuple[Any, Any, Any]:
    r"""Loss and gradients of $\frac12\sum_\Omega ((A B^\top)_{ij} - \Phi_{ij})^2$, from observed entries only. Pure.

    Args:
        layout: from `sparse_layout`.
        left: A (d_L, k).
        right: B (d_0, k).

    Returns:
        The loss, its gradient in A and its gradient in B.
    """
    rank = left.shape[1]

    def in_blocks(matrix, blocks: int):
        padding = blocks * BLOCK - matrix.shape[0]
        return jnp.pad(matrix, ((0, padding), (0, 0))).reshape(blocks, BLOCK, rank)

    def by_row(block):
        factor, columns, values, is_entry = block
        gathered = _gather(right, columns)
        residual = (jnp.sum(factor[:, None, :] * gathered, axis=-1) - values) * is_entry
        return jnp.einsum("bq,bqk->bk", residual, gathered), residual

    blocks = (in_blocks(left, layout.columns.shape[0]), layout.columns, layout.values, layout.is_entry)
    gradient_left, residual = jax.lax.map(by_row, blocks)
    flat = residual.reshape(-1)

    def by_column(block):
        rows, places, is_entry = block
        return jnp.einsum("bq,bqk->bk", _gather(flat, places) * is_entry, _gather(left, rows))

    gradient_right = jax.lax.map(by_column, (layout.rows, layout.places, layout.is_entry_by_column))
    return (
        0.5 * jnp.sum(flat**2),
        gradient_left.reshape(-1, rank)[: left.shape[0]],
        gradient_right.reshape(-1, rank)[: right.shape[0]],
    )


def dense_gradients(layout: tuple[Any, Any], left, right) -> tuple[Any, Any, Any]:
    """The same with the whole matrix in memory: faster where a large part of it is observed. Pure.

    Args:
        layout: the matrix with zeros where it is not observed, and the mask as floats, both (d_L, d_0).
        left: A (d_L, k).
        right: B (d_0, k).
    """
    target, mask = layout
    residual = (left @ right.T - target) * mask
    return 0.5 * jnp.sum(residual**2), residual @ right, residual.T @ left


def dense_layout(entries: ObservedEntries) -> tuple[Any, Any]:
    """The arrays of `dense_gradients`."""
    target, mask = np.zeros(entries.shape), np.zeros(entries.shape)
    target[entries.rows, entries.columns] = entries.values
    mask[entries.rows, entries.columns] = 1.0
    return jnp.asarray(target), jnp.asarray(mask)


def _gather(array, indices):
    # The indices were checked when the entries were made.
    return array.at[indices].get(mode="promise_in_bounds")


def _slots(sorted_lines: np.ndarray, lines: int) -> tuple[tuple[int, int], np.ndarray]:
    """Shape of a padded layout of entries sorted by line, and the flat place of each entry in it."""
    counts = np.bincount(sorted_lines, minlength=lines)
    longest = int(counts.max())
    first = np.concatenate([[0], np.cumsum(counts)[:-1]])
    within = np.arange(len(sorted_lines)) - first[sorted_lines]
    return (lines, longest), sorted_lines * longest + within


def _indices(value: Any, argument: str) -> np.ndarray:
    array = np.asarray(value)
    if array.ndim != 1 or array.size == 0 or array.dtype.kind not in "iu":
        raise ValueError(
            f"Argument `{argument}` must be a non-empty vector of integers, but has shape {array.shape} and dtype "
            f"{array.dtype}."
        )
    return array.astype(np.int64)
