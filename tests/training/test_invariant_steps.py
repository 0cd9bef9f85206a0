"""Discrete time: drift of imbalances, the modified flow, and steps that keep what the flow keeps."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import IntegrationError
from dlntheory.laws.law import law_of_terms
from dlntheory.training import (
    CayleyDescent,
    ImplicitMidpoint,
    ModifiedFlow,
)

ARCH = dln.linear_network((2, 3, 2))
TARGET = np.array([[1.2, 0.3], [-0.4, 0.8]])
LOSS = dln.SquaredLoss.from_target(TARGET)
RATES = {"W1": 0.5, "W2": 2.0}


def start():
    rng = np.random.default_rng(0)
    return {"W1": 0.5 * rng.standard_normal((3, 2)), "W2": 0.5 * rng.standard_normal((2, 3))}


def imbalance(theta, rates):
    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    return w2.T @ w2 / rates["W2"] - w1 @ w1.T / rates["W1"]


@pytest.fixture(scope="module")
def reference():
    """z at time 2 under plain flow and with rates, by tight integration."""
    flow = dln.GradientFlow(ARCH, LOSS)
    return dln.solve(flow, start(), 2.0, method="dopri8", rtol=1e-12, ts=2).z[-1]


def test_drift_of_one_step_with_rates_is_exact():
    """The imbalance weighted by the rates is a law of the flow with these rates."""
    terms = [(Fraction(1, 2), "W2", "gram-left"), (-2, "W1", "gram-right")]
    law = law_of_terms(ARCH.named_shapes, terms)
    theta = {name: jnp.asarray(w) for name, w in start().items()}
    descent = dln.GradientDescent(ARCH, LOSS, 0.1, rates=RATES)
    found = imbalance(descent.step(0, theta), RATES) - imbalance(theta, RATES)
    predicted = law.change(descent).at(theta)
    np.testing.assert_allclose(predicted, found, atol=1e-15)
    assert np.linalg.norm(predicted) > 1e-3


def test_scalar_imbalance_shrinks_by_one_minus_eta_squared_residual_squared():
    arch = dln.linear_network((1, 1, 1))
    loss = dln.SquaredLoss.from_target([[1.5]])
    theta = {"W1": jnp.full((1, 1), 0.3), "W2": jnp.full((1, 1), 1.1)}
    after = dln.GradientDescent(arch, loss, 0.2).step(0, theta)
    before = 1.1**2 - 0.3**2
    found = float(after["W2"][0, 0] ** 2 - after["W1"][0, 0] ** 2)
    assert abs(found / (before * (1 - 0.04 * (0.33 - 1.5) ** 2)) - 1) < 1e-14


@pytest.mark.slow
def test_descent_is_nearer_to_the_modified_flow_by_one_order(reference):
    plain, modified, drifts = [], [], []
    for eta in (0.04, 0.02):
        run = dln.iterate(dln.GradientDescent(ARCH, LOSS, eta), start(), round(2 / eta), ts=2)
        flow = ModifiedFlow(ARCH, LOSS, eta)
        near = dln.solve(flow, start(), 2.0, method="dopri8", rtol=1e-10, ts=2).z[-1]
        plain.append(np.linalg.norm(run.z[-1] - reference))
        modified.append(np.linalg.norm(run.z[-1] - near))
        ones = {"W1": 1.0, "W2": 1.0}
        drifts.append(np.linalg.norm(imbalance(run.final, ones) - imbalance(start(), ones)))
    assert 0.9 < np.log2(plain[0] / plain[1]) < 1.1
    assert 1.9 < np.log2(modified[0] / modified[1]) < 2.1
    assert 0.9 < np.log2(drifts[0] / drifts[1]) < 1.1  # total drift is of first order


def test_modified_flow_descends_the_penalised_loss():
    theta = {name: jnp.asarray(w) for name, w in start().items()}
    eta = 0.3
    found = ModifiedFlow(ARCH, LOSS, eta).velocity(0.0, theta)

    def slope(w1, w2):
        g = w2 @ w1 - TARGET
        return w2.T @ g, g @ w1.T

    def penalised(w1, w2):
        g = w2 @ w1 - TARGET
        a, b = slope(w1, w2)
        return 0.5 * np.sum(g**2) + eta / 4 * (np.sum(a**2) + np.sum(b**2))

    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    for index in np.ndindex(3, 2):
        e = np.zeros((3, 2))
        e[index] = 1e-6
        difference = (penalised(w1 + e, w2) - penalised(w1 - e, w2)) / 2e-6
        assert abs(found["W1"][index] + difference) < 1e-8


@pytest.mark.parametrize("rates", [None, RATES], ids=["plain", "rates"])
def test_midpoint_and_cayley_keep_the_imbalance_at_every_step_size(rates):
    weights = rates or {"W1": 1.0, "W2": 1.0}
    for rule in (ImplicitMidpoint, CayleyDescent):
        step = jax.jit(lambda k, s, rule=rule: rule(ARCH, LOSS, 0.4, rates=rates).step(k, s))
        theta = {name: jnp.asarray(w) for name, w in start().items()}
        before = imbalance(theta, weights)
        for k in range(20):
            theta = step(k, theta)
            assert np.abs(imbalance(theta, weights) - before).max() < 2e-14
        assert float(LOSS(ARCH(theta))) < 0.2 * float(LOSS(ARCH(start())))


@pytest.mark.slow
def test_midpoint_is_of_second_order_and_cayley_of_first(reference):
    for rule, order in ((ImplicitMidpoint, 2), (CayleyDescent, 1)):
        errors = []
        for eta in (0.1, 0.05):
            run = dln.iterate(rule(ARCH, LOSS, eta), start(), round(2 / eta), ts=2)
            errors.append(np.linalg.norm(run.z[-1] - reference))
        assert abs(np.log2(errors[0] / errors[1]) - order) < 0.15


def test_refusals():
    for rule in (ModifiedFlow, ImplicitMidpoint, CayleyDescent):
        with pytest.raises(ValueError, match="`learning_rate` must be a finite positive number, but is 0"):
            rule(ARCH, LOSS, 0.0)
    deep = dln.linear_network((2, 2, 2, 2))
    with pytest.raises(ValueError, match="two matrices for Cayley descent"):
        CayleyDescent(deep, LOSS, 0.1)
    with pytest.raises(ValueError, match="`weight_decay` must be 0 for Cayley descent"):
        CayleyDescent(ARCH, LOSS, 0.1, weight_decay=0.1)


def test_a_midpoint_step_without_solution_ends_the_run():
    # theta' = theta^3: the midpoint equation has no real solution for large steps.
    arch = dln.Architecture(lambda p: p["w"], {"w": (1,)}, name="one")
    with pytest.raises(
        IntegrationError, match="implicit midpoint diverged .*Newton's method found no solution"
    ):
        dln.iterate(ImplicitMidpoint(arch, lambda z: -jnp.sum(z**4) / 4, 2.0), {"w": np.ones(1)}, 3, ts=2)
