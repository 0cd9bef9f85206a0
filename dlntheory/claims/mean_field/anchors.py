"""Claims of the mean-field theory that need no simulation: limits with a closed form, and exponents."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ...theory.mean_field import (
    MeanFieldConfig,
    infinite_one_layer,
    initial_error,
    lazy_finite_data,
    lazy_finite_width,
    least_squares_floor,
    log_slope,
    power_law_modes,
    rank_one_flow,
    rich_exponent,
    solve,
)
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence

SOURCE = "[bordelon2025deep]; equations re-derived for discrete steps"
DERIVED = "derived for dlntheory from the mean-field equations; setting of [bordelon2025deep]"


def _test_errors(predicted: np.ndarray, measured: np.ndarray) -> Curves:
    """Two courses of the test error over the steps."""
    series = {
        name: (np.arange(len(values)), values)
        for name, values in (("measured: equations solved", measured), ("predicted", predicted))
    }
    return Curves("steps $t$", "test error", series, scale="log-y")


def _same_curve(predicted: np.ndarray, measured: np.ndarray, *, relative: bool = True) -> Evidence:
    """Two courses of an error over the steps, of which the measured one must not be truncated."""
    if len(measured) != len(predicted):
        return Evidence(f"{len(predicted)} times", f"diverged after {len(measured)}")
    return Evidence(predicted, measured, predicted if relative else 1.0)


@claim(
    statement=r"Before training, $\mathrm{gen} = \sum p\lambda b^2 + \frac{\sum p\lambda}{\gamma_0^2\nu}\, s_0^2 s_L^2 "
    r"\prod_l a_l$ with $a_l = s_l^2$ in a plain and $1 + s_l^2 b^2/(L-1)$ in a residual network.",
    source=SOURCE,
    tolerance=2e-15,
    arguments={"centered": False},
    control_arguments={"centered": True},
    control="the initial function is subtracted from the network",
)
def mean_field_initial_error(centered: bool) -> Evidence:
    """The test error at the start is the teacher's variance plus that of the initial function."""
    settings: dict[str, Any] = {"T": 1, "eta": 0.01, "gamma0": 0.8, "nu": 0.7, "alpha": 2.0}
    spectrum: dict[str, Any] = {"lam": (2.0, 1.0, 0.25), "p": (0.25, 0.25, 0.5), "teacher2": (1.0, 0.5, 1.5)}
    configs = [
        MeanFieldConfig(L=3, init_std=(0.7, 0.5, 1.2, 0.9), **settings),
        MeanFieldConfig(L=4, residual=1.3, init_std=(0.7, 1.0, 1.0, 1.0, 0.9), **settings, **spectrum),
    ]
    expected = np.array([initial_error(config) for config in configs])
    found = np.array([solve(config.replace(centered=centered)).gen[0] for config in configs])
    return Evidence(expected, found, expected)


@claim(
    statement=r"At infinite width and data, one hidden layer obeys $q_\pm' = q_\pm(1 \pm \eta\gamma_0 v)$, "
    r"$v = 1 - (q_+^2 - q_-^2)/(2\gamma_0)$, $\mathrm{gen} = v^2$, at any richness.",
    source=DERIVED,
    tolerance=4e-15,
    arguments={"L": 1},
    control_arguments={"L": 2},
    control="there are two hidden layers",
)
def mean_field_infinite_one_layer(L: int) -> Evidence:
    """One hidden layer of infinite width is a recursion of two numbers."""
    parts, series = {}, {}
    for gamma0 in (0.3, 1.0, 3.0):
        found = solve(MeanFieldConfig(T=61, L=L, eta=0.05, gamma0=gamma0)).gen
        expected = infinite_one_layer(61, eta=0.05, gamma0=gamma0)
        parts[f"gamma0 = {gamma0:g}"] = _same_curve(expected, found, relative=False)
        series[rf"measured, $\gamma_0 = {gamma0:g}$"] = np.arange(61), found
        series[rf"predicted, $\gamma_0 = {gamma0:g}$"] = np.arange(61), expected
    curves = Curves("steps $t$", "test error", series, scale="log-y")
    return Evidence.worst(parts, detail="test error at the step that is off most", curves=curves)


