"""The balanced flow of infinite depth: the limit of the operators, and of the layers' own flow, at order one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow

import dlntheory as dln
from dlntheory.reductions.chain.infinite_depth import BalancedLimitFlow
from dlntheory.reductions.chain.logarithmic_mean import logarithmic_mean_operator

TARGET = np.array([[1.0, 0.4], [0.3, -0.8]])
PRODUCT = np.array([[1.0, 0.2], [0.1, -0.5]])  # negative determinant: no layers near the identity have it


def test_operators_of_finite_depth_approach_it_as_one_over_depth():
    gradient = np.random.default_rng(0).standard_normal((2, 2))
    u, s, vt = np.linalg.svd(PRODUCT)
    limit = np.asarray(logarithmic_mean_operator(PRODUCT, gradient))
    scaled = []
    for depth in (10, 100, 1000):
        powers = [
            (s ** (2 * (depth - l) / depth))[:, None] * s ** (2 * (l - 1) / depth)
            for l in range(1, depth + 1)
        ]
        finite = u @ (sum(powers) / depth * (u.T @ gradient @ vt.T)) @ vt
        scaled.append(depth * np.linalg.norm(finite - limit))
    assert scaled[1] == pytest.approx(scaled[2], rel=2e-2)
    assert scaled[0] == pytest.approx(scaled[2], rel=0.2)


def test_the_layers_approach_it_at_order_one_with_any_hidden_bases():
    limit = None
    gaps = []
    for depth in (8, 16, 32):
        arch = dln.linear_network((2,) * (depth + 1))
        theta0 = dln.balanced(arch, jax.random.key(1), product=PRODUCT)
        assert BalancedLimitFlow(arch).check_start(theta0)
        ts = np.array([0.0, 1.0 / depth])
        z, _ = chain_flow(
            [np.asarray(w) for w in theta0.values()], lambda z: z - TARGET, ts, rtol=1e-9, atol=1e-12
        )
        if limit is None:
            flow = BalancedLimitFlow(arch, dln.SquaredLoss.from_target(TARGET))
            limit = dln.solve(flow, theta0, 1.0 / depth, rtol=1e-10, ts=2).z[-1]
        gaps.append(np.linalg.norm(z[-1] - limit))
    assert gaps[0] / gaps[1] == pytest.approx(2.0, rel=0.15)
    assert gaps[1] / gaps[2] == pytest.approx(2.0, rel=0.1)


def test_layer_rates_enter_by_their_geometric_mean():
    arch = dln.linear_network((2, 2, 2))
    state = {"z": jnp.asarray(PRODUCT)}
    loss = dln.SquaredLoss.from_target(TARGET)
    plain = BalancedLimitFlow(arch, loss).velocity(0.0, state)["z"]
    rated = BalancedLimitFlow(arch, loss, rates={"W1": 4.0}).velocity(0.0, state)["z"]
    np.testing.assert_allclose(rated, 2.0 * plain, rtol=1e-14)


def test_what_it_does_not_hold_for_is_refused():
    arch = dln.linear_network((2, 2, 2))
    with pytest.raises(ValueError, match="no narrower one .* widths 2-1-2"):
        BalancedLimitFlow(dln.linear_network((2, 1, 2)))
    with pytest.raises(ValueError, match=r"`weight_decay` must be 0 .* 0\.1"):
        BalancedLimitFlow(arch).bind(dln.Training(dln.SquaredLoss.from_target(TARGET), weight_decay=0.1))
    with pytest.raises(dln.ConditionError, match="imbalances"):
        BalancedLimitFlow(arch).check_start(dln.gaussian(arch, jax.random.key(0)))
    with pytest.raises(dln.ConditionError, match="rank 2"):
        BalancedLimitFlow(arch).check_start(
            dln.balanced(arch, jax.random.key(0), product=np.diag([1.0, 0.0]))
        )
