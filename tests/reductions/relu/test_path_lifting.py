"""`TwoLayerPathFlow`: against SciPy path by path, exact at rational weights, through zero, refusals."""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.paths import PathNetwork
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.reductions.guarded import neuron_operator
from dlntheory.reductions.relu import DeepPathFlow, TwoLayerPathFlow

TS = np.linspace(0.0, 2.0, 6)
TIGHT = {"ts": TS, "rtol": 1e-10, "method": "dopri8", "step_to_ts": True}


def start(arch, seed=0, scale=0.8):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal(shape) for name, shape in arch.shapes.items()}


CASES = [
    ((3, 4, 2), True, 0),
    pytest.param((2, 3, 1), True, 0, marks=pytest.mark.slow),
    pytest.param((1, 3, 2), False, 8, marks=pytest.mark.slow),
]


@pytest.mark.parametrize(("widths", "bias", "seed"), CASES)
def test_reduced_equals_full(widths, bias, seed):
    arch, network = dln.relu_network(widths, bias), PathNetwork(widths, bias)
    loss, gradient = log_cosh(np.random.default_rng(3).standard_normal(arch.output_shape))
    theta0 = start(arch, seed)
    if widths[0] == 1 and not bias:
        # One number enters each neuron and may change sign; the neuron passes unless v dominates.
        theta0["W1"] = 2.0 + theta0["W1"]
    np.testing.assert_allclose(arch(theta0), network.products(network.ravel(theta0)), rtol=1e-14)
    run = dln.solve(TwoLayerPathFlow(arch, loss), theta0, 2.0, **TIGHT)
    reference, _ = network.flow(theta0, gradient, TS)
    assert np.max(np.abs(run.z - reference)) < 2e-10 * np.max(np.abs(reference))
    assert np.max(np.abs(run.final["lambda"] - run.states["lambda"][0])) == 0.0
    smallest = run.monitors["smallest neuron / largest"]
    assert np.all((smallest > 0) & (smallest <= 1))


@pytest.mark.slow
def test_a_neuron_that_steps_over_zero_costs_digits_only():
    # One number enters each neuron and changes sign while the other factor dominates: the documented sharp bit.
    arch, network = dln.relu_network((1, 3, 2)), PathNetwork((1, 3, 2), False)
    loss, gradient = log_cosh(np.random.default_rng(3).standard_normal(arch.output_shape))
    theta0 = start(arch, 8)
    run = dln.solve(TwoLayerPathFlow(arch, loss), theta0, 2.0, **TIGHT)
    reference, flat = network.flow(theta0, gradient, TS)
    crossing = flat[0][:3] * flat[-1][:3] < 0
    assert np.any(crossing & (np.asarray(run.states["lambda"][0]) > 0))
    assert np.max(np.abs(run.z - reference)) < 2e-6 * np.max(np.abs(reference))


def test_operator_is_exact_at_rational_weights():
    g = np.array([[Fraction(i - 2 * j + 1, 3) for j in range(3)] for i in range(2)])
    us = [[Fraction(2), Fraction(-1)], [Fraction(1, 2), Fraction(1)], [Fraction(3), Fraction(4)]]
    vs = [[Fraction(1), Fraction(1, 2), Fraction(-3)], [Fraction(1, 2), Fraction(1), Fraction(0)]]
    vs.append([Fraction(3), Fraction(0), Fraction(4)])  # |u| = |v|: balanced
    signs = []
    for u, v in zip(us, vs, strict=True):
        u, v = np.array(u), np.array(v)
        expected = np.outer(u, u) @ g + g @ np.outer(v, v)
        lam = u @ u - v @ v
        signs.append(np.sign(lam))
        out = neuron_operator(
            np.outer(u, v).astype(float)[None], g.astype(float)[None], jnp.array([float(lam)])
        )
        np.testing.assert_allclose(out[0], expected.astype(float), rtol=1e-14, atol=1e-14)
    assert signs == [-1, 0, 0]
    # A small factor beside a large one: |v|^2 = (rho - lambda)/2 would lose all digits.
    u, v = np.array([1e4, 2e4]), np.array([1e-5, -3e-5, 2e-5])
    lam = jnp.array([u @ u - v @ v])
    out = neuron_operator(np.outer(u, v)[None], np.eye(2, 3)[None], lam)[0] - np.outer(u, u) @ np.eye(2, 3)
    assert np.max(np.abs(out)) < 1e-7
    only_right = neuron_operator(np.outer(u, v)[None][:, :1], jnp.zeros((1, 1, 3)), lam)
    assert np.all(np.isfinite(only_right))
    thin = neuron_operator((1e4 * v)[None, None, :], v[None, None, :], jnp.array([1e8 - v @ v]))[0, 0]
    np.testing.assert_allclose(thin, (1e8 + v @ v) * v, rtol=1e-14)


