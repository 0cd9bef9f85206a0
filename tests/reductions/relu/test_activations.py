"""`ReluSquaredLoss`: values and activations from path products, and training of the true network across flips."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.paths import two_layer_relu_flow

import dlntheory as dln
from dlntheory.reductions.relu import ReluSquaredLoss, TwoLayerPathFlow

ARCH = dln.relu_network((2, 4, 2), bias=True)
RNG = np.random.default_rng(18)
INPUTS, TARGETS = RNG.standard_normal((8, 2)), RNG.standard_normal((8, 2))
SHAPES = {"W1": (4, 2), "W2": (2, 4), "b1": (4,)}
THETA0 = {name: 0.7 * RNG.standard_normal(shape) for name, shape in SHAPES.items()}
END = 2.0


def outputs_of(theta, inputs):
    hidden = np.maximum(inputs @ np.asarray(theta["W1"]).T + np.asarray(theta["b1"]), 0.0)
    return hidden @ np.asarray(theta["W2"]).T


def test_it_is_the_loss_of_the_network():
    loss = ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS)
    z = ARCH(THETA0)
    np.testing.assert_allclose(loss.outputs(z), outputs_of(THETA0, INPUTS), atol=1e-14)
    residual = outputs_of(THETA0, INPUTS) - TARGETS
    assert float(loss(z)) == pytest.approx(0.5 * np.mean(np.sum(residual**2, axis=1)), rel=1e-14)
    total = ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS, reduction="sum")
    assert float(total(z)) == pytest.approx(0.5 * np.sum(residual**2), rel=1e-14)
    np.testing.assert_allclose(loss.alignment(z), 1.0, rtol=1e-14)
    assert "relu network" in loss.conventions
    # Elsewhere too, while the outgoing weights stay within a right angle of their start.
    other = {**THETA0, "W1": -np.asarray(THETA0["W1"]), "b1": np.array([1.0, -2.0, 0.5, 0.0])}
    other["W2"] = np.asarray(THETA0["W2"]) + 0.2
    np.testing.assert_allclose(loss.outputs(ARCH(other)), outputs_of(other, INPUTS), atol=1e-14)
    cosine = np.sum(other["W2"] * THETA0["W2"], axis=0) / np.linalg.norm(THETA0["W2"], axis=0)
    cosine = np.abs(cosine) / np.linalg.norm(other["W2"], axis=0)
    np.testing.assert_allclose(loss.alignment(ARCH(other)), cosine, rtol=1e-12)
    turned = {**THETA0, "W2": -np.asarray(THETA0["W2"])}
    assert np.max(np.abs(loss.outputs(ARCH(turned)) - outputs_of(turned, INPUTS))) > 0.1


@pytest.fixture(scope="module")
def reference():
    first = np.concatenate([THETA0["W1"], THETA0["b1"][:, None]], axis=1)
    rows = np.concatenate([INPUTS, np.ones((len(INPUTS), 1))], axis=1)
    first, second, flips = two_layer_relu_flow((first, THETA0["W2"]), rows, TARGETS, END)
    assert flips >= 5, "the run must cross kinks"
    return np.asarray(ARCH({"W1": first[:, :-1], "b1": first[:, -1], "W2": second}))


@pytest.mark.slow
def test_fixed_steps_follow_the_true_network_with_order_one(reference):
    reduced = TwoLayerPathFlow(ARCH, ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS))

    @eqx.filter_jit
    def runge_kutta(reduced, state, steps, h):
        def step(_, state):
            def moved(velocity, length):
                return jax.tree.map(lambda a, b: a + length * b, state, velocity)

            k1 = reduced.velocity(0.0, state)
            k2 = reduced.velocity(0.0, moved(k1, 0.5 * h))
            k3 = reduced.velocity(0.0, moved(k2, 0.5 * h))
            k4 = reduced.velocity(0.0, moved(k3, h))
            total = jax.tree.map(lambda a, b, c, d: (a + 2.0 * b + 2.0 * c + d) / 6.0, k1, k2, k3, k4)
            return moved(total, h)

        return jax.lax.fori_loop(0, steps, step, state)

    state = reduced.initial(ARCH.check(THETA0))
    # The error at a kink depends on where in a step it falls: average over nearby counts of steps.
    counts, errors = [500, 2000, 8000], []
    for count in counts:
        logs = []
        for steps in count + np.arange(6) * count // 23:
            final = runge_kutta(reduced, state, jnp.asarray(steps), jnp.asarray(END / steps))
            logs.append(np.log(np.max(np.abs(np.asarray(final["z"]) - reference))))
        errors.append(np.exp(np.mean(logs)))
    assert errors[-1] < 1e-5
    order = np.log(errors[0] / errors[-1]) / np.log(counts[-1] / counts[0])
    assert 0.75 < order < 1.25


@pytest.mark.slow
def test_solve_at_the_recommended_tolerance(reference):
    loss = ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS)
    both = dln.compare(
        dln.GradientFlow(ARCH, loss),
        TwoLayerPathFlow(ARCH),
        THETA0,
        END,
        method="tsit5",
        rtol=1e-8,
        ts=11,
        timing=False,
    )
    assert both.max_error < 1e-6
    # The solver's own error, proportional to rtol: about 1e-6 here, 1e-8 at 1e-10.
    assert np.max(np.abs(both.reduced.z[-1] - reference)) < 2e-6
    assert np.min(jax.vmap(loss.alignment)(jnp.asarray(both.reduced.z))) > 0.1


def test_one_output_needs_no_orientation_beyond_its_sign():
    arch = dln.relu_network((3, 5, 1))
    theta = {name: RNG.standard_normal(shape) for name, shape in arch.shapes.items()}
    loss = ReluSquaredLoss(arch, theta, RNG.standard_normal((7, 3)), RNG.standard_normal(7))
    moved = {
        "W1": RNG.standard_normal((5, 3)),
        "W2": np.abs(RNG.standard_normal((1, 5))) * np.sign(theta["W2"]),
    }
    expected = np.maximum(np.asarray(loss.inputs) @ moved["W1"].T, 0.0) @ moved["W2"].T
    np.testing.assert_allclose(loss.outputs(arch(moved)), expected, atol=1e-14)
    np.testing.assert_allclose(loss.alignment(arch(moved)), 1.0, rtol=1e-14)


def test_malformed_arguments_are_refused():
    with pytest.raises(ValueError, match="exactly one hidden layer"):
        deep = dln.relu_network((2, 2, 2, 2))
        ReluSquaredLoss(deep, {name: np.ones(shape) for name, shape in deep.shapes.items()}, INPUTS, TARGETS)
    with pytest.raises(ValueError, match="must have 2 and 2 columns .* but have 2 and 1"):
        ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS[:, :1])
    with pytest.raises(ValueError, match=r"neurons \[1\] are zero"):
        outgoing = np.array(THETA0["W2"])
        outgoing[:, 1] = 0.0
        ReluSquaredLoss(ARCH, {**THETA0, "W2": outgoing}, INPUTS, TARGETS)
    with pytest.raises(ValueError, match='"mean" or "sum"'):
        ReluSquaredLoss(ARCH, THETA0, INPUTS, TARGETS, reduction="total")
