"""Plain-text and HTML blocks that objects show themselves with, and strict JSON. It imports no room."""

from __future__ import annotations

import dataclasses
import html
import json
import math
import numbers
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOT_COMPUTED = "–"
#: Columns of a plain-text block, beyond which values continue on the next line.
WIDTH = 118

# What front ends give tables by themselves (stripes, centred, right-aligned cells) must not decide how ours look,
# and no colour is named here: text takes that of the page, in light and dark themes alike.
_BOX = "display:flex;flex-direction:column;align-items:flex-start;gap:0.4em;max-width:100%"
_SCROLL = "max-width:100%;max-height:36em;overflow:auto"
_WIDE = "max-width:100%;overflow-x:auto;overflow-y:hidden;padding:0.2em 0"
_KEY = "text-align:left;vertical-align:top;font-weight:normal;opacity:0.7"
_LONGEST_KEY = 32
_VALUE = "text-align:left;vertical-align:top;overflow-wrap:anywhere"

# A dollar sign or a backslash alone in an element cannot begin a formula in any front end (MathJax and KaTeX look
# for both ends within one element), and as an entity it cannot do so for a program that reads the source either.
_LITERAL = {"$": "<span>&#36;</span>", "\\": "<span>&#92;</span>", "\n": "<br>"}
_LATEX_SPECIAL = {
    **{letter: f"\\{letter}" for letter in "_#%&${}"},
    "\\": "\\backslash{}",
    "^": "{}^{\\wedge}",
    "~": "{\\sim}",
}


class Formula(str):
    """LaTeX in a cell: typeset in HTML, shown as it is in plain text."""

    __slots__ = ()


class Prose(str):
    """Words with formulas between dollar signs in a cell: typeset in HTML, shown as they are in plain text."""

    __slots__ = ()


def format_number(value: Any, digits: int = 4) -> str:
    """A short form of a number for a table: `"1.2e-12"`, `"0.25"`, `"3"`, `"nan"`.

    Args:
        value: an int, a float, a zero-dimensional array, a string (returned as it is) or `None` (a dash).
        digits: significant digits of a float; integers are never rounded.
    """
    if value is None:
        return NOT_COMPUTED
    if isinstance(value, str):
        return value
    if hasattr(value, "item") and getattr(value, "ndim", 0) == 0:
        value = value.item()
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, numbers.Integral):
        return str(int(value))
    if isinstance(value, numbers.Real):
        text = f"{float(value):.{digits}g}"
        mantissa, e, exponent = text.partition("e")
        return f"{mantissa}e{int(exponent)}" if e else text
    return str(value)


def shorten(text: str, width: int) -> str:
    """The text on one line, cut to `width` characters with an ellipsis where it is longer."""
    line = " ".join(text.split())
    return line if len(line) <= width else line[: width - 1].rstrip() + "…"


def one_line(result: Any) -> str:
    """A dataclass on one line, `Name(field value, …)`: arrays by their shapes, dicts by their keys.

    Example:
        >>> import dataclasses, numpy as np
        >>> one_line(dataclasses.make_dataclass("Pair", ["left", "size"])(np.ones((2, 3)), 0.5))
        'Pair(left 2×3, size 0.5)'
    """
    parts = []
    for field in dataclasses.fields(result):
        value = getattr(result, field.name)
        shape = getattr(value, "shape", ())
        if shape:
            text = "×".join(map(str, shape))
        elif isinstance(value, tuple) and any(hasattr(entry, "shape") for entry in value):
            text = f"of {len(value)} arrays"
        elif isinstance(value, Mapping):
            text = f"of {', '.join(map(str, value))}"
        else:
            plain = (
                value is None or isinstance(value, (str, numbers.Number)) or getattr(value, "ndim", 1) == 0
            )
            text = shorten(format_number(value) if plain else repr(value), 60)
        parts.append(f"{field.name} {text}")
    return f"{type(result).__name__}({', '.join(parts)})"


