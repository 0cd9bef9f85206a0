"""The phase diagram of random starts: which is nearer, a minimum or a saddle, by variance of the weights and width."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...plotting.checks import finite
from ...plotting.style import COLOURS, legend, new_axes, readable_ticks, role
from .phase_transition import PhaseTransition, predicted_minimum, predicted_saddle

#: Light to dark, so that black text and lines can be read on all of it and grey print keeps the order.
MAP, DARKEST = "Blues", 0.6


def plot_phase_diagram(
    target: Any,
    depth: int,
    ax=None,
    *,
    gammas: Sequence[float] | None = None,
    widths: Sequence[float] | None = None,
    studies: Sequence[PhaseTransition] = (),
):
    r"""$d_m/d_s$ over $\gamma$ (weights of variance $w^{-\gamma}$) and the width $w$; measured ones as circles.

    Light: a minimum is nearer than any saddle (lazy training); dark: the start lies near a saddle. The dotted line at
    $\gamma = 1$ parts the two regimes of large widths; on the dashed line the leading terms are equal. Left of
    $1 - 1/L$ the end-to-end map of the start itself diverges and nothing is predicted.

    Args:
        target: $A_*$.
        depth: $L \ge 2$.
        ax: where to draw; new axes by default.
        gammas: ends of the axis of $\gamma$, by default a little below $1 - 1/L$ and 2.
        widths: ends of the axis of $w$, by default 8 and 4096.
        studies: from `phase_transition` of the same target and depth, drawn on top in the colour of what was measured.

    Raises:
        ValueError: ends that are not two increasing numbers, or a study of another depth.

    Validity:
        Leading terms for large widths, from `predicted_minimum` (with $A(\theta_0) = 0$) and `predicted_saddle`; they
        jump at $\gamma = 1$, where no constant is known.

    References:
        [jacot2021saddle].
    """
    from matplotlib.colors import BoundaryNorm, ListedColormap

    for study in studies:
        if study.depth != depth:
            raise ValueError(f"Argument `studies` must be of depth {depth}, but one has depth {study.depth}.")
    edge = 1.0 - 1.0 / depth
    left, right = _ends(gammas, "gammas", (edge - 0.06, 2.0))
    bottom, top = _ends(widths, "widths", (8.0, 4096.0))
    ax = ax if ax is not None else new_axes()
    grid = np.geomspace(bottom, top, 81)

    def ratio(gamma: float) -> np.ndarray:
        """Decades of $d_m/d_s$ at every width."""
        minimum, saddle = predicted_minimum(target, depth, gamma), predicted_saddle(target, depth, gamma)
        power = minimum.exponent - saddle.exponent
        return np.log10(minimum.constant / saddle.constant) + power * np.log10(grid)

    # Each side on its own: the prediction jumps at one.
    sides = [
        np.linspace(low, high, 61)
        for low, high in ((max(left, edge), min(right, 1 - 1e-9)), (max(left, 1 + 1e-9), right))
        if low < high
    ]
    maps = [np.stack([ratio(float(gamma)) for gamma in side], axis=1) for side in sides]
    measured = [np.log10(study.minimum / study.saddle) for study in studies]
    reach = [values for values in (*maps, *measured) if values.size]
    levels = _levels(min(np.min(values) for values in reach), max(np.max(values) for values in reach))
    colours = _colours(len(levels) - 1)
    norm = BoundaryNorm(levels, len(colours))
    for side, values in zip(sides, maps, strict=True):
        ax.contourf(side, grid, values, levels=levels, colors=colours)
        lines = ax.contour(
            side, grid, values, levels=levels, colors="0.35", linewidths=0.5, linestyles="solid"
        )
        places = _crossings(side, grid, values, levels)
        ax.clabel(lines, fmt=_ratio, fontsize="x-small", colors="black", manual=places)
        ax.contour(
            side, grid, values, levels=[0.0], colors=COLOURS["predicted"], linewidths=1.4, linestyles="dashed"
        )
    for study, values in zip(studies, measured, strict=True):
        ax.scatter(
            np.full(len(study.widths), study.gamma),
            study.widths,
            c=values,
            cmap=ListedColormap(colours),
            norm=norm,
            s=46,
            edgecolors=COLOURS["reduced"],
            linewidths=1.4,
            zorder=3,
            clip_on=False,
            label="measured" if study is studies[0] else "_nolegend_",
        )
    ax.axvline(1.0, **role("guide", linewidth=1.4))
    if left < edge:
        ax.axvspan(left, edge, facecolor="white", edgecolor=COLOURS["background"], hatch="////", linewidth=0)
    ax.set_yscale("log", base=2)
    ax.set_xlim(left, right)
    ax.set_ylim(bottom, top)
    readable_ticks(ax.yaxis, at=2.0 ** np.arange(np.ceil(np.log2(bottom)), np.floor(np.log2(top)) + 1, 2))
    ax.set_xlabel(r"$\gamma$ (weights of variance $w^{-\gamma}$)")
    ax.set_ylabel("width $w$")
    for start, end, name in (
        (max(left, edge), min(right, 1), "near a minimum"),
        (max(left, 1), right, "near a saddle"),
    ):
        if start < end:
            ax.annotate(
                name,
                ((start + end) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                xytext=(0, 4),
                textcoords="offset points",
                ha="center",
                fontsize="small",
            )
    if any(np.min(values) < 0 < np.max(values) for values in maps):
        ax.plot([], [], color=COLOURS["predicted"], linewidth=1.4, linestyle="dashed", label="$d_m = d_s$")
    ax.plot([], [], color="0.35", linewidth=0.5, label="$d_m/d_s$ predicted")
    legend(ax, f"$L = {depth}$", loc="upper right", frameon=True, framealpha=0.85, edgecolor="none")
    return ax


def _ends(values: Sequence[float] | None, argument: str, default: tuple[float, float]) -> tuple[float, float]:
    if values is None:
        return default
    ends = finite(values, argument, positive=True)
    if len(ends) != 2 or not ends[0] < ends[1]:
        raise ValueError(f"Argument `{argument}` must be two increasing numbers, but is {ends.tolist()}.")
    return float(ends[0]), float(ends[1])


def _levels(low: float, high: float) -> np.ndarray:
    """Whole or half decades over the range, zero among them."""
    step = 0.5 if high - low < 4 else 1.0
    return step * np.arange(np.floor(min(low, 0.0) / step), np.ceil(max(high, step) / step) + 1)


def _colours(count: int) -> list[tuple[float, ...]]:
    import matplotlib

    return [tuple(matplotlib.colormaps[MAP](DARKEST * (i + 0.5) / count)) for i in range(count)]


def _crossings(
    side: np.ndarray, grid: np.ndarray, values: np.ndarray, levels: np.ndarray
) -> list[tuple[float, float]]:
    """Where each contour crosses one width near the middle: its number goes there, all in one row."""
    edge = side[-1] - 0.06 * (side[-1] - side[0])
    row = int(0.52 * len(grid))
    return [
        (float(side[column]), float(grid[row]))
        for level in levels[levels != 0]  # that one has a line of its own
        for column in np.flatnonzero(np.diff(np.sign(values[row] - level)))
        if side[column] < edge
    ]


def _ratio(decades: float) -> str:
    return f"{10.0**decades:.2g}"
