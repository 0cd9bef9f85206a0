"""The pure core: equal to `solve` and `iterate`, and differentiable in both modes."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.training import states_at

ARCH = dln.linear_network((2, 3, 2))
LOSS = dln.SquaredLoss.from_target([[1.0, 0.0], [0.5, 2.0]])
THETA = {n: 0.5 * np.random.default_rng(1).standard_normal(shape) for n, shape in ARCH.shapes.items()}
WAYS = {
    "flow": (dln.GradientFlow(ARCH, LOSS), np.array([0.0, 0.4, 1.0])),
    "steps": (dln.GradientDescent(ARCH, LOSS, 0.1), np.array([0, 4, 10])),
}


@pytest.mark.parametrize("way", WAYS)
def test_it_is_the_run_and_its_derivatives_are_those_of_differences(way):
    rule, ts = WAYS[way]
    states = jax.jit(lambda theta: states_at(rule, theta, ts))(THETA)
    run = dln.solve(rule, THETA, 1.0, ts=ts) if way == "flow" else dln.iterate(rule, THETA, 10, ts=ts)
    np.testing.assert_allclose(jax.vmap(rule.output)(states), run.z, rtol=0, atol=1e-7)

    def final(theta, derivative):
        kept = states_at(rule, theta, ts, rtol=1e-11, atol=1e-13, derivative=derivative)
        return jnp.sum(jax.vmap(rule.output)(kept)[-1] ** 2)

    direction = jax.tree.map(np.ones_like, THETA)
    slope = jax.jit(jax.grad(lambda theta: final(theta, "reverse")))(THETA)
    reverse = sum(float(jnp.sum(leaf)) for leaf in jax.tree.leaves(slope))
    along = jax.jit(lambda theta: jax.jvp(lambda x: final(x, "forward"), (theta,), (direction,))[1])(THETA)
    assert float(along) == pytest.approx(reverse, rel=1e-8)
    ahead, behind = ({name: leaf + h for name, leaf in THETA.items()} for h in (1e-5, -1e-5))
    assert reverse == pytest.approx(
        float(final(ahead, "forward") - final(behind, "forward")) / 2e-5, rel=1e-6
    )
    batch = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), THETA)
    mapped = jax.vmap(lambda theta: final(theta, "forward"))(batch)
    assert float(mapped[1]) == pytest.approx(
        float(final(jax.tree.map(lambda x: 2 * x, THETA), "forward")), rel=1e-8
    )


@pytest.mark.slow
def test_numbers_of_a_rule_have_derivatives():
    rule, ts = WAYS["steps"]

    def loss_of(rate):
        states = states_at(eqx.tree_at(lambda r: r.learning_rate, rule, rate), THETA, ts)
        return LOSS(ARCH(jax.tree.map(lambda leaf: leaf[-1], states)))

    slope = float(jax.grad(loss_of)(jnp.asarray(0.1)))
    assert slope == pytest.approx(float(loss_of(0.1 + 1e-6) - loss_of(0.1 - 1e-6)) / 2e-6, rel=1e-6)
    with pytest.raises(ValueError, match="`derivative` must be"):
        states_at(rule, THETA, ts, derivative="backward")
    with pytest.raises(ValueError, match="`method` must be one of"):
        states_at(WAYS["flow"][0], THETA, [0.0, 1.0], method="euler")
