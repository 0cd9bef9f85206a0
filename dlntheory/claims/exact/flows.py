"""Flows of layers for the claims on exact solutions: another library, right sides written by hand."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..base import Evidence
from ..curves import Curves


def reference_end(velocity, start, end: float, atol: float = 1e-14) -> np.ndarray:
    """The end of an eighth-order integration by another library, on a right side written by hand."""
    from scipy.integrate import solve_ivp

    run: Any = solve_ivp(velocity, (0.0, end), np.ravel(start), method="DOP853", rtol=1e-12, atol=atol)
    return run.y[:, -1]


def two_layers(first: np.ndarray, second: np.ndarray, target: np.ndarray, end: float, decay: float = 0.0):
    """Both layers after the flow of $\\frac12\\|W_2 W_1 - S\\|_F^2$ with weight decay."""
    cut = first.size

    def velocity(t, y):
        w1, w2 = y[:cut].reshape(first.shape), y[cut:].reshape(second.shape)
        g = w2 @ w1 - target
        return -np.concatenate([(w2.T @ g + decay * w1).ravel(), (g @ w1.T + decay * w2).ravel()])

    y = reference_end(velocity, np.concatenate([first.ravel(), second.ravel()]), end)
    return y[:cut].reshape(first.shape), y[cut:].reshape(second.shape)


def scalar_layers(weights, sigma: float, end: float) -> np.ndarray:
    """Scalar layers after the flow of $\\frac12(w_L \\cdots w_1 - \\sigma)^2$."""

    def velocity(t, w):
        return np.array([(sigma - np.prod(w)) * np.prod(np.delete(w, l)) for l in range(len(w))])

    return reference_end(velocity, np.asarray(weights, dtype=float), end)


def worst(errors) -> float:
    return float(np.max(np.abs(np.asarray(errors))))


def evidence(error: float, detail: str = "", curves: Curves | None = None, **numbers: Any) -> Evidence:
    return Evidence(
        predicted=numbers.get("predicted", 0.0),
        measured=numbers.get("measured", error),
        error=error,
        detail=detail,
        curves=curves,
    )
