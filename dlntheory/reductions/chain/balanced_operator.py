r"""The operator of the balanced end-to-end flow, $K(z)[G] = \sum_{l=1}^L P_l(z)\, G\, Q_l(z)$.

$P_l = (zz^\top)^{(L-l)/L}$, $Q_l = (z^\top z)^{(l-1)/L}$. Evaluated from one thin SVD; differentiated by divided
differences, since differentiating through `svd` is wrong at repeated singular values (8 to 71 % off, no NaN).
"""

from __future__ import annotations

from functools import partial

import jax
import jax.numpy as jnp


def _power(x, exponent: float):
    """$x^{a}$ for $x \\ge 0$ with $0^0 = 1$ and a finite (zero) tangent at $x = 0$."""
    if exponent == 0:
        return jnp.ones_like(x)
    safe = jnp.where(x > 0, x, 1.0)
    return jnp.where(x > 0, safe**exponent, 0.0)


def _gamma(s_left, s_right, depth: int):
    r"""$\Gamma_{ij} = \sum_l s_i^{2(L-l)/L} s_j^{2(l-1)/L}$, by the sum (the quotient cancels near equal values)."""
    return sum(
        _power(s_left, 2 * (depth - l) / depth)[:, None] * _power(s_right, 2 * (l - 1) / depth)[None, :]
        for l in range(1, depth + 1)
    )


def _thin_svd(z, rank):
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    # Rank is conserved; rounding noise in the empty directions would be amplified by the fractional powers.
    return u, jnp.where(jnp.arange(s.shape[0]) < rank, s, 0.0), vt.T


@partial(jax.custom_jvp, nondiff_argnums=(2,))
def balanced_operator(z, gradient, depth: int, rank):
    r"""$K(z)[G]$ for the balanced flow of depth $L$.

    Args:
        z: (out, inp).
        gradient: $G$, (out, inp).
        depth: $L \ge 1$.
        rank: the singular values of `z` beyond it are exactly zero; at most min(out, inp).

    Returns:
        (out, inp). Differentiable in `z` (along directions that keep the rank) and in `gradient`.
    """
    u, s, v = _thin_svd(z, rank)
    core = u.T @ gradient @ v
    result = u @ (_gamma(s, s, depth) * core) @ v.T
    # Directions outside the thin bases have singular value 0, where Gamma(s, 0) = s^{2(L-1)/L}.
    edge = _power(s, 2 * (depth - 1) / depth)
    if v.shape[0] > v.shape[1]:
        rest = u.T @ gradient - core @ v.T
        result = result + u @ (edge[:, None] * rest)
    if u.shape[0] > u.shape[1]:
        rest = gradient @ v - u @ core
        result = result + (rest * edge[None, :]) @ v.T
    return result


@balanced_operator.defjvp
def _balanced_operator_jvp(depth, primals, tangents):
    z, gradient, rank = primals
    dz, dgradient, _ = tangents
    u, s, vt = jnp.linalg.svd(z, full_matrices=True)
    count = s.shape[0]
    s = jnp.where(jnp.arange(count) < rank, s, 0.0)
    left = jnp.concatenate([s, jnp.zeros(u.shape[0] - count, s.dtype)])
    right = jnp.concatenate([s, jnp.zeros(vt.shape[0] - count, s.dtype)])
    out = balanced_operator(z, gradient, depth, rank)
    tangent = balanced_operator(z, dgradient, depth, rank)
    for l in range(1, depth + 1):
        p = _spectral_power(u, left, (depth - l) / depth)
        q = _spectral_power(vt.T, right, (l - 1) / depth)
        dp = _power_tangent(u, left, dz @ z.T + z @ dz.T, depth - l, depth)
        dq = _power_tangent(vt.T, right, dz.T @ z + z.T @ dz, l - 1, depth)
        tangent = tangent + dp @ gradient @ q + p @ gradient @ dq
    return out, tangent


def _spectral_power(basis, s, exponent: float):
    return (basis * _power(s, 2 * exponent)[None, :]) @ basis.T


def _power_tangent(basis, s, direction, numerator: int, depth: int):
    r"""The derivative of $A \mapsto A^{m/L}$ at $A = U s^2 U^\top$ along a symmetric direction.

    With $t = s^{2/L}$ the divided difference of $x^{m/L}$ is
    $\sum_{a<m} t_i^{m-1-a} t_j^{a} / \sum_{a<L} t_i^{L-1-a} t_j^{a}$: positive terms only, nothing cancels.
    """
    if numerator == 0:
        return jnp.zeros_like(direction)
    t = _power(s, 2 / depth)

    def difference(m: int):
        return sum(_power(t, m - 1 - a)[:, None] * _power(t, a)[None, :] for a in range(m))

    below = difference(depth)
    divided = jnp.where(below > 0, difference(numerator) / jnp.where(below > 0, below, 1.0), 0.0)
    return basis @ (divided * (basis.T @ direction @ basis)) @ basis.T
