r"""Polynomial equations that tie an entry $k$ of $\partial\varphi\,\partial\varphi^\top$ to $z$ and law constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from ...architecture import Architecture
from ...exact.rings.polynomials import SparsePolynomial, from_sympy, sum_of_products
from ...laws.conservation import laws_to_build_on
from ..base import FormError
from ..entrywise.recognise import parameter_names, polynomials_of

_FIRST_STEP = 1 / 32
_SMALLEST_STEP = 1e-8


@dataclasses.dataclass(frozen=True, eq=False)
class EliminationSystem:
    r"""Equations in the variables `names`: first those to eliminate, then $k$, then $z$, then constants.

    Attributes:
        names: of all variables.
        polynomials: each stands for "= 0".
        eliminated: how many variables at the front are to be eliminated.
        outputs: how many variables after $k$ are entries of $z$.
        definitions: each constant in terms of parameters, as text.
        hidden: the variables to eliminate, at the start.
        values: of $k$, the entries of $z$ and the constants, at the start.
        places: flat indices into $z$ of its entries.
    """

    names: tuple[str, ...]
    polynomials: tuple[SparsePolynomial, ...]
    eliminated: int
    outputs: int
    definitions: tuple[str, ...]
    hidden: tuple[float, ...]
    values: tuple[float, ...]
    places: tuple[int, ...]

    def follow(self, z: np.ndarray) -> float | None:
        """$k$ at $z$, with all variables followed from the start along the straight line to $z$.

        Newton's method with steps of least norm, so that a fibre of positive dimension does no harm. Following $k$
        alone would not do: other branches of the relation cross the one of the start.

        Returns:
            $k$, or `None` where the equations have no solution further on.
        """
        unknown, given = self.eliminated + 1, self.eliminated + 1 + self.outputs
        slopes = [polynomial.gradient() for polynomial in self.polynomials]
        x = np.array([*self.hidden, *self.values])
        origin, reached, step = x[unknown:given].copy(), 0.0, _FIRST_STEP
        while reached < 1:
            there = min(1.0, reached + step)
            trial = x.copy()
            trial[unknown:given] = origin + (z - origin) * there
            if _settle(self.polynomials, slopes, trial, unknown):
                x, reached, step = trial, there, min(2 * step, _FIRST_STEP)
            elif step > _SMALLEST_STEP:
                step /= 4
            else:
                return None
        return float(x[self.eliminated])


def _settle(
    polynomials: Sequence[SparsePolynomial],
    slopes: Sequence[dict[int, SparsePolynomial]],
    x: np.ndarray,
    unknown: int,
) -> bool:
    """Newton's method on the first `unknown` entries of `x`, in place; false unless it contracts at once."""
    before = np.inf
    for _ in range(12):
        values = np.array([entry_value(polynomial, x) for polynomial in polynomials])
        jacobian = np.array(
            [[entry_value(row[v], x) if v in row else 0.0 for v in range(unknown)] for row in slopes]
        )
        change = np.linalg.lstsq(jacobian, values, rcond=1e-10)[0]
        x[:unknown] -= change
        size, scale = float(np.linalg.norm(change)), float(np.linalg.norm(x[:unknown]))
        if size <= 1e-14 * scale or (size <= 1e-12 * scale and size > 0.25 * before):
            return True
        # Anything but fast contraction may end on another branch.
        if size > 0.25 * min(before, scale):
            return False
        before = size
    return False


def one_parameter_system(arch: Architecture, place: int, flat: np.ndarray) -> EliminationSystem:
    r"""The system of a scalar chain, a difference of squares or of powers, in one or two unknowns.

    Chain: $c^2 \prod_l (t + c_l) = (z - o)^2$, $k = c^2 P'(t)$. Squares: $s = u^2$, $s(s - p) = \kappa^2$. Powers: the
    symmetric functions $s = u + v$ (its square for even L) and $q = uv$, with the law
    $u^{L-2} + v^{L-2} = c\,q^{L-2}$.

    Args:
        arch: the architecture.
        place: flat index of the entry of $z$, which shares no parameter with another.
        flat: the raveled start.

    Raises:
        FormError: the entry has none of these forms, or shares a parameter.
    """
    entries = polynomials_of(arch)
    entry, names = entries[place], parameter_names(arch)
    for other, polynomial in enumerate(entries):
        if other != place and set(polynomial.variables) & set(entry.variables):
            raise FormError("the entry shares a parameter with another entry of z")
    offset = entry.terms.get((), 0)
    terms = {monomial: value for monomial, value in entry.terms.items() if monomial}
    bare = entry - SparsePolynomial({(): offset})
    start = {"z": entry_value(entry, flat), "k": _square_norm(entry, flat)}
    if len(terms) == 1 and all(len(set(monomial)) == len(monomial) > 1 for monomial in terms):
        ((monomial, value),) = terms.items()
        return _chain(monomial, value, offset, names, flat, start, place)
    powers = [(monomial, value) for monomial, value in terms.items() if len(set(monomial)) == 1]
    if len(powers) == len(terms) == 2 and not powers[0][1] + powers[1][1] and powers[0][1]:
        (plus, value), (minus, _) = sorted(powers, key=lambda item: -item[1])
        if len(plus) == len(minus) == 2:
            return _squares(plus[0], minus[0], value, offset, names, flat, start, place)
        if len(plus) == len(minus) >= 3:
            return _powers(plus[0], minus[0], len(plus), value, offset, names, flat, start, place)
    raise FormError(f"the entry is {bare.text(names)}, neither a product nor a difference of two powers")


