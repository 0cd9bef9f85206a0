"""Curves as figures in HTML: axes as inline SVG, labels and legend as typeset prose around them."""

from __future__ import annotations

import html
import io
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from markupsafe import Markup

from ..claims import Curves
from ..claims.curves import MAX_SERIES
from ..display.text import format_number
from .limits import Axis, Range, is_log, panel_limits, visible
from .rendering import template

#: Drawn in colours that nothing else has: that of the text, and one for each series; replaced by those of the page.
INK = "#010203"
SERIES_INK = tuple(f"#0102{number:02x}" for number in range(16, 16 + MAX_SERIES))
#: A series of at most so many points shows each of them.
FEW_POINTS = 12
SIZE = (4.4, 2.5)
#: Left, bottom, width and height of the axes: fixed, so that panels side by side are aligned, and fast.
FRAME = (0.125, 0.105, 0.835, 0.855)
LOOK: dict[str, Any] = {
    "font.size": 9.0,
    "text.color": INK,
    "axes.edgecolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "grid.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "svg.fonttype": "path",
    "svg.hashsalt": "dlntheory",
}
RAISED = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")
AXES: tuple[Axis, Axis] = ("x", "y")
NO_METADATA = dict.fromkeys(("Creator", "Date", "Format", "Type"))


class _Look(NamedTuple):
    """How one series is drawn: a CSS variable of the page, the style in figures/style.py, markers if it is short."""

    colour: str
    width: float
    opacity: float
    dashes: tuple[float, ...]
    is_marked: bool = False

    @property
    def stroke_dasharray(self) -> str:
        """The dashes as SVG has them."""
        return " ".join(f"{self.width * length:g}" for length in self.dashes) or "none"


def figure_html(panels: Mapping[str, Curves], name: str, tolerance: float | None = None) -> Markup:
    """One `<figure>`: a panel for each entry, side by side, with one legend.

    Args:
        panels: title -> curves. Panels with the same labels share their axes.
        name: of the figure, unique on the page: keeps the ids inside its drawings apart from those of others.
        tolerance: drawn as a line where the curves ask for it.
    """
    looks = _looks(panels)
    limits = panel_limits(list(panels.values()), tolerance)
    drawn = []
    for number, (title, curves) in enumerate(panels.items()):
        line = tolerance if curves.with_tolerance else None
        svg = Markup(_svg(curves, looks, limits[number], line, f"{name}-{number}"))
        drawn.append(
            {
                "title": title,
                "curves": curves,
                "svg": svg,
                "log_x": is_log(curves, "x"),
                "log_y": is_log(curves, "y"),
            }
        )
    shown = dict(looks)
    if tolerance is not None and any(curves.with_tolerance for curves in panels.values()):
        shown["tolerance"] = _Look("--ink", 1.0, 1.0, (1.0, 1.65))
    return Markup(template("figure.html").render(panels=drawn, looks=shown, notes=_notes(panels)))


def _looks(panels: Mapping[str, Curves]) -> dict[str, _Look]:
    """Lines by the role that a name begins with; colours by role, or by case where a role has several cases."""
    from ..plotting.style import ROLES

    points: dict[str, int] = {}
    for curves in panels.values():
        for name, (xs, _) in curves.series.items():
            points[name] = max(points.get(name, 0), len(xs))
    roles = {name: next((role for role in ROLES if name.startswith(role)), "") for name in points}
    used = [[roles[name] for name in curves.series if roles[name]] for curves in panels.values()]
    has_cases = any(len(set(one)) < len(one) for one in used)
    of = {name: _case(name) if roles[name] else name for name in points if has_cases or not roles[name]}
    cases = list(dict.fromkeys(of.values()))
    looks: dict[str, _Look] = {}
    for name, length in points.items():
        # What was measured at many points is a run, and drawn as one.
        role = roles[name] or "error"
        style = ROLES["full" if role == "measured" and length > FEW_POINTS else role]
        colour = f"--series-{cases.index(of[name])}" if name in of else f"--role-{role}"
        dashes = style.get("linestyle", (0, ()))[1]
        is_marked = length == 1 or (length <= FEW_POINTS and not dashes)
        looks[name] = _Look(colour, style["linewidth"], style.get("alpha", 1.0), tuple(dashes), is_marked)
    return looks


def _case(name: str) -> str:
    """What stands after the role: `$L = 3$` in `measured, $L = 3$`; a name without a comma is its own case."""
    return name.partition(", ")[2] or name


