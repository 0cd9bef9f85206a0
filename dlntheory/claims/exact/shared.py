"""What several claims on exact solutions share."""

from __future__ import annotations

import numpy as np

from ..reference import flow, rotation

DERIVED = "derived for dlntheory; setting of [saxe2014exact]"
GEOMETRY = "[menon2024geometry]; [menon2025entropy]: geometry of the deep linear network"


def scalar_layers(weights, sigma: float, end: float) -> np.ndarray:
    """Scalar layers after the flow of $\\frac12(w_L \\cdots w_1 - \\sigma)^2$."""

    def velocity(t, w):
        return [[(sigma - np.prod(w)) * np.prod(np.delete(w, l)) for l in range(len(w))]]

    return flow(velocity, [weights], end)[0]


def fibre_point(product: np.ndarray, depth: int, stretch: float = 1.0) -> list[np.ndarray]:
    """Balanced square layers with random hidden bases; `stretch` takes the first out of balance."""
    left, s, right = np.linalg.svd(product)
    root = np.diag(s ** (1 / depth))
    bases = [right.T, *(rotation(len(s), 20 + l) for l in range(depth - 1)), left]
    layers = [bases[l + 1] @ root @ bases[l].T for l in range(depth)]
    return [stretch * layers[0], *layers[1:-1], layers[-1] / stretch]
