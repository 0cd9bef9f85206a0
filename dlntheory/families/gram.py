r"""Symmetric factorisations: $W^\top W$, $U U^\top - V V^\top$, and quadratic activations $\sum_k a_k w_k w_k^\top$."""

from __future__ import annotations

from .._checks import integer
from ..architecture import Architecture
from .registry import family


@family("gram", "rows of W, size of z", example=(2, 3), laws=0)
def gram_factorisation(rank: int, size: int) -> Architecture:
    r"""The positive semidefinite factorisation $z = W^\top W$ with $W$ of shape (k, n).

    Laws of gradient flow: none for $k \le n$. For $k > n$ the column space of $W$ stays, $N = n(k-n)$: the ratios
    of its $n \times n$ minors, which are rational; there is no polynomial law.

    Args:
        rank: k, the number of rows of W.
        size: n, the size of z.

    Returns:
        An `Architecture` with the factor `"W"` of shape (k, n).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [burer2003nonlinear]; [gunasekar2017implicit].

    Example:
        >>> gram_factorisation(2, 3)
        Architecture(gram 2x3: W[2, 3] -> z[3, 3], 6 parameters)
    """
    k, n = integer(rank, "rank"), integer(size, "size")
    return Architecture(lambda p: p["W"].T @ p["W"], {"W": (k, n)}, name=f"gram {k}x{n}")


@family("difference-of-grams", "size, rank", example=(3, 2), laws=4)
def difference_of_grams(size: int, rank: int) -> Architecture:
    r"""Symmetric matrices of any signature, $z = U U^\top - V V^\top$ with $U$ and $V$ of shape (n, k).

    Laws of gradient flow: all entries of $U^\top V$, $N = k^2$ for $k \le n$; beyond that the rank of these entries
    (8 for n = 2, k = 3; 3 for n = 1, k = 2).

    Args:
        size: n.
        rank: k.

    Returns:
        An `Architecture` with factors `"U"` and `"V"`.

    Raises:
        ValueError: a size that is not a positive integer.

    Example:
        >>> difference_of_grams(3, 2).size
        12
    """
    n, k = integer(size, "size"), integer(rank, "rank")
    return Architecture(
        lambda p: p["U"] @ p["U"].T - p["V"] @ p["V"].T,
        {"U": (n, k), "V": (n, k)},
        name=f"difference of grams {n}, rank {k}",
    )


@family("quadratic", "inputs, hidden", example=(3, 2), laws=2)
def quadratic_activation(inputs: int, hidden: int) -> Architecture:
    r"""Two layers with the activation $x^2$: $z = \sum_k a_k w_k w_k^\top$, so that the output at x is $x^\top z x$.

    Laws of gradient flow: $\lVert w_k \rVert^2 - 2 a_k^2$ of each neuron, N = m.

    Args:
        inputs: d.
        hidden: m, the number of neurons.

    Returns:
        An `Architecture` with factors `"W"` of shape (m, d), a neuron a row, and `"a"` of shape (m,).

    Raises:
        ValueError: a size that is not a positive integer.

    References:
        [du2018power].

    Example:
        >>> quadratic_activation(3, 2).shapes
        {'W': (2, 3), 'a': (2,)}
    """
    d, m = integer(inputs, "inputs"), integer(hidden, "hidden")
    return Architecture(
        lambda p: (p["W"].T * p["a"][None, :]) @ p["W"],
        {"W": (m, d), "a": (m,)},
        name=f"quadratic activation {d}-{m}",
    )
