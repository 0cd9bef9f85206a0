"""Rational laws."""

from __future__ import annotations

import math

MAX_PAIRS = 20_000


def count_pairs(dimension: int, degree: int) -> int:
    """The number of unknowns: pairs of monomials of one degree."""
    return math.comb(math.comb(dimension + degree - 1, degree), 2)


def rational_laws(system, generators, degree, collection):
    return ()
