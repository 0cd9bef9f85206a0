"""Figures of progressive collapse."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ...plotting.checks import finite, require_some
from ...plotting.style import legend, marker, new_axes, readable_ticks, role, shade
from .metrics import collapse_slope


def plot_collapse(lines: Mapping[tuple[float, int], Any], per_class: int, ax=None):
    r"""Collapse metrics $D_l$ against the layer, on a logarithmic axis; dashed: the predicted slopes.

    Args:
        lines: $D_0, D_1, \dots$ by scale and depth of the network.
        per_class: samples of each class, for the prediction.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no line, or metrics that are not positive.
    """
    require_some(lines, "lines")
    metrics = {key: finite(values, "lines", positive=True) for key, values in lines.items()}
    ax = ax if ax is not None else new_axes()
    scales = sorted({scale for scale, _ in metrics}, reverse=True)
    depths = sorted({depth for _, depth in metrics})
    for (scale, depth), values in metrics.items():
        colour, layers = shade(scales.index(scale), len(scales)), np.arange(len(values))
        predicted = values[0] * np.exp(collapse_slope(scale, per_class, depth) * layers)
        ax.plot(layers, predicted, **role("predicted", color=colour))
        look = role("measured", color=colour, marker=marker(depths.index(depth)), linestyle="none")
        ax.plot(
            layers, values, markerfacecolor="none", label=rf"$\epsilon = {scale:g}$, $L = {depth}$", **look
        )
    ax.set_yscale("log")
    readable_ticks(ax.yaxis)
    ax.set_xlabel("layer $l$")
    ax.set_ylabel(r"$D_l = \mathrm{tr}\,\Sigma_W \,/\, \mathrm{tr}\,\Sigma_B$")
    legend(ax, "dashed: predicted slope")
    return ax
