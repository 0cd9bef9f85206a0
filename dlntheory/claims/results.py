"""`Result` and `Report`: verdicts, counts, and how they print, in text, HTML and JSON."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType
from typing import Any

from .._versions import versions
from ..citations import in_words
from ..display.text import Prose, card, format_number, key_values, shorten, text_table
from .base import PAPERS, Claim
from .evidence import Evidence, shown

LINE_WIDTH = 118
VALUE_WIDTH = 14
#: The columns of a claim that ends, for a list that grows.
COLUMNS = (("claim", -40), ("error", 9), ("tolerance", 9), ("control", 9), ("breaks", -10), ("seconds", 8))
MESSAGE_WIDTH = 400


class ClaimStatus(StrEnum):
    """What became of a claim; `VACUOUS`: its negative control passes too, so the check proves nothing."""

    PASSED = "passed"
    FAILED = "failed"
    VACUOUS = "vacuous"
    SKIPPED = "skipped"


def is_within(error: float, tolerance: float) -> bool:
    """The only comparison that makes a verdict; NaN and infinity are never within."""
    return math.isfinite(error) and error <= tolerance


def utc_now() -> str:
    """Date and time in UTC, to the second, in ISO 8601."""
    return datetime.now(UTC).isoformat(timespec="seconds")


@dataclass(frozen=True)
class Result:
    """What became of one claim.

    Attributes:
        claim: the claim.
        verdict: see `ClaimStatus`.
        evidence: of the run where the hypotheses hold; `None` if it was not run to its end.
        control: of the negative control; `None` likewise.
        seconds: time for both runs.
        message: why it failed, is vacuous or was skipped; empty if it passed.
        trace: the Python traceback, if a run raised.
    """

    claim: Claim
    verdict: ClaimStatus
    evidence: Evidence | None = None
    control: Evidence | None = None
    seconds: float = 0.0
    message: str = ""
    trace: str = ""

    @property
    def control_passed(self) -> bool | None:
        """Whether the control is within the tolerance (it must not be); `None` if it has no evidence."""
        return None if self.control is None else is_within(self.control.error, self.claim.tolerance)

    @property
    def has_curves(self) -> bool:
        """Whether either run has a figure."""
        return any(run is not None and run.curves is not None for run in (self.evidence, self.control))

    def line(self) -> str:
        """The result in one line, below `Result.heading()`; a failure with its reason below."""
        _, _, _, error, tolerance, control, seconds, _ = _numbers(self)
        cells = (self.claim.id, error, tolerance, control, self.claim.breaks, seconds)
        reason = f"\n    {shorten(self.message, MESSAGE_WIDTH)}" if self.verdict in _WRONG else ""
        return f"{_columns(cells)}  {self.verdict}{reason}"

    @staticmethod
    def heading() -> str:
        """The names of the columns of `line`."""
        return f"{_columns([name for name, _ in COLUMNS])}  verdict"

    def __repr__(self) -> str:
        return f"Result({self.claim.id}: {self.verdict}, error {format_number(self.evidence and self.evidence.error)})"

    def __str__(self) -> str:
        return key_values([("claim", self.claim.id), *self._facts(self.claim.statement)])

    def _repr_html_(self) -> str:
        claim = self.claim
        return card(f"Claim {claim.id}: {self.verdict}", facts=self._facts(Prose(claim._repr_latex_())))

    def _facts(self, statement: str) -> list[tuple[str, str]]:
        _, predicted, measured, error, tolerance, control, seconds, verdict = _numbers(self)
        facts = [
            ("summary", self.claim.summary),
            ("statement", statement),
            ("verdict", verdict),
            ("predicted", predicted),
            ("measured", measured),
            ("error", f"{error} (tolerance {tolerance})"),
            ("control", f"error {control}; breaks a {self.claim.breaks}: {self.claim.control}"),
            ("seconds", seconds),
        ]
        return [
            *facts,
            *[("reason", self.message)] * bool(self.message),
            ("source", in_words(self.claim.source)),
        ]

    def to_dict(self) -> dict[str, Any]:
        """See `Report.to_dict`."""
        evidence, control = self.evidence, self.control
        return {
            "id": self.claim.id,
            "paper": self.claim.paper,
            "statement": self.claim.statement,
            **_evidence_dict(evidence),
            "tolerance": self.claim.tolerance,
            "passed": self.verdict is ClaimStatus.PASSED,
            "control": {
                **_evidence_dict(control),
                "passed": self.control_passed,
                "breaks": self.claim.breaks,
                "how": self.claim.control,
                "detail": "" if control is None else control.detail,
                "data": {} if control is None else dict(control.data),
                "curves": _curves_dict(control),
            },
            "seconds": self.seconds,
            "verdict": str(self.verdict),
            "message": self.message,
            "summary": self.claim.summary,
            "source": self.claim.source,
            "tier": self.claim.tier,
            "detail": "" if evidence is None else evidence.detail,
            "data": {} if evidence is None else dict(evidence.data),
            "curves": _curves_dict(evidence),
            "traceback": self.trace,
        }


@dataclass(frozen=True)
class Report:
    """The outcome of `verify`. The four counts add up to the number of selected claims.

    Attributes:
        results: one `Result` for each selected claim, in order.
        seconds: time of the whole run.
        date: when it began, UTC.
        versions: of the package and of what it computed with.
        interrupted: whether the user stopped it before its end.
    """

    results: tuple[Result, ...]
    seconds: float
    date: str
    versions: Mapping[str, Any] = field(default_factory=dict)
    interrupted: bool = False

    @classmethod
    def of(cls, results: Iterable[Result], *, seconds: float, date: str, interrupted: bool = False) -> Report:
        """A report on results that were just computed in this process, with its versions."""
        return cls(tuple(results), seconds, date, MappingProxyType(versions(backend=True)), interrupted)

    @property
    def passed(self) -> int:
        """Claims within their tolerance whose control is outside."""
        return self._count(ClaimStatus.PASSED)

    @property
    def failed(self) -> int:
        """Claims outside their tolerance, or with a run that raised."""
        return self._count(ClaimStatus.FAILED)

    @property
    def vacuous(self) -> int:
        """Claims within their tolerance whose control is within it too."""
        return self._count(ClaimStatus.VACUOUS)

    @property
    def skipped(self) -> int:
        """Claims that were not run to their end."""
        return self._count(ClaimStatus.SKIPPED)

    @property
    def ok(self) -> bool:
        """Nothing failed, nothing is vacuous, nothing was interrupted."""
        return not (self.failed or self.vacuous or self.interrupted)

    def _count(self, verdict: ClaimStatus) -> int:
        return sum(result.verdict is verdict for result in self.results)

    def by_paper(self) -> list[tuple[str, list[Result]]]:
        """The keys of the papers with their results, in order."""
        return [
            (key, list(group)) for key, group in groupby(self.results, key=lambda result: result.claim.paper)
        ]

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain types.

        The keys of each claim: `id`, `paper`, `statement`, `predicted`, `measured`, `error`, `tolerance`,
        `passed`, `control` with `error` and `passed`, `seconds`, and further ones. `passed` is true for the
        verdict passed only: it is false for a vacuous claim, though its error is within the tolerance, and
        for a skipped one. The `passed` of a control says that the control is within the tolerance, so it is
        false for a sound claim. `curves`, of a claim and of its control, is `Curves.to_dict()`, or `None`
        without a figure. Numbers that were not computed are `None`. The counts `passed`, `failed`,
        `vacuous` and `skipped` exclude each other.
        """
        return {
            "claims": [result.to_dict() for result in self.results],
            "passed": self.passed,
            "failed": self.failed,
            "vacuous": self.vacuous,
            "skipped": self.skipped,
            "ok": self.ok,
            "interrupted": self.interrupted,
            "seconds": self.seconds,
            "date": self.date,
            "versions": dict(self.versions),
        }

    def summary(self) -> str:
        """The counts in one line."""
        counts = f"{self.passed} passed, {self.failed} failed, {self.vacuous} vacuous, {self.skipped} skipped"
        stopped = ", interrupted" if self.interrupted else ""
        number = len(self.results)
        broken = sum(result.claim.breaks == "hypothesis" for result in self.results)
        controls = f"; {broken} controls break a hypothesis, {number - broken} a prediction" if number else ""
        return (
            f"{number} claim{'' if number == 1 else 's'}: {counts}{stopped}{controls}; {self.seconds:.1f} s"
        )

    def __repr__(self) -> str:
        return f"Report({self.summary()})"

    def __str__(self) -> str:
        headers = ("claim", "predicted", "measured", "error", "tolerance", "control", "seconds", "verdict")
        rows = []
        for result in self.results:
            *numbers, control, seconds, verdict = _numbers(result, VALUE_WIDTH)
            rows.append((*numbers, f"{control} {result.claim.breaks[0]}", seconds, verdict))
        header, rule, *table = text_table(rows, headers, "lrrrrrrl").splitlines()
        lines = [f"  {header}", f"  {rule}"]
        row = iter(table)
        for key, results in self.by_paper():
            lines += ["", shorten(f"{key}: {PAPERS[key].title}", LINE_WIDTH)]
            for result in results:
                lines += [f"  {next(row)}", *_notes(result)]
        legend = ["Controls: h breaks a hypothesis of the theorem, p its prediction."] * bool(rows)
        return "\n".join([*lines, "", *legend, self.summary()])

    def _repr_html_(self) -> str:
        headers = (
            *("paper", "claim", "summary", "predicted", "measured", "error", "tolerance"),
            *("control error", "seconds", "verdict", "control breaks", "reason"),
        )
        rows = []
        for result in self.results:
            name, *numbers = _numbers(result)
            rows.append(
                (
                    result.claim.paper,
                    name,
                    result.claim.summary,
                    *numbers,
                    result.claim.breaks,
                    result.message,
                )
            )
        align = "lllrrrrrrlll"
        if not any(result.message for result in self.results):
            rows, headers, align = [row[:-1] for row in rows], headers[:-1], align[:-1]
        return card("Report", facts={"claims": self.summary()}, tables=[(rows, headers, align)])


