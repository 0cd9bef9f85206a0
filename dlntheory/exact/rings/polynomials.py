r"""Sparse polynomials over $\mathbb Q$ in any number of variables, the ring of them, and how large they would be.

A monomial is the sorted tuple of its variables' indices, each as often as its exponent: in the six hundred variables of
a network every monomial has a handful of factors, where dense exponent vectors would have hundreds of zeros.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import flint
import numpy as np
import sympy

from ..float_fractions import object_array
from .base import AbstractObjectRing

Monomial = tuple[int, ...]


class SparsePolynomial:
    r"""An immutable polynomial over $\mathbb Q$ as a dict from monomials to `flint.fmpq`.

    Args:
        terms: coefficients by sorted tuples of variable indices; zeros are dropped.

    Example:
        >>> x, y = (SparsePolynomial({(i,): 1}) for i in range(2))
        >>> print((x + y) * (x - y))
        x0^2 - x1^2
    """

    __slots__ = ("terms",)

    def __init__(self, terms: Mapping[Monomial, Any]):
        self.terms = {monomial: as_fmpq(value) for monomial, value in terms.items() if value != 0}

    @classmethod
    def _of(cls, terms: dict[Monomial, flint.fmpq]) -> SparsePolynomial:
        """A polynomial that takes over a dict of fmpq values, possibly with zeros."""
        result = object.__new__(cls)
        result.terms = {monomial: value for monomial, value in terms.items() if value}
        return result

    def __add__(self, other: SparsePolynomial) -> SparsePolynomial:
        large, small = (self, other) if len(self.terms) >= len(other.terms) else (other, self)
        total = dict(large.terms)
        for monomial, value in small.terms.items():
            total[monomial] = total[monomial] + value if monomial in total else value
        return SparsePolynomial._of(total)

    def __neg__(self) -> SparsePolynomial:
        return SparsePolynomial._of({monomial: -value for monomial, value in self.terms.items()})

    def __sub__(self, other: SparsePolynomial) -> SparsePolynomial:
        return self + (-other)

    def __mul__(self, other: SparsePolynomial) -> SparsePolynomial:
        return sum_of_products([(self, other)])

    def scaled(self, factor: Any) -> SparsePolynomial:
        """The polynomial times a rational number."""
        factor = as_fmpq(factor)
        return SparsePolynomial._of({monomial: value * factor for monomial, value in self.terms.items()})

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparsePolynomial) and self.terms == other.terms

    def __hash__(self) -> int:
        return hash(frozenset((monomial, str(value)) for monomial, value in self.terms.items()))

    def __bool__(self) -> bool:
        return bool(self.terms)

    @property
    def degree(self) -> int:
        """The total degree; 0 for constants, zero among them."""
        return max(map(len, self.terms), default=0)

    @property
    def variables(self) -> tuple[int, ...]:
        """The indices that occur, sorted."""
        return tuple(sorted({index for monomial in self.terms for index in monomial}))

    def derivative(self, variable: int) -> SparsePolynomial:
        """The partial derivative by a variable."""
        return self.gradient().get(variable, SparsePolynomial({}))

    def gradient(self) -> dict[int, SparsePolynomial]:
        """All partial derivatives that are not zero, by variable."""
        parts: dict[int, dict[Monomial, flint.fmpq]] = {}
        for monomial, value in self.terms.items():
            for place, variable in enumerate(monomial):
                if place and monomial[place - 1] == variable:
                    continue
                rest = monomial[:place] + monomial[place + 1 :]
                parts.setdefault(variable, {})[rest] = value * monomial.count(variable)
        return {variable: SparsePolynomial._of(terms) for variable, terms in parts.items()}

    def evaluate_mod(self, point: Sequence[int] | np.ndarray, prime: int) -> int:
        """The value modulo a prime at a point of residues.

        Raises:
            ValueError: the prime divides a denominator.
        """
        total = 0
        for monomial, value in self.terms.items():
            product = residue(value, prime)
            for variable in monomial:
                product = product * int(point[variable]) % prime
            total += product
        return total % prime

    def gradient_mod(self, point: np.ndarray, prime: int) -> np.ndarray:
        """All partial derivatives modulo a prime at a point of residues, (variables,).

        Raises:
            ValueError: the prime divides a denominator.
        """
        rows, coefficients = self.arrays(len(point))
        values = np.array([residue(value, prime) for value in coefficients], dtype=np.int64)
        return gradient_of_monomials(rows, values, point, prime)

    def arrays(self, one: int, degree: int | None = None) -> tuple[np.ndarray, list[flint.fmpq]]:
        """Monomials as rows (terms, degree) of indices, filled up with the index `one`, and the coefficients."""
        degree = self.degree if degree is None else degree
        rows = [(*monomial, *(one,) * (degree - len(monomial))) for monomial in self.terms]
        return np.array(rows, dtype=np.int64).reshape(len(rows), degree), list(self.terms.values())

    def primitive(self) -> SparsePolynomial:
        """The multiple with coprime integer coefficients, the first monomial's positive."""
        if not self.terms:
            return self
        values = list(self.terms.values())
        denominator = math.lcm(*(int(value.q) for value in values))
        content = math.gcd(*(int(value.p) * (denominator // int(value.q)) for value in values))
        sign = -1 if self.terms[min(self.terms, key=monomial_order)] < 0 else 1
        return self.scaled(flint.fmpq(sign * denominator, content))

    def to_sympy(self, symbols: Sequence[Any]) -> sympy.Expr:
        """The SymPy expression, expanded, in the given symbols."""
        terms = []
        for monomial in sorted(self.terms, key=monomial_order):
            value = self.terms[monomial]
            powers = {variable: monomial.count(variable) for variable in monomial}
            factors = [sympy.Pow(symbols[variable], count) for variable, count in powers.items()]
            terms.append(sympy.Mul(sympy.Rational(int(value.p), int(value.q)), *factors))
        return sympy.Add(*terms)

    def text(self, names: Sequence[str]) -> str:
        """One line of plain text with the given names of the variables."""
        parts = []
        for monomial in sorted(self.terms, key=monomial_order):
            value = self.terms[monomial]
            powers = {variable: monomial.count(variable) for variable in monomial}
            factors = [names[v] + (f"^{count}" if count > 1 else "") for v, count in powers.items()]
            size = abs(value)
            if size != 1 or not factors:
                factors.insert(0, str(size))
            sign = ("-" if value < 0 else "") if not parts else (" - " if value < 0 else " + ")
            parts.append(sign + "*".join(factors))
        return "".join(parts) or "0"

    def __str__(self) -> str:
        size = max(self.variables, default=-1) + 1
        return self.text([f"x{index}" for index in range(size)])

    def __repr__(self) -> str:
        return f"SparsePolynomial({self})"


def from_sympy(expression: Any, symbols: Sequence[Any]) -> SparsePolynomial:
    """A SymPy polynomial with rational coefficients as a `SparsePolynomial`.

    Raises:
        ValueError: it is not polynomial in the symbols, or a coefficient is not a rational number.
    """
    expression = sympy.sympify(expression)
    unknown = expression.free_symbols - set(symbols)
    if unknown:
        raise ValueError(
            f"Argument `expression` must only hold the given symbols, but also holds {sorted(map(str, unknown))}."
        )
    used = [index for index, symbol in enumerate(symbols) if symbol in expression.free_symbols]
    if not used:
        return SparsePolynomial({(): _rational(expression)})
    try:
        polynomial = sympy.Poly(expression, *(symbols[index] for index in used))
    except sympy.PolynomialError as error:
        raise ValueError(f"Argument `expression` must be polynomial, but is {expression}.") from error
    terms = {}
    for exponents, value in polynomial.terms():
        monomial = tuple(v for v, count in zip(used, exponents, strict=True) for _ in range(count))
        terms[monomial] = _rational(value)
    return SparsePolynomial(terms)


def sum_of_products(pairs: Iterable[tuple[SparsePolynomial, SparsePolynomial]]) -> SparsePolynomial:
    """The sum of the products of pairs, collected in one dict."""
    total: dict[Monomial, flint.fmpq] = {}
    for left, right in pairs:
        for a, x in left.terms.items():
            for b, y in right.terms.items():
                monomial = tuple(sorted(a + b)) if a and b else a or b
                value = x * y
                total[monomial] = total[monomial] + value if monomial in total else value
    return SparsePolynomial._of(total)


def gradient_of_monomials(rows: np.ndarray, values: np.ndarray, point: np.ndarray, prime: int) -> np.ndarray:
    """The gradient of $\\sum_i v_i x^{m_i}$ modulo a prime, (variables,).

    Args:
        rows: (terms, degree) indices of the variables of each monomial, filled up with the index one past the last.
        values: (terms,) residues of the coefficients.
        point: (variables,) residues.
        prime: a prime below 2**31.
    """
    padded = np.append(point, 1)
    total = np.zeros(len(padded), dtype=np.int64)
    for place in range(rows.shape[1]):
        product = values % prime
        for other in range(rows.shape[1]):
            if other != place:
                product = product * padded[rows[:, other]] % prime
        # Fewer than 2**31 residues are added before the reduction.
        np.add.at(total, rows[:, place], product)
    return total[:-1] % prime


def monomial_order(monomial: Monomial) -> tuple:
    """Sort key: squares first, then low degree, then the variables in order."""
    return (len(set(monomial)) > 1, len(monomial), monomial)


def as_fmpq(value: Any) -> flint.fmpq:
    """An integer, a fraction or an fmpq as an fmpq."""
    if isinstance(value, flint.fmpq):
        return value
    return flint.fmpq(int(value.numerator), int(value.denominator))


def residue(value: flint.fmpq, prime: int) -> int:
    """A rational number modulo a prime.

    Raises:
        ValueError: the prime divides the denominator.
    """
    if value.q == 1:
        return int(value.p) % prime
    if value.q % prime == 0:
        raise ValueError(
            f"Argument `prime` must not divide a denominator, but {prime} divides that of {value}."
        )
    return int(value.p) * pow(int(value.q), -1, prime) % prime


class Polynomials(AbstractObjectRing):
    r"""The polynomials over $\mathbb Q$: NumPy object arrays of `SparsePolynomial`.

    Example:
        >>> ring = Polynomials()
        >>> print(ring.matmul(ring.variables((1, 1, 2)), ring.variables((1, 2, 1), start=2)))
        [[[SparsePolynomial(x0*x2 + x1*x3)]]]
    """

    def variables(self, shape: tuple[int, ...], start: int = 0) -> np.ndarray:
        """An array of distinct variables, numbered row by row from `start`."""
        entries = [SparsePolynomial({(start + i,): 1}) for i in range(math.prod(shape))]
        return object_array(entries, shape)

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        return object_array([SparsePolynomial({(): value}) for value in values.ravel()], values.shape)

    def add_up(self, terms: Any) -> SparsePolynomial:
        total: dict[Monomial, flint.fmpq] = {}
        for term in terms:
            for monomial, value in term.terms.items():
                total[monomial] = total[monomial] + value if monomial in total else value
        return SparsePolynomial._of(total)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        entries = [
            sum_of_products(zip(row, column, strict=True))
            for left, right in zip(a, b, strict=True)
            for row in left
            for column in right.T
        ]
        return object_array(entries, (a.shape[0], a.shape[1], b.shape[2]))


class TermCounts(AbstractObjectRing):
    """Upper bounds on how many terms polynomials have, so that nothing too large is ever expanded.

    An entry is an integer; cancellations are not foreseen. A reciprocal counts as one term, so that the numbers are
    bounds for polynomial maps only; the size of rational ones is limited by `Quotients`. All constants of a program
    pass through `from_fractions`, so it also refuses the ones that nobody wrote as a fraction.

    Args:
        max_denominator: constants with a larger denominator are refused; `None` accepts all.
    """

    def __init__(self, max_denominator: int | None = None):
        self.max_denominator = max_denominator

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        for value in values.ravel() if self.max_denominator is not None else ():
            if value.denominator > self.max_denominator:
                raise ValueError(
                    f"Argument `phi` must have constants that are fractions with denominators up to "
                    f"{self.max_denominator}, but holds {float(value)!r}, whose simplest fraction is {value}. "
                    "Laws are exact statements: write the constant as a fraction, round the data, or make it a "
                    "parameter."
                )
        return object_array([int(value != 0) for value in values.ravel()], values.shape)

    def neg(self, a: np.ndarray) -> np.ndarray:
        return a

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        return object_array([1] * x.size, x.shape)

    def add_up(self, terms: Any) -> int:
        return functools.reduce(lambda total, term: total + term, terms, 0)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return np.matmul(a, b)


def _rational(value: Any) -> flint.fmpq:
    if isinstance(value, sympy.Float) or not getattr(value, "is_Rational", False):
        raise ValueError(
            f"Argument `expression` must have rational coefficients, but has {value}; "
            "write it as a fraction, for example sympy.Rational(1, 10)."
        )
    return flint.fmpq(int(value.p), int(value.q))
