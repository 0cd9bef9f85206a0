"""The implicit reduced flow: against SciPy's full flow, its derivatives, its anchors, and its refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.level_sets import random_start, relaxed_pair
from systems.reference import chain_flow, log_cosh

import dlntheory as dln
from dlntheory._errors import ConditionError, IntegrationError
from dlntheory.families import attention, low_rank_adapter, relu_network
from dlntheory.laws import conservation_laws
from dlntheory.reductions.intrinsicity import implicit_flow as implicit
from dlntheory.reductions.intrinsicity.fibre_divergence import fibre_divergence
from dlntheory.reductions.intrinsicity.implicit_flow import ImplicitFlow, recovered
from dlntheory.training import Training

ARCH = dln.linear_network((2, 2, 3))
LOSS, GRADIENT = log_cosh(np.random.default_rng(5).standard_normal((3, 2)))
TIGHT = {"method": "dopri8", "rtol": 1e-11, "ts": 6, "step_to_ts": True}


def two_layers(lam, seed=0):
    u, v = relaxed_pair(3, 2, 2, lam, seed)
    return {"W1": v.T, "W2": u}


@pytest.fixture(scope="module")
def laws():
    return conservation_laws(ARCH)


@pytest.fixture(scope="module")
def relaxed():
    return two_layers(-0.7)


def reference(theta0, ts):
    return chain_flow([np.asarray(theta0[name]) for name in ARCH.chain], GRADIENT, ts)[0]


def relative(left, right):
    return np.max(np.linalg.norm((left - right).reshape(len(left), -1), axis=1)) / np.max(np.abs(right))


def test_agrees_with_the_full_flow_where_the_metric_is_intrinsic(laws, relaxed):
    flow = ImplicitFlow(ARCH, relaxed, LOSS, laws=laws)
    run = dln.solve(flow, relaxed, 1.0, **TIGHT)
    assert relative(run.z, reference(relaxed, run.ts)) < 1e-11
    assert set(run.final) == {"z"}
    assert run.stats.counts["chunks"] >= 5
    assert np.max(run.monitors["residual"]) < 1e-12
    # Another level set and another start are other arrays, not another program.
    other = two_layers(-0.4, seed=1)
    again = dln.solve(ImplicitFlow(ARCH, other, LOSS, laws=laws), other, 1.0, **TIGHT)
    assert not again.stats.compiled
    assert relative(again.z, reference(other, again.ts)) < 1e-11


def test_disagrees_and_refuses_where_it_is_not(laws, relaxed):
    theta0 = random_start(ARCH.shapes, seed=1)
    flow = ImplicitFlow(ARCH, theta0, LOSS, laws=laws)
    with pytest.raises(ConditionError, match="M is a function of z on the level set") as caught:
        dln.solve(flow, theta0, 1.0, **TIGHT)
    assert caught.value.measured > 0.01
    run = dln.solve(flow, theta0, 1.0, check=False, **TIGHT)
    assert relative(run.z, reference(theta0, run.ts)) > 1e-6
    with pytest.raises(ConditionError, match="laws have the values of the level set"):
        dln.solve(flow, relaxed, 1.0, **TIGHT)


def test_any_point_of_the_fibre_serves_as_anchor(laws, relaxed):
    companion = dln.reductions.fibre_companions(ARCH, relaxed, laws=laws, count=1)[0]
    flow = ImplicitFlow(ARCH, companion.theta, LOSS, laws=laws)
    assert companion.distance > 0.1
    assert flow.condition(ARCH.check(relaxed)).holds
    run = dln.solve(flow, relaxed, 1.0, **TIGHT)
    assert relative(run.z, reference(relaxed, run.ts)) < 1e-11


@pytest.mark.slow
def test_compare_binds_it(laws, relaxed):
    full = dln.GradientFlow(ARCH, LOSS)
    both = dln.compare(
        full, ImplicitFlow(ARCH, relaxed, laws=laws), relaxed, 1.0, rtol=1e-11, ts=6, timing=False
    )
    assert both.max_error < 1e-10
    assert "a diagnostic, not an accelerator" in str(ImplicitFlow(ARCH, relaxed, laws=laws))
    assert r"\varphi(\theta) = z" in both.statement
    with pytest.raises(ValueError, match="weight_decay"):
        ImplicitFlow(ARCH, relaxed, laws=laws).bind(Training(LOSS, weight_decay=0.1))
    with pytest.raises(ValueError, match="bound to a loss"):
        dln.solve(ImplicitFlow(ARCH, relaxed, laws=laws), relaxed, 1.0)


@pytest.mark.slow
def test_derivatives_of_the_field(laws, relaxed):
    flow = ImplicitFlow(ARCH, relaxed, LOSS, laws=laws)
    rng = np.random.default_rng(3)
    z, direction, cotangent = rng.standard_normal((3, 3, 2))
    z = np.asarray(ARCH(relaxed)) + 0.05 * z

    @jax.jit
    def field(z):
        return flow.velocity(0.0, {"z": z})["z"]

    tangent = np.asarray(jax.jvp(field, (jnp.asarray(z),), (jnp.asarray(direction),))[1])
    h = 1e-3
    samples = {k: np.asarray(field(z + k * h * direction)) for k in (-2, -1, 1, 2)}
    difference = (8 * (samples[1] - samples[-1]) - (samples[2] - samples[-2])) / (12 * h)
    assert np.max(np.abs(tangent - difference)) < 1e-9 * np.max(np.abs(tangent))
    back = np.asarray(jax.vjp(field, jnp.asarray(z))[1](jnp.asarray(cotangent))[0])
    assert abs(np.sum(back * direction) - np.sum(cotangent * tangent)) < 1e-12 * np.max(np.abs(tangent))
    # By the formula of the relaxed balanced metric, at lambda = -0.7.
    gradient = GRADIENT(z)

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix)
        return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T

    left, right = (root(0.35**2 * np.eye(len(gram)) + gram) for gram in (z @ z.T, z.T @ z))
    assert np.allclose(field(z), -(left @ gradient + gradient @ right), atol=1e-12)


@pytest.mark.slow
def test_recovered_point_and_its_derivative_along_the_laws(laws, relaxed):
    flow = ImplicitFlow(ARCH, relaxed, LOSS, laws=laws)
    z, step = jnp.asarray(ARCH(relaxed)) * 1.05, 1e-4
    change = jnp.asarray([0.3, -0.2, 0.1])

    @jax.jit
    def law_and_product(levels):
        theta = ARCH.unravel(recovered(flow.metric, z, levels, flow.anchor))
        return jnp.concatenate([jnp.ravel(ARCH(theta)), implicit.law_values(flow.metric.laws, theta)])

    value, tangent = jax.jvp(law_and_product, (flow.levels,), (change,))
    assert np.allclose(value, np.concatenate([np.ravel(z), flow.levels]), atol=1e-13)
    assert np.allclose(tangent, np.concatenate([np.zeros(6), change]), atol=1e-12)
    assert np.allclose(law_and_product(flow.levels + step * change) - value, step * tangent, atol=1e-12)
    many = jax.vmap(law_and_product)(jnp.stack([flow.levels, flow.levels + step * change]))
    assert np.allclose(many[0], value, atol=1e-13)


def test_a_state_out_of_reach_is_refused_with_its_numbers():
    arch = dln.linear_network((1, 1, 1))
    known = conservation_laws(arch)
    flow = ImplicitFlow(arch, {"W1": [[1.0]], "W2": [[1.0]]}, lambda z: jnp.sum(z**2), laws=known)
    opposite = {"W1": [[-1.0]], "W2": [[1.0]]}
    with pytest.raises(ConditionError, match="Gauss-Newton reaches z"):
        dln.solve(flow, opposite, 1.0, ts=3)
    with pytest.raises(IntegrationError, match=r"cannot start at t = 0: .*left the residual") as caught:
        dln.solve(flow, opposite, 1.0, ts=3, check=False)
    assert caught.value.trajectory is None


def test_where_nothing_solves_the_solution_says_what_it_reaches():
    # On W2^2 = W1^2 the point (1, 1) does not lead to z = -1: the derivative is singular between, at the origin.
    arch = dln.linear_network((1, 1, 1))
    anchor = {"W1": [[1.0]], "W2": [[1.0]]}
    flow = ImplicitFlow(arch, anchor, lambda z: jnp.sum(z**2), laws=conservation_laws(arch))
    found = implicit._solve(flow, jnp.asarray([[-1.0]]))
    reached = arch(arch.unravel(found.vector))
    np.testing.assert_allclose(found.z, reached, rtol=1e-14)
    missing = float(jnp.linalg.norm(found.z + 1.0))
    assert missing > 1e-6, "else z would be what was asked for and this would show nothing"


def test_a_run_that_loses_its_solution_keeps_what_it_had(monkeypatch, laws, relaxed):
    flow = ImplicitFlow(ARCH, relaxed, LOSS, laws=laws)
    solve_once, calls = implicit._solve, []

    def spoiled(flow, z):
        calls.append(1)
        solution = solve_once(flow, z)
        if len(calls) < 4:
            return solution
        worse = (jnp.asarray(3e-5), jnp.asarray(1.0))
        return eqx.tree_at(lambda one: (one.residual, one.remaining), solution, worse)

    monkeypatch.setattr(implicit, "_solve", spoiled)
    with pytest.raises(
        IntegrationError, match=r"residual 3\.0e-05 .*smallest singular value kept is"
    ) as caught:
        dln.solve(flow, relaxed, 1.0, check=False, **TIGHT)
    partial = caught.value.trajectory
    # Two saves were reached; the chunk to the third was halved twelve times before the run was given up.
    assert 0.4 <= partial.ts[-1] < 0.402
    assert 12 <= len(calls) <= 4 + 12
    assert relative(partial.z, reference(relaxed, partial.ts)) < 1e-10


def test_chunks_are_halved_until_the_anchor_is_near_enough(monkeypatch, laws, relaxed):
    flow = ImplicitFlow(ARCH, relaxed, LOSS, laws=laws)
    solve_once, calls = implicit._solve, []

    def spoiled(flow, z):
        calls.append(1)
        solution = solve_once(flow, z)
        if len(calls) not in (3, 4):
            return solution
        return eqx.tree_at(
            lambda one: (one.residual, one.remaining), solution, (jnp.asarray(2e-12), jnp.asarray(2e-12))
        )

    monkeypatch.setattr(implicit, "_solve", spoiled)
    run = dln.solve(flow, relaxed, 1.0, **TIGHT)
    # The second chunk is halved twice, and a longer one makes up for it.
    assert run.stats.counts["chunks"] == 5 + 2 + 1
    # One call more each for the condition and the start.
    assert len(calls) == 2 + run.stats.counts["chunks"]
    assert relative(run.z, reference(relaxed, run.ts)) < 1e-11


@pytest.mark.slow
def test_companions_of_one_fibre_have_one_trajectory(laws, relaxed):
    flow = dln.GradientFlow(ARCH, LOSS)
    same = fibre_divergence(flow, relaxed, 1.0, laws=laws, ts=6)
    assert same.gap < 1e-10
    assert same.spreads[0] < 1e-12
    assert same.distances[0] > 0.1
    other = fibre_divergence(flow, random_start(ARCH.shapes, seed=1), 1.0, laws=laws, ts=6)
    assert other.gap > 1e-3
    assert "gap of z(t)" in str(other)
    with pytest.raises(ValueError, match="no weight decay"):
        fibre_divergence(dln.GradientFlow(ARCH, LOSS, weight_decay=0.1), relaxed, 1.0, laws=laws)
    single = dln.linear_network((2, 2))
    with pytest.raises(ValueError, match="none was found"):
        fibre_divergence(dln.GradientFlow(single, lambda z: jnp.sum(z**2)), {"W1": np.eye(2)}, 1.0)


def pair(widths, seed, lam=0.7):
    m, r, n = widths
    u, v = relaxed_pair(n, m, r, lam, seed)
    return u, v.T


def _attention_start():
    (q, k), (o, v) = pair((2, 2, 2), 0), pair((2, 2, 2), 1, -0.4)
    return {"Q1": q, "K1": k.T, "V1": v.T, "O1": o.T}


def _shared_start():
    q, kv = pair((4, 2, 2), 2)
    return {"Q": q, "K": kv.T[:2], "V": kv.T[2:]}


def shared_key(p):
    return jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1)


def _random(arch, seed):
    return random_start(arch.shapes, seed)


SHARED = dln.Architecture(shared_key, {"Q": (2, 2), "K": (2, 2), "V": (2, 2)}, name="shared key")
CASES = {
    "attention": (attention(2, 2), _attention_start),
    "shared key": (SHARED, _shared_start),
    "adapter": (low_rank_adapter((3, 3), 1), lambda: _random(low_rank_adapter((3, 3), 1), 0)),
    "ReLU": (relu_network((2, 3, 1)), lambda: _random(relu_network((2, 3, 1)), 0)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_every_intrinsic_architecture(name):
    arch, start = CASES[name]
    target = np.random.default_rng(1).standard_normal(arch.output_shape)
    loss, _ = log_cosh(target)
    theta0 = arch.check(start())
    flow = dln.GradientFlow(arch, loss)
    both = dln.compare(flow, ImplicitFlow(arch, theta0), theta0, 1.0, rtol=1e-11, ts=8, timing=False)
    assert both.max_error < 1e-8


@pytest.mark.slow
def test_the_counterexample_disagrees():
    arch = dln.linear_network((1, 2, 3))
    loss, _ = log_cosh(np.random.default_rng(1).standard_normal(arch.output_shape))
    theta0 = dln.lambda_balanced(arch, jax.random.key(4), 0.7)
    reduced = ImplicitFlow(arch, theta0)
    with pytest.raises(ConditionError):
        reduced.check_start(theta0)
    flow = dln.GradientFlow(arch, loss)
    both = dln.compare(flow, reduced, theta0, 1.0, rtol=1e-11, ts=8, timing=False, check=False)
    assert both.max_error > 1e-6


def test_residual_and_accuracy_are_what_they_say():
    """φ = (u, 2u): of z = (1, 0) the nearest point is u = 0.2, which leaves (0.8, -0.4), relative to 1 + |z| = 2."""
    arch = dln.Architecture(lambda p: jnp.stack([p["u"], 2.0 * p["u"]]), {"u": ()}, name="line")
    flow = ImplicitFlow(arch, {"u": 1.0}, lambda z: jnp.sum(z**2))
    off = implicit._solve(flow, jnp.asarray([1.0, 0.0]))
    assert float(off.vector[0]) == pytest.approx(0.2, rel=1e-13)
    assert float(off.residual) == pytest.approx(np.sqrt(0.8) / 2, rel=1e-13)
    assert float(off.remaining) < 1e-14
    left = flow.rebased({"z": jnp.asarray([1.0, 0.0])})
    assert (left.is_accurate, "4.5e-01" in left.failure) == (False, True)
    reached = flow.rebased({"z": jnp.asarray([1.5, 3.0])})
    assert (reached.is_accurate, reached.failure) == (True, None)
    assert float(reached.dynamics.anchor[0]) == pytest.approx(1.5, rel=1e-13)
    # So far off that eight steps do not converge: neither residual nor steps are at rounding.
    cubic = dln.Architecture(lambda p: p["u"] ** 9, {"u": ()}, name="power")
    slow = ImplicitFlow(cubic, {"u": 1.0}, lambda z: z**2)
    assert not slow.rebased({"z": jnp.asarray(1e-7)}).is_accurate
