"""`dlntheory laws`: the conservation laws of a network, with a certificate."""

from __future__ import annotations

import argparse
import contextlib
import math
import sys
import threading
import time
from fractions import Fraction
from typing import Any

from ..display.text import json_text, key_values
from .targets import Target, add_target, families_records, families_table, read_target
from .usage import INTERRUPTED, UsageError, one_line
from .waiting import interrupt_after

_EUCLIDEAN = "euclidean"


def add_laws(commands: Any) -> argparse.ArgumentParser:
    """Declare the command."""
    command = commands.add_parser(
        "laws",
        help="conservation laws of a network, with a proof that none is missing",
        description="Everything that training conserves for every loss and all data, with proven bounds on the "
        "number of independent laws. The target is a family of the catalogue with its sizes, or your own "
        "function of named arrays:\n\n"
        "  dlntheory laws linear 2 4 3\n"
        "  dlntheory laws relu 7 9 2 --bias --json\n"
        "  dlntheory laws linear 3 4 2 --momentum 0\n"
        "  dlntheory laws model.py:phi --shapes U=4x2 V=3x2",
        epilog=f"families:\n\n{families_table()}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add_target(command)
    command.add_argument("--list", action="store_true", help="list the families and stop")
    command.add_argument(
        "--momentum", metavar="TAU", help="second-order training with this friction: 0, 1/2, 0.9, or 3/t"
    )
    command.add_argument(
        "--metric",
        nargs="+",
        action="extend",
        metavar="NAME=KIND",
        help="metric of a factor: theta (multiplicative updates), mirror (the same with momentum), euclidean; "
        "nmf and icnn have theirs by default",
    )
    command.add_argument(
        "--degree", type=int, default=2, metavar="K", help="largest degree of polynomial laws searched (2)"
    )
    command.add_argument(
        "--time-limit", type=float, metavar="SECONDS", help="stop after this time with what is proved by then"
    )
    command.add_argument("--latex", action="store_true", help="also print the laws in LaTeX")
    command.set_defaults(run=_run_laws)
    return command


def _run_laws(arguments: argparse.Namespace) -> int:
    if arguments.list:
        print(json_text(families_records()) if arguments.json else families_table())
        return 0
    limit = arguments.time_limit
    if limit is not None and not (math.isfinite(limit) and limit > 0):
        raise UsageError(f"Argument `--time-limit` must be a positive number of seconds, but is {limit:g}.")
    # What a user's file prints must not spoil the JSON document.
    with contextlib.redirect_stdout(sys.stderr) if arguments.json else contextlib.nullcontext():
        momentum = _momentum(arguments.momentum)
        target = read_target(arguments)
        metric = _metric(arguments.metric, target, momentum)
        result, document, interrupted = _search(target, momentum, metric, arguments.degree, limit)
    if arguments.json:
        print(json_text(document))
    else:
        print(_table(document))
        if arguments.latex and result is not None:
            print(f"\n{result.latex()}")
    if interrupted:
        print("dlntheory laws: interrupted; the bounds above hold all the same", file=sys.stderr)
    return INTERRUPTED if interrupted else 0


def _search(
    target: Target, momentum: Any, metric: dict[str, str], degree: int, limit: float | None
) -> tuple[Any, dict[str, Any], bool]:
    """The result, what is printed of it, and whether the user interrupted it."""
    from ..laws.conservation import conservation_laws

    started = time.perf_counter()
    late = threading.Event()
    try:
        with interrupt_after(limit, late):
            result = conservation_laws(
                target.architecture, momentum=momentum, metric=metric, degree=degree, time_limit=limit
            )
    except KeyboardInterrupt:
        seconds = time.perf_counter() - started
        return None, _nothing_known(target, momentum, late.is_set(), seconds), not late.is_set()
    except (ValueError, MemoryError) as error:
        raise UsageError(one_line(error)) from error
    certificate = result.certificate
    stopped = result.interrupted
    document = result.to_dict() | {
        "network": target.architecture.name,
        "system": certificate.system,
        "coordinates": certificate.dimension,
        "statement": certificate.statement,
        "rank_by_depth": list(certificate.lie.ranks),
        "searched": list(result.searched),
        "unused": list(result.unused),
        "latex": [law.statement for law in result.laws],
        "found": [
            {
                "law": law.name,
                "kind": law.kind,
                "entries": law.size,
                "rank": law.rank,
                "verified": law.verified,
            }
            for law in result.laws
        ],
    }
    if stopped and late.is_set():
        # The search cannot tell our interrupt from the user's.
        document["statement"] = document["statement"].replace("ended: interrupted", "ended: time limit")
        document["searched"] = [
            "time limit" if stage == "interrupted" else stage for stage in result.searched
        ]
    return result, document, stopped and not late.is_set()


def _nothing_known(target: Target, momentum: Any, late: bool, seconds: float) -> dict[str, Any]:
    """The answer when a search ended before it knew anything."""
    size = target.architecture.size
    dimension = size if momentum is None else 2 * size + 1
    ended = "time limit" if late else "interrupted"
    bounds = f"between 0 and {dimension} independent laws (proved)"
    return {
        "parameters": size,
        "laws": 0,
        "lower": 0,
        "upper": dimension,
        "status": "open",
        "lie_rank": 0,
        "expressions": [],
        "matrices": [],
        "seconds": seconds,
        "network": target.architecture.name,
        "system": "gradient flow" if momentum is None else "momentum flow",
        "coordinates": dimension,
        "statement": f"{bounds}; the search ended: {ended}",
        "rank_by_depth": [],
        "searched": [],
        "unused": [],
        "latex": [],
        "found": [],
    }


def _table(document: dict[str, Any]) -> str:
    depths = ", ".join(map(str, document["rank_by_depth"])) or "none"
    facts = [
        ("network", f"{document['network']}, {document['system']}"),
        ("parameters", document["parameters"]),
        ("status", f"{document['status']}: {document['statement']}"),
        ("laws found", f"{document['laws']} independent"),
        ("bounds", f"{document['lower']} <= N <= {document['upper']}"),
        ("bracket rank", f"{document['lie_rank']} of {document['coordinates']}, by depth {depths}"),
        ("searched", "; ".join(document["searched"]) or "nothing"),
        ("seconds", f"{document['seconds']:.2f}"),
    ]
    if document["unused"]:
        facts.insert(-2, ("never moved", ", ".join(document["unused"])))
    lines = [key_values(facts)]
    for number, law in enumerate(document["found"], start=1):
        entries = "1 entry" if law["entries"] == 1 else f"{law['entries']} entries of rank {law['rank']}"
        lines += ["", f"law {number}: {law['law']}", f"       {law['kind']}, {entries}, {law['verified']}"]
    return "\n".join(lines)


def _momentum(text: str | None) -> Any:
    if text is None:
        return None
    number = text.removesuffix("/t")
    try:
        friction = Fraction(number)
    except (ValueError, ZeroDivisionError):
        friction = Fraction(-1)
    if friction < 0:
        raise UsageError(
            f"Argument `--momentum` must be a friction of at least 0, such as 0, 1/2, 0.9 or 3/t, but is {text!r}."
        )
    return friction if number == text else ("over_t", friction)


def _metric(texts: list[str] | None, target: Target, momentum: Any) -> dict[str, str]:
    if texts is None:
        return target.family.metric_with(momentum) if target.family else {}
    metric = {}
    for text in texts:
        name, equals, kind = text.partition("=")
        if not (name and equals and kind):
            raise UsageError(f"Argument `--metric` must be NAME=KIND such as U=theta, but is {text!r}.")
        metric[name] = kind
    factors = target.architecture.shapes
    if unknown := [name for name in metric if name not in factors]:
        raise UsageError(
            f"Argument `--metric` must name factors of {list(factors)}, but names {unknown[0]!r}."
        )
    return {name: kind for name, kind in metric.items() if kind != _EUCLIDEAN}
