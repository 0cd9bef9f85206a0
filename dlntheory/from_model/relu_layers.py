r"""Plain ReLU networks recognised by what they compute: which factor is the weight or bias of which layer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ..families.relu import PathLifting

Shapes = Mapping[str, tuple[int, ...]]

#: Assignments of factors to layers that are tried; shapes leave only a few in practice.
MAX_ASSIGNMENTS = 2_000


@dataclasses.dataclass(frozen=True)
class ReluLayer:
    """One affine layer: `weight` of shape (out, in), or (in, out) if `transposed`; `bias` may be missing."""

    weight: str
    transposed: bool
    bias: str | None

    def matrix(self, params: Mapping[str, Any]):
        """The weight as (out, in)."""
        return params[self.weight].T if self.transposed else params[self.weight]


@dataclasses.dataclass(frozen=True)
class LayerPaths:
    """Path lifting of layers that need not have a bias each: products of weights along paths, one row an output."""

    layers: tuple[ReluLayer, ...]

    def __call__(self, params: Mapping[str, Any]):
        paths = None
        for layer in self.layers:
            matrix = layer.matrix(params)
            paths = (
                matrix if paths is None else jnp.reshape(matrix[:, :, None] * paths[None], (len(matrix), -1))
            )
            if layer.bias is not None:
                paths = jnp.concatenate([paths, params[layer.bias][:, None]], axis=1)
        return paths


def find_relu_layers(
    model: Callable[..., Any], shapes: Shapes, input_shape: tuple[int, ...]
) -> PathLifting | LayerPaths | None:
    """The path lifting of a model that is a plain ReLU network, else `None`.

    Every assignment of the factors to layers that fits the shapes is compared with the model at random points, so
    it does not matter how the model is written. A recognised network agrees to 1e-10 at 12 points of both signs.
    """
    if len(input_shape) != 1 or any(len(shape) not in (1, 2) for shape in shapes.values()):
        return None
    rng = np.random.default_rng(0)
    points = [
        (
            {name: rng.standard_normal(shape) for name, shape in shapes.items()},
            rng.standard_normal(input_shape),
        )
        for _ in range(12)
    ]
    values = [
        np.asarray(model({name: jnp.asarray(w) for name, w in params.items()}, jnp.asarray(x)))
        for params, x in points
    ]
    if values[0].ndim != 1:
        return None
    candidates = itertools.islice(_assignments(shapes, input_shape[0], len(values[0])), MAX_ASSIGNMENTS)
    for layers in candidates:
        if all(
            np.max(np.abs(_forward(layers, params, x) - value)) <= 1e-10 * (1.0 + np.max(np.abs(value)))
            for (params, x), value in zip(points, values, strict=True)
        ):
            return _lifting(layers)
    return None


def _forward(layers: tuple[ReluLayer, ...], params: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    for depth, layer in enumerate(layers):
        x = layer.matrix(params) @ x + (0.0 if layer.bias is None else params[layer.bias])
        if depth + 1 < len(layers):
            x = np.maximum(x, 0.0)
    return x


def _assignments(shapes: Shapes, inputs: int, outputs: int) -> Iterator[tuple[ReluLayer, ...]]:
    """Orders and orientations of the matrices that lead from inputs to outputs, with their biases."""
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    vectors = [name for name, shape in shapes.items() if len(shape) == 1]
    for order in itertools.permutations(matrices):
        for flips in itertools.product((False, True), repeat=len(order)):
            widths = [inputs]
            for name, flip in zip(order, flips, strict=True):
                rows, columns = shapes[name][::-1] if flip else shapes[name]
                if columns != widths[-1]:
                    break
                widths.append(rows)
            else:
                if widths[-1] == outputs:
                    for biases in _biases(vectors, shapes, widths[1:]):
                        yield tuple(map(ReluLayer, order, flips, biases))


def _biases(vectors: list[str], shapes: Shapes, widths: list[int]) -> Iterator[tuple[str | None, ...]]:
    """Every vector as the bias of a layer of its width; layers left over have none."""
    if len(vectors) > len(widths):
        return
    padded: list[str | None] = [*vectors, *[None] * (len(widths) - len(vectors))]
    seen = set()
    for order in itertools.permutations(padded):
        fits = all(
            name is None or shapes[name] == (width,) for name, width in zip(order, widths, strict=True)
        )
        if fits and order not in seen:
            seen.add(order)
            yield order


def _lifting(layers: tuple[ReluLayer, ...]) -> PathLifting | LayerPaths:
    """The catalogue's own φ where it says the same, since verbs know it."""
    hidden = [layer.bias for layer in layers[:-1]]
    weights = tuple(layer.weight for layer in layers)
    if layers[-1].bias is None and not any(layer.transposed for layer in layers):
        if all(bias is None for bias in hidden):
            return PathLifting(weights)
        if all(bias is not None for bias in hidden):
            return PathLifting(weights, tuple(str(bias) for bias in hidden))
    return LayerPaths(layers)
