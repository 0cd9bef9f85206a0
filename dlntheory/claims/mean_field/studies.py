"""Claims of the mean-field theory that compare it with finite networks, and its predictions on hyperparameters."""

from __future__ import annotations

import dataclasses
import math
from functools import lru_cache
from typing import Any

import numpy as np

from ...theory.mean_field import MeanFieldConfig, solve
from ...theory.mean_field.comparison import compare
from ...theory.mean_field.rate_transfer import best_rate
from ...theory.mean_field.simulation import Simulation, simulate
from ...theory.mean_field.sweeps import data_sweep, depth_deviation, depth_sweep, width_sweep
from ..base import Evidence, claim
from ..curves import Curves, power_law

SOURCE = "[bordelon2025deep]"
RUN: dict[str, Any] = {"T": 31, "L": 2, "eta": 0.05, "nu": 1.0, "sigma": 0.5}


def _theory_and_networks(predicted: np.ndarray, measured: np.ndarray) -> Curves:
    steps = np.arange(len(predicted))
    series = {"measured: mean of networks": (steps, measured), "predicted": (steps, predicted)}
    return Curves("steps $t$", "test error", series)


@lru_cache(maxsize=4)
def _networks(config: MeanFieldConfig, D: int, seeds: int) -> Simulation:
    return simulate(config, D, seeds, progress=False)


@claim(
    id="mean-field-equals-finite-networks",
    paper="mean-field",
    statement=r"As $D, N, P \to \infty$ at fixed ratios the test error of gradient descent tends to the "
    r"solution of the "
    r"mean-field equations; at $D = 192$ the mean of 40 networks deviates by a few percent along the "
    r"whole run.",
    summary="The theory predicts the test error of trained finite networks (D = 192, 40 seeds).",
    source=SOURCE + "; equations re-derived for discrete steps",
    tolerance=0.08,
    holds={"alpha": 2.0},
    violated={"alpha": 3.0},
    control="the theory is solved for half as much data again as the networks are trained on",
)
def mean_field_equals_finite_networks(alpha: float) -> Evidence:
    config = MeanFieldConfig(**RUN, alpha=2.0)
    simulation = _networks(config, 192, 40)
    predicted, measured = solve(config.replace(alpha=alpha)).gen, simulation.mean("gen")
    deviation = np.abs(measured / predicted - 1.0)
    standard = float(np.max(simulation.standard_error("gen") / predicted))
    return Evidence(
        predicted=float(predicted[-1]),
        measured=float(measured[-1]),
        error=float(np.max(deviation)),
        detail=f"largest relative deviation over {config.T} times; largest standard error {standard:.1e}",
        curves=_theory_and_networks(predicted, measured),
    )


@claim(
    id="mean-field-large-networks",
    paper="mean-field",
    statement=r"At $D = 512$ the deviation of 24 networks from the mean-field solution is explained by their "
    r"scatter: "
    r"$|z| < 4.5$ for test error, train error and all kernels at all times, minibatches included.",
    summary="Large networks (D = 512) agree with the theory within their scatter in every order parameter.",
    source=SOURCE + "; equations re-derived for discrete steps",
    tolerance=4.5,
    holds={"batch_fraction": 0.25},
    violated={"batch_fraction": 0.4},
    control="the theory is solved for larger minibatches than the networks are trained on",
    tier="full",
)
def mean_field_large_networks(batch_fraction: float) -> Evidence:
    config = MeanFieldConfig(**{**RUN, "sigma": 0.3, "T": 61}, alpha=2.0, batch_fraction=0.25)
    simulation = _networks(config, 512, 24)
    theory = dataclasses.replace(solve(config.replace(batch_fraction=batch_fraction)), config=config)
    both = compare(theory, simulation)
    worst = max(both.deviations.values(), key=lambda one: one.max_z)
    return Evidence(
        predicted=0.0,
        measured=worst.max_z,
        error=worst.max_z,
        detail=f"largest z in {worst.name}; gen deviates by {both['gen'].max_relative:.1%}",
        curves=_theory_and_networks(theory.gen, simulation.mean("gen")),
    )


