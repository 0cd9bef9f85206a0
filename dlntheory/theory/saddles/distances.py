r"""How far a start is from the nearest minimum and from the nearest saddle."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..._errors import ConditionError
from ...display.displayed import Displayed
from ...display.progress import waiting
from ...display.text import one_line
from ...losses.base import checked_array
from .chain_inputs import as_params, check_reachable, layers_of, product_of
from .far_minimum import augmented_lagrangian

#: The residual $\|A - A_*\|_F$, relative to $\max(1, \|A_*\|_F)$, at which a point counts as on the fibre.
RESIDUAL = 1e-11
MAX_ITERATIONS = 300
#: Steps after which a projection that is still far off is given up.
PATIENCE = 40
LARGEST_STEP = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class Projection:
    r"""A critical point of the distance from $\theta_0$ to the fibre $\{\theta : W_L \cdots W_1 = A_*\}$.

    Attributes:
        distance: $\|\theta - \theta_0\|$.
        weights: $\theta$, by name.
        residual: $\|W_L \cdots W_1 - A_*\|_F$.
        iterations: how many steps it took.
        method: `"Newton"` or `"augmented Lagrangian"`.
    """

    distance: float
    weights: dict[str, np.ndarray]
    residual: float
    iterations: int
    method: str

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True)
class Distances(Displayed):
    """Distances from one start, as `distances` computes them.

    Attributes:
        minimum: to the nearest minimum found, $d_m$.
        saddle: to the nearest saddle found, an upper bound of $d_s$.
        saddle_lower: a rigorous lower bound of $d_s$ for two layers, else `None`.
        pairs_off: how many singular pairs of the target that saddle has switched off.
        method: how the minimum was found.
    """

    minimum: float
    saddle: float
    saddle_lower: float | None
    pairs_off: int
    method: str

    def __repr__(self) -> str:
        return f"Distances(minimum {self.minimum:.6g}, saddle at most {self.saddle:.6g})"

    def _title(self) -> str:
        return "distances to the critical set"

    def _facts(self) -> dict[str, Any]:
        off = f"{self.pairs_off} singular pair" + ("s" if self.pairs_off != 1 else "")
        return {
            "nearest minimum": f"{self.minimum:.6g} ({self.method})",
            "nearest saddle": f"at most {self.saddle:.6g} ({off} switched off)",
            "lower bound": "none for more than two layers"
            if self.saddle_lower is None
            else f"{self.saddle_lower:.6g}",
        }


def distances(weights: Mapping[str, Any], target: Any, *, progress: bool | None = None) -> Distances:
    r"""Distances from a start to the nearest minimum and saddle of $\frac12\|W_L \cdots W_1 - A_*\|_F^2$.

    Ctrl-C propagates: a projection on its way is at no distance.

    Args:
        weights: `"W1"`, …, `"WL"`.
        target: $A_*$ (d_out, d_in), not zero.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Raises:
        ValueError: malformed arguments; InfeasibleError: the rank of the target exceeds a width.
        ConditionError: no minimum was found to the required residual.

    Validity:
        The minimum is a critical point of the distance, found from $\theta_0$; no search proves that none is nearer.
        The saddle is an upper bound. The lower bound for two layers is rigorous: at a saddle both $W_1$ and $W_2$ are
        rank-deficient in the directions of a missing pair, so $d_s^2 \ge \sigma_{\min}(W_1)^2 + \sigma_{\min}(W_2)^2$
        where the target has full rank.

    Example:
        >>> weights = {"W1": np.diag([1.0, 0.1]), "W2": np.diag([1.0, 0.1])}
        >>> print(distances(weights, np.diag([1.0, 0.5])))
        distances to the critical set
        nearest minimum  0.858579 (Newton)
        nearest saddle   at most 0.141421 (1 singular pair switched off)
        lower bound      0.141421
    """
    with waiting("looking for the nearest minimum and saddle", progress):
        minimum = nearest_minimum(weights, target)
        saddle, off = nearest_saddle(weights, target)
    return Distances(minimum.distance, saddle, saddle_lower_bound(weights, target), off, minimum.method)


def nearest_minimum(weights: Mapping[str, Any], target: Any) -> Projection:
    """`project_fibre`, or the augmented Lagrangian where that does not contract. Arguments as for `distances`.

    Raises:
        ConditionError: neither reaches the fibre.
    """
    layers, goal = _checked(weights, target)
    found = _newton(layers, goal)
    return found if found is not None else _far(layers, goal)


def project_fibre(weights: Mapping[str, Any], target: Any) -> Projection:
    r"""The nearest point with $W_L \cdots W_1 = A_*$ by minimum-norm Newton steps.

    With $P_l = W_L \cdots W_{l+1}$ and $Q_l = W_{l-1} \cdots W_1$ each step solves $\sum_l P_l P_l^\top \Lambda\,
    Q_l^\top Q_l = A_* - A + \sum_l P_l (W_l - W_l(0)) Q_l$, only $d_{out} d_{in}$ unknowns, and sets $W_l = W_l(0) +
    P_l^\top \Lambda Q_l^\top$; steps beyond 30 % of the norm are shortened.

    Raises:
        ValueError: malformed arguments; InfeasibleError: the rank of the target exceeds a width.
        ConditionError: the steps do not contract, as for small starts of three or more layers; take `nearest_minimum`.

    Validity:
        A point where it stops is on the fibre to $10^{-11}$ and a critical point of the distance. It contracts as long
        as the multiplier times the curvature of the constraint is below 1: wide networks with $\gamma < 1$, and two
        layers.

    Example:
        >>> found = project_fibre({"W1": np.eye(2), "W2": np.eye(2)}, np.diag([1.44, 1.0]))
        >>> round(found.distance, 12), found.residual < 1e-11
        (0.282842712475, True)
    """
    layers, goal = _checked(weights, target)
    found = _newton(layers, goal)
    if found is None:
        raise ConditionError(
            f"Argument `weights` must be near the fibre for Newton's steps to contract, but after {MAX_ITERATIONS} "
            "the residual is still above 1e-11: take `nearest_minimum`, which goes on with an augmented Lagrangian.",
            measured=float(np.linalg.norm(product_of(layers) - goal)),
            tolerance=RESIDUAL,
        )
    return found


def nearest_saddle(weights: Mapping[str, Any], target: Any) -> tuple[float, int]:
    r"""An upper bound of the distance to the nearest saddle, and how many singular pairs that saddle lacks.

    A pair $(u_i, v_i)$ is switched off by $W_1 v_i = 0$ and $W_L^\top u_i = 0$; the other pairs are fitted by
    projection, in the orthogonal complement. Tried are each pair alone and all of them together.

    Raises:
        ValueError: a target that is zero, or malformed arguments.
    """
    layers, goal = _checked(weights, target)
    left, s, right = np.linalg.svd(goal)
    rank = int(np.sum(s > 1e-12 * s[0]))
    found: list[tuple[float, int]] = []
    for off in [*({index} for index in range(rank)), set(range(rank))]:
        cost = sum(
            float(np.sum((layers[0] @ right[i]) ** 2) + np.sum((layers[-1].T @ left[:, i]) ** 2)) for i in off
        )
        rest = _rest_distance(layers, goal, left, right, sorted(off))
        if rest is not None:
            found.append((float(np.hypot(np.sqrt(cost), rest)), len(off)))
    if not found:
        raise ConditionError(
            "Argument `weights` must be near a saddle for the projection to find one, but it did not contract for any "
            "of the singular pairs.",
            measured=float("inf"),
        )
    return min(found)


def saddle_lower_bound(weights: Mapping[str, Any], target: Any) -> float | None:
    r"""$\sqrt{\sigma_{\min}(W_1)^2 + \sigma_{\min}(W_2)^2}$ for two layers and a target of full rank, else `None`."""
    layers, goal = _checked(weights, target)
    if len(layers) != 2 or np.linalg.matrix_rank(goal) < max(goal.shape):
        return None
    smallest = [np.linalg.svd(layer, compute_uv=False)[-1] for layer in layers]
    return float(np.hypot(*smallest))


def _checked(weights: Mapping[str, Any], target: Any) -> tuple[list[np.ndarray], np.ndarray]:
    layers = layers_of(weights)
    goal = np.atleast_2d(checked_array(target, "target"))
    check_reachable(layers, goal)
    if not np.any(goal):
        raise ValueError("Argument `target` must not be zero, but is: the origin is then a minimum.")
    return layers, goal


def _rest_distance(layers, goal, left, right, off: list[int]) -> float | None:
    """Distance to the fibre of the other pairs, in the complement of those that are off; 0 if nothing is left."""
    kept_left = np.delete(left, off, axis=1)
    kept_right = np.delete(right, off, axis=0).T
    if kept_left.shape[1] == 0 or kept_right.shape[1] == 0:
        return 0.0
    inner = [*layers]
    inner[0], inner[-1] = layers[0] @ kept_right, kept_left.T @ layers[-1]
    rest = kept_left.T @ goal @ kept_right
    if not np.any(np.abs(rest) > 1e-12 * np.max(np.abs(goal))):
        rest = np.zeros_like(rest)
    found = _newton(inner, rest)
    return None if found is None else found.distance


def _newton(start: list[np.ndarray], goal: np.ndarray) -> Projection | None:
    """The iteration of `project_fibre`, or `None` if it does not come to rest on the fibre."""
    size = max(1.0, float(np.linalg.norm(goal)))
    layers = [*start]
    for iteration in range(MAX_ITERATIONS):
        above, below = _partial_products(layers)
        # Row by row, the matrix of Λ -> Σ P P^T Λ Q^T Q is a sum of Kronecker products of symmetric matrices.
        kernel = sum(np.kron(p @ p.T, q.T @ q) for p, q in zip(above, below, strict=True))
        rest = goal - product_of(layers)
        residual = float(np.linalg.norm(rest))
        rest = rest + sum(p @ (w - w0) @ q for p, w, w0, q in zip(above, layers, start, below, strict=True))
        multiplier = np.linalg.lstsq(kernel, rest.ravel(), rcond=1e-14)[0].reshape(goal.shape)
        step = [
            w0 + p.T @ multiplier @ q.T - w for p, w, w0, q in zip(above, layers, start, below, strict=True)
        ]
        length, norm = _norm(step), _norm(layers)
        if not np.isfinite(length) or (iteration == PATIENCE and residual > 1e-2 * size):
            return None
        if residual <= RESIDUAL * size and length <= 1e-9 * max(norm, 1e-300):
            moved = [w - w0 for w, w0 in zip(layers, start, strict=True)]
            return Projection(_norm(moved), as_params(layers), residual, iteration, "Newton")
        shorter = min(1.0, LARGEST_STEP * norm / length) if length > 0 else 1.0
        layers = [w + shorter * d for w, d in zip(layers, step, strict=True)]
    return None


def _far(start: list[np.ndarray], goal: np.ndarray) -> Projection:
    layers, residual, iterations = augmented_lagrangian(start, goal)
    size = max(1.0, float(np.linalg.norm(goal)))
    if residual > 1e-7 * size:
        raise ConditionError(
            f"Argument `weights` must allow a projection to the fibre of the target, but after {iterations} "
            f"steps of the augmented Lagrangian the residual is {residual:.1e}.",
            measured=residual,
            tolerance=1e-7 * size,
        )
    moved = [w - w0 for w, w0 in zip(layers, start, strict=True)]
    return Projection(_norm(moved), as_params(layers), residual, iterations, "augmented Lagrangian")


def _partial_products(layers: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """All $P_l$ and $Q_l$, first layer first."""
    below = [np.eye(layers[0].shape[1])]
    for layer in layers[:-1]:
        below.append(layer @ below[-1])
    above = [np.eye(layers[-1].shape[0])]
    for layer in reversed(layers[1:]):
        above.append(above[-1] @ layer)
    return above[::-1], below


def _norm(layers: list[np.ndarray]) -> float:
    return float(np.sqrt(sum(np.sum(layer**2) for layer in layers)))
