"""`verify`: run claims with their negative controls and report what passed."""

from __future__ import annotations

import math
import time
import traceback
from collections.abc import Callable, Iterable
from typing import Any

from .._precision import require_float64
from ..display.progress import progress_bar, whole_runs
from .base import Claim
from .evidence import Evidence
from .registry import claims as registered_claims
from .results import ClaimStatus, Report, Result, is_within, utc_now

INTERRUPTED = "interrupted"
FULL_TIER = "full tier: runs with full=True (--full), or when named"


def verify(
    paper: str | None = None,
    claim: str | None = None,
    *,
    full: bool = False,
    progress: bool | None = None,
    on_result: Callable[[Result], Any] | None = None,
) -> Report:
    """Check the theorems that the package builds on, each with its negative control.

    Not jit-compatible (runs on the host). Ctrl-C stops it without losing what is done: the report then holds the
    finished claims, and the others as skipped.

    Args:
        paper: only the claims of this paper.
        claim: only this claim, whatever its tier.
        full: also the claims of the tier `"full"`, which may take minutes each.
        progress: show a bar with count and estimate; by default on a terminal and in a notebook.
        on_result: called with the `Result` of each claim as soon as it ends, for example to print it.

    Returns:
        A `Report`; print it, or read `.results`, `.ok`, `.to_dict()`.

    Raises:
        PrecisionError: JAX is in float32 mode.
        SelectionError: an unknown paper or claim; a `ValueError` that lists the known ones.
    """
    require_float64("verify")
    selected = registered_claims(paper, claim)
    return run_claims(selected, full=full or claim is not None, progress=progress, on_result=on_result)


def run_claims(
    claims: Iterable[Claim],
    *,
    full: bool = False,
    progress: bool | None = None,
    on_result: Callable[[Result], Any] | None = None,
) -> Report:
    """`verify` for claims that are at hand, such as those of a notebook; arguments and result as there."""
    require_float64("verify")
    selected = tuple(claims)
    started, date = time.perf_counter(), utc_now()
    results: list[Result] = []
    interrupted = False
    with progress_bar(len(selected), "verify", unit="claim", progress=progress) as bar:
        try:
            for one in selected:
                bar.set_postfix_str(one.id)
                if one.tier == "full" and not full:
                    result = Result(one, ClaimStatus.SKIPPED, message=FULL_TIER)
                else:
                    result, interrupted = _run(one)
                results.append(result)
                if on_result is not None:
                    with bar.hidden():
                        on_result(result)
                if interrupted:
                    break
                bar.update()
        except KeyboardInterrupt:
            interrupted = True
    results += [Result(one, ClaimStatus.SKIPPED, message=INTERRUPTED) for one in selected[len(results) :]]
    return Report.of(results, seconds=time.perf_counter() - started, date=date, interrupted=interrupted)


def _run(claim: Claim) -> tuple[Result, bool]:
    """The result of one claim, and whether the user stopped it."""
    evidence = control = None
    trace = ""
    started = time.perf_counter()
    interrupted = False
    try:
        # A run or a search that was cut short would be judged as if it were whole.
        with whole_runs():
            evidence = _evidence(claim, claim.arguments)
            control = _evidence(claim, claim.control_arguments)
        verdict, message = _judge(claim, evidence, control)
    except KeyboardInterrupt:
        verdict, message, interrupted = ClaimStatus.SKIPPED, INTERRUPTED, True
    except Exception as error:
        # The one place for a broad except: one broken check must not lose the results of all the others.
        where = "the check" if evidence is None else "the control (it must come out false by its number)"
        verdict, message = ClaimStatus.FAILED, f"{where} raised {type(error).__name__}: {error}"
        trace = traceback.format_exc()
    seconds = time.perf_counter() - started
    return Result(claim, verdict, evidence, control, seconds, message, trace), interrupted


def _evidence(claim: Claim, arguments) -> Evidence:
    evidence = claim.check(**arguments)
    if not isinstance(evidence, Evidence):
        raise TypeError(
            f"The check of a claim must return `Evidence`, but returned {type(evidence).__name__}."
        )
    return evidence


def _judge(claim: Claim, evidence: Evidence, control: Evidence) -> tuple[ClaimStatus, str]:
    control_passes = is_within(control.error, claim.tolerance)
    if not is_within(evidence.error, claim.tolerance):
        too = "; the control is within it" if control_passes else ""
        return ClaimStatus.FAILED, f"the error is not within the tolerance{too}"
    if control_passes:
        return ClaimStatus.VACUOUS, f"the control passes too ({claim.control})"
    if not math.isfinite(control.error):
        # A crash in disguise: NaN and infinity would let every control succeed.
        return ClaimStatus.FAILED, f"the error of the control is {control.error}, so that it proves nothing"
    return ClaimStatus.PASSED, ""
