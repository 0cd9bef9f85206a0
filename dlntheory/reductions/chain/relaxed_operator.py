r"""The operator of the relaxed balanced flow, $K(z)[G] = \sum_{l=1}^L P_l(z)\, G\, Q_l(z)$.

$P_l$ has the eigenvalues $p_l(t_i) = \prod_{k>l}(t_i + c_k)$ on the left singular vectors of $z$, $Q_l$ the
eigenvalues $q_l(t_j) = \prod_{k<l}(t_j + c_k)$ on the right ones, with $\prod_k (t_i + c_k) = \sigma_i^2$.
Evaluated from one thin SVD of $z$ (`eigh` of $zz^\top$ would lose half the digits of small $\sigma$);
differentiated by divided differences written as sums of positive terms, since differentiating through `svd` is wrong
at repeated singular values.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from ...initial.free_directions import free_square


def upper_products(factors):
    r"""$\prod_{k>l} f_k$ for $l = 1, …, L$; `factors` is (L, …)."""
    ones = jnp.ones_like(factors[:1])
    return jnp.concatenate([jnp.cumprod(factors[:0:-1], axis=0)[::-1], ones])


def lower_products(factors):
    r"""$\prod_{k<l} f_k$ for $l = 1, …, L$; `factors` is (L, …)."""
    return jnp.concatenate([jnp.ones_like(factors[:1]), jnp.cumprod(factors[:-1], axis=0)])


def upper_differences(factors):
    r"""Divided differences in $t$ of $t \mapsto \prod_{k>l}(t + c_k)$, for $l = 0, …, L$.

    By $d_{l-1}[x, y] = p_l(x) + (y + c_l)\, d_l[x, y]$, $d_L = 0$: only positive terms, nothing cancels.

    Args:
        factors: $t_i + c_k$, (L, n).

    Returns:
        (L + 1, n, n); row 0 is $\Gamma_{ij} = (\sigma_i^2 - \sigma_j^2)/(t_i - t_j)$.
    """
    products = upper_products(factors)
    rows = [jnp.zeros((factors.shape[1],) * 2, factors.dtype)]
    for l in range(factors.shape[0] - 1, -1, -1):
        rows.append(products[l][:, None] + factors[l][None, :] * rows[-1])
    return jnp.stack(rows[::-1])


@jax.custom_jvp
def _svd(z):
    return jnp.linalg.svd(z, full_matrices=True)


@_svd.defjvp
def _svd_jvp(primals, tangents):
    raise TypeError(
        "The relaxed balanced operator has first derivatives in z only: differentiate it once, and differentiate "
        "the full flow where second derivatives are needed."
    )


def _squares(s, offsets, rank):
    """$t_i$ of the singular values, and which of them are kept."""
    kept = jnp.arange(s.shape[0]) < rank
    return free_square(jnp.where(kept, s, 0.0) ** 2, offsets), kept


def _side(products, kept, null):
    """Eigenvalues (L, n): products where a direction is kept, the null values elsewhere and beyond."""
    return jnp.where(kept[None, :], products, null[:, None])


@jax.custom_jvp
def relaxed_operator(z, gradient, offsets, left, right, rank):
    r"""$K(z)[G]$ of the relaxed balanced flow.

    Args:
        z: (out, inp).
        gradient: $G$, (out, inp).
        offsets: $c_l \ge 0$ with minimum 0, (L,).
        left: the eigenvalue of $P_l$ on the null space of $z^\top$, (L,).
        right: the eigenvalue of $Q_l$ on the null space of $z$, (L,).
        rank: singular triples beyond it belong to the null spaces; at most min(out, inp).

    Returns:
        (out, inp). Has first derivatives in `z` (along directions that keep the rank, if the null values differ from
        the values at $\sigma = 0$ or if the offset 0 is repeated) and in all other real arguments.
    """
    u, s, vt = jnp.linalg.svd(z, full_matrices=False)
    t, kept = _squares(s, offsets, rank)
    factors = t[None, :] + offsets[:, None]
    p = _side(upper_products(factors), kept, left)
    q = _side(lower_products(factors), kept, right)
    core = u.T @ gradient @ vt.T
    result = u @ ((p.T @ q) * core) @ vt
    if vt.shape[1] > vt.shape[0]:
        rest = u.T @ gradient - core @ vt
        result = result + u @ ((p.T @ right)[:, None] * rest)
    if u.shape[0] > u.shape[1]:
        rest = gradient @ vt.T - u @ core
        result = result + (rest * (left @ q)[None, :]) @ vt
    return result


@relaxed_operator.defjvp
def _relaxed_operator_jvp(primals, tangents):
    z, gradient, offsets, left, right, rank = primals
    dz, dgradient, doffsets, dleft, dright, _ = tangents
    u, s, vt = _svd(z)
    t, kept = _squares(s, offsets, rank)
    core, dcore, shift = (u.T @ x @ vt.T for x in (gradient, dgradient, dz))

    def side(products, differences, null, dnull, size, direction):
        """Eigenvalues, their derivative along the offsets and null values, and the tangents of P_l or Q_l."""
        padding = (0, size - s.shape[0])
        sigma, squares, keep = (jnp.pad(x, padding) for x in (jnp.where(kept, s, 0.0), t, kept))
        factors = squares[None, :] + offsets[:, None]
        values = _side(products(factors), keep, null)
        d = differences(factors)
        whole, parts = d[0], d[1:]
        slope = jnp.diagonal(whole)
        inner = jnp.sum(upper_products(factors) * lower_products(factors) * doffsets[:, None], axis=0)
        dsquares = -jnp.where(slope > 0, inner / jnp.where(slope > 0, slope, 1.0), 0.0)
        _, moved = jax.jvp(products, (factors,), (dsquares[None, :] + doffsets[:, None],))
        dvalues = _side(moved, keep, dnull)
        # U^T (dz z^T + z dz^T) U, built from the singular values; zero where both directions are null.
        source = direction[:, : s.shape[0]] * sigma[None, : s.shape[0]]
        source = jnp.pad(source, ((0, 0), padding))
        source = source + source.T
        divided = jnp.where((whole > 0)[None], parts / jnp.where(whole > 0, whole, 1.0)[None], 0.0)
        # The null values may differ from the limit at sigma = 0: a jump across (kept, null) pairs.
        at_zero = products(offsets[:, None])[:, 0]
        mixed = keep[:, None] != keep[None, :]
        x = jnp.where(mixed, sigma[:, None] ** 2 + sigma[None, :] ** 2, 0.0)
        jump = (at_zero - null)[:, None, None] / jnp.where(x > 0, x, 1.0)[None]
        divided = divided + jnp.where((x > 0)[None], jump, 0.0)
        return values, dvalues, divided * source[None]

    p, dp, dleft_operator = side(upper_products, upper_differences, left, dleft, z.shape[0], shift)
    q, dq, dright_operator = side(lower_products, _lower_differences, right, dright, z.shape[1], shift.T)
    tangent = (p.T @ q) * dcore + (dp.T @ q + p.T @ dq) * core
    tangent = tangent + jnp.sum((dleft_operator @ core) * q[:, None, :], axis=0)
    tangent = tangent + jnp.sum(p[:, :, None] * (core @ dright_operator), axis=0)
    return relaxed_operator(z, gradient, offsets, left, right, rank), u @ tangent @ vt


def _lower_differences(factors):
    """As `upper_differences` for $\\prod_{k<l}(t + c_k)$: the whole product first, then $l = 1, …, L$."""
    flipped = upper_differences(factors[::-1])
    return jnp.concatenate([flipped[:1], flipped[:0:-1]])


def balanced_operator(z, gradient, depth: int, rank):
    r"""$K(z)[G] = \sum_{l=1}^L (zz^\top)^{(L-l)/L}\, G\, (z^\top z)^{(l-1)/L}$: `relaxed_operator` where all λ are 0.

    Args:
        z: (out, inp).
        gradient: $G$, (out, inp).
        depth: $L \ge 1$.
        rank: the singular values of `z` beyond it are exactly zero; at most min(out, inp).

    Returns:
        (out, inp). Has first derivatives in `z` (along directions that keep the rank) and in `gradient`.
    """
    unit = jnp.zeros(depth, jnp.result_type(float))
    # On the null spaces only the empty products P_L and Q_1 remain, which are 1.
    return relaxed_operator(z, gradient, unit, unit.at[-1].set(1.0), unit.at[0].set(1.0), rank)
