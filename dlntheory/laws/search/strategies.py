"""The search for laws: cheap and readable forms first, then every polynomial of a degree, then quotients."""

from __future__ import annotations

import time
from collections.abc import Iterable, Iterator

import numpy as np

from ...exact.linear_algebra import DEFAULT_PRIME, modular_rank
from ..law import Law
from ..printing import sorted_laws
from ..proof.verification import check_constants, expand, verify
from ..systems import AbstractSystem
from .gram_ansatz import gram_laws
from .polynomial_ansatz import MAX_UNKNOWNS, AnsatzTooLargeError, count_unknowns, polynomial_laws
from .quadratic_ansatz import MAX_COORDINATES, quadratic_laws
from .rational_laws import rational_laws

FORMS = ("auto", "gram", "polynomial", "rational")
RATIONAL_DEGREE = 3
_SEED = 2


class Collection:
    """Verified laws whose gradients are independent at a random point modulo a prime, as they are found."""

    def __init__(self, system: AbstractSystem):
        self._system = system
        rng = np.random.default_rng(_SEED)
        self.point = rng.integers(1, DEFAULT_PRIME, size=system.dimension)
        self.laws: list[Law] = []
        self.rank = 0
        self.gradients = np.zeros((0, system.dimension), dtype=np.int64)

    def add(self, candidates: Iterable[Law]) -> None:
        """Keep the candidates that are conserved and raise the rank."""
        for law in candidates:
            rows = np.concatenate([self.gradients, law.gradients_mod_p(self.point)])
            rank = modular_rank(rows)
            if rank == self.rank:
                continue
            verification = verify(self._system, law)
            if verification:
                self.laws.append(verification.law)
                self.gradients, self.rank = rows, rank


def find_laws(
    system: AbstractSystem,
    *,
    degree: int = 2,
    time_limit: float | None = None,
    forms: str = "auto",
    target: int | None = None,
) -> tuple[Law, ...]:
    """The laws of a system that are found in the searched classes, verified and independent of one another.

    Args:
        system: the training rule.
        degree: polynomials up to this degree are searched completely, if there are not too many of them.
        time_limit: seconds after which no further stage is begun.
        forms: `"auto"`, or only `"gram"`, `"polynomial"` or `"rational"`.
        target: stop as soon as this many independent laws are known; no more can exist if it is $D - r$.

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
    stages = search_stages(system, degree=degree, time_limit=time_limit, forms=forms, target=target)
    for _, found in stages:
        laws = found
    return laws


def search_stages(
    system: AbstractSystem,
    *,
    degree: int = 2,
    time_limit: float | None = None,
    forms: str = "auto",
    target: int | None = None,
) -> Iterator[tuple[str, tuple[Law, ...]]]:
    """The search stage by stage, so that one can stop once enough laws are known.

    Args and errors as for `find_laws`.

    Yields:
        Name of the stage, with the reason if it was skipped, and all laws so far.
    """
    if forms not in FORMS:
        raise ValueError(f"Argument `forms` must be one of {FORMS}, but is {forms!r}.")
    if degree < 1:
        raise ValueError(f"Argument `degree` must be at least 1, but is {degree}.")
    check_constants(system)
    if degree > 2 and forms in ("auto", "polynomial"):
        _refuse_large(system, degree)
    start = time.monotonic()
    collection = Collection(system)

    def finished() -> bool:
        late = time_limit is not None and time.monotonic() - start > time_limit
        return late or (target is not None and collection.rank >= target)

    for name, candidates in _stages(system, collection, degree, forms):
        collection.add(candidates)
        yield name, sorted_laws(collection.laws)
        if finished():
            return


def _stages(
    system: AbstractSystem, collection: Collection, degree: int, forms: str
) -> Iterator[tuple[str, Iterable[Law]]]:
    if forms in ("auto", "gram"):
        yield "Gram ansatz", gram_laws(system)
    if forms in ("auto", "polynomial"):
        if (generators := expand(system)) is None:
            yield "polynomial search skipped: φ has too many terms to be expanded", ()
            return
        name = "quadratic search" if degree > 1 else "linear search"
        if system.dimension > MAX_COORDINATES:
            yield f"{name} skipped: {system.dimension} coordinates, at most {MAX_COORDINATES}", ()
        else:
            yield name, quadratic_laws(system, generators, collection.gradients, collection.point, degree)
        for k in range(3, degree + 1):
            laws = polynomial_laws(system, generators, k, collection.gradients, collection.point)
            yield f"degree {k} search", laws
    if forms in ("auto", "rational"):
        yield "rational search", rational_laws(system, degree if forms == "rational" else RATIONAL_DEGREE)


def _refuse_large(system: AbstractSystem, degree: int) -> None:
    unknowns = count_unknowns(system.dimension, degree)
    if unknowns > MAX_UNKNOWNS:
        raise AnsatzTooLargeError(unknowns, MAX_UNKNOWNS)
