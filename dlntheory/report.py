"""`write_report`: the outcome of `verify` as one HTML page that needs no network, and as JSON."""

from __future__ import annotations

import base64
import functools
import html
import io
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ._text import format_number, json_text
from .claims import PAPERS, Report, Result, Verdict

FONT_SIZE = 12.0
# Everyday LaTeX that mathtext does not know, in words that it does.
SYNONYMS = {
    "le": r"\leq",
    "ge": r"\geq",
    "lVert": r"\Vert",
    "rVert": r"\Vert",
    "lvert": r"\vert",
    "rvert": r"\vert",
    "tfrac": r"\frac",
    "iff": r"\Leftrightarrow",
    "implies": r"\Rightarrow",
    "bigl": "",
    "bigr": "",
}
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))

STYLE = """
:root { color-scheme: light dark; --ink: #1d2330; --dim: #5b6475; --page: #ffffff; --card: #f6f7f9;
  --line: #d9dde5; --passed: #1a7f37; --failed: #c62828; --vacuous: #b26a00; --skipped: #6b7280;
  --formula: none; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e9ef; --dim: #9aa4b5; --page: #14171c; --card: #1d2229; --line: #333a45;
    --passed: #4cc36b; --failed: #ff7b72; --vacuous: #e3a13b; --skipped: #8b94a3; --formula: invert(1); } }
body { margin: 2rem auto; padding: 0 1rem; max-width: 62rem; color: var(--ink); background: var(--page);
  font: 16px/1.5 system-ui, sans-serif; }
h1 { margin-bottom: 0; } h2 { margin: 2.5rem 0 0; font-size: 1.25rem; } h3 { margin: 0; font-size: 1.05rem; }
.dim, dt { color: var(--dim); } .citation { margin-top: 0; }
.claim { margin: 1rem 0; padding: .8rem 1rem; background: var(--card); border-radius: .4rem;
  border-left: .35rem solid var(--line); }
.claim.passed { border-color: var(--passed); } .claim.failed { border-color: var(--failed); }
.claim.vacuous { border-color: var(--vacuous); } .claim.skipped { border-color: var(--skipped); }
.verdict { float: right; font-weight: 600; }
.verdict.passed { color: var(--passed); } .verdict.failed { color: var(--failed); }
.verdict.vacuous { color: var(--vacuous); } .verdict.skipped { color: var(--skipped); }
.statement img { filter: var(--formula); max-width: 100%; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; } caption { text-align: left; }
th, td { padding: .15rem .9rem .15rem 0; text-align: left; border-bottom: 1px solid var(--line); }
pre { overflow-x: auto; padding: .8rem; background: var(--card); font-size: .85rem; }
dl { display: grid; grid-template-columns: max-content auto; gap: 0 1.5rem; } dd { margin: 0; }
"""


def prepare_directory(directory: str | Path) -> Path:
    """Make the folder of a report, if need be; before a long run, so that it is refused at once.

    Raises:
        ValueError: the folder cannot be made.
    """
    path = Path(directory)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ValueError(
            f"Argument `directory` must be a folder that exists or can be made, but {path}: {error.strerror}."
        ) from error
    return path


def write_report(report: Report, directory: str | Path, *, main_job: Any = None) -> Path:
    """Write `index.html`, one self-contained page, and `report.json` beside it.

    Formulas are drawn by Matplotlib's mathtext; one that it does not understand is shown as its LaTeX source.

    Args:
        report: what `verify` returned.
        directory: where to; made if it does not exist. Files of an earlier report in it are replaced.
        main_job: result of the main job, shown above the claims: its `str`, and its `to_dict()` in the JSON.

    Returns:
        The path of the page.

    Raises:
        ValueError: the folder cannot be made.
    """
    path = prepare_directory(directory)
    content = report.to_dict()
    if main_job is not None:
        content["main_job"] = main_job.to_dict()
    (path / "report.json").write_text(json_text(content) + "\n", encoding="utf-8")
    page = path / "index.html"
    page.write_text(_page(report, main_job), encoding="utf-8")
    return page


def statement_html(statement: str) -> str:
    """A statement in HTML: prose escaped, each formula as an image, or as code where mathtext cannot read it.

    Args:
        statement: prose with `$…$`, or one formula without dollar signs.
    """
    if "$" not in statement and re.search(r"[\\_^=]", statement):
        statement = f"${statement}$"
    parts = statement.split("$")
    return "".join(
        _formula_html(part) if number % 2 else html.escape(part) for number, part in enumerate(parts) if part
    )


