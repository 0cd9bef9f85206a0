"""Primitives of arithmetic, entry by entry: sums, products, quotients and integer powers."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ..builder import Entry
from ..float_fractions import exact_array
from .registry import Walker, rule


@rule("add add_any")
def _add(interpreter, eqn, inputs):
    return [interpreter.builder.add(*inputs, eqn.outvars[0].aval.shape)]


@rule("sub")
def _sub(interpreter, eqn, inputs):
    a, b = inputs
    return [interpreter.builder.add(a, interpreter.builder.neg(b), eqn.outvars[0].aval.shape)]


@rule("neg")
def _neg(interpreter, eqn, inputs):
    return [interpreter.builder.neg(inputs[0])]


@rule("mul")
def _mul(interpreter, eqn, inputs):
    return [interpreter.builder.mul(*inputs, eqn.outvars[0].aval.shape)]


@rule("div")
def _div(interpreter, eqn, inputs):
    numerator, denominator = inputs
    shape = eqn.outvars[0].aval.shape
    if isinstance(denominator, Entry):
        return [interpreter.builder.mul(numerator, interpreter.builder.reciprocal(denominator), shape)]
    # The reciprocal is taken of the exact fraction: 1/3 in floats is a different number.
    fractions = exact_array(np.asarray(denominator))
    if any(entry == 0 for entry in fractions.ravel()):
        raise interpreter.refusal("φ divides by zero")
    reciprocals = np.frompyfunc(lambda entry: 1 / entry, 1, 1)(fractions)
    return [interpreter.builder.mul(numerator, np.asarray(reciprocals, dtype=object), shape)]


@rule("square")
def _square(interpreter, eqn, inputs):
    return [interpreter.builder.power(inputs[0], 2)]


@rule("one_minus_square")
def _one_minus_square(interpreter, eqn, inputs):
    builder, shape = interpreter.builder, inputs[0].shape
    return [builder.add(np.ones(()), builder.neg(builder.power(inputs[0], 2)), shape)]


@rule("polynomial")
def _polynomial(interpreter, eqn, inputs):
    """Horner's rule; coefficients from the constant term upwards."""
    x, *coefficients = inputs
    shape = eqn.outvars[0].aval.shape
    value = interpreter.builder.broadcast(coefficients[-1], shape)
    for coefficient in reversed(coefficients[:-1]):
        value = interpreter.builder.add(interpreter.builder.mul(value, x, shape), coefficient, shape)
    return [value]


@rule("integer_pow")
def _integer_pow(interpreter, eqn, inputs):
    return [_power(interpreter, inputs[0], int(eqn.params["y"]))]


@rule("pow")
def _pow(interpreter, eqn, inputs):
    base, exponent = inputs
    if isinstance(exponent, Entry):
        raise interpreter.refusal()
    exponents = np.asarray(exponent, dtype=np.float64)
    if not np.all(exponents == np.floor(exponents)):
        raise interpreter.refusal()
    shape = eqn.outvars[0].aval.shape
    exponents = np.broadcast_to(exponents, shape)
    distinct, which = np.unique(exponents, return_inverse=True)
    powers = [_power(interpreter, base, int(n)) for n in distinct]
    size = math.prod(shape)
    positions = which.reshape(shape) * size + np.arange(size).reshape(shape)
    return [interpreter.builder.take(powers, positions) if size else base]


def _power(interpreter: Walker, base: Any, exponent: int) -> Any:
    # JAX writes the derivative of x ** n as n * x ** (n - 1) even for n = 0; of that reciprocal nothing survives.
    if exponent < 0:
        return interpreter.builder.power(interpreter.builder.reciprocal(base), -exponent)
    return interpreter.builder.power(base, exponent)


@rule("convert_element_type")
def _convert(interpreter, eqn, inputs):
    if eqn.params["new_dtype"] != np.float64:
        raise interpreter.refusal()
    return [inputs[0]]
