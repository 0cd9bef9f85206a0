"""Checks of what figures are given, with messages that name the argument."""

from __future__ import annotations

from collections.abc import Iterable, Sequence, Sized
from typing import Any

import numpy as np


def require_some(items: Sized, argument: str) -> None:
    """Refuse an empty collection.

    Raises:
        ValueError: nothing to draw.
    """
    if not len(items):
        raise ValueError(f"Argument `{argument}` must hold at least one entry, but is empty.")


def require_one_of(value: Any, allowed: Iterable[str], argument: str) -> None:
    """Refuse a word that is not in the list.

    Raises:
        ValueError: an unknown word.
    """
    allowed = list(allowed)
    if value not in allowed:
        raise ValueError(f"Argument `{argument}` must be one of {', '.join(allowed)}, but is {value!r}.")


def finite(values: Any, argument: str, *, positive: bool = False, gaps: bool = False) -> np.ndarray:
    """A vector of finite numbers.

    Args:
        values: anything that NumPy reads.
        argument: its name.
        positive: whether it goes on a logarithmic axis.
        gaps: whether `nan` stands for a point that is left out.

    Raises:
        ValueError: no vector, empty, or a number that is not finite (or not positive).
    """
    vector = np.asarray(values, dtype=float)
    if vector.ndim != 1 or not vector.size:
        raise ValueError(f"Argument `{argument}` must be a vector of numbers, but has shape {vector.shape}.")
    seen = vector[~np.isnan(vector)] if gaps else vector
    if not np.all(np.isfinite(seen)) or (positive and np.any(seen <= 0)):
        what = "positive and finite" if positive else "finite"
        bad = seen[~np.isfinite(seen) | ((seen <= 0) & positive)][0]
        raise ValueError(f"Argument `{argument}` must be {what}, but holds {bad:g}.")
    return vector


def history(values: Any, argument: str, ts: np.ndarray) -> np.ndarray:
    """One matrix for each time.

    Raises:
        ValueError: another shape or another number of times.
    """
    matrices = np.asarray(values)
    if matrices.ndim != 3 or len(matrices) != len(ts):
        raise ValueError(
            f"Argument `{argument}` must hold one matrix for each of the {len(ts)} times, but has shape "
            f"{matrices.shape}."
        )
    return matrices


def same_length(values: Any, argument: str, other: Sized, name: str) -> None:
    """Refuse a vector that does not go with another.

    Raises:
        ValueError: lengths differ.
    """
    if len(values) != len(other):
        raise ValueError(
            f"Argument `{argument}` must have one number for each of the {len(other)} {name}, but has {len(values)}."
        )


def two_axes(axes: Any) -> Sequence[Any]:
    """Two axes, as they come from `plt.subplots(1, 2)`.

    Raises:
        ValueError: another number.
    """
    count = len(axes) if hasattr(axes, "__len__") else 1
    if count != 2:
        raise ValueError(f"Argument `axes` must hold two axes, but has {count}.")
    return axes
