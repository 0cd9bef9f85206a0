"""Claims on saddle-to-saddle dynamics: escape from the origin, the path over saddles, follow-up statements."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import ConditionError
from ...theory.saddles import (
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
from ..base import claim
from ..curves import TIME, Curves, power_law
from ..evidence import Evidence
from . import runs

JACOT = "[jacot2021saddle]"
OURS = "derived here"
RAWAL = "[rawal2026theory]"


@claim(
    id="escape-direction",
    statement=r"The flow leaves the origin along layers of rank one ending in $u_1, v_1$, with radial speed "
    r"$s^* = L^{-(L-2)/2} s_1$.",
    source=JACOT,
    tolerance=4e-11,
    tier="full",
    arguments={"scale": 1.0},
    control_arguments={"scale": 1.01},
    control="the speed is that of a gradient 1 % larger",
    breaks="prediction",
)
def escape_direction_claim(scale: float) -> Evidence:
    """Escape from the origin: rank-one layers, radial speed L^(-(L-2)/2) s_1 (L = 3)."""
    found = escape_direction(runs.target(), runs.start(3))
    speed = scale * found.predicted_speed
    parts = {
        "radial speed": Evidence(speed, found.speed, scale=speed),
        "defect of rank one": Evidence(0.0, found.rank_one_defect, scale=10.0),
        "correlation": Evidence(1.0, found.correlation),
    }
    return Evidence.worst(parts)


@claim(
    statement=r"The escape direction is unique only if $s_1 > s_2$; $s_1 = s_2$ is refused.",
    source=JACOT,
    tolerance=0.5,
    arguments={"second": 3.0},
    control_arguments={"second": 2.9},
    control="the two largest singular values differ",
)
def degenerate_pair_flagged(second: float) -> Evidence:
    """A double largest singular value is flagged: hypothesis not met."""
    try:
        leading_pair(runs.target((3.0, second, 1.0)))
    except ConditionError as refusal:
        return Evidence("refused", "refused", detail=str(refusal))
    return Evidence("refused", "accepted")


@claim(
    statement=r"For $L = 2$: $t_{1/2} = \frac{1}{2 s_1}\log(s_1/(\alpha^2 c) - 1)$, $c = \frac14\|W_1 v_1 + "
    r"W_2^\top u_1\|^2$.",
    source=OURS,
    tolerance=1.5e-7,
    tier="full",
    arguments={"alpha": 1e-6},
    control_arguments={"alpha": 0.3},
    control="alpha = 0.3 is not small",
)
def escape_time_two_layers(alpha: float) -> Evidence:
    """Time to half of the first mode, two layers, alpha = 1e-6."""
    law = escape_time(runs.target(), runs.start(2), alpha).half_time
    return Evidence(law, measured_half_time(runs.target(), runs.start(2), alpha), scale=law)


@claim(
    statement=r"For $L = 3$: $t_{1/2} = T^* \alpha^{-1} + c_3 + o(1)$, $T^*$ the blow-up time of the homogeneous flow "
    r"and $c_L = \frac{1}{L} s_1^{-2+2/L}[B(\frac12; \frac2L, 0) - 2^{1-2/L}/(1-2/L)]$.",
    source=OURS,
    tolerance=6e-5,
    tier="full",
    arguments={"alpha": 1e-3},
    control_arguments={"alpha": 0.3},
    control="alpha = 0.3 is not small",
)
def escape_time_two_constants(alpha: float) -> Evidence:
    """Time to half of the first mode, three layers, alpha = 1e-3, with its second constant."""
    law = escape_time(runs.target(), runs.start(3), alpha)
    measured = measured_half_time(runs.target(), runs.start(3), alpha)
    return Evidence(law.half_time, measured, detail=f"absolute; the second constant is {law.constant:.4g}")


@claim(
    statement=r"Conjecture, observed: for $\alpha \to 0$ the path passes saddles of rank $0, 1, 2, \dots$; at $L = 2$ "
    r"they show only at small $\alpha$.",
    source=f"{JACOT}, a conjecture",
    tolerance=0.5,
    arguments={"alpha": 1e-3},
    control_arguments={"alpha": 5.0},
    control="the weights have standard deviation 1, where there is no plateau of rank 1",
)
def plateau_ranks_two_layers(alpha: float) -> Evidence:
    """Conjecture: two layers, plateaus of rank 0, 1, 2 at scale 2e-4; none of rank 1 at scale 1."""
    found = plateaus(runs.path(2, alpha))
    passed = tuple(rank for rank in (0, 1, 2) if rank in found.ranks)
    detail = f"conjecture; plateaus of ranks {found.ranks}"
    return Evidence((0, 1, 2), passed, detail=detail, curves=_path_curves(2, alpha))


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
    statement=r"Conjecture, observed: for $\alpha \to 0$ the path passes saddles of rank $0, 1, 2, \dots$ with losses "
    r"$\frac12\sum_{i>k} s_i^2$.",
    source=f"{JACOT}, a conjecture",
    tolerance=2e-6,
    tier="full",
    arguments={"depth": 3},
    control_arguments={"depth": 2},
    control="two layers at the same scale",
)
def plateaus_in_order(depth: int) -> Evidence:
    """Conjecture: three layers, losses of the plateaus 1/2 sum of s^2 beyond k (scale 2e-3)."""
    found = plateaus(runs.path(depth, 1e-2))
    expected = np.array([0.5 * sum(s**2 for s in runs.MODES[k:]) for k in range(3)])
    detail = f"conjecture; losses of plateaus of ranks {found.ranks}"
    curves = _path_curves(depth, 1e-2)
    if found.ranks != (0, 1, 2):
        return Evidence((0, 1, 2), found.ranks, detail=detail, curves=curves)
    return Evidence(expected, found.losses, scale=expected, detail=detail, curves=curves)


@claim(
    statement=r"Greedy low-rank learning ends at $\frac12\sum_{i>k} s_i^2$ with width $k$, whitened regression.",
    source=f"{JACOT}; [li2021resolving]",
    tolerance=9e-15,
    tier="full",
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.2},
    control="one input direction is 20 % larger: the data are not white",
)
def greedy_losses(stretch: float) -> Evidence:
    """The greedy algorithm of width k ends at the best map of rank k."""
    losses = runs.greedy(3, stretch=stretch).losses
    return Evidence([0.5 * sum(s**2 for s in runs.MODES[k:]) for k in range(4)], losses)


@claim(
    statement=r"Conjecture, observed: width-$k$ flows glued at the greedy points follow the path at matched "
    r"loss levels.",
    source=f"{JACOT}, a conjecture",
    tolerance=0.05,
    tier="full",
    arguments={"alpha": 1e-3},
    control_arguments={"alpha": 1e-1},
    control="alpha = 0.1 is far from the limit",
)
def width_k_description(alpha: float) -> Evidence:
    """Conjecture: glued width-k flows follow the path at equal losses (L = 3, alpha = 1e-3)."""
    levels = (5.0, 3.5, 2.5, 1.5, 1.0, 0.3, 0.1)
    away = matched_distances(runs.path(3, alpha), runs.greedy(3, 0.2 * alpha), levels)
    series = {"distance of the maps": (levels, away)}
    curves = Curves("loss at which they are compared", "distance", series, "log-log", with_tolerance=True)
    return Evidence(
        0.0, float(np.max(away)), detail="conjecture; largest distance of the maps", curves=curves
    )


@claim(
    statement=r"For $L = 2$ the path misses the $k$-th saddle by $\Theta(\alpha^{2(s_k - s_{k+1})/(s_k + s_{k+1})})$.",
    source=OURS,
    tolerance=0.05,
    tier="full",
    arguments={"alphas": (1e-2, 1e-3, 1e-4)},
    control_arguments={"alphas": (3.0, 1.0, 0.3)},
    control="the scales are not small",
)
def closest_approach_two_layers(alphas: tuple[float, ...]) -> Evidence:
    """Two layers: closest approach to the rank-1 saddle has exponent 0.5, marginal separation."""
    return _approach(2, alphas, 0.5)


def _approach(depth: int, alphas: tuple[float, ...], exponent: float) -> Evidence:
    """The exponent of the least distance to the saddle of rank one in the scale."""
    study = approach_study([runs.path(depth, alpha) for alpha in alphas], runs.target())
    points = study.alphas, study.distances[:, 0]
    series = {"measured": points, rf"predicted $\alpha^{{{exponent:g}}}$": power_law(*points, exponent)}
    curves = Curves(r"scale $\alpha$", "least distance to the rank-1 saddle", series, scale="log-log")
    return Evidence(exponent, float(study.slopes()[0]), curves=curves)


@claim(
    statement=r"For $L \ge 3$ the path misses the saddles by $\Theta(\alpha^L)$.",
    source=OURS,
    tolerance=0.1,
    tier="full",
    arguments={"alphas": (1e-2, 1e-3, 1e-4)},
    control_arguments={"alphas": (3.0, 1.0, 0.3)},
    control="the scales are not small",
)
def closest_approach_three_layers(alphas: tuple[float, ...]) -> Evidence:
    """Three layers: closest approach to the saddles has exponent 3, sharp separation."""
    return _approach(3, alphas, 3.0)


ACTIVATIONS = {"tanh": jnp.tanh, "softplus": jax.nn.softplus}


@claim(
    statement=r"$\frac{d}{dt}(\|W_{l+1}\|_F^2 - \|W_l\|_F^2) = -2\langle \partial\ell/\partial h_l, "
    r"\phi(z_l) - \phi'(z_l) z_l\rangle$ for every activation $\phi$ and loss.",
    source=RAWAL,
    tolerance=1e-15,
    arguments={"predicted": "identity"},
    control_arguments={"predicted": "zero"},
    control="the rate is taken as zero, which only homogeneous activations have",
    breaks="prediction",
)
def norm_imbalance_identity(predicted: str) -> Evidence:
    """Rate of the norm imbalance for tanh and softplus, both sides by autodiff."""
    rng = np.random.default_rng(0)
    weights, inputs = runs.start(3, size=1.0), rng.standard_normal((7, 3))
    targets = jnp.asarray(rng.standard_normal((7, 3)))
    parts = {}
    for name, activation in ACTIVATIONS.items():
        rates = imbalance_rates(weights, inputs, lambda out: jnp.mean((out - targets) ** 2), activation)
        expected = rates.predicted if predicted == "identity" else np.zeros_like(rates.measured)
        parts[name] = Evidence(expected, rates.measured, rates.scale)
    return Evidence.worst(parts)


@claim(
    id="bottleneck-depth-sets-escape",
    statement=r"A scalar chain with $r$ layers at $\epsilon$ and $L - r$ at 1 escapes at $\epsilon^{-(r-2)}/(r-2)$: "
    "$L$ is irrelevant.",
    source=f"{RAWAL}; the nonlinear theorem is not checked",
    tolerance=6e-3,
    arguments={"eps": (1e-3, 1e-4)},
    control_arguments={"eps": (0.3, 0.2)},
    control="the small layers are not small",
)
def bottleneck_depth(eps: tuple[float, float]) -> Evidence:
    """Escape time of a scalar chain: exponent r - 2 in 1/eps, whatever the depth."""
    cases = ((4, 3), (5, 3), (5, 4), (6, 4))
    slopes = [bottleneck_slope(depth, small, eps) for depth, small in cases]
    expected = [small - 2 for _, small in cases]
    law = bottleneck_law(3, eps[-1])
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
    parts = {
        "exponents": Evidence(expected, slopes),
        "constant": Evidence(law, bottleneck_time(5, 3, eps[-1]), scale=10 * law),
    }
    return Evidence.worst(parts, curves=curves)


@claim(
    statement=r"For scale-invariant $J(a_1 \odot \cdots \odot a_L)$ every $\|a_l\|_2^2$ is conserved; from a balanced "
    r"start so is $\sum_i |w_i|^{2/L}$.",
    source="[li2026implicit]",
    tolerance=5e-13,
    tier="full",
    arguments={"balanced": True},
    control_arguments={"balanced": False},
    control="an unbalanced start, where only the norms of the layers are conserved",
)
def discriminant_quasi_norm(balanced: bool) -> Evidence:
    """Deep diagonal discriminant: the 2/L quasi-norm is conserved from balanced starts."""
    rng = np.random.default_rng(0)
    mixing, means = rng.standard_normal((5, 5)), rng.standard_normal((5, 2))
    cost = DiscriminantCost(means @ means.T, mixing @ mixing.T + np.eye(5))
    layers = balanced_entries(np.abs(rng.standard_normal(5)) + 0.2, 2)
    if not balanced:
        layers = {name: rng.standard_normal(5) for name in layers}
    run = discriminant_flow(cost, layers, 20.0)
    detail = f"drift; w moved by {run.moved:.2f}"
    parts = {"sum |w|^(2/L)": run.quasi_norm_drift, "|a_l|^2": run.norm_drift}
    return Evidence.worst({name: Evidence(0.0, drift) for name, drift in parts.items()}, detail=detail)
