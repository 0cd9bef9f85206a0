"""The scalars outside the active subspaces alone: closed form under flow, recursion under descent."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from ..._checks import integer, real_array


def rho_flow(t: Any, scale: Any, depth: int, *, weight_decay: Any = 0.0, variance: Any = 1.0):
    r"""$\rho(t)$ of equal layers under gradient flow, in closed form.

    $\rho' = -\rho\,(\gamma + \sigma\rho^M)$ with $M = 2L - 2$ has the solution

    $$\rho = \epsilon\,e^{-\gamma t}\,\Big(1 + \sigma\,\epsilon^M\,\frac{1 - e^{-M\gamma t}}{\gamma}\Big)^{-1/M},$$

    with the limit $M t$ of the quotient at $\gamma = 0$; for one layer $\rho = \epsilon\,e^{-(\gamma + \sigma)t}$.

    Args:
        t: times, any shape.
        scale: $\epsilon$, the common singular value of all layers at the start.
        depth: L.
        weight_decay: $\gamma$.
        variance: $\sigma$, the value of $\Sigma_{xx}$ outside the subspaces.

    References:
        Derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> f"{rho_flow(25.0, 0.5, 3):.10f}"
        '0.3047091549'
    """
    t, scale = _checked(t, "t"), _checked(scale, "scale")
    decay, sigma = _checked(weight_decay, "weight_decay"), _checked(variance, "variance")
    depth = integer(depth, "depth")
    if depth == 1:
        return scale * jnp.exp(-(decay + sigma) * t)
    power = 2 * depth - 2
    exponent = power * decay * t
    small = jnp.abs(exponent) < 1e-8
    safe = jnp.where(small, 1.0, exponent)
    # (1 - e^-x)/x; its series where the quotient is 0/0.
    quotient = jnp.where(small, 1.0 - 0.5 * exponent, -jnp.expm1(-safe) / safe)
    growth = sigma * scale**power * power * t * quotient
    return scale * jnp.exp(-decay * t) * (1.0 + growth) ** (-1.0 / power)


def rho_descent(scales: Any, learning_rate: Any, steps: int, *, weight_decay: Any = 0.0, variance: Any = 1.0):
    r"""$\rho_l$ under gradient descent: $\rho_l \leftarrow \rho_l (1 - \eta\gamma - \eta\sigma\prod_{k\ne l}\rho_k^2)$.

    Args:
        scales: $\epsilon_l$ (layer,).
        learning_rate: $\eta$.
        steps: number of steps, static.
        weight_decay: $\gamma$.
        variance: $\sigma$.

    Returns:
        $\rho$ after 0, 1, …, steps steps, (steps + 1, layer).

    References:
        [yaras2023law] (there for $\sigma = 1$).

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> rho_descent([0.5, 0.5], 0.1, 1).round(6).tolist()
        [[0.5, 0.5], [0.4875, 0.4875]]
    """
    start, steps = _checked(scales, "scales", ndim=1), integer(steps, "steps", minimum=0)
    eta, decay = (
        _checked(learning_rate, "learning_rate", ndim=0),
        _checked(weight_decay, "weight_decay", ndim=0),
    )
    sigma = _checked(variance, "variance", ndim=0)
    others = ~jnp.eye(start.shape[0], dtype=bool)

    def step(rho, _):
        apart = jnp.prod(jnp.where(others, rho[None, :], 1.0), axis=1)
        after = rho * (1.0 - eta * decay - eta * sigma * apart**2)
        return after, after

    _, rows = jax.lax.scan(step, start, None, length=steps)
    return jnp.concatenate([start[None], rows])


def _checked(value: Any, argument: str, ndim: int | None = None) -> jax.Array:
    """An array of finite numbers; JAX arrays, which may be traced, pass as they are."""
    return value if isinstance(value, jax.Array) else jnp.asarray(real_array(value, argument, ndim=ndim))
