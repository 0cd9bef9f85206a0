"""Every pure public function goes through jit and vmap, and has the right derivative where it has one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln

ARCH = dln.linear_network((3, 4, 2))
RNG = np.random.default_rng(0)
THETA = {name: RNG.standard_normal(shape) for name, shape in ARCH.shapes.items()}
DIRECTION = {name: RNG.standard_normal(shape) for name, shape in ARCH.shapes.items()}
INPUTS, TARGETS = RNG.standard_normal((9, 3)), RNG.standard_normal((9, 2))


def on_z(function):
    """A function of z as one of the parameters."""
    return lambda params: function(ARCH(params))


def functions():
    squared = dln.SquaredLoss(INPUTS, TARGETS)
    flow = dln.GradientFlow(ARCH, squared, weight_decay=0.1, rates={"W1": 2.0})
    gram, balanced = (
        kind(ARCH).bind(dln.GradientFlow(ARCH, squared).training) for kind in (dln.GramFlow, dln.BalancedFlow)
    )
    labels = np.where(TARGETS[:, 0] > 0, 1.0, -1.0)
    row = dln.LogisticLoss(INPUTS, labels)
    return {
        "architecture": ARCH,
        "squared loss": on_z(squared),
        "cross entropy": on_z(dln.CrossEntropyLoss(INPUTS, (TARGETS[:, 0] > 0).astype(int), classes=2)),
        "logistic loss": on_z(lambda z: row(z[0])),
        "exponential loss": on_z(lambda z: dln.ExponentialLoss(INPUTS, labels)(z[0])),
        "completion loss": on_z(dln.MatrixCompletionLoss(np.ones((2, 3)), np.eye(2, 3, dtype=bool))),
        "imbalances": lambda p: dln.imbalances(ARCH, p)[0],
        "laws": lambda p: LAWS(p)["W2^T W2 - W1 W1^T"],
        "gradient flow": lambda p: flow.velocity(0.0, p),
        "Gram flow": lambda p: gram.velocity(0.0, gram.initial(p)),
        "balanced flow": lambda p: balanced.velocity(0.0, balanced.initial(p)),
        "descent step": lambda p: dln.GradientDescent(ARCH, squared, 0.1).step(0, p),
    }


LAWS = dln.conservation_laws(ARCH)
FUNCTIONS = functions()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_jit_vmap_and_derivative(name):
    function = FUNCTIONS[name]
    params = jax.tree.map(jnp.asarray, THETA)
    plain = function(params)
    compiled = eqx.filter_jit(function)(params)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-12, atol=1e-13), plain, compiled)

    batch = jax.tree.map(lambda a: jnp.stack([a, 2.0 * a]), params)
    mapped = jax.vmap(function)(batch)
    twice = function(jax.tree.map(lambda a: 2.0 * a, params))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a[1], b, rtol=1e-11, atol=1e-12), mapped, twice)

    step = 1e-4

    def moved(t):
        return function(jax.tree.map(lambda a, d: a + t * d, params, DIRECTION))

    _, tangent = jax.jvp(function, (params,), (jax.tree.map(jnp.asarray, DIRECTION),))
    quotient = jax.tree.map(
        lambda a, b, c, d: (8.0 * (a - b) - (c - d)) / (12.0 * step),
        moved(step),
        moved(-step),
        moved(2 * step),
        moved(-2 * step),
    )
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-8, atol=1e-8), tangent, quotient)
