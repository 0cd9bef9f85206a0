"""What every test of a figure shares: nothing may stay behind, and made-up results of every kind."""

import dataclasses
import types

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.reductions.parsimony import Completion
from dlntheory.theory.alignment import AlignmentRun, DescentRun, SeparableProblem
from dlntheory.theory.landscape import critical_points
from dlntheory.theory.mean_field.comparison import compare
from dlntheory.theory.mean_field.config import MeanFieldConfig
from dlntheory.theory.mean_field.rate_transfer import BestRate, RateTransfer
from dlntheory.theory.mean_field.simulation import simulate
from dlntheory.theory.mean_field.solver import solve
from dlntheory.theory.mean_field.sweeps import data_modes, width_sweep
from dlntheory.theory.saddles import (
    ApproachStudy,
    CompletionStudy,
    EscapeTime,
    PathRun,
    PhaseTransition,
    Plateau,
    Plateaus,
)

matplotlib.use("Agg")


@pytest.fixture(autouse=True)
def _no_figure_and_no_setting_stays():
    before = dict(matplotlib.rcParams)
    yield
    figures = [plt.figure(number) for number in plt.get_fignums()]
    plt.close("all")
    # Drawing shows what building does not: missing glyphs, empty logarithmic axes, bad mathematics.
    for figure in figures:
        figure.canvas.draw()
    assert dict(matplotlib.rcParams) == before


def trajectory(ts, z, label="gradient flow", clock="t", drift=None):
    loss = 0.5 * np.sum((z - z[-1]) ** 2, axis=(1, 2)) + 1e-9
    return dln.Trajectory(label, "linear 2-2-2", "", clock, ts, z, loss, None, {}, drift or {}, {}, None)  # pyright: ignore


def stairs(ts, values, centres, width):
    """Diagonal matrices whose entries switch on one after another."""
    return np.stack([np.diag(np.array(values) / (1 + np.exp(-(t - np.array(centres)) / width))) for t in ts])


def path(alpha=1e-2, depth=3):
    ts = np.linspace(0.0, 200.0, 400)
    z = stairs(ts, [2.0, 1.2], [50.0, 110.0], 2.0)
    loss = 0.5 * np.sum((z - np.diag([2.0, 1.2])) ** 2, axis=(1, 2))
    gradient = 1e-6 + np.linalg.norm(np.gradient(z, ts, axis=0), axis=(1, 2))
    run = PathRun(dataclasses.replace(trajectory(ts, z), loss=loss), alpha, depth, gradient, 0.0)
    marks = [(40, 0), (160, 1)]
    found = Plateaus(tuple(Plateau(i, ts[i], loss[i], gradient[i], rank) for i, rank in marks))
    return run, found


def aligning(problem, depth):
    """Layers that become rank one along the maximum-margin direction."""
    rng = np.random.default_rng(depth)
    s = np.concatenate([[0.0], np.geomspace(1e-2, 1e3, 40)])
    growth, noise = (1 + s) ** (1.0 / depth), 1.0 / (1 + s) ** 0.5
    direction, widths = problem.margin.direction, [problem.dimension, *[5] * (depth - 1), 1]
    layers = []
    for k in range(depth):
        shape = (widths[k + 1], widths[k])
        left = np.eye(shape[0])[0]
        ideal = np.outer(left, direction if k == 0 else np.eye(shape[1])[0])
        wobble = rng.standard_normal(shape) / np.sqrt(shape[1])
        layers.append(growth[:, None, None] * (ideal + 0.3 * noise[:, None, None] * wobble))
    run = trajectory(s, np.ones((len(s), 1, 1)), clock="log_t")
    return AlignmentRun(problem, run, s, tuple(layers), True)


