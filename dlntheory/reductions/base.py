"""`AbstractReduction`: a dynamics with a condition; `Condition`: the measured answer whether it holds."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import jax
import numpy as np

from .._errors import ConditionError
from ..architecture import Architecture
from ..citations import in_words
from ..display.text import card, format_number, key_values
from ..training import AbstractFlow, Training


@dataclasses.dataclass(frozen=True)
class Condition:
    """Whether a reduction is a theorem at a given start, with the number that decides.

    Attributes:
        requirement: what is needed, in words.
        measured: the violation found.
        tolerance: the largest violation accepted, in the same absolute units.
        explanation: what was found at this start, in words.
        expected_error: order of magnitude of the absolute error of $z$ (Frobenius norm, after times of order one)
            to expect if one goes on all the same, where theory or measurement gives it; else `None`.
        remedy: what to use instead.
    """

    requirement: str
    measured: float
    tolerance: float
    explanation: str = ""
    expected_error: float | None = None
    remedy: str = ""

    @property
    def holds(self) -> bool:
        """Whether the violation is within the tolerance."""
        return self.measured <= self.tolerance

    def __repr__(self) -> str:
        measured, tolerance = format_number(self.measured), format_number(self.tolerance)
        answer = "holds" if self.holds else "broken"
        return f"Condition({answer}: {self.requirement}, off by {measured}, tolerance {tolerance})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card(f"Condition: {'holds' if self.holds else 'does not hold'}", facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        rows = [
            ("requires", self.requirement),
            ("violation", f"{format_number(self.measured)} (tolerance {format_number(self.tolerance)})"),
            ("holds", "yes" if self.holds else "no"),
        ]
        if self.explanation:
            rows.append(("found", self.explanation))
        if not self.holds and self.expected_error is not None:
            rows.append(("expect", f"an error of z of the order of {self.expected_error:.1g}"))
        if not self.holds and self.remedy:
            rows.append(("instead", self.remedy))
        return rows

    def refusal(self, label: str) -> ConditionError:
        """The error that a start which breaks the condition raises."""
        message = (
            f"Argument `theta0` must meet the condition of {label} ({self.requirement}), but it is off by "
            f"{self.measured:.3g} (tolerance {self.tolerance:.1g})."
        )
        if self.explanation:
            message += f" Found: {self.explanation}."
        if self.expected_error is not None:
            message += f" With `check=False` expect an absolute error of z of the order of {self.expected_error:.1g}."
        if self.remedy:
            message += f" {self.remedy}"
        return ConditionError(
            message, measured=self.measured, tolerance=self.tolerance, expected_error=self.expected_error
        )


class AbstractReduction(AbstractFlow):
    """A smaller dynamics that yields the same $z(t)$ as the full flow, where its condition holds.

    A new reduction is one file with one final subclass. `training` may be `None` until `bind` is called, so that a
    reduction can be derived before a loss is chosen; `compare` binds it to the full flow's loss and factors.
    """

    @property
    @abc.abstractmethod
    def statement(self) -> str:
        """The reduced equation in LaTeX."""

    @property
    @abc.abstractmethod
    def source(self) -> str:
        """Where the statement comes from, with its number there."""

    @property
    @abc.abstractmethod
    def exactness(self) -> str:
        """Exact, or asymptotic and to which order, in words."""

    @abc.abstractmethod
    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        """The condition measured at checked parameters. A host verb."""

    @abc.abstractmethod
    def bind(self, training: Training) -> Self:
        """The same reduction with the loss, weight decay and rates of a flow.

        Raises:
            ValueError: the reduction does not hold for this weight decay or these rates.
        """

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        """`theta0` checked, or a `ConditionError` with the measured violation."""
        checked = self.architecture.check(theta0)
        condition = self.condition(checked)
        if not condition.holds:
            raise condition.refusal(self.label)
        return checked

    def __str__(self) -> str:
        title = ("reduction", f"{self.label} of {self.architecture.name}")
        return key_values([title, ("equation", self.statement), *self._facts()])

    def _repr_html_(self) -> str:
        title = f"{self.label} of {self.architecture.name}"
        return card(title, formulas=self.statement, facts=self._facts())

    def _facts(self) -> list[tuple[str, Any]]:
        training = self.training
        return [
            ("validity", self.exactness),
            ("loss", "not bound yet" if training is None else training.conventions),
            ("source", in_words(self.source)),
        ]

    def _repr_latex_(self) -> str:
        return f"$\\displaystyle {self.statement}$"


def chain_of(arch: Architecture, label: str, depth: int | None = None) -> tuple[str, ...]:
    """The declared chain of an architecture, or an error that says what the reduction needs.

    Raises:
        ValueError: no chain is declared, or it has the wrong depth.
    """
    if arch.chain is None:
        raise ValueError(
            f"Argument `arch` must be a chain of matrices for {label} (declare `chain=` with the factors, first "
            f"layer first), but {arch.name} declares none."
        )
    if depth is not None and len(arch.chain) != depth:
        raise ValueError(
            f"Argument `arch` must have exactly {depth} layers for {label}, but {arch.name} has {len(arch.chain)}."
        )
    return arch.chain


def widths_of(arch: Architecture) -> tuple[int, ...]:
    """The widths, input to output, of an architecture that is known to be a chain."""
    assert arch.widths is not None  # `chain_of` has refused every other one at construction
    return arch.widths


def numerical_rank(matrix: Any) -> int:
    """Singular values above `max(shape) * eps` times the largest, with a margin of 10."""
    singular = np.linalg.svd(np.asarray(matrix), compute_uv=False)
    if not singular.size or singular[0] == 0:
        return 0
    return int(np.sum(singular > 10 * max(np.shape(matrix)) * np.finfo(float).eps * singular[0]))
