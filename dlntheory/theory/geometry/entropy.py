r"""Fibre of balanced weights over one product: its volume, and the entropy that comes of it.

Square products $W$ of full rank with singular values $s_k$, depth $N$, layers of the same size. Everything rests on
$m_N(x, y) = \sum_{j=1}^N x^{(N-j)/N} y^{(j-1)/N} = (x - y)/(x^{1/N} - y^{1/N})$, always taken as the sum.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from scipy.special import gammaln, logsumexp

from ..._checks import integer, real_array


def log_orthogonal_volume(size: int) -> float:
    r"""$\log\operatorname{vol} O(d)$ in the metric $\|A\|_F^2$, both components.

    Args:
        size: $d \ge 1$.

    Example:
        >>> import math
        >>> math.exp(log_orthogonal_volume(2)) / (2 * math.pi * math.sqrt(2))
        2.0
    """
    size = integer(size, "size")
    # O(d) fibres over spheres; a unit rotation of a plane has length sqrt(2) in this metric.
    spheres = [math.log(2.0) + k / 2 * math.log(math.pi) - gammaln(k / 2) for k in range(1, size + 1)]
    return float(sum(spheres)) + size * (size - 1) / 4 * math.log(2.0)


def log_fibre_volume(product: Any, depth: int) -> float:
    r"""Log volume of all balanced weights $(W_1, …, W_N)$ with a given product, in the metric $\sum_l \|dW_l\|_F^2$.

    The fibre is an orbit of the hidden rotations $O(d)^{N-1}$, and
    $$\operatorname{vol} = \operatorname{vol}(O(d))^{N-1} \prod_{k<l} \sqrt{m_N(s_k^2, s_l^2)} .$$

    Args:
        product: $W$ (d, d), invertible.
        depth: $N \ge 1$; with 1 the fibre is one point, of volume 1.

    Raises:
        ValueError: not square, not finite or singular.

    References:
        [menon2024geometry]; [menon2025entropy] (geometry of the deep linear network).

    Example:
        >>> import math
        >>> round(math.exp(log_fibre_volume([[1.0, 0.0], [0.0, 1.0]], 2)) / (4 * math.pi), 12)
        2.0
    """
    s, depth = checked_values(product, depth)
    return (depth - 1) * log_orthogonal_volume(len(s)) + _half_sum(s, depth)


def entropy(product: Any, depth: int) -> float:
    r"""$S_N(W) = \frac12 \sum_{k<l} \log m_N(s_k^2, s_l^2)$, the log fibre volume without its constant.

    It increases in every singular value: entropy alone favours large products. Against which measure a density is
    taken decides what noise favours, see `equilibrium_measures`.

    Raises:
        ValueError: not square, not finite or singular.
    """
    return _half_sum(*checked_values(product, depth))


def entropy_gradient(product: Any, depth: int) -> np.ndarray:
    r"""$\nabla S_N(W) = U\,\mathrm{diag}(\partial S_N/\partial s_k)\,V^\top$, smooth at equal singular values too.

    Raises:
        ValueError: not square, not finite or singular.
    """
    s, depth = checked_values(product, depth)
    left, _, right = np.linalg.svd(np.asarray(product, dtype=np.float64))
    x, y, first = _logs(s, depth)
    weights = np.exp(x + y - logsumexp(x + y, axis=0))
    slopes = np.sum(weights * first[:, None, None], axis=0) / s[:, None]
    np.fill_diagonal(slopes, 0.0)
    return (left * (0.5 * np.sum(slopes, axis=1))) @ right


def log_m(s: np.ndarray, depth: int) -> np.ndarray:
    r"""$\log m_N(s_k^2, s_l^2)$ for all pairs, (..., d, d) from (..., d): no overflow, no quotient."""
    x, y, _ = _logs(s, depth)
    return np.asarray(logsumexp(x + y, axis=0))


def checked_values(product: Any, depth: int) -> tuple[np.ndarray, int]:
    """Singular values and depth, or an error."""
    depth = integer(depth, "depth")
    matrix = real_array(product, "product", ndim=2)
    if matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"Argument `product` must be a square matrix, but has shape {matrix.shape}.")
    s = np.linalg.svd(matrix, compute_uv=False)
    if s[-1] <= 1e-14 * s[0]:
        raise ValueError(
            "Argument `product` must be invertible (the fibre over a singular product has another dimension), but its "
            f"singular values go from {s[0]:.3g} to {s[-1]:.3g}."
        )
    return s, depth


def _half_sum(s: np.ndarray, depth: int) -> float:
    return 0.5 * float(np.sum(np.triu(log_m(s, depth), 1)))


def _logs(s: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    r"""Logs of the two factors of each term, (N, ..., d, 1) and (N, ..., 1, d), and the exponents of the first."""
    with np.errstate(divide="ignore", invalid="ignore"):
        logs = np.log(s)
        j = np.arange(1, depth + 1)
        first, second = 2.0 * (depth - j) / depth, 2.0 * (j - 1) / depth
        shape = (depth,) + (1,) * s.ndim
        # 0^0 = 1 where an exponent is 0.
        x = np.where(first.reshape(shape) > 0, first.reshape(shape) * logs, 0.0)
        y = np.where(second.reshape(shape) > 0, second.reshape(shape) * logs, 0.0)
    return x[..., :, None], y[..., None, :], first
