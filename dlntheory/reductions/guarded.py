r"""Square roots, quotients and norms whose derivatives at 0 are 0, not NaN; and the operator of one neuron."""

from __future__ import annotations

import jax.numpy as jnp


def guarded_sqrt(x):
    r"""$\sqrt x$ for $x > 0$, else 0, with derivative 0 there. Pure."""
    positive = x > 0
    # `where` on the result alone would give NaN as its derivative: both branches are differentiated.
    return jnp.where(positive, jnp.sqrt(jnp.where(positive, x, 1.0)), 0.0)


def radius(a, b):
    r"""$\sqrt{a^2 + b^2}$ with derivative 0, not NaN, at the origin. Pure."""
    return guarded_sqrt(a**2 + b**2)


def guarded_quotient(value, divisor):
    r"""`value / divisor` where the divisor is positive, else 0, with derivative 0 there. Pure."""
    positive = divisor > 0
    return jnp.where(positive, value / jnp.where(positive, divisor, 1.0), 0.0)


def squared_norms(square, gap):
    r"""$|u|^2$ and $|v|^2$ from $|u|^2|v|^2$ and $\lambda = |u|^2 - |v|^2$. Pure.

    The smaller one by their product, since $\sqrt{\lambda^2 + 4\,|u|^2|v|^2} - |\lambda|$ cancels.
    """
    larger = 0.5 * (jnp.abs(gap) + guarded_sqrt(gap**2 + 4.0 * square))
    smaller = guarded_quotient(square, larger)
    return jnp.where(gap >= 0, larger, smaller), jnp.where(gap >= 0, smaller, larger)


def neuron_operator(z, gradient, gap):
    r"""$K(Z)[G] = Z Z^\top G/|v|^2 + G Z^\top Z/|u|^2$ at $Z = u v^\top$ with $\lambda = |u|^2 - |v|^2$.

    A side of size one is a scalar, $Z Z^\top/|v|^2 = |u|^2$, which needs no direction and no division. Both quotients
    are written by $|Z|^2 = |u|^2|v|^2$, so that a vanishing factor divides nothing.

    Args:
        z: $Z$, (…, out, inp), each of rank at most one.
        gradient: $G$, in the shape of `z`.
        gap: $\lambda$, (…).

    Returns:
        An array in the shape of `z`. Differentiable in all arguments; a neuron with $Z = 0$ keeps the term of its
        other factor only where that needs no direction.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> u, v = jnp.array([[2.0], [1.0]]), jnp.array([[1.0, 1.0, 2.0]])
        >>> out = neuron_operator(u @ v, jnp.ones((2, 3)), jnp.array(-1.0))
        >>> bool(jnp.allclose(out, u @ u.T @ jnp.ones((2, 3)) + jnp.ones((2, 3)) @ v.T @ v))
        True
    """
    rows, columns = z.shape[-2:]
    square = jnp.sum(z * z, axis=(-2, -1))
    u2, v2 = (value[..., None, None] for value in squared_norms(square, gap))
    square = square[..., None, None]
    flipped = jnp.swapaxes(z, -1, -2)
    left = u2 * gradient if rows == 1 else guarded_quotient(u2, square) * (z @ (flipped @ gradient))
    right = v2 * gradient if columns == 1 else guarded_quotient(v2, square) * ((gradient @ flipped) @ z)
    return left + right
