r"""Networks with non-negative weights, trained by mirror flows: their metric is diag(θ) on those weights."""

from __future__ import annotations

from ..architecture import Architecture
from ._sizes import checked_size, dashed
from .linear import MatrixProduct
from .relu import PathLifting


def nonnegative_factorisation(rows: int, rank: int, columns: int) -> Architecture:
    r"""Non-negative matrix factorisation $z = U V$, to be used with the metric `{"U": "theta", "V": "theta"}`.

    The entropic mirror flow $U' = -U \odot \nabla_U$, $V' = -V \odot \nabla_V$ keeps all weights positive.

    Laws of that flow: $\sum_i U_{ik} - \sum_j V_{kj}$ for each k, N = h; for widths (1, h, 1) with $h \ge 2$ there are
    $2h - 1$ laws. With momentum and its own metric, `"mirror"`, there are none; with `"theta"` each of these sums
    s obeys $s'' + \tau s' = 0$, which makes 2h laws. Without a metric this is a linear network of two layers.

    Args:
        rows: n.
        rank: h.
        columns: m.

    Returns:
        An `Architecture` with factors `"U"` (n, h) and `"V"` (h, m), and the chain V, U declared.

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [lee1999learning]; laws: [marcotte2024keep].

    Example:
        >>> nonnegative_factorisation(5, 2, 4)
        Architecture(non-negative 5-2-4: U[5, 2], V[2, 4] -> z[5, 4], 18 parameters)
    """
    n, h, m = checked_size("rows", rows), checked_size("rank", rank), checked_size("columns", columns)
    names = ("V", "U")
    shapes = {"U": (n, h), "V": (h, m)}
    name = f"non-negative {dashed((n, h, m))}"
    return Architecture(MatrixProduct(names), shapes, name=name, chain=names, try_out=False)


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
    n, h, m = checked_size("outputs", outputs), checked_size("hidden", hidden), checked_size("inputs", inputs)
    shapes: dict[str, tuple[int, ...]] = {"U": (n, h), "V": (h, m)}
    if bias:
        shapes["b"] = (h,)
    name = f"input-convex {dashed((n, h, m))}" + (" with biases" if bias else "")
    return Architecture(PathLifting(("V", "U"), ("b",) if bias else ()), shapes, name=name, try_out=False)
