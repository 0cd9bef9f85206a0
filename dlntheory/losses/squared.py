r"""`SquaredLoss`, $\frac12$ mean of $\|z x - y\|^2$, from second moments and without cancellation."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._precision import require_float64
from .base import (
    AbstractLoss,
    Reduction,
    as_map,
    check_full_rank,
    check_reduction,
    checked_array,
    checked_pair,
    over_samples,
)


class SquaredLoss(AbstractLoss):
    r"""Half the mean squared error of the linear map $z$, at a cost independent of the number of samples.

    $f(z) = \frac{1}{2n} \sum_{i=1}^n \|z x_i - y_i\|^2$, hence $\nabla f(z) = z \Sigma_{xx} - \Sigma_{yx}$
    with $\Sigma_{xx} = X^\top X / n$ and $\Sigma_{yx} = Y^\top X / n$. With `reduction="sum"` the value,
    $\Sigma_{xx}$ and $\Sigma_{yx}$ all lose the factor $1/n$, so the gradient formula stays as it is.

    The QR factor $R$ of $[X\; Y]/\sqrt n$ gives $f(z) = \frac12 \|z R_{11}^\top - R_{12}^\top\|_F^2 +
    \frac12 \|R_{22}\|_F^2$, a sum of squares, which keeps its relative accuracy down to a loss of zero.

    Args:
        inputs: $X$ (n, d_0), rows are samples; any rank unless `whitened`.
        targets: $Y$ (n, d_L), or (n,) for one output.
        reduction: `"mean"` or `"sum"` over samples.
        whitened: replace $X$ by $X (X^\top X/n)^{-1/2}$; then $f(z) = \frac12 \|z - S\|_F^2 + \text{const}$
            (times n for `"sum"`) with $S = Y^\top X/n\,(X^\top X/n)^{-1/2}$.

    Attributes:
        factor: $R_{11}$ (d_0, d_0), or `None` where it is the identity (whitened).
        offset: $R_{12}^\top$ (d_L, d_0), or $S$.
        irreducible: $\frac12 \|R_{22}\|_F^2$.
        scale: 1 for the mean, n for the sum.
        samples: n, or `None` for a loss made by `from_target`.

    Raises:
        ValueError: shapes that do not match, non-finite entries, an unknown reduction, or `whitened` with
            inputs whose second moment is rank-deficient (the message gives its rank and condition number).
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> loss = SquaredLoss([[1.0, 0.0], [0.0, 2.0]], [1.0, 4.0])
        >>> f"{loss(jnp.zeros((1, 2))):.6f}", f"{loss(jnp.array([[1.0, 2.0]])):.6f}"
        ('4.250000', '0.000000')
        >>> loss.conventions
        'f(z) = 1/2 * mean over n = 2 samples of |z x - y|^2'
    """

    factor: jax.Array | None
    offset: jax.Array
    irreducible: jax.Array
    scale: jax.Array
    samples: jax.Array | None
    reduction: Reduction = eqx.field(static=True)
    whitened: bool = eqx.field(static=True)

    def __init__(self, inputs: Any, targets: Any, *, reduction: Reduction = "mean", whitened: bool = False):
        require_float64("SquaredLoss")
        check_reduction(reduction)
        x, y = checked_pair(inputs, targets)
        samples, dimension = x.shape
        r = np.asarray(np.linalg.qr(np.concatenate([x, y], axis=1) / np.sqrt(samples), mode="r"))
        # Fewer samples than columns: rows of zeros, so that all shapes depend on (d_0, d_L) only.
        r = np.concatenate([r, np.zeros((r.shape[1] - r.shape[0], r.shape[1]))])
        r11, r12, r22 = r[:dimension, :dimension], r[:dimension, dimension:], r[dimension:, dimension:]
        if whitened:
            left, singular_values, right = np.linalg.svd(r11)
            check_full_rank(singular_values, x.shape)
            # Syx Sxx^(-1/2) = R12ᵀ R11 (R11ᵀ R11)^(-1/2): the polar factor of R11, nothing is divided.
            offset = r12.T @ left @ right
        else:
            offset = r12.T
        self.factor = None if whitened else jnp.asarray(r11)
        self.offset = jnp.asarray(offset)
        self.irreducible = jnp.asarray(0.5 * np.sum(r22**2), dtype=float)
        self.scale = jnp.asarray(samples if reduction == "sum" else 1, dtype=float)
        self.samples = jnp.asarray(samples, dtype=float)
        self.reduction = reduction
        self.whitened = bool(whitened)

    @classmethod
    def from_target(cls, target: Any) -> SquaredLoss:
        r"""The whitened loss of the theory with a given target, $f(z) = \frac12 \|z - S\|_F^2$.

        Args:
            target: $S$ (d_L, d_0), or (d_0,) for one output.

        Example:
            >>> import jax; jax.config.update("jax_enable_x64", True)
            >>> loss = SquaredLoss.from_target([[3.0, 0.0], [0.0, 1.0]])
            >>> float(loss(loss.minimiser())), loss.conventions
            (0.0, 'f(z) = 1/2 * |z - S|^2, target S as given (whitened inputs)')
        """
        require_float64("SquaredLoss.from_target")
        s = np.atleast_2d(checked_array(target, "target"))
        if s.ndim != 2:
            raise ValueError(
                f"Argument `target` must have shape (outputs, inputs) or (inputs,), but has shape {s.shape}."
            )
        loss = cls(np.eye(s.shape[1]), np.zeros((s.shape[1], s.shape[0])), whitened=True)
        return eqx.tree_at(
            lambda tree: (tree.offset, tree.irreducible, tree.samples),
            loss,
            (jnp.asarray(s), jnp.zeros(()), None),
        )

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at $z$ (d_L, d_0), or (d_0,) for one output."""
        matrix = as_map(z, self.offset.shape, "SquaredLoss")
        image = matrix if self.factor is None else matrix @ self.factor.T
        return self.scale * (0.5 * jnp.sum((image - self.offset) ** 2) + self.irreducible)

    @property
    def conventions(self) -> str:
        """The factors in words."""
        if self.samples is None:
            return "f(z) = 1/2 * |z - S|^2, target S as given (whitened inputs)"
        inputs = ", inputs whitened" if self.whitened else ""
        return f"f(z) = 1/2 * {over_samples(self.reduction, self.samples)} |z x - y|^2{inputs}"

    @property
    def input_covariance(self) -> jax.Array:
        r"""$\Sigma_{xx}$ (d_0, d_0), the second moment that the loss sees: the Hessian in a row of $z$.

        Not centred; the identity if whitened; n times the mean for `reduction="sum"`.
        """
        factor = jnp.eye(self.offset.shape[1]) if self.factor is None else self.factor
        return self.scale * (factor.T @ factor)

    @property
    def correlation(self) -> jax.Array:
        r"""$\Sigma_{yx}$ (d_L, d_0) with $\nabla f(z) = z \Sigma_{xx} - \Sigma_{yx}$; $S$ if whitened."""
        return self.scale * (self.offset if self.factor is None else self.offset @ self.factor)

    def minimiser(self) -> jax.Array:
        """The minimiser $z$ (d_L, d_0) of least Frobenius norm, by least squares."""
        if self.factor is None or self.samples is None:
            return self.offset
        left, s, right = jnp.linalg.svd(self.factor)
        # The rank rule of numpy.linalg.lstsq on X itself.
        cutoff = jnp.max(s) * jnp.maximum(self.samples, float(len(s))) * jnp.finfo(s.dtype).eps
        kept = s > cutoff
        inverse = jnp.where(kept, 1.0 / jnp.where(kept, s, 1.0), 0.0)
        return ((self.offset @ left) * inverse[None, :]) @ right

    @property
    def minimum(self) -> jax.Array:
        """The least value of the loss over all linear maps: the part that no $z$ can remove."""
        return self(self.minimiser())
