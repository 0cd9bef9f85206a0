"""Figures of saddle-to-saddle dynamics: distances, escape times, plateaus, closest approach, completion."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ...plotting.checks import finite, require_one_of, require_some, same_length
from ...plotting.style import (
    COLOURS,
    TIME,
    legend,
    marker,
    new_axes,
    power_of_ten,
    readable_ticks,
    role,
    shade,
)
from .bottleneck import bottleneck_law, bottleneck_time
from .closest_approach import ApproachStudy
from .completion import CompletionStudy
from .escape import EscapeTime
from .path_integration import PathRun
from .phase_transition import PhaseTransition
from .plateaus import Plateaus

PATH_LABELS = {
    "loss": "loss $C$",
    "gradient": r"$\|\nabla C\|$",
    "singular values": "singular values of $A$",
}


def plot_distances(studies: Sequence[PhaseTransition], ax=None, name: str = "minimum", **style: Any):
    r"""Distance to the nearest minimum or saddle against the width, one colour for each $\gamma$; dashed: predicted.

    Args:
        studies: from `phase_transition`, one for each $\gamma$.
        ax: where to draw; new axes by default.
        name: `"minimum"` or `"saddle"`.
        **style: of the lines.

    Raises:
        ValueError: no study, or another name.
    """
    require_one_of(name, ("minimum", "saddle"), "name")
    require_some(studies, "studies")
    ax = ax if ax is not None else new_axes()
    for number, study in enumerate(studies):
        colour = shade(number, len(studies))
        label = rf"$\gamma = {study.gamma:g}$"
        if len(study.widths) > 1:
            label += f", slope {study.slope(name):.2f}"
        look = role("measured", color=colour, marker=marker(number))
        ax.plot(study.widths, getattr(study, name), label=label, **{**look, **style})
        predicted = getattr(study, f"predicted_{name}")
        if np.all(np.isfinite(predicted)):
            ax.plot(study.widths, predicted, **role("predicted", color=colour))
    ax.plot([], [], label="predicted", **role("predicted"))
    ax.set_xscale("log", base=2)
    ax.set_yscale("log")
    readable_ticks(ax.xaxis, at=np.concatenate([study.widths for study in studies]))
    ax.set_xlabel("width $w$")
    ax.set_ylabel(f"distance to the nearest {name}")
    legend(ax, f"$L = {studies[0].depth}$", room=True, loc="upper right", ncols=2)
    readable_ticks(ax.yaxis)
    return ax


def plot_escape_times(
    law: EscapeTime, alphas: Sequence[float], times: Sequence[float], ax=None, **style: Any
):
    r"""$t_{1/2}\,\alpha^{L-2}$ against $\alpha$, with $T^*$ alone and with the second constant.

    Args:
        law: from `escape_time`, for at least three layers.
        alphas: scales.
        times: $t_{1/2}$ measured at these scales, in gradient-flow time.
        ax: where to draw; new axes by default.
        **style: of the points.

    Raises:
        ValueError: two layers, scales that are not positive, or another number of times.
    """
    if law.depth < 3:
        raise ValueError(
            "Argument `law` must be of at least 3 layers, but has 2: there is no blow-up time to compare with."
        )
    scales = finite(alphas, "alphas", positive=True)
    same_length(times, "times", scales, "alphas")
    ax = ax if ax is not None else new_axes()
    grid = np.geomspace(scales.min(), scales.max(), 100)
    power = law.depth - 2
    factor = _alpha_to(power)
    ax.axhline(law.blow_up_time, label="$T^*$", **role("background"))
    expansion = law.blow_up_time + law.constant * grid**power
    ax.plot(grid, expansion, label=rf"$T^* + c_{{{law.depth}}}\,{factor}$", **role("predicted"))
    look = role("measured", linestyle="none", **style)
    ax.plot(scales, np.asarray(times) * scales**power, label="full flow", **look)
    ax.set_xscale("log")
    readable_ticks(ax.xaxis)
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel(rf"rescaled escape time $t_{{1/2}}\,{factor}$")
    legend(ax)
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
        ax: where to draw; new axes by default.
        quantity: `"loss"`, `"gradient"` or `"singular values"`.
        found: plateaus to mark.
        until: end of the axis in rescaled time; by default shortly after the last change.
        **style: of the lines.

    Raises:
        ValueError: another quantity.
    """
    require_one_of(quantity, PATH_LABELS, "quantity")
    ax = ax if ax is not None else new_axes()
    times = _rescaled(run)
    end = until if until is not None else _end_of_change(run, times)
    marked = [] if found is None else [plateau.index for plateau in found]
    if quantity == "singular values":
        spectra = np.linalg.svd(run.z, compute_uv=False)
        for number, values in enumerate(spectra.T):
            colour = shade(number, spectra.shape[1])
            ax.plot(
                times, values, label=f"$s_{{{number + 1}}}$", **{"color": colour, "linewidth": 1.6, **style}
            )
        for index in marked:
            ax.axvline(times[index], **role("guide"))
        if spectra.shape[1] <= 6:
            legend(ax)
    else:
        values = run.loss if quantity == "loss" else run.gradient_norm
        ax.plot(times, values, **{"color": COLOURS["full"], "linewidth": 1.6, **style})
        ax.plot(times[marked], values[marked], "o", color=COLOURS["error"], markersize=5, zorder=3)
        for index, plateau in zip(marked, found or (), strict=True):
            ax.annotate(
                f"rank {plateau.rank}",
                (times[index], values[index]),
                xytext=(0, -5) if quantity == "gradient" else (5, 5),
                textcoords="offset points",
                ha="center" if quantity == "gradient" else "left",
                va="top" if quantity == "gradient" else "bottom",
                fontsize="small",
            )
        ax.margins(y=0.1)
    ax.set_xlim(0.0, end)
    if quantity == "gradient":
        shown = run.gradient_norm[times <= end]
        ax.set_yscale("log")
        ax.set_ylim(bottom=0.3 * float(np.min(shown[shown > 0], initial=np.inf)))
    ax.set_xlabel(_rescaled_label(run.depth))
    ax.set_ylabel(PATH_LABELS[quantity])
    return ax


