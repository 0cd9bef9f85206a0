r"""What the entrywise flows share: the form of φ, layer rates by rescaling, and $z = o + T\,p$ of a bare product.

With $v_l = w_l/\sqrt{e_l}$ a flow of rates $e_l$ is one of unit rates for $v$, so that the flows work with $v$, and the
bare product has the scale $\prod_l \sqrt{e_l}$. With weight decay $\gamma$ a law of degree k has $e^{-k e \gamma t}$
times its value at the start; it is a part of the state.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Self

import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, FormError
from ..decay_and_rates import check_common_decay, decay_of, rate_of, scheduled
from .recognise import EntrywiseForm

#: Above this many parameters `reduce` does not expand φ into polynomials of single entries.
MAX_EXPANDED = 120


class AbstractEntrywiseFlow(AbstractReduction):
    """A reduction whose $z$ falls apart into scalars that only the loss couples.

    The state holds what evolves and the laws, so that one object serves every start. A subclass reads its form in
    `form_of` and says the `degree` of φ; `is_product` says that its roles are multiplied, so that each may have a
    learning rate of its own. It declares the constructor again: to type checkers a module without one takes its fields.
    """

    positions: np.ndarray
    owners: np.ndarray
    scale: np.ndarray
    offset: np.ndarray
    mix: np.ndarray | None

    is_product: ClassVar[bool] = True
    degree: ClassVar[Any]

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self._read(self.form_of(arch), arch)
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    def _read(self, form: EntrywiseForm, arch: Architecture) -> None:
        self.positions, self.owners, self.mix = form.positions, owners_of(arch)[form.positions], form.mix
        self.scale = form.scale if form.mix is not None else form.scale.reshape(arch.output_shape)
        self.offset = form.offset.reshape(arch.output_shape)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        expandable(arch, f"the {cls.label}")
        return cls(arch, loss)

    @classmethod
    @abc.abstractmethod
    def form_of(cls, arch: Architecture) -> EntrywiseForm:
        """The roles of the parameters, or a `FormError`."""

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        names = list(self.architecture.shapes)
        for entry in sorted({tuple(owners) for owners in self.owners.T.tolist()}):
            own = [names[owner] for owner in entry]
            check_common_decay(training, own, f"the {self.label}")
            rates = {float(rate_of(training, name)) for name in own}
            if not self.is_product and len(rates) > 1:
                raise NotApplicableError(
                    f"Argument `rates` must be equal for the two powers of every entry for the {self.label}, but are "
                    f"{sorted(rates)}: make them equal, or use the full flow.",
                    requirement="equal rates",
                )

    def roles(self, theta: Mapping[str, Any]) -> jax.Array:
        """The parameters by role, over the square roots of their rates, (roles, *shape of the bare product). Pure."""
        flat = self.architecture.ravel(dict(theta))
        return jnp.reshape(flat[self.positions], (len(self.positions), *self.scale.shape)) / jnp.sqrt(
            self._rates()
        )

    def outer(self, bare):
        """$z = o + T\\,p$ of the bare product or difference. Pure."""
        inner = self._bare_scale() * bare
        return self.offset + (inner if self.mix is None else jnp.reshape(self.mix @ inner, self.offset.shape))

    def bare_gradient(self, bare):
        r"""$T^\top \nabla f(z)$, the gradient that the bare product feels. Pure."""
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        gradient = jax.grad(training.loss)(self.outer(bare))
        if self.mix is not None:
            gradient = self.mix.T @ jnp.ravel(gradient)
        return self._bare_scale() * gradient

    def decay(self, t):
        r"""$e\gamma(t)$ for each bare product; 0 without weight decay. Pure."""
        training = self.training
        if training is None or not training.is_decaying:
            return jnp.zeros(())
        return self._by_role(lambda name: decay_of(training, name, t))[0]

    def _bare_scale(self):
        rates = jnp.broadcast_to(self._rates(), (len(self.positions), *self.scale.shape))
        # A difference of powers has one rate for both roles, and its degree in each of them.
        power = jnp.prod(jnp.sqrt(rates), axis=0) if self.is_product else rates[0] ** (0.5 * self.degree)
        return self.scale * power

    def _rates(self):
        if self.training is None or not self.training.rates:
            return jnp.ones(())
        return self._by_role(lambda name: rate_of(self.training, name))

    def _by_role(self, value: Callable[[str], Any]):
        """A number of each factor for every parameter by role, (roles, *shape of the bare product)."""
        each = jnp.stack(
            [jnp.asarray(value(name), jnp.result_type(float)) for name in self.architecture.shapes]
        )
        return jnp.reshape(each[self.owners], (len(self.positions), *self.scale.shape))


class AbstractLawFlow(AbstractEntrywiseFlow):
    r"""$\dot p = -K(p, h)\, T^\top \nabla f$ entry by entry, with a law $h$ of degree two of the same entry."""

    law: ClassVar[str]

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @abc.abstractmethod
    def speed(self, state: State) -> Any:
        """$K$, in the shape of the bare product. Pure."""

    def velocity(self, t, state: State) -> State:
        training, decay = self.training, self.decay(t)
        assert training is not None  # `solve` refuses an unbound reduction
        moved = {
            "p": -self.speed(state) * self.bare_gradient(state["p"]) - self.degree * decay * state["p"],
            # One decay a bare product, along the last axis of laws by layer.
            self.law: -2.0 * jnp.broadcast_to(decay, state[self.law].shape) * state[self.law],
        }
        return scheduled(training, t, moved)

    def output(self, state: State):
        return self.outer(state["p"])


def owners_of(arch: Architecture) -> np.ndarray:
    """The number of the factor to which each raveled parameter belongs."""
    return np.repeat(np.arange(len(arch.shapes)), [math.prod(shape) for shape in arch.shapes.values()])


def expandable(arch: Architecture, label: str) -> None:
    """Raise if φ has too many parameters to be expanded by `reduce`.

    Raises:
        FormError: it has more than `MAX_EXPANDED`.
    """
    if arch.size > MAX_EXPANDED:
        raise FormError(
            f"Argument `arch` must have at most {MAX_EXPANDED} parameters to be tried for {label}, but {arch.name} has "
            f"{arch.size}: build the flow itself, which has no such limit."
        )
