"""`StochasticGradientFlow`: the differential equation of gradient descent with noise."""

from __future__ import annotations

import dataclasses
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp

from ..._checks import integer
from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...laws.law import Law
from ...laws.law_forms import Evaluator
from ...losses.per_sample import as_sample_loss
from ..base import AbstractIteration, AbstractTrainingRule, State
from ..law_change import At, LawChange, form_of, invariance, is_conserved_by, needs_velocity, times
from ..settings import Training, checked_number


class StochasticGradientFlow(AbstractTrainingRule):
    r"""Gradient flow with the noise of minibatches, $d\theta = -\nabla f\,dt + \sqrt{\eta/(Bn)}\sum_i(g_i - g)\,dB_i$.

    The diffusion limit of `StochasticGradientDescent` with replacement. The columns of the noise are in the span of the
    gradients, so that a law changes by $dh = \sum_k h_2(g_k)\,dt$ in Itô's sense, without a martingale part, and not at
    all in Stratonovich's sense. `euler_maruyama` makes it a rule for `iterate`.

    Args:
        arch: the architecture.
        loss: a `SampleLoss`, or a `Dataset` for half the mean squared error.
        learning_rate: $\eta > 0$ of the descent that is described.
        batch_size: its $B$.
        stratonovich: read the equation in Stratonovich's sense, the limit of smooth noise.

    Raises:
        ValueError: numbers out of range, or a loss without samples.

    References:
        Derived from Itô's formula, and from the chain rule in Stratonovich's calculus.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    batch_size: int = eqx.field(static=True)
    stratonovich: bool = eqx.field(static=True)
    label: ClassVar[str] = "stochastic gradient flow"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        batch_size: int = 1,
        stratonovich: bool = False,
    ):
        self.architecture, self.training = arch, Training.of(arch, as_sample_loss(loss))
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)
        self.batch_size, self.stratonovich = integer(batch_size, "batch_size"), bool(stratonovich)

    def velocity(self, t: Any, state: State) -> State:
        """The drift. Pure."""
        return self.training.velocity(self.architecture, state, t)

    def noise(self, t: Any, state: State) -> State:
        """The columns of the noise, one a sample along a first axis of each factor. Pure."""
        loss = self.training.loss

        def slope(row: Any) -> State:
            return jax.grad(lambda p: loss.on(row[None])(self.architecture(p)))(state)

        each = jax.vmap(slope)(jnp.arange(loss.samples))
        size = jnp.sqrt(self.learning_rate / (self.batch_size * loss.samples))
        return {name: size * (g - jnp.mean(g, axis=0, keepdims=True)) for name, g in each.items()}

    def euler_maruyama(self, time_step: float, key: Any) -> EulerMaruyama:
        """The explicit steps of this equation in Itô's sense.

        Raises:
            NotApplicableError: the equation is in Stratonovich's sense, to whose solutions they do not converge.
        """
        if self.stratonovich:
            raise NotApplicableError(
                "Argument `stratonovich` must be False for Euler-Maruyama steps, which converge to Itô's equation.",
                requirement="Itô's sense",
            )
        return EulerMaruyama(self, checked_number(time_step, "time_step", above=0), key)

    def law_values(self, when: Any, state: State) -> dict[str, Any]:
        columns = self.noise(when, state)
        rows = range(self.training.loss.samples)
        return {"noise": [{name: column[i] for name, column in columns.items()} for i in rows]}

    def law_change(self, law: Law) -> LawChange:
        form = form_of(self, law)
        if form.noether:
            raise needs_velocity(self, form)
        if not is_conserved_by(form, self):
            raise NotApplicableError(
                f"Argument `law` must be conserved by gradient flow for {self!r}, but {law.name} is not.",
                requirement="a law of gradient flow",
            )
        quantity, source = f"d{form.symbol}/dt", "Itô's formula; the chain rule in Stratonovich's calculus"
        right = times(r"\sum_k", form.written("{{G^k_{{{0}}}}}", degree=2))
        if self.stratonovich or not right:
            return dataclasses.replace(invariance(self, form, source), quantity=quantity)

        def identity(h: Evaluator, at: At, p: At) -> Any:
            total = h.zero()
            for column in at["noise"]:
                total = total + h.part(2, column)
            return total

        return LawChange(form, self, quantity, right, "O(1)", ("noise",), identity, source)


class EulerMaruyama(AbstractIteration):
    """The explicit steps of a `StochasticGradientFlow`; made by its method `euler_maruyama`.

    Args:
        flow: the equation, in Itô's sense.
        learning_rate: the time of a step.
        key: a key from `jax.random.key`.
    """

    flow: StochasticGradientFlow
    learning_rate: Any
    key: Any
    label: ClassVar[str] = "Euler-Maruyama"

    def __init__(self, flow: StochasticGradientFlow, learning_rate: Any, key: Any):
        self.flow, self.learning_rate, self.key = flow, learning_rate, key

    @property
    def architecture(self) -> Architecture:
        return self.flow.architecture

    @property
    def training(self) -> Training:
        return self.flow.training

    def step(self, k: Any, state: State) -> State:
        t = self.time_of(k)
        drift, columns = self.flow.velocity(t, state), self.flow.noise(t, state)
        draws = jax.random.normal(jax.random.fold_in(self.key, k), (self.training.loss.samples,))
        size = jnp.sqrt(self.learning_rate)
        return {
            name: state[name]
            + self.learning_rate * drift[name]
            + size * jnp.tensordot(draws, columns[name], 1)
            for name in state
        }
