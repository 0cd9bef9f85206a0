"""`SampleLoss`: the mean of any loss of one sample, which can be restricted to a minibatch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from .._checks import function
from .._precision import require_float64
from .base import AbstractLoss, checked_pair


class SampleLoss(AbstractLoss):
    r"""The mean of a loss over samples, $f(z) = \frac1n\sum_i \ell(z x_i, y_i)$.

    Args:
        inputs: $X$ (n, d_0), rows are samples.
        targets: $Y$ (n, d_L).
        sample_loss: $\ell(\hat y, y)$ of one prediction and one target; by default $\frac12\|\hat y - y\|^2$.

    Raises:
        ValueError: shapes that do not match, non-finite entries, or a `sample_loss` that is no function.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> loss = SampleLoss([[1.0, 0.0], [0.0, 2.0]], [1.0, 4.0])
        >>> float(loss(jnp.zeros((1, 2)))), float(loss.on(jnp.array([0]))(jnp.zeros((1, 2))))
        (4.25, 0.5)
    """

    inputs: jax.Array
    targets: jax.Array
    sample_loss: Callable[[Any, Any], Any] = eqx.field(static=True)

    def __init__(self, inputs: Any, targets: Any, sample_loss: Callable[[Any, Any], Any] | None = None):
        require_float64("SampleLoss")
        x, y = checked_pair(inputs, targets)
        self.inputs, self.targets = jnp.asarray(x), jnp.asarray(y)
        chosen = half_squared if sample_loss is None else sample_loss
        self.sample_loss = function(chosen, "sample_loss", "of one prediction and one target")

    def __call__(self, z: Any) -> jax.Array:
        return jnp.mean(jax.vmap(self.sample_loss)(self.inputs @ jnp.atleast_2d(z).T, self.targets))

    @property
    def samples(self) -> int:
        """The number of samples."""
        return len(self.inputs)

    def on(self, rows: Any) -> SampleLoss:
        """The loss on some of the samples. Pure."""
        # The rows were checked with the whole, and are traced in a compiled step.
        return eqx.tree_at(
            lambda loss: (loss.inputs, loss.targets), self, (self.inputs[rows], self.targets[rows])
        )

    @property
    def conventions(self) -> str:
        name = "1/2 |z x - y|^2" if self.sample_loss is half_squared else "a loss of z x and y"
        return f"f(z) = mean over n = {len(self.inputs)} samples of {name}"


def half_squared(prediction: Any, target: Any) -> Any:
    r"""$\frac12\|\hat y - y\|^2$."""
    return 0.5 * jnp.sum((prediction - target) ** 2)


def as_sample_loss(loss: Any) -> Any:
    """A loss that can be restricted to samples: as it is, or half the mean squared error of a data set.

    Raises:
        ValueError: it cannot.
    """
    if isinstance(loss, eqx.Module) and hasattr(loss, "on") and hasattr(loss, "samples"):
        return loss
    data = ("inputs", "targets")
    if all(hasattr(loss, name) for name in data):
        return SampleLoss(*(getattr(loss, name) for name in data))
    raise ValueError(
        f"Argument `loss` must be a `SampleLoss`, a `Dataset` or a loss module with `samples` and `on(rows)`, but is "
        f"{loss!r}."
    )
