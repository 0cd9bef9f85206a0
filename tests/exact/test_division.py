"""Division by parameters: reciprocals of every ring, derivatives of rational maps, brackets against SymPy."""

import itertools
from fractions import Fraction

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from hypothesis import given, settings, strategies as st

from dlntheory.exact import DivisionByZeroInRing, Expressions, NilpotentModular, Rationals, interpret, trace
from dlntheory.exact.rings.fractions import Quotients, TooManyTermsError, exact_quotient
from dlntheory.exact.rings.polynomials import Polynomials, SparsePolynomial, TermCounts, from_sympy

Q = Rationals()
X = sympy.symbols("x0:3")
PRIMES = [2**31 - 1, 65537, 7, 3, 2]


def squares(x):
    return x[..., :1] ** 2 + x[..., 1:2] ** 2 + 1.0


PHIS = {
    "quotient": lambda x: x / squares(x),
    "direction": lambda x: jnp.outer(x, x) / jnp.vdot(x, x),
    "negative power": lambda x: 3.0 * squares(x) ** -2 + x,
    "float power": lambda x: x * squares(x) ** -1.0,
    "constant over": lambda x: 0.5 / squares(x),
    "nested": lambda x: x / (1.0 + x**2 / squares(x)),
    "reciprocal": lambda x: jnp.reciprocal(squares(x)) * x,
    "jit": lambda x: jax.jit(lambda y: y / squares(y))(x),
    "derivative": lambda x: jax.grad(lambda y: jnp.sum(y / squares(y)))(x),
    "second derivative": lambda x: jax.grad(
        lambda y: jnp.vdot(x, jax.grad(lambda z: jnp.sum(z / squares(z)))(y))
    )(x),
}


@pytest.mark.parametrize("name", PHIS)
@settings(deadline=None, max_examples=20)
@given(point=st.lists(st.integers(-4, 4), min_size=3, max_size=3).filter(any))
def test_rationals_equal_floats(name, point):
    exact = interpret(PHIS[name], Q, Q.constant(point))
    floats = np.asarray(PHIS[name](jnp.asarray(point, float)))
    assert exact.shape == floats.shape
    np.testing.assert_allclose(
        np.array([float(x) for x in exact.ravel()]), floats.ravel(), rtol=1e-13, atol=1e-14
    )


@pytest.mark.parametrize("name", PHIS)
def test_expressions_and_quotients_are_the_same_function(name):
    phi, point = PHIS[name], [Fraction(2), Fraction(-1), Fraction(3)]
    exact = interpret(phi, Q, Q.constant(np.array(point, dtype=object))).ravel()
    symbolic = interpret(phi, Expressions(), np.array(X, dtype=object)).ravel()
    at = dict(zip(X, (2, -1, 3), strict=True))
    assert [sympy.Rational(int(x.p), int(x.q)) for x in exact] == [entry.subs(at) for entry in symbolic]
    ring = Quotients()
    for quotient, value in zip(interpret(phi, ring, ring.variables((3,))).ravel(), exact, strict=True):
        bottom = sympy.prod(ring.bases[base].to_sympy(X) ** power for base, power in quotient.powers.items())
        assert (quotient.top.to_sympy(X) / bottom).subs(at) == sympy.Rational(int(value.p), int(value.q))


@pytest.mark.parametrize("name", PHIS)
@settings(deadline=None, max_examples=10)
@given(
    point=st.lists(st.integers(1, 9), min_size=3, max_size=3),
    direction=st.lists(st.integers(-9, 9), min_size=3, max_size=3),
)
def test_the_part_of_a_unit_is_the_derivative(name, point, direction):
    phi, ring = PHIS[name], NilpotentModular()
    result = interpret(phi, ring, ring.join(ring.constant(point), ring.constant(direction), 0))
    low, high = ring.split(result, 0)
    value, slope = interpret(
        lambda x, dx: jax.jvp(phi, (x,), (dx,)), Q, Q.constant(point), Q.constant(direction)
    )
    for found, exact in ((low, value), (high, slope)):
        expected = [int(x.p) * pow(int(x.q), -1, ring.prime) % ring.prime for x in exact.ravel()]
        assert found.ravel().tolist() == expected


@pytest.mark.parametrize("prime", PRIMES)
@pytest.mark.parametrize("level", range(4))
def test_reciprocals_modulo_a_prime(prime, level):
    ring, rng = NilpotentModular(prime), np.random.default_rng(level)
    x = rng.integers(0, prime, (2**level, 2, 3))
    x[0] = rng.integers(1, prime, (2, 3))
    product = ring.mul(x, ring.reciprocal(x))
    assert (product[0] == 1).all()
    assert not product[1:].any()


def test_zeros_modulo_a_prime_are_told_point_by_point():
    ring = NilpotentModular(7)
    x = ring.from_integers([[1, 2], [3, 14], [0, 7]])
    with pytest.raises(DivisionByZeroInRing, match="zero modulo 7 at 2 of 3 points") as error:
        ring.reciprocal(ring.join(x, x, 0))
    assert error.value.points.tolist() == [False, True, True]


