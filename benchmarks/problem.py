r"""The small flow of the solver benchmarks: three layers of 10 x 10, loss $\frac12\|W_3W_2W_1 - S\|_F^2$."""

from __future__ import annotations

import functools

import numpy as np
from scipy.integrate import solve_ivp

WIDTH, DEPTH, END, SAVES = 10, 3, 40.0, 200
RTOL, ATOL = 1e-8, 1e-10
TIMES = np.linspace(0.0, END, SAVES)


@functools.lru_cache(maxsize=1)
def target() -> np.ndarray:
    """$S$, with independent normal entries."""
    return np.random.default_rng(0).standard_normal((WIDTH, WIDTH))


@functools.lru_cache(maxsize=1)
def start() -> np.ndarray:
    """The layers, first layer first, as one array (depth, width, width)."""
    return 0.2 * np.random.default_rng(1).standard_normal((DEPTH, WIDTH, WIDTH))


def right_side(t: float, vector: np.ndarray) -> np.ndarray:
    """The gradient flow in NumPy, written by hand."""
    w1, w2, w3 = vector.reshape(DEPTH, WIDTH, WIDTH)
    residual = w3 @ w2 @ w1 - target()
    back = w3.T @ residual
    return -np.concatenate([(w2.T @ back).ravel(), (back @ w1.T).ravel(), (residual @ (w2 @ w1).T).ravel()])


def products(vectors: np.ndarray) -> np.ndarray:
    """$z$ (time, out, inp) from the states (time, parameters)."""
    layers = vectors.reshape(-1, DEPTH, WIDTH, WIDTH)
    return layers[:, 2] @ layers[:, 1] @ layers[:, 0]


def scipy_run(method: str, rtol: float = RTOL, atol: float = ATOL) -> np.ndarray:
    """$z$ at the save times by `scipy.integrate.solve_ivp`."""
    solution = solve_ivp(right_side, (0.0, END), start().ravel(), method, TIMES, rtol=rtol, atol=atol)
    return products(solution.y.T)


@functools.lru_cache(maxsize=1)
def reference() -> np.ndarray:
    """$z$ at the save times by DOP853 at rtol 1e-13."""
    return scipy_run("DOP853", 1e-13, 1e-15)


def error(z: np.ndarray) -> float:
    """Largest Frobenius distance from the reference, relative to the largest norm of $z$."""
    gap = np.linalg.norm(z - reference(), axis=(1, 2))
    return float(np.max(gap) / np.max(np.linalg.norm(reference(), axis=(1, 2))))
