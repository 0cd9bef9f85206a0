r"""Noise on balanced weights: the product descends $f - S_N/\beta$, since the fibre is curved."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..._checks import integer, real_number
from ..._precision import require_float64
from .entropy import entropy, entropy_gradient
from .metric import metric_operator


def mean_curvature(product: Any, depth: int) -> np.ndarray:
    r"""The mean curvature vector of the fibre, pushed to products: $-A_N \nabla S_N(W)$.

    Brownian motion on the balanced manifold drifts against it, that is towards larger fibres.

    Args:
        product: $W$ (d, d), invertible.
        depth: $N \ge 1$.

    Raises:
        ValueError: not square, not finite or singular.

    References:
        [menon2025entropy].
    """
    gradient = entropy_gradient(product, depth)
    return -(metric_operator(product, depth) @ gradient.ravel()).reshape(gradient.shape)


@dataclasses.dataclass(frozen=True)
class FreeEnergy:
    r"""$F_\beta(W) = f(W) - S_N(W)/\beta$: what Langevin motion on balanced weights descends, as seen in $W$.

    Its equilibrium density against $d\mathrm{vol}_g$ is $e^{-\beta F_\beta}$ up to a constant.

    Args:
        loss: a scalar function of $W$ (d, d), differentiable by JAX.
        depth: $N \ge 1$.
        beta: inverse temperature, positive.

    Raises:
        ValueError: `beta` or `depth` is not positive.

    References:
        [menon2024geometry]; [menon2025entropy].

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import numpy as np
        >>> energy = FreeEnergy(lambda w: 0.5 * (w**2).sum(), depth=2, beta=1.0)
        >>> print(f"{energy(np.diag([1.0, 2.0])):.6f}")
        1.950694
    """

    loss: Callable[[Any], Any]
    depth: int
    beta: float

    def __post_init__(self) -> None:
        real_number(self.beta, "beta", above=0)
        integer(self.depth, "depth")

    def __call__(self, product: Any) -> float:
        """F at an invertible product."""
        require_float64("FreeEnergy")
        matrix = np.asarray(product, dtype=np.float64)
        return float(self.loss(matrix)) - entropy(matrix, self.depth) / self.beta

    def gradient(self, product: Any) -> np.ndarray:
        """Its gradient, in the shape of W."""
        require_float64("FreeEnergy")
        matrix = np.asarray(product, dtype=np.float64)
        return np.asarray(jax.grad(self.loss)(matrix)) - entropy_gradient(matrix, self.depth) / self.beta

    def velocity(self, product: Any) -> np.ndarray:
        r"""$-A_N \nabla F_\beta$: the drift of the product without its noise's own term of the metric."""
        gradient = self.gradient(product)
        return -(metric_operator(product, self.depth) @ gradient.ravel()).reshape(gradient.shape)
