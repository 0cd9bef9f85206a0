"""Which points of curves the axes show, and from where to where: common to the panels of a figure where it can be."""

from __future__ import annotations

import itertools
from typing import Literal

import numpy as np

from ..claims import Curves

#: Panels have a common axis unless one would be squeezed by more than this factor.
SQUEEZE = 4.0

Axis = Literal["x", "y"]
Range = tuple[float, float]


def is_log(curves: Curves, axis: Axis) -> bool:
    """Whether this axis is logarithmic."""
    return curves.scale in (f"log-{axis}", "log-log")


def visible(curves: Curves) -> dict[str, np.ndarray]:
    """The points that the axes have a place for, (points, 2) for each series."""
    found = {}
    for name, series in curves.series.items():
        points = np.array(series).T
        keep = np.all(np.isfinite(points), axis=1)
        if is_log(curves, "x"):
            keep &= points[:, 0] > 0
        if is_log(curves, "y"):
            keep &= points[:, 1] > 0
        found[name] = points[keep]
    return found


def panel_limits(panels: list[Curves], tolerance: float | None) -> list[dict[Axis, Range]]:
    """The ends of both axes for each panel; an axis without any value has none.

    Args:
        panels: curves that stand side by side. Those with the same labels and scale get common axes, except
            that a linear axis must not squeeze one of them, nor a logarithmic one those that do not overlap.
            Where errors are shown against their tolerance they are compared however far apart they are.
        tolerance: is within the axis of errors that are shown against it.
    """
    first = panels[0]
    alike = all((one.x, one.y, one.scale) == (first.x, first.y, first.scale) for one in panels)
    limits: list[dict[Axis, Range]] = [{} for _ in panels]
    for axis in ("x", "y"):
        ranges = [_range(curves, axis, tolerance) for curves in panels]
        known = [one for one in ranges if one is not None]
        whole = min((low for low, _ in known), default=0.0), max((high for _, high in known), default=0.0)
        common = alike and _fit_together(known, whole, first, axis)
        for found, one, curves in zip(limits, ranges, panels, strict=True):
            if one is not None:
                found[axis] = _padded(whole if common else one, is_log(curves, axis))
    return limits


def _range(curves: Curves, axis: Axis, tolerance: float | None) -> Range | None:
    """The least and the largest value, as powers of ten on a logarithmic axis."""
    column = 0 if axis == "x" else 1
    values = np.concatenate([points[:, column] for points in visible(curves).values()])
    if axis == "y" and tolerance is not None and curves.with_tolerance:
        values = np.append(values, tolerance)
    if not values.size:
        return None
    low, high = float(np.min(values)), float(np.max(values))
    return (float(np.log10(low)), float(np.log10(high))) if is_log(curves, axis) else (low, high)


def _fit_together(ranges: list[Range], whole: Range, first: Curves, axis: Axis) -> bool:
    squeezed = any(whole[1] - whole[0] > SQUEEZE * (high - low) for low, high in ranges if high > low)
    if not is_log(first, axis):
        return not squeezed
    overlap = any(left[1] >= right[0] for left, right in itertools.pairwise(sorted(ranges)))
    return first.with_tolerance or overlap or not squeezed


def _padded(ends: Range, logarithmic: bool) -> Range:
    low, high = ends
    if not logarithmic:
        margin = 0.05 * (high - low) or 0.1 * (abs(high) or 1.0)
        return low - margin, high + margin
    margin = 0.04 * (high - low)
    if high - low < 2.5:
        # Whole decades if there are few: within less than one, a logarithmic axis has no readable ticks.
        low, high, margin = np.floor(low + 1e-9), np.ceil(high - 1e-9), 0.0
        high = max(high, low + 1)
    return float(10.0 ** (low - margin)), float(10.0 ** (high + margin))
