"""The degree of the fields of a system, for bounds on probabilities."""

from __future__ import annotations

from collections.abc import Callable

import jax
import numpy as np

from ...exact import DivisionByZeroInRing, NilpotentModular
from ...exact.linear_algebra import modular_nullspace
from ..systems import AbstractSystem

_SPARE = 8
_TRIES = 6


def field_degree(system: AbstractSystem, prime: int, seed: int) -> int:
    r"""The degree of the fields as polynomials in the point and in what a combination is drawn from.

    Found on a random line, along which the next finite difference vanishes. For rational fields $P/Q$ it is a bound on
    $\deg P + \deg Q$: the numerators of brackets of n of them have at most n times this degree. At most `prime`.
    """
    ring, rng = NilpotentModular(prime), np.random.default_rng([seed, 3])
    if system.is_rational:
        return _rational_degree(system, ring, rng)
    values = _values_on_a_line(system, ring, rng)
    count = 8
    while True:
        table = values(np.arange(count))
        for degree in range(-1, count - 2):
            if not np.any(table):
                return max(degree, 0)
            table = np.diff(table, axis=0) % prime
        count *= 2


def _rational_degree(system: AbstractSystem, ring: NilpotentModular, rng: np.random.Generator) -> int:
    """By the least degrees of a quotient that interpolates a random combination of the components.

    With degrees up to k there are as many solutions as k exceeds the larger degree of the reduced quotient, and one.
    """
    weights = rng.integers(1, ring.prime, size=system.dimension)
    line, tries, k = _values_on_a_line(system, ring, rng), 1, 4
    while True:
        steps = np.arange(1, 2 * k + 3 + _SPARE)
        if steps[-1] >= ring.prime:
            return ring.prime
        try:
            values = (line(steps) * weights % ring.prime).sum(axis=1) % ring.prime
        except DivisionByZeroInRing:
            if tries == _TRIES:
                return ring.prime
            line, tries = _values_on_a_line(system, ring, rng), tries + 1
            continue
        powers = np.ones((len(steps), k + 1), dtype=np.int64)
        for exponent in range(1, k + 1):
            powers[:, exponent] = powers[:, exponent - 1] * steps % ring.prime
        equations = np.concatenate([powers, -values[:, None] * powers % ring.prime], axis=1)
        if solutions := len(modular_nullspace(equations, ring.prime)):
            return 2 * (k + 1 - solutions)
        k *= 2


def _values_on_a_line(
    system: AbstractSystem, ring: NilpotentModular, rng: np.random.Generator
) -> Callable[[np.ndarray], np.ndarray]:
    """The fields (steps, D) at steps along a random line through points and combinations."""
    start, step = rng.integers(1, ring.prime, size=(2, system.dimension))
    ends = [system.draw(ring, rng, 1) for _ in range(2)]

    def values(steps: np.ndarray) -> np.ndarray:
        def along(a: np.ndarray, b: np.ndarray) -> np.ndarray:
            return (a + steps.reshape(-1, *[1] * (a.ndim - 2)) * b % ring.prime) % ring.prime

        state = system.unflatten(ring, along(start[None, None], step[None, None]))
        return system.flatten(ring, system.field(ring, state, jax.tree_util.tree_map(along, *ends)))[0]

    return values
