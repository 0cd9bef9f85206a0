"""Rational points at which the rank of the brackets is asked for, and their residues."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...exact import exact_array
from ..systems import AbstractSystem


def rational_point(system: AbstractSystem, at: Any) -> np.ndarray:
    """A point as an object array (D,) of fractions, from a dict of the blocks or a flat list.

    Raises:
        ValueError: a wrong length, name or shape, or an entry that is no finite number.
    """
    try:
        if isinstance(at, dict):
            if set(at) != {name for name, _ in system.blocks}:
                raise ValueError(f"it has the blocks {sorted(map(str, at))}")
            parts = [(name, shape, exact_array(at[name])) for name, shape in system.blocks]
            for name, shape, part in parts:
                if part.shape != shape:
                    raise ValueError(f"'{name}' has shape {part.shape} instead of {shape}")
            flat = np.concatenate([part.ravel() for _, _, part in parts])
        else:
            flat = exact_array(at)
            if flat.shape != (system.dimension,):
                raise ValueError(f"it has shape {flat.shape}")
    except (ValueError, TypeError) as error:
        blocks = ", ".join(f"{name}{list(shape)}" for name, shape in system.blocks)
        raise ValueError(
            f"Argument `at` must be a rational point, {system.dimension} numbers or a dict of {blocks}, "
            f"but {error}."
        ) from error
    return flat


def residues(point: np.ndarray, prime: int) -> np.ndarray:
    """A rational point modulo a prime that divides no denominator."""
    return np.array([f.numerator * pow(f.denominator, -1, prime) % prime for f in point], dtype=np.int64)
