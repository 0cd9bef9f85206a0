"""`Defect`, the change of a law, and what it takes: the parts of a law, written and in any number type."""

from __future__ import annotations

import dataclasses
import functools
import math
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..citations import in_words
from ..display.text import Formula, card, key_values
from ..exact.float_fractions import object_array
from ..exact.rings.polynomials import SparsePolynomial
from .breaking_numbers import Numbers
from .law import Law
from .matrix_terms import TIME
from .printing import latex_name, latex_polynomial, latex_sum

TAYLOR = "Taylor's formula, which is exact for a quadratic"
VALUES = ("theta", "velocity", "gradient")
_MAX_SHOWN = 12


@dataclasses.dataclass(frozen=True, repr=False)
class Defect:
    r"""How a rule changes a law, as an exact identity: `quantity = right_side`.

    Attributes:
        law: the law; for a Noether law the identity is about $\ell$, without the factor $e^{\tau t}$.
        rule: the rule.
        quantity: LaTeX of the left side, such as $H_+ - H$.
        right_side: LaTeX, with $G$ the gradient and $V$ the velocity of a factor.
        order: LaTeX of the drift over a fixed time beyond a decay that the identity states; `"0"` for none.
        needs: the arguments of `predict`.
        source: where the identity is from.
        companion: the identity of $q = \langle v, \nabla h\rangle$, which that of a law under momentum needs.

    Example:
        >>> from dlntheory.laws.breaking import GradientStep, defect
        >>> from dlntheory.laws.law import law_of_terms
        >>> law = law_of_terms((("U", (2, 1)), ("V", (3, 1))), [(1, "U", "gram-left"), (-1, "V", "gram-left")])
        >>> defect(law, GradientStep(0.5)).right_side
        '\\eta^2 \\bigl(G_{U}^\\top G_{U} - G_{V}^\\top G_{V}\\bigr)'
    """

    form: LawForm
    rule: Any
    quantity: str
    right_side: str
    order: str
    needs: tuple[str, ...]
    change: Callable[[Evaluator, Mapping[str, Any]], Any]
    source: str = TAYLOR
    multiplier: Callable[[Any], Any] | None = None
    companion: Defect | None = None

    @property
    def law(self) -> Law:
        """The law that changes."""
        return self.form.law

    @property
    def statement(self) -> str:
        """The identity in LaTeX, with what its symbol stands for."""
        return rf"{self.quantity} = {self.right_side},\qquad {self.form.symbol} = {self.form.definition}"

    def predict(
        self,
        *,
        theta: Mapping[str, Any] | None = None,
        velocity: Mapping[str, Any] | None = None,
        gradient: Mapping[str, Any] | None = None,
        noise: Sequence[Mapping[str, Any]] | None = None,
        time: Any = None,
    ) -> Any:
        """The right side at a point, in the shape of `law(params)`; pure for JAX arrays.

        Args:
            theta: the factors before the step, by name. For this and the others only what `needs` lists is read.
            velocity: the velocity before the step, by name of the factor.
            gradient: what the rule subtracts, a combination of the generators where the rule takes it.
            noise: the columns of the noise.
            time: for friction c/t.

        Returns:
            A JAX array for floats; an object array for integers, `Fraction`, `flint.fmpq`, SymPy or
            `SparsePolynomial` entries, exactly, where floats in the rule are read as simplest fractions.

        Raises:
            ValueError: an argument is missing, or has other names or shapes than the factors.
        """
        given = {"theta": theta, "velocity": velocity, "gradient": gradient, "noise": noise, "time": time}
        if missing := [name for name in self.needs if given[name] is None]:
            raise ValueError(f"Argument `{missing[0]}` must be given for {self.rule!r}, but is not.")
        used = {name: self.form.checked(name, given[name]) for name in self.needs if name in VALUES}
        columns = [self.form.checked("noise", column) for column in noise or () if "noise" in self.needs]
        arrays = [array for group in (*used.values(), *columns) for array in group]
        numbers = Numbers(arrays)
        at: dict[str, Any] = {name: numbers.flat(group) for name, group in used.items()}
        at |= {"noise": [numbers.flat(column) for column in columns]}
        at |= {"time": numbers.scalar(time)} if "time" in self.needs else {}
        return self.form.arranged(self.change(Evaluator(self.form, numbers), at))

    def factor(self, time: Any) -> Any:
        """By what the law is multiplied after some time, in steps for a discrete rule; `None` if by nothing."""
        return None if self.multiplier is None else self.multiplier(time)

    def __str__(self) -> str:
        law, *further = self._facts()
        return key_values([law, ("identity", self.statement), *further])

    def _repr_html_(self) -> str:
        return card("How a law breaks", formulas=self.statement, facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        return [
            ("law", self.law.name),
            ("rule", repr(self.rule)),
            (
                "drift beyond that decay" if self.order == "0" else "drift over a fixed time",
                Formula(self.order),
            ),
            ("source", in_words(self.source)),
        ]

    def __repr__(self) -> str:
        return f"Defect({self.law.name}, {self.rule!r}: {self.quantity} = {self.right_side})"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.statement}$"


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
    """The parts of a law and its derivative at flat points of one number type."""

    def __init__(self, form: LawForm, numbers: Numbers):
        self.form, self.numbers = form, numbers

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
        parts = [[values.get(name, default)] * math.prod(shape) for name, shape in self.form.factors]
        return self.numbers.each([value for part in parts for value in part])

    def joined(self, theta: Any, velocity: Any) -> Any:
        """The point of a Noether law."""
        return (jnp if self.numbers.floats else np).concatenate([theta, velocity])

    def part(self, degree: int, x: Any) -> Any:
        """The homogeneous part of one degree."""
        return self._sum(self.form.tops, (x,) * degree)

    def value(self, x: Any) -> Any:
        """The law itself."""
        return self._value(self.form.tops, x)

    def pairing(self, x: Any, y: Any) -> Any:
        r"""$\langle\nabla h(x), y\rangle$."""
        top = self._derivative(self.form.tops, x, y)
        if not self.form.law.is_rational:
            return top
        a, b = self._value(self.form.tops, x), self._value(self.form.bottoms, x)
        return (top * b - a * self._derivative(self.form.bottoms, x, y)) / (b * b)

    def polar(self, x: Any, y: Any) -> Any:
        r"""$\langle x, A y\rangle$."""
        return self._sum(self.form.tops, (x, y)) + self._sum(self.form.tops, (y, x))

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


def _degree(polynomials: Sequence[SparsePolynomial]) -> int:
    return max((polynomial.degree for polynomial in polynomials), default=0)
