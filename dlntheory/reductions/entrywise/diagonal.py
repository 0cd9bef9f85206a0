r"""`DiagonalFlow`: two-layer diagonal networks $z = u \odot v$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State, Training
from .base import AbstractEntrywiseFlow, bound_training, form_arrays, radius
from .recognise import product_form


class DiagonalFlow(AbstractEntrywiseFlow):
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

    arch: Architecture
    settings: Training | None
    positions: np.ndarray
    scale: np.ndarray
    offset: np.ndarray

    def __init__(self, arch: Architecture, loss: Any = None):
        form = product_form(arch, "the diagonal flow", depth=2)
        self.arch = arch
        self.settings = bound_training(arch, loss)
        self.positions, self.scale, self.offset = form_arrays(arch, form)

    @property
    def label(self) -> str:
        return "diagonal flow"

    @property
    def statement(self) -> str:
        return r"\dot z = -\sqrt{\lambda^2 + 4 z^2} \odot \nabla f(z),\quad \lambda = u^2 - v^2"

    @property
    def source(self) -> str:
        return "[woodworth2020kernel]; [gunasekar2018characterizing]"

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, v = self.roles(theta0)
        # (u - v)(u + v) keeps the digits of a small difference of large weights.
        return {"p": u * v, "lambda": (u - v) * (u + v)}

    def velocity(self, t, state: State) -> State:
        speed = radius(state["lambda"], 2 * state["p"])
        return {"p": -speed * self.slope(state["p"]), "lambda": jnp.zeros_like(state["lambda"])}

    def output(self, state: State):
        return self.outer(state["p"])

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        return {"smallest speed": jnp.min(radius(state["lambda"], 2 * state["p"]))}
