r"""What the entrywise flows share: the form of φ, plain gradient flow, and $z = o + c\,p$ of a bare product."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import Training
from ..base import AbstractReduction, Condition
from .recognise import EntrywiseForm


class AbstractEntrywiseFlow(AbstractReduction):
    """A reduction whose $z$ falls apart into scalars that only the loss couples.

    The state holds what evolves and the constants of its law, so that one object serves every start.
    """

    arch: eqx.AbstractVar[Architecture]
    settings: eqx.AbstractVar[Training | None]
    positions: eqx.AbstractVar[np.ndarray]
    scale: eqx.AbstractVar[np.ndarray]
    offset: eqx.AbstractVar[np.ndarray]

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def exactness(self) -> str:
        return "exact for every loss and every start"

    def bind(self, training: Training) -> Self:
        check_plain(training, self.label)
        return type(self)(self.arch, training.loss)  # pyright: ignore[reportCallIssue]

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        return Condition(requirement="the form of φ, nothing else", measured=0.0, tolerance=0.0)

    def roles(self, theta: Mapping[str, Any]) -> jax.Array:
        """The parameters by role, (roles, *shape of z). Pure."""
        flat = self.arch.ravel(dict(theta))
        return jnp.reshape(flat[self.positions], (self.positions.shape[0], *self.arch.output_shape))

    def outer(self, bare):
        """$z = o + c\\,p$ of the bare product or difference. Pure."""
        return self.offset + self.scale * bare

    def slope(self, bare):
        r"""$c \odot \nabla f(z)$, the gradient that the bare product feels. Pure."""
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        return self.scale * jax.grad(training.loss)(self.outer(bare))


def radius(a, b):
    r"""$\sqrt{a^2 + b^2}$ with derivative 0, not NaN, at the origin. Pure."""
    square = a**2 + b**2
    return jnp.where(square > 0, jnp.sqrt(jnp.where(square > 0, square, 1.0)), 0.0)


def form_arrays(arch: Architecture, form: EntrywiseForm) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Positions (roles, entries), and scale and offset in the shape of $z$."""
    shape = arch.output_shape
    return form.positions, form.scale.reshape(shape), form.offset.reshape(shape)


def bound_training(arch: Architecture, loss: Any) -> Training | None:
    """Plain gradient flow of a loss, checked against the architecture; `None` for no loss."""
    if loss is None:
        return None
    training = Training(loss)
    training.check(arch)
    return training


def check_plain(training: Training, label: str) -> None:
    """Refuse weight decay and layer rates.

    Raises:
        ValueError: weight decay, or a rate other than 1.
    """
    if training.is_decaying:
        raise ValueError(
            f"Argument `weight_decay` must be 0 for the {label}, whose law it breaks, but is "
            f"{float(training.weight_decay):g}."
        )
    if training.rates:
        rates = {name: float(rate) for name, rate in training.rates.items()}
        raise ValueError(f"Argument `rates` must all be 1 for the {label}, but is {rates}.")
