"""`AbstractIteration`, the discrete twin of a dynamics, and `GradientDescent`."""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import numpy as np

from ...architecture import Architecture
from ...display.text import card, format_number, key_values
from ..base import State, Training
from .gradient_flow import chain_imbalances, layer_velocity


class AbstractIteration(eqx.Module):
    """A discrete-time training rule. The state is a dict of named arrays; step k is time k * `time_step`."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """A short name for tables and legends."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.architecture.name})"

    def __str__(self) -> str:
        return key_values([("iteration", f"{self.label} of {self.architecture.name}"), *self._facts()])

    def _repr_html_(self) -> str:
        return card(f"{self.label} of {self.architecture.name}", facts=self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        return [
            ("network", repr(self.architecture)),
            ("loss", self.training.conventions),
            ("time of a step", format_number(self.time_step)),
        ]

    @property
    @abc.abstractmethod
    def architecture(self) -> Architecture:
        """The network that is trained."""

    @property
    @abc.abstractmethod
    def training(self) -> Training:
        """Loss and factors."""

    @property
    @abc.abstractmethod
    def time_step(self) -> Any:
        """Gradient-flow time of one step."""

    @abc.abstractmethod
    def initial(self, theta0: Mapping[str, Any]) -> State:
        """The state at checked parameters. Pure."""

    @abc.abstractmethod
    def step(self, k, state: State) -> State:
        """The state after step number `k` (counted from 0). Pure."""

    @abc.abstractmethod
    def output(self, state: State):
        """$z$ of the state. Pure."""

    @abc.abstractmethod
    def conserved(self, state: State) -> dict[str, Any]:
        """Quantities that the flow behind this rule conserves; their drift measures the discretisation. Pure."""

    @abc.abstractmethod
    def monitors(self, state: State) -> dict[str, Any]:
        """Further scalars to record; may be `{}`. Pure."""


class AbstractDescent(AbstractIteration):
    """A rule that steps the parameters themselves, by one step size, and stands for a gradient flow."""

    arch: eqx.AbstractVar[Architecture]
    settings: eqx.AbstractVar[Training]
    learning_rate: eqx.AbstractVar[np.ndarray]

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training:
        return self.settings

    @property
    def time_step(self) -> Any:
        return self.learning_rate

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0)

    def output(self, state: State):
        return self.arch(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.arch, self.settings, state)


class GradientDescent(AbstractDescent):
    r"""Gradient descent with step size $\eta$.

    $$\theta_l \leftarrow \theta_l - \eta e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\theta_l)$$

    One step of size $\eta$ is the explicit Euler step of `GradientFlow`, and time is $t = k\eta$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        weight_decay: $\gamma \ge 0$.
        rates: factor $e_l$ on the learning rate by name; 1 where not named.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.
    """

    arch: Architecture
    settings: Training
    learning_rate: np.ndarray

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.learning_rate = checked_rate(learning_rate)
        self.arch = arch
        self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
        self.settings.check(arch)

    @property
    def label(self) -> str:
        return "gradient descent"

    def step(self, k, state: State) -> State:
        velocity = layer_velocity(self.arch, self.settings, state)
        return {name: state[name] + self.learning_rate * velocity[name] for name in state}

    def monitors(self, state: State) -> dict[str, Any]:
        return {}


def checked_rate(learning_rate: float) -> np.ndarray:
    """A learning rate as an array.

    Raises:
        ValueError: it is not positive or not finite.
    """
    if not (math.isfinite(float(learning_rate)) and float(learning_rate) > 0):
        raise ValueError(f"Argument `learning_rate` must be a positive number, but is {learning_rate}.")
    return np.asarray(float(learning_rate))
