"""Figures of the mean-field theory: sweeps, transfer of learning rates, theory against finite networks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...plotting.checks import require_one_of, require_some
from ...plotting.style import COLOURS, as_text, legend, new_axes, readable_ticks, role, series, shade

LABELS = {
    "gen": "test error (noise-free)",
    "test": "test error on noisy labels",
    "train": "train error",
    "bias": "squared bias",
    "alignment": r"alignment of $\beta$ and $\beta_*$",
    "V": "$V(t,t)$",
}
SYMBOLS = {"nu": r"$\nu = N/D$", "alpha": r"$\alpha = P/D$", "blocks": "residual blocks"}
ERRORS = {"gen", "test", "train"}
UPDATES = "updates $t$ (optimiser steps)"


def plot_sweep(sweep: Any, ax=None, name: str = "gen", **style: Any):
    """One curve for each value of the parameter, dark to light; an infinite value is dashed black.

    Args:
        sweep: what `width_sweep`, `data_sweep`, `data_modes` or `depth_sweep` returned.
        ax: where to draw; new axes by default.
        name: the quantity: `gen`, `test`, `train`, `bias`, `alignment` or `V`.
        **style: of the lines.

    Raises:
        ValueError: an unknown quantity.
    """
    require_one_of(name, LABELS, "name")
    ax = ax if ax is not None else new_axes()
    finite = [value for value in sweep.values if not isinstance(value, str) and value != np.inf]
    for number, (value, label, curve) in enumerate(
        zip(sweep.values, sweep.labels, sweep.curves(name), strict=True)
    ):
        if isinstance(value, str):  # ways of training have no order
            look = {**series(number), "markersize": 4, "markevery": (2 * number, max(1, len(curve) // 8))}
        elif value in finite:
            look = {"color": shade(finite.index(value), len(finite))}
        else:
            look = role("predicted")
        # Far below 1e-15 a squared error is rounding, and may be slightly negative.
        shown = np.where(curve > 1e-14, curve, np.nan) if name != "alignment" else curve
        name_of_value = r"$\infty$" if value == np.inf else as_text(label)
        ax.plot(np.arange(len(curve)), shown, label=name_of_value, **{"linewidth": 1.4, **look, **style})
    if name != "alignment":
        ax.set_yscale("log")
        readable_ticks(ax.yaxis)
    ax.set_xlabel(UPDATES)
    ax.set_ylabel(LABELS[name])
    legend(ax, SYMBOLS.get(sweep.parameter, as_text(sweep.parameter)))
    return ax


def plot_rate_transfer(transfer: Any, ax=None, **style: Any):
    """The best learning rate of each way of scaling against the parameter, both logarithmic.

    Args:
        transfer: what `width_transfer` or `depth_transfer` returned.
        ax: where to draw; new axes by default.
        **style: of the lines.
    """
    ax = ax if ax is not None else new_axes()
    for number, name in enumerate(transfer.rates):
        look = role("measured", **series(number))
        ax.plot(transfer.values, transfer.etas(name), label=as_text(name), **{**look, **style})
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    readable_ticks(ax.xaxis, at=transfer.values)
    readable_ticks(ax.yaxis)
    ax.set_xlabel(SYMBOLS.get(transfer.parameter, as_text(transfer.parameter)))
    ax.set_ylabel(r"best learning rate $\eta$")
    legend(ax)
    return ax


def plot_against_networks(comparison: Any, ax=None, quantities: Sequence[str] = ("gen", "train")):
    """The theory as dashed lines; the mean over finite networks as points with bands of two standard errors.

    Args:
        comparison: from `mean_field.compare`.
        ax: where to draw; new axes by default.
        quantities: names in `comparison.deviations`.

    Raises:
        ValueError: no quantity, or an unknown one.
    """
    require_some(quantities, "quantities")
    if unknown := [name for name in quantities if name not in comparison.deviations]:
        raise ValueError(
            f"Argument `quantities` must name some of {', '.join(comparison.deviations)}, but has {unknown}."
        )
    ax = ax if ax is not None else new_axes()
    for number, name in enumerate(quantities):
        one, look = comparison[name], series(number)
        times = np.arange(len(one.predicted))
        low, high = one.mean - 2 * one.standard_error, one.mean + 2 * one.standard_error
        # A logarithmic axis has no place for a band that reaches zero.
        low = np.maximum(low, 1e-3 * one.mean)
        ax.fill_between(times, low, high, color=look["color"], alpha=0.3, linewidth=0)
        every = slice(None, None, max(1, len(times) // 15))
        ax.plot(
            times[every],
            one.mean[every],
            linestyle="none",
            markersize=4,
            label=LABELS.get(name, as_text(name)),
            **look,
        )
        last = number == len(quantities) - 1
        ax.plot(times, one.predicted, label="theory" if last else "_nolegend_", **role("predicted"))
    ax.set_yscale("log")
    readable_ticks(ax.yaxis)
    ax.set_xlabel(UPDATES)
    ax.set_ylabel("mean squared error" if ERRORS.issuperset(quantities) else "order parameter")
    simulation = comparison.simulation
    legend(ax, f"mean of {simulation.seeds} networks, $D = {simulation.D}$,\nband: two standard errors")
    return ax


def plot_rates(grid: Sequence[tuple[float, float]], ax=None, label: str | None = None, **style: Any):
    """Test error against the learning rate, the grid of a `BestRate`; divergence leaves a gap.

    Args:
        grid: pairs of rate and error, as in `BestRate.grid`.
        ax: where to draw; new axes by default.
        label: for a legend.
        **style: of the line.

    Raises:
        ValueError: an empty grid.
    """
    require_some(grid, "grid")
    ax = ax if ax is not None else new_axes()
    etas, errors = np.array(grid).T
    shown = np.where(np.isfinite(errors), errors, np.nan)
    ax.loglog(etas, shown, label=label, **{"color": COLOURS["full"], "linewidth": 1.4, **style})
    for axis in (ax.xaxis, ax.yaxis):
        readable_ticks(axis)
    ax.set_xlabel(r"learning rate $\eta$")
    ax.set_ylabel("test error after training")
    return ax
