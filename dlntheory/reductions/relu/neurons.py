r"""What the two-layer and the deep path lifting share: layout of the paths, laws of the hidden neurons, factors.

The law of a hidden neuron ν is $h_\nu = \|W_l^\top e_\nu\|^2/e_l + b_{l,\nu}^2/e_b - \|W_{l+1} e_\nu\|^2/e_{l+1}$, its
incoming weights and bias less its outgoing weights; with weight decay γ (one rate $e$ for all) $h' = -2\gamma e h$.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...families.relu import PathLifting
from ...training import Limit, Training
from ..base import FormError
from ..decay_and_rates import rate_of

#: Neurons whose paths are smaller than this, relative to the largest, count as vanishing.
VANISHING = 1e-8
NEURONS_ALIVE = Limit(
    monitor="smallest neuron / largest",
    warn_below=1e-3,
    stop_below=VANISHING,
    advice="a hidden neuron all but vanishes from the path products, which then no longer determine its weights. Use "
    "the full flow.",
)


def lifting_of(arch: Architecture, label: str) -> PathLifting:
    """The path lifting of a ReLU network, or an error that says what the reduction needs.

    Raises:
        FormError: φ is no path lifting, or it has no hidden layer.
    """
    if not isinstance(arch.phi, PathLifting):
        raise FormError(
            f"Argument `arch` must be a ReLU network by its path lifting for {label} (see `relu_network`), but is "
            f"{arch.name}."
        )
    if len(arch.phi.weights) < 2:
        raise FormError(f"Argument `arch` must have a hidden layer for {label}, but {arch.name} has none.")
    return arch.phi


def neuron_laws(lifting: PathLifting, theta: Mapping[str, Any], training: Training | None) -> list[Any]:
    """$h$ of the hidden neurons, one array (d_l,) for each hidden layer. Pure.

    A value within rounding of 0 is 0, so that a balanced start does not set an absolute tolerance of 1e-17.
    """
    laws = []
    for layer, (below, above) in enumerate(zip(lifting.weights[:-1], lifting.weights[1:], strict=True)):
        incoming = jnp.sum(theta[below] ** 2, axis=1) / rate_of(training, below)
        if lifting.biases:
            bias = lifting.biases[layer]
            incoming = incoming + theta[bias] ** 2 / rate_of(training, bias)
        outgoing = jnp.sum(theta[above] ** 2, axis=0) / rate_of(training, above)
        law = incoming - outgoing
        laws.append(jnp.where(jnp.abs(law) > 1e-14 * (incoming + outgoing), law, 0.0))
    return laws


def squared_strengths(lifting: PathLifting, theta: Mapping[str, Any]) -> list[Any]:
    r"""$\|\text{paths into}\,\nu\|^2\, \|\text{paths out of}\,\nu\|^2$ for every hidden neuron, one array a layer.

    The squared norm of the part of $z$ that runs through ν: 0 exactly where ν is invisible in $z$. Only operators,
    so it serves NumPy and traced arrays.
    """
    squares = [theta[name] ** 2 for name in lifting.weights]
    biases = [theta[name] ** 2 for name in lifting.biases] or [0.0] * (len(squares) - 1)
    into = [squares[0].sum(axis=1) + biases[0]]
    for square, bias in zip(squares[1:-1], biases[1:], strict=True):
        into.append(square @ into[-1] + bias)
    out = [squares[-1].sum(axis=0)]
    for square in reversed(squares[1:-1]):
        out.append(square.T @ out[-1])
    return [a * b for a, b in zip(into, reversed(out), strict=True)]


def strengths_of(lifting: PathLifting, theta: Mapping[str, Any]) -> np.ndarray:
    """The norms of the parts of $z$ through the hidden neurons, first layer first. Not jit-compatible."""
    plain = {name: np.asarray(value) for name, value in theta.items()}
    return np.sqrt(np.concatenate(squared_strengths(lifting, plain)))
