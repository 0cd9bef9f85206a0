"""The operator of the relaxed balanced flow: its root, its definition, telescoping, its derivative rule."""

import jax
import jax.numpy as jnp
import mpmath as mp
import numpy as np
import pytest
import scipy.linalg

from dlntheory.initial import free_square
from dlntheory.reductions.chain.relaxed_operator import (
    lower_products,
    relaxed_operator,
    upper_differences,
    upper_products,
)


def root(x, offsets):
    """t by mpmath in 50 digits."""
    with mp.workdps(50):
        c = [mp.mpf(float(value)) for value in offsets]
        log_x = mp.log(mp.mpf(float(x)))
        tau = log_x / len(c)
        for _ in range(200):
            excess = sum(mp.log(mp.exp(tau) + value) for value in c) - log_x
            tau -= excess / sum(mp.exp(tau) / (mp.exp(tau) + value) for value in c)
            if abs(excess) < mp.mpf(10) ** -40:
                return mp.exp(tau)
    raise AssertionError("the oracle did not converge")


def test_the_root_over_thirty_orders_of_magnitude():
    rng = np.random.default_rng(0)
    for _ in range(40):
        c = 10.0 ** rng.uniform(-8, 8, 4)
        c[: rng.integers(1, 4)] = 0.0
        c = rng.permutation(c)
        x = 10.0 ** rng.uniform(-30, 15)
        assert abs(float(free_square(x, c)) / root(x, c) - 1) < 3e-14
    np.testing.assert_array_equal(free_square(jnp.zeros((2, 2)), np.array([0.0, 0.0, 1.0])), np.zeros((2, 2)))
    # Two layers: t = 2 x / (|λ| + sqrt(λ^2 + 4 x)), the smaller of the two squares without subtraction.
    x = np.array([1e-30, 1e-3, 1.0, 1e20])
    np.testing.assert_allclose(
        free_square(x, np.array([0.7, 0.0])), 2 * x / (0.7 + np.sqrt(0.49 + 4 * x)), rtol=2e-14
    )
    # Kinks that coincide are the slowest case.
    for depth in (8, 12):
        c = np.array([0.0, *np.ones(depth - 1)])
        assert abs(float(free_square(1.0, c)) / root(1.0, c) - 1) < 1e-14


def test_gamma_telescopes():
    rng = np.random.default_rng(1)
    c = np.array([0.3, 0.0, 1.1, 0.0])
    factors = rng.uniform(0, 3, 5)[None, :] + c[:, None]
    t = factors[1]
    x = np.prod(factors, axis=0)
    gamma = np.asarray(upper_products(jnp.asarray(factors)).T @ lower_products(jnp.asarray(factors)))
    off = ~np.eye(5, dtype=bool)
    quotient = np.subtract.outer(x, x)[off] / np.subtract.outer(t, t)[off]
    np.testing.assert_allclose(gamma[off], quotient, rtol=1e-12)
    np.testing.assert_allclose(upper_differences(jnp.asarray(factors))[0], gamma, rtol=1e-13)


def nulls(c):
    c = jnp.asarray(c)[:, None]
    return upper_products(c)[:, 0], lower_products(c)[:, 0]


def matrix_function(z, function):
    """function(z z^T) on its eigenvectors, exact zeros kept."""
    u, s, _ = np.linalg.svd(z)
    values = np.zeros(len(u))
    values[: len(s)] = s**2
    return u @ np.diag([function(x) for x in values]) @ u.T


@pytest.mark.parametrize(
    "c",
    [
        pytest.param((0.0, 0.7), marks=pytest.mark.slow),
        (0.3, 0.0, 1.1),
        pytest.param((0.0, 0.4, 0.0), marks=pytest.mark.slow),
    ],
)
@pytest.mark.parametrize("shape", [(3, 4), (4, 3)])
def test_operator_equals_its_definition_and_is_symmetric(c, shape):
    rng = np.random.default_rng(2)
    z, g, h = (rng.standard_normal(shape) for _ in range(3))

    def t(x):
        return float(root(x, c)) if x > 1e-25 else 0.0

    expected = sum(
        matrix_function(z, lambda x, l=l: np.prod([t(x) + value for value in c[l + 1 :]]))
        @ g
        @ matrix_function(z.T, lambda x, l=l: np.prod([t(x) + value for value in c[:l]]))
        for l in range(len(c))
    )
    arguments = (jnp.asarray(c), *nulls(c), np.asarray(3))
    np.testing.assert_allclose(relaxed_operator(z, g, *arguments), expected, atol=1e-12)
    left = np.sum(np.asarray(relaxed_operator(z, g, *arguments)) * h)
    assert left == pytest.approx(np.sum(np.asarray(relaxed_operator(z, h, *arguments)) * g), rel=1e-12)


def spectral_point(values, shape, rng):
    u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in shape)
    middle = np.zeros(shape)
    middle[np.arange(len(values)), np.arange(len(values))] = values
    return u @ middle @ v.T


