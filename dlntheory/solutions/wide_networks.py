r"""Two layers of infinite width from independent Gaussian weights: the end-to-end map in closed form."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._checks import SQUARABLE, broadcast_numbers, is_traced, real_array
from .._precision import require_float64
from .two_layer_modes import scalar_network

#: Pairs of eigenvalues closer than this, relative to the scale, take the slope at their middle.
_CLOSE = 1e-5


def wide_product(t: Any, target: Any, first: Any, second: Any) -> jax.Array:
    r"""$W(t)$ of two infinitely wide layers under $\frac12\|W_2 W_1 - S\|_F^2$, entries of variance $v/h$ at the start.

    With $E[W_1^\top W_1] = v_1 I$ and $E[W_2 W_2^\top] = v_2 I$ the product starts at 0 and stays diagonal in the
    singular bases of S; each mode is a `scalar_network` with the effective imbalance $v_1 + v_2$.

    Args:
        t: one time, at least 0.
        target: (o, d), $S$.
        first: $v_1 \ge 0$, the number on the diagonal of $W_1^\top W_1$.
        second: $v_2 \ge 0$, likewise of $W_2 W_2^\top$.

    Returns:
        (o, d). Pure: jit, vmap, grad, at repeated and zero singular values as well; NaN for $t < 0$.

    Validity:
        The limit of infinite width; a finite width h deviates by the sampling error $O(h^{-1/2})$. Two layers only.

    References:
        Derived here; compare [chizat2024infinite] for infinitely wide linear networks.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> print(wide_product(50.0, jnp.eye(2, 3), 1.0, 1.0).round(9))
        [[1. 0. 0.]
         [0. 1. 0.]]
    """
    require_float64("wide_product")
    if not is_traced(target):
        target = real_array(target, "target", ndim=2, largest=SQUARABLE)
    t, first, second = broadcast_numbers({"t": t, "first": first, "second": second})
    if t.ndim:
        raise ValueError(
            f"Arguments `t`, `first` and `second` must be numbers, but together have shape {t.shape}."
        )
    return _odd_function(jnp.asarray(target, dtype=float), t, first + second)


def _mode(s, t, total):
    return scalar_network(t, s, 0.0, total)[0]


@jax.custom_jvp
def _odd_function(target, t, total):
    """$U\\, \\mathrm{diag}(m(s))\\, V^\\top$ for the odd function m of the singular values."""
    left, singular, right = jnp.linalg.svd(target, full_matrices=False)
    return (left * _mode(singular, t, total)[None, :]) @ right


@_odd_function.defjvp
def _odd_function_jvp(primals, tangents):
    """Divided differences of m on the eigenvalues ±s of the dilation; differentiating `svd` fails where they meet."""
    target, t, total = primals
    outputs = target.shape[0]
    value = _odd_function(target, t, total)
    dilation = jnp.block(
        [[jnp.zeros((outputs, outputs)), target], [target.T, jnp.zeros((target.shape[1],) * 2)]]
    )
    values, vectors = jnp.linalg.eigh(dilation)
    modes = _mode(values, t, total)
    gap = values[:, None] - values[None, :]
    is_close = jnp.abs(gap) * jnp.maximum(t, 1.0) < _CLOSE
    middle = 0.5 * (values[:, None] + values[None, :])
    slope = jax.vmap(jax.vmap(jax.grad(_mode), (0, None, None)), (0, None, None))(middle, t, total)
    divided = jnp.where(is_close, slope, (modes[:, None] - modes[None, :]) / jnp.where(is_close, 1.0, gap))
    change = vectors[:outputs].T @ tangents[0] @ vectors[outputs:]
    moved = vectors @ (divided * (change + change.T)) @ vectors.T
    left, singular, right = jnp.linalg.svd(target, full_matrices=False)
    at = jax.vmap(jax.grad(_mode, argnums=(1, 2)), (0, None, None))(singular, t, total)
    rest = sum(
        (left * slope_here[None, :]) @ right * tangent
        for slope_here, tangent in zip(at, tangents[1:], strict=True)
    )
    return value, moved[:outputs, outputs:] + rest
