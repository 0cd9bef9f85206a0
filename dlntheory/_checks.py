"""The checks of arguments that all public functions share, in one message style: "Argument `x` must …, but …"."""

from __future__ import annotations

import math
import numbers
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
import numpy as np

T = TypeVar("T")

#: Numbers up to here can be squared and summed: the largest float is about 1e308.
SQUARABLE = 1e150


def real_number(
    value: Any,
    argument: str,
    *,
    minimum: float | None = None,
    above: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    finite: bool = True,
) -> float:
    """`value` as a float, or an error that names the argument, what it must be and what it is.

    Args:
        value: a real number or an array of one real number; no text, bool, complex number, `None` or mask.
        argument: its name in the message.
        minimum: the smallest value allowed.
        above: a value that it must exceed.
        maximum: the largest value allowed.
        below: a value that it must stay below.
        finite: refuse infinities; NaN is always refused.

    Raises:
        ValueError: anything else.
    """
    need = f"a {'finite ' if finite else ''}{'positive ' if above == 0 else ''}number"
    bounds: list[tuple[str, float | None, Callable[[Any], bool]]] = [
        (f"of at least {minimum}", minimum, lambda x: x >= minimum),
        ("" if above == 0 else f"above {above}", above, lambda x: x > above),
        (f"of at most {maximum}", maximum, lambda x: x <= maximum),
        (f"below {below}", below, lambda x: x < below),
    ]
    tests = [(text, holds) for text, bound, holds in bounds if bound is not None]
    said = " and ".join(text for text, _ in tests if text)
    must = f"{need} {said}" if said else need
    if isinstance(value, (bool, np.bool_, str, bytes)) or value is None or np.ma.isMaskedArray(value):
        raise ValueError(f"Argument `{argument}` must be {must}, but is {value!r}.")
    if not isinstance(value, numbers.Real):
        array = np.asarray(value)
        if array.size != 1 or array.dtype.kind not in "fiu":
            raise ValueError(f"Argument `{argument}` must be {must}, but is {_shown(value)}.")
        value = array.reshape(())[()]
    try:
        number = float(value)
    except OverflowError:
        number = math.inf
    wrong = math.isnan(number) or (finite and math.isinf(number))
    if wrong or not all(holds(number) for _, holds in tests):
        raise ValueError(f"Argument `{argument}` must be {must}, but is {value}.")
    return number


def integer(value: Any, argument: str, *, minimum: int = 1, maximum: int | None = None) -> int:
    """`value` as an int of at least `minimum`, or an error that names the argument.

    Raises:
        ValueError: a bool, a float, text, or a number out of range.
    """
    if not _is_integer(value) or int(value) < minimum or (maximum is not None and int(value) > maximum):
        kind = "a positive integer" if minimum == 1 else f"an integer of at least {minimum}"
        most = "" if maximum is None else f" and at most {maximum}"
        raise ValueError(f"Argument `{argument}` must be {kind}{most}, but is {_shown(value)}.")
    return int(value)


def integers(values: Any, argument: str, *, at_least: int, meaning: str = "") -> tuple[int, ...]:
    """`values` as a tuple of positive integers, or an error that names the argument and the offending position.

    Args:
        values: what the user gave.
        argument: its name in the message.
        at_least: how many are needed.
        meaning: what the integers mean, for the message, for example `"input width first"`.

    Raises:
        ValueError: no sequence, too few entries, or one that is not a positive integer.
    """
    needed = {1: "at least one positive integer", 2: "at least two positive integers"}
    wanted = needed.get(at_least, f"at least {at_least} positive integers")
    wanted += f", {meaning}" if meaning else ""
    is_masked = np.ma.isMaskedArray(values)
    if not isinstance(values, (Sequence, np.ndarray)) or isinstance(values, (str, bytes)) or is_masked:
        raise ValueError(f"Argument `{argument}` must be {wanted}, but is {_shown(values)}.")
    entries = tuple(values) if np.ndim(values) == 1 or not isinstance(values, np.ndarray) else ()
    for position, entry in enumerate(entries):
        if not _is_integer(entry) or entry < 1:
            raise ValueError(
                f"Argument `{argument}` must be {wanted}, but is {_shown(values)}, with {entry!r} at position "
                f"{position}."
            )
    if len(entries) < at_least:
        raise ValueError(f"Argument `{argument}` must be {wanted}, but is {_shown(values)}.")
    return tuple(int(entry) for entry in entries)


