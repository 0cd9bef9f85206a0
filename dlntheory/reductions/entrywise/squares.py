r"""`SquaresFlow`: the difference of squares $z = u^2 - v^2$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State, Training
from .base import AbstractEntrywiseFlow, bound_training, form_arrays, radius
from .recognise import difference_form


class SquaresFlow(AbstractEntrywiseFlow):
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

    arch: Architecture
    settings: Training | None
    positions: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def __init__(self, arch: Architecture, loss: Any = None):
        form = difference_form(arch, 2, "the flow of a difference of squares")
        self.arch = arch
        self.settings = bound_training(arch, loss)
        self.positions, self.scale, self.offset = form_arrays(arch, form)

    @property
    def label(self) -> str:
        return "flow of a difference of squares"

    @property
    def statement(self) -> str:
        return r"\dot z = -4\sqrt{z^2 + 4\kappa^2} \odot \nabla f(z),\quad \kappa = u \odot v"

    @property
    def source(self) -> str:
        return "[woodworth2020kernel]"

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = self.roles(theta0)
        return {"p": (u - v) * (u + v), "kappa": u * v}

    def velocity(self, t, state: State) -> State:
        speed = 4 * radius(state["p"], 2 * state["kappa"])
        return {"p": -speed * self.slope(state["p"]), "kappa": jnp.zeros_like(state["kappa"])}

    def output(self, state: State):
        return self.outer(state["p"])

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        return {"smallest speed": 4 * jnp.min(radius(state["p"], 2 * state["kappa"]))}
