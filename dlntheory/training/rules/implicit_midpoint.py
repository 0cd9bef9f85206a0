"""`ImplicitMidpoint`: steps that keep every quadratic law of gradient flow."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree

from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator
from ..base import AbstractIteration, State
from ..law_change import (
    At,
    LawChange,
    decayed,
    form_of,
    invariance,
    is_conserved_by,
    needs_velocity,
    plus,
    scaled,
)
from ..settings import Settings, Training, checked_number
from .gradient_flow import chain_imbalances

#: Newton steps for one implicit step; each squares the error.
MAX_NEWTON = 30
#: Where Newton's method stops, in units of the size of the step and its start; the last step is far below.
TOLERANCE = 1e-14


class ImplicitMidpoint(AbstractIteration):
    r"""Implicit midpoint steps of gradient flow: they keep every quadratic invariant, at any step size.

    $$\theta_{k+1} = \theta_k + \eta\,F\left(\tfrac12(\theta_k + \theta_{k+1})\right)$$

    solved by Newton's method. Of second order; imbalances and all other quadratic laws are kept to rounding.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.

    Validity:
        Each step solves a dense system in all parameters: for small networks. The equation of a step need not have a
        solution near the start; where Newton's method finds none, the step is NaN and `iterate` raises, with the part
        before. There is no bound $2/\lambda_{\max}$ on the step size.

    References:
        [cooper1987stability]; [hairer2006geometric], for quadratic invariants.

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> rule = ImplicitMidpoint(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> rule.label
        'implicit midpoint'
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    label: ClassVar[str] = "implicit midpoint"
    failure: ClassVar[str] = (
        "Newton's method found no solution of the equation of a step near its start. A smaller step size helps where "
        "the flow itself goes on."
    )

    def __init__(self, arch: Architecture, loss: Any, learning_rate: float, **settings: Unpack[Settings]):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def step(self, k: Any, state: State) -> State:
        start, unravel = ravel_pytree(state)
        half = 0.5 * self.learning_rate
        time = self.time_of(k) + half

        def field(flat: Any) -> Any:
            return ravel_pytree(self.training.velocity(self.architecture, unravel(flat), time))[0]

        push = half * field(start)
        # The unit of both tolerances: of the start, and of the step where the start is (nearly) zero.
        unit = jnp.maximum(jnp.max(jnp.abs(start)), jnp.max(jnp.abs(push)))
        unit = jnp.where(unit > 0, unit, 1.0)

        def equation(moved: Any, _: Any) -> Any:
            return moved - half * field(start + unit * moved) / unit

        found = optx.root_find(
            equation, optx.Newton(TOLERANCE, TOLERANCE), push / unit, max_steps=MAX_NEWTON, throw=False
        )
        # The law is kept by this form of the update, up to the residual of the equation.
        after = start + 2.0 * half * field(start + unit * found.value)
        return unravel(jnp.where(found.result == optx.RESULTS.successful, after, jnp.nan))

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, state)

    def numbers_at(self, t: Any) -> dict[str, Any]:
        return {"learning_rate": self.learning_rate, **super().numbers_at(t)}

    def law_values(self, when: Any, state: State) -> dict[str, Any]:
        after = self.step(when, state)
        middle = {name: 0.5 * (state[name] + after[name]) for name in state}
        half = 0.5 * self.learning_rate
        return {**super().law_values(when, middle), "middle": middle, "time": self.time_of(when) + half}

    def law_change(self, law: Law) -> LawChange:
        r"""$h_+ = h$ for every law of the flow with these rates; else $-\eta\langle\nabla h(m), Eg + D\rangle$.

        With $m$ the midpoint, where gradient and weight decay $D$ are taken: a quadratic changes by its gradient at the
        midpoint times the step. `time` is that of the midpoint.
        """
        form, training = form_of(self, law), self.training
        if form.noether:
            raise needs_velocity(self, form)
        keeps = is_conserved_by(form, self)
        if keeps and not training.is_decaying:
            return invariance(self, form, "[cooper1987stability] (quadratic invariants)")

        def identity(h: Evaluator, at: At, p: At) -> Any:
            force = decayed(h, p, at["middle"], not training.decoupled) if p["decay"] else 0 * at["middle"]
            force = force if keeps else force + scaled(h, p["rates"], at["gradient"])
            return -h.number(p["learning_rate"]) * h.number(p["speed"]) * h.pairing(at["middle"], force)

        H, inner = form.symbol, r"\Lambda M" if training.is_decaying else ""
        inner = inner if keeps else plus("E G", inner)
        right = rf"-\eta \langle \nabla {H}(M), {inner} \rangle,\quad M = (\theta + \theta_+)/2"
        needs = ("middle",) + ("gradient",) * (not keeps) + ("time",) * (not training.is_constant)
        return LawChange(form, self, f"{H}_+ - {H}", right, "0" if keeps else "O(1)", needs, identity)