def real_array(
    value: Any,
    argument: str,
    *,
    ndim: int | Sequence[int] | None = None,
    finite: bool = True,
    empty: bool = False,
    booleans: bool = False,
    largest: float | None = None,
) -> np.ndarray:
    """`value` as a float64 array, or an error that names the argument.

    Args:
        value: an array or nested sequences of real numbers; integers are taken, bools, complex numbers, text, objects
            and masked arrays are not (a mask would be lost).
        argument: its name in the message.
        ndim: how many dimensions it must have; any by default.
        finite: refuse NaN and infinities.
        empty: accept an array without entries.
        booleans: take them as zeros and ones.
        largest: bound on the absolute values, such as `SQUARABLE` where squares are formed.

    Raises:
        ValueError: anything else.
    """
    if np.ma.isMaskedArray(value):
        raise ValueError(f"Argument `{argument}` must be an array without a mask, but is a masked array.")
    try:
        array = np.asarray(value)
    except ValueError:
        array = np.asarray(None)
    if array.dtype.kind not in ("fiub" if booleans else "fiu"):
        raise ValueError(f"Argument `{argument}` must be an array of real numbers, but is {_shown(value)}.")
    wanted = None if ndim is None else (ndim,) if isinstance(ndim, int) else tuple(ndim)
    if wanted is not None and array.ndim not in wanted:
        count = " or ".join(map(str, wanted))
        raise ValueError(f"Argument `{argument}` must have {count} dimensions, but has shape {array.shape}.")
    if not array.size and not empty:
        raise ValueError(f"Argument `{argument}` must have entries, but has shape {array.shape}.")
    array = array.astype(np.float64)
    if finite and (bad := int(np.sum(~np.isfinite(array)))):
        raise ValueError(f"Argument `{argument}` must be finite, but {bad} of {array.size} entries are not.")
    if largest is not None and (beyond := int(np.sum(np.abs(array) > largest))):
        raise ValueError(
            f"Argument `{argument}` must have entries of at most {largest:g} in absolute value, but {beyond} of "
            f"{array.size} are larger."
        )
    return array


def broadcast_numbers(argument_of: Mapping[str, Any], *, unbounded: Sequence[str] = ()) -> list[jax.Array]:
    """Real numbers or arrays that are broadcast against one another, as float arrays; traced ones are not checked.

    Args:
        argument_of: the values by the names of their arguments.
        unbounded: arguments, such as times, that may be infinite or beyond `SQUARABLE`.

    Raises:
        ValueError: one of them is no array of real numbers, or its shape does not fit the others.
    """
    arrays = {}
    for argument, value in argument_of.items():
        if not is_traced(value):
            is_bounded = argument not in unbounded
            value = real_array(value, argument, finite=is_bounded, largest=SQUARABLE if is_bounded else None)
            if np.isnan(value).any():
                raise ValueError(f"Argument `{argument}` must be numbers, but holds NaN.")
        arrays[argument] = jnp.asarray(value, dtype=float)
    try:
        return list(jnp.broadcast_arrays(*arrays.values()))
    except ValueError as error:
        names = ", ".join(f"`{argument}` {array.shape}" for argument, array in arrays.items())
        raise ValueError(f"Arguments {names} must have shapes that broadcast, but have not.") from error


def instance_of(value: Any, kind: type[T], argument: str, hint: str = "") -> T:
    """`value` itself if it is of a class, or an error that names the argument.

    Raises:
        ValueError: it is not; `hint` says how to make one.
    """
    if not isinstance(value, kind):
        article = "an" if kind.__name__[0] in "AEIOU" else "a"
        raise ValueError(
            f"Argument `{argument}` must be {article} `{kind.__name__}`, but is {_shown(value)}"
            + (f": {hint}." if hint else ".")
        )
    return value


def choice(value: Any, options: Sequence[str], argument: str) -> str:
    """`value` itself if it is one of some texts, or an error that names the argument and lists them.

    Raises:
        ValueError: it is not.
    """
    if not isinstance(value, str) or value not in options:
        listed = " or ".join(f'"{option}"' for option in options)
        raise ValueError(f"Argument `{argument}` must be {listed}, but is {_shown(value)}.")
    return value


def mapping(value: Any, argument: str, what: str = "values by name") -> Mapping[str, Any]:
    """`value` as a mapping, an empty one for `None`, or an error that names the argument.

    Raises:
        ValueError: it is neither.
    """
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"Argument `{argument}` must be a dict of {what}, but is {_shown(value)}.")
    return value


def function(value: Any, argument: str, what: str) -> Callable[..., Any]:
    """`value` itself if it can be called, or an error that names the argument.

    Raises:
        ValueError: it cannot.
    """
    if not callable(value):
        raise ValueError(f"Argument `{argument}` must be a function {what}, but is {_shown(value)}.")
    return value


def is_traced(value: Any) -> bool:
    """Whether `value` is an array without values yet, inside `jax.jit`, `jax.vmap` or `jax.grad`."""
    if not isinstance(value, jax.Array):
        return False
    try:
        np.asarray(value)
    except (jax.errors.TracerArrayConversionError, jax.errors.ConcretizationTypeError):
        return True
    except TypeError:
        # A key of `jax.random.key` has no values for NumPy either, but is no tracer.
        return False
    return False


def _is_integer(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, (bool, np.bool_))


def _shown(value: Any) -> str:
    """A value for a message: short ones as they are, arrays by type and shape."""
    dtype, shape = getattr(value, "dtype", None), getattr(value, "shape", None)
    if dtype is not None and shape is not None:
        return f"an array of dtype {dtype} and shape {shape}"
    text = repr(value)
    return text if len(text) <= 80 else f"a {type(value).__name__}"
