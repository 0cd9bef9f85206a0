r"""ReLU networks by their path lifting: the products of weights along all paths."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp

from .._checks import integers
from ..architecture import Architecture, Params
from .registry import dashed, family, one_sequence

MAX_PATHS = 1_000_000


@dataclasses.dataclass(frozen=True)
class PathLifting:
    """φ of a ReLU network: for each output, the products of weights along the paths that end there.

    Attributes:
        weights: names of the weight matrices, first layer first.
        biases: names of the biases of the hidden layers, first layer first, or none.
    """

    weights: tuple[str, ...]
    biases: tuple[str, ...] = ()

    def __call__(self, params: Params):
        paths = params[self.weights[0]]
        for layer, weight in enumerate(self.weights[1:]):
            if self.biases:
                paths = jnp.concatenate([paths, params[self.biases[layer]][:, None]], axis=1)
            w = params[weight]
            paths = (w[:, :, None] * paths[None, :, :]).reshape(w.shape[0], -1)
        return paths


@family(
    "relu", "widths from input to output", example=(3, 4, 2), laws=4, counts=(2, None), arguments=one_sequence
)
def relu_network(widths: Sequence[int], bias: bool = False) -> Architecture:
    r"""The ReLU network by its path lifting: $z_p = \prod_{e \in p} w_e$ over the paths p from inputs to outputs.

    While no neuron switches, the output at x is linear in z: it is the sum of $z_p x_{p_0}$ over the active paths.
    So the laws of φ hold for every loss and all data. Paths that start at the bias of a hidden neuron are included;
    an output bias would be a path of its own, in no law, and is left out.

    Laws of gradient flow: one for each hidden neuron, squared norm of its outgoing weights less that of the
    incoming ones less its squared bias, $\lVert W_{l+1} e_j \rVert^2 - \lVert W_l^\top e_j \rVert^2 - b_{l,j}^2$. So N
    is the number of hidden neurons.

    Args:
        widths: $(d_0, …, d_L)$ from input to output.
        bias: whether hidden layers have biases $b_l$ of shape $(d_l,)$.

    Returns:
        An `Architecture` with factors `"W1"`, …, `"WL"` of shapes (d_l, d_{l-1}), with biases also `"b1"`, …,
        `"b(L-1)"`, and z of shape (d_L, paths to one output). Its φ is a `PathLifting`, by which verbs know that
        they need not walk all paths.

    Raises:
        ValueError: fewer than two widths, one that is not a positive integer, or more than a million paths.

    References:
        Path lifting: [neyshabur2015path]; [gonon2024path]. Laws: [marcotte2023abide].

    Example:
        >>> relu_network((2, 3, 1), bias=True)
        Architecture(ReLU 2-3-1 with biases: W1[3, 2], W2[1, 3], b1[3] -> z[1, 9], 12 parameters)
    """
    entries = integers(widths, "widths", at_least=2, meaning="input width first")
    bias = bool(bias)
    if (count := path_count(entries, bias)) > MAX_PATHS:
        raise ValueError(
            f"Argument `widths` must give at most {MAX_PATHS} paths, but {widths!r} gives {count}."
        )
    weights = tuple(f"W{layer}" for layer in range(1, len(entries)))
    biases = tuple(f"b{layer}" for layer in range(1, len(entries) - 1)) if bias else ()
    shapes: dict[str, tuple[int, ...]] = {
        name: (entries[i + 1], entries[i]) for i, name in enumerate(weights)
    }
    shapes |= {name: (entries[i + 1],) for i, name in enumerate(biases)}
    name = f"ReLU {dashed(entries)}" + (" with biases" if bias else "")
    return Architecture(PathLifting(weights, biases), shapes, name=name, try_out=False)


def path_count(widths: Sequence[int], bias: bool = False) -> int:
    """The number of paths of a ReLU network, those from hidden biases included.

    Example:
        >>> path_count((2, 3, 1)), path_count((2, 3, 1), bias=True)
        (6, 9)
    """
    paths = widths[0]
    for hidden in widths[1:-1]:
        paths = (paths + bool(bias)) * hidden
    return paths * widths[-1]