def general_system(
    arch: Architecture, row: int, column: int, flat: np.ndarray, laws: Sequence[Any] | None = None
) -> EliminationSystem:
    """All entries of z that are connected with the two by shared parameters, and the laws among those parameters.

    Args:
        arch: the architecture; its laws are searched for unless they are given.
        row: flat index into z.
        column: flat index into z.
        flat: the raveled start.
        laws: rational SymPy expressions in the symbols of `arch.symbolic()`.

    Raises:
        ValueError: a law is not conserved, holds other symbols, or is not rational.
    """
    entries, names = polynomials_of(arch), parameter_names(arch)
    variables, places = set(entries[row].variables) | set(entries[column].variables), {row, column}
    grown = True
    while grown:
        grown = False
        for place, entry in enumerate(entries):
            if place not in places and set(entry.variables) & variables:
                places.add(place)
                variables |= set(entry.variables)
                grown = True
    order, ordered = sorted(variables), sorted(places)
    number = {variable: position for position, variable in enumerate(order)}

    def moved(polynomial: SparsePolynomial) -> SparsePolynomial:
        return SparsePolynomial({tuple(number[v] for v in m): value for m, value in polynomial.terms.items()})

    found = _searched_laws(arch) if laws is None else _given_laws(arch, entries, laws)
    pairs = [(top, bottom) for top, bottom in found if {*top.variables, *bottom.variables} <= variables]
    metric = len(order)
    first = metric + 1 + len(ordered)
    outer = sum_of_products(
        (part, entries[column].gradient()[variable])
        for variable, part in entries[row].gradient().items()
        if variable in entries[column].gradient()
    )
    equations = [_variable(metric) - moved(outer)]
    equations += [_variable(metric + 1 + i) - moved(entries[place]) for i, place in enumerate(ordered)]
    equations += [_variable(first + i) * moved(bottom) - moved(top) for i, (top, bottom) in enumerate(pairs)]
    z_names = ["z"] if len(ordered) == 1 else [f"z{place}" for place in ordered]
    definitions = [
        top.text(names) if bottom.variables == () else f"({top.text(names)}) / ({bottom.text(names)})"
        for top, bottom in pairs
    ]
    values = [entry_value(outer, flat), *(entry_value(entries[place], flat) for place in ordered)]
    values += [entry_value(top, flat) / entry_value(bottom, flat) for top, bottom in pairs]
    constants = [f"c{i}" for i in range(1, len(pairs) + 1)]
    return EliminationSystem(
        (*(names[v] for v in order), "k", *z_names, *constants),
        tuple(equations),
        len(order),
        len(ordered),
        tuple(definitions),
        tuple(float(flat[v]) for v in order),
        tuple(values),
        tuple(ordered),
    )


def _searched_laws(arch: Architecture) -> list[tuple[SparsePolynomial, SparsePolynomial]]:
    one = SparsePolynomial({(): 1})
    entries = [
        entry if law.is_rational else (entry, one)
        for law in laws_to_build_on(arch, progress=False).laws
        for entry in law.polynomials
    ]
    return [(top, bottom) for top, bottom in entries if top.variables]


def _given_laws(
    arch: Architecture, outputs: Sequence[SparsePolynomial], laws: Sequence[Any]
) -> list[tuple[SparsePolynomial, SparsePolynomial]]:
    symbols = [symbol for array in arch.symbolic().symbols.values() for symbol in array.ravel()]
    found = []
    for law in laws:
        top, bottom = (from_sympy(part, symbols) for part in sympy.fraction(sympy.together(law)))
        for place, output in enumerate(outputs):
            # The derivative of a quotient vanishes where bottom * d top = top * d bottom.
            along = [_along(part, output) for part in (top, bottom)]
            if bottom * along[0] != top * along[1]:
                raise ValueError(
                    f"Argument `laws` must hold conserved quantities, but {law} changes along the gradient of entry "
                    f"{place} of z of {arch.name}."
                )
        found.append((top, bottom))
    return found


