"""`FunctionCode`: what a function of one array computes, apart from the arrays that it closes over."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend import core

from .canonical import digest
from .precision import lossy_conversion


@dataclasses.dataclass(frozen=True, eq=False)
class FunctionCode:
    """The code of a scalar function of one array, equal to every tracing of the same code.

    Attributes:
        shape: of the argument.
        dtype: of the argument and of the value.
        function: the function as given.
    """

    shape: tuple[int, ...]
    dtype: Any
    function: Callable[[Any], Any]
    _jaxpr: core.Jaxpr
    _code: bytes
    _kept: tuple[Any, ...]

    def __call__(self, constants: Sequence[Any], argument: Any) -> jax.Array:
        """The value, with the given arrays in the places of those that the function closed over."""
        closed = core.ClosedJaxpr(self._jaxpr, list(constants))
        return core.jaxpr_as_fun(closed)(argument)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, FunctionCode) and self._key() == other._key()

    def __hash__(self) -> int:
        return hash(self._key())

    def _key(self) -> tuple[Any, ...]:
        return self.shape, self.dtype, self._code


def checked_program(function: Callable[[Any], Any], shape: tuple[int, ...], argument: str) -> Any:
    """The program of a scalar function of one array of JAX's float type.

    Raises:
        ValueError: the function fails, gives no scalar, or leaves that float type.
    """
    dtype = jnp.result_type(float)
    struct = jax.ShapeDtypeStruct(shape, dtype)
    try:
        closed, value = jax.make_jaxpr(lambda z: function(z), return_shape=True)(struct)
    except Exception as error:
        error.add_note(f"(while evaluating `{argument}` on a z of shape {shape})")
        raise
    if getattr(value, "shape", None) != ():
        raise ValueError(f"Argument `{argument}` must map z of shape {shape} to a scalar, but gives {value}.")
    if value.dtype != dtype:
        raise ValueError(
            f"Argument `{argument}` must keep the precision of z ({dtype}), but returns {value.dtype}."
        )
    if dtype == jnp.float64 and (lossy := lossy_conversion(closed, [True], argument)) is not None:
        raise lossy
    return closed


def code_and_constants(
    function: Callable[[Any], Any], shape: tuple[int, ...], closed: Any
) -> tuple[FunctionCode, tuple[Any, ...]]:
    """The code of a function whose program is `closed`, and the arrays that it closes over.

    Where the function has custom derivatives, which may close over arrays of their own, the values of all arrays are
    part of what the code is compared by.
    """
    dtype = jnp.result_type(float)
    struct = jax.ShapeDtypeStruct(shape, dtype)
    code, kept, _ = digest(closed, lambda: jax.make_jaxpr(jax.grad(function))(struct), constants=False)
    # With their types given, arrays lose weak types, which would make two programs of one.
    constants = tuple(jnp.asarray(const, const.dtype) for const in closed.consts)
    return FunctionCode(shape, dtype, function, closed.jaxpr, code, kept), constants
