"""Losses for classification by a linear map: logistic, exponential, cross-entropy."""

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
    check_reduction,
    check_same_samples,
    checked_array,
    checked_rows,
    over_samples,
    reduced,
)
from .log_form import log_exponential, log_logistic, log_mean_exp


def _signed_inputs(inputs: Any, labels: Any) -> jax.Array:
    """The rows $y_i x_i$ (n, d_0): all that a loss of margins needs to know of the data."""
    x, y = checked_rows(inputs, "inputs"), checked_array(labels, "labels")
    if y.ndim == 2 and y.shape[1] == 1:
        y = y[:, 0]
    if y.ndim != 1:
        raise ValueError(f"Argument `labels` must have shape (samples,), but has shape {y.shape}.")
    check_same_samples(x, y, "labels")
    wrong = np.unique(y[np.abs(y) != 1.0])
    if wrong.size:
        count = int(np.sum(np.abs(y) != 1.0))
        shown = ", ".join(f"{value:g}" for value in wrong[:5]) + (", ..." if wrong.size > 5 else "")
        raise ValueError(f"Argument `labels` must be -1 or 1, but {count} of {y.size} are not: {shown}.")
    return jnp.asarray(y[:, None] * x)


class LogisticLoss(AbstractLoss):
    r"""The logistic loss of a linear classifier, $f(z) = \frac1n \sum_i \log(1 + e^{-y_i z x_i})$.

    Args:
        inputs: $X$ (n, d_0), rows are samples.
        labels: $y$ (n,) or (n, 1), each -1 or 1.
        reduction: `"mean"` or `"sum"` over samples.

    Raises:
        ValueError: shapes that do not match, non-finite inputs, a label other than -1 and 1.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> loss = LogisticLoss([[1.0, 0.0], [0.0, 1.0]], [1, -1])
        >>> f"{loss(jnp.zeros(2)):.6f}", loss.margins(jnp.array([2.0, -3.0])).tolist()
        ('0.693147', [2.0, 3.0])
    """

    signed_inputs: jax.Array
    reduction: Reduction = eqx.field(static=True)

    def __init__(self, inputs: Any, labels: Any, *, reduction: Reduction = "mean"):
        require_float64("LogisticLoss")
        check_reduction(reduction)
        self.signed_inputs = _signed_inputs(inputs, labels)
        self.reduction = reduction

    def margins(self, z) -> jax.Array:
        """$y_i z x_i$ (n,) at $z$ (1, d_0) or (d_0,): positive where the sample is classified correctly."""
        return self.signed_inputs @ as_map(z, (1, self.signed_inputs.shape[1]), "LogisticLoss")[0]

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at $z$ (1, d_0) or (d_0,)."""
        return reduced(jax.nn.softplus(-self.margins(z)), self.reduction)

    def log_value(self, z) -> jax.Array:
        r"""$\log f(z)$ at $z$ (1, d_0) or (d_0,), also where $f(z)$ underflows."""
        return log_mean_exp(log_logistic(self.margins(z)), self.reduction)

    @property
    def conventions(self) -> str:
        """The factors in words."""
        return f"f(z) = {over_samples(self.reduction, self.signed_inputs.shape[-2])} log(1 + exp(-y z x))"


class ExponentialLoss(AbstractLoss):
    r"""The exponential loss of a linear classifier, $f(z) = \frac1n \sum_i e^{-y_i z x_i}$.

    Args:
        inputs: $X$ (n, d_0), rows are samples.
        labels: $y$ (n,) or (n, 1), each -1 or 1.
        reduction: `"mean"` or `"sum"` over samples.

    Raises:
        ValueError: shapes that do not match, non-finite inputs, a label other than -1 and 1.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> loss = ExponentialLoss([[1.0, 0.0], [0.0, 1.0]], [1, -1], reduction="sum")
        >>> float(loss(jnp.zeros((1, 2)))), loss.conventions
        (2.0, 'f(z) = sum over n = 2 samples of exp(-y z x)')
    """

    signed_inputs: jax.Array
    reduction: Reduction = eqx.field(static=True)

    def __init__(self, inputs: Any, labels: Any, *, reduction: Reduction = "mean"):
        require_float64("ExponentialLoss")
        check_reduction(reduction)
        self.signed_inputs = _signed_inputs(inputs, labels)
        self.reduction = reduction

    def margins(self, z) -> jax.Array:
        """$y_i z x_i$ (n,) at $z$ (1, d_0) or (d_0,): positive where the sample is classified correctly."""
        return self.signed_inputs @ as_map(z, (1, self.signed_inputs.shape[1]), "ExponentialLoss")[0]

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at $z$ (1, d_0) or (d_0,)."""
        return reduced(jnp.exp(-self.margins(z)), self.reduction)

    def log_value(self, z) -> jax.Array:
        r"""$\log f(z)$ at $z$ (1, d_0) or (d_0,), also where $f(z)$ underflows."""
        return log_mean_exp(log_exponential(self.margins(z)), self.reduction)

    @property
    def conventions(self) -> str:
        """The factors in words."""
        return f"f(z) = {over_samples(self.reduction, self.signed_inputs.shape[-2])} exp(-y z x)"


