r"""Linear algebra modulo a prime, by python-flint: ranks, kernels, and the way back to the rationals."""

from __future__ import annotations

from fractions import Fraction
from math import isqrt

import flint
import numpy as np

DEFAULT_PRIME = 2**31 - 1


def modular_rank(matrix: np.ndarray, prime: int = DEFAULT_PRIME) -> int:
    """The rank of an integer matrix (m, n) modulo `prime`: a lower bound on its rank over the rationals."""
    return _modular_matrix(matrix, prime).rank() if matrix.size else 0


def modular_nullspace(matrix: np.ndarray, prime: int = DEFAULT_PRIME) -> np.ndarray:
    """A basis (k, n) of $\\{x : A x = 0\\}$ modulo `prime`, in reduced echelon form with pivots from the left.

    The echelon form makes the basis canonical, so that its entries are reductions of the rational ones whenever
    the rational kernel has the same dimension.
    """
    rows, columns = matrix.shape
    if not rows:
        return np.eye(columns, dtype=np.int64)
    kernel, nullity = _modular_matrix(matrix, prime).nullspace()
    if not nullity:
        return np.zeros((0, columns), dtype=np.int64)
    basis = flint.nmod_mat(
        nullity, columns, [kernel[i, j] for j in range(nullity) for i in range(columns)], prime
    )
    reduced, _ = basis.rref()
    return np.array([[int(entry) for entry in row] for row in reduced.tolist()], dtype=np.int64)


def reconstruct(residue: int, prime: int = DEFAULT_PRIME) -> Fraction | None:
    r"""The fraction $a/b$ with $|a|, b \le \sqrt{p/2}$ that reduces to `residue`, or `None` if there is none.

    Unique where it exists (Wang 1981); found by the extended Euclidean algorithm stopped half way.
    """
    bound = isqrt(prime // 2)
    a0, a1, b0, b1 = prime, residue % prime, 0, 1
    while a1 > bound:
        quotient = a0 // a1
        a0, a1, b0, b1 = a1, a0 - quotient * a1, b1, b0 - quotient * b1
    if b1 == 0 or abs(b1) > bound:
        return None
    return Fraction(a1, b1)


def _modular_matrix(matrix: np.ndarray, prime: int) -> flint.nmod_mat:
    rows, columns = matrix.shape
    return flint.nmod_mat(rows, columns, (np.asarray(matrix, dtype=np.int64) % prime).ravel().tolist(), prime)
