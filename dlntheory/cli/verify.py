"""`dlntheory verify`: check the theorems."""

from __future__ import annotations

import argparse
import contextlib
import sys
import traceback
from collections.abc import Sequence
from typing import Any

from ..citations import in_words
from ..display.progress import is_wanted
from ..display.text import json_text, text_table
from .usage import FAILED, INTERRUPTED, UsageError, one_line


def add_verify(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    command = commands.add_parser(
        "verify",
        help="check the theorems, each with a negative control",
        description="Check the theorems that dlntheory builds on. Each check runs twice: where its "
        "hypotheses hold, and as a negative control, which must come out false. "
        "Exit status 1 if any claim fails or is vacuous.",
        allow_abbrev=False,
    )
    command.add_argument("--paper", metavar="NAME", help="only the claims of this paper")
    command.add_argument("--claim", metavar="ID", help="only this claim, whatever its tier")
    command.add_argument("--full", action="store_true", help="also the claims that take minutes")
    command.add_argument("--list", action="store_true", help="list the claims and run none")
    command.add_argument("--report", metavar="DIR", help="write index.html and report.json into this folder")
    command.set_defaults(run=_run_verify)
    return command


def _run_verify(arguments: argparse.Namespace) -> int:
    from ..claims import Result, SelectionError, claims, verify
    from ..report import prepare_directory

    try:
        selected = claims(arguments.paper, arguments.claim)
    except SelectionError as error:
        raise UsageError(error) from error
    if arguments.list:
        print(_claims_json(selected) if arguments.json else _claims_table(selected))
        return 0
    if arguments.report is not None:
        try:
            prepare_directory(arguments.report)
        except ValueError as error:
            raise UsageError(error) from error
    job, job_error = None, ""
    # A check or a library that prints must not spoil the JSON document; nor do the lines of the claims.
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        if arguments.claim is None and arguments.paper in (None, "basics"):
            job, job_error = _main_job()
            if job is not None:
                print(f"{job}\n", flush=True)
        print(Result.heading(), flush=True)
        # Each line as its claim ends, in a file as well: a run of minutes must not look dead.
        tell = lambda result: print(result.line(), flush=True)
        report = verify(
            arguments.paper, arguments.claim, full=arguments.full, progress=is_wanted(), on_result=tell
        )
    if arguments.json:
        document = report.to_dict()
        if job is not None or job_error:
            document["main_job"] = {"error": job_error} if job is None else job.to_dict()
        print(json_text(document))
    else:
        print(f"\n{report.summary()}")
    written = arguments.report is None or _write_report(report, arguments, job)
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.ok and not job_error and written else FAILED


def _write_report(report: Any, arguments: argparse.Namespace, job: Any) -> bool:
    """Write the page after the numbers were printed, so that they are not lost where it cannot be written."""
    from ..report import write_report

    try:
        page = write_report(report, arguments.report, main_job=job)
    except (OSError, ValueError) as error:
        print(f"dlntheory verify: error: {one_line(error)}", file=sys.stderr)
        return False
    print(f"report: {page}", file=sys.stderr if arguments.json else sys.stdout)
    return True


def _main_job() -> tuple[Any, str]:
    """The result of the main job and no error, or no result and what went wrong."""
    try:
        from ..claims.showcase import main_job

        return main_job(), ""
    except Exception as error:
        # As for a claim: the claims must still run, and the exit status says that this failed.
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        print(f"dlntheory verify: the main job failed with {message}\n", file=sys.stderr)
        return None, message


def _claims_table(selected: Sequence[Any]) -> str:
    rows = [(one.id, one.paper, one.tier, one.summary, in_words(one.source)) for one in selected]
    return text_table(rows, ("claim", "paper", "tier", "summary", "source"), "lllll")


def _claims_json(selected: Sequence[Any]) -> str:
    names = ("id", "paper", "tier", "summary", "source", "statement", "tolerance", "control", "breaks")
    return json_text([{name: getattr(claim, name) for name in names} for claim in selected])
