"""Single modes in closed form against integration, special functions, symbolic residuals and extreme values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import sympy as sp
from scipy.integrate import solve_ivp

from dlntheory.solutions.depth_modes import depth_mode, depth_mode_time, learning_time, next_mode
from dlntheory.solutions.two_layer_modes import (
    balanced_mode,
    balanced_mode_time,
    infinite_depth_mode,
    scalar_network,
    unbalanced_mode,
    wright_omega,
)
from dlntheory.solutions.wide_networks import wide_product

SIGMAS = (3.0, 2.0, 1.0, 1e-13, 0.0, -1.5)


def flow(velocity, start, times):
    """Eighth-order reference with relative error about 1e-13, values (state, time)."""
    times = np.atleast_1d(np.asarray(times, dtype=float))
    return solve_ivp(
        velocity, (0.0, times[-1]), start, t_eval=times, method="DOP853", rtol=1e-13, atol=1e-30
    ).y


def test_balanced_mode_follows_its_equation_in_every_regime():
    rng = np.random.default_rng(0)
    for case in range(60):
        sigma, s0 = SIGMAS[case % 6], 10.0 ** rng.uniform(-9, 0.7)
        end = rng.uniform(0.1, 3.0)
        expected = flow(lambda t, s, sigma=sigma: 2 * s * (sigma - s), [s0], end)[0, -1]
        assert abs(float(balanced_mode(end, sigma, s0)) / expected - 1) < 1e-12


def test_unbalanced_mode_follows_its_equation_for_any_signs_and_balance():
    rng = np.random.default_rng(1)
    for case in range(120):
        sigma = SIGMAS[case % 6]
        a0, b0 = rng.standard_normal(2) * 10.0 ** rng.uniform(-3, 0.3)
        if case % 4 == 0:
            b0 = a0 if case % 8 else -a0
        end = rng.uniform(0.1, 3.0)
        expected = flow(
            lambda t, y, sigma=sigma: [y[1] * (sigma - y[0] * y[1]), y[0] * (sigma - y[0] * y[1])],
            [a0, b0],
            end,
        )[:, -1]
        found = np.array(unbalanced_mode(end, sigma, a0, b0))
        assert np.max(np.abs(found - expected)) < 3e-13


@pytest.mark.parametrize("width", [1, 3, 20])
def test_width_enters_only_through_the_norms(width):
    rng = np.random.default_rng(width)
    for sigma in (1.5, 0.0, -2.0):
        first, second = rng.standard_normal((2, width)) / np.sqrt(width)

        def velocity(t, y, sigma=sigma):
            u, v = y[:width], y[width:]
            return (sigma - u @ v) * np.concatenate([v, u])

        y = flow(velocity, np.concatenate([first, second]), 1.7)[:, -1]
        product, norms = scalar_network(1.7, sigma, first @ second, first @ first + second @ second)
        assert abs(product - y[:width] @ y[width:]) < 3e-13
        assert abs(norms - y @ y) < 3e-13 * (y @ y)


def test_extreme_values_stay_exact():
    assert float(balanced_mode(1e6, 3.0, 1e-300)) == 3.0
    assert float(balanced_mode(5.0, 0.0, 1.0)) == pytest.approx(1 / 11, rel=1e-15)
    a, b = unbalanced_mode(5.0, 2.0, 1e-12, 1e-12)
    assert float(a) == pytest.approx(1e-12 * np.exp(10.0), rel=1e-13)
    assert float(b) == float(a)
    a, b = unbalanced_mode(1e8, 1e-10, 5.0, 1e-3)
    assert float(a * b) == pytest.approx(1e-10, rel=1e-9)
    assert all(float(x) == 0.0 for x in unbalanced_mode(1.0, 2.0, 0.0, 0.0))
    # Balanced or opposed starts whose mode dies: nothing underflows to 0/0.
    for t, sigma, a0, b0 in ((1e6, -0.7, 1e-3, 1e-3), (1e3, 0.7, 1e-3, -1e-3), (1e4, -1.0, 0.5, 0.5)):
        assert all(abs(float(x)) < 1e-100 for x in unbalanced_mode(t, sigma, a0, b0))
    assert all(abs(float(x)) < 1e-100 for x in scalar_network(1e4, -1.0, 0.5, 1.0))
    # The textbook solution with the inverse hyperbolic sine loses digits for a small imbalance; this one does not.
    a, b = unbalanced_mode(2.0, 1.0, 0.1, 0.1 * (1 + 1e-9))
    assert float(a * b) == pytest.approx(float(balanced_mode(2.0, 1.0, 0.01 * (1 + 1e-9))), rel=1e-13)


def test_opposed_mode_decays_and_never_changes_sign():
    a, b = unbalanced_mode(jnp.array([0.5, 2.0, 50.0]), 2.0, 0.7, -0.7)
    assert np.all(np.asarray(a * b) <= 0)
    assert float(a[-1] * b[-1]) > -1e-40
    np.testing.assert_allclose(-a * b, balanced_mode(jnp.array([0.5, 2.0, 50.0]), -2.0, 0.49), rtol=1e-12)


@pytest.mark.slow
def test_derivatives_are_right_where_branches_meet():
    h = 1e-6
    for function, point in (
        (lambda sigma: unbalanced_mode(1.0, sigma, 0.3, 0.3)[0], 0.0),
        (lambda sigma: balanced_mode(1.0, sigma, 0.3), 0.0),
        (lambda sigma: unbalanced_mode(1.0, sigma, 0.3, 0.5)[0], 0.0),
        (lambda a0: unbalanced_mode(1.0, 1.0, a0, 0.3)[1], 0.3 + 1e-3),
        (lambda t: scalar_network(t, 1.0, 0.1, 0.7)[0], 0.4),
    ):
        function = jax.jit(function)
        expected = (function(point + h) - function(point - h)) / (2 * h)
        assert float(jax.grad(function)(point)) == pytest.approx(float(expected), rel=1e-7)
    assert jax.vmap(lambda s: balanced_mode(1.0, s, 0.1))(jnp.arange(3.0)).shape == (3,)


def test_times_invert_modes():
    sigma, s0 = 2.0, 1e-6
    times = jnp.array([0.5, 3.0, 4.0])
    np.testing.assert_allclose(
        balanced_mode_time(balanced_mode(times, sigma, s0), sigma, s0), times, rtol=1e-12
    )
    assert np.isnan(balanced_mode_time(3.0, 2.0, 0.1))
    assert np.isnan(balanced_mode(-1.0, 2.0, 0.1))
    assert np.isnan(balanced_mode(1.0, 2.0, -0.1))
    assert np.isnan(scalar_network(1.0, 1.0, 1.0, 0.5)[0])


def test_symbolic_residuals_vanish():
    t, sigma, s0, p0, lam = sp.symbols("t sigma s0 p0 lam", positive=True)
    decay = sp.exp(-2 * sigma * t)
    s = s0 / (decay + s0 * (1 - decay) / sigma)
    assert sp.simplify(sp.diff(s, t) - 2 * s * (sigma - s)) == 0
    rho = sp.sqrt(sigma**2 + lam**2 / 4)
    e = sp.exp(-2 * rho * t)
    p = (p0 * ((rho + sigma) + e * (rho - sigma)) + lam**2 / 2 * (1 - e)) / (
        (rho - sigma) + e * (rho + sigma) + p0 / 2 * (1 - e)
    )
    residual = sp.diff(p, t) + p**2 / 2 - 2 * sigma * p - lam**2 / 2
    assert sp.simplify(residual) == 0
    # The formulas of the test are those of the code.
    numbers = {t: 0.7, sigma: 1.3, p0: 0.4, lam: 0.9}
    a0 = (np.sqrt(0.4) + 0.9 / np.sqrt(0.4)) / 2
    b0 = np.sqrt(0.4) - a0
    a, b = unbalanced_mode(0.7, 1.3, a0, b0)
    assert float((a + b) ** 2) == pytest.approx(float(p.subs(numbers)), rel=1e-12)
    assert float(balanced_mode(0.7, 1.3, 0.2)) == pytest.approx(
        float(s.subs({**numbers, s0: 0.2})), rel=1e-13
    )


def test_wright_omega_against_scipy():
    x = np.concatenate([np.linspace(-700, 5, 400), np.geomspace(1, 1e300, 100)])
    assert np.max(np.abs(np.asarray(wright_omega(x)) / scipy.special.wrightomega(x) - 1)) < 4e-15


def test_infinite_depth_is_approached_as_one_over_depth():
    sigma, s0, tau = 2.0, 0.1, np.array([0.5, 1.5, 3.0])
    limit = np.asarray(infinite_depth_mode(tau, sigma, s0))
    expected = flow(lambda t, s: s**2 * (sigma - s), [s0], tau)[0]
    np.testing.assert_allclose(limit, expected, rtol=1e-12)
    gaps = [
        np.max(np.abs(depth_mode(tau / depth, sigma, s0, depth) - limit)) for depth in (50.0, 100.0, 200.0)
    ]
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.08)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.04)
    assert np.isnan(infinite_depth_mode(1.0, 1.0, 2.0))


@pytest.mark.parametrize(
    ("depth", "s0", "sigma"), [(2.5, 0.01, 2.0), (3, 1e-3, 1.5), (4, 3.0, 1.0), (10, 0.5, 2.0), (3, 2.0, 2.0)]
)
def test_depth_mode_follows_its_equation(depth, s0, sigma):
    near = sigma * (0.9 if s0 < sigma else 1.1)
    end = 3 * float(depth_mode_time(near, sigma, s0, depth)) if s0 != sigma else 1.0
    times = np.linspace(0.0, end, 6)
    expected = solve_ivp(
        lambda t, s: depth * s ** (2 - 2 / depth) * (sigma - s),
        (0, end),
        [s0],
        t_eval=times,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14,
    ).y[0]
    np.testing.assert_allclose(depth_mode(times, sigma, s0, depth), expected, rtol=2e-11)


def test_depth_time_by_roots_of_unity():
    def primitive(y, depth):
        roots = np.exp(2j * np.pi * np.arange(depth) / depth)
        return y ** (2 - depth) / (2 - depth) - np.sum((roots**2 * np.log(1 - y / roots)).real) / depth

    for depth in (3, 4, 5, 10):
        for low, high in ((0.01, 0.5), (0.2, 0.99), (1e-4, 0.7)):
            expected = primitive(high ** (1 / depth), depth) - primitive(low ** (1 / depth), depth)
            found = depth_mode_time(high * 1.7, 1.7, low * 1.7, depth) * 1.7 ** (2 - 2 / depth)
            assert float(found) == pytest.approx(expected, rel=3e-14)
    r0, r = np.sqrt(0.01 / 2), np.sqrt(1 / 2)
    four = ((-2 / r + 2 * np.arctanh(r)) - (-2 / r0 + 2 * np.arctanh(r0))) / (4 * 2**1.5)
    assert float(depth_mode_time(1.0, 2.0, 0.01, 4)) == pytest.approx(four, rel=1e-14)


def test_learning_times_and_the_next_mode():
    for depth, gap in ((3, 2e-3), (4, 1e-4), (8, 1e-6)):
        ratio = float(depth_mode_time(1.0, 2.0, 1e-8, depth)) / learning_time(2.0, 1e-8, depth)
        assert abs(ratio - 1) < gap
    assert float(balanced_mode_time(1.0, 2.0, 1e-8)) == pytest.approx(learning_time(2.0, 1e-8, 2), rel=1e-8)
    for depth, gap in ((3, 6e-3), (4, 3e-4)):
        when = float(depth_mode_time(1.5, 3.0, 1e-8, depth))
        second = float(depth_mode(when, 1.0, 1e-8, depth))
        assert abs(second / next_mode(3.0, 1.0, 1e-8, depth) - 1) < gap
    when = balanced_mode_time(1.5, 3.0, 1e-8)
    assert float(balanced_mode(when, 1.0, 1e-8)) / next_mode(3.0, 1.0, 1e-8, 2) == pytest.approx(1, abs=1e-4)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: depth_mode_time(0.5, 1.0, -0.1, 3), "`s0` must be a finite positive number"),
        (lambda: depth_mode_time(1.5, 1.0, 0.1, 3), "`s` must lie between s0 = 0.1 and sigma = 1"),
        (lambda: depth_mode_time(0.5, -1.0, 0.1, 3), "`sigma` must be a finite positive number"),
        (lambda: depth_mode_time(0.5, 1.0, 0.1, 2), "above 2"),
        (lambda: depth_mode(-1.0, 1.0, 0.1, 3), "`t` must be at least 0, but its smallest value is -1"),
        (lambda: learning_time(1.0, 2.0, 3), "the mode is learned"),
        (lambda: learning_time(-1.0, 0.1, 3), "`sigma` must be a finite positive number"),
        (lambda: next_mode(1.0, 2.0, 0.1, 3), "below sigma1 = 1"),
        (lambda: learning_time(1.0, 0.1, 1.5), "at least 2"),
    ],
)
def test_bad_values_are_refused(call, words):
    with pytest.raises(ValueError, match=words):
        call()


@pytest.mark.parametrize("size", [1e4, 1e7, 1e12])
def test_no_digits_are_lost_at_large_imbalance(size):
    """s' = (1 - s) sqrt(size^4 + 4 s^2) from 0: s = 1 - 1/e at the time 1/size^2, up to s^2/size^4."""
    a, b = unbalanced_mode(1 / size**2, 1.0, size, 0.0)
    w, _ = scalar_network(1 / size**2, 1.0, 0.0, size**2)
    wide = wide_product(1 / size**2, jnp.ones((1, 1)), size**2, 0.0)
    for value in (a * b, w, wide[0, 0]):
        assert float(value) == pytest.approx(1 - np.exp(-1), rel=1e-14 + size**-4)


