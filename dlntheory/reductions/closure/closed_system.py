"""`AbstractClosedSystem`: what a closure of words and a closure of entries have in common."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any

import sympy

from ...training import State


@dataclasses.dataclass(frozen=True)
class Observable:
    r"""A function of the parameters whose equation is part of a closed system.

    Attributes:
        name: its name in the equations.
        shape: `(rows, columns)` of a matrix, `()` of a number.
        text: what it is, in plain text: `U U^T`, `u[1]^2`.
        latex: the same in LaTeX.
        degree: its degree in each parameter array, by name.
        of_z: whether it is (part of) $z$ itself.
    """

    name: str
    shape: tuple[int, ...]
    text: str
    latex: str
    degree: dict[str, int]
    of_z: bool

    @property
    def total_degree(self) -> int:
        """The degree in all parameters together."""
        return sum(self.degree.values())


class AbstractClosedSystem(abc.ABC):
    r"""Observables $o$ with $\dot o = -T(o)[\nabla f(z)]$ and $z = z(o)$."""

    @property
    @abc.abstractmethod
    def observables(self) -> tuple[Observable, ...]:
        """What the state consists of, that of $z$ first."""

    @property
    @abc.abstractmethod
    def numbers(self) -> int:
        """The number of entries of the state."""

    @property
    @abc.abstractmethod
    def independent_entries(self) -> int:
        """The number of entries of the observables, those below the diagonal of a symmetric one not counted."""

    @property
    @abc.abstractmethod
    def equations(self) -> dict[str, sympy.Expr]:
        """The time derivative of each observable in SymPy, by name; $G$ stands for $\\nabla f(z)$."""

    @abc.abstractmethod
    def initial(self, theta: Mapping[str, Any]) -> State:
        """The observables at parameters. Pure."""

    @abc.abstractmethod
    def velocity(self, state: State, gradient: Any) -> State:
        """The time derivative of the observables, given $\\nabla f$ in the shape of $z$. Pure."""

    @abc.abstractmethod
    def output(self, state: State) -> Any:
        """$z$ from the observables. Pure."""

    @abc.abstractmethod
    def decay(self, state: State) -> State:
        """Each observable times its degree: what weight decay of strength one takes away. Pure."""

    @abc.abstractmethod
    def lines(self) -> list[str]:
        """The equations in plain text, one a line."""

    @abc.abstractmethod
    def latex_lines(self) -> list[str]:
        r"""The equations in LaTeX, one a line, with `&` before the equals sign."""

    @abc.abstractmethod
    def source(self) -> str:
        """The body of a Python module with `initial`, `output` and `velocity` that imports JAX only."""
