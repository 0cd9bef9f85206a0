"""Figures on invariant subspaces: what stays fixed in each layer, what compression costs, collapse, completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plotting import COLOURS, FULL_STYLE, REDUCED_STYLE
from ..theory.collapse import collapse_slope

if TYPE_CHECKING:
    from ..reductions.parsimony import Completion

TIME = "gradient-flow time $t$"
#: Further colours of the same palette, for families of curves.
SERIES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P")


def plot_layer_spectrum(ts: Any, weights: Any, active: int, ax=None):
    """Singular values of one layer over time: `active` of them learn, all others are one value, the scalar rho.

    Args:
        ts: (time,) gradient-flow times.
        weights: (time, d_l, d_{l-1}) the layer.
        active: dimension of the active subspace, 2r for square orthogonal layers.
        ax: where to draw.
    """
    ax = ax if ax is not None else _new_axes()
    singular = np.linalg.svd(np.asarray(weights), compute_uv=False)
    # The common value is the median as long as fewer than half of the directions learn.
    order = np.argsort(-np.abs(singular - np.median(singular, axis=1)[:, None]), axis=1, kind="stable")
    moving = np.zeros(singular.shape, dtype=bool)
    np.put_along_axis(moving, order[:, :active], True, axis=1)
    learning = np.sort(singular[moving].reshape(len(singular), active), axis=1)
    common = np.sort(singular[~moving].reshape(len(singular), -1), axis=1)
    lines = ax.plot(ts, learning, color=COLOURS["reduced"], linewidth=1.4)
    rest = ax.plot(ts, common, color=COLOURS["full"], linewidth=1.0)
    lines[0].set_label(f"{active} that learn")
    if rest:
        rest[0].set_label(f"{len(rest)} others, equal")
    ax.set_xlabel(TIME)
    ax.set_ylabel("singular values of $W_l$")
    ax.legend(frameon=False)
    return ax


def plot_vector_angles(ts: Any, weights: Any, basis: Any, ax=None):
    """Angle between each right singular vector of a layer and its active subspace: 0 or 90 degrees, all the time.

    At the very start all singular values are equal and the vectors are not determined: leave that time out.

    Args:
        ts: (time,) gradient-flow times.
        weights: (time, d_l, d_{l-1}) the layer.
        basis: (d_{l-1}, k) orthonormal basis of the active subspace before the layer.
        ax: where to draw.
    """
    ax = ax if ax is not None else _new_axes()
    vectors = np.linalg.svd(np.asarray(weights), full_matrices=False)[2]
    cosines = np.linalg.norm(vectors @ np.asarray(basis), axis=2)
    sines = np.linalg.norm(vectors - vectors @ basis @ np.asarray(basis).T, axis=2)
    angles = np.sort(np.degrees(np.arctan2(sines, cosines)), axis=1)
    active = np.asarray(basis).shape[1]
    inside = ax.plot(ts, angles[:, :active], color=COLOURS["reduced"], linewidth=1.4)
    outside = ax.plot(ts, angles[:, active:], color=COLOURS["full"], linewidth=1.0)
    inside[0].set_label(f"{active} vectors")
    if outside:
        outside[0].set_label(f"{len(outside)} vectors")
    ax.set_xlabel(TIME)
    ax.set_ylabel("angle to the active subspace (degrees)")
    ax.set_ylim(-5, 95)
    ax.set_yticks([0, 30, 60, 90])
    ax.legend(frameon=False, loc="center right")
    return ax


def plot_compression(ts: Any, full: Any, compressed: Any, without_rho: Any, predicted: Any = None, axes=None):
    r"""Left: leading singular values of $z$, full and compressed; right: errors with and without the term in rho.

    Args:
        ts: (time,) gradient-flow times.
        full: (time, d_L, d_0) the full network.
        compressed: likewise, the compression.
        without_rho: likewise, the compression without its scalars.
        predicted: (time,) $\sqrt m \prod_l \rho_l$, optional.
        axes: two axes.
    """
    left, right = axes if axes is not None else _new_axes(2)
    full, compressed, without_rho = (np.asarray(z) for z in (full, compressed, without_rho))
    for z, style, label in ((full, FULL_STYLE, "full"), (compressed, REDUCED_STYLE, "compressed")):
        singular = np.linalg.svd(z, compute_uv=False)
        shown = singular[:, : max(1, int(np.sum(singular[-1] > 0.05 * singular[-1, 0])))]
        left.plot(ts, shown, **style)[0].set_label(label)
    left.set_xlabel(TIME)
    left.set_ylabel("singular values of $z$")
    left.legend(frameon=False)
    size = np.max(np.linalg.norm(full, axis=(1, 2)))
    for z, colour, label in (
        (compressed, COLOURS["reduced"], r"with $\rho$"),
        (without_rho, COLOURS["other"], r"without $\rho$"),
    ):
        error = np.linalg.norm(z - full, axis=(1, 2)) / size
        seen = error > 0
        right.plot(np.asarray(ts)[seen], error[seen], color=colour, linewidth=1.4, label=label)
    if predicted is not None:
        right.plot(
            ts,
            np.asarray(predicted) / size,
            "o",
            color=COLOURS["error"],
            markersize=4,
            markerfacecolor="none",
            markevery=max(1, len(full) // 12),
            label=r"$\sqrt{m}\,\prod_l \rho_l$",
        )
    right.set_yscale("log")
    right.set_ylim(1e-17, None)
    right.set_xlabel(TIME)
    right.set_ylabel(r"error of $z$, relative to $\max \|z\|$")
    right.legend(frameon=False)
    return left, right


def plot_completion_cost(ranks: Any, milliseconds: Mapping[str, Any], seconds: Mapping[str, Any], axes=None):
    """Matrix completion against the rank estimate. Left: time per iteration; right: time to the tolerance.

    Args:
        ranks: the rank estimates.
        milliseconds: per iteration, by method, one number for each rank.
        seconds: to the tolerance, likewise; nan where it was not reached.
        axes: two axes.
    """
    left, right = axes if axes is not None else _new_axes(2)
    for ax, series, label in (
        (left, milliseconds, "time per iteration (ms)"),
        (right, seconds, "time to tolerance (s)"),
    ):
        for (name, values), colour, marker in zip(series.items(), SERIES, MARKERS, strict=False):
            ax.plot(ranks, values, marker=marker, color=colour, linewidth=1.4, label=name)
        ax.set_xlabel(r"rank estimate $\hat r$")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
        ax.legend(frameon=False)
    return left, right


def plot_completion(completions: Mapping[float, Completion], ax=None):
    """Error of the whole matrix against iterations, one curve for each discrepant rate.

    Raises:
        ValueError: a completion without a `reference`, whose error is not known.
    """
    ax = ax if ax is not None else _new_axes()
    for (rate, run), colour in zip(completions.items(), SERIES, strict=False):
        if run.test_error is None:
            raise ValueError(
                "Argument `completions` must hold runs with a `reference`, but the one at discrepant rate "
                f"{rate:g} has none."
            )
        ax.plot(run.iterations, run.test_error, color=colour, linewidth=1.4, label=f"dlr = {rate:g}")
    ax.set_yscale("log")
    ax.set_xlabel("iteration")
    ax.set_ylabel(r"$\|z - \Phi\|_F \,/\, \|\Phi\|_F$")
    ax.legend(frameon=False)
    return ax


def plot_collapse(lines: Mapping[tuple[float, int], Any], per_class: int, ax=None):
    r"""Collapse metrics $D_l$ against the layer, on a logarithmic axis, with the predicted slopes.

    Args:
        lines: $D_0, D_1, \dots$ by scale and depth of the network.
        per_class: samples of each class, for the prediction.
        ax: where to draw.
    """
    ax = ax if ax is not None else _new_axes()
    scales = sorted({scale for scale, _ in lines}, reverse=True)
    depths = sorted({depth for _, depth in lines})
    for (scale, depth), values in lines.items():
        d = np.asarray(values)
        colour, marker = (
            SERIES[scales.index(scale) % len(SERIES)],
            MARKERS[depths.index(depth) % len(MARKERS)],
        )
        layers = np.arange(len(d))
        predicted = d[0] * np.exp(collapse_slope(scale, per_class, depth) * layers)
        ax.plot(layers, predicted, color=colour, linewidth=1.0, alpha=0.6)
        label = rf"$\epsilon = {scale:g}$, $L = {depth}$"
        ax.plot(layers, d, marker, color=colour, markersize=4.5, markerfacecolor="none", label=label)
    ax.set_yscale("log")
    ax.set_xlabel("layer $l$")
    ax.set_ylabel(r"$D_l = \mathrm{tr}\,\Sigma_W \,/\, \mathrm{tr}\,\Sigma_B$")
    ax.legend(frameon=False, fontsize="small", title="lines: predicted slope", title_fontsize="small")
    return ax


def plot_leakage(deltas: Any, leakages: Any, ax=None):
    r"""Leakage out of the white subspaces against $\delta = \|\Sigma_{xx} - I\|_2$, with a line of slope one."""
    ax = ax if ax is not None else _new_axes()
    deltas, leakages = np.asarray(deltas), np.asarray(leakages)
    first = np.argmin(deltas)
    ax.plot(
        deltas,
        deltas * leakages[first] / deltas[first],
        color=COLOURS["error"],
        linewidth=1.0,
        label="slope 1",
    )
    ax.plot(deltas, leakages, "o", color=COLOURS["full"], label="measured")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"$\delta = \|\Sigma_{xx} - I\|_2$")
    ax.set_ylabel("leakage out of the subspaces")
    ax.legend(frameon=False)
    return ax


def plot_closure_dimensions(
    widths: Sequence[int],
    dims: Mapping[str, Sequence[int]],
    predicted: Mapping[str, Any] | None = None,
    ax=None,
):
    """Dimension of the active subspace at a hidden layer against the hidden width, one series for each kind of start.

    Args:
        widths: hidden widths.
        dims: measured dimensions by kind of start.
        predicted: predicted dimensions by kind of start, drawn as lines; optional.
        ax: where to draw.
    """
    ax = ax if ax is not None else _new_axes()
    for (name, values), colour, marker in zip(dims.items(), SERIES, MARKERS, strict=False):
        if predicted is not None and name in predicted:
            ax.plot(widths, predicted[name], color=colour, linewidth=1.0, alpha=0.6)
        ax.plot(widths, values, marker, color=colour, markersize=5, markerfacecolor="none", label=name)
    ax.set_xlabel("hidden width $w$")
    ax.set_ylabel("active dimension of a hidden layer")
    ax.set_ylim(bottom=0)
    ax.legend(frameon=False)
    return ax


def _new_axes(count: int = 1):
    import matplotlib.pyplot as plt

    _, axes = plt.subplots(1, count, figsize=(4.8 if count == 1 else 9.0, 3.4), constrained_layout=True)
    return axes
