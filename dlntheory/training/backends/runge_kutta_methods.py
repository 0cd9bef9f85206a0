"""Runge-Kutta methods by their names, explicit or matrix-free implicit, and how they choose their steps."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import diffrax
import jax
import jax.numpy as jnp
import lineax
import optimistix as optx


def _matrix_free() -> diffrax.AbstractSolver:
    """Kvaerno5 whose Newton steps solve by GMRES: Jacobians are only multiplied with, never formed."""
    linear = lineax.GMRES(rtol=1e-4, atol=1e-12, restart=30, stagnation_iters=60)
    return diffrax.Kvaerno5(
        root_finder=diffrax.with_stepsize_controller_tols(optx.Newton)(linear_solver=linear)
    )


SOLVERS: dict[str, Callable[[], diffrax.AbstractSolver]] = {
    "tsit5": diffrax.Tsit5,
    "dopri8": diffrax.Dopri8,
    "krylov": _matrix_free,
}


@functools.cache
def _named_solver(name: str) -> diffrax.AbstractSolver:
    return SOLVERS[name]()


def solver_of(method: Any) -> diffrax.AbstractSolver | None:
    """The solver of a name, or the diffrax solver that was given; `None` for anything else.

    Raises:
        ValueError: a solver without error estimate, which cannot choose its steps.
    """
    if isinstance(method, str):
        return _named_solver(method) if method in SOLVERS else None
    if not isinstance(method, diffrax.AbstractSolver):
        return None
    if not isinstance(method, diffrax.AbstractAdaptiveSolver):
        raise ValueError(
            f"Argument `method` must be a solver with an error estimate, which chooses its own steps, but is "
            f"{type(method).__name__}. For steps of one size use `iterate`."
        )
    return method


def _finite_norm(error: Any, is_batched: bool = False) -> Any:
    """The root mean square, of the worst member of a batch, and large where it is not finite."""
    if is_batched:
        leaves = jax.tree.leaves(error)
        squares = sum(jnp.sum(jnp.square(leaf.reshape(len(leaf), -1)), axis=1) for leaf in leaves)
        size = jnp.sqrt(jnp.max(squares) / sum(leaf[0].size for leaf in leaves))
    else:
        size = optx.rms_norm(error)
    # A non-finite error estimate would make the next step size nan, and every later step is then rejected.
    return jnp.where(jnp.isfinite(size), size, 1e10)


_member_norm = functools.partial(_finite_norm, is_batched=True)


def controller_of(solver: Any, is_batched: bool, shortest: Any, rtol: Any, atol: Any) -> Any:
    """The control of the steps of a solver, none shorter than `shortest`; the worst member of a batch decides."""
    # A proportional term keeps an implicit method, whose error estimates jump, from rejecting most of its steps.
    pcoeff, icoeff = (0.3, 0.4) if isinstance(solver, diffrax.AbstractImplicitSolver) else (0.0, 1.0)
    return diffrax.PIDController(
        rtol=rtol,
        atol=atol,
        pcoeff=pcoeff,
        icoeff=icoeff,
        norm=_member_norm if is_batched else _finite_norm,
        dtmin=shortest,
        force_dtmin=False,
    )


def clipped(controller: Any, grid: Any) -> Any:
    """A controller that makes a step end at every time of a grid padded with NaN."""
    return diffrax.ClipStepSizeController(controller, step_ts=jnp.where(jnp.isnan(grid), jnp.inf, grid))
