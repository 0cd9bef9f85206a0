"""Sparse polynomials against SymPy, and the rings of polynomials and of term counts against each other."""

import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

from dlntheory.exact import Rationals, interpret
from dlntheory.exact.rings.polynomials import (
    Polynomials,
    SparsePolynomial,
    TermCounts,
    from_sympy,
    sum_of_products,
)

PRIME = 2**31 - 1
X = sympy.symbols("x0:4")
monomials = st.lists(st.integers(0, 3), max_size=3).map(lambda m: tuple(sorted(m)))
values = st.fractions(min_value=-5, max_value=5, max_denominator=7)
polynomials = st.dictionaries(monomials, values, max_size=5).map(SparsePolynomial)


@settings(deadline=None, max_examples=40)
@given(polynomials, polynomials)
def test_arithmetic_agrees_with_sympy(a, b):
    x, y = a.to_sympy(X), b.to_sympy(X)
    assert sympy.expand(x + y - (a + b).to_sympy(X)) == 0
    assert sympy.expand(x - y - (a - b).to_sympy(X)) == 0
    assert sympy.expand(x * y - (a * b).to_sympy(X)) == 0
    for variable in range(4):
        assert sympy.expand(sympy.diff(x, X[variable]) - a.derivative(variable).to_sympy(X)) == 0
    assert from_sympy(x, X) == a


@settings(deadline=None, max_examples=40)
@given(polynomials, polynomials)
def test_primitive_multiples_are_canonical(a, b):
    if not a:
        assert a.primitive() == a
        return
    primitive = a.primitive()
    coefficients = [int(value.p) for value in primitive.terms.values()]
    assert all(value.q == 1 for value in primitive.terms.values())
    assert np.gcd.reduce(coefficients) == 1
    assert a.scaled(-3).primitive() == primitive
    assert hash(a + b - b) == hash(a)


def test_values_modulo_a_prime_are_ring_homomorphic():
    a = SparsePolynomial({(0, 0, 1): 3, (2,): -1, (): 5})
    point = np.array([2, 7, pow(2, -1, PRIME)])
    assert a.evaluate_mod(point, PRIME) == (3 * 4 * 7 + 5 - pow(2, -1, PRIME)) % PRIME
    with pytest.raises(ValueError, match="must not divide a denominator"):
        SparsePolynomial({(): sympy.Rational(1, 7)}).evaluate_mod(point, 7)


def test_text_names_powers_and_signs():
    a = SparsePolynomial({(0, 0): 1, (0, 1): -2, (): sympy.Rational(1, 2)})
    assert a.text(["u", "v"]) == "1/2 + u^2 - 2*u*v"
    assert str(SparsePolynomial({})) == "0"
    assert (a.degree, a.variables) == (2, (0, 1))


def test_polynomial_maps_expand_to_what_they_evaluate_to():
    def phi(p):
        return jnp.einsum("ij,jk->ik", p["A"], p["B"] + 0.5 * p["A"].T) ** 2 - p["A"][:, :1]

    ring = Polynomials()
    variables = {"A": ring.variables((2, 3)), "B": ring.variables((3, 2), start=6)}
    expanded = interpret(phi, ring, variables)
    rng = np.random.default_rng(0)
    point = rng.integers(-3, 4, size=12)
    exact = interpret(
        phi,
        Rationals(),
        {
            "A": Rationals().constant(point[:6].reshape(2, 3)),
            "B": Rationals().constant(point[6:].reshape(3, 2)),
        },
    )
    for polynomial, value in zip(expanded.ravel(), exact.ravel(), strict=True):
        expected = int(value.p) * pow(int(value.q), -1, PRIME) % PRIME
        assert polynomial.evaluate_mod(point % PRIME, PRIME) == expected
    counts = interpret(phi, TermCounts(), {"A": _ones((2, 3)), "B": _ones((3, 2))})
    assert all(
        len(polynomial.terms) <= count
        for polynomial, count in zip(expanded.ravel(), counts.ravel(), strict=True)
    )


def test_term_counts_are_exact_without_cancellation():
    counts = interpret(lambda a, b: a @ b, TermCounts(), _ones((2, 5)), _ones((5, 3)))
    assert (counts == 5).all()


def test_constants_that_nobody_wrote_as_a_fraction_are_refused():
    assert interpret(lambda x: 0.1 * x, TermCounts(10**6), _ones(())).item() == 1
    with pytest.raises(ValueError, match=r"denominators up to 1000000, but holds 3\.14159"):
        interpret(lambda x: np.pi * x, TermCounts(10**6), _ones(()))


@pytest.mark.parametrize(
    "bad", [X[0] * sympy.Float(0.1), sympy.sin(X[0]), sympy.sqrt(2) * X[0], sympy.Symbol("y")]
)
def test_expressions_that_are_no_rational_polynomials_are_refused(bad):
    with pytest.raises(ValueError, match="Argument `expression` must"):
        from_sympy(bad, X)


def test_a_sum_of_products_needs_no_intermediate_products():
    x, y = (SparsePolynomial({(i,): 1}) for i in range(2))
    assert sum_of_products([(x, y), (-y, x)]) == SparsePolynomial({})
    assert not sum_of_products([])


def _ones(shape):
    return np.ones(shape, dtype=np.int64).astype(object)
