"""`TracedLoss`: a loss given as a plain function, traced once; its constants are data and its code is a value."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from ..exact.function_code import FunctionCode, checked_program, code_and_constants


class TracedLoss(eqx.Module):
    r"""$f(z)$ as a program, for one shape of $z$.

    Arrays that the function closes over are leaves of the pytree, so that a program compiled for one data set serves
    another; numbers are part of the code.
    """

    constants: tuple[Any, ...]
    code: FunctionCode = eqx.field(static=True)

    def __call__(self, z: Any) -> jax.Array:
        """The value $f(z)$. Jit-compatible; derivatives are those that JAX has for the function."""
        z = jnp.asarray(z)
        if z.shape != self.code.shape:
            raise ValueError(
                f"Argument `z` of this loss must have shape {self.code.shape}, but has shape {z.shape}."
            )
        return self.code(self.constants, z.astype(self.code.dtype))

    @property
    def function(self) -> Callable[[Any], Any]:
        """The loss as it was given."""
        return self.code.function

    @property
    def conventions(self) -> str:
        """The factors in words, if the function tells them."""
        return str(getattr(self.function, "conventions", "loss f(z) as given"))

    def __repr__(self) -> str:
        return f"TracedLoss({getattr(self.function, '__name__', type(self.function).__name__)})"


def traced_loss(loss: Callable[[Any], Any], shape: tuple[int, ...]) -> Any:
    """A loss for $z$ of this shape, checked: a function as a `TracedLoss`, a module as it is.

    Raises:
        ValueError: the loss fails on such a $z$, is no scalar, or does not stay in the float type of JAX's mode.
    """
    shape = tuple(shape)
    if isinstance(loss, TracedLoss) and loss.code.shape == shape:
        return loss
    given = loss.function if isinstance(loss, TracedLoss) else loss
    program = checked_program(given, shape, "loss")
    # A module carries its data as leaves already; a loss that knows its logarithm must keep that.
    if isinstance(given, eqx.Module) or hasattr(given, "log_value"):
        return given
    code, constants = code_and_constants(given, shape, program)
    return TracedLoss(constants, code)
