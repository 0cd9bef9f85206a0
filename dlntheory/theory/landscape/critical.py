r"""Critical points of two layers on whitened data: subsets of fitted modes, with their curvature."""

from __future__ import annotations

import dataclasses
import itertools
from typing import Any

import numpy as np

from ..._checks import integer, real_array
from ...losses import SquaredLoss
from .spectra import hessian_spectrum

#: More modes than this would list more than four thousand points.
MAX_MODES = 12


@dataclasses.dataclass(frozen=True)
class CriticalPoint:
    r"""One family of critical points of two layers: the modes in `fitted` are learned exactly, the others are 0.

    Attributes:
        fitted: indices of the fitted modes, 0 being the strongest.
        loss: $\frac12\sum_{m \notin \text{fitted}} \sigma_m^2$.
        lowest: the smallest Hessian eigenvalue at the balanced representative.
    """

    fitted: tuple[int, ...]
    loss: float
    lowest: float

    @property
    def is_strict_saddle(self) -> bool:
        """Whether some direction has negative curvature."""
        return self.lowest < 0

    @property
    def kind(self) -> str:
        """What the point is, in words."""
        return "strict saddle" if self.is_strict_saddle else "global minimum"


def critical_points(target: Any, hidden: int) -> list[CriticalPoint]:
    r"""All critical values of $\frac12\|W_2 W_1 - S\|_F^2$, one entry for each subset of at most $h$ modes.

    A point that leaves a mode $m$ while hidden units are free has lowest curvature $-\max\sigma_m$; one that uses all
    $h$ units for the wrong modes has $-\max(\sigma_m - \sigma_j)$, the gain of a swap.

    Args:
        target: $S$ (outputs, inputs), of full rank with distinct singular values.
        hidden: $h \ge 1$.

    Returns:
        Points in order of increasing loss; the first is the global minimum, all others are strict saddles.

    Raises:
        ValueError: repeated or zero singular values, where critical points form further families; more than 12 modes.

    References:
        [baldi1989neural]; [kawaguchi2016deep]; [achour2024loss].

    Example:
        >>> [(point.fitted, point.loss, point.lowest) for point in critical_points([[2.0, 0.0], [0.0, 1.0]], 1)]
        [((0,), 0.5, 0.0), ((1,), 2.0, -1.0), ((), 2.5, -2.0)]
    """
    hidden, matrix = integer(hidden, "hidden"), real_array(target, "target", ndim=2)
    outputs, inputs = matrix.shape
    sigma = np.linalg.svd(matrix, compute_uv=False)
    gaps = -np.diff(np.concatenate([sigma, [0.0]]))
    if len(sigma) > MAX_MODES:
        raise ValueError(f"Argument `target` must have at most {MAX_MODES} modes, but has {len(sigma)}.")
    if np.min(gaps) <= 1e-12 * sigma[0]:
        raise ValueError(
            "Argument `target` must have distinct singular values that are not 0, but has "
            f"{np.array2string(sigma, precision=6)}: its critical points form further families."
        )
    points = []
    for size in range(min(hidden, len(sigma)) + 1):
        for fitted in itertools.combinations(range(len(sigma)), size):
            s = np.where(np.isin(np.arange(len(sigma)), fitted), sigma, 0.0)
            missing = np.setdiff1d(np.arange(len(sigma)), fitted)
            spectrum = hessian_spectrum(s, sigma, outputs, inputs, hidden)
            lowest = float(spectrum[0])
            # Zero eigenvalues along the fibre are exact; rounding must not turn a minimum into a saddle.
            lowest = 0.0 if abs(lowest) <= 1e-12 * sigma[0] else lowest
            points.append(CriticalPoint(fitted, 0.5 * float(np.sum(sigma[missing] ** 2)), lowest))
    return sorted(points, key=lambda point: point.loss)


def reduced_rank_minimum(loss: SquaredLoss, hidden: int) -> float:
    r"""The least loss over all $z$ of rank at most $h$, for any data: where every flow of two layers ends.

    $\frac12\left(\operatorname{tr}\Sigma_{yy} - \sum_{i \le h}\lambda_i(\Sigma_{yx}\Sigma_{xx}^{-1}\Sigma_{xy})\right)$
    with the factors of the loss.

    Args:
        loss: a `SquaredLoss` on inputs of full rank.
        hidden: $h \ge 1$.

    Raises:
        ValueError: another loss, $h < 1$, or inputs without full rank.

    References:
        [baldi1989neural]. That no run ends elsewhere was proved there for full-rank data; runs only
        illustrate it.
    """
    if not isinstance(loss, SquaredLoss):
        raise ValueError(f"Argument `loss` must be a `SquaredLoss`, but is a {type(loss).__name__}.")
    hidden = integer(hidden, "hidden")
    covariance, correlation = np.asarray(loss.input_covariance), np.asarray(loss.correlation)
    values, vectors = np.linalg.eigh(covariance)
    if values[0] <= 1e-12 * values[-1]:
        raise ValueError(
            "Argument `loss` must have inputs of full rank, but the eigenvalues of their covariance go from "
            f"{values[0]:.3g} to {values[-1]:.3g}."
        )
    explained = np.linalg.svd(np.atleast_2d(correlation) @ vectors / np.sqrt(values), compute_uv=False)
    return float(loss.minimum) + 0.5 * float(np.sum(explained[hidden:] ** 2))
