"""`main`: reads the arguments, runs one command, returns its exit status.

Exit status: 0 fine; 1 a claim failed or is vacuous, the main job failed, or no reduction applies; 2 a wrong call;
130 interrupted; 141 the reader of the output went away.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from .._version import __version__
from ..display.text import json_text, key_values
from .closure import add_closure
from .laws import add_laws
from .reduce import add_reduce
from .usage import INTERRUPTED, READER_GONE, WRONG_CALL, UsageError
from .verify import add_verify


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        self.exit(WRONG_CALL, f"{self.prog}: error: {message} (see {self.prog} --help)\n")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; it never raises for a wrong call.

    Args:
        argv: the arguments without the program's name; by default those of the process.
    """
    try:
        arguments = _parsed(argv)
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0
    # The command owns its process, so it may do what a library must not: choose the precision.
    import jax

    jax.config.update("jax_enable_x64", True)
    try:
        status = arguments.run(arguments)
        sys.stdout.flush()
        return status
    except UsageError as error:
        print(f"dlntheory {arguments.command}: error: {error}", file=sys.stderr)
        return WRONG_CALL
    except KeyboardInterrupt:
        print(f"dlntheory {arguments.command}: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # `dlntheory verify --list | head`: nobody reads on, and Python complains when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return READER_GONE


def _parsed(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = _parser()
    arguments, rest = parser.parse_known_args(argv)
    # Argparse reads no sizes that stand behind an option, as in `laws linear --bias 3 4 2`.
    if rest and (not hasattr(arguments, "sizes") or any(text.startswith("-") for text in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        arguments.sizes = [*arguments.sizes, *rest]
    return arguments


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(
        prog="dlntheory",
        description="Conservation laws, reduced dynamics and exact solutions of training, for deep linear "
        "networks and their relatives.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"dlntheory {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for add in (add_verify, add_laws, add_reduce, add_closure, _add_versions):
        command = add(commands)
        command.add_argument("--json", action="store_true", help="print one JSON document and nothing else")
    return parser


def _add_versions(commands: Any) -> argparse.ArgumentParser:
    command = commands.add_parser(
        "versions", help="versions of dlntheory and of what it computes with", allow_abbrev=False
    )
    command.set_defaults(run=_run_versions)
    return command


def _run_versions(arguments: argparse.Namespace) -> int:
    from .._versions import versions

    found = versions()
    print(json_text(found) if arguments.json else key_values(found))
    return 0
