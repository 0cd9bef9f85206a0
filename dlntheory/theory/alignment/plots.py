"""Figures of layer alignment on separable data: rates, spectra, step rules, and the direction that is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...plotting.checks import require_some, two_axes
from ...plotting.style import (
    LOG_TIME,
    STEPS,
    as_text,
    legend,
    new_axes,
    power_of_ten,
    readable_ticks,
    role,
    set_title,
    shade,
    slope_guide,
)
from .bounds import alignment_bounds
from .log_time_flow import AlignmentRun
from .separable_descent import DescentRun

#: The published rule is what theory prescribes; the others are measured against it.
RULES: dict[str, dict[str, Any]] = {
    "paper": role("predicted"),
    "sharper": role("full", alpha=1.0, linewidth=1.8),
    "normalised": role("reduced"),
}


def plot_alignment(run: AlignmentRun, ax=None):
    r"""$1 - |\langle v_{k+1}, u_k\rangle|$ of neighbouring layers against $\|W_k\|_F$, with slope -4 and the bound.

    The bound is the published inequality for $\langle v_{k+1}, u_k\rangle^2$, written for the misalignment: slope -2.

    Args:
        run: from `log_time_flow`.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: a network of one layer.
    """
    if run.depth < 2:
        raise ValueError("Argument `run` must have at least 2 layers, but has 1: nothing can align.")
    ax = ax if ax is not None else new_axes()
    seen, bounds = run.observables, alignment_bounds(run)
    for k in range(run.depth - 1):
        norms, colour = seen.norms[:, k], shade(k, run.depth - 1)
        ax.plot(norms, seen.misalignment[:, k], color=colour, linewidth=1.6, label=f"layers {k + 1}, {k + 2}")
        ceiling = 1.0 - np.sqrt(np.clip(bounds.alignment_published[:, k], 0.0, 1.0))
        known = ceiling < 1.0
        label = "published bound" if k == 0 else "_nolegend_"
        ax.plot(norms[known], ceiling[known], label=label, **role("predicted", color=colour))
    worst = int(np.argmax(seen.misalignment[-1]))
    slope_guide(ax, seen.norms[:, worst], seen.misalignment[:, worst], -4.0, r"slope $-4$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    readable_ticks(ax.xaxis)
    ax.set_xlabel(r"norm of the layer $\|W_k\|_F$")
    ax.set_ylabel(r"misalignment $1 - |\langle v_{k+1}, u_k\rangle|$")
    set_title(ax, f"{as_text(run.problem.name)}, $L = {run.depth}$")
    legend(ax)
    return ax


def plot_margin_gap(runs: Sequence[AlignmentRun], ax=None):
    r"""$\gamma - \min_i z_i/\|w\|$ against $\log(1 + t)$, one line for each run, with the slope -1.

    Args:
        runs: from `log_time_flow`, for example of several depths.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no runs.
    """
    require_some(runs, "runs")
    ax = ax if ax is not None else new_axes()
    for position, run in enumerate(runs):
        late = run.s > 0
        ax.plot(
            run.s[late],
            run.observables.margin_gap[late],
            color=shade(position, len(runs)),
            # Lines that lie on each other: the first ones wide.
            linewidth=1.2 + 0.9 * (len(runs) - 1 - position),
            alpha=0.8,
            label=f"$L = {run.depth}$",
        )
    slope_guide(ax, runs[-1].s, runs[-1].observables.margin_gap, -1.0, r"slope $-1$", shift=3.0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    readable_ticks(ax.yaxis)
    ax.set_xlabel(LOG_TIME)
    ax.set_ylabel(r"margin gap $\gamma - \mathrm{min}_i\,z_i/\|w\|$")
    set_title(ax, as_text(runs[0].problem.name))
    legend(ax, loc="lower left")
    return ax


def plot_spectra(run: AlignmentRun, ax=None):
    r"""Singular values of $W_k/\|W_k\|_F$ against $\log(1 + t)$, one colour for each layer.

    Args:
        run: from `log_time_flow`.
        ax: where to draw; new axes by default.
    """
    ax = ax if ax is not None else new_axes()
    late = run.s > 0
    for k, spectrum in enumerate(run.observables.spectra):
        # Layers lie on each other in the end: the first ones wide.
        width = 1.2 + 0.7 * (run.depth - 1 - k)
        lines = ax.plot(run.s[late], spectrum[late], color=shade(k, run.depth), linewidth=width, alpha=0.8)
        lines[0].set_label(f"$W_{{{k + 1}}}$")
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.05)
    ax.set_xlabel(LOG_TIME)
    ax.set_ylabel(r"singular values of $W_k/\|W_k\|_F$")
    set_title(ax, f"{as_text(run.problem.name)}, $L = {run.depth}$")
    legend(ax, loc="center right")
    return ax


def plot_descent(runs: Sequence[DescentRun], ax=None):
    r"""$\log(1 + t)$ reached by gradient descent against the number of steps, one line for each run.

    Args:
        runs: from `gradient_descent`.
        ax: where to draw; new axes by default.

    Raises:
        ValueError: no runs.
    """
    require_some(runs, "runs")
    ax = ax if ax is not None else new_axes()
    for run in runs:
        later = run.steps > 0
        label = f"{run.rule}, $L = {len(run.weights)}$"
        ax.plot(run.steps[later], run.s[later], label=label, **RULES[run.rule])
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(STEPS)
    ax.set_ylabel(r"$s = \log(1+t)$, $t$ sum of the step sizes")
    legend(ax)
    return ax


def plot_directions(run: AlignmentRun, shape: tuple[int, int], axes=None):
    r"""Two images side by side: $v_1$ of the first layer at the end, and the maximum-margin direction $\bar u$.

    Args:
        run: a run on images.
        shape: rows and columns of an image, for example (8, 8).
        axes: two axes; new ones by default.

    Raises:
        ValueError: a shape with another number of pixels than the data have, or not two axes.
    """
    if int(np.prod(shape)) != run.problem.dimension:
        raise ValueError(
            f"Argument `shape` must have {run.problem.dimension} pixels, but {tuple(shape)} has {int(np.prod(shape))}."
        )
    axes = two_axes(axes) if axes is not None else new_axes(2)
    found, wanted = run.observables.first_directions[-1], run.problem.margin.direction
    bound = float(max(np.max(np.abs(found)), np.max(np.abs(wanted))))
    error = run.observables.first_layer_error[-1]
    titles = (
        f"$v_1$ of the first layer at $s = {run.s[-1]:g}$",
        rf"maximum margin $\bar u$, $1 - |\cos| = {power_of_ten(float(f'{error:.1g}'))}$",
    )
    for ax, image, title in zip(axes, (found, wanted), titles, strict=True):
        pixels = image.reshape(shape)
        ax.imshow(pixels, cmap="RdBu_r", vmin=-bound, vmax=bound)
        # Both ends of the map are dark in grey print: a bar says minus.
        rows, columns = np.nonzero(pixels < -0.1 * bound)
        ink = np.where(pixels[rows, columns] < -0.5 * bound, "white", "black")
        ax.scatter(columns, rows, s=400 / max(shape), marker="_", c=ink, linewidths=0.9)
        set_title(ax, title)
        ax.set_xticks([])
        ax.set_yticks([])
        ax.set_xlabel("pixels")
        ax.set_ylabel("pixels")
    return axes
