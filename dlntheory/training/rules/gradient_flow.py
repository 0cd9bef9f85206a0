"""`GradientFlow`: the full training dynamics of an architecture, by automatic differentiation."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ...laws.law import Law
from ..base import AbstractFlow, State
from ..law_change import LawChange, flow_change
from ..settings import Settings, Training


class GradientFlow(AbstractFlow):
    r"""The full gradient flow $\theta_l' = -a(t)\,e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma_l\theta_l)$.

    The state is the dict of factors. For a chain of matrices without weight decay the imbalances
    $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$ are monitored: they are constant for every loss.

    Under weight decay a law $h$ obeys $h' = -a\langle\nabla h, \Gamma\theta\rangle$; with one decay for all factors a
    homogeneous law of degree $k$, polynomial or rational, is $e^{-k\int a\gamma}$ times its start.

    Args:
        arch: the architecture.
        loss: a function of $z$, for example `SquaredLoss(inputs, targets)`; its factors set the unit of time.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

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

    architecture: Architecture
    training: Training
    label: ClassVar[str] = "gradient flow"

    def __init__(self, arch: Architecture, loss: Any, **settings: Unpack[Settings]):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)

    def velocity(self, t: Any, state: State) -> State:
        return self.training.velocity(self.architecture, state, t)

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, state)

    def law_change(self, law: Law) -> LawChange:
        return flow_change(self, law)


def chain_imbalances(arch: Architecture, training: Training, params: State) -> dict[str, Any]:
    """The imbalances by name where the flow conserves them (a chain, no weight decay), else `{}`. Pure."""
    if arch.chain is None or training.is_decaying or len(arch.chain) < 2:
        return {}
    rates = {name: training.rates.get(name, 1.0) for name in arch.chain}
    return {f"D_{i}": value for i, value in enumerate(imbalances(arch, params, rates), start=1)}
