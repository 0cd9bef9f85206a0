r"""Low-rank adapters beside frozen weights, $\prod_l (W^0_l + B_l A_l)$."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from .._checks import integer, integers, real_array
from ..architecture import Architecture, Params
from .registry import dashed, family


@family(
    "adapter",
    "widths from input to output, then rank",
    example=(3, 2, 1),
    laws=1,
    counts=(3, None),
    arguments=lambda n: (n[:-1], n[-1]),
)
def low_rank_adapter(
    widths: Sequence[int], rank: int, *, frozen: Sequence[Any] | None = None, seed: int = 0
) -> Architecture:
    r"""A deep linear network whose layers are frozen and adapted: $z = \prod_l (W^0_l + B_l A_l)$, last layer left.

    Laws of gradient flow: $B_l^\top B_l - A_l A_l^\top$ of each adapter, and none across. $N = L\, r(r+1)/2$
    while $r \le d_{l-1} + d_l$, z is no scalar, and the frozen matrices are generic. A hidden direction that both
    of its frozen neighbours ignore brings laws across.

    Args:
        widths: $(d_0, …, d_L)$ from input to output.
        rank: r, of every adapter.
        frozen: the matrices $W^0_1, …, W^0_L$, of shapes (d_l, d_{l-1}). By default random integers between -9 and
            9, so that exact verbs stay exact.
        seed: of these random integers.

    Returns:
        An `Architecture` with factors `"A1"` (r, d_0), `"B1"` (d_1, r), `"A2"`, …; $W^0$ is part of φ.

    Raises:
        ValueError: a size that is not a positive integer, or frozen matrices of another number, shape or kind.

    References:
        [hu2022lora].

    Example:
        >>> low_rank_adapter((4, 3), 1, frozen=[[[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]])
        Architecture(adapters 4-3, rank 1: A1[1, 4], B1[3, 1] -> z[3, 4], 7 parameters)
    """
    entries = integers(widths, "widths", at_least=2, meaning="input width first")
    r = integer(rank, "rank")
    layers = [(entries[i + 1], entries[i]) for i in range(len(entries) - 1)]
    if frozen is None:
        rng = np.random.default_rng(integer(seed, "seed", minimum=0))
        constants = [rng.integers(-9, 10, size=shape).astype(np.float64) for shape in layers]
    else:
        constants = _checked_frozen(frozen, layers)
    shapes: dict[str, tuple[int, int]] = {}
    for i, (rows, columns) in enumerate(layers, start=1):
        shapes |= {f"A{i}": (r, columns), f"B{i}": (rows, r)}

    def phi(params: Params):
        product = None
        for i, constant in enumerate(constants, start=1):
            adapter = params[f"B{i}"] @ params[f"A{i}"]
            factor = jnp.asarray(constant, dtype=adapter.dtype) + adapter
            product = factor if product is None else factor @ product
        return product

    return Architecture(phi, shapes, name=f"adapters {dashed(entries)}, rank {r}")


def _checked_frozen(frozen: Sequence[Any], layers: list[tuple[int, int]]) -> list[np.ndarray]:
    if (
        not isinstance(frozen, Sequence | np.ndarray)
        or isinstance(frozen, str)
        or np.ma.isMaskedArray(frozen)
    ):
        raise ValueError(f"Argument `frozen` must be a list of matrices, one a layer, but is {frozen!r}.")
    constants = [real_array(constant, f"frozen[{position}]") for position, constant in enumerate(frozen)]
    if (found := [constant.shape for constant in constants]) != layers:
        raise ValueError(f"Argument `frozen` must be matrices of shapes {layers}, but has shapes {found}.")
    return constants
