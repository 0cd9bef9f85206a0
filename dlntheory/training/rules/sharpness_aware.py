"""`SharpnessAwareDescent`: steps along the gradient at a point uphill."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent, descent_change


class SharpnessAwareDescent(AbstractDescent):
    r"""Sharpness-aware minimisation, $\theta_+ = \theta - \eta e_l\,g(\theta + p)$, $p = \rho\,g/\|g\|$.

    A quadratic law of the flow changes by $h_+ - h = \eta\langle Ap, \tilde g\rangle + \eta^2 h_2(\tilde g)$,
    $\tilde g = g(\theta + p)$: of order $\rho$ over a fixed time, which does not vanish with $\eta$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        radius: $\rho \ge 0$. The norm is of all factors together.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`. Coupled decay is part of both
            gradients.

    Raises:
        ValueError: a number out of range, or what `GradientFlow` refuses.

    Validity:
        At a zero gradient the step is that of gradient descent. Near a minimum rounding decides on $p$.

    References:
        [foret2021sharpness].
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    radius: Any
    label: ClassVar[str] = "sharpness-aware descent"

    def __init__(
        self, arch: Architecture, loss: Any, learning_rate: float, radius: float, **settings: Unpack[Settings]
    ):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.radius = checked_number(radius, "radius", minimum=0)

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        first = gradient(theta)
        norm = jnp.sqrt(sum(jnp.sum(g**2) for g in first.values()))
        reach = jnp.where(norm > 0, self.radius / jnp.where(norm > 0, norm, 1.0), 0.0)
        slope = gradient({name: theta[name] + reach * first[name] for name in theta})
        return {name: theta[name] - eta[name] * slope[name] for name in theta}, memory

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law, shift=r"\rho\,G/\|G\|")
