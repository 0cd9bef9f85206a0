"""`DeepPathFlow`: against SciPy path by path, through weights that change sign, rates and decay, refusals."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.paths import PathNetwork
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.reductions import FormError
from dlntheory.reductions.relu import DeepPathFlow

ARCH = dln.relu_network((2, 3, 3, 2), bias=True)
NETWORK = PathNetwork((2, 3, 3, 2), True)
LOSS, GRADIENT = log_cosh(np.random.default_rng(3).standard_normal(ARCH.output_shape))


def start(seed, scale=0.8):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal(shape) for name, shape in ARCH.shapes.items()}


@pytest.fixture(scope="module")
def run():
    ts = np.linspace(0.0, 1.0, 5)
    theta0 = start(1)
    reduced = DeepPathFlow(ARCH, LOSS)
    trajectory = dln.solve(reduced, theta0, 1.0, ts=ts, rtol=1e-10, method="dopri8", step_to_ts=True)
    return trajectory, *NETWORK.flow(theta0, GRADIENT, np.linspace(0.0, 1.0, 101))


@pytest.mark.slow
def test_reduced_equals_full_while_weights_change_sign(run):
    trajectory, reference, flat = run
    assert np.max(np.abs(trajectory.z - reference[::25])) < 1e-9 * np.max(np.abs(reference))
    changes = np.sum(np.any(np.sign(flat) != np.sign(flat[0]), axis=0))
    assert changes >= 3, "single weights pass through zero on the way"
    assert np.all(trajectory.monitors["smallest neuron / largest"] > 1e-3)
    assert np.max(trajectory.monitors["distance of z from path products"]) < 1e-10
    # The recovered weights are those of the full run, up to signs of hidden neurons.
    found = jax.jit(DeepPathFlow(ARCH).weights)(
        {name: jnp.asarray(v) for name, v in trajectory.final.items()}
    )
    np.testing.assert_allclose(np.abs(NETWORK.ravel(found)), np.abs(flat[-1]), atol=1e-8)


def test_path_oracle_has_the_layout_of_phi():
    theta = start(2)
    flat = NETWORK.ravel(theta)
    np.testing.assert_allclose(ARCH(theta), NETWORK.products(flat), rtol=1e-14)
    g = np.random.default_rng(0).standard_normal(ARCH.output_shape)
    pulled = jax.vjp(ARCH.phi, jax.tree.map(jnp.asarray, theta))[1](jnp.asarray(g))[0]
    np.testing.assert_allclose(NETWORK.pullback(flat, g), NETWORK.ravel(pulled), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    "kind",
    ["rates", pytest.param("plain", marks=pytest.mark.slow), pytest.param("decay", marks=pytest.mark.slow)],
)
def test_pushforward_of_the_full_field(kind):
    rates = {
        "plain": {},
        "decay": dict.fromkeys(ARCH.shapes, 2.0),
        "rates": {"W1": 0.5, "b1": 3.0, "W2": 2.0, "b2": 0.7},
    }[kind]
    flow = dln.GradientFlow(ARCH, LOSS, weight_decay=0.3 if kind == "decay" else 0.0, rates=rates)
    reduced = DeepPathFlow(ARCH).bind(flow.training)

    @eqx.filter_jit
    def sides(theta):
        _, pushed = jax.jvp(reduced.initial, (theta,), (flow.velocity(0.0, theta),))
        return pushed, reduced.velocity(0.0, reduced.initial(theta))

    pushed, own = sides(jax.tree.map(jnp.asarray, start(5)))
    np.testing.assert_allclose(own["z"], pushed["z"], atol=1e-13)
    np.testing.assert_allclose(own["h"], pushed["h"], atol=1e-13)
    assert np.any(np.asarray(own["h"])) == (kind == "decay")


def test_refusals():
    with pytest.raises(FormError, match=r"max_paths = 5000 paths .* has 12800"):
        DeepPathFlow(dln.relu_network((10, 8, 8, 20)))
    assert DeepPathFlow(ARCH, max_paths=60).max_paths == 60
    with pytest.raises(FormError, match="has 60 "):
        DeepPathFlow(ARCH, max_paths=59)
    with pytest.raises(ValueError, match="`max_paths` must be a positive integer, but is 0"):
        DeepPathFlow(ARCH, max_paths=0)
    theta0 = start(1)
    theta0["W2"] = np.array(theta0["W2"])
    theta0["W2"][:, 2] = 0.0
    with pytest.raises(dln.ConditionError, match=r"hidden neurons \[2\]") as caught:
        DeepPathFlow(ARCH).check_start(theta0)
    assert caught.value.measured == 1.0
    theta0["W3"] = np.zeros((2, 3))
    assert DeepPathFlow(ARCH).condition(ARCH.check(theta0)).measured == 6.0
    with pytest.raises(ValueError, match="unequal `rates`"):
        DeepPathFlow(ARCH, LOSS, weight_decay=0.1, rates={"b1": 2.0})
    text = str(DeepPathFlow(ARCH))
    assert "exact for every loss" in text
    assert "not bound yet" in text
