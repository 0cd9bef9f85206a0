"""The search behind `find_closure`: words in the matrices of φ first, then single entries."""

from __future__ import annotations

import functools
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import numpy as np

from ..._checks import real_number
from ..._errors import NoReductionError
from ...architecture import Architecture
from ...display.progress import keeps_partial
from ...exact.reading import read_program
from ...exact.rings.polynomials import Polynomials, TermCounts
from ...exact.words.reading import NoWords, WordForm, read_words, word_text
from .ansatz_observables import Hint, gram_labels, parameter_matrices, proposed_hints, read_hint
from .closed_system import AbstractClosedSystem
from .observable_ranks import MAX_ENTRIES, Jacobians, entry_jacobians, word_jacobians
from .scalars.scalar_equations import CoefficientsTooLargeError, Pieces, assembled, pieces_of
from .scalars.scalar_search import EntrySearch, Grading
from .scalars.scalar_system import EntrySystem
from .search_outcome import CLOSED, CLOSED_IN_Z, FULL_SPACE, OPEN, ClosureAttempt, SearchOutcome
from .words.matrix_system import WordSystem
from .words.scalar_law_rewriting import Rule
from .words.word_search import OpenWords, close_words, powers_text, scalar_rules

Level = Literal["auto", "words", "entries"]

# Where words do not close, entries are tried by themselves only in networks as small as this.
_SMALL = 8
_MAX_TERMS = 50_000
_MAX_DENOMINATOR = 10**6
INTERRUPTED = "interrupted"


def search_closure(
    arch: Architecture,
    hints: Sequence[Any] = (),
    *,
    max_degree: int = 8,
    max_generators: int = 60,
    time_limit: float = 60.0,
    balanced: Mapping[int, float] | float | None = None,
    level: Level = "auto",
    propose: bool = True,
    seed: int = 0,
) -> SearchOutcome:
    """The search of `find_closure`, with the same arguments, without what displays of its result show."""
    check_arguments(arch, hints, max_degree, max_generators, time_limit, level)
    started = time.perf_counter()
    deadline = started + time_limit
    named = [read_hint(arch, hint) for hint in hints]
    attempts: list[ClosureAttempt] = []
    bounds = {"max_degree": max_degree, "max_generators": max_generators, "deadline": deadline}
    form = (
        read_words(arch, seed=seed, allow_frozen=True) if level != "entries" or balanced is not None else None
    )
    if balanced is not None and not isinstance(form, WordForm):
        raise NoReductionError(
            f"Argument `balanced` must go with a φ that is one word in its matrices, but {form}."
        )

    def result(
        status: str,
        system: AbstractClosedSystem | None = None,
        rules: tuple[Rule, ...] = (),
        used: Sequence[str] = (),
        jacobians: Any = lambda: None,
        interrupted: bool = False,
    ) -> SearchOutcome:
        return SearchOutcome(
            architecture=arch,
            status=status,
            level=attempts[-1].level,
            attempts=tuple(attempts),
            rules=tuple(map(str, rules)),
            hints=tuple(used),
            seconds=time.perf_counter() - started,
            system=system,
            jacobians=jacobians,
            interrupted=interrupted,
        )

    rules: tuple[Rule, ...] = ()
    if isinstance(form, NoWords):
        attempts.append(ClosureAttempt("words", False, form.reason))
    elif isinstance(form, WordForm) and level != "entries":
        rules = scalar_rules(form, _per_interface(form, balanced))
        try:
            found = close_words(form, rules, **bounds)
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            attempts.append(ClosureAttempt("words", False, INTERRUPTED))
            return result(OPEN, rules=rules, interrupted=True)
        if not isinstance(found, OpenWords):
            system = WordSystem(found)
            attempts.append(ClosureAttempt("words", True, ""))
            jacobians = _word_jacobians(arch, system, seed)
            return result(_status(arch, system, jacobians), system, rules, jacobians=jacobians)
        attempts.append(_open_words(arch, form, found, bool(rules)))
    small = arch.size <= _SMALL or bool(named) or isinstance(form, NoWords)
    if level == "words" or rules or (level == "auto" and not small):
        return result(OPEN, rules=rules)
    word_form = form if isinstance(form, WordForm) else None
    offers: list[list[Hint]] = [named]
    if propose:
        simple, all_of_them = proposed_hints(arch, word_form, max_degree)
        offers += [[*named, *simple], [*named, *all_of_them]]
    for offer in offers:
        try:
            closed = _close_entries(arch, offer, attempts, bounds, seed)
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            if not attempts or attempts[-1].reason != INTERRUPTED:
                attempts.append(ClosureAttempt("entries", False, INTERRUPTED))
            return result(OPEN, interrupted=True)
        if closed is not None:
            system, used, jacobians = closed
            return result(_status(arch, system, jacobians), system, (), used, jacobians)
        if time.perf_counter() > deadline or attempts[-1].offending is None:
            break
    return result(OPEN)


def check_arguments(arch, hints, max_degree, max_generators, time_limit, level) -> None:
    """Raise a `ValueError` that names the argument unless all are what `find_closure` takes."""
    if not isinstance(arch, Architecture):
        raise ValueError(
            f"Argument `arch` must be an `Architecture`, but is {type(arch).__name__}: wrap a function of named arrays "
            "with `Architecture(phi, shapes)`."
        )
    if isinstance(hints, (str, bytes)) or not isinstance(hints, Sequence):
        raise ValueError(f"Argument `hints` must be a list or tuple, but is {hints!r}.")
    for name, value in (("max_degree", max_degree), ("max_generators", max_generators)):
        if not isinstance(value, int) or value < 1:
            raise ValueError(f"Argument `{name}` must be a positive integer, but is {value!r}.")
    real_number(time_limit, "time_limit", above=0.0, finite=False)
    if level not in ("auto", "words", "entries"):
        raise ValueError(f'Argument `level` must be "auto", "words" or "entries", but is {level!r}.')


