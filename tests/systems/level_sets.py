"""Points of two layers on prescribed level sets, in NumPy."""

import numpy as np


def relaxed_pair(n, m, r, lam, seed=0):
    """(U, V) of shapes (n, r) and (m, r) with U^T U - V^T V = lam I, for r at most min(n, m)."""
    rng = np.random.default_rng(seed)
    left, right, hidden = (np.linalg.qr(rng.standard_normal((size, size)))[0] for size in (n, m, r))
    free = rng.uniform(0.5, 1.5, size=r)
    u = (left[:, :r] * np.sqrt(free + max(lam, 0.0))) @ hidden.T
    v = (right[:, :r] * np.sqrt(free + max(-lam, 0.0))) @ hidden.T
    assert np.allclose(u.T @ u - v.T @ v, lam * np.eye(r), atol=1e-14)
    return u, v


def random_start(shapes, seed=0):
    """Standard normal factors."""
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in shapes.items()}
