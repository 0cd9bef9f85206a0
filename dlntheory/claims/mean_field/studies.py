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
from ...theory.mean_field.sweeps import data_sweep, width_sweep
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence, Interval

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
    statement=r"As $D, N, P \to \infty$ at fixed ratios the test error of gradient descent tends to the solution of "
    "the mean-field equations; at $D = 192$ the mean of 40 networks deviates by a few percent along the whole run.",
    source=SOURCE + "; equations re-derived for discrete steps",
    tolerance=0.08,
    arguments={"alpha": 2.0},
    control_arguments={"alpha": 3.0},
    control="the networks are trained on half as much data again as the theory is solved for",
)
def mean_field_equals_finite_networks(alpha: float) -> Evidence:
    """The theory predicts the test error of trained finite networks (D = 192, 40 seeds)."""
    theory = MeanFieldConfig(**RUN, alpha=2.0)
    simulation = _networks(theory.replace(alpha=alpha), 192, 40)
    predicted, measured = solve(theory).gen, simulation.mean("gen")
    standard = float(np.max(simulation.standard_error("gen") / predicted))
    return Evidence(
        predicted,
        measured,
        predicted,
        detail=f"relative; largest standard error {standard:.1e} over {theory.T} times",
        curves=_theory_and_networks(predicted, measured),
    )


@claim(
    statement="At $D = 512$ the deviation of 24 networks from the mean-field solution is explained by their scatter: "
    "$|z| < 4.5$ for test error, train error and all kernels at all times, minibatches included.",
    source=SOURCE + "; equations re-derived for discrete steps",
    tolerance=4.5,
    arguments={"batch_fraction": 0.25},
    control_arguments={"batch_fraction": 0.4},
    control="the theory is solved for larger minibatches than the networks are trained on",
    tier="full",
)
def mean_field_large_networks(batch_fraction: float) -> Evidence:
    """Large networks (D = 512) agree with the theory within their scatter in every order parameter."""
    config = MeanFieldConfig(**{**RUN, "sigma": 0.3, "T": 61}, alpha=2.0, batch_fraction=0.25)
    simulation = _networks(config, 512, 24)
    theory = dataclasses.replace(solve(config.replace(batch_fraction=batch_fraction)), config=config)
    both = compare(theory, simulation)
    worst = max(both.deviations.values(), key=lambda one: one.max_z)
    return Evidence(
        0.0,
        worst.max_z,
        detail=f"largest z in {worst.name}; gen deviates by {both['gen'].max_relative:.1%}",
        curves=_theory_and_networks(theory.gen, simulation.mean("gen")),
    )


@claim(
    statement="The mean over finite networks approaches the mean-field solution like $1/D$: $D$ times the relative "
    "bias of the test error is the same at $D = 16$ and $D = 64$.",
    source="measured; order of the correction as in " + SOURCE,
    tolerance=0.1,
    arguments={"seeds": 3000},
    control_arguments={"seeds": 4},
    control="a mean over four networks, whose scatter hides the bias",
    tier="full",
)
def mean_field_error_one_over_size(seeds: int) -> Evidence:
    """The bias of finite networks decays as 1/D."""
    config, sizes = MeanFieldConfig(**{**RUN, "T": 41}, alpha=2.0), (16, 64)
    predicted = solve(config).gen[-1]
    bias = np.array([float(_networks(config, D, seeds).mean("gen")[-1] / predicted - 1.0) for D in sizes])
    scaled = np.array(sizes) * bias
    points = sizes, np.abs(bias)
    curves = Curves(
        "input dimension $D$",
        "relative bias of the test error",
        {"measured": points, "predicted $D^{-1}$": power_law(*points, -1.0)},
        scale="log-log",
    )
    detail = ", ".join(f"bias {value:.2%} at D = {D}" for D, value in zip(sizes, bias, strict=True))
    return Evidence(1.0, scaled[1] / scaled[0], detail=f"ratio of D times the bias; {detail}", curves=curves)


@claim(
    statement="In mean-field parameterisation with population data the test error at every time falls when the width "
    r"$\nu = N/D$ grows.",
    source=SOURCE,
    tolerance=1e-12,
    arguments={"sigma": 0.0, "alpha": math.inf},
    control_arguments={"sigma": 0.5, "alpha": 2.0},
    control="a noisy training set is used for long: wide networks fit the noise sooner",
)
def mean_field_wider_is_better(sigma: float, alpha: float) -> Evidence:
    """Wider is better at every time, on the population."""
    config = MeanFieldConfig(T=101, L=2, eta=0.05, sigma=sigma, alpha=alpha)
    widths, names = (1.0, 2.0, 8.0, math.inf), (r"$\nu = 1$", r"$\nu = 2$", r"$\nu = 8$", r"$\nu = \infty$")
    curves = width_sweep(config, widths).curves()
    # Below 1e-13 the errors of the population are rounding.
    increase = float(np.max(np.where(curves[1:] > 1e-13, np.diff(curves, axis=0), -np.inf)[:, 1:]))
    ends = ", ".join(f"{value:.4g}" for value in curves[:, -1])
    return Evidence(
        Interval(high=0.0),
        increase,
        detail=f"largest increase with the width; at the end for nu = 1, 2, 8, inf: {ends}",
        curves=Curves(
            "steps $t$",
            "test error",
            {name: (np.arange(len(gen)), gen) for name, gen in zip(names, curves, strict=True)},
            scale="log-y",
        ),
    )


