"""`SignDescent`: steps along the signs of the gradient."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange, form_of, taylor
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent


class SignDescent(AbstractDescent):
    r"""Sign descent, $\theta \leftarrow \theta - \eta e_l\,\mathrm{sgn}(g)$, with the sign 0 at 0.

    It commutes with signed permutations of the hidden units only. Quadratic laws of gradient flow are lost at first
    order; of $z = u \odot v$ it keeps $|u| - |v|$ until a sign changes, exactly at every step, and decoupled decay
    multiplies that by $1 - \eta\gamma$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    label: ClassVar[str] = "sign descent"

    def __init__(self, arch: Architecture, loss: Any, learning_rate: float, **settings: Unpack[Settings]):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope = gradient(theta)
        return {name: theta[name] - eta[name] * jnp.sign(slope[name]) for name in theta}, memory

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return taylor(self, form_of(self, law))
