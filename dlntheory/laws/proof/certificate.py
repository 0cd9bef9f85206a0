r"""`Certificate`: how many independent laws a system has, with the evidence from which anyone can check it again.

Independent verified laws bound the number from below, the rank of brackets bounds it from above,
$s \le N \le D - r$. Where the two meet, the count is exact and no law is missing.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...display.progress import waiting, whole_runs
from ...display.text import Formula, card, format_number, key_values, text_table
from ...exact.linear_algebra import DEFAULT_PRIME
from ...exact.row_space import RowSpace
from ..deadline import UNLIMITED, Deadline
from ..law import NOT_VERIFIED, RANDOM_POINTS, Law
from ..systems import AbstractSystem
from .lie_rank import LieRank, lie_rank, random_point, usable_primes
from .records import law_of_record, law_record
from .verification import require, verify

_UNPROVED = (RANDOM_POINTS, NOT_VERIFIED)


class InconsistentCertificateError(RuntimeError):
    """More independent laws than the brackets leave room for: a law is false or the arithmetic is wrong."""


@dataclasses.dataclass(frozen=True)
class Check:
    """Whether a certificate holds, and why not; true or false as a condition."""

    holds: bool
    reason: str

    def __bool__(self) -> bool:
        return self.holds


@dataclasses.dataclass(frozen=True, repr=False)
class Certificate:
    r"""Bounds on the number $N$ of independent laws near a generic point, and the evidence for them.

    Attributes:
        system: the training rule in words.
        architecture: name of the network.
        blocks: names and shapes of the arrays that hold the coordinates.
        laws: the laws, each with how it was verified.
        law_rank: the rank of the gradients of all laws at the base point modulo the first prime.
        lie: the rank of the brackets, with primes, points and seed.
        lower: proven lower bound: the rank of the laws that are verified exactly.
        upper: proven upper bound $D - r$.
        status: `"complete"` (the bounds meet), `"saturated"` (no further bracket, yet a gap), `"open"` (the search
            was cut short), `"unverified"` (some law was checked at random points only).
        error_probability: bound on the probability that a statement other than the bounds is wrong; 0 for
            `"complete"`.
        seconds: the time it took to find the ranks; it does not count when certificates are compared.
    """

    system: str
    architecture: str
    blocks: tuple[tuple[str, tuple[int, ...]], ...]
    laws: tuple[Law, ...]
    law_rank: int
    lie: LieRank
    lower: int
    upper: int
    status: str
    error_probability: float | None
    seconds: float = dataclasses.field(compare=False)

    @property
    def dimension(self) -> int:
        """The number of coordinates $D$."""
        return sum(math.prod(shape) for _, shape in self.blocks)

    @property
    def count(self) -> int | None:
        """$N$ where it is proven, else `None`."""
        return self.upper if self.status == "complete" else None

    @property
    def gap(self) -> int:
        """The number of laws that may exist beyond those found, $D - r - s$."""
        return self.upper - self.law_rank

    @property
    def statement(self) -> str:
        """What is proved, and nothing more, in a sentence."""
        bounds = f"at least {self.lower}, at most {self.upper} independent laws (proved)"
        if self.status == "complete":
            return f"exactly {_laws(self.upper, 'independent ')}; none missing (proved)"
        if self.status == "saturated":
            return (
                f"{bounds}; exactly {self.upper} with error probability at most "
                f"{format_number(self.error_probability, 2)}; {_laws(self.gap)} not among those found or given"
            )
        if self.status == "open":
            bounds = f"between {self.lower} and {self.upper} independent laws (proved)"
            return f"{bounds}; the search ended: {self.lie.status}"
        return (
            f"{bounds}; {self.law_rank} found, some of them only checked at random points, wrong with probability "
            f"at most {format_number(self.error_probability, 2)}"
        )

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON types; `from_dict` reads it back."""
        plain = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        return plain | {
            "blocks": [[name, list(shape)] for name, shape in self.blocks],
            "laws": [law_record(law) for law in self.laws],
            "lie": dataclasses.asdict(self.lie),
        }

    @classmethod
    def from_dict(cls, record: Mapping[str, Any]) -> Certificate:
        """The certificate that `to_dict` wrote, also after a passage through JSON.

        Raises:
            ValueError: it is no such record. Whether what it records is true, only `check` can tell.
        """
        try:
            blocks = tuple((name, tuple(shape)) for name, shape in record["blocks"])
            lie = dict(record["lie"])
            lie |= {key: tuple(lie[key]) for key in ("ranks", "primes")}
            lie["points"] = tuple(map(tuple, lie["points"]))
            laws = tuple(law_of_record(law, blocks) for law in record["laws"])
            return cls(**{**record, "blocks": blocks, "laws": laws, "lie": LieRank(**lie)})
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(
                f"Argument `record` must be what `Certificate.to_dict` returns, but is not: {error!r}."
            ) from error

    def __repr__(self) -> str:
        return f"Certificate({self.architecture}, {self.system}: {self.statement})"

    def __str__(self) -> str:
        facts = key_values(self._facts())
        return f"{facts}\n\n{text_table(*self._table())}" if self.laws else facts

    def _repr_html_(self) -> str:
        return card(
            f"Certificate of {self.architecture}, {self.system}",
            facts=self._facts(),
            tables=[self._table(typeset=True)] if self.laws else (),
        )

    @property
    def bounds(self) -> str:
        """Both bounds on the number of laws $N$ in one line."""
        return f"{self.lower} <= N <= {self.dimension} - {self.lie.rank} = {self.upper}"

    def _facts(self) -> list[tuple[str, str]]:
        depths = ", ".join(map(str, self.lie.ranks)) or "none"
        return [
            ("system", f"{self.architecture}, {self.system}"),
            ("coordinates", str(self.dimension)),
            ("status", self.status),
            ("laws", self.statement),
            ("bounds", self.bounds),
            ("bracket rank", f"{self.lie.rank}, by depth {depths}"),
            ("primes", ", ".join(map(str, self.lie.primes))),
            ("seed", str(self.lie.seed)),
        ]

    def _table(self, typeset: bool = False) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
        name = lambda law: Formula(law.statement) if typeset else law.name
        rows = [(name(law), law.kind, law.size, law.verified) for law in self.laws]
        return rows, ("law", "kind", "entries", "verified")


