"""`MomentumFlow`: second-order training, the heavy-ball and Nesterov differential equations."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..._checks import is_traced, real_array
from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator
from ..base import AbstractFlow, State
from ..law_change import (
    NOETHER,
    At,
    LawChange,
    common_decay,
    decayed,
    exponential,
    form_of,
    is_conserved_by,
    plus,
    scaled,
    times,
)
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
        [marcotte2024keep] (laws of momentum flows); [su2016differential] (friction 3/t).
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
        self.has_friction = is_traced(self.friction) or bool(self.friction > 0)
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

    def numbers_at(self, t: Any) -> dict[str, Any]:
        return {**super().numbers_at(t), "friction": self.friction}

    def law_change(self, law: Law) -> LawChange:
        r"""The change of a law of gradient flow or of a Noether law.

        A Noether law obeys $\ell' = -\tau\ell$, so that $e^{\tau t}\ell$ is constant. A law of gradient flow obeys
        $h'' + \tau h' = 2 h_2(\theta')$, so that $(e^{\tau t} h')' = 2 e^{\tau t} h_2(\theta')$. Weight decay $D$
        subtracts $\langle D, A\theta + b\rangle$ and $\langle\nabla h, D\rangle$.
        """
        form, training = form_of(self, law), self.training
        keeps = is_conserved_by(form, self)
        extra = () if keeps and not training.is_decaying else ("theta",) + ("gradient",) * (not keeps)
        timed = ("time",) * (not training.is_constant or (form.noether and self.over_t))

        def force(h: Evaluator, at: At, p: At) -> Any:
            """What the force adds to the cancelling part; `None` if nothing."""
            parts = [decayed(h, p, at["theta"], True)] if p["decay"] else []
            parts += [] if keeps else [scaled(h, p["rates"], at["gradient"])]
            return h.number(p["speed"]) * sum(parts[1:], parts[0]) if parts else None

        def quadratic(h: Evaluator, at: At, p: At) -> Any:
            change, pushed = h.number(2) * h.part(2, at["velocity"]), force(h, at, p)
            return change if pushed is None else change - h.pairing(at["theta"], pushed)

        def noether(h: Evaluator, at: At, p: At) -> Any:
            friction = h.number(p["friction"])
            friction = friction / at["time"] if self.over_t else friction
            change, pushed = -friction * h.value(h.joined(at["theta"], at["velocity"])), force(h, at, p)
            return change if pushed is None else change - h.value(h.joined(at["theta"], pushed))

        H, letter = form.symbol, "(c/t)" if self.over_t else r"\tau" if self.has_friction else ""
        lost = "" if keeps else r"a E G"
        lost = plus(lost, r"a \Lambda\theta") if training.is_decaying else lost
        if not form.noether:
            right = times("2", form.written(r"\dot{{{0}}}", degree=2))
            right = plus(right, rf"\langle \nabla {H}, {lost} \rangle" if lost else "", "-")
            left = plus(rf"\ddot{{{H}}}", times(letter, rf"\dot{{{H}}}", bare=True))
            needs = (*extra, "velocity", *timed)
            return LawChange(
                form, self, left, right or "0", "O(1)" if right else "0", needs, quadratic, NOETHER
            )
        # Uniform decay does nothing to <v, A theta> with A skew.
        pure = keeps and common_decay(self, form) is not None and form.homogeneous_degree == 2
        right = plus("", times(letter, H, bare=True), "-")
        right = right if pure else plus(right, rf"\langle {lost}, A\theta + b \rangle", "-")
        factor = lambda time, p: exponential(1, p["friction"], time)
        needs, order = ("theta", "velocity", *extra[1:], *timed), "0" if keeps else "O(1)"
        multiplier = factor if pure and not self.over_t else None
        return LawChange(
            form, self, rf"\dot{{{H}}}", right or "0", order, needs, noether, NOETHER, multiplier
        )

    def law_coordinates(self, t: Any, state: State) -> State:
        grows = self.has_friction and not self.over_t
        return {"s": jnp.exp(self.friction * t) if grows else jnp.asarray(t), **state}