def _svg(
    curves: Curves,
    looks: Mapping[str, _Look],
    limits: Mapping[Axis, Range],
    tolerance: float | None,
    prefix: str,
) -> str:
    """One panel, in the colours of the page."""
    import matplotlib.style
    from matplotlib.figure import Figure

    buffer = io.BytesIO()
    shown = visible(curves)
    inks = dict(zip(looks, SERIES_INK, strict=False))
    with matplotlib.style.context(["default", LOOK]):
        figure = Figure(figsize=SIZE)
        ax = figure.add_axes(FRAME)
        for axis in AXES:
            if is_log(curves, axis):
                getattr(ax, f"set_{axis}scale")("log")
                getattr(ax, f"{axis}axis").set_major_formatter(_power_of_ten)
            else:
                whole = axis == "x" and all(np.all(one[:, 0] % 1 == 0) for one in shown.values())
                ruler = getattr(ax, f"{axis}axis")
                ruler.get_major_locator().set_params(nbins=6, integer=whole)
                ruler.get_major_formatter().set_useOffset(False)
            if axis in limits:
                getattr(ax, f"set_{axis}lim")(limits[axis])
        for name, points in shown.items():
            look = looks[name]
            dashes = (0, look.dashes) if look.dashes else "solid"
            style = {"linewidth": look.width, "alpha": look.opacity, "linestyle": dashes}
            ax.plot(
                *points.T, color=inks[name], marker="o" * look.is_marked, markersize=3.2 + look.width, **style
            )
        if tolerance is not None:
            ax.axhline(tolerance, color=INK, linewidth=1.0, linestyle=":")
        ax.minorticks_off()
        figure.savefig(buffer, format="svg", transparent=True, metadata=NO_METADATA)
    label = re.sub(r"[$\\{}]", "", f"{curves.y} against {curves.x}: {', '.join(curves.series)}")
    colours = {ink: f"var({looks[name].colour})" for name, ink in inks.items()}
    return _inline(buffer.getvalue().decode(), prefix, label, {INK: "currentColor", **colours})


def _power_of_ten(value: float, position: int | None = None) -> str:
    """A tick of a logarithmic axis in plain letters, which are drawn in half the time of a formula."""
    return "10" + str(round(np.log10(value))).translate(RAISED)


def _inline(svg: str, prefix: str, label: str, colours: Mapping[str, str]) -> str:
    """A drawing of matplotlib as an element of a page: colours by variable, ids of its own, short numbers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(
        r"<defs>\s*<style.*?</style>\s*</defs>|<metadata>.*?</metadata>|<!--.*?-->", "", svg, flags=re.DOTALL
    )
    used = set(re.findall(r'href="#([^"]+)"|url\(#([^)]+)\)', svg))
    wanted = {one for pair in used for one in pair if one}
    svg = re.sub(r' id="([^"]+)"', lambda m: f' id="{prefix}-{m[1]}"' if m[1] in wanted else "", svg)
    svg = re.sub(r'(href="|url\()#', rf"\1#{prefix}-", svg)
    svg = re.sub(r' d="[^"]*"| [xy]="[^"]*"', lambda m: re.sub(r"(\d\d\.\d|\.\d\d)\d+", r"\1", m[0]), svg)
    # Pairs that follow a move are lines already.
    svg = re.sub(r' d="[ML\d.\s]*"', lambda m: re.sub(r"\s+L\s+|\s+(?=\")", " ", m[0]), svg)
    for ink, colour in colours.items():
        svg = svg.replace(ink, colour)
    size = re.search(r'viewBox="[^"]+"', svg)
    assert size is not None  # matplotlib writes one
    head = f'<svg role="img" aria-label="{html.escape(label)}" {size[0]}>'
    body = svg[svg.index(">") + 1 :]
    return head + re.sub(r"\s*\n\s*", " ", body).strip()


def _notes(panels: Mapping[str, Curves]) -> list[str]:
    notes = [note for note in dict.fromkeys(one.note for one in panels.values()) if note]
    for title, curves in panels.items():
        missing = sum(len(xs) for xs, _ in curves.series.values()) - sum(map(len, visible(curves).values()))
        if missing:
            values = "value is" if missing == 1 else "values are"
            notes.append(
                f"{title}: {format_number(missing)} {values} off the scale "
                f"(zero on a logarithmic axis, or not finite)"
            )
    return notes