def certify(
    system: AbstractSystem,
    laws: Sequence[Law] = (),
    *,
    max_depth: int | None = None,
    seed: int = 0,
    primes: Sequence[int] = (DEFAULT_PRIME,),
    time_limit: float | None = None,
) -> Certificate:
    r"""Certify laws of a system: bound the number of independent laws from both sides.

    Every law is verified again, exactly where φ allows. Dependent laws are accepted; their rank counts.

    Args:
        system: the fields.
        laws: laws found, or none.
        max_depth: the largest depth of brackets.
        seed: determines base points, combinations and further primes.
        primes: see `lie_rank`.
        time_limit: seconds for the search of brackets.

    Returns:
        A `Certificate` in one of four statuses.

    Raises:
        NotConservedError: a law is none.
        InconsistentCertificateError: the two bounds contradict each other; this is a bug.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> from dlntheory.laws.law import law_of_terms
        >>> from dlntheory.laws.systems import GradientSystem
        >>> system = GradientSystem(linear_network((3, 2, 2)))
        >>> law = law_of_terms(system.blocks, [(1, "W2", "gram-left"), (-1, "W1", "gram-right")])
        >>> certify(system, [law]).statement
        'exactly 3 independent laws; none missing (proved)'
    """
    return certify_verified(
        system,
        [require(system, law, seed=seed) for law in laws],
        max_depth=max_depth,
        seed=seed,
        primes=primes,
        time_limit=time_limit,
    )


def certify_verified(
    system: AbstractSystem,
    laws: Sequence[Law],
    *,
    max_depth: int | None = None,
    seed: int = 0,
    primes: Sequence[int] = (DEFAULT_PRIME,),
    time_limit: float | None = None,
) -> Certificate:
    """`certify` for laws that say truly how they were verified, as those of `find_laws` and `verify` do."""
    started, deadline = time.perf_counter(), Deadline(time_limit)
    first = next(usable_primes(system, primes, seed))
    ranks = LawRanks(deadline)
    rank = ranks(laws, random_point(system, first, seed), first)
    lie = lie_rank(
        system,
        target=system.dimension - rank,
        max_depth=max_depth,
        seed=seed,
        primes=primes,
        time_limit=None if time_limit is None else deadline.left,
    )
    return assembled(system, tuple(laws), lie, time.perf_counter() - started, ranks)


def check(certificate: Certificate, system: AbstractSystem, *, progress: bool | None = None) -> Check:
    """Check a certificate: both ranks are computed and every law is verified again. Ctrl-C is not caught.

    Args:
        certificate: as `certify` or `Certificate.from_dict` gave it.
        system: the system that it is about.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        A `Check`, true if the certificate holds, with the reason if not.
    """
    with waiting(f"checking the laws of {certificate.architecture}", progress), whole_runs():
        return _check(certificate, system)


