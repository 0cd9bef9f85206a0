"""`InfiniteDepthFlow`: the logarithmic mean and its derivative, order one in 1/L with its control, starts, refusals."""

import itertools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.initial.near_identity import near_identity, near_identity_balanced, near_identity_product
from dlntheory.reductions.chain.infinite_depth import InfiniteDepthFlow, near_identity_flow
from dlntheory.reductions.chain.logarithmic_mean import (
    logarithmic_mean,
    logarithmic_mean_operator,
    second_divided_difference_of_log,
)

SIZE = 3
RNG = np.random.default_rng(0)
S0 = 0.4 * (lambda m: m + m.T)(RNG.standard_normal((SIZE, SIZE)))
N0, N1 = ((lambda m: m - m.T)(RNG.standard_normal((SIZE, SIZE))) for _ in range(2))
LOSS, GRADIENT = log_cosh(RNG.standard_normal((SIZE, SIZE)))
SPECTRA = [(1.0, 1.0, 1.0), (1.0, 1.0, 1.0 + 1e-9), (2.0, 0.5, 1e-3), (1.0, 1.0, 0.3), (1.2, 1.0, 1.1)]


def rotation(s):
    return N0 * np.cos(2 * s) + s * N1


def wave(s):
    return 0.5 + np.cos(2 * s)


def with_spectrum(values, seed=5):
    rng = np.random.default_rng(seed)
    u, v = (np.linalg.qr(rng.standard_normal((SIZE, SIZE)))[0] for _ in range(2))
    return u @ np.diag(values) @ v.T, rng.standard_normal((SIZE, SIZE)), rng.standard_normal((SIZE, SIZE))


def test_logarithmic_mean_and_divided_difference_against_many_digits():
    rng = np.random.default_rng(1)
    base = 10.0 ** rng.uniform(-6, 6, (150, 1))
    # Distances from 0 over 1e-9 to 100 times the base, in all combinations.
    points = base * (1 + 10.0 ** rng.uniform(-9, 2, (150, 3)) * rng.integers(0, 2, (150, 3)))
    means = np.asarray(logarithmic_mean(points[:, 0], points[:, 1]))
    seconds = np.asarray(second_divided_difference_of_log(*jnp.asarray(points.T)))
    with mpmath.workdps(120):
        for row, mean, second in zip(points, means, seconds, strict=True):
            # Equal points are moved apart by 1e-25, far below the digits compared.
            x, y, w = (
                mpmath.mpf(value) * (1 + k * mpmath.mpf(10) ** -25) for k, value in enumerate(row.tolist())
            )
            first = (mpmath.log(y) - mpmath.log(x)) / (y - x)
            other = (mpmath.log(w) - mpmath.log(y)) / (w - y)
            assert mean == pytest.approx(float(1 / first), rel=2e-15)
            assert second == pytest.approx(float((other - first) / (w - x)), rel=5e-14)
    np.testing.assert_array_equal(
        logarithmic_mean(jnp.array([0.0, 2.0, 0.0]), jnp.array([1.0, 0.0, 0.0])), 0.0
    )


@pytest.mark.parametrize("values", SPECTRA)
def test_operator_equals_the_integral_and_its_derivative_is_right(values):
    z, g, h = with_spectrum(values)
    h = h * min(values)

    def power(matrix, exponent):
        spectrum, basis = np.linalg.eigh(matrix)
        return (basis * spectrum**exponent) @ basis.T

    nodes, weights = np.polynomial.legendre.leggauss(60)
    expected = sum(
        0.5 * w * power(z @ z.T, (1 - s) / 2) @ g @ power(z.T @ z, (1 + s) / 2)
        for s, w in zip(nodes, weights, strict=True)
    )
    result = np.asarray(logarithmic_mean_operator(z, g))
    # eigh of the square loses the digits of small singular values, the formula does not.
    rounding = 4e-15 if min(values) > 0.1 else 1e-11
    assert np.max(np.abs(result - expected)) < rounding * np.max(np.abs(expected))

    def moved(t):
        return np.asarray(logarithmic_mean_operator(z + t * h, g))

    step = 1e-3
    differences = [moved(k * step) - moved(-k * step) for k in (1, 2, 3)]
    quotient = (45 * differences[0] - 9 * differences[1] + differences[2]) / (60 * step)
    _, tangent = jax.jvp(lambda x: logarithmic_mean_operator(x, g), (jnp.asarray(z),), (jnp.asarray(h),))
    np.testing.assert_allclose(tangent, quotient, atol=1e-10 * np.max(np.abs(quotient)))
    cotangent = np.random.default_rng(9).standard_normal((SIZE, SIZE))
    pulled = jax.vjp(lambda x: logarithmic_mean_operator(x, g), jnp.asarray(z))[1](jnp.asarray(cotangent))[0]
    assert np.sum(np.asarray(pulled) * h) == pytest.approx(np.sum(cotangent * np.asarray(tangent)), rel=1e-12)
    _, linear = jax.jvp(lambda x: logarithmic_mean_operator(z, x), (jnp.asarray(g),), (jnp.asarray(h),))
    np.testing.assert_allclose(linear, logarithmic_mean_operator(z, h), atol=1e-14)


