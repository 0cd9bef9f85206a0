"""`TracedLoss`: plain functions as losses are values; their arrays are data, their precision is checked."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.losses.traced import TracedLoss, traced_loss

SHAPE = (2, 3)


def squared(target):
    return lambda z: 0.5 * jnp.sum((z - target) ** 2)


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def gradient(loss, z):
    return jax.grad(loss)(z)


def test_a_loss_written_twice_is_one_loss_whatever_its_data():
    targets = [np.ones(SHAPE), jnp.full(SHAPE, 2.0)]
    losses = [traced_loss(squared(target), SHAPE) for target in targets]
    losses.append(
        traced_loss(functools.partial(lambda t, z: 0.5 * jnp.sum((z - t) ** 2), np.zeros(SHAPE)), SHAPE)
    )
    before = eqx.debug.get_num_traces(gradient)
    slopes = [np.asarray(gradient(loss, jnp.zeros(SHAPE))) for loss in losses]
    assert eqx.debug.get_num_traces(gradient) - before == 1
    np.testing.assert_allclose([slope[0, 0] for slope in slopes], [-1.0, -2.0, 0.0], rtol=1e-15)
    structures = {jax.tree_util.tree_structure(loss) for loss in losses}
    assert len(structures) == 1


def test_numbers_and_custom_derivatives_are_part_of_the_code():
    one, two = (traced_loss(lambda z, c=c: jnp.sum(c * z), SHAPE) for c in (1.0, 2.0))
    assert jax.tree_util.tree_structure(one) != jax.tree_util.tree_structure(two)

    def with_rule(slope):
        function = jax.custom_jvp(lambda z: jnp.sum(z))
        function.defjvp(lambda primals, tangents: (jnp.sum(primals[0]), jnp.sum(slope * tangents[0])))
        return lambda z: function(z)

    one, two, three = (traced_loss(with_rule(np.full(SHAPE, c)), SHAPE) for c in (1.0, 2.0, 2.0))
    assert one.code != two.code
    assert two.code == three.code
    np.testing.assert_allclose(jax.grad(two)(jnp.zeros(SHAPE)), np.full(SHAPE, 2.0), rtol=1e-15)


def test_modules_stay_what_they_are():
    loss = dln.SquaredLoss.from_target(np.ones(SHAPE))
    assert traced_loss(loss, SHAPE) is loss
    again = traced_loss(squared(1.0), SHAPE)
    assert traced_loss(again, SHAPE) is again
    assert traced_loss(again, (3, 3)).code.shape == (3, 3)


def test_precision_and_shape_are_checked():
    cases = [
        (lambda z: jnp.sum(z.astype(jnp.float32)), "keep the precision of z"),
        (lambda z: jnp.sum(z.astype(jnp.float32) ** 2).astype(jnp.float64), "must stay in float64"),
        (lambda z: z, "to a scalar"),
    ]
    for loss, message in cases:
        with pytest.raises(ValueError, match=message):
            dln.GradientFlow(dln.linear_network((3, 2)), loss)
    with pytest.raises(ValueError, match=r"must have shape \(2, 3\)"):
        traced_loss(squared(1.0), SHAPE)(jnp.zeros((3, 2)))
    with pytest.raises(KeyError) as caught:
        traced_loss(lambda z: {}["missing"], SHAPE)
    assert "while evaluating `loss`" in "".join(caught.value.__notes__)


def test_transformations_of_a_traced_loss():
    loss = traced_loss(lambda z: jnp.sum(jnp.logaddexp(z, 0.0)), SHAPE)
    assert isinstance(loss, TracedLoss)
    z = jnp.arange(6.0).reshape(SHAPE)
    np.testing.assert_allclose(jax.grad(loss)(z), jax.nn.sigmoid(z), rtol=1e-14)
    np.testing.assert_allclose(jax.jit(jax.vmap(loss))(jnp.stack([z, z])), [loss(z)] * 2, rtol=1e-14)
    hessian = jax.hessian(loss)(z)[0, 1, 0, 1]
    np.testing.assert_allclose(hessian, jax.nn.sigmoid(z)[0, 1] * jax.nn.sigmoid(-z)[0, 1], rtol=1e-13)
    assert repr(loss) == "TracedLoss(<lambda>)"


def test_a_loss_without_a_value_at_the_start_is_refused_at_once():
    arch = dln.linear_network((2, 2))
    flow = dln.GradientFlow(arch, lambda z: jnp.sum(jnp.log(z)))
    negative = {"W1": -np.ones((2, 2))}
    with pytest.raises(ValueError, match="must have a finite loss for gradient flow"):
        dln.solve(flow, negative, 1.0)
    with pytest.raises(ValueError, match="1 of 2 starts have none"):
        dln.solve(flow, {"W1": np.stack([np.ones((2, 2)), negative["W1"]])}, 1.0)
    with pytest.raises(ValueError, match="must have a finite loss for gradient descent"):
        dln.iterate(dln.GradientDescent(arch, flow.training.loss, 0.1), negative, 3)
