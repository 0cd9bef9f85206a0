r"""`TiedFlow`: tied factors $z = U U^\top$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, Condition
from ..entrywise.recognise import FormError
from .recognise import ProductForm, product_form


class TiedFlow(AbstractReduction):
    r"""The flow of $z = o + c\, p$, $p = U U^\top$ (or $W^\top W$), with one factor.

    $$\dot p = -c\,\bigl( (G + G^\top)\, p + p\, (G + G^\top) \bigr) - 2\gamma\, p, \qquad G = \nabla f(z)$$

    Only the symmetric part of the gradient acts, since $z - o$ stays symmetric. A learning rate of $U$ multiplies the
    right side.

    Args:
        arch: an architecture whose φ has this form; the factor is read off its words.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: the learning rate of the factor by name.

    Validity:
        Exact for every loss and every start, whatever the width of $U$; no law is needed.

    Raises:
        FormError: φ is not of this form (a `ValueError`).

    References:
        Elementary; [gunasekar2017implicit].

    Example:
        >>> import dlntheory as dln
        >>> TiedFlow(dln.Architecture(lambda p: p["W"].T @ p["W"], {"W": (50, 3)}, name="gram"))
        TiedFlow(gram)
    """

    arch: Architecture
    settings: Training | None
    positions: np.ndarray
    coefficient: np.ndarray
    offset: np.ndarray

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        form = self._form(arch)
        term = form.components[0].terms[0]
        self.arch = arch
        self.positions = term.positions
        self.coefficient = np.asarray(term.coefficient)
        self.offset = form.constant
        self.settings = None
        if loss is not None:
            self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
            self.settings.check(arch)

    @staticmethod
    def _form(arch: Architecture) -> ProductForm:
        form = product_form(arch, "the flow of tied factors")
        terms = [term for part in form.components for term in part.terms]
        if len(terms) != 1 or form.single or terms[0].left != terms[0].right:
            shown = "; ".join(f"{term.left.latex} times {term.right.latex}" for term in terms) or "no product"
            raise FormError(
                f"Argument `arch` must be of the form o + c U U^T for the flow of tied factors, but {arch.name} holds "
                f"{shown}{' and single factors' if form.single else ''}."
            )
        return form

    @property
    def label(self) -> str:
        return "flow of tied factors"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        return r"\dot z = -\left( (G + G^\top) z + z (G + G^\top) \right),\quad G = \nabla f(z)"

    @property
    def source(self) -> str:
        return "elementary; [gunasekar2017implicit]"

    @property
    def exactness(self) -> str:
        return "exact for every loss and every start"

    def bind(self, training: Training) -> Self:
        return type(self)(
            self.arch,
            training.loss,
            weight_decay=float(training.weight_decay),
            rates={name: float(rate) for name, rate in training.rates.items()},
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        return Condition(requirement="one factor times its own transpose", measured=0.0, tolerance=0.0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        form = self._form(self.arch)
        factor = form.matrix(form.components[0].sides[0], theta0)
        return {"p": factor @ factor.T}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        slope = jnp.ravel(jax.grad(training.loss)(self.output(state)))[self.positions]
        half = -self.coefficient * ((slope + slope.T) @ state["p"])
        if training.is_decaying:
            half = half - training.weight_decay * state["p"]
        return {"p": self._rate() * (half + half.T)}

    def output(self, state: State):
        flat = jnp.asarray(self.offset).at[self.positions].add(self.coefficient * state["p"])
        return jnp.reshape(flat, self.arch.output_shape)

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        # p is positive semidefinite; a clearly negative eigenvalue means that the tolerances are too loose.
        spectrum = jnp.linalg.eigvalsh(state["p"])
        return {"smallest eigenvalue / largest": spectrum[0] / jnp.where(spectrum[-1] > 0, spectrum[-1], 1.0)}

    def _rate(self):
        assert self.settings is not None
        form = self._form(self.arch)
        factor = form.letters[form.components[0].sides[0].letter].factor
        assert factor is not None  # constants were refused
        return self.settings.rate(factor)
