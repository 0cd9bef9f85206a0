"""`dlntheory closure`: can training be written in fewer variables, and how; `find_closure` with a verdict."""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import math
import sys
import threading
import time
from pathlib import Path
from typing import Any

from ..architecture import Architecture
from ..display.files import check_writable, write_text
from ..display.text import json_text, key_values
from .targets import add_target, families_table, read_target
from .usage import INTERRUPTED, UsageError, one_line
from .waiting import interrupt_after


def add_closure(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    command = commands.add_parser(
        "closure",
        help="the smallest closed system of observables that training obeys, from any start",
        description="Whether the end-to-end map has equations of its own, and the smallest closed system of "
        "observables that training obeys, for every loss. The target is a family of the catalogue with its "
        "sizes, your own function of named arrays, or a model of parameters and one sample:\n\n"
        "  dlntheory closure linear 3 50 4\n"
        "  dlntheory closure model.py:phi --shapes U=4x2 V=3x2 --latex\n"
        "  dlntheory closure model.py:net --shapes A=4x2 B=3x4 --input 2 --python closed.py",
        epilog=f"families:\n\n{families_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_target(command)
    command.add_argument(
        "--input",
        metavar="SHAPE",
        help="FUNCTION is a model(params, x) of one sample x of this shape, such as 5 or 4x3",
    )
    command.add_argument(
        "--hints",
        nargs="+",
        action="extend",
        metavar="OBSERVABLE",
        help='observables to start from, such as "tr(W2 W2^T)"',
    )
    command.add_argument(
        "--balanced",
        nargs="+",
        action="extend",
        metavar="LAYER=LAMBDA",
        help="assume that the imbalance of a layer is this multiple of the identity, such as 2=0.5",
    )
    command.add_argument(
        "--max-degree", type=int, default=8, metavar="K", help="largest degree of an observable (8)"
    )
    command.add_argument(
        "--time-limit",
        type=float,
        default=60.0,
        metavar="SECONDS",
        help="for the search, and again for the verdict (60)",
    )
    command.add_argument("--no-verdict", action="store_true", help="only search, do not decide")
    command.add_argument("--latex", action="store_true", help="also print the equations in LaTeX")
    command.add_argument(
        "--python", metavar="OUT.py", help="write the equations as a JAX module that needs no dlntheory"
    )
    command.set_defaults(run=_run_closure)
    return command


def _run_closure(arguments: argparse.Namespace) -> int:
    if not (math.isfinite(arguments.time_limit) and arguments.time_limit > 0):
        raise UsageError(
            f"Argument `--time-limit` must be a positive number of seconds, but is {arguments.time_limit:g}."
        )
    if arguments.python is not None and Path(arguments.python).suffix != ".py":
        raise UsageError(f"Argument `--python` must name a .py file, but is {arguments.python!r}.")
    if arguments.python is not None:
        try:
            check_writable(arguments.python)
        except OSError as error:
            raise UsageError(
                f"Argument `--python` must name a file that can be written, but {error}"
            ) from error
    started = time.perf_counter()
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        arch = read_target(arguments).architecture
        closure = _closure(arch, arguments)
        verdict, stopped = None, closure.interrupted
        if not (stopped or arguments.no_verdict):
            verdict, stopped = _verdict(arch, arguments.time_limit)
    written = arguments.python if arguments.python is not None and closure.is_closed else None
    document = {
        **closure.to_dict(),
        "verdict": None if verdict is None else _short(verdict),
        "python": written,
        "seconds": time.perf_counter() - started,
    }
    if arguments.json:
        document["latex"] = closure.latex() if closure.is_closed else None
        print(json_text(document))
    else:
        print(closure)
        print()
        print(key_values(_verdict_facts(verdict, stopped, arguments.no_verdict)))
        if arguments.latex and closure.is_closed:
            print(f"\n{closure.latex()}")
    # The result is printed: it is not lost where the file cannot be written.
    if arguments.python is not None:
        _write(closure, arguments.python)
        if not arguments.json:
            print(f"\nwritten: {written}")
    return INTERRUPTED if stopped else 0


def _closure(arch: Architecture, arguments: argparse.Namespace) -> Any:
    from ..reductions import find_closure

    assumed = _balanced(arguments.balanced)
    try:
        return find_closure(
            arch,
            arguments.hints or (),
            max_degree=arguments.max_degree,
            time_limit=arguments.time_limit,
            balanced=assumed,
        )
    except (ValueError, MemoryError) as error:
        raise UsageError(one_line(error)) from error


def _verdict(arch: Architecture, limit: float) -> tuple[Any, bool]:
    """The verdict, or `None` if it ended before anything was known, and whether the user stopped it."""
    from ..reductions import intrinsic

    late = threading.Event()
    try:
        with interrupt_after(limit, late):
            found = intrinsic(arch, time_limit=limit)
    except KeyboardInterrupt:
        return None, not late.is_set()
    except (ValueError, MemoryError) as error:
        raise UsageError(one_line(error)) from error
    if found.interrupted and late.is_set():
        # The search cannot tell our interrupt from the user's.
        found = dataclasses.replace(found, reason="time limit", interrupted=False)
    return found, found.interrupted


def _short(verdict: Any) -> dict[str, Any]:
    """The verdict without the laws, which `dlntheory laws` prints."""
    return {name: value for name, value in verdict.to_dict().items() if name != "laws"}


def _verdict_facts(verdict: Any, stopped: bool, skipped: bool) -> list[tuple[str, str]]:
    if verdict is None:
        why = (
            "interrupted" if stopped else "not decided (--no-verdict)" if skipped else "undecided: time limit"
        )
        return [("z alone", why)]
    where = f" ({', '.join(verdict.where)})" if verdict.where else ""
    return [("z alone", verdict.answer + where), ("because", verdict.reason)]


def _balanced(texts: list[str] | None) -> dict[int, float] | None:
    if texts is None:
        return None
    assumed = {}
    for text in texts:
        layer, equals, value = text.partition("=")
        try:
            assumed[int(layer)] = float(value) if equals else 0.0
        except ValueError as error:
            raise UsageError(
                f"Argument `--balanced` must be LAYER=LAMBDA such as 2=0.5, but is {text!r}."
            ) from error
    return assumed


def _write(closure: Any, name: str) -> None:
    if not closure.is_closed:
        raise UsageError(
            f"Argument `--python` must wait for closed equations, but the search is {closure.status}: "
            f"{one_line(closure.explanation)}"
        )
    try:
        write_text(name, closure.python())
    except OSError as error:
        raise UsageError(f"Argument `--python` must name a file that can be written, but {error}") from error
