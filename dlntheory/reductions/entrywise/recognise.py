r"""Which entry of θ plays which role: forms of φ read off its exact polynomials, for any function of any user.

The forms are products $z_i = o_i + c_i \prod_l w_{l,i}$, differences $z_i = o_i + c_i (u_i^L - v_i^L)$, each entry with
parameters of its own, and the outer product $z_{ij} = o_{ij} + c\, u_i v_j$.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ...architecture import Architecture
from ...exact.reading import read_program
from ...exact.rings.polynomials import Polynomials, SparsePolynomial, TermCounts
from ..base import FormError

#: Maps with more scalar products or terms than this are not read as polynomials.
MAX_TERMS = 200_000


@dataclasses.dataclass(frozen=True, eq=False)
class EntrywiseForm:
    r"""The roles of parameters in a recognised φ.

    Attributes:
        positions: (roles, entries) of $z$, indices into the raveled parameters, see `Architecture.ravel`.
        scale: $c$, one for each entry of $z$, never 0.
        offset: $o$, one for each entry of $z$.
        exponent: L of a difference of powers, else 1.
        roles: a name for each role, in the order of `positions`.
        mix: $T$ (entries of z, terms), if $z = o + T p$ is a linear map of the terms (then `scale` is 1); else `None`.
    """

    positions: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    exponent: int
    roles: tuple[str, ...]
    mix: np.ndarray | None = None


@functools.lru_cache(maxsize=16)
def polynomials_of(arch: Architecture) -> tuple[SparsePolynomial, ...]:
    r"""The entries of $z$, row by row, as exact polynomials in the raveled parameters.

    Not jit-compatible (exact arithmetic).

    Args:
        arch: the architecture.

    Raises:
        UnsupportedPrimitiveError: φ is no polynomial; the message names the operation and its line.
        FormError: φ divides by parameters, or is too large to be read (`MAX_TERMS`).

    Example:
        >>> import dlntheory as dln
        >>> from dlntheory.families.diagonal import diagonal_network
        >>> print(polynomials_of(diagonal_network(2, 2))[1])
        x1*x3
    """
    program = read_program(arch).require_unfrozen("the entries of z as polynomials")
    if program.is_rational:
        raise FormError(
            f"Argument `arch` must have a polynomial φ, but {arch.name} divides by parameters; "
            "the closed forms here are for products and sums."
        )
    counter = TermCounts()
    ones = {name: np.ones(shape, dtype=object) for name, shape in arch.shapes.items()}
    terms = int(sum(np.ravel(program.evaluate(counter, ones)).tolist()))
    if max(terms, program.products) > MAX_TERMS:
        raise FormError(
            f"Argument `arch` must be small enough to be read as polynomials, at most {MAX_TERMS} terms or scalar "
            f"products, but {arch.name} takes {max(terms, program.products)}."
        )
    ring, start, variables = Polynomials(), 0, {}
    for name, shape in arch.shapes.items():
        variables[name] = ring.variables(shape, start)
        start += math.prod(shape)
    return tuple(np.ravel(program.evaluate(ring, variables)))


def parameter_names(arch: Architecture) -> list[str]:
    """A name for each raveled parameter, counted from 0 as in NumPy: `"u[2]"`, `"W1[0, 1]"`."""
    return [
        name + (f"[{', '.join(map(str, index))}]" if index else "")
        for name, shape in arch.shapes.items()
        for index in itertools.product(*map(range, shape))
    ]


def factor_roles(arch: Architecture, form: EntrywiseForm) -> dict[str, str]:
    """Which factor plays which role: its name where it is a whole factor, else the names of its entries.

    Example:
        >>> from dlntheory.families.diagonal import difference_of_squares
        >>> arch = difference_of_squares(3)
        >>> factor_roles(arch, difference_form(arch, 2, "the flow"))
        {'u': 'u', 'v': 'v'}
    """
    names, found = parameter_names(arch), {}
    for role, row in zip(form.roles, form.positions, strict=True):
        distinct = list(dict.fromkeys(row.tolist()))
        start, text = 0, ""
        for name, shape in arch.shapes.items():
            stop = start + math.prod(shape)
            if sorted(distinct) == list(range(start, stop)):
                text = name
            start = stop
        shown = [names[index] for index in distinct[:4]]
        found[role] = text or ", ".join([*shown, "…"] if len(distinct) > 4 else shown)
    return found


def product_form(arch: Architecture, label: str, depth: int | None = None) -> EntrywiseForm:
    r"""The roles in $z = o + T p$, $p_i = \prod_{l=1}^L w_{l,i}$, no parameter in two of the products.

    Args:
        arch: the architecture.
        label: who asks, for the message.
        depth: L, or `None` for any.

    Raises:
        FormError: φ is not of this form; the message shows the entry that is not.
    """
    rule = "z_i = o_i + c_i " + ("w_1i w_2i … w_Li" if depth is None else " ".join("uvw"[:depth]))
    length = depth
    for place, entry in enumerate(polynomials_of(arch)):
        _, terms = _split(entry)
        if not terms:
            raise _form_error(arch, rule, label, place, entry)
        for monomial in terms:
            if len(set(monomial)) != len(monomial) or len(monomial) != (depth or len(monomial)):
                raise _form_error(arch, rule, label, place, entry)
            if length is not None and len(monomial) != length:
                raise _form_error(arch, rule + ", one L for all entries", label, place, entry)
            length = len(monomial)
    offsets, terms = _terms(arch)
    rows = list(dict.fromkeys(monomial for entry in terms for monomial in entry))
    _check_disjoint(arch, rule, label, rows)
    scale, mix = _mixed(arch, rule, label, terms, rows)
    roles = ("u", "v") if len(rows[0]) == 2 else tuple(f"w{layer}" for layer in range(1, len(rows[0]) + 1))
    return EntrywiseForm(np.array(rows).T, scale, offsets, 1, roles, mix)


def difference_form(arch: Architecture, exponent: int | None, label: str) -> EntrywiseForm:
    r"""The roles in $z = o + T p$, $p_i = u_i^L - v_i^L$, no parameter in two of the differences.

    Args:
        arch: the architecture.
        exponent: L, or `None` for any $L \ge 3$.
        label: who asks, for the message.

    Raises:
        FormError: φ is not of this form; the message shows the entry that is not.
    """
    power = "L, L >= 3" if exponent is None else str(exponent)
    rule = (
        f"z_i = o_i + c_i (u_i^{power} - v_i^{power})"
        if exponent
        else "z_i = o_i + c_i (u_i^L - v_i^L), L >= 3"
    )
    found = exponent
    for place, entry in enumerate(polynomials_of(arch)):
        _, terms = _split(entry)
        degrees = {len(monomial) for monomial in terms}
        is_power = all(len(set(monomial)) == 1 for monomial in terms)
        if not is_power or len(degrees) != 1 or sum(terms.values()) != 0:
            raise _form_error(arch, rule, label, place, entry)
        (degree,) = degrees
        if found is None and degree >= 3:
            found = degree
        if degree != found:
            raise _form_error(arch, rule, label, place, entry)
    offsets, terms = _terms(arch)
    pairs = _paired(terms)
    if pairs is None:
        raise _form_error(arch, rule, label, 0, polynomials_of(arch)[0])
    assert found is not None  # every entry has terms
    _check_disjoint(arch, rule, label, pairs)
    rows = [(u,) * found for u, _ in pairs]
    kept = set(rows)
    plus = [{monomial: value for monomial, value in entry.items() if monomial in kept} for entry in terms]
    scale, mix = _mixed(arch, rule, label, plus, rows)
    return EntrywiseForm(np.array(pairs).T, scale, offsets, found, ("u", "v"), mix)


Terms = dict[tuple[int, ...], Fraction]


def _terms(arch: Architecture) -> tuple[np.ndarray, list[Terms]]:
    """The constants of the entries of z, and the other terms of each."""
    split = [_split(entry) for entry in polynomials_of(arch)]
    return np.array([float(offset) for offset, _ in split]), [terms for _, terms in split]


def _paired(terms: list[Terms]) -> list[tuple[int, int]] | None:
    """$(u_i, v_i)$ so that every entry has minus the coefficient of $u_i$ at $v_i$, the first one of $u_i$ positive."""
    columns: dict[int, list[tuple[int, Fraction]]] = {}
    for place, entry in enumerate(terms):
        for monomial, value in entry.items():
            columns.setdefault(monomial[0], []).append((place, value))
    partners: dict[tuple[tuple[int, Fraction], ...], list[int]] = {}
    for index, column in columns.items():
        partners.setdefault(tuple(column), []).append(index)
    pairs = []
    for index, column in columns.items():
        if column[0][1] < 0:
            continue
        opposite = partners.get(tuple((place, -value) for place, value in column), [])
        if len(opposite) != 1 or len(partners[tuple(column)]) != 1:
            return None
        pairs.append((index, opposite[0]))
    return pairs if 2 * len(pairs) == len(columns) else None


def _mixed(
    arch: Architecture, rule: str, label: str, terms: list[Terms], rows: Sequence[tuple[int, ...]]
) -> tuple[np.ndarray, np.ndarray | None]:
    """The scales of entries that each hold one form of their own; else ones and $T$, which must be injective."""
    if len(rows) == len(terms) and all(list(entry) == [row] for entry, row in zip(terms, rows, strict=True)):
        return np.array([float(entry[row]) for entry, row in zip(terms, rows, strict=True)]), None
    place = {monomial: column for column, monomial in enumerate(rows)}
    values = np.zeros((len(terms), len(rows)))
    for row, entry in enumerate(terms):
        for monomial, value in entry.items():
            values[row, place[monomial]] = float(value)
    rank = int(np.linalg.matrix_rank(values))
    if rank < len(rows):
        raise FormError(
            f"Argument `arch` must be of the form {rule}, or an injective linear map of it, for {label}, but the "
            f"{len(terms)} entries of {arch.name} hold {len(rows)} such terms in {rank} independent combinations."
        )
    return np.ones(len(rows)), values


@dataclasses.dataclass(frozen=True, eq=False)
class OuterForm:
    r"""The roles in $z = o + c\, u v^\top$, or, for a vector $z$, with $u$ or $v$ a scalar.

    Attributes:
        left: indices of $u$ in the raveled parameters.
        right: indices of $v$.
        places: (entries of z, 2) row and column of each entry of the raveled $z$ in $u v^\top$.
        scale: $c$.
        offset: $o$, one for each entry of the raveled $z$.
    """

    left: np.ndarray
    right: np.ndarray
    places: np.ndarray
    scale: float
    offset: np.ndarray


def outer_form(arch: Architecture, label: str) -> OuterForm:
    r"""The roles in $z = o + c\, u v^\top$: every entry of $z$ is one product, and every pair $(u_i, v_j)$ occurs once.

    The factor that is declared first is $u$. An output of one entry is of this form with two scalars.

    Raises:
        FormError: φ is not of this form; the message shows an entry that is not.
    """
    rule = "z = o + c u v^T"
    pairs, scales, offsets = [], [], []
    for place, entry in enumerate(polynomials_of(arch)):
        offset, terms = _split(entry)
        if len(terms) != 1 or len(next(iter(terms))) != 2 or len(set(next(iter(terms)))) != 2:
            raise _form_error(arch, rule, label, place, entry)
        ((monomial, value),) = terms.items()
        if scales and value != scales[0]:
            raise _form_error(arch, rule + " with one c for all entries", label, place, entry)
        pairs.append(monomial)
        scales.append(value)
        offsets.append(float(offset))
    left, right = _sides(pairs)
    if len(set(pairs)) != len(pairs) or len(pairs) != len(left) * len(right):
        raise FormError(
            f"Argument `arch` must be of the form {rule} with every product u_i v_j once for {label}, but {arch.name} "
            f"has {len(pairs)} products of {len(left)} by {len(right)} parameters."
        )
    row = {index: i for i, index in enumerate(left)}
    column = {index: j for j, index in enumerate(right)}
    places = [(row[a], column[b]) if a in row else (row[b], column[a]) for a, b in pairs]
    return OuterForm(np.array(left), np.array(right), np.array(places), float(scales[0]), np.array(offsets))


def _sides(pairs: Sequence[tuple[int, ...]]) -> tuple[list[int], list[int]]:
    """Two classes of parameters with one of each in every pair where that is possible; the first declared left."""
    sides: dict[int, int] = {}
    neighbours: dict[int, list[int]] = {}
    for a, b in pairs:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    first = min(neighbours)
    sides, waiting = {first: 0}, [first]
    while waiting:
        node = waiting.pop()
        for other in neighbours[node]:
            if other not in sides:
                sides[other] = 1 - sides[node]
                waiting.append(other)
    # A parameter that cannot be reached, or a pair on one side, makes the count of pairs differ from the full grid.
    rest = [node for node in sorted(neighbours) if node not in sides]
    left = [node for node in sorted(sides) if sides[node] == 0] + rest
    return left, [node for node in sorted(sides) if sides[node] == 1]


def _split(entry: SparsePolynomial) -> tuple[Fraction, dict[tuple[int, ...], Fraction]]:
    terms = {monomial: Fraction(int(value.p), int(value.q)) for monomial, value in entry.terms.items()}
    offset = terms.pop((), Fraction(0))
    return offset, terms


def _form_error(arch: Architecture, rule: str, label: str, place: int, entry: Any) -> FormError:
    index = ", ".join(map(str, np.unravel_index(place, arch.output_shape or (1,))))
    text = entry.text(parameter_names(arch))
    shown = text if len(text) <= 80 else text[:79] + "…"
    return FormError(
        f"Argument `arch` must be of the form {rule} for {label}, but z[{index}] of {arch.name} is {shown}."
    )


def _check_disjoint(arch: Architecture, rule: str, label: str, rows: Sequence[tuple[int, ...]]) -> None:
    flat = [index for row in rows for index in row]
    if len(set(flat)) == len(flat):
        return
    shared = next(index for index in flat if flat.count(index) > 1)
    raise FormError(
        f"Argument `arch` must be of the form {rule} with parameters of its own in every entry for {label}, but "
        f"{parameter_names(arch)[shared]} of {arch.name} occurs in several."
    )
