r"""What every part of the theory asks of its input: weights of a chain, a cost, its leading singular pair, a scale."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from functools import reduce
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integer, real_number
from ..._errors import ConditionError, InfeasibleError
from ..._precision import require_float64
from ...architecture import Architecture
from ...display.text import one_line
from ...families import linear_network
from ...losses.base import checked_array

Cost = Callable[[Any], Any]
#: A leading singular value is simple if the next one is further away than this fraction of it.
SIMPLE_GAP = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class LeadingPair:
    """The leading singular triple of $G(0) = -\\nabla C(0)$.

    Attributes:
        u: left vector (d_out,).
        s: the largest singular value $s_1$.
        v: right vector (d_in,).
        gap: $s_1 - s_2$.
    """

    u: np.ndarray
    s: float
    v: np.ndarray
    gap: float

    def __repr__(self) -> str:
        return one_line(self)


def layers_of(weights: Mapping[str, Any], argument: str = "weights") -> list[np.ndarray]:
    """The matrices `"W1"`, …, `"WL"` of a chain, first layer first, as NumPy arrays.

    Raises:
        ValueError: fewer than two layers, other names, entries that are no finite matrix, widths that do not match.
    """
    if not isinstance(weights, Mapping):
        raise ValueError(
            f"Argument `{argument}` must be a dict W1, …, WL, but is a {type(weights).__name__}."
        )
    names = [f"W{layer}" for layer in range(1, len(weights) + 1)]
    if sorted(weights) != sorted(names):
        raise ValueError(f"Argument `{argument}` must hold W1, …, WL, but holds {list(weights)}.")
    check_depth(len(names))
    layers = [checked_array(weights[name], f"{argument}['{name}']") for name in names]
    for name, layer in zip(names, layers, strict=True):
        if layer.ndim != 2:
            raise ValueError(
                f"Argument `{argument}['{name}']` must be a matrix, but has shape {layer.shape}."
            )
    for below, above in pairwise(names):
        rows, columns = layers[names.index(below)].shape[0], layers[names.index(above)].shape[1]
        if rows != columns:
            raise ValueError(
                f"Argument `{argument}` must be a chain, but {above} has {columns} columns and {below} {rows} rows."
            )
    return layers


def check_depth(depth: Any) -> int:
    """`depth` as an integer of at least 2: one layer has no saddle at the origin.

    Raises:
        ValueError: it is none.
    """
    return integer(depth, "depth", minimum=2)


def check_alpha(alpha: Any) -> float:
    r"""The initial scale $\alpha$ as a positive finite number.

    Raises:
        ValueError: it is none.
    """
    return real_number(alpha, "alpha", minimum=1e-75, maximum=1e75)


def product_of(layers: list[np.ndarray]) -> np.ndarray:
    """$W_L ⋯ W_1$ of a list of layers, first layer first."""
    return reduce(lambda below, layer: layer @ below, layers)


def as_params(layers: list[np.ndarray]) -> dict[str, np.ndarray]:
    """The layers under their names `"W1"`, …, `"WL"`."""
    return {f"W{number}": layer for number, layer in enumerate(layers, start=1)}


def network_of(weights: Mapping[str, Any]) -> Architecture:
    """The `linear_network` that has these weights."""
    layers = layers_of(weights)
    return linear_network((layers[0].shape[1], *(layer.shape[0] for layer in layers)))


def scaled(theta0: Mapping[str, Any], alpha: float) -> dict[str, np.ndarray]:
    r"""$\alpha\,\theta_0$.

    Raises:
        ValueError: $\alpha \le 0$ or malformed weights.
    """
    factor = check_alpha(alpha)
    return as_params([factor * layer for layer in layers_of(theta0, "theta0")])


def negative_gradient(cost: Cost, z: Any) -> np.ndarray:
    """$G(z) = -\\nabla C(z)$ as NumPy float64."""
    require_float64("negative_gradient")
    return -np.asarray(jax.grad(cost)(jnp.asarray(z, dtype=float)))


def leading_pair(gradient: Any) -> LeadingPair:
    r"""The leading singular triple of $G(0)$, which must be simple: the escape direction depends on it.

    Args:
        gradient: $G(0) = -\nabla C(0)$ (d_out, d_in); the target $A_*$ for $C = \frac12\|A - A_*\|_F^2$.

    Raises:
        ValueError: not a finite matrix.
        ConditionError: $G(0) = 0$ (the origin is a minimum), or $s_1 - s_2 < 10^{-6} s_1$.

    Example:
        >>> pair = leading_pair([[3.0, 0.0], [0.0, 1.0]])
        >>> pair.s, pair.gap
        (3.0, 2.0)
    """
    matrix = checked_array(gradient, "gradient")
    if matrix.ndim != 2:
        raise ValueError(f"Argument `gradient` must be a matrix, but has shape {matrix.shape}.")
    left, s, right = np.linalg.svd(matrix)
    if s[0] == 0.0:
        raise ConditionError(
            "Argument `gradient` must not vanish, but G(0) = 0: the origin is a minimum of a convex cost, "
            "and nothing escapes from it.",
            measured=0.0,
        )
    gap = float(s[0] - (s[1] if len(s) > 1 else 0.0))
    if gap < SIMPLE_GAP * s[0]:
        raise ConditionError(
            f"Argument `gradient` must have a simple largest singular value, but s_1 - s_2 = {gap:.1e} is below "
            f"{SIMPLE_GAP:g} s_1 = {SIMPLE_GAP * s[0]:.1e}: hypothesis not met, the escape direction is not unique.",
            measured=gap / float(s[0]),
            tolerance=SIMPLE_GAP,
        )
    return LeadingPair(left[:, 0], float(s[0]), right[0], gap)


def check_reachable(layers: list[np.ndarray], target: np.ndarray) -> None:
    """Raise unless the layers can multiply to the target.

    Raises:
        ValueError: a target of another shape.
        InfeasibleError: its rank exceeds the narrowest width.
    """
    shape = (layers[-1].shape[0], layers[0].shape[1])
    if target.shape != shape:
        raise ValueError(f"Argument `target` must have shape {shape}, but has shape {target.shape}.")
    rank, width = int(np.linalg.matrix_rank(target)), min(min(layer.shape) for layer in layers)
    if rank > width:
        raise InfeasibleError(
            f"Argument `target` must have rank at most {width}, the narrowest width, but has rank {rank}: "
            "no weights multiply to it."
        )
