r"""Networks that act entry by entry: $w_L \odot \cdots \odot w_1$, $u \odot u - v \odot v$, and $u^{\odot k}$."""

from __future__ import annotations

from functools import reduce
from operator import mul

from .._checks import integer
from ..architecture import Architecture, Params
from .registry import family


@family("diagonal", "width, depth", example=(3, 2), laws=3)
def diagonal_network(width: int, depth: int) -> Architecture:
    r"""The diagonal linear network $z = w_L \odot \cdots \odot w_1$.

    Laws of gradient flow: $w_{l+1,i}^2 - w_{l,i}^2$ for each entry, $N = (L-1)\,n$.

    Args:
        width: n.
        depth: L.

    Returns:
        An `Architecture` with factors `"w1"`, …, `"wL"` of shape (n,).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [woodworth2020kernel].

    Example:
        >>> diagonal_network(3, 2)
        Architecture(diagonal 3, depth 2: w1[3], w2[3] -> z[3], 6 parameters)
    """
    n, layers = integer(width, "width"), integer(depth, "depth")
    shapes = {f"w{layer}": (n,) for layer in range(1, layers + 1)}
    return Architecture(_entrywise_product, shapes, name=f"diagonal {n}, depth {layers}")


@family("difference-of-squares", "width", example=(3,), laws=3)
def difference_of_squares(width: int) -> Architecture:
    r"""The diagonal network with both signs, $z = u \odot u - v \odot v$.

    Laws of gradient flow: $u_i v_i$, N = n.

    Args:
        width: n.

    Returns:
        An `Architecture` with factors `"u"` and `"v"` of shape (n,).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [woodworth2020kernel]; [vaskevicius2019implicit].

    Example:
        >>> difference_of_squares(3)
        Architecture(difference of squares 3: u[3], v[3] -> z[3], 6 parameters)
    """
    n = integer(width, "width")
    return Architecture(_difference_of_squares, {"u": (n,), "v": (n,)}, name=f"difference of squares {n}")


@family("power", "width, power", example=(3, 2), laws=0)
def power_network(width: int, power: int) -> Architecture:
    r"""The diagonal network with shared weights, $z = u^{\odot k}$.

    Laws of gradient flow: none, N = 0.

    Args:
        width: n.
        power: k.

    Returns:
        An `Architecture` with the factor `"u"` of shape (n,).

    Raises:
        ValueError: a size that is not a positive integer.

    Example:
        >>> power_network(3, 4)
        Architecture(power 3, exponent 4: u[3] -> z[3], 3 parameters)
    """
    n, exponent = integer(width, "width"), integer(power, "power")
    return Architecture(lambda p: p["u"] ** exponent, {"u": (n,)}, name=f"power {n}, exponent {exponent}")


def _entrywise_product(params: Params):
    return reduce(mul, (params[f"w{layer}"] for layer in range(1, len(params) + 1)))


def _difference_of_squares(params: Params):
    return params["u"] * params["u"] - params["v"] * params["v"]