def text_table(rows: Iterable[Sequence[Any]], headers: Sequence[str], align: str | None = None) -> str:
    """An aligned table: a line of headers, a rule, and exactly one line for each row.

    Args:
        rows: cells are formatted by `format_number`; line breaks inside a cell become blanks.
        headers: one for each column.
        align: one letter for each column, `l`, `r` or `c`; without it, columns of numbers go right.

    Raises:
        ValueError: a row or `align` with another number of columns than `headers`.
    """
    cells, align = _checked_cells(rows, headers, align)
    lines = [[" ".join(cell.split()) for cell in row] for row in ([*headers], *cells)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(headers))]
    pads = {"l": str.ljust, "r": str.rjust, "c": str.center}
    padded = [
        "  ".join(
            pads[side](cell, width) for cell, side, width in zip(line, align, widths, strict=True)
        ).rstrip()
        for line in lines
    ]
    rule = "  ".join("─" * width for width in widths)
    return "\n".join(line.rstrip() for line in (padded[0], rule, *padded[1:]))


def html_text(value: Any) -> str:
    """A value in HTML, shown literally: no tag and no formula can begin in it, unless it is `Formula` or `Prose`."""
    if isinstance(value, Formula):
        return f"${html.escape(value)}$"
    if isinstance(value, Prose):
        return html.escape(value).replace("\n", "<br>")
    text = html.escape(format_number(value))
    for letter, literal in _LITERAL.items():
        text = text.replace(letter, literal)
    return text


def html_formula(latex: str) -> str:
    """A displayed formula in HTML; where it is wider than the page, it scrolls by itself."""
    return f'<div style="{_WIDE}">$\\displaystyle {html.escape(latex)}$</div>'


def latex_escaped(text: str) -> str:
    r"""A name for use in mathematics, `\mathrm{…}` say: every character that LaTeX would obey is shown instead.

    Example:
        >>> print(latex_escaped("a_b $"))
        a\_b\ \$
    """
    return "".join("\\ " if letter == " " else _LATEX_SPECIAL.get(letter, letter) for letter in text)


def latex_text(text: str) -> str:
    r"""Words in a formula: runs of plain characters in `\text{…}`, special ones between them.

    Only commands of mathematics are used, since not every front end reads escapes inside `\text`.

    Example:
        >>> print(latex_text("one_two"))
        \text{one}\_\text{two}
    """
    parts: list[str] = []
    for letter in text:
        if letter in _LATEX_SPECIAL:
            parts.append(_LATEX_SPECIAL[letter])
        elif parts and parts[-1].startswith(r"\text{"):
            parts[-1] = parts[-1][:-1] + letter + "}"
        else:
            parts.append(rf"\text{{{letter}}}")
    return "".join(parts)


def html_table(
    rows: Iterable[Sequence[Any]],
    headers: Sequence[str],
    align: str | None = None,
    *,
    caption: str | None = None,
) -> str:
    """The same table in HTML, every cell escaped (see `html_text`); arguments as in `text_table`."""
    cells, align = _checked_cells(rows, headers, align)
    sides = [{"l": "left", "r": "right", "c": "center"}[side] for side in align]

    def line(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{side}{_cell_width(text)}">{html_text(text)}</{tag}>'
            for text, side in zip(texts, sides, strict=True)
        )

    head = f"<thead><tr>{line('th', headers)}</tr></thead>"
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in cells)
    title = f"<caption>{html_text(caption)}</caption>" if caption else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def _cell_width(text: str) -> str:
    # Numbers and short words stay on one line; on a narrow page a sentence keeps some width, and the table scrolls.
    return ";white-space:nowrap" if len(text) <= 16 else ";min-width:14em" if len(text) > 40 else ""


def html_key_values(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]]) -> str:
    """Names and values as a two-column HTML table without a head, every cell escaped (see `html_text`)."""
    rows = "".join(
        f'<tr><th style="{_KEY}{";white-space:nowrap" if len(name) <= _LONGEST_KEY else ""}">{html_text(name)}</th>'
        f'<td style="{_VALUE}">{html_text(value)}</td></tr>'
        for name, value in dict(pairs).items()
    )
    return f"<table><tbody>{rows}</tbody></table>"


