r"""All polynomial laws of a degree: a sparse linear system for their coefficients, solved modulo a prime.

Unknown are the coefficients $a_m$ of monomials $m$; each generator $X_i$ and each monomial $t$ gives the equation
that the coefficient of $t$ in $\sum_m a_m \langle\nabla m, X_i\rangle$ vanishes. Nearly all have one or two terms.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from ...exact.linear_algebra import DEFAULT_PRIME, combined, pivot_columns
from ...exact.rings.polynomials import SparsePolynomial, gradient_of_monomials, residue
from ..deadline import UNLIMITED, Deadline
from ..law import Law, law_of_polynomials
from ..proof.verification import Generators
from ..systems import AbstractSystem
from .sparse_elimination import AnsatzTooLargeError, Kernel, merged, solve_sparse

MAX_UNKNOWNS = 3000
SECOND_PRIME = 2**31 - 19
_SIMPLE = 64


def count_unknowns(dimension: int, degree: int) -> int:
    """The number of monomials of degree 1 to `degree` in D variables."""
    return math.comb(dimension + degree, degree) - 1


def monomials(dimension: int, degree: int) -> np.ndarray:
    """Monomials of degree 1 to `degree` as sorted rows filled up with the index D: squares first, linear ones last."""
    rows = np.array(
        list(itertools.combinations_with_replacement(range(dimension + 1), degree)), dtype=np.int64
    )[:-1]
    actual = (rows < dimension).sum(axis=1)
    distinct = 1 + (np.diff(rows, axis=1) != 0).sum(axis=1) - (actual < degree)
    return rows[np.lexsort((distinct > 1, -actual))]


def polynomial_laws(
    system: AbstractSystem,
    generators: Generators,
    degree: int,
    known: np.ndarray,
    point: np.ndarray,
    *,
    seed: int = 0,
    deadline: Deadline = UNLIMITED,
) -> Iterator[Law]:
    """Laws of degree at most `degree` whose gradients are independent of known ones; still to be verified.

    Args:
        system: the training rule.
        generators: its expanded fields.
        degree: the largest degree.
        known: gradients (n, D) of known laws at `point`, modulo the default prime.
        point: residues (D,).
        seed: see `laws_among`.
        deadline: likewise.

    Raises:
        AnsatzTooLargeError: more than 3000 monomials.
    """
    if (unknowns := count_unknowns(generators.dimension, degree)) > MAX_UNKNOWNS:
        raise AnsatzTooLargeError(unknowns, MAX_UNKNOWNS)
    unknowns_of_degree = monomials(generators.dimension, degree)
    yield from laws_among(system, generators, unknowns_of_degree, known, point, seed=seed, deadline=deadline)


def laws_among(
    system: AbstractSystem,
    generators: Generators,
    unknowns: np.ndarray,
    known: np.ndarray,
    point: np.ndarray,
    *,
    seed: int = 0,
    deadline: Deadline = UNLIMITED,
) -> Iterator[Law]:
    """The laws in the span of the given monomials, lowest degree first, as far as they raise the rank.

    Args:
        system: the training rule.
        generators: its expanded fields.
        unknowns: monomials, one a row.
        known: gradients (n, D) of known laws at `point`.
        point: residues (D,).
        seed: of the random words by which monomials are recognised.
        deadline: when to give up.

    Raises:
        OutOfTimeError: the deadline is over.
    """
    kernel = kernel_mod_p(generators, unknowns, DEFAULT_PRIME, seed=seed, deadline=deadline)
    second: Kernel | None = None
    for number in independent(kernel, unknowns, known, point):
        polynomial = _lifted(kernel, unknowns, number, None, generators.dimension)
        # Modulo one prime a large fraction can pass for a small one of some thousands, but not of some dozens.
        if polynomial is None or (not _is_simple(polynomial) and generators.defect(polynomial)):
            second = second or kernel_mod_p(generators, unknowns, SECOND_PRIME, seed=seed, deadline=deadline)
            polynomial = _lifted(kernel, unknowns, number, second, generators.dimension)
        if polynomial is not None:
            yield law_of_polynomials(system.blocks, [polynomial.primitive()])


def independent(kernel: Kernel, unknowns: np.ndarray, known: np.ndarray, point: np.ndarray) -> list[int]:
    """The vectors of the kernel whose gradients at a point are independent of known ones, low degrees first."""
    if not len(kernel):
        return []
    dimension = len(point)
    degrees = (unknowns < dimension).sum(axis=1)
    order = sorted(range(len(kernel)), key=lambda i: (degrees[kernel.places[i]].max(), i))
    gradients = [
        gradient_of_monomials(unknowns[kernel.places[i]], kernel.values[i], point, kernel.prime)
        for i in order
    ]
    columns = np.concatenate([known, np.stack(gradients)]).T
    pivots = pivot_columns(columns, kernel.prime)
    return [order[column - len(known)] for column in pivots if column >= len(known)]


def kernel_mod_p(
    generators: Generators,
    unknowns: np.ndarray,
    prime: int,
    *,
    seed: int = 0,
    deadline: Deadline = UNLIMITED,
) -> Kernel:
    """All solutions modulo a prime; at least as many as there are independent laws of this form."""
    return Equations.of(generators, unknowns, prime, seed).solve(deadline)


class Equations:
    """The equations of an ansatz, generator by generator, with the unknowns that can still be different from zero.

    There may be a hundred thousand unknowns and millions of equations, too many to store. But most equations have one
    term, which says that its unknown is zero, and once these unknowns are struck out, other equations have one term.
    So the equations are never stored: one generator at a time they are formed (`_triples`), used to strike out
    unknowns, and forgotten, in rounds until a round strikes out none. What is left is small and goes to `solve_sparse`.

    Monomials are recognised by sums of random 64-bit words, one for each variable. Two monomials with one sum would
    merge two equations into one, a weaker condition; every law is verified in the end.

    Args:
        tables: for each generator the component, the word of the monomial and the residue of each of its terms.
        pieces: of the derivatives of the unknowns: component, unknown, word of the cofactor, residue.
        count: the number of unknowns.
        prime: the prime.
    """

    def __init__(
        self,
        tables: list[tuple[np.ndarray, np.ndarray, np.ndarray]],
        pieces: tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray],
        count: int,
        components: int,
        prime: int,
    ):
        self._tables, self._prime, self._components = tables, prime, components
        order = np.argsort(pieces[0], kind="stable")
        self._pieces = [piece[order] for piece in pieces]
        self._alive = np.ones(count, dtype=bool)
        self._compact()

    @classmethod
    def of(cls, generators: Generators, unknowns: np.ndarray, prime: int, seed: int = 0) -> Equations:
        """The equations for polynomials in the span of monomials."""
        dimension = generators.dimension
        words = random_words(dimension, seed)
        pieces = [[], [], [], []]
        total = words[unknowns].sum(axis=1, dtype=np.uint64)
        for place in range(unknowns.shape[1]):
            (rows,) = np.nonzero(unknowns[:, place] < dimension)
            variable = unknowns[rows, place]
            for piece, value in zip(
                pieces,
                (variable, rows, total[rows] - words[variable], np.ones(len(rows), dtype=np.int64)),
                strict=True,
            ):
                piece.append(value)
        component, number, word, value = (np.concatenate(piece) for piece in pieces)
        tables = field_tables(generators, words, prime)
        return cls(tables, (component, number, word, value), len(unknowns), dimension, prime)

    def solve(self, deadline: Deadline = UNLIMITED) -> Kernel:
        """Set unknowns to zero, join proportional ones, and finish with dense elimination."""
        while True:
            before = self._count
            for table in self._tables:
                deadline.check()
                self._triples(table)
            if self._count == before:
                break
        empty = np.zeros(0, dtype=np.int64)
        parts = [(empty, empty, empty), *(self._triples(table) for table in self._tables)]
        offsets = np.cumsum([0] + [int(part[0][-1]) + 1 if len(part[0]) else 0 for part in parts])
        rows = np.concatenate([part[0] + offset for part, offset in zip(parts, offsets, strict=False)])
        columns = np.concatenate([part[1] for part in parts])
        values = np.concatenate([part[2] for part in parts])
        return solve_sparse(np.flatnonzero(self._alive), rows, columns, values, self._prime, deadline)

    def _compact(self) -> None:
        kept = self._alive[self._pieces[1]]
        self._pieces = [piece[kept] for piece in self._pieces]
        self._starts = np.searchsorted(self._pieces[0], np.arange(self._components + 1))
        self._count = int(self._alive.sum())
        self._compacted = self._count

    def _triples(self, table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """The equations of one generator: equation, unknown, residue; kills unknowns that stand alone."""
        component, word, value = table
        # Every term of component v of the generator meets every derivative by v of an unknown. The pieces are sorted by
        # component, so those of v are a slice, and all slices are laid out one behind the other by index arithmetic.
        starts, lengths = self._starts[component], self._starts[component + 1] - self._starts[component]
        source = np.repeat(np.arange(len(component)), lengths)
        offset = np.arange(len(source)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        piece = starts[source] + offset
        unknown = self._pieces[1][piece]
        key = word[source] + self._pieces[2][piece]
        weight = value[source] * self._pieces[3][piece] % self._prime
        alive = self._alive[unknown]
        # The key is the word of the monomial t: triples of one key are one equation.
        key, unknown, weight = merged(key[alive], unknown[alive], weight[alive], self._prime)
        while True:
            starts_here = np.flatnonzero(np.diff(key, prepend=key[:1] + np.uint64(1)))
            sizes = np.diff(np.append(starts_here, len(key)))
            lonely = unknown[starts_here[sizes == 1]]
            if not len(lonely):
                break
            self._alive[lonely] = False
            kept = self._alive[unknown]
            key, unknown, weight = key[kept], unknown[kept], weight[kept]
        self._count = int(self._alive.sum())
        if self._count < 0.7 * self._compacted:
            self._compact()
        return np.repeat(np.arange(len(sizes)), sizes), unknown, weight


def random_words(dimension: int, seed: int = 0) -> np.ndarray:
    """A random 64-bit word for each variable, and zero for the factor 1."""
    words = np.random.default_rng([seed, 8]).integers(0, 2**64, size=dimension + 1, dtype=np.uint64)
    words[dimension] = 0
    return words


def field_tables(
    generators: Generators, words: np.ndarray, prime: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Component, word of the monomial and residue of every term of every generator."""
    tables = []
    for _, field in generators.fields:
        component, monomial, value = [], [], []
        for variable, polynomial in field.items():
            rows, coefficients = polynomial.arrays(generators.dimension)
            component.append(np.full(len(rows), variable))
            monomial.append(words[rows].sum(axis=1, dtype=np.uint64))
            value.append(np.array([residue(c, prime) for c in coefficients], dtype=np.int64))
        tables.append(tuple(np.concatenate(part) for part in (component, monomial, value)))
    return tables


def _is_simple(polynomial: SparsePolynomial) -> bool:
    return all(abs(value.p) <= _SIMPLE and value.q <= _SIMPLE for value in polynomial.terms.values())


def _lifted(
    kernel: Kernel, unknowns: np.ndarray, number: int, second: Kernel | None, dimension: int
) -> SparsePolynomial | None:
    """A vector of the kernel over the rationals, by one prime or two; `None` where that fails."""
    places, residues, primes = kernel.places[number], [kernel.values[number]], [kernel.prime]
    if second is not None:
        if len(second) != len(kernel) or not np.array_equal(second.places[number], places):
            return None
        residues.append(second.values[number])
        primes.append(second.prime)
    fractions = combined(np.stack(residues), primes)
    if fractions is None:
        return None
    return SparsePolynomial(
        {
            tuple(int(v) for v in unknowns[place] if v < dimension): fraction
            for place, fraction in zip(places, fractions, strict=True)
        }
    )
