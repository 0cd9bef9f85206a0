"""`Law`: three ways to the same numbers (SymPy, JAX, residues), transforms, formulas, and what it refuses."""

from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory.display.latex import latex_name
from dlntheory.exact.linear_algebra import DEFAULT_PRIME
from dlntheory.exact.rings.polynomials import SparsePolynomial
from dlntheory.laws.law import (
    coordinate_names,
    law_of_expressions,
    law_of_polynomials,
    law_of_quotients,
    law_of_terms,
)
from dlntheory.laws.matrix_terms import Term
from dlntheory.laws.printing import canonical, minimal_span_basis
from dlntheory.laws.search.strategies import sorted_laws

BLOCKS = (
    ("s", ()),
    ("W", (3, 3)),
    ("V", (3, 3)),
    ("b", (3,)),
    ("c", (4,)),
    ("G", (2, 3, 2)),
    ("H", (2, 3, 2)),
)
ONE, HALF = Fraction(1), Fraction(1, 2)
TERMS = {
    "gram-left": [Term(ONE, "gram", ("W",), (), (1,)), Term(-HALF, "gram", ("V",), (), (0,))],
    "outer": [Term(ONE, "gram", ("W",), (), (1,)), Term(-ONE, "gram", ("b",), (), (0,))],
    "affine": [Term(ONE, "gram", ("W",), (), (1,)), Term(ONE, "symmetric", ("V",))],
    "batch": [Term(ONE, "gram", ("G",), (0,), (1,)), Term(-ONE, "gram", ("H",), (2,), (1,))],
    "unfolding": [Term(ONE, "gram", ("G",), (), (2,))],
    "diagonal": [
        Term(ONE, "gram", ("W",), (1,)),
        Term(-ONE, "gram", ("b",), (0,)),
        Term(HALF, "sum", ("V",), (0,)),
    ],
    "entries": [Term(ONE, "gram", ("W",), (0, 1)), Term(ONE, "sum", ("V",), (0, 1))],
    "norm": [Term(ONE, "gram", ("G",)), Term(-ONE, "gram", ("s",)), Term(ONE, "sum", ("c",))],
    "autocorrelation": [Term(ONE, "autocorrelation", ("c",))],
    "product": [Term(ONE, "product", ("W", "V"), (), (1, 0))],
    "entrywise product": [Term(ONE, "product", ("W", "V"), (0, 1))],
    "inner product": [Term(ONE, "product", ("W", "V"))],
    "skew": [Term(ONE, "skew", ("W", "V"), (), (0, 1), 2)],
    "skew batch": [Term(ONE, "skew", ("G", "H"), (0,), (1, 1))],
}


@pytest.fixture(scope="module")
def params():
    rng = np.random.default_rng(0)
    return {name: jnp.asarray(rng.integers(-3, 4, size=shape) / 2) for name, shape in BLOCKS}


def exact_values(law, params):
    flat = np.concatenate([np.ravel(params[name]) for name, _ in law.blocks])
    rationals = [sympy.Rational(int(2 * x), 2) for x in flat]
    return [expression.subs(dict(zip(law.symbols, rationals, strict=True))) for expression in law.expressions]


@pytest.mark.parametrize("name", TERMS)
def test_matrix_products_agree_with_index_arrays(name, params):
    law = law_of_terms(BLOCKS, TERMS[name])
    value = law(params)
    assert value.shape == law.value_shape
    # Half integers of this size are exact in floats.
    assert [sympy.nsimplify(float(x)) for x in jnp.ravel(value)[law.positions]] == exact_values(law, params)
    if law.matrix is not None:
        symbols = dict(
            zip(law.symbols, np.concatenate([np.ravel(params[n]) for n, _ in BLOCKS]), strict=True)
        )
        np.testing.assert_allclose(np.array(law.matrix.subs(symbols), dtype=float), value, atol=1e-12)


