"""Architectures read off models: against the model itself, against φ written by hand, and what is refused."""

import time

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.families.relu import PathLifting, relu_network
from dlntheory.from_model import Coefficients, LayerPaths, from_model


def linear(p, x):
    return p["W2"] @ (p["W1"] @ x)


def gated(p, x):
    return jnp.einsum("oh,h->o", p["C"], (p["A"] @ x + p["a"]) * (p["B"] @ x))


def quadratic_activation(p, x):
    return p["v"] @ (p["W"] @ x) ** 2


def attention(p, x):  # x: (tokens, dimension)
    return (x @ p["Q"] @ p["K"].T @ x.T) @ x @ p["V"] / 3.0


def convolution(p, x):
    return jnp.convolve(jnp.convolve(x, p["f"], mode="valid"), p["g"], mode="valid")


def residual(p, x):
    return x + p["B"] @ (p["A"] @ x)


MODELS = {
    "linear": (linear, {"W1": (3, 4), "W2": (2, 3)}, (4,)),
    "gated": (gated, {"A": (2, 3), "a": (2,), "B": (2, 3), "C": (2, 2)}, (3,)),
    "quadratic activation": (quadratic_activation, {"W": (2, 3), "v": (2,)}, (3,)),
    "attention": (attention, {"Q": (2, 1), "K": (2, 1), "V": (2, 2)}, (2, 2)),
    "convolution": (convolution, {"f": (2,), "g": (3,)}, (5,)),
    "residual": (residual, {"A": (1, 2), "B": (2, 1)}, (2,)),
}


@pytest.fixture(scope="module", params=MODELS)
def read(request):
    model, shapes, input_shape = MODELS[request.param]
    return model, from_model(model, shapes, input_shape), input_shape


def test_features_times_coefficients_are_the_model(read):
    model, arch, input_shape = read
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.standard_normal(shape)) for name, shape in arch.shapes.items()}
    inputs = rng.standard_normal((5, *input_shape))
    expected = np.stack([np.ravel(model(params, jnp.asarray(x))) for x in inputs])
    found = arch.phi.features(inputs) @ np.asarray(arch(params)).T
    assert np.max(np.abs(found - expected)) < 1e-13 * np.max(np.abs(expected))
    assert arch.output_shape == (expected.shape[1], len(arch.phi.monomials))
    assert len(set(arch.phi.monomials)) == len(arch.phi.monomials)


def test_linear_model_gives_the_product_itself():
    arch = from_model(*MODELS["linear"])
    params = {"W1": jnp.arange(12.0).reshape(3, 4), "W2": jnp.arange(6.0).reshape(2, 3) - 2.0}
    np.testing.assert_array_equal(arch(params), params["W2"] @ params["W1"])
    assert arch.phi.monomials == ((0,), (1,), (2,), (3,))


@pytest.mark.slow
def test_laws_are_those_of_the_architecture_written_by_hand():
    by_hand = dln.Architecture(
        lambda p: jnp.einsum("h,hi,hj->ij", p["v"], p["W"], p["W"]), {"W": (2, 3), "v": (2,)}
    )
    read = from_model(*MODELS["quadratic activation"])
    assert dln.conservation_laws(read).count == dln.conservation_laws(by_hand).count > 0


def test_coefficients_that_vanish_are_left_out():
    difference = from_model(
        lambda p, x: jnp.stack([(p["a"] @ x) ** 2 - (p["a"][0] * x[0]) ** 2, p["a"] @ x]), {"a": (2,)}, 2
    )
    assert difference.phi.monomials == ((0,), (1,), (0, 1), (1, 1))
    params = {"a": jnp.array([2.0, 3.0])}
    np.testing.assert_allclose(difference(params), [[0, 0, 12, 9], [2, 3, 0, 0]], rtol=1e-15)


def test_higher_powers_carry_no_factorial():
    cubic = from_model(lambda p, x: p["a"] * x**3 + p["a"] ** 2 * x[0] ** 2 * x[1], {"a": (2,)}, 2)
    params = {"a": jnp.array([2.0, 3.0])}
    columns = dict(zip(cubic.phi.monomials, np.asarray(cubic(params)).T, strict=True))
    np.testing.assert_allclose(columns[0, 0, 0], [2, 0])
    np.testing.assert_allclose(columns[0, 0, 1], [4, 9])
    np.testing.assert_allclose(columns[1, 1, 1], [0, 3])


