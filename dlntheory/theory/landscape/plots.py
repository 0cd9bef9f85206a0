"""Figures of the loss landscape: critical points by rank, and one mode under weight decay."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...plotting.checks import finite, require_some
from ...plotting.style import COLOURS, legend, new_axes, role, shade
from .critical import CriticalPoint
from .decay import decay_thresholds, decayed_mode

#: Above this many points the fitted modes are not written next to each.
MAX_NAMED = 16


def plot_critical_points(points: Sequence[CriticalPoint], ax=None):
    r"""The loss of every critical point against the number of modes it fits: filled minima, open strict saddles.

    The dashed line joins the saddles that fit the strongest modes first, the levels of a path from a small start.

    Args:
        points: from `critical_points`, or `WhitenedLandscape.critical_points`.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no points.

    Example:
        >>> from dlntheory.theory.landscape import critical_points
        >>> ax = plot_critical_points(critical_points([[2.0, 0.0], [0.0, 1.0]], 2))
        >>> ax.get_xlabel()
        'number of fitted modes'
        >>> import matplotlib.pyplot as plt; plt.close("all")
    """
    require_some(points, "points")
    ax = ax if ax is not None else new_axes()
    greedy = sorted(
        (len(one.fitted), one.loss) for one in points if one.fitted == tuple(range(len(one.fitted)))
    )
    ax.plot(*zip(*greedy, strict=True), label="strongest modes first", **role("predicted"))
    for is_saddle, label, face in (
        (True, "strict saddle", "white"),
        (False, "global minimum", COLOURS["full"]),
    ):
        chosen = [(len(one.fitted), one.loss) for one in points if one.is_strict_saddle == is_saddle]
        if chosen:
            look = role("measured", linestyle="none", markerfacecolor=face, markersize=6)
            ax.plot(*zip(*chosen, strict=True), label=label, **look)
    if len(points) <= MAX_NAMED:
        for one in points:
            name = "{" + ", ".join(str(mode + 1) for mode in one.fitted) + "}"
            ax.annotate(
                name,
                (len(one.fitted), one.loss),
                xytext=(6, 2),
                textcoords="offset points",
                fontsize="x-small",
            )
    most = max(len(one.fitted) for one in points)
    ax.set_xticks(range(most + 1))
    ax.set_xlim(-0.25, most + 0.6)
    ax.set_xlabel("number of fitted modes")
    ax.set_ylabel("loss above the minimum of the data")
    legend(ax, room=True, loc="upper right")
    return ax


def plot_mode_landscape(sigma: float, depth: int, decays: Sequence[float], ax=None, **style: Any):
    r"""$\frac12(s-\sigma)^2 + \gamma\frac L2 s^{2/L}$ over $s$, one curve a weight decay; dots: global minima.

    Args:
        sigma: the target of the mode, positive.
        depth: $L \ge 2$.
        decays: values of $\gamma$, at least 0.
        ax: where to draw; new axes by default.
        **style: of the lines.

    Raises:
        ValueError: no decay, a negative one, `sigma` not positive, or a depth below 2.

    Example:
        >>> ax = plot_mode_landscape(1.5, 3, [0.0, 0.5, 0.7])
        >>> len(ax.get_legend().get_texts())
        3
        >>> import matplotlib.pyplot as plt; plt.close("all")
    """
    require_some(decays, "decays")
    gammas = finite(decays, "decays")
    thresholds = decay_thresholds(sigma, depth)
    minima = [float(decayed_mode(sigma, float(gamma), depth)) for gamma in gammas]
    ax = ax if ax is not None else new_axes()
    # Dense near zero, where the penalty of deep networks has an infinite slope.
    s = 1.25 * sigma * np.linspace(0.0, 1.0, 400) ** 3

    def energy(at: Any, gamma: float) -> Any:
        return 0.5 * (at - sigma) ** 2 + 0.5 * gamma * depth * at ** (2.0 / depth)

    for number, (gamma, least) in enumerate(zip(gammas, minima, strict=True)):
        look = {"color": shade(number, len(gammas)), "linewidth": 1.6, **style}
        ax.plot(s, energy(s, gamma), label=f"{gamma:.3g}", **look)
        ax.plot([least], [energy(least, gamma)], "o", color=look["color"], markersize=6, zorder=3)
    ax.set_xlabel("mode $s$ of the end-to-end map")
    ax.set_ylabel(r"loss with decay, one mode")
    ax.set_title(
        rf"$L = {depth}$, $\sigma = {sigma:g}$: zero from $\gamma_c = {thresholds.critical:.3g}$ on",
        fontsize="medium",
    )
    legend(ax, r"weight decay $\gamma$", room=True, loc="upper left", ncols=2)
    return ax
