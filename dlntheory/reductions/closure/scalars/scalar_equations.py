r"""From closed generators to equations: pruning, coefficients over the rationals, and their check at fresh points."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ....exact.linear_algebra import DEFAULT_PRIME, combined, independent_columns, random_prime
from ....exact.rings.polynomials import Monomial, SparsePolynomial
from .scalar_search import Algebra, Degree, EntrySearch, Generator, Grading

#: A polynomial of the observables: coefficients of products, each a sorted tuple of their numbers.
Combination = dict[Monomial, Fraction]

_MAX_PRIMES = 4


@dataclasses.dataclass(frozen=True)
class EntryClosure:
    r"""Closed equations $\dot o_g = -\sum_k T_{gk}(o)\, \langle \nabla f, \partial z/\partial p_k\rangle$.

    Attributes:
        generators: the observables, pieces of $z$ first.
        pieces: each piece $p_k$ of $z$ as a polynomial of the observables.
        table: $T_{gk}$ where it is not zero.
        constant: the constant part of $z$, flat (object array of `Fraction`).
        shares: for each entry of $z$ the pieces that it is the sum of, with their coefficients.
    """

    generators: tuple[Generator, ...]
    pieces: tuple[Combination, ...]
    table: dict[tuple[int, int], Combination]
    constant: np.ndarray
    shares: tuple[dict[int, Fraction], ...]


class CoefficientsTooLargeError(RuntimeError):
    """A coefficient of the closed equations is no fraction of moderate size."""


@dataclasses.dataclass(frozen=True)
class Pieces:
    """$z$ taken apart.

    Attributes:
        polynomials: the distinct multihomogeneous pieces, with coprime integer coefficients.
        constant: the constant part, flat.
        shares: which multiple of which piece stands in each entry.
    """

    polynomials: tuple[SparsePolynomial, ...]
    constant: np.ndarray
    shares: tuple[dict[int, Fraction], ...]


def pieces_of(z: np.ndarray, grading: Grading) -> Pieces:
    """The multihomogeneous pieces of an object array of polynomials."""
    number: dict[SparsePolynomial, int] = {}
    constant, shares = np.full(z.size, Fraction(0), dtype=object), []
    for place, entry in enumerate(z.ravel()):
        share: dict[int, Fraction] = {}
        for degree, part in grading.pieces(entry).items():
            if not any(degree):
                value = part.terms[()]
                constant[place] = Fraction(int(value.p), int(value.q))
                continue
            primitive = part.primitive()
            monomial = next(iter(part.terms))
            scale = part.terms[monomial] / primitive.terms[monomial]
            share[number.setdefault(primitive, len(number))] = Fraction(int(scale.p), int(scale.q))
        shares.append(share)
    return Pieces(tuple(number), constant, tuple(shares))


def assembled(search: EntrySearch, pieces: Pieces, seed: int) -> EntryClosure:
    """The equations of a search that has ended: pruned, exact over the rationals, verified.

    Raises:
        CoefficientsTooLargeError: a coefficient was not found with four primes.
        RuntimeError: the equations fail at fresh random points, which would be a defect of the search.
    """
    generators = _pruned(search)
    rng = np.random.default_rng([seed, 1])
    primes = [DEFAULT_PRIME]
    while True:
        algebras = [_algebra(search, generators, prime, seed) for prime in primes]
        solved = _solved(algebras, search.degrees)
        if solved is not None:
            break
        if len(primes) == _MAX_PRIMES:
            raise CoefficientsTooLargeError(
                f"The coefficients of the closed equations are no fractions below 2^{31 * _MAX_PRIMES // 2}."
            )
        primes.append(random_prime(rng, primes))
    table, parts = solved
    _verify(_algebra(search, generators, random_prime(rng, primes), seed + 1), table, parts)
    needed = _needed(generators, table)
    renumber = {old: new for new, old in enumerate(needed)}

    def renamed(combination: Combination) -> Combination:
        return {tuple(sorted(renumber[g] for g in m)): value for m, value in combination.items()}

    return EntryClosure(
        tuple(generators[old] for old in needed),
        tuple(renamed(part) for part in parts),
        {(renumber[g], k): renamed(entry) for (g, k), entry in table.items() if g in renumber},
        pieces.constant,
        pieces.shares,
    )


def _pruned(search: EntrySearch) -> list[Generator]:
    """Without the generators that are polynomials of the rest, highest degree first; pieces of $z$ stay."""
    algebra, grading = search.algebra, search.algebra.grading
    kept = list(algebra.generators)
    for generator in sorted(algebra.generators, key=lambda g: -sum(g.degree)):
        if generator.of_z:
            continue
        rest = Algebra(grading, algebra.prime, 1)
        for other in kept:
            if other is not generator:
                rest.add(other)
        if rest.is_member(generator.polynomial, generator.degree):
            kept = [other for other in kept if other is not generator]
    return kept


def _algebra(search: EntrySearch, generators: Sequence[Generator], prime: int, seed: int) -> Algebra:
    algebra = Algebra(search.algebra.grading, prime, seed)
    for generator in generators:
        algebra.add(generator)
    for direction in search.algebra.directions:
        algebra.add_direction(direction)
    return algebra


def _solved(
    algebras: Sequence[Algebra], degrees: Sequence[Degree]
) -> tuple[dict[tuple[int, int], Combination], list[Combination]] | None:
    """The table of derivatives and the pieces as polynomials of the generators, or `None` if a prime is missing."""
    first = algebras[0]
    jobs: dict[Degree, list[tuple[int, int, int]]] = {}
    for generator in range(len(first.generators)):
        for direction, own in enumerate(degrees):
            for array in first.grading.moving:
                degree = first.derivative_degree(generator, own, array)
                if degree is not None:
                    jobs.setdefault(degree, []).append((generator, direction, array))
    for direction, own in enumerate(degrees):
        jobs.setdefault(own, []).append((-1, direction, -1))
    table: dict[tuple[int, int], Combination] = {}
    parts: list[Combination] = [{} for _ in degrees]
    for degree, same in jobs.items():
        monomials = first.monomials(degree)
        assert monomials is not None  # the search has listed them before
        residues = np.array([_coefficients(algebra, monomials, same) for algebra in algebras])
        fractions = combined(residues, [algebra.prime for algebra in algebras])
        if fractions is None:
            return None
        for (generator, direction, _), column in zip(same, fractions.T, strict=True):
            terms = {m: value for m, value in zip(monomials, column, strict=True) if value}
            if generator < 0:
                parts[direction] = terms
            elif terms:
                # Pieces that come from different arrays have different degrees: no product is in two of them.
                table.setdefault((generator, direction), {}).update(terms)
    return table, parts


def _coefficients(
    algebra: Algebra, monomials: Sequence[Monomial], jobs: Sequence[tuple[int, int, int]]
) -> np.ndarray:
    """(monomials, jobs) residues: every job as a combination of the monomials."""
    algebra.ensure(len(monomials) + 1)
    values = [
        algebra.direction_values(direction)
        if generator < 0
        else algebra.derivative_values(generator, direction, array)
        for generator, direction, array in jobs
    ]
    pivots, echelon = independent_columns(algebra.table(monomials, values), algebra.prime)
    if any(pivot >= len(monomials) for pivot in pivots):
        raise RuntimeError("A derivative is no polynomial of the observables any more. Please report this φ.")
    found = np.zeros((len(monomials), len(jobs)), dtype=np.int64)
    found[pivots] = echelon[:, len(monomials) :]
    return found


def _verify(
    algebra: Algebra, table: dict[tuple[int, int], Combination], parts: Sequence[Combination]
) -> None:
    """Both sides of every equation at fresh points, modulo a fresh prime."""
    prime = algebra.prime

    def value(combination: Combination) -> np.ndarray:
        columns = algebra.table(list(combination), [])
        weights = [c.numerator * pow(c.denominator, -1, prime) % prime for c in combination.values()]
        total = np.zeros(algebra.samples.count, dtype=np.int64)
        for column, weight in zip(columns.T, weights, strict=True):
            total = (total + column * weight) % prime
        return total

    for direction, part in enumerate(parts):
        if not np.array_equal(value(part), algebra.direction_values(direction)):
            raise RuntimeError(
                "z is not the polynomial of the observables that was found. Please report this φ."
            )
        for generator in range(len(algebra.generators)):
            exact = np.zeros(algebra.samples.count, dtype=np.int64)
            for array in algebra.grading.moving:
                exact = (exact + algebra.derivative_values(generator, direction, array)) % prime
            if not np.array_equal(value(table.get((generator, direction), {})), exact):
                raise RuntimeError("A closed equation fails at a fresh random point. Please report this φ.")


def _needed(generators: Sequence[Generator], table: dict[tuple[int, int], Combination]) -> list[int]:
    """The generators on which $z$ depends, directly or through others; hints that nothing uses go."""
    uses: dict[int, set[int]] = {}
    for (generator, _), entry in table.items():
        uses.setdefault(generator, set()).update(factor for monomial in entry for factor in monomial)
    needed = [number for number, generator in enumerate(generators) if generator.of_z]
    for number in needed:
        needed += sorted(uses.get(number, set()) - set(needed))
    return sorted(needed, key=lambda n: (not generators[n].of_z, n))
