"""One look for all figures: colours and lines by role, families of curves, new axes, labels, readable ticks."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from ..display.text import shorten

#: One colour for each role in every figure (Okabe-Ito and greys: told apart by colour-blind readers).
COLOURS = {
    "full": "#0072B2",
    "reduced": "#D55E00",
    "predicted": "#222222",
    "measured": "#0072B2",
    "error": "#444444",
    "control": "#CC79A7",
    "background": "#8A8A8A",
}
#: How lines of each role are drawn. The line style says the role also in grey print and within a family of colours:
#: what was run in full is solid and wide, what a reduction gives is dashed, what a formula predicts has short dashes
#: and no markers, what was measured at single settings has markers, straight guides to the eye are dotted.
ROLES: dict[str, dict[str, Any]] = {
    "full": {"color": COLOURS["full"], "linewidth": 2.6, "alpha": 0.55},
    "reduced": {"color": COLOURS["reduced"], "linewidth": 1.3, "linestyle": (0, (4, 2))},
    "predicted": {"color": COLOURS["predicted"], "linewidth": 1.2, "linestyle": (0, (2.5, 1.5))},
    "measured": {"color": COLOURS["measured"], "linewidth": 1.2, "marker": "o", "markersize": 4.5},
    "error": {"color": COLOURS["error"], "linewidth": 1.4},
    "control": {"color": COLOURS["control"], "linewidth": 1.4, "linestyle": (0, (5, 1.5, 1, 1.5))},
    "background": {"color": COLOURS["background"], "linewidth": 1.0},
    "guide": {"color": COLOURS["predicted"], "linewidth": 0.9, "linestyle": (0, (1, 1.5))},
}
FULL_STYLE, REDUCED_STYLE = ROLES["full"], ROLES["reduced"]
#: Colours and markers of families without an order (methods, kinds of start), told apart by the marker in grey print.
SERIES = ("#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#0072B2", "#D55E00")
MARKERS = ("o", "s", "^", "D", "v", "P")

#: Inches of a figure with one axes, and of one with two side by side.
SINGLE, PAIR = (4.8, 3.4), (9.0, 3.4)

#: Height of one line of a legend, as a share of the axes.
LEGEND_LINE = 0.065

TIME = "gradient-flow time $t$"
LOG_TIME = r"$s = \log(1+t)$, $t$ gradient-flow time"
STEPS = "steps"


def role(name: str, **changes: Any) -> dict[str, Any]:
    """The style of a role, with changes on top.

    Args:
        name: a key of `ROLES`.
        **changes: replace entries, for example the colour within a family.

    Example:
        >>> role("error", linewidth=2.0)
        {'color': '#444444', 'linewidth': 2.0}
    """
    return {**ROLES[name], **changes}


def shade(index: int, count: int) -> tuple[float, ...]:
    """The colour of one member of an ordered family (depths, widths, scales, layers): dark to light, also in grey."""
    import matplotlib

    # The lightest fifth of the map cannot be read on white paper.
    return tuple(matplotlib.colormaps["viridis"](0.78 * index / max(1, count - 1)))


def series(number: int) -> dict[str, Any]:
    """Colour and marker of one member of a family without an order."""
    return {"color": SERIES[number % len(SERIES)], "marker": MARKERS[number % len(MARKERS)]}


def marker(number: int) -> str:
    """The marker of one member of a family."""
    return MARKERS[number % len(MARKERS)]


def new_axes(count: int = 1) -> Any:
    """New axes of the common size: one, or an array of `count` side by side."""
    import matplotlib.pyplot as plt

    return plt.subplots(1, count, figsize=SINGLE if count == 1 else PAIR, constrained_layout=True)[1]


def time_label(trajectory: Any) -> str:
    """The label of a time axis, by the clock of the run."""
    return TIME if trajectory.clock == "t" else LOG_TIME


@functools.lru_cache(maxsize=512)
def as_text(text: object, otherwise: str | None = None, width: int = 60) -> str:
    """A name as a label: mathematics between dollars where it can be drawn, else the characters as they stand.

    Args:
        text: what a user put in; line breaks become blanks, and it is cut to `width` characters.
        otherwise: shown literally where `text` is no valid mathematics.
        width: characters.

    Example:
        >>> as_text("net_1, $L = 3$"), as_text(r"cost $a{$"), as_text("_hidden")
        ('net_1, $L = 3$', 'cost \\\\$a{\\\\$', ' _hidden')
    """
    from matplotlib.mathtext import MathTextParser

    label = shorten(str(text), width)
    try:
        MathTextParser("path").parse(label)
    except ValueError:
        label = shorten(label if otherwise is None else str(otherwise), width).replace("$", r"\$")
    # matplotlib takes a leading underscore as the wish to be left out of the legend.
    return f" {label}" if label.startswith("_") else label


def power_of_ten(value: float) -> str:
    """A small or large number in mathematics: `1e-5` as a power of ten, without dollars.

    Example:
        >>> power_of_ten(1e-5), power_of_ten(2.5e-4), power_of_ten(0.1)
        ('10^{-5}', '2.5 \\\\times 10^{-4}', '0.1')
    """
    digits, e, exponent = f"{value:.3g}".partition("e")
    if not e and 0 < abs(value) < 0.01:
        digits, e, exponent = f"{value:.2e}".partition("e")
        digits = f"{float(digits):g}"
    if not e:
        return digits
    power = f"10^{{{int(exponent)}}}"
    return power if digits == "1" else rf"{digits} \times {power}"


def set_title(ax: Any, text: str) -> None:
    """A title in the size of the labels."""
    ax.set_title(text, fontsize="medium")


def legend(ax: Any, title: str | None = None, *, room: bool = False, **options: Any) -> None:
    """A legend without a frame; nothing where no line has a label.

    Args:
        ax: where.
        title: above the entries.
        room: whether the axis of y grows at its top, so that a legend there covers no data.
        **options: of `ax.legend`.
    """
    if labels := ax.get_legend_handles_labels()[1]:
        if room:
            lines = -(-len(labels) // options.get("ncols", 1)) + (title is not None)
            _make_room(ax, LEGEND_LINE * lines)
        ax.legend(
            **{
                "frameon": False,
                "fontsize": "small",
                "title": title,
                "title_fontsize": "small",
                "handlelength": 2.4,
                **options,
            }
        )


def _make_room(ax: Any, share: float) -> None:
    """Leave the upper `share` of the height without data; later data still rescale the axis."""
    forward, back = (np.log10, lambda y: 10.0**y) if ax.get_yscale() == "log" else (np.asarray, np.asarray)
    low, high = forward(ax.get_ylim())
    top = float(back(low + (high - low) / (1.0 - min(share, 0.6))))
    ax.update_datalim([(ax.get_xlim()[1], top)], updatex=False)
    ax.autoscale_view(scalex=False)


def widen_to_decades(ax: Any, values: np.ndarray) -> None:
    """Whole decades around the values: within less than one, a logarithmic axis has no readable ticks."""
    if values.size:
        low, high = np.floor(np.log10(np.min(values))), np.ceil(np.log10(np.max(values)))
        ax.set_ylim(10.0**low, 10.0 ** max(high, low + 1))


def readable_ticks(axis: Any, at: Any = None) -> None:
    """Written numbers on a logarithmic axis below two decades, where powers of ten alone leave one tick or none.

    Args:
        axis: `ax.xaxis` or `ax.yaxis`, of logarithmic scale.
        at: where the ticks go, for an axis of few settings such as widths.
    """
    from matplotlib import ticker

    low, high = sorted(axis.get_view_interval())
    if at is not None:
        axis.set_major_locator(ticker.FixedLocator(np.unique(np.asarray(at, dtype=float)).tolist()))
    elif high < 4 * low:
        axis.set_major_locator(ticker.MaxNLocator(5, steps=[1, 2, 2.5, 5, 10]))
    elif high < 10 * low:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0)))
    elif high < 100 * low:
        axis.set_major_locator(ticker.LogLocator(subs=(1.0, 2.0, 5.0)))
    else:
        return
    plain = low >= 1e-3 and high <= 1e6
    axis.set_major_formatter(
        ticker.FuncFormatter(lambda value, _: f"{value:.10g}")
        if plain
        else ticker.LogFormatterSciNotation(labelOnlyBase=False, minor_thresholds=(np.inf, np.inf))
    )
    axis.set_minor_locator(ticker.NullLocator())


def slope_guide(ax: Any, x: Any, y: Any, exponent: float, label: str, *, shift: float = 0.3) -> None:
    """A dotted line of that slope through the last point, shifted aside, over the second half of the axis."""
    x, y = np.asarray(x, dtype=float), np.asarray(y, dtype=float)
    start = np.sqrt(max(x[x > 0][0], x[-1] * 1e-4) * x[-1])
    ends = np.array([start, x[-1]])
    ax.plot(ends, shift * y[-1] * (ends / x[-1]) ** exponent, label=label, **ROLES["guide"])