@pytest.mark.parametrize("lam", [0.0, wave], ids=["balanced", "relaxed"])
def test_product_in_the_limit_is_that_of_the_layers(lam):
    value = lam if callable(lam) else lambda s: lam

    def field(s, y):
        x, symmetric = y.reshape(2, SIZE, SIZE)
        skew = rotation(s)
        change = skew @ symmetric - symmetric @ skew + 0.5 * value(s) * np.eye(SIZE)
        return np.stack([(symmetric + skew) @ x, change]).ravel()

    solution = solve_ivp(
        field, (0, 1), np.stack([np.eye(SIZE), S0]).ravel(), method="DOP853", rtol=1e-13, atol=1e-14
    )
    expected = solution.y[:, -1].reshape(2, SIZE, SIZE)[0]
    product = near_identity_product(S0, rotation=rotation, lam=lam)
    np.testing.assert_allclose(product, expected, atol=2e-13)
    assert np.linalg.det(product) > 0

    errors = []
    for depth in (32, 64):
        arch = dln.linear_network((SIZE,) * (depth + 1))
        theta0 = near_identity_balanced(arch, S0, rotation=rotation, lam=lam)
        layers = [np.asarray(theta0[name]) for name in arch.chain]
        for layer, (below, above) in enumerate(itertools.pairwise(layers), start=1):
            scaled = depth**2 * (above.T @ above - below @ below.T)
            np.testing.assert_allclose(scaled, value(layer / depth) * np.eye(SIZE), atol=5e-11)
        np.testing.assert_allclose(depth * (layers[0] - np.eye(SIZE)), S0 + rotation(0.0), atol=6 / depth)
        errors.append(np.max(np.abs(np.linalg.multi_dot(layers[::-1]) - product)))
    assert np.log2(errors[0] / errors[1]) > 0.9
    assert errors[1] < 0.03


def finite_flow(layers, t1):
    """z(t1) of W_l = I + A_l/L under A_l' = -df/dW_l, by SciPy; products of all prefixes and suffixes by hand."""
    layers = np.asarray(layers)
    depth = len(layers)

    def field(t, y):
        w = y.reshape(layers.shape)
        below, above = [np.eye(SIZE)], [np.eye(SIZE)]
        for l in range(depth):
            below.append(w[l] @ below[-1])
            above.append(above[-1] @ w[depth - 1 - l])
        below, above = np.stack(below[:-1]), np.stack(above[:-1][::-1])
        gradient = GRADIENT(w[-1] @ below[-1])
        change = -np.swapaxes(above, 1, 2) @ gradient @ np.swapaxes(below, 1, 2)
        return change.ravel() / depth

    run = solve_ivp(field, (0.0, t1), layers.ravel(), method="DOP853", rtol=1e-10, atol=1e-12)
    z = np.eye(SIZE)
    for w in run.y[:, -1].reshape(layers.shape):
        z = w @ z
    return z


@pytest.fixture(scope="module")
def limit():
    """z(1) of the limit from a product z, for any depth: its equation sees nothing else."""
    arch = dln.linear_network((SIZE, SIZE, SIZE))
    flow = near_identity_flow(arch, LOSS)
    reduced = InfiniteDepthFlow(arch).bind(flow.training)

    def end(z0):
        theta0 = {"W1": z0, "W2": np.eye(SIZE)}
        run = dln.solve(reduced, theta0, 1.0, ts=3, rtol=1e-9, check=False)
        assert np.all(run.monitors["det z"] > 0)
        return run.z[-1]

    return end


def starts(kind):
    if kind == "control":
        # S' = [N, S] + D/2 with D = diag(1, -1, 0) not scalar; N = 0.
        return lambda arch: near_identity(arch, lambda s: S0 + 0.5 * s * np.diag([1.0, -1.0, 0.0]))
    lam = wave if kind == "relaxed" else 0.0
    return lambda arch: near_identity_balanced(arch, S0, rotation=rotation, lam=lam)


@pytest.mark.parametrize("kind", ["balanced", "relaxed", "control"])
def test_order_one_in_the_inverse_depth(kind, limit):
    errors = []
    for depth in (32, 64, 128):
        arch = dln.linear_network((SIZE,) * (depth + 1))
        theta0 = starts(kind)(arch)
        layers = np.stack([np.asarray(theta0[name]) for name in arch.chain])
        z0 = np.linalg.multi_dot(list(layers)[::-1])
        errors.append(np.max(np.abs(finite_flow(layers, 1.0) - limit(z0))))
    if kind == "control":
        assert errors[-2] / errors[-1] < 1.2
        assert errors[-1] > 0.03
    else:
        assert 0.9 < np.log2(errors[-2] / errors[-1]) < 1.1
        assert errors[-1] < 0.01


