"""Claims on separable data: layers align, the predictor turns to the maximum margin, at the rates of the theory."""

from __future__ import annotations

import jax
import numpy as np

from ...losses import LogisticLoss
from ...theory.alignment import (
    admissible_start,
    alignment_bounds,
    fitted_rates,
    limit_constants,
    predicted_exponents,
)
from ...theory.alignment.separable_descent import SeparableDescent
from ...training import iterate
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence, Interval
from .runs import LOG_TIME, PAPER, SIZE, both_labels, descent_of, flow_of, problem_of


@claim(
    statement=r"$A_k = W_k W_k^\top - W_{k+1}^\top W_{k+1}$ is constant along the flow, up to $t = e^{10^4}$.",
    source=f"{PAPER}, and [arora2018optimization]",
    tolerance=2e-14,
    arguments={"rule": "flow"},
    control_arguments={"rule": "normalised"},
    control="gradient descent takes the place of the flow",
)
def aligned_layers_conserved(rule: str) -> Evidence:
    """W_k W_k^T - W_(k+1)^T W_(k+1) is constant in log time, relative to |W|^2."""
    run = flow_of(2) if rule == "flow" else descent_of("normalised", 2, 5000)
    first, second = run.weights
    entries = first @ np.swapaxes(first, 1, 2) - np.swapaxes(second, 1, 2) @ second
    size = max(float(np.sum(w[-1] ** 2)) for w in run.weights)
    drift = np.max(np.abs(entries - entries[0]), axis=(1, 2)) / size
    label = r"change of $A_1$, relative to $\|W\|^2$ at the end"
    curves = Curves(LOG_TIME, label, {"drift": (run.s[1:], drift[1:])}, scale="log-log", with_tolerance=True)
    worst = int(np.argmax(drift))
    return Evidence(entries[0], entries[worst], size, detail="the entry that changes most", curves=curves)


@claim(
    statement=r"$\|W_k\|_F^2 - \|W_k\|_2^2 \le D_k = \|W_k(0)\|_F^2 - \|W_L(0)\|_F^2 + \sum_{j \ge k}\|A_j(0)\|_2$.",
    source=f"{PAPER}; the constant per layer follows from the same proof",
    tolerance=1e-9,
    arguments={"factor": 1.0},
    control_arguments={"factor": 1000.0},
    control="the bound is a thousand times too large",
    breaks="prediction",
)
def norm_gap_bounded(factor: float) -> Evidence:
    """All but the top singular value of each layer stay bounded, by the start."""
    run = flow_of(2)
    bound = factor * float(alignment_bounds(run).norm_gap[0])
    gap = run.observables.gap[:, 0]
    curves = Curves(
        LOG_TIME,
        r"$\|W_1\|_F^2 - \|W_1\|_2^2$",
        {"measured": (run.s[1:], gap[1:]), "predicted bound": (run.s[[1, -1]], [bound, bound])},
        scale="log-x",
    )
    detail = "largest value; the bound is off by a factor of less than 10"
    return Evidence(
        Interval(bound / 10, bound), float(np.max(gap)), scale=bound, detail=detail, curves=curves
    )


@claim(
    statement=r"$\langle v_{k+1}, u_k\rangle^2 \ge 1 - (D_k + \|W_{k+1}(0)\|_2^2 + \|W_k(0)\|_2^2)/\|W_{k+1}\|_2^2$.",
    source=f"{PAPER}; the constant per layer follows from the same proof",
    tolerance=1e-9,
    arguments={"factor": 1.0},
    control_arguments={"factor": 1000.0},
    control="the bound on the misalignment is a thousand times too large",
    breaks="prediction",
)
def alignment_bounded(factor: float) -> Evidence:
    """The top singular vectors of neighbouring layers align at least like 1/|W|^2."""
    run = flow_of(2)
    left = np.linalg.svd(run.weights[0])[0][:, :, 0]
    right = run.weights[1][:, 0] / np.linalg.norm(run.weights[1][:, 0], axis=1)[:, None]
    late = run.s >= 1.0
    away = 1.0 - np.sum(left * right, axis=1)[late] ** 2
    bound = factor * (1.0 - alignment_bounds(run).alignment[late, 0])
    curves = Curves(
        LOG_TIME,
        r"$1 - \langle v_2, u_1\rangle^2$",
        {"measured": (run.s[late], away), "predicted: at most": (run.s[late], bound)},
        scale="log-log",
    )
    detail = "largest ratio of 1 - <v, u>^2 to its bound; the bound is off by a factor of less than 100"
    return Evidence(
        Interval(0.01, 1.0), float(np.max(away / bound)), scale=0.01, detail=detail, curves=curves
    )


