"""The edge of stability of lazy training: formula against the theory's own divergence, and against matrices."""

import math

import numpy as np
import pytest

from dlntheory.theory.mean_field import (
    MeanFieldConfig,
    advice,
    largest_curvature,
    lazy_edge,
    lazy_kernel,
    solve,
)

LAZY = MeanFieldConfig(T=300, L=2, eta=0.1, gamma0=1e-5)
SPECTRUM = {"lam": (2.0, 1.0, 0.25), "p": (0.25, 0.25, 0.5), "teacher2": (1.0, 0.5, 1.5)}


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"L": 1, "init_std": (0.7, 1.4)},
        {"init_std": (0.7, 1.4, 0.9)},
        {"residual": 1.2, "L": 3, "init_std": (0.7, 1.4, 0.9, 1.1)},
        {"momentum": 0.5},
        {"alpha": 2.0},
        {"alpha": 2.0, **SPECTRUM},
        {"alpha": 0.3, "data": "onepass"},
        {"alpha": 0.3, "data": "onepass", **SPECTRUM},
    ],
)
def test_lazy_edge_separates_decay_from_growth(change):
    config = LAZY.replace(**change)
    edge = lazy_edge(config)
    below, above = (solve(config.replace(eta=edge * factor), warn=False) for factor in (0.96, 1.04))
    assert not below.diverged
    assert below.gen[-1] < below.gen[5]
    assert above.diverged or above.gen[-1] > 2 * above.gen[20]


def test_kernel():
    assert lazy_kernel(LAZY) == 3.0
    assert lazy_kernel(LAZY.replace(init_std=(2.0, 1.0, 3.0))) == 1 * 9 + 4 * 9 + 4 * 1
    # Read-in and read-out (1 + e2)^2 each; either block e2 (1 + e2); e2 = 1/2.
    assert lazy_kernel(LAZY.replace(L=3, residual=1.0)) == pytest.approx(2 * 1.5**2 + 2 * 0.5 * 1.5)
    assert lazy_edge(LAZY.replace(init_std=(0.0, 0.0, 1.0))) == math.inf


def test_curvature_of_a_sampled_covariance():
    config = LAZY.replace(alpha=1.5, **SPECTRUM)
    D = 400
    scales = np.repeat(config.lam, [100, 100, 200])
    samples = np.random.default_rng(0).standard_normal((600, D)) * np.sqrt(scales)
    assert np.linalg.eigvalsh(samples.T @ samples / 600)[-1] == pytest.approx(
        largest_curvature(config), rel=0.03
    )
    assert largest_curvature(LAZY.replace(alpha=0.25)) == pytest.approx(9.0, rel=1e-12)


def test_advice():
    assert advice(LAZY) == ()
    assert advice(LAZY.replace(nu=1.0, centered=True)) == ()
    (line,) = advice(LAZY.replace(nu=1.0))
    assert "Set centered=True" in line
    (line,) = advice(LAZY.replace(eta=0.7))
    assert "eta = 0.7 is above 0.6667" in line