@pytest.mark.slow
def test_training_through_the_coefficients_is_training_the_model():
    model, shapes, input_shape = MODELS["gated"]
    arch = from_model(model, shapes, input_shape)
    rng = np.random.default_rng(1)
    inputs, targets = rng.standard_normal((12, 3)), rng.standard_normal((12, 2))
    loss = dln.SquaredLoss(arch.phi.features(inputs), targets)
    params = {name: jnp.asarray(rng.standard_normal(shape)) for name, shape in shapes.items()}

    def directly(params):
        outputs = jax.vmap(lambda x: model(params, x))(jnp.asarray(inputs))
        return 0.5 * jnp.mean(jnp.sum((outputs - targets) ** 2, axis=1))

    through, expected = jax.grad(lambda p: loss(arch(p)))(params), jax.grad(directly)(params)
    for name in shapes:
        np.testing.assert_allclose(through[name], expected[name], rtol=1e-11, atol=1e-12)


def relu_written_oddly(p, x):
    hidden = jax.nn.relu(x @ p["first"] + p["shift"])
    return jnp.einsum("oh,h->o", p["last"], jnp.maximum(0.0, p["second"] @ hidden)) + p["end"]


def test_plain_relu_model_becomes_its_path_lifting():
    shapes = {"second": (3, 3), "first": (2, 3), "shift": (3,), "last": (1, 3), "end": (1,)}
    arch = from_model(relu_written_oddly, shapes, 2)
    assert isinstance(arch.phi, LayerPaths)
    assert [layer.weight for layer in arch.phi.layers] == ["first", "second", "last"]
    assert arch.phi.layers[0].transposed
    assert [layer.bias for layer in arch.phi.layers] == ["shift", None, "end"]
    # 2 inputs and the first bias through 3 x 3 hidden neurons, and the bias of the output.
    assert arch.output_shape == (1, 28)
    assert dln.conservation_laws(arch).count == 6


@pytest.mark.slow
def test_relu_model_in_the_usual_form_is_the_catalogue_network():
    def model(p, x):
        return p["W2"] @ jax.nn.relu(p["W1"] @ x + p["b1"])

    expected = relu_network((2, 3, 1), bias=True)
    arch = dln.from_model(model, expected.shapes, (2,), name="mlp")
    assert arch.phi == PathLifting(("W1", "W2"), ("b1",))
    assert arch.shapes == expected.shapes
    params = dln.gaussian(expected, jax.random.key(0))
    np.testing.assert_array_equal(arch(params), expected(params))


def test_paths_that_are_active_give_the_output():
    shapes = {"second": (3, 3), "first": (2, 3), "shift": (3,), "last": (1, 3), "end": (1,)}
    arch = from_model(relu_written_oddly, shapes, 2)
    rng = np.random.default_rng(4)
    # Positive weights and inputs: every neuron is active, so the output is the sum over all paths.
    params = {name: jnp.asarray(rng.uniform(0.1, 1.0, shape)) for name, shape in shapes.items()}
    x = np.array([0.3, 0.8])
    # Axes of the lifted paths: (neuron of layer 2, neuron of layer 1, input or first bias), then the last bias.
    z = np.asarray(arch(params))[0]
    total = np.sum(z[:-1].reshape(3, 3, 3) * np.array([0.3, 0.8, 1.0])) + z[-1]
    np.testing.assert_allclose(total, relu_written_oddly(params, jnp.asarray(x))[0], rtol=1e-13)


def deep(widths, biases=True, transposed=(), factor=1.0, without=()):
    """A ReLU network, its factors declared in a random order; with a factor in layer 2 or without some rectifiers."""
    depth = len(widths) - 1
    shapes = {}
    for l in range(depth):
        shapes[f"W{l}"] = (widths[l + 1], widths[l])[:: -1 if l in transposed else 1]
        shapes |= {f"b{l}": (widths[l + 1],)} if biases else {}

    def model(p, x):
        for l in range(depth):
            x = (p[f"W{l}"].T if l in transposed else p[f"W{l}"]) @ x
            x = (x + p[f"b{l}"] if biases else x) * (factor if l == 1 else 1.0)
            x = x if l == depth - 1 or l in without else jax.nn.relu(x)
        return x

    names = np.random.default_rng(0).permutation(list(shapes))
    return model, {str(name): shapes[name] for name in names}, widths[0]


