"""The search for laws: cheap and readable forms first, then every polynomial of a degree, then quotients."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from ..._checks import integer
from ...exact.linear_algebra import DEFAULT_PRIME
from ...exact.row_space import RowSpace
from ..deadline import UNLIMITED, Deadline, OutOfTimeError
from ..law import Law
from ..proof.verification import check_constants, expand, verify
from ..systems import AbstractSystem
from .gram_ansatz import gram_laws
from .polynomial_ansatz import MAX_UNKNOWNS, AnsatzTooLargeError, count_unknowns, polynomial_laws
from .quadratic_ansatz import MAX_COORDINATES, quadratic_laws
from .rational_laws import rational_laws

FORMS = ("auto", "gram", "polynomial", "rational")
RATIONAL_DEGREE = 3
_ORDER = ("linear", "matrix", "noether", "diagonal", "norm", "polynomial", "rational")


def sorted_laws(laws: Sequence[Law]) -> tuple[Law, ...]:
    """Linear before matrix before diagonal before norm before sparse polynomial; otherwise as they come."""
    return tuple(sorted(laws, key=lambda law: _ORDER.index(law.kind)))


class Collection:
    """Verified laws whose gradients are independent at a random point modulo a prime, as they are found."""

    def __init__(
        self,
        system: AbstractSystem,
        seed: int = 0,
        deadline: Deadline = UNLIMITED,
        point: np.ndarray | None = None,
    ):
        self._system, self._seed, self._deadline = system, seed, deadline
        rng = np.random.default_rng([seed, 9])
        drawn = rng.integers(1, DEFAULT_PRIME, size=system.dimension)
        self.point = drawn if point is None else point
        self.laws: list[Law] = []
        self._span = RowSpace(system.dimension, DEFAULT_PRIME)
        self._gradients: list[np.ndarray] = []

    @property
    def rank(self) -> int:
        """The number of independent laws."""
        return self._span.rank

    @property
    def gradients(self) -> np.ndarray:
        """The gradients of all laws at the point."""
        return np.concatenate([np.zeros((0, self._system.dimension), dtype=np.int64), *self._gradients])

    def add(self, candidates: Iterable[Law]) -> None:
        """Keep the candidates that are conserved and raise the rank."""
        for law in candidates:
            rows, span = law.gradients_mod_p(self.point), self._span.copy()
            # Once time is up, what is known of the rank of a law decides: at least it is a lower bound.
            is_over = self._deadline.asked_if_long(1e-8 * rows.size * len(rows))
            if span.extend(rows, is_over) == self.rank:
                continue
            verification = verify(self._system, law, seed=self._seed, deadline=self._deadline)
            if verification:
                self.laws.append(verification.law)
                self._span = span
                self._gradients.append(rows)


def find_laws(
    system: AbstractSystem,
    *,
    degree: int = 2,
    time_limit: float | None = None,
    forms: str = "auto",
    target: int | None = None,
    seed: int = 0,
) -> tuple[Law, ...]:
    """The laws of a system that are found in the searched classes, verified and independent of one another.

    Args:
        system: the training rule.
        degree: polynomials up to this degree are searched completely, if there are not too many of them.
        time_limit: seconds after which the search ends, in the middle of a stage too.
        forms: `"auto"`, or only `"gram"`, `"polynomial"` or `"rational"`.
        target: stop as soon as this many independent laws are known; no more can exist if it is $D - r$.
        seed: determines all random points and combinations.

    Returns:
        Laws, linear and matrix laws first.

    Raises:
        AnsatzTooLargeError: a degree of at least 3 was asked for and has too many monomials.
        ValueError: a constant of φ is no simple fraction, an unknown form, or a degree below 1.

    Validity:
        Each law says how it was verified. That none is missing is proved by a certificate, not by the search.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> from dlntheory.laws.systems import GradientSystem
        >>> find_laws(GradientSystem(linear_network((2, 2, 1))))
        (Law(W2^T W2 - W1 W1^T: matrix, 3 entries, identity in Q[theta]),)
    """
    laws: tuple[Law, ...] = ()
    stages = search_stages(
        system, degree=degree, deadline=Deadline(time_limit), forms=forms, target=target, seed=seed
    )
    for _, found, _ in stages:
        laws = found
    return laws


def search_stages(
    system: AbstractSystem,
    *,
    degree: int = 2,
    deadline: Deadline = UNLIMITED,
    forms: str = "auto",
    target: int | None = None,
    seed: int = 0,
    point: np.ndarray | None = None,
) -> Iterator[tuple[str, tuple[Law, ...], int]]:
    """The search stage by stage, so that one can stop once enough laws are known.

    Args and errors as for `find_laws`, with a deadline in place of a time limit, and the point (D,) modulo the default
    prime at which ranks are taken.

    Yields:
        Name of the stage, with the reason if it was skipped, all laws so far, and their rank at the point.
    """
    if forms not in FORMS:
        raise ValueError(f"Argument `forms` must be one of {FORMS}, but is {forms!r}.")
    degree = integer(degree, "degree")
    check_constants(system)
    if degree > 2 and forms in ("auto", "polynomial"):
        _refuse_large(system, degree)
    collection = Collection(system, seed, deadline, point)
    for name, candidates in _stages(system, collection, degree, forms, seed, deadline):
        try:
            collection.add(candidates)
        except OutOfTimeError:
            name = f"{name}, given up at the time limit"
        yield name, sorted_laws(collection.laws), collection.rank
        if deadline.is_over() or (target is not None and collection.rank >= target):
            return


def _stages(
    system: AbstractSystem, collection: Collection, degree: int, forms: str, seed: int, deadline: Deadline
) -> Iterator[tuple[str, Iterable[Law]]]:
    options = {"seed": seed, "deadline": deadline}
    if forms in ("auto", "gram"):
        yield "Gram ansatz", gram_laws(system, **options)
    if forms in ("auto", "polynomial"):
        if (generators := expand(system, deadline=deadline)) is None and deadline.left < np.inf:
            yield "polynomial search skipped: φ has too many terms to be expanded in time", ()
            return
        if generators is None:
            yield "polynomial search skipped: φ has too many terms to be expanded", ()
            return
        name = "quadratic search" if degree > 1 else "linear search"
        if system.dimension > MAX_COORDINATES:
            yield f"{name} skipped: {system.dimension} coordinates, at most {MAX_COORDINATES}", ()
        else:
            known = collection.gradients, collection.point
            yield name, quadratic_laws(system, generators, *known, degree, **options)
        for k in range(3, degree + 1):
            known = collection.gradients, collection.point
            laws = polynomial_laws(system, generators, k, *known, **options)
            yield f"degree {k} search", laws
    if forms in ("auto", "rational"):
        highest = degree if forms == "rational" else RATIONAL_DEGREE
        yield "rational search", rational_laws(system, highest, **options)


def _refuse_large(system: AbstractSystem, degree: int) -> None:
    unknowns = count_unknowns(system.dimension, degree)
    if unknowns > MAX_UNKNOWNS:
        raise AnsatzTooLargeError(unknowns, MAX_UNKNOWNS)
