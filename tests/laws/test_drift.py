"""Laws along real runs: the drift measures the integrator, falls with its tolerance, and unmasks a false law."""

import jax
import numpy as np
import pytest
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.families import attention


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((3, 2, 4))
    loss, _ = log_cosh(np.random.default_rng(5).standard_normal((4, 3)))
    return arch, dln.gaussian(arch, jax.random.key(3), scale=0.8), dln.GradientFlow(arch, loss)


def test_drift_falls_with_the_tolerance(problem):
    arch, theta0, flow = problem
    laws = dln.conservation_laws(arch)
    bounds = {1e-6: 1e-7, 1e-9: 1e-10, 1e-12: 1e-13}
    for rtol, bound in bounds.items():
        run = dln.solve(flow, theta0, 10.0, ts=6, rtol=rtol, method="dopri8", laws=laws, step_to_ts=True)
        assert run.drift["W2^T W2 - W1 W1^T"].max() < bound
        np.testing.assert_allclose(run.drift["W2^T W2 - W1 W1^T"], run.drift["D_1"], atol=1e-15)


def test_a_false_law_drifts_whatever_the_tolerance(problem):
    _, theta0, flow = problem

    def false_law(params):
        return params["W2"].T @ params["W2"] - 1.01 * params["W1"] @ params["W1"].T

    run = dln.solve(flow, theta0, 10.0, ts=6, rtol=1e-12, method="dopri8", laws=false_law)
    assert run.drift["false_law"].max() > 1e-3


def test_laws_of_attention_hold_for_a_loss_that_nobody_chose():
    arch = attention(3, 2)
    laws = dln.conservation_laws(arch)
    assert laws.status == "complete"
    loss, _ = log_cosh(np.random.default_rng(6).standard_normal(arch.output_shape))
    theta0 = dln.gaussian(arch, jax.random.key(4), scale=0.5)
    run = dln.solve(dln.GradientFlow(arch, loss), theta0, 5.0, ts=4, rtol=1e-10, method="dopri8", laws=laws)
    assert len(run.drift) == len(laws.laws)
    assert run.max_drift < 1e-9
    moved = max(np.abs(run.final[name] - theta0[name]).max() for name in theta0)
    assert moved > 0.1, "the control: the weights do move"
