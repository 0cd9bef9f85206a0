"""Starts whose subspaces stay small in wide networks: the last layer aligned with the product of the others."""

from __future__ import annotations

import itertools

import jax

from ..._precision import require_float64
from ...architecture import Architecture, Params
from ...initial import orthogonal
from ...initial.sampling import orthonormal_columns
from ..base import chain_of, widths_of


def aligned_orthogonal(arch: Architecture, key: jax.Array, scale: float = 1.0) -> Params:
    r"""Orthogonal layers with $W_L \propto O\,(Q_{L-1} \cdots Q_1)^\top$, O orthogonal.

    With independent orthogonal layers the active subspaces of a network wider than its input grow, by $w - d$ at
    its ends and $2(w - d)$ inside: what the first layers reach and what the last one reads are two
    spaces, with angles between them. Here both are the same space, and the dimension is $2r$ again.

    Args:
        arch: a chain of matrices whose widths do not decrease before the last layer.
        key: from `jax.random.key`.
        scale: the singular value of every layer.

    Raises:
        ValueError: no chain of at least two layers, or a hidden width below the one before it.
        PrecisionError: JAX is in float32 mode.

    References:
        Derived here.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.linear_network((6, 9, 9, 6))
        >>> theta0 = aligned_orthogonal(arch, jax.random.key(0), scale=0.5)
        >>> z = arch(theta0)
        >>> bool(abs(z @ z.T - 0.5**6 * jax.numpy.eye(6)).max() < 1e-15)
        True
    """
    require_float64("aligned_orthogonal")
    names, widths = chain_of(arch, "an aligned start"), widths_of(arch)
    hidden = widths[:-1]
    if len(names) < 2 or any(after < before for before, after in itertools.pairwise(hidden)):
        raise ValueError(
            "Argument `arch` must have two or more layers and widths that do not decrease before the last layer, but "
            f"has the widths {widths}."
        )
    key_layers, key_last = jax.random.split(key)
    params = dict(orthogonal(arch, key_layers, scale=1.0))
    product = params[names[0]]
    for name in names[1:-1]:
        product = params[name] @ product
    rows, columns = widths[-1], widths[0]
    tall = orthonormal_columns(key_last, max(rows, columns), min(rows, columns))
    params[names[-1]] = (tall if rows >= columns else tall.T) @ product.T
    return {name: scale * value for name, value in params.items()}
