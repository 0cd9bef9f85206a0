"""Closed forms made inside `vmap`, `jit` and `grad`, beside those that are made one by one."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.solutions import DiagonalSolution, NeuronSolution, RiccatiSolution

TS = jnp.asarray([0.0, 0.5, 3.0])
PAIRS = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="pairs")
TARGET = np.array([[1.0, 0.5, 0.0], [0.0, 2.0, 1.0]])
CASES = {
    "riccati": (RiccatiSolution, dln.linear_network((3, 4, 2)), dln.SquaredLoss.from_target(TARGET)),
    "neuron": (NeuronSolution, dln.linear_network((3, 1, 2)), dln.SquaredLoss.from_target(TARGET)),
    "diagonal": (DiagonalSolution, PAIRS, dln.SquaredLoss.from_target([1.0, -2.0])),
}


@pytest.mark.parametrize("name", CASES)
def test_a_batch_of_starts_in_one_call(name):
    kind, arch, loss = CASES[name]
    make = dln.balanced if name == "riccati" else dln.gaussian
    starts = [make(arch, jax.random.key(seed), scale=0.5) for seed in (0, 1)]
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *starts)
    many = jax.jit(jax.vmap(lambda theta: kind(arch, theta, loss, check=False).z(TS)))(stacked)
    for found, theta in zip(many, starts, strict=True):
        assert np.allclose(found, kind(arch, theta, loss).z(TS), rtol=1e-11, atol=1e-13)


def test_a_bound_method_is_compiled_by_equinox_or_inside_a_function():
    kind, arch, loss = CASES["neuron"]
    solution = kind(arch, dln.gaussian(arch, jax.random.key(0)), loss)
    plain = solution.z(TS)
    assert np.allclose(eqx.filter_jit(solution.z)(TS), plain, rtol=1e-13)
    assert np.allclose(jax.jit(lambda ts: solution.z(ts))(TS), plain, rtol=1e-13)
