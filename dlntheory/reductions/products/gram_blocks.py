r"""`GramBlocksFlow`: φ made of products of two factors, in the Gram matrices of factors that meet; for any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, Condition
from .recognise import Component, ProductForm, product_form


class GramBlocksFlow(AbstractReduction):
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

    arch: Architecture
    settings: Training | None
    form: ProductForm = eqx.field(static=True)

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.arch = arch
        self.form = product_form(arch, "the flow of Gram matrices")
        self.settings = None
        if loss is not None:
            self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
            self.settings.check(arch)

    @property
    def groups(self) -> tuple[tuple[str, ...], ...]:
        """The factors that share a summation index, group by group."""
        return tuple(tuple(side.letter for side in part.sides) for part in self.form.components)

    @property
    def label(self) -> str:
        return "flow of Gram matrices"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

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

    @property
    def source(self) -> str:
        return "elementary"

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
        return Condition(requirement="products of two factors, nothing else", measured=0.0, tolerance=0.0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        state = {}
        for number, part in enumerate(self.form.components, start=1):
            stacked = jnp.concatenate([self.form.matrix(side, theta0) for side in part.sides])
            state[f"M{number}"] = stacked @ stacked.T
        for name in dict.fromkeys(name for _, _, name, _ in self.form.single):
            state[f"factor {name}"] = self.form.letters[name].entries(theta0[self._factor(name)])
        return state

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        slopes = jax.grad(lambda s: training.loss(self.output(s)))(state)
        velocity = {}
        for number, part in enumerate(self.form.components, start=1):
            gram, slope = state[f"M{number}"], slopes[f"M{number}"]
            rates = self._row_rates(part)
            half = -rates[:, None] * ((slope + slope.T) @ gram)
            if training.is_decaying:
                half = half - training.weight_decay * rates[:, None] * gram
            velocity[f"M{number}"] = half + half.T
        for key, value in state.items():
            if key.startswith("factor "):
                rate = training.rate(self._factor(key.removeprefix("factor ")))
                decay = training.weight_decay * value if training.is_decaying else 0.0
                velocity[key] = -rate * (slopes[key] + decay)
        return velocity

    def output(self, state: State):
        flat = jnp.asarray(self.form.constant)
        for number, part in enumerate(self.form.components, start=1):
            gram = state[f"M{number}"]
            for term in part.terms:
                product = gram[part.span(term.left), part.span(term.right)]
                flat = flat.at[term.positions].add(term.coefficient * product)
        for positions, coefficient, name, flipped in self.form.single:
            value = state[f"factor {name}"]
            flat = flat.at[positions].add(coefficient * (value.T if flipped else value))
        return jnp.reshape(flat, self.form.shape)

    def conserved(self, state: State) -> dict[str, Any]:
        training = self.settings
        if training is None or training.is_decaying:
            return {}
        found = {}
        for number, part in enumerate(self.form.components, start=1):
            if part.signs is None:
                continue
            heights = [side.shape[0] for side in part.sides]
            signs = np.repeat(np.asarray(part.signs, dtype=np.float64), heights)
            product = state[f"M{number}"] * (signs / self._row_rates(part))[None, :]
            found[f"tr M{number} J"] = jnp.trace(product)
            found[f"tr (M{number} J)^2"] = jnp.sum(product * product.T)
        return found

    def monitors(self, state: State) -> dict[str, Any]:
        # M is positive semidefinite; a clearly negative eigenvalue means that the tolerances are too loose.
        ratios = {}
        for number in range(1, len(self.form.components) + 1):
            spectrum = jnp.linalg.eigvalsh(state[f"M{number}"])
            largest = jnp.where(spectrum[-1] > 0, spectrum[-1], 1.0)
            ratios[f"smallest eigenvalue of M{number} / largest"] = spectrum[0] / largest
        return ratios

    def _factor(self, letter: str) -> str:
        factor = self.form.letters[letter].factor
        assert factor is not None  # constants were refused
        return factor

    def _row_rates(self, part: Component):
        assert self.settings is not None
        rates = [
            jnp.full(side.shape[0], self.settings.rate(self._factor(side.letter))) for side in part.sides
        ]
        return jnp.concatenate(rates)
