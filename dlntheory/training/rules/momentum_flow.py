"""`MomentumFlow` and `MirrorFlow`: second-order training, and training in another metric."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ..base import AbstractDynamics, State, Training
from .gradient_flow import layer_velocity


class MomentumFlow(AbstractDynamics):
    r"""Training with inertia, $\theta'' + \tau\,\theta' = -\nabla_\theta f(\varphi(\theta))$.

    The state holds each factor and its velocity (named with a prime). Imbalances are not conserved here; what is:
    $e^{\tau t}[(W_l Z_l^\top - Z_l W_l^\top) + (W_{l+1}^\top Z_{l+1} - Z_{l+1}^\top W_{l+1})]$ with velocities $Z_l$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        friction: $\tau \ge 0$.
        velocity: initial velocity by factor name; zero where not named.

    Raises:
        ValueError: a negative friction, a velocity of wrong name or shape, or a loss that does not fit.

    References:
        [marcotte2024keep] (laws of momentum flows).
    """

    arch: Architecture
    settings: Training
    friction: np.ndarray
    has_friction: bool = eqx.field(static=True)
    start_velocity: dict[str, np.ndarray]

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        *,
        friction: float = 0.0,
        velocity: Mapping[str, Any] | None = None,
    ):
        if not (np.isfinite(float(friction)) and float(friction) >= 0):
            raise ValueError(f"Argument `friction` must be a finite number of at least 0, but is {friction}.")
        self.arch = arch
        self.settings = Training(loss)
        self.settings.check(arch)
        self.friction = np.asarray(float(friction))
        self.has_friction = float(friction) > 0
        given = {name: np.asarray(value, dtype=float) for name, value in (velocity or {}).items()}
        at_rest = {name: np.zeros(shape) for name, shape in arch.named_shapes}
        checked = arch.check({**at_rest, **given}, "velocity")
        self.start_velocity = {name: np.asarray(value) for name, value in checked.items()}

    @property
    def label(self) -> str:
        return "momentum flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training:
        return self.settings

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        return self.arch.check(theta0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0) | {f"{name}'": v for name, v in self.start_velocity.items()}

    def velocity(self, t, state: State) -> State:
        force = layer_velocity(self.arch, self.settings, self._factors(state))
        out = {name: state[f"{name}'"] for name, _ in self.arch.named_shapes}
        for name, _ in self.arch.named_shapes:
            out[f"{name}'"] = force[name] - self.friction * state[f"{name}'"]
        return out

    def output(self, state: State):
        return self.arch(self._factors(state))

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        speeds = [jnp.sum(state[f"{name}'"] ** 2) for name, _ in self.arch.named_shapes]
        return {"kinetic energy": 0.5 * sum(speeds)}

    def _factors(self, state: State) -> State:
        return {name: state[name] for name, _ in self.arch.named_shapes}


class MirrorFlow(AbstractDynamics):
    r"""Mirror flow of the entropy on some factors, $\theta_l' = -\theta_l \odot \nabla_{\theta_l} f$.

    Entries keep their sign: a zero entry stays zero. Factors not named move by plain gradient flow.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        metric: `{"U": "theta"}` puts the metric diag(U) on the factor U.

    Raises:
        ValueError: an unknown factor or metric, or a loss that does not fit.

    References:
        [marcotte2024keep] (laws in non-Euclidean metrics).
    """

    arch: Architecture
    settings: Training
    multiplicative: frozenset[str] = eqx.field(static=True)

    def __init__(self, arch: Architecture, loss: Any, *, metric: Mapping[str, str]):
        for name, kind in metric.items():
            if name not in arch.shapes or kind != "theta":
                raise ValueError(
                    f'Argument `metric` must map factors of {arch.name}, {list(arch.shapes)}, to "theta", '
                    f"but has {name!r}: {kind!r}."
                )
        self.arch = arch
        self.settings = Training(loss)
        self.settings.check(arch)
        self.multiplicative = frozenset(metric)

    @property
    def label(self) -> str:
        return "mirror flow"

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
        force = layer_velocity(self.arch, self.settings, state)
        return {
            name: state[name] * force[name] if name in self.multiplicative else force[name] for name in state
        }

    def output(self, state: State):
        return self.arch(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        return {}
