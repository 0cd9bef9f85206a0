r"""What alignment theory measures along a run, each quantity computed without cancellation."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ...display.text import one_line
from .problem import SeparableProblem


@dataclasses.dataclass(frozen=True, eq=False)
class AlignmentObservables:
    r"""Norms, alignment of layers, margins and directions at each time; $\sigma_j$ are singular values of $W_k$.

    Attributes:
        norms: $\|W_k\|_F$ (time, L).
        top: $s_k = \sigma_1(W_k)$ (time, L).
        gap: $\|W_k\|_F^2 - s_k^2 = \sum_{j\ge2}\sigma_j^2$ (time, L), summed from the small singular values.
        rank_one_residual: $\|W_k/\|W_k\|_F - u_k v_k^\top\|_F$ (time, L).
        misalignment: $1 - |\langle v_{k+1}, u_k\rangle|$ (time, L-1), as half a squared distance.
        predictor_deficit: $1 - |\langle w, v_1\rangle| / \prod_k \|W_k\|_F$ (time,).
        predictor_norm: $\|w\|$ (time,).
        margin_gap: $\gamma - \min_i z_i/\|w\|$ (time,), never negative in exact arithmetic.
        direction_error: $1 - \cos(w, \bar u)$ (time,), as half a squared distance.
        first_layer_error: $1 - |\cos(v_1, \bar u)|$ (time,), likewise.
        spectra: $\sigma_j/\|W_k\|_F$, one array (time, min(d_k, d_{k-1})) for each layer.
        first_directions: $v_1$ (time, d), with the sign of $\langle v_1, \bar u\rangle$.
    """

    norms: np.ndarray
    top: np.ndarray
    gap: np.ndarray
    rank_one_residual: np.ndarray
    misalignment: np.ndarray
    predictor_deficit: np.ndarray
    predictor_norm: np.ndarray
    margin_gap: np.ndarray
    direction_error: np.ndarray
    first_layer_error: np.ndarray
    spectra: tuple[np.ndarray, ...]
    first_directions: np.ndarray

    def __repr__(self) -> str:
        return one_line(self)


def observe(problem: SeparableProblem, weights: Sequence[np.ndarray]) -> AlignmentObservables:
    r"""All observables of layers $W_1, …, W_L$, each (time, d_k, d_{k-1}); in NumPy, not jit-compatible.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> problem = SeparableProblem([[0.5, 0.5], [0.5, -1.0]], [1, 1])
        >>> along = np.array([[[3.0, 0.0]], [[3.0, 4.0]]])  # two times, one layer
        >>> seen = observe(problem, [along])
        >>> seen.norms.ravel().tolist(), seen.gap.ravel().tolist(), seen.misalignment.shape
        ([3.0, 5.0], [0.0, 0.0], (2, 0))
    """
    left, singular, right = [], [], []
    for layer in weights:
        u, sigma, vt = np.linalg.svd(layer, full_matrices=False)
        left.append(u[:, :, 0])
        singular.append(sigma)
        right.append(vt[:, 0, :])
    top = np.stack([sigma[:, 0] for sigma in singular], axis=1)
    gap = np.stack([np.sum(sigma[:, 1:] ** 2, axis=1) for sigma in singular], axis=1)
    norms = np.sqrt(top**2 + gap)
    # A layer or a predictor that is zero (at the start only) has no direction: its cosines are counted as zero.
    sizes = np.where(norms > 0, norms, 1.0)
    # 1 - s/|W| = gap / (|W| (|W| + s)), without the difference.
    residual = np.where(norms > 0, np.sqrt(2.0 * gap / (sizes * (sizes + top))), np.sqrt(2.0))
    misalignment = np.zeros((len(top), len(weights) - 1))
    for k in range(len(weights) - 1):
        misalignment[:, k] = angle_deficit(right[k + 1], left[k])

    predictor = weights[-1]
    for layer in reversed(weights[:-1]):
        predictor = predictor @ layer
    predictor = predictor[:, 0, :]
    size = np.linalg.norm(predictor, axis=1)
    unit = predictor / np.where(size > 0, size, 1.0)[:, None]
    margin = problem.margin
    excess = problem.signed_inputs @ margin.direction - margin.margin
    moved = (unit - margin.direction[None, :]) @ problem.signed_inputs.T
    first = right[0] * np.where(right[0] @ margin.direction < 0, -1.0, 1.0)[:, None]
    return AlignmentObservables(
        norms=norms,
        top=top,
        gap=gap,
        rank_one_residual=residual,
        misalignment=misalignment,
        predictor_deficit=1.0
        - np.abs(np.sum(predictor * right[0], axis=1)) / np.exp(np.sum(np.log(sizes), axis=1)),
        predictor_norm=size,
        margin_gap=-np.min(excess[None, :] + moved, axis=1),
        direction_error=0.5 * np.sum((unit - margin.direction[None, :]) ** 2, axis=1),
        first_layer_error=angle_deficit(first, np.broadcast_to(margin.direction, first.shape)),
        spectra=tuple(sigma / sizes[:, k : k + 1] for k, sigma in enumerate(singular)),
        first_directions=first,
    )


def angle_deficit(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    r"""$1 - |\langle a, b\rangle|$ of unit vectors (time, d), as $\frac12\|a \mp b\|^2$ the smaller one."""
    sign = np.where(np.sum(first * second, axis=1) < 0, -1.0, 1.0)
    return 0.5 * np.sum((first - sign[:, None] * second) ** 2, axis=1)