@pytest.mark.parametrize(
    ("widths", "options"),
    [
        ((3, 4, 4, 2), {"transposed": (1, 2)}),
        ((2, 2, 2, 2, 2), {}),
        ((3, 1, 1, 2), {"biases": False}),
    ],
)
def test_layers_are_found_in_any_order_of_their_declaration(widths, options):
    model, shapes, inputs = deep(widths, **options)
    phi = from_model(model, shapes, inputs).phi
    depth = len(widths) - 1
    names = phi.weights if isinstance(phi, PathLifting) else [layer.weight for layer in phi.layers]
    assert list(names) == [f"W{l}" for l in range(depth)]
    if options.get("biases", True):
        assert [layer.bias for layer in phi.layers] == [f"b{l}" for l in range(depth)]
        assert {l for l, layer in enumerate(phi.layers) if layer.transposed} == set(
            options.get("transposed", ())
        )


@pytest.mark.parametrize("widths", [(2,) * 13, tuple(range(2, 15))])
def test_twelve_layers_that_are_no_plain_network_are_refused_at_once(widths):
    """The layers were found by trying orders: 9 of them took more than 400 s."""
    start = time.process_time()
    with pytest.raises(dln.UnsupportedPrimitiveError, match="no plain multilayer network"):
        from_model(*deep(widths, factor=1.5))
    # Half a second to one, mostly one compilation; the bound leaves room for a slow machine.
    assert time.process_time() - start < 5


def test_a_narrow_network_without_one_rectifier_is_no_relu_network():
    """Its output is that of a ReLU network at nearly all points: zero."""
    for without in ((3,), (5,)):
        with pytest.raises(dln.UnsupportedPrimitiveError, match="no plain multilayer network"):
            from_model(*deep((2, *(1,) * 8), biases=False, without=without))


def test_parameters_may_divide_and_inputs_may_not():
    """Weight normalisation: φ is rational, and exact."""

    def normalised(p, x):
        return p["g"] * (p["v"] @ x) / jnp.sum(p["v"] ** 2)

    arch = from_model(normalised, {"g": (), "v": (2,)}, 2)
    params = {"g": jnp.asarray(3.0), "v": jnp.array([1.0, 2.0])}
    np.testing.assert_allclose(arch(params), [[0.6, 1.2]], rtol=1e-14)
    # |v|^2 is a law, and with g and the direction of v there is one more: |v|^2 log-free in g^2 and |v|^2.
    assert dln.conservation_laws(arch).count == arch.size - 2
    with pytest.raises(ValueError, match="but divides by a function of it. Normalise the data"):
        from_model(lambda p, x: p["v"] @ x / (1.0 + x @ x), {"v": (2,)}, 2)
    with pytest.raises(ValueError, match="divides by zero at a random point"):
        from_model(lambda p, x: x / (p["v"] - p["v"]), {"v": (2,)}, 2)


REFUSED = {
    "tanh": (lambda p, x: jnp.tanh(p["A"] @ x), "tanh"),
    "exp of the input": (lambda p, x: p["A"] @ jnp.exp(x), "exp"),
    "relu at the end": (lambda p, x: jax.nn.relu(p["A"] @ x), "no plain multilayer network"),
    "relu in a residual": (
        lambda p, x: x + p["B"] @ jax.nn.relu(p["A"] @ x),
        "no plain multilayer network",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_models_of_no_kind_are_refused_by_name(name):
    model, word = REFUSED[name]
    with pytest.raises(dln.UnsupportedPrimitiveError, match=word) as caught:
        from_model(model, {"A": (3, 2), "B": (2, 3)}, 2)
    assert "test_from_model.py" in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ((3, {"A": (2, 2)}, 2), "`model` must be a function"),
        ((linear, {}, 2), "non-empty dict"),
        ((linear, {"W1": (3, 4), "W2": (2, 3)}, 0), "`input_shape` must be a positive integer"),
        ((lambda p, x: (x, x), {"A": (2, 2)}, 2), "one non-empty array"),
        ((lambda p, x: x * 0.0 * p["A"][0, 0], {"A": (2, 2)}, 2), "identically zero"),
        ((lambda p, x: (p["A"] @ x) ** 6, {"A": (1, 10)}, 10), "at most 200000 derivatives"),
    ],
)
def test_malformed_calls_are_refused(arguments, words):
    with pytest.raises(ValueError, match=words):
        from_model(*arguments)


def test_features_check_their_samples():
    phi = from_model(*MODELS["attention"]).phi
    assert isinstance(phi, Coefficients)
    with pytest.raises(ValueError, match=r"shape \(n, 2, 2\)"):
        phi.features(np.zeros((3, 4)))