def _per_interface(form: WordForm, balanced: Mapping[int, float] | float | None) -> dict[int, float]:
    if balanced is None:
        return {}
    if isinstance(balanced, Mapping):
        return dict(balanced)
    longest = max((len(word) for word in form.words), default=1)
    return dict.fromkeys(range(1, longest), float(balanced))


def _open_words(arch: Architecture, form: WordForm, found: OpenWords, has_rules: bool) -> ClosureAttempt:
    degrees: dict[str, int] = {}
    for name, _ in found.offending:
        factor = form.letters[name].factor
        if factor is not None:
            degrees[factor] = degrees.get(factor, 0) + 1
    text = powers_text(found.offending)
    reason = f"words do not close within {found.reason}: {text} is required next"
    if ")^" in text:
        reason += (
            ", and each power requires a higher one: no finite word closure; the number of observables grows with the "
            "width"
        )
        if not has_rules:
            reason += " unless laws are scalar (`balanced`)"
    return ClosureAttempt(
        "words", False, reason, degrees, tuple(word_text(word) for word in found.observables)
    )


def _word_jacobians(arch: Architecture, system: WordSystem, seed: int):
    def jacobians() -> Jacobians | None:
        if (system.numbers + math.prod(arch.output_shape)) * arch.size > MAX_ENTRIES:
            return None
        return word_jacobians(system.closure.form, arch.shapes, list(system.names), seed)

    return jacobians


def _status(
    arch: Architecture, system: AbstractClosedSystem, jacobians: Callable[[], Jacobians | None]
) -> str:
    if system.is_determined_by_output:
        return CLOSED_IN_Z
    if system.independent_entries >= arch.size:
        found = jacobians()
        if found is not None and found.rank() == arch.size:
            return FULL_SPACE
    return CLOSED


def _close_entries(
    arch: Architecture,
    hints: Sequence[Hint],
    attempts: list[ClosureAttempt],
    bounds: dict[str, Any],
    seed: int,
) -> tuple[EntrySystem, list[str], Callable[[], Jacobians]] | None:
    """One search among entries; the attempt is noted."""
    frozen = read_program(arch).frozen
    sizes = [math.prod(shape) for shape in arch.shapes.values()]
    grading = Grading(sizes, [number for number, name in enumerate(arch.shapes) if name in frozen])
    pieces = _polynomial_pieces(arch, grading)
    if pieces is None:
        attempts.append(
            ClosureAttempt("entries", False, f"z has more than {_MAX_TERMS} terms when it is expanded")
        )
        return None
    given = [
        part
        for hint in hints
        for _, entry in hint.entries
        for degree, part in grading.pieces(entry).items()
        if any(degree)
    ]
    search = EntrySearch(grading, pieces.polynomials, given, seed=seed, **bounds)
    try:
        stopped = search.run()
    except KeyboardInterrupt:
        texts = tuple(str(generator.polynomial) for generator in search.algebra.generators)
        attempts.append(ClosureAttempt("entries", False, INTERRUPTED, collected=texts))
        raise
    labels = {**gram_labels(arch.shapes)}
    for hint in hints:
        labels.update(hint.labels())
    wording = f" with the hints {', '.join(hint.text for hint in hints)}" if hints else ""
    if stopped is not None:
        degrees = dict(zip(arch.shapes, stopped.offending, strict=True))
        shown = ", ".join(f"{n} in {name}" for name, n in degrees.items() if n)
        reason = (
            f"entries do not close within {stopped.reason}{wording}: an observable of degree {shown} is asked for "
            "next"
        )
        texts = tuple(str(g.polynomial) for g in stopped.generators)
        attempts.append(ClosureAttempt("entries", False, reason, degrees, texts))
        return None
    try:
        closure = assembled(search, pieces, seed)
    except CoefficientsTooLargeError as error:
        attempts.append(ClosureAttempt("entries", False, str(error)))
        return None
    system = EntrySystem(closure, arch.shapes, arch.output_shape, labels)
    kept = {generator.polynomial.primitive() for generator in closure.generators if not generator.of_z}
    used = [hint.text for hint in hints if any(polynomial in kept for polynomial in hint.labels())]
    attempts.append(ClosureAttempt("entries", True, ""))
    return system, used, functools.cache(lambda: entry_jacobians(search.algebra, closure))


def _polynomial_pieces(arch: Architecture, grading: Grading) -> Pieces | None:
    """$z$ expanded and taken apart, or `None` if it is too large."""
    program = read_program(arch).program
    if program.is_rational:
        raise ValueError(
            f"Argument `arch` must have a polynomial φ to be closed, but φ of {arch.name} divides by parameters."
        )
    counts = TermCounts(_MAX_DENOMINATOR)
    ones = {name: np.full(shape, 1, dtype=object) for name, shape in arch.shapes.items()}
    sizes = jax.tree_util.tree_leaves(program.evaluate(counts, ones))[0]
    if sum(int(n) for n in np.ravel(sizes)) > _MAX_TERMS:
        return None
    value = program.evaluate(Polynomials(), parameter_matrices(arch.shapes))
    return pieces_of(np.asarray(jax.tree_util.tree_leaves(value)[0]), grading)
