"""Floats as exact fractions: the simplest one that rounds to the same float64."""

from __future__ import annotations

import math
import numbers
from fractions import Fraction
from typing import Any

import flint
import numpy as np


class NotFiniteError(ValueError):
    """Infinity or nan where a fraction is needed."""


def simplest_fraction(x: float) -> Fraction:
    r"""The fraction of least denominator that rounds to the float64 `x`, so that `0.1` is read as $1/10$.

    All reals between the midpoints to the two neighbours of `x` round to it. A float that is an integer is
    read as that integer.

    Args:
        x: a finite float.

    Returns:
        The fraction; `float` of it is `x` again.

    Raises:
        ValueError: `x` is infinite or not a number.

    Validity:
        Exact for every fraction $p/q$ that somebody wrote with $2|p|q < 2^{53}$. An irrational constant such
        as `math.sqrt(2)` also becomes a fraction, with a denominator of about $10^8$.

    Example:
        >>> simplest_fraction(0.1), simplest_fraction(1 / 3)
        (Fraction(1, 10), Fraction(1, 3))
    """
    x = float(x)
    if not math.isfinite(x):
        raise NotFiniteError(f"Argument `x` must be finite to be read as a fraction, but is {x}.")
    if x.is_integer():
        return Fraction(int(x))
    if x < 0:
        return -simplest_fraction(-x)
    low = (Fraction(x) + Fraction(math.nextafter(x, -math.inf))) / 2
    high = (Fraction(x) + Fraction(math.nextafter(x, math.inf))) / 2
    # Whether the midpoints themselves round to x does not matter: their denominators are larger than that of
    # x.
    return _simplest_between(low, high)


def exact_array(values: Any) -> np.ndarray:
    """The entries of an array as an object array of `Fraction`; floats by `simplest_fraction`.

    Args:
        values: numbers or an array of floats, integers, booleans, or (object arrays) of rational numbers.

    Returns:
        An object array of the same shape.

    Raises:
        ValueError: an entry is not finite, not real, or not a number.
    """
    array = np.asarray(values)
    if array.dtype.kind in "iub":
        flat = [Fraction(int(entry)) for entry in array.ravel()]
    elif array.dtype.kind == "f":
        # Data and masks repeat few values; each fraction is worked out once.
        distinct, inverse = np.unique(array.ravel(), return_inverse=True)
        fractions = [simplest_fraction(float(entry)) for entry in distinct]
        flat = [fractions[position] for position in inverse]
    elif array.dtype.kind == "O":
        flat = [_as_fraction(entry) for entry in array.ravel()]
    else:
        raise ValueError(f"Argument `values` must be real numbers, but has dtype {array.dtype}.")
    return object_array(flat, array.shape)


def object_array(entries: list[Any], shape: tuple[int, ...]) -> np.ndarray:
    """An object array of the given shape from its entries, row by row; never looks inside an entry."""
    array = np.empty(len(entries), dtype=object)
    array[:] = entries
    return array.reshape(shape)


def _as_fraction(entry: Any) -> Fraction:
    if isinstance(entry, numbers.Rational):
        return Fraction(int(entry.numerator), int(entry.denominator))
    if isinstance(entry, numbers.Real):
        return simplest_fraction(float(entry))
    if isinstance(entry, flint.fmpq):
        # python-flint's fmpq does not register as a rational number.
        return Fraction(int(entry.p), int(entry.q))
    raise ValueError(f"Argument `values` must hold real numbers, but holds {entry!r}.")


def _simplest_between(low: Fraction, high: Fraction) -> Fraction:
    """The fraction of least denominator strictly between 0 <= low < high, by continued fractions."""
    whole = math.floor(low)
    if whole + 1 < high:
        return Fraction(whole + 1)
    if low == whole:
        return whole + Fraction(1, math.floor(1 / (high - whole)) + 1)
    return whole + 1 / _simplest_between(1 / (high - whole), 1 / (low - whole))
