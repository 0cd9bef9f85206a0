"""`AbstractSolution`: a trajectory $z(t)$ in closed form, with the condition under which the formula is a theorem."""

from __future__ import annotations

import abc
from typing import Any, ClassVar

import equinox as eqx
import jax

from ..architecture import Architecture
from ..citations import in_words
from ..display.displayed import Displayed
from ..display.text import format_number
from ..reductions.base import Condition
from ..training import Training


class AbstractSolution(Displayed, eqx.Module):
    """$z(t)$ as a formula: evaluated at any times at once, without integrating anything. Every subclass is final.

    It is made for one start and one loss; whoever makes it has measured the condition, so an object that exists holds.
    `compare(flow, solution, theta0, t1)` puts it beside the full flow.

    Methods are jit-compatible in the way of Equinox: `eqx.filter_jit(solution.z)`, or `jax.jit` of a function that
    calls it, `jax.jit(lambda ts: solution.z(ts))`; a bound method that holds arrays has no hash, so that JAX refuses
    `jax.jit(solution.z)`. `jax.vmap` and `jax.jacfwd` take `solution.z` as it is.

    Class variables:
        label: a short name for tables and legends.
        statement: the formula in LaTeX.
        source: where the formula comes from.
        exactness: exact, or asymptotic and to which order, in words; a property where it depends on the start.

    Attributes:
        architecture: the network whose training this describes.
        training: loss and factors.
        start: the parameters from which this trajectory starts, by factor name.
    """

    architecture: Architecture
    training: Training
    start: dict[str, jax.Array]

    label: ClassVar[str]
    statement: ClassVar[str]
    source: ClassVar[str]
    exactness: ClassVar[Any]

    @property
    @abc.abstractmethod
    def condition(self) -> Condition:
        """The condition as it was measured at the start."""

    @abc.abstractmethod
    def z(self, ts) -> jax.Array:
        """(time, *shape of z) the end-to-end map at times (time,) in gradient-flow time. Pure.

        Negative times give NaN, which a traced function cannot refuse.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.architecture.name})"

    def _title(self) -> str:
        return f"{self.label} of {self.architecture.name}"

    def _formulas(self) -> tuple[str, ...]:
        return (self.statement,)

    def _facts(self) -> list[tuple[str, str]]:
        condition = self.condition
        violation = f"{format_number(condition.measured)} (tolerance {format_number(condition.tolerance)})"
        found = [("found", condition.explanation)] if condition.explanation else []
        return [
            ("validity", self.exactness),
            ("requires", condition.requirement),
            ("violation", violation),
            *found,
            ("loss", self.training.conventions),
            ("source", in_words(self.source)),
        ]
