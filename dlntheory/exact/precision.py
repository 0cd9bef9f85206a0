"""Where a program loses digits: float64 values that depend on the inputs and are rounded to a shorter type."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax.numpy as jnp
from jax.extend import core

from .._errors import UnsupportedPrimitiveError
from .nested import nested_jaxpr
from .unsupported import source_line


def lossy_conversion(
    closed: Any, depends: Sequence[bool], argument: str = "phi"
) -> UnsupportedPrimitiveError | None:
    """The error for the first equation that shortens a float that depends on the inputs, or `None`.

    Args:
        closed: a jaxpr.
        depends: for each input whether it counts.
        argument: what the message calls the function.
    """
    found = _first(getattr(closed, "jaxpr", closed), depends)
    if found is None:
        return None
    primitive, location = found[0].primitive.name, source_line(found[0]) or "unknown line"
    return UnsupportedPrimitiveError(
        f"Argument `{argument}` must stay in float64, but `{primitive}` at {location} makes {found[1]} of it. "
        f"Remove the "
        "conversion: in a shorter type an integration takes many more steps and loses its digits without a word.",
        primitive=primitive,
        location=location,
    )


def _first(jaxpr: Any, depends: Sequence[bool]) -> tuple[Any, Any] | None:
    known = {variable for variable, flag in zip(jaxpr.invars, depends, strict=True) if flag}
    for eqn in jaxpr.eqns:
        flags = [not isinstance(atom, core.Literal) and atom in known for atom in eqn.invars]
        if not any(flags):
            continue
        inner = nested_jaxpr(eqn)
        if inner is not None:
            found = _first(getattr(inner, "jaxpr", inner), flags)
            if found is not None:
                # The line of the call is the one in the user's function.
                return (eqn, found[1]) if source_line(eqn) else found
        wide = any(
            flag and atom.aval.dtype == jnp.float64 for flag, atom in zip(flags, eqn.invars, strict=True)
        )
        for variable in eqn.outvars:
            dtype = getattr(variable.aval, "dtype", None)
            if wide and dtype is not None and jnp.issubdtype(dtype, jnp.floating) and dtype != jnp.float64:
                return eqn, dtype
        known.update(eqn.outvars)
    return None
