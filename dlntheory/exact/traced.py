"""`TracedMap`: a function of named arrays, traced once; a value that is equal to every other tracing of the same
code."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .._precision import is_float64_enabled
from .canonical import digest
from .interpreter import trace
from .precision import lossy_conversion
from .program import Program


class TracedMap:
    r"""$z = \varphi(\theta)$ as a program: the jaxpr of a function of a dict of arrays, with its constants.

    The function runs once, in float64 whatever the mode of JAX, and never again in float64: what it closes over is
    read then, and arrays are copied. Two maps are equal if their names, shapes and code with its constants and
    derivatives are (see `canonical`), so that whatever is compiled or derived for one serves the other.

    Args:
        function: maps a dict of named arrays to one array.
        shapes: name of each array and its shape.

    Attributes:
        shapes: as given.
        jaxpr: the program, a closed jaxpr of the arrays in the order of `shapes`.
        output_shape: the shape of $z$.

    Raises:
        ValueError: the function returns no array, an empty one, or one that is not float64.
        UnsupportedPrimitiveError: somewhere inside, parameters are rounded to a shorter type.
    """

    def __init__(self, function: Callable[[dict[str, Any]], Any], shapes: Mapping[str, tuple[int, ...]]):
        self.function = function
        self.shapes = dict(shapes)
        with jax.enable_x64(True):
            closed, output = self._traced(jnp.float64)
        self.output_shape = _checked_output(output)
        self.jaxpr = core.ClosedJaxpr(closed.jaxpr, [_own(const) for const in closed.consts])
        if (lossy := lossy_conversion(self.jaxpr, [True] * len(self.shapes))) is not None:
            raise lossy
        with jax.enable_x64(True):
            code, self._kept, _ = digest(self.jaxpr, self._vjp_jaxpr)
        self._key = (code, tuple(self.shapes.items()))

    def __call__(self, params: Mapping[str, Any]) -> jax.Array:
        """$z$ at a dict of arrays. Jit-compatible; derivatives are those that JAX has for the function."""
        dtype = jnp.float64 if is_float64_enabled() else jnp.float32
        arrays = [_array(params[name], name, shape, dtype) for name, shape in self.shapes.items()]
        program = self.jaxpr if dtype == jnp.float64 else self._in_float32
        return core.jaxpr_as_fun(program)(*arrays)[0]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, TracedMap) and self._key == other._key

    def __hash__(self) -> int:
        return hash(self._key)

    @functools.cached_property
    def program(self) -> Program:
        """The value of φ as a program over rings; see `read_program` before you differentiate it.

        Raises:
            UnsupportedPrimitiveError: φ is neither polynomial nor rational.
        """
        return trace(lambda params: self(params), self.structs())

    @functools.cached_property
    def vjp_program(self) -> Program:
        r"""The program of $(\theta, c) \mapsto \partial\varphi(\theta)^\top c$, factor by factor, as JAX
        differentiates φ.

        Raises:
            UnsupportedPrimitiveError: the derivative is neither polynomial nor rational.
        """
        cotangent = jax.ShapeDtypeStruct(self.output_shape, np.float64)
        return trace(lambda params, c: jax.vjp(self, params)[1](c)[0], self.structs(), cotangent)

    def structs(self) -> dict[str, Any]:
        """The shapes as JAX wants them for tracing, in float64."""
        return {name: jax.ShapeDtypeStruct(shape, np.float64) for name, shape in self.shapes.items()}

    @functools.cached_property
    def _in_float32(self) -> Any:
        """The program for JAX's float32 mode. It is traced anew: constants and types inside may differ."""
        return self._traced(jnp.float32)[0]

    def _traced(self, dtype: Any) -> tuple[Any, Any]:
        names = list(self.shapes)
        structs = [jax.ShapeDtypeStruct(shape, dtype) for shape in self.shapes.values()]

        def flat(*arrays: Any) -> Any:
            return self.function(dict(zip(names, arrays, strict=True)))

        try:
            return jax.make_jaxpr(flat, return_shape=True)(*structs)
        except Exception as error:
            error.add_note(f"(while evaluating `phi` on factors of shapes {self.shapes})")
            raise

    def _vjp_jaxpr(self) -> Any:
        cotangent = jax.ShapeDtypeStruct(self.output_shape, np.float64)
        return jax.make_jaxpr(lambda params, c: jax.vjp(self, params)[1](c)[0])(self.structs(), cotangent)


def traced_map(phi: Callable[[dict[str, Any]], Any], shapes: Mapping[str, Any] | None = None) -> TracedMap:
    """The `TracedMap` of an architecture, or of a plain function with the shapes of its arrays."""
    traced = getattr(phi, "traced", phi)
    if isinstance(traced, TracedMap):
        return traced
    if shapes is None:
        raise ValueError("Argument `shapes` must be given with a plain function, but is missing.")
    return TracedMap(phi, {name: tuple(map(int, shape)) for name, shape in shapes.items()})


def _checked_output(output: Any) -> tuple[int, ...]:
    if not isinstance(output, jax.ShapeDtypeStruct):
        raise ValueError(f"Argument `phi` must return one array, but returns {type(output).__name__}.")
    if output.dtype != np.float64:
        raise ValueError(
            f"Argument `phi` must keep the precision of its input (float64), but returns {output.dtype}."
        )
    if 0 in output.shape:
        raise ValueError(f"Argument `phi` must return a non-empty array, but returns shape {output.shape}.")
    return tuple(output.shape)


def _own(const: Any) -> Any:
    """A constant that nobody else can change. JAX arrays are immutable; NumPy arrays are copied."""
    if isinstance(const, jax.Array):
        return const
    return np.array(const)


def _array(value: Any, name: str, shape: tuple[int, ...], dtype: Any) -> Any:
    if not isinstance(value, (jax.Array, np.ndarray)):
        value = np.asarray(value)
    if value.shape != shape:
        raise ValueError(
            f"Argument `params['{name}']` must have shape {shape}, but has shape {value.shape}; map over a batch "
            f"with "
            "`jax.vmap`."
        )
    return value if value.dtype == dtype else jnp.asarray(value, dtype)
