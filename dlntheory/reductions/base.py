"""`AbstractReduction`: a smaller dynamics with a condition, and all of them; `Condition`: whether it holds."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import ConditionError, NotApplicableError
from ..architecture import Architecture
from ..citations import in_words
from ..display.displayed import Displayed
from ..display.text import format_number
from ..training import AbstractFlow, GradientFlow, State, Training

CLOSED_FORM = "closed form in z"
CLOSED_FORM_MORE = "closed form with further observables"
CLOSURE = "automatic closure"
IMPLICIT = "implicit, a diagnostic and no accelerator"
ASYMPTOTIC = "asymptotic"

EVERY_START = "exact for every loss and every start"


class FormError(NotApplicableError):
    """φ does not have the form that a closed form needs; the message shows the entry or the factor that differs."""


@dataclasses.dataclass(frozen=True)
class Condition(Displayed):
    """Whether a reduction is a theorem at a given start, with the number that decides.

    Attributes:
        requirement: what is needed, in words.
        measured: the violation found.
        tolerance: the largest violation accepted, in the same absolute units.
        explanation: what was found at this start, in words.
        expected_error: order of magnitude of the absolute error of $z$ (Frobenius norm, after times of order one),
            where theory or measurement gives it: of going on all the same if the condition is broken, of the
            reduction itself if it is asymptotic. Else `None`.
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
        found = self._violation()
        return f"Condition({'holds' if self.holds else 'broken'}: {self.requirement}{found and ', '}{found})"

    def _violation(self) -> str:
        if self.tolerance:
            return f"off by {format_number(self.measured)} (tolerance {format_number(self.tolerance)})"
        # Where nothing but 0 passes (a rank, a count) the number says less than the words.
        return "" if self.holds else self.explanation or f"off by {format_number(self.measured)}"

    def _title(self) -> str:
        return f"Condition: {'holds' if self.holds else 'does not hold'}"

    def _facts(self) -> list[tuple[str, str]]:
        rows = [("requires", self.requirement), ("violation", self._violation() or "none")]
        if self.explanation and self.explanation != self._violation():
            rows.append(("found", self.explanation))
        if self.expected_error is not None:
            rows.append(("expect", f"an error of z of the order of {self.expected_error:.1g}"))
        if not self.holds and self.remedy:
            rows.append(("instead", self.remedy))
        return rows

    def error(self, label: str) -> ConditionError:
        """The error that a start which breaks the condition raises."""
        found = self._violation()
        message = (
            f"Argument `theta0` must meet the condition of the {label} ({self.requirement}), but "
            f"{'it is ' if found.startswith('off by') else ''}{found}."
        )
        if self.remedy:
            message += f" {self.remedy}"
        if self.explanation and self.explanation != found:
            message += f"\nFound: {self.explanation}."
        if self.expected_error is not None:
            message += f"\nWith `check=False` expect an absolute error of z of the order of {self.expected_error:.1g}."
        return ConditionError(
            message,
            measured=self.measured,
            tolerance=self.tolerance,
            expected_error=self.expected_error,
            requirement=self.requirement,
            remedy=self.remedy,
        )


