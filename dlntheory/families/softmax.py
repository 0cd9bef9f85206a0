r"""Linear classifiers before a softmax: only differences of logits count."""

from __future__ import annotations

from collections.abc import Sequence

from .._checks import integers
from ..architecture import Architecture, Params
from .registry import dashed, family, one_sequence


@family(
    "softmax",
    "widths from input to classes",
    example=(3, 2, 4),
    laws=5,
    counts=(2, None),
    arguments=one_sequence,
)
def softmax_output(widths: Sequence[int]) -> Architecture:
    r"""A linear network before a softmax, by its logit differences: rows of $W_L \cdots W_1$ less the last row.

    Laws of gradient flow: the sum over classes of $W_{L,cj}$ for each j, and the laws
    $W_{l+1}^\top W_{l+1} - W_l W_l^\top$. One layer: N = d_0. More: $N = d_{L-1}$ plus the count of the linear network
    of widths $(d_0, …, d_{L-1}, d_L - 1)$, since the mean over classes of $W_L$ does not move.

    Args:
        widths: $(d_0, …, d_L)$ from input to the number of classes; at least two classes.

    Returns:
        An `Architecture` with factors `"W1"`, …, `"WL"`, and z of shape $(d_L - 1, d_0)$.

    Raises:
        ValueError: fewer than two widths, one that is not a positive integer, or a single class.

    Example:
        >>> softmax_output((2, 3))
        Architecture(softmax 2-3: W1[3, 2] -> z[2, 2], 6 parameters)
    """
    entries = integers(widths, "widths", at_least=2, meaning="input width first")
    if entries[-1] < 2:
        raise ValueError(f"Argument `widths` must end in at least two classes, but is {widths!r}.")
    shapes = {f"W{i + 1}": (entries[i + 1], entries[i]) for i in range(len(entries) - 1)}
    return Architecture(_logit_differences, shapes, name=f"softmax {dashed(entries)}")


def _logit_differences(params: Params):
    last = params[f"W{len(params)}"]
    z = last[:-1] - last[-1:].repeat(last.shape[0] - 1, axis=0)
    for layer in range(len(params) - 1, 0, -1):
        z = z @ params[f"W{layer}"]
    return z
