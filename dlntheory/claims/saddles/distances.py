"""Claims on saddles, continued: the phase transition in the width, and matrix completion."""

from __future__ import annotations

import numpy as np

from ..._errors import ConditionError
from ...theory.saddles import predicted_minimum, predicted_saddle
from ..base import Evidence, claim
from ..curves import Curves, power_law
from . import runs

JACOT = "[jacot2021saddle]"
OURS = f"{JACOT} (the exponent); constants derived here"


@claim(
    id="minimum-distance-exponent",
    paper="saddles",
    statement=r"For $1 - 1/L \le \gamma < 1$: $d_m \sim \|A_* - A(\theta_0)\|_F\,L^{-1/2}\,w^{-(1-\gamma)(L-1)/2}$.",
    summary="Nearest minimum, gamma = 0.8, L = 2, width 1024, with its constant.",
    source=OURS,
    tolerance=0.08,
    holds={"depth": 2},
    violated={"depth": 3},
    control="the prediction is that of three layers",
)
def minimum_distance_exponent(depth: int) -> Evidence:
    found = runs.transition(2, 0.8, (1024,), 4)
    predicted = float(found.predicted_minimum[0])
    if depth != 2:
        predicted *= np.sqrt(2 / depth) * 1024 ** (-0.1 * (depth - 2))
    measured = float(found.minimum[0])
    return Evidence(predicted, measured, abs(measured / predicted - 1))


@claim(
    id="saddle-distance-exponent",
    paper="saddles",
    statement=r"For $\gamma > 1$: $d_s \le \sqrt{2r}\,w^{-(\gamma-1)/2}$, all $r$ pairs switched off.",
    summary="Nearest saddle for gamma = 2, L = 2: at distance sqrt(2 r) w^-0.5, width 256 to 1024.",
    source=OURS,
    tolerance=0.02,
    holds={"gamma": 2.0},
    violated={"gamma": 1.5},
    control="the exponent is that of gamma = 1.5",
)
def saddle_distance_exponent(gamma: float) -> Evidence:
    widths = (256, 512, 1024)
    distances = [runs.saddle_distance(width, 2.0) for width in widths]
    slope = float(np.polyfit(np.log(widths), np.log(distances), 1)[0])
    predicted = -(gamma - 1) / 2
    constant = distances[-1] / predicted_saddle(np.diag(runs.NEAR), 2, 2.0)(widths[-1])
    law = predicted_saddle(np.diag(runs.NEAR), 2, gamma)
    series = {"measured": (widths, distances), "predicted": (widths, [law(width) for width in widths])}
    return Evidence(
        predicted,
        slope,
        abs(slope - predicted),
        f"measured over predicted {constant:.4f}",
        curves=Curves("width $w$", "distance $d_s$ to the nearest saddle", series, scale="log-log"),
    )


@claim(
    id="width-exponent-range",
    paper="saddles",
    statement=r"The phase transition is stated for $\gamma \ge 1 - 1/L$; below, $A(\theta_0)$ diverges and it "
    r"is refused.",
    summary="gamma below 1 - 1/L is refused.",
    source=JACOT,
    tolerance=0.5,
    holds={"gamma": 0.6},
    violated={"gamma": 0.7},
    control="gamma is in the range for three layers",
)
def width_exponent_range(gamma: float) -> Evidence:
    try:
        predicted_minimum(np.diag(runs.NEAR), 3, gamma)
    except ConditionError as refusal:
        return Evidence("refused", "refused", 0.0, str(refusal))
    return Evidence("refused", "accepted", 1.0)


@claim(
    id="minimum-distance-rich",
    paper="saddles",
    statement=r"For $\gamma > 1$: $d_m \to \sqrt{L\sum_i s_i(A_*)^{2/L}}$.",
    summary="Nearest minimum for gamma = 3, L = 3: the balanced factorisation, within 5 % at width 16.",
    source=OURS,
    tolerance=0.06,
    tier="full",
    holds={"depth": 3},
    violated={"depth": 2},
    control="the limit is that of two layers",
)
def minimum_distance_rich(depth: int) -> Evidence:
    predicted = predicted_minimum(np.diag(runs.NEAR), depth, 3.0).constant
    measured = float(runs.transition(3, 3.0, (16,), 1).minimum[0])
    return Evidence(predicted, measured, abs(measured / predicted - 1))


@claim(
    id="minimum-distance-limit",
    paper="saddles",
    statement=r"For $\gamma > 1$ the deficit $1 - d_m/d_m(\infty)$ decays like $w^{-(\gamma-1)/2}$.",
    summary="Deficit of the distance to the nearest minimum, gamma = 2, L = 2: exponent -0.5.",
    source=OURS,
    tolerance=0.1,
    tier="full",
    holds={"gamma": 2.0},
    violated={"gamma": 3.0},
    control="the exponent is that of gamma = 3",
)
def minimum_distance_limit(gamma: float) -> Evidence:
    found = runs.transition(2, 2.0, (64, 128, 256), 2)
    slope, deficits = found.deficit_slope(), 1.0 - found.minimum / found.predicted_minimum
    guide = power_law(found.widths, deficits, -(gamma - 1) / 2)
    series = {"measured": (found.widths, deficits), rf"predicted $w^{{{-(gamma - 1) / 2:g}}}$": guide}
    curves = Curves("width $w$", r"deficit $1 - d_m/d_m(\infty)$", series, scale="log-log")
    return Evidence(-(gamma - 1) / 2, slope, abs(slope + (gamma - 1) / 2), curves=curves)


@claim(
    id="completion-by-depth",
    paper="saddles",
    statement=r"Conjecture, observed: completion from vanishing weights follows the greedy points; $L = 3$ "
    r"recovers a matrix "
    r"of rank 2 at $\alpha = 10^{-2}$.",
    summary="Completion, 48 of 64 entries, rank 2: three layers recover it at alpha = 1e-2.",
    source=f"{JACOT}, a conjecture; observed here",
    tolerance=1e-4,
    tier="full",
    holds={"depth": 3},
    violated={"depth": 2},
    control="two layers at the same scale",
)
def completion_by_depth(depth: int) -> Evidence:
    found = runs.completed(depth, (1e-1, 1e-2, 1e-3) if depth == 2 else (1e-2,))
    error = float(found.recovery[list(found.alphas).index(1e-2)])
    return Evidence(0.0, error, error, "conjecture; relative recovery error")


@claim(
    id="completion-two-layers",
    paper="saddles",
    statement=r"Observed: for $L = 2$ the recovery error decreases with $\alpha$, slowly.",
    summary="Completion, two layers: recovery and distance to the rank-1 saddle decrease with alpha.",
    source="observed here; no asymptotic regime is claimed",
    tolerance=1e-9,
    tier="full",
    holds={"reverse": False},
    violated={"reverse": True},
    control="the scales are read in reverse order",
)
def completion_two_layers(reverse: bool) -> Evidence:
    found = runs.completed(2, (1e-1, 1e-2, 1e-3))
    order = slice(None, None, -1 if reverse else 1)
    steps = [np.diff(values[order]) for values in (found.recovery, found.distances[:, 0])]
    rise = max(0.0, float(np.max(np.concatenate(steps))))
    curves = Curves(
        r"scale $\alpha$",
        "relative error, or distance",
        {
            "measured recovery error": (found.alphas, found.recovery[order]),
            "distance to the rank-1 saddle": (found.alphas, found.distances[order, 0]),
        },
        scale="log-log",
    )
    return Evidence("decreasing", f"{found.recovery[order].round(4).tolist()}", rise, curves=curves)
