"""An architecture seen through one data set."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.exact import Rationals, interpret
from dlntheory.families import diagonal_network, linear_network, residual_network
from dlntheory.laws.proof.lie_rank import lie_rank
from dlntheory.laws.systems import GradientSystem

INPUTS = [[1.0, 0.0, 0.1], [0.5, -2.0, 0.0]]


@pytest.mark.parametrize("arch", [linear_network((3, 2, 2)), residual_network(3, 2)], ids=repr)
def test_restricted_to_inputs(arch):
    restricted = arch.restricted_to(INPUTS)
    assert restricted.name == f"{arch.name} on 2 samples"
    assert restricted.shapes == arch.shapes
    assert restricted.chain is None
    rng = np.random.default_rng(0)
    params = {name: jnp.asarray(rng.standard_normal(shape)) for name, shape in arch.shapes.items()}
    outputs = [np.asarray(arch(params)) @ np.array(x) for x in INPUTS]
    np.testing.assert_allclose(restricted(params), np.array(outputs).T, rtol=1e-14, atol=1e-14)


def test_restricted_to_keeps_inputs_exact():
    restricted = linear_network((3, 1)).restricted_to(INPUTS)
    ring = Rationals()
    exact = interpret(restricted.phi, ring, {"W1": ring.constant([[1, 1, 1]])})
    assert [str(x) for x in exact[0]] == ["11/10", "-3/2"]


def test_restricted_to_a_copy():
    inputs = np.array(INPUTS)
    restricted = linear_network((3, 1)).restricted_to(inputs)
    inputs[:] = 0
    assert float(restricted({"W1": jnp.ones((1, 3))})[0, 1]) == -1.5


@pytest.mark.parametrize(("inputs", "laws"), [([[1, 2, -1]], 7), ([[1, 2, -1], [0, 1, 3]], 5)])
def test_laws_of_one_data_set(inputs, laws):
    """Published: W2 W1 X in dimension 3 with h = o = 2 has 7 laws for one sample and 5 for two."""
    arch = linear_network((3, 2, 2)).restricted_to(inputs)
    assert arch.size - lie_rank(GradientSystem(arch)).rank == laws


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([1.0, 2.0], r"must have shape \(n, 3\), one sample a row, but has shape \(2,\)"),
        ([[1.0, 2.0]], r"must have shape \(n, 3\), one sample a row, but has shape \(1, 2\)"),
        (np.zeros((0, 3)), r"must have entries, but has shape \(0, 3\)"),
        (np.ma.masked_array(np.ones((2, 3)), mask=True), "must be an array without a mask"),
        ([[1.0, np.inf, 0.0]], "must be finite, but 1 of 3 entries are not"),
        ([[1.0, 1j, 0.0]], "must be an array of real numbers, but is"),
        ([["a", "b", "c"]], "must be an array of real numbers, but is"),
    ],
)
def test_restricted_to_refuses_bad_inputs(inputs, message):
    with pytest.raises(ValueError, match=f"^Argument `inputs` {message}"):
        linear_network((3, 2)).restricted_to(inputs)


def test_restricted_to_refuses_other_than_matrices():
    message = r"`inputs` must meet a matrix z, but z of diagonal 2, depth 2 has shape \(2,\)"
    with pytest.raises(ValueError, match=message):
        diagonal_network(2, 2).restricted_to([[1.0, 2.0]])
