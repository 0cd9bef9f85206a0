"""Weight decay: least norms against random factorisations, minimisers against a grid, thresholds to six digits."""

import numpy as np
import pytest

from dlntheory.theory.landscape import decay_thresholds, decayed_mode, least_weight_norm

RNG = np.random.default_rng(0)


@pytest.mark.parametrize("depth", [2, 3])
def test_least_norm_is_attained_at_balance_and_never_beaten(depth):
    target = RNG.standard_normal((3, 3))
    bound = least_weight_norm(target, depth)
    left, s, right = np.linalg.svd(target)
    root = s ** (1 / depth)
    layers = [root[:, None] * right] + [np.diag(root)] * (depth - 2) + [left * root]
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    np.testing.assert_allclose(product, target, atol=1e-14)
    assert abs(sum(np.sum(w**2) for w in layers) / bound - 1) < 1e-14
    # Any factorisation: random invertible changes of the hidden bases.
    ratios = []
    for _ in range(300):
        gauges = [
            np.eye(3),
            *(np.eye(3) + 0.3 * RNG.standard_normal((3, 3)) for _ in range(depth - 1)),
            np.eye(3),
        ]
        moved = [gauges[i + 1] @ layers[i] @ np.linalg.inv(gauges[i]) for i in range(depth)]
        ratios.append(sum(np.sum(w**2) for w in moved) / bound)
    assert min(ratios) > 1


@pytest.mark.parametrize("depth", [2, 3, 4, 7])
def test_minimisers_are_those_of_a_fine_grid(depth):
    grid = np.linspace(0, 2, 200_001)
    for sigma in (1.5, 0.4):
        thresholds = decay_thresholds(sigma, depth)
        for share in (0.0, 0.3, 0.9, 0.999, 1.001, 1.1, 3.0):
            gamma = share * thresholds.critical
            value = 0.5 * (grid - sigma) ** 2 + gamma * depth / 2 * grid ** (2 / depth)
            found = float(decayed_mode(sigma, gamma, depth))
            assert abs(found - grid[np.argmin(value)]) < 1.1e-5, (sigma, share)
            if found:
                assert abs(found - sigma + gamma * found ** (2 / depth - 1)) < 1e-13


def test_thresholds_to_six_digits():
    third, fourth = decay_thresholds(1.5, 3), decay_thresholds(1.5, 4)
    assert f"{third.critical:.6f} {fourth.critical:.6f}" == "0.681420 0.500000"
    assert f"{third.spinodal:.6f} {fourth.spinodal:.6f}" == "0.811265 0.707107"
    shallow = decay_thresholds(1.5, 2)
    assert shallow.critical == shallow.spinodal == 1.5
    assert shallow.jump == 0
    assert "0.681420" in str(third)


@pytest.mark.parametrize("depth", [3, 5])
def test_at_the_critical_decay_both_minima_are_equal_and_beyond_the_spinodal_none_is_left(depth):
    sigma = 1.3
    found = decay_thresholds(sigma, depth)
    objective = lambda s, gamma: 0.5 * (s - sigma) ** 2 + gamma * depth / 2 * s ** (2 / depth)
    assert abs(objective(found.jump, found.critical) - objective(0.0, found.critical)) < 1e-14
    slope = lambda s, gamma: s - sigma + gamma * s ** (2 / depth - 1)
    grid = np.linspace(1e-4, sigma, 100_001)
    assert np.min(slope(grid, 1.0001 * found.spinodal)) > 0 > np.min(slope(grid, 0.9999 * found.spinodal))
    assert abs(slope(found.last, found.spinodal)) < 1e-14


def test_refusals():
    for call in (lambda: decay_thresholds(0.0, 3), lambda: decay_thresholds(np.inf, 3)):
        with pytest.raises(ValueError, match="Argument `sigma` must be a finite positive number"):
            call()
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 2"):
        decay_thresholds(1.0, 1)
    with pytest.raises(ValueError, match="`weight_decay` must be a finite number of at least 0"):
        decayed_mode(1.0, -0.1, 2)
    with pytest.raises(ValueError, match="at least 0"):
        decayed_mode(-1.0, 0.1, 2)
    with pytest.raises(ValueError, match="`product` must have 2 dimensions"):
        least_weight_norm([1.0], 2)
