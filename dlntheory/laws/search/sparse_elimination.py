"""Sparse linear systems modulo a prime in which most equations have one or two terms."""

from __future__ import annotations

import dataclasses

import flint
import numpy as np

from ...exact.linear_algebra import modular_nullspace
from ..deadline import UNLIMITED, Deadline

MAX_CLASSES = 4000
_CHUNK = 2000
# Rough: what elimination modulo p costs on a slow machine, for each n^3.
_SECONDS_A_CUBE = 1e-9


class AnsatzTooLargeError(MemoryError):
    """A search was refused before it took any memory.

    Attributes:
        unknowns: the number of coefficients it would have.
        limit: the largest number that is accepted.
    """

    def __init__(self, unknowns: int, limit: int, what: str = "monomials"):
        super().__init__(
            f"Argument `degree` must be such that the search has at most {limit} unknowns, but it has {unknowns} "
            f'({what}). Use a lower degree (with `find_laws`: forms="gram", which has no such limit).'
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


def merged(key: np.ndarray, unknown: np.ndarray, weight: np.ndarray, prime: int) -> tuple[np.ndarray, ...]:
    """Triples sorted by equation and unknown, with equal ones added up and zeros removed."""
    if not len(key):
        return key, unknown, weight
    order = np.lexsort((unknown, key))
    key, unknown, weight = key[order], unknown[order], weight[order]
    new = np.flatnonzero(
        (np.diff(key, prepend=key[:1] + np.uint64(1)) != 0) | (np.diff(unknown, prepend=-1) != 0)
    )
    weight = np.add.reduceat(weight, new) % prime
    kept = weight != 0
    return key[new][kept], unknown[new][kept], weight[kept]


def solve_sparse(
    alive: np.ndarray, rows, columns, values, prime: int, deadline: Deadline = UNLIMITED
) -> Kernel:
    """Union of proportional unknowns by equations of two terms, then a dense kernel over the classes.

    An equation $x a + y b = 0$ makes a and b multiples of one another, so one of them can stand for both. Classes of
    such unknowns are kept as in union-find, with the ratio to the representative on each edge. Replacing unknowns by
    representatives makes longer equations shorter, so this is repeated until no equation has fewer than three terms.
    The symmetries of φ make nearly all equations of a law short: what is left for dense elimination are some dozens.
    """
    index = np.full(alive.max(initial=-1) + 1, -1)
    index[alive] = np.arange(len(alive))
    columns = index[columns]
    classes = _Classes(len(alive), prime)
    while True:
        deadline.check()
        sizes = np.bincount(rows, minlength=1)
        twos = sizes[rows] == 2
        first = np.flatnonzero(twos)[::2]
        pairs = (
            np.stack([columns[first], columns[first + 1], values[first], values[first + 1]], axis=1)
            if len(first)
            else np.zeros((0, 4), dtype=np.int64)
        )
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
        keys, columns, values = merged(rows[kept].astype(np.uint64), columns[kept], values[kept], prime)
        rows = (
            np.cumsum(np.diff(keys.astype(np.int64), prepend=-1) != 0) - 1
            if len(keys)
            else keys.astype(np.int64)
        )
    root, ratio = classes.roots()
    heads = np.unique(root[ratio != 0])
    if len(heads) > MAX_CLASSES:
        raise AnsatzTooLargeError(len(heads), MAX_CLASSES, "after elimination of the sparse equations")
    deadline.check(_SECONDS_A_CUBE * float(len(heads)) ** 3)
    basis = _dense_kernel(np.searchsorted(heads, columns), rows, values, len(heads), prime)
    position = np.searchsorted(heads, root)
    places, vectors = [], []
    for vector in basis:
        # An unknown is its ratio times its representative; those of a class that is zero are zero.
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
        path = []
        while self._parent[member] != member:
            path.append(member)
            member = self._parent[member]
        ratio = self._ratio[member]
        for step in reversed(path):
            ratio = self._ratio[step] = self._ratio[step] * ratio % self._prime
            self._parent[step] = member
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
        echelon, rank = flint.nmod_mat(len(stacked), width, stacked.ravel().tolist(), prime).rref()
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
