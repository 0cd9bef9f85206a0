"""Save grids: at which times a run is recorded."""

from __future__ import annotations

from typing import Any

import numpy as np


def log_times(t1: float, count: int = 200, *, decades: float = 6.0, t0: float = 0.0) -> np.ndarray:
    r"""`count` times from `t0` to `t1`: `t0`, then evenly spaced in $\log(t - t_0)$ over the last `decades`.

    Raises:
        ValueError: `count` below 3, `t1` not above `t0`, or `decades` not positive.
    """
    _check_interval(t0, t1)
    if count < 3:
        raise ValueError(f"Argument `count` must be at least 3, but is {count}.")
    if not decades > 0:
        raise ValueError(f"Argument `decades` must be positive, but is {decades}.")
    span = t1 - t0
    later = t0 + np.geomspace(span * 10.0**-decades, span, count - 1)
    return np.concatenate([[t0], later[:-1], [t1]])


def save_grid(ts: Any, t0: float, t1: float) -> np.ndarray:
    """The increasing save times of a run, `t1` always among them.

    Args:
        ts: a number of evenly spaced times (both ends included, at least 2), or the times themselves.
        t0: start of the run.
        t1: end of the run.

    Raises:
        ValueError: an empty or reversed interval, too few times, or times that are not increasing inside it.
    """
    _check_interval(t0, t1)
    if isinstance(ts, (int, np.integer)):
        if ts < 2:
            raise ValueError(f"Argument `ts` must be at least 2, but is {ts}.")
        return np.linspace(t0, t1, int(ts))
    times = np.asarray(ts, dtype=float)
    if times.ndim != 1 or times.size == 0 or not np.all(np.isfinite(times)):
        raise ValueError(
            "Argument `ts` must be a number or a one-dimensional array of finite times, "
            f"but has shape {times.shape}."
        )
    if np.any(np.diff(times) <= 0):
        raise ValueError("Argument `ts` must be strictly increasing, but is not.")
    if times[0] < t0 or times[-1] > t1:
        raise ValueError(f"Argument `ts` must lie in [{t0}, {t1}], but runs from {times[0]} to {times[-1]}.")
    return times if times[-1] == t1 else np.append(times, t1)


def _check_interval(t0: float, t1: float) -> None:
    if not (np.isfinite(t0) and np.isfinite(t1)):
        raise ValueError(f"Arguments `t0` and `t1` must be finite, but are {t0} and {t1}.")
    if not t1 > t0:
        raise ValueError(f"Argument `t1` must be above `t0` = {t0}, but is {t1}.")
