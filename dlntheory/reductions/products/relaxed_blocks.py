r"""`RelaxedBlocksFlow`: products of independent two-layer problems in the products alone, where each law is scalar."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._checks import real_array
from ..._errors import ConditionError
from ...architecture import Architecture
from ...families.linear import linear_network
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition, FormError
from ..chain.relaxed import RelaxedBalancedFlow
from ..decay_and_rates import rate_of, scheduled
from .recognise import Component, ProductForm, check_unchained, product_form

LABEL = "relaxed balanced flow of independent products"
_INSTEAD = "Use `GramBlocksFlow`, which holds for every start."


class RelaxedBlocksFlow(AbstractReduction):
    r"""The flow of φ made of products $Z_b = A_b B_b^\top$ with factors of their own, if each law is a scalar.

    With $A_b^\top A_b - B_b^\top B_b = \lambda_b I$ every block obeys the equation of two layers,

    $$\dot Z_b = -\bigl( A_b A_b^\top\, G_b + G_b\, B_b B_b^\top \bigr), \qquad
      A_b A_b^\top = \tfrac{\lambda_b}{2} I + \bigl(\tfrac{\lambda_b^2}{4} I + Z_b Z_b^\top\bigr)^{1/2}$$

    on the range of $Z_b$ (likewise $B_b B_b^\top$ with $-\lambda_b$), coupled through $G_b$, the gradient by block b.
    Softmax attention is such a product of $Q K^\top$ and $V O$ for each head; an adapter $W_0 + B A$ is a single one.

    Args:
        arch: an architecture whose φ is a sum of such products and constants; read off its words.
        lambdas: $\lambda_b$, one for each product in the order of `pairs`; `from_start` measures them.
        loss: a function of $z$, or `None` to `bind` later.
        ranks: rank of each $Z_b$, or `None` for the largest possible.

    Validity:
        That of `RelaxedBalancedFlow` for each block: exact for every loss while the blocks keep their rank, if each law
        is scalar. Start, widths and ranks are checked.

    Raises:
        FormError: φ is not of this form, or a factor occurs in two products (a `ValueError`).
        InfeasibleError: factors of these sizes cannot have these λ.

    References:
        [marcotte2026intrinsic] (relaxed balanced linear networks), block by block.

    Example:
        >>> import dlntheory as dln
        >>> from dlntheory.families.attention import attention
        >>> RelaxedBlocksFlow(attention(2, 2), [0.5, -0.2]).pairs
        (('Q1', 'K1'), ('V1', 'O1'))
    """

    parts: tuple[RelaxedBalancedFlow, ...]
    form: ProductForm = eqx.field(static=True)

    label = LABEL
    source = "[marcotte2026intrinsic], relaxed balanced, block by block"
    exactness = "exact for every loss, where the law of each product is a multiple of the identity"
    order = 80.0

    def __init__(
        self,
        arch: Architecture,
        lambdas: Sequence[float],
        loss: Any = None,
        *,
        ranks: Sequence[int | None] | None = None,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.form = _independent(arch)
        count = len(self.form.components)
        lambdas = real_array(lambdas, "lambdas", ndim=1).tolist()
        if len(lambdas) != count or len(ranks or [None] * count) != count:
            raise ValueError(
                f"Arguments `lambdas` and `ranks` must hold one number for each of the {count} products of "
                f"{arch.name}, but hold {len(lambdas)} and {len(ranks or [None] * count)}."
            )
        self.parts = tuple(
            RelaxedBalancedFlow(_two_layers(part), lambdas=float(lam), rank=rank)
            for part, lam, rank in zip(self.form.components, lambdas, ranks or [None] * count, strict=True)
        )
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)
        if self.training is not None:
            self.parts = self._bound_parts(self.training)

    @classmethod
    def from_start(
        cls,
        arch: Architecture,
        theta0: Mapping[str, Any],
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ) -> Self:
        r"""The flow with the λ and ranks of a start. Not jit-compatible; `rates` need a `loss`.

        Raises:
            ConditionError: a law at `theta0` is no multiple of the identity; names the product, with its distance.
            FormError: φ is not of this form.
        """
        check_unchained(arch, f"the {LABEL}")
        checked, form = arch.check(theta0), _independent(arch)
        parts = []
        for part in form.components:
            try:
                speeds = {layer: (rates or {}).get(name, 1.0) for layer, name in _names(form, part).items()}
                scaled: dict[str, Any] = {} if loss is None else {"rates": speeds}
                parts.append(
                    RelaxedBalancedFlow.from_start(
                        _two_layers(part),
                        _layers(form, part, checked),
                        None if loss is None else _zero,
                        **scaled,
                    )
                )
            except ConditionError as error:
                raise _named(part, error) from None
        return cls(
            arch,
            [float(part.lambdas[0]) for part in parts],
            loss,
            ranks=[int(part.rank) for part in parts],
            weight_decay=weight_decay,
            rates=rates,
        )

    def bind(self, training: Training) -> Self:
        return eqx.tree_at(
            lambda flow: flow.parts,
            super().bind(training),
            self._bound_parts(training),
            is_leaf=lambda x: x is None,
        )

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        self._bound_parts(training)

    def _bound_parts(self, training: Training) -> tuple[RelaxedBalancedFlow, ...]:
        """The flows of the products with weight decay and rates; their loss is never evaluated."""
        bound = []
        for part, component in zip(self.parts, self.form.components, strict=True):
            names = _names(self.form, component)
            settings = Training(
                _zero,
                weight_decay=_renamed(training.decay, names),
                rates={layer: float(rate_of(training, name)) for layer, name in names.items()},
                decoupled=training.decoupled,
            )
            bound.append(part.bind(settings))
        return tuple(bound)

    @property
    def pairs(self) -> tuple[tuple[str, str], ...]:
        """The two factors of each product."""
        return tuple((part.sides[0].letter, part.sides[1].letter) for part in self.form.components)

    @property
    def statement(self) -> str:
        shown = ",\\, ".join(f"{float(part.lambdas[0]):.6g}" for part in self.parts)
        return (
            r"\dot Z_b = -\left( \bigl[\tfrac{\lambda_b}{2} I + (\tfrac{\lambda_b^2}{4} I + Z_b Z_b^\top)^{1/2}"
            r"\bigr] G_b + G_b \bigl[-\tfrac{\lambda_b}{2} I + (\tfrac{\lambda_b^2}{4} I + Z_b^\top Z_b)^{1/2}\bigr] "
            r"\right),\quad "
            rf"\lambda = ({shown})"
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        found = [
            part.condition(_layers(self.form, component, theta0))
            for part, component in zip(self.parts, self.form.components, strict=True)
        ]
        worst = max(range(len(found)), key=lambda i: (not found[i].holds, found[i].measured))
        condition, (left, right) = found[worst], self.pairs[worst]
        explanation = (
            f"product of {left} and {right}: {condition.explanation}" if condition.explanation else ""
        )
        return Condition(
            requirement="the law A^T A - B^T B of every product is a multiple of the identity",
            measured=condition.measured,
            tolerance=condition.tolerance,
            explanation=explanation,
            expected_error=condition.expected_error,
            remedy=_INSTEAD,
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {
            _key(name, number): value
            for number, (part, component) in enumerate(
                zip(self.parts, self.form.components, strict=True), start=1
            )
            for name, value in part.initial(_layers(self.form, component, theta0)).items()
        }

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        slopes = jax.grad(lambda s: training.loss(self.output(s)))(state)
        moved = {
            _key(name, number): value
            for number, part in enumerate(self.parts, start=1)
            for name, value in part.moved(t, _of_part(state, number), slopes[f"Z{number}"]).items()
        }
        return scheduled(training, t, moved)

    def output(self, state: State):
        flat = jnp.asarray(self.form.constant)
        for number, part in enumerate(self.form.components, start=1):
            term = part.terms[0]
            flat = flat.at[term.positions].add(term.coefficient * state[f"Z{number}"])
        return jnp.reshape(flat, self.form.shape)

    def monitors(self, state: State) -> dict[str, Any]:
        return {
            f"block {number}: {name}": value
            for number, part in enumerate(self.parts, start=1)
            for name, value in part.monitors(_of_part(state, number)).items()
        }

    def limits(self) -> tuple[Limit, ...]:
        return tuple(
            Limit(f"block {number}: {limit.monitor}", limit.warn_below, limit.stop_below, limit.advice)
            for number, part in enumerate(self.parts, start=1)
            for limit in part.limits()
        )


def _independent(arch: Architecture) -> ProductForm:
    form = product_form(arch, f"the {LABEL}")
    for part in form.components:
        if len(part.sides) != 2 or len(part.terms) != 1:
            names = ", ".join(side.letter for side in part.sides)
            raise FormError(
                f"Argument `arch` must be made of products with factors of their own for the {LABEL}, but in "
                f"{arch.name} {names} occur in {len(part.terms)} products. {_INSTEAD}"
            )
    if form.single or not form.components:
        raise FormError(
            f"Argument `arch` must be made of products of two factors for the {LABEL}, but {arch.name} "
            + ("shows single factors." if form.single else "has none.")
        )
    return form


def _two_layers(part: Component) -> Architecture:
    term = part.terms[0]
    return linear_network((term.right.shape[0], part.inner, term.left.shape[0]))


def _layers(form: ProductForm, part: Component, theta: Mapping[str, Any]) -> dict[str, Any]:
    term = part.terms[0]
    return {"W1": form.matrix(term.right, theta).T, "W2": form.matrix(term.left, theta)}


def _names(form: ProductForm, part: Component) -> dict[str, str]:
    """The factors behind the two layers of a product."""
    term = part.terms[0]
    return {"W1": form.factor(term.right.letter), "W2": form.factor(term.left.letter)}


def _renamed(decay: Any, names: Mapping[str, str]) -> Any:
    """A weight decay by factor under the names of the two layers."""
    if callable(decay):
        return lambda t: _renamed(decay(t), names)
    if isinstance(decay, Mapping):
        return {layer: decay.get(name, 0.0) for layer, name in names.items()}
    return decay


def _zero(z):
    """A loss in place of the common one, which no product has for itself."""
    return 0.0 * jnp.sum(z)


def _key(name: str, number: int) -> str:
    """The name of a part's state in the whole: `z` of product b is `Zb`."""
    return f"Z{number}" if name == "z" else f"{name} {number}"


def _of_part(state: State, number: int) -> State:
    """The state of one part, taken out of the whole."""
    ending = f" {number}"
    own = {name.removesuffix(ending): value for name, value in state.items() if name.endswith(ending)}
    return {"z": state[f"Z{number}"], **own}


def _named(part: Component, error: ConditionError) -> ConditionError:
    left, right = (side.letter for side in part.sides)
    return ConditionError(
        f"{error} (product of {left} and {right}; W2 stands for {left}, W1 for {right}). {_INSTEAD}",
        measured=error.measured,
        tolerance=error.tolerance,
        expected_error=error.expected_error,
    )