def test_rates_and_weight_decay_come_from_the_flow():
    arch = dln.relu_network((3, 4, 2), bias=True)
    loss, _ = log_cosh(np.random.default_rng(3).standard_normal(arch.output_shape))
    theta = jax.tree.map(jnp.asarray, start(arch, seed=4))
    unequal = {"W1": 0.5, "b1": 3.0, "W2": 2.0}
    for decay, rates in [(0.3, dict.fromkeys(arch.shapes, 2.0)), (0.0, unequal)]:
        flow = dln.GradientFlow(arch, loss, weight_decay=decay, rates=rates)
        check_pushforward(flow, TwoLayerPathFlow(arch).bind(flow.training), theta)
    with pytest.raises(ValueError, match=r"`weight_decay` must be 0 with unequal `rates`"):
        TwoLayerPathFlow(arch, loss, weight_decay=0.1, rates={"W1": 2.0})


def check_pushforward(flow, reduced, theta):
    """The derivative of the reduced state along the full field is the reduced field: the theorem itself."""

    @eqx.filter_jit
    def sides(flow, reduced, theta):
        _, pushed = jax.jvp(reduced.initial, (theta,), (flow.velocity(0.0, theta),))
        return pushed, reduced.velocity(0.0, reduced.initial(theta))

    pushed, own = sides(flow, reduced, theta)
    for name in own:
        scale = max(1.0, float(jnp.max(jnp.abs(pushed["z"]))))
        np.testing.assert_allclose(own[name], pushed[name], atol=1e-13 * scale)


@pytest.mark.slow
def test_one_output_starts_and_passes_at_zero():
    # u dominates: the neurons start at Z = 0 (v = 0) and the paths change sign on the way to their targets.
    arch, network = dln.relu_network((2, 2, 1), bias=True), PathNetwork((2, 2, 1), True)
    loss, gradient = log_cosh(np.array([[1.0, -2.0, 0.5, 1.0, -1.0, -0.3]]))
    theta0 = {"W1": np.array([[0.0, 0.0], [0.3, -0.2]]), "b1": np.array([0.0, -0.1]), "W2": [[0.5, -1.5]]}
    reduced = TwoLayerPathFlow(arch, loss)
    assert reduced.condition(arch.check(theta0)).holds
    run = dln.solve(reduced, theta0, 2.0, **TIGHT)
    reference, flat = network.flow(theta0, gradient, TS)
    assert np.max(np.abs(run.z - reference)) < 2e-10 * np.max(np.abs(reference))
    assert np.any(np.sign(flat[0]) * np.sign(flat[-1]) < 0)


def test_neurons_that_vanish_are_refused():
    arch = dln.relu_network((3, 4, 2), bias=True)
    theta0 = start(arch)
    theta0["W2"][:, [1, 3]] = 0.0
    with pytest.raises(dln.ConditionError, match=r"hidden neurons \[1, 3\] have paths below 1e-08") as caught:
        TwoLayerPathFlow(arch).check_start(theta0)
    assert caught.value.measured == 2.0
    # With one output the sign of lambda decides.
    arch = dln.relu_network((3, 2, 1))
    heavy = {"W1": np.array([[0.0, 0, 0], [1.0, 0, 0]]), "W2": np.array([[1.0, 1.0]])}
    assert TwoLayerPathFlow(arch).condition(arch.check(heavy)).holds
    light = {"W1": np.array([[0.5, 0, 0], [1.0, 0, 0]]), "W2": np.array([[0.0, 1.0]])}
    with pytest.raises(dln.ConditionError, match=r"\[0\]"):
        TwoLayerPathFlow(arch).check_start(light)
    zero = {name: np.zeros(shape) for name, shape in arch.shapes.items()}
    with pytest.raises(dln.ConditionError, match=r"\[0, 1\]"):
        TwoLayerPathFlow(arch).check_start(zero)


def test_other_architectures_are_refused():
    with pytest.raises(ValueError, match="use `DeepPathFlow`"):
        TwoLayerPathFlow(dln.relu_network((2, 3, 3, 1)))
    for kind in (TwoLayerPathFlow, DeepPathFlow):
        with pytest.raises(ValueError, match="path lifting"):
            kind(dln.linear_network((2, 3, 1)))
        with pytest.raises(ValueError, match="must have a hidden layer"):
            kind(dln.relu_network((2, 1)))


@pytest.mark.slow
def test_it_prints_its_equation_and_goes_through_vmap():
    arch = dln.relu_network((3, 4, 2), bias=True)
    loss, _ = log_cosh(np.random.default_rng(3).standard_normal(arch.output_shape))
    reduced = TwoLayerPathFlow(arch, loss)
    assert "lambda" in reduced.statement
    assert "exact for every loss" in str(reduced)
    theta = jax.tree.map(jnp.asarray, start(arch))
    batch = jax.tree.map(lambda a: jnp.stack([a, 2.0 * a]), theta)

    def velocity(theta):
        return reduced.velocity(0.0, reduced.initial(theta))["z"]

    mapped = jax.jit(jax.vmap(velocity))(batch)
    np.testing.assert_allclose(mapped[0], jax.jit(velocity)(theta), rtol=1e-12)