def studies():
    widths = np.array([16, 32, 64])
    none = np.full(3, np.nan)
    lazy = PhaseTransition(
        2, 0.8, widths, 1.6 * widths**-0.1, widths**0.1, 1.7 * widths**-0.1, widths**0.1, 2
    )
    critical = PhaseTransition(2, 1.0, widths, np.ones(3), 1.1 * np.ones(3), none, none, 2)
    late = widths**-0.25
    saddle = PhaseTransition(2, 1.5, widths, 2 - late, 2 * late, 2 * np.ones(3), 2.1 * late, 2)
    return [lazy, critical, saddle]


@pytest.fixture(scope="session")
def made():
    """One result of every kind that a figure takes."""
    ts = np.linspace(0.0, 10.0, 60)
    z = stairs(ts, [2.0, 1.0], [2.0, 5.0], 0.6)
    drift = {"D_1": 1e-3 * ts, "D_2": 4e-3 * ts}
    full = trajectory(ts, z, drift=drift)
    reduced = trajectory(ts, z + 1e-8 * np.tanh(ts)[:, None, None], label="Gram flow")
    gap = np.linalg.norm(full.z - reduced.z, axis=(1, 2))
    both = dln.Comparison(full, reduced, gap, gap, "", "")
    data = dln.data.digit_pair(0, 1)
    digits = SeparableProblem(data.inputs, data.targets, name="digits 0, 1")
    rng = np.random.default_rng(0)
    points = rng.standard_normal((20, 4)) * 0.1 + np.array([0.5, 0.5, 0.0, 0.0])
    task = SeparableProblem(points, np.ones(20), "logistic", name="blobs")
    steps = np.array([0, 1, 10, 100, 1000])
    descents = [
        DescentRun(task, rule, steps, rate * steps**0.7, -steps / 1e3, (np.ones((5, 1, 4)),) * 2, -1e-3, full)
        for rule, rate in (("paper", 0.01), ("sharper", 0.1), ("normalised", 0.4))
    ]
    run, found = path()
    alphas = np.array([1e-1, 1e-2, 1e-3])
    approach = [
        ApproachStudy(L, alphas, np.stack([alphas**p, 5 * alphas**p], axis=1), np.array([p, p]))
        for L, p in ((2, 0.5), (3, 3.0))
    ]
    completed = [
        CompletionStudy(L, alphas, np.ones((3, 2)), alphas ** (L - 1.0), None, np.ones(3))  # pyright: ignore
        for L in (2, 3)
    ]
    config = MeanFieldConfig(T=21, L=2, eta=0.05, nu=1.0)
    best = BestRate(0.3, 1e-2, ((0.1, 0.5), (0.2, 0.1), (0.3, 0.01), (0.4, np.inf)))
    weights = np.stack([np.diag([1 + t, 1 - t / 20, 0.5, 0.5, 0.5, 0.5]) for t in ts])
    curve = np.geomspace(1.0, 1e-4, 30)
    return types.SimpleNamespace(
        both=both,
        descents=descents,
        digits=aligning(digits, 2),
        runs=[aligning(task, depth) for depth in (1, 2, 3)],
        studies=studies(),
        escape=EscapeTime(3, 3.0, 0.4, -0.2, 1e-2, 39.8),
        path=run,
        found=found,
        approach=approach,
        completed=completed,
        points=critical_points(np.diag([3.0, 2.0, 1.0]), 2),
        sweep=width_sweep(config),
        modes=data_modes(config),
        mean_field=compare(solve(config), simulate(config, 16, 4)),
        transfer=RateTransfer("nu", (1.0, 2.0, 4.0), {"muP": (best,) * 3, "NTK": (None, best, best)}),
        grid=best.grid,
        ts=ts,
        weights=weights,
        basis=np.eye(6)[:, :2],
        completions={
            rate: Completion(
                np.eye(2), np.eye(2), np.eye(2), np.arange(30), curve, curve**power, True, "dense", 0.1
            )
            for rate, power in ((0.0, 0.5), (0.1, 1.0))
        },
    )
