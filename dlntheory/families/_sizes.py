"""Checks of the sizes that a family is called with, in one message style."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np


def checked_size(argument: str, value: Any, *, at_least: int = 1) -> int:
    """The value as an `int`, or an error that names the argument.

    Raises:
        ValueError: not an integer, or below `at_least`.
    """
    if not _is_integer(value) or value < at_least:
        kind = "a positive integer" if at_least == 1 else f"an integer of at least {at_least}"
        raise ValueError(f"Argument `{argument}` must be {kind}, but is {value!r}.")
    return int(value)


def checked_sizes(argument: str, values: Any, *, at_least: int, meaning: str = "") -> tuple[int, ...]:
    """The values as a tuple of `int`, or an error that names the argument and the offending position.

    Args:
        argument: name of the argument.
        values: what the user gave.
        at_least: how many are needed.
        meaning: what the integers mean, for the message, for example `"input width first"`.

    Raises:
        ValueError: no sequence, too few entries, or one that is not a positive integer.
    """
    needed = {1: "at least one positive integer", 2: "at least two positive integers"}
    wanted = needed.get(at_least, f"at least {at_least} positive integers") + (
        f", {meaning}" if meaning else ""
    )
    if not isinstance(values, (Sequence, np.ndarray)) or isinstance(values, str):
        raise ValueError(f"Argument `{argument}` must be {wanted}, but is {values!r}.")
    entries = tuple(values)
    for position, entry in enumerate(entries):
        if not _is_integer(entry) or entry < 1:
            raise ValueError(
                f"Argument `{argument}` must be {wanted}, but is {values!r}, with {entry!r} at position {position}."
            )
    if len(entries) < at_least:
        raise ValueError(f"Argument `{argument}` must be {wanted}, but is {values!r}.")
    return tuple(int(entry) for entry in entries)


def dashed(sizes: Sequence[int]) -> str:
    """Sizes as they are written in names: `3-4-2`."""
    return "-".join(map(str, sizes))


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)
