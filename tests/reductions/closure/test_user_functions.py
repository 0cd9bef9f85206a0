"""Functions as users write them: closed equations and generated source against the chain rule, at one point."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.closures import OFFSET, Loss, start

import dlntheory as dln
from dlntheory.reductions.closure import find_closure

BIASED = {"W1": (4, 2), "b1": (4,), "W2": (2, 4), "b2": (2,)}


def _heads(p):
    pairs = zip(jnp.split(p["Q"], 2, axis=1), jnp.split(p["K"], 2, axis=1), strict=True)
    return jnp.stack([q @ k.T for q, k in pairs])


def _blocks(p):
    return jnp.block([[p["A"] @ p["B"], jnp.zeros((2, 2))], [jnp.zeros((1, 2)), p["C"] @ p["D"]]])


def _biased(p):
    return jnp.concatenate([p["W2"] @ p["W1"], (p["W2"] @ p["b1"] + p["b2"])[:, None]], axis=1)


def _scanned(p):
    return jax.lax.scan(lambda product, layer: (layer @ product, None), jnp.eye(2), p["W"])[0]


# φ, shapes, and what closes: the level and the number of entries of the state.
QUICK = {
    "fractions": (
        lambda p: 0.75 * p["u"] + 0.5 * p["u"] ** 2 * p["v"],
        {"u": (2,), "v": (2,)},
        "entries",
        None,
    ),
    "tensor of a product": (
        lambda p: (p["U"] @ p["V"]).reshape(2, 2, 3),
        {"U": (4, 5), "V": (5, 3)},
        "words",
        37,
    ),
    "on samples": (
        lambda p: jax.vmap(lambda x: p["B"] @ (p["A"] @ x))(OFFSET[:2]),
        {"A": (4, 3), "B": (2, 4)},
        "words",
        12,
    ),
}
SLOW = {
    "bias": (_biased, BIASED, "words", 19),
    "heads of one sum": (
        lambda p: jnp.einsum("hik,hkj->ij", p["A"], p["B"]),
        {"A": (2, 3, 1), "B": (2, 1, 3)},
        "words",
        54,
    ),
    "rows by vmap": (
        lambda p: jax.vmap(lambda row: p["B"] @ row)(p["A"]),
        {"A": (3, 4), "B": (2, 4)},
        "words",
        19,
    ),
    "reshaped parameters": (
        lambda p: p["U"].reshape(2, 3) @ p["V"].reshape(3, 2),
        {"U": (6,), "V": (6,)},
        "entries",
        10,
    ),
    "kron with the identity": (
        lambda p: jnp.kron(jnp.eye(3), p["A"] @ p["B"]),
        {"A": (2, 4), "B": (4, 2)},
        "words",
        12,
    ),
    "kron of parameters": (lambda p: jnp.kron(p["A"], p["B"]), {"A": (2, 2), "B": (1, 2)}, "entries", 21),
    "kron of a product": (
        lambda p: jnp.kron(p["A"] @ p["B"], np.array([[1.0, 2.0], [0.0, 1.0]])),
        {"A": (2, 3), "B": (3, 2)},
        "words",
        12,
    ),
    "two decoders": (
        lambda p: jnp.concatenate([p["A"] @ p["B"], p["A"] @ p["C"]], axis=1),
        {"A": (2, 3), "B": (3, 2), "C": (3, 1)},
        "words",
        17,
    ),
    "block matrix": (_blocks, {"A": (2, 2), "B": (2, 2), "C": (1, 2), "D": (2, 2)}, "words", 19),
    "bias in the matrix": (
        lambda p: p["W2"] @ jnp.concatenate([p["W1"], p["b"][:, None]], axis=1),
        {"W1": (3, 2), "b": (3,), "W2": (2, 3)},
        "words",
        17,
    ),
    "split heads": (_heads, {"Q": (3, 4), "K": (2, 4)}, "entries", 30),
    "layers by scan": (_scanned, {"W": (2, 2, 2)}, "words", 12),
    "symmetric part": (
        lambda p: 0.5 * (p["A"] @ p["B"] + (p["A"] @ p["B"]).T),
        {"A": (2, 3), "B": (3, 2)},
        "words",
        12,
    ),
    "some entries": (
        lambda p: (p["A"] @ p["B"])[jnp.array([0, 1, 1]), jnp.array([0, 0, 1])],
        {"A": (2, 2), "B": (2, 2)},
        "entries",
        10,
    ),
    "trace": (lambda p: jnp.trace(p["A"] @ p["B"]), {"A": (2, 2), "B": (2, 2)}, "entries", 3),
    "gain": (lambda p: p["g"] * (p["A"] @ p["B"]), {"g": (), "A": (2, 1), "B": (1, 2)}, "entries", 11),
    "difference of products": (
        lambda p: p["A"] @ p["B"] - 2 * p["C"] @ p["D"],
        dict.fromkeys("ABCD", (2, 2)),
        "words",
        24,
    ),
}
MODELS = {
    "biases": (lambda p, x: p["W2"] @ (p["W1"] @ x + p["b1"]) + p["b2"], {**BIASED}, (2,), 19),
    "quadratic unit": (
        lambda p, x: p["a"] @ jnp.square(p["W"] @ x + p["b"]),
        {"a": (1, 1), "W": (1, 2), "b": (1,)},
        (2,),
        10,
    ),
    "gate with a bias": (
        lambda p, x: (p["A"] @ x + p["a"]) * (p["B"] @ x),
        {"A": (1, 2), "a": (1,), "B": (1, 2)},
        (2,),
        10,
    ),
}


def _check(arch, closure, theta0):
    """The derivative of each observable by the chain rule, by the closed system, and by its generated module."""
    assert closure.is_closed, closure.explanation
    loss, system, module = Loss(arch.output_shape), closure.system, {}
    exec(compile(closure.python(), "generated", "exec"), module)
    slope = jax.grad(loss)

    def derivatives(theta):
        moved = jax.tree.map(jnp.negative, jax.grad(lambda p: loss(arch(p)))(theta))
        state, exact = jax.jvp(system.initial, (theta,), (moved,))
        z = system.output(state)
        generated = module["velocity"](0.0, module["initial"](theta), slope)
        return exact, system.velocity(state, slope(z)), generated, z - arch(theta)

    exact, closed, generated, gap = jax.jit(derivatives)(arch.check(theta0))
    scale = max(float(np.max(np.abs(value))) for value in exact.values())
    assert np.max(np.abs(gap)) < 1e-14
    for name, value in exact.items():
        np.testing.assert_allclose(closed[name], value, rtol=0, atol=3e-15 * scale)
        np.testing.assert_allclose(generated[name], value, rtol=0, atol=3e-15 * scale)


def _check_function(phi, shapes, level, numbers):
    arch = dln.Architecture(phi, shapes, name="user")
    closure = find_closure(arch)
    assert closure.level == level
    assert numbers is None or closure.sizes.state == numbers
    _check(arch, closure, start(shapes))


@pytest.mark.parametrize("name", QUICK)
def test_user_function_closes(name):
    _check_function(*QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", SLOW)
def test_more_user_functions_close(name):
    _check_function(*SLOW[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS)
def test_models_close(name):
    model, shapes, inputs, numbers = MODELS[name]
    arch = dln.from_model(model, shapes, inputs)
    closure = find_closure(arch)
    assert closure.sizes.state == numbers
    _check(arch, closure, start(shapes))


def test_four_layers_with_all_laws_scalar_hold_with_every_leftover():
    # Words are turned several times here, and each turn leaves a shorter word times its own λ.
    arch = dln.linear_network((3, 3, 3, 3, 3))
    theta0 = dln.lambda_balanced(arch, jax.random.key(0), [0.3, 0.3, 0.3], scale=0.6)
    _check(arch, find_closure(arch, balanced=0.3), theta0)


def test_words_that_end_in_data_are_read_off_the_others():
    closure = find_closure(dln.linear_network((3, 2, 2)).restricted_to([[1.0, 0.0, 2.0], [0.0, 1.0, -1.0]]))
    assert (closure.sizes.parameters, closure.sizes.state) == (10, 12)


def test_words_that_the_others_make_superfluous_are_dropped():
    closure = find_closure(
        dln.Architecture(lambda p: p["U"] @ p["V"] @ p["U"], dict.fromkeys("UV", (2, 2)), name="UVU")
    )
    assert closure.matrix_form is not None
    assert set(closure.matrix_form.values()) == {"U V U", "U", "V"}
