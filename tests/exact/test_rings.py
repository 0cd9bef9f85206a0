"""The rings themselves: exactness at the limits of the machine word, levels, constants."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dlntheory.exact import Expressions, NilpotentModular, Rationals

PRIMES = [2**31 - 1, 2147483629, 65537, 7, 2]


def by_hand(ring, a, b):
    """The product of two single elements from the definition, in Python integers."""
    size = max(len(a), len(b))
    a, b = [*a, *[0] * (size - len(a))], [*b, *[0] * (size - len(b))]
    result = [0] * size
    for s, t in itertools.product(range(size), repeat=2):
        if s & t == 0:
            result[s | t] += int(a[s]) * int(b[t])
    return [entry % ring.prime for entry in result]


@pytest.mark.parametrize("prime", PRIMES)
@pytest.mark.parametrize("levels", [(0, 0), (0, 2), (1, 1), (1, 3), (3, 1), (3, 3)])
def test_products_of_every_pair_of_levels(prime, levels):
    ring = NilpotentModular(prime)
    rng = np.random.default_rng(prime)
    a, b = (rng.integers(0, prime, (2**level, 2, 3)) for level in levels)
    product = ring.mul(a, b)
    for i, j in itertools.product(range(2), range(3)):
        assert product[:, i, j].tolist() == by_hand(ring, a[:, i, j], b[:, i, j])


@pytest.mark.parametrize("k", [1, 63, 64, 65, 200])
@pytest.mark.parametrize("prime", PRIMES)
def test_contractions_do_not_overflow(prime, k):
    """The largest residues there are: any lost bit shows."""
    ring = NilpotentModular(prime)
    a = np.full((1, 1, 1, 2, k), prime - 1)
    b = np.full((1, 1, 1, k, 2), prime - 1)
    assert (ring.matmul(a, b) == k % prime).all()
    rng = np.random.default_rng(k)
    a, b = rng.integers(0, prime, (1, 3, 2, 2, k)), rng.integers(0, prime, (1, 1, 2, k, 3))
    expected = (a.astype(object) @ np.broadcast_to(b, (1, 3, 2, k, 3)).astype(object)) % prime
    assert (ring.matmul(a, b) == expected).all()


def test_matrix_products_mix_levels_in_both_orders():
    ring = NilpotentModular(7)
    rng = np.random.default_rng(0)
    a, b = rng.integers(0, 7, (4, 1, 1, 2, 3)), rng.integers(0, 7, (2, 1, 1, 3, 2))
    for x, y in ((a, b), (b, a)):
        product = ring.matmul(x, y)
        rows, columns, inner = x.shape[3], y.shape[4], x.shape[4]
        for i, j in itertools.product(range(rows), range(columns)):
            terms = [by_hand(ring, x[:, 0, 0, i, k], y[:, 0, 0, k, j]) for k in range(inner)]
            assert product[:, 0, 0, i, j].tolist() == [sum(column) % 7 for column in zip(*terms, strict=True)]


def test_units_square_to_zero_and_commute():
    ring = NilpotentModular()
    zero, one = ring.constant(0), ring.constant(1)
    e0, e1 = ring.join(zero, one, 0), ring.join(zero, one, 1)
    assert not ring.mul(e0, e0).any()
    assert not ring.mul(e1, e1).any()
    assert ring.mul(e0, e1).ravel().tolist() == [0, 0, 0, 1] == ring.mul(e1, e0).ravel().tolist()
    assert ring.level(e1) == 2
    low, high = ring.split(ring.mul(e0, e1), 1)
    assert not low.any()
    assert np.array_equal(high, e0)


def test_sums_negatives_and_lifting():
    ring = NilpotentModular(7)
    x = ring.from_integers([[3, -1], [0, 13]])
    assert x.shape == (1, 2, 2)
    assert ring.add(x, ring.neg(x)).tolist() == np.zeros((1, 2, 2)).tolist()
    assert ring.neg(x).max() < 7
    lifted = ring.lift(x, 2)
    assert ring.add(x, lifted).shape == (4, 2, 2)
    assert ring.sum(x, (0,)).tolist() == [[2, 6]]
    with pytest.raises(ValueError, match="at least 2"):
        ring.lift(lifted, 1)


def test_take_mixes_levels_and_batches():
    ring = NilpotentModular()
    x, y = ring.from_integers([[1, 2], [3, 4]]), ring.join(ring.constant([5]), ring.constant([6]), 0)
    taken = ring.take([x, y], np.array([2, 0]))
    assert taken.tolist() == [[[5, 1], [5, 3]], [[6, 0], [6, 0]]]


def test_constants_are_fractions_modulo_the_prime():
    ring = NilpotentModular(2147483629)
    assert ring.constant(0.1).item() * 10 % ring.prime == 1
    with pytest.raises(ValueError, match="divides that of 1/7"):
        NilpotentModular(7).constant(1 / 7)


@pytest.mark.parametrize("prime", [1, 4, 2**31, 2**31 + 11, -7])
def test_refuses_what_is_no_small_prime(prime):
    with pytest.raises(ValueError, match="prime"):
        NilpotentModular(prime)


@settings(deadline=None)
@given(st.integers(-5, 5), st.integers(1, 9))
def test_powers(base, exponent):
    for ring in (Rationals(), Expressions()):
        assert ring.power(ring.constant([base]), exponent)[0] == base**exponent


def test_object_rings_keep_scalars_boxed():
    for ring in (Rationals(), Expressions()):
        x = ring.constant(0.5)
        for y in (ring.add(x, x), ring.mul(x, x), ring.neg(x), ring.sum(x, ()), ring.take([x], np.array(0))):
            assert ring.shape(y) == ()
        assert ring.sum(ring.constant(np.zeros((2, 0))), (1,)).tolist() == [0, 0]
        assert ring.matmul(ring.constant(np.zeros((1, 2, 0))), ring.constant(np.zeros((1, 0, 3)))).shape == (
            1,
            2,
            3,
        )
