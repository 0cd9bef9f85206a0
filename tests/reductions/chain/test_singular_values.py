"""The flow of singular values and vectors against the layers, and its end where singular values meet."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh

import dlntheory as dln
from dlntheory.reductions.chain.singular_values import SingularValueFlow

TIGHT = {"method": "dopri8", "rtol": 1e-12, "atol": 1e-15, "ts": 6, "step_to_ts": True}


@pytest.mark.parametrize(
    ("widths", "rates", "decay"),
    [
        ((4, 3, 5), {}, 0.05),
        ((4, 2, 3, 4), {"W1": 2.0, "W3": 0.5}, 0.0),
        pytest.param((3, 3, 3, 3, 3), {}, 0.05, marks=pytest.mark.slow),
    ],
)
def test_reduced_equals_the_layers_for_a_loss_that_is_not_quadratic(widths, rates, decay):
    arch = dln.linear_network(widths)
    loss, gradient = log_cosh(np.random.default_rng(1).standard_normal(arch.output_shape))
    theta0 = dln.balanced(arch, jax.random.key(3))
    theta0 = {name: np.sqrt(rates.get(name, 1.0)) * np.asarray(leaf) for name, leaf in theta0.items()}
    flow = SingularValueFlow(arch, loss, rates=rates, weight_decay=decay)
    run = dln.solve(flow, theta0, 1.2, **TIGHT)
    expected, _ = chain_flow(
        list(theta0.values()),
        gradient,
        run.ts,
        rates=[rates.get(name, 1.0) for name in theta0],
        decay=decay,
    )
    # Depth five: 1.4e-11 seen; the others 1e-12.
    assert np.max(np.abs(run.z - expected)) < (5e-11 if len(widths) == 5 else 5e-12)
    assert run.max_drift < 1e-12


def test_meeting_singular_values_end_the_run_with_the_way_out():
    # Two modes of one target that start in the wrong order: they meet.
    arch = dln.linear_network((2, 2, 2))
    loss = dln.SquaredLoss.from_target(np.diag([1.0, 2.0]))
    theta0 = dln.balanced(arch, jax.random.key(0), product=np.diag([0.5, 0.3]))
    with pytest.raises(dln.IntegrationError, match="smallest gap .* Use `BalancedFlow`") as stopped:
        dln.solve(SingularValueFlow(arch, loss), theta0, 5.0, step_to_ts=True)
    assert 0 < len(stopped.value.trajectory) < 200


@pytest.mark.parametrize(
    ("widths", "product", "words"),
    [
        (
            (2, 2, 2),
            np.eye(2),
            r"(?s)distinct .* Use `BalancedFlow`.*smallest gap .* at a largest value of 1\.",
        ),
        ((2, 2, 2, 2), np.diag([1.0, 1e-7]), r"(?s)distinct and positive .* smallest value 1e-07"),
        ((2, 2, 2), np.diag([1.0, 0.0]), r"z has rank 2\).* Use `SingularValueFlow\(arch, loss, rank=1\)`"),
    ],
)
def test_starts_without_distinct_positive_values_are_refused(widths, product, words):
    arch = dln.linear_network(widths)
    loss = dln.SquaredLoss.from_target(np.eye(2))
    theta0 = dln.balanced(arch, jax.random.key(0), product=product)
    with pytest.raises(dln.ConditionError, match=words):
        dln.solve(SingularValueFlow(arch, loss), theta0, 1.0)


def test_an_unbalanced_start_and_a_single_layer_are_refused():
    arch = dln.linear_network((3, 4, 2))
    with pytest.raises(dln.ConditionError, match="imbalances"):
        SingularValueFlow(arch, jnp.sum).check_start(dln.gaussian(arch, jax.random.key(0)))
    with pytest.raises(ValueError, match="at least two layers"):
        SingularValueFlow(dln.linear_network((3, 2)))


@pytest.mark.slow
def test_compare_binds_it_and_a_small_value_of_two_layers_is_admitted():
    arch = dln.linear_network((2, 2, 2))
    loss = dln.SquaredLoss.from_target(np.array([[2.0, 0.3], [0.0, 1.0]]))
    theta0 = dln.balanced(arch, jax.random.key(0), product=np.diag([1.0, 1e-9]))
    both = dln.compare(dln.GradientFlow(arch, loss), SingularValueFlow(arch), theta0, 1.0, ts=6, timing=False)
    assert both.max_error < 1e-9
