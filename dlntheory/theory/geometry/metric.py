r"""The metric that balanced weights induce on products, $g = A_N^{-1}$."""

from __future__ import annotations

from typing import Any

import numpy as np

from .entropy import checked_values, log_m


def metric_operator(product: Any, depth: int) -> np.ndarray:
    r"""$A_N(W)$ as a matrix over the raveled $W$: gradient flow of balanced weights is $\dot W = -A_N \nabla f$.

    $A_N G = \sum_j (WW^\top)^{(N-j)/N} G\, (W^\top W)^{(j-1)/N}$; the metric is its inverse. Balanced weights with the
    metric $\sum_l \|dW_l\|^2$ submerge onto it: lengths of horizontal directions are kept.

    Args:
        product: $W$ (d, d), invertible.
        depth: $N \ge 1$.

    Returns:
        (d², d²), symmetric positive definite.

    Raises:
        ValueError: not square, not finite or singular.

    References:
        [bah2022learning]; [menon2025entropy].
    """
    s, depth = checked_values(product, depth)
    left, _, right = np.linalg.svd(np.asarray(product, dtype=np.float64))
    basis = np.kron(left, right.T)  # columns u_k v_l^T, raveled
    return (basis * np.exp(log_m(s, depth)).ravel()) @ basis.T


def log_metric_density(product: Any, depth: int) -> float:
    r"""$\log\sqrt{\det g} = -\frac12\sum_{k,l}\log m_N(s_k^2, s_l^2)$, all ordered pairs.

    It is $d\mathrm{vol}_g$ against $dW$.

    Raises:
        ValueError: not square, not finite or singular.

    Example:
        >>> print(f"{log_metric_density([[2.0]], 2):.6f}")
        -0.693147
    """
    s, depth = checked_values(product, depth)
    return -0.5 * float(np.sum(log_m(s, depth)))
