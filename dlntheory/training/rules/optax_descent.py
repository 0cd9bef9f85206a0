"""`OptaxDescent`: any gradient transformation of optax as a training rule."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange, form_of, taylor
from ..settings import Training, checked_number
from .descent import AbstractDescent


class OptaxDescent(AbstractDescent):
    r"""Training by an `optax.GradientTransformation`: $\theta \leftarrow \theta + u$, $u$ the transformed gradient.

    optax itself is not imported: the transformation is a pair of functions `init(params)` and
    `update(gradient, state, params)`. A quadratic law changes by Taylor's formula in the step.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        transformation: for example `optax.adam(1e-3)`; learning rate and weight decay are its own.
        time_step: the gradient-flow time of one step, for plots over time; the learning rate, if it has one.

    Raises:
        ValueError: an object without `init` and `update`, a time that is not positive, or a loss that does not fit.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    transformation: Any = eqx.field(static=True)
    label: ClassVar[str] = "optax"

    def __init__(self, arch: Architecture, loss: Any, transformation: Any, *, time_step: float = 1.0):
        if not (
            callable(getattr(transformation, "init", None))
            and callable(getattr(transformation, "update", None))
        ):
            raise ValueError(
                f"Argument `transformation` must have `init` and `update`, but is {transformation!r}."
            )
        self.architecture, self.training = arch, Training.of(arch, loss)
        self.learning_rate = checked_number(time_step, "time_step", above=0)
        self.transformation = transformation

    def memory(self, theta: Mapping[str, Any]) -> State:
        leaves = jax.tree.leaves(self.transformation.init(dict(theta)))
        return {f"optimiser state {i}": jnp.asarray(leaf) for i, leaf in enumerate(leaves)}

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        _, shape = jax.tree.flatten(jax.eval_shape(self.transformation.init, dict(theta)))
        state = jax.tree.unflatten(shape, [memory[f"optimiser state {i}"] for i in range(len(memory))])
        change, state = self.transformation.update(gradient(theta), state, dict(theta))
        kept = {f"optimiser state {i}": leaf for i, leaf in enumerate(jax.tree.leaves(state))}
        return {name: theta[name] + change[name] for name in theta}, kept

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return taylor(self, form_of(self, law))
