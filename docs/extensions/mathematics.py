"""Formulas as MathML, which browsers draw by themselves: no script and no network.

Covers the mathematics of pages and docstrings, and `$…$` within the HTML that notebooks show. A formula that cannot be
converted is a warning, so it stops the build.
"""

from __future__ import annotations

import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.transforms.post_transforms import SphinxPostTransform
from sphinx.util import logging

from dlntheory.display.typesetting import font_face, formula

logger = logging.getLogger(__name__)

STYLE_SHEET = "mathematics.css"
#: Elements whose text is shown as it stands, then any other tag.
VERBATIM_OR_TAG = re.compile(
    r"(<(?P<name>pre|code|script|style|math)\b.*?</(?P=name)>|<[^>]+>)", re.DOTALL | re.IGNORECASE
)
DOLLARS = re.compile(r"(?<!\\)\$\$(?P<block>.+?)\$\$|(?<!\\)\$(?P<inline>[^$]+?)(?<!\\)\$", re.DOTALL)


def typeset(latex: str, *, display: bool, location: Any) -> str:
    """The formula in MathML; where it cannot be read, a warning and its source."""
    try:
        return formula(latex.strip(), display=display)
    except ValueError as error:
        logger.warning("formula not typeset: %s", error, location=location, type="mathematics")
        return f"<code>{html.escape(latex)}</code>"


def typeset_html(source: str, location: Any) -> str:
    """HTML with each `$…$` and `$$…$$` of its text typeset; tags, attributes and verbatim elements stay."""

    def converted(found: re.Match[str]) -> str:
        display = found["block"] is not None
        return typeset(html.unescape(found["block"] or found["inline"]), display=display, location=location)

    pieces, end = [], 0
    for tag in VERBATIM_OR_TAG.finditer(source):
        pieces += [DOLLARS.sub(converted, source[end : tag.start()]), tag[0]]
        end = tag.end()
    return "".join([*pieces, DOLLARS.sub(converted, source[end:])])


def visit_inline(translator: Any, node: nodes.math) -> None:
    translator.body.append(typeset(node.astext(), display=False, location=node))
    raise nodes.SkipNode


def visit_block(translator: Any, node: nodes.math_block) -> None:
    body = typeset(node.astext(), display=True, location=node)
    number = ""
    if node.get("number") is not None:
        number = f'<span class="equation-number">({node["number"]})</span>'
    # A permalink has no place here: the identifier is enough for references to arrive at.
    identifier = f' id="{html.escape(node["ids"][0])}"' if node.get("ids") else ""
    # A scrolling region must be reachable by keyboard.
    translator.body.append(f'<div class="math-block" tabindex="0"{identifier}>{body}{number}</div>\n')
    raise nodes.SkipNode


class TypesetOutputs(SphinxPostTransform):
    """Typeset the formulas in the HTML that objects show of themselves in notebooks."""

    default_priority = 400
    formats = ("html",)

    def run(self, **kwargs: Any) -> None:
        for raw in list(self.document.findall(nodes.raw)):
            if "text_html" in raw.get("classes", ()) and "$" in raw.astext():
                replaced = raw.copy()
                replaced += nodes.Text(typeset_html(raw.astext(), raw))
                raw.replace_self(replaced)


def write_style_sheet(app: Sphinx) -> None:
    if app.builder.format == "html":
        folder = Path(app.outdir) / "_static"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / STYLE_SHEET).write_text(font_face(), encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_html_math_renderer(
        "mathml", inline_renderers=(visit_inline, None), block_renderers=(visit_block, None)
    )
    app.add_post_transform(TypesetOutputs)
    app.add_css_file(STYLE_SHEET)
    app.connect("builder-inited", write_style_sheet)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