@claim(
    statement=r"On separable data $R \to 0$; $-\log R \ge 0.95\,\log t$ once $\log t \ge 100$.",
    source=f"{PAPER} (the limit); the rate is ours",
    tolerance=1e-3,
    arguments={"separable": True},
    control_arguments={"separable": False},
    control="one sample occurs with both labels, so that the data are not separable",
)
def risk_falls_like_time(separable: bool) -> Evidence:
    """The risk falls at least like t^-0.95 by normalised gradient descent, 5000 steps."""
    if separable:
        run = descent_of("normalised", 2, 5000)
        ratio = float(np.max(run.log_risk[run.s >= 100] / run.s[run.s >= 100]))
        points = run.s, -run.log_risk
    else:
        problem = problem_of("logistic")
        arch, loss = problem.network(2), LogisticLoss(both_labels(problem), np.ones(SIZE[1]))
        start = admissible_start(problem, arch, jax.random.key(1))
        run = iterate(SeparableDescent(arch, loss, "normalised"), start, 5000, ts=100)
        ratio = float(np.log(run.loss[-1]) / run.final["log_time"])
        assert run.states is not None  # iterate keeps them
        points = run.states["log_time"], -np.log(run.loss)
    line = np.array([0.0, float(points[0][-1])])
    series = {r"measured $-\log R$": points, r"predicted: at least $0.95\,\log t$": (line, 0.95 * line)}
    curves = Curves(LOG_TIME, r"$-\log R$", series)
    return Evidence(Interval(0.95, 1.05), -ratio, detail="least -log R / log t", curves=curves)


@claim(
    statement=r"$1 - |\langle v_{k+1}, u_k\rangle| = \Theta((\log t)^{-4/L})$, the square of the published bound.",
    source="derived here from the conservation law",
    tolerance=0.03,
    arguments={"window": (100.0, 1e4)},
    control_arguments={"window": (1.0, 10.0)},
    control="the fit is made over log t from 1 to 10, before the regime begins",
)
def alignment_rate(window: tuple[float, float]) -> Evidence:
    """Misalignment falls like (log t)^(-4/L), here L = 2: slope -2."""
    rate = fitted_rates(flow_of(2), window).rates["misalignment"]
    curves = _rate_curves((2,), window)
    return Evidence(rate.predicted, rate.fitted, curves=curves)


def _rate_curves(depths: tuple[int, ...], window: tuple[float, float]) -> Curves:
    """Misalignments over the window of the fit, each with the predicted power law."""
    series = {}
    for depth in depths:
        run = flow_of(depth)
        inside = (run.s >= window[0]) & (run.s <= window[1])
        worst = int(np.argmax(run.observables.misalignment[-1]))
        points = run.s[inside], run.observables.misalignment[inside, worst]
        exponent = predicted_exponents(depth)["misalignment"]
        series[f"measured, $L = {depth}$"] = points
        series[rf"predicted $(\log t)^{{{exponent:.3g}}}$, $L = {depth}$"] = power_law(*points, exponent)
    return Curves(LOG_TIME, r"$1 - |\langle v_{k+1}, u_k\rangle|$", series, scale="log-log")


@claim(
    statement=r"$1 - |\langle v_{k+1}, u_k\rangle| = \Theta((\log t)^{-4/L})$ and $\|W_k\|_F \sim (\log "
    r"t/\gamma)^{1/L}$.",
    source="derived here from the conservation law",
    tolerance=0.03,
    tier="full",
    arguments={"window": (100.0, 1e4)},
    control_arguments={"window": (1.0, 10.0)},
    control="the fit is made over log t from 1 to 10, before the regime begins",
)
def alignment_rate_deep(window: tuple[float, float]) -> Evidence:
    """Misalignment and norm of three and four layers: slopes -4/L and 1/L."""
    parts = {}
    for depth in (3, 4):
        rates, predicted = fitted_rates(flow_of(depth), window).rates, predicted_exponents(depth)
        for name in ("misalignment", "norm"):
            parts[f"{name}, L = {depth}"] = Evidence(predicted[name], rates[name].fitted)
    return Evidence.worst(parts, curves=_rate_curves((3, 4), window))