class CrossEntropyLoss(AbstractLoss):
    r"""Cross-entropy of a linear classifier, $f(z) = -\frac1n \sum_i \log \mathrm{softmax}(z x_i)_{c_i}$.

    Args:
        inputs: $X$ (n, d_0), rows are samples.
        labels: classes $c$ (n,), integers from 0, or one-hot rows (n, d_L).
        classes: $d_L$; by default the number of columns, or the largest label plus one (at least 2).
        reduction: `"mean"` or `"sum"` over samples.

    Attributes:
        inputs: $X$.
        one_hot: labels as one-hot rows (n, d_L).

    Raises:
        ValueError: shapes that do not match, non-finite inputs, labels that are no classes.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import jax.numpy as jnp
        >>> loss = CrossEntropyLoss([[1.0, 0.0], [0.0, 1.0]], [0, 3])
        >>> f"{loss(jnp.zeros((4, 2))):.6f}"
        '1.386294'
    """

    inputs: jax.Array
    one_hot: jax.Array
    reduction: Reduction = eqx.field(static=True)

    def __init__(
        self, inputs: Any, labels: Any, *, classes: int | None = None, reduction: Reduction = "mean"
    ):
        require_float64("CrossEntropyLoss")
        check_reduction(reduction)
        x = checked_rows(inputs, "inputs")
        one_hot = _one_hot(checked_array(labels, "labels"), classes)
        check_same_samples(x, one_hot, "labels")
        self.inputs = jnp.asarray(x)
        self.one_hot = jnp.asarray(one_hot)
        self.reduction = reduction

    def __call__(self, z) -> jax.Array:
        """The value $f(z)$ at $z$ (d_L, d_0)."""
        matrix = as_map(z, (self.one_hot.shape[1], self.inputs.shape[1]), "CrossEntropyLoss")
        logits = self.inputs @ matrix.T
        return -reduced(jnp.sum(self.one_hot * jax.nn.log_softmax(logits, axis=1), axis=1), self.reduction)

    @property
    def conventions(self) -> str:
        """The factors in words."""
        samples = over_samples(self.reduction, self.inputs.shape[-2])
        return f"f(z) = {samples} -log softmax(z x)_class, {self.one_hot.shape[-1]} classes"


def _one_hot(labels: np.ndarray, classes: int | None) -> np.ndarray:
    if labels.ndim == 2:
        if not (np.all((labels == 0) | (labels == 1)) and np.all(labels.sum(axis=1) == 1)):
            bad = int(np.sum(np.any((labels != 0) & (labels != 1), axis=1) | (labels.sum(axis=1) != 1)))
            raise ValueError(
                f"Argument `labels` must have one-hot rows, but {bad} of {len(labels)} rows are not."
            )
        if classes not in (None, labels.shape[1]):
            raise ValueError(
                f"Argument `classes` must be the number of columns of `labels` ({labels.shape[1]}), "
                f"but is {classes}."
            )
        return labels
    if labels.ndim != 1:
        raise ValueError(
            "Argument `labels` must have shape (samples,) or (samples, classes), "
            f"but has shape {labels.shape}."
        )
    if wrong := [f"{value:g}" for value in np.unique(labels) if value < 0 or value != np.floor(value)]:
        raise ValueError(
            f"Argument `labels` must be integers of at least 0, but contains {', '.join(wrong[:5])}."
        )
    largest = int(labels.max())
    count = max(largest + 1, 2) if classes is None else classes
    if not isinstance(count, (int, np.integer)) or count <= largest:
        raise ValueError(
            f"Argument `classes` must be an integer above the largest label ({largest}), but is {classes!r}."
        )
    return np.eye(count)[labels.astype(int)]