@pytest.mark.parametrize("name", TERMS)
def test_gradients_modulo_a_prime_are_those_of_the_polynomials(name):
    law = law_of_terms(BLOCKS, TERMS[name])
    point = np.random.default_rng(1).integers(1, DEFAULT_PRIME, size=law.dimension)
    same = law_of_polynomials(BLOCKS, law.polynomials)
    np.testing.assert_array_equal(law.gradients_mod_p(point), same.gradients_mod_p(point))


@pytest.mark.parametrize("name", ["gram-left", "skew"])
def test_gradients_modulo_a_prime_are_those_of_jax(name, params):
    law = law_of_terms(BLOCKS, TERMS[name])
    jacobian = law.gradient(params)
    size = int(np.prod(law.value_shape, dtype=int))
    dense = np.concatenate([np.reshape(jacobian[n], (size, -1)) for n, _ in BLOCKS], axis=1)[law.positions]
    flat = np.concatenate([np.ravel(params[n]) for n, _ in BLOCKS])
    inverse = pow(2, -1, DEFAULT_PRIME)
    point = np.round(2 * flat).astype(np.int64) * inverse % DEFAULT_PRIME
    # Coordinates are half integers, so that sixteen times a gradient of degree three is an integer.
    expected = np.round(16 * dense).astype(np.int64) * pow(inverse, 4, DEFAULT_PRIME) % DEFAULT_PRIME
    np.testing.assert_array_equal(law.gradients_mod_p(point), expected)


def test_explicit_laws_and_quotients_agree_with_sympy(params):
    x, y = SparsePolynomial({(1, 1): 2, (3,): -1, (): 3}), SparsePolynomial({(1,): 1, (2, 2, 3): HALF})
    polynomial = law_of_polynomials(BLOCKS, [x, y])
    np.testing.assert_allclose(polynomial(params), np.array(exact_values(polynomial, params), dtype=float))
    quotient = law_of_quotients(BLOCKS, [(x, y)])
    np.testing.assert_allclose(quotient(params), np.array(exact_values(quotient, params), dtype=float))
    point = np.arange(1, 1 + quotient.dimension)
    # b^2 grad(a/b) by SymPy.
    values = dict(zip(quotient.symbols, map(int, point), strict=True))
    for index in (1, 2, 3):
        symbol = quotient.symbols[index]
        exact = sympy.diff(quotient.expressions[0], symbol) * y.to_sympy(quotient.symbols) ** 2
        number = exact.subs(values)
        residue = int(number.p) * pow(int(number.q), -1, DEFAULT_PRIME) % DEFAULT_PRIME
        assert quotient.gradients_mod_p(point)[0, index] == residue
    assert (quotient.kind, polynomial.degree, quotient.degree) == ("rational", 3, 3)
    assert r"\frac{" in quotient.latex()


def test_laws_go_through_jit_vmap_and_grad(params):
    for terms in (TERMS["gram-left"], TERMS["skew"]):
        law = law_of_terms(BLOCKS, terms)
        call = jax.jit(eqx.debug.assert_max_traces(law.__call__, max_traces=1))
        np.testing.assert_allclose(call(params), law(params))
        np.testing.assert_allclose(call(params), law(params))
        batch = jax.tree_util.tree_map(lambda x: jnp.stack([x, 2 * x]), params)
        np.testing.assert_allclose(jax.vmap(law)(batch)[0], law(params))
        slope = jax.grad(lambda p, law=law: jnp.sum(law(p) ** 2))(params)
        assert slope["W"].shape == (3, 3)
    explicit = law_of_polynomials(BLOCKS, [SparsePolynomial({(1, 1): 1})])
    assert jax.vmap(jax.jit(explicit))(batch).shape == (2, 1)


