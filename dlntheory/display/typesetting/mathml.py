"""LaTeX to MathML Core, which browsers draw by themselves, and the font for those that have none for mathematics."""

from __future__ import annotations

import base64
import functools
import html
import re
from importlib import resources

#: Family name of the embedded font: a subset of STIX Two Math 2.11, under the SIL Open Font License (OFL.txt).
FONT_FAMILY = "dlntheory STIX Two Math"
FONT_FILE = "stix-two-math.woff2"


@functools.lru_cache(maxsize=4096)
def formula(latex: str, *, display: bool = False) -> str:
    r"""A formula as a `<math>` element, with the LaTeX source as its accessible label.

    Args:
        latex: the formula without dollar signs.
        display: set it as a block of its own, with large operators.

    Raises:
        ValueError: the formula is not LaTeX that the converter knows; the message names the place.

    Example:
        >>> formula(r"\dot z").count("<mover")
        1
    """
    import math_core

    try:
        element = math_core.LatexToMathML().convert_with_local_state(latex, displaystyle=display)
    except math_core.LatexError as error:
        raise ValueError(f"Argument `latex` must be a formula in LaTeX, but {latex!r}: {error}") from error
    return element.replace("<math", f'<math aria-label="{html.escape(latex)}"', 1)


def prose(text: str) -> str:
    r"""Prose with formulas in HTML: the words escaped, each `$…$` typeset, `$$…$$` as a block.

    A formula that cannot be read is shown as its source, in `<code>`: a report must not be lost for one symbol.

    Args:
        text: prose with `$…$`, or one formula without dollar signs.
    """
    if "$" not in text and re.search(r"[\\_^=]", text):
        text = f"${text}$"
    parts = re.split(r"(\$\$.+?\$\$|\$[^$]+\$)", text, flags=re.DOTALL)
    return "".join(_part(part) for part in parts if part)


def _part(part: str) -> str:
    if len(part) < 3 or not (part.startswith("$") and part.endswith("$")):
        return html.escape(part)
    latex = part.strip("$")
    try:
        return formula(latex, display=part.startswith("$$"))
    except ValueError:
        return f"<code>{html.escape(latex)}</code>"


def font_face() -> str:
    """CSS that embeds the font, 0.2 MB, and uses it for every `<math>` element."""
    data = resources.files("dlntheory.display.typesetting").joinpath(FONT_FILE).read_bytes()
    source = f"data:font/woff2;base64,{base64.b64encode(data).decode('ascii')}"
    return (
        f'@font-face {{ font-family: "{FONT_FAMILY}"; src: url({source}) format("woff2"); }}\n'
        f'math {{ font-family: "{FONT_FAMILY}", math; }}\n'
    )
