"""Momentum and mirror flows against SciPy, with their own laws and the controls that break them."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems.reference import log_cosh

import dlntheory as dln


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((3, 4, 2))
    rng = np.random.default_rng(4)
    theta0 = {name: rng.uniform(0.3, 1.0, shape) for name, shape in arch.shapes.items()}
    velocity = {name: 0.5 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return arch, theta0, velocity, *log_cosh(rng.standard_normal((2, 3)))


def noether(theta, speed):
    w1, w2, z1, z2 = theta["W1"], theta["W2"], speed["W1"], speed["W2"]
    return (w1 @ z1.T - z1 @ w1.T) + (w2.T @ z2 - z2.T @ w2)


@pytest.mark.parametrize("friction", [0.0, 0.7])
def test_momentum_flow_and_its_angular_momentum(problem, friction):
    arch, theta0, velocity, loss, gradient = problem
    flow = dln.MomentumFlow(arch, loss, friction=friction, velocity=velocity)
    run = dln.solve(flow, theta0, 3.0, ts=5, rtol=1e-10, method="dopri8", step_to_ts=True)

    def field(t, y):
        w1, w2, v1, v2 = (
            y[:12].reshape(4, 3),
            y[12:20].reshape(2, 4),
            y[20:32].reshape(4, 3),
            y[32:].reshape(2, 4),
        )
        g = gradient(w2 @ w1)
        parts = [v1, v2, -w2.T @ g - friction * v1, -g @ w1.T - friction * v2]
        return np.concatenate([p.ravel() for p in parts])

    y0 = np.concatenate([p.ravel() for p in (*theta0.values(), *velocity.values())])
    y = solve_ivp(field, (0, 3.0), y0, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    np.testing.assert_allclose(run.final["W1"].ravel(), y[:12], atol=1e-9)
    np.testing.assert_allclose(run.final["W2'"].ravel(), y[32:], atol=1e-9)

    before = noether(theta0, velocity)
    after = noether(run.final, {name: run.final[f"{name}'"] for name in arch.shapes})
    np.testing.assert_allclose(np.exp(3.0 * friction) * after, before, atol=1e-8)
    # The control: the imbalance, a law of the first-order flow, is none here.
    change = np.asarray(dln.imbalances(arch, {n: run.final[n] for n in arch.shapes})[0]) - np.asarray(
        dln.imbalances(arch, theta0)[0]
    )
    assert np.linalg.norm(change) > 0.1


def test_mirror_flow_and_its_column_law(problem):
    arch, theta0, _, loss, gradient = problem
    flow = dln.MirrorFlow(arch, loss, metric={"W1": "theta", "W2": "theta"})
    run = dln.solve(flow, theta0, 3.0, ts=5, rtol=1e-10, method="dopri8", step_to_ts=True)

    def field(t, y):
        w1, w2 = y[:12].reshape(4, 3), y[12:].reshape(2, 4)
        g = gradient(w2 @ w1)
        return np.concatenate([(-w1 * (w2.T @ g)).ravel(), (-w2 * (g @ w1.T)).ravel()])

    y0 = np.concatenate([p.ravel() for p in theta0.values()])
    y = solve_ivp(field, (0, 3.0), y0, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    np.testing.assert_allclose(run.final["W1"].ravel(), y[:12], atol=1e-9)

    def law(theta):
        return theta["W2"].sum(axis=0) - theta["W1"].sum(axis=1)

    np.testing.assert_allclose(law(run.final), law(theta0), atol=1e-9)
    plain = dln.solve(dln.GradientFlow(arch, loss), theta0, 3.0, ts=2)
    assert np.linalg.norm(law(plain.final) - law(theta0)) > 1e-2, "the control: not a law of gradient flow"


def test_refusals(problem):
    arch, _, _, loss, _ = problem
    with pytest.raises(ValueError, match="`friction` must be"):
        dln.MomentumFlow(arch, loss, friction=-1.0)
    with pytest.raises(ValueError, match=r"velocity\['W1'\]` must have shape"):
        dln.MomentumFlow(arch, loss, velocity={"W1": np.ones(3)})
    with pytest.raises(ValueError, match="`metric` must map factors"):
        dln.MirrorFlow(arch, loss, metric={"W1": "entropy"})


@pytest.mark.parametrize("method", ["dopri8", "stiff"])
def test_any_law_can_be_watched_along_a_run(problem, method):
    arch, theta0, velocity, loss, _ = problem

    def angular(coordinates):
        speed = {name: coordinates[f"{name}'"] for name in arch.shapes}
        return {"S": coordinates["s"] * noether(coordinates, speed)}

    flow = dln.MomentumFlow(arch, loss, friction=0.7, velocity=velocity)
    run = dln.solve(flow, theta0, 3.0, ts=4, rtol=1e-10, method=method, laws=angular)
    assert run.max_drift < 1e-7
    # Without the factor exp(friction t) it is no law.
    decaying = dln.solve(flow, theta0, 3.0, ts=4, method=method, laws=lambda c: angular({**c, "s": 1.0})["S"])
    assert decaying.drift["law"][-1] > 0.1


def test_laws_need_the_factors_in_the_state(problem):
    arch, theta0, _, loss, _ = problem
    with pytest.raises(ValueError, match="must be None for Gram flow"):
        dln.solve(dln.GramFlow(arch, loss), theta0, 1.0, laws=lambda p: p["W1"])
    descent = dln.GradientDescent(arch, loss, 0.01)
    run = dln.iterate(descent, theta0, 10, ts=3, laws=lambda p: p["W1"][0])
    moved = np.abs(run.states["W1"][:, 0] - theta0["W1"][0]).max(axis=1)
    np.testing.assert_allclose(run.drift["law"], moved)


def test_laws_of_another_friction_are_refused(problem):
    arch, theta0, velocity, loss, _ = problem
    laws = dln.conservation_laws(arch, momentum=1)
    flow = dln.MomentumFlow(arch, loss, friction=0.5, velocity=velocity)
    with pytest.raises(
        ValueError, match=r"must be those of friction 0\.5, but are of momentum flow, friction 1"
    ):
        dln.solve(flow, theta0, 1.0, laws=laws)
    right = dln.MomentumFlow(arch, loss, friction=1.0, velocity=velocity)
    assert dln.solve(right, theta0, 1.0, ts=2, rtol=1e-10, method="dopri8", laws=laws).max_drift < 1e-9
