r"""Deep linear networks, $z = W_L \cdots W_1$, with or without biases."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import reduce
from operator import matmul

import jax.numpy as jnp

from .._checks import integers
from ..architecture import Architecture, Params
from .registry import dashed, family, one_sequence


@dataclasses.dataclass(frozen=True)
class MatrixProduct:
    r"""φ of a chain: the product $W_L \cdots W_1$ of the named factors, first layer first.

    Whoever reads φ by its type knows a chain by this class.
    """

    names: tuple[str, ...]

    def __call__(self, params: Params):
        return reduce(matmul, (params[name] for name in reversed(self.names)))


@family(
    "linear",
    "widths from input to output",
    example=(3, 4, 2),
    laws=10,
    counts=(2, None),
    arguments=one_sequence,
)
def linear_network(widths: Sequence[int], bias: bool = False, *, name: str | None = None) -> Architecture:
    r"""The deep linear network $z = W_L \cdots W_1$ with $W_l$ of shape $(d_l, d_{l-1})$.

    With biases, $z = [\,W_L \cdots W_1 \mid \sum_l W_L \cdots W_{l+1} b_l\,]$ of shape $(d_L, d_0 + 1)$: the affine
    map as one matrix, to be used with inputs that end in a constant 1.

    Laws of gradient flow: $W_{l+1}^\top W_{l+1} - W_l W_l^\top$ at each hidden layer, with biases
    $W_{l+1}^\top W_{l+1} - W_l W_l^\top - b_l b_l^\top$; the output bias is in none. Their number is
    $N = \sum_l [d_l(d_l+1)/2 - k_l(k_l+1)/2]$ with $k_l = \max(0, d_l - d_{l-1} - d_{l+1})$, and with biases the
    same where $d_0 + 1$ stands for $d_0$. Between two layers of width 1 with two or more hidden layers between
    them there are more laws than these.

    Args:
        widths: $(d_0, …, d_L)$ from input to output, all positive; at least two.
        bias: whether every layer has a bias $b_l$ of shape $(d_l,)$, the output included.
        name: a name for tables; by default the widths.

    Returns:
        An `Architecture` with factors `"W1"`, …, `"WL"`, and `chain` declared; with biases also `"b1"`, …, `"bL"`,
        and no `chain`.

    Raises:
        ValueError: fewer than two widths, or one that is not a positive integer.

    References:
        [marcotte2023abide], Proposition 4.1.

    Example:
        >>> linear_network((3, 4, 2)).shapes
        {'W1': (4, 3), 'W2': (2, 4)}
        >>> linear_network((3, 4, 2), bias=True).output_shape
        (2, 4)
    """
    entries = integers(widths, "widths", at_least=2, meaning="input width first")
    names = tuple(f"W{layer}" for layer in range(1, len(entries)))
    shapes: dict[str, tuple[int, ...]] = {name: (entries[i + 1], entries[i]) for i, name in enumerate(names)}
    label = name or "linear " + dashed(entries)
    if not bias:
        return Architecture(MatrixProduct(names), shapes, name=label, chain=names, try_out=False)
    biases = tuple(f"b{layer}" for layer in range(1, len(entries)))
    shapes |= {bias: (width,) for bias, width in zip(biases, entries[1:], strict=True)}
    label = name or f"linear {dashed(entries)} with biases"

    def affine_product(params: Params):
        linear, shift = params[names[0]], params[biases[0]]
        for weight, bias in zip(names[1:], biases[1:], strict=True):
            linear, shift = params[weight] @ linear, params[weight] @ shift + params[bias]
        return jnp.concatenate([linear, shift[:, None]], axis=1)

    return Architecture(affine_product, shapes, name=label, try_out=False)
