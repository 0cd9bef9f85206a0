"""The classification of two-layer level sets: exactly, at points whose level set is checked, and by a second route."""

from fractions import Fraction

import jax
import numpy as np
import pytest
import sympy

import dlntheory as dln
from dlntheory.exact.linear_algebra import DEFAULT_PRIME
from dlntheory.laws import conservation_laws
from dlntheory.reductions.intrinsicity import two_layer_level_set, two_layer_table
from dlntheory.reductions.intrinsicity.kernel_criterion import ModularMetric, kernel_test
from dlntheory.reductions.intrinsicity.two_layer_classification import _METRICS, level_set_point


@pytest.fixture(scope="module")
def table():
    return two_layer_table(3)


def test_table_of_the_324_level_sets(table):
    assert (len(table.rows), table.intrinsic, table.mismatches) == (324, 134, ())
    assert {row.case for row in table.rows} == {"", "a", "b", "b'", "c", "d"}
    # Mixed level sets lie beyond the published range r <= max(n, m).
    assert all(row.r >= row.n + row.m for row in table.rows if row.case == "c")
    assert "324 level sets, 134 intrinsic, 0 mismatches" in str(table)
    assert len(str(table).splitlines()) == 324 + 3
    assert table._repr_html_().count("<tr>") == 325 + 3  # and three facts above


def test_another_seed_and_prime_find_the_same(table):
    other = two_layer_table(3, seed=5, prime=2**31 - 19)
    assert [(row.fibre, row.defect) for row in other.rows] == [(row.fibre, row.defect) for row in table.rows]


@pytest.mark.slow
def test_table_of_the_920_level_sets():
    table = two_layer_table(4)
    assert (len(table.rows), table.intrinsic, table.mismatches) == (920, 281, ())


@pytest.mark.parametrize("signature", [(2, 0, 0), (0, 2, 0), (2, 1, 2), (0, 0, 3), (3, 2, 1)])
def test_points_lie_on_their_level_set(signature):
    p, q, _ = signature
    rng = np.random.default_rng(0)
    for distinct in (False, True):
        u, v = level_set_point(3, 2, signature, distinct=distinct, rng=rng)
        gram = np.array(u.T.astype(object) @ u - v.T.astype(object) @ v) % DEFAULT_PRIME
        diagonal = np.diag(gram)
        assert not np.any(gram - np.diag(diagonal))
        assert not np.any(diagonal[p + q :])
        assert len(set(diagonal[:p])) == (p if distinct else min(p, 1))
        assert len(set(diagonal[p : p + q])) == (q if distinct else min(q, 1))


@pytest.mark.parametrize("prime", [DEFAULT_PRIME, 2**31 - 19])
def test_the_interpreted_kernel_test_agrees_at_the_same_points(prime):
    n, m, r = 2, 1, 3
    arch = dln.linear_network((m, r, n))
    laws, metric = conservation_laws(arch).laws, ModularMetric(arch)
    rng = np.random.default_rng(1)
    found = {}
    for signature in [(2, 1, 0), (2, 0, 1), (0, 0, 3), (1, 1, 1)]:
        for distinct in (False, True):
            u, v = level_set_point(n, m, signature, distinct=distinct, rng=rng, prime=prime)
            point = np.concatenate([v.T.ravel(), u.ravel()])
            found[signature, distinct] = kernel_test(metric, laws, point, prime).holds
    for (signature, distinct), holds in found.items():
        p, q, _ = signature
        values = [*(1.0 + distinct * i for i in range(p)), *(-1.0 - distinct * i for i in range(q))]
        expected = two_layer_level_set(n, m, r, [*values, *[0.0] * (r - p - q)])
        assert holds == expected.is_intrinsic, (signature, distinct)
    assert found[(2, 1, 0), False]
    assert not found[(2, 1, 0), True]


@pytest.mark.parametrize(
    ("sizes", "eigenvalues", "case"),
    [
        ((3, 2, 2), (0.7, 0.7), "b"),
        ((3, 1, 2), (0.7, 0.7), ""),
        ((3, 1, 3), (0.7, 0.7, 0.7), "b"),
        ((3, 1, 2), (0.0, 0.0), "a"),
        ((3, 2, 2), (0.7, 0.3), ""),
        ((1, 3, 2), (-0.7, -0.7), ""),
        ((2, 3, 2), (-0.7, -0.7), "b'"),
        ((3, 2, 5), (0.9, 0.9, 0.9, -0.4, -0.4), "c"),
        ((3, 2, 5), (0.9, 0.9, 0.9, -0.4, -0.5), ""),
        ((2, 2, 4), (0.9, -0.4, 0.0, 0.0), ""),
        ((1, 1, 4), (0.9, -0.4, 0.0, 0.0), "d"),
        ((3, 3, 2), (0.7, 0.0), ""),
    ],
)
def test_single_level_sets(sizes, eigenvalues, case):
    found = two_layer_level_set(*sizes, eigenvalues)
    assert (found.case, found.is_intrinsic, found.is_empty) == (case, bool(case), False)
    assert found.metric == _METRICS.get(case, "")
    assert found._repr_latex_()
    half = {"b": r"\kappa = \lambda/2", "b'": r"\kappa = \lambda/2", "c": r"\kappa = (\lambda + \mu)/2"}
    assert half.get(case, "") in found.metric


