r"""`ModifiedFlow`: the flow that gradient descent follows to second order in its step size."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import jax

from ...architecture import Architecture
from ..base import AbstractFlow, State
from ..settings import Settings, Training, checked_number


class ModifiedFlow(AbstractFlow):
    r"""The flow that gradient descent of step $\eta$ follows to second order.

    $$\dot\theta = F - \frac{\eta}{2}(F'F + \partial_t F), \qquad F = -\nabla f(\varphi(\theta)),$$
    which for plain gradient descent is the flow of $f + \frac\eta4\|\nabla f\|^2$. Gradient descent stays within
    $O(\eta^2)$ of it, within $O(\eta)$ of gradient flow. Rates, weight decay and schedule are part of $F$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$ of the descent that is described.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.

    Validity:
        Asymptotic for $\eta \to 0$ over a fixed time. The imbalances are not conserved.

    References:
        [barrett2021implicit].

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> flow = ModifiedFlow(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> flow.label
        'modified flow'
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    label: ClassVar[str] = "modified flow"

    def __init__(self, arch: Architecture, loss: Any, learning_rate: float, **settings: Unpack[Settings]):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def velocity(self, t: Any, state: State) -> State:
        field = lambda time, params: self.training.velocity(self.architecture, params, time)
        if self.training.is_constant:
            plain = field(t, state)
            _, bend = jax.jvp(lambda params: field(t, params), (state,), (plain,))
        else:
            now = jax.numpy.asarray(t, dtype=float)
            plain = field(now, state)
            _, bend = jax.jvp(field, (now, state), (jax.numpy.ones_like(now), plain))
        return {name: plain[name] - 0.5 * self.learning_rate * bend[name] for name in state}
