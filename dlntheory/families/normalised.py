r"""Normalised weights, up to an invertible function of φ: $g_k^2\,v_k v_k^\top/\lVert v_k \rVert^2$.

The maps in use, $g v/\lVert v \rVert$ and $v/\lVert v \rVert$, have a root in them. An invertible function of φ has the
laws of φ, so here each vector w stands as $w w^\top$, which fixes it up to its sign, and φ is rational.
"""

from __future__ import annotations

import jax.numpy as jnp

from .._checks import integer
from ..architecture import Architecture
from .registry import family


@family("weight-normalised", "inputs, neurons", example=(3, 2), laws=2)
def weight_normalised(inputs: int, neurons: int) -> Architecture:
    r"""Weight normalisation, $w_k = g_k v_k/\lVert v_k \rVert$ for each neuron, as $z_k = w_k w_k^\top$.

    Written without a root: $z_k = g_k^2\,v_k v_k^\top/\lVert v_k \rVert^2$. A function that is invertible near a
    generic point, as $w \mapsto w w^\top$ is, changes no law; so these are the laws of $w$, for every loss of it.

    Laws of gradient flow: $\lVert v_k \rVert^2$ of each neuron, N = m.

    Args:
        inputs: d, the length of each $v_k$.
        neurons: m.

    Returns:
        An `Architecture` with factors `"V"` of shape (m, d), a neuron a row, and `"g"` of shape (m,), and an output of
        shape (m, d, d). It is not defined where a row of V is zero.

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [salimans2016weight].

    Example:
        >>> weight_normalised(3, 2)
        Architecture(weight normalised 3-2: V[2, 3], g[2] -> z[2, 3, 3], 8 parameters)
    """
    d, m = integer(inputs, "inputs"), integer(neurons, "neurons")

    def phi(p):
        v, g = p["V"], p["g"]
        squares = (v * v).sum(axis=1)
        return (g * g)[:, None, None] * v[:, :, None] * v[:, None, :] / squares[:, None, None]

    return Architecture(phi, {"V": (m, d), "g": (m,)}, name=f"weight normalised {d}-{m}")


@family("scale-invariant", "size", example=(3,), laws=1)
def scale_invariant(size: int) -> Architecture:
    r"""A weight that counts by its direction only, $v/\lVert v \rVert$, as $z = v v^\top/\lVert v \rVert^2$.

    So it is in front of a batch or layer normalisation. Squared as in `weight_normalised`, without change of the laws.

    Laws of gradient flow: $\lVert v \rVert^2$, N = 1.

    Args:
        size: d, the length of v.

    Returns:
        An `Architecture` with the factor `"v"` of shape (d,); it is not defined at v = 0.

    Raises:
        ValueError: `size` is not an integer of at least 2; with 1, z does not depend on v.

    References:
        [arora2019theoretical].

    Example:
        >>> scale_invariant(3)
        Architecture(scale invariant 3: v[3] -> z[3, 3], 3 parameters)
    """
    d = integer(size, "size", minimum=2)
    return Architecture(
        lambda p: jnp.outer(p["v"], p["v"]) / jnp.vdot(p["v"], p["v"]),
        {"v": (d,)},
        name=f"scale invariant {d}",
    )
