"""`FAMILIES`: the catalogue by the names that the command line knows, with sizes as a list of integers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..architecture import Architecture
from .adapters import low_rank_adapter
from .attention import attention, linear_attention, merged_attention
from .convolutional import convolutional_network, multichannel_network
from .diagonal import diagonal_network, difference_of_squares, power_network
from .gram import difference_of_grams, gram_factorisation, quadratic_activation
from .linear import linear_network
from .mirror import input_convex, nonnegative_factorisation
from .normalised import scale_invariant, weight_normalised
from .relu import relu_network
from .residual import residual_blocks, residual_network, shortcut_network
from .shared_weights import recurrent_network, sandwich, tied_network
from .softmax import softmax_output
from .tensors import cp_decomposition, tensor_train, tucker_decomposition


@dataclass(frozen=True)
class Family:
    """A family of architectures as the command line calls it.

    Attributes:
        key: its name there.
        build: the architecture for some sizes, given as positional arguments; `bias=True` follows where asked.
        usage: what the sizes mean.
        counts: the least and the largest number of sizes; `None` for no limit.
        takes_bias: whether it can have biases.
        metric: the metric with which it is meant to be trained without momentum, by factor; empty for gradient flow.

    Example:
        >>> FAMILIES["diagonal"]([3, 2])
        Architecture(diagonal 3, depth 2: w1[3], w2[3] -> z[3], 6 parameters)
    """

    key: str
    build: Callable[..., Architecture]
    usage: str
    counts: tuple[int, int | None]
    takes_bias: bool = False
    metric: Mapping[str, str] = field(default_factory=dict)

    def __call__(self, sizes: Sequence[int], bias: bool = False) -> Architecture:
        """The architecture for a list of sizes.

        Raises:
            ValueError: another number of sizes, biases where there are none, or what the family itself refuses.
        """
        least, most = self.counts
        if len(sizes) < least or (most is not None and len(sizes) > most):
            number = (
                f"{least}" if least == most else f"at least {least}" if most is None else f"{least} to {most}"
            )
            raise ValueError(
                f"Argument `sizes` of {self.key} must be {number} integers ({self.usage}), but is {list(sizes)}."
            )
        if bias and not self.takes_bias:
            raise ValueError(f"Argument `bias` must not be set for {self.key}, but is: it has no biases.")
        return self.build(*sizes, bias=True) if bias else self.build(*sizes)

    def metric_with(self, momentum: Any = None) -> dict[str, str]:
        r"""The metric for a training rule: with momentum diag(θ) becomes diag(τθ + θ'), the mirror flow's own."""
        return dict(self.metric) if momentum is None else dict.fromkeys(self.metric, "mirror")


def _circular(length: int, *filters: int) -> Architecture:
    return convolutional_network(filters, length)


def _tucker(*sizes: int) -> Architecture:
    if len(sizes) % 2:
        raise ValueError(
            f"Argument `sizes` of tucker must be a shape and as many ranks, but has {len(sizes)} entries."
        )
    return tucker_decomposition(sizes[: len(sizes) // 2], sizes[len(sizes) // 2 :])


def _train(*sizes: int) -> Architecture:
    if not len(sizes) % 2:
        raise ValueError(
            f"Argument `sizes` of tensor-train must be a shape and one rank less, but has {len(sizes)} entries."
        )
    return tensor_train(sizes[: len(sizes) // 2 + 1], sizes[len(sizes) // 2 + 1 :])


_WIDTHS = "widths from input to output"

FAMILIES: dict[str, Family] = {
    family.key: family
    for family in (
        Family("linear", lambda *n, bias=False: linear_network(n, bias), _WIDTHS, (2, None), takes_bias=True),
        Family("relu", lambda *n, bias=False: relu_network(n, bias), _WIDTHS, (2, None), takes_bias=True),
        Family("residual", residual_network, "width, depth", (2, 2)),
        Family("blocks", lambda n, *h: residual_blocks(n, h), "width, hidden width of each block", (2, None)),
        Family("shortcut", shortcut_network, "inputs, hidden, outputs", (3, 3)),
        Family("tied", tied_network, "width, power", (2, 2)),
        Family("sandwich", sandwich, "inputs, width, outputs", (3, 3)),
        Family("recurrent", recurrent_network, "inputs, state, outputs, and steps (2 x state)", (3, 4)),
        Family("gram", gram_factorisation, "rows of W, size of z", (2, 2)),
        Family("difference-of-grams", difference_of_grams, "size, rank", (2, 2)),
        Family("quadratic", quadratic_activation, "inputs, hidden", (2, 2)),
        Family("weight-normalised", weight_normalised, "inputs, neurons", (2, 2)),
        Family("scale-invariant", scale_invariant, "size", (1, 1)),
        Family("diagonal", diagonal_network, "width, depth", (2, 2)),
        Family("difference-of-squares", difference_of_squares, "width", (1, 1)),
        Family("power", power_network, "width, power", (2, 2)),
        Family("convolution", lambda *k: convolutional_network(k), "filter lengths", (1, None)),
        Family("circular", _circular, "length, then filter lengths", (2, None)),
        Family(
            "multichannel",
            lambda k, *c: multichannel_network(c, k),
            "taps, then channels from input to output",
            (3, None),
        ),
        Family("adapter", lambda *n: low_rank_adapter(n[:-1], n[-1]), f"{_WIDTHS}, then rank", (3, None)),
        Family("attention", attention, "dimension, head width, and heads (1)", (2, 3)),
        Family("linear-attention", linear_attention, "dimension, head width, and heads (1)", (2, 3)),
        Family("merged-attention", merged_attention, "dimension, and heads (1)", (1, 2)),
        Family("cp", lambda *n: cp_decomposition(n[:-1], n[-1]), "shape, then rank", (2, None)),
        Family("tucker", _tucker, "shape, then as many ranks", (2, None)),
        Family("tensor-train", _train, "shape, then one rank less", (3, None)),
        Family("softmax", lambda *n: softmax_output(n), "widths from input to classes", (2, None)),
        Family(
            "nmf",
            nonnegative_factorisation,
            "rows, rank, columns",
            (3, 3),
            metric={"U": "theta", "V": "theta"},
        ),
        Family(
            "icnn", input_convex, "outputs, hidden, inputs", (3, 3), takes_bias=True, metric={"U": "theta"}
        ),
    )
}