def _check(certificate: Certificate, system: AbstractSystem) -> Check:
    if (certificate.system, certificate.architecture) != (system.label, system.architecture.name):
        return Check(False, f"it is about {certificate.architecture}, {certificate.system}")
    if certificate.blocks != system.blocks:
        return Check(False, f"its coordinates are {certificate.blocks}, not those of the system")
    for law in certificate.laws:
        if law.blocks != system.blocks:
            return Check(False, f"the law {law.name} has other coordinates than the system")
        verification = verify(system, law)
        if not verification:
            return Check(False, f"the law {law.name} is not conserved")
        if verification.method == RANDOM_POINTS and law.verified not in _UNPROVED:
            return Check(False, f"the law {law.name} holds at random points, but no proof of it was found")
    recorded = certificate.lie
    try:
        lie = lie_rank(
            system,
            target=recorded.target,
            max_depth=max(recorded.depth, 0),
            seed=recorded.seed,
            primes=recorded.primes,
        )
        again = assembled(system, certificate.laws, lie, certificate.seconds)
    except (ValueError, InconsistentCertificateError) as error:
        return Check(False, str(error))
    if recorded.status in ("time limit", "interrupted"):
        # The recorded search ended within a level, where this one does not.
        if recorded.rank > lie.rank:
            return Check(False, f"the rank of the brackets is {lie.rank}, not {recorded.rank}")
        again = assembled(system, certificate.laws, recorded, certificate.seconds)
    for field in ("ranks", "status", "points", "at", "error_probability"):
        found, claimed = getattr(again.lie, field), getattr(recorded, field)
        if found != claimed:
            return Check(False, f"the {field} of the brackets: {claimed} is recorded, {found} is found")
    for field in ("law_rank", "lower", "upper", "status", "error_probability"):
        found, claimed = getattr(again, field), getattr(certificate, field)
        # A search that ran out of time may have counted fewer laws than there are.
        counted_in_part = (
            field in ("law_rank", "lower") and recorded.status == "time limit" and claimed < found
        )
        if found != claimed and not counted_in_part:
            return Check(False, f"`{field}`: {claimed} is recorded, {found} is found")
    return Check(True, "both ranks and every law were found again")


class LawRanks:
    """The ranks of the gradients of laws at points modulo primes: lower bounds of their generic rank.

    A certificate asks for the same one several times, and of thousands of parameters one takes seconds.

    Args:
        deadline: once it is over, the gradients that are not yet counted are left out, and the bound is lower.
    """

    def __init__(self, deadline: Deadline = UNLIMITED):
        self._deadline = deadline
        self._known: dict[Any, int] = {}

    def note(self, laws: Sequence[Law], point: np.ndarray, prime: int, rank: int) -> None:
        """Remember a rank that was found elsewhere."""
        self._known[frozenset(laws), np.asarray(point, dtype=np.int64).tobytes(), prime] = rank

    def __call__(self, laws: Sequence[Law], point: Sequence[int] | np.ndarray, prime: int) -> int:
        residues = np.asarray(point, dtype=np.int64)
        key = frozenset(laws), residues.tobytes(), prime
        if key not in self._known:
            span = RowSpace(len(residues), prime)
            rows = sum(law.size for law in laws)
            is_over = self._deadline.asked_if_long(1e-8 * rows * len(residues) * min(rows, len(residues)))
            for law in laws:
                span.extend(law.gradients_mod_p(residues, prime), is_over)
                if is_over():
                    break
            self._known[key] = span.rank
        return self._known[key]


def assembled(
    system: AbstractSystem,
    laws: tuple[Law, ...],
    lie: LieRank,
    seconds: float,
    ranks: LawRanks | None = None,
) -> Certificate:
    """The certificate that verified laws and a rank of brackets make."""
    ranks = ranks or LawRanks()
    exact = tuple(law for law in laws if law.verified not in _UNPROVED)
    points = list(zip(lie.points, lie.primes, strict=True))
    lower = max(ranks(exact, point, prime) for point, prime in points)
    rank = lower if len(exact) == len(laws) else max(ranks(laws, point, prime) for point, prime in points)
    upper = system.dimension - lie.rank
    if rank > upper:
        raise InconsistentCertificateError(
            f"{rank} independent laws and brackets of rank {lie.rank} contradict each other in dimension "
            f"{system.dimension}: a law of {system.architecture.name} is false, or the arithmetic is wrong."
        )
    failure = 0.0
    if lower == upper:
        status = "complete"
    elif len(exact) < len(laws):
        status = "unverified"
        failure = sum(
            verify(system, law, seed=lie.seed).error_probability for law in laws if law not in exact
        )
    elif lie.status == "saturated":
        status, failure = "saturated", lie.error_probability
    else:
        status, failure = "open", None
    return Certificate(
        system=system.label,
        architecture=system.architecture.name,
        blocks=system.blocks,
        laws=laws,
        law_rank=rank,
        lie=lie,
        lower=lower,
        upper=upper,
        status=status,
        error_probability=failure,
        seconds=seconds,
    )


def _laws(count: int, which: str = "") -> str:
    return f"{count} {which}law" + ("" if count == 1 else "s")
