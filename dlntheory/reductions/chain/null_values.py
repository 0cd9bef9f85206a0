r"""What widths and λ fix in a relaxed balanced chain: the offsets, and $P_l$, $Q_l$ on the null spaces of $z$.

On the null space of $z^\top$ the matrix $P_l = (W_L \cdots W_{l+1})(\cdot)^\top$ is not a function of $z$ unless it is
a multiple of the identity there; likewise $Q_l = (W_{l-1} \cdots W_1)^\top(\cdot)$ on the null space of $z$.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence

import numpy as np

from ...initial.index_chains import forced_squares, offsets

#: Null values that agree with those at sigma = 0 up to this relative difference are taken to be the same.
SAME = 1e-12


@dataclasses.dataclass(frozen=True)
class NullValues:
    r"""Offsets and null values of a chain with given widths and λ.

    Attributes:
        offsets: $c_l$ with minimum 0, (L,).
        left: eigenvalue of $P_l$ on the null space of $z^\top$, (L,); their mean where they differ.
        right: eigenvalue of $Q_l$ on the null space of $z$, (L,).
        multiplicity: how many offsets are 0; the rank of $z$ may change along a trajectory only if it is 1.
        is_stratum: whether the null values differ from the values at $\sigma = 0$: then the equation holds at full
            rank (the smallest width) only, and has no continuous extension to lower ranks.
    """

    offsets: np.ndarray
    left: np.ndarray
    right: np.ndarray
    multiplicity: int
    is_stratum: bool


def null_values(widths: Sequence[int], lam: np.ndarray, tolerance: float | None = None) -> NullValues:
    """The null values of a chain with widths $(d_0, …, d_L)$ and $λ_1, …, λ_{L-1}$.

    Args:
        widths: input to output.
        lam: (L - 1,).
        tolerance: sums of λ closer to zero than this count as zero; by default their rounding.

    Raises:
        InfeasibleError: no chain of these widths has these λ.
    """
    if tolerance is None:
        tolerance = 64 * np.finfo(float).eps * float(np.sum(np.abs(lam)))
    forced = forced_squares(widths, lam, tolerance)
    c = offsets(lam)
    c = np.where(c <= tolerance, 0.0, c)
    k = min(widths)
    at_zero_left, at_zero_right = _upper(c[:, None])[:, 0], _lower(c[:, None])[:, 0]
    left = _mean_beyond(_upper(forced[:, k : widths[-1]]), at_zero_left)
    right = _mean_beyond(_lower(forced[:, k : widths[0]]), at_zero_right)
    # The values at sigma = 0 are limits only of directions that exist beside the null space.
    is_stratum = bool(np.any(left != at_zero_left) or np.any(right != at_zero_right))
    return NullValues(c, left, right, int(np.sum(c == 0)), is_stratum)


def merged_offsets(lam: np.ndarray, tolerance: float) -> np.ndarray:
    """The offsets of measured λ, with those closer than a tolerance set to the smallest of them.

    Widths can force sums of λ to vanish, and the multiplicity of the smallest offset decides whether the rank of $z$
    is conserved: rounding must not decide either.
    """
    c = offsets(lam)
    merged = c.copy()
    for before, here in itertools.pairwise(np.argsort(c)):
        if c[here] - merged[before] <= tolerance:
            merged[here] = merged[before]
    return merged


def null_spread(matrices: Sequence[np.ndarray], rank: int) -> float:
    """How far the $P_l$ and $Q_l$ of actual weights are from multiples of the identity on the null spaces of $z$.

    Args:
        matrices: $W_1, …, W_L$.
        rank: of $z$.

    Returns:
        The largest spectral norm of a deviation, relative to that of its $P_l$ or $Q_l$; 0 is a function of $z$.
    """
    z = _product(matrices, matrices[0].shape[1])
    u, _, vt = np.linalg.svd(z)
    worst = 0.0
    for l in range(1, len(matrices) + 1):
        above = _product(matrices[l:], matrices[l - 1].shape[0])
        below = _product(matrices[: l - 1], matrices[0].shape[1])
        for gram, null in ((above @ above.T, u[:, rank:]), (below.T @ below, vt[rank:].T)):
            if null.shape[1] == 0:
                continue
            block = null.T @ gram @ null
            deviation = block - np.trace(block) / len(block) * np.eye(len(block))
            size = np.linalg.norm(gram, 2)
            worst = max(worst, float(np.linalg.norm(deviation, 2) / size) if size else 0.0)
    return worst


def product_rank(matrices: Sequence[np.ndarray]) -> int:
    """The rank of $W_L \\cdots W_1$ above the rounding of the product, which its own largest value may be below."""
    scale = float(np.prod([np.linalg.norm(w, 2) for w in matrices]))
    singular = np.linalg.svd(_product(matrices, matrices[0].shape[1]), compute_uv=False)
    largest = max(max(w.shape) for w in matrices)
    return int(np.sum(singular > 10 * largest * np.finfo(float).eps * scale))


def _product(matrices: Sequence[np.ndarray], size: int) -> np.ndarray:
    product = np.eye(size)
    for matrix in matrices:
        product = matrix @ product
    return product


def _upper(squares: np.ndarray) -> np.ndarray:
    return np.stack([np.prod(squares[l:], axis=0) for l in range(1, len(squares) + 1)])


def _lower(squares: np.ndarray) -> np.ndarray:
    return np.stack([np.prod(squares[:l], axis=0) for l in range(len(squares))])


def _mean_beyond(values: np.ndarray, at_zero: np.ndarray) -> np.ndarray:
    """The null values of one side; the values at 0 where there are none, or where they agree with those."""
    if values.shape[1] == 0:
        return at_zero
    mean = np.mean(values, axis=1)
    same = np.abs(mean - at_zero) <= SAME * np.maximum(np.abs(mean), np.abs(at_zero))
    return np.where(same, at_zero, mean)
