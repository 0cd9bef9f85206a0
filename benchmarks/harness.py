"""Paired timing: what is compared runs alternately in one process, so that a busy machine slows both alike."""

from __future__ import annotations

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, TypedDict

from dlntheory.display.text import format_number, text_table

HEADERS = ("benchmark", "case", "against", "ours", "other", "ratio", "limit", "note")


@dataclasses.dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        benchmark: the subject, the name on the command line.
        case: what is timed.
        against: what it is compared with.
        ours: seconds, the median over rounds; `None` if nothing was timed.
        other: seconds of the other, likewise.
        ratio: the median over rounds of ours / other, which is not the ratio of the medians.
        limit: the largest ratio that is accepted, or `None`.
        note: errors, sizes, or why nothing was timed.
        failed: something other than a ratio is not as it must be; the note says what.
    """

    benchmark: str
    case: str
    against: str
    ours: float | None = None
    other: float | None = None
    ratio: float | None = None
    limit: float | None = None
    note: str = ""
    failed: bool = False

    @property
    def ok(self) -> bool:
        """Whether the ratio is within its limit and nothing else failed."""
        return not self.failed and (
            self.limit is None or (self.ratio is not None and self.ratio <= self.limit)
        )

    def cells(self) -> tuple[str, ...]:
        """The row as texts, in the order of `HEADERS`."""
        return (
            self.benchmark,
            self.case,
            self.against,
            _duration(self.ours),
            _duration(self.other),
            "" if self.ratio is None else format_number(self.ratio, 3),
            "" if self.limit is None else format_number(self.limit, 3) + ("" if self.ok else " EXCEEDED"),
            ("FAILED: " if self.failed else "") + self.note,
        )


class Times(TypedDict):
    """What `paired` measures: three fields of a `Row`."""

    ours: float
    other: float
    ratio: float


def paired(ours: Callable[[], Any], other: Callable[[], Any], rounds: int) -> Times:
    """Time two functions in turn, each first in every second round, after both ran once: no compilation is timed.

    Args:
        ours: runs to completion when called (JAX arrays must have been waited for).
        other: likewise.
        rounds: pairs to time.
    """
    ours()
    other()
    mine, theirs = [], []
    for number in range(rounds):
        for function, times in [(ours, mine), (other, theirs)][:: 1 if number % 2 else -1]:
            begin = time.perf_counter()
            function()
            times.append(time.perf_counter() - begin)
    return {
        "ours": statistics.median(mine),
        "other": statistics.median(theirs),
        "ratio": statistics.median(a / b for a, b in zip(mine, theirs, strict=True)),
    }


def table(rows: Iterable[Row]) -> str:
    """All rows as one aligned table."""
    return text_table([row.cells() for row in rows], HEADERS, "lllrrrll")


def _duration(seconds: float | None) -> str:
    if seconds is None:
        return ""
    return f"{1e3 * seconds:.3g} ms" if seconds < 1 else f"{seconds:.3g} s"
