"""Rules for primitives that hold other jaxprs: calls are inlined, loops unrolled, branches chosen."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..._errors import UnsupportedPrimitiveError
from ..builder import Entry
from .registry import rule


@rule("scan")
def _scan(interpreter, eqn, inputs):
    """Unrolled: the length is static, and the carry may change from concrete to symbolic on the way."""
    params, builder = eqn.params, interpreter.builder
    consts, carry, xs = _scan_operands(params, inputs)
    num_carry = len(carry)
    body, length = params["jaxpr"], params["length"]
    steps = range(length) if not params["reverse"] else reversed(range(length))
    collected: list[list[Any]] = []
    for step in steps:
        outputs = interpreter.run(body, [*consts, *carry, *(builder.row(x, step) for x in xs)])
        carry, ys = outputs[:num_carry], outputs[num_carry:]
        collected.append(ys)
    if params["reverse"]:
        collected.reverse()
    stacked = [builder.stack(list(column)) for column in zip(*collected, strict=True)]
    if not collected:
        stacked = [np.zeros(v.aval.shape, v.aval.dtype) for v in eqn.outvars[num_carry:]]
    return [*carry, *stacked]


def _scan_operands(params, inputs) -> tuple[list[Any], list[Any], list[Any]]:
    """Constants, first carry and sequences: told apart by counts, from JAX 0.11 on by a tree."""
    if "ft_in" in params:
        consts, carry, xs = map(list, params["ft_in"].update(inputs).unpack())
        return consts, carry, xs
    return _parts(inputs, params["num_consts"], params["num_carry"])


@rule("while")
def _while(interpreter, eqn, inputs):
    params = eqn.params
    cond_consts, body_consts, carry = _parts(inputs, params["cond_nconsts"], params["body_nconsts"])
    while _predicate(interpreter, params["cond_jaxpr"], [*cond_consts, *carry]):
        carry = interpreter.run(params["body_jaxpr"], [*body_consts, *carry])
    return carry


@rule("cond")
def _cond(interpreter, eqn, inputs):
    index, *operands = inputs
    if isinstance(index, Entry):
        raise interpreter.refusal()
    branches = eqn.params["branches"]
    return interpreter.run(branches[int(np.clip(int(index), 0, len(branches) - 1))], operands)


def _predicate(interpreter, jaxpr, inputs) -> bool:
    try:
        (proceed,) = interpreter.run(jaxpr, inputs)
    except UnsupportedPrimitiveError as error:
        raise interpreter.refusal() from error
    if isinstance(proceed, Entry):
        raise interpreter.refusal()
    return bool(proceed)


def _parts(values: list[Any], first: int, second: int) -> tuple[list[Any], list[Any], list[Any]]:
    return values[:first], values[first : first + second], values[first + second :]
