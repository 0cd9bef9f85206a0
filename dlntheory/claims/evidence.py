"""`Evidence`: what a theorem says, what was measured, and their distance, which no claim computes by itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

import numpy as np

from ..display.text import card, format_number, key_values
from .curves import Curves

INF = float("inf")


@dataclass(frozen=True)
class Interval:
    """What a theorem says that is a bound: the measured value lies between `low` and `high`.

    A bound of which only one side is given proves little, since one that is a thousand times too large holds too: give
    the other side as well, as the factor by which the bound may be missed.

    Example:
        >>> print(Interval(high=2.0), "|", Interval(0.5, 2.0), "|", Interval(low=0.5))
        at most 2 | 0.5 to 2 | at least 0.5
    """

    low: float = -INF
    high: float = INF

    def __str__(self) -> str:
        low, high = format_number(self.low, 6), format_number(self.high, 6)
        if self.low == -INF:
            return f"at most {high}"
        return f"at least {low}" if self.high == INF else f"{low} to {high}"


@dataclass(frozen=True)
class Evidence:
    """What one run of a check found. No verdict: the framework alone compares `error` with the tolerance.

    The error is computed here, so that the three numbers cannot disagree. For numbers and arrays of one shape it is the
    largest `|measured - predicted| / scale`, and the two values shown are those of the entry where it occurs; for an
    `Interval` the distance to it; for anything else 0 if both are equal, and 1 if not.

    Args:
        predicted: what the theorem says: a number, an array, an `Interval`, or a text or tuple to be equal to.
        measured: what the computation gave.
        scale: the unit of the error: 1 for an absolute one, `predicted` for a relative one; a number or an array.
        detail: further words for the report.
        data: further numbers or arrays for the report; stored in its JSON.
        curves: a figure for the report; stored in its JSON.

    Attributes:
        error: the distance of the two. A NaN or an infinity is accepted here and never passes.

    Raises:
        TypeError: `predicted` or `measured` is no real number, array or text, or `curves` is no `Curves`.
        ValueError: arrays of different shapes, or a `scale` that is not positive.

    Example:
        >>> Evidence(predicted=[1.0, 2.0], measured=[1.0, 2.5], scale=2.0)
        Evidence(predicted 2, measured 2.5, error 0.25)
        >>> Evidence(Interval(high=2.0), 3.0).error
        1.0
    """

    predicted: Any
    measured: Any
    scale: Any = field(default=1.0, repr=False)
    detail: str = ""
    data: Mapping[str, Any] = field(default_factory=dict, compare=False)
    curves: Curves | None = field(default=None, compare=False)
    error: float = field(init=False)

    def __post_init__(self) -> None:
        predicted, measured, scale, error = _compared(self.predicted, self.measured, self.scale)
        for name, value in (
            ("predicted", predicted),
            ("measured", measured),
            ("scale", scale),
            ("error", error),
            ("detail", str(self.detail)),
            ("data", MappingProxyType(dict(self.data))),
        ):
            object.__setattr__(self, name, value)
        if self.curves is not None and not isinstance(self.curves, Curves):
            raise TypeError(f"Argument `curves` must be `Curves` or None, but is {self.curves!r}.")

    @classmethod
    def worst(
        cls,
        parts: Mapping[str, Evidence] | Iterable[Evidence],
        *,
        best: bool = False,
        detail: str = "",
        data: Mapping[str, Any] | None = None,
        curves: Curves | None = None,
    ) -> Evidence:
        """The part with the largest error, for a check of several cases.

        Args:
            parts: evidence of each case; with names they are listed with their errors.
            best: the part with the smallest error instead, for a control that must fail in every case.
            detail: further words for the report.
            data: as for `Evidence`.
            curves: as for `Evidence`.
        """
        named: dict[Any, Evidence] = dict(parts if isinstance(parts, Mapping) else enumerate(parts))
        # A NaN is worse than anything, and no part of a control that must fail everywhere.
        size = {name: INF if part.error != part.error else part.error for name, part in named.items()}
        chosen = named[(min if best else max)(size, key=lambda name: size[name])]
        words = [detail] if detail else [chosen.detail] if chosen.detail else []
        if isinstance(parts, Mapping):
            words.append(", ".join(f"{name}: {part.error:.1e}" for name, part in named.items()))
        return cls(
            chosen.predicted,
            chosen.measured,
            chosen.scale,
            detail="; ".join(words),
            data=data or {},
            curves=curves or chosen.curves,
        )

    def __repr__(self) -> str:
        return (
            f"Evidence({', '.join(f'{name} {value}' for name, value in self._facts() if name != 'detail')})"
        )

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Evidence", facts=self._facts())

    def _facts(self) -> list[tuple[str, str]]:
        facts = [(name, shown(getattr(self, name))) for name in ("predicted", "measured", "error")]
        return facts + [("detail", self.detail)] * bool(self.detail)


def shown(value: Any, digits: int = 6) -> str:
    """A value of evidence in a table."""
    return format_number(value, digits) if value is None or isinstance(value, (int, float)) else str(value)


def _compared(predicted: Any, measured: Any, scale: Any) -> tuple[Any, Any, float, float]:
    """The values that are shown, the unit there, and the error."""
    if isinstance(predicted, (str, tuple)):
        if not isinstance(measured, type(predicted)):
            kind = type(predicted).__name__
            raise TypeError(f"Argument `measured` must be a {kind} as `predicted` is, but is {measured!r}.")
        return predicted, measured, 1.0, float(predicted != measured)
    found = _numbers("measured", measured)
    if isinstance(predicted, Interval):
        low, high = (_numbers("predicted", end) for end in (predicted.low, predicted.high))
        gap = np.maximum(np.maximum(low - found, found - high), 0.0)
    else:
        expected = _numbers("predicted", predicted)
        if expected.shape != found.shape and 1 not in (expected.size, found.size):
            raise ValueError(
                f"Argument `measured` must have the shape of `predicted`, {expected.shape}, but has {found.shape}."
            )
        gap = np.abs(found - expected)
    unit = np.abs(_numbers("scale", scale))
    if np.any(unit == 0.0):
        raise ValueError("Argument `scale` must not be 0.")
    error = np.asarray(gap / unit, dtype=float)
    # NaN is the largest for argmax.
    at = np.unravel_index(int(np.argmax(error)), error.shape)
    pick = lambda array: np.broadcast_to(array, error.shape)[at].item()
    if isinstance(predicted, Interval):
        shown_as: Any = Interval(float(pick(low)), float(pick(high)))
    else:
        shown_as = pick(expected)
    return shown_as, pick(found), float(pick(unit)), float(error[at])


def _numbers(name: str, value: Any) -> np.ndarray:
    if isinstance(value, (list, tuple)) and len({np.shape(part) for part in value}) > 1:
        # Matrices of several shapes, one after another.
        return np.concatenate([_numbers(name, part).ravel() for part in value])
    array = np.asarray(value)
    if array.dtype.kind not in "iuf" or not array.size:
        raise TypeError(f"Argument `{name}` must be a real number or an array of them, but is {value!r}.")
    return array
