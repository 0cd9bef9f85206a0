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


def imbalance_drift(arch: Architecture, training: Training, params: State, learning_rate: Any) -> list[Any]:
    r"""What one step of gradient descent adds to the imbalances, exactly.

    $D_l(k+1) - D_l(k) = \eta^2(e_{l+1}\, g_{l+1}^\top g_{l+1} - e_l\, g_l g_l^\top)$ for
    $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$: the first-order terms cancel. Pure.

    Args:
        arch: a chain of at least two matrices.
        training: loss and rates, without weight decay.
        params: the weights before the step.
        learning_rate: $\eta$.

    Returns:
        One matrix for each pair of neighbouring layers.

    Raises:
        ValueError: no chain of two layers, or weight decay, with which first-order terms remain.

    References:
        Elementary; compare [du2018algorithmic].
    """
    if arch.chain is None or len(arch.chain) < 2:
        raise ValueError(
            f"Argument `arch` must be a chain of at least two matrices for the drift of imbalances, but {arch.name} is "
            "not."
        )
    if training.is_decaying:
        raise ValueError(
            "Argument `training` must have no weight decay for the drift of imbalances, but has."
        )
    velocity = training.velocity(arch, params)
    rates = [training.rate(name) for name in arch.chain]
    # The velocity is -e g, so that v^T v / e = e g^T g.
    changes = [learning_rate * velocity[name] for name in arch.chain]
    return [
        changes[i + 1].T @ changes[i + 1] / rates[i + 1] - changes[i] @ changes[i].T / rates[i]
        for i in range(len(changes) - 1)
    ]
