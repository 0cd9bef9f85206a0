r"""The linear recurrent network by its impulse response, $z_k = C A^k B$."""

from __future__ import annotations

import jax.numpy as jnp

from .._checks import integer
from ..architecture import Architecture, Params
from .registry import dashed, family


@family("recurrent", "inputs, state, outputs, and steps (2 x state)", example=(1, 2, 1), laws=3)
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
    i, n, o = integer(inputs, "inputs"), integer(state, "state"), integer(outputs, "outputs")
    count = 2 * n if steps is None else integer(steps, "steps")
    shapes = {"A": (n, n), "B": (n, i), "C": (o, n)}

    def impulse_response(params: Params):
        response, outputs = params["B"], []
        for _ in range(count):
            outputs.append(params["C"] @ response)
            response = params["A"] @ response
        return jnp.stack(outputs)

    return Architecture(impulse_response, shapes, name=f"recurrent {dashed((i, n, o))}, {count} steps")