@claim(
    statement=r"With $\gamma_0$ fixed (μP) the best learning rate settles when the width grows from $\nu = 8$ to $64$; "
    r"with $\gamma_0 \propto \nu^{-1/2}$ (NTK parameterisation) it keeps moving.",
    source=SOURCE,
    tolerance=0.07,
    arguments={"parameterisation": "mup"},
    control_arguments={"parameterisation": "ntk"},
    control="the NTK parameterisation, richness gamma = 4",
)
def mean_field_rate_transfer_width(parameterisation: str) -> Evidence:
    """The best learning rate transfers across width in muP, not in the NTK parameterisation."""
    best, series = {}, {}
    for nu in (8.0, 64.0):
        gamma0 = 1.0 if parameterisation == "mup" else 4.0 / math.sqrt(nu)
        found = best_rate(MeanFieldConfig(T=9, L=2, eta=0.1, nu=nu, gamma0=gamma0), 0.1, 0.6)
        best[nu], series[rf"$\nu = {nu:g}$"] = found.eta, tuple(zip(*found.grid, strict=True))
    ratio = best[64.0] / best[8.0]
    return Evidence(
        1.0,
        ratio,
        detail=f"best eta {best[8.0]:.3f} at nu = 8, {best[64.0]:.3f} at nu = 64",
        curves=Curves(r"learning rate $\eta$", "test error after 8 steps", series, scale="log-log"),
    )


@claim(
    statement=r"With residual branches scaled by $1/\sqrt{\text{blocks}}$ the best learning rate settles when the "
    "depth doubles from 8 to 16 blocks.",
    source=SOURCE,
    tolerance=0.12,
    arguments={"scaled": True},
    control_arguments={"scaled": False},
    control="branches of the fixed scale 1/2, whatever the depth",
    tier="full",
)
def mean_field_rate_transfer_depth(scaled: bool) -> Evidence:
    """The best learning rate transfers across depth if branches shrink as 1/sqrt(depth)."""
    best, series = {}, {}
    for blocks in (8, 16):
        branch = 1.0 if scaled else 0.5 * math.sqrt(blocks)
        config = MeanFieldConfig(T=11, L=blocks + 1, eta=0.1, nu=2.0, residual=branch)
        found = best_rate(config, 1e-3, 0.3, factor=1.2)
        best[blocks], series[f"{blocks} blocks"] = found.eta, tuple(zip(*found.grid, strict=True))
    ratio = best[16] / best[8]
    return Evidence(
        1.0,
        ratio,
        detail=f"best eta {best[8]:.4f} with 8 blocks, {best[16]:.4f} with 16",
        curves=Curves(r"learning rate $\eta$", "test error after 10 steps", series, scale="log-log"),
    )


@claim(
    statement=r"Residual networks with branches of scale $1/\sqrt{n}$ converge with the number n of blocks at rate "
    "$1/n$: the distance from the limit halves from 8 to 16 blocks.",
    source=SOURCE + "; the rate is measured",
    tolerance=0.12,
    arguments={"power": 0.5},
    control_arguments={"power": 0.35},
    control="branches of scale n^(-0.35), which are too large for a limit",
)
def mean_field_depth_limit(power: float) -> Evidence:
    """Training curves of deep residual networks converge at rate 1/depth."""
    base = MeanFieldConfig(T=7, L=2, eta=0.02, nu=1.0, alpha=2.0, sigma=0.3, residual=1.0)
    gen = {
        n: solve(base.replace(L=n + 1, residual=(n / 8) ** (0.5 - power)), warn=False).gen
        for n in (8, 16, 32, 64)
    }
    limit = 2.0 * gen[64] - gen[32]
    deviation = {n: float(np.max(np.abs(gen[n] / limit - 1.0))) for n in (8, 16)}
    points = list(deviation), list(deviation.values())
    return Evidence(
        2.0,
        deviation[8] / deviation[16],
        detail=f"relative distance {deviation[8]:.2%} with 8 blocks, {deviation[16]:.2%} with 16",
        curves=Curves(
            "number of blocks $n$",
            "relative distance from the limit",
            {"measured": points, "predicted $1/n$": power_law(*points, -1.0)},
            scale="log-log",
        ),
    )


@claim(
    statement="After the first step the train error lies below the test error on noisy labels, and the gap shrinks "
    r"when the amount of data $\alpha = P/D$ grows.",
    source=SOURCE,
    tolerance=1e-12,
    arguments={"data": "fixed"},
    control_arguments={"data": "onepass"},
    control="every step uses fresh data: there is no gap to close",
)
def mean_field_train_below_test(data: str) -> Evidence:
    """Repeated data give a gap between train and test error that more data close."""
    config = MeanFieldConfig(T=61, L=2, eta=0.05, nu=1.0, sigma=0.5, data=data)
    alphas = (0.5, 1.0, 2.0, 4.0)
    found = data_sweep(config, alphas)
    gap = (found.curves("test") - found.curves("train"))[:, 1:]
    parts = {
        "gap": Evidence(Interval(low=1e-3), gap),
        "growth with alpha": Evidence(Interval(high=0.0), np.diff(gap[:, -1])),
    }
    return Evidence.worst(
        parts,
        detail=f"gaps {', '.join(f'{value:.3g}' for value in gap[:, -1])} at the end",
        curves=Curves(
            "steps $t$",
            "test error minus train error",
            {
                rf"$\alpha = {alpha:g}$": (np.arange(1, gap.shape[1] + 1), one)
                for alpha, one in zip(alphas, gap, strict=True)
            },
        ),
    )