class AbstractReduction(AbstractFlow):
    r"""A smaller dynamics that yields the same $z(t)$ as the full flow, where its condition holds.

    A reduction is one final subclass, in a file of this package or in a notebook; `reduce` finds both. It says what it
    is by class variables (each may be a property where it depends on the instance) and needs a `velocity`; all else
    has a default that fits an equation in $z$ alone which holds for every start.

    Class variables:
        label: a short name for tables and legends.
        statement: the reduced equation in LaTeX.
        source: where the statement comes from, with its number there.
        exactness: exact, or asymptotic and to which order, in words.
        kind: how `reduce` calls this kind of reduction.
        order: `reduce` tries the reductions in increasing order; those without one of their own first.

    Args:
        arch: the architecture.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: learning rate $e_l$ by factor name; 1 where not named.

    Raises:
        NotApplicableError: the reduction does not hold for this weight decay or these rates.
    """

    architecture: Architecture
    training: Training | None

    label: ClassVar[str]
    statement: ClassVar[str]
    source: ClassVar[str]
    exactness: ClassVar[str] = EVERY_START
    kind: ClassVar[str] = CLOSED_FORM
    order: ClassVar[float] = 0.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        self.architecture = arch
        self.training = None
        if loss is None:
            if weight_decay or rates:
                raise ValueError(
                    "Arguments `weight_decay` and `rates` must be left out without a `loss`: `bind` brings all three."
                )
            return
        training = Training(loss, weight_decay=weight_decay, rates=rates)
        self.check_training(training)
        self.training = training

    def __init_subclass__(cls, **keywords: Any):
        super().__init_subclass__(**keywords)
        if cls.__name__.startswith("Abstract"):
            return
        if missing := [name for name in ("label", "statement", "source") if not hasattr(cls, name)]:
            raise TypeError(f"Class `{cls.__name__}` must define {missing}, as every reduction does.")
        # A cell that is run again replaces its class.
        _CLASSES[f"{cls.__module__}.{cls.__qualname__}"] = cls

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        """The reduction for a start; what `reduce` calls. By default it does not depend on the start.

        Args:
            arch: the architecture.
            theta0: checked parameters.
            loss: a function of $z$, or `None` to `bind` later.

        Raises:
            NotApplicableError: the reduction is not for this architecture or not for this start.
        """
        return cls(arch, loss)

    def bind(self, training: Training) -> Self:
        """The same reduction with the loss, weight decay and rates of a flow.

        Raises:
            NotApplicableError: the reduction does not hold for this weight decay or these rates.
        """
        self.check_training(training)
        return eqx.tree_at(lambda flow: flow.training, self, training, is_leaf=lambda leaf: leaf is None)

    def check_training(self, training: Training) -> None:
        """Raise unless the reduction holds for this weight decay and these rates; by default it holds for any.

        Raises:
            NotApplicableError: it does not.
            ValueError: the loss is no scalar function of $z$, or a rate names no factor.
        """
        training.check(self.architecture)

    def reduces(self, rule: Any) -> None:
        """Raise unless this describes what a training rule does to $z$; by default gradient flow of the same network.

        Raises:
            NotApplicableError: it does not; the message says what to do.
        """
        if not isinstance(rule, GradientFlow):
            raise NotApplicableError(
                f"Argument `full` must be a `GradientFlow` for the {self.label}, which reduces gradient flow only, but "
                f"is {rule.label}: compare with `GradientFlow(arch, loss)`, or run both rules in full.",
                requirement="gradient flow",
                measured=rule.label,
                remedy="Compare with `GradientFlow(arch, loss)`.",
            )
        if rule.architecture != self.architecture:
            raise NotApplicableError(
                f"Argument `full` must train the network of the {self.label}, {self.architecture!r}, but trains "
                f"{rule.architecture!r}: build the reduction for that one.",
                requirement="the same network",
                measured=repr(rule.architecture),
            )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        """The condition measured at checked parameters; by default it holds at every start. Not jit-compatible."""
        return Condition(requirement="none: it holds for every start", measured=0.0, tolerance=0.0)

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        """`theta0` checked, or a `ConditionError` with the measured violation."""
        checked = self.architecture.check(theta0)
        condition = self.condition(checked)
        if not condition.holds:
            raise condition.error(self.label)
        return checked

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {"z": self.architecture(dict(theta0))}

    def output(self, state: State):
        return state["z"]

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        return {}

    def numbers(self) -> int:
        """How many numbers the state holds; counted once, by tracing `initial`. Displays show it from then on."""
        if "_numbers" not in vars(self):
            start = {
                name: jax.ShapeDtypeStruct(shape, jnp.result_type(float))
                for name, shape in self.architecture.shapes.items()
            }
            leaves = jax.tree.leaves(jax.eval_shape(self.initial, start))
            vars(self)["_numbers"] = sum(leaf.size for leaf in leaves)
        return vars(self)["_numbers"]

    def _title(self) -> str:
        return f"{self.label} of {self.architecture.name}"

    def _formulas(self) -> tuple[str, ...]:
        return (self.statement,)

    def _facts(self) -> list[tuple[str, Any]]:
        training, numbers = self.training, vars(self).get("_numbers")
        state = (
            []
            if numbers is None
            else [("state", f"{numbers} numbers, the network has {self.architecture.size}")]
        )
        return [
            ("validity", self.exactness),
            *state,
            ("loss", "not bound yet" if training is None else training.conventions),
            ("source", in_words(self.source)),
        ]


#: Every reduction that has been defined, by module and name.
_CLASSES: dict[str, type[AbstractReduction]] = {}


def reductions() -> list[type[AbstractReduction]]:
    """Every reduction that has been defined so far, in the order in which `reduce` tries them."""
    return sorted(
        (cls for cls in _CLASSES.values() if not inspect.isabstract(cls)), key=lambda cls: cls.order
    )


def chain_of(arch: Architecture, label: str, depth: int | None = None) -> tuple[str, ...]:
    """The chain of an architecture, first layer first, or an error that says what the reduction needs.

    Raises:
        FormError: φ is no chain of matrices, or it has the wrong depth.
    """
    if arch.chain is None:
        raise FormError(
            f"Argument `arch` must be a chain of matrices for {label} (declare `chain=` with the factors, first "
            f"layer first), but {arch.name} declares none."
        )
    if depth is not None and len(arch.chain) != depth:
        raise FormError(
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
