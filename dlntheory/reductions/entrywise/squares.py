r"""`SquaresFlow`: the difference of squares $z = u^2 - v^2$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State
from ..guarded import radius
from .base import AbstractLawFlow
from .recognise import EntrywiseForm, difference_form


class SquaresFlow(AbstractLawFlow):
    r"""The flow of $z = o + c\,(u^2 - v^2)$, whose entries have parameters of their own.

    With $p = u^2 - v^2$ and the law $\kappa = u v$, entry by entry,

    $$\dot p = -4\sqrt{p^2 + 4\kappa^2}\; c\,\nabla f(z), \qquad z = o + c\,p .$$

    Args:
        arch: an architecture whose φ has this form; the roles are read off its exact polynomials. Where $c$ would be
            negative, $u$ and $v$ change places.
        loss: a function of $z$, or `None` to `bind` later.

    Validity:
        Exact for every loss and every start. Entries with $\kappa = 0$ keep their sign, the others may change it.

    Raises:
        ValueError: φ is not of this form, or is no polynomial.

    References:
        [woodworth2020kernel]; [vaskevicius2019implicit].

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(lambda p: (p["u"] ** 2 - p["v"] ** 2) / 2, {"u": (3,), "v": (3,)}, name="halves")
        >>> SquaresFlow(arch).scale
        array([0.5, 0.5, 0.5])
    """

    label = "flow of a difference of squares"
    statement = r"\dot z = -4\sqrt{z^2 + 4\kappa^2} \odot \nabla f(z),\quad \kappa = u \odot v"
    source = "[woodworth2020kernel]"
    order = 120.0
    law = "kappa"
    degree = 2
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
        return difference_form(arch, 2, "the flow of a difference of squares")

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = self.roles(theta0)
        return {"p": (u - v) * (u + v), "kappa": u * v}

    def speed(self, state: State):
        return 4.0 * radius(state["p"], 2.0 * state["kappa"])

    def monitors(self, state: State) -> dict[str, Any]:
        return {"smallest speed": jnp.min(self.speed(state))}
