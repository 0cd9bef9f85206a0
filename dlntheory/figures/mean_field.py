"""Figures of the mean-field theory: sweeps, transfer of learning rates, theory against finite networks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from ..plotting import COLOURS

if TYPE_CHECKING:
    from ..theory.mean_field.comparison import MeanFieldComparison
    from ..theory.mean_field.rates import RateTransfer
    from ..theory.mean_field.sweeps import Sweep

LABELS = {
    "gen": "test error (noise-free)",
    "test": "test error on noisy labels",
    "train": "train error",
    "bias": "squared bias",
    "alignment": r"alignment of $\beta$ and $\beta_*$",
    "V": "$V(t,t)$",
}
SYMBOLS = {"nu": r"$\nu = N/D$", "alpha": r"$\alpha = P/D$", "blocks": "residual blocks"}


def plot_sweep(sweep: Sweep, ax=None, name: str = "gen", **style: Any):
    """One curve for each value of the parameter, dark to light; an infinite value is dashed black.

    Args:
        sweep: what `width_sweep`, `data_sweep`, `data_modes` or `depth_sweep` returned.
        ax: where to draw.
        name: the quantity: `gen`, `test`, `train`, `bias`, `alignment` or `V`.
        **style: of the lines.
    """
    if name not in LABELS:
        raise ValueError(f"Argument `name` must be one of {', '.join(LABELS)}, but is {name!r}.")
    ax = ax if ax is not None else _new_axes()
    curves = sweep.curves(name)
    finite = [value for value in sweep.values if value != np.inf]
    for value, label, curve in zip(sweep.values, sweep.labels, curves, strict=True):
        look: dict[str, Any] = {
            "color": _shade(finite.index(value), len(finite)) if value in finite else "black"
        }
        if value not in finite:
            look["linestyle"] = "--"
        # Far below 1e-15 a squared error is rounding, and may be slightly negative.
        shown = np.where(curve > 1e-14, curve, np.nan) if name != "alignment" else curve
        ax.plot(np.arange(len(curve)), shown, label=label, **{"linewidth": 1.4, **look, **style})
    if name != "alignment":
        ax.set_yscale("log")
    ax.set_xlabel("updates $t$ (optimiser steps)")
    ax.set_ylabel(LABELS[name])
    ax.legend(frameon=False, fontsize="small", title=SYMBOLS.get(sweep.parameter, sweep.parameter))
    return ax


def plot_rate_transfer(transfer: RateTransfer, ax=None, **style: Any):
    """The best learning rate of each way of scaling against the parameter, both logarithmic."""
    ax = ax if ax is not None else _new_axes()
    for number, name in enumerate(transfer.rates):
        colour = list(COLOURS.values())[number % len(COLOURS)]
        look = {"marker": "osD^"[number % 4], "markersize": 4, "linewidth": 1.4, "color": colour, **style}
        ax.plot(transfer.values, transfer.etas(name), label=name, **look)
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    ax.set_xlabel(SYMBOLS.get(transfer.parameter, transfer.parameter))
    ax.set_ylabel(r"best learning rate $\eta$")
    ax.legend(frameon=False)
    return ax


def plot_comparison(comparison: MeanFieldComparison, ax=None, quantities: tuple[str, ...] = ("gen", "train")):
    """The theory as lines; the mean over finite networks as points with bands of two standard errors."""
    if unknown := [name for name in quantities if name not in comparison.deviations]:
        raise ValueError(
            f"Argument `quantities` must name some of {', '.join(comparison.deviations)}, but has {unknown}."
        )
    ax = ax if ax is not None else _new_axes()
    for number, name in enumerate(quantities):
        one = comparison[name]
        times = np.arange(len(one.predicted))
        colour = list(COLOURS.values())[number % len(COLOURS)]
        ax.plot(times, one.predicted, color=colour, linewidth=1.4, label=f"{LABELS.get(name, name)}, theory")
        low, high = one.mean - 2 * one.standard_error, one.mean + 2 * one.standard_error
        # A logarithmic axis has no place for a band that reaches zero.
        low = np.maximum(low, 1e-3 * one.mean)
        ax.fill_between(times, low, high, color=colour, alpha=0.25, linewidth=0)
        every = slice(None, None, max(1, len(times) // 15))
        label = f"{comparison.simulation.seeds} networks, $D = {comparison.simulation.D}$"
        ax.plot(
            times[every],
            one.mean[every],
            "o",
            color=colour,
            markersize=3.2,
            label=label if number == 0 else None,
        )
    ax.set_yscale("log")
    ax.set_xlabel("updates $t$ (optimiser steps)")
    ax.set_ylabel("mean squared error")
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_rates(grid, ax=None, label: str | None = None, **style: Any):
    """Test error against the learning rate, the grid of a `BestRate`; divergence leaves a gap."""
    ax = ax if ax is not None else _new_axes()
    etas, errors = np.array(grid).T
    ax.loglog(etas, np.where(np.isfinite(errors), errors, np.nan), label=label, **{"linewidth": 1.2, **style})
    ax.set_xlabel(r"learning rate $\eta$")
    ax.set_ylabel("test error after training")
    return ax


def _shade(index: int, count: int):
    """Dark blue to light green along a parameter; distinct in grey print."""
    import matplotlib

    return matplotlib.colormaps["viridis"](0.05 + 0.8 * index / max(1, count - 1))


def _new_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(4.8, 3.4), constrained_layout=True)
    return ax
