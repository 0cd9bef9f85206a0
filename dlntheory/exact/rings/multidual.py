r"""The ring $\mathbb F_p[e_0, e_1, …]/(e_i^2)$: arithmetic modulo a prime that carries mixed derivatives."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import numpy as np
import sympy

from .base import AbstractRing, DivisionByZeroInRing


class NilpotentModular(AbstractRing):
    r"""Elements of $R_k = \mathbb F_p[e_0, …, e_{k-1}]/(e_i^2)$ for every level $k$ at once, in batches.

    A ring array is an int64 array of shape $(2^k, B, *\text{shape})$ with entries in $[0, p)$: axis 0 holds
    the coefficients, that of $\prod_{i \in S} e_i$ at the bit mask $S$; axis 1 is a batch of independent
    points, of size 1 for constants. Each array is stored at its own level $k$, in the smallest $R_k$ that is
    known to hold it, since $R_0 \subset R_1 \subset …$; operations on two levels give the larger. So
    constants cost nothing extra, and level 0 is plain arithmetic modulo $p$. Reduction is NumPy's `%`, which
    compiles the division by one number into multiplications and is faster here than the shifts that a
    Mersenne prime allows.

    Products cost $3^k$ scalar products: $c_S = \sum_{T \subset S} a_T b_{S \setminus T}$.

    Args:
        prime: a prime below $2^{31}$.

    Raises:
        ValueError: `prime` is not a prime below $2^{31}$.
    """

    def __init__(self, prime: int = 2**31 - 1):
        if not 2 <= prime < 2**31 or not sympy.isprime(prime):
            raise ValueError(f"Argument `prime` must be a prime below 2**31, but is {prime}.")
        self.prime = int(prime)

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        """Level 0, batch 1; a denominator divisible by the prime raises."""
        residues = [self._residue(entry) for entry in values.ravel()]
        return np.array(residues, dtype=np.int64).reshape(1, 1, *values.shape)

    def from_integers(self, values: Any) -> np.ndarray:
        """Integers of shape (B, *shape), one array for each point of the batch, at level 0."""
        return np.asarray(values, dtype=np.int64)[None] % self.prime

    def level(self, x: np.ndarray) -> int:
        """The $k$ of the $R_k$ in which the array is stored."""
        return x.shape[0].bit_length() - 1

    def lift(self, x: np.ndarray, level: int) -> np.ndarray:
        """The same elements stored in a larger $R_k$."""
        missing = 2**level - len(x)
        if missing < 0:
            raise ValueError(f"Argument `level` must be at least {self.level(x)}, but is {level}.")
        return np.concatenate([x, np.zeros((missing, *x.shape[1:]), np.int64)]) if missing else x

    def join(self, low: np.ndarray, high: np.ndarray, level: int) -> np.ndarray:
        r"""$low + e_{k}\, high$ in $R_{k+1}$, for `low` and `high` in $R_k$ with $k$ = `level`."""
        low, high = self.lift(low, level), self.lift(high, level)
        return np.concatenate(np.broadcast_arrays(low, high))

    def split(self, x: np.ndarray, level: int) -> tuple[np.ndarray, np.ndarray]:
        r"""The inverse of `join`: $(low, high)$ in $R_k$ with $x = low + e_k\, high$, $k$ = `level`."""
        lifted = self.lift(x, level + 1)
        return lifted[: 2**level], lifted[2**level :]

    def shape(self, x: np.ndarray) -> tuple[int, ...]:
        return x.shape[2:]

    def reshape(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return x.reshape(*x.shape[:2], *shape)

    def take(self, sources: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        if len(sources) == 1:
            return sources[0].reshape(*sources[0].shape[:2], -1)[:, :, indices]
        level = max(self.level(source) for source in sources)
        batch = max(source.shape[1] for source in sources)
        lifted = [self.lift(source, level).reshape(2**level, source.shape[1], -1) for source in sources]
        flat = [np.broadcast_to(source, (2**level, batch, source.shape[2])) for source in lifted]
        return np.concatenate(flat, axis=2)[:, :, indices]

    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        level = max(self.level(a), self.level(b))
        total = self.lift(a, level) + self.lift(b, level)
        return np.where(total >= self.prime, total - self.prime, total)

    def neg(self, a: np.ndarray) -> np.ndarray:
        return np.where(a == 0, 0, self.prime - a)

    def mul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self._convolve(a, b, lambda x, y: x * y % self.prime)

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        """One more unit at a time: 1/(lo + e hi) = 1/lo - e hi/lo^2."""
        level = self.level(x)
        if level:
            low, high = self.split(x, level - 1)
            inverse = self.reciprocal(low)
            slope = self.neg(self.mul(self.mul(inverse, inverse), high))
            return self.join(inverse, slope, level - 1)
        vanishing = (x[0] == 0).reshape(x.shape[1], -1).any(axis=1)
        if vanishing.any():
            raise DivisionByZeroInRing(
                f"A denominator is zero modulo {self.prime} at {vanishing.sum()} of {len(vanishing)} points; "
                "take another point or another prime.",
                vanishing,
            )
        # Fermat; modulo 2 the only unit is 1.
        return self.power(x, self.prime - 2) if self.prime > 2 else x

    def sum(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        # Fewer than 2**31 residues below 2**31 add up to less than 2**62.
        return x.sum(axis=tuple(axis + 2 for axis in axes)) % self.prime

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return self._convolve(a, b, self._matmul_residues)

    def _convolve(self, a: np.ndarray, b: np.ndarray, multiply: Callable) -> np.ndarray:
        """The product over pairs of disjoint bit masks, given the product of coefficients.

        With a at level i below b at level j, b is 2^(j-i) elements of R_i, one for each product of the other
        units.
        """
        level = min(self.level(a), self.level(b))
        left, right, starts = _disjoint_pairs(level)
        a, b = (x.reshape(-1, 2**level, *x.shape[1:]) for x in (a, b))
        products = multiply(a[:, left], b[:, right])
        if level:
            products = np.add.reduceat(products, starts, axis=1) % self.prime
        return products.reshape(-1, *products.shape[2:])

    def _matmul_residues(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        """Matrix products of residues through float64 BLAS, without any rounding.

        Write a = 2^16 h + l with l < 2^16 and h < 2^15. A sum of 64 products l b is below 2^6 2^16 2^31 =
        2^53, and one of h b below 2^52, so every partial sum, in whatever order BLAS forms it, is an integer
        that float64 holds.
        """
        high, low, factor = (
            (a >> 16).astype(np.float64),
            (a & 0xFFFF).astype(np.float64),
            b.astype(np.float64),
        )
        batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
        total = np.zeros((*batch, a.shape[-2], b.shape[-1]), np.int64)
        for start in range(0, a.shape[-1], 64):
            columns, rows = (..., slice(start, start + 64)), (..., slice(start, start + 64), slice(None))
            upper = (high[columns] @ factor[rows]).astype(np.int64) % self.prime
            lower = (low[columns] @ factor[rows]).astype(np.int64)
            total = (total + (upper << 16) + lower) % self.prime
        return total

    def _residue(self, value: Any) -> int:
        if value.denominator % self.prime == 0:
            raise ValueError(
                f"Argument `prime` must not divide a denominator, but {self.prime} divides that of {value}; "
                "take another prime."
            )
        return value.numerator * pow(value.denominator, -1, self.prime) % self.prime


@functools.lru_cache(maxsize=32)
def _disjoint_pairs(level: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """All pairs of disjoint bit masks, sorted by their union, and where each union starts: 3^level pairs."""
    pairs = [
        [(part, whole ^ part) for part in range(whole + 1) if part & whole == part]
        for whole in range(2**level)
    ]
    starts = np.cumsum([0] + [len(group) for group in pairs[:-1]])
    left, right = np.array([pair for group in pairs for pair in group]).T
    return left, right, starts
