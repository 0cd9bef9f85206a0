"""Figures on invariant subspaces: what stays fixed in each layer, what compression costs, completion."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...plotting.checks import finite, history, require_some, same_length, two_axes
from ...plotting.style import (
    COLOURS,
    FULL_STYLE,
    REDUCED_STYLE,
    STEPS,
    TIME,
    as_text,
    legend,
    new_axes,
    readable_ticks,
    role,
    series,
    shade,
)
from .matrix_completion import Completion


def plot_layer_spectrum(ts: Any, weights: Any, active: int, ax=None):
    """Singular values of one layer over time: `active` of them learn, all others are one value, the scalar rho.

    Args:
        ts: (time,) gradient-flow times.
        weights: (time, d_l, d_{l-1}) the layer.
        active: dimension of the active subspace, 2r for square orthogonal layers.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: shapes that do not fit, or more active directions than the layer has.
    """
    ts = finite(ts, "ts")
    layer = history(weights, "weights", ts)
    if not 0 <= active <= min(layer.shape[1:]):
        raise ValueError(
            f"Argument `active` must be between 0 and {min(layer.shape[1:])}, the singular values of the layer, but "
            f"is {active}."
        )
    ax = ax if ax is not None else new_axes()
    singular = np.linalg.svd(layer, compute_uv=False)
    # The common value is the median as long as fewer than half of the directions learn.
    order = np.argsort(-np.abs(singular - np.median(singular, axis=1)[:, None]), axis=1, kind="stable")
    moving = np.zeros(singular.shape, dtype=bool)
    np.put_along_axis(moving, order[:, :active], True, axis=1)
    learning = np.sort(singular[moving].reshape(len(singular), active), axis=1)
    common = np.sort(singular[~moving].reshape(len(singular), -1), axis=1)
    _two_groups(ax, ts, learning, common, f"{active} that learn", f"{common.shape[1]} others, equal")
    ax.set_ylabel("singular values of $W_l$")
    legend(ax)
    return ax


def plot_vector_angles(ts: Any, weights: Any, basis: Any, ax=None):
    """Angle between each right singular vector of a layer and its active subspace: 0 or 90 degrees, all the time.

    At the very start all singular values are equal and the vectors are not determined: leave that time out.

    Args:
        ts: (time,) gradient-flow times.
        weights: (time, d_l, d_{l-1}) the layer.
        basis: (d_{l-1}, k) orthonormal basis of the active subspace before the layer.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: shapes that do not fit.
    """
    ts = finite(ts, "ts")
    layer, active = history(weights, "weights", ts), np.asarray(basis)
    if active.ndim != 2 or len(active) != layer.shape[2]:
        raise ValueError(
            f"Argument `basis` must be a matrix of {layer.shape[2]} rows, but has shape {active.shape}."
        )
    ax = ax if ax is not None else new_axes()
    vectors = np.linalg.svd(layer, full_matrices=False)[2]
    cosines = np.linalg.norm(vectors @ active, axis=2)
    sines = np.linalg.norm(vectors - vectors @ active @ active.T, axis=2)
    angles = np.sort(np.degrees(np.arctan2(sines, cosines)), axis=1)
    count = active.shape[1]
    others = angles.shape[1] - count
    _two_groups(ax, ts, angles[:, :count], angles[:, count:], f"{count} vectors", f"{others} vectors")
    ax.set_ylabel("angle to the active subspace (degrees)")
    ax.set_ylim(-5, 95)
    ax.set_yticks([0, 30, 60, 90])
    legend(ax, loc="center right")
    return ax


def plot_compression(ts: Any, full: Any, compressed: Any, without_rho: Any, predicted: Any = None, axes=None):
    r"""Left: leading singular values of $z$, full and compressed; right: errors with and without the term in rho.

    Args:
        ts: (time,) gradient-flow times.
        full: (time, d_L, d_0) the full network.
        compressed: likewise, the compression.
        without_rho: likewise, the compression without its scalars.
        predicted: (time,) $\sqrt m \prod_l \rho_l$, optional.
        axes: two axes; new ones by default.

    Raises:
        ValueError: shapes that do not fit, or not two axes.
    """
    ts = finite(ts, "ts")
    full = history(full, "full", ts)
    compressed = history(compressed, "compressed", ts)
    without_rho = history(without_rho, "without_rho", ts)
    if predicted is not None:
        predicted = np.asarray(predicted, dtype=float)
        same_length(predicted, "predicted", ts, "times")
    axes = two_axes(axes) if axes is not None else new_axes(2)
    left, right = axes
    for z, style, label in ((full, FULL_STYLE, "full"), (compressed, REDUCED_STYLE, "compressed")):
        singular = np.linalg.svd(z, compute_uv=False)
        shown = singular[:, : max(1, int(np.sum(singular[-1] > 0.05 * singular[-1, 0])))]
        left.plot(ts, shown, **style)[0].set_label(label)
    left.set_xlabel(TIME)
    left.set_ylabel("singular values of $z$")
    legend(left)
    size = np.max(np.linalg.norm(full, axis=(1, 2)))
    for z, look, label in (
        (compressed, REDUCED_STYLE, r"with $\rho$"),
        (without_rho, role("control"), r"without $\rho$"),
    ):
        error = np.linalg.norm(z - full, axis=(1, 2)) / size
        seen = error > 0
        right.plot(ts[seen], error[seen], label=label, **look)
    if predicted is not None:
        look = role("predicted", linestyle="none", marker="o", markersize=4, markerfacecolor="none")
        every = max(1, len(ts) // 12)
        right.plot(
            ts,
            predicted / size,
            markevery=every,
            label=r"predicted: $\sqrt{m}\,\rho_1 \cdots \rho_L$",
            **look,
        )
    right.set_yscale("log")
    right.set_ylim(1e-17, None)
    right.set_xlabel(TIME)
    right.set_ylabel(r"error of $z$, relative to $\max \|z\|$")
    legend(right)
    return axes


def plot_completion_cost(
    ranks: Sequence[float], milliseconds: Mapping[str, Any], seconds: Mapping[str, Any], axes=None
):
    """Matrix completion against the rank estimate. Left: time per iteration; right: time to the tolerance.

    Args:
        ranks: the rank estimates.
        milliseconds: per iteration, by method, one number for each rank.
        seconds: to the tolerance, likewise; nan where it was not reached.
        axes: two axes; new ones by default.

    Raises:
        ValueError: no method, another number of timings than ranks, or not two axes.
    """
    ranks = finite(ranks, "ranks").tolist()
    for argument, timings in (("milliseconds", milliseconds), ("seconds", seconds)):
        require_some(timings, argument)
        for values in timings.values():
            same_length(values, argument, ranks, "ranks")
    axes = two_axes(axes) if axes is not None else new_axes(2)
    for ax, timings, label in zip(
        axes,
        (milliseconds, seconds),
        ("wall time per iteration (ms)", "wall time to tolerance (s)"),
        strict=True,
    ):
        for number, (name, values) in enumerate(timings.items()):
            ax.plot(ranks, values, label=as_text(name), **role("measured", **series(number)))
        ax.set_xlabel(r"rank estimate $\hat r$")
        ax.set_ylabel(label)
        ax.set_ylim(bottom=0)
        legend(ax)
    return axes


def plot_completion(completions: Mapping[float, Completion], ax=None):
    """Error of the whole matrix against steps, one curve for each discrepant rate, dark to light.

    Args:
        completions: runs by discrepant rate.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no run, or a completion without a `reference`, whose error is not known.
    """
    require_some(completions, "completions")
    for rate, run in completions.items():
        if run.test_error is None:
            raise ValueError(
                "Argument `completions` must hold runs with a `reference`, but the one at discrepant rate "
                f"{rate:g} has none."
            )
    ax = ax if ax is not None else new_axes()
    for number, (rate, run) in enumerate(completions.items()):
        colour = shade(number, len(completions))
        ax.plot(run.iterations, run.test_error, color=colour, linewidth=1.6, label=f"{rate:g}")
    ax.set_yscale("log")
    readable_ticks(ax.yaxis)
    ax.set_xlabel(STEPS)
    ax.set_ylabel(r"$\|z - \Phi\|_F \,/\, \|\Phi\|_F$")
    legend(ax, "discrepant rate")
    return ax


def plot_leakage(deltas: Any, leakages: Any, ax=None):
    r"""Leakage out of the white subspaces against $\delta = \|\Sigma_{xx} - I\|_2$, with a line of slope one.

    Args:
        deltas: (n,) how far the inputs are from white, positive.
        leakages: (n,) measured, positive.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: numbers that are not positive, or of another count.
    """
    deltas = finite(deltas, "deltas", positive=True)
    leakages = finite(leakages, "leakages", positive=True)
    same_length(leakages, "leakages", deltas, "deltas")
    ax = ax if ax is not None else new_axes()
    first = np.argmin(deltas)
    ax.plot(deltas, deltas * leakages[first] / deltas[first], label="slope 1", **role("guide"))
    ax.plot(deltas, leakages, label="measured", **role("measured", linestyle="none"))
    ax.set_xscale("log")
    ax.set_yscale("log")
    for axis in (ax.xaxis, ax.yaxis):
        readable_ticks(axis)
    ax.set_xlabel(r"$\delta = \|\Sigma_{xx} - I\|_2$")
    ax.set_ylabel("leakage out of the subspaces")
    legend(ax)
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
        predicted: predicted dimensions by kind of start, drawn as dashed lines; optional.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no series, or one of another length than `widths`.
    """
    widths = finite(widths, "widths").tolist()
    require_some(dims, "dims")
    for argument, families in (("dims", dims), ("predicted", predicted or {})):
        for values in families.values():
            same_length(values, argument, widths, "widths")
    ax = ax if ax is not None else new_axes()
    for number, (name, values) in enumerate(dims.items()):
        look = series(number)
        if predicted is not None and name in predicted:
            ax.plot(widths, predicted[name], **role("predicted", color=look["color"]))
        ax.plot(
            widths,
            values,
            label=as_text(name),
            **role("measured", linestyle="none", markerfacecolor="none", **look),
        )
    ax.set_xlabel("hidden width $w$")
    ax.set_ylabel("active dimension of a hidden layer")
    ax.set_ylim(bottom=0)
    legend(ax, "dashed: predicted" if predicted else None)
    return ax


def _two_groups(
    ax: Any, ts: np.ndarray, learning: np.ndarray, rest: np.ndarray, first: str, second: str
) -> None:
    """Curves of the directions that learn above those that stay in the background, one entry of a legend each."""
    moved = ax.plot(ts, learning, color=COLOURS["full"], linewidth=1.6, zorder=2.1)
    still = ax.plot(ts, rest, **role("background", linestyle=(0, (4, 2))))
    for lines, label in ((moved, first), (still, second)):
        if lines:
            lines[0].set_label(label)
    ax.set_xlabel(TIME)
