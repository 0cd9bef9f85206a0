r"""`GramBlocksFlow`: φ made of products of two factors, in the Gram matrices of factors that meet; for any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State
from ..base import AbstractReduction
from ..gram_factor import AbstractFactorFlow, Rows
from .recognise import ProductForm, check_unchained, product_form


class GramBlocksFlow(AbstractFactorFlow):
    r"""The closed equations of all products $A B^\top$ of factors that share a summation index.

    For each group of factors that meet in products, stacked with their common index as columns in $S$, and
    $M = S S^\top$,

    $$\dot M = -E (N + \gamma I) M - M (N + \gamma I) E, \qquad N = \nabla_M f + (\nabla_M f)^\top,$$

    where $f$ is seen as a function of the blocks of $M$ that occur in $z$, and $E$ holds the rates of the rows.
    Attention is two groups for each head, $\{Q, K\}$ and $\{V, O\}$; a shared query one, $\{Q, K, V\}$; tied factors
    $U U^\top$ one, $\{U\}$; an adapter $W_0 + B A$ one, $\{B, A\}$. Factors that stand alone in $z$ are
    kept as they are.

    Args:
        arch: an architecture whose φ is a sum of such products, single factors and constants; the roles are
            read off its words.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: learning rates by factor name.

    Validity:
        Exact for every loss, every start (vanishing factors included), any weight decay and rates. It
        saves variables where the stacked rows are fewer than the hidden width.

    Raises:
        FormError: φ is not of this form (a `ValueError`).

    References:
        Elementary; for two layers see `GramFlow`.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.Architecture(
        ...     lambda p: p["Q"] @ p["K"].T + p["Q"] @ p["V"].T, {name: (3, 50) for name in "QKV"}, name="shared query"
        ... )
        >>> GramBlocksFlow(arch).groups
        (('Q', 'K', 'V'),)
    """

    form: ProductForm = eqx.field(static=True)

    label = "flow of Gram matrices"
    source = "elementary"
    order = 220.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.form = product_form(arch, f"the {self.label}")
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        check_unchained(arch, f"the {cls.label}")
        return cls(arch, loss)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The factors that share a summation index, group by group."""
        return tuple(tuple(side.letter for side in part.sides) for part in self.form.components)

    @property
    def statement(self) -> str:
        stacks = r",\quad ".join(
            rf"S_{{{number}}} = [{';'.join(side.latex for side in part.sides)}]"
            for number, part in enumerate(self.form.components, start=1)
        )
        return (
            r"\dot M_i = -(N_i M_i + M_i N_i),\quad M_i = S_i S_i^\top,\quad N_i = \nabla_{M_i} f + "
            rf"(\nabla_{{M_i}} f)^\top,\quad {stacks}"
        )

    def stacks(self, theta: Mapping[str, Any]) -> State:
        return {
            f"X{number}": jnp.concatenate([self.form.matrix(side, theta) for side in part.sides])
            for number, part in enumerate(self.form.components, start=1)
        }

    def initial(self, theta0: Mapping[str, Any]) -> State:
        alone = {
            f"factor {name}": jnp.asarray(self.form.letters[name].entries(theta0[self.form.factor(name)]))
            for name in self._alone
        }
        return super().initial(theta0) | alone

    def rows(self) -> Rows:
        found: Rows = {
            f"factor {name}": ((self.form.factor(name), self.form.letters[name].shape[0]),)
            for name in self._alone
        }
        for number, part in enumerate(self.form.components, start=1):
            found[f"X{number}"] = tuple((self.form.factor(side.letter), side.shape[0]) for side in part.sides)
        return found

    def output(self, state: State):
        flat = jnp.asarray(self.form.constant)
        for number, part in enumerate(self.form.components, start=1):
            factor = state[f"X{number}"]
            for term in part.terms:
                product = factor[part.span(term.left)] @ factor[part.span(term.right)].T
                flat = flat.at[term.positions].add(term.coefficient * product)
        for positions, coefficient, name, flipped in self.form.single:
            value = state[f"factor {name}"]
            flat = flat.at[positions].add(coefficient * (value.T if flipped else value))
        return jnp.reshape(flat, self.form.shape)

    def conserved(self, state: State) -> dict[str, Any]:
        if self.training is None or self.training.is_decaying:
            return {}
        found = {}
        for number, part in enumerate(self.form.components, start=1):
            if part.signs is None:
                continue
            signs = np.repeat(np.asarray(part.signs, float), [side.shape[0] for side in part.sides])
            factor = state[f"X{number}"]
            found[f"X{number}^T J X{number}"] = factor.T @ (
                (signs / self.row_rates(f"X{number}"))[:, None] * factor
            )
        return found

    @property
    def _alone(self) -> list[str]:
        """The factors that stand alone in $z$."""
        return list(dict.fromkeys(name for _, _, name, _ in self.form.single))
