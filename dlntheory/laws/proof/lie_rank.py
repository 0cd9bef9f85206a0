r"""The generic rank of the Lie algebra of a system, exactly modulo primes: how many laws there can be at most.

A string $\mathrm{ad}_{X_0} \cdots \mathrm{ad}_{X_{k-1}} Y$ at a point is the pull-back of $Y$ by the flows
$\exp(e_j X_j) = 1 + e_j X_j$ over the ring $\mathbb F_p[e_0, …, e_{k-1}]/(e_i^2)$; nothing is expanded or
differentiated by hand. Every rank found is a lower bound of the generic rank over the rationals, whatever the prime
and the point.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..._checks import integer
from ...display.progress import keeps_partial, whole_runs
from ...display.text import card, format_number, key_values
from ...exact import DivisionByZeroInRing, NilpotentModular
from ...exact.linear_algebra import DEFAULT_PRIME, check_prime, random_prime
from ...exact.row_space import RowSpace
from ..deadline import Deadline
from ..systems import AbstractSystem
from .degree_bounds import field_degree as field_degree
from .rational_points import rational_point, residues

MAX_DEPTH = 10
_DEPTH_AT_A_POINT = 4
_WORDS = 2**24
_SPARE = 4
_LAST = 64
_PRIMES_TRIED = 5
_ROUNDS = 4
_STOPPED = ("time limit", "interrupted")


@dataclasses.dataclass(frozen=True)
class LieRank:
    r"""The rank of the brackets of a system, by depth, and why the search ended.

    Attributes:
        dimension: the number of coordinates $D$.
        ranks: rank of all strings of depth at most 0, 1, …; each a proven lower bound of the generic rank.
        status: `"target"` (the rank asked for), `"full"` (the dimension), `"saturated"` (one more level adds
            nothing, for two primes and points), `"generic"` (a given point has the generic rank), or why the
            search stopped early: `"depth limit"`, `"time limit"`, `"interrupted"`.
        target: the rank at which the search was to stop, if any.
        primes: the primes that were used, in order.
        points: the base point modulo each prime.
        seed: what the points, combinations and further primes were drawn from.
        at: whether the base point was given; if so the ranks belong to that point alone.
        error_probability: bound on the probability that a saturated rank is smaller than the generic one.
        seconds: the time it took.
    """

    dimension: int
    ranks: tuple[int, ...]
    status: str
    target: int | None
    primes: tuple[int, ...]
    points: tuple[tuple[int, ...], ...] = dataclasses.field(repr=False)
    seed: int
    at: bool
    error_probability: float | None
    seconds: float = dataclasses.field(compare=False)

    @property
    def rank(self) -> int:
        """The largest rank found."""
        return max(self.ranks, default=0)

    @property
    def depth(self) -> int:
        """The largest depth at which strings were drawn; -1 if none were."""
        return len(self.ranks) - 1

    @property
    def is_open(self) -> bool:
        """Whether the search stopped early, so that the rank may be larger."""
        return self.status in ("depth limit", "time limit", "interrupted")

    def __repr__(self) -> str:
        return f"LieRank({self.rank} of {self.dimension}, {self.status})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Rank of the Lie algebra", facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        where = "at the given point (w.h.p.)" if self.at else "generic, at least"
        pairs = [
            ("rank", f"{self.rank} of {self.dimension}, {where}"),
            ("ranks by depth", ", ".join(map(str, self.ranks)) or "none"),
            ("status", self.status),
            ("primes", ", ".join(map(str, self.primes))),
        ]
        if self.error_probability is not None:
            pairs.append(("error probability", format_number(self.error_probability, 2)))
        return pairs


def lie_rank(
    system: AbstractSystem,
    *,
    target: int | None = None,
    at: Any = None,
    max_depth: int | None = None,
    seed: int = 0,
    primes: Sequence[int] = (DEFAULT_PRIME,),
    time_limit: float | None = None,
) -> LieRank:
    r"""The rank of the Lie algebra of a system at a generic point, from random strings of brackets.

    Strings of depth 0, 1, … are drawn until the rank reaches `target` or the dimension, or until one more level
    adds nothing. The slots of a string carry independent combinations of the generators.

    Args:
        system: the fields.
        target: stop at this rank; $D - s$ when $s$ independent laws are known, since the rank is not larger.
        at: a rational point, as a dict of the blocks or a flat list; then the rank at this point is computed, as
            the largest of those for three primes, and a level that adds nothing does not end the search.
        max_depth: the largest depth; by default 10, and 4 at a given point.
        seed: determines everything that is drawn. No global random state is read or changed.
        primes: the first is used; the others confirm a rank that has saturated, and further random ones if needed.
        time_limit: seconds after which no more strings are drawn.

    Returns:
        A `LieRank`. An interrupt from the keyboard is caught, and what is known is returned.

    Raises:
        ValueError: a composite or too large prime, a point of the wrong size or with irrational entries, a target
            above the dimension, a negative depth.

    Validity:
        The rank is a lower bound of the generic rank without any probability. That a saturated rank is the
        generic one holds up to `error_probability`.

    References:
        [marcotte2023abide], Corollary 3.4 (the count of laws); [schwartz1980fast] (the probability).

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> from dlntheory.laws.systems import GradientSystem
        >>> lie_rank(GradientSystem(linear_network((2, 3, 2)))).ranks
        (4, 6, 6)
    """
    started = time.perf_counter()
    depth_limit = _checked_depth(system, target, max_depth, at)
    given = tuple(check_prime(prime, "primes") for prime in primes)
    rational = None if at is None else rational_point(system, at)
    deadline = Deadline(time_limit)
    goal, reached = system.dimension if target is None else target, "target"
    if rational is not None and target is None:
        # The rank at a point is at most the generic one: the search can stop there.
        with whole_runs():
            generic = lie_rank(system, seed=seed, primes=given, time_limit=time_limit)
        if not generic.is_open:
            goal, reached = generic.rank, "generic"
    runs: list[_Run] = []
    for prime in usable_primes(system, given, seed, rational):
        run = _Run(system, prime, seed, rational)
        run.search(goal, depth_limit, deadline)
        runs.append(run)
        if run.status != "saturated" and not (run.status == "depth limit" and rational is not None):
            break
        agreeing = sum(other.rank == max(one.rank for one in runs) for other in runs)
        if len(runs) == 3 if rational is not None else agreeing == 2 or len(runs) == _ROUNDS:
            break
    best = max(runs, key=lambda run: run.rank)
    status = runs[-1].status if runs[-1].status in _STOPPED else best.status
    if status == "target":
        status = "full" if best.rank == system.dimension else reached
    agreeing = [run.prime for run in runs if run.rank == best.rank]
    return LieRank(
        dimension=system.dimension,
        ranks=_combined([run.ranks for run in runs]),
        status=status,
        target=target,
        primes=tuple(run.prime for run in runs),
        points=tuple(tuple(map(int, run.point)) for run in runs),
        seed=seed,
        at=at is not None,
        error_probability=_error_probability(system, best, agreeing, seed) if status == "saturated" else None,
        seconds=time.perf_counter() - started,
    )


def bracket_string(
    system: AbstractSystem, ring: NilpotentModular, point: np.ndarray, slots: Sequence[Any], last: Any
) -> np.ndarray:
    r"""The strings $\mathrm{ad}_{X_0} \cdots \mathrm{ad}_{X_{k-1}} Y$ at a point, with $[X, Y] = DY\,X - DX\,Y$.

    Args:
        system: the fields.
        ring: the arithmetic.
        point: a ring vector of level 0, of shape (1, 1, D) or, for one point a string, (1, B, D).
        slots: the combinations that give $X_0, …, X_{k-1}$, each a batch of B.
        last: the combination that gives $Y$.

    Returns:
        Residues of shape (B, D).
    """

    def field(vector: np.ndarray, combination: Any) -> np.ndarray:
        return system.flatten(ring, system.field(ring, system.unflatten(ring, vector), combination))

    # x moved along X by the nilpotent unit e is x + e X(x), exactly, as e^2 = 0. Moving along X_0, X_1, … with units of
    # their own, evaluating Y at the end and moving back pulls Y back by all the flows; its coefficient of e_0 e_1 … is
    # the iterated bracket, by d/de of the pull-back being the Lie derivative.
    flow = [point]
    for level, slot in enumerate(slots):
        flow.append(ring.join(flow[-1], field(flow[-1], slot), level))
    value = field(flow[-1], last)
    for level in reversed(range(len(slots))):
        low, high = ring.split(value, level)
        # The part of one more unit e in X(x + e low) is DX(x) low.
        _, derivative = ring.split(field(ring.join(flow[level], low, level), slots[level]), level)
        value = ring.add(high, ring.neg(derivative))
    return value[0]


def random_point(system: AbstractSystem, prime: int, seed: int) -> np.ndarray:
    """The base point (D,) that belongs to a seed and a prime, entries uniform in 1..p-1.

    Raises:
        DivisionByZeroInRing: denominators of the fields vanish at six points drawn.
    """
    return system.defined_points(NilpotentModular(prime), np.random.default_rng([seed, prime]), 1)[0]


class _Run:
    """The search modulo one prime."""

    def __init__(self, system: AbstractSystem, prime: int, seed: int, rational: np.ndarray | None):
        self.system, self.prime, self.ring = system, prime, NilpotentModular(prime)
        self.generic = rational is None
        self.point = random_point(system, prime, seed) if rational is None else residues(rational, prime)
        self.ranks: list[int] = []
        self.status = "depth limit"
        self._rng = np.random.default_rng([seed, prime, 1])
        self._span = RowSpace(system.dimension, prime)

    @property
    def rank(self) -> int:
        return max(self.ranks, default=0)

    def search(self, goal: int, max_depth: int, deadline: Deadline) -> None:
        try:
            for depth in range(max_depth + 1):
                before = self.rank
                for rank in self._level(depth, goal, deadline):
                    self.ranks[depth:] = [rank]
                    if rank >= goal:
                        self.status = "target"
                        return
                    if deadline.is_over():
                        self.status = "time limit"
                        return
                if self.generic and depth and self.rank == before:
                    self.status = "saturated"
                    return
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            self.status = "interrupted"

    def _level(self, depth: int, goal: int, deadline: Deadline) -> Iterator[int]:
        """The rank after each lot of strings of one depth, until some strings in a lot add nothing.

        Strings are multilinear in their combinations, so random ones span what all of them span, with certainty but for
        a probability of the order 1/p: that is why a handful of idle strings means that the level is exhausted.
        """
        generators = self.system.generators
        idle = 0
        # A random string adds nothing once its level is exhausted; a few idle ones make that certain enough.
        while idle < _SPARE:
            rank = self.rank
            if depth == 0 and generators is not None:
                wanted = min(goal, generators) - rank + _SPARE
            else:
                # Lots grow with the rank: fewer calls, and no more strings than are needed.
                wanted = min(goal - rank + _SPARE, max(64, rank))
            if deadline.is_over():
                # Some strings always, for a bound better than none; few, since of large systems each takes long.
                wanted = min(wanted, _LAST)
            rows = self._strings(depth, wanted, deadline)
            grown = self._span.extend(rows, deadline.is_over)
            yield grown
            idle += len(rows) - (grown - rank)

    def _strings(self, depth: int, wanted: int, deadline: Deadline) -> np.ndarray:
        """Values of random strings at the base point, in chunks that fit the memory; fewer when time is up."""
        chunk = max(1, _WORDS // (3**depth * 4 * self.system.peak_memory))
        parts: list[np.ndarray] = []
        for start in range(0, wanted, chunk):
            count = min(chunk, wanted - start)
            slots = [self.system.draw(self.ring, self._rng, count) for _ in range(depth)]
            last = self.system.draw(self.ring, self._rng, count)
            parts.append(bracket_string(self.system, self.ring, self.point[None, None, :], slots, last))
            if deadline.is_over():
                break
        return np.concatenate(parts)


def _combined(ranks: Sequence[Sequence[int]]) -> tuple[int, ...]:
    """The largest rank at each depth; a run that ended earlier keeps its last."""
    length = max(map(len, ranks))
    padded = [[*run, *[max(run, default=0)] * (length - len(run))] for run in ranks]
    return tuple(map(max, zip(*padded, strict=True)))


def usable_primes(
    system: AbstractSystem, given: Sequence[int], seed: int, rational: np.ndarray | None = None
) -> Iterator[int]:
    """The given primes and then random ones, without those that divide a denominator of the system or the point.

    For rational fields also without those modulo which a denominator vanishes at the base point.

    Raises:
        ValueError: the fields are not defined at the point: a denominator vanishes there modulo 5 random primes.
        DivisionByZeroInRing: the same at random points.
    """
    rng = np.random.default_rng([seed, 2])
    denominators = set() if rational is None else {entry.denominator for entry in rational}
    used: list[int] = []
    failures = 0
    for prime in itertools.chain(given, iter(lambda: random_prime(rng, used), None)):
        if prime in used or not system.has_good_reduction(prime) or not all(d % prime for d in denominators):
            continue
        used.append(prime)
        try:
            if system.is_rational:
                if rational is None:
                    random_point(system, prime, seed)
                else:
                    system.require_defined(NilpotentModular(prime), residues(rational, prime)[None], rng)
        except DivisionByZeroInRing as error:
            failures += prime not in given
            if failures < _PRIMES_TRIED:
                continue
            if rational is None:
                raise
            raise ValueError(
                "Argument `at` must be a point where φ is defined, but a denominator of φ vanishes there."
            ) from error
        yield prime


def _error_probability(system: AbstractSystem, run: _Run, primes: Sequence[int], seed: int) -> float:
    """That a saturated rank is too small, by Schwartz and Zippel, when searches for all the primes agree on it.

    If it is, a minor with one row more, of strings of the depth that added nothing, is a polynomial that is not zero;
    brackets of n fields have at most n times their degree. For rational fields it is the numerator of such a minor.
    """
    degree = (run.rank + 1) * len(run.ranks) * field_degree(system, run.prime, seed)
    return math.prod(min(1.0, degree / prime) for prime in primes)


def _checked_depth(system: AbstractSystem, target: int | None, max_depth: int | None, at: Any) -> int:
    if target is not None and not 0 <= integer(target, "target", minimum=0) <= system.dimension:
        raise ValueError(
            f"Argument `target` must be between 0 and the number of coordinates, {system.dimension}, "
            f"but is {target}."
        )
    if max_depth is None:
        return MAX_DEPTH if at is None else _DEPTH_AT_A_POINT
    return integer(max_depth, "max_depth", minimum=0)
