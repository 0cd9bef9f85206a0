"""Primitives that move entries: reshapes, slices, gathers, scatters, selections by constants.

They have one rule in common: JAX itself runs them on an array of positions, and the result says where each entry comes
from.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax.numpy as jnp
import numpy as np
from jax import lax

from ..builder import Entry
from .registry import RULES, Rule, rule

# They move entries and nothing else, so that they may be run on positions. `name`, `copy` and the like move
# none.
_STRUCTURAL = (
    "dynamic_slice rev pad concatenate split select_n dynamic_update_slice "
    "scatter tile stack unstack stop_gradient copy copy_p optimization_barrier device_put "
    "sharding_constraint reshard pvary pcast name"
)
_RESHAPES = "reshape squeeze expand_dims"


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
