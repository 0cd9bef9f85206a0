"""The search at its edges: refusals before memory is used, large coefficients, early stops, sizes."""

import time

import numpy as np
import pytest

from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.laws.deadline import Deadline
from dlntheory.laws.law import law_of_polynomials
from dlntheory.laws.proof.verification import THEOREM_LINEAR, expand, verify
from dlntheory.laws.search.gram_ansatz import candidate_families, gram_laws
from dlntheory.laws.search.polynomial_ansatz import (
    AnsatzTooLargeError,
    kernel_mod_p,
    monomials,
    polynomial_laws,
)
from dlntheory.laws.search.quadratic_ansatz import quadratic_monomials
from dlntheory.laws.search.strategies import find_laws, search_stages
from dlntheory.laws.systems import GradientSystem

LINEAR = GradientSystem(linear_network((3, 4, 2)))


def test_a_degree_with_too_many_monomials_is_refused_before_the_search():
    start = time.monotonic()
    with pytest.raises(
        AnsatzTooLargeError, match=r"at most 3000 unknowns, but it has 10625 .*forms=\"gram\""
    ) as error:
        find_laws(LINEAR, degree=4)
    assert (error.value.unknowns, error.value.limit) == (10625, 3000)
    assert isinstance(error.value, MemoryError)
    assert time.monotonic() - start < 5
    generators = expand(LINEAR)
    with pytest.raises(AnsatzTooLargeError):
        next(iter(polynomial_laws(LINEAR, generators, 4, np.zeros((0, 20)), np.ones(20))))


def test_monomials_are_all_there_squares_first():
    rows = monomials(3, 2)
    assert rows.tolist() == [[0, 0], [1, 1], [2, 2], [0, 1], [0, 2], [1, 2], [0, 3], [1, 3], [2, 3]]
    assert sorted(map(tuple, rows)) == sorted(map(tuple, quadratic_monomials(3)))
    assert len(monomials(4, 3)) == 34


@pytest.mark.parametrize("widths", [(2, 2, 1), (1, 2, 2, 1), (2, 1, 3)])
def test_sparse_elimination_agrees_with_dense_linear_algebra(widths):
    """The kernel of all equations, written out with exact polynomials and solved by SymPy's rationals."""
    from sympy import Matrix

    generators = expand(GradientSystem(linear_network(widths)))
    unknowns = quadratic_monomials(generators.dimension)
    blocks = (("x", (generators.dimension,)),)
    columns, rows = [], {}
    for row in unknowns:
        monomial = tuple(int(v) for v in row if v < generators.dimension)
        law = law_of_polynomials(blocks, [type(generators.components[0])({monomial: 1})])
        column = generators.defect(law.polynomials[0]).terms
        columns.append({rows.setdefault(key, len(rows)): int(value.p) for key, value in column.items()})
    dense = Matrix(len(rows), len(unknowns), lambda i, j: columns[j].get(i, 0))
    kernel = kernel_mod_p(generators, unknowns, 2**31 - 1)
    assert len(kernel) == len(dense.nullspace())


@pytest.mark.parametrize("prime_like", [40_000, 999_983])
def test_coefficients_beyond_one_prime_are_lifted_by_two(prime_like):
    arch = Architecture(lambda p: prime_like * p["u"] + 0.001 * p["v"], {"u": (), "v": ()})
    laws = find_laws(GradientSystem(arch), forms="polynomial")
    # The gradient is (a, 1/1000), so that u - 1000 a v is conserved.
    assert [law.name for law in laws] == [f"u - {1000 * prime_like}*v"]


def test_coefficients_beyond_two_primes_are_not_invented():
    arch = Architecture(lambda p: 1e15 * p["u"] + 1e-6 * p["v"], {"u": (), "v": ()})
    assert find_laws(GradientSystem(arch)) == ()


def test_a_target_and_a_time_limit_stop_the_search():
    names = [name for name, *_ in search_stages(LINEAR, target=10)]
    assert names == ["Gram ansatz"]
    assert [name for name, *_ in search_stages(LINEAR, deadline=Deadline(0.0))] == ["Gram ansatz"]
    assert len(list(search_stages(LINEAR, target=11))) > 2


@pytest.mark.parametrize(
    ("forms", "first"), [("gram", "Gram"), ("polynomial", "quadratic"), ("rational", "rational")]
)
def test_forms_choose_the_stages(forms, first):
    assert all(name.startswith(first) for name, *_ in search_stages(LINEAR, forms=forms))


def test_degree_one_finds_linear_laws_only():
    assert find_laws(LINEAR, forms="polynomial", degree=1) == ()
    arch = Architecture(lambda p: p["W"].sum(axis=0), {"W": (2, 1)})
    laws = find_laws(GradientSystem(arch), forms="polynomial", degree=1)
    assert [law.name for law in laws] == ["W[1,1] - W[2,1]"]


@pytest.mark.parametrize(("keywords", "message"), [({"forms": "x"}, "forms"), ({"degree": 0}, "degree")])
def test_bad_arguments_are_refused(keywords, message):
    with pytest.raises(ValueError, match=f"Argument `{message}` must"):
        find_laws(LINEAR, **keywords)


def test_constants_that_are_no_fractions_are_refused_by_the_search():
    arch = Architecture(lambda p: np.exp(1.0) * p["u"] * p["v"], {"u": (2,), "v": (2,)})
    with pytest.raises(ValueError, match=r"but holds 2\.718"):
        find_laws(GradientSystem(arch))


def test_constant_maps_leave_every_coordinate_alone():
    arch = Architecture(lambda p: 0.0 * p["u"][:1], {"u": (3,)})
    laws = find_laws(GradientSystem(arch))
    assert [law.name for law in laws] == ["u"]
    assert laws[0].rank == 3


def test_thousands_of_parameters_go_through_the_gram_ansatz():
    system = GradientSystem(linear_network((784, 20, 20, 10)))
    start = time.monotonic()
    laws = list(gram_laws(system))
    assert time.monotonic() - start < 5
    assert [law.name for law in laws] == ["W2^T W2 - W1 W1^T", "W3^T W3 - W2 W2^T"]
    assert verify(system, laws[0]).method == THEOREM_LINEAR


def test_candidates_of_one_family_have_one_shape():
    for family in candidate_families(GradientSystem(linear_network((3, 3, 3)))):
        assert len({term.form in ("skew", "product") for term in family}) == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("widths", "count", "seconds"), [((10, 10, 10, 10), 110, 30), ((15, 20, 15), 210, 50)]
)
def test_the_quadratic_search_reaches_hundreds_of_parameters(widths, count, seconds):
    start = time.monotonic()
    laws = find_laws(GradientSystem(linear_network(widths)), forms="polynomial")
    assert len(laws) == count
    assert time.monotonic() - start < seconds
