r"""The point of a convex hull nearest to the origin: what decides whether labelled data can be separated."""

from __future__ import annotations

import numpy as np

#: Rounds of rescaling; each improves the relative accuracy of a small distance, and two suffice.
ROUNDS = 3


def nearest_in_hull(rows: np.ndarray) -> np.ndarray:
    r"""Weights $a \ge 0$, $\sum_i a_i = 1$, that minimise $\|\sum_i a_i Z_i\|$ over the rows $Z_i$.

    Lawson and Hanson's least-distance programming: non-negative least squares on $[Z^\top; c\,1^\top]$ against the
    last unit vector, an active-set method that ends at the exact active set. The distance is the largest margin
    $\max_{\|u\|=1} \min_i \langle Z_i, u\rangle$ where it is positive; where it is zero, no $u$ separates the rows
    from the origin, and the weights prove it.

    Args:
        rows: $Z$ (n, d), finite, not all zero.

    Returns:
        The weights $a$ (n,), most of them exactly zero.

    References:
        [lawson1974solving], chapter 23.

    Example:
        >>> nearest_in_hull(np.array([[1.0, 1.0], [1.0, -3.0], [4.0, 0.0]])).tolist()
        [0.75, 0.25, 0.0]
    """
    from scipy.optimize import nnls

    z = rows / np.max(np.linalg.norm(rows, axis=1))
    target = np.zeros(z.shape[1] + 1)
    target[-1] = 1.0
    weights, level = np.full(len(z), 1.0 / len(z)), 1.0
    for _ in range(ROUNDS):
        system = np.concatenate([z.T, np.full((1, len(z)), level)])
        solution, _ = nnls(system, target, maxiter=30 * max(z.shape))
        weights = solution / np.sum(solution)
        distance = float(np.linalg.norm(weights @ z))
        # At level 1 the residual of a hull at distance 1e-6 differs from zero in its twelfth digit only.
        if distance > 0.1 * level or distance < 1e-12:
            break
        level = distance
    return weights
