"""Weights from path products and laws: after rescalings, at zero weights, its derivative, vanishing neurons."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.reductions.relu import rescaling_to_laws, weights_from_paths, weights_from_paths_and_laws
from dlntheory.reductions.relu.neurons import neuron_laws
from dlntheory.reductions.relu.recovery import rescaled

ARCH = dln.relu_network((2, 3, 3, 2), bias=True)
HIDDEN = 6


def random_weights(rng):
    return {name: jnp.asarray(rng.standard_normal(shape)) for name, shape in ARCH.shapes.items()}


@jax.jit
def laws_of(theta):
    return jnp.concatenate(neuron_laws(ARCH.phi, theta, None))


@jax.jit
def recover(z, laws):
    theta = weights_from_paths(ARCH, z)
    _, steps, defect = rescaling_to_laws(ARCH, theta, laws)
    return weights_from_paths_and_laws(ARCH, z, laws), steps, defect


def distance_up_to_signs(left, right):
    return max(float(np.max(np.abs(np.abs(left[n]) - np.abs(right[n])))) for n in left)


def test_weights_come_back_after_rescalings():
    rng = np.random.default_rng(0)
    worst, counts = 0.0, []
    for _ in range(40):
        theta = random_weights(rng)
        turned = rescaled(ARCH, theta, jnp.asarray(rng.uniform(-3.0, 3.0, HIDDEN)))
        z, laws = ARCH(turned), laws_of(theta)
        np.testing.assert_allclose(z, ARCH(theta), rtol=1e-12, atol=1e-13)
        found, steps, defect = recover(z, laws)
        worst = max(worst, distance_up_to_signs(found, theta))
        counts.append(int(steps))
        np.testing.assert_allclose(ARCH(found), z, rtol=1e-11, atol=1e-12)
        assert float(defect) < 1e-12
    assert worst < 2e-13
    assert 2 < np.mean(counts) < 8
    assert max(counts) < 12


def test_zero_weights_and_signs_are_kept():
    rng = np.random.default_rng(1)
    theta = random_weights(rng)
    theta["W2"] = theta["W2"].at[0, 1].set(0.0)
    theta["W3"] = theta["W3"].at[1, 2].set(0.0)
    theta["b1"] = theta["b1"].at[0].set(0.0)
    found, _, _ = recover(ARCH(theta), laws_of(theta))
    assert distance_up_to_signs(found, theta) < 2e-13
    np.testing.assert_allclose(ARCH(found), ARCH(theta), atol=1e-13)
    # The signs of the factors differ by those of hidden neurons only.
    s1 = np.sign(np.asarray(found["W1"])[:, 0] / np.asarray(theta["W1"])[:, 0])
    s2 = np.sign(np.asarray(found["b2"]) / np.asarray(theta["b2"]))
    np.testing.assert_allclose(s2[:, None] * np.asarray(theta["W2"]) * s1[None, :], found["W2"], atol=1e-12)
    np.testing.assert_allclose(np.asarray(theta["W3"]) * s2[None, :], found["W3"], atol=1e-12)
    np.testing.assert_allclose(s1 * np.asarray(theta["b1"]), found["b1"], atol=1e-12)


def test_other_laws_give_other_weights():
    rng = np.random.default_rng(2)
    theta = random_weights(rng)
    found, _, _ = recover(ARCH(theta), laws_of(theta) + 0.1)
    assert distance_up_to_signs(found, theta) > 1e-3
    np.testing.assert_allclose(ARCH(found), ARCH(theta), atol=1e-12)


@pytest.mark.slow
def test_derivative_is_that_of_the_implicit_function():
    rng = np.random.default_rng(3)
    theta, direction = random_weights(rng), random_weights(rng)

    @jax.jit
    def through(t):
        moved = jax.tree.map(lambda a, d: a + t * d, theta, direction)
        return weights_from_paths_and_laws(ARCH, ARCH(moved), laws_of(moved))

    tangent = jax.jit(lambda t: jax.jvp(through, (t,), (jnp.ones(()),))[1])(jnp.zeros(()))
    # Recovery inverts (phi, h), so its derivative along the weights is the direction, up to signs of neurons.
    for name in theta:
        np.testing.assert_allclose(np.abs(tangent[name]), np.abs(direction[name]), atol=2e-12)

    def total(z, laws):
        found = weights_from_paths_and_laws(ARCH, z, laws)
        return sum(jnp.sum(value * jnp.cos(value)) for value in found.values())

    z, laws = ARCH(theta), laws_of(theta)
    pulled = jax.jit(jax.grad(total, argnums=(0, 1)))(z, laws)
    dz, dlaws = jax.jvp(ARCH.phi, (theta,), (direction,))[1], jax.jvp(laws_of, (theta,), (direction,))[1]
    value = jnp.sum(pulled[0] * dz) + jnp.sum(pulled[1] * dlaws)
    pushed = jax.jit(lambda: jax.jvp(total, (z, laws), (dz, dlaws))[1])()
    assert float(value) == pytest.approx(float(pushed), rel=1e-11)


def test_a_vanishing_neuron_gives_zeros_and_no_nan():
    theta = random_weights(np.random.default_rng(4))
    theta["W3"] = theta["W3"].at[:, 1].set(0.0)
    found, _, _ = recover(ARCH(theta), laws_of(theta))
    assert all(np.all(np.isfinite(value)) for value in found.values())
    np.testing.assert_array_equal(found["W3"][:, 1], 0.0)
    assert distance_up_to_signs(found, theta) > 0.1


@pytest.mark.slow
def test_rates_weigh_the_laws():
    theta = random_weights(np.random.default_rng(5))
    rates = {"W1": 2.0, "b2": 0.5, "W3": 3.0}
    training = dln.Training.of(ARCH, jnp.sum, rates=rates)
    laws = jnp.concatenate(neuron_laws(ARCH.phi, theta, training))
    found = jax.jit(lambda z, h: weights_from_paths_and_laws(ARCH, z, h, rates))(ARCH(theta), laws)
    assert distance_up_to_signs(found, theta) < 2e-13


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match="path lifting"):
        weights_from_paths(dln.linear_network((2, 2)), jnp.zeros((2, 2)))