def test_zeros_and_rings_without_reciprocals():
    for ring in (Q, Expressions()):
        assert ring.reciprocal(ring.constant([2, -0.5])).tolist() == [1 / ring.constant(2)[()], -2]
        assert ring.shape(ring.reciprocal(ring.constant(4))) == ()
        with pytest.raises(
            ValueError, match="no zero among .* but 1 of 2 are zero: a denominator of φ vanishes"
        ):
            ring.reciprocal(ring.constant([1, 0]))
    with pytest.raises(TypeError, match="must have reciprocals .* Polynomials has none; use `Quotients`"):
        Polynomials().reciprocal(Polynomials().variables((1,)))
    assert TermCounts().reciprocal(np.array([5, 3], dtype=object)).tolist() == [1, 1]


def test_what_divides_is_rational():
    example = jax.ShapeDtypeStruct((3,), float)
    assert trace(PHIS["quotient"], example).is_rational
    assert not trace(lambda x: x / 3.0, example).is_rational
    # JAX differentiates y ** 1.0 with y ** 0.0 times 0 / y; nothing of that survives.
    assert not trace(jax.grad(lambda x: jnp.sum(x**2.0)), example).is_rational


def sympy_bracket(f, g):
    return g.jacobian(X) * f - f.jacobian(X) * g


def field(x, c):
    return jax.grad(lambda y: jnp.vdot(c, jnp.outer(y[:2], y) / (y[0] ** 2 + y[1] * y[2])))(x)


@pytest.mark.parametrize("prime", [2**31 - 1, 101])
def test_strings_of_rational_fields_equal_symbolic_brackets(prime):
    ring, rng = NilpotentModular(prime), np.random.default_rng(3)
    program = trace(field, jax.ShapeDtypeStruct((3,), float), jax.ShapeDtypeStruct((2, 3), float))
    combinations, x0 = rng.integers(-4, 5, (3, 2, 3)), [2, 3, -5]
    bottom = X[0] ** 2 + X[1] * X[2]
    fields = []
    for c in combinations:
        value = sum(int(c[i, j]) * X[i] * X[j] / bottom for i, j in itertools.product(range(2), range(3)))
        fields.append(sympy.Matrix([sympy.diff(value, x) for x in X]))
    inner = sympy_bracket(fields[1], fields[2])
    for slots, expected in (([], fields[2]), ([1], inner), ([0, 1], sympy_bracket(fields[0], inner))):
        points = [ring.constant(x0)]
        for level, slot in enumerate(slots):
            value = program.evaluate(ring, points[-1], ring.constant(combinations[slot]))
            points.append(ring.join(points[-1], value, level))
        y = program.evaluate(ring, points[-1], ring.constant(combinations[2]))
        for level in reversed(range(len(slots))):
            low, high = ring.split(y, level)
            moved = ring.join(points[level], low, level)
            _, slope = ring.split(
                program.evaluate(ring, moved, ring.constant(combinations[slots[level]])), level
            )
            y = ring.add(high, ring.neg(slope))
        values = expected.subs(dict(zip(X, x0, strict=True)))
        assert any(values)
        assert y.ravel().tolist() == [int(v.p) * pow(int(v.q), -1, prime) % prime for v in values]


small = st.dictionaries(
    st.lists(st.integers(0, 2), max_size=2).map(lambda m: tuple(sorted(m))), st.integers(-3, 3), max_size=4
).map(SparsePolynomial)


@settings(deadline=None)
@given(a=small, b=small.filter(lambda p: p.degree > 0))
def test_exact_quotients(a, b):
    assert exact_quotient(a * b, b) == a
    remainder = sympy.div(
        sympy.Poly(a.to_sympy(X), *X, domain="QQ"), sympy.Poly(b.to_sympy(X), *X, domain="QQ")
    )[1]
    assert (exact_quotient(a, b) is None) == (not remainder.is_zero)


def test_denominators_are_shared():
    ring = Quotients()
    x, y, _ = X
    of = lambda expression: np.array([from_sympy(expression, X)], dtype=object)
    s = ring.mul(ring._of(of(2 * x**2 + 2 * y**2)), ring.constant([1]))
    inverse = ring.reciprocal(s)
    assert (inverse[0].top.terms, inverse[0].powers) == ({(): flint.fmpq(1, 2)}, {0: 1})
    assert ring.reciprocal(ring.mul(s, s))[0].powers == {0: 2}
    assert ring.reciprocal(inverse)[0].top == s[0].top
    total = ring.add(inverse, ring.mul(inverse, inverse))[0]
    assert total.powers == {0: 2}
    assert ring.text(total) == "(1/4 + 1/2*x0^2 + 1/2*x1^2)/(x0^2 + x1^2)^2"
    assert len(ring.bases) == 1
    again = ring.reduced(ring.common([ring.mul(s, inverse)[0], s[0]]))
    assert not again.powers
    assert again.tops == [SparsePolynomial({(): 1}), s[0].top]


def test_sizes_are_limited():
    ring = Quotients(max_products=10)
    x = ring.variables((3,))
    total = ring.sum(x, (0,)).reshape(1)
    with pytest.raises(TooManyTermsError):
        ring.mul(ring.mul(total, total), total)
    with pytest.raises(ValueError, match="identically zero"):
        ring.reciprocal(ring.constant([0]))
