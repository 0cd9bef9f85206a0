r"""Starts that the theory admits: a risk at most that of the zero network, and a gradient that is not zero."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..._errors import ConditionError
from ...architecture import Architecture
from ...families import linear_network
from ...initial import gaussian
from ...losses.base import checked_array
from .problem import SeparableProblem

SHRINK = 0.8
#: A predictor whose margins cancel to this fraction is orthogonal to the sum of the rows.
ROUNDING = 1e-13


class StartWarning(UserWarning):
    """The start is outside the theory: its risk is above that of the zero network."""


def admissible_start(
    problem: SeparableProblem, arch: Architecture, key: jax.Array, *, scale: float = 0.3
) -> dict[str, np.ndarray]:
    r"""A Gaussian start with $R \le \ell(0)$: the sign of $W_L$ is flipped if needed, then all weights shrink by 0.8.

    Args:
        problem: data and loss.
        arch: a linear network onto one output, for example `problem.network(3)`.
        key: from `jax.random.key`.
        scale: standard deviation of the weights before any shrinking, see `gaussian`.

    Raises:
        ValueError: an architecture that does not fit the problem, a malformed key or scale.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> problem = SeparableProblem([[0.5, 0.5], [0.5, -1.0]], [1, 1])
        >>> start = admissible_start(problem, problem.network(2, 3), jax.random.key(0))
        >>> bool(problem.log_risk(product(start)) <= problem.log_risk_of_zero)
        True
    """
    weights = {name: np.asarray(w) for name, w in gaussian(arch, key, scale=scale).items()}
    checked_network(problem, weights)
    return admissible(problem, weights)


def admissible(problem: SeparableProblem, weights: Mapping[str, Any]) -> dict[str, np.ndarray]:
    r"""These weights if their risk is at most that of zero, else flipped and, if need be, shrunk until it is.

    The risk is convex along the ray through $w$, with slope $\ell'(0) \langle \frac1n\sum_i Z_i, w\rangle$ at 0: where
    neither $w$ nor $-w$ will do, weights shrink with the sign that makes this slope negative.

    Raises:
        ValueError: weights that do not fit the problem.
        ConditionError: $w$ is orthogonal to the sum of the rows, so that every multiple of it has a risk above that
            of zero.
    """
    checked_network(problem, weights)
    current = {name: np.array(w, dtype=float) for name, w in weights.items()}
    if _excess(problem, current) <= 0:
        return current
    last = list(current)[-1]
    flipped = current | {last: -current[last]}
    if _excess(problem, flipped) <= 0:
        return flipped
    margins = problem.margins(product(current))
    along, size = float(np.sum(margins)), float(np.sum(np.abs(margins)))
    if abs(along) <= ROUNDING * size:
        raise ConditionError(
            "Argument `weights` must not multiply to a predictor orthogonal to the sum of the rows y_i x_i, but does, "
            f"up to {abs(along) / size:.1e}: every multiple of it has a risk above that of zero. Take another start.",
            measured=abs(along) / size,
            tolerance=ROUNDING,
        )
    current = current if along > 0 else flipped
    while _excess(problem, current) > 0:
        current = {name: SHRINK * w for name, w in current.items()}
    return current


def is_admissible(problem: SeparableProblem, weights: Mapping[str, Any]) -> bool:
    r"""Whether $R \le \ell(0)$ at these weights."""
    checked_network(problem, weights)
    return _excess(problem, weights) <= 0


def product(weights: Mapping[str, Any]) -> np.ndarray:
    r"""The predictor $w = (W_L \cdots W_1)^\top$ (…, d); matrices may have leading axes."""
    layers = [np.asarray(w) for w in weights.values()]
    w = layers[-1]
    for layer in reversed(layers[:-1]):
        w = w @ layer
    return w[..., 0, :]


def checked_network(problem: SeparableProblem, weights: Mapping[str, Any]) -> Architecture:
    r"""The linear network with these weights, checked against the data.

    Raises:
        ValueError: no layers, names other than W1 … WL, shapes that do not chain, a last layer of more than one row,
            an input width other than $d$.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(
            f'Argument `weights` must be a dict of matrices "W1", "W2", …, but is a {type(weights).__name__}.'
        )
    depth = len(weights)
    if depth == 0:
        raise ValueError("Argument `weights` must have at least one layer, but is empty (L = 0).")
    expected = [f"W{layer}" for layer in range(1, depth + 1)]
    if list(weights) != expected:
        raise ValueError(f"Argument `weights` must have the names {expected}, but has {list(weights)}.")
    layers = [checked_array(w, f"weights['{name}']") for name, w in weights.items()]
    below = problem.dimension
    for name, layer in zip(expected, layers, strict=True):
        if layer.ndim != 2 or layer.shape[1] != below:
            source = "inputs" if name == "W1" else "rows of the layer below"
            raise ValueError(
                f"Argument `weights['{name}']` must have {below} columns ({source}), but has shape {layer.shape}."
            )
        below = layer.shape[0]
    if below != 1:
        raise ValueError(
            f"Argument `weights['{expected[-1]}']` must have 1 row, since the network has one output, "
            f"but has {below}."
        )
    return linear_network((problem.dimension, *(layer.shape[0] for layer in layers)))


def check_not_critical(problem: SeparableProblem, weights: Mapping[str, Any]) -> None:
    r"""Raise at a start where the gradient is zero: the flow stays there for ever.

    Raises:
        ValueError: every layer gradient is zero, as at the zero network with two or more layers.
    """
    layers = [np.asarray(w, dtype=float) for w in weights.values()]
    margins = problem.margins(product(weights))
    logs = -margins if problem.loss_name == "exponential" else -np.logaddexp(0.0, margins)
    total = (np.exp(logs - np.max(logs)) @ problem.signed_inputs)[
        None, :
    ]  # sum of |l'_i| Z_i, up to a factor
    for index in range(len(layers)):
        gradient = total
        for layer in layers[:index]:
            gradient = gradient @ layer.T
        above = np.eye(layers[index].shape[0])
        for layer in layers[index + 1 :]:
            above = layer @ above
        if np.any(above.T @ gradient != 0):
            return
    raise ValueError(
        "Argument `weights` must not be a critical point of the risk, but its gradient is zero in every layer "
        "(two layers are zero, or more). Use a random start, see `admissible_start`."
    )


def _excess(problem: SeparableProblem, weights: Mapping[str, Any]) -> float:
    r"""$\log R - \log\ell(0)$; near zero weights without the difference, whose sign would be that of rounding."""
    w = product(weights)
    margins = problem.margins(w)
    if np.any(np.abs(margins) > 1.0):
        return float(problem.log_risk(w)) - problem.log_risk_of_zero
    change = np.expm1(-margins)
    if problem.loss_name == "logistic":
        change = np.log1p(0.5 * change) / np.log(2.0)
    return float(np.log1p(np.mean(change)))
