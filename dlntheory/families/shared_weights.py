r"""Networks that use one matrix several times: $W^k$, $W_3 W^2 W_1$, and the linear recurrent network."""

from __future__ import annotations

import dataclasses

import jax.numpy as jnp

from ..architecture import Architecture, Params
from ._sizes import checked_size, dashed


@dataclasses.dataclass(frozen=True)
class _MatrixPower:
    exponent: int

    def __call__(self, params: Params):
        product = params["W"]
        for _ in range(self.exponent - 1):
            product = params["W"] @ product
        return product


@dataclasses.dataclass(frozen=True)
class _ImpulseResponse:
    steps: int

    def __call__(self, params: Params):
        state, outputs = params["B"], []
        for _ in range(self.steps):
            outputs.append(params["C"] @ state)
            state = params["A"] @ state
        return jnp.stack(outputs)


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
    n, exponent = checked_size("width", width), checked_size("power", power)
    return Architecture(_MatrixPower(exponent), {"W": (n, n)}, name=f"tied {n}, power {exponent}")


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
    d, n, m = checked_size("inputs", inputs), checked_size("width", width), checked_size("outputs", outputs)
    shapes = {"W1": (n, d), "W": (n, n), "W3": (m, n)}
    return Architecture(
        lambda p: p["W3"] @ p["W"] @ p["W"] @ p["W1"], shapes, name=f"sandwich {dashed((d, n, m))}"
    )


def recurrent_network(inputs: int, state: int, outputs: int, steps: int | None = None) -> Architecture:
    r"""The linear recurrent network by its impulse response, $z_k = C A^k B$ for $k = 0, …, K-1$.

    The state obeys $h_{t+1} = A h_t + B x_t$, the output is $C h_t$. The first $2n$ coefficients determine all.

    Laws of gradient flow: $B B^\top - C^\top C + A A^\top - A^\top A$; $N = n(n+1)/2$ for $K \ge 2n$.

    Args:
        inputs: i.
        state: n.
        outputs: o.
        steps: K, by default 2n.

    Returns:
        An `Architecture` with factors `"A"` (n, n), `"B"` (n, i), `"C"` (o, n), and z of shape (K, o, i).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [hardt2018gradient].

    Example:
        >>> recurrent_network(1, 2, 1).output_shape
        (4, 1, 1)
    """
    i, n, o = checked_size("inputs", inputs), checked_size("state", state), checked_size("outputs", outputs)
    count = 2 * n if steps is None else checked_size("steps", steps)
    shapes = {"A": (n, n), "B": (n, i), "C": (o, n)}
    return Architecture(_ImpulseResponse(count), shapes, name=f"recurrent {dashed((i, n, o))}, {count} steps")
