"""`Curves`: the figure of a claim as plain data, which the report draws and its JSON stores."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np

Scale = Literal["linear", "log-x", "log-y", "log-log"]
#: A longer series is thinned to this many points, the first and the last among them.
MAX_POINTS = 200
MAX_SERIES = 8
TIME = "gradient-flow time $t$"


@dataclass(frozen=True, eq=False)
class Curves:
    r"""What a check found along an axis: one figure of a few series, for the report. It has no part in the verdict.

    Values that an axis has no place for, such as the error 0 on a logarithmic one, are kept here and left out
    of the drawing, whose caption counts them.

    Args:
        x: label of the horizontal axis: prose with `$…$`.
        y: label of the vertical axis, likewise.
        series: name -> (xs, ys), two sequences or arrays of one length; kept as tuples. A series whose name
            begins with a role of the figures (`full`, `reduced`, `predicted`, `measured`, …) is drawn in its
            style. Where a role has several cases, name them after a comma, `measured, $L = 3$` and
            `predicted, $L = 3$`: a case has one colour in all roles.
        scale: which axes are logarithmic.
        note: one line under the figure: prose with `$…$`.
        with_tolerance: whether `y` is the error that is judged, so that the claim's tolerance is drawn as a line.

    Raises:
        TypeError: a series is not a pair of sequences of real numbers.
        ValueError: an empty label or figure, an unknown scale, sequences of different lengths.

    Example:
        >>> times = [0.0, 1.0, 2.0]
        >>> Curves("time $t$", "loss", {"predicted": (times, [1.0, 0.5, 0.25]), "measured": (times, [1, 0.5, 0.3])})
        Curves(loss against time $t$: predicted, measured)
    """

    x: str
    y: str
    series: Mapping[str, tuple[Any, Any]]
    scale: Scale = "linear"
    note: str = ""
    with_tolerance: bool = False

    def __post_init__(self) -> None:
        for name in ("x", "y", "note"):
            _check_text(name, getattr(self, name), empty=name == "note")
        if self.scale not in get_args(Scale):
            raise ValueError(
                f"Argument `scale` must be one of {', '.join(get_args(Scale))}, but is {self.scale!r}."
            )
        if not isinstance(self.series, Mapping) or not 1 <= len(self.series) <= MAX_SERIES:
            number = f"has {len(self.series)}" if isinstance(self.series, Mapping) else f"is {self.series!r}"
            raise ValueError(f"Argument `series` must be a dict of 1 to {MAX_SERIES} series, but {number}.")
        checked = {}
        for name, points in self.series.items():
            _check_text("series", name)
            checked[name] = _points(name, points)
        object.__setattr__(self, "series", MappingProxyType(checked))

    def __repr__(self) -> str:
        return f"Curves({self.y} against {self.x}: {', '.join(self.series)})"

    def to_dict(self) -> dict[str, Any]:
        """Everything in plain types; each series as `{"x": [...], "y": [...]}`."""
        return {
            "x": self.x,
            "y": self.y,
            "scale": self.scale,
            "note": self.note,
            "with_tolerance": self.with_tolerance,
            "series": {name: {"x": list(xs), "y": list(ys)} for name, (xs, ys) in self.series.items()},
        }


def _check_text(name: str, text: Any, *, empty: bool = False) -> None:
    if not isinstance(text, str) or not (empty or text.strip()):
        raise ValueError(f"Argument `{name}` must be a non-empty text, but is {text!r}.")
    if text.count("$") % 2:
        raise ValueError(f"Argument `{name}` must have dollar signs in pairs, but is {text!r}.")


def _points(name: str, points: Any) -> tuple[tuple[float, ...], tuple[float, ...]]:
    try:
        xs, ys = points
    except (TypeError, ValueError) as error:
        raise TypeError(f"Argument `series` must map {name!r} to a pair (xs, ys), but {error}.") from error
    found = tuple(_numbers(name, values) for values in (xs, ys))
    if len(found[0]) != len(found[1]) or not found[0].size:
        lengths = " and ".join(str(len(values)) for values in found)
        raise ValueError(
            f"Argument `series` must have as many xs as ys, one or more, but {name!r} has {lengths}."
        )
    length = len(found[0])
    kept = np.unique(np.round(np.linspace(0, length - 1, min(length, MAX_POINTS))).astype(int))
    return tuple(found[0][kept].tolist()), tuple(found[1][kept].tolist())


def _numbers(name: str, values: Any) -> np.ndarray:
    array = np.asarray(values)
    if array.ndim != 1 or array.dtype.kind not in "fiu":
        fact = f"{name!r} has shape {array.shape} and type {array.dtype}"
        raise TypeError(f"Argument `series` must have sequences of real numbers, but {fact}.")
    return array.astype(float)


def error_over_time(ts: Any, full: Any, reduced: Any) -> Curves:
    r"""The error of $z$ that is judged where a reduction is compared with the full flow.

    Args:
        ts: (time,) times.
        full: (time, …) $z$ of the full flow.
        reduced: (time, …) $z$ of the reduction.
    """
    full, reduced = (np.reshape(z, (len(z), -1)) for z in (full, reduced))
    errors = np.max(np.abs(full - reduced), axis=1) / np.max(np.abs(full))
    # Where both start at the same z, up to rounding, the curve begins after the start.
    first = int(errors[0] < 1e-14)
    return Curves(
        TIME,
        "largest error of an entry of $z$, relative to the largest entry",
        {"error of the reduction": (np.asarray(ts)[first:], errors[first:])},
        scale="log-y",
        with_tolerance=True,
    )


def power_law(xs: Any, ys: Any, exponent: float) -> tuple[np.ndarray, np.ndarray]:
    """A guide to the eye on logarithmic axes: the power law with this exponent through the last point.

    Example:
        >>> power_law([1.0, 2.0], [5.0, 4.0], -1.0)
        (array([1., 2.]), array([8., 4.]))
    """
    xs = np.asarray(xs, dtype=float)
    return xs, np.asarray(ys, dtype=float)[-1] * (xs / xs[-1]) ** exponent
