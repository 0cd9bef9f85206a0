"""Langevin motion on balanced weights: its coordinates are isometric, its equilibrium is the predicted one."""

import numpy as np
import pytest

from dlntheory.theory.geometry import matrix_langevin, scalar_langevin
from dlntheory.theory.geometry.langevin import balanced_weights, invariants

RNG = np.random.default_rng(4)


def test_coordinates_are_balanced_and_their_metric_is_as_stated():
    x = RNG.standard_normal(5)
    flat = lambda y: np.concatenate([w.ravel() for w in balanced_weights(y)])
    W1, W2 = balanced_weights(x)
    np.testing.assert_allclose(W2.T @ W2, W1 @ W1.T, atol=1e-14)
    columns = np.stack([(flat(x + 1e-6 * e) - flat(x - 1e-6 * e)) / 2e-6 for e in np.eye(5)], axis=1)
    expected = np.diag([2.0, 2.0, 2.0, 2.0, 0.5 * np.sum(x[:4] ** 2)])
    np.testing.assert_allclose(columns.T @ columns, expected, atol=1e-8)
    m, u, v = invariants(x)
    radius = np.hypot(u, v)
    s = np.linalg.svd(W2 @ W1, compute_uv=False)
    np.testing.assert_allclose(s, [m + radius, m - radius], atol=1e-13)
    c, t = np.cos(x[4]), np.sin(x[4])
    np.testing.assert_allclose(W2 @ W1, m * np.array([[c, -t], [t, c]]) + [[u, v], [v, -u]], atol=1e-13)


def test_matrix_equilibrium_is_the_predicted_one_and_not_the_naive_one():
    report = matrix_langevin((1.5, 0.6), chains=4000, seed=1)
    assert np.max(np.abs(report.scores)) < 4
    assert np.max(report.ks) < 1.5 * report.ks_limit
    assert np.max(np.abs(report.naive_scores)) > 30
    assert np.max(np.abs(report.drifts)) < 4
    assert "deviation/s.e." in str(report)
    assert abs(np.sum(report.weights) - 1) < 1e-12


def test_scalar_equilibrium_is_the_predicted_one_and_not_the_naive_one():
    report = scalar_langevin(1.0, 2, chains=2000, step=0.03, seed=1)
    assert np.max(np.abs(report.scores)) < 4
    assert np.max(report.ks) < 1.5 * report.ks_limit
    assert np.max(np.abs(report.naive_scores)) > 15


def test_prediction_agrees_with_integration_over_the_weights():
    # One dimension, odd depth, target on either side: average over r with weight exp(-beta f(r^3)).
    r = np.linspace(-2.5, 2.5, 200_001)
    weight = np.exp(-2.0 * (r**3 - 0.8) ** 2)
    expected = np.sum(weight * r**3) / np.sum(weight)
    report = scalar_langevin(0.8, 3, chains=100, step=0.1, time=1.0)
    assert abs(report.predicted[0] - expected) < 1e-9
    # Two by two: the same over (B, phi) by sampling the Gaussian factor of the radius: density |B| dB dphi.
    B = RNG.standard_normal((400_000, 4)) * 0.9
    x = np.concatenate([B, RNG.uniform(0, 2 * np.pi, (len(B), 1))], axis=1).T
    m, u, v = invariants(x)
    f = m**2 - 2 * m * 0.8 * np.cos(x[4]) + 0.8**2 + (u - 0.2) ** 2 + v**2
    weight = np.exp(-2.0 * f + 0.5 * np.sum(B**2, axis=1) / 0.81) * np.sqrt(2 * m)
    s1 = m + np.hypot(u, v)
    mean = np.sum(weight * s1) / np.sum(weight)
    spread = np.sqrt(np.sum((weight * (s1 - mean)) ** 2)) / np.sum(weight)
    report = matrix_langevin((1.0, 0.6), beta=2.0, chains=100, step=0.1, time=1.0)
    assert abs(report.predicted[0] - mean) < 4 * spread < 0.02


@pytest.mark.slow
def test_deep_scalar_equilibrium_and_finer_matrix_equilibrium():
    scalar = scalar_langevin(1.0, 3, chains=2000, time=40.0, seed=2)
    assert np.max(np.abs(scalar.scores)) < 4
    assert np.max(scalar.ks) < 1.5 * scalar.ks_limit
    matrix = matrix_langevin((1.0, 1.0), beta=2.0, chains=10_000, seed=3)
    assert np.max(np.abs(matrix.scores)) < 4
    assert np.max(matrix.ks) < 1.5 * matrix.ks_limit


def test_step_effect_is_of_first_order():
    effects = [
        matrix_langevin((1.5, 0.6), chains=1000, step=h, time=8.0).step_effects[1] for h in (0.1, 0.05)
    ]
    assert 1.5 < effects[0] / effects[1] < 3


def test_refusals():
    with pytest.raises(ValueError, match="`beta` must be a finite positive number"):
        scalar_langevin(1.0, 2, beta=-1.0)
    with pytest.raises(ValueError, match="`chains` must be an integer of at least 100"):
        matrix_langevin((1.0, 1.0), chains=10)
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 2"):
        scalar_langevin(1.0, 1)
    with pytest.raises(ValueError, match="two finite numbers of at least 0"):
        matrix_langevin((1.0, -1.0))
    with pytest.raises(ValueError, match="at least four steps"):
        scalar_langevin(1.0, 2, time=0.01)
