r"""All polynomial laws of a degree: a sparse linear system for their coefficients, solved modulo a prime.

Unknown are the coefficients $a_m$ of monomials $m$; each generator $X_i$ and each monomial $t$ gives the equation that the
coefficient of $t$ in $\sum_m a_m \langle\nabla m, X_i\rangle$ vanishes. Nearly all of them have one or two terms.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Iterator
from fractions import Fraction

import flint
import numpy as np

from ..exact.modular import DEFAULT_PRIME, modular_nullspace, reconstruct
from ..exact.polynomials import SparsePolynomial, residue
from .law import Law, law_of_polynomials
from .systems import AbstractSystem
from .verify import Generators

MAX_UNKNOWNS = 3000
MAX_CLASSES = 4000
SECOND_PRIME = 2**31 - 19
_CHUNK = 2000


class AnsatzTooLargeError(MemoryError):
    """A search was refused before it took any memory.

    Attributes:
        unknowns: the number of coefficients it would have.
        limit: the largest number that is accepted.
    """

    def __init__(self, unknowns: int, limit: int, what: str = "monomials"):
        super().__init__(
            f"Argument `degree` must be such that the search has at most {limit} unknowns, but it has {unknowns} "
            f'({what}). Use a lower degree, or forms="gram", which has no such limit.'
        )
        self.unknowns, self.limit = unknowns, limit


@dataclasses.dataclass(frozen=True, eq=False)
class Kernel:
    """Solutions modulo a prime: sparse vectors over the unknowns, in reduced echelon form.

    Attributes:
        places: the unknowns of each vector, ascending.
        values: its residues there; the first is 1.
        prime: the prime.
    """

    places: list[np.ndarray]
    values: list[np.ndarray]
    prime: int

    def __len__(self) -> int:
        return len(self.places)


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
    system: AbstractSystem, generators: Generators, degree: int, known: np.ndarray, point: np.ndarray
) -> Iterator[Law]:
    """Laws of degree at most `degree` whose gradients are independent of known ones; still to be verified.

    Args:
        system: the training rule.
        generators: its expanded fields.
        degree: the largest degree.
        known: gradients (n, D) of known laws at `point`, modulo the default prime.
        point: residues (D,).

    Raises:
        AnsatzTooLargeError: more than 3000 monomials.
    """
    if (unknowns := count_unknowns(generators.dimension, degree)) > MAX_UNKNOWNS:
        raise AnsatzTooLargeError(unknowns, MAX_UNKNOWNS)
    yield from laws_among(system, generators, monomials(generators.dimension, degree), known, point)


def laws_among(
    system: AbstractSystem, generators: Generators, unknowns: np.ndarray, known: np.ndarray, point: np.ndarray
) -> Iterator[Law]:
    """The laws in the span of the given monomials, lowest degree first, as far as they raise the rank."""
    kernel = kernel_mod_p(generators, unknowns, DEFAULT_PRIME)
    second: Kernel | None = None
    for number in independent(kernel, unknowns, known, point):
        polynomial = _lifted(kernel, unknowns, number, None, generators.dimension)
        if polynomial is None:
            second = second or kernel_mod_p(generators, unknowns, SECOND_PRIME)
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
    gradients = [_gradient(unknowns[kernel.places[i]], kernel.values[i], point, kernel.prime) for i in order]
    columns = np.concatenate([known, np.stack(gradients)]).T
    pivots = pivot_columns(columns, kernel.prime)
    return [order[column - len(known)] for column in pivots if column >= len(known)]


def pivot_columns(matrix: np.ndarray, prime: int) -> list[int]:
    """The columns that are independent of the columns to their left."""
    rows, columns = matrix.shape
    echelon, rank = flint.nmod_mat(rows, columns, (matrix % prime).ravel().tolist(), prime).rref()
    pivots, column = [], 0
    for row in range(rank):
        while not echelon[row, column]:
            column += 1
        pivots.append(column)
    return pivots


def kernel_mod_p(generators: Generators, unknowns: np.ndarray, prime: int) -> Kernel:
    """All solutions modulo a prime; at least as many as there are independent laws of this form."""
    equations = Equations.of(generators, unknowns, prime)
    return equations.solve()


class Equations:
    """The equations of an ansatz, generator by generator, with the unknowns that can still be different from zero.

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
    def of(cls, generators: Generators, unknowns: np.ndarray, prime: int) -> Equations:
        """The equations for polynomials in the span of monomials."""
        dimension = generators.dimension
        words = random_words(dimension)
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
        joined = tuple(np.concatenate(piece) for piece in pieces)
        return cls(field_tables(generators, words, prime), joined, len(unknowns), dimension, prime)

    def solve(self) -> Kernel:
        """Set unknowns to zero, join proportional ones, and finish with dense elimination."""
        while True:
            before = self._count
            for table in self._tables:
                self._triples(table)
            if self._count == before:
                break
        parts = [self._triples(table) for table in self._tables]
        offsets = np.cumsum([0] + [int(part[0][-1]) + 1 if len(part[0]) else 0 for part in parts])
        rows = np.concatenate([part[0] + offset for part, offset in zip(parts, offsets, strict=False)])
        columns = np.concatenate([part[1] for part in parts])
        values = np.concatenate([part[2] for part in parts])
        return _solve_classes(np.flatnonzero(self._alive), rows, columns, values, self._prime)

    def _compact(self) -> None:
        kept = self._alive[self._pieces[1]]
        self._pieces = [piece[kept] for piece in self._pieces]
        self._starts = np.searchsorted(self._pieces[0], np.arange(self._components + 1))
        self._count = int(self._alive.sum())
        self._compacted = self._count

    def _triples(self, table: tuple[np.ndarray, np.ndarray, np.ndarray]) -> tuple[np.ndarray, ...]:
        """The equations of one generator: equation, unknown, residue; kills unknowns that stand alone."""
        component, word, value = table
        starts, lengths = self._starts[component], self._starts[component + 1] - self._starts[component]
        source = np.repeat(np.arange(len(component)), lengths)
        offset = np.arange(len(source)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        piece = starts[source] + offset
        unknown = self._pieces[1][piece]
        key = word[source] + self._pieces[2][piece]
        weight = value[source] * self._pieces[3][piece] % self._prime
        alive = self._alive[unknown]
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


def random_words(dimension: int) -> np.ndarray:
    """A random 64-bit word for each variable, and zero for the factor 1."""
    words = np.random.default_rng(3).integers(0, 2**64, size=dimension + 1, dtype=np.uint64)
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


def merged(key: np.ndarray, unknown: np.ndarray, weight: np.ndarray, prime: int) -> tuple[np.ndarray, ...]:
    """Triples sorted by equation and unknown, with equal ones added up and zeros removed."""
    if not len(key):
        return key, unknown, weight
    order = np.lexsort((unknown, key))
    key, unknown, weight = key[order], unknown[order], weight[order]
    new = np.flatnonzero((np.diff(key, prepend=key[:1] + np.uint64(1)) != 0) | (np.diff(unknown, prepend=-1) != 0))
    weight = np.add.reduceat(weight, new) % prime
    kept = weight != 0
    return key[new][kept], unknown[new][kept], weight[kept]


def _solve_classes(alive: np.ndarray, rows, columns, values, prime: int) -> Kernel:
    """Union of proportional unknowns by equations of two terms, then a dense kernel over the classes."""
    index = np.full(alive.max(initial=-1) + 1, -1)
    index[alive] = np.arange(len(alive))
    columns = index[columns]
    classes = _Classes(len(alive), prime)
    while True:
        sizes = np.bincount(rows, minlength=1)
        twos = sizes[rows] == 2
        first = np.flatnonzero(twos)[::2]
        pairs = np.stack(
            [columns[first], columns[first + 1], values[first], values[first + 1]], axis=1
        ) if len(first) else np.zeros((0, 4), dtype=np.int64)
        ones = columns[sizes[rows] == 1]
        if not len(pairs) and not len(ones):
            break
        for member in np.unique(ones).tolist():
            classes.kill(member)
        for a, b, x, y in np.unique(pairs, axis=0).tolist():
            classes.join(a, b, x, y)
        rest = sizes[rows] > 2
        root, ratio = classes.roots()
        rows, columns, values = rows[rest], columns[rest], values[rest]
        values, columns = values * ratio[columns] % prime, root[columns]
        kept = values != 0
        keys, columns, values = merged(
            rows[kept].astype(np.uint64), columns[kept], values[kept], prime
        )
        rows = np.cumsum(np.diff(keys.astype(np.int64), prepend=-1) != 0) - 1 if len(keys) else keys.astype(np.int64)
    root, ratio = classes.roots()
    heads = np.unique(root[ratio != 0])
    if len(heads) > MAX_CLASSES:
        raise AnsatzTooLargeError(len(heads), MAX_CLASSES, "after elimination of the sparse equations")
    basis = _dense_kernel(np.searchsorted(heads, columns), rows, values, len(heads), prime)
    position = np.searchsorted(heads, root)
    places, vectors = [], []
    for vector in basis:
        full = np.where(ratio != 0, vector[np.minimum(position, len(heads) - 1)] * ratio % prime, 0)
        support = np.flatnonzero(full)
        leading = pow(int(full[support[0]]), -1, prime)
        places.append(alive[support])
        vectors.append(full[support] * leading % prime)
    return Kernel(places, vectors, prime)


class _Classes:
    """Unknowns that are known multiples of one another; the root is the first of its class."""

    def __init__(self, count: int, prime: int):
        self._parent, self._ratio, self._prime = list(range(count)), [1] * count, prime

    def find(self, member: int) -> tuple[int, int]:
        """The root and the ratio to it; ratio 0 if the class is zero."""
        path, ratio = [], 1
        while self._parent[member] != member:
            path.append(member)
            member = self._parent[member]
        ratio = self._ratio[member]
        for step in reversed(path):
            ratio = self._ratio[step] = self._ratio[step] * ratio % self._prime
            self._parent[step] = member
        if not path:
            return member, ratio
        # The ratios along the path now refer to the root; a dead root makes them zero.
        return member, ratio

    def kill(self, member: int) -> None:
        root, _ = self.find(member)
        self._ratio[root] = 0

    def join(self, a: int, b: int, x: int, y: int) -> None:
        """The equation x a + y b = 0."""
        prime = self._prime
        (root_a, ratio_a), (root_b, ratio_b) = self.find(a), self.find(b)
        x, y = x * ratio_a % prime, y * ratio_b % prime
        if root_a == root_b:
            if (x + y) % prime:
                self._ratio[root_a] = 0
            return
        if not x or not y:
            # One class is zero already; then so is the other, unless its coefficient vanished.
            if x:
                self._ratio[root_a] = 0
            if y:
                self._ratio[root_b] = 0
            return
        if root_a > root_b:
            root_a, root_b, x, y = root_b, root_a, y, x
        self._parent[root_b] = root_a
        self._ratio[root_b] = -x * pow(y, -1, prime) % prime

    def roots(self) -> tuple[np.ndarray, np.ndarray]:
        found = [self.find(member) for member in range(len(self._parent))]
        return np.array([root for root, _ in found], dtype=np.int64), np.array(
            [ratio for _, ratio in found], dtype=np.int64
        )


def _dense_kernel(columns, rows, values, width: int, prime: int) -> np.ndarray:
    """The kernel over the classes, chunk by chunk of distinct equations."""
    current = np.zeros((0, width), dtype=np.int64)
    if not width:
        return current
    count = int(rows[-1]) + 1 if len(rows) else 0
    starts = np.searchsorted(rows, np.arange(count + 1))
    seen: set[bytes] = set()
    pending: list[np.ndarray] = []

    def reduce() -> np.ndarray:
        stacked = np.concatenate([current, np.stack(pending)]) if pending else current
        echelon, rank = flint.nmod_mat(*stacked.shape, stacked.ravel().tolist(), prime).rref()
        table = [[int(entry) for entry in row] for row in echelon.tolist()[:rank]]
        return np.array(table, dtype=np.int64).reshape(rank, width)

    for i in range(count):
        part = slice(starts[i], starts[i + 1])
        scale = pow(int(values[part.start]), -1, prime)
        normal = values[part] * scale % prime
        mark = columns[part].tobytes() + normal.tobytes()
        if mark in seen:
            continue
        seen.add(mark)
        row = np.zeros(width, dtype=np.int64)
        row[columns[part]] = normal
        pending.append(row)
        if len(pending) >= max(_CHUNK, width):
            current, pending = reduce(), []
    if pending:
        current = reduce()
    return modular_nullspace(current, prime)


def _gradient(rows: np.ndarray, values: np.ndarray, point: np.ndarray, prime: int) -> np.ndarray:
    padded = np.append(point, 1)
    total = np.zeros(len(padded), dtype=np.int64)
    for place in range(rows.shape[1]):
        product = values % prime
        for other in range(rows.shape[1]):
            if other != place:
                product = product * padded[rows[:, other]] % prime
        np.add.at(total, rows[:, place], product)
    return total[:-1] % prime


def _lifted(
    kernel: Kernel, unknowns: np.ndarray, number: int, second: Kernel | None, dimension: int
) -> SparsePolynomial | None:
    """A vector of the kernel over the rationals, by one prime or two; `None` where that fails."""
    places, residues, modulus = kernel.places[number], kernel.values[number].tolist(), kernel.prime
    if second is not None:
        if len(second) != len(kernel) or not np.array_equal(second.places[number], places):
            return None
        # Chinese remainder theorem.
        inverse = pow(modulus, -1, second.prime)
        residues = [
            x + modulus * ((y - x) * inverse % second.prime)
            for x, y in zip(residues, second.values[number].tolist(), strict=True)
        ]
        modulus *= second.prime
    fractions: list[Fraction | None] = [reconstruct(int(entry), modulus) for entry in residues]
    if any(fraction is None for fraction in fractions):
        return None
    return SparsePolynomial(
        {
            tuple(int(v) for v in unknowns[place] if v < dimension): fraction
            for place, fraction in zip(places, fractions, strict=True)
            if fraction is not None
        }
    )
