r"""The rate of the norm imbalance between layers of any activation, by an identity and by automatic differentiation."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._precision import require_float64
from ...display.text import one_line
from ...losses.base import checked_rows
from .chain_inputs import layers_of


@dataclasses.dataclass(frozen=True, eq=False)
class ImbalanceRates:
    r"""$\frac{d}{dt}(\|W_{l+1}\|_F^2 - \|W_l\|_F^2)$ at one point, for $l = 1, …, L - 1$.

    Attributes:
        measured: from the gradient of the loss in the weights (L - 1,).
        predicted: from the identity (L - 1,).
        scale: the sum of the sizes of the terms that cancel, for a relative error.
    """

    measured: np.ndarray
    predicted: np.ndarray
    scale: float

    @property
    def error(self) -> float:
        """The largest difference, relative to `scale`."""
        return float(np.max(np.abs(self.measured - self.predicted))) / self.scale

    def __repr__(self) -> str:
        return one_line(self)


def imbalance_rates(
    weights: Mapping[str, Any],
    inputs: Any,
    loss: Callable[[Any], Any],
    activation: Callable[[Any], Any],
) -> ImbalanceRates:
    r"""The norm-imbalance identity at one point, $h_l = \phi(W_l h_{l-1})$, output $W_L h_{L-1}$.

    $\frac{d}{dt}\big(\|W_{l+1}\|_F^2 - \|W_l\|_F^2\big) = -2 \big\langle \frac{\partial \ell}{\partial h_l},\,
    \phi(z_l) - \phi'(z_l) z_l \big\rangle$ under gradient flow: it vanishes for a positively homogeneous $\phi$ of
    degree 1 (linear, ReLU), and for no other. Nothing is integrated: both sides are derivatives at this point.

    Args:
        weights: `"W1"`, …, `"WL"`.
        inputs: rows are samples (n, d_0).
        loss: a function of the outputs (n, d_L), of which the mean or the sum over samples is part.
        activation: $\phi$, entrywise.

    Raises:
        ValueError: malformed arguments, an activation that changes shapes.

    Validity:
        Exact, for every loss and every activation that is differentiable at the point.

    References:
        [rawal2026theory].

    Example:
        >>> weights = {"W1": np.ones((2, 3)), "W2": np.ones((1, 2))}
        >>> rates = imbalance_rates(weights, np.ones((4, 3)), lambda out: jnp.sum(out**2), jnp.tanh)
        >>> rates.error < 1e-14, bool(rates.measured[0] < 0)
        (True, True)
    """
    require_float64("imbalance_rates")
    layers = [jnp.asarray(layer) for layer in layers_of(weights)]
    rows = jnp.asarray(checked_rows(inputs, "inputs"))
    if rows.shape[1] != layers[0].shape[1]:
        raise ValueError(
            f"Argument `inputs` must have {layers[0].shape[1]} columns, but has {rows.shape[1]}."
        )
    probe = jnp.zeros(2)
    if jnp.shape(activation(probe)) != (2,):
        raise ValueError("Argument `activation` must act entrywise, but changes the shape of its argument.")

    def forward(matrices, shifts):
        below, before = rows, []
        for layer, shift in zip(matrices[:-1], shifts, strict=True):
            before.append(below @ layer.T)
            # A shift of zero by which the loss is differentiated with respect to the hidden activations.
            below = activation(before[-1]) + shift
        return loss(below @ matrices[-1].T), before

    shifts = [jnp.zeros((rows.shape[0], layer.shape[0])) for layer in layers[:-1]]
    (gradients, sensitivities), before = jax.grad(forward, argnums=(0, 1), has_aux=True)(layers, shifts)
    growth = [-2.0 * float(jnp.sum(layer * g)) for layer, g in zip(layers, gradients, strict=True)]
    measured = np.diff(growth)
    predicted = []
    for z, sensitivity in zip(before, sensitivities, strict=True):
        value, along = jax.jvp(activation, (z,), (z,))
        predicted.append(-2.0 * float(jnp.sum(sensitivity * (value - along))))
    return ImbalanceRates(measured, np.array(predicted), max(float(np.sum(np.abs(growth))), 1e-300))
