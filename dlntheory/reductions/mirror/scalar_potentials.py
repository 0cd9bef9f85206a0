r"""Scalar mirror potentials: for each entrywise flow $\Phi'$, $\Phi$ and $K = 1/\Phi''$ of the bare product $p$.

The reduced flow $\dot p = -K(p)\,g$ is the mirror flow $\frac{d}{dt}\Phi'(p) = -g$. Every function takes the constants
of the law as arrays that broadcast with $p$; all go through jit, vmap and grad.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from ..entrywise.roots import smallest_square
from ..guarded import radius

_PANELS = 24
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(20)


def entropy_gradient(p, width):
    r"""$\operatorname{asinh}(p/s)$, or $\log|p|$ where $s = 0$: the slope of the hyperbolic entropy of width $s$.

    Args:
        p: any shape.
        width: $s \ge 0$, same shape.
    """
    positive = width > 0
    safe = jnp.where(positive, width, 1.0)
    logarithm = jnp.log(jnp.abs(jnp.where(positive | (p == 0), 1.0, p)))
    return jnp.where(positive, jnp.arcsinh(p / safe), logarithm)


def entropy(p, width):
    r"""$p \operatorname{asinh}(p/s) - \sqrt{p^2 + s^2} + s$, or $p \log|p| - p$ where $s = 0$ (up to $|p|$'s sign).

    Its slope is `entropy_gradient`. The difference of the two roots is taken as $p^2/(\sqrt{p^2 + s^2} + s)$.
    """
    total = radius(p, width) + width
    excess = jnp.where(total > 0, p**2 / jnp.where(total > 0, total, 1.0), 0.0)
    # For s = 0 the slope log|p| integrates to p log|p| - p: no absolute value in the second term.
    return p * entropy_gradient(p, width) - jnp.where(width > 0, excess, p)


def powers_dual(p, a, b, exponent: int):
    r"""The dual coordinate $y$ with $u^L - v^L = p$, $u^{2-L} = a - L(L-2)y$, $v^{2-L} = b + L(L-2)y$.

    With $a + b = S$, $m = L/(L-2)$ and $u^{2-L} = S/(1 + e^{r})$ the equation is
    $(1 + e^{r})^m - (1 + e^{-r})^m = p\,S^m$, odd in $r$ and convex for $r > 0$: Newton from an upper bound.

    Args:
        p: any shape.
        a: $u_0^{2-L} > 0$, same shape.
        b: $v_0^{2-L} > 0$, same shape.
        exponent: $L \ge 3$.

    Returns:
        $y$ in the shape of p; 0 at the start.
    """
    total, m = a + b, exponent / (exponent - 2)
    r = _logistic_root(p * total**m, m)
    return (a - total * jax.nn.sigmoid(-r)) / (exponent * (exponent - 2))


def powers_weights(y, a, b, exponent: int):
    """$u$ and $v$ at a dual coordinate, see `powers_dual`."""
    rate, power = exponent * (exponent - 2), -1 / (exponent - 2)
    return (a - rate * y) ** power, (b + rate * y) ** power


@jax.custom_jvp
def _logistic_root(target, m: float):
    size = jnp.abs(target)
    # Upper bound from (1 + e^{-r})^m <= 2^m, written so that a small target keeps its digits.
    r = jnp.log1p(2 * jnp.expm1(jnp.log1p(size / 2**m) / m))

    def newton(_, r):
        value = jnp.exp(m * jnp.log1p(jnp.exp(-r))) * jnp.expm1(m * r)
        return r - (value - size) / _logistic_slope(r, m)

    return jnp.sign(target) * jax.lax.fori_loop(0, 12, newton, r)


@_logistic_root.defjvp
def _logistic_root_jvp(primals, tangents):
    target, m = primals
    r = _logistic_root(target, m)
    return r, tangents[0] / _logistic_slope(r, m)


def _logistic_slope(r, m: float):
    up, down = jnp.exp(r), jnp.exp(-r)
    return m * (up * (1 + up) ** (m - 1) + down * (1 + down) ** (m - 1))


def chain_gradient(p, start, gaps):
    r"""$\Phi'(p) - \Phi'(p_0) = \int_{p_0}^{p} dz/K(z)$ of a scalar chain, by composite Gauss–Legendre quadrature.

    With one smallest weight $w$ the integral is $\int dw / \sqrt{\prod_{c_l > 0}(w^2 + c_l)}$, taken in $x$ with
    $w = \sqrt{c_{\min}} \sinh x$; with $q \ge 2$ equal ones it is
    $\tfrac12 \int e^{(1 - q/2)\tau} / \sqrt{\prod_{c_l > 0}(e^\tau + c_l)}\, d\tau$ with $t = e^\tau$.

    Args:
        p: any shape.
        start: $p_0$, same shape, of the same sign as p where $q \ge 2$.
        gaps: $c$, of shape (L, *shape of p).

    Returns:
        In the shape of p, with 14 digits while $|x| \le 24$.
    """
    positive = gaps > 0
    single = jnp.sum(jnp.where(positive, 0.0, 1.0), axis=0) == 1
    smallest = jnp.min(jnp.where(positive, gaps, jnp.inf), axis=0)
    smallest = jnp.where(jnp.isfinite(smallest), smallest, 1.0)
    t, t0 = smallest_square(p, gaps), smallest_square(start, gaps)

    def coordinate(value, square):
        safe = jnp.where(square > 0, square, 1.0)
        crossing = jnp.sign(value) * jnp.arcsinh(jnp.where(square > 0, jnp.sqrt(safe / smallest), 0.0))
        return jnp.where(single, crossing, jnp.where(square > 0, jnp.log(safe), -jnp.inf))

    left, right = coordinate(start, t0), coordinate(p, t)
    count = jnp.sum(jnp.where(positive, 0.0, 1.0), axis=0)
    steps = (np.arange(_PANELS)[:, None] + (1 + _NODES[None, :]) / 2).ravel() / _PANELS
    axes = (-1, *(1,) * p.ndim)
    x = left[None] + (right - left)[None] * steps.reshape(axes)
    crossing_x, kept_x = jnp.where(single[None], x, 0.0), jnp.where(single[None], 0.0, x)
    square = jnp.where(single[None], smallest[None] * jnp.sinh(crossing_x) ** 2, jnp.exp(kept_x))
    # Products in logarithms: a deep chain would overflow.
    logs = jnp.log(jnp.where(positive[None], square[:, None] + gaps[None], 1.0))
    rest = jnp.sum(logs, axis=1) / 2
    crossing = jnp.exp(jnp.log(smallest)[None] / 2 + jnp.log(jnp.cosh(crossing_x)) - rest)
    kept = jnp.sign(start)[None] * jnp.exp((1 - count / 2)[None] * kept_x - rest) / 2
    weights = np.tile(_WEIGHTS, _PANELS).reshape(axes) / (2 * _PANELS)
    return (right - left) * jnp.sum(weights * jnp.where(single[None], crossing, kept), axis=0)


def chain_conjugate(p, gaps):
    r"""$\Phi^*(\Phi'(p)) = t/2$ up to a constant, so that $\Phi(p) = p\,\Phi'(p) - t/2$."""
    return smallest_square(p, gaps) / 2
