"""What each JAX primitive means over a ring.

Primitives that only move entries have one rule in common: JAX itself runs them on an array of positions, and
the result says where each entry comes from. Linear and polynomial ones are composed from the few operations
of `AbstractRing`, rational ones with `reciprocal`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..builder import Entry
from ..float_fractions import exact_array

if TYPE_CHECKING:
    from ..interpreter import Interpreter

Rule = Callable[["Interpreter", Any, list[Any]], list[Any]]
RULES: dict[str, Rule] = {}

# They move entries and nothing else, so that they may be run on positions. `name`, `copy` and the like move
# none.
_STRUCTURAL = (
    "dynamic_slice rev pad concatenate split select_n dynamic_update_slice "
    "scatter tile stack unstack stop_gradient copy copy_p optimization_barrier device_put "
    "sharding_constraint reshard pvary pcast name"
)
_RESHAPES = "reshape squeeze expand_dims"


def rule(names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for primitives, given by their names with spaces in between."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names.split(), function))
        return function

    return register


@rule(_RESHAPES)
def _reshape(interpreter, eqn, inputs):
    if eqn.params.get("dimensions") is not None:
        return _structural(interpreter, eqn, inputs)
    return [interpreter.builder.reshape(inputs[0], eqn.outvars[0].aval.shape)]


@rule(_STRUCTURAL)
def _structural(interpreter, eqn, inputs):
    """Float operands are data and give way to positions; integers and booleans say what goes where."""
    sources, operands, start = [], [], 0
    for variable, value in zip(eqn.invars, inputs, strict=True):
        if not jnp.issubdtype(variable.aval.dtype, jnp.floating):
            operands.append(value)
            continue
        size, shape = math.prod(variable.aval.shape), variable.aval.shape
        # float64 like the data, since some primitives carry the type in their parameters; exact up to 2**53.
        operands.append(jnp.arange(start, start + size, dtype=jnp.float64).reshape(shape))
        sources.append(value)
        start += size
    outputs = interpreter.bind(eqn, operands)
    return [interpreter.builder.take(sources, np.asarray(output).astype(np.int64)) for output in outputs]


def _with_numpy(move: Callable[..., np.ndarray]) -> Rule:
    """The commonest moves of one array, in NumPy: JAX would compile a program for every shape."""

    def apply(interpreter, eqn, inputs):
        return [interpreter.builder.rearrange(inputs[0], lambda x: move(x, **eqn.params))]

    return apply


def _broadcast_in_dim(x, *, shape, broadcast_dimensions, **_):
    places = [1] * len(shape)
    for axis, target in enumerate(broadcast_dimensions):
        places[target] = x.shape[axis]
    return np.broadcast_to(x.reshape(places), shape)


def _slice(x, *, start_indices, limit_indices, strides, **_):
    return x[tuple(map(slice, start_indices, limit_indices, strides or (1,) * x.ndim))]


RULES["transpose"] = _with_numpy(lambda x, *, permutation, **_: x.transpose(permutation))
RULES["broadcast_in_dim"] = _with_numpy(_broadcast_in_dim)
RULES["slice"] = _with_numpy(_slice)


@rule("gather")
def _gather(interpreter, eqn, inputs):
    operand, indices = inputs
    if isinstance(indices, Entry):
        raise interpreter.refusal("indices must not depend on parameters")
    positions = np.arange(math.prod(operand.shape), dtype=np.float64).reshape(operand.shape)
    # NaN marks what lies outside, where the mode of the gather asks for a fill value.
    (found,) = interpreter.bind(eqn, [jnp.asarray(positions), indices], fill_value=np.nan)
    found = np.asarray(found)
    outside = np.isnan(found)
    if not outside.any():
        return [interpreter.builder.take([operand], found.astype(np.int64))]
    fill = eqn.params.get("fill_value")
    fill = np.full((), np.nan if fill is None else fill, dtype=np.float64)
    return [
        interpreter.builder.take([operand, fill], np.where(outside, positions.size, found).astype(np.int64))
    ]


@rule("scatter-add scatter_add scatter-sub scatter_sub scatter-mul scatter_mul")
def _scatter_combine(interpreter, eqn, inputs):
    """Entries that meet at one place are collected in rows of a table, padded by the neutral element."""
    builder = interpreter.builder
    operand, indices, updates = inputs
    if isinstance(indices, Entry):
        raise interpreter.refusal("indices must not depend on parameters")
    operand_shape, updates_shape = (eqn.invars[i].aval.shape for i in (0, 2))
    targets = _scatter_targets(eqn.params, operand_shape, indices, updates_shape).ravel()
    order = np.argsort(targets, kind="stable")
    order = order[targets[order] >= 0]
    sorted_targets = targets[order]
    size = math.prod(operand_shape)
    counts = np.bincount(sorted_targets, minlength=size)
    row = np.arange(len(order)) - np.searchsorted(sorted_targets, sorted_targets)
    table = np.full((counts.max(initial=0), size), -1)
    table[row, sorted_targets] = order
    table = table.reshape(-1, *operand_shape)
    kind = eqn.primitive.name.replace("_", "-")
    if kind == "scatter-mul":
        result = operand
        for positions in table:
            factor = builder.take(
                [updates, np.ones(())], np.where(positions < 0, math.prod(updates_shape), positions)
            )
            result = builder.mul(result, factor, operand_shape)
        return [result]
    total = builder.sum_of_entries(updates, table)
    return [builder.add(operand, total if kind == "scatter-add" else builder.neg(total), operand_shape)]


def _scatter_targets(params, operand_shape, indices, updates_shape) -> np.ndarray:
    """Where each update goes, -1 if nowhere: the gather whose transpose the scatter is, run on positions."""
    dims = params["dimension_numbers"]
    window = [updates_shape[axis] for axis in dims.update_window_dims]
    absent = (*dims.inserted_window_dims, *dims.operand_batching_dims)
    slice_sizes = [1 if axis in absent else window.pop(0) for axis in range(len(operand_shape))]
    gather_dims = lax.GatherDimensionNumbers(
        offset_dims=dims.update_window_dims,
        collapsed_slice_dims=dims.inserted_window_dims,
        start_index_map=dims.scatter_dims_to_operand_dims,
        operand_batching_dims=dims.operand_batching_dims,
        start_indices_batching_dims=dims.scatter_indices_batching_dims,
    )
    positions = jnp.arange(math.prod(operand_shape)).reshape(operand_shape)
    targets = lax.gather(
        positions, jnp.asarray(indices), gather_dims, tuple(slice_sizes), mode=params["mode"], fill_value=-1
    )
    return np.asarray(targets).astype(np.int64)


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


def _power(interpreter: Interpreter, base: Any, exponent: int) -> Any:
    # JAX writes the derivative of x ** n as n * x ** (n - 1) even for n = 0; of that reciprocal nothing survives.
    if exponent < 0:
        return interpreter.builder.power(interpreter.builder.reciprocal(base), -exponent)
    return interpreter.builder.power(base, exponent)


@rule("convert_element_type")
def _convert(interpreter, eqn, inputs):
    if eqn.params["new_dtype"] != np.float64:
        raise interpreter.refusal()
    return [inputs[0]]


@rule("reduce_sum")
def _reduce_sum(interpreter, eqn, inputs):
    return [interpreter.builder.sum(inputs[0], eqn.params["axes"])]


@rule("reduce_prod")
def _reduce_prod(interpreter, eqn, inputs):
    axes = eqn.params["axes"]
    count = math.prod(inputs[0].shape[axis] for axis in axes)
    shape = eqn.outvars[0].aval.shape
    rows = interpreter.builder.rearrange(
        inputs[0], lambda x: np.moveaxis(x, axes, range(len(axes))).reshape(count, *shape)
    )
    factors = [interpreter.builder.row(rows, i) for i in range(count)]
    if not factors:
        return [interpreter.builder.entry(np.ones(shape))]
    return [functools.reduce(lambda a, b: interpreter.builder.mul(a, b, shape), factors)]


@rule("cumsum")
def _cumsum(interpreter, eqn, inputs):
    axis = eqn.params["axis"]

    def partial_sums(x):
        """Row k holds the k-th term of every partial sum along the axis, or -1."""
        x = np.moveaxis(x, axis, 0)
        n = len(x)
        inside = (
            np.tril(np.ones((n, n), bool)) if not eqn.params["reverse"] else np.triu(np.ones((n, n), bool))
        )
        terms = np.where(inside.T.reshape(n, n, *(1,) * (x.ndim - 1)), x[:, None], -1)
        return np.moveaxis(terms, 1, axis + 1)

    positions = np.arange(math.prod(inputs[0].shape)).reshape(inputs[0].shape)
    return [interpreter.builder.sum_of_entries(inputs[0], partial_sums(positions))]


@rule("cumprod")
def _cumprod(interpreter, eqn, inputs):
    axis, reverse = eqn.params["axis"], eqn.params["reverse"]
    rows = interpreter.builder.rearrange(inputs[0], lambda x: np.moveaxis(x, axis, 0))
    running = []
    for i in range(rows.shape[0]) if not reverse else reversed(range(rows.shape[0])):
        factor = interpreter.builder.row(rows, i)
        running.append(interpreter.builder.mul(running[-1], factor, rows.shape[1:]) if running else factor)
    if not running:
        return [inputs[0]]
    stacked = interpreter.builder.stack(running[::-1] if reverse else running)
    return [interpreter.builder.rearrange(stacked, lambda x: np.moveaxis(x, 0, axis))]


@rule("dot_general")
def _dot_general(interpreter, eqn, inputs):
    (contract_a, contract_b), (batch_a, batch_b) = eqn.params["dimension_numbers"]
    shape_a, shape_b = (variable.aval.shape for variable in eqn.invars)
    free_a = [axis for axis in range(len(shape_a)) if axis not in (*contract_a, *batch_a)]
    free_b = [axis for axis in range(len(shape_b)) if axis not in (*contract_b, *batch_b)]
    batch = math.prod(shape_a[axis] for axis in batch_a)
    k = math.prod(shape_a[axis] for axis in contract_a)
    m, n = math.prod(shape_a[axis] for axis in free_a), math.prod(shape_b[axis] for axis in free_b)
    builder = interpreter.builder
    a = builder.rearrange(
        inputs[0], lambda x: x.transpose(*batch_a, *free_a, *contract_a).reshape(batch, m, k)
    )
    b = builder.rearrange(
        inputs[1], lambda x: x.transpose(*batch_b, *contract_b, *free_b).reshape(batch, k, n)
    )
    return [builder.reshape(builder.matmul(a, b), eqn.outvars[0].aval.shape)]


@rule("conv_general_dilated")
def _convolution(interpreter, eqn, inputs):
    """A product of patches with filters; a convolution of positions with unit filters finds the patches."""
    params, builder = eqn.params, interpreter.builder
    dims, groups = params["dimension_numbers"], params["feature_group_count"]
    batch_groups = params["batch_group_count"]
    image = builder.rearrange(inputs[0], lambda x: x.transpose(dims.lhs_spec))
    kernel = builder.rearrange(inputs[1], lambda x: x.transpose(dims.rhs_spec))
    positions = np.arange(1, math.prod(image.shape) + 1, dtype=np.float64).reshape(image.shape)
    patches = lax.conv_general_dilated_patches(
        jnp.asarray(positions),
        filter_shape=kernel.shape[2:],
        window_strides=params["window_strides"],
        padding=params["padding"],
        lhs_dilation=params["lhs_dilation"],
        rhs_dilation=params["rhs_dilation"],
        precision=lax.Precision.HIGHEST,
    )
    # Position 0 is what the padding gives: zero.
    found = np.asarray(patches).astype(np.int64) - 1
    samples, spatial = found.shape[0] // batch_groups, found.shape[2:]
    count = groups * batch_groups
    # (group, samples and places, channels and taps of one group)
    found = found.reshape(batch_groups, samples, groups, -1, math.prod(spatial))
    found = found.transpose(0, 2, 1, 4, 3).reshape(count, samples * math.prod(spatial), -1)
    rows = builder.take([image, np.zeros(())], np.where(found < 0, positions.size, found))
    filters = builder.rearrange(
        kernel, lambda x: x.reshape(count, kernel.shape[0] // count, -1).transpose(0, 2, 1)
    )
    product = builder.matmul(rows, filters)

    def arrange(x):
        x = x.reshape(count, samples, math.prod(spatial), -1).transpose(1, 0, 3, 2)
        return x.reshape(samples, -1, *spatial).transpose(np.argsort(dims.out_spec))

    return [builder.rearrange(product, arrange)]
