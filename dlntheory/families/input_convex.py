r"""Input-convex networks: a ReLU layer below non-negative weights, trained by a mirror flow on these."""

from __future__ import annotations

from .._checks import integer
from ..architecture import Architecture
from .registry import dashed, family
from .relu import PathLifting


@family("icnn", "outputs, hidden, inputs", example=(3, 2, 4), laws=2, metric={"U": "theta"})
def input_convex(outputs: int, hidden: int, inputs: int, bias: bool = False) -> Architecture:
    r"""A layer of an input-convex network, $U \max(V x + b, 0)$ with $U \ge 0$, by its path lifting.

    To be used with the metric `{"U": "theta"}`: mirror flow on U, gradient flow on V and b.

    Laws of that flow: $\sum_i U_{ik} - (\lVert V_k \rVert^2 + b_k^2)/2$ for each hidden neuron k, N = h. With momentum
    there are none, for either metric of U.

    Args:
        outputs: n.
        hidden: h.
        inputs: m.
        bias: whether hidden neurons have biases.

    Returns:
        An `Architecture` with factors `"U"` (n, h), `"V"` (h, m), with biases also `"b"` (h,), and z of shape
        (n, h m) or (n, h (m + 1)): for each output the products $U_{ik} V_{kj}$ and $U_{ik} b_k$.

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [amos2017input]; laws: [marcotte2024keep].

    Example:
        >>> input_convex(2, 3, 4, bias=True).shapes
        {'U': (2, 3), 'V': (3, 4), 'b': (3,)}
    """
    n, h, m = integer(outputs, "outputs"), integer(hidden, "hidden"), integer(inputs, "inputs")
    shapes: dict[str, tuple[int, ...]] = {"U": (n, h), "V": (h, m)}
    if bias:
        shapes["b"] = (h,)
    name = f"input-convex {dashed((n, h, m))}" + (" with biases" if bias else "")
    return Architecture(PathLifting(("V", "U"), ("b",) if bias else ()), shapes, name=name, try_out=False)
