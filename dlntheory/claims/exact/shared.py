"""What several claims on exact solutions share."""

from __future__ import annotations

import numpy as np

DERIVED = "derived for dlntheory; setting of [saxe2014exact]"
GEOMETRY = "[menon2024geometry]; [menon2025entropy]: geometry of the deep linear network"


def reference_flow(field, start: np.ndarray, end: float) -> np.ndarray:
    from scipy.integrate import solve_ivp

    return solve_ivp(field, (0.0, end), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]


def rotations(size: int, seed: int) -> np.ndarray:
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def multiplied(layers: list[np.ndarray], size: int) -> np.ndarray:
    out = np.eye(size)
    for layer in layers:
        out = layer @ out
    return out


def fibre_point(product: np.ndarray, depth: int, stretch: float = 1.0) -> list[np.ndarray]:
    """Balanced square layers with random hidden bases; `stretch` takes the first out of balance."""
    left, s, right = np.linalg.svd(product)
    root = np.diag(s ** (1 / depth))
    bases = [right.T, *(rotations(len(s), 20 + l) for l in range(depth - 1)), left]
    layers = [bases[l + 1] @ root @ bases[l].T for l in range(depth)]
    return [stretch * layers[0], *layers[1:-1], layers[-1] / stretch]
