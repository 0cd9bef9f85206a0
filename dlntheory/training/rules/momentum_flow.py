"""`MomentumFlow`: second-order training, the heavy-ball and Nesterov differential equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..._checks import real_array
from ...architecture import Architecture
from ..base import AbstractFlow, State
from ..settings import Settings, Training, checked_number


class MomentumFlow(AbstractFlow):
    r"""Training with inertia, $\theta'' + \tau\,\theta' = -a\,e_l(\nabla_\theta f + \gamma_l\theta_l)$.

    The state holds each factor and its velocity (named with a prime). Imbalances are not conserved here; what is,
    without weight decay and with equal rates:
    $e^{\tau t}[(W_l Z_l^\top - Z_l W_l^\top) + (W_{l+1}^\top Z_{l+1} - Z_{l+1}^\top W_{l+1})]$ with velocities $Z_l$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        friction: $\tau \ge 0$, or `("over_t", c)` for the friction $c/t$, $c = 3$ in the limit of Nesterov's method.
        velocity: initial velocity by factor name; zero where not named, and everywhere for friction $c/t$.
        **settings: `weight_decay`, `rates` and `schedule` of `Training`.

    Raises:
        ValueError: a negative friction, a velocity of wrong name or shape, or a loss that does not fit.

    References:
        [marcotte2024keep] (laws of momentum flows); Su, Boyd, Candès 2016 (friction 3/t).
    """

    architecture: Architecture
    training: Training
    friction: Any
    over_t: bool = eqx.field(static=True)
    has_friction: bool = eqx.field(static=True)
    start_velocity: dict[str, np.ndarray]
    label: ClassVar[str] = "momentum flow"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        *,
        friction: Any = 0.0,
        velocity: Mapping[str, Any] | None = None,
        **settings: Unpack[Settings],
    ):
        self.over_t = isinstance(friction, (tuple, list)) and len(friction) == 2 and friction[0] == "over_t"
        self.friction = checked_number(friction[1] if self.over_t else friction, "friction", minimum=0)
        self.has_friction = not isinstance(self.friction, np.ndarray) or bool(self.friction > 0)
        if settings.get("decoupled"):
            raise ValueError("Argument `decoupled` must be False for a momentum flow, but is True.")
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        given = {name: real_array(value, f"velocity['{name}']") for name, value in (velocity or {}).items()}
        if self.over_t and any(np.any(value != 0) for value in given.values()):
            raise ValueError("Argument `velocity` must be zero for friction c/t, which is infinite at t = 0.")
        at_rest = {name: np.zeros(shape) for name, shape in arch.named_shapes}
        checked = arch.check({**at_rest, **given}, "velocity")
        self.start_velocity = {name: np.asarray(value) for name, value in checked.items()}

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0) | {f"{name}'": v for name, v in self.start_velocity.items()}

    def velocity(self, t: Any, state: State) -> State:
        force = self.training.velocity(self.architecture, self.parameters(state), t)
        out = {name: state[f"{name}'"] for name in force}
        for name, push in force.items():
            if not self.over_t:
                out[f"{name}'"] = push - self.friction * state[f"{name}'"]
                continue
            # From rest theta' = theta''(0) t + ..., so that c theta'/t tends to c theta''(0).
            started = t > 0
            damping = self.friction / jnp.where(started, t, 1.0)
            later = push - damping * state[f"{name}'"]
            out[f"{name}'"] = jnp.where(started, later, push / (1.0 + self.friction))
        return out

    def monitors(self, state: State) -> dict[str, Any]:
        speeds = [jnp.sum(state[f"{name}'"] ** 2) for name in self.architecture.shapes]
        return {"kinetic energy": 0.5 * sum(speeds)}

    def law_coordinates(self, t: Any, state: State) -> State:
        grows = self.has_friction and not self.over_t
        return {"s": jnp.exp(self.friction * t) if grows else jnp.asarray(t), **state}
