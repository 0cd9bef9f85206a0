"""Figures of saddle-to-saddle dynamics: distances, escape times, paths with plateaus, closest approach, completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ..plotting import COLOURS

if TYPE_CHECKING:
    from ..theory.saddles import (
        ApproachStudy,
        CompletionStudy,
        EscapeTime,
        PathRun,
        PhaseTransition,
        Plateaus,
    )

PATH_LABELS = {
    "loss": "loss $C$",
    "gradient": r"$\|\nabla C\|$",
    "singular values": "singular values of $A$",
}


def plot_distances(studies: Sequence[PhaseTransition], ax=None, name: str = "minimum", **style: Any):
    r"""Distance to the nearest minimum or saddle against the width, one colour for each $\gamma$; dashed: predicted.

    Args:
        studies: from `phase_transition`, one for each $\gamma$.
        ax: where to draw.
        name: `"minimum"` or `"saddle"`.
        **style: of the lines.
    """
    if name not in ("minimum", "saddle"):
        raise ValueError(f'Argument `name` must be "minimum" or "saddle", but is {name!r}.')
    _check_some(studies, "studies")
    ax = ax if ax is not None else _new_axes()
    for number, study in enumerate(studies):
        values, colour = getattr(study, name), _colour(number)
        label = rf"$\gamma = {study.gamma:g}$"
        if len(study.widths) > 1:
            label += f", slope {study.slope(name):.2f}"
        ax.loglog(
            study.widths,
            values,
            label=label,
            **{"marker": "o", "markersize": 4, "linewidth": 1.4, "color": colour, **style},
        )
        predicted = getattr(study, f"predicted_{name}")
        if np.all(np.isfinite(predicted)):
            ax.loglog(study.widths, predicted, "--", color=colour, linewidth=1.0)
    ax.plot([], [], "--", color="0.4", linewidth=1.0, label="predicted")
    ax.set_xscale("log", base=2)
    ax.set_xlabel("width $w$")
    ax.set_ylabel(f"distance to the nearest {name}")
    ax.legend(frameon=False, fontsize="small", title=f"$L = {studies[0].depth}$")
    return ax


def plot_escape_times(
    law: EscapeTime, alphas: Sequence[float], times: Sequence[float], ax=None, **style: Any
):
    r"""$t_{1/2}\,\alpha^{L-2}$ against $\alpha$, with $T^*$ alone and with the second constant.

    Args:
        law: from `escape_time`, for at least three layers.
        alphas: scales.
        times: $t_{1/2}$ measured at these scales.
        ax: where to draw.
        **style: of the points.
    """
    if law.depth < 3:
        raise ValueError(
            "Argument `law` must be of at least 3 layers, but has 2: there is no blow-up time to compare with."
        )
    ax = ax if ax is not None else _new_axes()
    scales = np.asarray(alphas, dtype=float)
    grid = np.geomspace(scales.min(), scales.max(), 100)
    power = law.depth - 2
    ax.axhline(law.blow_up_time, color="0.5", linestyle="--", linewidth=1.0, label="$T^*$")
    ax.plot(
        grid,
        law.blow_up_time + law.constant * grid**power,
        color=_colour(0),
        linewidth=1.4,
        label=rf"$T^* + c_{law.depth}\,\alpha^{{{power}}}$"
        if power > 1
        else rf"$T^* + c_{law.depth}\,\alpha$",
    )
    look = {"marker": "o", "linestyle": "none", "markersize": 4.5, "color": "black", **style}
    ax.plot(scales, np.asarray(times) * scales**power, label="full flow", **look)
    ax.set_xscale("log")
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel(rf"$t_{{1/2}}\,\alpha^{{{power}}}$" if power > 1 else r"$t_{1/2}\,\alpha$")
    ax.legend(frameon=False)
    return ax


def plot_path(
    run: PathRun,
    ax=None,
    quantity: str = "loss",
    found: Plateaus | None = None,
    until: float | None = None,
    **style: Any,
):
    r"""One quantity along a path, against time rescaled by $\alpha^{L-2}$ (two layers: divided by $\log(1/\alpha)$).

    Args:
        run: from `follow_path`.
        ax: where to draw.
        quantity: `"loss"`, `"gradient"` or `"singular values"`.
        found: plateaus to mark.
        until: end of the axis in rescaled time; by default shortly after the last change.
        **style: of the lines.
    """
    if quantity not in PATH_LABELS:
        raise ValueError(f"Argument `quantity` must be one of {list(PATH_LABELS)}, but is {quantity!r}.")
    ax = ax if ax is not None else _new_axes()
    factor = run.alpha ** (run.depth - 2) if run.depth > 2 else 1 / np.log(1 / min(run.alpha, 0.5))
    times = run.ts * factor
    marked = [] if found is None else [plateau.index for plateau in found]
    look = {"linewidth": 1.4, **style}
    if quantity == "singular values":
        spectra = np.linalg.svd(run.z, compute_uv=False)
        for number, values in enumerate(spectra.T):
            ax.plot(times, values, **{"color": _colour(number), **look})
        for index in marked:
            ax.axvline(times[index], color="0.7", linewidth=0.8, linestyle=":")
    else:
        values = run.loss if quantity == "loss" else run.gradient_norm
        ax.plot(times, values, **{"color": _colour(0), **look})
        ax.plot(times[marked], values[marked], "o", color=_colour(1), markersize=5)
        for index, plateau in zip(marked, found or (), strict=True):
            ax.annotate(
                f"rank {plateau.rank}",
                (times[index], values[index]),
                xytext=(5, 5),
                textcoords="offset points",
                fontsize="small",
            )
    settled = np.flatnonzero(run.loss - run.loss[-1] > 1e-6 * (run.loss[0] - run.loss[-1]))
    last = times[min(len(times) - 1, int(settled[-1]) + 1)] if len(settled) else times[-1]
    end = until if until is not None else min(1.15 * last, times[-1])
    ax.set_xlim(0.0, end)
    if quantity == "gradient":
        shown = run.gradient_norm[times <= end]
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.3 * float(np.min(shown[shown > 0], initial=np.inf)))
    ax.set_xlabel(
        r"$t\,\alpha$"
        if run.depth == 3
        else r"$t/\log(1/\alpha)$"
        if run.depth == 2
        else rf"$t\,\alpha^{{{run.depth - 2}}}$"
    )
    ax.set_ylabel(PATH_LABELS[quantity])
    return ax


def plot_approach(studies: Sequence[ApproachStudy], ax=None, **style: Any):
    r"""Closest approach to the saddles against $\alpha$, with the predicted slopes dashed."""
    _check_some(studies, "studies")
    ax = ax if ax is not None else _new_axes()
    for number, study in enumerate(studies):
        for saddle, (values, power) in enumerate(zip(study.distances.T, study.predicted, strict=True)):
            look = {"marker": "osD^"[saddle % 4], "markersize": 4, "linewidth": 1.4, **style}
            label = f"$L = {study.depth}$, saddle {saddle + 1}: slope {study.slopes()[saddle]:.2f}"
            ax.loglog(study.alphas, values, **{"color": _colour(number), "label": label, **look})
            smallest = int(np.argmin(study.alphas))
            guide = values[smallest] * (study.alphas / study.alphas[smallest]) ** power
            ax.loglog(study.alphas, guide, "--", color="0.5", linewidth=0.9)
    ax.plot([], [], "--", color="0.5", linewidth=0.9, label="predicted slopes")
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel(r"$\min_t \|A(t) - A_k\|_F$")
    ax.legend(frameon=False, fontsize="small")
    return ax


def plot_completion(studies: Sequence[CompletionStudy], ax=None, **style: Any):
    r"""Relative recovery error of matrix completion against $\alpha$, one line for each depth."""
    _check_some(studies, "studies")
    ax = ax if ax is not None else _new_axes()
    for number, study in enumerate(studies):
        look = {"marker": "osD^"[number % 4], "markersize": 4.5, "linewidth": 1.4, "color": _colour(number)}
        ax.loglog(study.alphas, study.recovery, label=f"$L = {study.depth}$", **{**look, **style})
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel("recovery error, all entries")
    ax.legend(frameon=False)
    return ax


def plot_bottleneck(cases: Sequence[tuple[int, int]], eps: Sequence[float], ax=None, **style: Any):
    r"""Escape time of the scalar chain against $\epsilon$: networks with equal $r$ fall together, whatever $L$.

    Args:
        cases: pairs $(L, r)$.
        eps: starts of the small layers.
        ax: where to draw.
        **style: of the lines.
    """
    from ..theory.saddles import bottleneck_law, bottleneck_time

    _check_some(cases, "cases")
    ax = ax if ax is not None else _new_axes()
    scales = np.asarray(eps, dtype=float)
    smalls = sorted({r for _, r in cases})
    for number, (depth, r) in enumerate(cases):
        times = [bottleneck_time(depth, r, one) for one in scales]
        look = {"linestyle": "none", "marker": "osD^v<>"[number % 7], "markersize": 5, "fillstyle": "none"}
        ax.loglog(
            scales,
            times,
            label=f"$L = {depth}$, $r = {r}$",
            **{**look, "color": _colour(smalls.index(r)), **style},
        )
    for r in smalls:
        if r >= 2:
            law = [bottleneck_law(r, one) for one in scales]
            ax.loglog(scales, law, color=_colour(smalls.index(r)), linewidth=0.9)
    ax.set_xlabel(r"$\epsilon$, start of the $r$ small layers")
    ax.set_ylabel("escape time ($p = 1/2$)")
    ax.legend(frameon=False, fontsize="small", title="lines: law")
    return ax


def _check_some(items: Sequence[Any], argument: str) -> None:
    if not items:
        raise ValueError(f"Argument `{argument}` must hold at least one entry, but is empty.")


def _colour(number: int) -> str:
    return list(COLOURS.values())[number % len(COLOURS)]


def _new_axes():
    import matplotlib.pyplot as plt

    _, ax = plt.subplots(figsize=(4.8, 3.4), constrained_layout=True)
    return ax
