r"""`MatrixCompletionLoss`, $\frac12$ of the squared error on the observed entries."""

from __future__ import annotations

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._precision import require_float64
from .base import AbstractLoss, Reduction, check_reduction, checked_array


class MatrixCompletionLoss(AbstractLoss):
    r"""Half the squared error on observed entries, $f(z) = \frac12 \sum_{ij \in \Omega} (z_{ij} - y_{ij})^2$.

    Args:
        target: $y$, the shape of $z$; unobserved entries are ignored and may be nan.
        mask: booleans, or 0 and 1, in the shape of `target`, true where observed ($\Omega$).
        reduction: `"sum"` or `"mean"` over the observed entries.

    Attributes:
        target: $y$ with zeros at unobserved entries.
        mask: $\Omega$ as booleans.

    Raises:
        ValueError: shapes that differ, a mask of other numbers or all false, a non-finite observed entry.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> loss = MatrixCompletionLoss([[1.0, float("nan")], [0.0, 2.0]], [[True, False], [True, True]])
        >>> float(loss(jnp.zeros((2, 2)))), jax.grad(loss)(jnp.zeros((2, 2))).tolist()
        (2.5, [[-1.0, 0.0], [0.0, -2.0]])
    """

    target: jax.Array
    mask: jax.Array
    reduction: Reduction = eqx.field(static=True)

    def __init__(self, target: Any, mask: Any, *, reduction: Reduction = "sum"):
        require_float64("MatrixCompletionLoss")
        check_reduction(reduction)
        values, marks = checked_array(target, "target", finite=False), checked_array(mask, "mask")
        if bad := int(np.sum((marks != 0) & (marks != 1))):
            raise ValueError(
                f"Argument `mask` must be booleans, or 0 and 1, but {bad} of {marks.size} entries are not."
            )
        observed = marks.astype(bool)
        if observed.shape != values.shape:
            raise ValueError(
                f"Argument `mask` must have the shape of `target`, {values.shape}, "
                f"but has shape {observed.shape}."
            )
        if not observed.any():
            raise ValueError(f"Argument `mask` must observe an entry, but all {observed.size} are false.")
        if bad := int(np.sum(~np.isfinite(values[observed]))):
            raise ValueError(
                f"Argument `target` must be finite where observed, but {bad} of {int(observed.sum())} "
                "observed entries are not."
            )
        # A nan under a `where` still poisons the gradient, so unobserved entries hold zeros.
        self.target = jnp.asarray(np.where(observed, values, 0.0))
        self.mask = jnp.asarray(observed)
        self.reduction = reduction

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at $z$ in the shape of the target."""
        array = jnp.asarray(z)
        if array.shape != self.target.shape:
            raise ValueError(
                f"Argument `z` of this MatrixCompletionLoss must have shape {self.target.shape}, "
                f"but has shape {array.shape}."
            )
        errors = jnp.where(self.mask, array - self.target, 0.0)
        total = 0.5 * jnp.sum(errors**2)
        if self.reduction == "sum":
            return total
        return total / jnp.sum(self.mask.astype(total.dtype))

    @property
    def conventions(self) -> str:
        """The factors in words."""
        counts = np.asarray(self.mask)
        observed = f"{int(counts.sum())} of {counts.size}"
        return f"f(z) = 1/2 * {self.reduction} over {observed} observed entries of (z_ij - y_ij)^2"
