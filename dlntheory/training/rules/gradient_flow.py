"""`GradientFlow`: the full training dynamics of an architecture, by automatic differentiation."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax

from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ..base import AbstractDynamics, State, Training


class GradientFlow(AbstractDynamics):
    r"""The full gradient flow $\theta_l' = -e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\theta_l)$.

    The state is the dict of factors. For a chain of matrices without weight decay the imbalances
    $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$ are monitored: they are constant for every loss.

    Args:
        arch: the architecture.
        loss: a function of $z$, for example `SquaredLoss(inputs, targets)`; its factors set the unit of time.
        weight_decay: $\gamma \ge 0$, penalty $\frac{\gamma}{2}\sum_l\|\theta_l\|^2$.
        rates: learning rate $e_l$ by factor name; 1 where not named.

    Raises:
        ValueError: the loss is no scalar function of this architecture's $z$, a negative decay or rate.

    References:
        [saxe2014exact]; [arora2018optimization] (the conserved imbalances).

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> flow = GradientFlow(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2))
        >>> flow.label
        'gradient flow'
    """

    arch: Architecture
    settings: Training

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.arch = arch
        self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
        self.settings.check(arch)

    @property
    def label(self) -> str:
        return "gradient flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training:
        return self.settings

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        return self.arch.check(theta0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0)

    def velocity(self, t, state: State) -> State:
        return layer_velocity(self.arch, self.settings, state)

    def output(self, state: State):
        return self.arch(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.arch, self.settings, state)

    def monitors(self, state: State) -> dict[str, Any]:
        return {}


def layer_velocity(arch: Architecture, training: Training, params: State) -> State:
    """Minus the gradient with respect to each factor, with its rate and weight decay. Pure."""
    gradient = jax.grad(lambda p: training.loss(arch(p)))(params)
    if training.is_decaying:
        gradient = {name: gradient[name] + training.weight_decay * params[name] for name in params}
    return {name: -training.rate(name) * gradient[name] for name in params}


def chain_imbalances(arch: Architecture, training: Training, params: State) -> dict[str, Any]:
    """The imbalances by name where the flow conserves them (a chain, no weight decay), else `{}`. Pure."""
    if arch.chain is None or training.is_decaying or len(arch.chain) < 2:
        return {}
    rates = {name: training.rate(name) for name in arch.chain}
    return {f"D_{i}": value for i, value in enumerate(imbalances(arch, params, rates), start=1)}
