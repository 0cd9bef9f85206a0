"""Tensor factorisations: canonical polyadic (CP), Tucker, and tensor train."""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import jax.numpy as jnp

from .._checks import integer, integers
from ..architecture import Architecture, Params
from .registry import dashed, family

_AXES = "abcdefghijkl"


def _shape_and_ranks(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if len(sizes) % 2:
        raise ValueError(
            f"Argument `sizes` of tucker must be a shape and as many ranks, but has {len(sizes)} entries."
        )
    return sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :]


def _shape_and_bonds(sizes: tuple[int, ...]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    if not len(sizes) % 2:
        raise ValueError(
            f"Argument `sizes` of tensor-train must be a shape and one rank less, but has {len(sizes)} entries."
        )
    return sizes[: len(sizes) // 2 + 1], sizes[len(sizes) // 2 + 1 :]


@family(
    "cp",
    "shape, then rank",
    example=(2, 3, 2, 4),
    laws=8,
    counts=(2, None),
    arguments=lambda n: (n[:-1], n[-1]),
)
def cp_decomposition(shape: Sequence[int], rank: int) -> Architecture:
    r"""The canonical polyadic decomposition $z = \sum_{r=1}^R a^1_r \otimes \cdots \otimes a^q_r$.

    Laws of gradient flow: $\lVert a^{i+1}_r \rVert^2 - \lVert a^i_r \rVert^2$ of each term; $N = (q-1) R$ for order
    $q \ge 3$. Order 2 is a matrix factorisation, with its matrix of laws.

    Args:
        shape: $(n_1, …, n_q)$ of z.
        rank: R.

    Returns:
        An `Architecture` with factors `"A1"`, …, `"Aq"` of shapes (n_i, R), whose columns are the $a^i_r$.

    Raises:
        ValueError: a size that is not a positive integer, or an order above 12.

    Validity:
        N is certified for R = 1, …, 4 in small shapes; a certificate decides every other case.

    References:
        [kolda2009tensor], Section 3.

    Example:
        >>> cp_decomposition((2, 3, 4), 2)
        Architecture(CP 2x3x4, rank 2: A1[2, 2], A2[3, 2], A3[4, 2] -> z[2, 3, 4], 18 parameters)
    """
    sizes, terms = _checked_shape(shape), integer(rank, "rank")
    shapes = {f"A{i}": (n, terms) for i, n in enumerate(sizes, start=1)}
    return Architecture(_sum_of_outer_products, shapes, name=f"CP {_crossed(sizes)}, rank {terms}")


@family(
    "tucker",
    "shape, then as many ranks",
    example=(4, 3, 2, 2),
    laws=6,
    counts=(2, None),
    arguments=_shape_and_ranks,
)
def tucker_decomposition(shape: Sequence[int], ranks: Sequence[int]) -> Architecture:
    r"""The Tucker decomposition $z = G \times_1 U_1 \cdots \times_q U_q$.

    Laws of gradient flow: $U_i^\top U_i - G_{(i)} G_{(i)}^\top$, with $G_{(i)}$ the unfolding of the core along axis i;
    $N = \sum_i r_i(r_i+1)/2$ while $r_i \le n_i + \prod_{j \ne i} r_j$.

    Args:
        shape: $(n_1, …, n_q)$ of z.
        ranks: $(r_1, …, r_q)$ of the core.

    Returns:
        An `Architecture` with factors `"G"` of shape (r_1, …, r_q) and `"U1"`, …, `"Uq"` of shapes (n_i, r_i).

    Raises:
        ValueError: a size that is not a positive integer, lengths that differ, or an order above 12.

    References:
        [kolda2009tensor], Section 4.

    Example:
        >>> tucker_decomposition((4, 3), (2, 2)).shapes
        {'G': (2, 2), 'U1': (4, 2), 'U2': (3, 2)}
    """
    sizes, core = _checked_shape(shape), integers(ranks, "ranks", at_least=1)
    if len(core) != len(sizes):
        raise ValueError(f"Argument `ranks` must be {len(sizes)} integers as `shape` is, but is {ranks!r}.")
    shapes: dict[str, tuple[int, ...]] = {"G": core}
    shapes |= {f"U{i}": pair for i, pair in enumerate(zip(sizes, core, strict=True), start=1)}
    return Architecture(_tucker, shapes, name=f"Tucker {_crossed(sizes)}, core {_crossed(core)}")


@family(
    "tensor-train",
    "shape, then one rank less",
    example=(4, 3, 2, 2, 1),
    laws=4,
    counts=(3, None),
    arguments=_shape_and_bonds,
)
def tensor_train(shape: Sequence[int], ranks: Sequence[int]) -> Architecture:
    r"""The tensor train $z_{i_1 … i_q} = G_1(i_1)\, G_2(i_2) \cdots G_q(i_q)$, a product of matrices for each entry.

    Laws of gradient flow: at each bond, $\sum_i G_l(i)^\top G_l(i) - \sum_i G_{l+1}(i)\, G_{l+1}(i)^\top$;
    $N = \sum_l r_l(r_l+1)/2$ while $r_l \le n_l r_{l-1} + n_{l+1} r_{l+1}$.

    Args:
        shape: $(n_1, …, n_q)$ of z, of order 2 or more.
        ranks: $(r_1, …, r_{q-1})$, one for each bond.

    Returns:
        An `Architecture` with factors `"G1"` (n_1, r_1), `"G2"` (r_1, n_2, r_2), …, `"Gq"` (r_{q-1}, n_q).

    Raises:
        ValueError: a size that is not a positive integer, a number of ranks that does not match, or an order
            above 12.

    References:
        [oseledets2011tensor].

    Example:
        >>> tensor_train((4, 3, 2), (2, 2)).shapes
        {'G1': (4, 2), 'G2': (2, 3, 2), 'G3': (2, 2)}
    """
    sizes = _checked_shape(shape, at_least=2)
    bonds = integers(ranks, "ranks", at_least=1)
    if len(bonds) != len(sizes) - 1:
        raise ValueError(
            f"Argument `ranks` must be {len(sizes) - 1} integers, one less than `shape`, but is {ranks!r}."
        )
    shapes: dict[str, tuple[int, ...]] = {"G1": (sizes[0], bonds[0])}
    for i in range(1, len(sizes) - 1):
        shapes[f"G{i + 1}"] = (bonds[i - 1], sizes[i], bonds[i])
    shapes[f"G{len(sizes)}"] = (bonds[-1], sizes[-1])
    return Architecture(_train, shapes, name=f"tensor train {_crossed(sizes)}, ranks {dashed(bonds)}")


def _sum_of_outer_products(params: Params):
    axes = _AXES[: len(params)]
    operands = (params[f"A{i}"] for i in range(1, len(params) + 1))
    return jnp.einsum(",".join(f"{axis}z" for axis in axes) + f"->{axes}", *operands)


def _tucker(params: Params):
    z = params["G"]
    for i in range(1, len(params)):
        # Each product puts its new axis last, so that the next axis of the core comes first.
        z = jnp.tensordot(z, params[f"U{i}"], axes=((0,), (1,)))
    return z


def _train(params: Params):
    cores = (params[f"G{i}"] for i in range(1, len(params) + 1))
    return reduce(lambda z, core: jnp.tensordot(z, core, axes=1), cores)


def _checked_shape(shape: Sequence[int], at_least: int = 1) -> tuple[int, ...]:
    sizes = integers(shape, "shape", at_least=at_least)
    if len(sizes) > len(_AXES):
        raise ValueError(f"Argument `shape` must have at most {len(_AXES)} entries, but has {len(sizes)}.")
    return sizes


def _crossed(sizes: Sequence[int]) -> str:
    return "x".join(map(str, sizes))
