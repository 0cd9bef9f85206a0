r"""Layer rates by rescaling: with $V_l = W_l/\sqrt{e_l}$ a flow of rates $e_l$ is one of unit rates for $V$."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Training
from ..base import chain_of


def undecayed(arch: Architecture, training: Training, label: str, remedy: str) -> Training:
    """The training, checked to be without weight decay, which makes the level set move.

    Raises:
        ValueError: weight decay, or rates that name no factor.
    """
    training.check(arch)
    if training.is_decaying:
        raise ValueError(
            f"Argument `weight_decay` must be 0 for {label} (it shrinks the imbalances, on which the equation "
            f"depends), but is {float(training.weight_decay):g}. {remedy}"
        )
    return training


def stretch(arch: Architecture, training: Training, label: str):
    r"""$s = \prod_l \sqrt{e_l}$: $z = s\,V_L \cdots V_1$, so that $\dot z = -s^2 K(z/s)[\nabla f(z)]$. Pure."""
    rates = [jnp.asarray(training.rate(name), jnp.result_type(float)) for name in chain_of(arch, label)]
    return jnp.sqrt(jnp.prod(jnp.stack(rates)))


def rescaled_layers(
    arch: Architecture, training: Training | None, theta0: Mapping[str, Any], label: str
) -> list[np.ndarray]:
    """$W_l/\\sqrt{e_l}$ as NumPy arrays, first layer first. A host function."""
    return [
        np.asarray(theta0[name]) / np.sqrt(1.0 if training is None else float(training.rate(name)))
        for name in chain_of(arch, label)
    ]
