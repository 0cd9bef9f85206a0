"""Runs by SciPy for the claims: only the velocity is compiled, and no solver is shared with `solve`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import numpy as np
from jax.flatten_util import ravel_pytree


@eqx.filter_jit
def _velocity(dynamics, like, vector):
    _, unravel = ravel_pytree(like)
    return ravel_pytree(dynamics.velocity(0.0, unravel(vector)))[0]


def scipy_run(dynamics, theta0, end: float) -> np.ndarray:
    """z at eight times by SciPy's DOP853: only the velocity is compiled, and no solver is shared with `solve`."""
    like = dynamics.initial(dynamics.architecture.check(theta0))
    start, unravel = ravel_pytree(like)
    points = integrated(lambda t, y: np.asarray(_velocity(dynamics, like, y)), np.asarray(start), end)
    return np.stack([np.asarray(dynamics.output(unravel(point))) for point in points])


def integrated(field: Callable[..., Any], start: np.ndarray, end: float) -> np.ndarray:
    """The solution at eight times, one a row."""
    from scipy.integrate import solve_ivp

    times = scipy_times(end)
    return solve_ivp(field, (0.0, end), start, method="DOP853", t_eval=times, rtol=1e-11, atol=1e-13).y.T


def scipy_times(end: float) -> np.ndarray:
    """The eight times of these runs."""
    return np.linspace(0.0, end, 8)