def plot_plateaus(
    run: PathRun,
    found: Plateaus,
    ax=None,
    levels: Sequence[float] | None = None,
    until: float | None = None,
    **style: Any,
):
    r"""The loss along a path with the level of each plateau, and the losses of the saddles that theory expects.

    Args:
        run: from `follow_path`.
        found: from `plateaus` of the same run; a dot and the rank for each.
        ax: where to draw; new axes by default.
        levels: losses of saddles, for example $\frac12\sum_{i > k} s_i^2$ for $k = 0, 1, \dots$ on whitened data, drawn
            as dashed lines; by default the losses of `found`.
        until: end of the axis in rescaled time; by default shortly after the last change.
        **style: of the curve of the loss.

    Raises:
        ValueError: plateaus of another run, or levels that are no vector of finite numbers.
    """
    if any(one.index >= len(run.ts) or run.ts[one.index] != one.t for one in found):
        raise ValueError(
            "Argument `found` must be plateaus of this run, but has times at which it was not recorded."
        )
    values = found.losses if levels is None else finite(levels, "levels")
    ax = ax if ax is not None else new_axes()
    times = _rescaled(run)
    end = until if until is not None else _end_of_change(run, times)
    label = "level of a plateau" if levels is None else "loss of a saddle"
    for number, level in enumerate(values):
        ax.axhline(level, label=label if number == 0 else "_nolegend_", **role("predicted"))
    look = {
        "color": COLOURS["full"],
        "linewidth": 2.0,
        "label": rf"loss, $\alpha = {power_of_ten(run.alpha)}$",
        **style,
    }
    ax.plot(times, run.loss, **look)
    indices = [one.index for one in found]
    ax.plot(times[indices], run.loss[indices], "o", color=COLOURS["error"], markersize=5, zorder=3)
    for one in found:
        ax.annotate(
            f"rank {one.rank}",
            (times[one.index], one.loss),
            xytext=(4, 4),
            textcoords="offset points",
            fontsize="small",
        )
    ax.set_xlim(0.0, end)
    ax.set_xlabel(_rescaled_label(run.depth))
    ax.set_ylabel(PATH_LABELS["loss"])
    legend(ax, room=True, loc="upper right")
    return ax


