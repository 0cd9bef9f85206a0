"""Plain-text and HTML blocks that objects print themselves with, and strict JSON. It imports no room."""

from __future__ import annotations

import html
import json
import math
import numbers
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

NOT_COMPUTED = "–"


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


def html_table(
    rows: Iterable[Sequence[Any]],
    headers: Sequence[str],
    align: str | None = None,
    *,
    caption: str | None = None,
) -> str:
    """The same table in HTML, every cell escaped; arguments as in `text_table`."""
    cells, align = _checked_cells(rows, headers, align)
    sides = [{"l": "left", "r": "right", "c": "center"}[side] for side in align]

    def line(tag: str, texts: Sequence[str]) -> str:
        return "".join(
            f'<{tag} style="text-align:{side}">{html.escape(text)}</{tag}>'
            for text, side in zip(texts, sides, strict=True)
        )

    head = f"<thead><tr>{line('th', headers)}</tr></thead>"
    body = "".join(f"<tr>{line('td', row)}</tr>" for row in cells)
    title = f"<caption>{html.escape(caption)}</caption>" if caption else ""
    return f"<table>{title}{head}<tbody>{body}</tbody></table>"


def html_key_values(pairs: Iterable[tuple[str, Any]]) -> str:
    """Names and values as a two-column HTML table without a head, every cell escaped."""
    rows = "".join(
        f'<tr><th style="text-align:left">{html.escape(str(name))}</th>'
        f'<td style="text-align:left">{html.escape(str(value))}</td></tr>'
        for name, value in pairs
    )
    return f"<table><tbody>{rows}</tbody></table>"


def key_values(pairs: Mapping[str, Any] | Iterable[tuple[str, Any]], indent: str = "") -> str:
    """Two aligned columns, names and values; the further lines of a value stand under its first.

    Args:
        pairs: a dict, or names with their values; values are formatted by `format_number`.
        indent: put before every line.
    """
    items = dict(pairs).items()
    width = max((len(name) for name, _ in items), default=0)
    lines = []
    for name, value in items:
        first, *further = format_number(value).splitlines() or [""]
        lines.append(f"{indent}{name.ljust(width)}  {first}".rstrip())
        lines += [f"{indent}{' ' * width}  {line}".rstrip() for line in further]
    return "\n".join(lines)


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