def _along(polynomial: SparsePolynomial, output: SparsePolynomial) -> SparsePolynomial:
    slopes = output.gradient()
    pairs = ((part, slopes[v]) for v, part in polynomial.gradient().items() if v in slopes)
    return sum_of_products(pairs)


def entry_value(polynomial: SparsePolynomial, flat: np.ndarray) -> float:
    """A polynomial at a point, in floats."""
    return sum(
        (
            float(Fraction(int(value.p), int(value.q))) * float(np.prod(flat[list(monomial)]))
            for monomial, value in polynomial.terms.items()
        ),
        start=0.0,
    )


def _chain(monomial, value, offset, names, flat, start: Mapping[str, float], place: int) -> EliminationSystem:
    depth = len(monomial)
    t, k, z = _variable(0), _variable(1), _variable(2)
    factors = [t, *(t + _variable(2 + l) for l in range(1, depth))]
    product, slope = _constant(1), _constant(0)
    for position, factor in enumerate(factors):
        product = product * factor
        slope = slope + _product(other for at, other in enumerate(factors) if at != position)
    bare = z - _constant(offset)
    first, weights = names[monomial[0]], flat[list(monomial)]
    return EliminationSystem(
        ("t", "k", "z", *(f"c{l}" for l in range(2, depth + 1))),
        (product.scaled(value**2) - bare * bare, k - slope.scaled(value**2)),
        1,
        1,
        tuple(f"{names[v]}^2 - {first}^2" for v in monomial[1:]),
        (float(weights[0] ** 2),),
        (start["k"], start["z"], *(float((w - weights[0]) * (w + weights[0])) for w in weights[1:])),
        (place,),
    )


def _squares(u, v, value, offset, names, flat, start: Mapping[str, float], place: int) -> EliminationSystem:
    s, k, z, kappa = (_variable(i) for i in range(4))
    bare = (z - _constant(offset)).scaled(1 / value)
    return EliminationSystem(
        ("s", "k", "z", "kappa"),
        (s * (s - bare) - kappa * kappa, k - (s.scaled(2) - bare).scaled(4 * value**2)),
        1,
        1,
        (f"{names[u]} {names[v]}",),
        (float(flat[u] ** 2),),
        (start["k"], start["z"], float(flat[u] * flat[v])),
        (place,),
    )


def _powers(u, v, exponent, value, offset, names, flat, start, place: int) -> EliminationSystem:
    """For even L everything is a polynomial in s^2, so that s^2 is the unknown."""
    if flat[u] == 0 or flat[v] == 0:
        raise FormError("the law u^(2-L) + v^(2-L) is infinite at the start")
    is_even = exponent % 2 == 0
    s, q, k, z, c = (_variable(i) for i in range(5))
    first, step = (s - q.scaled(2), q * q) if is_even else (s, q)

    def power_sum(n: int) -> SparsePolynomial:
        # P_(n+1) = s P_n - q P_(n-1); for even L only every second one, P_(n+2) = (s^2 - 2q) P_n - q^2 P_(n-2).
        here, after = _constant(2), first
        for _ in range(n // 2 if is_even else n):
            here, after = after, after * first - here * step
        return here

    # (u^L - v^L)^2 = P_2L - 2 q^L.
    gap = power_sum(2 * exponent) - _product([q] * exponent).scaled(2)
    bare = z - _constant(offset)
    law = power_sum(exponent - 2) - c * _product([q] * (exponent - 2))
    metric = power_sum(2 * exponent - 2).scaled(exponent**2 * value**2)
    name_u, name_v = names[u], names[v]
    return EliminationSystem(
        ("s", "q", "k", "z", "c"),
        (law, gap.scaled(value**2) - bare * bare, k - metric),
        2,
        1,
        (f"{name_u}^{2 - exponent} + {name_v}^{2 - exponent}",),
        (float((flat[u] + flat[v]) ** (2 if is_even else 1)), float(flat[u] * flat[v])),
        (start["k"], start["z"], float(flat[u] ** (2.0 - exponent) + flat[v] ** (2.0 - exponent))),
        (place,),
    )


def _variable(index: int) -> SparsePolynomial:
    return SparsePolynomial({(index,): 1})


def _constant(value: Any) -> SparsePolynomial:
    return SparsePolynomial({(): value})


def _product(factors: Any) -> SparsePolynomial:
    total = _constant(1)
    for factor in factors:
        total = total * factor
    return total


def _square_norm(entry: SparsePolynomial, flat: np.ndarray) -> float:
    return sum(entry_value(part, flat) ** 2 for part in entry.gradient().values())