@claim(
    statement=r"$w/\|w\| \to \bar u$: at $\log t = 10^4$ the margin gap is below $10^{-4}\gamma$ and $1 "
    r"- \cos$ below $10^{-7}$.",
    source=PAPER,
    tolerance=1.0,
    arguments={"log_time": 1e4},
    control_arguments={"log_time": 100.0},
    control="read at log t = 100, long before the limit",
)
def maximum_margin_direction(log_time: float) -> Evidence:
    """The predictor turns to the maximum-margin direction (support vectors span the space)."""
    run = flow_of(2)
    at = int(np.argmin(np.abs(run.s - log_time)))
    margin, w = run.problem.margin, run.predictors[at] / np.linalg.norm(run.predictors[at])
    parts = {
        "margin": Evidence(margin.margin, float(np.min(run.problem.margins(w))), scale=1e-4 * margin.margin),
        "1 - cos": Evidence(0.0, 0.5 * float(np.sum((w - margin.direction) ** 2)), scale=1e-7),
    }
    curves = _direction_curves(run.s, run.predictors, margin.direction)
    return Evidence.worst(parts, detail="in units of 1e-4 of the margin and of 1e-7", curves=curves)


def _direction_curves(s: np.ndarray, predictors: np.ndarray, direction: np.ndarray) -> Curves:
    late = s >= 1.0
    units = predictors[late] / np.linalg.norm(predictors[late], axis=1)[:, None]
    errors = 0.5 * np.sum((units - direction) ** 2, axis=1)
    series = {"measured": (s[late], errors), r"predicted $(\log t)^{-2}$": power_law(s[late], errors, -2.0)}
    return Curves(LOG_TIME, r"$1 - \cos(w, \bar u)$", series, scale="log-log")


@claim(
    statement=r"$\log t\,(\gamma - \min_i z_i/\|w\|) \to \gamma(H(a) + \log\max_i a_i)$ with the dual weights $a$ and "
    "their entropy $H(a)$.",
    source="derived here",
    tolerance=2e-3,
    arguments={"log_time": 1e4},
    control_arguments={"log_time": 100.0},
    control="read at log t = 100, before the limit",
)
def margin_gap_constant(log_time: float) -> Evidence:
    """The margin gap times log t tends to a constant that the dual weights give."""
    run = flow_of(2)
    predicted = limit_constants(run.problem)["margin_gap"]
    at = int(np.argmin(np.abs(run.s - log_time)))
    measured = float(run.observables.margin_gap[at] * run.s[at])
    late = run.s >= 10.0
    curves = Curves(
        LOG_TIME,
        r"$\log t\,(\gamma - \min_i z_i/\|w\|)$",
        {
            "measured": (run.s[late], run.observables.margin_gap[late] * run.s[late]),
            "predicted limit": (run.s[late][[0, -1]], [predicted, predicted]),
        },
        scale="log-x",
    )
    return Evidence(predicted, measured, scale=predicted, curves=curves)


@claim(
    statement=r"$\gamma\|w\| = \log t + (2 - 2/L)\log\log t + O(1)$: $|\gamma\|w\|/\log t - 1| \le "
    r"0.005$ at $\log t = 10^4$.",
    source="derived here",
    tolerance=5e-3,
    arguments={"log_time": 1e4},
    control_arguments={"log_time": 100.0},
    control="read at log t = 100, where log log t still counts",
)
def predictor_grows_like_log_time(log_time: float) -> Evidence:
    """gamma |w| / log t tends to 1."""
    run = flow_of(2)
    at = int(np.argmin(np.abs(run.s - log_time)))
    ratio = float(run.problem.margin.margin * run.observables.predictor_norm[at] / run.s[at])
    seen = (run.s >= 10.0) & (run.s <= run.s[at])
    ratios = run.problem.margin.margin * run.observables.predictor_norm[seen] / run.s[seen]
    series = {"measured": (run.s[seen], ratios), "predicted limit": ([10.0, float(run.s[at])], [1.0, 1.0])}
    curves = Curves(LOG_TIME, r"$\gamma\|w\|/\log t$", series, scale="log-x")
    return Evidence(1.0, ratio, curves=curves)
