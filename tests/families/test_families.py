"""Every family: exact reading against floats, φ against NumPy, the published number of laws, shared compilation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from families.references import FROZEN, ROWS

from dlntheory import families
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


# --- what holds for every family, those of a file that somebody adds included ---


@pytest.mark.parametrize("key", FAMILIES)
def test_registry(key):
    family = FAMILIES[key]
    arch = family(family.example)
    assert family.key == key
    assert getattr(families, family.build.__name__) is family.build
    assert set(family.metric) <= set(arch.shapes)
    assert family.metric_with() == family.metric
    assert set(family.metric_with(momentum=0).values()) <= {"mirror"}
    if family.takes_bias:
        assert any(name.startswith("b") for name in family(family.example, bias=True).shapes)
    else:
        with pytest.raises(ValueError, match=f"`bias` must not be set for {key}, but is"):
            family(family.example, bias=True)


@pytest.mark.parametrize("key", FAMILIES)
def test_example_reads_exactly_as_in_floats_and_has_its_laws(key):
    family = FAMILIES[key]
    arch = family(family.example)
    rng = np.random.default_rng(1)
    # No zeros: a product of many factors would vanish, and a normalised one would not be defined.
    point = {name: rng.choice([-3, -2, -1, 1, 2, 3], shape) for name, shape in arch.shapes.items()}
    exact = interpret(arch.phi, Q, {factor: Q.constant(x) for factor, x in point.items()})
    floats = np.asarray(arch({factor: jnp.asarray(x, float) for factor, x in point.items()}))
    assert np.any(floats)
    np.testing.assert_allclose(floats, np.vectorize(float)(exact), rtol=4e-16, atol=0)
    found = lie_rank(GradientSystem(arch, metric=family.metric))
    assert (arch.size - found.rank, found.status in ("saturated", "full")) == (family.laws, True)


@pytest.mark.parametrize("bias", [False, True])
def test_a_family_built_twice_is_one_value_and_compiles_once(bias):
    """Equal calls are equal architectures with one hash, and a function compiled for one serves the other."""
    members = [f for f in FAMILIES.values() if f.takes_bias or not bias]
    for family in members:
        first, second = (family(family.example, bias=bias) for _ in range(2))
        assert first == second, family.key
        assert hash(first) == hash(second), family.key
    different = {family(family.example, bias=bias) for family in members}
    # A product of two matrices is one architecture by any name of its factors only if names and shapes agree.
    assert len(different) == len(members)


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
    chains = {key for key in FAMILIES if FAMILIES[key](FAMILIES[key].example).chain}
    assert chains == {"linear", "nmf"}
    assert FAMILIES["nmf"](FAMILIES["nmf"].example).widths == (4, 2, 3)
    assert families.linear_network((3, 4, 2), bias=True).chain is None
    liftings = {key for key in FAMILIES if isinstance(FAMILIES[key](FAMILIES[key].example).phi, PathLifting)}
    assert liftings == {"relu", "icnn"}


def test_two_architectures_of_equal_sizes_share_a_compiled_function():
    traces = []

    @jax.jit
    def value(arch, params):
        traces.append(arch.name)
        return arch(params)

    for family in FAMILIES.values():
        before = len(traces)
        for _ in range(2):
            arch = family(family.example)
            jax.eval_shape(value, arch, {name: jnp.ones(shape) for name, shape in arch.shapes.items()})
        assert len(traces) == before + 1, traces


def test_every_ready_made_family_has_a_reference_in_numpy():
    """A family that is added needs none; its docstring holds a number instead."""
    built = {row.arch.name.split()[0] for row in ROWS.values()}
    assert {f(f.example).name.split()[0] for f in FAMILIES.values()} <= built


def test_adapters_are_seeded_and_take_weights():
    def values(**options):
        arch = families.low_rank_adapter((2, 3, 2), 1, **options)
        return np.asarray(arch({name: jnp.zeros(shape) for name, shape in arch.shapes.items()}))

    assert np.array_equal(values(seed=1), values(seed=1))
    assert not np.array_equal(values(seed=1), values(seed=2))
    assert np.array_equal(values(frozen=FROZEN), np.array(FROZEN[1]) @ np.array(FROZEN[0]))


def test_path_lifting_predicts_the_network():
    """The definition of a path lifting: with the gates of an input, z and the input give the network's output."""
    arch = families.relu_network((2, 3, 2, 2), bias=True)
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
    arch = families.linear_network((2, 3, 1), bias=True)
    p = {name: jnp.asarray(x, float) for name, x in integers(arch).items()}
    x = np.array([0.5, -2.0])
    hidden = p["W1"] @ x + p["b1"]
    np.testing.assert_allclose(arch(p) @ np.append(x, 1.0), p["W2"] @ hidden + p["b2"], rtol=0, atol=1e-13)
