"""Statements of later work: norm imbalance, bottleneck depth, discriminant; completion."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from scipy.linalg import eigh
from systems.saddles import start

from dlntheory import ConditionError
from dlntheory.theory.saddles import (
    DiscriminantCost,
    balanced_entries,
    bottleneck_law,
    bottleneck_slope,
    bottleneck_time,
    completion_problem,
    completion_study,
    discriminant_flow,
    imbalance_rates,
)

RNG = np.random.default_rng(4)
INPUTS, TARGETS = RNG.standard_normal((6, 3)), RNG.standard_normal((6, 2))
WEIGHTS = start(3, width=4, sides=(3, 2), size=0.8)


def squared(out):
    return jnp.mean(jnp.sum((out - TARGETS) ** 2, axis=1))


def test_identity_by_hand_for_tanh():
    w1, w2, w3 = WEIGHTS.values()
    z1 = INPUTS @ w1.T
    h1 = np.tanh(z1)
    z2 = h1 @ w2.T
    h2 = np.tanh(z2)
    pull = 2 * (h2 @ w3.T - TARGETS) / len(INPUTS)
    d3, back2 = pull.T @ h2, (pull @ w3) * (1 - h2**2)
    d2, back1 = back2.T @ h1, (back2 @ w2) * (1 - h1**2)
    growth = [-2 * np.sum(w * d) for w, d in ((w1, back1.T @ INPUTS), (w2, d2), (w3, d3))]
    rates = imbalance_rates(WEIGHTS, INPUTS, squared, jnp.tanh)
    np.testing.assert_allclose(rates.measured, np.diff(growth), rtol=1e-12)
    np.testing.assert_allclose(rates.predicted, np.diff(growth), rtol=1e-12)


@pytest.mark.parametrize("activation", [jnp.square, jax.nn.softplus], ids=["square", "softplus"])
def test_identity(activation):
    rates = imbalance_rates(WEIGHTS, INPUTS, squared, activation)
    assert rates.error < 1e-14
    assert np.min(np.abs(rates.measured)) > 1e-3 * rates.scale


def test_homogeneous_activation_conserves():
    rates = imbalance_rates(WEIGHTS, INPUTS, squared, jax.nn.relu)
    np.testing.assert_allclose(rates.measured, 0.0, atol=1e-13 * rates.scale)
    np.testing.assert_array_equal(rates.predicted, 0.0)


def test_imbalance_bad_input():
    with pytest.raises(ValueError, match="must have 3 columns, but has 2"):
        imbalance_rates(WEIGHTS, TARGETS, squared, jnp.tanh)
    with pytest.raises(ValueError, match="act entrywise"):
        imbalance_rates(WEIGHTS, INPUTS, squared, jnp.sum)


@pytest.mark.parametrize(("depth", "small"), [(4, 3), (5, 2), (3, 3), (4, 1)])
def test_bottleneck_time_is_that_of_the_chain(depth, small):
    eps = 0.02
    a0 = np.array([eps] * small + [1.0] * (depth - small))

    def reached(t, a):
        return np.prod(a) - 0.5

    reached.terminal = True
    chain = solve_ivp(
        lambda t, a: (1 - np.prod(a)) * np.prod(a) / a,
        (0.0, 1e4),
        a0,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
        events=reached,
    )
    assert bottleneck_time(depth, small, eps) == pytest.approx(chain.t_events[0][0], rel=1e-9)


def test_depth_is_irrelevant():
    for depth, small in ((4, 3), (5, 3), (5, 4), (6, 4)):
        assert bottleneck_slope(depth, small) == pytest.approx(small - 2, abs=0.01)
        assert bottleneck_time(depth, small, 1e-4) == pytest.approx(bottleneck_law(small, 1e-4), rel=1e-3)
    assert bottleneck_time(4, 2, 1e-4) == pytest.approx(0.955 * np.log(1e4), rel=1e-3)
    for arguments, name in (((3, 4, 0.1), "small"), ((3, 2, 1.0), "eps"), ((3, 2, 0.9), "level")):
        with pytest.raises(ValueError, match=f"`{name}`"):
            bottleneck_time(*arguments)
    with pytest.raises(ValueError, match="at least 2"):
        bottleneck_law(1, 0.1)


@pytest.fixture(scope="module")
def cost():
    means, mixing = RNG.standard_normal((4, 2)), RNG.standard_normal((4, 4))
    return DiscriminantCost(means @ means.T, mixing @ mixing.T + np.eye(4))


@pytest.mark.slow
def test_quasi_norm_of_balanced_starts(cost):
    run = discriminant_flow(cost, balanced_entries([0.9, -0.5, 0.7, 0.3], 2), 10.0)
    assert run.norm_drift < 1e-11
    assert run.quasi_norm_drift < 1e-11
    assert run.moved > 0.1
    assert run.is_sign_locked
    assert "locked" in str(run)
    expected = -eigh(cost.between, cost.within, eigvals_only=True)[-1]
    assert run.optimum == pytest.approx(expected)
    other = discriminant_flow(
        cost, {"w1": np.array([0.9, -0.5, 0.7, 0.3]), "w2": np.array([1.2, 0.4, -0.6, 0.8])}, 10.0
    )
    assert other.norm_drift < 1e-11
    assert other.quasi_norm_drift > 1e-3


def test_balanced_entries_multiply_to_w():
    w = np.array([0.5, -2.0, 1.0])
    layers = balanced_entries(w, 3)
    np.testing.assert_allclose(layers["w1"] * layers["w2"] * layers["w3"], w, rtol=1e-14)
    np.testing.assert_allclose(np.abs(layers["w3"]), np.abs(w) ** (1 / 3))


def test_discriminant_bad_input(cost):
    with pytest.raises(ConditionError, match="positive definite"):
        DiscriminantCost(np.eye(2), np.diag([1.0, 0.0]))
    with pytest.raises(ValueError, match="symmetric"):
        DiscriminantCost(np.eye(2), [[1.0, 1.0], [0.0, 1.0]])
    with pytest.raises(ConditionError, match="must not multiply to 0"):
        discriminant_flow(cost, {"w1": np.zeros(4), "w2": np.ones(4)}, 1.0)


def test_completion_problem():
    problem = completion_problem(8, 2)
    assert problem.mask.sum() == 48
    assert np.linalg.matrix_rank(problem.truth) == 2
    assert np.linalg.norm(problem.truth, 2) == pytest.approx(4.0)
    assert problem.recovery_error(problem.truth) == 0.0
    assert problem.recovery_error(np.zeros((2, 8, 8))).tolist() == [1.0, 1.0]
    with pytest.raises(ValueError, match="`rank`"):
        completion_problem(3, 4)
    with pytest.raises(ValueError, match="`observed`"):
        completion_problem(observed=0.0)


@pytest.mark.slow
def test_completion_with_three_layers():
    problem = completion_problem(6, 1)
    study = completion_study(problem, start(3, width=6, sides=(6, 6), size=0.3), (1e-1, 1e-2))
    assert study.recovery[1] < 1e-4
    assert study.recovery[0] > study.recovery[1]
    assert study.greedy_recovery[-1] < 1e-8
    assert "conjecture" in str(study)
