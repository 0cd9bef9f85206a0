r"""`LawForm` and `Evaluator`: a law as polynomials whose parts can be written and evaluated in any number type."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..display.latex import latex_name
from ..exact.float_fractions import object_array
from ..exact.rings.polynomials import SparsePolynomial
from .law import Law
from .matrix_terms import TIME
from .number_types import Numbers
from .printing import latex_polynomial, latex_sum

_MAX_SHOWN = 12


class LawForm:
    """A law as polynomials in the factors, or in the factors and their velocities, with a way to write its parts."""

    def __init__(self, law: Law, blocks: Any, polynomials: Sequence[Any], noether: bool = False):
        self.law, self.blocks, self.noether = law, blocks, noether
        self.factors = blocks[: len(blocks) // 2] if noether else blocks
        self.names = tuple(name for name, _ in self.factors)
        pairs = (
            polynomials if law.is_rational else [(entry, SparsePolynomial({(): 1})) for entry in polynomials]
        )
        self.tops, self.bottoms = [top for top, _ in pairs], [bottom for _, bottom in pairs]

    @property
    def symbol(self) -> str:
        """H for a matrix, h else; S and l for Noether laws."""
        matrix = self.law.terms is not None and len(self.law.value_shape) == 2
        return ("S" if matrix else r"\ell") if self.noether else ("H" if matrix else "h")

    @property
    def degree(self) -> int:
        """The largest degree of an entry."""
        return _degree(self.tops)

    @property
    def homogeneous_degree(self) -> int | None:
        """The degree that all monomials of all entries share, or `None`."""
        degrees = {
            len(m) - len(n)
            for a, b in zip(self.tops, self.bottoms, strict=True)
            for m in a.terms
            for n in b.terms
        }
        pure = all(len({*map(len, part.terms)}) == 1 for part in (*self.tops, *self.bottoms))
        return degrees.pop() if pure and len(degrees) == 1 else None

    @property
    def definition(self) -> str:
        """What the symbol stands for, in LaTeX."""
        return self.written("{0}", "V_{{{0}}}") if self.noether else self.law.statement

    @functools.cached_property
    def involved(self) -> tuple[str, ...]:
        """The factors that occur in the law."""
        used = {variable for part in (*self.tops, *self.bottoms) for variable in part.variables}
        ends = np.cumsum([math.prod(shape) for _, shape in self.blocks])
        places = set(np.searchsorted(ends, sorted(used), side="right").tolist())
        return tuple(name for place, name in enumerate(self.names) if place in places)

    def common(self, argument: str, values: Mapping[str, Any], default: int) -> Any:
        """The value that all factors in the law share, or `None`."""
        if unknown := sorted(set(values) - set(self.names)):
            raise ValueError(
                f"Argument `{argument}` must name factors of {list(self.names)}, but names {unknown}."
            )
        every = [values.get(name, default) for name in self.involved] or [default]
        return every[0] if all(value == every[0] for value in every) else None

    def written(self, position: str, velocity: str = "", degree: int | None = None) -> str:
        """LaTeX of the part of one degree with other letters; patterns take the name of the factor."""
        # Every block goes by a name that occurs in no formula, to be replaced afterwards.
        blind = {name: f"W{1000 + place}" for place, (name, _) in enumerate(self.blocks)}
        letters = [latex_name(name) for name in self.names]
        letters = [position.format(x) for x in letters] + [velocity.format(x) for x in letters]
        blocks = tuple((blind[name], shape) for name, shape in self.blocks)
        if self.law.terms is not None:
            terms = [
                dataclasses.replace(term, blocks=tuple(blind[name] for name in term.blocks), time=0)
                for term in self.law.terms
                if degree in (None, 1 if term.form in ("sum", "symmetric") else 2)
            ]
            text = latex_sum(terms, dict(blocks)) if terms else ""
        else:
            entries = [_homogeneous(entry, degree) for entry in self.tops]
            shown = [latex_polynomial(entry, blocks) for entry in entries[:_MAX_SHOWN] if any(entries)]
            more = [r"\dots"] if shown and len(entries) > _MAX_SHOWN else []
            text = r",\; ".join(shown + more)

        def named(match: re.Match) -> str:
            place, index, unfolded = match.groups()
            letter, own = letters[int(place) - 1000], self.blocks[int(place) - 1000][0]
            if index and letter == latex_name(own):
                return latex_name(own, tuple(int(entry) - 1 for entry in index[1:].split(",")))
            # LaTeX refuses a second subscript without braces.
            return rf"({letter})_{{{index[1:]}}}" if index else f"{{{letter}}}" if unfolded else letter

        return re.sub(r"W_\{(1\d{3})(,[\d,]+)?\}(?=(_)?)", named, text)

    def checked(self, argument: str, values: Mapping[str, Any]) -> list[Any]:
        """The arrays of the factors in their order."""
        named = isinstance(values, Mapping)
        if not named or (missing := [name for name in self.names if name not in values]):
            lacks = f"lacks {missing}" if named else f"is {type(values).__name__}"
            raise ValueError(f"Argument `{argument}` must hold the factors {list(self.names)}, but {lacks}.")
        for name, shape in self.factors:
            if np.shape(values[name]) != shape:
                raise ValueError(
                    f"Argument `{argument}['{name}']` must have shape {shape}, but has {np.shape(values[name])}."
                )
        return [values[name] for name, _ in self.factors]

    def arranged(self, entries: Any) -> Any:
        """The entries in the shape of `law(params)`, symmetric or skew."""
        shape, positions = self.law.value_shape, self.law.positions
        if len(positions) == math.prod(shape):
            return entries.reshape(shape)
        n = shape[-1]
        row, column = positions // n % n, positions % n
        where, sign = np.zeros((2, math.prod(shape)), dtype=np.int64)
        mirrored = positions + (column - row) * n + row - column
        where[mirrored], sign[mirrored] = np.arange(len(positions)), -1 if self.noether else 1
        where[positions], sign[positions] = np.arange(len(positions)), 1
        return (Numbers([entries]).each(sign.tolist()) * entries[where]).reshape(shape)


def noether_form(law: Law) -> LawForm | None:
    r"""The form of a Noether law without its time factor; `None` for a law without velocities.

    Raises:
        ValueError: a law of a momentum system that is not of this form.
    """
    (first, shape), *others = law.blocks
    factors, velocities = others[: len(others) // 2], others[len(others) // 2 :]
    if (first, shape) != (TIME, ()) or [(name + "'", size) for name, size in factors] != velocities:
        return None
    entries, clocks = [], set()
    half = (law.dimension - 1) // 2
    for entry in () if law.is_rational else law.polynomials:
        terms = {}
        for monomial, value in entry.terms.items():
            clocks.add(monomial.count(0))
            terms[tuple(variable - 1 for variable in monomial if variable)] = value
        entries.append(SparsePolynomial(terms))
    if len(clocks) != 1 or not all(_is_noether(entry, half) for entry in entries):
        raise ValueError(
            f"Argument `law` must be a time factor times <v, A theta + b> with A skew, but is {law.name}."
        )
    return LawForm(law, tuple(others), entries, noether=True)


def _is_noether(entry: SparsePolynomial, half: int) -> bool:
    for monomial, value in entry.terms.items():
        if len(monomial) not in (1, 2) or monomial[-1] < half or (len(monomial) == 2 and monomial[0] >= half):
            return False
        if len(monomial) == 2 and entry.terms.get((monomial[1] - half, monomial[0] + half), 0) != -value:
            return False
    return True


def _homogeneous(entry: SparsePolynomial, degree: int | None) -> SparsePolynomial:
    if degree is None:
        return entry
    return SparsePolynomial({m: value for m, value in entry.terms.items() if len(m) == degree})


class Evaluator:
    """The parts of a law and its derivative at flat points of one number type.

    Args:
        form: the law.
        numbers: the number type.
        absolute: take the absolute value of every coefficient, which bounds the size of what is added up.
    """

    def __init__(self, form: LawForm, numbers: Numbers, absolute: bool = False):
        self.form, self.numbers = form, numbers
        self.tops, self.bottoms = form.tops, form.bottoms
        if absolute:
            self.tops, self.bottoms = [
                [_absolute(part) for part in parts] for parts in (form.tops, form.bottoms)
            ]

    def number(self, value: Any) -> Any:
        """A number that may multiply flat arrays."""
        scalar = self.numbers.scalar(value)
        # Polynomials know no product with an array, so that NumPy must see arrays on both sides.
        return scalar if self.numbers.floats else object_array([scalar], (1,))

    def zero(self) -> Any:
        """Zeros, one for each entry of the law."""
        return self.numbers.each([0] * self.form.law.size)

    def by_factor(self, values: Mapping[str, Any], default: int) -> Any:
        """A number for each coordinate, by the name of its factor."""
        parts = [(values.get(name, default), math.prod(shape)) for name, shape in self.form.factors]
        if self.numbers.floats:
            return jnp.concatenate([jnp.full(size, self.numbers.scalar(value)) for value, size in parts])
        return self.numbers.each([value for value, size in parts for _ in range(size)])

    def joined(self, theta: Any, velocity: Any) -> Any:
        """The point of a Noether law."""
        return (jnp if self.numbers.floats else np).concatenate([theta, velocity])

    def part(self, degree: int, x: Any) -> Any:
        """The homogeneous part of one degree."""
        return self._sum(self.tops, (x,) * degree)

    def value(self, x: Any) -> Any:
        """The law itself; of a rational one the numerator."""
        return self._value(self.tops, x)

    def pairing(self, x: Any, y: Any) -> Any:
        r"""$\langle\nabla h(x), y\rangle$."""
        if not self.form.law.is_rational:
            return self._derivative(self.tops, x, y)
        bottom = self._value(self.bottoms, x)
        return self.numerator(x, y) / (bottom * bottom)

    def numerator(self, x: Any, y: Any, sign: int = -1) -> Any:
        r"""That of $\langle\nabla h(x), y\rangle$; with sign 1 the sum of its parts."""
        top = self._derivative(self.tops, x, y)
        if not self.form.law.is_rational:
            return top
        second = self.value(x) * self._derivative(self.bottoms, x, y)
        return top * self._value(self.bottoms, x) + self.number(sign) * second

    def polar(self, x: Any, y: Any) -> Any:
        r"""$\langle x, A y\rangle$."""
        return self._sum(self.tops, (x, y)) + self._sum(self.tops, (y, x))

    def _value(self, polynomials: Sequence[SparsePolynomial], x: Any) -> Any:
        parts = [self._sum(polynomials, (x,) * degree) for degree in range(_degree(polynomials) + 1)]
        return functools.reduce(lambda total, part: total + part, parts)

    def _derivative(self, polynomials: Sequence[SparsePolynomial], x: Any, y: Any) -> Any:
        total = self.zero()
        for degree in range(1, _degree(polynomials) + 1):
            for place in range(degree):
                points = tuple(y if k == place else x for k in range(degree))
                total = total + self._sum(polynomials, points)
        return total

    def _sum(self, polynomials: Sequence[SparsePolynomial], points: tuple[Any, ...]) -> Any:
        """The monomials of degree `len(points)`, factor k taken at point k."""
        parts = [_homogeneous(polynomial, len(points)).terms for polynomial in polynomials]
        if not any(parts):
            return self.zero()
        rows = np.array([monomial for part in parts for monomial in part], dtype=np.int64)
        owner = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        products = self.numbers.each([value for part in parts for value in part.values()])
        for column, point in zip(rows.T, points, strict=True):
            products = products * point[column]
        return self.numbers.total(products, owner, len(parts))


def _absolute(polynomial: SparsePolynomial) -> SparsePolynomial:
    return SparsePolynomial({monomial: abs(value) for monomial, value in polynomial.terms.items()})


def _degree(polynomials: Sequence[SparsePolynomial]) -> int:
    return max((polynomial.degree for polynomial in polynomials), default=0)
