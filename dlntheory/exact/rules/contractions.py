"""Primitives that add up or multiply along axes: sums, products, running ones, matrix products and convolutions."""

from __future__ import annotations

import functools
import math

import jax.numpy as jnp
import numpy as np
from jax import lax

from .registry import rule


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
