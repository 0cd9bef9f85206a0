r"""The nearest point of a far fibre, by an augmented Lagrangian: small starts of three or more layers."""

from __future__ import annotations

import numpy as np

from .chain_inputs import product_of

MAX_ROUNDS = 30


def augmented_lagrangian(start: list[np.ndarray], goal: np.ndarray) -> tuple[list[np.ndarray], float, int]:
    r"""A minimiser of $\frac12\|\theta - \theta_0\|^2$ on the fibre of `goal`, by L-BFGS on its augmented Lagrangian.

    Minimises $\frac12\|\theta-\theta_0\|^2 + \langle\Lambda, A - A_*\rangle + \frac{\mu}{2}\|A - A_*\|_F^2$, updates
    $\Lambda \mathrel{+}= \mu (A - A_*)$ and raises $\mu$ where the residual falls too slowly. It starts from $\theta_0$
    plus the balanced factorisation of the target laid along the hidden directions of $\theta_0$ itself.

    Args:
        start: layers, first layer first.
        goal: $A_*$.

    Returns:
        The layers, the residual $\|A - A_*\|_F$, and the number of L-BFGS steps.
    """
    from scipy.optimize import minimize

    shapes = [layer.shape for layer in start]
    cuts = np.cumsum([layer.size for layer in start])[:-1]
    origin = np.concatenate([layer.ravel() for layer in start])

    def split(vector: np.ndarray) -> list[np.ndarray]:
        parts = np.split(vector, cuts)
        return [part.reshape(shape) for part, shape in zip(parts, shapes, strict=True)]

    def lagrangian(vector: np.ndarray, multiplier: np.ndarray, mu: float) -> tuple[float, np.ndarray]:
        layers = split(vector)
        below = [np.eye(shapes[0][1])]
        for layer in layers:
            below.append(layer @ below[-1])
        rest = below[-1] - goal
        sensitivity = multiplier + mu * rest
        value = 0.5 * np.sum((vector - origin) ** 2) + np.sum(multiplier * rest) + 0.5 * mu * np.sum(rest**2)
        gradients, above = [], sensitivity
        for layer, lower in zip(reversed(layers), reversed(below[:-1]), strict=True):
            gradients.append(above @ lower.T)
            above = layer.T @ above
        return float(value), vector - origin + np.concatenate([g.ravel() for g in reversed(gradients)])

    vector = np.concatenate([layer.ravel() for layer in _first_guess(start, goal)])
    multiplier, mu = np.zeros_like(goal), 10.0
    residual, steps = float(np.linalg.norm(product_of(split(vector)) - goal)), 0
    for _ in range(MAX_ROUNDS):
        answer = minimize(
            lagrangian,
            vector,
            (multiplier, mu),
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": 3000, "maxfun": 6000, "maxcor": 30, "ftol": 1e-16, "gtol": 1e-9},
        )
        vector, steps = answer.x, steps + int(answer.nit)
        rest = product_of(split(vector)) - goal
        multiplier = multiplier + mu * rest
        before, residual = residual, float(np.linalg.norm(rest))
        if residual <= 1e-9:
            break
        if residual > 0.25 * before:
            mu *= 4.0
    return split(vector), residual, steps


def _first_guess(start: list[np.ndarray], goal: np.ndarray) -> list[np.ndarray]:
    """θ_0 plus the balanced factorisation of the target along the directions in which θ_0 maps its singular vectors."""
    left, s, right = np.linalg.svd(goal, full_matrices=False)
    rank = int(np.sum(s > 1e-12 * s[0]))
    bases = [right[:rank].T]
    for layer in start[:-2]:
        bases.append(_orthonormal(layer @ bases[-1]))
    # The last hidden basis is read from above, so that W_L needs no turning either.
    bases.append(_orthonormal(start[-1].T @ left[:, :rank]))
    bases.append(left[:, :rank])
    root = s[:rank] ** (1.0 / len(start))
    return [layer + (bases[number + 1] * root) @ bases[number].T for number, layer in enumerate(start)]


def _orthonormal(columns: np.ndarray) -> np.ndarray:
    """An orthonormal basis of the columns, each turned to the side of its own column."""
    basis, triangle = np.linalg.qr(columns)
    return basis * np.where(np.diag(triangle) < 0, -1.0, 1.0)
