"""Optimisers as training rules: each against its steps written out in NumPy, and the change of a law in each."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.training import (
    Adam,
    AlternatingDescent,
    HeavyBall,
    Muon,
    OptaxDescent,
    SharpnessAwareDescent,
    SignDescent,
)
from dlntheory.training.rules.muon import polar_factor

ARCH = dln.linear_network((2, 3, 2))
TARGET = np.array([[1.2, 0.3], [-0.4, 0.8]])
LOSS = dln.SquaredLoss.from_target(TARGET)
(LAW,) = dln.conservation_laws(ARCH).laws
ETA, DECAY, RATES = 0.1, {"W1": 0.3, "W2": 0.1}, {"W1": 0.5, "W2": 2.0}


def start():
    rng = np.random.default_rng(0)
    return {"W1": 0.5 * rng.standard_normal((3, 2)), "W2": 0.5 * rng.standard_normal((2, 3))}


def as_arrays(theta):
    return {name: jnp.asarray(value) for name, value in theta.items()}


def slope(theta):
    g = theta["W2"] @ theta["W1"] - TARGET
    return {"W1": theta["W2"].T @ g, "W2": g @ theta["W1"].T}


def polar(matrix):
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


class Written:
    """The steps written out; `update` gives the direction of step k from the gradient with coupled decay."""

    def __init__(self, decay, decoupled, rates):
        self.decay, self.decoupled, self.rates = decay, decoupled, rates
        self.memory = {}

    def gradient(self, theta):
        g = slope(theta)
        return g if self.decoupled else {n: g[n] + self.decay[n] * theta[n] for n in g}

    def run(self, update, steps=3):
        theta = start()
        for k in range(steps):
            along = update(self, k, theta)
            shrunk = {n: ETA * self.decay[n] * x if self.decoupled else 0.0 for n, x in theta.items()}
            theta = {n: x - ETA * self.rates[n] * along[n] - shrunk[n] for n, x in theta.items()}
        return theta


def adam(written, k, theta):
    out = {}
    for n, g in written.gradient(theta).items():
        m, s = written.memory.get(n, (0.0, 0.0))
        m, s = 0.9 * m + 0.1 * g, 0.99 * s + 0.01 * g**2
        written.memory[n] = m, s
        out[n] = m / (1 - 0.9 ** (k + 1)) / (np.sqrt(s / (1 - 0.99 ** (k + 1))) + 1e-3)
    return out


def sam(written, k, theta):
    g = written.gradient(theta)
    norm = np.sqrt(sum(np.sum(x**2) for x in g.values()))
    return written.gradient({n: theta[n] + 0.2 * g[n] / norm for n in g})


def muon(written, k, theta):
    out = {}
    for n, g in written.gradient(theta).items():
        written.memory[n] = 0.8 * written.memory.get(n, 0.0) + g
        out[n] = polar(written.memory[n])
    return out


def sign(written, k, theta):
    return {n: np.sign(g) for n, g in written.gradient(theta).items()}


RULES = {
    "Adam": (lambda **k: Adam(ARCH, LOSS, ETA, beta2=0.99, epsilon=1e-3, **k), adam),
    "sign": (lambda **k: SignDescent(ARCH, LOSS, ETA, **k), sign),
    "sharpness-aware": (lambda **k: SharpnessAwareDescent(ARCH, LOSS, ETA, 0.2, **k), sam),
    "Muon": (lambda **k: Muon(ARCH, LOSS, ETA, 0.8, **k), muon),
}


@pytest.mark.parametrize("decoupled", [False, True])
@pytest.mark.parametrize("name", RULES)
def test_steps_and_the_change_of_a_law(name, decoupled):
    """With decay and rates by factor. The law changes by what the rule says, and by more than nothing."""
    make, update = RULES[name]
    rule = make(weight_decay=DECAY, rates=RATES, decoupled=decoupled)
    change = LAW.change(rule)
    state = rule.initial(as_arrays(start()))
    for k in range(3):
        after = rule.step(k, state)
        measured = LAW(rule.parameters(after)) - LAW(rule.parameters(state))
        np.testing.assert_allclose(change.at(state, k), measured, rtol=0, atol=2e-15)
        assert float(jnp.max(jnp.abs(measured))) > 1e-3
        state = after
    expected = Written(DECAY, decoupled, RATES).run(update)
    for n in expected:
        np.testing.assert_allclose(state[n], expected[n], rtol=1e-12)


def test_alternating_updates():
    rule = AlternatingDescent(ARCH, LOSS, ETA, weight_decay=0.2)
    state, theta = rule.initial(as_arrays(start())), start()
    for k in range(4):
        change = LAW.change(rule).at(state, k)
        before, state = LAW(state), rule.step(k, state)
        np.testing.assert_allclose(LAW(state) - before, change, rtol=0, atol=2e-15)
        moving = ("W1", "W2")[k % 2]
        theta = theta | {moving: theta[moving] - ETA * (slope(theta)[moving] + 0.2 * theta[moving])}
        for n in theta:
            np.testing.assert_allclose(state[n], theta[n], rtol=1e-13)
    assert float(rule.time_of(4)) == pytest.approx(2 * ETA)
    with pytest.raises(ValueError, match="`blocks` must hold each of the factors"):
        AlternatingDescent(ARCH, LOSS, ETA, blocks=[["W1"]])


def test_sharpness_aware_identity_without_decay():
    """eta <Ap, g> + eta^2 h_2(g) does not need theta; at radius 0 it is that of gradient descent."""
    rule = SharpnessAwareDescent(ARCH, LOSS, ETA, 0.2)
    change = LAW.change(rule)
    assert change.needs == ("gradient", "shift")
    assert change.order == r"O(\rho) + O(\eta)"
    assert change.right_side.endswith(r"P = \rho\,G/\|G\|")
    theta = as_arrays(start())
    flat, plain = SharpnessAwareDescent(ARCH, LOSS, ETA, 0.0), dln.GradientDescent(ARCH, LOSS, ETA)
    np.testing.assert_allclose(LAW.change(flat).at(theta), LAW.change(plain).at(theta), rtol=1e-12)
    zero = {n: 0 * x for n, x in theta.items()}
    assert all(bool(jnp.all(x == 0)) for x in rule.step(0, zero).values())


def test_sign_descent_keeps_differences_of_absolute_values():
    """z = u v: |u| - |v| is kept at every step until a sign changes; gradient descent does not keep it."""
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="entrywise")
    loss = lambda z: 0.5 * jnp.sum((z - jnp.array([2.0, -1.5])) ** 2)
    theta = {"u": jnp.array([1.0, -0.9]), "v": jnp.array([0.4, 0.7])}
    kept = lambda p: jnp.abs(p["u"]) - jnp.abs(p["v"])
    for rule, drifts in (
        (SignDescent(arch, loss, 0.01), False),
        (dln.GradientDescent(arch, loss, 0.01), True),
    ):
        state = theta
        for k in range(5):
            state = rule.step(k, state)
        assert (float(jnp.max(jnp.abs(kept(state) - kept(theta)))) > 1e-3) == drifts
        if not drifts:
            np.testing.assert_allclose(kept(state), kept(theta), rtol=1e-13)
    shrinking = SignDescent(arch, loss, 0.01, weight_decay=0.5, decoupled=True)
    np.testing.assert_allclose(kept(shrinking.step(0, theta)), 0.995 * kept(theta), rtol=1e-13)


def test_adam_tends_to_sign_descent():
    """Without memory and with a small epsilon the two are one."""
    theta = as_arrays(start())
    rule = Adam(ARCH, LOSS, ETA, beta1=0.0, beta2=0.0, epsilon=1e-14)
    found, expected = rule.step(0, rule.initial(theta)), SignDescent(ARCH, LOSS, ETA).step(0, theta)
    for n in expected:
        np.testing.assert_allclose(found[n], expected[n], rtol=1e-11)


class TestPolarFactors:
    matrix = np.random.default_rng(2).standard_normal((4, 3))

    def test_exact(self):
        found = polar_factor(jnp.asarray(self.matrix))
        np.testing.assert_allclose(found, polar(self.matrix), rtol=1e-12, atol=1e-14)
        np.testing.assert_allclose(polar_factor(jnp.array([3.0, -4.0])), [0.6, -0.8], rtol=1e-14)
        assert float(polar_factor(jnp.asarray(-2.0))) == pytest.approx(-1.0)

    def test_null_space_is_dropped(self):
        thin = jnp.outer(jnp.array([1.0, 2.0, 2.0]), jnp.array([0.0, 1.0]))
        np.testing.assert_allclose(polar_factor(thin), thin / 3, atol=1e-14)
        assert not np.any(polar_factor(jnp.zeros((2, 3))))

    def test_newton_schulz_has_the_same_singular_vectors(self):
        found = np.asarray(polar_factor(jnp.asarray(self.matrix), exact=False))
        left, _, right = np.linalg.svd(self.matrix, full_matrices=False)
        inner = left.T @ found @ right.T
        np.testing.assert_allclose(inner, np.diag(np.diag(inner)), atol=1e-13)
        assert np.all((np.diag(inner) > 0.06) & (np.diag(inner) < 1.21))

    def test_factors_of_more_dimensions_are_refused(self):
        arch = dln.Architecture(lambda p: jnp.sum(p["T"], axis=0), {"T": (2, 2, 2)}, name="tensor")
        with pytest.raises(ValueError, match="must have matrices and vectors for Muon"):
            Muon(arch, jnp.sum, 0.1)


class Trace(NamedTuple):
    """The state of a gradient transformation, a pytree as those of optax."""

    trace: dict


class Transformation(NamedTuple):
    """A pair of functions, the protocol of optax, which is no dependency."""

    init: object
    update: object


def momentum(rate, beta):
    def init(params):
        return Trace(jax.tree.map(jnp.zeros_like, params)), ()

    def update(gradient, state, params=None):
        trace = jax.tree.map(lambda m, g: beta * m + g, state[0].trace, gradient)
        return jax.tree.map(lambda m: -rate * m, trace), (Trace(trace), ())

    return Transformation(init, update)


def test_a_gradient_transformation_is_a_rule():
    theta = as_arrays(start())
    rule, own = OptaxDescent(ARCH, LOSS, momentum(ETA, 0.8), time_step=ETA), HeavyBall(ARCH, LOSS, ETA, 0.8)
    state, expected = rule.initial(theta), own.initial(theta)
    for k in range(3):
        predicted = LAW.change(rule).at(state, k)
        before, state, expected = LAW(state), rule.step(k, state), own.step(k, expected)
        np.testing.assert_allclose(LAW(state) - before, predicted, rtol=0, atol=2e-15)
    for n in theta:
        np.testing.assert_allclose(state[n], expected[n], rtol=1e-13)
    with pytest.raises(ValueError, match="`transformation` must have `init` and `update`, but is 0.1"):
        OptaxDescent(ARCH, LOSS, 0.1)


def test_a_run_with_the_most_memory():
    run = dln.iterate(Adam(ARCH, LOSS, 0.02), start(), 400)
    assert run.loss[-1] < 0.01 * run.loss[0]
