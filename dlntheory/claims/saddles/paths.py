"""Claims on saddle-to-saddle dynamics: escape from the origin, the path over saddles, follow-up statements."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import ConditionError
from ...theory.saddles import (
    ApproachStudy,
    DiscriminantCost,
    approach_study,
    balanced_entries,
    bottleneck_law,
    bottleneck_slope,
    bottleneck_time,
    discriminant_flow,
    escape_direction,
    escape_time,
    imbalance_rates,
    leading_pair,
    matched_distances,
    measured_half_time,
    plateaus,
)
from ..base import Evidence, claim
from ..curves import TIME, Curves, power_law
from . import runs

JACOT = "[jacot2021saddle]"
OURS = "derived here"
RAWAL = "[rawal2026theory]"


@claim(
    id="escape-direction",
    paper="saddles",
    statement=r"The flow leaves the origin along layers of rank one ending in $u_1, v_1$, with radial speed "
    r"$s^* = L^{-(L-2)/2} s_1$.",
    summary="Escape from the origin: rank-one layers, radial speed L^(-(L-2)/2) s_1 (L = 3).",
    source=JACOT,
    tolerance=1e-5,
    tier="full",
    holds={"scale": 1.0},
    violated={"scale": 1.01},
    control="the speed is that of a gradient 1 % larger",
)
def escape_direction_claim(scale: float) -> Evidence:
    found = escape_direction(runs.target(), runs.start(3))
    error = max(
        abs(found.speed / (scale * found.predicted_speed) - 1),
        0.1 * found.rank_one_defect,
        1 - found.correlation,
    )
    detail = f"rank-one defect {found.rank_one_defect:.1e}, correlation {found.correlation:.10f}"
    return Evidence(scale * found.predicted_speed, found.speed, error, detail)


@claim(
    id="degenerate-pair-flagged",
    paper="saddles",
    statement=r"The escape direction is unique only if $s_1 > s_2$; $s_1 = s_2$ is refused.",
    summary="A double largest singular value is flagged: hypothesis not met.",
    source=JACOT,
    tolerance=0.5,
    holds={"second": 3.0},
    violated={"second": 2.9},
    control="the two largest singular values differ",
)
def degenerate_pair_flagged(second: float) -> Evidence:
    try:
        leading_pair(runs.target((3.0, second, 1.0)))
    except ConditionError as refusal:
        return Evidence("refused", "refused", 0.0, str(refusal))
    return Evidence("refused", "accepted", 1.0)


@claim(
    id="escape-time-two-layers",
    paper="saddles",
    statement=r"For $L = 2$: $t_{1/2} = \frac{1}{2 s_1}\log(s_1/(\alpha^2 c) - 1)$, $c = \frac14\|W_1 v_1 + "
    r"W_2^\top u_1\|^2$.",
    summary="Time to half of the first mode, two layers, alpha = 1e-6.",
    source=OURS,
    tolerance=1e-6,
    tier="full",
    holds={"sign": 1.0},
    violated={"sign": -1.0},
    control="c is taken with the difference of the two projections",
)
def escape_time_two_layers(sign: float) -> Evidence:
    theta0 = runs.start(2)
    # The sign changes c alone: the run is that of the same start in both cases.
    law = escape_time(runs.target(), {"W1": theta0["W1"], "W2": sign * theta0["W2"]}, 1e-6).half_time
    measured = measured_half_time(runs.target(), theta0, 1e-6)
    return Evidence(law, measured, abs(measured / law - 1))


@claim(
    id="escape-time-two-constants",
    paper="saddles",
    statement=r"For $L = 3$: $t_{1/2} = T^* \alpha^{-1} + c_3 + o(1)$, $T^*$ the blow-up time of the "
    r"homogeneous flow and "
    r"$c_L = \frac{1}{L} s_1^{-2+2/L}[B(\frac12; \frac2L, 0) - 2^{1-2/L}/(1-2/L)]$.",
    summary="Time to half of the first mode, three layers, alpha = 1e-3, with its second constant.",
    source=OURS,
    tolerance=1e-3,
    tier="full",
    holds={"with_constant": True},
    violated={"with_constant": False},
    control="the second constant is left out",
)
def escape_time_two_constants(with_constant: bool) -> Evidence:
    law = escape_time(runs.target(), runs.start(3), 1e-3)
    predicted = law.half_time if with_constant else law.half_time - law.constant
    measured = measured_half_time(runs.target(), runs.start(3), 1e-3)
    return Evidence(predicted, measured, abs(measured - predicted), "absolute error")


@claim(
    id="plateau-ranks-two-layers",
    paper="saddles",
    statement=r"Conjecture, observed: for $\alpha \to 0$ the path passes saddles of rank $0, 1, 2, \dots$; at "
    r"$L = 2$ they "
    r"show only at small $\alpha$.",
    summary="Conjecture: two layers, plateaus of rank 0, 1, 2 at scale 2e-4; none of rank 1 at scale 1.",
    source=f"{JACOT}, a conjecture",
    tolerance=0.5,
    holds={"alpha": 1e-3},
    violated={"alpha": 5.0},
    control="the weights have standard deviation 1, where there is no plateau of rank 1",
)
def plateau_ranks_two_layers(alpha: float) -> Evidence:
    found = plateaus(runs.path(2, alpha))
    missing = 3 - len({0, 1, 2} & set(found.ranks))
    return Evidence(
        "ranks (0, 1, 2)",
        f"ranks {found.ranks}",
        missing,
        "conjecture; ranks that are missing",
        curves=_path_curves(2, alpha),
    )


def _path_curves(depth: int, alpha: float) -> Curves:
    """The loss of a path, with the losses of the saddles that it is to pass."""
    run = runs.path(depth, alpha)
    late = run.ts >= 0.1
    series: dict[str, Any] = {"measured": (run.ts[late], run.loss[late])}
    for rank in range(3):
        level = 0.5 * sum(s**2 for s in runs.MODES[rank:])
        series[f"predicted saddle, rank {rank}"] = run.ts[late][[0, -1]], [level, level]
    return Curves(TIME, "loss", series, scale="log-x")


@claim(
    id="plateaus-in-order",
    paper="saddles",
    statement=r"Conjecture, observed: for $\alpha \to 0$ the path passes saddles of rank $0, 1, 2, \dots$ with losses "
    r"$\frac12\sum_{i>k} s_i^2$.",
    summary="Conjecture: three layers, losses of the plateaus 1/2 sum of s^2 beyond k (scale 2e-3).",
    source=f"{JACOT}, a conjecture",
    tolerance=1e-3,
    tier="full",
    holds={"depth": 3},
    violated={"depth": 2},
    control="two layers at the same scale",
)
def plateaus_in_order(depth: int) -> Evidence:
    found = plateaus(runs.path(depth, 1e-2))
    expected = np.array([0.5 * sum(s**2 for s in runs.MODES[k:]) for k in range(3)])
    same = found.ranks == (0, 1, 2)
    error = float(np.max(np.abs(found.losses / expected - 1))) if same else 1.0
    return Evidence(
        "ranks (0, 1, 2)",
        f"ranks {found.ranks}",
        error,
        "conjecture; relative error of the losses",
        curves=_path_curves(depth, 1e-2),
    )


@claim(
    id="greedy-losses",
    paper="saddles",
    statement=r"Greedy low-rank learning ends at $\frac12\sum_{i>k} s_i^2$ with width $k$, whitened regression.",
    summary="The greedy algorithm of width k ends at the best map of rank k.",
    source=f"{JACOT}; [li2021resolving]",
    tolerance=1e-8,
    tier="full",
    holds={"modes": runs.MODES},
    violated={"modes": (3.0, 1.8, 1.1)},
    control="the last singular value of the target is another one",
)
def greedy_losses(modes: tuple[float, ...]) -> Evidence:
    losses = runs.greedy(3, modes=modes).losses
    expected = np.array([0.5 * sum(s**2 for s in runs.MODES[k:]) for k in range(4)])
    error = float(np.max(np.abs(losses - expected)))
    return Evidence(f"{expected.round(4).tolist()}", f"{losses.round(4).tolist()}", error)


@claim(
    id="width-k-description",
    paper="saddles",
    statement=r"Conjecture, observed: width-$k$ flows glued at the greedy points follow the path at matched "
    r"loss levels.",
    summary="Conjecture: glued width-k flows follow the path at equal losses (L = 3, alpha = 1e-3).",
    source=f"{JACOT}, a conjecture",
    tolerance=0.05,
    tier="full",
    holds={"alpha": 1e-3},
    violated={"alpha": 1e-1},
    control="alpha = 0.1 is far from the limit",
)
def width_k_description(alpha: float) -> Evidence:
    levels = (5.0, 3.5, 2.5, 1.5, 1.0, 0.3, 0.1)
    away = matched_distances(runs.path(3, alpha), runs.greedy(3, 0.2 * alpha), levels)
    largest = float(np.max(away))
    series = {"distance of the maps": (levels, away)}
    curves = Curves("loss at which they are compared", "distance", series, "log-log", with_tolerance=True)
    detail = "conjecture; largest distance of the maps"
    return Evidence("at most 0.05", largest, largest, detail, curves=curves)


@claim(
    id="closest-approach-two-layers",
    paper="saddles",
    statement=r"For $L = 2$ the path misses the $k$-th saddle by $\Theta(\alpha^{2(s_k - s_{k+1})/(s_k + s_{k+1})})$.",
    summary="Two layers: closest approach to the rank-1 saddle has exponent 0.5, marginal separation.",
    source=OURS,
    tolerance=0.05,
    tier="full",
    holds={"depth": 2},
    violated={"depth": 3},
    control="three layers, where the exponent is 3",
)
def closest_approach_two_layers(depth: int) -> Evidence:
    study = approach_study([runs.path(depth, alpha) for alpha in (1e-2, 1e-3, 1e-4)], runs.target())
    slope = float(study.slopes()[0])
    return Evidence(0.5, slope, abs(slope - 0.5), curves=_approach_curves(study, 0.5))


def _approach_curves(study: ApproachStudy, exponent: float) -> Curves:
    points = study.alphas, study.distances[:, 0]
    series = {"measured": points, rf"predicted $\alpha^{{{exponent:g}}}$": power_law(*points, exponent)}
    return Curves(r"scale $\alpha$", "least distance to the rank-1 saddle", series, scale="log-log")


@claim(
    id="closest-approach-three-layers",
    paper="saddles",
    statement=r"For $L \ge 3$ the path misses the saddles by $\Theta(\alpha^L)$.",
    summary="Three layers: closest approach to the saddles has exponent 3, sharp separation.",
    source=OURS,
    tolerance=0.1,
    tier="full",
    holds={"depth": 3},
    violated={"depth": 2},
    control="two layers, where the exponent is 0.5",
)
def closest_approach_three_layers(depth: int) -> Evidence:
    study = approach_study([runs.path(depth, alpha) for alpha in (1e-2, 1e-3, 1e-4)], runs.target())
    slope = float(study.slopes()[0])
    return Evidence(3.0, slope, abs(slope - 3.0), curves=_approach_curves(study, 3.0))


ACTIVATIONS = {"tanh": jnp.tanh, "softplus": jax.nn.softplus}


@claim(
    id="norm-imbalance-identity",
    paper="saddles",
    statement=r"$\frac{d}{dt}(\|W_{l+1}\|_F^2 - \|W_l\|_F^2) = -2\langle \partial\ell/\partial h_l, "
    r"\phi(z_l) - \phi'(z_l) z_l\rangle$ for every activation $\phi$ and loss.",
    summary="Rate of the norm imbalance for tanh and softplus, both sides by autodiff.",
    source=RAWAL,
    tolerance=1e-12,
    holds={"predicted": "identity"},
    violated={"predicted": "zero"},
    control="the rate is taken as zero, which only homogeneous activations have",
)
def norm_imbalance_identity(predicted: str) -> Evidence:
    rng = np.random.default_rng(0)
    weights, inputs = runs.start(3, size=1.0), rng.standard_normal((7, 3))
    targets = jnp.asarray(rng.standard_normal((7, 3)))
    errors = []
    for activation in ACTIVATIONS.values():
        rates = imbalance_rates(weights, inputs, lambda out: jnp.mean((out - targets) ** 2), activation)
        zero = float(np.max(np.abs(rates.measured))) / rates.scale
        errors.append(rates.error if predicted == "identity" else zero)
    return Evidence(0.0, max(errors), max(errors), "largest relative error")


@claim(
    id="bottleneck-depth-sets-escape",
    paper="saddles",
    statement=r"A scalar chain with $r$ layers at $\epsilon$ and $L - r$ at 1 escapes at "
    r"$\epsilon^{-(r-2)}/(r-2)$: $L$ is "
    r"irrelevant.",
    summary="Escape time of a scalar chain: exponent r - 2 in 1/eps, whatever the depth.",
    source=f"{RAWAL}; the nonlinear theorem is not checked",
    tolerance=0.01,
    holds={"exponent": "bottleneck"},
    violated={"exponent": "depth"},
    control="the exponent is L - 2, with the depth in place of the bottleneck",
)
def bottleneck_depth(exponent: str) -> Evidence:
    cases = ((4, 3), (5, 3), (5, 4), (6, 4))
    slopes = [bottleneck_slope(depth, r) for depth, r in cases]
    expected = [(r if exponent == "bottleneck" else depth) - 2 for depth, r in cases]
    errors = [abs(slope - one) for slope, one in zip(slopes, expected, strict=True)]
    ratio = bottleneck_time(5, 3, 1e-4) / bottleneck_law(3, 1e-4)
    curves = Curves(
        "depth $L$ of the chain",
        "exponent of the escape time",
        {
            "measured, $r = 3$": ((4, 5), slopes[:2]),
            "predicted, $r = 3$": ((4, 5), expected[:2]),
            "measured, $r = 4$": ((5, 6), slopes[2:]),
            "predicted, $r = 4$": ((5, 6), expected[2:]),
        },
    )
    error = max(*errors, 0.1 * abs(ratio - 1))
    return Evidence("slopes r - 2", f"off by {max(errors):.2g}", error, curves=curves)


@claim(
    id="discriminant-quasi-norm",
    paper="saddles",
    statement=r"For scale-invariant $J(a_1 \odot \cdots \odot a_L)$ every $\|a_l\|_2^2$ is conserved; from a "
    r"balanced start "
    r"so is $\sum_i |w_i|^{2/L}$.",
    summary="Deep diagonal discriminant: the 2/L quasi-norm is conserved from balanced starts.",
    source="[li2026implicit]",
    tolerance=1e-9,
    tier="full",
    holds={"balanced": True},
    violated={"balanced": False},
    control="an unbalanced start, where only the norms of the layers are conserved",
)
def discriminant_quasi_norm(balanced: bool) -> Evidence:
    rng = np.random.default_rng(0)
    mixing, means = rng.standard_normal((5, 5)), rng.standard_normal((5, 2))
    cost = DiscriminantCost(means @ means.T, mixing @ mixing.T + np.eye(5))
    layers = balanced_entries(np.abs(rng.standard_normal(5)) + 0.2, 2)
    if not balanced:
        layers = {name: rng.standard_normal(5) for name in layers}
    run = discriminant_flow(cost, layers, 20.0)
    detail = f"|a_l|^2 drifted by {run.norm_drift:.1e}, w moved by {run.moved:.2f}"
    return Evidence(0.0, run.quasi_norm_drift, max(run.quasi_norm_drift, run.norm_drift), detail)