@claim(
    statement=r"As $\gamma_0 \to 0$ at infinite width, $\mathrm{gen} = \langle (1-cx)^{2t} \rangle + "
    r"\frac{\sigma^2}{\alpha} \langle (1-(1-cx)^t)^2/x \rangle_{x>0}$, $c = \eta(L+1)$, over the "
    r"Marchenko–Pastur law of $X^\top X/P$; training error likewise.",
    source=DERIVED,
    tolerance=5e-10,
    arguments={"gamma0": 1e-5},
    control_arguments={"gamma0": 0.1},
    control="the network is rich enough to move its features",
)
def mean_field_lazy_finite_data(gamma0: float) -> Evidence:
    """Lazy training on finite data is an average over the Marchenko-Pastur law."""
    parts, series = {}, {}
    for alpha in (0.7, 2.0):
        found = solve(MeanFieldConfig(T=41, L=2, eta=0.05, gamma0=gamma0, alpha=alpha, sigma=0.4))
        gen, train = lazy_finite_data(41, L=2, eta=0.05, alpha=alpha, sigma=0.4)
        for name, expected, values in (("test", gen, found.gen), ("train", train, found.train)):
            parts[f"{name}, alpha = {alpha:g}"] = _same_curve(expected, values)
            series[rf"{name} error, $\alpha = {alpha:g}$"] = np.arange(41), np.abs(values / expected - 1)
    curves = Curves("steps $t$", "relative deviation", series, scale="log-y", with_tolerance=True)
    return Evidence.worst(parts, detail="relative, at the step that is off most", curves=curves)


@claim(
    statement=r"As $\gamma_0 \to 0$, one hidden layer with centred output has on the population $\mathrm{gen} = "
    r"\langle (1-\eta(1+x))^{2t} \rangle$ over the Marchenko–Pastur law of $W^{0\top} W^0/N$.",
    source=DERIVED,
    tolerance=5e-8,
    arguments={"gamma0": 1e-3},
    control_arguments={"gamma0": 0.1},
    control="the network is rich enough to move its features",
)
def mean_field_lazy_finite_width(gamma0: float) -> Evidence:
    """Lazy training of a finite width is an average over the Marchenko-Pastur law."""
    parts, series = {}, {}
    for nu in (0.5, 2.0):
        found = solve(MeanFieldConfig(T=61, L=1, eta=0.1, gamma0=gamma0, nu=nu, centered=True)).gen
        expected = lazy_finite_width(61, eta=0.1, nu=nu)
        parts[f"nu = {nu:g}"] = _same_curve(expected, found, relative=False)
        series[rf"$\nu = {nu:g}$"] = np.arange(61), np.abs(found - expected)
    label = "deviation of the test error"
    curves = Curves("steps $t$", label, series, scale="log-y", with_tolerance=True)
    return Evidence.worst(parts, detail="absolute, at the step that is off most", curves=curves)


@claim(
    statement=r"For $\alpha > 1$ full-batch training ends at ordinary least squares: $\mathrm{gen} \to "
    r"\sigma^2/(\alpha - 1)$, $\mathrm{train} \to \sigma^2 (1 - 1/\alpha)$.",
    source=DERIVED,
    tolerance=1e-7,
    arguments={"batch_fraction": 1.0},
    control_arguments={"batch_fraction": 0.5},
    control="every step draws half of the training set, whose noise never dies out",
)
def mean_field_least_squares_floor(batch_fraction: float) -> Evidence:
    """With more samples than dimensions, training ends at ordinary least squares."""
    config = MeanFieldConfig(
        T=401, L=2, eta=0.05, nu=2.0, alpha=4.0, sigma=0.5, batch_fraction=batch_fraction
    )
    found = solve(config)
    gen, train = least_squares_floor(4.0, 0.5)
    steps = np.arange(len(found.gen))
    series = {
        "test error": (steps, np.abs(found.gen / gen - 1)),
        "train error": (steps, np.abs(found.train / train - 1)),
    }
    label = "relative distance from the predicted limit"
    curves = Curves("steps $t$", label, series, scale="log-y", with_tolerance=True)
    parts = {
        "test": Evidence(gen, float(found.gen[-1]), gen),
        "train": Evidence(train, float(found.train[-1]), train),
    }
    return Evidence.worst(parts, curves=curves)


@claim(
    statement=r"Minibatches of a fraction $b$ of $\alpha D$ samples tend to one-pass training with ratio $\alpha b$ "
    r"as $\alpha \to \infty$, with a deviation of order $1/\alpha$.",
    source=DERIVED,
    tolerance=1.5e-3,
    arguments={"alpha": 5000.0},
    control_arguments={"alpha": 5.0},
    control="the training set is small enough to be seen again and again",
)
def mean_field_minibatches_to_one_pass(alpha: float) -> Evidence:
    """Small batches of a huge training set are one-pass training."""
    base = MeanFieldConfig(T=61, L=2, eta=0.05, nu=1.0, sigma=0.3, alpha=0.5, data="onepass")
    fresh = solve(base).gen
    found = solve(base.replace(data="fixed", alpha=alpha, batch_fraction=0.5 / alpha)).gen
    same = _same_curve(fresh, found)
    return Evidence.worst([same], detail="test error, relative", curves=_test_errors(fresh, found))


