"""`iterate`: exact steps against a plain loop, early stop, divergence, order of convergence to the flow."""

import numpy as np
import pytest

import dlntheory as dln
from dlntheory.training.iterate import _run_chunk


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((4, 3, 5))
    rng = np.random.default_rng(1)
    theta0 = {name: 0.5 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    target = rng.standard_normal((5, 4))
    return arch, theta0, target


def plain_loop(theta0, target, eta, steps, decay=0.0, rates=(1.0, 1.0)):
    w1, w2 = theta0["W1"].copy(), theta0["W2"].copy()
    zs = [w2 @ w1]
    for _ in range(steps):
        g = w2 @ w1 - target
        g1, g2 = w2.T @ g + decay * w1, g @ w1.T + decay * w2
        w1, w2 = w1 - eta * rates[0] * g1, w2 - eta * rates[1] * g2
        zs.append(w2 @ w1)
    return np.array(zs), w1, w2


@pytest.mark.parametrize(("decay", "rates"), [(0.0, (1.0, 1.0)), (0.1, (1.0, 0.5))])
def test_steps_equal_a_plain_loop(problem, decay, rates):
    arch, theta0, target = problem
    loss = dln.SquaredLoss.from_target(target)
    named = {"W1": rates[0], "W2": rates[1]}
    descent = dln.GradientDescent(arch, loss, 0.05, weight_decay=decay, rates=named)
    # 38 saves are neither a multiple of the chunk nor evenly spaced.
    grid = np.unique(np.round(np.geomspace(1, 90, 40)).astype(int))
    run = dln.iterate(descent, theta0, 90, ts=grid)
    zs, w1, _ = plain_loop(theta0, target, 0.05, 90, decay, rates)
    np.testing.assert_allclose(run.z, zs[grid], rtol=0, atol=1e-13)
    np.testing.assert_allclose(run.final["W1"], w1, rtol=0, atol=1e-13)
    np.testing.assert_allclose(run.ts, 0.05 * grid)
    assert run.stats.counts == {"steps": 90}


def test_early_stop_ends_at_the_reported_state(problem):
    arch, theta0, target = problem
    descent = dln.GradientDescent(arch, dln.SquaredLoss.from_target(target), 0.05)
    whole = dln.iterate(descent, theta0, 400, ts=101)
    level = float(whole.loss[37])
    for keep in (True, False):
        run = dln.iterate(descent, theta0, 400, ts=101, stop=dln.LossBelow(level), save_states=keep)
        assert len(run) == 38
        assert run.stats.stopped_by == "loss level reached"
        np.testing.assert_array_equal(run.final["W2"], whole.states["W2"][37])


def test_gradient_descent_approaches_the_flow_at_first_order(problem):
    arch, theta0, target = problem
    loss = dln.SquaredLoss.from_target(target)
    flow = dln.solve(dln.GradientFlow(arch, loss), theta0, 2.0, ts=2, rtol=1e-11, method="dopri8")
    etas = np.array([0.02, 0.01, 0.005, 0.0025])
    gaps, drifts = [], []
    for eta in etas:
        run = dln.iterate(dln.GradientDescent(arch, loss, float(eta)), theta0, round(2 / eta), ts=2)
        gaps.append(np.linalg.norm(run.z[-1] - flow.z[-1]))
        drifts.append(run.max_drift)
    assert np.polyfit(np.log(etas), np.log(gaps), 1)[0] == pytest.approx(1, abs=0.05)
    # The imbalance, exact for the flow, drifts by O(eta) over a fixed time.
    assert np.polyfit(np.log(etas), np.log(drifts), 1)[0] == pytest.approx(1, abs=0.05)


def test_any_grid_and_step_size_compile_once(problem):
    arch, theta0, target = problem
    loss = dln.SquaredLoss.from_target(target)
    dln.iterate(dln.GradientDescent(arch, loss, 0.01), theta0, 10)
    before = _run_chunk.traces
    dln.iterate(dln.GradientDescent(arch, loss, 0.02), theta0, 1000, ts=33)
    assert _run_chunk.traces == before


def test_divergence_keeps_the_finite_part(problem):
    arch, theta0, target = problem
    descent = dln.GradientDescent(arch, dln.SquaredLoss.from_target(target), 1.5)
    with pytest.raises(dln.IntegrationError, match="diverged between steps .* of 300") as caught:
        dln.iterate(descent, theta0, 300, ts=301)
    partial = caught.value.trajectory
    assert 1 < len(partial) < 301
    assert np.all(np.isfinite(partial.z))
    np.testing.assert_array_equal(partial.final["W1"], partial.states["W1"][-1])


def test_bad_calls(problem):
    arch, theta0, target = problem
    loss = dln.SquaredLoss.from_target(target)
    for rate in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="`learning_rate` must be a finite positive number"):
            dln.GradientDescent(arch, loss, rate)
    descent = dln.GradientDescent(arch, loss, 0.1)
    with pytest.raises(ValueError, match="`steps` must be a positive integer, but is 0"):
        dln.iterate(descent, theta0, 0)
    with pytest.raises(ValueError, match="`ts` must be an integer of at least 2"):
        dln.iterate(descent, theta0, 5, ts=1)
    with pytest.raises(ValueError, match="must lie in"):
        dln.iterate(descent, theta0, 5, ts=[0, 7])
    with pytest.raises(ValueError, match="step numbers"):
        dln.iterate(descent, theta0, 5, ts=[0.5, 1.0])
    with pytest.raises(ValueError, match="must have shape"):
        dln.iterate(descent, {**theta0, "W1": np.ones((2, 2))}, 5)
