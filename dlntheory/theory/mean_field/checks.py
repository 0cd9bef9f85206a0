"""Checks of single values of a configuration, with messages "Argument `x` must …, but …"."""

from __future__ import annotations

import math
import numbers
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np


def whole(name: str, value: Any, least: int) -> int:
    """An integer of at least `least`; booleans and floats are refused."""
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Integral) or value < least:
        raise ValueError(f"Argument `{name}` must be an integer of at least {least}, but is {value!r}.")
    return int(value)


def number(
    name: str,
    value: Any,
    *,
    above: float | None = None,
    least: float | None = None,
    below: float | None = None,
    most: float | None = None,
    infinite: bool = False,
) -> float:
    """A real number between bounds, strict (`above`, `below`) or not (`least`, `most`); `inf` only if `infinite`."""
    rules = [
        f"{word} {bound:g}"
        for word, bound in (("above", above), ("at least", least), ("below", below), ("at most", most))
        if bound is not None
    ]
    kind = "a number (or inf)" if infinite else "a finite number"
    found = real(value)
    is_good = (
        found is not None
        and not math.isnan(found)
        and (infinite or math.isfinite(found))
        and (above is None or found > above)
        and (least is None or found >= least)
        and (below is None or found < below)
        and (most is None or found <= most)
    )
    if not is_good or found is None:
        rule = " ".join((kind, " and ".join(rules)))
        raise ValueError(f"Argument `{name}` must be {rule}, but is {value!r}.")
    return found


def real(value: Any) -> float | None:
    """The value as a float, or `None` if it is no real scalar (booleans are none)."""
    if isinstance(value, np.ndarray) and value.ndim == 0:
        value = value.item()
    if isinstance(value, (bool, np.bool_)) or not isinstance(value, numbers.Real):
        return None
    return float(value)


def flag(name: str, value: Any) -> bool:
    """True or False."""
    if not isinstance(value, (bool, np.bool_)):
        raise ValueError(f"Argument `{name}` must be True or False, but is {value!r}.")
    return bool(value)


def one_of(name: str, value: Any, allowed: Sequence[str]) -> None:
    """One of a few words."""
    if not isinstance(value, str) or value not in allowed:
        choices = " or ".join(map(repr, allowed))
        raise ValueError(f"Argument `{name}` must be {choices}, but is {value!r}.")


def entries(name: str, value: Any, length: int | None = None) -> tuple[float, ...]:
    """A list of non-negative finite numbers, of the given length if there is one."""
    if isinstance(value, (str, bytes)) or not isinstance(value, (Iterable, np.ndarray)):
        raise ValueError(f"Argument `{name}` must be a list of numbers, but is {value!r}.")
    found = tuple(value)
    if not found or (length is not None and len(found) != length):
        wanted = "at least one entry" if length is None else f"{length} entries"
        raise ValueError(f"Argument `{name}` must have {wanted}, but has {len(found)}.")
    return tuple(_entry(name, index, one) for index, one in enumerate(found))


def rates(name: str, value: Any, steps: int) -> float | tuple[float, ...]:
    """A positive learning rate, or a schedule of `steps` non-negative ones, not all 0."""
    if real(value) is not None or isinstance(value, (str, bytes)) or not isinstance(value, Iterable):
        return number(name, value, above=0.0)
    found = entries(name, value)
    if len(found) != steps:
        raise ValueError(
            f"Argument `{name}` must be one number or a schedule of length T = {steps}, but has length {len(found)}."
        )
    if max(found) <= 0:
        raise ValueError(f"Argument `{name}` must have a positive entry, but is 0 at every step.")
    return found


def _entry(name: str, index: int, value: Any) -> float:
    found = real(value)
    if found is None or not math.isfinite(found) or found < 0:
        raise ValueError(
            f"Argument `{name}` must have non-negative finite entries, but entry {index} is {value!r}."
        )
    return found
