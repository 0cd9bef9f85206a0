"""Figures: each function takes an axes (or makes one) and returns it; matplotlib is imported when called."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .compare import Comparison
    from .dynamics import Trajectory

#: One colour per role in every figure (Okabe-Ito: told apart by colour-blind readers and in grey print).
COLOURS = {"full": "#0072B2", "reduced": "#D55E00", "error": "#444444", "other": "#009E73"}
FULL_STYLE: dict[str, Any] = {"color": COLOURS["full"], "linewidth": 2.6, "alpha": 0.55}
REDUCED_STYLE: dict[str, Any] = {"color": COLOURS["reduced"], "linewidth": 1.3, "linestyle": (0, (4, 2))}


def plot_loss(trajectory: Trajectory, ax=None, **style: Any):
    """Loss against time, on a logarithmic scale if it is positive throughout and spans more than a decade."""
    ax = ax if ax is not None else _new_axes()
    ax.plot(trajectory.ts, trajectory.loss, **{"color": COLOURS["full"], "label": trajectory.label, **style})
    if np.all(trajectory.loss > 0) and np.max(trajectory.loss) > 10 * np.min(trajectory.loss):
        ax.set_yscale("log")
    ax.set_xlabel(_time_label(trajectory))
    ax.set_ylabel("loss $f(z)$")
    return ax


def plot_singular_values(trajectory: Trajectory, ax=None, count: int | None = None, **style: Any):
    """The leading singular values of a matrix $z(t)$.

    Raises:
        ValueError: $z$ is not a matrix.
    """
    if trajectory.z.ndim != 3:
        raise ValueError(
            "Argument `trajectory` must have a matrix z at every time, "
            f"but z has shape {trajectory.z.shape[1:]}."
        )
    ax = ax if ax is not None else _new_axes()
    singular = np.linalg.svd(trajectory.z, compute_uv=False)[:, :count]
    style = {"color": COLOURS["full"], "linewidth": 1.4, **style}
    lines = ax.plot(trajectory.ts, singular, **style)
    for line in lines[1:]:
        line.set_label("_nolegend_")
    lines[0].set_label(trajectory.label)
    ax.set_xlabel(_time_label(trajectory))
    ax.set_ylabel("singular values of $z$")
    return ax


def plot_drift(trajectory: Trajectory, ax=None, **style: Any):
    """Largest absolute change of each conserved quantity since the start, one line for each.

    Args:
        trajectory: a run that monitors conserved quantities.
        ax: where to draw.
        **style: of the lines; a `label` is put before the name of the quantity, to tell several runs apart.

    Raises:
        ValueError: the run monitored no conserved quantity.
    """
    if not trajectory.drift:
        raise ValueError(
            f"Argument `trajectory` must monitor a conserved quantity, but {trajectory.label} monitors none."
        )
    ax = ax if ax is not None else _new_axes()
    prefix = f"{style.pop('label')}: " if "label" in style else ""
    for name, values in trajectory.drift.items():
        later = values > 0  # a logarithmic axis has no place for the zero at the start
        ax.plot(trajectory.ts[later], values[later], label=prefix + _law_label(name), **style)
    ax.set_yscale("log")
    ax.set_xlabel(_time_label(trajectory))
    ax.set_ylabel("absolute drift")
    ax.legend(frameon=False)
    return ax


def plot_comparison(comparison: Comparison, axes=None):
    """Left: the loss of the full and the reduced run; right: the relative error of $z$."""
    if axes is None:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots(1, 2, figsize=(9.0, 3.4), constrained_layout=True)
    left, right = axes
    full, reduced = comparison.full, comparison.reduced
    plot_loss(full, left, **FULL_STYLE)
    plot_loss(reduced, left, **REDUCED_STYLE)
    left.set_title(full.architecture, fontsize="medium")
    left.legend(frameon=False)
    seen = comparison.error > 0
    right.plot(full.ts[seen], comparison.error[seen], color=COLOURS["error"], linewidth=1.4)
    right.set_yscale("log")
    _widen_to_decades(right, comparison.error[seen])
    right.set_xlabel(_time_label(full))
    right.set_ylabel(r"$\|z_{\rm full} - z_{\rm red}\| \,/\, \max\, \|z_{\rm full}\|$")
    right.set_title("relative error", fontsize="medium")
    return axes


def _law_label(name: str) -> str:
    """`D_1` and `tr (MJ)^2` as mathematics, words as they are."""
    if name.startswith("D_"):
        return f"$D_{{{name.removeprefix('D_')}}}$"
    if name.startswith("tr "):
        return rf"$\mathrm{{tr}}\,{name.removeprefix('tr ')}$"
    return name


def _widen_to_decades(ax, values: np.ndarray) -> None:
    """Whole decades around the values: within less than one, a logarithmic axis has no readable ticks."""
    if values.size:
        low, high = np.floor(np.log10(np.min(values))), np.ceil(np.log10(np.max(values)))
        ax.set_ylim(10.0**low, 10.0 ** max(high, low + 1))


def _time_label(trajectory: Trajectory) -> str:
    return "gradient-flow time $t$" if trajectory.clock == "t" else r"$s = \log(1+t)$, $t$ gradient-flow time"


def _new_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(4.8, 3.4), constrained_layout=True)
    return ax
