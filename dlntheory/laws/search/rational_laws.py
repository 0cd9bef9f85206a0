r"""Laws that are quotients of polynomials: the coefficients of the affine hull of a leaf.

Where the fields can go from a point is a leaf; laws are constant on it. The affine forms $a_0 + a \cdot \theta$ that
vanish on the leaf through $\theta_0$ have, in reduced echelon form, coefficients that depend on the leaf alone: they
are laws, as functions of $\theta_0$. They are computed at many points modulo a prime and interpolated by quotients.
For $W^\top W$ with more rows than columns they say what the column space of $W$ is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import numpy as np

from ...exact import NilpotentModular
from ...exact.linear_algebra import DEFAULT_PRIME, modular_nullspace, reconstruct
from ...exact.rings.polynomials import SparsePolynomial
from ..deadline import UNLIMITED, Deadline
from ..law import Law, law_of_quotients
from ..systems import AbstractSystem

MAX_COEFFICIENTS = 1000
MAX_HULL = 60
_DEPTH = 3
_TRIAL = 4
_SPARE = 10
_FAILURES = 3


def rational_laws(
    system: AbstractSystem, degree: int = 3, *, seed: int = 0, deadline: Deadline = UNLIMITED
) -> Iterator[Law]:
    """Quotients of polynomials of degree at most `degree`, still to be verified and thinned out.

    Args:
        system: the training rule; its fields are evaluated, never expanded.
        degree: of numerator and denominator; degrees with more than 1000 coefficients are not tried.
        seed: of the random points.
        deadline: when to give up.

    Yields:
        Laws; none if leaves lie in no affine subspace, or for more than 60 coordinates.
    """
    dimension = system.dimension
    if dimension > MAX_HULL:
        return
    rng = np.random.default_rng([seed, 7])
    if not _hull_coefficients(system, _points(system, rng, _TRIAL), rng).shape[1]:
        return
    degrees = [k for k in range(1, degree + 1) if count_coefficients(dimension, k) <= MAX_COEFFICIENTS]
    if not degrees:
        return
    deadline.check()
    points = _points(system, rng, count_coefficients(dimension, degrees[-1]) + _SPARE)
    failures = 0
    for values in _hull_coefficients(system, points, rng).T:
        # Coefficients of one hull have similar degrees, so that a few failures tell enough.
        if failures == _FAILURES:
            return
        deadline.check()
        pair = next((pair for k in degrees if (pair := _interpolated(points, values, k))), None)
        if pair is None:
            failures += 1
        else:
            yield law_of_quotients(system.blocks, [pair])


def count_coefficients(dimension: int, degree: int) -> int:
    """The number of coefficients of numerator and denominator together."""
    return 2 * math.comb(dimension + degree, degree)


def _points(system: AbstractSystem, rng: np.random.Generator, count: int) -> np.ndarray:
    return system.defined_points(NilpotentModular(DEFAULT_PRIME), rng, count)


def _hull_coefficients(system: AbstractSystem, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """The coefficients, (points, n), of the affine forms that vanish on the leaves, those that vary and differ."""
    count, dimension = points.shape
    # Each string of three fields gives eight conditions.
    strings = dimension // 2**_DEPTH + 2
    ring = NilpotentModular(DEFAULT_PRIME)
    x = np.repeat(points, strings, axis=0)[None]
    for level in range(_DEPTH):
        combination = system.draw(ring, rng, count * strings)
        moved = system.flatten(ring, system.field(ring, system.unflatten(ring, x), combination))
        # x + e X(x): a step along one of the fields.
        x = ring.join(x, moved, level)
    one = np.zeros((*x.shape[:2], 1), dtype=np.int64)
    one[0] = 1
    rows = np.concatenate([x, one], axis=2).reshape(2**_DEPTH, count, strings, dimension + 1)
    kernels = [modular_nullspace(rows[:, i].reshape(-1, dimension + 1), DEFAULT_PRIME) for i in range(count)]
    if not all(kernel.shape == kernels[0].shape for kernel in kernels):
        return np.zeros((count, 0), dtype=np.int64)
    values = np.stack(kernels).reshape(count, -1)
    values = values[:, (values != values[0]).any(axis=0)]
    return np.unique(values, axis=1)


def _interpolated(
    points: np.ndarray, values: np.ndarray, degree: int
) -> tuple[SparsePolynomial, SparsePolynomial] | None:
    """Polynomials with values = numerator / denominator at the points, if there are some of this degree."""
    dimension = points.shape[1]
    rows = np.array(
        list(itertools.combinations_with_replacement(range(dimension + 1), degree)), dtype=np.int64
    )
    padded = np.concatenate([points, np.ones((len(points), 1), dtype=np.int64)], axis=1)
    table = np.ones((len(points), len(rows)), dtype=np.int64)
    for place in range(degree):
        table = table * padded[:, rows[:, place]] % DEFAULT_PRIME
    used = slice(count_coefficients(dimension, degree) + _SPARE)
    system = np.concatenate([table, -values[:, None] * table % DEFAULT_PRIME], axis=1)[used]
    kernel = modular_nullspace(system, DEFAULT_PRIME)
    if not len(kernel):
        return None
    fractions = [reconstruct(int(entry), DEFAULT_PRIME) for entry in kernel[0]]
    if None in fractions:
        return None
    halves = fractions[: len(rows)], fractions[len(rows) :]
    top, bottom = (
        SparsePolynomial(
            {
                tuple(int(v) for v in row if v < dimension): value
                for row, value in zip(rows, half, strict=True)
                if value
            }
        )
        for half in halves
    )
    return (top.primitive(), bottom.primitive()) if top and bottom else None
