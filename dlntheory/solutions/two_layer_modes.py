r"""One mode of a deep linear network on whitened data, in closed form: every sign, no cancellation, no overflow.

All functions here are pure JAX: they broadcast, and are compatible with jit, vmap and grad. Time is gradient-flow
time for the loss $\frac12 (s - \sigma)^2$ of one mode; `WhitenedProblem` gives $\sigma$ and the clock of a real loss.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from .._checks import broadcast_numbers
from .._precision import require_float64
from ..reductions.guarded import guarded_sqrt


def balanced_mode(t: Any, sigma: Any, s0: Any) -> jax.Array:
    r"""Two balanced layers: the solution of $s' = 2 s (\sigma - s)$, $s(0) = s_0 \ge 0$.

    With $E = e^{-2|\sigma| t}$ and $r = (1 - E)/|\sigma|$, $s = s_0/(E + s_0 r)$ for $\sigma > 0$ and
    $s_0 E/(1 + s_0 r)$ for $\sigma \le 0$: all terms are non-negative.

    Args:
        t: times, at least 0.
        sigma: the singular value of the target along the mode; any sign (negative: start and target are opposed, and
            the mode decays to 0, since a balanced mode never changes sign).
        s0: $\ge 0$, the mode at time 0.

    Returns:
        $s(t)$, in the broadcast shape. NaN for $t < 0$ or $s_0 < 0$, which a traced function cannot refuse.

    References:
        [saxe2014exact]; the form without cancellation was derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> print(f"{balanced_mode(1e6, 2.0, 1e-300):.3f} {balanced_mode(2.0, 0.0, 1.0):.3f}")
        2.000 0.200
    """
    t, sigma, s0 = _broadcast("balanced_mode", t=t, sigma=sigma, s0=s0)
    rate = jnp.where(sigma > 0, sigma, -sigma)  # not `abs`, whose derivative at 0 is 0
    decay, r = jnp.exp(-2.0 * rate * t), _growth(rate, t)
    rising = s0 / jnp.where(s0 > 0, decay + s0 * r, 1.0)
    falling = s0 * decay / (1.0 + s0 * r)
    value = jnp.where(sigma > 0, rising, falling)
    return jnp.where((t >= 0) & (s0 >= 0), value, jnp.nan)


def balanced_mode_time(s: Any, sigma: Any, s0: Any) -> jax.Array:
    r"""The time at which `balanced_mode` reaches s: $\frac{1}{2\sigma} \log \frac{s (\sigma - s_0)}{s_0 (\sigma - s)}$.

    Args:
        s: the value to reach, strictly between `s0` and `sigma` or equal to `s0`.
        sigma: the target, not 0.
        s0: the start, positive.

    Returns:
        The time; NaN where s is never reached.
    """
    s, sigma, s0 = _broadcast("balanced_mode_time", s=s, sigma=sigma, s0=s0)
    is_reached = (s0 > 0) & (s > 0) & ((s - s0) * (sigma - s) >= 0) & (s != sigma) & (sigma != 0)
    ratio = (s / s0) * ((sigma - s0) / jnp.where(is_reached, sigma - s, 1.0))
    time = jnp.log(jnp.where(is_reached, ratio, 1.0)) / (2.0 * jnp.where(sigma != 0, sigma, 1.0))
    return jnp.where(is_reached, time, jnp.nan)


def infinite_depth_mode(tau: Any, sigma: Any, s0: Any) -> jax.Array:
    r"""Infinite depth in the clock $\tau = L t$: the solution of $s' = s^2 (\sigma - s)$, $0 < s_0 < \sigma$.

    $s = \sigma/(1 + \omega(u_0 + \log u_0 - \sigma^2\tau))$ with $u_0 = \sigma/s_0 - 1$ and $\omega$ the Wright omega
    function. A finite depth L is approached as 1/L.

    Returns:
        $s(\tau)$; NaN unless $0 < s_0 < \sigma$ and $\tau \ge 0$.

    References:
        [saxe2014exact] for the equation.
    """
    tau, sigma, s0 = _broadcast("infinite_depth_mode", tau=tau, sigma=sigma, s0=s0)
    is_legal = (s0 > 0) & (sigma > s0) & (tau >= 0)
    ratio = jnp.where(is_legal, (sigma - s0) / jnp.where(s0 > 0, s0, 1.0), 1.0)
    value = sigma / (1.0 + wright_omega(ratio + jnp.log(ratio) - sigma**2 * tau))
    return jnp.where(is_legal, value, jnp.nan)


def wright_omega(x: Any) -> jax.Array:
    r"""The real Wright omega function: $\omega + \log \omega = x$.

    Solved for $\log\omega$ where x is below 1 (there $\omega$ underflows gracefully), for $\omega$ above.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> print(f"{wright_omega(1.0):.12f}")
        1.000000000000
    """
    (x,) = _broadcast("wright_omega", x=x)
    # Below: v = log w solves v + e^v = x, convex; from v = x - log(1 + e^x) Newton converges in a few steps.
    low = jnp.minimum(x, 1.0)
    v = low - jnp.logaddexp(0.0, low)
    for _ in range(6):
        v = v - (v + jnp.exp(v) - low) / (1.0 + jnp.exp(v))
    # Above: w + log w = x from w = x - log x, where the second derivative is at most 1.
    high = jnp.maximum(x, 1.0)
    w = high - jnp.log(high)
    for _ in range(5):
        w = w - (w + jnp.log(w) - high) * w / (1.0 + w)
    return jnp.where(x < 1.0, jnp.exp(v), w)


def unbalanced_mode(t: Any, sigma: Any, a0: Any, b0: Any) -> tuple[jax.Array, jax.Array]:
    r"""Two layers without balance: the solution of $a' = b(\sigma - ab)$, $b' = a(\sigma - ab)$; then $s = ab$.

    $p = (a+b)^2$ and $q = (a-b)^2$ obey scalar Riccati equations whose solutions are quotients of non-negative terms,
    so that nothing cancels at any imbalance $a^2 - b^2$, zero included: relative errors stay near rounding.

    Args:
        t: times, at least 0.
        sigma: the target, any sign.
        a0: the second layer at time 0, any sign.
        b0: the first layer at time 0, any sign.

    Returns:
        $a(t)$ and $b(t)$, in the broadcast shape; NaN for $t < 0$.

    References:
        [saxe2014exact] for the hyperbolic solution; this form was derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> a, b = unbalanced_mode(1e8, 2.0, 3.0, -1.0)
        >>> print(f"{a * b:.12f} {a**2 - b**2:.12f}")
        2.000000000000 8.000000000000
    """
    t, sigma, a0, b0 = _broadcast("unbalanced_mode", t=t, sigma=sigma, a0=a0, b0=b0)
    first, second = (a0 + b0) ** 2, (a0 - b0) ** 2
    p, q, product = _modes(t, sigma, first, second, a0 * b0, ((a0 - b0) * (a0 + b0)) ** 2)
    total, gap = jnp.sign(a0 + b0) * guarded_sqrt(p), jnp.sign(a0 - b0) * guarded_sqrt(q)
    a, b = (total + gap) / 2.0, (total - gap) / 2.0
    # The smaller of the two would be a difference: take it from the product.
    a_is_large = jnp.abs(a) >= jnp.abs(b)
    large = jnp.where(a_is_large, a, b)
    small = product / jnp.where(large != 0, large, 1.0)
    a, b = jnp.where(a_is_large, a, small), jnp.where(a_is_large, small, b)
    return jnp.where(t >= 0, a, jnp.nan), jnp.where(t >= 0, b, jnp.nan)


def scalar_network(t: Any, sigma: Any, product0: Any, norms0: Any) -> tuple[jax.Array, jax.Array]:
    r"""One input, one output, any number of hidden neurons, no balance: $w = W_2 W_1$ and $n = |W_2|^2 + |W_1|^2$.

    $w' = (\sigma - w)\, n$, $n' = 4 (\sigma - w)\, w$: a single mode whose *effective imbalance* is
    $\lambda_{\rm eff} = \sqrt{n_0^2 - 4 w_0^2}$, whatever the width.

    Args:
        t: times, at least 0.
        sigma: the target.
        product0: $w$ at time 0.
        norms0: $n$ at time 0, at least $2 |w_0|$ (Cauchy-Schwarz).

    Returns:
        $w(t)$ and $n(t)$; NaN for $t < 0$ or impossible norms.

    References:
        Derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> w, n = scalar_network(1e3, 1.5, 0.0, 0.1)
        >>> print(f"{w:.9f} {n**2 - 4 * w**2:.9f}")
        1.500000000 0.010000000
    """
    t, sigma, w0, n0 = _broadcast("scalar_network", t=t, sigma=sigma, product0=product0, norms0=norms0)
    p0, q0 = n0 + 2.0 * w0, n0 - 2.0 * w0
    is_legal = (t >= 0) & (p0 >= 0) & (q0 >= 0)
    p0, q0 = jnp.where(is_legal, p0, 1.0), jnp.where(is_legal, q0, 1.0)
    # lambda_eff^2 as a product: n0^2 - 4 w0^2 would cancel.
    p, q, product = _modes(t, sigma, p0, q0, jnp.where(is_legal, w0, 0.0), p0 * q0)
    return jnp.where(is_legal, product, jnp.nan), jnp.where(is_legal, (p + q) / 2.0, jnp.nan)


def _modes(t, sigma, p0, q0, s0, squared):
    r"""$p$, $q$ and $s = (p - q)/4$ of $p' = -p^2/2 + 2\sigma p + \lambda^2/2$ and $q$ likewise with $-\sigma$.

    At large imbalance $p$ and $q$ are nearly equal and their difference has no digits. With $E = e^{-2\rho t}$,
    $g = (1-E)/\rho$ and the denominators $d_p$, $d_q$ of both,
    $$s\, d_p d_q = \sigma g\, [\tfrac12 (p_0 + q_0)(1 + E) + 2 \sigma g s_0 + \tfrac12 \lambda^2 g] + 4 E s_0,$$
    where the bracket is a sum of non-negative terms. The two terms have different signs only where $s$ changes its own.
    """
    p, p_denominator, rho, growth, decay = _riccati(t, sigma, p0, squared)
    q, q_denominator, *_ = _riccati(t, -sigma, q0, squared)
    size = jnp.abs(sigma)
    # 1 - |sigma|/rho without cancellation; (p0 + q0)/2 - 2 |s0| is the smaller of p0 and q0.
    deficit = (squared / 4.0) / jnp.where(rho > 0, rho * (rho + size), 1.0)
    opposed = jnp.minimum(p0, q0) + 2.0 * jnp.abs(s0) * deficit
    opposed = opposed + decay * (0.5 * (p0 + q0) + 2.0 * jnp.abs(s0) * (1.0 - deficit))
    aligned = 0.5 * (p0 + q0) * (1.0 + decay) + 2.0 * size * growth * jnp.abs(s0)
    bracket = jnp.where(sigma * s0 < 0, opposed, aligned) + 0.5 * squared * growth
    both = p_denominator * q_denominator
    regular = (rho > 0) & (squared > 0) & (both > 0)
    product = (sigma * growth * bracket + 4.0 * decay * s0) / jnp.where(regular, both, 1.0)
    # Without imbalance one of p and q is 0 for ever, and the difference is exact.
    return p, q, jnp.where(regular, product, (p - q) / 4.0)


def _riccati(t, sigma, p0, squared):
    r"""$p' = -p^2/2 + 2\sigma p + \lambda^2/2$ from $p_0 \ge 0$, with `squared` $= \lambda^2$.

    Returns:
        $p$, its denominator, $\rho = \sqrt{\sigma^2 + \lambda^2/4}$, $g$ and $E$.
    """
    # Near rho = 0 the square root has no derivative, but the solution has: it is that of squared = 0.
    rho = guarded_sqrt(sigma**2 + squared / 4.0)
    larger = rho + jnp.abs(sigma)
    smaller = (squared / 4.0) / jnp.where(larger > 0, larger, 1.0)
    plus, minus = jnp.where(sigma >= 0, larger, smaller), jnp.where(sigma >= 0, smaller, larger)
    decay = jnp.exp(-2.0 * rho * t)
    # Divided by rho throughout, so that rho = 0 is its limit; `growth` is (1 - E)/rho.
    growth = _growth(rho, t)
    safe = jnp.where(rho > 0, rho, 1.0)
    weight = lambda first, second: (first + decay * second) / safe
    numerator = p0 * weight(plus, minus) + (squared / 2.0) * growth
    denominator = weight(minus, plus) + (p0 / 2.0) * growth
    # From p = 0 without imbalance the denominator can underflow; the numerator is 0 then, and stays.
    general = numerator / jnp.where((rho > 0) & (denominator > 0), denominator, 1.0)
    flat = p0 / (jnp.exp(-2.0 * sigma * t) + (p0 / 4.0) * _growth(sigma, t))
    return jnp.where(rho > 0, general, flat), denominator, rho, growth, decay


def _growth(rate, t):
    """(1 - exp(-2 rate t))/rate; near rate = 0 its series, which has the right derivatives."""
    x = rate * t
    is_small = jnp.abs(x) < 1e-5
    safe = jnp.where(is_small, 1.0, rate)
    series = 2.0 * t * (1.0 - x + 2.0 / 3.0 * x**2)
    return jnp.where(is_small, series, -jnp.expm1(-2.0 * jnp.where(is_small, 1.0, x)) / safe)


def _broadcast(name: str, **values: Any) -> list[jax.Array]:
    require_float64(name)
    return broadcast_numbers(values, unbounded=("t", "tau", "x"))
