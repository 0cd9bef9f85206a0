r"""The closure of entries: polynomials of the parameters with a closed equation, found degree by degree.

Observables are multihomogeneous, with a degree for each named array. The derivative of $o$ along $\nabla\varphi_i$,
$\sum_X \langle\nabla_X o, \nabla_X \varphi_i\rangle$, falls into multihomogeneous pieces. A piece that is no
polynomial of the observables becomes an observable, or its factors do where they live on disjoint sets of arrays:
factoring further would return the parameters themselves.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from fractions import Fraction

import numpy as np

from ....exact.factoring import factors
from ....exact.linear_algebra import DEFAULT_PRIME, independent_columns
from ....exact.polynomial_span import Samples
from ....exact.rings.polynomials import Monomial, SparsePolynomial, sum_of_products

Degree = tuple[int, ...]

MAX_MONOMIALS = 3000
_SPARE = 8
_MAX_STEPS = 100_000


@dataclasses.dataclass(frozen=True)
class Generator:
    """An observable.

    Attributes:
        polynomial: in the parameters.
        degree: its degree in each named array.
        of_z: whether it is a piece of $z$.
    """

    polynomial: SparsePolynomial
    degree: Degree
    of_z: bool


@dataclasses.dataclass(frozen=True)
class OpenEntries:
    """The search met a bound.

    Attributes:
        reason: which, in words.
        offending: the degrees of what could not be added.
        generators: what had been collected by then.
    """

    reason: str
    offending: Degree
    generators: tuple[Generator, ...]


class Grading:
    """Which array each variable belongs to.

    Args:
        sizes: the number of variables of each array, in their order.
        frozen: the numbers of the arrays that training does not move.
    """

    def __init__(self, sizes: Sequence[int], frozen: Sequence[int] = ()):
        self.arrays = len(sizes)
        self.moving = [number for number in range(len(sizes)) if number not in frozen]
        self.owner = np.repeat(np.arange(len(sizes)), sizes)
        self.size = int(sum(sizes))

    def degree(self, monomial: Monomial) -> Degree:
        """The degree of a monomial in each array."""
        counts = [0] * self.arrays
        for variable in monomial:
            counts[self.owner[variable]] += 1
        return tuple(counts)

    def pieces(self, polynomial: SparsePolynomial) -> dict[Degree, SparsePolynomial]:
        """The multihomogeneous components."""
        parts: dict[Degree, dict[Monomial, object]] = {}
        for monomial, value in polynomial.terms.items():
            parts.setdefault(self.degree(monomial), {})[monomial] = value
        return {degree: SparsePolynomial(terms) for degree, terms in parts.items()}

    def factored(self, polynomial: SparsePolynomial) -> list[SparsePolynomial]:
        """Factors on disjoint sets of arrays, as many as possible."""
        groups: list[tuple[set[int], SparsePolynomial]] = []
        for factor, exponent in factors(polynomial):
            arrays = {int(self.owner[variable]) for variable in factor.variables}
            product = factor
            for _ in range(exponent - 1):
                product = product * factor
            for group in [group for group in groups if group[0] & arrays]:
                groups.remove(group)
                arrays |= group[0]
                product = product * group[1]
            groups.append((arrays, product))
        return [product.primitive() for _, product in groups]


class Algebra:
    """Generators with their values at random points, and products of them of a given degree.

    Args:
        grading: the arrays and their sizes.
        prime: modulus of all values.
        seed: where the points come from.
    """

    def __init__(self, grading: Grading, prime: int = DEFAULT_PRIME, seed: int = 0):
        self.grading, self.prime = grading, prime
        self.generators: list[Generator] = []
        self.directions: list[SparsePolynomial] = []
        self._seed, self._draws = seed, 0
        self._resample(64)

    def add(self, generator: Generator) -> int:
        """The number that the generator gets."""
        self.generators.append(generator)
        self._values.append(self.samples.values(generator.polynomial))
        self._gradients.append(self.samples.gradient(generator.polynomial))
        return len(self.generators) - 1

    def add_direction(self, polynomial: SparsePolynomial) -> int:
        """A function along whose gradient derivatives are taken."""
        self.directions.append(polynomial)
        self._slopes.append(self.samples.gradient(polynomial))
        return len(self.directions) - 1

    def ensure(self, columns: int) -> None:
        """Enough points to tell so many polynomials apart."""
        if self.samples.count < columns + _SPARE:
            self._resample(2 * (columns + _SPARE))

    def refresh(self) -> None:
        """Other points, as many as before."""
        self._resample(self.samples.count)

    def derivative_degree(self, generator: int, direction_degree: Degree, array: int) -> Degree | None:
        """The degree of a piece of a derivative; `None` if it is zero."""
        own = self.generators[generator].degree
        degree = [a + b for a, b in zip(own, direction_degree, strict=True)]
        degree[array] -= 2
        return tuple(degree) if own[array] and direction_degree[array] else None

    def derivative_values(self, generator: int, direction: int, array: int) -> np.ndarray:
        """Values of one piece of a derivative."""
        where = self.grading.owner == array
        return self.samples.inner(self._gradients[generator][where], self._slopes[direction][where])

    def derivative(self, generator: int, direction: int, array: int) -> SparsePolynomial:
        """One piece of a derivative, expanded."""
        left = self.generators[generator].polynomial.gradient()
        right = self.directions[direction].gradient()
        shared = [v for v in left if v in right and self.grading.owner[v] == array]
        return sum_of_products((left[v], right[v]) for v in shared)

    def direction_values(self, direction: int) -> np.ndarray:
        """Values of a direction itself."""
        return self.samples.values(self.directions[direction])

    def monomials(self, degree: Degree, without: int | None = None) -> list[Monomial] | None:
        """The products of generators of a degree, few factors first; `None` if there are too many."""
        usable = [
            (number, np.array(generator.degree))
            for number, generator in enumerate(self.generators)
            if number != without
        ]
        found: list[Monomial] = []
        steps = 0
        stack: list[tuple[Monomial, np.ndarray, int]] = [((), np.array(degree), 0)]
        while stack:
            monomial, left, start = stack.pop()
            steps += 1
            if steps > _MAX_STEPS:
                return None
            if not left.any():
                found.append(monomial)
                if len(found) > MAX_MONOMIALS:
                    return None
                continue
            for position in range(start, len(usable)):
                number, own = usable[position]
                if np.all(own <= left):
                    stack.append(((*monomial, number), left - own, position))
        return sorted(found, key=lambda m: (len(m), m))

    def table(self, monomials: Sequence[Monomial], candidates: Sequence[np.ndarray]) -> np.ndarray:
        """Values of the monomials and of further polynomials as columns."""
        values = np.array(self._values).reshape(-1, self.samples.count)
        columns = [self.samples.monomial(values, monomial) for monomial in monomials]
        return np.array([*columns, *candidates]).T.reshape(self.samples.count, -1)

    def is_member(
        self, polynomial: SparsePolynomial, degree: Degree, without: int | None = None
    ) -> bool | None:
        """Whether a polynomial is one of the generators; `None` if there are too many products to tell."""
        monomials = self.monomials(degree, without)
        if monomials is None:
            return None
        self.ensure(len(monomials) + 1)
        pivots, _ = independent_columns(self.table(monomials, [self.samples.values(polynomial)]), self.prime)
        return len(monomials) not in pivots

    def jacobian(self, polynomials: Sequence[SparsePolynomial]) -> np.ndarray:
        """(number, variables) gradients at the first random point."""
        rows = np.zeros((len(polynomials), self.grading.size), dtype=np.int64)
        point = self.samples.points[0]
        for row, polynomial in zip(rows, polynomials, strict=True):
            for variable, part in polynomial.gradient().items():
                row[variable] = part.evaluate_mod(point, self.prime)
        return rows

    def _resample(self, count: int) -> None:
        rng = np.random.default_rng([self._seed, self._draws])
        self._draws += 1
        self.samples = Samples(self.grading.size, count, self.prime, rng)
        self._values = [self.samples.values(g.polynomial) for g in self.generators]
        self._gradients = [self.samples.gradient(g.polynomial) for g in self.generators]
        self._slopes = [self.samples.gradient(polynomial) for polynomial in self.directions]


class EntrySearch:
    """Adds generators until every derivative is a polynomial of them.

    Args:
        grading: the arrays and their sizes.
        pieces: the multihomogeneous pieces of $z$, each once.
        hints: further observables, multihomogeneous.
        max_degree: the largest degree of an observable that is no piece of $z$.
        max_generators: the largest number of observables.
        deadline: a value of `time.perf_counter()` at which to stop.
        seed: determines all random points.
    """

    def __init__(
        self,
        grading: Grading,
        pieces: Sequence[SparsePolynomial],
        hints: Sequence[SparsePolynomial],
        *,
        max_degree: int,
        max_generators: int,
        deadline: float,
        seed: int,
    ):
        self.algebra = Algebra(grading, seed=seed)
        self.bounds = (max_degree, max_generators, deadline)
        self.degrees = [next(iter(grading.pieces(piece))) for piece in pieces]
        self._queue: dict[Degree, list[tuple[int, int, int]]] = {}
        for piece in pieces:
            self.algebra.add_direction(piece)
        for piece, degree in zip(pieces, self.degrees, strict=True):
            # `run` reports that the deadline has passed.
            if time.perf_counter() > deadline:
                return
            if not self._is_linear_combination(piece, degree):
                self._add(Generator(piece, degree, True))
        for hint in hints:
            (degree,) = grading.pieces(hint)
            if self.algebra.is_member(hint, degree) is not True:
                self._add(Generator(hint.primitive(), degree, False))

    def run(self) -> OpenEntries | None:
        """Search to the end; `None` if the generators are closed."""
        while True:
            degree = min(self._queue, key=lambda d: (sum(d), d), default=None)
            if time.perf_counter() > self.bounds[2]:
                return self._open("the time limit", degree or max(self.degrees))
            if degree is None:
                return None
            jobs = self._queue.pop(degree)
            stopped = self._closed(degree, jobs)
            if stopped is not None:
                return stopped

    def _add(self, generator: Generator) -> None:
        number = self.algebra.add(generator)
        for direction, own in enumerate(self.degrees):
            for array in self.algebra.grading.moving:
                degree = self.algebra.derivative_degree(number, own, array)
                if degree is not None:
                    self._queue.setdefault(degree, []).append((number, direction, array))

    def _is_linear_combination(self, piece: SparsePolynomial, degree: Degree) -> bool:
        algebra = self.algebra
        same = [(n,) for n, generator in enumerate(algebra.generators) if generator.degree == degree]
        algebra.ensure(len(same) + 1)
        pivots, _ = independent_columns(algebra.table(same, [algebra.samples.values(piece)]), algebra.prime)
        return len(same) not in pivots

    def _closed(self, degree: Degree, jobs: Sequence[tuple[int, int, int]]) -> OpenEntries | None:
        """Add what is needed to express all derivatives of a degree."""
        while True:
            monomials = self.algebra.monomials(degree)
            if monomials is None:
                return self._open(f"more than {MAX_MONOMIALS} products of one degree", degree)
            self.algebra.ensure(len(monomials) + len(jobs))
            candidates, sources = [], []
            seen = set()
            for job in jobs:
                values = self.algebra.derivative_values(*job)
                if values.any() and values.tobytes() not in seen:
                    seen.add(values.tobytes())
                    candidates.append(values)
                    sources.append(job)
            if not candidates:
                return None
            pivots, _ = independent_columns(self.algebra.table(monomials, candidates), self.algebra.prime)
            new = next((pivot - len(monomials) for pivot in pivots if pivot >= len(monomials)), None)
            if new is None:
                return None
            stopped = self._extend(self.algebra.derivative(*sources[new]))
            if stopped is not None:
                return stopped

    def _extend(self, candidate: SparsePolynomial) -> OpenEntries | None:
        max_degree, max_generators, deadline = self.bounds
        grading = self.algebra.grading
        for part in sorted(grading.factored(candidate), key=lambda polynomial: polynomial.degree):
            (degree,) = grading.pieces(part)
            member = self.algebra.is_member(part, degree)
            if member:
                continue
            if member is None:
                return self._open(f"more than {MAX_MONOMIALS} products of one degree", degree)
            if sum(degree) > max_degree:
                return self._open(f"max_degree = {max_degree}", degree)
            if len(self.algebra.generators) >= max_generators:
                return self._open(f"max_generators = {max_generators}", degree)
            if time.perf_counter() > deadline:
                return self._open("the time limit", degree)
            self._add(Generator(part, degree, False))
        return None

    def _open(self, reason: str, degree: Degree) -> OpenEntries:
        return OpenEntries(reason, degree, tuple(self.algebra.generators))


def fraction_polynomial(polynomial: SparsePolynomial) -> dict[Monomial, Fraction]:
    """The terms with Python fractions as coefficients."""
    return {monomial: Fraction(int(value.p), int(value.q)) for monomial, value in polynomial.terms.items()}
