"""`reduce`: the best reduction that applies to an architecture at a start; `try_reductions`: why that one."""

from __future__ import annotations

import dataclasses
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from typing import Any

from .._errors import ConditionError, NoReductionError, NotApplicableError, UnsupportedPrimitiveError
from ..architecture import Architecture
from ..display.displayed import Displayed
from ..display.progress import keeps_partial, waiting, whole_runs
from ..display.text import format_number, shorten
from ..training import Training
from ..training.domain_limits import limit_events
from .base import ASYMPTOTIC, CLOSURE, IMPLICIT, AbstractReduction, FormError, reductions
from .intrinsicity import intrinsic

_WIDTH = 160
#: Above this many parameters an error does not test whether z can have equations, which takes longer than the attempts.
MAX_VERDICT = 64


@dataclasses.dataclass(frozen=True, eq=False)
class ReductionAttempt:
    """One reduction that was tried.

    Attributes:
        kind: closed form in z, with further observables, automatic closure, implicit, or asymptotic.
        name: which one.
        reduction: the reduction if it applies, else `None`.
        answer: why it applies or not, with the measured number.
        error: the error that says why not, or `None`.
        numbers: how many numbers the state of the reduction holds, or `None`.
    """

    kind: str
    name: str
    reduction: AbstractReduction | None
    answer: str
    error: NotApplicableError | None = None
    numbers: int | None = None

    @property
    def gains(self) -> bool:
        """Whether the reduction applies and has fewer numbers than the network has parameters."""
        found, numbers = self.reduction, self.numbers
        return found is not None and numbers is not None and numbers < found.architecture.size

    @property
    def is_of_other_form(self) -> bool:
        """Whether the reduction is for another kind of φ, whatever the start."""
        return isinstance(self.error, FormError | UnsupportedPrimitiveError)


@dataclasses.dataclass(frozen=True, eq=False)
class ReductionReport(Displayed):
    """The reductions that were tried at a start, in order, up to the first that applies and saves variables.

    Attributes:
        architecture: the network.
        attempts: one for each reduction tried.
        interrupted: whether the user stopped it, during the last attempt.
    """

    architecture: Architecture
    attempts: tuple[ReductionAttempt, ...]
    interrupted: bool = False

    @property
    def best(self) -> AbstractReduction | None:
        """The first exact reduction with fewer numbers than the network, else the first exact one, or `None`."""
        return None if self._best is None else self._best.reduction

    @property
    def _best(self) -> ReductionAttempt | None:
        exact = [one for one in self.attempts if one.reduction is not None and one.kind != ASYMPTOTIC]
        return next((one for one in exact if one.gains), exact[0] if exact else None)

    def __repr__(self) -> str:
        found = self.best
        mark = ", interrupted" if self.interrupted else ""
        return f"ReductionReport({self.architecture.name}: {'no reduction' if found is None else found.label}{mark})"

    def _title(self) -> str:
        return f"Reductions of {self.architecture.name}"

    def _formulas(self) -> tuple[str, ...]:
        return () if self.best is None else (self.best.statement,)

    def _facts(self) -> list[tuple[str, str]]:
        found, best = self.best, self._best
        rows = [("found", "none that applies" if found is None else found.label)]
        if best is not None and best.numbers is not None:
            rows.append(("state", _saving(best.numbers, self.architecture.size)))
        return rows

    def _tables(self) -> list[tuple[Any, ...]]:
        rows = [
            (one.name, one.kind, "no" if one.reduction is None else "yes", shorten(one.answer, _WIDTH))
            for one in self.attempts
            if not one.is_of_other_form
        ]
        return [(rows, ("reduction", "kind", "applies", "reason"), "llll")] if rows else []

    def _notes(self) -> list[str]:
        others = [one.name for one in self.attempts if one.is_of_other_form]
        return [f"For networks of another form: {', '.join(others)}."] if others else []


