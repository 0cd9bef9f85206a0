r"""Deep linear networks, $z = W_L \cdots W_1$."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import reduce
from operator import matmul

import numpy as np

from ..architecture import Architecture, Params


@dataclasses.dataclass(frozen=True)
class MatrixProduct:
    r"""φ of a chain: the product $W_L \cdots W_1$ of the named factors, first layer first.

    A frozen dataclass rather than a lambda, so that two networks of equal depth share one compiled function.
    """

    names: tuple[str, ...]

    def __call__(self, params: Params):
        return reduce(matmul, (params[name] for name in reversed(self.names)))


def linear_network(widths: Sequence[int], *, name: str | None = None) -> Architecture:
    r"""The deep linear network $z = W_L \cdots W_1$ with $W_l$ of shape $(d_l, d_{l-1})$.

    Args:
        widths: $(d_0, …, d_L)$ from input to output, all positive; at least two.
        name: a name for tables; by default the widths.

    Returns:
        An `Architecture` with factors `"W1"`, …, `"WL"`, and `chain` declared.

    Raises:
        ValueError: fewer than two widths, or one that is not a positive integer.

    Example:
        >>> linear_network((3, 4, 2)).shapes
        {'W1': (4, 3), 'W2': (2, 4)}
    """
    entries = tuple(widths)
    if len(entries) < 2 or not all(isinstance(n, (int, np.integer)) and n >= 1 for n in entries):
        raise ValueError(
            "Argument `widths` must be at least two positive integers, input width first, "
            f"but is {widths!r}."
        )
    names = tuple(f"W{layer}" for layer in range(1, len(entries)))
    shapes = {name: (entries[i + 1], entries[i]) for i, name in enumerate(names)}
    label = name or "linear " + "-".join(map(str, entries))
    return Architecture(MatrixProduct(names), shapes, name=label, chain=names)
