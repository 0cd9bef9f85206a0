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
from ..base import Evidence, claim
from ..curves import Curves, power_law
from .runs import LOG_TIME, PAPER, SIZE, both_labels, descent_of, flow_of, problem_of


@claim(
    id="aligned-layers-conserved",
    paper="alignment",
    statement=r"$A_k = W_k W_k^\top - W_{k+1}^\top W_{k+1}$ is constant along the flow, up to $t = e^{10^4}$.",
    summary="W_k W_k^T - W_(k+1)^T W_(k+1) is constant in log time, relative to |W|^2.",
    source=f"{PAPER}, and [arora2018optimization]",
    tolerance=1e-12,
    holds={"rule": "flow"},
    violated={"rule": "normalised"},
    control="gradient descent takes the place of the flow",
)
def aligned_layers_conserved(rule: str) -> Evidence:
    if rule == "flow":
        weights, drift = flow_of(2).weights, alignment_bounds(flow_of(2)).conservation_error
    else:
        weights = descent_of("normalised", 2, 5000).weights
        after, before = (weights[0][k] @ weights[0][k].T - weights[1][k].T @ weights[1][k] for k in (-1, 0))
        drift = np.abs(after - before)
    size = max(float(np.sum(w[-1] ** 2)) for w in weights)
    error = float(np.max(drift)) / size
    return Evidence(predicted=0.0, measured=error, error=error, curves=_drift_curves(rule, weights, size))


def _drift_curves(rule: str, weights: tuple[np.ndarray, ...], size: float) -> Curves:
    first, second = weights
    entries = first @ np.swapaxes(first, 1, 2) - np.swapaxes(second, 1, 2) @ second
    drift = np.max(np.abs(entries - entries[0]), axis=(1, 2)) / size
    s = flow_of(2).s if rule == "flow" else descent_of(rule, 2, 5000).s
    label = r"change of $A_1$, relative to $\|W\|^2$ at the end"
    return Curves(LOG_TIME, label, {"drift": (s[1:], drift[1:])}, scale="log-log", with_tolerance=True)


@claim(
    id="norm-gap-bounded",
    paper="alignment",
    statement=r"$\|W_k\|_F^2 - \|W_k\|_2^2 \le D_k = \|W_k(0)\|_F^2 - \|W_L(0)\|_F^2 + \sum_{j \ge k}\|A_j(0)\|_2$.",
    summary="All but the top singular value of each layer stay bounded, by the start.",
    source=f"{PAPER}; the constant per layer follows from the same proof",
    tolerance=1e-9,
    holds={"scale": 1.0},
    violated={"scale": 0.4},
    control="the constant is that of a start of 0.4 times the size",
)
def norm_gap_bounded(scale: float) -> Evidence:
    run = flow_of(2)
    bound = scale**2 * float(alignment_bounds(run).norm_gap[0])
    largest = float(np.max(run.observables.gap[:, 0]))
    curves = Curves(
        LOG_TIME,
        r"$\|W_1\|_F^2 - \|W_1\|_2^2$",
        {
            "measured": (run.s[1:], run.observables.gap[1:, 0]),
            "predicted bound": (run.s[[1, -1]], [bound, bound]),
        },
        scale="log-x",
    )
    error = max(0.0, largest / bound - 1.0)
    return Evidence(predicted=bound, measured=largest, error=error, curves=curves)


@claim(
    id="alignment-bounded",
    paper="alignment",
    statement=r"$\langle v_{k+1}, u_k\rangle^2 \ge 1 - (D_k + \|W_{k+1}(0)\|_2^2 + \|W_k(0)\|_2^2)/\|W_{k+1}\|_2^2$.",
    summary="The top singular vectors of neighbouring layers align at least like 1/|W|^2.",
    source=f"{PAPER}; the constant per layer follows from the same proof",
    tolerance=1e-9,
    holds={"vector": 0},
    violated={"vector": 1},
    control="u_k is the singular vector of the second singular value",
)
def alignment_bounded(vector: int) -> Evidence:
    run = flow_of(2)
    left = np.linalg.svd(run.weights[0])[0][:, :, vector]
    right = run.weights[1][:, 0] / np.linalg.norm(run.weights[1][:, 0], axis=1)[:, None]
    cosine, bound = np.sum(left * right, axis=1) ** 2, alignment_bounds(run).alignment[:, 0]
    slack = float(np.min(cosine - bound))
    late = run.s >= 1.0
    curves = Curves(
        LOG_TIME,
        r"$1 - \langle v_2, u_1\rangle^2$",
        {
            "measured": (run.s[late], 1.0 - cosine[late]),
            "predicted: at most": (run.s[late], 1.0 - bound[late]),
        },
        scale="log-log",
    )
    error = max(0.0, -slack)
    return Evidence(predicted="at least 0", measured=slack, error=error, detail="least slack", curves=curves)


