r"""`PowersFlow`: the difference of powers $z = u^L - v^L$, $L \ge 3$, in its dual (mirror) coordinate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State
from ..base import Condition
from ..decay_and_rates import scheduled
from .base import AbstractEntrywiseFlow
from .recognise import EntrywiseForm, difference_form


class PowersFlow(AbstractEntrywiseFlow):
    r"""The flow of $z = o + c\,(u^L - v^L)$, $L \ge 3$, whose entries have parameters of their own.

    The state is the dual coordinate $y$, with the constants $a = u_0^{2-L}$ and $b = v_0^{2-L}$; the law
    $u^{2-L} + v^{2-L}$ is built in. Entry by entry,

    $$\dot y = -c\,\nabla f(z), \qquad z = o + c\,(u^L - v^L), \qquad
      u = \bigl(a - L(L-2)\,y\bigr)^{-1/(L-2)}, \quad v = \bigl(b + L(L-2)\,y\bigr)^{-1/(L-2)} .$$

    Args:
        arch: an architecture whose φ has this form; the roles and L are read off its exact polynomials. Where $c$
            would be negative, $u$ and $v$ change places.
        loss: a function of $z$, or `None` to `bind` later.

    Validity:
        Exact for every loss while the flow exists, from $u_0, v_0 > 0$; for even L from $u_0, v_0 \ne 0$. The
        law is rational, not polynomial. $y$ stays between the two poles, where $u$ or $v$ is infinite. Weight decay
        $\gamma$ lets $y$, $a$ and $b$ grow by $e^{(L-2)\gamma t}$, the degree of the law being $2 - L$.

    Raises:
        ValueError: φ is not of this form, or is no polynomial.

    References:
        [woodworth2020kernel] (depth L, $u_0 = v_0$); for $u_0 \ne v_0$ derived here.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(lambda p: p["u"] ** 3 - p["v"] ** 3, {"u": (2,), "v": (2,)}, name="cubes")
        >>> PowersFlow(arch).exponent
        3
    """

    exponent: int

    label = "flow of a difference of powers"
    source = "[woodworth2020kernel] for u_0 = v_0; otherwise derived here"
    order = 130.0
    is_product = False

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def form_of(cls, arch: Architecture) -> EntrywiseForm:
        return difference_form(arch, None, "the flow of a difference of powers")

    def _read(self, form: EntrywiseForm, arch: Architecture) -> None:
        super()._read(form, arch)
        self.exponent = form.exponent

    @property
    def degree(self) -> int:
        return self.exponent

    @property
    def statement(self) -> str:
        L = self.exponent
        root = "-1" if L == 3 else rf"-1/{L - 2}"
        return (
            rf"\dot y = -\nabla f(z),\quad z = u^{{{L}}} - v^{{{L}}},\quad "
            rf"u = (u_0^{{{2 - L}}} - {L * (L - 2)} y)^{{{root}}},\quad "
            rf"v = (v_0^{{{2 - L}}} + {L * (L - 2)} y)^{{{root}}}"
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        values = np.asarray(self.roles(theta0))
        smallest = float(np.min(np.abs(values) if self.exponent % 2 == 0 else values))
        even = self.exponent % 2 == 0
        return Condition(
            requirement=f"all entries of u and v are {'not 0' if even else 'positive'} (L = {self.exponent})",
            measured=0.0 if smallest > 0 else max(-smallest, np.finfo(float).tiny),
            tolerance=0.0,
            explanation=f"the smallest {'absolute value' if even else 'entry'} is {smallest:.3g}",
            remedy="Use the full flow, or start from positive weights.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = jnp.abs(self.roles(theta0))
        power = 2 - self.exponent
        return {"y": jnp.zeros_like(u), "a": u**power, "b": v**power}

    def velocity(self, t, state: State) -> State:
        # u^{2-L} = a - L(L-2) y grows by weight decay, since 2 - L is negative.
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        growth = (self.exponent - 2) * self.decay(t)
        grown = {name: jnp.broadcast_to(growth * value, value.shape) for name, value in state.items()}
        return scheduled(training, t, grown | {"y": grown["y"] - self.bare_gradient(self._bare(state))})

    def output(self, state: State):
        return self.outer(self._bare(state))

    def monitors(self, state: State) -> dict[str, Any]:
        u, v = self._inverse_powers(state)
        return {"distance to the pole / its size": jnp.min(jnp.minimum(u, v) / (state["a"] + state["b"]))}

    def _inverse_powers(self, state: State):
        rate = self.exponent * (self.exponent - 2)
        return state["a"] - rate * state["y"], state["b"] + rate * state["y"]

    def _bare(self, state: State):
        u, v = self._inverse_powers(state)
        # A trial step of the solver may leave the interval between the poles; infinity makes it reject the step.
        power = -self.exponent / (self.exponent - 2)
        inside = (u > 0) & (v > 0)
        value = jnp.where(inside, u, 1.0) ** power - jnp.where(inside, v, 1.0) ** power
        return jnp.where(inside, value, jnp.inf)
