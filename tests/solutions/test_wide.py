"""Infinite width against its own modes, against wide networks, and its derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlntheory.solutions.two_layer_modes import scalar_network
from dlntheory.solutions.wide_networks import wide_product

TARGET = np.array([[1.5, 0.2, 0.0], [-0.3, 0.8, 0.4]])
compiled = jax.jit(wide_product)


def finite(hidden, seed, end, v1, v2):
    """The product of a finite network by the closed equation of its Gram matrix, in NumPy."""
    rng = np.random.default_rng(seed)
    first = rng.standard_normal((hidden, 3)) * np.sqrt(v1 / hidden)
    second = rng.standard_normal((2, hidden)) * np.sqrt(v2 / hidden)
    q = np.concatenate([first.T, second])

    def velocity(t, y):
        m = y.reshape(5, 5)
        g = m[3:, :3] - TARGET
        n = np.block([[np.zeros((3, 3)), -g.T], [-g, np.zeros((2, 2))]])
        return (n @ m + m @ n).ravel()

    start = (q @ q.T).ravel()
    return (
        solve_ivp(velocity, (0, end), start, method="DOP853", rtol=1e-10, atol=1e-12)
        .y[:, -1]
        .reshape(5, 5)[3:, :3]
    )


def test_width_is_approached_as_its_inverse_root():
    limit = np.asarray(compiled(0.6, TARGET, 1.0, 0.5))
    gaps = [
        np.sqrt(np.mean([(finite(hidden, seed, 0.6, 1.0, 0.5) - limit) ** 2 for seed in range(8)]))
        for hidden in (100, 1600)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(4.0, rel=0.3)
    assert 0.1 < gaps[1] * 40 < 2


def test_it_is_the_closed_equation_at_the_mean_start():
    # M(0) = diag(v1 I, v2 I) exactly: the Gram matrix of infinitely many neurons.
    def velocity(t, y):
        m = y.reshape(5, 5)
        g = m[3:, :3] - TARGET
        n = np.block([[np.zeros((3, 3)), -g.T], [-g, np.zeros((2, 2))]])
        return (n @ m + m @ n).ravel()

    start = np.diag([1.0, 1.0, 1.0, 0.5, 0.5]).ravel()
    for end in (0.3, 1.0, 5.0):
        m = (
            solve_ivp(velocity, (0, end), start, method="DOP853", rtol=1e-12, atol=1e-14)
            .y[:, -1]
            .reshape(5, 5)
        )
        np.testing.assert_allclose(compiled(end, TARGET, 1.0, 0.5), m[3:, :3], atol=2e-12)
    np.testing.assert_allclose(compiled(1e6, TARGET, 1.0, 0.5), TARGET, atol=1e-14)
    assert float(compiled(0.7, np.array([[2.0]]), 0.2, 0.1)[0, 0]) == pytest.approx(
        float(scalar_network(0.7, 2.0, 0.0, 0.3)[0]), rel=1e-15
    )
    assert np.all(np.isnan(wide_product(-1.0, TARGET, 1.0, 1.0)))


@pytest.mark.parametrize(
    "target", [np.eye(2, 3), np.diag([1.0, 0.0, 0.0])[:2], TARGET], ids=["equal", "zero", "any"]
)
def test_derivatives_at_equal_and_missing_singular_values(target):
    rng = np.random.default_rng(0)
    weights, direction = rng.standard_normal((2, 2, 3))
    value = lambda t, s, v: jnp.sum(weights * compiled(t, s, v, v))
    by_t, by_target, by_v = jax.jit(jax.grad(value, argnums=(0, 1, 2)))(1.2, target, 0.4)
    quotient = lambda f, e=1e-4: (8 * (f(e) - f(-e)) - (f(2 * e) - f(-2 * e))) / (12 * e)
    assert float(by_t) == pytest.approx(quotient(lambda e: float(value(1.2 + e, target, 0.4))), abs=1e-9)
    assert float(by_v) == pytest.approx(quotient(lambda e: float(value(1.2, target, 0.4 + e))), abs=1e-9)
    assert float(np.sum(by_target * direction)) == pytest.approx(
        quotient(lambda e: float(value(1.2, target + e * direction, 0.4))), abs=1e-9
    )