@claim(
    id="risk-falls-like-time",
    paper="alignment",
    statement=r"On separable data $R \to 0$; $-\log R \ge 0.95\,\log t$ once $\log t \ge 100$.",
    summary="The risk falls at least like t^-0.95 by normalised gradient descent, 5000 steps.",
    source=f"{PAPER} (the limit); the rate is ours",
    tolerance=0.05,
    holds={"separable": True},
    violated={"separable": False},
    control="one sample occurs with both labels, so that the data are not separable",
)
def risk_falls_like_time(separable: bool) -> Evidence:
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
    return Evidence(predicted="at least 0.95", measured=-ratio, error=max(0.0, 1.0 + ratio), curves=curves)


@claim(
    id="alignment-rate",
    paper="alignment",
    statement=r"$1 - |\langle v_{k+1}, u_k\rangle| = \Theta((\log t)^{-4/L})$, the square of the published bound.",
    summary="Misalignment falls like (log t)^(-4/L), here L = 2: slope -2.",
    source="derived here from the conservation law",
    tolerance=0.03,
    holds={"window": (100.0, 1e4)},
    violated={"window": (1.0, 10.0)},
    control="the fit is made over log t from 1 to 10, before the regime begins",
)
def alignment_rate(window: tuple[float, float]) -> Evidence:
    rate = fitted_rates(flow_of(2), window).rates["misalignment"]
    curves = _rate_curves((2,), 0, window)
    return Evidence(rate.predicted, rate.fitted, abs(rate.fitted - rate.predicted), curves=curves)


def _rate_curves(depths: tuple[int, ...], shift: int, window: tuple[float, float]) -> Curves:
    """Misalignments over the window of the fit, each with the predicted power law."""
    series = {}
    for depth in depths:
        run = flow_of(depth)
        inside = (run.s >= window[0]) & (run.s <= window[1])
        worst = int(np.argmax(run.observables.misalignment[-1]))
        points = run.s[inside], run.observables.misalignment[inside, worst]
        exponent = predicted_exponents(depth + shift)["misalignment"]
        series[f"measured, $L = {depth}$"] = points
        series[rf"predicted $(\log t)^{{{exponent:.3g}}}$, $L = {depth}$"] = power_law(*points, exponent)
    return Curves(LOG_TIME, r"$1 - |\langle v_{k+1}, u_k\rangle|$", series, scale="log-log")


@claim(
    id="alignment-rate-deep",
    paper="alignment",
    statement=r"$1 - |\langle v_{k+1}, u_k\rangle| = \Theta((\log t)^{-4/L})$ and $\|W_k\|_F \sim (\log "
    r"t/\gamma)^{1/L}$.",
    summary="Misalignment and norm of three and four layers: slopes -4/L and 1/L.",
    source="derived here from the conservation law",
    tolerance=0.03,
    tier="full",
    holds={"shift": 0},
    violated={"shift": 1},
    control="the exponents are those of a network with one more layer",
)
def alignment_rate_deep(shift: int) -> Evidence:
    errors = {}
    for depth in (3, 4):
        rates = fitted_rates(flow_of(depth)).rates
        predicted = predicted_exponents(depth + shift)
        for name in ("misalignment", "norm"):
            errors[f"{name}, L = {depth}"] = abs(rates[name].fitted - predicted[name])
    worst = max(errors.values())
    detail = ", ".join(f"{name}: {error:.3f}" for name, error in errors.items())
    curves = _rate_curves((3, 4), shift, (100.0, 1e4))
    return Evidence(predicted=0.0, measured=worst, error=worst, detail=detail, curves=curves)


