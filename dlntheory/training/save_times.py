"""Save times: at which times, or after which steps, a run is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np

from .._checks import integer, real_number

#: Compiled programs are for this many save times at least, and for a power of two above: few are ever compiled.
PADDED_COUNT = 256
#: No padding where the recorded rows hold more numbers than this (32 MB).
PADDED_NUMBERS = 2**22


def log_times(t1: float, count: int = 200, *, decades: float = 6.0, t0: float = 0.0) -> np.ndarray:
    r"""`count` times from `t0` to `t1`: `t0`, then evenly spaced in $\log(t - t_0)$ over the last `decades`.

    Raises:
        ValueError: `count` below 3, `t1` not above `t0`, or `decades` not positive.
    """
    t0, t1 = real_number(t0, "t0"), real_number(t1, "t1")
    _check_interval(t0, t1)
    integer(count, "count", minimum=3)
    real_number(decades, "decades", above=0, maximum=300)
    span = t1 - t0
    later = t0 + np.geomspace(span * 10.0**-decades, span, count - 1)
    return np.concatenate([[t0], later[:-1], [t1]])


def save_grid(ts: Any, start: float, end: float, *, whole: bool = False) -> np.ndarray:
    """The increasing save times of a run, `end` always among them; the one rule for `solve` and `iterate`.

    Args:
        ts: a number of evenly spaced times (both ends included, at least 2), or the times themselves.
        start: start of the run.
        end: end of the run.
        whole: times are numbers of steps, as integers; evenly spaced ones are rounded.

    Raises:
        ValueError: an empty or reversed interval, too few times, or times that are not increasing inside it.
    """
    _check_interval(start, end)
    if np.ndim(ts) == 0:
        times = np.linspace(start, end, integer(ts, "ts", minimum=2))
        return np.unique(times.round().astype(np.int64)) if whole else times
    times = np.asarray(ts)
    what = "step numbers" if whole else "finite times"
    if times.ndim != 1 or not times.size or times.dtype.kind not in ("iu" if whole else "iuf"):
        raise ValueError(
            f"Argument `ts` must be a number or a one-dimensional array of {what}, but has shape {times.shape} and "
            f"dtype {times.dtype}."
        )
    times = times.astype(np.int64 if whole else float)
    if not np.all(np.isfinite(times)):
        raise ValueError(f"Argument `ts` must be a number or a one-dimensional array of {what}, but is not.")
    if np.any(np.diff(times) <= 0):
        raise ValueError("Argument `ts` must be strictly increasing, but is not.")
    if times[0] < start or times[-1] > end:
        raise ValueError(
            f"Argument `ts` must lie in [{start}, {end}], but runs from {times[0]} to {times[-1]}."
        )
    return times if times[-1] == end else np.append(times, times.dtype.type(end))


def padded_count(count: int, numbers: int) -> int:
    """For how many save times to compile a program, where each row holds so many numbers."""
    padded = max(PADDED_COUNT, 1 << (count - 1).bit_length())
    return padded if padded * numbers <= PADDED_NUMBERS else count


def padded(ts: np.ndarray, count: int, filling: float) -> np.ndarray:
    """Save times and fillings behind them."""
    return np.concatenate([ts, np.full(count - len(ts), filling)]) if len(ts) < count else ts


def _check_interval(t0: float, t1: float) -> None:
    if not (np.isfinite(t0) and np.isfinite(t1)):
        raise ValueError(f"Arguments `t0` and `t1` must be finite, but are {t0} and {t1}.")
    if not t1 > t0:
        raise ValueError(f"Argument `t1` must be above `t0` = {t0}, but is {t1}.")
