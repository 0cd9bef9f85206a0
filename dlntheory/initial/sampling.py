"""Haar matrices and the checks of arguments that all initialisations share."""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from .._checks import SQUARABLE, instance_of, is_traced, real_number
from ..architecture import Architecture


def check_key(key: Any) -> None:
    is_key = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not is_key or key.shape != ():
        found = (
            f"an array of shape {key.shape}, dtype {key.dtype}" if isinstance(key, jax.Array) else repr(key)
        )
        raise ValueError(f"Argument `key` must be one key made by jax.random.key(seed), but is {found}.")


def check_scale(scale: Any, argument: str = "scale") -> None:
    """A finite number of at least 0; a traced one passes, so that one can `jax.vmap` over scales."""
    if not is_traced(scale):
        real_number(scale, argument, minimum=0, maximum=SQUARABLE)


def checked_architecture(arch: Any) -> Architecture:
    return instance_of(
        arch, Architecture, "arch", "`linear_network` makes one, or `Architecture(phi, shapes)`"
    )


def checked_chain(arch: Architecture, where: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Names and widths of a chain in which every factor occurs exactly once."""
    chain, widths = checked_architecture(arch).chain, arch.widths
    if chain is None or widths is None:
        raise ValueError(
            f"Argument `arch` of `{where}` must be a chain of matrices (as `linear_network` makes), "
            f"but {arch.name} declares no `chain`."
        )
    if sorted(chain) != sorted(arch.shapes):
        raise ValueError(
            f"Argument `arch` of `{where}` must be a chain of all its factors, each once, but {arch.name} "
            f"has the factors {list(arch.shapes)} and the chain {list(chain)}."
        )
    return chain, widths


@functools.partial(jax.jit, static_argnums=(1, 2))
def orthonormal_columns(key: jax.Array, rows: int, columns: int) -> jax.Array:
    """A Haar (rows, columns) matrix with orthonormal columns; pure."""
    q, r = jnp.linalg.qr(jax.random.normal(key, (rows, columns)))
    # QR alone is not Haar: its signs depend on the convention of the library.
    return q * jnp.where(jnp.diagonal(r) < 0, -1.0, 1.0)[None, :]
