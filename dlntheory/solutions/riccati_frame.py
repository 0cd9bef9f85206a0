r"""The matrix $F$ of the two-layer Riccati equation: its eigenvectors, growth factors, and their derivative.

$F = \begin{pmatrix} -\frac\lambda2 I & S^\top \\ S & \frac\lambda2 I \end{pmatrix} - \gamma I$ has the eigenvalues
$\pm\sqrt{\sigma_i^2 + \lambda^2/4} - \gamma$ on the planes of the singular vectors of S, and
$\mp\frac\lambda2 - \gamma$ beside them. Everything is taken from one singular value decomposition of S.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

#: Pairs of eigenvalues closer than this times the inverse time are one to the derivative; error about its square.
_CLOSE = 1e-5


class Frame(NamedTuple):
    r"""Factors of $e^{Ft}$ and $\int_0^t e^{2Fs} ds = P\,\mathrm{diag}(g)\,P^\top$ that do not overflow.

    Attributes:
        outer: (d + o, d + o), $P$ where the result is put together; its columns are eigenvectors.
        inner: (d + o, d + o), the same $P$ where the start is taken apart. The two differ in their derivatives.
        log_growth: (d + o,), $\log g_i$, $g_i = (e^{2 f_i t} - 1)/(2 f_i)$.
        log_size: (d + o,), $\log(e^{f_i t}/\sqrt{g_i})$, bounded for large times.
    """

    outer: jax.Array
    inner: jax.Array
    log_growth: jax.Array
    log_size: jax.Array


def generator(target: Any, lam: Any, decay: Any = 0.0) -> jax.Array:
    """$F$ (d + o, d + o) of the target $S$ (o, d), the imbalance λ and the weight decay γ."""
    target = jnp.asarray(target)
    outputs, inputs = target.shape
    half = jnp.asarray(lam, target.dtype) / 2.0
    upper = jnp.concatenate([-half * jnp.eye(inputs, dtype=target.dtype), target.T], axis=1)
    lower = jnp.concatenate([target, half * jnp.eye(outputs, dtype=target.dtype)], axis=1)
    shift = jnp.asarray(decay, target.dtype) * jnp.eye(inputs + outputs, dtype=target.dtype)
    return jnp.concatenate([upper, lower]) - shift


def eigensystem(target: Any, lam: Any, decay: Any = 0.0) -> tuple[jax.Array, jax.Array]:
    """Eigenvalues (d + o,) and eigenvectors (d + o, d + o) of the generator. Its derivative is that of `frame`."""
    target = jnp.asarray(target)
    outputs, inputs = target.shape
    count = min(outputs, inputs)
    half = jnp.asarray(lam, target.dtype) / 2.0
    left, singular, right = jnp.linalg.svd(target, full_matrices=True)
    kappa = jnp.hypot(singular, half)
    # kappa + half of the larger sign; the other one as a quotient, so that nothing cancels.
    larger = kappa + jnp.abs(half)
    smaller = singular * (singular / jnp.where(larger > 0, larger, 1.0))
    weight = jnp.where(half >= 0, larger, smaller)
    length = jnp.hypot(singular, weight)
    # At sigma = 0 and lambda <= 0 the eigenvector of +kappa is the input direction.
    cosine = jnp.where(length > 0, singular / jnp.where(length > 0, length, 1.0), 1.0)
    sine = jnp.where(length > 0, weight / jnp.where(length > 0, length, 1.0), 0.0)
    v, u = right.T[:, :count], left[:, :count]
    plus = jnp.concatenate([v * cosine[None, :], u * sine[None, :]])
    minus = jnp.concatenate([-v * sine[None, :], u * cosine[None, :]])
    alone_in = jnp.concatenate([right.T[:, count:], jnp.zeros((outputs, inputs - count), target.dtype)])
    alone_out = jnp.concatenate([jnp.zeros((inputs, outputs - count), target.dtype), left[:, count:]])
    values = jnp.concatenate(
        [kappa, -kappa, jnp.full(inputs - count, -half), jnp.full(outputs - count, half)]
    )
    vectors = jnp.concatenate([plus, minus, alone_in, alone_out], axis=1)
    return values - jnp.asarray(decay, target.dtype), vectors


@jax.custom_jvp
def frame(target: Any, lam: Any, decay: Any, t: Any) -> Frame:
    """The factors at one time $t > 0$; differentiable in `target`, `lam` and `decay`, also at repeated eigenvalues."""
    values, vectors = eigensystem(target, lam, decay)
    rate = jnp.abs(values)
    x = 2.0 * rate * t
    is_flat = x < 1e-300
    # (1 - e^{-x})/x, from which g = t * fraction * e^{2 max(f, 0) t}
    fraction = jnp.where(is_flat, 1.0, -jnp.expm1(-x) / jnp.where(is_flat, 1.0, x))
    log_part = jnp.log(fraction) + jnp.log(t)
    log_growth = log_part + jnp.where(values > 0, x, 0.0)
    log_size = -0.5 * (log_part + jnp.where(values > 0, 0.0, x))
    return Frame(vectors, vectors, log_growth, log_size)


@frame.defjvp
def _frame_jvp(primals, tangents):
    r"""The eigenvectors turn, except between eigenvalues so close that turning would divide by their distance.

    There $\delta F$ (as $b_{ij}$ in the eigenbasis, diagonal included) is put into the growth factors instead: with
    $r = g'/(2g)$ the start is multiplied by $I + r b$ and the result by $I + l b$,
    $l_{ij} = (e^{(f_i - f_j)t} - 1)/(f_i - f_j) - e^{(f_i - f_j)t} r_{ij}$, which changes $e^{Ft}$ and $g(F)$ as
    $\delta F$ does. All factors stay bounded, at repeated eigenvalues as well.
    """
    target, lam, decay, t = primals
    dtarget, dlam, ddecay, _ = tangents
    out = frame(target, lam, decay, t)
    values, vectors = eigensystem(target, lam, decay)
    change = vectors.T @ generator(dtarget, dlam, ddecay) @ vectors
    gap = values[:, None] - values[None, :]
    is_close = jnp.abs(gap) * jnp.maximum(t, 1.0) < _CLOSE
    turn = jnp.where(is_close, 0.0, change / jnp.where(is_close, 1.0, gap))
    mean = 0.5 * (values[:, None] + values[None, :])
    inner = t * _log_growth_slope(2.0 * mean * t)
    step = jnp.where(is_close, gap, 0.0) * t
    outer = t * (1.0 + step / 2.0) - jnp.exp(step) * inner
    # Far out t - inner is 1/(2f) where f > 0, a small difference of large numbers.
    far = -step * t / 2.0 + (1.0 + step) * 0.5 / jnp.where(mean > 0, mean, 1.0)
    outer = jnp.where(mean * t > 20.0, far, outer)
    kept = jnp.where(is_close, change, 0.0)
    tangent = Frame(
        outer=vectors @ (turn.T + outer * kept),
        inner=vectors @ (turn.T + (inner * kept).T),
        log_growth=jnp.zeros_like(out.log_growth),
        log_size=jnp.zeros_like(out.log_size),
    )
    return out, tangent


def _log_growth_slope(x):
    r"""$\frac{d}{dx} \log\frac{e^x - 1}{x} = \frac{1}{1 - e^{-x}} - \frac1x$, by its series near 0."""
    is_small = jnp.abs(x) < 0.3
    far = jnp.where(is_small, 1.0, x)
    square = jnp.where(is_small, x, 0.0) ** 2
    series = 1 / 12 + square * (-1 / 720 + square * (1 / 30240 + square * (-1 / 1209600 + square / 47900160)))
    direct = -1.0 / jnp.expm1(-far) - 1.0 / far
    return jnp.where(is_small, 0.5 + x * series, direct)
