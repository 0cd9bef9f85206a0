r"""Starts on the stable manifold of a saddle: in exact arithmetic the flow ends there, and rounding lifts it off.

Two facts, each an invariant of the flow that cannot change sign or rank in finite time:

- Two layers and whitened data: with $Q = (W_2; W_1^\top)$ and $P_+$ the leading eigenvectors $(u_i; v_i)/\sqrt 2$ of
  the symmetric matrix made of the target, $P_+^\top Q$ solves a linear equation along the flow, so that its rank stays.
  Where it is below that of the best fit, the flow does not reach the best fit.
- Any depth, a balanced start, a square $z$: $z(t)$ keeps its rank, hence the sign of its determinant.
"""

from __future__ import annotations

import functools
import itertools
from typing import Any

import numpy as np

from .._errors import SaddleWarning, warn_caller
from ..losses import SquaredLoss
from .base import AbstractFlow
from .batches import Start
from .rules.gradient_flow import GradientFlow

#: Larger targets are not looked at: a decomposition would cost more than the run.
MAX_ENTRIES = 10_000
#: Relative size below which a number is zero up to rounding.
TOLERANCE = 1e-14


def warn_of_saddle(flow: AbstractFlow, start: Start) -> None:
    """Warn if rounding errors decide where the flow from a start ends. Not jit-compatible."""
    reason = saddle_reason(flow, start)
    if reason is not None:
        warn_caller(
            f"Rounding errors decide where this run ends: {reason}. In exact arithmetic the flow ends at a saddle; in "
            "floating point it leaves it after a time that depends on the machine. Change the start a little, "
            "or its sign; "
            "`dlntheory verify --only determinant-trap` shows the theorem; `check=False` leaves this warning out.",
            SaddleWarning,
        )


def saddle_reason(flow: AbstractFlow, start: Start) -> str | None:
    """Why the flow from a start ends at a saddle in exact arithmetic, in words; `None` if that is not known."""
    arch = flow.architecture
    if not isinstance(flow, GradientFlow) or not isinstance(flow.training.loss, SquaredLoss):
        return None
    if arch.chain is None or len(arch.chain) < 2 or np.prod(arch.output_shape) > MAX_ENTRIES:
        return None
    loss, has_decay = flow.training.loss, flow.training.is_decaying
    if loss.offset.shape != arch.output_shape or has_decay or flow.training.rates:
        return None
    factors = [np.asarray(start.state[name]) for name in arch.chain]
    starts = zip(*factors, strict=True) if start.is_batched else [tuple(factors)]
    minimiser: np.ndarray | None = None
    for layers in starts:
        if len(layers) == 2 and loss.whitened:
            reason = _lost_rank(layers, np.asarray(loss.offset))
        elif _is_square_and_balanced(layers):
            minimiser = np.asarray(loss.minimiser()) if minimiser is None else minimiser
            reason = _wrong_determinant(layers, minimiser)
        else:
            return None
        if reason is not None:
            return reason
    return None


@functools.lru_cache(maxsize=16)
def _decomposed(content: bytes, shape: tuple[int, ...]) -> tuple[np.ndarray, ...]:
    """The singular value decomposition of a target, kept: this runs at every call of `solve`."""
    return tuple(np.linalg.svd(np.frombuffer(content).reshape(shape), full_matrices=False))


def _lost_rank(layers: Any, target: np.ndarray) -> str | None:
    first, second = layers
    left, singular, right = _decomposed(target.tobytes(), target.shape)
    rank = min(len(first), int(np.sum(singular > TOLERANCE * singular[0]))) if singular[0] > 0 else 0
    size = max(np.linalg.norm(first), np.linalg.norm(second))
    if rank == 0 or size == 0:
        return None if rank == 0 else "all weights are zero"
    overlap = left[:, :rank].T @ second + right[:rank] @ first.T
    found = np.linalg.svd(overlap, compute_uv=False)
    missing = int(np.sum(found <= TOLERANCE * size))
    if not missing:
        return None
    return (
        f"the start has no component along {missing} of the {rank} leading directions of the target (the matrix "
        f"U^T W2 + V^T W1^T of rank {rank - missing}, which the flow keeps)"
    )


def _is_square_and_balanced(layers: Any) -> bool:
    if layers[-1].shape[0] != layers[0].shape[1]:
        return False
    size = max(float(np.max(np.abs(layer))) for layer in layers)
    pairs = itertools.pairwise(layers)
    gaps = [np.max(np.abs(after.T @ after - before @ before.T)) for before, after in pairs]
    return size > 0 and max(gaps) <= 1e2 * TOLERANCE * size**2


def _wrong_determinant(layers: Any, minimiser: np.ndarray) -> str | None:
    product = layers[0]
    for layer in layers[1:]:
        product = layer @ product
    # Relative to the size, or a small start has determinant zero.
    found, wanted = (_determinant(matrix) for matrix in (product, minimiser))
    if not (np.isfinite(found) and np.isfinite(wanted)) or found * wanted > 0 or 0 in (found, wanted):
        return None
    return (
        f"the start is balanced and det z(0) has the sign {found:+g} while the best fit has {wanted:+g}, and a "
        "flow from a "
        "balanced start keeps the sign"
    )


def _determinant(matrix: np.ndarray) -> float:
    """The sign of a determinant, 0 where it is zero up to rounding."""
    singular = np.linalg.svd(matrix, compute_uv=False)
    if not singular[-1] > 1e1 * TOLERANCE * singular[0]:
        return 0.0
    return float(np.linalg.slogdet(matrix)[0])
