"""`simplest_fraction` against its definition: it rounds to the float, and nothing simpler does."""

import math
from fractions import Fraction

import flint
import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

from dlntheory.exact import exact_array, simplest_fraction


@pytest.mark.parametrize(
    ("x", "expected"),
    [
        (0.1, Fraction(1, 10)),
        (-0.1, Fraction(-1, 10)),
        (1 / 3, Fraction(1, 3)),
        (0.5, Fraction(1, 2)),
        (22 / 7, Fraction(22, 7)),
        (0.0, Fraction(0)),
        (-0.0, Fraction(0)),
        (1e300, Fraction(int(1e300))),
        (2.0**60, Fraction(2**60)),
        (123456.789, Fraction(123456789, 1000)),
        (1e-3, Fraction(1, 1000)),
        (2.0**-40, Fraction(1, 2**40)),
    ],
)
def test_what_people_write(x, expected):
    assert simplest_fraction(x) == expected


@settings(deadline=None)
@given(st.integers(-60000, 60000), st.integers(1, 60000))
def test_written_fractions_come_back(p, q):
    assert simplest_fraction(p / q) == Fraction(p, q)


@settings(deadline=None, max_examples=300)
@given(st.floats(allow_nan=False, allow_infinity=False))
def test_rounds_back_to_the_float(x):
    assert float(simplest_fraction(x)) == x


@settings(deadline=None, max_examples=100)
@given(st.integers(1, 400), st.integers(-4, 4))
def test_no_smaller_denominator_rounds_to_the_float(q, steps):
    x = 1 + 1 / q
    for _ in range(abs(steps)):
        x = math.nextafter(x, math.copysign(math.inf, steps))
    found = simplest_fraction(x)
    for denominator in range(1, min(found.denominator, 2000)):
        nearest = Fraction(round(Fraction(x) * denominator), denominator)
        assert float(nearest) != x


def test_ends_of_the_rounding_interval_count_when_the_last_bit_is_even():
    # 1 + 2**-53 lies midway between 1 and the next float and rounds to the even one, 1.
    x = 1 + 2**-52
    assert float(simplest_fraction(x)) == x
    tie = Fraction(2**53 + 1, 2**53)
    assert simplest_fraction(float(tie)) == 1


@pytest.mark.parametrize("x", [5e-324, 1.5e-323, 2.5e-310, math.ulp(0.0) * 3, 1.7e-308])
def test_subnormal_numbers(x):
    assert float(simplest_fraction(x)) == x


@pytest.mark.parametrize("x", [math.inf, -math.inf, math.nan])
def test_refuses_what_is_not_finite(x):
    with pytest.raises(ValueError, match="must be finite"):
        simplest_fraction(x)


def test_exact_array_of_every_kind_of_number():
    third = Fraction(1, 3)
    mixed = np.array([1, third, sympy.Rational(1, 3), flint.fmpq(1, 3), 0.1, np.int64(2)], dtype=object)
    assert list(exact_array(mixed)) == [1, third, third, third, Fraction(1, 10), 2]
    assert exact_array(np.array([[0.5, 0.25]])).tolist() == [[Fraction(1, 2), Fraction(1, 4)]]
    assert exact_array(True).shape == ()
    assert exact_array(np.zeros((0, 3))).shape == (0, 3)


def test_exact_array_refuses_complex_and_text():
    with pytest.raises(ValueError, match="complex128"):
        exact_array(np.array([1j]))
    with pytest.raises(ValueError, match="real numbers"):
        exact_array(np.array(["a"], dtype=object))
