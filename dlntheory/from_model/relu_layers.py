r"""Plain ReLU networks recognised by what they compute: which factor is the weight or bias of which layer."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..families.relu import PathLifting

Shapes = Mapping[str, tuple[int, ...]]

#: Chains of layers that are compared with the model; only layers of width one leave more than one.
MAX_COMPARED = 200
MAX_STEPS = 5_000
CHECKED_POINTS = 12
POINTS_A_PAIR = 6


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
    r"""The path lifting of a model that is a plain ReLU network, else `None`.

    It does not matter how the model is written, since only its values and gradients are used. With positive weights,
    biases and inputs all neurons are active, and the network is the affine map $h_l = W_l h_{l-1} + b_l$ of every
    layer. There the gradient of $\langle c, h_L \rangle$ by $W_l$ is the outer product of what comes back from the
    output and $h_{l-1}$, and its gradient by $b_l$ is what comes back. So, from the input on, the next layer is the
    matrix whose gradient has rows (or, stored transposed, columns) proportional to the values that are known: one look
    at each factor for each layer, whatever the order in which they are declared. A chain that is found is compared with
    the model at 12 random points of both signs, to 1e-10.
    """
    if len(input_shape) != 1 or any(len(shape) not in (1, 2) for shape in shapes.values()):
        return None
    rng = np.random.default_rng(0)
    draws = [rng.standard_normal] * CHECKED_POINTS + [lambda shape: rng.uniform(0.5, 1.5, shape)]
    points = [
        # Divided by the width, so that the values of many layers stay near one.
        ({name: draw(shape) / max(1, *shape[:2]) for name, shape in shapes.items()}, draw(input_shape))
        for draw in draws
    ]
    output = jax.eval_shape(model, *points[0])
    if len(output.shape) != 1:
        return None
    values, gradients, cotangent = _values_and_gradients(model, points, output.shape[0])
    params, x = points[-1]
    positive = {name: gradient[-1] for name, gradient in gradients.items()}
    # What costs a compilation comes last, and only where a chain has passed the rest.
    narrow: Any = None
    for layers in itertools.islice(_chains(params, positive, x, cotangent), MAX_COMPARED):
        if not _agrees(layers, points, values):
            continue
        if narrow is None:
            selected = _nearly_positive_points(shapes, input_shape, rng)
            narrow = selected, np.asarray(_compiled(model)(*_stacked(selected)))
        if _agrees(layers, *narrow):
            return _lifting(layers)
    return None


def _agrees(layers: tuple[ReluLayer, ...], points: Sequence[Any], values: np.ndarray) -> bool:
    return all(
        np.max(np.abs(_forward(layers, params, x) - value)) <= 1e-10 * (1.0 + np.max(np.abs(value)))
        for (params, x), value in zip(points, values, strict=True)
    )


def _nearly_positive_points(
    shapes: Shapes, input_shape: tuple[int, ...], rng: np.random.Generator
) -> list[tuple[dict[str, np.ndarray], np.ndarray]]:
    """Points at which all factors but two are positive, for each pair of matrices.

    The output of a deep and narrow network is zero at most random points, where a model without one of its rectifiers
    would pass for it. That shows where two layers in a row have both signs, and nothing else is cut off.
    """
    matrices = [name for name, shape in shapes.items() if len(shape) == 2]
    points = []
    for pair in itertools.combinations_with_replacement(matrices, 2):
        for draw in range(POINTS_A_PAIR):
            # First with both negative, which is what a single neuron in each layer needs.
            params, negative = {}, draw < 2
            for name, shape in shapes.items():
                size = max(1, *shape[:2]) if len(shape) == 2 else 10.0
                if (name in pair and not negative) or len(shape) == 1:
                    params[name] = rng.standard_normal(shape) / size
                else:
                    params[name] = rng.uniform(0.5, 1.5, shape) / (-size if name in pair else size)
            x = rng.uniform(0.5, 1.5, input_shape) if negative else rng.standard_normal(input_shape)
            points.append((params, x))
    return points


def _stacked(points: Sequence[Any]) -> Any:
    return jax.tree_util.tree_map(lambda *leaves: np.stack(leaves), *points)


def _compiled(one: Callable[..., Any]) -> Callable[..., Any]:
    # The program runs once, so that what XLA could do for its speed is time lost.
    return jax.jit(jax.vmap(one), compiler_options={"xla_backend_optimization_level": 0})


def _values_and_gradients(model: Callable[..., Any], points: list[Any], outputs: int) -> tuple[Any, Any, Any]:
    """The model and the gradients of a combination of its outputs at all points, in one compiled call."""
    cotangent = np.linspace(1.0, 2.0, outputs)

    def one(params, x):
        value, pull = jax.vjp(lambda p: model(p, x), params)
        return value, pull(jnp.asarray(cotangent))[0]

    values, gradients = _compiled(one)(*_stacked(points))
    # NumPy before any indexing: JAX would compile a slice for each shape.
    return np.asarray(values), {name: np.asarray(array) for name, array in gradients.items()}, cotangent


def _chains(
    params: Mapping[str, np.ndarray],
    gradients: Mapping[str, np.ndarray],
    x: np.ndarray,
    cotangent: np.ndarray,
) -> Iterator[tuple[ReluLayer, ...]]:
    """Chains of all factors that explain the gradients where all neurons are active; mostly one or none.

    Layers of width one can be exchanged for one another without a trace in the gradients, so that there may be several.
    """
    steps = itertools.count()
    vectors = {name for name, array in params.items() if array.ndim == 1}
    matrices = {name for name, array in params.items() if array.ndim == 2}

    def extended(layers: tuple[ReluLayer, ...], values: np.ndarray) -> Iterator[tuple[ReluLayer, ...]]:
        left = [name for name in params if name in matrices - {layer.weight for layer in layers}]
        if not left:
            if not vectors - {layer.bias for layer in layers}:
                yield layers
            return
        for name, transposed in itertools.product(left, (False, True)):
            # A number is its own transpose.
            if next(steps) > MAX_STEPS or (transposed and params[name].size == 1):
                continue
            weight, gradient = (a[name].T if transposed else a[name] for a in (params, gradients))
            if weight.shape[1] != len(values):
                continue
            back = gradient @ values / (values @ values)
            if not _close(gradient, np.outer(back, values)) or (
                len(left) == 1 and not _close(cotangent, back)
            ):
                continue
            biases = [
                one for one in vectors - {layer.bias for layer in layers} if _close(gradients[one], back)
            ]
            for bias in biases or [None]:
                shift = 0.0 if bias is None else params[bias]
                yield from extended((*layers, ReluLayer(name, transposed, bias)), weight @ values + shift)

    if matrices:
        yield from extended((), x)


def _close(a: np.ndarray, b: np.ndarray) -> bool:
    return a.shape == b.shape and bool(np.max(np.abs(a - b)) <= 1e-9 * np.max(np.abs(a)))


def _forward(layers: tuple[ReluLayer, ...], params: Mapping[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    for depth, layer in enumerate(layers):
        x = layer.matrix(params) @ x + (0.0 if layer.bias is None else params[layer.bias])
        if depth + 1 < len(layers):
            x = np.maximum(x, 0.0)
    return x


def _lifting(layers: tuple[ReluLayer, ...]) -> PathLifting | LayerPaths:
    """The φ of `relu_network` where it says the same, since the laws and reductions of ReLU networks go by its type."""
    hidden = [layer.bias for layer in layers[:-1]]
    weights = tuple(layer.weight for layer in layers)
    if layers[-1].bias is None and not any(layer.transposed for layer in layers):
        if all(bias is None for bias in hidden):
            return PathLifting(weights)
        if all(bias is not None for bias in hidden):
            return PathLifting(weights, tuple(str(bias) for bias in hidden))
    return LayerPaths(layers)
