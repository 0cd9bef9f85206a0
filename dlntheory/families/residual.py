r"""Residual networks: $\prod (I + W_l)$, blocks $\prod (I + B_l A_l)$, and a trainable shortcut $W_2 W_1 + W_3$."""

from __future__ import annotations

from collections.abc import Sequence

import jax.numpy as jnp

from .._checks import integer, integers
from ..architecture import Architecture, Params
from .registry import dashed, family


@family("residual", "width, depth", example=(3, 2), laws=6)
def residual_network(width: int, depth: int) -> Architecture:
    r"""The deep linear residual network $z = (I + W_L) \cdots (I + W_1)$, all layers square.

    Laws of gradient flow, with $V_l = I + W_l$: $V_{l+1}^\top V_{l+1} - V_l V_l^\top$, inhomogeneous quadratics in
    $W$; a translation is an isometry, so nothing changes but the name. Hence $N = (L-1)\,n(n+1)/2$ for $n \ge 2$
    (the scalar case $n = 1$ has $L - 1$ too).

    Args:
        width: n.
        depth: L.

    Returns:
        An `Architecture` with factors `"W1"`, …, `"WL"` of shape (n, n).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [hardt2017identity]; laws: [marcotte2025transformative].

    Example:
        >>> residual_network(3, 2)
        Architecture(residual 3, depth 2: W1[3, 3], W2[3, 3] -> z[3, 3], 18 parameters)
    """
    n, layers = integer(width, "width"), integer(depth, "depth")
    shapes = {f"W{layer}": (n, n) for layer in range(1, layers + 1)}
    return Architecture(_product_of_residuals, shapes, name=f"residual {n}, depth {layers}")


@family(
    "blocks",
    "width, hidden width of each block",
    example=(3, 2, 4),
    laws=13,
    counts=(2, None),
    arguments=lambda n: (n[0], n[1:]),
)
def residual_blocks(width: int, hidden: Sequence[int]) -> Architecture:
    r"""Two-layer residual blocks, $z = (I + B_L A_L) \cdots (I + B_1 A_1)$.

    Laws of gradient flow: $A_l A_l^\top - B_l^\top B_l$ of each block, and none across blocks. So N is the sum over
    blocks of the count of a linear network of widths $(n, h_l, n)$, that is $\sum_l h_l(h_l+1)/2$ while
    $h_l \le 2n$; for $n = 1$ and more than one block φ is a scalar and there is one law more.

    Args:
        width: n.
        hidden: $(h_1, …, h_L)$, the hidden width of each block, first block first.

    Returns:
        An `Architecture` with factors `"A1"` (h_1, n), `"B1"` (n, h_1), `"A2"`, …

    Raises:
        ValueError: a size that is not a positive integer, or no block.

    References:
        [marcotte2025transformative].

    Example:
        >>> residual_blocks(2, (3, 1)).shapes
        {'A1': (3, 2), 'B1': (2, 3), 'A2': (1, 2), 'B2': (2, 1)}
    """
    n, inner = integer(width, "width"), integers(hidden, "hidden", at_least=1)
    shapes: dict[str, tuple[int, int]] = {}
    for block, h in enumerate(inner, start=1):
        shapes |= {f"A{block}": (h, n), f"B{block}": (n, h)}
    return Architecture(_product_of_blocks, shapes, name=f"residual blocks {n}, hidden {dashed(inner)}")


@family("shortcut", "inputs, hidden, outputs", example=(3, 4, 2), laws=10)
def shortcut_network(inputs: int, hidden: int, outputs: int) -> Architecture:
    r"""Two layers beside a trainable shortcut, $z = W_2 W_1 + W_3$.

    Laws of gradient flow: $W_2^\top W_2 - W_1 W_1^\top$; the shortcut is in none. $N = h(h+1)/2$ while
    $h \le d_0 + d_2$.

    Args:
        inputs: $d_0$.
        hidden: h.
        outputs: $d_2$.

    Returns:
        An `Architecture` with factors `"W1"` (h, d_0), `"W2"` (d_2, h) and `"W3"` (d_2, d_0).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [marcotte2025transformative], skip connections.

    Example:
        >>> shortcut_network(3, 4, 2).shapes
        {'W1': (4, 3), 'W2': (2, 4), 'W3': (2, 3)}
    """
    d, h, m = integer(inputs, "inputs"), integer(hidden, "hidden"), integer(outputs, "outputs")
    shapes = {"W1": (h, d), "W2": (m, h), "W3": (m, d)}
    return Architecture(lambda p: p["W2"] @ p["W1"] + p["W3"], shapes, name=f"shortcut {dashed((d, h, m))}")


def _product_of_residuals(params: Params):
    product = None
    for layer in range(1, len(params) + 1):
        weight = params[f"W{layer}"]
        factor = weight + jnp.eye(weight.shape[0], dtype=weight.dtype)
        product = factor if product is None else factor @ product
    return product


def _product_of_blocks(params: Params):
    product = jnp.eye(params["A1"].shape[1], dtype=params["A1"].dtype)
    for block in range(1, len(params) // 2 + 1):
        product = product + params[f"B{block}"] @ (params[f"A{block}"] @ product)
    return product
