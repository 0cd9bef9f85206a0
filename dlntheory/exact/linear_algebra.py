r"""Linear algebra modulo a prime, by python-flint: ranks, kernels, and the way back to the rationals."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from math import isqrt

import flint
import numpy as np
import sympy

DEFAULT_PRIME = 2**31 - 1


def modular_rank(matrix: np.ndarray, prime: int = DEFAULT_PRIME) -> int:
    """The rank of an integer matrix (m, n) modulo `prime`: a lower bound on its rank over the rationals."""
    return _modular_matrix(matrix, prime).rank() if matrix.size else 0


def modular_nullspace(matrix: np.ndarray, prime: int = DEFAULT_PRIME) -> np.ndarray:
    r"""A basis (k, n) of $\{x : A x = 0\}$ modulo `prime`, in reduced echelon form with pivots from the left.

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


def random_prime(rng: np.random.Generator, exclude: Sequence[int] = ()) -> int:
    """A random prime between 2**30 and 2**31 that is none of `exclude`."""
    while True:
        candidate = int(rng.integers(2**30, 2**31))
        if candidate not in exclude and sympy.isprime(candidate):
            return candidate


def check_prime(prime: int, argument: str = "prime") -> int:
    """`prime` itself if it is a prime below 2**31.

    Raises:
        ValueError: it is not; residues would not fit the arithmetic, or not form a field.
    """
    if not isinstance(prime, (int, np.integer)) or not 2 <= prime < 2**31 or not sympy.isprime(int(prime)):
        raise ValueError(f"Argument `{argument}` must be a prime below 2**31, but is {prime!r}.")
    return int(prime)


def _modular_matrix(matrix: np.ndarray, prime: int) -> flint.nmod_mat:
    check_prime(prime)
    rows, columns = matrix.shape
    residues = np.asarray(matrix, dtype=np.int64) % prime
    # A flat list of Python integers is the fastest way in; it costs about as much as the elimination itself.
    return flint.nmod_mat(rows, columns, residues.ravel().tolist(), prime)


def pivot_columns(matrix: np.ndarray, prime: int = DEFAULT_PRIME) -> list[int]:
    """The columns that are independent of the columns to their left, modulo a prime."""
    echelon, rank = _modular_matrix(matrix, prime).rref()
    pivots, column = [], 0
    for row in range(rank):
        while not echelon[row, column]:
            column += 1
        pivots.append(column)
    return pivots


def independent_columns(columns: np.ndarray, prime: int) -> tuple[list[int], np.ndarray]:
    """The columns (rows, n) modulo a prime that are no combination of earlier ones, and the echelon form.

    Returns:
        The pivots from the left, and the array (rank, n) whose column j holds the coefficients of column j in the
        pivot columns.
    """
    rows, number = columns.shape
    if not number:
        return [], np.zeros((0, 0), dtype=np.int64)
    reduced, rank = flint.nmod_mat(rows, number, columns.ravel().tolist(), prime).rref()
    table = np.array([int(entry) for entry in reduced.entries()], dtype=np.int64).reshape(rows, number)[:rank]
    return [int(np.flatnonzero(row)[0]) for row in table], table


def combined(residues: np.ndarray, primes: Sequence[int]) -> np.ndarray | None:
    """The fractions that reduce to `residues` (number of primes, *shape) modulo several primes, or `None`.

    Chinese remainders first, then rational reconstruction; an object array of `Fraction`.
    """
    flat = residues.reshape(len(primes), -1)
    found = np.full(flat.shape[1], Fraction(0), dtype=object)
    for place in np.flatnonzero(np.any(flat != 0, axis=0)):
        total, modulus = 0, 1
        for value, prime in zip(flat[:, place], primes, strict=True):
            total += modulus * ((int(value) - total) * pow(modulus, -1, prime) % prime)
            modulus *= prime
        fraction = reconstruct(total, modulus)
        if fraction is None:
            return None
        found[place] = fraction
    return found.reshape(residues.shape[1:])
