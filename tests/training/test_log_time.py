"""The logarithmic clock with one combined exponent, and losses that know their logarithm."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.losses.log_form import log_logistic
from dlntheory.training.time_reparametrisation import CLOCKS, clock_named, has_log_form

ROWS = np.array([[0.5, 0.5], [0.5, -0.75]])
LABELS = np.ones(2)


@pytest.fixture(scope="module")
def arch():
    return dln.linear_network((2, 3, 1))


@pytest.fixture(scope="module")
def theta0():
    rng = np.random.default_rng(0)
    return {"W1": 0.5 * rng.standard_normal((3, 2)), "W2": 0.5 * rng.standard_normal((1, 3))}


@pytest.mark.slow
def test_log_logistic_against_mpmath():
    margins = np.array([-1e4, -800.0, -40.0, -1.0, 0.0, 0.5, 29.9, 30.0, 30.1, 36.0, 800.0, 1e6])
    values, slopes = jax.vmap(jax.value_and_grad(log_logistic))(jnp.asarray(margins))
    with mpmath.workdps(60):
        for m, value, slope in zip(margins, values, slopes, strict=True):
            # log1p(exp(-m)) for m = 1e6 needs its series: log log(1 + x) = log x - x/2 + ..., x = exp(-m)
            x = mpmath.exp(-mpmath.mpf(m))
            exact = mpmath.log(mpmath.log1p(x)) if m < 100 else mpmath.log(x) - x / 2
            exact_slope = -(x / (1 + x)) / (mpmath.log1p(x) if m < 100 else x * (1 - x / 2))
            assert float(value) == pytest.approx(float(exact), rel=1e-14)
            assert float(slope) == pytest.approx(float(exact_slope), rel=1e-13)
            if 30 < m < 40:  # where the correction of the series is a few units of the last place
                assert float(value) == pytest.approx(float(exact), abs=1.5e-14)
                assert float(slope) == pytest.approx(float(exact_slope), abs=1.5e-14)


@pytest.mark.slow
@pytest.mark.parametrize(("make", "reduction"), [(dln.LogisticLoss, "mean"), (dln.ExponentialLoss, "sum")])
def test_log_value_is_the_logarithm(make, reduction):
    loss = make(ROWS, LABELS, reduction=reduction)
    z = jnp.array([[0.7, -0.2]])
    assert float(loss.log_value(z)) == pytest.approx(float(jnp.log(loss(z))), abs=1e-14)
    np.testing.assert_allclose(
        jax.grad(loss.log_value)(z), jax.grad(loss)(z) / loss(z), rtol=1e-12, atol=1e-14
    )
    far = jnp.array([[5000.0, 0.0]])
    shift = 0.0 if reduction == "mean" else np.log(2.0)
    assert float(loss(far)) == 0.0
    assert float(loss.log_value(far)) == pytest.approx(-2500.0 + shift)


@pytest.mark.parametrize("make", [dln.LogisticLoss, dln.ExponentialLoss])
def test_combined_exponent_is_the_same_velocity(arch, theta0, make):
    state = {name: jnp.asarray(w) for name, w in theta0.items()}
    flow = dln.GradientFlow(arch, make(ROWS, LABELS), rates={"W2": 0.5})
    assert has_log_form(flow)
    s = jnp.asarray(3.0)
    combined = CLOCKS["log_t"].velocity(flow, s, state)
    plain = flow.velocity(jnp.expm1(s), state)
    for name in state:
        np.testing.assert_allclose(combined[name], np.exp(3.0) * plain[name], rtol=1e-12, atol=1e-14)
    unchanged = CLOCKS["t"].velocity(flow, s, state)
    np.testing.assert_array_equal(unchanged["W1"], plain["W1"])


@pytest.mark.slow
@pytest.mark.parametrize("method", ["dopri8", "stiff"])
def test_gradient_flow_itself_goes_beyond_the_overflow_of_t(arch, theta0, method):
    loss = dln.ExponentialLoss(ROWS, LABELS)
    run = dln.solve(
        dln.GradientFlow(arch, loss), theta0, 2000.0, ts=5, clock="log_t", method=method, rtol=1e-8
    )
    margin = np.min(ROWS @ run.z[-1, 0])
    assert run.loss[-1] == 0.0
    assert 2000.0 < margin < 2000.0 + 2.0 * np.log(2000.0)
    assert run.ts[-1] == 2000.0


@pytest.mark.parametrize("case", ["weight decay", "squared loss"])
def test_other_flows_end_where_t_overflows(arch, theta0, case):
    loss = dln.SquaredLoss(ROWS, LABELS) if case == "squared loss" else dln.ExponentialLoss(ROWS, LABELS)
    flow = dln.GradientFlow(arch, loss, weight_decay=0.1 if case == "weight decay" else 0.0)
    assert not has_log_form(flow)
    with pytest.raises(
        ValueError, match="at most 709 .* without weight decay of a logistic or exponential loss"
    ):
        dln.solve(flow, theta0, 710.0, clock="log_t")


def test_end_of_the_clock_with_a_logarithm(arch, theta0):
    flow = dln.GradientFlow(arch, dln.LogisticLoss(ROWS, LABELS))
    with pytest.raises(ValueError, match="at most 1e\\+06 with clock"):
        dln.solve(flow, theta0, 2e6, clock="log_t")
    assert clock_named("t").last_for(flow) == np.inf
