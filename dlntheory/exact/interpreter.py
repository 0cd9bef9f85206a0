"""From a JAX function to a `Program` over any ring: the one place where jaxprs are walked."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .._errors import UnsupportedPrimitiveError
from . import rules
from .builder import Builder, Entry
from .float_fractions import NotFiniteError
from .nested import nested_jaxpr
from .program import Program
from .rings.base import AbstractRing
from .rules.registry import RULES
from .unsupported import refusal

for _module in pkgutil.iter_modules(rules.__path__):
    importlib.import_module(f"{rules.__name__}.{_module.name}")

# Calls with concrete operands are opened too, so that only plain equations are handed to JAX.
_NOT_CALLS = ("scan", "while", "cond", "reduce", "reduce_window")


def trace(fn: Callable[..., Any], *examples: Any) -> Program:
    """The straight-line program of a polynomial or rational JAX function, ready to be evaluated over any ring.

    Derivatives taken by `jax.jvp`, `jax.vjp` or `jax.grad` inside `fn` are maps like any other.
    Whatever does not depend on the arguments is computed by JAX in float64, and a float constant that meets
    an argument is read as the simplest fraction that rounds to it. Loops of static length are unrolled. Not
    jit-compatible, and independent of JAX's float32 or float64 mode.

    Args:
        fn: maps pytrees of float arrays to a pytree of arrays, by sums, products and quotients of them.
        *examples: pytrees of `jax.ShapeDtypeStruct` or arrays, in float64; only their shapes matter.

    Raises:
        UnsupportedPrimitiveError: an operation is not rational; the message names it, its line and a way
            out.
        ValueError: an example is not float64, or a constant that meets an argument is not finite.

    Validity:
        Exact for the rational map that `fn` denotes with its constants so read. Arithmetic among constants
        happens in floats first: `0.1 + 0.2` is read as 0.30000000000000004. Pass such numbers as arguments to
        keep them exact.

    Example:
        >>> from dlntheory.exact import Rationals
        >>> program = trace(lambda x: x * (x - 0.1), jax.ShapeDtypeStruct((), "float64"))
        >>> print(program.evaluate(Rationals(), Rationals().constant(1)))
        9/10
    """
    leaves, input_tree = jax.tree_util.tree_flatten(examples)
    for leaf in leaves:
        if getattr(leaf, "dtype", None) != np.float64:
            raise ValueError(f"Argument `examples` must hold float64 arrays, but holds {leaf!r}.")
    interpreter = Interpreter([leaf.shape for leaf in leaves])
    with jax.enable_x64(True):
        closed, output = jax.make_jaxpr(fn, return_shape=True)(*examples)
    output_tree = jax.tree_util.tree_structure(output)
    # Concrete equations are to be computed now, even when the caller is being traced, and in float64 in any mode of
    # JAX.
    with jax.enable_x64(True), jax.ensure_compile_time_eval():
        results = interpreter.run(closed, interpreter.builder.inputs)
        outputs = tuple(interpreter.builder.entry(result).slot for result in results)
    shapes = tuple(leaf.shape for leaf in leaves)
    return Program(tuple(interpreter.builder.instructions), shapes, outputs, input_tree, output_tree)


def interpret(fn: Callable[..., Any], ring: AbstractRing, *arguments: Any) -> Any:
    """`fn` at a point of a ring: `trace` at the shapes of the arguments, then `Program.evaluate`.

    Args:
        fn: a polynomial or rational JAX function of pytrees of arrays.
        ring: where to compute.
        *arguments: pytrees of arrays of the ring.

    Returns:
        A pytree of arrays of the ring. Raises what `trace` raises.
    """
    examples = jax.tree_util.tree_map(
        lambda leaf: jax.ShapeDtypeStruct(ring.shape(leaf), jnp.float64), arguments
    )
    return trace(fn, *examples).evaluate(ring, *arguments)


class Interpreter:
    """Walks a jaxpr and leaves a program in its `builder`.

    Values are concrete arrays, or `Entry` where they depend on the arguments. Equations without an `Entry` go
    to JAX; the others to the rule of their primitive.
    """

    def __init__(self, input_shapes: list[tuple[int, ...]]):
        self.builder = Builder(input_shapes)
        self._stack: list[core.JaxprEqn] = []

    def run(self, closed: Any, inputs: list[Any]) -> list[Any]:
        """The outputs of a jaxpr, closed or without constants."""
        jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        values = dict(zip(jaxpr.constvars, consts, strict=True))
        values.update(zip(jaxpr.invars, inputs, strict=True))

        def read(atom: Any) -> Any:
            return atom.val if isinstance(atom, core.Literal) else values[atom]

        for eqn in jaxpr.eqns:
            self._stack.append(eqn)
            try:
                outputs = self._apply(eqn, [read(atom) for atom in eqn.invars])
            finally:
                self._stack.pop()
            values.update(zip(eqn.outvars, outputs, strict=True))
        return [read(atom) for atom in jaxpr.outvars]

    def bind(self, eqn: Any, operands: list[Any], **changes: Any) -> list[Any]:
        """What JAX makes of concrete operands, with parameters of the equation changed."""
        outputs = eqn.primitive.bind(*operands, **{**eqn.params, **changes})
        return list(outputs) if eqn.primitive.multiple_results else [outputs]

    def refusal(self, hint: str | None = None) -> UnsupportedPrimitiveError:
        """The error for the equation at hand."""
        return refusal(self._stack, hint)

    def _apply(self, eqn: Any, inputs: list[Any]) -> list[Any]:
        name = eqn.primitive.name
        inner = None if name in _NOT_CALLS else nested_jaxpr(eqn)
        if inner is not None:
            return self.run(inner, inputs)
        if not any(isinstance(value, Entry) for value in inputs):
            return self.bind(eqn, inputs)
        if name not in RULES:
            raise self.refusal()
        try:
            return RULES[name](self, eqn, inputs)
        except NotFiniteError as error:
            raise self.refusal("a constant that meets parameters must be finite") from error
