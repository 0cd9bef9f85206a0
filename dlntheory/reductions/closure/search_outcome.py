"""`SearchOutcome`: how the search for a closure ended; `ClosureAttempt`: what was tried on the way."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable

from ...architecture import Architecture
from .closed_system import AbstractClosedSystem
from .observable_ranks import Jacobians

CLOSED_IN_Z = "closed in z"
CLOSED = "closed"
FULL_SPACE = "full space: no reduction"
OPEN = "open"


@dataclasses.dataclass(frozen=True)
class ClosureAttempt:
    """How a search went.

    Attributes:
        level: `"words"` or `"entries"`.
        closed: whether it ended.
        reason: what stopped it, or what was needed, in words.
        offending: the degree, in each parameter array, of what could not be added.
        collected: the observables by then, in plain text.
    """

    level: str
    closed: bool
    reason: str
    offending: dict[str, int] | None = None
    collected: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False)
class SearchOutcome:
    """What the search gives: the fields of a `Closure`, which says what they are."""

    architecture: Architecture
    status: str
    level: str
    attempts: tuple[ClosureAttempt, ...]
    rules: tuple[str, ...]
    hints: tuple[str, ...]
    seconds: float
    system: AbstractClosedSystem | None
    jacobians: Callable[[], Jacobians | None] = dataclasses.field(repr=False)
    interrupted: bool = False


def explanation(attempts: Iterable[ClosureAttempt]) -> str:
    """Why attempts stopped, or what their end means, in words."""
    return "; ".join(attempt.reason for attempt in attempts if attempt.reason)
