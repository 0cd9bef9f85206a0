"""The growing span of rows against one rank of all of them, and what is left when it is interrupted."""

import numpy as np
import pytest

from dlntheory.exact.linear_algebra import DEFAULT_PRIME, modular_rank
from dlntheory.exact.row_space import RowSpace


def low_rank(rows, columns, rank, prime, seed=0):
    rng = np.random.default_rng(seed)
    left, right = rng.integers(0, prime, (rows, rank)), rng.integers(0, prime, (rank, columns))
    return (left.astype(object) @ right.astype(object) % prime).astype(np.int64)


@pytest.mark.parametrize("prime", [2, 7, 2**31 - 19, DEFAULT_PRIME])
@pytest.mark.parametrize(("rows", "columns", "rank"), [(300, 40, 25), (20, 150, 20), (140, 140, 139)])
def test_lots_of_rows_have_the_rank_of_all(rows, columns, rank, prime):
    matrix = low_rank(rows, columns, rank, prime)
    # Leading columns of zeros: pivots need not come first.
    matrix[:, :3] = 0
    space, start = RowSpace(columns, prime), 0
    for stop in (1, 2, 17, 150, rows):
        assert space.extend(matrix[start:stop]) == modular_rank(matrix[:stop], prime)
        start = max(start, stop)
    # What is in the span adds nothing, and a copy grows on its own.
    copy = space.copy()
    assert space.extend(matrix[::-1]) == space.rank
    if space.rank < columns:
        copy.extend(np.eye(columns, dtype=np.int64))
        assert (copy.rank, space.rank) == (columns, modular_rank(matrix, prime))


def test_an_interrupted_span_is_that_of_the_first_rows():
    matrix = low_rank(600, 500, 450, DEFAULT_PRIME)
    asked = []

    def is_over():
        asked.append(True)
        return len(asked) == 2

    space = RowSpace(500, DEFAULT_PRIME)
    assert space.extend(matrix, is_over) == 256
    assert space.extend(matrix[256:]) == 450
