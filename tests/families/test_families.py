"""Every family: exact reading against floats, φ against NumPy, the published number of laws, shared compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families.references import FROZEN, ROWS

from dlntheory import families as catalogue
from dlntheory.exact import Rationals, interpret
from dlntheory.families import FAMILIES
from dlntheory.families.relu import PathLifting
from dlntheory.laws.proof.lie_rank import lie_rank
from dlntheory.laws.systems import GradientSystem

Q = Rationals()


def integers(arch, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.integers(-3, 4, shape) for name, shape in arch.shapes.items()}


@pytest.mark.parametrize("name", ROWS)
def test_exact_reading_and_floats_agree_with_numpy(name):
    arch, point = ROWS[name].arch, integers(ROWS[name].arch)
    exact = interpret(arch.phi, Q, {factor: Q.constant(x) for factor, x in point.items()})
    floats = np.asarray(arch({factor: jnp.asarray(x, float) for factor, x in point.items()}))
    expected = np.asarray(ROWS[name].reference(point))
    assert exact.shape == floats.shape == expected.shape == arch.output_shape
    assert np.any(expected)
    assert [float(x) for x in exact.ravel()] == expected.ravel().tolist()
    # XLA divides by multiplying with a rounded reciprocal.
    rounding = 4e-16 if name in ("weight normalised", "scale invariant") else 0
    np.testing.assert_allclose(floats, expected, rtol=rounding, atol=0)


@pytest.mark.parametrize("name", ROWS)
def test_number_of_laws(name):
    row = ROWS[name]
    found = lie_rank(GradientSystem(row.arch, metric=row.metric))
    assert found.status in ("saturated", "full")
    assert row.arch.size - found.rank == row.laws


SIZES = {
    "linear": [3, 4, 2],
    "relu": [3, 4, 2],
    "residual": [3, 2],
    "blocks": [3, 2, 4],
    "shortcut": [3, 4, 2],
    "tied": [3, 2],
    "sandwich": [2, 3, 2],
    "recurrent": [1, 2, 1],
    "gram": [2, 3],
    "difference-of-grams": [3, 2],
    "quadratic": [3, 2],
    "weight-normalised": [3, 2],
    "scale-invariant": [3],
    "diagonal": [3, 2],
    "difference-of-squares": [3],
    "power": [3, 2],
    "convolution": [3, 2],
    "circular": [4, 4, 2],
    "multichannel": [2, 1, 2, 1],
    "adapter": [3, 2, 1],
    "attention": [3, 2, 2],
    "linear-attention": [2, 1],
    "merged-attention": [2, 2],
    "cp": [2, 3, 2, 4],
    "tucker": [4, 3, 2, 2],
    "tensor-train": [4, 3, 2, 2, 1],
    "softmax": [3, 2, 4],
    "nmf": [3, 2, 4],
    "icnn": [3, 2, 4],
}
OUTPUTS = {
    "linear": (2, 3),
    "relu": (2, 12),
    "residual": (3, 3),
    "blocks": (3, 3),
    "shortcut": (2, 3),
    "tied": (3, 3),
    "sandwich": (2, 2),
    "recurrent": (4, 1, 1),
    "gram": (3, 3),
    "difference-of-grams": (3, 3),
    "quadratic": (3, 3),
    "weight-normalised": (2, 3, 3),
    "scale-invariant": (3, 3),
    "diagonal": (3,),
    "difference-of-squares": (3,),
    "power": (3,),
    "convolution": (4,),
    "circular": (4,),
    "multichannel": (1, 1, 3),
    "adapter": (2, 3),
    "attention": (2, 2, 3, 3),
    "linear-attention": (2, 2, 2, 2),
    "merged-attention": (2, 2, 2, 2),
    "cp": (2, 3, 2),
    "tucker": (4, 3),
    "tensor-train": (4, 3, 2),
    "softmax": (3, 3),
    "nmf": (3, 4),
    "icnn": (3, 8),
}


@pytest.mark.parametrize("key", FAMILIES)
def test_registry(key):
    family = FAMILIES[key]
    arch = family(SIZES[key])
    assert family.key == key
    assert arch.output_shape == OUTPUTS[key]
    assert set(family.metric) <= set(arch.shapes)
    assert family.metric_with() == family.metric
    assert set(family.metric_with(momentum=0).values()) <= {"mirror"}
    if family.takes_bias:
        assert any(name.startswith("b") for name in family(SIZES[key], bias=True).shapes)
    else:
        with pytest.raises(ValueError, match=f"`bias` must not be set for {key}, but is"):
            family(SIZES[key], bias=True)


def test_registry_refuses_other_numbers_of_sizes():
    with pytest.raises(
        ValueError, match=r"`sizes` of residual must be 2 integers \(width, depth\), but is \[3\]"
    ):
        FAMILIES["residual"]([3])
    with pytest.raises(ValueError, match=r"of recurrent must be 3 to 4 integers .* but is \[1, 2, 3, 4, 5\]"):
        FAMILIES["recurrent"]([1, 2, 3, 4, 5])
    with pytest.raises(ValueError, match=r"of linear must be at least 2 integers .* but is \[\]"):
        FAMILIES["linear"]([])
    with pytest.raises(ValueError, match="of tucker must be a shape and as many ranks, but has 3 entries"):
        FAMILIES["tucker"]([1, 2, 3])
    with pytest.raises(
        ValueError, match="of tensor-train must be a shape and one rank less, but has 4 entries"
    ):
        FAMILIES["tensor-train"]([1, 2, 3, 4])


def test_what_is_declared():
    """What faster algorithms dispatch on: products of matrices are chains, ReLU networks path liftings."""
    chains = {key for key in FAMILIES if FAMILIES[key](SIZES[key]).chain}
    assert chains == {"linear", "nmf"}
    assert FAMILIES["nmf"](SIZES["nmf"]).widths == (4, 2, 3)
    assert catalogue.linear_network((3, 4, 2), bias=True).chain is None
    liftings = {key for key in FAMILIES if isinstance(FAMILIES[key](SIZES[key]).phi, PathLifting)}
    assert liftings == {"relu", "icnn"}


def test_two_architectures_of_equal_sizes_share_a_compiled_function():
    traces = []

    @jax.jit
    def value(arch, params):
        traces.append(arch.name)
        return arch(params)

    for build in (
        lambda: catalogue.linear_network((2, 2), bias=True),
        lambda: catalogue.relu_network((2, 2), bias=True),
        lambda: catalogue.residual_network(2, 2),
        lambda: catalogue.convolutional_network((2, 2), 3),
        lambda: catalogue.cp_decomposition((2, 2), 1),
        lambda: catalogue.tied_network(2, 2),
    ):
        before = len(traces)
        for arch in (build(), build()):
            value(arch, {name: jnp.ones(shape) for name, shape in arch.shapes.items()})
        assert len(traces) == before + 1, traces


def test_adapters_are_seeded_and_take_weights():
    def values(**options):
        arch = catalogue.low_rank_adapter((2, 3, 2), 1, **options)
        return np.asarray(arch({name: jnp.zeros(shape) for name, shape in arch.shapes.items()}))

    assert np.array_equal(values(seed=1), values(seed=1))
    assert not np.array_equal(values(seed=1), values(seed=2))
    assert np.array_equal(values(frozen=FROZEN), np.array(FROZEN[1]) @ np.array(FROZEN[0]))


def test_path_lifting_predicts_the_network():
    """The definition of a path lifting: with the gates of an input, z and the input give the network's output."""
    arch = catalogue.relu_network((2, 3, 2, 2), bias=True)
    rng = np.random.default_rng(1)
    p = {name: rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    z = np.asarray(arch({name: jnp.asarray(x) for name, x in p.items()}))
    for x in rng.standard_normal((5, 2)):
        first = p["W1"] @ x + p["b1"]
        second = p["W2"] @ np.maximum(first, 0) + p["b2"]
        output = p["W3"] @ np.maximum(second, 0)
        on_first, on_second = (first > 0).astype(float), (second > 0).astype(float)
        # Paths to one output: for each second neuron, those of each first neuron (inputs, bias), then its bias.
        starts = np.append(x, 1.0)
        through = np.append(np.outer(on_first, starts).ravel(), 1.0)
        np.testing.assert_allclose(z @ np.outer(on_second, through).ravel(), output, rtol=0, atol=1e-13)


def test_biased_linear_network_acts_on_inputs_with_a_one():
    arch = catalogue.linear_network((2, 3, 1), bias=True)
    p = {name: jnp.asarray(x, float) for name, x in integers(arch).items()}
    x = np.array([0.5, -2.0])
    hidden = p["W1"] @ x + p["b1"]
    np.testing.assert_allclose(arch(p) @ np.append(x, 1.0), p["W2"] @ hidden + p["b2"], rtol=0, atol=1e-13)
