r"""Laws that are quotients $p/q$ of polynomials of one degree, found from the bivector $p \wedge q$.

$X(p/q) = 0$ means $(Xp)\,q - p\,(Xq) = 0$, which is linear in $p \wedge q$. Solutions that are not of this form are no laws;
those that are belong to a pencil, any two of whose members have a conserved quotient.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import flint
import numpy as np

from ..exact.modular import DEFAULT_PRIME, reconstruct
from ..exact.polynomials import SparsePolynomial
from .ansatz import AnsatzTooLargeError, Equations, Kernel, field_tables, random_words
from .law import Law, law_of_quotients
from .systems import AbstractSystem
from .verify import Generators

MAX_PAIRS = 1600
_MAX_TRIALS = 200


def count_pairs(dimension: int, degree: int) -> int:
    """The number of unknowns: pairs of monomials of one degree."""
    return math.comb(math.comb(dimension + degree - 1, degree), 2)


def rational_laws(system: AbstractSystem, generators: Generators, degree: int) -> Iterator[Law]:
    """Quotients of homogeneous polynomials of one degree, still to be verified and thinned out.

    Args:
        system: the training rule.
        generators: its expanded fields.
        degree: of numerator and denominator.

    Raises:
        AnsatzTooLargeError: more than 1600 pairs of monomials.

    Example: for $W^\\top W$ with more rows than columns the column space of $W$ is conserved, that is the quotients of
    its minors of full size.
    """
    dimension = generators.dimension
    if (pairs := count_pairs(dimension, degree)) > MAX_PAIRS:
        raise AnsatzTooLargeError(pairs, MAX_PAIRS, "pairs of monomials")
    rows = np.array(list(itertools.combinations_with_replacement(range(dimension), degree)), dtype=np.int64)
    first, second = np.triu_indices(len(rows), k=1)
    kernel = _equations(generators, rows, first, second).solve()
    tried = 0
    for top, bottom in _quotients(kernel, rows, first, second):
        tried += 1
        if tried > _MAX_TRIALS:
            return
        yield law_of_quotients(system.blocks, [(top.primitive(), bottom.primitive())])


def _equations(generators: Generators, rows: np.ndarray, first: np.ndarray, second: np.ndarray) -> Equations:
    """The equations for the coefficients of $m \\wedge m'$: $X m \\cdot m' - m \\cdot X m' = 0$."""
    words = random_words(generators.dimension)
    totals = words[rows].sum(axis=1, dtype=np.uint64)
    both = totals[first] + totals[second]
    unknown = np.arange(len(first))
    parts = []
    for members, sign in ((first, 1), (second, DEFAULT_PRIME - 1)):
        for place in range(rows.shape[1]):
            variable = rows[members, place]
            parts.append((variable, unknown, both - words[variable], np.full(len(unknown), sign)))
    component, number, word, value = (np.concatenate(part) for part in zip(*parts, strict=True))
    tables = field_tables(generators, words, DEFAULT_PRIME)
    pieces = (component, number, word, value)
    return Equations(tables, pieces, len(unknown), generators.dimension, DEFAULT_PRIME)


def _quotients(
    kernel: Kernel, rows: np.ndarray, first: np.ndarray, second: np.ndarray
) -> Iterator[tuple[SparsePolynomial, SparsePolynomial]]:
    """Pairs from the bivectors of rank two; then pairs from the space that all of them span."""
    for places, values in zip(kernel.places, kernel.values, strict=True):
        basis = _row_space([(places, values)], first, second, len(rows))
        if len(basis) == 2 and (pair := _polynomials(basis, rows)):
            yield pair[1], pair[0]
    if len(kernel):
        everything = list(zip(kernel.places, kernel.values, strict=True))
        for pair in itertools.combinations(_row_space(everything, first, second, len(rows)), 2):
            if polynomials := _polynomials(pair, rows):
                yield polynomials[1], polynomials[0]


def _row_space(bivectors, first: np.ndarray, second: np.ndarray, size: int) -> list[dict[int, int]]:
    """A reduced basis, over the monomials, of the rows of skew matrices."""
    used = np.unique(np.concatenate([np.concatenate([first[p], second[p]]) for p, _ in bivectors]))
    place = np.zeros(size, dtype=np.int64)
    place[used] = np.arange(len(used))
    blocks = []
    for places, values in bivectors:
        matrix = np.zeros((len(used), len(used)), dtype=np.int64)
        i, j = place[first[places]], place[second[places]]
        matrix[i, j], matrix[j, i] = values, (-values) % DEFAULT_PRIME
        blocks.append(matrix[np.unique(np.concatenate([i, j]))])
    stacked = np.concatenate(blocks)
    echelon, rank = flint.nmod_mat(*stacked.shape, stacked.ravel().tolist(), DEFAULT_PRIME).rref()
    return [
        {int(used[k]): int(entry) for k, entry in enumerate(row) if int(entry)}
        for row in echelon.tolist()[:rank]
    ]


def _polynomials(vectors, rows: np.ndarray) -> list[SparsePolynomial] | None:
    polynomials = []
    for vector in vectors:
        fractions = {place: reconstruct(value, DEFAULT_PRIME) for place, value in vector.items()}
        if None in fractions.values():
            return None
        polynomials.append(
            SparsePolynomial({tuple(map(int, rows[place])): value for place, value in fractions.items()})
        )
    return polynomials
