r"""`TiedFlow`: tied factors $z = U U^\top$ in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State
from ..base import CLOSED_FORM, AbstractReduction, FormError
from ..gram_factor import AbstractFactorFlow, Rows
from .recognise import ProductForm, check_unchained, product_form


class TiedFlow(AbstractFactorFlow):
    r"""The flow of $z = o + c\, p$, $p = U U^\top$ (or $W^\top W$), with one factor.

    $$\dot p = -c\,\bigl( (G + G^\top)\, p + p\, (G + G^\top) \bigr) - 2\gamma\, p, \qquad G = \nabla f(z)$$

    Only the symmetric part of the gradient acts, since $z - o$ stays symmetric. A learning rate of $U$ multiplies the
    right side. What is integrated is a factor $X$ of $p = X X^\top$ with at most as many columns as rows, since $p$
    itself would leave the rank of a narrow $U$ (see `dlntheory.reductions.gram_factor`).

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

    positions: np.ndarray
    coefficient: np.ndarray
    offset: np.ndarray

    label = "flow of tied factors"
    statement = r"\dot z = -\left( (G + G^\top) z + z (G + G^\top) \right),\quad G = \nabla f(z)"
    source = "elementary; [gunasekar2017implicit]"
    kind = CLOSED_FORM
    order = 70.0

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
        self.positions = term.positions
        self.coefficient = np.asarray(term.coefficient)
        self.offset = form.constant
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        check_unchained(arch, f"the {cls.label}")
        return cls(arch, loss)

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

    def stacks(self, theta: Mapping[str, Any]) -> State:
        form = self._form(self.architecture)
        return {"X": form.matrix(form.components[0].sides[0], theta)}

    def rows(self) -> Rows:
        form = self._form(self.architecture)
        side = form.components[0].sides[0]
        return {"X": ((form.factor(side.letter), side.shape[0]),)}

    def output(self, state: State):
        flat = jnp.asarray(self.offset).at[self.positions].add(self.coefficient * self.gram(state, "X"))
        return jnp.reshape(flat, self.architecture.output_shape)
