"""Diagonal networks: closed forms against the flow of the weights, limits against convex programs, refusals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp
from scipy.optimize import linprog

import dlntheory as dln
from dlntheory import Architecture, ConditionError, SquaredLoss
from dlntheory.solutions.diagonal_networks import (
    DiagonalSolution,
    hyperbolic_potential,
    interpolation_limit,
    powers_from_dual,
    squares_from_dual,
)
from dlntheory.training import Training

RNG = np.random.default_rng(3)
X, Y = RNG.standard_normal((4, 9)), RNG.standard_normal(4)
PAIRS = Architecture(lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}, name="pairs")
SQUARES = Architecture(lambda p: 0.5 * (p["u"] ** 2 - p["v"] ** 2), {"u": (3,), "v": (3,)}, name="squares")
TARGET = np.array([1.5, -0.7, 0.0])


def isotropic(z):
    return 0.8 * jnp.sum((z - TARGET) ** 2)  # Hessian 1.6 I


def powers_flow(alpha, depth, time):
    """u, v and theta of u^D - v^D on X, Y by a reference integrator."""
    n = X.shape[1]

    def field(t, state):
        u, v = state[:n], state[n : 2 * n]
        slope = X.T @ (X @ (u**depth - v**depth) - Y)
        return np.concatenate([-depth * u ** (depth - 1) * slope, depth * v ** (depth - 1) * slope, -slope])

    start = np.concatenate([np.full(2 * n, alpha), np.zeros(n)])
    end = solve_ivp(field, (0, time), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    return end[:n], end[n : 2 * n], end[2 * n :]


@pytest.mark.parametrize("alpha", [0.3, pytest.param(0.05, marks=pytest.mark.slow)])
def test_squares_follow_the_flow_and_end_at_the_dual_solution(alpha):
    u, v, theta = powers_flow(alpha, 2, 40.0)
    beta = u**2 - v**2
    np.testing.assert_allclose(u * v, alpha**2, rtol=1e-10)
    np.testing.assert_allclose(squares_from_dual(theta, alpha), beta, atol=1e-11)
    limit = interpolation_limit(X, Y, alpha)
    np.testing.assert_allclose(limit.beta, beta, atol=1e-11)
    # Stationarity of Q on X beta = Y, independently of the solver: grad Q is in the row space of X.
    gradient = jax.grad(hyperbolic_potential)(jnp.asarray(beta), alpha)
    np.testing.assert_allclose(gradient, 4 * theta, atol=1e-10)


def test_powers_follow_the_flow_and_nothing_cancels_at_small_theta():
    u, v, theta = powers_flow(0.5, 3, 2.0)
    np.testing.assert_allclose(powers_from_dual(theta, 0.5, 3), u**3 - v**3, atol=1e-12)
    # beta = 2 alpha^D D/(D-2) z to first order.
    tiny = float(powers_from_dual(1e-12, 0.5, 3))
    assert abs(tiny / (2 * 0.5**3 * 3 * 0.5 * 3 * 1e-12) - 1) < 1e-13
    assert np.isnan(powers_from_dual(1.0, 1.0, 3))
    assert np.isnan(powers_from_dual(0.1, -1.0, 3))
    assert np.isfinite(jax.grad(lambda x: powers_from_dual(x, 0.5, 3))(0.1))


def test_limits_interpolate_between_least_l2_and_least_l1():
    least_l1 = linprog(np.ones(18), A_eq=np.hstack([X, -X]), b_eq=Y).fun
    least_l2 = np.linalg.pinv(X) @ Y
    excess = []
    for alpha in (1e-2, 1e-4, 1e-16, 1e-40, 1e-80):
        limit = interpolation_limit(X, Y, alpha)
        assert limit.residual < 1e-12
        assert np.all(np.isfinite(limit.beta))
        excess.append(np.sum(np.abs(limit.beta)) - least_l1)
    assert all(a > b for a, b in itertools.pairwise(excess))
    assert abs(excess[-1]) < 1e-12
    assert excess[1] > 1e-4  # slowly, see the next test
    ratio = [
        np.max(np.abs(interpolation_limit(X, Y, alpha).beta - least_l2)) for alpha in (10.0, 30.0, 100.0)
    ]
    assert abs(np.log(ratio[0] / ratio[1]) / np.log(3) - 4) < 1e-3
    assert ratio[2] < 1e-9


def test_the_excess_over_the_least_l1_norm_is_a_power_of_the_start():
    # Complementary slackness of the linear programme decides the power: on the support |X^T nu| = 1, and a coordinate
    # off it with |X^T nu| = kappa is left at alpha^2 sinh(kappa log(1/alpha^2)) = alpha^(2 (1 - kappa)).
    programme = linprog(np.ones(18), A_eq=np.hstack([X, -X]), b_eq=Y)
    slack = np.sort(np.abs(X.T @ programme.eqlin.marginals))
    np.testing.assert_allclose(slack[-4:], 1, atol=1e-9)
    power = 2 * (1 - slack[-5])
    alphas = (1e-32, 1e-40)
    excess = [np.sum(np.abs(interpolation_limit(X, Y, alpha).beta)) - programme.fun for alpha in alphas]
    measured = np.log(excess[1] / excess[0]) / np.log(alphas[1] / alphas[0])
    assert abs(measured - power) < 2e-6


def test_potential_is_exact_at_small_arguments_and_finite_at_extreme_ones():
    # q(z) = z^2/4 - z^4/192 + ...
    assert abs(float(hyperbolic_potential([1e-9], 1.0)) / 0.25e-18 - 1) < 1e-15
    assert np.isfinite(hyperbolic_potential([1.0], 1e-80))
    z = sp.symbols("z", positive=True)
    q = z * sp.asinh(z / 2) - z**2 / (2 + sp.sqrt(4 + z**2))
    assert sp.simplify(sp.diff(q, z) - sp.asinh(z / 2)) == 0


@pytest.mark.parametrize("arch", [PAIRS, SQUARES], ids=["pairs", "squares"])
def test_isotropic_solution_follows_the_flow_of_the_weights(arch):
    u0, v0 = np.array([0.5, 1e-3, -0.8]), np.array([-0.2, 1e-3, 0.3])
    solution = DiagonalSolution(arch, {"u": u0, "v": v0}, isotropic)
    times = np.array([0.0, 0.3, 1.0, 4.0])

    def field(t, state):
        u, v = state[:3], state[3:]
        if arch is PAIRS:
            slope = 1.6 * (u * v - TARGET)
            return np.concatenate([-slope * v, -slope * u])
        slope = 1.6 * (0.5 * (u**2 - v**2) - TARGET)
        return np.concatenate([-slope * u, slope * v])

    run = solve_ivp(
        field, (0, 4), np.concatenate([u0, v0]), t_eval=times, method="DOP853", rtol=1e-12, atol=1e-14
    )
    u, v = run.y[:3].T, run.y[3:].T
    np.testing.assert_allclose(solution.z(times), u * v if arch is PAIRS else 0.5 * (u**2 - v**2), atol=1e-11)
    assert np.all(np.isfinite(solution.z([0.0, 1.0, 1e3, 1e6])))
    assert "k I" in str(solution)
    assert solution.condition.holds


@pytest.mark.slow
def test_factors_come_from_the_loss_and_the_formula_is_transformable():
    inputs = 3.0 * np.linalg.qr(RNG.standard_normal((8, 3)))[0]
    labels = RNG.standard_normal((8, 1))
    theta = {"u": np.full(3, 0.1), "v": np.full(3, 0.1)}
    mean, total = (SquaredLoss(inputs, labels, reduction=kind) for kind in ("mean", "sum"))
    solutions = [DiagonalSolution(PAIRS, theta, loss) for loss in (mean, total)]
    # The same curve, eight times faster; the clock is k = 9/8 or 9.
    np.testing.assert_allclose(
        solutions[0].z([0.0, 0.8, 4.0, 8.0]), solutions[1].z([0.0, 0.1, 0.5, 1.0]), rtol=1e-13
    )
    assert abs(solutions[0].curvature - 9 / 8) < 1e-14
    z, slope = jax.jit(lambda t: jax.jvp(solutions[0].z, (t,), (jnp.ones(4),)))(
        jnp.array([0.0, 0.8, 4.0, 8.0])
    )
    np.testing.assert_allclose(z, solutions[0].z([0.0, 0.8, 4.0, 8.0]), rtol=1e-14)
    gradient = (inputs.T @ (inputs @ np.asarray(z).T - labels) / 8).T
    np.testing.assert_allclose(slope, -2 * np.abs(z) * gradient, rtol=1e-12, atol=1e-15)


def test_refusals():
    for alpha in (0.0, -1.0, np.nan):
        with pytest.raises(ValueError, match="Argument `alpha` must be a finite positive number"):
            interpolation_limit(X, Y, alpha)
    with pytest.raises(ValueError, match="full row rank"):
        interpolation_limit(np.vstack([X[0], X[0]]), Y[:2], 1.0)
    with pytest.raises(ValueError, match="must have shapes"):
        interpolation_limit(X, Y[:2], 1.0)
    with pytest.raises(ValueError, match="must be finite"):
        interpolation_limit(X, Y * np.nan, 1.0)
    with pytest.raises(ValueError, match="above 2"):
        powers_from_dual(0.1, 0.1, 2)
    theta = {"u": np.ones(3), "v": np.ones(3)}
    weights = np.array([1.0, 1.0, 1.1])
    with pytest.raises(ConditionError, match=r"\|H - k I\| = 0.0667") as caught:
        DiagonalSolution(PAIRS, theta, lambda z: 0.5 * jnp.sum(weights * (z - 1.0) ** 2))
    assert abs(caught.value.measured - 0.2 / 3) < 1e-12
    with pytest.raises(ConditionError, match="must be a polynomial of degree 2"):
        DiagonalSolution(PAIRS, theta, lambda z: jnp.sum(z**2 + z**4))
    with pytest.raises(ValueError, match="`ts` must be at least 0"):
        DiagonalSolution(PAIRS, theta, isotropic).z([-1.0])
    with pytest.raises(ValueError, match="`weight_decay` must be 0"):
        DiagonalSolution(PAIRS, theta, Training(isotropic, weight_decay=0.1))
    assert np.isnan(squares_from_dual(0.1, 0.0))


def huber(z):
    """Quadratic within 5 of 1, linear beyond: its Hessian is the identity wherever one happens to look near 1."""
    r = jnp.abs(z - 1.0)
    return jnp.sum(jnp.where(r < 5.0, 0.5 * r**2, 5.0 * r - 12.5))


def test_losses_that_are_quadratic_at_some_points_only_are_refused():
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (1,)}, name="pair")
    theta0 = {"u": np.array([5.0]), "v": np.array([4.0])}
    with pytest.raises(dln.ConditionError, match="must be a polynomial of degree 2"):
        DiagonalSolution(arch, theta0, huber)
    with pytest.raises(dln.ConditionError, match="is of higher degree"):
        DiagonalSolution(arch, theta0, lambda z: jnp.sum(z**2 + z**3 * (z - 1.0) ** 3))
    run = dln.solve(dln.GradientFlow(arch, huber), theta0, 0.02, ts=2, rtol=1e-10)
    assert run.z[-1, 0] == pytest.approx(16.27, abs=0.01)
    assert DiagonalSolution(arch, theta0, dln.SquaredLoss.from_target([1.0])).curvature == pytest.approx(1.0)
