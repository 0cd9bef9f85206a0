r"""The operator of the infinitely deep linear network, $K(z)[G] = \int_0^1 (zz^\top)^{1-s}\, G\, (z^\top z)^s\, ds$.

In the singular bases of $z$ it multiplies entry $(i, j)$ by the logarithmic mean of $\sigma_i^2$ and $\sigma_j^2$.
Its derivative is a sum over triples of singular values of second divided differences of the logarithm, which do not
cancel at repeated singular values, where differentiating through `svd` is wrong.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Below this half-distance of logarithms sinh(h)/h is taken from its series, whose first neglected term is 3e-22.
_NEAR = 1e-2
# Triples closer than this, relative to their mean, use a series in the distance to the mean.
_CLUSTER = 0.1
_TERMS = 18


def logarithmic_mean(x, y):
    r"""$(x - y)/(\log x - \log y)$, with the value $x$ at $x = y$ and 0 where one of them is 0.

    Computed as $\sqrt{xy}\,\sinh(h)/h$ with $h = \frac12 \log(x/y)$, which does not cancel.

    Args:
        x: non-negative, any shape.
        y: non-negative, of the same shape.

    Returns:
        An array of the common shape. Its derivative by automatic differentiation is right for $x, y > 0$.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> means = logarithmic_mean(jnp.array([1.0, 2.0]), jnp.array([jnp.e, 2.0]))
        >>> [f"{float(value):.6f}" for value in means]
        ['1.718282', '2.000000']
    """
    x, y = jnp.asarray(x), jnp.asarray(y)
    positive = (x > 0) & (y > 0)
    x_safe, y_safe = jnp.where(positive, x, 1.0), jnp.where(positive, y, 1.0)
    h = 0.5 * (jnp.log(x_safe) - jnp.log(y_safe))
    near = jnp.abs(h) < _NEAR
    far_h = jnp.where(near, 1.0, h)
    square = h * h
    series = 1.0 + square / 6.0 * (1.0 + square / 20.0 * (1.0 + square / 42.0))
    shape = jnp.where(near, series, jnp.sinh(far_h) / far_h)
    return jnp.where(positive, jnp.sqrt(x_safe) * jnp.sqrt(y_safe) * shape, 0.0)


def second_divided_difference_of_log(x, y, w):
    r"""$\log[x, y, w] < 0$, the second divided difference of the logarithm; $-1/(2x^2)$ at $x = y = w$.

    From the first differences $\log[a, b] = 1/\text{mean}(a, b)$ over the two arguments that are furthest apart;
    where all three lie within 10 % of their mean, from
    $\sum_{n \ge 2} \frac{(-1)^{n-1}}{n\, m^2} h_{n-2}(u)$ with complete symmetric polynomials of $u = (x - m)/m$.

    Args:
        x, y, w: positive, of one shape.
    """
    low = jnp.minimum(jnp.minimum(x, y), w)
    high = jnp.maximum(jnp.maximum(x, y), w)
    mean = (x + y + w) / 3.0
    close = high - low < _CLUSTER * mean
    # The middle one as a median: x + y + w - low - high would round at the scale of the largest.
    middle = jnp.maximum(jnp.minimum(x, y), jnp.minimum(jnp.maximum(x, y), w))
    gap = jnp.where(close, 1.0, high - low)
    far = (1.0 / logarithmic_mean(middle, high) - 1.0 / logarithmic_mean(low, middle)) / gap

    a, b, c = ((value - mean) / mean for value in (x, y, w))
    second, third = a * b + (a + b) * c, a * b * c  # the first elementary polynomial is 0
    complete = [jnp.ones_like(mean), jnp.zeros_like(mean), -second]
    for _ in range(_TERMS - 3):
        complete.append(-second * complete[-2] + third * complete[-3])
    series = sum((-1.0) ** (n + 1) / (n + 2.0) * value for n, value in enumerate(complete)) / mean**2
    return jnp.where(close, series, far)


@jax.custom_jvp
def logarithmic_mean_operator(z, gradient):
    r"""$K(z)[G] = U\,(\Gamma \circ U^\top G V)\,V^\top$, $\Gamma_{ij}$ the log. mean of $\sigma_i^2, \sigma_j^2$.

    Args:
        z: (d, d), $U \mathrm{diag}(\sigma) V^\top$.
        gradient: $G$, (d, d).

    Returns:
        (d, d). Differentiable in `z` where $z$ is invertible, as it is along the flow, and in `gradient`.
    """
    u, s, vt = jnp.linalg.svd(z)
    return u @ (_gamma(s) * (u.T @ gradient @ vt.T)) @ vt


def _gamma(s):
    squares = s * s
    left, right = jnp.meshgrid(squares, squares, indexing="ij")
    return logarithmic_mean(left, right)


@logarithmic_mean_operator.defjvp
def _logarithmic_mean_operator_jvp(primals, tangents):
    z, gradient = primals
    dz, dgradient = tangents
    u, s, vt = jnp.linalg.svd(z)
    gamma = _gamma(s)
    core, turned = u.T @ gradient @ vt.T, u.T @ dz @ vt.T
    # d(zz^T) and d(z^Tz) in the singular bases.
    left = turned * s[None, :] + s[:, None] * turned.T
    right = turned.T * s[None, :] + s[:, None] * turned
    squares = s * s
    x, y, w = jnp.meshgrid(squares, squares, squares, indexing="ij")
    # (Gamma(x, w) - Gamma(y, w)) / (x - y) = -Gamma(x, w) Gamma(y, w) log[x, y, w]
    curvature = -second_divided_difference_of_log(x, y, w)
    first = jnp.einsum("ik,kj,ikj,ij,kj->ij", left, core, curvature, gamma, gamma)
    second = jnp.einsum("ik,kj,ikj,ik,ij->ij", core, right, curvature, gamma, gamma)
    out = u @ (gamma * core) @ vt
    tangent = u @ (first + second + gamma * (u.T @ dgradient @ vt.T)) @ vt
    return out, tangent
