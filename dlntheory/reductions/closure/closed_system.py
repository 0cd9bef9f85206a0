"""`AbstractClosedSystem`: what matrix equations and scalar equations have in common."""

from __future__ import annotations

import abc
import dataclasses
import functools
from collections.abc import Callable, Hashable, Mapping
from typing import Any

import sympy

from ...training import State, Training


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


@dataclasses.dataclass(frozen=True, eq=False)
class ObservableLaw:
    """A function of the observables that training does not change.

    Attributes:
        text: plain text, such as `tr A - tr B`.
        latex: LaTeX.
        value: maps the values of the observables to the number. Pure.
    """

    text: str
    latex: str
    value: Callable[[Mapping[str, Any]], Any] = dataclasses.field(repr=False)


class AbstractClosedSystem(abc.ABC):
    r"""Observables $o$ with $\dot o = -T(o)[\nabla f(z)]$ and $z = z(o)$, and what a flow of them integrates.

    The two may differ: matrix equations are integrated as factors, off which observables are read (see `FactorForm`).
    Systems are compared by content, so that two searches of one network share their compiled programs.
    """

    @property
    @abc.abstractmethod
    def content(self) -> Hashable:
        """What makes two systems equal."""

    @property
    @abc.abstractmethod
    def observables(self) -> tuple[Observable, ...]:
        """The observables, those of $z$ first."""

    @property
    @abc.abstractmethod
    def numbers(self) -> int:
        """The number of entries of all observables."""

    @property
    @abc.abstractmethod
    def independent_entries(self) -> int:
        """The same, entries below the diagonal of a symmetric observable not counted."""

    @property
    @abc.abstractmethod
    def variables(self) -> int:
        """The number of entries of what a flow integrates."""

    @property
    @abc.abstractmethod
    def level(self) -> str:
        """`"words"` for matrix equations, `"entries"` for equations of single entries."""

    @property
    @abc.abstractmethod
    def is_determined_by_output(self) -> bool:
        """Whether every observable is (part of) $z$."""

    @property
    @abc.abstractmethod
    def equations(self) -> dict[str, sympy.Expr]:
        """The time derivative of each observable in SymPy, by name; $G$ stands for $\\nabla f(z)$."""

    @property
    @abc.abstractmethod
    def laws(self) -> tuple[ObservableLaw, ...]:
        """Conserved functions of the observables: the conservation laws that relate them. Searched for once."""

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
    def integrated(self, theta: Mapping[str, Any]) -> State:
        """What a flow integrates, at parameters. Pure."""

    @abc.abstractmethod
    def integrated_velocity(self, t: Any, integrated: State, training: Training) -> State:
        """Its time derivative. Pure."""

    @abc.abstractmethod
    def integrated_output(self, integrated: State) -> Any:
        """$z$ of it. Pure."""

    @abc.abstractmethod
    def integrated_observables(self, integrated: State) -> State:
        """The observables of it. Pure."""

    @abc.abstractmethod
    def check(self, training: Training) -> None:
        """Raise unless the system describes training with these settings.

        Raises:
            NotApplicableError: it does not.
        """

    @property
    @abc.abstractmethod
    def rules(self) -> tuple[str, ...]:
        """The scalar laws that are assumed of the start, in plain text."""

    @abc.abstractmethod
    def violations(self, theta: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        r"""For each scalar law that is assumed, $\|D - \lambda I\|_F$ at parameters and the largest $\|W_l\|_F^2$."""

    @abc.abstractmethod
    def lines(self) -> list[str]:
        """The equations in plain text, one a line."""

    @abc.abstractmethod
    def latex_lines(self) -> list[str]:
        r"""The equations in LaTeX, one a line, with `&` before the equals sign."""

    @abc.abstractmethod
    def python(self) -> str:
        """The body of a Python module with `initial`, `output` and `velocity` that imports JAX only."""

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.content == other.content  # pyright: ignore[reportAttributeAccessIssue]

    def __hash__(self) -> int:
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self.content)
