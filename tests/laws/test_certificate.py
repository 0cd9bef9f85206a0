"""Certificates: what they prove, that they can be checked again, and that altered ones are refused."""

import dataclasses
import itertools
import json
import re

import pytest

from dlntheory.architecture import Architecture
from dlntheory.exact.rings.polynomials import SparsePolynomial
from dlntheory.families import linear_network
from dlntheory.families.relu import relu_network
from dlntheory.laws.law import IDENTITY, RANDOM_POINTS, law_of_polynomials, law_of_terms
from dlntheory.laws.proof.certificate import (
    Certificate,
    InconsistentCertificateError,
    certify,
    certify_verified,
    check,
)
from dlntheory.laws.proof.lie_rank import lie_rank
from dlntheory.laws.proof.verification import NotConservedError, Verification
from dlntheory.laws.systems import GradientSystem


def balancedness(arch):
    """The laws of theorem T9, and the system."""
    system = GradientSystem(arch)
    hidden = range(1, len(arch.chain))
    return system, [
        law_of_terms(system.blocks, [(1, f"W{l + 1}", "gram-left"), (-1, f"W{l}", "gram-right")])
        for l in hidden
    ]


def theorem_9(widths):
    """The rank of the entries of all balancedness laws, and N: more if a segment enters φ as one scalar."""

    def rank(n):
        kernels = [max(0, n[l] - n[l - 1] - n[l + 1]) for l in range(1, len(n) - 1)]
        hidden = n[1:-1]
        return sum(m * (m + 1) // 2 - k * (k + 1) // 2 for m, k in zip(hidden, kernels, strict=True))

    ones = [l for l, n in enumerate(widths) if n == 1]
    segments = [widths[a : b + 1] for a, b in itertools.pairwise(ones) if b - a > 2]
    extra = sum(sum(a * b for a, b in itertools.pairwise(n)) - 1 - rank(n) for n in segments)
    return rank(widths), rank(widths) + extra


@pytest.mark.parametrize(("first", "gaps"), [(1, 9), (2, 0), (3, 0), (4, 0)])
def test_theorem_9_on_all_small_chains(monkeypatch, first, gaps):
    # Each chain would be compiled for the check at a random point, which is not the subject here.
    monkeypatch.setattr("dlntheory.architecture._check_at_random_point", lambda arch: None)
    saturated = 0
    for rest in (rest for depth in (2, 3) for rest in itertools.product(range(1, 5), repeat=depth)):
        widths = (first, *rest)
        rank, count = theorem_9(widths)
        found = certify(*balancedness(linear_network(widths)))
        assert (found.law_rank, found.upper) == (rank, count), widths
        assert found.status == ("complete" if rank == count else "saturated"), widths
        assert found.gap == count - rank
        saturated += rank < count
    assert saturated == gaps


@pytest.mark.parametrize(("widths", "count"), [((2, 3, 5), 6), ((4, 2, 4, 3), 13), ((5, 2, 4), 3)])
def test_published_rows(widths, count):
    system, laws = balancedness(linear_network(widths))
    found = certify(system, laws)
    assert (found.status, found.count, found.lower, found.upper) == ("complete", count, count, count)
    assert found.statement == f"exactly {count} independent laws; none missing (proved)"
    assert found.error_probability == 0


@pytest.mark.parametrize(("widths", "gap"), [((1, 2, 2, 1), 1), ((1, 3, 3, 1), 2)])
def test_a_scalar_segment_is_a_gap_and_no_failure(widths, gap):
    system, laws = balancedness(linear_network(widths))
    found = certify(system, laws)
    assert (found.status, found.gap, found.count) == ("saturated", gap, None)
    assert 0 < found.error_probability < 1e-12
    assert f"at least {found.law_rank}, at most {found.law_rank + gap} independent laws (proved)" in str(
        found
    )
    assert "with error probability at most" in found.statement
    assert "none missing" not in str(found)
    assert check(found, system)


def test_gaps_without_known_laws():
    gram = Architecture(lambda p: p["W"].T @ p["W"], {"W": (3, 2)}, name="W^T W")
    found = certify(GradientSystem(gram))
    assert (found.status, found.lower, found.upper) == ("saturated", 0, 2)
    nmf = GradientSystem(linear_network((1, 3, 1)), metric={"W1": "theta", "W2": "theta"})
    law = law_of_terms(nmf.blocks, [(1, "W2", "column-sum"), (-1, "W1", "row-sum")])
    found = certify(nmf, [law])
    assert (found.status, found.lower, found.upper, found.gap) == ("saturated", 3, 5, 2)


def test_a_search_cut_short_is_open():
    system, laws = balancedness(linear_network((2, 5, 4, 2)))
    for options in ({"max_depth": 1}, {"time_limit": 0}):
        found = certify(system, laws, **options)
        assert (found.status, found.count, found.lower) == ("open", None, 25)
        assert found.upper > 25
        assert found.statement.startswith(
            f"between 25 and {found.upper} independent laws (proved); the search"
        )
        assert check(found, system)


def test_a_law_checked_at_random_points_only_proves_nothing():
    system, (law,) = balancedness(linear_network((2, 3, 2)))
    found = certify_verified(system, [dataclasses.replace(law, verified=RANDOM_POINTS)])
    assert (found.status, found.count, found.lower, found.law_rank) == ("unverified", None, 0, 6)
    assert "at least 0, at most 6 independent laws (proved); 6 found, some of them only checked" in str(found)
    # An unverified law beside a complete set takes nothing away.
    norm = law_of_terms(system.blocks, [(1, "W2", "norm"), (-1, "W1", "norm")], verified=RANDOM_POINTS)
    assert certify_verified(system, [dataclasses.replace(law, verified=IDENTITY), norm]).status == "complete"


def test_dependent_laws_count_once():
    system, (law,) = balancedness(linear_network((2, 3, 2)))
    norm = law_of_terms(system.blocks, [(1, "W2", "norm"), (-1, "W1", "norm")])
    found = certify(system, [law, norm, law])
    assert (found.status, found.count, len(found.laws)) == ("complete", 6, 3)
    wide = certify(*balancedness(linear_network((1, 3, 1))))
    assert (wide.laws[0].size, wide.law_rank, wide.count) == (6, 5, 5)


def test_a_false_law_is_refused():
    system, (law,) = balancedness(linear_network((2, 2, 2)))
    altered = dataclasses.replace(
        law, terms=(law.terms[0], law.terms[1].scaled(law.terms[1].coefficient * 2)), verified=IDENTITY
    )
    with pytest.raises(
        NotConservedError, match=r"must be conserved, but .* along generator \d+ entry 0 changes"
    ):
        certify(system, [altered])
    entry = law.polynomials[0] + SparsePolynomial({(0, 1): 1})
    with pytest.raises(NotConservedError):
        certify(system, [law_of_polynomials(system.blocks, [entry])])


def test_more_laws_than_the_brackets_leave_room_for_is_an_internal_error():
    system, (law,) = balancedness(linear_network((2, 2, 2)))
    false = law_of_terms(system.blocks, [(1, "W1", "gram-left")], verified=IDENTITY)
    with pytest.raises(InconsistentCertificateError, match="independent laws and brackets of rank"):
        certify_verified(system, [dataclasses.replace(law, verified=IDENTITY), false])


@pytest.fixture(scope="module")
def case():
    system, laws = balancedness(linear_network((1, 2, 2, 1)))
    return system, certify(system, laws)


def test_check_finds_everything_again(case):
    system, certificate = case
    result = check(certificate, system)
    assert result
    assert result.reason == "both ranks and every law were found again"


def _altered_law(certificate):
    law = certificate.laws[0]
    terms = (law.terms[0].scaled(law.terms[0].coefficient + 1), *law.terms[1:])
    return {"laws": (dataclasses.replace(law, terms=terms), *certificate.laws[1:])}


def _lie(**changes):
    return lambda certificate: {"lie": dataclasses.replace(certificate.lie, **changes)}


@pytest.mark.parametrize(
    ("alter", "reason"),
    [
        (_altered_law, "is not conserved"),
        (lambda c: {"laws": c.laws[:1]}, "`law_rank`: 6 is recorded, 3 is found"),
        (lambda c: {"law_rank": 7}, "`law_rank`: 7 is recorded, 6 is found"),
        (lambda c: {"lower": 7}, "`lower`: 7 is recorded, 6 is found"),
        (lambda c: {"upper": 6}, "`upper`: 6 is recorded, 7 is found"),
        (lambda c: {"status": "complete"}, "`status`: complete is recorded, saturated is found"),
        (lambda c: {"error_probability": 0.0}, "`error_probability`"),
        (_lie(ranks=(1, 2)), r"the ranks of the brackets: \(1, 2\) is recorded, \(1, 1\) is found"),
        (_lie(ranks=(2, 2)), r"the ranks of the brackets: \(2, 2\) is recorded"),
        (_lie(status="full"), "the status of the brackets: full is recorded, saturated is found"),
        (_lie(points=((1,) * 8,) * 2), "the points of the brackets"),
        (_lie(primes=(15,)), "must be a prime below"),
        (_lie(status="time limit", ranks=(2,)), "the rank of the brackets is 1, not 2"),
        (lambda c: {"architecture": "linear 1-3-2-1"}, "it is about linear 1-3-2-1, gradient flow"),
        (lambda c: {"blocks": c.blocks[:2]}, "its coordinates are"),
    ],
)
def test_altered_certificates_are_refused(case, alter, reason):
    system, certificate = case
    result = check(dataclasses.replace(certificate, **alter(certificate)), system)
    assert not result
    assert re.search(reason, result.reason), result.reason


def test_a_law_that_claims_a_proof_which_is_not_found_is_refused(case, monkeypatch):
    system, certificate = case
    monkeypatch.setattr(
        "dlntheory.laws.proof.certificate.verify", lambda system, law: Verification(law, True, RANDOM_POINTS)
    )
    assert "but no proof of it was found" in check(certificate, system).reason


def test_a_certificate_of_another_network_is_refused(case):
    _, certificate = case
    other = GradientSystem(linear_network((2, 2, 1)))
    assert not check(certificate, other)


@pytest.mark.parametrize("arch", [linear_network((2, 3, 2)), relu_network((2, 2, 1), bias=True)])
def test_json_and_back(arch):
    system = GradientSystem(arch)
    laws = []
    if arch.chain:
        laws = balancedness(arch)[1]
        laws.append(law_of_polynomials(system.blocks, laws[0].polynomials[:2]))
    certificate = certify(system, laws)
    back = Certificate.from_dict(json.loads(json.dumps(certificate.to_dict(), allow_nan=False)))
    assert back == certificate
    assert check(back, system)


@pytest.mark.parametrize("key", ["laws", "lie", "status"])
def test_a_record_with_a_part_missing_is_refused(case, key):
    record = case[1].to_dict()
    del record[key]
    with pytest.raises(ValueError, match=f"`record` must be what `Certificate.to_dict` returns, .*{key}"):
        Certificate.from_dict(record)


def test_how_it_prints(case):
    _, certificate = case
    lines = str(certificate).splitlines()
    assert lines[0] == "system        linear 1-2-2-1, gradient flow"
    assert "bounds        6 <= N <= 8 - 1 = 7" in lines
    assert lines[-1].split() == ["W3^T", "W3", "-", "W2", "W2^T", "matrix", "3", "identity", "in", "Q[theta]"]
    assert repr(certificate).startswith("Certificate(linear 1-2-2-1, gradient flow: at least 6, at most 7")
    assert "<table>" in certificate._repr_html_()


def test_bounds_hold_for_every_seed():
    system, laws = balancedness(linear_network((2, 3, 3, 1)))
    for seed in range(5):
        found = certify(system, laws, seed=seed)
        assert (found.count, found.lie.ranks) == (12, (2, 3, 5, 6))
    assert lie_rank(system, target=6, seed=3).points == certify(system, laws, seed=3).lie.points
