"""The published tables of conservation laws, row by row, from the public verb: counts, status, ranks by depth."""

import itertools
import json

import pytest
from families.tables import catalogue_cases, extended_cases, load, suite_cases

from dlntheory.families import linear_network, nonnegative_factorisation
from dlntheory.laws.conservation import conservation_laws
from dlntheory.laws.proof.lie_rank import lie_rank
from dlntheory.laws.systems import GradientSystem, training_system

SUITES, EXTENDED, CATALOGUE = suite_cases(), extended_cases(), catalogue_cases()


def rows(cases, slow=()):
    """The cases as parameters, those whose id is in `slow` for the slow tier."""
    assert set(slow) <= {case.id for case in cases}
    return [
        pytest.param(case, id=case.id, marks=[pytest.mark.slow] if case.id in slow else []) for case in cases
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
    # The tables were made without rational laws; where those are found, the gap they left is closed.
    explicit = case.laws if any(law.kind == "rational" for law in found.laws) else case.explicit
    assert (found.lower, found.upper) == (explicit, case.laws)
    assert found.status == ("complete" if explicit == case.laws else "saturated")
    assert lie.rank == case.dimension - case.laws
    if case.ranks is not None:
        assert until_constant(lie.ranks) == until_constant(case.ranks)


# Nearly all the time goes into JAX, which compiles φ for the sizes of each network.
LARGE = {case.id for case in SUITES if case.id.startswith("relu") and case.dimension > 60}


@pytest.mark.parametrize("case", rows(SUITES, slow=LARGE))
def test_published_suites(case):
    assert_row(case)


@pytest.mark.parametrize("case", rows(EXTENDED))
def test_other_frictions_biases_and_metrics(case):
    assert_row(case)


COSTLY = {f"catalogue-{index}" for index in (8, 14, 26, 54, 56, 58, 60, 62, 64, 66)}


@pytest.mark.parametrize("case", rows(CATALOGUE, slow=COSTLY))
def test_catalogue(case):
    assert_row(case)


@pytest.mark.parametrize("friction", [0, 1])
def test_the_metric_of_momentum_matters(friction):
    """With diag(θ) in place of diag(τθ + θ') each sum h of a factorisation obeys h'' + τh' = 0: two laws, not none."""
    arch = nonnegative_factorisation(2, 3, 2)
    found = conservation_laws(arch, momentum=friction, metric={"U": "theta", "V": "theta"})
    assert found.count == 6
    assert conservation_laws(arch, momentum=friction, metric={"U": "mirror", "V": "mirror"}).count == 0


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


def number_of_momentum_laws(widths):
    """The closed form with momentum: angular momenta of hidden layers, twice as many between two widths 1."""
    total = 0
    for before, n, after in zip(widths, widths[1:], widths[2:], strict=False):
        k = max(0, n - 2 * (before + after))
        doubled = before == after == 1 and n >= 2
        total += 2 * (2 * n - 3) if doubled else n * (n - 1) // 2 - k * (k - 1) // 2
    return total


def test_closed_forms_give_the_tables():
    """No library here: the tables and the formulas of the docstrings say the same."""
    forms = {
        "linear": number_of_laws,
        "relu": lambda dims: sum(dims[1:-1]),
        "momentum_linear": number_of_momentum_laws,
        "nmf": lambda dims: dims[1],
        "icnn": lambda dims: dims[1],
    }
    for suite, table in load("suites").items():
        for row in table["rows"]:
            assert row["n_laws"] == forms.get(suite, lambda dims: 0)(row["dims"]), (suite, row["dims"])
    for row in load("extended")["momentum_linear_tau1"]:
        assert row["n_laws"] == number_of_momentum_laws(row["dims"])
    linear = [row for row in load("catalogue") if row["name"].startswith("linear [")]
    assert len(linear) == 5
    for row in linear:
        widths = json.loads(row["name"].removeprefix("linear "))
        assert (row["rank_deg12"], row["n_laws"]) == (quadratic_rank(widths), number_of_laws(widths))


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