def _saving(numbers: int, size: int) -> str:
    saved = "" if numbers < size else ": nothing is saved by it"
    return f"{numbers} numbers, the network has {size}{saved}"


def try_reductions(
    arch: Architecture,
    theta0: Mapping[str, Any],
    loss: Any = None,
    *,
    time_limit: float = 20.0,
    everything: bool = False,
    progress: bool | None = None,
) -> ReductionReport:
    """Try the known reductions in order of preference and keep what each says.

    Closed forms in $z$ alone come first, then closed forms with further observables, then the automatic closure, at
    last the implicit flow, which costs more than the full flow and is a diagnostic. A closed form with as many numbers
    as the network is kept, and the other closed forms are tried for a smaller one. Asymptotic reductions are
    approximations: they are tried with `everything` only. Every condition is measured at `theta0`. Subclasses of
    `AbstractReduction` that were defined elsewhere, for example in a notebook, take part.

    Not jit-compatible (runs on the host); Ctrl-C returns the attempts so far, with `interrupted` set.

    Args:
        arch: the architecture.
        theta0: the start, by factor name.
        loss: a function of $z$, optional; the reductions are bound to it.
        time_limit: seconds for the automatic closure.
        everything: go on after the first reduction that applies.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Raises:
        ValueError: a malformed `theta0` or `loss`.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 8, 2))
        >>> for attempt in try_reductions(arch, dln.gaussian(arch, jax.random.key(0))).attempts:
        ...     if not attempt.is_of_other_form:
        ...         print(attempt.name, attempt.reduction is not None)
        balanced end-to-end flow False
        relaxed balanced flow False
        mixed lazy and balanced flow False
        Gram flow True
    """
    checked = arch.check(theta0)
    if loss is not None:
        # Refused here, or each attempt would give it as its own reason.
        Training(loss).check(arch)
    _import_all()
    attempts: list[ReductionAttempt] = []
    applies = False
    with waiting(f"looking for a reduction of {arch.name}", progress):
        for cls in reductions():
            if not everything and (cls.kind == ASYMPTOTIC or (applies and cls.kind in (CLOSURE, IMPLICIT))):
                continue
            try:
                with whole_runs():
                    attempts.append(_attempted(cls, arch, checked, loss, time_limit))
            except KeyboardInterrupt:
                if not keeps_partial():
                    raise
                attempts.append(ReductionAttempt(cls.kind, _name(cls), None, "interrupted"))
                return ReductionReport(arch, tuple(attempts), interrupted=True)
            found = attempts[-1].reduction
            applies = applies or found is not None
            if attempts[-1].gains and not everything:
                break
    return ReductionReport(arch, tuple(attempts))


@functools.cache
def _import_all() -> None:
    """Import every module of this package, so that a new file is found without an import of its own."""
    package = importlib.import_module("..reductions", __package__)
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)


def _name(cls: type[AbstractReduction]) -> str:
    return cls.label if isinstance(cls.label, str) else cls.__name__


def _attempted(
    cls: type[AbstractReduction], arch: Architecture, theta0: Mapping[str, Any], loss: Any, time_limit: float
) -> ReductionAttempt:
    """The reduction if it applies, and why it does or not; any other error than `NotApplicableError` is a bug."""
    limit = {"time_limit": time_limit} if "time_limit" in inspect.signature(cls.from_start).parameters else {}
    try:
        reduction = cls.from_start(arch, theta0, loss, **limit)
        condition = reduction.condition(theta0)
        if not condition.holds:
            raise condition.error(reduction.label)
        # A start at the edge of the domain, where `solve` would refuse, is decided here.
        limit_events(reduction, reduction.initial(theta0))
    except NotApplicableError as error:
        return ReductionAttempt(cls.kind, _name(cls), None, _reason(error), error)
    found = (
        f"{condition.requirement}: off by {format_number(condition.measured)}" if condition.tolerance else ""
    )
    numbers = reduction.numbers()
    answer = "; ".join(filter(None, (found, _saving(numbers, arch.size))))
    return ReductionAttempt(cls.kind, _name(cls), reduction, answer, numbers=numbers)