def test_unbalanced_modes_have_the_digits_that_their_arguments_have():
    """Against the same formula in 60 digits, at random sizes over ten orders of magnitude."""
    import mpmath

    def exact(t, sigma, a, b):
        with mpmath.workdps(60):
            t, sigma, a, b = map(mpmath.mpf, (t, sigma, a, b))
            square = (a * a - b * b) ** 2
            rho = mpmath.sqrt(sigma**2 + square / 4)
            e = mpmath.exp(-2 * rho * t)

            def p(s, start):
                top = start * ((rho + s) + e * (rho - s)) + square / 2 * (1 - e)
                return top / ((rho - s) + e * (rho + s) + start / 2 * (1 - e))

            return (p(sigma, (a + b) ** 2) - p(-sigma, (a - b) ** 2)) / 4

    rng = np.random.default_rng(0)
    points = [
        (10.0 ** rng.uniform(-12, 3), *(rng.normal(size=3) * 10.0 ** rng.uniform(-5, 5, size=3)))
        for _ in range(200)
    ]
    found = np.prod(unbalanced_mode(*np.transpose(points)), axis=0)
    for point, value in zip(points, found, strict=True):
        right = exact(*point)
        moved = [exact(*(x * (1 + 1e-12 * (i == j)) for j, x in enumerate(point))) for i in range(4)]
        condition = sum(abs(other - right) for other in moved) / abs(right) / 1e-12
        assert abs(value - right) <= 4e-15 * max(1, condition) * abs(right)


@pytest.mark.parametrize("s0", [0.3, 1.0, 3.0])
def test_depth_modes_begin_with_their_speed(s0):
    ts = np.array([1e-300, 1e-18, 1e-15, 1e-12, 1e-9])
    found = depth_mode(ts, 2.0, s0, 3.0)
    assert found == pytest.approx(s0 + 3.0 * s0 ** (4 / 3) * (2.0 - s0) * ts, rel=1e-11)
