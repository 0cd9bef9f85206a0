"""`TracedLoss`: a loss given as a plain function, traced once; its constants are data and its code is a value."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.extend import core

from ..exact.canonical import digest
from ..exact.precision import lossy_conversion
from .base import AbstractLoss


@dataclasses.dataclass(frozen=True, eq=False)
class LossCode:
    """What a loss computes, without its data: equal to every tracing of the same code.

    Attributes:
        key: shape and type of $z$, and what stands for the code.
        jaxpr: the code.
        function: the function as given.
        kept: objects that `key` knows by address.
    """

    key: tuple[Any, ...]
    jaxpr: core.Jaxpr
    function: Callable[[Any], Any]
    kept: tuple[Any, ...]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LossCode) and self.key == other.key

    def __hash__(self) -> int:
        return hash(self.key)


class TracedLoss(eqx.Module):
    r"""$f(z)$ as a program, for one shape of $z$.

    Arrays that the function closes over are leaves of the pytree, so that a program compiled for one data set serves
    another; numbers are part of the code.
    """

    constants: tuple[Any, ...]
    code: LossCode = eqx.field(static=True)

    def __call__(self, z: Any) -> jax.Array:
        """The value $f(z)$. Jit-compatible; derivatives are those that JAX has for the function."""
        shape, dtype = self.code.key[:2]
        z = jnp.asarray(z)
        if z.shape != shape:
            raise ValueError(f"Argument `z` of this loss must have shape {shape}, but has shape {z.shape}.")
        closed = core.ClosedJaxpr(self.code.jaxpr, list(self.constants))
        return core.jaxpr_as_fun(closed)(z.astype(dtype))[0]

    @property
    def function(self) -> Callable[[Any], Any]:
        """The loss as it was given."""
        return self.code.function

    @property
    def conventions(self) -> str:
        """The factors in words, if the function tells them."""
        return str(getattr(self.code.function, "conventions", "loss f(z) as given"))

    def __repr__(self) -> str:
        return f"TracedLoss({getattr(self.function, '__name__', type(self.function).__name__)})"


def traced_loss(loss: Callable[[Any], Any], shape: tuple[int, ...]) -> Callable[[Any], Any]:
    """A loss for $z$ of this shape, checked: a function as a `TracedLoss`, a module as it is.

    Raises:
        ValueError: the loss fails on such a $z$, is no scalar, or does not stay in the float type of JAX's mode.
    """
    if isinstance(loss, TracedLoss) and loss.code.key[0] == tuple(shape):
        return loss
    given = loss.function if isinstance(loss, TracedLoss) else loss
    dtype = jnp.result_type(float)
    struct = jax.ShapeDtypeStruct(tuple(shape), dtype)
    try:
        closed, value = jax.make_jaxpr(lambda z: given(z), return_shape=True)(struct)
    except Exception as error:
        error.add_note(f"(while evaluating `loss` on a z of shape {tuple(shape)})")
        raise
    if getattr(value, "shape", None) != ():
        raise ValueError(
            f"Argument `loss` must map z of shape {tuple(shape)} to a scalar, but gives {value}."
        )
    if value.dtype != dtype:
        raise ValueError(
            f"Argument `loss` must keep the precision of z ({dtype}), but returns {value.dtype}."
        )
    if isinstance(given, AbstractLoss):
        return given
    if dtype == jnp.float64 and (lossy := lossy_conversion(closed, [True], "loss")) is not None:
        raise lossy
    # A module carries its data as leaves already; a loss that knows its logarithm must keep that.
    if isinstance(given, eqx.Module) or hasattr(given, "log_value"):
        return given
    # A custom derivative may close over arrays of its own: then the values of all arrays are part of the code as well.
    code, kept, _ = digest(closed, lambda: jax.make_jaxpr(jax.grad(given))(struct), constants=False)
    # With their types given, arrays lose weak types, which would make two programs of one.
    constants = tuple(jnp.asarray(const, const.dtype) for const in closed.consts)
    return TracedLoss(constants, LossCode((tuple(shape), dtype, code), closed.jaxpr, given, kept))
