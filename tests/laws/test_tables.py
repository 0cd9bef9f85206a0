"""The published tables of conservation laws, row by row, from the public verb: counts, status, ranks by depth."""

import itertools

import pytest
from catalogue.tables import catalogue_cases, extended_cases, load, suite_cases

from dlntheory.catalogue import linear_network
from dlntheory.laws.conservation import conservation_laws
from dlntheory.laws.lie_rank import lie_rank
from dlntheory.laws.systems import GradientSystem, training_system

SUITES, EXTENDED, CATALOGUE = suite_cases(), extended_cases(), catalogue_cases()


def some(cases, fast):
    """The cases as parameters: those with an id in `fast` always run, the others in the slow tier."""
    assert fast <= {case.id for case in cases}
    return [
        pytest.param(case, id=case.id, marks=[] if case.id in fast else [pytest.mark.slow]) for case in cases
    ]


def until_constant(ranks):
    """Ranks by depth up to the first level that reaches the last one.

    How often the last one is repeated depends on whether the laws were known before the search.
    """
    return tuple(ranks[: list(ranks).index(ranks[-1]) + 1])


def assert_row(case):
    arch = case.build()
    found = conservation_laws(arch, **case.options)
    lie = found.certificate.lie
    assert training_system(arch, **case.options).dimension == found.certificate.dimension == case.dimension
    assert (found.lower, found.upper) == (case.explicit, case.laws)
    assert found.status == ("complete" if case.explicit == case.laws else "saturated")
    assert lie.rank == case.dimension - case.laws
    if case.ranks is not None:
        assert until_constant(lie.ranks) == until_constant(case.ranks)


@pytest.mark.parametrize(
    "case",
    some(
        SUITES,
        {
            "linear-0",
            "linear-2",
            "linear-36",
            "relu-0",
            "relu-10",
            "momentum_linear-2",
            "momentum_linear-12",
            "momentum_relu-8",
            "nmf-0",
            "nmf_momentum-8",
            "icnn-4",
            "icnn_momentum-2",
        },
    ),
)
def test_published_suites(case):
    assert_row(case)


@pytest.mark.parametrize(
    "case",
    some(
        EXTENDED,
        {
            "momentum_linear_tau1-2",
            "momentum_relu_tau1_bias1-2",
            "nmf_momentum_tau1-0",
            "icnn_momentum_tau1_full-4",
        },
    ),
)
def test_other_frictions_biases_and_metrics(case):
    assert_row(case)


# Left to the slow tier: what JAX takes long to compile, and further members of families that are here.
@pytest.mark.parametrize(
    "case",
    some(
        CATALOGUE, {f"catalogue-{i}" for i in (4, 6, 12, 16, 22, 28, 36, 38, 42, 48, 70, 74, 78, 80, 86, 92)}
    ),
)
def test_catalogue(case):
    assert_row(case)


def quadratic_rank(widths):
    """The rank of the balancedness laws of a linear network."""
    total = 0
    for before, n, after in zip(widths, widths[1:], widths[2:], strict=False):
        k = max(0, n - before - after)
        total += n * (n + 1) // 2 - k * (k + 1) // 2
    return total


def number_of_laws(widths):
    """The closed form: balancedness, and for each scalar segment all first integrals of one field."""
    ones = [layer for layer, n in enumerate(widths) if n == 1]
    total = quadratic_rank(widths)
    for start, stop in itertools.pairwise(ones):
        if stop - start >= 3:
            segment = widths[start : stop + 1]
            size = sum(a * b for a, b in itertools.pairwise(segment))
            total += size - 1 - quadratic_rank(segment)
    return total


def test_closed_forms_give_the_tables():
    for case in SUITES:
        arch = case.build()
        if case.id.startswith("linear"):
            assert quadratic_rank(arch.widths) == number_of_laws(arch.widths) == case.laws
        elif case.id.startswith("relu"):
            *hidden, _ = (shape[0] for name, shape in arch.shapes.items() if name.startswith("W"))
            assert sum(hidden) == case.laws
        elif case.id.split("-")[0] in ("nmf", "icnn"):
            assert arch.shapes["V"][0] == case.laws
    for case in CATALOGUE:
        arch = case.build()
        if arch.chain:
            assert (quadratic_rank(arch.widths), number_of_laws(arch.widths)) == (case.explicit, case.laws)


SMALL = [widths for layers in (3, 4) for widths in itertools.product(range(1, 5), repeat=layers)]


@pytest.mark.parametrize(
    "widths",
    [pytest.param(SMALL[::29], id="some"), pytest.param(SMALL, id="all", marks=pytest.mark.slow)],
)
def test_number_of_laws_of_small_linear_networks(widths):
    for sizes in widths:
        system = GradientSystem(linear_network(sizes))
        assert system.dimension - lie_rank(system).rank == number_of_laws(sizes), sizes


def test_small_primes_never_give_a_larger_rank():
    table = load("extended")["small_primes"]
    system = GradientSystem(linear_network(table["dims"][::-1]))
    generic = 13
    for prime, published in table["by_prime"]:
        found = [lie_rank(system, max_depth=1, primes=(prime,), seed=seed).ranks[-1] for seed in range(5)]
        assert max(found) <= generic
        assert max(published) == generic
        if prime > 100:
            assert found == published == [generic] * 5
