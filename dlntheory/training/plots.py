"""Figures of training runs: loss, singular values, drift of conserved quantities, full against reduced."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..plotting.checks import two_axes
from ..plotting.style import (
    COLOURS,
    FULL_STYLE,
    REDUCED_STYLE,
    as_text,
    legend,
    new_axes,
    readable_ticks,
    role,
    set_title,
    shade,
    time_label,
    widen_to_decades,
)


def plot_loss(trajectory: Any, ax=None, **style: Any):
    """Loss against time, on a logarithmic scale if it is positive throughout and spans more than a decade.

    Args:
        trajectory: a run.
        ax: where to draw; new axes by default.
        **style: of the line, for example `**FULL_STYLE`, or a `label`.
    """
    ax = ax if ax is not None else new_axes()
    look = {"color": COLOURS["full"], "label": as_text(trajectory.label), **style}
    label = look.pop("label")
    # One line for each member of a batch, and one entry in the legend.
    lines = ax.plot(trajectory.ts, np.reshape(trajectory.loss, (-1, len(trajectory.ts))).T, **look)
    lines[0].set_label(label)
    if np.all(trajectory.loss > 0) and np.max(trajectory.loss) > 10 * np.min(trajectory.loss):
        ax.set_yscale("log")
        readable_ticks(ax.yaxis)
    ax.set_xlabel(time_label(trajectory))
    ax.set_ylabel("loss $f(z)$")
    return ax


def plot_singular_values(trajectory: Any, ax=None, count: int | None = None, **style: Any):
    """The leading singular values of a matrix $z(t)$; one entry for a legend, the name of the run.

    Args:
        trajectory: a run whose z is a matrix.
        ax: where to draw; new axes by default.
        count: how many, largest first; all by default.
        **style: of the lines.

    Raises:
        ValueError: $z$ is not a matrix, or `count` is no positive integer.
    """
    if np.ndim(trajectory.loss) != 1:
        raise ValueError(
            "Argument `trajectory` must be one run, but is a batch: take one by `trajectory[0]`."
        )
    if trajectory.z.ndim != 3:
        raise ValueError(
            "Argument `trajectory` must have a matrix z at every time, "
            f"but z has shape {trajectory.z.shape[1:]}."
        )
    if count is not None and not (isinstance(count, (int, np.integer)) and count >= 1):
        raise ValueError(f"Argument `count` must be an integer of at least 1, but is {count!r}.")
    ax = ax if ax is not None else new_axes()
    singular = np.linalg.svd(trajectory.z, compute_uv=False)[:, :count]
    style = {"color": COLOURS["full"], "linewidth": 1.4, "label": as_text(trajectory.label), **style}
    label = style.pop("label")
    lines = ax.plot(trajectory.ts, singular, **style)
    lines[0].set_label(label)
    ax.set_xlabel(time_label(trajectory))
    ax.set_ylabel("singular values of $z$")
    return ax


def plot_drift(trajectory: Any, ax=None, **style: Any):
    """Largest absolute change of each conserved quantity since the start, one line for each; of a batch the largest.

    Args:
        trajectory: a run that monitors conserved quantities.
        ax: where to draw; new axes by default.
        **style: of the lines; a `label` is put before the name of the quantity, to tell several runs apart.

    Raises:
        ValueError: the run monitored no conserved quantity.
    """
    if not trajectory.drift:
        raise ValueError(
            f"Argument `trajectory` must monitor a conserved quantity, but {trajectory.label} monitors none."
        )
    ax = ax if ax is not None else new_axes()
    prefix = f"{style.pop('label')}: " if "label" in style else ""
    count = len(trajectory.drift)
    for number, (name, values) in enumerate(trajectory.drift.items()):
        values = np.max(np.reshape(values, (-1, len(trajectory.ts))), axis=0)
        later = values > 0  # a logarithmic axis has no place for the zero at the start
        look = {"color": shade(number, count) if count > 1 else COLOURS["full"], "linewidth": 1.4, **style}
        ax.plot(trajectory.ts[later], values[later], label=prefix + _law_label(name), **look)
    ax.set_yscale("log")
    readable_ticks(ax.yaxis)
    ax.set_xlabel(time_label(trajectory))
    ax.set_ylabel("absolute drift")
    legend(ax)
    return ax


def plot_comparison(comparison: Any, axes=None):
    """Left: the loss of the full and the reduced run; right: the relative error of $z$.

    Args:
        comparison: from `dln.compare`.
        axes: two axes; new ones by default.

    Raises:
        ValueError: not two axes.
    """
    axes = two_axes(axes) if axes is not None else new_axes(2)
    left, right = axes
    full, reduced = comparison.full, comparison.reduced
    plot_loss(full, left, **FULL_STYLE)
    plot_loss(reduced, left, **REDUCED_STYLE)
    set_title(left, as_text(full.architecture))
    legend(left)
    errors = np.reshape(comparison.error, (-1, len(comparison.ts)))
    for error in errors:
        right.plot(comparison.ts[error > 0], error[error > 0], **role("error"))
    if np.any(errors > 0):
        right.set_yscale("log")
        widen_to_decades(right, errors[errors > 0])
    else:
        right.set_yticks([0.0])
        right.set_xlim(left.get_xlim())
        right.text(0.5, 0.55, "exactly 0 at all times", transform=right.transAxes, ha="center")
    right.set_xlabel(time_label(full))
    right.set_ylabel(r"$\|z_{\rm full} - z_{\rm red}\| \,/\, \max\, \|z_{\rm full}\|$")
    set_title(right, "relative error")
    return axes


def _law_label(name: str) -> str:
    """`D_1` and `tr (MJ)^2` as mathematics, words as they are."""
    if name.startswith("D_"):
        return as_text(f"$D_{{{name.removeprefix('D_')}}}$", otherwise=name)
    if name.startswith("tr "):
        return as_text(rf"$\mathrm{{tr}}\,{name.removeprefix('tr ')}$", otherwise=name)
    return as_text(name)
