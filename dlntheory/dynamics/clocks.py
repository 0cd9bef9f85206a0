r"""Clocks: the variable in which `solve` steps, with time $t$ as a function of it."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Clock:
    r"""A change of time $t = t(s)$; the solver integrates $dy/ds = t'(s)\, y'(t)$.

    Attributes:
        name: the name under which `solve(..., clock=name)` finds it; the unit of `Trajectory.ts`.
        time: $t(s)$.
        rate: $t'(s)$.
        last: the largest $s$ at which $t(s)$ is finite in float64.
    """

    name: str
    time: Callable[[Any], Any]
    rate: Callable[[Any], Any]
    last: float

    def times(self, ts: np.ndarray) -> np.ndarray:
        """$t(s)$ as NumPy float64."""
        return np.asarray(self.time(ts), dtype=float)


def _identity(s):
    return s


def _one(s):
    return jnp.ones_like(s)


#: `"t"`: gradient-flow time itself. `"log_t"`: $s = \log(1 + t)$, so that a run over many decades of time
#: takes few steps; $t$ itself overflows beyond $s = 709$.
CLOCKS = {
    "t": Clock("t", _identity, _one, np.inf),
    "log_t": Clock("log_t", jnp.expm1, jnp.exp, 709.0),
}


def clock_named(name: str) -> Clock:
    """The clock of that name.

    Raises:
        ValueError: an unknown name.
    """
    if name not in CLOCKS:
        raise ValueError(f"Argument `clock` must be one of {list(CLOCKS)}, but is {name!r}.")
    return CLOCKS[name]
