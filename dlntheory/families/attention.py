r"""Attention layers by what the output depends on: scores $Q K^\top$ and values $V O$ of each head."""

from __future__ import annotations

import jax.numpy as jnp

from .._checks import integer
from ..architecture import Architecture, Params
from .registry import family


@family("attention", "dimension, head width, and heads (1)", example=(3, 2, 2), laws=12)
def attention(dimension: int, head: int, heads: int = 1) -> Architecture:
    r"""Softmax attention: $z = (Q_g K_g^\top,\ V_g O_g)$ for each head g.

    A softmax head uses its weights only through these two matrices, whatever the tokens.

    Laws of gradient flow: $Q_g^\top Q_g - K_g^\top K_g$ and $V_g^\top V_g - O_g O_g^\top$ of each head;
    $N = H\, h(h+1)$ while $h \le 2d$.

    Args:
        dimension: d, of a token.
        head: h, the width of a head.
        heads: H.

    Returns:
        An `Architecture` with factors `"Q1"`, `"K1"`, `"V1"` of shape (d, h), `"O1"` of shape (h, d), `"Q2"`, …, and
        z of shape (H, 2, d, d).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [marcotte2025transformative].

    Example:
        >>> attention(3, 2)
        Architecture(attention 3, head 2: Q1[3, 2], K1[3, 2], V1[3, 2], O1[2, 3] -> z[1, 2, 3, 3], 24 parameters)
    """
    shapes, label = _heads(dimension, head, heads)
    return Architecture(_scores_and_values, shapes, name=f"attention {label}")


@family("linear-attention", "dimension, head width, and heads (1)", example=(2, 1), laws=3)
def linear_attention(dimension: int, head: int, heads: int = 1) -> Architecture:
    r"""Linear attention: the tensor $z = \sum_g (Q_g K_g^\top) \otimes (V_g O_g)$.

    Laws of gradient flow: those of softmax attention, and for each head the scale that moves between the two
    matrices, $\operatorname{tr} Q_g^\top Q_g - \operatorname{tr} V_g^\top V_g$; $N = H\,(h(h+1) + 1)$.

    Args:
        dimension: d, of a token.
        head: h, the width of a head.
        heads: H.

    Returns:
        An `Architecture` with factors as in `attention`, and z of shape (d, d, d, d).

    Raises:
        ValueError: a size that is not a positive integer.

    Validity:
        N is certified for H = 1, 2 with d = 2; a certificate decides every other case.

    References:
        [marcotte2025transformative].

    Example:
        >>> linear_attention(2, 1, heads=2).size
        16
    """
    shapes, label = _heads(dimension, head, heads)
    return Architecture(_sum_of_tensors, shapes, name=f"linear attention {label}")


@family("merged-attention", "dimension, and heads (1)", example=(2, 2), laws=3)
def merged_attention(dimension: int, heads: int = 1) -> Architecture:
    r"""Linear attention with one matrix for the scores and one for the values, $z = \sum_g A_g \otimes B_g$.

    Laws of gradient flow: $\langle A_g, A_h \rangle - \langle B_g, B_h \rangle$ for each pair of heads, $N = H(H+1)/2$
    while $H \le 2 d^2$.

    Args:
        dimension: d, of a token.
        heads: H.

    Returns:
        An `Architecture` with factors `"A1"`, `"B1"` of shape (d, d), `"A2"`, …, and z of shape (d, d, d, d).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [marcotte2025transformative].

    Example:
        >>> merged_attention(2, heads=2).size
        16
    """
    d, count = integer(dimension, "dimension"), integer(heads, "heads")
    shapes = {f"{factor}{head}": (d, d) for head in range(1, count + 1) for factor in "AB"}
    return Architecture(_sum_of_merged_tensors, shapes, name=f"merged attention {d}{_plural(count)}")


def _heads(dimension: int, head: int, heads: int) -> tuple[dict[str, tuple[int, int]], str]:
    d, h, count = (
        integer(dimension, "dimension"),
        integer(head, "head"),
        integer(heads, "heads"),
    )
    shapes: dict[str, tuple[int, int]] = {}
    for g in range(1, count + 1):
        shapes |= {f"Q{g}": (d, h), f"K{g}": (d, h), f"V{g}": (d, h), f"O{g}": (h, d)}
    return shapes, f"{d}, head {h}{_plural(count)}"


def _plural(count: int) -> str:
    return "" if count == 1 else f", {count} heads"


def _scores_and_values(params: Params):
    pairs = [jnp.stack(_head(params, g)) for g in range(1, len(params) // 4 + 1)]
    return jnp.stack(pairs)


def _sum_of_tensors(params: Params):
    terms = [jnp.tensordot(*_head(params, g), axes=0) for g in range(1, len(params) // 4 + 1)]
    return sum(terms[1:], start=terms[0])


def _sum_of_merged_tensors(params: Params):
    terms = [jnp.tensordot(params[f"A{g}"], params[f"B{g}"], axes=0) for g in range(1, len(params) // 2 + 1)]
    return sum(terms[1:], start=terms[0])


def _head(params: Params, g: int):
    return params[f"Q{g}"] @ params[f"K{g}"].T, params[f"V{g}"] @ params[f"O{g}"]