#: Verdicts with a reason that the reader must see.
_WRONG = (ClaimStatus.FAILED, ClaimStatus.VACUOUS)


def _columns(cells: Sequence[str]) -> str:
    pairs = zip(cells, COLUMNS, strict=True)
    return "  ".join(f"{cell:<{-width}}" if width < 0 else f"{cell:>{width}}" for cell, (_, width) in pairs)


def _evidence_dict(evidence: Evidence | None) -> dict[str, Any]:
    if evidence is None:
        return dict.fromkeys(("predicted", "measured", "scale", "error"))
    values = {name: getattr(evidence, name) for name in ("predicted", "measured")}
    plain = {name: one if isinstance(one, (int, float)) else str(one) for name, one in values.items()}
    return {**plain, "scale": evidence.scale, "error": evidence.error}


def _curves_dict(evidence: Evidence | None) -> dict[str, Any] | None:
    return None if evidence is None or evidence.curves is None else evidence.curves.to_dict()


def _numbers(result: Result, width: int | None = None) -> tuple[str, ...]:
    """Name, predicted, measured, error, tolerance, control error, seconds, verdict; values cut to `width`."""
    evidence, control = result.evidence, result.control
    values = [shown(evidence and getattr(evidence, name)) for name in ("predicted", "measured")]
    return (
        result.claim.id,
        *(value if width is None else shorten(value, width) for value in values),
        format_number(evidence and evidence.error, 2),
        format_number(result.claim.tolerance, 2),
        format_number(control and control.error, 2),
        format_number(None) if result.verdict is ClaimStatus.SKIPPED else f"{result.seconds:.1f}",
        str(result.verdict),
    )


def _notes(result: Result) -> list[str]:
    notes = [result.claim.summary]
    if evidence := result.evidence:
        full = [shown(value) for value in (evidence.predicted, evidence.measured)]
        if any(len(value) > VALUE_WIDTH for value in full):
            notes.append(f"predicted {full[0]}; measured {full[1]}")
    if result.message:
        notes.append(shorten(f"{result.verdict}: {result.message}", MESSAGE_WIDTH))
    return [
        line
        for note in notes
        for line in textwrap.wrap(note, LINE_WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 8)
    ]
