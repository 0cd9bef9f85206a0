"""`AbstractSolution`: a trajectory $z(t)$ in closed form, with the condition under which the formula is a theorem."""

from __future__ import annotations

import abc

import equinox as eqx
import jax

from ..architecture import Architecture
from ..citations import in_words
from ..display.text import card, format_number, key_values
from ..reductions.base import Condition
from ..training import Training


class AbstractSolution(eqx.Module):
    """$z(t)$ as a formula: evaluated at any times at once, without integrating anything. Every subclass is final.

    It is made for one start and one loss; whoever makes it has measured the condition, so an object that exists holds.
    `compare(flow, solution, theta0, t1)` puts it beside the full flow.
    """

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """A short name for tables and legends."""

    @property
    @abc.abstractmethod
    def architecture(self) -> Architecture:
        """The network whose training this describes."""

    @property
    @abc.abstractmethod
    def training(self) -> Training:
        """Loss and factors."""

    @property
    @abc.abstractmethod
    def start(self) -> dict[str, jax.Array]:
        """The parameters from which this trajectory starts, by factor name."""

    @property
    @abc.abstractmethod
    def statement(self) -> str:
        """The formula in LaTeX."""

    @property
    @abc.abstractmethod
    def source(self) -> str:
        """Where the formula comes from."""

    @property
    @abc.abstractmethod
    def exactness(self) -> str:
        """Exact, or asymptotic and to which order, in words."""

    @property
    @abc.abstractmethod
    def condition(self) -> Condition:
        """The condition as it was measured at the start."""

    @abc.abstractmethod
    def z(self, ts) -> jax.Array:
        """(time, *shape of z) the end-to-end map at times (time,) in gradient-flow time. Pure: jit, vmap, grad.

        Negative times give NaN, which a traced function cannot refuse.
        """

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.architecture.name})"

    def __str__(self) -> str:
        title = ("solution", f"{self.label} of {self.architecture.name}")
        return key_values([title, ("formula", self.statement), *self._facts()])

    def _repr_html_(self) -> str:
        title = f"{self.label} of {self.architecture.name}"
        return card(title, formulas=self.statement, facts=self._facts())

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

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.statement}$"
