"""The exponent of the closest approach against the slopes of two modes, and against the flow of the layers."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlntheory.theory.saddles import approach_exponent, closest_approach_of_modes


@pytest.mark.parametrize("ratio", [0.1, 1 / 3, 0.6])
def test_slopes_tend_to_the_exponent(ratio):
    scales = 10.0 ** -np.arange(2, 13)
    distances = closest_approach_of_modes(3.0, 3.0 * ratio, scales)
    slopes = np.diff(np.log10(distances)) / np.diff(np.log10(scales))
    exponent = approach_exponent(2, 1.0, ratio)
    assert abs(slopes[-1] - exponent) < 1e-3
    assert np.all(np.abs(slopes[1:] - exponent) <= np.abs(slopes[:-1] - exponent) + 1e-9)


def test_distance_is_that_of_the_modes():
    epsilon = 1e-3

    def modes(t, s):
        return 2 * s * (np.array([3.0, 1.0]) - s)

    times = np.linspace(0, 8, 200_001)
    run = solve_ivp(modes, (0, 8), [epsilon**2] * 2, t_eval=times, method="DOP853", rtol=1e-11, atol=1e-20)
    least = np.min(np.hypot(run.y[0] - 3.0, run.y[1]))
    assert abs(closest_approach_of_modes(3.0, 1.0, epsilon) / least - 1) < 1e-7


@pytest.mark.slow
def test_layers_from_a_balanced_start_that_is_not_aligned():
    # A rotation, so that the determinant has the sign of the target's: otherwise the second mode is never learned.
    target = np.diag([3.0, 1.0])
    root = np.array([[np.cos(0.8), -np.sin(0.8)], [np.sin(0.8), np.cos(0.8)]])
    distances = []
    for epsilon in (1e-3, 1e-4, 1e-5):
        first, second = epsilon * np.eye(2), epsilon * root

        def field(t, x):
            w1, w2 = x[:4].reshape(2, 2), x[4:].reshape(2, 2)
            g = w2 @ w1 - target
            return -np.concatenate([(w2.T @ g).ravel(), (g @ w1.T).ravel()])

        start = np.concatenate([first.ravel(), second.ravel()])
        end = 1.5 * -np.log(epsilon)
        run = solve_ivp(
            field,
            (0, end),
            start,
            t_eval=np.linspace(0, end, 20_001),
            method="DOP853",
            rtol=1e-10,
            atol=1e-14,
        )
        w1, w2 = run.y[:4].T.reshape(-1, 2, 2), run.y[4:].T.reshape(-1, 2, 2)
        distances.append(np.min(np.linalg.norm(w2 @ w1 - np.diag([3.0, 0.0]), axis=(1, 2))))
    slopes = -np.diff(np.log10(distances))
    assert np.all(np.abs(slopes - 1) < 0.05)


def test_refusals():
    with pytest.raises(ValueError, match="`sigma2` must be a finite positive number below 1.0"):
        closest_approach_of_modes(1.0, 1.0, [1e-3])
    with pytest.raises(ValueError, match="`scales` must be above 1e-75"):
        closest_approach_of_modes(3.0, 1.0, [0.0])
