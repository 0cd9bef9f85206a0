"""Balanced and λ-balanced starts for chains of matrices."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, is_traced, real_array
from .._errors import InfeasibleError
from .._precision import require_float64
from ..architecture import Architecture, Params
from .index_chains import forced_squares, offsets
from .sampling import check_key, check_scale, checked_chain, orthonormal_columns


def balanced(arch: Architecture, key: jax.Array, *, scale: float = 1.0, product: Any = None) -> Params:
    r"""A random balanced start: $W_{l+1}^\top W_{l+1} = W_l W_l^\top$ at every hidden layer.

    $W_l = Q_l\,\mathrm{diag}(a)\,Q_{l-1}^\top$ with Haar random orthonormal columns $Q_l$ and one spectrum
    $a$ for all layers. With `product` $= U \mathrm{diag}(\sigma) V^\top$, $a = \sigma^{1/L}$, $Q_0 = V$,
    $Q_L = U$, and only the hidden bases are random. Without it, the rank is the narrowest width $k$ and
    $a_i^2$ is uniform in [0.5, 1.5], rescaled so that the root mean square of $a_1, …, a_k$ is `scale`.

    Compatible with `jax.vmap` over keys, and over `scale`.

    Args:
        arch: a chain of matrices, for example from `linear_network`.
        key: from `jax.random.key`.
        scale: root mean square of the non-zero singular values of each layer; leave it at 1 if `product` is
            given.
        product: the end-to-end map (d_L, d_0), of rank at most the narrowest width.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        ValueError: `arch` is no chain, a wrong shape of `product`, a scale beside a product, a malformed key.
        InfeasibleError: the rank of `product` exceeds the narrowest width.
        PrecisionError: JAX is in float32 mode.

    Validity:
        Exact up to rounding. Singular values of `product` below the rank tolerance (its largest side times
        the machine epsilon, relative) count as zero: the L-th root would make visible weights of them.

    References:
        [arora2018optimization], for the notion.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> arch, target = linear_network((2, 3, 2)), jnp.array([[1.0, 2.0], [0.0, 1.0]])
        >>> theta0 = balanced(arch, jax.random.key(0), product=target)
        >>> bool(jnp.allclose(arch(theta0), target))
        True
    """
    require_float64("balanced")
    chain, widths = checked_chain(arch, "balanced")
    check_key(key)
    check_scale(scale)
    if product is None:
        return lambda_balanced(arch, key, np.zeros(len(chain) - 1), scale=scale)
    z = checked_product(product, scale, arch)
    if len(chain) == 1:
        return {chain[0]: jnp.asarray(z)}
    left, s, right = np.linalg.svd(z, full_matrices=False)
    rank = int(np.sum(s > s[0] * max(z.shape) * np.finfo(float).eps))
    if rank > min(widths):
        raise InfeasibleError(
            f"Argument `product` must have rank at most {min(widths)}, the narrowest width of "
            f"{'-'.join(map(str, widths))}, but has rank {rank}."
        )
    if rank == 0:
        return {name: jnp.zeros(shape) for name, shape in arch.shapes.items()}
    keys = jax.random.split(key, len(widths))
    bases = [orthonormal_columns(subkey, width, rank) for subkey, width in zip(keys, widths, strict=True)]
    bases[0], bases[-1] = jnp.asarray(right[:rank].T), jnp.asarray(left[:, :rank])
    spectra = [jnp.asarray(s[:rank] ** (1.0 / len(chain)))] * len(chain)
    return _assembled(arch, chain, bases, spectra)


def checked_product(product: Any, scale: Any, arch: Architecture) -> np.ndarray:
    """The end-to-end map that a start shall have, in place of a scale."""
    if is_traced(scale) or scale != 1.0:
        raise ValueError(f"Argument `scale` must be left at 1 if `product` is given, but is {scale}.")
    z = real_array(product, "product", largest=SQUARABLE)
    if z.shape != arch.output_shape:
        raise ValueError(f"Argument `product` must have shape {arch.output_shape}, but has shape {z.shape}.")
    return z


def lambda_balanced(
    arch: Architecture, key: jax.Array, lam: float | Sequence[float] | np.ndarray, *, scale: float = 1.0
) -> Params:
    r"""A random λ-balanced start: $W_{l+1}^\top W_{l+1} - W_l W_l^\top = \lambda_l I$ at every hidden layer.

    $W_l = Q_l\,\mathrm{diag}(s_l)\,Q_{l-1}^\top$ with Haar random orthogonal $Q_l$. In direction $i$ below
    the narrowest width $s_{l,i}^2 = x_i + c_l$, with offsets $c_l = \sum_{k<l} \lambda_k$ shifted to minimum
    0 and $x_i$ uniform in [0.5, 1.5] rescaled to mean scale². In the other directions λ and the widths
    determine $s_{l,i}$, and may contradict each other. Every λ-balanced chain has this form (`index_chains`),
    so a refusal is a proof.

    Compatible with `jax.vmap` over keys, and over `scale`.

    Args:
        arch: a chain of L matrices, for example from `linear_network`.
        key: from `jax.random.key`.
        lam: one number for each hidden layer, $\lambda_1, …, \lambda_{L-1}$; for L = 2 a number. Positive
            means the heavier layer is the one nearer the output.
        scale: root mean square, over the free directions, of the singular values of the lightest layer.

    Returns:
        The parameters, one array for each factor, in declared order.

    Raises:
        InfeasibleError: no such start exists. For L = 2, $\lambda > 0$ needs $d_1 \le d_2$ and $\lambda < 0$
            needs $d_1 \le d_0$; for L > 2 the message names the hidden layer, the widths and the sum of λ at
            fault.
        ValueError: `arch` is no chain, a wrong number of λ, a non-finite λ, a malformed key.
        PrecisionError: JAX is in float32 mode.

    Validity:
        Exact up to rounding, of relative size $10^{-15}$ to the largest squared singular value.

    References:
        [domine2025lazy], for L = 2.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> from dlntheory.families import linear_network
        >>> theta0 = lambda_balanced(linear_network((4, 2, 3)), jax.random.key(0), 0.5)
        >>> imbalance = theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T
        >>> bool(jnp.allclose(imbalance, 0.5 * jnp.eye(2)))
        True
    """
    require_float64("lambda_balanced")
    chain, widths = checked_chain(arch, "lambda_balanced")
    check_key(key)
    check_scale(scale)
    values = checked_lam(lam, len(chain))
    forced, shifts, free = forced_squares(widths, values), offsets(values), min(widths)
    key_spectrum, key_bases = jax.random.split(key)
    draws = jax.random.uniform(key_spectrum, (free,), minval=0.5, maxval=1.5)
    lightest = jnp.asarray(scale, dtype=float) ** 2 * draws / jnp.mean(draws)
    spectra = []
    for layer in range(len(chain)):
        beyond = np.trim_zeros(forced[layer, free:], "b")
        spectra.append(jnp.sqrt(jnp.concatenate([lightest + shifts[layer], jnp.asarray(beyond)])))
    keys = jax.random.split(key_bases, len(widths))
    lengths = [len(spectrum) for spectrum in spectra]
    columns = np.maximum([lengths[0], *lengths], [*lengths, lengths[-1]])
    bases = [
        orthonormal_columns(subkey, width, int(count))
        for subkey, width, count in zip(keys, widths, columns, strict=True)
    ]
    return _assembled(arch, chain, bases, spectra)


def _assembled(
    arch: Architecture, chain: Sequence[str], bases: Sequence[jax.Array], spectra: Sequence[jax.Array]
) -> Params:
    """$W_l = Q_l diag(s_l) Q_{l-1}^T$, using as many columns of the bases as $s_l$ has entries."""
    params = {}
    for layer, (name, s) in enumerate(zip(chain, spectra, strict=True)):
        params[name] = _layer(bases[layer + 1], s, bases[layer])
    return {name: params[name] for name in arch.shapes}


@jax.jit
def _layer(left: jax.Array, s: jax.Array, right: jax.Array) -> jax.Array:
    return (left[:, : len(s)] * s[None, :]) @ right[:, : len(s)].T


def checked_lam(lam: Any, depth: int, argument: str = "lam") -> np.ndarray:
    """One finite number for each hidden layer, (L - 1,); for two layers a number will do."""
    values = real_array(lam, argument, empty=True, largest=SQUARABLE)
    if values.ndim == 0 and depth == 2:
        values = values[None]
    if values.shape != (depth - 1,):
        found = "one number" if values.ndim == 0 else f"of shape {values.shape}"
        raise ValueError(
            f"Argument `{argument}` must hold one number for each of the {depth - 1} hidden layers, but is {found}."
        )
    return values
