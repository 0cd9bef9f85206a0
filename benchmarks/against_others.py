"""`solve` against SciPy and torchdiffeq on the same problem; errors are against DOP853 at rtol 1e-13."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np

import dlntheory as dln

from . import problem
from .harness import Row, paired

ROUNDS = 9


def rows() -> list[Row]:
    """One row for each solver and each of the two explicit methods of `solve` against SciPy's nearest one."""
    theta0 = {f"W{layer + 1}": jnp.asarray(w) for layer, w in enumerate(problem.start())}
    arch = dln.linear_network((problem.WIDTH,) * (problem.DEPTH + 1))
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(problem.target()))

    def ours(method: str = "tsit5") -> np.ndarray:
        return dln.solve(
            flow,
            theta0,
            problem.END,
            ts=problem.TIMES,
            rtol=problem.RTOL,
            atol=problem.ATOL,
            method=method,
        ).z

    def row(method: str, label: str, other: Callable[[], np.ndarray]) -> Row:
        note = f"errors {problem.error(ours(method)):.0e} and {problem.error(other()):.0e}"
        times = paired(lambda: ours(method), other, ROUNDS)
        return Row("scipy", f"solve, {method}, warm", label, note=note, **times)

    found = [
        row(method, f"SciPy {name}, NumPy by hand", lambda name=name: problem.scipy_run(name))
        for method, name in (("tsit5", "RK45"), ("dopri8", "DOP853"), ("tsit5", "LSODA"))
    ]
    missing = [name for name in ("torch", "torchdiffeq") if importlib.util.find_spec(name) is None]
    if missing:
        return [
            *found,
            Row("scipy", "solve, tsit5, warm", "torchdiffeq dopri5", note=f"{missing[0]} not installed"),
        ]
    return [*found, row("tsit5", "torchdiffeq dopri5", _torch_run)]


def _torch_run() -> np.ndarray:
    import torch  # pyright: ignore[reportMissingImports]
    from torchdiffeq import odeint  # pyright: ignore[reportMissingImports]

    target = torch.from_numpy(problem.target())

    def right_side(t, layers):
        w1, w2, w3 = layers
        residual = w3 @ w2 @ w1 - target
        back = w3.T @ residual
        return -torch.stack([w2.T @ back, back @ w1.T, residual @ (w2 @ w1).T])

    with torch.no_grad():
        layers = odeint(
            right_side,
            torch.from_numpy(problem.start()),
            torch.from_numpy(problem.TIMES),
            rtol=problem.RTOL,
            atol=problem.ATOL,
            method="dopri5",
        )
    return problem.products(layers.numpy().reshape(problem.SAVES, -1))
