"""The whole page: summary, contents, main job, claims by paper, versions and how to reproduce."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from markupsafe import Markup

from ..claims import PAPERS, ClaimStatus, Report, Result
from .figures import figure_html
from .rendering import template
from .style import style_sheet

if TYPE_CHECKING:
    from ..claims.showcase import MainJob

WRONG = (ClaimStatus.FAILED, ClaimStatus.VACUOUS)


def page_html(report: Report, main_job: MainJob | None) -> str:
    """The page; the same text for the same report."""
    page = template("page.html", figure=_figure, job_figures=_job_figures)
    return page.render(
        report=report,
        main_job=main_job,
        papers=PAPERS,
        verdicts=[str(verdict) for verdict in ClaimStatus],
        trouble=WRONG,
        wrong=[result for result in report.results if result.verdict in WRONG],
        style=Markup(style_sheet()),
    )


def _figure(result: Result) -> Markup:
    panels = {
        title: run.curves
        for title, run in (("hypotheses hold", result.evidence), ("control", result.control))
        if run is not None and run.curves is not None
    }
    if not panels:
        return Markup("")
    claim = result.claim
    return _drawn_or_note(lambda: figure_html(panels, f"figure-{claim.id}", claim.tolerance))


def _job_figures(main_job: MainJob) -> Markup:
    return _drawn_or_note(
        lambda: Markup("").join(
            figure_html(panels, f"main-job-{number}") for number, panels in enumerate(main_job.figures())
        )
    )


def _drawn_or_note(draw: Callable[[], Markup]) -> Markup:
    """What `draw` returns, or a note that says why there is no figure."""
    try:
        return draw()
    except Exception as error:
        # One broken figure must not lose a report that took minutes; the numbers stand beside it in words.
        note = Markup('<p class="banner small">The figure could not be drawn: {}</p>')
        return note.format(f"{type(error).__name__}: {error}")
