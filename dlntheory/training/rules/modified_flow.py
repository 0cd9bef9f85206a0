r"""`ModifiedFlow`: the flow that gradient descent follows to second order in its step size."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, ClassVar, Unpack

import jax

from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator
from ..base import AbstractFlow, State
from ..law_change import At, LawChange, decayed, form_of, is_conserved_by, needs_velocity, scaled, times
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

    def numbers_at(self, t: Any) -> dict[str, Any]:
        return {**super().numbers_at(t), "learning_rate": self.learning_rate}

    def law_change(self, law: Law) -> LawChange:
        r"""$h' = \eta\,h_2(Eg)$ for a quadratic law of the flow with these rates, the rate of $h_+ - h$ under descent.

        With weight decay $D = \Gamma\theta$, $F = -Eg - D$:
        $h' = -\langle\nabla h, D\rangle + \eta h_2(F)
        + \tfrac\eta2(\langle AF, D\rangle + \langle\nabla h, \Gamma F\rangle)$.
        The derivative of $\langle\nabla h, F\rangle = -\langle\nabla h, D\rangle$ along $F$ gives
        $\langle\nabla h, F'F\rangle$.
        """
        form, training = form_of(self, law), self.training
        if form.noether:
            raise needs_velocity(self, form)
        training.require_plain_time(f"the change of a law under the {self.label}")
        if not is_conserved_by(form, self):
            raise NotApplicableError(
                f"Argument `law` must be conserved by the flow with these rates for {self!r}, but {law.name} is not.",
                requirement="a law of the flow with the rates of the rule",
            )
        coupled, H = not training.decoupled, form.symbol

        def identity(h: Evaluator, at: At, p: At) -> Any:
            eta, field = h.number(p["learning_rate"]), -scaled(h, p["rates"], at["gradient"])
            if not p["decay"]:
                return eta * h.part(2, field)
            theta, decay = at["theta"], decayed(h, p, at["theta"], coupled)
            field = field - decay
            bend = h.polar(field, decay) + h.pairing(theta, decayed(h, p, field, coupled))
            return eta * h.number(Fraction(1, 2)) * bend + eta * h.part(2, field) - h.pairing(theta, decay)

        if training.is_decaying:
            right = rf"-\langle \nabla {H}, \Lambda\theta \rangle + \eta\,h_2(F) + \tfrac{{\eta}}{{2}} \bigl("
            right += rf"\langle A F, \Lambda\theta \rangle + \langle \nabla {H}, \Lambda F \rangle\bigr)"
            right += r",\quad F = -E G - \Lambda\theta"
        else:
            right = (
                times(r"\eta", form.written("(E G)_{{{0}}}" if training.rates else "G_{{{0}}}", degree=2))
                or "0"
            )
        order = "0" if right == "0" else r"O(\eta)"
        needs = ("theta",) * training.is_decaying + ("gradient",)
        return LawChange(
            form, self, rf"\dot{{{H}}}", right, order, needs, identity, "differentiation along the flow"
        )
