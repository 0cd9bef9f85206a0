"""`GradientDescent`: steps along the gradient of the whole loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent, descent_change


class GradientDescent(AbstractDescent):
    r"""Gradient descent with step size $\eta$.

    $$\theta_l \leftarrow \theta_l - \eta e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma_l\theta_l)$$

    One step of size $\eta$ is the explicit Euler step of `GradientFlow`, and time is $t = k\eta$. A law of the flow
    with these rates changes at second order only, on any minibatch; with one decay λ for all factors

    $$h_+ - h = (a^2 - 1)\,h_2(\theta) + (a - 1)\,h_1(\theta) + \eta^2 h_2(Eg) + \eta(a - 1)\,h_1(Eg),
    \qquad a = 1 - \eta\lambda.$$

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
    label: ClassVar[str] = "gradient descent"

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
        return {name: theta[name] - eta[name] * slope[name] for name in theta}, memory

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law)
