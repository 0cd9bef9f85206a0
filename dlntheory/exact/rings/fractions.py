r"""Rational functions over $\mathbb Q$ with shared denominators: products of powers of a few polynomials.

No greatest common divisor is ever computed. A denominator is written in the *bases*, the polynomials that were inverted
so far, as far as they divide it; what is left becomes a new base. Sums are brought to the largest powers that occur.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import flint
import numpy as np

from ..float_fractions import object_array
from .base import AbstractObjectRing
from .polynomials import Monomial, Polynomials, SparsePolynomial

_POLYNOMIALS = Polynomials()
Powers = Mapping[int, int]


class TooManyTermsError(RuntimeError):
    """Rational functions have become larger than was allowed; nothing too large was expanded."""


class Quotient:
    """A polynomial divided by a product of powers of the bases of a `Quotients` ring.

    Attributes:
        top: the numerator.
        powers: exponents, at least 1, by the number of the base.
    """

    __slots__ = ("powers", "top")

    def __init__(self, top: SparsePolynomial, powers: Powers):
        self.top = top
        self.powers = powers if top else {}


class Common(NamedTuple):
    """Numerators over one denominator."""

    tops: list[SparsePolynomial]
    powers: dict[int, int]


class Quotients(AbstractObjectRing):
    r"""The rational functions over $\mathbb Q$: NumPy object arrays of `Quotient`.

    Args:
        max_products: how many products of two terms may be formed altogether; beyond that `TooManyTermsError` is
            raised. `None` for no limit.

    Attributes:
        bases: the polynomials whose powers are denominators, with coprime integer coefficients.

    Example:
        >>> ring = Quotients()
        >>> x = ring.variables((2,))
        >>> print(ring.text(ring.mul(x, ring.reciprocal(x[::-1]))[0]))
        (x0)/(x1)
    """

    def __init__(self, max_products: int | None = None):
        self.bases: list[SparsePolynomial] = []
        self._left = math.inf if max_products is None else max_products

    def variables(self, shape: tuple[int, ...], start: int = 0) -> np.ndarray:
        """An array of distinct variables, numbered row by row from `start`."""
        return self._of(_POLYNOMIALS.variables(shape, start))

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        return self._of(_POLYNOMIALS.from_fractions(values))

    def neg(self, a: np.ndarray) -> np.ndarray:
        return object_array([Quotient(-entry.top, entry.powers) for entry in a.ravel()], a.shape)

    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return object_array([self.add_up(pair) for pair in zip(a.ravel(), b.ravel(), strict=True)], a.shape)

    def mul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        pairs = zip(a.ravel(), b.ravel(), strict=True)
        return object_array([self._product(x, y) for x, y in pairs], a.shape)

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        entries = [
            self.add_up([self._product(x, y) for x, y in zip(row, column, strict=True)])
            for left, right in zip(a, b, strict=True)
            for row in left
            for column in right.T
        ]
        return object_array(entries, (a.shape[0], a.shape[1], b.shape[2]))

    def add_up(self, terms: Iterable[Quotient]) -> Quotient:
        common = self.common([term for term in terms if term.top])
        return Quotient(_POLYNOMIALS.add_up(common.tops), common.powers)

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        # Broadcasting repeats one object; it is inverted once.
        inverses = {id(entry): self._inverse(entry) for entry in {id(e): e for e in x.ravel()}.values()}
        return object_array([inverses[id(entry)] for entry in x.ravel()], x.shape)

    def common(self, entries: Sequence[Quotient]) -> Common:
        """The numerators of the entries over their common denominator."""
        powers: dict[int, int] = {}
        for entry in entries:
            for base, power in entry.powers.items():
                powers[base] = max(power, powers.get(base, 0))
        return Common([self._raised(entry, powers) for entry in entries], powers)

    def reduced(self, common: Common) -> Common:
        """The same without the bases that divide all the numerators."""
        tops, powers = common.tops, dict(common.powers)
        for base in list(powers):
            while powers[base]:
                divided = list(itertools.takewhile(_is_found, self._divided(tops, self.bases[base])))
                if len(divided) < len(tops):
                    break
                tops = [part for part in divided if part is not None]
                powers[base] -= 1
        return Common(tops, {base: power for base, power in powers.items() if power})

    def text(self, entry: Quotient) -> str:
        """One line of plain text."""
        bottom = "*".join(
            f"({self.bases[base]})" + (f"^{power}" if power > 1 else "")
            for base, power in sorted(entry.powers.items())
        )
        return f"({entry.top})/{bottom}" if bottom else str(entry.top)

    def _divided(self, tops: Iterable[SparsePolynomial], base: SparsePolynomial):
        for top in tops:
            self._spend(len(top.terms))
            yield exact_quotient(top, base)

    def _of(self, polynomials: np.ndarray) -> np.ndarray:
        return object_array([Quotient(entry, {}) for entry in polynomials.ravel()], polynomials.shape)

    def _product(self, x: Quotient, y: Quotient) -> Quotient:
        powers = dict(x.powers)
        for base, power in y.powers.items():
            powers[base] = powers.get(base, 0) + power
        return Quotient(self._times(x.top, y.top), powers)

    def _times(self, a: SparsePolynomial, b: SparsePolynomial) -> SparsePolynomial:
        self._spend(len(a.terms) * len(b.terms))
        return a * b

    def _spend(self, products: int) -> None:
        self._left -= products
        if self._left < 0:
            raise TooManyTermsError("The rational functions of φ have more terms than is allowed.")

    def _raised(self, entry: Quotient, powers: Powers) -> SparsePolynomial:
        """The numerator of an entry over a larger denominator."""
        top = entry.top
        for base, power in powers.items():
            for _ in range(power - entry.powers.get(base, 0)):
                top = self._times(top, self.bases[base])
        return top

    def _inverse(self, x: Quotient) -> Quotient:
        if not x.top:
            raise ValueError(
                "Argument `phi` must have denominators that are not identically zero, but has one."
            )
        rest, powers = x.top, {}
        for number, base in enumerate(self.bases):
            while (divided := exact_quotient(rest, base)) is not None:
                rest, powers[number] = divided, powers.get(number, 0) + 1
        factor = rest
        if rest.degree:
            base = rest.primitive()
            powers[len(self.bases)] = 1
            self.bases.append(base)
            monomial = next(iter(rest.terms))
            factor = SparsePolynomial({(): rest.terms[monomial] / base.terms[monomial]})
        # Where 1/x has bases in the numerator as well as in the denominator they cancel.
        up = {
            base: power - powers.get(base, 0)
            for base, power in x.powers.items()
            if power > powers.get(base, 0)
        }
        down = {base: power - x.powers.get(base, 0) for base, power in powers.items()}
        one = SparsePolynomial({(): 1 / factor.terms[()]})
        return Quotient(
            self._raised(Quotient(one, {}), up), {base: power for base, power in down.items() if power > 0}
        )


def _is_found(polynomial: SparsePolynomial | None) -> bool:
    return polynomial is not None


def exact_quotient(a: SparsePolynomial, b: SparsePolynomial) -> SparsePolynomial | None:
    """The polynomial a/b, or `None` if b, which is not constant, does not divide a."""
    if not a:
        return a
    lead = min(b.terms, key=_grlex)
    rest, quotient = dict(a.terms), {}
    while rest:
        top = min(rest, key=_grlex)
        monomial = _without(top, lead)
        if monomial is None:
            return None
        value: flint.fmpq = rest[top] / b.terms[lead]
        quotient[monomial] = value
        for other, coefficient in b.terms.items():
            place = tuple(sorted(monomial + other))
            left = rest.get(place, 0) - value * coefficient
            if left:
                rest[place] = left
            else:
                rest.pop(place, None)
    return SparsePolynomial(quotient)


def _grlex(monomial: Monomial) -> tuple[int, Monomial]:
    """Sort key of a monomial order, the largest first: degree, then the exponents of the variables in turn."""
    return (-len(monomial), monomial)


def _without(monomial: Monomial, factor: Monomial) -> Monomial | None:
    """A monomial divided by another, or `None`."""
    rest = list(monomial)
    for variable in factor:
        if variable not in rest:
            return None
        rest.remove(variable)
    return tuple(rest)
