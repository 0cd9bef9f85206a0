"""`dlntheory reduce`: the best reduction that applies at a start, and why not the others; `dlntheory.reduce`."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
from collections.abc import Callable
from typing import Any

from ..architecture import Architecture
from ..citations import in_words
from ..display.text import json_text
from .targets import add_target, families_table, read_target
from .usage import FAILED, INTERRUPTED, UsageError, one_line


def add_reduce(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    command = commands.add_parser(
        "reduce",
        help="the best reduction of training that applies at a start, and why the others do not",
        description="The smallest equation that training from a given start obeys, out of all reductions that are "
        "known, with the condition of each as measured at that start. The target is a family of the catalogue with "
        "its sizes, or your own function of named arrays:\n\n"
        "  dlntheory reduce linear 3 50 4 --start balanced\n"
        "  dlntheory reduce linear 3 5 4 --start lambda=0.5 --latex\n"
        "  dlntheory reduce model.py:phi --shapes U=4x2 V=3x2 --everything\n\n"
        "`dlntheory closure` searches for equations that hold from any start.",
        epilog=f"families:\n\n{families_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_target(command)
    command.add_argument(
        "--start",
        default="gaussian",
        metavar="KIND",
        help="gaussian, balanced, orthogonal, or lambda=VALUE for a lambda-balanced one (gaussian)",
    )
    command.add_argument(
        "--scale", type=float, metavar="SIZE", help="scale of the start, as its maker takes it"
    )
    command.add_argument("--seed", type=int, default=0, help="of the start (0)")
    command.add_argument(
        "--time-limit", type=float, default=20.0, metavar="SECONDS", help="for the automatic closure (20)"
    )
    command.add_argument("--everything", action="store_true", help="go on after the first that applies")
    command.add_argument("--latex", action="store_true", help="also print the equation in LaTeX")
    command.set_defaults(run=_run_reduce)
    return command


def _run_reduce(arguments: argparse.Namespace) -> int:
    from ..reductions import try_reductions

    if not (math.isfinite(arguments.time_limit) and arguments.time_limit > 0):
        raise UsageError(
            f"Argument `--time-limit` must be a positive number of seconds, but is {arguments.time_limit:g}."
        )
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        arch = read_target(arguments).architecture
        try:
            theta0 = _start(arch, arguments)
            report = try_reductions(
                arch, theta0, time_limit=arguments.time_limit, everything=arguments.everything
            )
        except (ValueError, MemoryError) as error:
            raise UsageError(one_line(error)) from error
    best = report.best
    if arguments.json:
        print(json_text(_document(report, arguments)))
    else:
        print(report)
        if best is not None:
            print(f"\n{best}")
            if arguments.latex:
                print(f"\n{best.statement}")
    if report.interrupted:
        return INTERRUPTED
    return 0 if best is not None else FAILED


def _document(report: Any, arguments: argparse.Namespace) -> dict[str, Any]:
    best = report.best
    return {
        "network": report.architecture.name,
        "start": arguments.start,
        "seed": arguments.seed,
        "found": None if best is None else best.label,
        "statement": None if best is None else best.statement,
        "source": None if best is None else in_words(best.source),
        "numbers": None if best is None else best.numbers(),
        "parameters": report.architecture.size,
        "attempts": [
            {
                "reduction": one.name,
                "kind": one.kind,
                "applies": one.reduction is not None,
                "reason": one.answer,
            }
            for one in report.attempts
        ],
        "interrupted": report.interrupted,
    }


def _start(arch: Architecture, arguments: argparse.Namespace) -> dict[str, Any]:
    import jax

    from ..initial import balanced, gaussian, lambda_balanced, orthogonal

    makers: dict[str, Callable[..., Any]] = {
        "gaussian": gaussian,
        "balanced": balanced,
        "orthogonal": orthogonal,
    }
    kind, equals, value = arguments.start.partition("=")
    scale = {} if arguments.scale is None else {"scale": arguments.scale}
    key = jax.random.key(arguments.seed)
    if kind == "lambda" and equals:
        try:
            lam = float(value)
        except ValueError as error:
            raise UsageError(
                f"Argument `--start` must be lambda=VALUE such as lambda=0.5, but is {arguments.start!r}."
            ) from error
        return lambda_balanced(arch, key, lam, **scale)
    if kind not in makers or equals:
        raise UsageError(
            f"Argument `--start` must be one of {', '.join(makers)} or lambda=VALUE, but is {arguments.start!r}."
        )
    return makers[kind](arch, key, **scale)
