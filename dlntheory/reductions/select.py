"""`reduce`: the best reduction that applies to an architecture at a start; `try_reductions`: why that one."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np

from .._errors import ConditionError, NoReductionError, UnsupportedPrimitiveError
from ..architecture import Architecture
from ..display.progress import keeps_partial, waiting, whole_runs
from ..display.text import card, shorten, text_table
from ..exact.words.reading import WordForm, read_words, word_text
from ..training import Training
from .base import AbstractReduction
from .candidates import Build, candidates
from .intrinsicity import intrinsic

_WIDTH = 160
#: Above this many parameters a refusal does not compute the verdict, which would take longer than the attempts.
MAX_VERDICT = 64


@dataclasses.dataclass(frozen=True, eq=False)
class ReductionAttempt:
    """One reduction that was tried.

    Attributes:
        kind: closed form in z, with further observables, automatic closure, or implicit.
        name: which one.
        reduction: the reduction if it applies, else `None`.
        answer: why it applies or not, with the measured number.
    """

    kind: str
    name: str
    reduction: AbstractReduction | None
    answer: str


@dataclasses.dataclass(frozen=True, eq=False)
class ReductionReport:
    """The reductions that were tried at a start, in order, up to the first that applies.

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
        """The reduction that applies, or `None`."""
        return next((one.reduction for one in self.attempts if one.reduction is not None), None)

    def _rows(self) -> list[tuple[str, str, str, str]]:
        return [
            (one.name, one.kind, "no" if one.reduction is None else "yes", shorten(one.answer, _WIDTH))
            for one in self.attempts
        ]

    _HEADER = ("reduction", "kind", "applies", "why")

    def __repr__(self) -> str:
        found = self.best
        mark = ", interrupted" if self.interrupted else ""
        return f"ReductionReport({self.architecture.name}: {'no reduction' if found is None else found.label}{mark})"

    def __str__(self) -> str:
        return text_table(self._rows(), self._HEADER, "llll")

    def _repr_html_(self) -> str:
        found = self.best
        name = self.architecture.name
        return card(
            f"Reductions of {name}",
            formulas="" if found is None else found.statement,
            facts={"found": "none that applies" if found is None else found.label},
            tables=[(self._rows(), self._HEADER, "llll")],
        )


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
    last the implicit flow, which costs more than the full flow and is an instrument. Every condition is measured at
    `theta0`. A host verb; Ctrl-C returns the attempts so far, with `interrupted` set.

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
        >>> arch = dln.linear_network((3, 4, 2))
        >>> for attempt in try_reductions(arch, dln.gaussian(arch, jax.random.key(0))).attempts:
        ...     print(attempt.name, attempt.reduction is not None)
        balanced end-to-end flow False
        relaxed balanced flow False
        mixed balanced flow False
        entrywise forms False
        Gram flow True
    """
    checked = arch.check(theta0)
    if loss is not None:
        # Refused here, or each attempt would give it as its own reason.
        Training(loss).check(arch)
    attempts: list[ReductionAttempt] = []
    with waiting(f"looking for a reduction of {arch.name}", progress):
        for kind, name, build in candidates(arch, time_limit):
            try:
                with whole_runs():
                    reduction, answer = _attempted(build, arch, checked, loss)
            except KeyboardInterrupt:
                if not keeps_partial():
                    raise
                attempts.append(ReductionAttempt(kind, name, None, "interrupted"))
                return ReductionReport(arch, tuple(attempts), interrupted=True)
            attempts.append(ReductionAttempt(kind, name, reduction, answer))
            if reduction is not None and not everything:
                break
    return ReductionReport(arch, tuple(attempts))


def _attempted(
    build: Build, arch: Architecture, theta0: Mapping[str, Any], loss: Any
) -> tuple[AbstractReduction | None, str]:
    """The reduction if it applies, and why it does or not."""
    try:
        reduction = build(arch, theta0, loss)
    except ConditionError as error:
        return None, f"off by {error.measured:.3g} (tolerance {error.tolerance:.1g}): {error}"
    except ValueError as error:
        # Every refusal is a `ValueError` that says why; it is the answer here.
        return None, str(error)
    condition = reduction.condition(theta0)
    if condition.holds:
        return reduction, f"{reduction.label}; {condition.requirement}: off by {condition.measured:.2g}"
    explanation = f" ({condition.explanation})" if condition.explanation else ""
    return None, (
        f"off by {condition.measured:.3g} (tolerance {condition.tolerance:.1g}): {condition.requirement}{explanation}"
    )


def reduce(
    arch: Architecture,
    theta0: Mapping[str, Any],
    loss: Any = None,
    *,
    time_limit: float = 20.0,
    progress: bool | None = None,
) -> AbstractReduction:
    """The best reduction that applies to an architecture at a start: the first that `try_reductions` finds.

    The Gram flow of two layers has $(d_0 + d_2)^2$ variables, more than a network with few hidden units has: it closes
    the equations at every width, but saves time only above the width at which its state is the smaller one.

    Runs on the host; Ctrl-C raises (`try_reductions` keeps what was tried). The result is not bound to a loss unless
    one is given; `compare` binds it to the full flow.

    Args:
        arch: the architecture.
        theta0: the start, by factor name.
        loss: a function of $z$, optional.
        time_limit: seconds for the automatic closure, which is tried when no closed form applies.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Raises:
        NoReductionError: nothing known applies; says for each attempt why not, with the measured violations, the
            verdict of `intrinsic` with its numbers (up to 64 parameters), and what to use instead.
        ValueError: a malformed `theta0` or `loss`.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> reduce(arch, dln.gaussian(arch, jax.random.key(0))).label
        'Gram flow'
    """
    found = try_reductions(arch, theta0, loss, time_limit=time_limit, progress=progress)
    if found.best is not None:
        return found.best
    if found.interrupted:
        raise KeyboardInterrupt
    reasons: dict[str, list[str]] = {}
    for one in found.attempts:
        reasons.setdefault(one.answer, []).append(one.name)
    told = "\n".join(f"- {', '.join(names)}: {answer}" for answer, names in reasons.items())
    starts = (
        "a balanced start, `balanced(arch, key)`, or a relaxed balanced one, `lambda_balanced(arch, key, lam)`; "
        if arch.chain is not None
        else _undeclared_chain(arch)
    )
    verdict, is_exact = _verdict(arch, theta0, time_limit, progress)
    hints = (
        "hints for the closure, `find_closure(arch, hints=[...])`"
        if is_exact
        else "a φ that is exact over every ring"
    )
    raise NoReductionError(
        f"No known reduction applies to {arch.name} at this start:\n{told}\n"
        f"Equations in z alone: {verdict}\n"
        f"What would: {starts}{hints}. The full flow, `GradientFlow(arch, loss)`, always applies."
    )


def _undeclared_chain(arch: Architecture) -> str:
    """What to declare if φ is the product of its factors: closed forms of chains are tried for declared chains only."""
    try:
        form = read_words(arch)
    except UnsupportedPrimitiveError:
        return ""
    if not isinstance(form, WordForm) or form.has_constant or len(form.blocks) != 1:
        return ""
    (block,) = form.blocks
    (word, coefficient), *more = block.terms.items()
    names = [form.letters[letter].factor for letter, _ in word]
    is_product = (
        not more
        and coefficient == 1
        and sorted(map(str, names)) == sorted(arch.shapes)
        and all(len(shape) == 2 for shape in arch.shapes.values())
        and np.array_equal(np.ravel(block.positions), np.arange(np.prod(arch.output_shape)))
    )
    if not is_product:
        return ""
    flipped = [str(name) for name, (_, is_flipped) in zip(names, word, strict=True) if is_flipped]
    chain = ", ".join(f'"{name}"' for name in reversed(names)) + ("," if len(names) == 1 else "")
    stored = f" and {' and '.join(flipped)} stored transposed" if flipped else ""
    return (
        f"closed forms of chains, which are tried if phi = {word_text(word)} is declared as one, first layer first, "
        f"`Architecture(phi, shapes, chain=({chain}))`{stored}, and which need a balanced start; "
    )


def _verdict(
    arch: Architecture, theta0: Mapping[str, Any], time_limit: float, progress: bool | None
) -> tuple[str, bool]:
    """Whether z can have equations of its own, with the numbers of the test; and whether φ can be read exactly."""
    later = "`intrinsic(arch, theta0)` says whether there can be any."
    if arch.size > MAX_VERDICT:
        return f"not tested above {MAX_VERDICT} parameters; {later}", True
    try:
        found = intrinsic(arch, theta0, time_limit=time_limit, progress=progress)
    except UnsupportedPrimitiveError as error:
        return f"not decided, since phi has no exact kernel test (it uses `{error.primitive}`).", False
    return f"{found.answer}, since {found.reason} ({found.numbers()}).", True
