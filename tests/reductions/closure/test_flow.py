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
    closed_equations,
    full_flow,
    integrate,
    relative_error,
    residual,
    shared_query,
    start,
)

import dlntheory as dln
from dlntheory.reductions.closure import find_closure
from dlntheory.training import Training

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


def equations_from(system, slope, theta0):
    field = lambda y: system.velocity(y, slope(system.output(y)))
    return integrate(system.initial(theta0), field, system.output, TS)


def _compare(phi, shapes, options, scale=1.0):
    arch = dln.Architecture(phi, shapes, name="test")
    loss = Loss(arch.output_shape)
    theta0 = start(shapes, scale=scale)
    closure = find_closure(arch, **options)
    assert closure.is_closed, closure.explanation
    full = full_flow(phi, loss, theta0, TS)
    return full, closed_equations(closure.dynamics(loss), theta0, TS)


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
    assert relative_error(full, closed_equations(closure.dynamics(loss), theta0, TS)) < 2e-11
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
        reduced = equations_from(flow.system, jax.grad(loss), moved)
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


WIDE = {
    "two layers": (lambda p: p["U"] @ p["V"].T, {"U": (2, 9), "V": (3, 9)}, {}, {"U": (2, 5), "V": (3, 5)}),
    "attention": (
        lambda p: (p["Q"] @ p["K"].T) @ OFFSET[:2, :2] + p["V"] @ p["O"].T,
        {"Q": (2, 5), "K": (2, 5), "V": (2, 7), "O": (2, 7)},
        {},
        {"Q": (2, 4), "K": (2, 4), "V": (2, 4), "O": (2, 4)},
    ),
    "constants at both ends": (
        lambda p: OFFSET @ p["B"] @ p["A"] @ (OFFSET + 1),
        {"B": (3, 8), "A": (8, 4)},
        {},
        {"B": (3, 7), "A": (7, 4)},
    ),
    "a frozen factor": (
        lambda p: p["W2"] @ jax.lax.stop_gradient(p["W1"]),
        {"W2": (2, 9), "W1": (9, 3)},
        {},
        {"W2": (2, 5), "W1": (5, 3)},
    ),
}


@pytest.mark.parametrize("name", WIDE)
def test_factors_on_invariant_subspaces_train_like_the_network(name):
    phi, shapes, options, narrowed = WIDE[name]
    arch = dln.Architecture(phi, shapes, name=name)
    flow = find_closure(arch, **options).dynamics(Loss(arch.output_shape))
    assert {letter: flow.system.factor_form.shapes[letter] for letter in narrowed} == narrowed
    theta0 = arch.check(start(shapes, scale=0.5))
    settings = Training(flow.training.loss, weight_decay=0.2, rates={next(iter(shapes)): 2.0})
    full = dln.GradientFlow(arch, settings.loss, weight_decay=0.2, rates=settings.rates)
    both = dln.compare(full, flow.bind(settings), theta0, 1.0, timing=False, ts=4, rtol=1e-10)
    assert both.max_error < 1e-9


@pytest.mark.parametrize("level", ["words", "entries"])
def test_frozen_factors_have_no_velocity(level):
    phi = lambda p: p["W2"] @ jax.lax.stop_gradient(p["W1"])
    arch = dln.Architecture(phi, {"W2": (2, 2), "W1": (2, 1)}, name="frozen")
    closure = find_closure(arch, level=level)
    lines = closure.system.lines()
    if level == "words":
        assert lines == ["Z' = -G A", "A' = 0"]
    loss = Loss((2, 1))
    both = dln.compare(
        dln.GradientFlow(arch, loss), closure.dynamics(), start(arch.shapes), 1.0, timing=False, ts=3
    )
    assert both.max_error < 1e-7
    assert np.max(np.abs(both.full.z[-1] - both.full.z[0])) > 0.05


def test_scalar_laws_narrow_every_hidden_space():
    arch = dln.linear_network((2, 9, 8, 1))
    theta0 = dln.balanced(arch, jax.random.key(0), scale=0.5)
    loss = Loss((1, 2))
    flow = find_closure(arch, balanced=0.0).dynamics()
    assert flow.system.factor_form.shapes == {"W1": (3, 2), "W2": (3, 3), "W3": (1, 3)}
    both = dln.compare(dln.GradientFlow(arch, loss, weight_decay=0.1), flow, theta0, 1.0, timing=False, ts=4)
    assert both.max_error < 1e-6


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "target", "seed", "scale", "end", "loss"),
    [
        ((4, 2, 3), np.random.default_rng(0).normal(size=(3, 4)), 0, 0.3, 40.0, 0.106332),
        ((6, 2, 6), np.diag([3, 2.5, 2, 1.5, 1, 0.5]), 0, 0.3, 20.0, 3.75),
    ],
)
def test_the_rank_of_the_network_is_kept(widths, target, seed, scale, end, loss):
    """The best fit of rank 2, from the singular values of the target: half the squares of those left out."""
    arch = dln.linear_network(widths)
    theta0 = dln.gaussian(arch, jax.random.key(seed), scale=scale)
    flow = find_closure(arch).dynamics(dln.SquaredLoss.from_target(target))
    run = dln.solve(flow, theta0, end, ts=[0.0, end])
    left_out = np.linalg.svd(target, compute_uv=False)[2:]
    assert loss == pytest.approx(0.5 * np.sum(left_out**2), rel=1e-5)
    assert run.loss[-1] == pytest.approx(0.5 * np.sum(left_out**2), rel=1e-7)
    assert np.linalg.matrix_rank(run.z[-1]) == 2


def test_a_second_search_and_another_start_compile_nothing():
    loss = Loss((2, 3))
    runs = []
    for seed in (0, 1):
        arch = dln.linear_network((3, 6, 2))
        theta0 = dln.gaussian(arch, jax.random.key(seed))
        runs.append(dln.solve(find_closure(arch).dynamics(loss), theta0, 0.5, ts=3))
    assert find_closure(arch).system == find_closure(dln.linear_network((3, 6, 2))).system
    assert not runs[1].stats.compiled
    assert find_closure(arch).system != find_closure(dln.linear_network((3, 5, 2))).system


def test_closures_say_where_nothing_is_gained():
    closure = find_closure(dln.linear_network((4, 2, 3)))
    assert (closure.sizes.parameters, closure.sizes.state, closure.sizes.integrated) == (14, 37, 14)
    assert not closure.sizes.is_gain
    assert "nothing gained" in repr(closure)
    assert "none: the network is its own smallest" in str(closure)
    assert "Nothing is gained" in str(closure.dynamics())
    assert find_closure(dln.linear_network((4, 9, 3))).sizes.is_gain


def test_rates_do_not_fit_equations_of_single_entries(scalar_law):
    arch, theta0, _, closure = scalar_law
    loss = Loss(arch.output_shape)
    entries = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="pairs")
    flow = find_closure(entries, level="entries").dynamics()
    with pytest.raises(dln.NotApplicableError, match="rates"):
        flow.bind(Training(Loss((2,)), rates={"u": 2.0}))
    decaying = closure.dynamics(loss, weight_decay=0.1)
    assert decaying.training.is_decaying
    assert not decaying.conserved(decaying.initial(arch.check(theta0)))


def test_flow_describes_itself():
    closure = find_closure(dln.linear_network((3, 6, 2)))
    flow = closure.dynamics()
    assert "every start" in flow.exactness
    assert "Marcotte" in str(flow)
    assert flow.condition({}).holds
    large = find_closure(dln.Architecture(residual, BLOCKS, name="a"), level="entries")
    assert "T(o)" in large.dynamics().statement