@pytest.mark.slow
def test_finite_flow_and_rates_are_the_same_time(limit):
    arch = dln.linear_network((SIZE,) * 9)
    theta0 = near_identity_balanced(arch, S0, rotation=rotation)
    layers = [np.asarray(theta0[name]) for name in arch.chain]
    run = dln.solve(near_identity_flow(arch, LOSS), theta0, 1.0, ts=2, rtol=1e-10)
    np.testing.assert_allclose(run.z[-1], finite_flow(layers, 1.0), atol=1e-8)
    # At rate 1 the same distance takes an L-th of the time.
    z = arch(theta0)
    unit = InfiniteDepthFlow(arch, LOSS).velocity(0.0, {"z": z})["z"]
    slow = InfiniteDepthFlow(arch).bind(near_identity_flow(arch, LOSS).training).velocity(0.0, {"z": z})["z"]
    np.testing.assert_allclose(unit, 8 * slow, rtol=1e-12)
    np.testing.assert_allclose(slow, -logarithmic_mean_operator(z, GRADIENT(np.asarray(z))), rtol=1e-10)


def test_starts_that_break_the_condition_are_refused_with_the_number():
    arch = dln.linear_network((SIZE,) * 33)
    reduced = InfiniteDepthFlow(arch)
    assert reduced.condition(arch.check(starts("relaxed")(arch))).holds
    sampled = near_identity(arch, lambda s: S0 + 0.3 * s * np.eye(SIZE))
    assert reduced.condition(arch.check(sampled)).holds
    with pytest.raises(dln.ConditionError, match=r"multiples of the identity") as caught:
        reduced.check_start(starts("control")(arch))
    assert caught.value.measured == pytest.approx(np.sqrt(2), rel=0.05)
    assert 0.03 < caught.value.expected_error < 0.3
    with pytest.raises(dln.ConditionError, match=r"W_l - I.*det z") as caught:
        reduced.check_start(dln.gaussian(arch, jax.random.key(0)))
    assert caught.value.measured > 1
    with pytest.raises(dln.ConditionError):
        InfiniteDepthFlow(arch, tolerance=0.0).check_start(sampled)
    exact = InfiniteDepthFlow(arch, tolerance=0.0).condition(arch.check(starts("relaxed")(arch)))
    assert exact.holds
    assert "lambda_l from" in str(exact)


def test_few_layers_that_do_not_know_of_each_other_are_refused_and_the_error_is_always_said():
    rng, arch = np.random.default_rng(0), dln.linear_network((2, 2, 2))
    reduced, passed = InfiniteDepthFlow(arch), 0
    for _ in range(40):
        steps = rng.normal(size=(2, 2, 2))
        steps *= rng.uniform(0.1, 1.0) / np.linalg.norm(steps, 2, axis=(1, 2))[:, None, None]
        found = reduced.condition({"W1": np.eye(2) + 0.99 * steps[0], "W2": np.eye(2) + 0.99 * steps[1]})
        passed += found.holds
        assert found.expected_error is not None
        assert found.expected_error >= 0.5
    assert passed <= 2, "29 of 193 when the tolerance was 2 |A|^2 / L alone"
    exact = near_identity_balanced(arch, 0.2 * np.eye(2))
    assert reduced.condition(arch.check(exact)).holds
    text = str(reduced.condition(arch.check(exact)))
    assert "1/L = 0.5" in text
    assert "error of z of the order of 0.5" in text


def test_malformed_arguments_are_refused():
    square, loss = dln.linear_network((2, 2, 2)), lambda z: jnp.sum(z)
    for arch in (dln.linear_network((2, 3, 2)), dln.linear_network((2, 2))):
        with pytest.raises(ValueError, match="at least two different square matrices"):
            InfiniteDepthFlow(arch)
    with pytest.raises(ValueError, match="`weight_decay` must be 0"):
        InfiniteDepthFlow(square).bind(dln.Training(loss, weight_decay=0.1))
    with pytest.raises(ValueError, match=r"must be equal for all layers.*\[1.0, 2.0\]"):
        InfiniteDepthFlow(square, loss, rates={"W1": 2.0})
    with pytest.raises(ValueError, match="`tolerance`"):
        InfiniteDepthFlow(square, tolerance=-1.0)
    assert "order 1/L" in str(InfiniteDepthFlow(square))
    with pytest.raises(ValueError, match="layers of one width"):
        near_identity_balanced(dln.linear_network((2, 3, 2)), np.eye(2))
    with pytest.raises(ValueError, match=r"finite array of shape \(2, 2\), but has shape \(3, 3\)"):
        near_identity_balanced(square, np.eye(3))
    with pytest.raises(ValueError, match="must be symmetric, but is off by 1"):
        near_identity_balanced(square, [[0.0, 1.0], [0.0, 0.0]])
    with pytest.raises(ValueError, match=r"skew-symmetric, but at s = 0.25 is off by 2"):
        near_identity_balanced(square, np.eye(2), rotation=np.eye(2))
    with pytest.raises(ValueError, match=r"at s = 0.25 it returns shape \(3, 3\)"):
        near_identity(square, lambda s: np.eye(3))
    with pytest.raises(ValueError, match="`lam` must be a finite number"):
        near_identity_product(np.eye(2), lam=np.nan)
    with pytest.raises(dln.InfeasibleError, match="at layer 2 of 2 the smallest would be"):
        near_identity_balanced(square, np.zeros((2, 2)), lam=-5.0)
