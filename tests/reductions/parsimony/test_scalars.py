"""The scalars by themselves: closed form against an integrator and limits, recursion against hand-written steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlntheory.reductions.parsimony import rho_descent, rho_flow

CASES = [
    (1, 0.0, 1.0),
    (1, 0.3, 2.0),
    (2, 0.0, 1.0),
    (3, 0.0, 1.0),
    (3, 0.4, 1.0),
    (5, 0.1, 2.5),
    (3, 0.2, 0.0),
]


@pytest.mark.parametrize(("depth", "decay", "variance"), CASES)
def test_closed_form_solves_the_equation(depth, decay, variance):
    ts = np.array([0.0, 0.5, 1.5, 4.0])

    def field(t, rho):
        return -rho * (decay + variance * rho ** (2 * depth - 2))

    run = solve_ivp(field, (0, 4), [0.7], method="DOP853", t_eval=ts, rtol=1e-13, atol=1e-18)
    found = rho_flow(ts, 0.7, depth, weight_decay=decay, variance=variance)
    np.testing.assert_allclose(found, run.y[0], rtol=1e-11)


def test_closed_form_is_that_of_the_literature():
    # ((eps^-M + 1/lambda) e^{M lambda t} - 1/lambda)^{-1/M}
    eps, lam, t, power = 0.5, 0.2, 3.0, 6
    expected = ((eps**-power + 1 / lam) * np.exp(power * lam * t) - 1 / lam) ** (-1 / power)
    assert float(rho_flow(t, eps, 4, weight_decay=lam)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.slow
def test_closed_form_is_smooth_at_no_decay_and_never_overflows():
    near = [float(rho_flow(2.0, 0.5, 3, weight_decay=lam)) for lam in (0.0, 1e-14, 1e-9, 1e-8)]
    np.testing.assert_allclose(near[1:], near[0], rtol=1e-7)
    tiny = float(rho_flow(500.0, 1e-3, 12, weight_decay=0.5))
    assert tiny == pytest.approx(1e-3 * np.exp(-250.0), rel=1e-12)
    slope = jax.grad(lambda lam: rho_flow(2.0, 0.5, 3, weight_decay=lam))(0.0)
    step = 1e-4
    quotient = (rho_flow(2.0, 0.5, 3, weight_decay=step) - rho_flow(2.0, 0.5, 3)) / step
    assert float(slope) == pytest.approx(float(quotient), rel=1e-3)
    many = jax.vmap(lambda eps: rho_flow(1.0, eps, 3))(jnp.array([0.2, 0.4]))
    assert float(many[1]) == pytest.approx(float(rho_flow(1.0, 0.4, 3)), rel=1e-15)


def test_recursion_is_gradient_descent_of_the_scalar_network():
    scales, eta, decay, variance = np.array([0.9, 0.5, 0.7]), 0.1, 0.05, 1.7
    rows = np.asarray(rho_descent(scales, eta, 4, weight_decay=decay, variance=variance))
    rho = jnp.asarray(scales)
    gradient = jax.grad(lambda r: 0.5 * variance * jnp.prod(r) ** 2 + 0.5 * decay * jnp.sum(r**2))
    for row in rows:
        np.testing.assert_allclose(row, rho, rtol=1e-14)
        rho = rho - eta * gradient(rho)
    # A step that is too large takes the scalar through zero; the plain form has no logarithm to break.
    assert float(rho_descent([1.0, 3.0], 0.5, 1)[1, 0]) == pytest.approx(1 - 0.5 * 9)
