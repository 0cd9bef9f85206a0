"""The exceptions of dlntheory, in one message style: "Argument `x` must ..., but ..."."""

from __future__ import annotations

import sys
import warnings
from pathlib import Path
from typing import Any


class PrecisionError(RuntimeError):
    """JAX is in float32 mode, where an integration fails silently (15 times the steps, 1000 times the error)."""


class NotApplicableError(ValueError):
    """What was asked for does not apply here: the one exception that is caught where alternatives are tried.

    Attributes:
        requirement: what is needed, in words, or `""` if the message says it.
        measured: what was found instead, a number or words, or `None`.
        remedy: what to do or to use instead, in words, or `""`.
    """

    def __init__(self, message: str, *, requirement: str = "", measured: Any = None, remedy: str = ""):
        super().__init__(message)
        self.requirement = requirement
        self.measured = measured
        self.remedy = remedy


class UnsupportedPrimitiveError(NotApplicableError):
    """φ uses an operation that has no meaning in the ring it is interpreted over.

    Attributes:
        primitive: name of the JAX primitive, for example `"tanh"`.
        location: source line of φ that produced it, or `"unknown line"`.
    """

    def __init__(self, message: str, *, primitive: str, location: str):
        super().__init__(message, measured=primitive)
        self.primitive = primitive
        self.location = location


class ConditionError(NotApplicableError):
    """The start does not meet the condition under which a reduction is a theorem.

    Attributes:
        measured: the violation found at this start.
        tolerance: the largest violation that is accepted.
        expected_error: the error to expect if one went on all the same, where theory gives it, else `None`.
    """

    def __init__(
        self,
        message: str,
        *,
        measured: float,
        tolerance: float = 0.0,
        expected_error: float | None = None,
        requirement: str = "",
        remedy: str = "",
    ):
        super().__init__(message, requirement=requirement, measured=measured, remedy=remedy)
        self.tolerance = tolerance
        self.expected_error = expected_error


class InfeasibleError(NotApplicableError):
    """No point with the requested property exists (for example λ-balance in a network too wide for it)."""


class NoReductionError(NotApplicableError):
    """No known reduction applies to this start; the message says what would.

    Attributes:
        details: the `ReductionReport` with every attempt and its reason, or `None`.
        intrinsic: the answer of `intrinsic`, or `None` where it was not asked.
    """

    def __init__(self, message: str, *, details: Any = None, intrinsic: Any = None, **keywords: Any):
        super().__init__(message, **keywords)
        self.details = details
        self.intrinsic = intrinsic


class IntegrationError(RuntimeError):
    """A run stopped before its end.

    Attributes:
        trajectory: the part that was computed, a `Trajectory` (never lost), or `None` if nothing was.
    """

    def __init__(self, message: str, *, trajectory: Any = None):
        super().__init__(message)
        self.trajectory = trajectory


class SaddleWarning(UserWarning):
    """A run starts where its flow ends at a saddle in exact arithmetic: rounding errors decide where it ends."""


def warn_caller(message: str, category: type[Warning]) -> None:
    """Warn at the line outside this package that led here."""
    package = str(Path(__file__).parent)
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_code.co_filename.startswith(package):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
