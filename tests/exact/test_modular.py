"""Ranks, kernels and reconstruction modulo a prime, against exact arithmetic in SymPy."""

from fractions import Fraction

import numpy as np
import pytest
import sympy

from dlntheory.exact.linear_algebra import (
    DEFAULT_PRIME,
    check_prime,
    modular_nullspace,
    modular_rank,
    random_prime,
    reconstruct,
)


@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (4, 4), (1, 6)])
@pytest.mark.parametrize("prime", [DEFAULT_PRIME, 10007])
def test_rank_and_kernel_are_the_rational_ones(shape, prime):
    rng = np.random.default_rng(sum(shape))
    rank = min(shape) - 1 or 1
    matrix = rng.integers(-4, 5, (shape[0], rank)) @ rng.integers(-4, 5, (rank, shape[1]))
    exact = sympy.Matrix(matrix.tolist())
    assert modular_rank(matrix, prime) == exact.rank()
    kernel = modular_nullspace(matrix, prime)
    assert kernel.shape == (shape[1] - exact.rank(), shape[1])
    assert not np.any(matrix % prime @ kernel.T % prime)
    rational, _ = sympy.Matrix.hstack(*exact.nullspace()).T.rref()
    found = sympy.Matrix([[reconstruct(int(entry), prime) for entry in row] for row in kernel])
    assert found == rational


def test_rank_modulo_a_prime_is_at_most_the_rational_rank():
    matrix = np.diag([1, 2, 3, 30])
    assert [modular_rank(matrix, p) for p in (2, 3, 5, 7)] == [2, 2, 3, 4]


def test_products_of_large_residues_do_not_overflow():
    p = DEFAULT_PRIME
    matrix = np.array([[p - 1, p - 2], [p - 2, p - 4]])
    assert modular_rank(matrix) == 1
    assert modular_rank(matrix + np.diag([0, 1])) == 2


def test_empty_matrices():
    assert modular_rank(np.zeros((0, 3), dtype=np.int64)) == 0
    assert modular_rank(np.zeros((3, 0), dtype=np.int64)) == 0
    assert np.array_equal(modular_nullspace(np.zeros((0, 2), dtype=np.int64)), np.eye(2))
    assert modular_nullspace(np.eye(3, dtype=np.int64)).shape == (0, 3)


@pytest.mark.parametrize("fraction", [Fraction(0), Fraction(-7, 3), Fraction(32767, 32766), Fraction(5)])
def test_reconstruction_inverts_reduction(fraction):
    p = DEFAULT_PRIME
    assert reconstruct(fraction.numerator * pow(fraction.denominator, -1, p) % p) == fraction


def test_reconstruction_finds_all_small_fractions_and_nothing_else():
    p, bound = 101, 7
    small = {Fraction(a, b) for a in range(-bound, bound + 1) for b in range(1, bound + 1)}
    expected = {f.numerator * pow(f.denominator, -1, p) % p: f for f in small}
    assert len(expected) == len(small)
    assert all(reconstruct(residue, p) == expected.get(residue) for residue in range(p))
    assert len(expected) < p


def test_random_primes_are_primes_of_31_bits_and_follow_the_seed():
    first = [random_prime(np.random.default_rng(3)) for _ in range(2)]
    assert first[0] == first[1]
    assert sympy.isprime(first[0])
    assert 2**30 < first[0] < 2**31
    assert random_prime(np.random.default_rng(3), exclude=first) != first[0]


@pytest.mark.parametrize("prime", [15, 1, 0, -7, 2**31 + 11, 2.0])
def test_what_is_no_prime_below_2_to_31_is_refused(prime):
    with pytest.raises(ValueError, match=r"Argument `prime` must be a prime below 2\*\*31, but is"):
        check_prime(prime)
    with pytest.raises(ValueError, match="must be a prime"):
        modular_rank(np.eye(2, dtype=np.int64), prime)
