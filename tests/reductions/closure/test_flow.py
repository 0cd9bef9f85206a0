"""Closed equations against the full gradient flow, both by SciPy's DOP853, from generic starts."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.closures import (
    BLOCKS,
    CHAIN,
    HIDDEN,
    OFFSET,
    SMALL_CHAIN,
    Loss,
    attention,
    chain,
    closed_flow,
    full_flow,
    integrate,
    relative_error,
    residual,
    shared_query,
    start,
)

import dlntheory as dln
from dlntheory.reductions.closure import find_closure

TS = np.linspace(0.0, 1.0, 6)

FLOWS = {
    "two layers, 50 hidden": (lambda p: p["U"] @ p["V"].T, HIDDEN, {}),
    "kron": (lambda p: jnp.kron(p["U"], p["V"]), {"U": (2, 1), "V": (1, 2)}, {"level": "entries"}),
    "three layers with hints": (chain, SMALL_CHAIN, {}),
}
SLOW_FLOWS = {
    "residual blocks": (residual, BLOCKS, {}),
    "residual blocks, entries": (residual, BLOCKS, {"level": "entries"}),
    "attention": (attention, dict.fromkeys("QKVO", (3, 2)), {}),
    "shared query": (shared_query, dict.fromkeys("QKV", (3, 2)), {}),
    "cube": (lambda p: p["U"] @ p["U"] @ p["U"], {"U": (3, 3)}, {}),
    "low rank": (lambda p: OFFSET + p["B"] @ p["A"] / 2, {"B": (4, 2), "A": (2, 3)}, {}),
    "kron, two factors": (lambda p: jnp.kron(p["U"], p["V"]), {"U": (2, 1), "V": (2, 1)}, {}),
    "heads by vmap": (
        lambda p: jax.vmap(lambda q, k: q @ k.T)(p["Q"], p["K"]).sum(0) + jnp.eye(3),
        {"Q": (2, 3, 2), "K": (2, 3, 2)},
        {},
    ),
    "concatenation": (
        lambda p: jnp.concatenate([(p["A"] @ p["B"]).reshape(-1), jnp.ravel(p["C"].T @ p["A"].T)]),
        {"A": (2, 3), "B": (3, 2), "C": (3, 2)},
        {},
    ),
    "two adapters": (
        lambda p: (OFFSET + p["B2"] @ p["A2"]) @ (OFFSET.T + p["B1"] @ p["A1"]),
        {"B2": (4, 1), "A2": (1, 3), "B1": (3, 1), "A1": (1, 4)},
        {},
    ),
    "on samples": (lambda p: p["W2"] @ p["W1"] @ OFFSET.T, {"W2": (2, 3), "W1": (3, 3)}, {}),
    "quadratic activation": (
        lambda p: jnp.einsum("h,hi,hj->ij", p["a"], p["W"], p["W"]),
        {"a": (1,), "W": (1, 2)},
        {},
    ),
    "diagonal": (lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}, {}),
    "scalar chain": (lambda p: p["a"] * p["b"] * p["c"], {"a": (), "b": (), "c": ()}, {}),
    "shared factor": (lambda p: p["W"] @ p["V"] @ p["W"].T, {"W": (2, 1), "V": (1, 1)}, {}),
    "inhomogeneous": (lambda p: p["u"] + 0.5 * p["u"] ** 2 * p["v"], {"u": (2,), "v": (2,)}, {}),
}


def _compare(phi, shapes, options, scale=1.0):
    arch = dln.Architecture(phi, shapes, name="test")
    loss = Loss(arch.output_shape)
    theta0 = start(shapes, scale=scale)
    closure = find_closure(arch, **options)
    assert closure.is_closed, closure.explanation
    full = full_flow(phi, loss, theta0, TS)
    return full, closed_flow(closure.dynamics(loss), theta0, TS)


@pytest.mark.parametrize("name", FLOWS)
def test_closed_equations_equal_the_full_flow(name):
    full, reduced = _compare(*FLOWS[name])
    assert relative_error(full, reduced) < 2e-11
    assert np.max(np.abs(full[-1] - full[0])) > 0.01 * np.max(np.abs(full))


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW_FLOWS)
def test_closed_equations_of_more_functions_equal_the_full_flow(name):
    full, reduced = _compare(*SLOW_FLOWS[name], scale=0.4 if name == "cube" else 1.0)
    assert relative_error(full, reduced) < 2e-11
    assert np.max(np.abs(full[-1] - full[0])) > 0.01 * np.max(np.abs(full))


def _scalar_second_law(lam, seed=3):
    """Three layers with D_2 = lam I and D_1 arbitrary, by a singular value decomposition of W2."""
    theta0 = start(CHAIN, seed)
    w2 = theta0["W2"]
    u, s, _ = np.linalg.svd(w2)
    q, _ = np.linalg.qr(np.random.default_rng(seed).standard_normal((5, 5)))
    full = np.concatenate([s, np.zeros(w2.shape[0] - len(s))])
    w3 = q[:, : w2.shape[0]] @ np.diag(np.sqrt(full**2 + lam)) @ u.T
    return {"W1": theta0["W1"], "W2": w2, "W3": w3}


@pytest.fixture(scope="module")
def scalar_law():
    lam = 0.7
    theta0 = _scalar_second_law(lam)
    arch = dln.Architecture(chain, {name: w.shape for name, w in theta0.items()}, name="three layers")
    return arch, theta0, lam, find_closure(arch, balanced={2: lam})


def test_scalar_second_law_gives_the_flow_with_four_matrices(scalar_law):
    arch, theta0, _, closure = scalar_law
    loss = Loss(arch.output_shape)
    full = full_flow(chain, loss, theta0, TS)
    assert relative_error(full, closed_flow(closure.dynamics(loss), theta0, TS)) < 2e-11
    spread = np.linalg.eigvalsh(theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T)
    assert np.ptp(spread) > 4


def test_start_off_the_scalar_law_is_refused_with_the_distance(scalar_law):
    arch, theta0, lam, closure = scalar_law
    flow = closure.dynamics(Loss(arch.output_shape))
    moved = {**theta0, "W3": theta0["W3"] * (1 + 1e-4)}
    defect = moved["W3"].T @ moved["W3"] - moved["W2"] @ moved["W2"].T - lam * np.eye(4)
    condition = flow.condition(moved)
    assert not condition.holds
    assert condition.measured == pytest.approx(np.linalg.norm(defect), rel=1e-9)
    assert flow.condition(theta0).measured < 1e-13
    with pytest.raises(dln.ConditionError, match=r"W3\^T W3 - W2 W2\^T = 0\.7 I is off by"):
        flow.check_start(moved)


@pytest.mark.slow
def test_error_of_a_wrong_scalar_law_is_of_the_order_that_is_announced(scalar_law):
    arch, theta0, _, closure = scalar_law
    loss = Loss(arch.output_shape)
    flow = closure.dynamics(loss)
    for size in (1e-5, 1e-3):
        moved = {**theta0, "W3": theta0["W3"] * (1 + size)}
        full = full_flow(chain, loss, moved, TS)
        state = flow.initial(moved)
        reduced = integrate(state, lambda y: flow.velocity(0.0, y), flow.output, TS)
        error = np.max(np.linalg.norm((full - reduced).reshape(len(TS), -1), axis=1))
        expected = flow.condition(moved).expected_error
        assert expected is not None
        assert 0.1 < error / expected < 10


@pytest.mark.slow
def test_closed_flow_goes_through_solve():
    arch = dln.linear_network((3, 6, 2))
    run = dln.solve(
        find_closure(arch).dynamics(Loss((2, 3))),
        start(arch.shapes),
        1.0,
        ts=3,
        rtol=1e-10,
        method="tsit5",
    )
    assert run.max_drift < 1e-7
    assert "tr(A) - tr(B)" in run.drift


@pytest.mark.slow
def test_closed_flow_goes_through_compare():
    arch = dln.linear_network((3, 6, 2))
    flow = dln.GradientFlow(arch, Loss((2, 3)), weight_decay=0.3)
    both = dln.compare(flow, find_closure(arch).dynamics(), start(arch.shapes), 1.0, timing=False, ts=5)
    assert both.max_error < 1e-10
    assert not both.reduced.drift, "weight decay breaks the laws: nothing may be monitored as conserved"
    assert r"\dot{Z}" in both.statement


@pytest.mark.slow
def test_weight_decay_takes_each_observable_down_by_its_degree():
    arch = dln.Architecture(lambda p: p["u"] ** 2 * p["v"], {"u": (2,), "v": (2,)}, name="cubic")
    loss = Loss((2,))
    theta0 = start(arch.shapes)
    flow = dln.GradientFlow(arch, loss, weight_decay=0.5)
    both = dln.compare(
        flow, find_closure(arch).dynamics(loss, weight_decay=0.5), theta0, 1.0, timing=False, ts=5
    )
    assert both.max_error < 1e-10


def test_rates_and_decay_that_do_not_fit_are_refused(scalar_law):
    arch, theta0, _, closure = scalar_law
    loss = Loss(arch.output_shape)
    with pytest.raises(ValueError, match="rates"):
        dln.compare(dln.GradientFlow(arch, loss, rates={"W1": 2.0}), closure.dynamics(), theta0, 1.0)
    with pytest.raises(ValueError, match="weight_decay"):
        closure.dynamics(loss, weight_decay=0.1)
    balanced = find_closure(arch, balanced={2: 0.0}).dynamics(loss, weight_decay=0.1)
    assert balanced.training is not None
    assert balanced.training.is_decaying


def test_flow_describes_itself():
    closure = find_closure(dln.linear_network((3, 6, 2)))
    flow = closure.dynamics()
    assert "every start" in flow.exactness
    assert "2508.07370" in str(flow)
    assert flow.condition({}).holds
    large = find_closure(dln.Architecture(residual, BLOCKS, name="a"), level="entries")
    assert "T(o)" in large.dynamics().statement
