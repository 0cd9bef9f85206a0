r"""Polynomials at many random points modulo a prime, and which of them are combinations of others.

Values at random points decide linear questions about polynomials: a combination that vanishes at more random points
than there are polynomials is zero, up to a probability of about (degree / prime) per point.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .linear_algebra import check_prime
from .rings.polynomials import SparsePolynomial, residue


class Samples:
    """Random points modulo a prime, at which polynomials and their gradients are evaluated.

    Args:
        dimension: the number of variables.
        count: the number of points.
        prime: a prime below 2**31.
        rng: where the points come from.

    Attributes:
        points: (count, dimension) residues.
    """

    def __init__(self, dimension: int, count: int, prime: int, rng: np.random.Generator):
        self.prime = check_prime(prime)
        self.points = rng.integers(0, self.prime, (count, dimension))
        self._extended = np.concatenate([self.points, np.ones((count, 1), dtype=np.int64)], axis=1)

    @property
    def count(self) -> int:
        """The number of points."""
        return len(self.points)

    def values(self, polynomial: SparsePolynomial) -> np.ndarray:
        """(count,) values of a polynomial."""
        total = np.zeros(self.count, dtype=np.int64)
        if not polynomial:
            return total
        rows, coefficients = polynomial.arrays(self.points.shape[1])
        weights = np.array([residue(value, self.prime) for value in coefficients], dtype=np.int64)
        # A bounded piece of the terms at a time: terms times points times degree may be large.
        step = max(1, 2_000_000 // max(1, self.count))
        for start in range(0, len(rows), step):
            part = np.broadcast_to(
                weights[start : start + step, None], (len(rows[start : start + step]), self.count)
            )
            for column in rows[start : start + step].T:
                part = part * self._extended[:, column].T % self.prime
            total = (total + part.sum(axis=0)) % self.prime
        return total

    def gradient(self, polynomial: SparsePolynomial) -> np.ndarray:
        """(dimension, count) values of the partial derivatives."""
        found = np.zeros((self.points.shape[1], self.count), dtype=np.int64)
        for variable, part in polynomial.gradient().items():
            found[variable] = self.values(part)
        return found

    def monomial(self, generators: np.ndarray, factors: Sequence[int]) -> np.ndarray:
        """(count,) values of a product of rows of `generators` (number, count)."""
        value = np.ones(self.count, dtype=np.int64)
        for factor in factors:
            value = value * generators[factor] % self.prime
        return value

    def inner(self, left: np.ndarray, right: np.ndarray) -> np.ndarray:
        """(count,) sums over axis 0 of products of two (size, count) arrays of residues."""
        total = np.zeros(self.count, dtype=np.int64)
        for x, y in zip(left, right, strict=True):
            total += x * y % self.prime
        return total % self.prime
