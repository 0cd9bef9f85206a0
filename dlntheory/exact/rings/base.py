"""Commutative rings over which a polynomial or rational map is evaluated, and the two with one Python object per entry.

A *ring array* is whatever a ring uses to store an array of its elements; only the ring looks inside. A ring
needs to know arithmetic and how entries are picked (`take`), and nothing of JAX, calculus or networks.
"""

from __future__ import annotations

import abc
import functools
import math
from typing import Any

import flint
import numpy as np
import sympy

from ..float_fractions import exact_array, object_array


class AbstractRing(abc.ABC):
    """Arithmetic on arrays of elements of a commutative ring in which most integers are invertible.

    Binary operations take two ring arrays of the same shape: broadcasting is the interpreter's work.
    """

    @abc.abstractmethod
    def from_fractions(self, values: np.ndarray) -> Any:
        """The ring array of an object array of `Fraction`."""

    @abc.abstractmethod
    def shape(self, x: Any) -> tuple[int, ...]:
        """The shape of the array, without the axes that the ring uses to store one element."""

    @abc.abstractmethod
    def reshape(self, x: Any, shape: tuple[int, ...]) -> Any:
        """The same entries, row by row, in another shape."""

    @abc.abstractmethod
    def take(self, sources: list[Any], indices: np.ndarray) -> Any:
        """Entries of the sources laid out flat one after another, at integer positions of any shape."""

    @abc.abstractmethod
    def add(self, a: Any, b: Any) -> Any:
        """Entrywise sum."""

    @abc.abstractmethod
    def neg(self, a: Any) -> Any:
        """Entrywise negative."""

    @abc.abstractmethod
    def mul(self, a: Any, b: Any) -> Any:
        """Entrywise product."""

    @abc.abstractmethod
    def sum(self, x: Any, axes: tuple[int, ...]) -> Any:
        """Sum over axes; zero where there is nothing to add."""

    @abc.abstractmethod
    def matmul(self, a: Any, b: Any) -> Any:
        """Product of stacks of matrices, (batch, m, k) and (batch, k, n); every contraction becomes one."""

    def reciprocal(self, x: Any) -> Any:
        """Entrywise reciprocal; what divides by a parameter needs it.

        Raises:
            ValueError: an entry is zero; `DivisionByZeroInRing` in a ring where that is an accident of the point.
            TypeError: the ring has no reciprocals.
        """
        raise TypeError(
            f"Argument `ring` must have reciprocals for a map that divides by parameters, but "
            f"{type(self).__name__} has none; use `Quotients` for polynomials."
        )

    def constant(self, values: Any) -> Any:
        """The ring array of numbers; floats are read as the simplest fraction that rounds to them."""
        return self.from_fractions(exact_array(values))

    def power(self, x: Any, exponent: int) -> Any:
        """Entrywise power by repeated squaring; `exponent` is at least 1."""
        result, square = None, x
        while True:
            if exponent & 1:
                result = square if result is None else self.mul(result, square)
            exponent >>= 1
            if not exponent:
                return result
            square = self.mul(square, square)


class DivisionByZeroInRing(ZeroDivisionError):
    """A denominator has no inverse at a point of the ring, though it may have one at another point.

    Attributes:
        points: boolean array, for each point of the batch whether a denominator vanishes there.
    """

    def __init__(self, message: str, points: np.ndarray):
        super().__init__(message)
        self.points = points


class AbstractObjectRing(AbstractRing):
    """A ring whose arrays are NumPy object arrays with one Python object per entry."""

    @abc.abstractmethod
    def add_up(self, terms: Any) -> Any:
        """The sum of a flat array of elements."""

    def shape(self, x: np.ndarray) -> tuple[int, ...]:
        return np.shape(x)

    def reshape(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return np.reshape(x, shape)

    def take(self, sources: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        flat = np.concatenate([source.ravel() for source in sources])
        return _boxed(flat[indices])

    # NumPy turns the result of an operation on zero-dimensional object arrays into the bare object, hence
    # `_boxed`.
    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return _boxed(a + b)

    def neg(self, a: np.ndarray) -> np.ndarray:
        return _boxed(-a)

    def mul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return _boxed(a * b)

    def sum(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        kept = [axis for axis in range(x.ndim) if axis not in axes]
        shape = tuple(x.shape[axis] for axis in kept)
        length = math.prod(x.shape[axis] for axis in axes)
        rows = np.transpose(x, (*kept, *axes)).reshape(math.prod(shape), length)
        return object_array([self.add_up(row) for row in rows], shape)


class Rationals(AbstractObjectRing):
    """The rational numbers: NumPy object arrays of `flint.fmpq`.

    Example:
        >>> ring = Rationals()
        >>> print(ring.add(ring.constant([0.5]), ring.constant([1 / 3])))
        [5/6]
    """

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        entries = [flint.fmpq(entry.numerator, entry.denominator) for entry in values.ravel()]
        return object_array(entries, values.shape)

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        _refuse_zeros(x)
        return object_array([1 / entry for entry in x.ravel()], x.shape)

    def add_up(self, terms: Any) -> flint.fmpq:
        return functools.reduce(lambda total, term: total + term, terms, flint.fmpq(0))

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        (batch, m, k), n = a.shape, b.shape[2]
        entries: list[flint.fmpq] = []
        for left, right in zip(a, b, strict=True):
            product = flint.fmpq_mat(m, k, left.ravel().tolist()) * flint.fmpq_mat(
                k, n, right.ravel().tolist()
            )
            entries.extend(product.entries())
        return object_array(entries, (batch, m, n))


class Expressions(AbstractObjectRing):
    """SymPy expressions, built but never expanded: NumPy object arrays of `sympy.Expr`."""

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        entries = [sympy.Rational(entry.numerator, entry.denominator) for entry in values.ravel()]
        return object_array(entries, values.shape)

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        _refuse_zeros(x)
        return object_array([1 / entry for entry in x.ravel()], x.shape)

    def add_up(self, terms: Any) -> sympy.Expr:
        # One n-ary sum: adding term by term would sort and rebuild the sum n times.
        return sympy.Add(*terms)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        entries = [
            self.add_up([x * y for x, y in zip(row, column, strict=True)])
            for left, right in zip(a, b, strict=True)
            for row in left
            for column in right.T
        ]
        return object_array(entries, (a.shape[0], a.shape[1], b.shape[2]))


def _refuse_zeros(x: np.ndarray) -> None:
    zeros = sum(entry == 0 for entry in x.ravel())
    if zeros:
        raise ValueError(
            f"Argument `x` must have no zero among the numbers to be inverted, but {zeros} of {x.size} are zero: "
            "a denominator of φ vanishes at this point."
        )


def _boxed(x: Any) -> np.ndarray:
    return x if isinstance(x, np.ndarray) else object_array([x], ())
