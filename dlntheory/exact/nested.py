"""Calls inside a jaxpr: which equations stand for another jaxpr."""

from __future__ import annotations

from typing import Any


def nested_jaxpr(eqn: Any) -> Any:
    """The jaxpr that a call (`jit`, `custom_jvp_call`, `checkpoint`, …) stands for; `None` if it is no call.

    Calls are known by what they carry and not by name, since the names change between JAX versions: one jaxpr
    with the operands of the equation as inputs and its results as outputs.
    """
    for key in ("jaxpr", "call_jaxpr", "fun_jaxpr"):
        closed = eqn.params.get(key)
        jaxpr = getattr(closed, "jaxpr", closed)
        if jaxpr is None or not hasattr(jaxpr, "eqns"):
            continue
        same_inputs = _types(jaxpr.invars) == _types(eqn.invars)
        if same_inputs and _types(jaxpr.outvars) == _types(eqn.outvars):
            return closed
    return None


def _types(variables: Any) -> list[Any]:
    return [(getattr(v.aval, "shape", None), getattr(v.aval, "dtype", None)) for v in variables]