def plot_approach(studies: Sequence[ApproachStudy], ax=None, **style: Any):
    r"""Closest approach to the saddles against $\alpha$, with the predicted slopes dashed.

    Args:
        studies: from `approach_study`, for example of several depths.
        ax: where to draw; new axes by default.
        **style: of the measured lines.

    Raises:
        ValueError: no study.
    """
    require_some(studies, "studies")
    ax = ax if ax is not None else new_axes()
    for number, study in enumerate(studies):
        colour = shade(number, len(studies))
        for saddle, (values, power) in enumerate(zip(study.distances.T, study.predicted, strict=True)):
            look = role("measured", color=colour, marker=marker(saddle), linestyle="none")
            label = f"$L = {study.depth}$, saddle {saddle + 1}: slope {study.slopes()[saddle]:.2f}"
            ax.plot(study.alphas, values, **{"label": label, **look, **style})
            smallest = int(np.argmin(study.alphas))
            through = values[smallest] * (study.alphas / study.alphas[smallest]) ** power
            ax.plot(study.alphas, through, **role("predicted", color=colour))
    ax.plot([], [], label="predicted slopes", **role("predicted"))
    _log_log(ax)
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel(r"$\mathrm{min}_t\,\|A(t) - A_k\|_F$")
    legend(ax, room=True, loc="upper left")
    return ax


def plot_recovery(studies: Sequence[CompletionStudy], ax=None, **style: Any):
    r"""Relative recovery error of matrix completion against $\alpha$, one line for each depth.

    Args:
        studies: from `completion_study`, one for each depth.
        ax: where to draw; new axes by default.
        **style: of the lines.

    Raises:
        ValueError: no study.
    """
    require_some(studies, "studies")
    ax = ax if ax is not None else new_axes()
    for number, study in enumerate(studies):
        look = role("measured", color=shade(number, len(studies)), marker=marker(number))
        ax.plot(study.alphas, study.recovery, label=f"$L = {study.depth}$", **{**look, **style})
    _log_log(ax)
    ax.set_xlabel(r"initial scale $\alpha$")
    ax.set_ylabel("recovery error, all entries")
    legend(ax)
    return ax


def plot_bottleneck(cases: Sequence[tuple[int, int]], eps: Sequence[float], ax=None, **style: Any):
    r"""Escape time of the scalar chain against $\epsilon$: networks with equal $r$ fall together, whatever $L$.

    Args:
        cases: pairs $(L, r)$.
        eps: starts of the small layers.
        ax: where to draw; new axes by default.
        **style: of the points.

    Raises:
        ValueError: no case, or starts that are not positive.
    """
    require_some(cases, "cases")
    scales = finite(eps, "eps", positive=True)
    ax = ax if ax is not None else new_axes()
    smalls = sorted({r for _, r in cases})
    for number, (depth, r) in enumerate(cases):
        times = [bottleneck_time(depth, r, one) for one in scales]
        look = role(
            "measured", color=shade(smalls.index(r), len(smalls)), marker=marker(number), linestyle="none"
        )
        label = f"$L = {depth}$, $r = {r}$"
        ax.plot(scales, times, label=label, **{"fillstyle": "none", **look, **style})
    for r in smalls:
        if r >= 2:
            law = [bottleneck_law(r, one) for one in scales]
            ax.plot(scales, law, **role("predicted", color=shade(smalls.index(r), len(smalls))))
    _log_log(ax)
    ax.set_xlabel(r"$\epsilon$, start of the $r$ small layers")
    ax.set_ylabel(r"escape time $t$ ($p = 1/2$)")
    legend(ax, "dashed: law")
    return ax


def _log_log(ax: Any) -> None:
    for axis, scale in ((ax.xaxis, ax.set_xscale), (ax.yaxis, ax.set_yscale)):
        scale("log")
        readable_ticks(axis)


def _alpha_to(power: int) -> str:
    return r"\alpha" if power == 1 else rf"\alpha^{{{power}}}"


def _rescaled(run: PathRun) -> np.ndarray:
    """The times of a path in the unit of its escape."""
    factor = run.alpha ** (run.depth - 2) if run.depth > 2 else 1 / np.log(1 / min(run.alpha, 0.5))
    return run.ts * factor


def _rescaled_label(depth: int) -> str:
    unit = r"t/\log(1/\alpha)" if depth == 2 else rf"t\,{_alpha_to(depth - 2)}"
    return f"rescaled {TIME.removesuffix('$t$')}${unit}$"


def _end_of_change(run: PathRun, times: np.ndarray) -> float:
    """A time shortly after the last visible change of the loss."""
    settled = np.flatnonzero(run.loss - run.loss[-1] > 1e-6 * (run.loss[0] - run.loss[-1]))
    last = times[min(len(times) - 1, int(settled[-1]) + 1)] if len(settled) else times[-1]
    return float(min(1.15 * last, times[-1]))
