"""φ whose derivative JAX does not take from its value × everything that reads φ: equations that hold, or a refusal."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.lax import stop_gradient

import dlntheory as dln
from dlntheory.exact.reading import DerivativeError, read_program, require_derivative
from dlntheory.exact.words.reading import NoWords, read_words
from dlntheory.reductions.entrywise.recognise import polynomials_of


@jax.custom_jvp
def cut_forward(x):
    return x * 1.0


cut_forward.defjvp(lambda primals, tangents: (primals[0] * 1.0, 0.0 * tangents[0]))


@jax.custom_vjp
def cut_backward(x):
    return x * 1.0


cut_backward.defvjp(lambda x: (x * 1.0, None), lambda _, cotangent: (0.0 * cotangent,))


@jax.custom_jvp
def halved(x):
    return x * 1.0


halved.defjvp(lambda primals, tangents: (primals[0] * 1.0, 0.5 * tangents[0]))


@jax.custom_jvp
def honest(x):
    return x * x


honest.defjvp(lambda primals, tangents: (primals[0] ** 2, 2.0 * primals[0] * tangents[0]))

MATRICES = {"W1": (2, 2), "W2": (2, 2)}
VECTORS = {"u": (3,), "v": (3,)}
MASK = np.array([[True, False], [True, True]])
COUNTS = np.array([[1, 2], [0, 1]])

#: φ, shapes, the frozen factors.
FROZEN = {
    "stop_gradient": (lambda p: p["W2"] @ stop_gradient(p["W1"]), MATRICES, {"W1"}),
    "custom_jvp": (lambda p: p["W2"] @ cut_forward(p["W1"]), MATRICES, {"W1"}),
    "custom_vjp": (lambda p: p["W2"] @ cut_backward(p["W1"]), MATRICES, {"W1"}),
    "entrywise": (lambda p: p["u"] * stop_gradient(p["v"]), VECTORS, {"v"}),
    "inside jit": (lambda p: jax.jit(lambda w, x: w @ stop_gradient(x))(p["W2"], p["W1"]), MATRICES, {"W1"}),
}
DIFFERENT = {
    "half a derivative": (lambda p: p["W2"] @ halved(p["W1"]), MATRICES, "custom_jvp_call"),
    "part of a factor": (
        lambda p: p["W2"] @ p["W1"].at[0].set(stop_gradient(p["W1"][0])),
        MATRICES,
        "stop_gradient",
    ),
    "one of two places": (lambda p: p["W2"] @ stop_gradient(p["W1"]) + p["W1"], MATRICES, "stop_gradient"),
}
PLAIN = {
    "where": (lambda p: jnp.where(MASK, p["W2"] @ p["W1"], 0), MATRICES),
    "integers": (lambda p: COUNTS @ p["W2"] @ p["W1"], MATRICES),
    "a custom rule that is the derivative": (lambda p: p["W2"] @ honest(p["W1"]), MATRICES),
    "variance": (lambda p: jnp.var(p["u"] * p["v"]), VECTORS),
}


def network(form):
    phi, shapes, *_ = form
    with jax.numpy_dtype_promotion("standard"):
        arch = dln.Architecture(phi, shapes)
    rng = np.random.default_rng(0)
    return arch, {name: rng.normal(size=shape) for name, shape in arch.shapes.items()}


@pytest.mark.parametrize("name", FROZEN)
def test_a_frozen_factor_is_a_constant_for_every_reader(name):
    arch, theta = network(FROZEN[name])
    frozen = FROZEN[name][2]
    reading = read_program(arch)
    assert reading.frozen == frozen
    assert "test_phi_forms.py" in reading.cause
    assert arch.symbolic().frozen == arch.frozen == frozen
    assert arch.chain is None
    if name != "entrywise":
        assert read_words(arch, allow_frozen=True).frozen == frozen
    assert isinstance(read_words(arch), NoWords)
    # Its entries are laws; training leaves it where it is.
    laws = dln.conservation_laws(arch)
    assert laws.count >= sum(np.size(theta[factor]) for factor in frozen)
    flow = dln.GradientFlow(arch, lambda z: 0.5 * jnp.sum((z - 1.0) ** 2))
    assert all(not np.any(flow.velocity(0.0, theta)[factor]) for factor in frozen)


@pytest.mark.parametrize("name", FROZEN)
def test_reductions_of_a_frozen_network_follow_training_or_refuse(name):
    arch, theta = network(FROZEN[name])

    def loss(z):
        return 0.5 * jnp.sum((z - 1.0) ** 2)

    gradient = jax.grad(lambda p: loss(arch(p)))(theta)
    moved = {factor: value - 1e-6 * np.asarray(gradient[factor]) for factor, value in theta.items()}
    back = {factor: value + 1e-6 * np.asarray(gradient[factor]) for factor, value in theta.items()}
    expected = (np.asarray(arch(moved)) - np.asarray(arch(back))) / 2e-6
    builds = [lambda: dln.find_closure(arch).dynamics(loss)]
    if name in ("stop_gradient", "custom_vjp"):
        builds.append(lambda: dln.reduce(arch, theta, loss))
    for build in builds:
        try:
            reduction = build()
        except dln.NotApplicableError:
            continue
        state = reduction.initial(arch.check(theta))
        _, z_velocity = jax.jvp(reduction.output, (state,), (reduction.velocity(0.0, state),))
        np.testing.assert_allclose(z_velocity, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("name", DIFFERENT)
def test_another_derivative_is_refused_with_its_line_by_every_reader(name):
    arch, theta = network(DIFFERENT[name])
    readers = [
        read_program,
        require_derivative,
        read_words,
        polynomials_of,
        dln.Architecture.symbolic,
        dln.find_closure,
        dln.intrinsic,
        lambda a: dln.ImplicitFlow(a, theta),
        lambda a: dln.eliminate_parameters(a, theta),
        lambda a: dln.mirror_potential(a, theta),
    ]
    for reader in readers:
        with pytest.raises(dln.UnsupportedPrimitiveError, match="derivative") as caught:
            reader(arch)
        assert caught.value.primitive == DIFFERENT[name][2]
        assert "test_phi_forms.py" in caught.value.location
    with pytest.raises(dln.NoReductionError):
        dln.reduce(arch, theta)
    assert arch.chain is None
    assert dln.conservation_laws(arch).count >= 0


@pytest.mark.parametrize("name", PLAIN)
def test_a_derivative_that_is_right_passes(name):
    arch, theta = network(PLAIN[name])
    assert read_program(arch).frozen == frozenset()
    exact = arch.symbolic().evaluate(theta)
    np.testing.assert_allclose(arch(theta), np.asarray(exact, dtype=float), rtol=1e-12)


def test_a_network_beyond_the_rationals_is_compared_in_floats():
    shapes = MATRICES
    assert require_derivative(lambda p: jnp.tanh(p["W2"] @ jax.nn.relu(p["W1"])), shapes) == frozenset()
    assert require_derivative(lambda p: jnp.tanh(p["W2"] @ stop_gradient(p["W1"])), shapes) == {"W1"}
    with pytest.raises(DerivativeError, match="W1"):
        require_derivative(lambda p: jnp.tanh(p["W2"] @ halved(p["W1"])), shapes)
    with pytest.raises(dln.UnsupportedPrimitiveError, match="forward mode"):
        require_derivative(lambda p: p["W2"] @ cut_backward(p["W1"]), shapes, forward=True)


def test_derivatives_are_those_of_jax():
    arch, theta = network(DIFFERENT["half a derivative"])
    found = jax.grad(lambda p: jnp.sum(arch(p)))(theta)["W1"]
    expected = jax.grad(lambda p: jnp.sum(DIFFERENT["half a derivative"][0](p)))(theta)["W1"]
    np.testing.assert_allclose(found, expected, rtol=1e-15)


def test_a_declared_chain_is_verified_exactly():
    shapes = {"W1": (2, 3), "W2": (2, 2), "W3": (2, 3)}
    chain = ("W1", "W2")
    for phi in (
        lambda p: p["W2"] @ p["W1"] + p["W3"],
        lambda p: p["W2"] @ p["W1"] + 1e-14 * p["W3"],
        lambda p: p["W2"] @ stop_gradient(p["W1"]),
        lambda p: p["W2"] @ halved(p["W1"]),
        lambda p: jnp.tanh(p["W2"] @ p["W1"]),
    ):
        for try_out in (True, False):
            with pytest.raises(ValueError, match="`chain` must multiply to `phi`"):
                dln.Architecture(phi, shapes, chain=chain, try_out=try_out)
    assert dln.Architecture(lambda p: p["W2"] @ p["W1"], shapes, chain=chain).widths == (3, 2, 2)


def test_an_undeclared_chain_is_recognised():
    shapes = {"B": (2, 3), "A": (3, 4), "C": (2, 2)}
    arch = dln.Architecture(lambda p: jnp.einsum("ij,jk,kl->il", p["C"], p["B"], p["A"]), shapes)
    assert (arch.chain, arch.widths) == (("A", "B", "C"), (4, 3, 2, 2))
    one = dln.Architecture(lambda p: p["c"] @ p["b"] @ p["a"], dict.fromkeys("abc", (1, 1)))
    assert sorted(one.chain) == ["a", "b", "c"]
    none = [
        (lambda p: p["B"] @ p["A"].T, {"A": (4, 3), "B": (2, 3)}),
        (lambda p: 2.0 * p["A"], {"A": (2, 3)}),
        (lambda p: p["A"] @ p["A"], {"A": (2, 2)}),
        (lambda p: p["A"], {"A": (2, 3), "B": (3, 3)}),
        (lambda p: jnp.tanh(p["A"]), {"A": (2, 3)}),
    ]
    for phi, shapes in none:
        assert dln.Architecture(phi, shapes).chain is None
