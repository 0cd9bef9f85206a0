r"""Clocks: the variable in which `solve` steps, with time $t$ as a function of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..losses.log_form import LogLoss
from .base import AbstractFlow, State
from .rules.gradient_flow import GradientFlow

#: Where the logarithmic clock ends for flows whose velocity it scales without overflow. Margins are then of the size
#: of $s$, so that rounding alone moves $e^{s - m}$ by $2\cdot 10^{-16} s$: beyond, no tolerance can be kept.
LAST_LOG_FORM = 1e6


@dataclasses.dataclass(frozen=True)
class Clock:
    r"""A change of time $t = t(s)$; the solver integrates $dy/ds = t'(s)\, y'(t)$.

    Attributes:
        name: the name under which `solve(..., clock=name)` finds it; the unit of `Trajectory.ts`.
        time: $t(s)$.
        log_rate: $\log t'(s)$.
        last: the largest $s$ at which $t(s)$ is finite in float64.
    """

    name: str
    time: Callable[[Any], Any]
    log_rate: Callable[[Any], Any]
    last: float

    def velocity(self, dynamics: AbstractFlow, s, state: State) -> State:
        r"""$dy/ds = t'(s)\,y'$ at $s$; pure.

        For a gradient flow of a loss with a logarithm the rate and the loss enter one exponential,
        $t'(s)\,\nabla f = e^{\log t'(s) + \log f}\,\nabla\log f$, which neither overflows nor underflows.
        """
        if self.name == "t":
            return dynamics.velocity(s, state)
        if has_log_form(dynamics):
            return _log_form_velocity(dynamics, self.log_rate(s), state)
        rate = jnp.exp(self.log_rate(s))
        return {name: rate * v for name, v in dynamics.velocity(self.time(s), state).items()}

    def last_for(self, dynamics: AbstractFlow) -> float:
        """The largest $s$ up to which this clock can drive these dynamics."""
        return LAST_LOG_FORM if self.name == "log_t" and has_log_form(dynamics) else self.last

    def times(self, ts: np.ndarray) -> np.ndarray:
        """$t(s)$ as NumPy float64."""
        return np.asarray(self.time(ts), dtype=float)


def _identity(s):
    return s


def _zero(s):
    return jnp.zeros_like(s)


#: `"t"`: gradient-flow time itself. `"log_t"`: $s = \log(1 + t)$, so that a run over many decades of time
#: takes few steps; $t$ itself overflows beyond $s = 709$.
CLOCKS = {
    "t": Clock("t", _identity, _zero, np.inf),
    "log_t": Clock("log_t", jnp.expm1, _identity, 709.0),
}


def has_log_form(dynamics: AbstractFlow) -> bool:
    """Whether the velocity is a gradient of a loss with a logarithm, and nothing but that (no weight decay)."""
    training = dynamics.training
    return (
        isinstance(dynamics, GradientFlow)
        and training is not None
        and isinstance(training.loss, LogLoss)
        and not training.is_decaying
        and training.schedule is None
    )


def _log_form_velocity(dynamics: AbstractFlow, exponent, state: State) -> State:
    training, arch = dynamics.training, dynamics.architecture
    assert training is not None  # `has_log_form`
    log_loss, gradient = jax.value_and_grad(lambda p: training.loss.log_value(arch(p)))(state)
    speed = jnp.exp(exponent + log_loss)
    return {name: -(training.rate(name) * speed) * gradient[name] for name in state}


def clock_named(name: str) -> Clock:
    """The clock of that name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in CLOCKS:
        raise ValueError(f"Argument `clock` must be one of {list(CLOCKS)}, but is {name!r}.")
    return CLOCKS[name]