@functools.lru_cache(maxsize=1024)
def _formula_html(formula: str) -> str:
    try:
        svg, height, depth = _formula_svg(f"${_in_mathtext(formula)}$")
    except ValueError:
        return f"<code>{html.escape(formula)}</code>"
    # An image cannot run scripts, and its glyph names cannot clash with those of another formula.
    data = base64.b64encode(svg).decode("ascii")
    size = f"height:{height:.3f}em;vertical-align:{-depth:.3f}em"
    return f'<img alt="{html.escape(formula)}" style="{size}" src="data:image/svg+xml;base64,{data}">'


def _in_mathtext(formula: str) -> str:
    words = re.compile(rf"\\({'|'.join(SYNONYMS)})(?![A-Za-z])")
    return " ".join(words.sub(lambda match: SYNONYMS[match[1]], formula).split())


def _formula_svg(formula: str) -> tuple[bytes, float, float]:
    """The drawing, its height and depth in units of the font size; `ValueError` if it cannot be read."""
    from matplotlib.figure import Figure
    from matplotlib.font_manager import FontProperties
    from matplotlib.mathtext import MathTextParser

    font = FontProperties(size=FONT_SIZE, math_fontfamily="cm")
    # At 72 dots per inch a dot is a point. The margin keeps thin strokes at the edge from being cut.
    width, height, depth, *_ = MathTextParser("path").parse(formula, dpi=72, prop=font)
    margin = 0.5
    full_width, full_height = width + 2 * margin, height + 2 * margin
    figure = Figure(figsize=(full_width / 72, full_height / 72))
    figure.text(margin / full_width, (depth + margin) / full_height, formula, fontproperties=font)
    buffer = io.BytesIO()
    figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    return buffer.getvalue(), full_height / FONT_SIZE, (depth + margin) / FONT_SIZE


def _page(report: Report, main_job: Any) -> str:
    job = "" if main_job is None else f"<h2>Main job on real data</h2><pre>{html.escape(str(main_job))}</pre>"
    sections = "".join(_section(key, results) for key, results in report.by_paper())
    title = f"dlntheory: {'verified' if report.ok else 'not verified'}"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}</style></head>\n<body><h1>dlntheory verify</h1>"
        f'<p class="dim">{html.escape(report.summary())}; {html.escape(report.date)}</p>'
        f"{job}{sections}\n<h2>Versions</h2>{_definition_list(report.versions)}</body></html>\n"
    )


def _section(key: str, results: list[Result]) -> str:
    paper = PAPERS[key]
    heading = f'<h2 id="{html.escape(key)}">{html.escape(paper.title)}</h2>'
    citation = f'<p class="dim citation">{html.escape(paper.citation)}</p>'
    return f"\n{heading}{citation}{''.join(_card(result) for result in results)}"


def _card(result: Result) -> str:
    claim, verdict = result.claim, result.verdict
    message = f"<p><strong>{verdict}:</strong> {html.escape(result.message)}</p>" if result.message else ""
    trace = f"<details><summary>Traceback</summary><pre>{html.escape(result.trace)}</pre></details>"
    seconds = "" if verdict is Verdict.SKIPPED else f", {result.seconds:.1f} s"
    source = f"{html.escape(claim.source)}; <code>{html.escape(claim.id)}</code>, {claim.tier}{seconds}"
    return (
        f'\n<article class="claim {verdict}" id="{html.escape(claim.id)}">'
        f'<span class="verdict {verdict}">{verdict}</span>'
        f"<h3>{html.escape(claim.summary)}</h3>"
        f'<p class="statement">{statement_html(claim.statement)}</p>'
        f'<p class="dim">{source}</p>'
        f"{_runs_table(result)}{message}{trace if result.trace else ''}</article>"
    )


def _runs_table(result: Result) -> str:
    claim = result.claim
    rows = ""
    for name, evidence, target in (
        ("hypotheses hold", result.evidence, "≤"),
        (f"control: {claim.control}", result.control, "&gt;"),
    ):
        values = [
            format_number(evidence and evidence.predicted, 6),
            format_number(evidence and evidence.measured, 6),
            format_number(evidence and evidence.error, 2),
        ]
        cells = "".join(f"<td>{html.escape(value)}</td>" for value in values)
        goal = f"<td>must be {target} {format_number(claim.tolerance, 2)}</td>"
        detail = html.escape(evidence.detail) if evidence else ""
        rows += f"<tr><td>{html.escape(name)}</td>{cells}{goal}<td>{detail}</td></tr>"
    head = "".join(f"<th>{name}</th>" for name in ("run", "predicted", "measured", "error", "tolerance", ""))
    return f"<table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"


def _definition_list(pairs: Mapping[str, Any]) -> str:
    entries = "".join(
        f"<dt>{html.escape(name)}</dt><dd>{html.escape(format_number(value))}</dd>"
        for name, value in pairs.items()
    )
    return f"<dl>{entries}</dl>"