@claim(
    id="mean-field-error-one-over-size",
    paper="mean-field",
    statement=r"The mean over finite networks approaches the mean-field solution like $1/D$: $D$ times the "
    r"relative bias "
    r"of the test error is the same at $D = 16$ and $D = 64$.",
    summary="The bias of finite networks decays as 1/D.",
    source="measured; order of the correction as in " + SOURCE,
    tolerance=0.25,
    holds={"exponent": 1.0},
    violated={"exponent": 0.5},
    control="the bias is scaled by the square root of D, the law of the scatter of single networks",
    tier="full",
)
def mean_field_error_one_over_size(exponent: float) -> Evidence:
    config = MeanFieldConfig(**{**RUN, "T": 41}, alpha=2.0)
    predicted = solve(config).gen[-1]
    bias = {
        D: float(_networks(config, D, seeds).mean("gen")[-1] / predicted - 1.0)
        for D, seeds in ((16, 3000), (64, 3000))
    }
    scaled = {D: D**exponent * value for D, value in bias.items()}
    sizes, values = list(bias), [abs(value) for value in bias.values()]
    guide = power_law(sizes, values, -exponent)
    return Evidence(
        predicted=1.0,
        measured=scaled[64] / scaled[16],
        error=abs(scaled[64] / scaled[16] - 1.0),
        detail=", ".join(f"bias {value:.2%} at D = {D}" for D, value in bias.items()),
        curves=Curves(
            "input dimension $D$",
            "relative bias of the test error",
            {"measured": (sizes, values), f"predicted $D^{{{-exponent:g}}}$": guide},
            scale="log-log",
        ),
    )


@claim(
    id="mean-field-wider-is-better",
    paper="mean-field",
    statement=r"In mean-field parameterisation with population data the test error at every time falls when the "
    r"width "
    r"$\nu = N/D$ grows.",
    summary="Wider is better at every time, on the population.",
    source=SOURCE,
    tolerance=1e-12,
    holds={"sigma": 0.0, "alpha": math.inf},
    violated={"sigma": 0.5, "alpha": 2.0},
    control="a noisy training set is used for long: wide networks fit the noise sooner",
)
def mean_field_wider_is_better(sigma: float, alpha: float) -> Evidence:
    config = MeanFieldConfig(T=101, L=2, eta=0.05, sigma=sigma, alpha=alpha)
    widths, names = (1.0, 2.0, 8.0, math.inf), (r"$\nu = 1$", r"$\nu = 2$", r"$\nu = 8$", r"$\nu = \infty$")
    curves = width_sweep(config, widths).curves()
    # Below 1e-13 the errors of the population are rounding.
    increase = float(np.max(np.where(curves[1:] > 1e-13, np.diff(curves, axis=0), -np.inf)[:, 1:]))
    return Evidence(
        predicted="no increase with the width",
        measured=f"largest increase {increase:.2e}",
        error=max(increase, 0.0),
        detail=f"at the end: {', '.join(f'{value:.4g}' for value in curves[:, -1])} for nu = 1, 2, 8, inf",
        curves=Curves(
            "steps $t$",
            "test error",
            {name: (np.arange(len(gen)), gen) for name, gen in zip(names, curves, strict=True)},
            scale="log-y",
        ),
    )


@claim(
    id="mean-field-rate-transfer-width",
    paper="mean-field",
    statement=r"With $\gamma_0$ fixed (μP) the best learning rate settles when the width grows from $\nu = 8$ "
    r"to $64$; with "
    r"$\gamma_0 \propto \nu^{-1/2}$ (NTK parameterisation) it keeps moving.",
    summary="The best learning rate transfers across width in muP, not in the NTK parameterisation.",
    source=SOURCE,
    tolerance=0.07,
    holds={"parameterisation": "mup"},
    violated={"parameterisation": "ntk"},
    control="the NTK parameterisation, richness gamma = 4",
)
def mean_field_rate_transfer_width(parameterisation: str) -> Evidence:
    best, series = {}, {}
    for nu in (8.0, 64.0):
        gamma0 = 1.0 if parameterisation == "mup" else 4.0 / math.sqrt(nu)
        found = best_rate(MeanFieldConfig(T=9, L=2, eta=0.1, nu=nu, gamma0=gamma0), 0.1, 0.6)
        best[nu], series[rf"$\nu = {nu:g}$"] = found.eta, tuple(zip(*found.grid, strict=True))
    ratio = best[64.0] / best[8.0]
    return Evidence(
        predicted=1.0,
        measured=ratio,
        error=abs(ratio - 1.0),
        detail=f"best eta {best[8.0]:.3f} at nu = 8, {best[64.0]:.3f} at nu = 64",
        curves=Curves(r"learning rate $\eta$", "test error after 8 steps", series, scale="log-log"),
    )


