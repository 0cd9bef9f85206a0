"""`StochasticGradientDescent`: steps along the gradient of minibatches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Unpack

import equinox as eqx
import jax

from ..._checks import integer
from ...architecture import Architecture
from ...laws.law import Law
from ...losses.per_sample import as_sample_loss
from ..base import State
from ..law_change import LawChange
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent, descent_change


class StochasticGradientDescent(AbstractDescent):
    r"""Gradient descent on minibatches, $\theta_l \leftarrow \theta_l - \eta e_l(\nabla_l f_B + \gamma_l\theta_l)$.

    The minibatch of step $k$ is a function of the key and $k$, so that runs can be repeated and continued. Laws change
    as under `GradientDescent`, with the gradient of the minibatch.

    Args:
        arch: the architecture.
        loss: a `SampleLoss`, a `Dataset` (for half the mean squared error), or any loss module with `samples`
            and `on(rows)`: their number, and the mean loss of some of them.
        learning_rate: $\eta > 0$.
        batch_size: $B$, at most the number of samples.
        key: a key from `jax.random.key`.
        replacement: draw each minibatch independently, with replacement; by default each epoch is a random
            permutation, of which a remainder smaller than $B$ is left out.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a learning rate or batch size out of range, a loss without samples, or what `GradientFlow` refuses.

    Example:
        >>> import dlntheory as dln, jax
        >>> data = dln.data.linear_teacher(jax.random.key(0), 20, 3, 2)
        >>> arch = dln.linear_network((3, 4, 2))
        >>> StochasticGradientDescent(arch, data, 0.1, batch_size=5, key=jax.random.key(1)).label
        'stochastic gradient descent'
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    key: Any
    batch_size: int = eqx.field(static=True)
    replacement: bool = eqx.field(static=True)
    label: ClassVar[str] = "stochastic gradient descent"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        batch_size: int,
        key: Any,
        replacement: bool = False,
        **settings: Unpack[Settings],
    ):
        loss = as_sample_loss(loss)
        self.batch_size = integer(batch_size, "batch_size")
        if self.batch_size > loss.samples:
            raise ValueError(
                f"Argument `batch_size` must be at most the number of samples, {loss.samples}, but is {batch_size}."
            )
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.key, self.replacement = key, bool(replacement)

    def rows(self, k: Any) -> Any:
        """The samples of the minibatch of step number `k`. Pure."""
        samples = self.training.loss.samples
        if self.replacement:
            return jax.random.randint(jax.random.fold_in(self.key, k), (self.batch_size,), 0, samples)
        per_epoch = samples // self.batch_size
        order = jax.random.permutation(jax.random.fold_in(self.key, k // per_epoch), samples)
        return jax.lax.dynamic_slice(order, ((k % per_epoch) * self.batch_size,), (self.batch_size,))

    def slope(self, k: Any, theta: State) -> State:
        loss = self.training.loss.on(self.rows(k))
        return jax.grad(lambda p: loss(self.architecture(p)))(theta)

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope = gradient(theta)
        return {name: theta[name] - eta[name] * slope[name] for name in theta}, memory

    def law_change(self, law: Law) -> LawChange:
        return descent_change(self, law)
