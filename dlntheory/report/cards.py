"""One claim on the page: verdict, statement, hypotheses, numbers of both runs, figure, and how to run it again."""

from __future__ import annotations

import html
import inspect
import textwrap
from collections.abc import Callable, Mapping
from typing import Any

from ..citations import in_words
from ..claims import Claim, ClaimStatus, Evidence, Result
from ..claims.evidence import shown
from ..display.text import format_number
from ..display.typesetting import prose
from .figures import figure_html

HOLDS = "hypotheses hold"


def card_html(result: Result) -> str:
    """The claim with what became of it."""
    claim, verdict = result.claim, result.verdict
    figure = _figure(result)
    name = html.escape(claim.id)
    kind = f"claim {verdict} with-figure" if figure else f"claim {verdict}"
    return (
        f'\n<article class="{kind}" id="{name}"><header><h3>{html.escape(claim.summary)}&nbsp;'
        f'<a href="#{name}" aria-label="link to this claim">#</a></h3>'
        f'<span class="verdict">{verdict}</span></header>'
        f'<p class="statement">{prose(claim.statement)}</p>'
        f'<p class="dim small">{html.escape(in_words(claim.source))}</p>'
        f"{_message(result)}{_runs(result)}{figure}{_footer(result)}</article>"
    )


def drawn_or_note(draw: Callable[[], str]) -> str:
    """What `draw` returns, or a note that says why there is no figure."""
    try:
        return draw()
    except Exception as error:
        # One broken figure must not lose a report that took minutes; the numbers stand beside it in words.
        reason = f"{type(error).__name__}: {error}"
        return f'<p class="banner small">The figure could not be drawn: {html.escape(reason)}</p>'


def arguments_in_words(arguments: Mapping[str, Any]) -> str:
    """Arguments of a check as a reader would write them: `seed = 0, widths = (2, 3)`."""
    return ", ".join(f"{name.replace('_', ' ')} = {_value(value)}" for name, value in arguments.items())


def _value(value: Any) -> str:
    if isinstance(value, tuple):
        inner = ", ".join(_value(entry) for entry in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return format_number(value)


def _figure(result: Result) -> str:
    panels = {
        title: run.curves
        for title, run in ((HOLDS, result.evidence), ("control", result.control))
        if run is not None and run.curves is not None
    }
    if not panels:
        return ""
    claim = result.claim
    return drawn_or_note(lambda: figure_html(panels, f"figure-{claim.id}", claim.tolerance))


def _message(result: Result) -> str:
    if not result.message:
        return ""
    trace = ""
    if result.trace:
        trace = f"<details><summary>Traceback</summary><pre>{html.escape(result.trace)}</pre></details>"
    return f"<p><strong>{result.verdict}:</strong> {html.escape(result.message)}</p>{trace}"


def _runs(result: Result) -> str:
    """Quantities down, the two runs across: it fits a narrow screen, and each column stands over its figure."""
    claim, runs = result.claim, (result.evidence, result.control)
    tolerance = format_number(claim.tolerance, 2)
    rows = [
        ("hypotheses", arguments_in_words(claim.arguments), arguments_in_words(claim.control_arguments)),
        ("predicted", *(_number(run, "predicted", 6) for run in runs)),
        ("measured", *(_number(run, "measured", 6) for run in runs)),
        ("error", *(_number(run, "error", 2) for run in runs)),
        ("tolerance", f"error must be ≤ {tolerance}", f"error must be > {tolerance}"),
    ]
    if any(run is not None and run.detail for run in runs):
        rows.append(("detail", *("" if run is None else run.detail for run in runs)))
    body = "".join(
        f'<tr><th scope="row">{name}</th><td>{html.escape(left)}</td><td>{html.escape(right)}</td></tr>'
        for name, left, right in rows
    )
    control = f"control (breaks a {claim.breaks}): {html.escape(claim.control)}"
    head = f'<tr><td></td><th scope="col">{HOLDS}</th><th scope="col">{control}</th></tr>'
    return f'<table class="runs"><thead>{head}</thead><tbody>{body}</tbody></table>'


def _number(run: Evidence | None, name: str, digits: int) -> str:
    return shown(None if run is None else getattr(run, name), digits)


def _footer(result: Result) -> str:
    claim = result.claim
    seconds = "" if result.verdict is ClaimStatus.SKIPPED else f", {result.seconds:.1f} s"
    line = f"<code>dlntheory verify --claim {html.escape(claim.id)}</code>, {claim.tier} tier{seconds}"
    source = _source(claim)
    code = f"<details><summary>The check in Python</summary><pre>{html.escape(source)}</pre></details>"
    return f'<p class="dim small">{line}</p>{code if source else ""}'


def _source(claim: Claim) -> str:
    """The function of the check without its decorator; empty where Python has no source, as in a notebook's past."""
    try:
        lines = textwrap.dedent(inspect.getsource(claim.check)).splitlines()
    except (OSError, TypeError):
        return ""
    starts = [number for number, line in enumerate(lines) if line.startswith("def ")]
    return "\n".join(lines[starts[0] :]) if starts else "\n".join(lines)