@claim(
    id="mean-field-rate-transfer-depth",
    paper="mean-field",
    statement=r"With residual branches scaled by $1/\sqrt{\text{blocks}}$ the best learning rate settles when "
    r"the depth "
    r"doubles from 8 to 16 blocks.",
    summary="The best learning rate transfers across depth if branches shrink as 1/sqrt(depth).",
    source=SOURCE,
    tolerance=0.12,
    holds={"scaled": True},
    violated={"scaled": False},
    control="branches of the fixed scale 1/2, whatever the depth",
    tier="full",
)
def mean_field_rate_transfer_depth(scaled: bool) -> Evidence:
    best, series = {}, {}
    for blocks in (8, 16):
        branch = 1.0 if scaled else 0.5 * math.sqrt(blocks)
        config = MeanFieldConfig(T=11, L=blocks + 1, eta=0.1, nu=2.0, residual=branch)
        found = best_rate(config, 1e-3, 0.3, factor=1.2)
        best[blocks], series[f"{blocks} blocks"] = found.eta, tuple(zip(*found.grid, strict=True))
    ratio = best[16] / best[8]
    return Evidence(
        predicted=1.0,
        measured=ratio,
        error=abs(ratio - 1.0),
        detail=f"best eta {best[8]:.4f} with 8 blocks, {best[16]:.4f} with 16",
        curves=Curves(r"learning rate $\eta$", "test error after 10 steps", series, scale="log-log"),
    )


@claim(
    id="mean-field-depth-limit",
    paper="mean-field",
    statement=r"Residual networks with branches of scale $1/\sqrt{n}$ converge with the number n of blocks at "
    r"rate $1/n$: "
    r"the distance from the limit halves from 8 to 16 blocks.",
    summary="Training curves of deep residual networks converge at rate 1/depth.",
    source=SOURCE + "; the rate is measured",
    tolerance=0.12,
    holds={"scaled": True},
    violated={"scaled": False},
    control="branches of fixed scale: the curves run away with depth",
)
def mean_field_depth_limit(scaled: bool) -> Evidence:
    base = MeanFieldConfig(T=7, L=2, eta=0.02, nu=1.0, alpha=2.0, sigma=0.3, residual=1.0)
    if scaled:
        deviation = depth_deviation(depth_sweep(base, (8, 16, 32, 64)))
    else:
        gen = {
            n: solve(base.replace(L=n + 1, residual=math.sqrt(n) / 2), warn=False).gen for n in (8, 16, 32)
        }
        limit = 2.0 * gen[32][:1] - gen[16][:1]
        deviation = {n: float(np.max(np.abs(gen[n][:1] / limit - 1.0))) for n in (8, 16)}
    ratio = deviation[8] / deviation[16]
    points = list(deviation), list(deviation.values())
    return Evidence(
        predicted=2.0,
        measured=ratio,
        error=abs(ratio - 2.0),
        detail=f"relative distance {deviation[8]:.2%} with 8 blocks, {deviation[16]:.2%} with 16",
        curves=Curves(
            "number of blocks $n$",
            "relative distance from the limit",
            {"measured": points, "predicted $1/n$": power_law(*points, -1.0)},
            scale="log-log",
        ),
    )


@claim(
    id="mean-field-train-below-test",
    paper="mean-field",
    statement=r"After the first step the train error lies below the test error on noisy labels, and the gap "
    r"shrinks when "
    r"the amount of data $\alpha = P/D$ grows.",
    summary="Repeated data give a gap between train and test error that more data close.",
    source=SOURCE,
    tolerance=1e-12,
    holds={"data": "fixed"},
    violated={"data": "onepass"},
    control="every step uses fresh data: there is no gap to close",
)
def mean_field_train_below_test(data: str) -> Evidence:
    config = MeanFieldConfig(T=61, L=2, eta=0.05, nu=1.0, sigma=0.5, data=data)
    alphas = (0.5, 1.0, 2.0, 4.0)
    found = data_sweep(config, alphas)
    gap = (found.curves("test") - found.curves("train"))[:, 1:]
    # Both orderings as one number: how much is missing to a gap that is positive and decreasing with the data.
    missing = max(float(np.max(1e-3 - gap)), float(np.max(np.diff(gap[:, -1]))), 0.0)
    return Evidence(
        predicted="a positive gap that falls with alpha",
        measured=f"gaps {', '.join(f'{value:.3g}' for value in gap[:, -1])} at the end",
        error=missing,
        curves=Curves(
            "steps $t$",
            "test error minus train error",
            {
                rf"$\alpha = {alpha:g}$": (np.arange(1, gap.shape[1] + 1), one)
                for alpha, one in zip(alphas, gap, strict=True)
            },
        ),
    )
