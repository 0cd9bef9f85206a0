r"""What a jaxpr computes as a few bytes: programs with equal bytes are the same function.

A printed jaxpr will not do: it holds the names of functions, the numbers of variables and, for some parameters,
addresses in memory. Here the equations that serve an output are written into a hash, variables by the order in
which they appear, parameters by value, constants by their bytes, nested jaxprs likewise. Names, source lines and
layouts are left out.

A custom derivative is a Python function and has no bytes. Where a program holds one, the program of its
vector-Jacobian product is written as well, in which JAX has already replaced the function by what it does.
"""

from __future__ import annotations

import enum
import hashlib
import itertools
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

# They change how a program is called, compiled or printed, and not what it computes.
_IGNORED = (
    "name ctx_mesh compiler_options_kvs inline keep_unused donated_invars debug_info out_trees in_layouts out_layouts "
    "in_shardings out_shardings policy prevent_cse weak_type"
)


class Digest(NamedTuple):
    """What stands for a program.

    Attributes:
        code: 32 bytes.
        kept: objects that the bytes know by address alone: whoever keeps the bytes must keep these too.
        holds_functions: whether the program has custom derivatives, which may hold constants of their own.
    """

    code: bytes
    kept: tuple[Any, ...]
    holds_functions: bool


def digest(
    closed: core.ClosedJaxpr, derivative: Callable[[], core.ClosedJaxpr], *, constants: bool = True
) -> Digest:
    """The `Digest` of what a program and its derivative compute.

    Args:
        closed: the program.
        derivative: makes the program of its vector-Jacobian product; called only where `closed` holds functions.
        constants: whether the values of the constants count, or only their types. They always do where the program
            holds functions.
    """
    writer = _Writer()
    writer.closed(closed, constants)
    if not writer.functions:
        return Digest(writer.hash.digest(), tuple(writer.kept), False)
    writer = _Writer()
    writer.closed(closed)
    writer.functions = []
    writer.closed(derivative())
    # What is left are custom derivatives of custom derivatives: only the same objects are equal.
    writer.identify(writer.functions)
    return Digest(writer.hash.digest(), tuple(writer.kept), True)


class _Writer:
    """Writes programs into a hash."""

    def __init__(self):
        self.hash = hashlib.blake2b(digest_size=32)
        self.functions: list[Any] = []
        self.kept: list[Any] = []

    def text(self, *parts: Any) -> None:
        for part in parts:
            data = str(part).encode()
            self.hash.update(f"{len(data)}:".encode() + data)

    def identify(self, things: list[Any]) -> None:
        """Write the addresses of things that have no better description."""
        for thing in things:
            self.text("object", id(thing))
            self.kept.append(thing)

    def closed(self, closed: Any, constants: bool = True) -> None:
        jaxpr, consts = getattr(closed, "jaxpr", closed), getattr(closed, "consts", ())
        numbers: dict[Any, int] = {}
        counter = itertools.count()

        def define(variables: Any) -> None:
            for variable in variables:
                numbers[variable] = next(counter)
                self.text(_type(variable.aval))

        def use(atom: Any) -> None:
            if isinstance(atom, core.Literal):
                self.text("literal", _type(atom.aval))
                self.value(atom.val)
            else:
                self.text(numbers[atom])

        self.text("jaxpr", len(jaxpr.constvars), len(jaxpr.invars))
        define(jaxpr.constvars)
        if constants:
            for const in consts:
                self.value(const)
        define(jaxpr.invars)
        for eqn in _live(jaxpr):
            if eqn.primitive.name == "convert_element_type":
                (source,), (target,) = eqn.invars, eqn.outvars
                if source.aval.dtype == target.aval.dtype and not isinstance(source, core.Literal):
                    # It only drops a weak type.
                    numbers[target] = numbers[source]
                    continue
            self.text(eqn.primitive.name)
            for atom in eqn.invars:
                use(atom)
            for key in sorted(eqn.params):
                if key not in _IGNORED.split():
                    self.text(key)
                    self.value(eqn.params[key])
            define(eqn.outvars)
        self.text("outputs")
        for atom in jaxpr.outvars:
            use(atom)

    def value(self, value: Any) -> None:
        """A parameter of an equation, or a constant."""
        if value is None or isinstance(value, (bool, int, float, complex, str, bytes, enum.Enum, np.dtype)):
            self.text(type(value).__name__, repr(value))
        elif isinstance(value, (tuple, list)):
            self.text("sequence", len(value))
            for item in value:
                self.value(item)
        elif isinstance(value, Mapping):
            self.text("mapping", len(value))
            for key in sorted(value, key=str):
                self.text(key)
                self.value(value[key])
        elif isinstance(value, (core.ClosedJaxpr, core.Jaxpr)):
            self.closed(value)
        elif isinstance(value, jax.core.Tracer):  # pyright: ignore[reportAttributeAccessIssue]
            self.identify([value])
        elif hasattr(value, "dtype") and hasattr(value, "shape"):
            self.array(value)
        elif callable(value) or type(value).__name__ == "WrappedFun":
            self.text("function")
            self.functions.append(value)
        else:
            text = repr(value)
            self.text(type(value).__name__)
            if " at 0x" in text:
                self.identify([value])
            else:
                self.text(text)

    def array(self, value: Any) -> None:
        self.text("array", value.dtype, tuple(value.shape))
        if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
            value = jax.random.key_data(value)
        self.hash.update(np.ascontiguousarray(np.asarray(value)).tobytes())


def _type(aval: Any) -> str:
    # Weak types are left out: they decide about promotions, which a jaxpr spells out.
    return f"{getattr(aval, 'dtype', aval)}{getattr(aval, 'shape', '')}"


def _live(jaxpr: Any) -> list[Any]:
    """The equations that an output needs. Derivatives leave many that none does."""
    needed = {atom for atom in jaxpr.outvars if not isinstance(atom, core.Literal)}
    kept = []
    for eqn in reversed(jaxpr.eqns):
        if eqn.effects or not needed.isdisjoint(eqn.outvars):
            needed.update(atom for atom in eqn.invars if not isinstance(atom, core.Literal))
            kept.append(eqn)
    return kept[::-1]
