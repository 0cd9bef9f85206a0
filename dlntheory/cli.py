"""The command line. A command is one function `_add_…` that declares it and one `_run_…` that does it.

Exit status: 0 fine; 1 a claim failed or is vacuous, or the main job failed; 2 a wrong call; 130 interrupted;
141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
import traceback
from collections.abc import Sequence
from typing import Any, NoReturn

from ._text import json_text, key_values, text_table
from ._version import __version__

FAILED, WRONG_CALL, INTERRUPTED, READER_GONE = 1, 2, 130, 141


class _UsageError(Exception):
    """A call that argparse cannot see to be wrong, such as an unknown claim."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_CALL, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; it never raises for a wrong call.

    Args:
        argv: the arguments without the program's name; by default those of the process.
    """
    try:
        arguments = _parser().parse_args(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    # The command owns its process, so it may do what a library must not: choose the precision.
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except _UsageError as error:
        print(f"dlntheory {arguments.command}: error: {error}", file=sys.stderr)
        return WRONG_CALL
    except KeyboardInterrupt:
        print(f"dlntheory {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `dlntheory verify --list | head`: nobody reads on, and Python complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dlntheory",
        description="Conservation laws, reduced dynamics and exact solutions of training, for deep linear "
        "networks and their relatives.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dlntheory {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (_add_verify, _add_versions):
        command = add(commands)
        command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def _add_verify(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "verify",
        help="check the theorems, each with a negative control",
        description="Check the theorems that dlntheory builds on. Each check runs twice: where its "
        "hypotheses hold, and with one of them violated, where it must come out false. "
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
    from .claims import SelectionError, claims, verify
    from .report import prepare_directory, write_report

    try:
        selected = claims(arguments.paper, arguments.claim)
    except SelectionError as error:
        raise _UsageError(error) from error
    if arguments.list:
        print(_claims_json(selected) if arguments.json else _claims_table(selected))
        return 0
    if arguments.report is not None:
        try:
            prepare_directory(arguments.report)
        except ValueError as error:
            raise _UsageError(error) from error
    job, job_error = None, ""
    # A check or a library that prints must not spoil the JSON document.
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        if arguments.claim is None and arguments.paper in (None, "basics"):
            job, job_error = _main_job()
            if job is not None and not arguments.json:
                print(f"{job}\n", flush=True)
        report = verify(arguments.paper, arguments.claim, full=arguments.full)
    page = None if arguments.report is None else write_report(report, arguments.report, main_job=job)
    if arguments.json:
        document = report.to_dict()
        if job is not None or job_error:
            document["main_job"] = {"error": job_error} if job is None else job.to_dict()
        print(json_text(document))
    else:
        print(report)
    if page is not None:
        print(f"report: {page}", file=sys.stderr if arguments.json else sys.stdout)
    if report.interrupted:
        return INTERRUPTED
    return 0 if report.ok and not job_error else FAILED


def _main_job() -> tuple[Any, str]:
    """The result of the main job and no error, or no result and what went wrong."""
    try:
        from .claims.showcase import main_job

        return main_job(), ""
    except Exception as error:
        # As for a claim: the claims must still run, and the exit status says that this failed.
        traceback.print_exc()
        message = f"{type(error).__name__}: {error}"
        print(f"dlntheory verify: the main job failed with {message}\n", file=sys.stderr)
        return None, message


def _claims_table(selected: Sequence[Any]) -> str:
    rows = [(claim.id, claim.paper, claim.tier, claim.summary, claim.source) for claim in selected]
    return text_table(rows, ("claim", "paper", "tier", "summary", "source"), "lllll")


def _claims_json(selected: Sequence[Any]) -> str:
    names = ("id", "paper", "tier", "summary", "source", "statement", "tolerance", "control")
    return json_text([{name: getattr(claim, name) for name in names} for claim in selected])


def _add_versions(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "versions", help="versions of dlntheory and of what it computes with", allow_abbrev=False
    )
    command.set_defaults(run=_run_versions)
    return command


def _run_versions(arguments: argparse.Namespace) -> int:
    from ._versions import versions

    found = versions()
    print(json_text(found) if arguments.json else key_values(found))
    return 0
