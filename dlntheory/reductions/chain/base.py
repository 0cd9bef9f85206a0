r"""What the flows of chains in $z$ alone share: layer rates by rescaling, and weight decay, under which laws shrink.

With $V_l = W_l/\sqrt{e_l}$ a flow of rates $e_l$ is one of unit rates for $V$, and $z = s\,V_L \cdots V_1$ with
$s = \prod_l \sqrt{e_l}$. With weight decay $\gamma$ and equal rates $e$ every law of degree two of $V$ is its start
times $e^{-2I}$, $I' = e\gamma$, so that the equation of the level set at that time holds (a schedule $a(t)$ multiplies
both):

$$\dot z = -s^2 K_{\lambda e^{-2I}}(z/s)[\nabla f(z)] - L e \gamma z .$$
"""

from __future__ import annotations

import abc
from collections.abc import Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, chain_of
from ..decay_and_rates import check_common_decay, common_decay, rate_of, scheduled

#: The name of $I$ in a state.
DECAY = "integrated decay"


class AbstractChainFlow(AbstractReduction):
    r"""A flow of $z$ alone for a chain whose imbalances have known values.

    A subclass gives `metric`, $K(z)[G]$ at unit rates; `has_law` says whether $K$ depends on values of laws, which
    weight decay shrinks.
    """

    has_law: ClassVar[bool] = True

    @abc.abstractmethod
    def metric(self, z, gradient, law) -> Any:
        """$K(z)[G]$ at unit rates, where laws of degree two have `law` times their value at the start. Pure."""

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        check_common_decay(training, self._chain, f"the {self.label}")

    @property
    def _chain(self) -> tuple[str, ...]:
        return chain_of(self.architecture, f"the {self.label}")

    def initial(self, theta0: Mapping[str, Any]) -> State:
        z = self.architecture(dict(theta0))
        decays = self.has_law and self.training is not None and self.training.is_decaying
        return {"z": z, DECAY: jnp.zeros((), z.dtype)} if decays else {"z": z}

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        return scheduled(training, t, self.moved(t, state, jax.grad(training.loss)(state["z"])))

    def moved(self, t, state: State, gradient) -> State:
        """The velocity at a gradient of the loss in $z$, without the schedule. Pure."""
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        s, z = self._stretch(), state["z"]
        moved = {"z": -(s**2) * self.metric(z / s, gradient, self._law(state))}
        if training.is_decaying:
            rate = common_decay(training, self._chain, t)
            moved["z"] = moved["z"] - len(self._chain) * rate * z
            if DECAY in state:
                moved[DECAY] = jnp.broadcast_to(jnp.asarray(rate, z.dtype), ())
        return moved

    def _law(self, state: State):
        """The factor by which weight decay has shrunk the laws."""
        return jnp.exp(-2.0 * state[DECAY]) if DECAY in state else 1.0

    def _stretch(self):
        return 1.0 if self.training is None else stretch(self.architecture, self.training, self.label)


def stretch(arch: Architecture, training: Training, label: str):
    r"""$s = \prod_l \sqrt{e_l}$: $z = s\,V_L \cdots V_1$, so that $\dot z = -s^2 K(z/s)[\nabla f(z)]$. Pure."""
    rates = [jnp.asarray(rate_of(training, name), jnp.result_type(float)) for name in chain_of(arch, label)]
    return jnp.sqrt(jnp.prod(jnp.stack(rates)))


def rescaled_layers(
    arch: Architecture, training: Training | None, theta0: Mapping[str, Any], label: str
) -> list[np.ndarray]:
    """$W_l/\\sqrt{e_l}$ as NumPy arrays, first layer first. Not jit-compatible."""
    return [
        np.asarray(theta0[name]) / np.sqrt(float(rate_of(training, name))) for name in chain_of(arch, label)
    ]
