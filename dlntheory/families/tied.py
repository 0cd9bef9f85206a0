r"""Networks whose layers share one square matrix: $W^k$, and $W_3 W^2 W_1$."""

from __future__ import annotations

from functools import reduce
from operator import matmul

from .._checks import integer
from ..architecture import Architecture
from .registry import dashed, family


@family("tied", "width, power", example=(3, 2), laws=0)
def tied_network(width: int, power: int) -> Architecture:
    r"""A network whose layers share their weights, $z = W^k$ with $W$ square.

    Laws of gradient flow: none for $k \ge 2$ and none for $k = 1$, N = 0. The laws of the untied network need the
    symmetries that move weight from one layer to the next, and tying leaves none of them.

    Args:
        width: n.
        power: k.

    Returns:
        An `Architecture` with the factor `"W"` of shape (n, n).

    Raises:
        ValueError: a size that is not a positive integer.

    Validity:
        N = 0 is certified for n = 2, 3 and k = 2, 3; a certificate decides every other case.

    Example:
        >>> tied_network(3, 2)
        Architecture(tied 3, power 2: W[3, 3] -> z[3, 3], 9 parameters)
    """
    n, exponent = integer(width, "width"), integer(power, "power")
    return Architecture(
        lambda p: reduce(matmul, [p["W"]] * exponent), {"W": (n, n)}, name=f"tied {n}, power {exponent}"
    )


@family("sandwich", "inputs, width, outputs", example=(2, 3, 2), laws=7)
def sandwich(inputs: int, width: int, outputs: int) -> Architecture:
    r"""A shared square layer between two others, $z = W_3 W^2 W_1$.

    Laws of gradient flow: $W_1 W_1^\top - W_3^\top W_3 + W W^\top - W^\top W$ and
    $\lVert W \rVert^2 - 2 \lVert W_1 \rVert^2$; $N = n(n+1)/2 + 1$.

    Args:
        inputs: $d_0$.
        width: n.
        outputs: $d_3$.

    Returns:
        An `Architecture` with factors `"W1"` (n, d_0), `"W"` (n, n) and `"W3"` (d_3, n).

    Raises:
        ValueError: a size that is not a positive integer.

    Example:
        >>> sandwich(2, 3, 2).shapes
        {'W1': (3, 2), 'W': (3, 3), 'W3': (2, 3)}
    """
    d, n, m = integer(inputs, "inputs"), integer(width, "width"), integer(outputs, "outputs")
    shapes = {"W1": (n, d), "W": (n, n), "W3": (m, n)}
    return Architecture(
        lambda p: p["W3"] @ p["W"] @ p["W"] @ p["W1"], shapes, name=f"sandwich {dashed((d, n, m))}"
    )