def test_empty_level_sets_give_the_inequality():
    assert two_layer_level_set(2, 5, 3, (0.7, 0.7, 0.7)).is_empty
    assert two_layer_level_set(2, 5, 3, (0.7, 0.7, 0.7)).reason.endswith("3 positive eigenvalues > n = 2")
    assert two_layer_level_set(5, 2, 3, (-1, -1, -1)).reason.endswith("3 negative eigenvalues > m = 2")
    with pytest.raises(ValueError, match="Argument `signature` must have at most 2 positive"):
        level_set_point(2, 2, (3, 0, 0), rng=np.random.default_rng(0))


@pytest.mark.parametrize("wrong", [(2, 2, 2, (1.0,)), (2, 2, 2, (1.0, np.nan)), (0, 2, 1, (1.0,))])
def test_malformed_level_sets(wrong):
    with pytest.raises(ValueError, match="Argument"):
        two_layer_level_set(*wrong)
    with pytest.raises(ValueError, match="largest"):
        two_layer_table(0)


@pytest.mark.parametrize(
    ("sizes", "plus", "minus"),
    [((3, 2, 5), 0.9, 0.4), ((2, 2, 2), 0.7, 0.0), ((2, 3, 2), 0.7, 0.0), ((2, 3, 3), 0.0, 0.6)],
)
def test_metrics_of_the_cases_in_floats(sizes, plus, minus):
    """K as printed against M at a float point made by hand, not through the Cayley transform mod p."""
    n, m, r = sizes
    rng = np.random.default_rng(2)
    start = np.zeros((n + m, r))
    count_plus = n if plus and minus else r if plus else 0
    for i in range(count_plus):
        start[i, i] = np.sqrt(plus)
    for j in range(r - count_plus):
        start[n + j, count_plus + j] = np.sqrt(minus)
    signs = np.diag([1.0] * n + [-1.0] * m)
    skew = 0.3 * rng.standard_normal((n + m, n + m))
    skew = (skew - skew.T) @ signs
    point = np.linalg.solve(np.eye(n + m) - skew, (np.eye(n + m) + skew) @ start)
    u, v = point[:n], point[n:]
    z, kappa, g = u @ v.T, (plus + minus) / 2, rng.standard_normal((n, m))

    def root(matrix):
        values, vectors = np.linalg.eigh(matrix + kappa**2 * np.eye(len(matrix)))
        return (vectors * np.sqrt(values)) @ vectors.T

    expected = root(z @ z.T) @ g + g @ root(z.T @ z)
    assert np.allclose(u @ u.T @ g + g @ v @ v.T, expected, atol=1e-13)
    spectrum = np.linalg.eigvalsh(u.T @ u - v.T @ v)
    case = two_layer_level_set(n, m, r, np.round(spectrum, 12)).case
    assert case == ("c" if plus and minus else "b" if plus else "b'")


def test_metric_of_one_input_and_one_output():
    rng = np.random.default_rng(3)
    u, v = rng.standard_normal((2, 4))
    s = np.outer(u, u) - np.outer(v, v)
    found = np.sqrt(2 * np.trace(s @ s) - np.trace(s) ** 2 + 4 * (u @ v) ** 2)
    assert abs(found - (u @ u + v @ v)) < 1e-13


@pytest.mark.parametrize("lam", [0.7, 0.0])
def test_measured_eigenvalues_are_taken_with_their_rounding(lam):
    arch = dln.linear_network((3, 2, 3))
    theta = dln.lambda_balanced(arch, jax.random.key(0), lam)
    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    found = two_layer_level_set(3, 3, 2, np.linalg.eigvalsh(w2.T @ w2 - w1 @ w1.T))
    assert found.case == ("b" if lam else "a")


def test_exact_eigenvalues_are_compared_exactly():
    close = [Fraction(1), Fraction(1) + Fraction(1, 10**20)]
    assert not two_layer_level_set(3, 3, 2, close).is_intrinsic
    assert two_layer_level_set(3, 3, 2, [float(value) for value in close]).is_intrinsic
    assert two_layer_level_set(3, 3, 2, [sympy.sqrt(2), sympy.sqrt(2)]).is_intrinsic
    assert not two_layer_level_set(3, 3, 2, [1e-12, 2e-12], scale=1e-6).is_intrinsic
    with pytest.raises(ValueError, match="eigenvalues"):
        two_layer_level_set(3, 3, 2, [1.0, float("nan")])
