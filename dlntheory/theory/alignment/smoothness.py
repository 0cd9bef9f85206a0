r"""How smooth the risk is on a ball of weights: the constants that make step sizes of gradient descent safe.

On $B(r) = \{\max_k \|W_k\|_F \le r\}$ with $r \ge 1$ and $\|x_i\| \le 1$, for a loss with $\ell'' \le \beta$, $|\ell'|
\le G$, the Hessian of $R$ is the mean of $\ell''\,\nabla z\,\nabla z^\top + \ell'\,\nabla^2 z$, with $\|\nabla z\|^2
\le L r^{2L-2}$ and $\|\nabla^2 z\| \le (L-1) r^{L-2}$ (a block matrix with zero diagonal and blocks of norm at most
$r^{L-2}$).
"""

from __future__ import annotations

from functools import partial
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integer, is_traced, real_array, real_number
from ..._precision import require_float64
from ...architecture import Architecture
from .problem import SeparableProblem

#: $\beta$ and $G$ of the logistic loss.
CURVATURE, SLOPE = 0.25, 1.0


def published_smoothness(radius: Any, depth: int) -> Any:
    r"""$\beta(r) = 2L^2 r^{2L-2}(\beta + G)$ for the logistic loss. Pure.

    References:
        [ji2019gradient] (the constant of their step sizes).

    Example:
        >>> published_smoothness(1.0, 2), published_smoothness(3.0, 3)
        (10.0, 1822.5)
    """
    _check(radius, depth)
    return 2.0 * depth**2 * radius ** (2 * depth - 2) * (CURVATURE + SLOPE)


def sharper_smoothness(radius: Any, depth: int) -> Any:
    r"""$\beta'(r) = \beta L r^{2L-2} + G(L-1) r^{L-2} \le \beta(r)$ for the logistic loss. Pure.

    Example:
        >>> sharper_smoothness(1.0, 2), sharper_smoothness(3.0, 3)
        (1.5, 66.75)
    """
    _check(radius, depth)
    return CURVATURE * curvature_factor(radius, depth) + (SLOPE - CURVATURE) * bend_factor(radius, depth)


def risk_smoothness(radius: Any, depth: int) -> Any:
    r"""$L r^{2L-2} + (L-1) r^{L-2}$: times $R(W)$ it bounds the Hessian, since $\ell'' \le |\ell'| \le \ell$. Pure.

    Holds for the logistic and the exponential loss.

    Example:
        >>> risk_smoothness(1.0, 2)
        3.0
    """
    _check(radius, depth)
    return curvature_factor(radius, depth)


def _check(radius: Any, depth: int) -> None:
    integer(depth, "depth")
    if not is_traced(radius) and np.any(real_array(radius, "radius", largest=10.0 ** (150.0 / depth)) <= 0):
        raise ValueError(f"Argument `radius` must be positive, but is {radius}.")


def curvature_factor(radius: Any, depth: int) -> Any:
    return depth * radius ** (2 * depth - 2) + bend_factor(radius, depth)


def bend_factor(radius: Any, depth: int) -> Any:
    return (depth - 1) * radius ** (depth - 2.0)


@eqx.filter_jit
def _hessian_norms(arch: Architecture, loss: Any, points: Any):
    def norm(vector):
        hessian = jax.hessian(lambda v: loss(arch(arch.unravel(v))))(vector)
        return jnp.max(jnp.abs(jnp.linalg.eigvalsh(hessian)))

    return jax.lax.map(norm, points)


def largest_hessian_norm(
    problem: SeparableProblem, arch: Architecture, radius: float, key: jax.Array, *, points: int = 60
) -> float:
    r"""The largest spectral norm of the Hessian of $R$ found on $B(r)$, at random and at adversarial points.

    Half of the points have Gaussian layers of norm $r$. The other half are aligned: $W_k = r_k u_{k} u_{k-1}^\top$ with
    $u_0$ the direction of a sample, pointing to either class, $r_k = r$ but for one layer, whose norm varies from 0
    to $r$: that puts margins near zero, where $\ell''$ is largest, with all other factors as large as can be.

    Raises:
        ValueError: a radius below 1, or fewer than 2 points.
        PrecisionError: JAX is in float32 mode.
    """
    require_float64("largest_hessian_norm")
    radius, points = real_number(radius, "radius", minimum=1), integer(points, "points", minimum=2)
    keys = jax.random.split(key, points)
    make = [_random_point, partial(_aligned_point, problem.signed_inputs)]
    vectors = [
        np.concatenate([w.ravel() for w in make[i % 2](list(arch.shapes.values()), radius, _generator(k))])
        for i, k in enumerate(keys)
    ]
    return float(np.max(_hessian_norms(arch, problem.loss, np.stack(vectors))))


def _generator(key: jax.Array) -> np.random.Generator:
    return np.random.default_rng(np.asarray(jax.random.key_data(key)))


def _random_point(shapes, radius: float, rng: np.random.Generator) -> list[np.ndarray]:
    layers = [rng.standard_normal(shape) for shape in shapes]
    return [radius * w / np.linalg.norm(w) for w in layers]


def _aligned_point(rows: np.ndarray, shapes, radius: float, rng: np.random.Generator) -> list[np.ndarray]:
    row = rows[rng.integers(len(rows))]
    below = row / np.linalg.norm(row)
    shrunk, layers = rng.integers(len(shapes)), []
    for index, shape in enumerate(shapes):
        above = rng.standard_normal(shape[0])
        above /= np.linalg.norm(above)
        size = radius * (rng.uniform() ** 2 if index == shrunk else 1.0)
        layers.append(size * np.outer(above, below))
        below = above
    return layers
