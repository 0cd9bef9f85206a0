"""`HeavyBall`: gradient descent with Polyak's momentum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractMomentumDescent, descent_change


class HeavyBall(AbstractMomentumDescent):
    r"""Momentum, $v_+ = \beta v - \eta e_l\,(g(\theta) + \gamma_l\theta)$, $\theta_+ = \theta + v_+$.

    A Noether law becomes $\ell_+ = \beta\ell$, also under uniform weight decay. A law of gradient flow, with
    $q = \langle v, \nabla h\rangle$: $h_+ - h = \beta q + h_2(v_+)$, and as `companion`
    $q_+ - q = (\beta - 1) q + 2 h_2(v_+)$. Time is $t = k\eta$; for $\eta \to 0$ the steps follow the
    gradient flow at the speed $1/(1 - \beta)$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        momentum: $\beta$ in $[0, 1)$.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`. Decoupled decay shrinks the
            parameters and is not part of the velocity.

    Raises:
        ValueError: a learning rate or momentum out of range, or what `GradientFlow` refuses.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    momentum: Any
    label: ClassVar[str] = "heavy ball"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        momentum: float,
        **settings: Unpack[Settings],
    ):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.momentum = checked_number(momentum, "momentum", minimum=0, below=1)

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope, beta = gradient(theta), numbers["momentum"]
        faster = {name: beta * memory[f"{name}'"] - eta[name] * slope[name] for name in theta}
        return {n: theta[n] + faster[n] for n in theta}, {f"{n}'": v for n, v in faster.items()}

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law, momentum=True)
