"""What a command is about: `FAMILY SIZES…` of the catalogue, or `FILE.py:FUNCTION --shapes U=4x2 V=3x2`."""

from __future__ import annotations

import argparse
import difflib
import importlib.util
import re
import sys
import traceback
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from ..architecture import Architecture
from ..display.text import text_table
from ..families import FAMILIES, Family
from ..from_model import from_model
from .usage import UsageError, one_line


@dataclass(frozen=True)
class Target:
    """An architecture, and the family it is from, if it is from one."""

    architecture: Architecture
    family: Family | None = None


def add_target(command: argparse.ArgumentParser) -> None:
    """Declare the arguments that `read_target` reads."""
    command.add_argument("target", nargs="?", metavar="TARGET", help="a family, or FILE.py:FUNCTION")
    command.add_argument("sizes", nargs="*", metavar="SIZE", help="sizes of the family, as listed below")
    command.add_argument("--bias", action="store_true", help="with biases, where the family has them")
    command.add_argument(
        "--shapes",
        nargs="+",
        action="extend",
        metavar="NAME=SHAPE",
        help="factors of FUNCTION(params) and their shapes, such as U=4x2 b=5 g=scalar",
    )


def read_target(arguments: argparse.Namespace) -> Target:
    """The target of a call.

    Raises:
        UsageError: it does not exist, or its sizes or shapes are wrong.
    """
    name = arguments.target
    if name is None:
        raise UsageError("Argument `TARGET` must be a family or FILE.py:FUNCTION, but is missing.")
    if ":" in name or name.endswith(".py"):
        return Target(_from_file(name, arguments))
    if name not in FAMILIES:
        close = difflib.get_close_matches(name, FAMILIES, n=2)
        hint = f" Did you mean {' or '.join(map(repr, close))}?" if close else ""
        raise UsageError(
            f"Argument `TARGET` must be a family or FILE.py:FUNCTION, but is {name!r}.{hint} "
            f"Families: {', '.join(FAMILIES)}."
        )
    for option in ("shapes", "input"):
        if getattr(arguments, option, None):
            raise UsageError(f"Argument `--{option}` must go with FILE.py:FUNCTION, but is given for {name}.")
    sizes = [_size(text, position) for position, text in enumerate(arguments.sizes)]
    try:
        return Target(FAMILIES[name](sizes, arguments.bias), FAMILIES[name])
    except (ValueError, MemoryError) as error:
        raise UsageError(one_line(error)) from error


def families_table() -> str:
    """The families, the sizes they take, and what else there is to them."""
    rows = [
        (family.key, family.usage, _yes(family.takes_bias), _pairs(family.metric))
        for family in FAMILIES.values()
    ]
    return text_table(rows, ("family", "sizes", "--bias", "metric"), "llll")


def families_records() -> list[dict[str, Any]]:
    """The same as JSON types."""
    return [
        {
            "family": family.key,
            "sizes": family.usage,
            "bias": family.takes_bias,
            "metric": dict(family.metric),
        }
        for family in FAMILIES.values()
    ]


def _yes(flag: bool) -> str:
    return "yes" if flag else ""


def _pairs(pairs: Any) -> str:
    return " ".join(f"{name}={value}" for name, value in pairs.items())


def _size(text: str, position: int) -> int:
    if not re.fullmatch(r"[+-]?\d+", text):
        raise UsageError(f"Argument `SIZE` must be an integer, but is {text!r} at position {position}.")
    return int(text)


def _shapes(texts: list[str]) -> dict[str, tuple[int, ...]]:
    shapes: dict[str, tuple[int, ...]] = {}
    for text in texts:
        match = re.fullmatch(r"([^=]+)=(scalar|\d+(?:x\d+)*)", text)
        if not match:
            raise UsageError(
                f"Argument `--shapes` must be NAME=SHAPE such as U=4x2, b=5 or g=scalar, but is {text!r}."
            )
        name, shape = match.groups()
        if name in shapes:
            raise UsageError(f"Argument `--shapes` must name each factor once, but names {name!r} twice.")
        shapes[name] = () if shape == "scalar" else tuple(map(int, shape.split("x")))
    return shapes


def _input(text: str) -> tuple[int, ...]:
    if not re.fullmatch(r"\d+(?:x\d+)*", text):
        raise UsageError(f"Argument `--input` must be a shape such as 5 or 4x3, but is {text!r}.")
    return tuple(map(int, text.split("x")))


def _from_file(name: str, arguments: argparse.Namespace) -> Architecture:
    file, _, function = name.rpartition(":") if not name.endswith(".py") else (name, "", "")
    path = Path(file)
    if not path.is_file() or path.suffix != ".py":
        raise UsageError(f"Argument `TARGET` must name a Python file, but {file!r} is none.")
    if arguments.sizes or arguments.bias:
        extra = "--bias" if arguments.bias else "SIZE"
        raise UsageError(f"Argument `{extra}` must go with a family, but is given for {name}.")
    shapes = _shapes(arguments.shapes or [])
    found = _attribute(_loaded(path), path, function)
    if isinstance(found, Architecture):
        if shapes:
            raise UsageError(f"Argument `--shapes` must not be given for the architecture {name}, but is.")
        return found
    if not shapes:
        raise UsageError(f"Argument `--shapes` must be given for {name}, such as U=4x2 V=3x2, but is not.")
    try:
        if (text := getattr(arguments, "input", None)) is not None:
            return from_model(found, shapes, _input(text), name=function)
        return Architecture(found, shapes, name=function)
    except Exception as error:
        # Whatever a user's function does wrong is a wrong call of this program.
        if one_line(error).startswith("Argument `"):
            raise UsageError(one_line(error)) from error
        where = _line(error, path)
        raise UsageError(
            f"Argument `TARGET` must be a function of factors {_written(shapes)}, but {name} raises "
            f"{one_line(error)}{where}."
        ) from error


def _attribute(module: ModuleType, path: Path, function: str) -> Any:
    found = getattr(module, function, None) if function else None
    if callable(found):
        return found
    known = [
        name
        for name, value in vars(module).items()
        if isinstance(value, Architecture)
        or (callable(value) and getattr(value, "__module__", None) == module.__name__)
    ]
    problem = "is not callable" if found is not None else "does not exist" if function else "is missing"
    has = f"has {', '.join(known)}" if known else "has no function"
    raise UsageError(
        f"Argument `TARGET` must be FILE.py:FUNCTION, but {function or 'FUNCTION'!r} {problem}; {path.name} {has}."
    )


def _loaded(path: Path) -> ModuleType:
    name = f"_dlntheory_target_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    # Dataclasses look their module up; what lies beside the file can be imported from it.
    sys.modules[name] = module
    sys.path.insert(0, str(path.resolve().parent))
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        raise UsageError(
            f"Argument `TARGET` must name a file that can be imported, but {path} raises "
            f"{one_line(error)}{_line(error, path)}."
        ) from error
    finally:
        sys.path.remove(str(path.resolve().parent))
    return module


def _line(error: BaseException, path: Path) -> str:
    """Where in the user's file an exception came from."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if Path(frame.filename).name == path.name]
    return f" (line {lines[-1]})" if lines else ""


def _written(shapes: dict[str, tuple[int, ...]]) -> str:
    return ", ".join(f"{name}{list(shape)}" for name, shape in shapes.items())
