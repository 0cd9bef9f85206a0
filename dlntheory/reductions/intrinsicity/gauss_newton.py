r"""Float points: the kernel criterion there, and minimum-norm Gauss-Newton steps to prescribed values."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...laws import Law

RANK_TOLERANCE = 1e-8
#: Relative size from which on a change of M counts as one, and up to which it counts as none.
HOLDS, FAILS = 1e-10, 1e-4
CLEAR_GAP = (1e-11, 1e-6)
_STEPS = 60
_HALVINGS = 8
_MAX_DIRECTIONS = 48


class FloatMetric(Protocol):
    r"""$\varphi$ and laws at float points; made by interpreting φ, or by compiling it where it is not rational."""

    @property
    def arch(self) -> Architecture:
        """The architecture."""
        ...

    def values(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        r"""$\varphi$ (outputs,), $h$ (entries,), $\partial\varphi$ (outputs, D) and $\partial h$ (entries, D)."""
        ...

    def tangent(self, vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
        r"""The derivative of $\partial\varphi$ along one direction, (outputs, D)."""
        ...


@dataclasses.dataclass(frozen=True)
class CompiledMetric:
    """$\\varphi$ and laws as functions of one flat float64 vector, with their derivatives, compiled once.

    Equal by content, so that equal networks and laws share their programs.

    Attributes:
        arch: the architecture.
        laws: `Law`s, or functions of the dict of factors.
    """

    arch: Architecture
    laws: tuple[Callable[[dict[str, Any]], Any], ...]

    def values(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        r"""$\varphi$ (outputs,), $h$ (entries,), $\partial\varphi$ (outputs, D) and $\partial h$ (entries, D)."""
        return tuple(np.asarray(part) for part in _values(self, jnp.asarray(vector)))

    def tangent(self, vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
        r"""The derivative of $\partial\varphi$ along one direction, (outputs, D)."""
        return np.asarray(_tangent(self, jnp.asarray(vector), jnp.asarray(direction)))


def law_values(laws: tuple[Callable[[dict[str, Any]], Any], ...], params: dict[str, Any]) -> jax.Array:
    """The independent entries of all laws as one vector. Pure."""
    parts = [
        jnp.ravel(law(params))[law.positions] if isinstance(law, Law) else jnp.ravel(law(params))
        for law in laws
    ]
    return jnp.concatenate([*parts, jnp.zeros(0)])


def both_values(arch: Architecture, laws: tuple[Callable[[dict[str, Any]], Any], ...], vector: jax.Array):
    r"""$(\varphi, h)$ of a flat vector, both flat. Pure."""
    params = arch.unravel(vector)
    return jnp.ravel(arch(params)), law_values(laws, params)


@eqx.filter_jit
def _values(metric: CompiledMetric, vector: jax.Array):
    def maps(x):
        return both_values(metric.arch, metric.laws, x)

    return (*maps(vector), *jax.jacfwd(maps)(vector))


@eqx.filter_jit
def _tangent(metric: CompiledMetric, vector: jax.Array, direction: jax.Array):
    def jacobian(x):
        return jax.jacfwd(lambda y: both_values(metric.arch, (), y)[0])(x)

    return jax.jvp(jacobian, (vector,), (direction,))[1]


@dataclasses.dataclass(frozen=True)
class FloatKernel:
    r"""The kernel criterion at one float point.

    Attributes:
        fibre: dimension of $\ker\partial\varphi \cap \ker\partial h$ at the relative threshold 1e-8.
        ratio: largest $|\theta| |\partial M\,v| / (\sqrt{D}\,|M|)$ over unit vectors v of an orthonormal basis of it.
        is_clear: whether no singular value lies so near the threshold that the dimension is in doubt.
    """

    fibre: int
    ratio: float
    is_clear: bool


def float_kernel(metric: FloatMetric, vector: np.ndarray, rng: np.random.Generator) -> FloatKernel:
    """The kernel criterion at a point (D,); of a fibre of more than 48 dimensions a random sample."""
    _, _, jacobian, gradients = metric.values(vector)
    blocks = [block / size for block in (jacobian, gradients) if block.size and (size := _norm(block))]
    if not blocks or not (size := _norm(jacobian @ jacobian.T)):
        # A critical point of every loss: M = 0 there, and says nothing about its neighbours.
        return FloatKernel(len(vector), float("nan"), False)
    singular, basis = np.linalg.svd(np.concatenate(blocks))[1:]
    relative = singular / singular[0]
    rank = int(np.sum(relative > RANK_TOLERANCE))
    directions = basis[rank:]
    if len(directions) > _MAX_DIRECTIONS:
        mixing = np.linalg.qr(rng.standard_normal((len(directions), _MAX_DIRECTIONS)))[0]
        directions = mixing.T @ directions
    ratio, scale = 0.0, _norm(vector) / np.sqrt(len(vector)) / size
    for direction in directions:
        half = metric.tangent(vector, direction) @ jacobian.T
        ratio = max(ratio, float(scale * _norm(half + half.T)))
    low, high = CLEAR_GAP
    return FloatKernel(len(basis) - rank, ratio, not bool(np.any((relative > low) & (relative < high))))


def gauss_newton(
    equations: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]],
    start: np.ndarray,
    *,
    tolerance: float = 1e-13,
    steps: int = _STEPS,
    deadline: float | None = None,
) -> tuple[np.ndarray, float]:
    """Minimum-norm Gauss-Newton steps, halved while they do not help.

    Args:
        equations: maps a vector to the residual and its Jacobian; residuals of order one at the start.
        start: (D,).
        tolerance: the Euclidean norm of the residual at which to stop, after one step more.
        steps: the largest number of steps.
        deadline: on the clock of `time.perf_counter`, after which no further step is made.

    Returns:
        The last vector and the norm of its residual.
    """
    vector = np.asarray(start, dtype=np.float64)
    residual, jacobian = equations(vector)
    size = _norm(residual)
    for _ in range(steps):
        is_last = size <= tolerance
        step = np.linalg.lstsq(jacobian, -residual, rcond=1e-9)[0]
        for halving in range(_HALVINGS):
            trial = vector + step * 0.5**halving
            # Far away φ may overflow; such a trial is no progress.
            with np.errstate(all="ignore"):
                new_residual, new_jacobian = equations(trial)
                new_size = _norm(new_residual)
            if new_size < size and np.all(np.isfinite(new_jacobian)):
                vector, residual, jacobian, size = trial, new_residual, new_jacobian, new_size
                break
        else:
            break
        if is_last or is_late(deadline):
            break
    return vector, size


def is_late(deadline: float | None) -> bool:
    """Whether a deadline on the clock of `time.perf_counter` has passed."""
    return deadline is not None and time.perf_counter() > deadline


def _norm(array: np.ndarray) -> float:
    return float(np.linalg.norm(array))