@claim(
    id="maximum-margin-direction",
    paper="alignment",
    statement=r"$w/\|w\| \to \bar u$: at $\log t = 10^4$ the margin gap is below $10^{-4}\gamma$ and $1 "
    r"- \cos$ below $10^{-7}$.",
    summary="The predictor turns to the maximum-margin direction (support vectors span the space).",
    source=PAPER,
    tolerance=1.0,
    holds={"angle": 0.0},
    violated={"angle": 1e-3},
    control="the direction is rotated by 1e-3",
)
def maximum_margin_direction(angle: float) -> Evidence:
    run = flow_of(2)
    margin, w = run.problem.margin, run.predictors[-1] / np.linalg.norm(run.predictors[-1])
    aside = np.linalg.svd(margin.direction[None, :])[2][1]
    direction = np.cos(angle) * margin.direction + np.sin(angle) * aside
    error = 0.5 * float(np.sum((w - direction) ** 2))
    gap = float(np.min(run.problem.margins(direction)) - np.min(run.problem.margins(w))) / margin.margin
    return Evidence(
        predicted=0.0,
        measured=error,
        error=max(abs(gap) / 1e-4, error / 1e-7),
        detail=f"1 - cos; margin gap {gap:.1e} of the margin",
        curves=_direction_curves(run.s, run.predictors, direction),
    )


def _direction_curves(s: np.ndarray, predictors: np.ndarray, direction: np.ndarray) -> Curves:
    late = s >= 1.0
    units = predictors[late] / np.linalg.norm(predictors[late], axis=1)[:, None]
    errors = 0.5 * np.sum((units - direction) ** 2, axis=1)
    series = {"measured": (s[late], errors), r"predicted $(\log t)^{-2}$": power_law(s[late], errors, -2.0)}
    return Curves(LOG_TIME, r"$1 - \cos(w, \bar u)$", series, scale="log-log")


@claim(
    id="margin-gap-constant",
    paper="alignment",
    statement=r"$\log t\,(\gamma - \min_i z_i/\|w\|) \to \gamma(H(a) + \log\max_i a_i)$ with the dual "
    r"weights $a$ and their "
    r"entropy $H(a)$.",
    summary="The margin gap times log t tends to a constant that the dual weights give.",
    source="derived here",
    tolerance=2e-3,
    holds={"equal_weights": False},
    violated={"equal_weights": True},
    control="the dual weights are taken to be equal",
)
def margin_gap_constant(equal_weights: bool) -> Evidence:
    run = flow_of(2)
    constant = limit_constants(run.problem)["margin_gap"]
    measured = float(run.observables.margin_gap[-1] * run.s[-1])
    predicted = 0.0 if equal_weights else constant
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
    return Evidence(predicted, measured, abs(measured - predicted) / constant, curves=curves)


@claim(
    id="predictor-grows-like-log-time",
    paper="alignment",
    statement=r"$\gamma\|w\| = \log t + (2 - 2/L)\log\log t + O(1)$: $|\gamma\|w\|/\log t - 1| \le "
    r"0.005$ at $\log t = 10^4$.",
    summary="gamma |w| / log t tends to 1.",
    source="derived here",
    tolerance=5e-3,
    holds={"log_time": 1e4},
    violated={"log_time": 100.0},
    control="read at log t = 100, where log log t still counts",
)
def predictor_grows_like_log_time(log_time: float) -> Evidence:
    run = flow_of(2)
    at = int(np.argmin(np.abs(run.s - log_time)))
    ratio = float(run.problem.margin.margin * run.observables.predictor_norm[at] / run.s[at])
    seen = (run.s >= 10.0) & (run.s <= run.s[at])
    ratios = run.problem.margin.margin * run.observables.predictor_norm[seen] / run.s[seen]
    series = {"measured": (run.s[seen], ratios), "predicted limit": ([10.0, float(run.s[at])], [1.0, 1.0])}
    curves = Curves(LOG_TIME, r"$\gamma\|w\|/\log t$", series, scale="log-x")
    return Evidence(predicted=1.0, measured=ratio, error=abs(ratio - 1.0), curves=curves)
