"""Initialisations whose factors are drawn independently: Gaussian, orthogonal."""

from __future__ import annotations

import math
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from .._precision import require_float64
from ..architecture import Architecture, Params
from .sampling import check_key, check_scale, checked_architecture, orthonormal_columns


def gaussian(
    arch: Architecture, key: jax.Array, scale: float | Mapping[str, float] = 1.0, *, fan_in: bool = False
) -> Params:
    r"""Independent Gaussian entries of standard deviation `scale`, or $\text{scale}/\sqrt{\text{fan-in}}$.

    Compatible with `jax.vmap` over keys, or over one scale.

    Args:
        arch: any architecture.
        key: from `jax.random.key`; split over the factors in their declared order.
        scale: one number, or numbers by factor name (1 for factors not named); each at least 0.
        fan_in: divide by the square root of the number of inputs, which for a factor of shape (out, …) is the
            product of the shape after the first entry.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        ValueError: a negative or non-finite scale, an unknown factor name, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> theta0 = gaussian(linear_network((3, 4, 2)), jax.random.key(0), scale=0.1, fan_in=True)
        >>> {name: array.shape for name, array in theta0.items()}
        {'W1': (4, 3), 'W2': (2, 4)}
    """
    require_float64("gaussian")
    checked_architecture(arch)
    check_key(key)
    scales = dict(scale) if isinstance(scale, Mapping) else dict.fromkeys(arch.shapes, scale)
    if unknown := [name for name in scales if name not in arch.shapes]:
        raise ValueError(
            f"Argument `scale` must name factors of {arch.name}, {list(arch.shapes)}, but has {unknown}."
        )
    for name, value in scales.items():
        check_scale(value, f"scale['{name}']" if isinstance(scale, Mapping) else "scale")
    params = {}
    for (name, shape), subkey in zip(
        arch.shapes.items(), jax.random.split(key, len(arch.shapes)), strict=True
    ):
        deviation = jnp.asarray(scales.get(name, 1.0), dtype=float)
        if fan_in:
            deviation = deviation / math.sqrt(math.prod(shape[1:]))
        params[name] = deviation * jax.random.normal(subkey, shape)
    return params


def orthogonal(arch: Architecture, key: jax.Array, scale: float = 1.0) -> Params:
    r"""Haar random semi-orthogonal matrices: all singular values of each factor equal to `scale`.

    $W W^\top = \text{scale}^2 I$ if $W$ has no more rows than columns, else $W^\top W = \text{scale}^2 I$.

    Args:
        arch: an architecture whose factors are all matrices.
        key: from `jax.random.key`; split over the factors in their declared order.
        scale: the common singular value, at least 0.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        ValueError: a factor that is not a matrix, a negative or non-finite scale, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Validity:
        Balanced ($D_l = 0$) only where the widths are equal; see `balanced` for other widths.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> w = orthogonal(linear_network((3, 4, 2)), jax.random.key(0), scale=0.5)["W1"]
        >>> bool(jnp.allclose(w.T @ w, 0.25 * jnp.eye(3)))
        True
    """
    require_float64("orthogonal")
    checked_architecture(arch)
    check_key(key)
    check_scale(scale)
    if wrong := {name: shape for name, shape in arch.shapes.items() if len(shape) != 2}:
        raise ValueError(f"Argument `arch` of `orthogonal` must have matrices as factors, but has {wrong}.")
    params = {}
    for (name, (rows, columns)), subkey in zip(
        arch.shapes.items(), jax.random.split(key, len(arch.shapes)), strict=True
    ):
        tall = orthonormal_columns(subkey, max(rows, columns), min(rows, columns))
        params[name] = jnp.asarray(scale, dtype=float) * (tall if rows >= columns else tall.T)
    return params
