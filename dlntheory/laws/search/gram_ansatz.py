r"""The Gram ansatz: laws that are rational combinations of Gram matrices, their diagonals, norms and sums of blocks.

The fields are only evaluated, at random points modulo a prime, so that thousands of parameters are no obstacle. What
comes out is already a formula in the names of the factors.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence
from fractions import Fraction

import numpy as np

from ...exact import NilpotentModular
from ...exact.linear_algebra import DEFAULT_PRIME, modular_nullspace, modular_rank, pivot_columns, reconstruct
from ..deadline import UNLIMITED, Deadline
from ..law import Law, law_of_terms
from ..matrix_terms import Blocks, Term, value_shape, value_triangle
from ..monomials import rates_of_term
from ..printing import canonical, minimal_span_basis
from ..proof.verification import sample_fields
from ..systems import AbstractSystem, MomentumSystem, velocity_name

_POSITIONS = 6
_SPARE = 6
_CHECKED = 500
Family = list[Term]


def gram_laws(
    system: AbstractSystem, *, prime: int = DEFAULT_PRIME, seed: int = 0, deadline: Deadline = UNLIMITED
) -> Iterator[Law]:
    """Laws of the Gram ansatz, matrices first; those implied by earlier ones are left out.

    They hold at random points modulo a prime and are still to be verified.

    The idea: a law is a combination $\\sum_k c_k T_k$ of forms $T_k$ of one shape, with unknown rational numbers. Along
    any field X at any point θ its rate $\\sum_k c_k \\langle\nabla T_k(\theta), X(\theta)\rangle$ vanishes, one linear
    equation for c at each random point, combination of generators and entry. A few more equations than unknowns
    determine the combinations, modulo p; `reconstruct` gives their fractions. Shapes come from coarse to fine: what a
    matrix law implies for its diagonal and its trace is not found again.

    Args:
        system: the training rule; its fields are evaluated, never expanded.
        prime: of the arithmetic.
        seed: of the random points, combinations and entries.
        deadline: families of forms are left out once it is over.

    Yields:
        Laws, each in lowest terms, in the order matrix, batch of matrices, diagonal, norm.
    """
    blocks = system.blocks
    families = [family for family in candidate_families(system) if family]
    if not families:
        return
    ring = NilpotentModular(prime)
    rng = np.random.default_rng([seed, 6])
    count = max(map(len, families)) + _SPARE
    points, fields = sample_fields(system, ring, rng, count)
    found: list[tuple[Term, ...]] = []
    time = time_latex(system)
    for number, candidates in enumerate(families):
        if number and deadline.is_over():
            return
        family = _independent(candidates, blocks, points, prime)
        kernel = _kernel(family, blocks, points, fields, prime, rng)
        for terms in _new_combinations(kernel, family, found, prime):
            # The kernel has seen `_POSITIONS` entries of each form; more of them tell chance from law.
            if not _holds(terms, blocks, points[:2], fields[:2], prime, rng):
                continue
            found.append(terms)
            yield law_of_terms(blocks, terms, time=time)


def candidate_families(system: AbstractSystem) -> list[Family]:
    """Terms of equal shape that could cancel each other, in the order in which laws are looked for."""
    blocks = system.blocks
    if isinstance(system, MomentumSystem):
        terms = _momentum_terms(system)
    else:
        terms = itertools.chain(_gram_terms(blocks), _linear_terms(blocks), _mixed_terms(blocks))
    groups: dict[tuple, Family] = {}
    for term in terms:
        own = term.form if term.form in ("product", "autocorrelation", "skew") else ""
        free = bool(term.axes) or term.form == "symmetric"
        rank = 0 if free else 2 if own == "autocorrelation" else 1 if term.batch else 3
        shape = value_shape(term, blocks)
        keys = [(1 + (own == "product"), rank, -len(shape), own, shape, free)]
        if term.form == "sum":
            # Linear laws first: an unused factor is a law itself, rather than its Gram matrix.
            keys.append((0, *keys[0][1:]))
        for key in keys:
            groups.setdefault(key, []).append(term)
    return [_display_order(groups[key]) for key in sorted(groups)]


def time_latex(system: AbstractSystem) -> str:
    r"""What the coordinate `s` stands for, in LaTeX: $e^{\tau t}$, or $t$."""
    if not isinstance(system, MomentumSystem) or isinstance(system.friction, tuple) or not system.friction:
        return "t"
    return "e^{t}" if system.friction == 1 else f"e^{{{system.friction} t}}"


def _gram_terms(blocks: Blocks) -> Iterator[Term]:
    one = Fraction(1)
    for name, shape in blocks:
        axes = _proper(shape)
        for axis in axes:
            for batch in _subsets([k for k in axes if k != axis]):
                # Shared indices are for arrays of matrices: a matrix entry by entry is no Gram matrix.
                if not batch or len(batch) < len(axes) - 1:
                    yield Term(one, "gram", (name,), batch, (axis,))
        for batch in _subsets(axes):
            yield Term(one, "gram", (name,), batch)
        if len(shape) == 1 and axes:
            yield Term(one, "autocorrelation", (name,))


def _linear_terms(blocks: Blocks) -> Iterator[Term]:
    one = Fraction(1)
    for name, shape in reversed(blocks):
        if len(shape) == 2 and shape[0] == shape[1] > 1:
            yield Term(one, "symmetric", (name,))
    for name, shape in blocks:
        for batch in _subsets(_proper(shape)):
            yield Term(one, "sum", (name,), batch)


def _mixed_terms(blocks: Blocks) -> Iterator[Term]:
    one = Fraction(1)
    for (left, a), (right, b) in itertools.combinations(blocks, 2):
        proper = _proper(a), _proper(b)
        for i, j in itertools.product(*(reversed(axes) for axes in proper)):
            rest = [
                tuple(shape[k] for k in axes if k != free)
                for shape, axes, free in zip((a, b), proper, (i, j), strict=True)
            ]
            if rest[0] == rest[1] != ():
                yield Term(one, "product", (left, right), (), (i, j))
        if a == b:
            if proper[0]:
                yield Term(one, "product", (left, right), tuple(proper[0]))
            yield Term(one, "product", (left, right))


def _proper(shape: tuple[int, ...]) -> list[int]:
    """The axes with more than one index; along the others there is nothing to tell apart."""
    return [axis for axis, size in enumerate(shape) if size > 1]


def _momentum_terms(system: MomentumSystem) -> Iterator[Term]:
    r"""Skew forms of positions and velocities, times $e^{\tau t}$ or $t^c$, and sums for translations."""
    one = Fraction(1)
    friction = system.friction
    if isinstance(friction, tuple):
        power = int(friction[1]) if friction[1].denominator == 1 else None
    else:
        power = int(friction != 0)
    positions = system.architecture.named_shapes
    if power is not None:
        for (left, a), (right, b) in itertools.product(positions, repeat=2):
            for i, j in itertools.product(range(len(a)), range(len(b))):
                same = left == right
                if a[i] != b[j] or a[i] < 2 or math.prod(a) != math.prod(b) or (same and i != j):
                    continue
                term = Term(one, "skew", (left, velocity_name(right)), (), (i, j), power)
                yield term
                if same and len(a) > 2:
                    for k in range(len(a)):
                        if k != i:
                            yield dataclasses.replace(term, batch=(k,))
    for name, shape in positions:
        for batch in _subsets(_proper(shape)):
            sums = Term(one, "sum", (name,), batch)
            velocity = dataclasses.replace(sums, blocks=(velocity_name(name),))
            yield from (sums, velocity, dataclasses.replace(velocity, time=1))
            if power is not None and power > 1:
                yield dataclasses.replace(velocity, time=power)


def _subsets(axes: list[int]) -> Iterator[tuple[int, ...]]:
    for size in range(len(axes), -1, -1):
        yield from itertools.combinations(axes, size)


def _display_order(family: Family) -> Family:
    """Last axes first, so that formulas begin with $W_{l+1}^T W_{l+1}$; sums behind Gram matrices."""
    return sorted(
        family,
        key=lambda term: (term.form in ("sum", "symmetric"), [-axis for axis in term.axes or term.batch]),
    )


def _independent(family: Family, blocks: Blocks, points: np.ndarray, prime: int) -> Family:
    """The family without the forms that are combinations of earlier ones; mixed forms can be, in small sizes."""
    if family[0].form not in ("skew", "product"):
        return family
    # The plain forms come first, so that they are kept.
    ordered = sorted(family, key=lambda term: term.blocks[-1] != velocity_name(term.blocks[0]))
    directions = np.roll(points, 1, axis=0)
    entries = np.arange(min(len(value_triangle(family[0], blocks)), _POSITIONS))
    rates = [rates_of_term(term, blocks, points, directions, prime, entries).ravel() for term in ordered]
    kept = {ordered[column] for column in pivot_columns(np.stack(rates, axis=1), prime)}
    return [term for term in family if term in kept]


def _kernel(
    family: Family,
    blocks: Blocks,
    points: np.ndarray,
    fields: np.ndarray,
    prime: int,
    rng: np.random.Generator,
) -> list[list[Fraction]]:
    """Rational combinations of the family that are conserved at sampled entries, in reduced echelon form."""
    entries = math.prod(value_shape(family[0], blocks))
    if family[0].form in ("gram", "symmetric", "skew") and (family[0].axes or family[0].form == "symmetric"):
        entries = len(value_triangle(family[0], blocks))
    rows = len(family) + _SPARE
    chosen = rng.choice(entries, size=min(entries, _POSITIONS), replace=False)
    rates = [rates_of_term(term, blocks, points[:rows], fields[:rows], prime, chosen) for term in family]
    matrix = np.stack(rates).reshape(len(family), -1).T
    combinations = []
    for vector in modular_nullspace(matrix, prime):
        fractions = [reconstruct(int(entry), prime) for entry in vector]
        if None not in fractions:
            combinations.append(fractions)
    return combinations


def _holds(
    terms: Sequence[Term],
    blocks: Blocks,
    points: np.ndarray,
    fields: np.ndarray,
    prime: int,
    rng: np.random.Generator,
) -> bool:
    """Whether many entries, not only those of the kernel, are conserved at some points."""
    triangle = len(value_triangle(terms[0], blocks))
    chosen = rng.permutation(triangle)[:_CHECKED]
    total = 0
    for term in terms:
        value = term.coefficient.numerator * pow(term.coefficient.denominator, -1, prime) % prime
        total = total + value * rates_of_term(term, blocks, points, fields, prime, chosen) % prime
    return not np.any(total % prime)


def _new_combinations(
    kernel: list[list[Fraction]], family: Family, found: list[tuple[Term, ...]], prime: int
) -> list[tuple[Term, ...]]:
    """A basis of the kernel modulo what earlier laws imply: diagonals and traces of matrices."""
    if not kernel:
        return []
    known = [vector for terms in found for vector in _implied(terms, family)]
    rank, new = modular_rank(_residues(known, len(family), prime), prime), []
    for vector in minimal_span_basis(kernel):
        if modular_rank(_residues([*known, vector], len(family), prime), prime) == rank:
            continue
        known, rank = [*known, vector], rank + 1
        new.append(tuple(t.scaled(c) for t, c in zip(family, canonical(vector), strict=True) if c))
    return new


def _residues(vectors: Sequence[Sequence[Fraction]], width: int, prime: int) -> np.ndarray:
    rows = [[v.numerator * pow(v.denominator, -1, prime) % prime for v in vector] for vector in vectors]
    return np.array(rows, dtype=np.int64).reshape(len(rows), width)


def _implied(terms: tuple[Term, ...], family: Family) -> list[list[Fraction]]:
    """What an earlier law says about the family when some of its indices are summed over, or set equal."""
    places: dict[Term | None, int] = {member: place for place, member in enumerate(family)}
    count = len(terms[0].batch) + len(terms[0].axes)
    vectors = []
    for size in range(count + 1):
        for keep in itertools.combinations(range(count), size):
            coarse = [_coarsened(term, keep) for term in terms]
            where = [places[term] for term in coarse if term in places]
            if len(where) < len(terms):
                continue
            vector = [Fraction(0)] * len(family)
            for place, original in zip(where, terms, strict=True):
                vector[place] += original.coefficient
            vectors.append(vector)
    return vectors


def _coarsened(term: Term, keep: tuple[int, ...]) -> Term | None:
    """The diagonal in the kept indices, summed over the others; an autocorrelation has its first entry."""
    if term.form == "autocorrelation":
        return Term(Fraction(1), "gram", term.blocks)
    if term.form == "product" and term.axes and (keep or term.axes[0] != term.axes[1]):
        return None
    if term.form not in ("gram", "sum", "product"):
        return None
    free = (*term.batch, *term.axes)
    batch = tuple(sorted(free[place] for place in keep))
    return Term(Fraction(1), term.form, term.blocks, batch, (), term.time)
