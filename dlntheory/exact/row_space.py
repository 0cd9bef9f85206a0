r"""The span of more and more rows modulo a prime, whose rank is known at every moment.

`modular_rank` is the fastest way to one rank, but must be called anew when rows are added, and cannot be interrupted;
for some 10,000 columns it takes minutes.
"""

from __future__ import annotations

from collections.abc import Callable

import flint
import numpy as np

_BLOCK = 128


class RowSpace:
    r"""A growing span of rows over $\mathbb F_p$, kept in blocks.

    Each block is in reduced echelon form (the identity at its pivot columns) and zero at the pivots of the blocks
    before it. So a new lot of rows is reduced by one matrix product for each block, oldest first: what later blocks
    subtract is zero where earlier ones have cleared. Only what is left of the lot, `_BLOCK` rows at a time, needs
    elimination. The work is in matrix products, which run in BLAS, and every block is a place to stop.

    Args:
        columns: the length of the rows.
        prime: below $2^{31}$.

    Example:
        >>> space = RowSpace(3, 7)
        >>> space.extend(np.array([[1, 2, 3], [2, 4, 6]])), space.extend(np.array([[0, 1, 0]]))
        (1, 2)
    """

    def __init__(self, columns: int, prime: int):
        self._columns, self._prime = columns, prime
        self._blocks: list[tuple[np.ndarray, np.ndarray]] = []

    @property
    def rank(self) -> int:
        """The dimension of the span."""
        return sum(len(pivots) for pivots, _ in self._blocks)

    def copy(self) -> RowSpace:
        """The same span, which can be extended on its own."""
        other = RowSpace(self._columns, self._prime)
        other._blocks = list(self._blocks)
        return other

    def extend(self, rows: np.ndarray, is_over: Callable[[], bool] = lambda: False) -> int:
        """Add integer rows (m, columns); returns the rank.

        Args:
            rows: what is added.
            is_over: asked between blocks of rows; where it says yes the rows that are left are not added.
        """
        for start in range(0, len(rows), _BLOCK):
            if start and is_over():
                break
            block = rows[start : start + _BLOCK] % self._prime
            for pivots, echelon in self._blocks:
                factors = block[:, pivots]
                if factors.any():
                    block = (block - _product(factors, echelon, self._prime)) % self._prime
            block = block[block.any(axis=1)]
            if len(block):
                self._blocks.append(_echelon(block, self._prime))
            if self.rank == self._columns:
                break
        return self.rank


def _echelon(rows: np.ndarray, prime: int) -> tuple[np.ndarray, np.ndarray]:
    """Pivot columns and the reduced echelon form of rows that are not all zero.

    Entries come out of a flint matrix one by one, so only pivots and a small inverse are read from one, and the echelon
    form is made by a matrix product.
    """
    pivots = _pivots(rows, prime)
    kept = _pivots(rows[:, pivots].T, prime)
    square = rows[np.ix_(kept, pivots)]
    inverse = flint.nmod_mat(len(kept), len(pivots), square.ravel().tolist(), prime).inv()
    entries = np.array([int(entry) for entry in inverse.entries()], dtype=np.int64).reshape(square.shape)
    return np.array(pivots), _product(entries, rows[kept], prime)


def _pivots(rows: np.ndarray, prime: int) -> list[int]:
    """The columns that are independent of the columns to their left."""
    reduced, rank = flint.nmod_mat(len(rows), rows.shape[1], rows.ravel().tolist(), prime).rref()
    pivots, column = [], 0
    for row in range(rank):
        while not reduced[row, column]:
            column += 1
        pivots.append(column)
    return pivots


def _product(a: np.ndarray, b: np.ndarray, prime: int) -> np.ndarray:
    """The product of residues through float64 BLAS, without any rounding.

    Halves of 16 bits: products of halves are below 2^32, and fewer than 2^21 of them add up to less than 2^53, so every
    partial sum is an integer that float64 holds.
    """
    halves = [(x >> 16).astype(np.float64) for x in (a, b)] + [
        (x & 0xFFFF).astype(np.float64) for x in (a, b)
    ]
    high_a, high_b, low_a, low_b = halves
    top = (high_a @ high_b).astype(np.int64) % prime
    middle = (high_a @ low_b + low_a @ high_b).astype(np.int64) % prime
    bottom = (low_a @ low_b).astype(np.int64) % prime
    return ((((top << 16) + middle) % prime << 16) + bottom) % prime
