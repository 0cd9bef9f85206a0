r"""`DiagonalFlow`: two-layer diagonal networks $z = u \odot v$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State
from ..guarded import radius
from .base import AbstractLawFlow
from .recognise import EntrywiseForm, product_form


class DiagonalFlow(AbstractLawFlow):
    r"""The flow of $z = o + c\,(u \odot v)$, whose entries have parameters of their own.

    With $p = u \odot v$ and the law $\lambda = u^2 - v^2$, entry by entry,

    $$\dot p = -\sqrt{\lambda^2 + 4 p^2}\; c\,\nabla f(z), \qquad z = o + c\,p .$$

    Args:
        arch: an architecture whose φ has this form; the roles are read off its exact polynomials.
        loss: a function of $z$, or `None` to `bind` later.

    Validity:
        Exact for every loss and every start. Entries with $\lambda = 0$ keep their sign, the others may change it.

    Raises:
        ValueError: φ is not of this form, or is no polynomial.

    References:
        [woodworth2020kernel] (the mirror potential); [gunasekar2018characterizing].

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(lambda p: p["w"][0] * p["w"][1], {"w": (2, 3)}, name="pairs")
        >>> DiagonalFlow(arch)
        DiagonalFlow(pairs)
    """

    label = "diagonal flow"
    statement = r"\dot z = -\sqrt{\lambda^2 + 4 z^2} \odot \nabla f(z),\quad \lambda = u^2 - v^2"
    source = "[woodworth2020kernel]; [gunasekar2018characterizing]"
    order = 110.0
    law = "lambda"
    degree = 2

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
        return product_form(arch, "the diagonal flow", depth=2)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = self.roles(theta0)
        # (u - v)(u + v) keeps the digits of a small difference of large weights.
        return {"p": u * v, "lambda": (u - v) * (u + v)}

    def speed(self, state: State):
        return radius(state["lambda"], 2.0 * state["p"])

    def monitors(self, state: State) -> dict[str, Any]:
        return {"smallest speed": jnp.min(self.speed(state))}