def card(
    title: str,
    *,
    formulas: str | Sequence[str] = (),
    facts: Mapping[str, Any] | Iterable[tuple[str, Any]] = (),
    tables: Iterable[tuple[Any, ...]] = (),
    notes: Iterable[str] = (),
) -> str:
    """The one look of every result in a notebook: what it is, its formulas, facts, tables, and sentences below.

    Args:
        title: what it is, in a few words.
        formulas: LaTeX without dollar signs, one for each line.
        facts: names and values, in the order: condition or certificate, numbers, source.
        tables: the arguments of `html_table`, one tuple for each.
        notes: sentences.

    Returns:
        HTML without colours of its own; wide formulas and long tables scroll inside it.
    """
    lines = [formulas] if isinstance(formulas, str) else formulas
    # Labels begin in lower case; φ must stay what it is.
    heading = title[:1].upper() + title[1:] if title[:1].isascii() else title
    parts = [f"<div><strong>{html_text(heading)}</strong></div>"]
    parts += [html_formula(latex) for latex in lines if latex]
    pairs = dict(facts)
    if pairs:
        parts.append(f'<div style="{_SCROLL}">{html_key_values(pairs)}</div>')
    parts += [f'<div style="{_SCROLL}">{html_table(*table)}</div>' for table in tables]
    parts += [f"<div>{html_text(note)}</div>" for note in notes]
    return f'<div class="dlntheory" style="{_BOX}">{"".join(parts)}</div>'


def key_values(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]], indent: str = "") -> str:
    """Two aligned columns, names and values; the further lines of a value stand under its first.

    Args:
        pairs: a dict, or names with their values; values are formatted by `format_number`, and broken between
            words where a line would be longer than `WIDTH`.
        indent: put before every line.
    """
    items = dict(pairs).items()
    width = max((len(name) for name, _ in items), default=0)
    room = max(WIDTH - len(indent) - width - 2, 40)
    lines = []
    for name, value in items:
        first, *further = [
            part for line in format_number(value).splitlines() for part in _wrapped(line, room)
        ] or [""]
        lines.append(f"{indent}{name.ljust(width)}  {first}".rstrip())
        lines += [f"{indent}{' ' * width}  {line}".rstrip() for line in further]
    return "\n".join(lines)


def _wrapped(line: str, width: int) -> list[str]:
    if len(line) <= width:
        return [line]
    return textwrap.wrap(
        line, width, break_long_words=False, break_on_hyphens=False, replace_whitespace=False
    ) or [""]


def json_text(value: Any) -> str:
    """Strict JSON, indented by two: no `NaN` or `Infinity` literals, which most parsers refuse.

    A float that is not finite becomes the string `"nan"`, `"inf"` or `"-inf"`, so that Python's `float` reads
    numbers and strings alike; arrays become nested lists; what JSON has no type for becomes its `str`.
    """
    return json.dumps(_jsonable(value), indent=2, ensure_ascii=False, allow_nan=False)


def _jsonable(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        number = float(value)
        return number if math.isfinite(number) else str(number)
    if isinstance(value, Mapping):
        return {str(key): _jsonable(entry) for key, entry in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_jsonable(entry) for entry in value]
    if hasattr(value, "tolist"):
        return _jsonable(value.tolist())
    return str(value)


def _checked_cells(
    rows: Iterable[Sequence[Any]], headers: Sequence[str], align: str | None
) -> tuple[list[list[str]], str]:
    raw = [list(row) for row in rows]
    for number, row in enumerate(raw):
        if len(row) != len(headers):
            raise ValueError(
                f"Argument `rows` must have {len(headers)} cells a row, but row {number} has {len(row)}."
            )
    if align is None:
        align = "".join(
            "r" if _is_numeric([row[column] for row in raw]) else "l" for column in range(len(headers))
        )
    if len(align) != len(headers) or set(align) - set("lrc"):
        raise ValueError(
            f"Argument `align` must have one of l, r, c for each of {len(headers)} columns, but is {align!r}."
        )
    return [[format_number(cell) for cell in row] for row in raw], align


def _is_numeric(column: list[Any]) -> bool:
    present = [cell for cell in column if cell is not None]
    return bool(present) and all(isinstance(cell, numbers.Number) for cell in present)
