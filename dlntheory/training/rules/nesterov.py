"""`Nesterov`: gradient descent with Nesterov's momentum."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractMomentumDescent, descent_change


class Nesterov(AbstractMomentumDescent):
    r"""Nesterov's momentum, $v_+ = \beta v - \eta e_l\,g(\theta + \beta v)$, $\theta_+ = \theta + v_+$.

    The gradient belongs to $\theta + \beta v$, so that every Noether law is lost:
    $\ell_+ = \beta\ell - \eta\beta\langle v, A g\rangle$. A law of gradient flow has the identities of `HeavyBall` with
    $\eta\beta\langle Av, g\rangle$ added to both. Weight decay is taken where the gradient is.
    Libraries that call $\theta + \beta v$ the parameters take the same steps.

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
    label: ClassVar[str] = "Nesterov momentum"

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
        kept = {name: numbers["momentum"] * memory[f"{name}'"] for name in theta}
        slope = gradient({name: theta[name] + kept[name] for name in theta})
        faster = {name: kept[name] - eta[name] * slope[name] for name in theta}
        return {n: theta[n] + faster[n] for n in theta}, {f"{n}'": v for n, v in faster.items()}

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law, momentum=True, shift=r"\beta V")
