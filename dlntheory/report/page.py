"""The whole page: summary, contents, main job, claims by paper, versions and how to reproduce."""

from __future__ import annotations

import html
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ..citations import in_words
from ..claims import PAPERS, ClaimStatus, Report, Result
from ..display.text import format_number
from .cards import card_html, drawn_or_note
from .figures import figure_html
from .style import style_sheet

if TYPE_CHECKING:
    from ..claims.showcase import MainJob

SEEDS = (
    "Every random number comes from a seed that is written in its check, as a key or as an argument under "
    "“hypotheses”, so that a claim gives the same numbers each time on one machine. "
    "The check is folded below each claim."
)


def page_html(report: Report, main_job: MainJob | None) -> str:
    """The page; the same text for the same report."""
    sections = "".join(_section(key, results) for key, results in report.by_paper())
    title = f"dlntheory: {'verified' if report.ok else 'not verified'}"
    trouble = report.failed + report.vacuous
    quiet = '<p class="nothing">No claim of this report failed or is vacuous.</p>'
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{style_sheet()}</style></head>\n<body>"
        f"<header><h1>dlntheory verify</h1>{_summary(report)}</header>{_contents(report)}{_job(main_job)}"
        f"\n{_filter(trouble)}\n<main>{quiet if not trouble else ''}{sections}</main>{_about(report)}</body></html>\n"
    )


def _summary(report: Report) -> str:
    tiles = "".join(
        f'<li class="{verdict}"><b>{getattr(report, verdict)}</b>{verdict}</li>' for verdict in ClaimStatus
    )
    stopped = ""
    if report.interrupted:
        stopped = (
            '<p class="banner"><strong>Interrupted.</strong> The run was stopped before its end: the claims '
            "that had not finished are listed as skipped.</p>"
        )
    names = [result.claim.id for result in report.results if result.verdict in ("failed", "vacuous")]
    links = ", ".join(f'<a href="#{html.escape(name)}">{html.escape(name)}</a>' for name in names)
    trouble = f"<p>Failed or vacuous: {links}.</p>" if names else ""
    return (
        f'<p class="dim">{html.escape(report.summary())}; {html.escape(report.date)}; '
        f"dlntheory {html.escape(format_number(report.versions.get('dlntheory')))}</p>"
        f'{stopped}<ul class="tiles">{tiles}</ul>{trouble}'
        '<p class="dim small">Each claim is checked twice: where its hypotheses hold, the error must be within the '
        "tolerance, and in the negative control, where one hypothesis is broken, outside. A claim whose control "
        "is within the tolerance too is vacuous and counts as failed.</p>"
    )


def _contents(report: Report) -> str:
    head = "".join(f'<th scope="col">{name}</th>' for name in ("paper", *ClaimStatus))
    rows = ""
    for key, results in report.by_paper():
        counts = [sum(result.verdict is verdict for result in results) for verdict in ClaimStatus]
        cells = "".join(f"<td>{count or '–'}</td>" for count in counts)
        link = f'<a href="#paper-{html.escape(key)}">{html.escape(PAPERS[key].title)}</a>'
        rows += f"<tr><td>{link}</td>{cells}</tr>"
    return f'<table class="contents"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _job(main_job: MainJob | None) -> str:
    if main_job is None:
        return ""
    figures = drawn_or_note(
        lambda: "".join(
            figure_html(panels, f"main-job-{number}") for number, panels in enumerate(main_job.figures())
        )
    )
    words = f"<pre>{html.escape(str(main_job))}</pre>"
    return f'<section id="main-job"><h2>Main job on real data</h2>{figures}{words}</section>'


def _filter(trouble: int) -> str:
    choices = {
        "show-all": "all claims",
        "show-trouble": f"failed or vacuous ({trouble})",
        "show-figures": "with a figure",
    }
    inputs = "".join(
        f'<input type="radio" class="choice" name="choice" id="{name}"{" checked" if name == "show-all" else ""}>'
        for name in choices
    )
    labels = "".join(f'<label for="{name}">{text}</label>' for name, text in choices.items())
    return f'{inputs}<div class="filter">{labels}</div>'


def _section(key: str, results: list[Result]) -> str:
    paper = PAPERS[key]
    run = [result for result in results if result.verdict is not ClaimStatus.SKIPPED]
    skipped = [result for result in results if result.verdict is ClaimStatus.SKIPPED]
    kind = "paper"
    if any(result.verdict in ("failed", "vacuous") for result in run):
        kind += " with-trouble"
    if any(one is not None and one.curves for result in run for one in (result.evidence, result.control)):
        kind += " with-figures"
    cards = "".join(card_html(result) for result in run)
    if skipped:
        number = "1 claim" if len(skipped) == 1 else f"{len(skipped)} claims"
        folded = "".join(card_html(result) for result in skipped)
        cards += f"<details><summary>{number} not run</summary>{folded}</details>"
    return (
        f'\n<section class="{kind}" id="paper-{html.escape(key)}"><h2>{html.escape(paper.title)}</h2>'
        f'<p class="dim">{html.escape(in_words(paper.source, whole=True))}</p>{cards}</section>'
    )


def _about(report: Report) -> str:
    return (
        '<footer id="versions"><h2>Versions and seeds</h2>'
        f"{_definition_list(report.versions)}<p>{SEEDS}</p>"
        "<p>One claim again, whatever its tier: <code>dlntheory verify --claim ID</code>; all of a paper: "
        "<code>dlntheory verify --paper NAME --full</code>. All numbers and curves of this page are in "
        "<code>report.json</code> beside it.</p></footer>"
    )


def _definition_list(pairs: Mapping[str, Any]) -> str:
    entries = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(format_number(value))}</dd>"
        for name, value in pairs.items()
    )
    return f"<dl>{entries}</dl>"
