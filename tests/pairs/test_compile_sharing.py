"""Equal φ, loss and rule × everything compiled: whoever writes the same thing again waits for no compiler."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln


def network(scale=0.5):
    matrix = np.full((2, 2), scale)
    return dln.Architecture(lambda p: matrix @ p["W2"] @ p["W1"], {"W1": (2, 3), "W2": (2, 2)})


def loss(target):
    return lambda z: 0.5 * jnp.sum((z - target) ** 2)


def start(arch, seed):
    return dln.gaussian(arch, jax.random.key(seed), scale=0.5)


def test_an_iteration_of_an_equal_network_compiles_nothing():
    runs = []
    for seed in range(2):
        arch = network()
        rule = dln.GradientDescent(arch, loss(np.full((2, 3), float(seed))), 0.1 * (1 + seed))
        runs.append(dln.iterate(rule, start(arch, seed), 20))
    assert [run.stats.compiled for run in runs] == [True, False]
    assert abs(runs[0].loss[0] - runs[1].loss[0]) > 1e-3
    other = network(0.25)
    again = dln.iterate(dln.GradientDescent(other, loss(np.zeros((2, 3))), 0.1), start(other, 0), 20)
    assert again.stats.compiled


@pytest.mark.slow
def test_a_solution_for_an_equal_network_compiles_nothing():
    compiled = []
    for seed, saves in ((0, 20), (1, 20)):
        arch = network()
        flow = dln.GradientFlow(arch, loss(np.full((2, 3), float(seed))))
        compiled.append(dln.solve(flow, start(arch, seed), 1.0 + seed, ts=saves).stats.compiled)
    assert compiled == [True, False]


def test_what_was_read_for_one_network_serves_an_equal_one():
    from dlntheory.exact.reading import read_program

    assert read_program(network()) is read_program(network())
    assert read_program(network()) is not read_program(network(0.25))
