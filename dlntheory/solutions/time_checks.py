"""Times at which a closed form is asked for."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


def checked_times(ts: Any) -> jax.Array:
    """(time,) as floats, refused if negative; a traced array is only checked for its shape.

    Raises:
        ValueError: not one-dimensional, or a time below 0 or not a number.
    """
    times = jnp.asarray(ts, dtype=float)
    if times.ndim != 1:
        raise ValueError(f"Argument `ts` must be one-dimensional, (time,), but has shape {times.shape}.")
    try:
        known = np.asarray(times)
    except jax.errors.TracerArrayConversionError:
        return times
    if not np.all(known >= 0):
        raise ValueError(f"Argument `ts` must be at least 0, but its smallest value is {np.min(known):g}.")
    return times
