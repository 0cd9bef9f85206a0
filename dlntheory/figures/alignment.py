"""Figures of layer alignment on separable data: rates, spectra, step rules, and the direction that is found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plotting import COLOURS

if TYPE_CHECKING:
    from ..theory.alignment import AlignmentRun, DescentRun

#: One colour a depth, one more if the list is longer; told apart by colour-blind readers.
DEPTH_COLOURS = ("#444444", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00")
RULE_COLOURS = {"paper": COLOURS["full"], "sharper": COLOURS["reduced"], "normalised": COLOURS["other"]}
REFERENCE: dict[str, Any] = {"color": COLOURS["error"], "linewidth": 0.9}


def plot_alignment(run: AlignmentRun, ax=None):
    r"""$1 - |\langle v_{k+1}, u_k\rangle|$ of neighbouring layers against $\|W_k\|_F$, with slope -4 and the bound.

    The bound is the published inequality for $\langle v_{k+1}, u_k\rangle^2$, written for the misalignment: slope -2.

    Raises:
        ValueError: a network of one layer.
    """
    from ..theory.alignment import alignment_bounds

    if run.depth < 2:
        raise ValueError("Argument `run` must have at least 2 layers, but has 1: nothing can align.")
    ax = ax if ax is not None else _new_axes()
    seen, bounds = run.observables, alignment_bounds(run)
    for k in range(run.depth - 1):
        norms = seen.norms[:, k]
        colour = DEPTH_COLOURS[(k + 1) % len(DEPTH_COLOURS)]
        ax.plot(norms, seen.misalignment[:, k], color=colour, linewidth=1.6, label=f"layers {k + 1}, {k + 2}")
        ceiling = 1.0 - np.sqrt(np.clip(bounds.alignment_published[:, k], 0.0, 1.0))
        known = ceiling < 1.0
        ax.plot(
            norms[known],
            ceiling[known],
            color=colour,
            linewidth=1.2,
            linestyle=(0, (4, 2)),
            label="published bound" if k == 0 else "_nolegend_",
        )
    worst = int(np.argmax(seen.misalignment[-1]))
    _slope(ax, seen.norms[:, worst], seen.misalignment[:, worst], -4.0, r"slope $-4$")
    ax.set_xscale("log")
    ax.set_yscale("log")
    _plain_ticks(ax)
    ax.set_xlabel(r"$\|W_k\|_F$")
    ax.set_ylabel(r"$1 - |\langle v_{k+1}, u_k\rangle|$")
    ax.set_title(f"{run.problem.name}, $L = {run.depth}$", fontsize="medium")
    ax.legend(frameon=False)
    return ax


def plot_margin_gap(runs: Sequence[AlignmentRun], ax=None):
    r"""$\gamma - \min_i z_i/\|w\|$ against $\log t$, one line for each run, with the slope -1.

    Raises:
        ValueError: no runs.
    """
    if not runs:
        raise ValueError("Argument `runs` must hold at least one run, but is empty.")
    ax = ax if ax is not None else _new_axes()
    for position, run in enumerate(runs):
        late = run.s > 0
        ax.plot(
            run.s[late],
            run.observables.margin_gap[late],
            color=DEPTH_COLOURS[position % len(DEPTH_COLOURS)],
            # Lines that lie on each other: the first ones wide.
            linewidth=1.2 + 0.9 * (len(runs) - 1 - position),
            alpha=0.8,
            label=f"$L = {run.depth}$",
        )
    _slope(ax, runs[-1].s, runs[-1].observables.margin_gap, -1.0, r"slope $-1$", shift=3.0)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel(r"$\log(1 + t)$")
    ax.set_ylabel(r"margin gap $\gamma - \min_i z_i/\|w\|$")
    ax.set_title(runs[0].problem.name, fontsize="medium")
    ax.legend(frameon=False)
    return ax


def plot_spectra(run: AlignmentRun, ax=None):
    r"""Singular values of $W_k/\|W_k\|_F$ against $\log t$, one colour for each layer."""
    ax = ax if ax is not None else _new_axes()
    late = run.s > 0
    for k, spectrum in enumerate(run.observables.spectra):
        colour = DEPTH_COLOURS[(k + 1) % len(DEPTH_COLOURS)]
        lines = ax.plot(run.s[late], spectrum[late], color=colour, linewidth=1.2)
        lines[0].set_label(f"$W_{{{k + 1}}}$")
    ax.set_xscale("log")
    ax.set_ylim(-0.02, 1.05)
    ax.set_xlabel(r"$\log(1 + t)$")
    ax.set_ylabel(r"singular values of $W_k/\|W_k\|_F$")
    ax.set_title(f"{run.problem.name}, $L = {run.depth}$", fontsize="medium")
    ax.legend(frameon=False)
    return ax


def plot_descent(runs: Sequence[DescentRun], ax=None):
    r"""$\log(1 + t)$ reached by gradient descent against the number of steps, one line for each run.

    Raises:
        ValueError: no runs.
    """
    if not runs:
        raise ValueError("Argument `runs` must hold at least one run, but is empty.")
    ax = ax if ax is not None else _new_axes()
    for run in runs:
        later = run.steps > 0
        ax.plot(
            run.steps[later],
            run.s[later],
            color=RULE_COLOURS[run.rule],
            linewidth=1.6,
            label=f"{run.rule}, $L = {len(run.weights)}$",
        )
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("steps")
    ax.set_ylabel(r"$\log(1 + t)$, $t = \sum \eta_j$")
    ax.legend(frameon=False)
    return ax


def plot_directions(run: AlignmentRun, shape: tuple[int, int], axes=None):
    r"""Two images side by side: $v_1$ of the first layer at the end, and the maximum-margin direction $\bar u$.

    Args:
        run: a run on images.
        shape: rows and columns of an image, for example (8, 8).
        axes: two axes, or `None` for new ones.

    Raises:
        ValueError: a shape with another number of pixels than the data have.
    """
    if int(np.prod(shape)) != run.problem.dimension:
        raise ValueError(
            f"Argument `shape` must have {run.problem.dimension} pixels, but {tuple(shape)} has {int(np.prod(shape))}."
        )
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(1, 2, figsize=(6.2, 3.1), constrained_layout=True)
    found, wanted = run.observables.first_directions[-1], run.problem.margin.direction
    bound = float(max(np.max(np.abs(found)), np.max(np.abs(wanted))))
    error = run.observables.first_layer_error[-1]
    titles = (f"$v_1$ at $s = {run.s[-1]:g}$, $1 - \\cos = ${error:.0e}", r"maximum margin $\bar u$")
    for ax, image, title in zip(axes, (found, wanted), titles, strict=True):
        ax.imshow(image.reshape(shape), cmap="RdBu_r", vmin=-bound, vmax=bound)
        ax.set_title(title, fontsize="medium")
        ax.set_xticks([])
        ax.set_yticks([])
    return axes


def _slope(ax, x: np.ndarray, y: np.ndarray, exponent: float, label: str, *, shift: float = 0.3) -> None:
    """A straight line of that slope through the last point, shifted aside, over the second half of the axis."""
    start = np.sqrt(max(x[x > 0][0], x[-1] * 1e-4) * x[-1])
    ends = np.array([start, x[-1]])
    ax.plot(
        ends, shift * y[-1] * (ends / x[-1]) ** exponent, label=label, linestyle=(0, (1, 1.5)), **REFERENCE
    )


def _plain_ticks(ax) -> None:
    """Below two decades: ticks at 1, 2, 5 written as plain numbers."""
    low, high = ax.get_xlim()
    if high / low < 100:
        from matplotlib.ticker import LogLocator, NullFormatter, ScalarFormatter

        ax.xaxis.set_major_locator(LogLocator(subs=(1.0, 2.0, 5.0)))
        ax.xaxis.set_major_formatter(ScalarFormatter())
        ax.xaxis.set_minor_formatter(NullFormatter())


def _new_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(4.8, 3.4), constrained_layout=True)
    return ax