def check_derivative(c, values, *, rank, left=None, right=None, keep_rank=False, shape=(3, 4)):
    rng = np.random.default_rng(5)
    z, g, h, w = spectral_point(values, shape, rng), *(rng.standard_normal(shape) for _ in range(3))
    a, b = (rng.standard_normal((n, n)) for n in shape)
    null_left, null_right = nulls(c)
    metric = (
        jnp.asarray(c),
        null_left if left is None else jnp.asarray(left),
        null_right if right is None else jnp.asarray(right),
        np.asarray(rank),
    )

    def operator(point):
        return relaxed_operator(point, g, *metric)

    def moved(t):
        if keep_rank:
            return scipy.linalg.expm(t * a) @ z @ scipy.linalg.expm(t * b)
        return z + t * h

    def at(t):
        return np.asarray(operator(jnp.asarray(moved(t))))

    direction = jnp.asarray(a @ z + z @ b if keep_rank else h)
    step = 4e-4
    quotient = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
    _, tangent = jax.jvp(operator, (jnp.asarray(z),), (direction,))
    scale = max(1.0, np.max(np.abs(quotient)))
    assert np.max(np.abs(np.asarray(tangent) - quotient)) < 2e-9 * scale
    _, pullback = jax.vjp(operator, jnp.asarray(z))
    pulled = np.asarray(pullback(jnp.asarray(w))[0])
    pairing = np.sum(w * np.asarray(tangent))
    assert abs(np.sum(pulled * np.asarray(direction)) - pairing) < 1e-13 * max(1.0, abs(pairing))


SPECTRA = [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0 + 1e-9), (0.0, 0.0, 0.0), (1.0, 1.0, 1.0)]


@pytest.mark.parametrize("c", [pytest.param((0.0, 0.7), marks=pytest.mark.slow), (0.3, 0.0, 1.1)])
@pytest.mark.parametrize("values", SPECTRA)
def test_derivative_in_any_direction_where_the_smallest_offset_is_single(c, values):
    check_derivative(c, values, rank=3)


@pytest.mark.parametrize("values", SPECTRA[:2])
def test_derivative_along_the_rank_where_the_smallest_offset_is_repeated(values):
    rank = int(np.count_nonzero(values))
    check_derivative((0.0, 0.4, 0.0), values, rank=rank, keep_rank=True)


@pytest.mark.slow
@pytest.mark.parametrize("values", [(1.0, 0.5), (1.0, 1.0)])
def test_derivative_on_a_rank_stratum(values):
    # Null values that are not the limits at sigma = 0: two layers, n > r.
    check_derivative((0.0, 0.6), values, rank=2, left=(0.0, 1.0), right=(1.0, 0.0), keep_rank=True)


def test_derivatives_in_the_other_arguments():
    rng = np.random.default_rng(7)
    shape = (3, 4)
    z = spectral_point((1.0, 1.0, 0.3), shape, rng)
    g, dg = rng.standard_normal(shape), rng.standard_normal(shape)
    c, dc = np.array([0.3, 0.0, 1.1]), np.array([0.2, 0.0, -0.5])

    def operator(t, rank=2):
        left = jnp.asarray([0.4, 0.2, 1.0]) * (1.0 + t)
        right = jnp.asarray([1.0, 0.1, 0.3]) * (1.0 - t)
        return relaxed_operator(z, g + t * dg, jnp.asarray(c) + t * dc, left, right, np.asarray(rank))

    step = 1e-3
    for rank in (2, 3):
        at = lambda t, rank=rank: np.asarray(operator(t, rank))
        quotient = (8 * (at(step) - at(-step)) - (at(2 * step) - at(-2 * step))) / (12 * step)
        _, tangent = jax.jvp(lambda t, rank=rank: operator(t, rank), (jnp.asarray(0.0),), (jnp.asarray(1.0),))
        np.testing.assert_allclose(tangent, quotient, atol=1e-10)


@pytest.mark.slow
def test_second_derivatives_are_refused():
    z, g = jnp.asarray(np.random.default_rng(8).standard_normal((2, 3))), jnp.ones((2, 3))
    metric = (jnp.asarray([0.0, 0.5]), *nulls((0.0, 0.5)), np.asarray(2))

    def total(x):
        return jnp.sum(relaxed_operator(x, g, *metric) ** 2)

    assert np.all(np.isfinite(jax.grad(total)(z)))
    with pytest.raises(TypeError, match="first derivatives in z only"):
        jax.hessian(total)(z)


@pytest.mark.slow
def test_operator_goes_through_jit_and_vmap():
    rng = np.random.default_rng(6)
    zs, g = rng.standard_normal((3, 3, 4)), rng.standard_normal((3, 4))
    metric = (jnp.asarray([0.0, 0.5, 0.2]), *nulls((0.0, 0.5, 0.2)), np.asarray(3))
    operator = jax.jit(jax.vmap(lambda z: relaxed_operator(z, g, *metric)))
    for z, value in zip(zs, operator(zs), strict=True):
        np.testing.assert_allclose(value, relaxed_operator(z, g, *metric), atol=1e-12)