@claim(
    statement=r"As $\eta \to 0$ at fixed $\eta t$ the curves tend to those of gradient flow at first order in $\eta$: "
    r"successive halvings of $\eta$ halve the change.",
    source=DERIVED,
    tolerance=0.2,
    arguments={"clock": "eta t"},
    control_arguments={"clock": "steps"},
    control="the number of steps is held fixed instead of their total length",
)
def mean_field_gradient_flow_order(clock: str) -> Evidence:
    """Discrete training tends to gradient flow at first order in the learning rate."""
    values, courses = [], []
    for eta in (0.02, 0.01, 0.005):
        steps = round(1.6 / eta) if clock == "eta t" else 40
        config = MeanFieldConfig(T=steps + 1, L=2, eta=eta, nu=1.0, alpha=2.0, sigma=0.3)
        gen = solve(config).gen
        values.append(float(gen[-1]))
        courses.append(gen[:: (len(gen) - 1) // 40])
    ratio = (values[0] - values[1]) / (values[1] - values[2])
    first, second = courses[0] - courses[1], courses[1] - courses[2]
    part = np.linspace(0.0, 1.0, len(first))
    series = {
        r"$\eta$ from 0.02 to 0.01": (part, first),
        r"measured: $\eta$ from 0.01 to 0.005": (part, second),
        "predicted: half of the first": (part, first / 2),
    }
    curves = Curves("part of the run", "change of the test error", series)
    return Evidence(2.0, ratio, curves=curves)


@claim(
    statement=r"At infinite width the trained function does not depend on the initialisation: averaging over "
    r"initialisations at fixed data changes nothing.",
    source=DERIVED,
    tolerance=2e-15,
    arguments={"nu": math.inf},
    control_arguments={"nu": 8.0},
    control="the width is eight times the input dimension",
)
def mean_field_ensemble_at_infinite_width(nu: float) -> Evidence:
    """Averaging networks over initialisations changes nothing at infinite width."""
    found = solve(MeanFieldConfig(T=41, L=2, eta=0.05, nu=nu, alpha=2.0, sigma=0.5), ensemble=True)
    assert found.ensemble is not None
    same = _same_curve(found.gen, found.ensemble)
    return Evidence.worst([same], detail="relative", curves=_test_errors(found.gen, found.ensemble))


@claim(
    statement=r"On power-law data, $\lambda_k = k^{-a}$ and $\lambda_k \beta_{*k}^2 \sim k^{-ab-1}$ with $b < 1$, the "
    r"balanced rank-one flow has $\mathrm{gen} \sim t^{-(L+1)b/(1+Lb)}$.",
    source=DERIVED,
    tolerance=0.01,
    arguments={"end": 1e12},
    control_arguments={"end": 1e4},
    control="the spectrum ends after 10,000 modes, which bends the curve upward",
)
def mean_field_rank_one_exponent(end: float) -> Evidence:
    """Rank-one training of L hidden layers speeds up power laws to (L+1)b/(1+Lb)."""
    cases, found, expected = ((0.3, 1), (0.5, 1), (0.5, 2), (0.5, 3), (1.5, 2)), [], []
    for source, L in cases:
        run = rank_one_flow(power_law_modes(2.0, source, end=end), L, [1e5])
        found.append(float(run.slope[-1]))
        expected.append(rich_exponent(source, L))
    numbers = np.arange(1, len(cases) + 1)
    curves = Curves(
        "case: " + ", ".join(f"$(b, L) = ({source:g}, {L})$" for source, L in cases),
        "exponent of the test error",
        {"measured": (numbers, found), "predicted": (numbers, expected)},
    )
    return Evidence(expected, found, detail="exponent; five (b, L)", curves=curves)


@claim(
    statement=r"On power-law data with source exponent $b = \frac12$, rich training of one hidden layer falls as "
    r"$t^{-2b/(1+b)} = t^{-2/3}$, lazy training as $t^{-b}$ (infinite width, population).",
    source=SOURCE,
    tolerance=0.02,
    arguments={"gamma0": 3.0},
    control_arguments={"gamma0": 1e-4},
    control="the network is lazy",
)
def mean_field_rich_exponent(gamma0: float) -> Evidence:
    """Rich training accelerates hard power laws: exponent 2/3 in place of 1/2."""
    config = MeanFieldConfig(T=501, L=1, eta=0.05, gamma0=gamma0, **power_law_modes(1.5, 0.5))
    found = solve(config, progress=False)
    slope = log_slope(found.times, found.gen, 50, 500)
    expected = rich_exponent(0.5, 1)
    late = np.asarray(found.times) >= 5
    points = np.asarray(found.times)[late], np.asarray(found.gen)[late]
    series = {"measured": points, "predicted $t^{-2/3}$": power_law(*points, -expected)}
    curves = Curves("steps $t$", "test error", series, scale="log-log")
    return Evidence(expected, slope, curves=curves)