def _reason(error: NotApplicableError) -> str:
    if isinstance(error, ConditionError) and error.requirement and error.tolerance:
        return f"off by {error.measured:.3g} (tolerance {error.tolerance:.1g}): {error.requirement}"
    return str(error)


def reduce(
    arch: Architecture,
    theta0: Mapping[str, Any],
    loss: Any = None,
    *,
    time_limit: float = 20.0,
    progress: bool | None = None,
) -> AbstractReduction:
    """The best reduction that applies to an architecture at a start: the first exact one of `try_reductions` that is
    smaller than the network, else the first exact one.

    The Gram flow of two layers is a network of at most $d_0 + d_2$ hidden units: it closes the equations at every
    width, but saves time only above that width. Its display says so.

    Not jit-compatible (runs on the host); Ctrl-C raises `KeyboardInterrupt` (`try_reductions` keeps what was tried).
    The result is not bound to a loss unless one is given; `compare` binds it to the full flow.

    Args:
        arch: the architecture.
        theta0: the start, by factor name.
        loss: a function of $z$, optional.
        time_limit: seconds for the automatic closure, which is tried when no closed form applies.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Raises:
        NoReductionError: nothing known applies; `.details` says for each attempt why not, with the measured
            violations, and `.intrinsic` whether $z$ can have equations of its own (up to 64 parameters).
        ValueError: a malformed `theta0` or `loss`.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 8, 2))
        >>> reduce(arch, dln.gaussian(arch, jax.random.key(0))).label
        'Gram flow'
    """
    report = try_reductions(arch, theta0, loss, time_limit=time_limit, progress=progress)
    if report.best is not None:
        return report.best
    if report.interrupted:
        raise KeyboardInterrupt
    told, verdict = _intrinsicity(arch, theta0, time_limit, progress)
    if arch.chain is not None:
        remedy = "start from `balanced(arch, key)` or `lambda_balanced(arch, key, lam)`"
    elif verdict is None and "no exact kernel test" in told:
        remedy = "write φ with operations that are exact over every ring"
    else:
        remedy = "give the closure further observables, `find_closure(arch, hints=[...])`"
    off = [
        (one.error, one)
        for one in report.attempts
        if isinstance(one.error, ConditionError) and one.error.tolerance
    ]
    near = ""
    if off:
        _, nearest = min(off, key=lambda pair: pair[0].measured / pair[0].tolerance)
        near = f"\nNearest: {nearest.name}, {nearest.answer}."
    raise NoReductionError(
        f"No known reduction applies to {arch.name} at this start: use the full flow, `GradientFlow(arch, loss)`, or "
        f"{remedy}.{near}\nEquations in z alone: {told}\n"
        f"All {len(report.attempts)} attempts and their reasons are in `.details`, the numbers of the test in "
        "`.intrinsic`.",
        details=report,
        intrinsic=verdict,
        remedy="`GradientFlow(arch, loss)`",
    )


def _intrinsicity(
    arch: Architecture, theta0: Mapping[str, Any], time_limit: float, progress: bool | None
) -> tuple[str, Any]:
    """Whether z can have equations of its own, in words, and the result of `intrinsic`."""
    if arch.size > MAX_VERDICT:
        later = "`intrinsic(arch, theta0)` says whether there can be any."
        return f"not tested above {MAX_VERDICT} parameters; {later}", None
    try:
        found = intrinsic(arch, theta0, time_limit=time_limit, progress=progress)
    except UnsupportedPrimitiveError as error:
        return f"not decided, since phi has no exact kernel test (it uses `{error.primitive}`).", None
    return f"{found.answer}, since {found.reason}.", found