def test_formulas_name_the_factors():
    blocks = (("W1", (2, 3)), ("W2", (1, 2)), ("b1", (2,)))
    law = law_of_terms(blocks, [(1, "W2", "gram-left"), (-1, "W1", "gram-right"), (-1, "b1", "outer")])
    assert str(law) == "W2^T W2 - W1 W1^T - b1 b1^T"
    assert law.latex() == r"W_{2}^\top W_{2} - W_{1} W_{1}^\top - b_{1} b_{1}^\top"
    assert law._repr_latex_().startswith("$")
    assert law.matrix_form == ((1, "W2", "gram-left"), (-1, "W1", "gram-right"), (-1, "b1", "outer"))
    diagonal = law_of_terms(blocks, [(1, "W2", "diag-left"), (-1, "W1", "diag-right"), (-1, "b1", "square")])
    assert str(diagonal) == "diag(W2^T W2) - diag(W1 W1^T) - b1*b1"
    assert diagonal.kind == "diagonal"
    sums = law_of_terms(blocks, [(2, "W2", "column-sum"), (-1, "W1", "row-sum")])
    assert (str(sums), sums.kind) == ("2*1^T W2 - W1 1", "linear")
    norm = law_of_terms(blocks, [(1, "W2", "norm"), (HALF, "b1", "sum")])
    assert (str(norm), norm.latex()) == (
        "|W2|^2 + 1/2*sum(b1)",
        r"\lVert W_{2} \rVert^2 + 1/2\,\mathbf{1}^\top b_{1}",
    )
    assert [one.kind for one in sorted_laws([norm, diagonal, law])] == ["matrix", "diagonal", "norm"]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("W12", "W_{12}"),
        ("alpha", r"\alpha"),
        ("W1'", r"\dot{W}_{1}"),
        ("Wq", r"\mathrm{Wq}"),
        ("a_b", r"\mathrm{a\_b}"),
    ],
)
def test_latex_names(name, expected):
    assert latex_name(name) == expected
    assert latex_name("W1", (0, 2)) == "(W_{1})_{1,3}"


def test_canonical_multiples_and_short_differences():
    assert canonical([Fraction(0), Fraction(-2, 3), Fraction(4)]) == [0, 1, -6]
    rows = [[1, 0, 0, -1], [0, 1, 0, -1], [0, 0, 1, -1]]
    basis = minimal_span_basis([[Fraction(x) for x in row] for row in rows])
    assert basis == [[1, -1, 0, 0], [0, 1, -1, 0], [0, 0, 1, -1]]


def test_rank_is_below_the_number_of_entries_where_it_must_be():
    blocks = (("U", (1, 3)), ("V", (3, 1)))
    law = law_of_terms(blocks, [(1, "U", "gram-left"), (-1, "V", "gram-right")])
    assert (law.size, law.rank) == (6, 5)


def test_expressions_are_read_back():
    blocks = (("u", (2,)), ("v", ()))
    u1, u2, v = law_of_expressions(blocks, [0]).symbols
    law = law_of_expressions(blocks, [u1 * u2 - v**2 / 2, u1])
    assert law.expressions == (u1 * u2 - v**2 / 2, u1)
    assert coordinate_names(blocks) == ("u[1]", "u[2]", "v")
    assert law_of_expressions(blocks, [u1 - v]).kind == "linear"


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([(1, "X", "norm")], r"must name blocks of .* but names \['X'\]"),
        ([(1, "b", "gram-left")], "must use one of the labels"),
        ([(1, "W", "gram-left"), (1, "b", "square")], "must all have one shape"),
        ([], "must not be empty"),
    ],
)
def test_malformed_terms_are_refused(terms, message):
    with pytest.raises(ValueError, match=message):
        law_of_terms(BLOCKS, terms)


def test_points_of_the_wrong_length_are_refused():
    with pytest.raises(ValueError, match=r"must have shape \(50,\), but has shape \(2,\)"):
        law_of_terms(BLOCKS, TERMS["norm"]).gradients_mod_p(np.ones(2))


def test_unfoldings_print_without_a_double_subscript():
    from dlntheory.families import tensor_train
    from dlntheory.laws import conservation_laws

    text = conservation_laws(tensor_train((2, 3, 2), (2, 2))).latex()
    assert "{G_{2}}_{(1)}" in text
    assert "_{2}_{" not in text
