"""Escape from the origin, against SciPy's DOP853 with an event and the hypergeometric constants by mpmath."""

from typing import Any

import mpmath
import numpy as np
import pytest
from systems.saddles import half_time, start, target

from dlntheory import ConditionError, IntegrationError
from dlntheory.theory.saddles import (
    escape_direction,
    escape_time,
    leading_pair,
    measured_half_time,
    second_constant,
)

GOAL = target()


@pytest.fixture(scope="module")
def direction():
    return escape_direction(GOAL, start(3))


def test_fastest_ray(direction):
    assert direction.predicted_speed == pytest.approx(3**0.5, rel=1e-14)
    assert direction.speed == pytest.approx(3**0.5, abs=1e-9)
    assert direction.rank_one_defect < 1e-8
    assert direction.correlation == pytest.approx(1.0, abs=1e-10)
    norms = [np.linalg.norm(layer, 2) for layer in direction.direction.values()]
    np.testing.assert_allclose(norms, 3**-0.5, rtol=1e-8)


def test_both_constants_against_another_integrator(direction):
    law = escape_time(GOAL, start(3), 1e-3)
    assert law.blow_up_time == direction.blow_up_time
    for alpha, tolerance in ((1e-1, 3e-2), (1e-2, 3e-3)):
        weights = {name: alpha * layer for name, layer in start(3).items()}
        assert half_time(weights, GOAL) - law.at(alpha) == pytest.approx(0.0, abs=tolerance)
    assert "T* alpha^-1 + c_L" in str(law)


def test_two_layers_against_another_integrator():
    law = escape_time(GOAL, start(2), 1e-4)
    weights = {name: 1e-4 * layer for name, layer in start(2).items()}
    assert half_time(weights, GOAL) == pytest.approx(law.half_time, rel=1e-4)
    assert law.constant == pytest.approx(_projection(start(2)), rel=1e-14)
    assert law.at(1e-5) > law.half_time
    assert "log(s_1/(alpha^2 c) - 1)" in str(law)


def _projection(weights):
    left, _, right = np.linalg.svd(GOAL)
    return 0.25 * np.sum((weights["W1"] @ right[0] + weights["W2"].T @ left[:, 0]) ** 2)


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3])
def test_measured_half_time(depth):
    alphas = (1e-6,) if depth == 2 else (1e-1, 1e-2, 1e-3)
    law = escape_time(GOAL, start(depth), alphas[-1])
    times = [measured_half_time(GOAL, start(depth), alpha) for alpha in alphas]
    if depth == 2:
        assert times[0] == pytest.approx(law.half_time, rel=1e-6)
        return
    errors = np.abs([t - law.at(alpha) for t, alpha in zip(times, alphas, strict=True)])
    assert errors[-1] < 1e-3
    assert errors[0] > 3 * errors[1] > 9 * errors[2]  # the error is proportional to alpha
    weights = {name: 0.1 * layer for name, layer in start(3).items()}
    assert times[0] == pytest.approx(half_time(weights, GOAL), abs=1e-8)


@pytest.mark.parametrize("depth", [3, 4, 6])
def test_second_constant_is_the_integral(depth):
    a: Any = mpmath.mpf(2) / depth
    # The time from y0 to 1/2 minus the blow-up time from y0, as y0 -> 0.
    # With y = x^(1/a) the integrand y^(a-1)/(1-y) loses its singularity.
    beta = mpmath.quad(lambda x: 1 / (1 - x ** (1 / a)), [0, mpmath.mpf(0.5) ** a]) / a
    expected = mpmath.mpf(2.5) ** (-2 + a) / depth * (beta - mpmath.mpf(2) ** (1 - a) / (1 - a))
    assert second_constant(2.5, depth) == pytest.approx(float(expected), rel=1e-8)


def test_second_constant_from_the_mode_itself():
    # s' = L s^(2 - 2/L) (s_1 - s) by quadrature in s, against blow-up of s' = L s^(2 - 2/L) s_1.
    s1, depth, s0 = 3.0, 3, 1e-9
    full: Any = mpmath.quad(
        lambda x: mpmath.e ** (x * (mpmath.mpf(2) / depth - 1)) / (depth * (s1 - mpmath.e**x)),
        mpmath.linspace(mpmath.log(s0), mpmath.log(s1 / 2), 30),
    )
    blow_up = s0 ** (2 / depth - 1) / (depth * s1 * (1 - 2 / depth))
    assert float(full) - blow_up == pytest.approx(second_constant(s1, depth), abs=1e-5)


def test_bad_input():
    with pytest.raises(ConditionError, match="hypothesis not met"):
        leading_pair(np.diag([3.0, 3.0 - 1e-7]))
    with pytest.raises(ConditionError, match="hypothesis not met"):
        escape_direction(np.diag([3.0, 3.0, 1.0]), start(3))
    assert leading_pair(np.diag([3.0, 3.0 - 1e-5])).gap == pytest.approx(1e-5)
    with pytest.raises(ConditionError, match=r"G\(0\) = 0"):
        escape_time(np.zeros((3, 3)), start(3), 0.1)
    for alpha in (0.0, -1.0, float("nan")):
        with pytest.raises(ValueError, match="`alpha` must be a finite number of at least"):
            escape_time(GOAL, start(2), alpha)
    with pytest.raises(ValueError, match="at least 2"):
        escape_time(GOAL, {"W1": np.eye(3)}, 0.1)
    with pytest.raises(ValueError, match="small enough"):
        escape_time(GOAL, start(2), 10.0)
    with pytest.raises(ValueError, match="at least 3"):
        second_constant(1.0, 2)


@pytest.mark.slow
def test_start_without_escape():
    # Layers that meet in no common direction: the product and every partial pull vanish.
    weights = {"W1": np.zeros((4, 3)), "W2": np.zeros((4, 4)), "W3": np.ones((3, 4))}
    with pytest.raises(IntegrationError, match="has not settled on an escape ray"):
        escape_direction(GOAL, weights)
