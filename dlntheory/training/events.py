"""Events: conditions that end a run early, given to `solve(..., stop=...)`."""

from __future__ import annotations

import abc
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .base import AbstractFlow, State


class AbstractEvent(eqx.Module):
    """A real function of the state; the run ends where it crosses zero from above.

    Real rather than boolean, so that the time of the crossing can be located by root finding.
    """

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """What happened, in words, for `Trajectory.stats.stopped_by`."""

    @abc.abstractmethod
    def value(self, dynamics: AbstractFlow, t, state: State) -> Any:
        """Positive before the event, zero at it. Pure."""


class LossBelow(AbstractEvent):
    """The loss reaches a level.

    Args:
        level: the loss value, in the units of the loss object; the crossing is located to rounding.
    """

    level: np.ndarray

    def __init__(self, level: float):
        if not math.isfinite(float(level)):
            raise ValueError(f"Argument `level` must be finite, but is {level}.")
        self.level = np.asarray(float(level))

    @property
    def label(self) -> str:
        return "loss level reached"

    def value(self, dynamics: AbstractFlow, t, state: State) -> Any:
        training = dynamics.training
        assert training is not None  # `solve` refuses an unbound reduction before any event is evaluated
        return training.loss(dynamics.output(state)) - self.level


class SteadyState(AbstractEvent):
    r"""The velocity falls to $\|y'\| = a + r\|y\|$ (Euclidean norms over the whole state; $y'$ per unit of time).

    A long plateau is slow as well: choose `rtol` below the slowest rate that matters.
    """

    rtol: np.ndarray
    atol: np.ndarray

    def __init__(self, rtol: float = 1e-8, atol: float = 0.0):
        if not (rtol >= 0 and atol >= 0 and rtol + atol > 0):
            raise ValueError(
                "Arguments `rtol` and `atol` must be non-negative and not both zero, "
                f"but are {rtol} and {atol}."
            )
        self.rtol = np.asarray(float(rtol))
        self.atol = np.asarray(float(atol))

    @property
    def label(self) -> str:
        return "steady state reached"

    def value(self, dynamics: AbstractFlow, t, state: State) -> Any:
        velocity = dynamics.velocity(t, state)
        return _norm(velocity) - (self.atol + self.rtol * _norm(state))


def _norm(state: State):
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(state)))
