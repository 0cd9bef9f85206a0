"""The exact kernel test and the law-free test: against finite differences, hand counts and each other."""

import time

import numpy as np
import pytest

import dlntheory as dln
from dlntheory.exact import NilpotentModular
from dlntheory.exact.linear_algebra import DEFAULT_PRIME
from dlntheory.families import scale_invariant
from dlntheory.laws import conservation_laws
from dlntheory.laws.proof.lie_rank import random_point
from dlntheory.laws.systems import GradientSystem
from dlntheory.reductions.intrinsicity.kernel_criterion import (
    ModularMetric,
    generic_kernel_tests,
    kernel_test,
    product_mod,
)
from dlntheory.reductions.intrinsicity.lie_criterion import lie_test


def symmetric_residues(values):
    return np.where(values > DEFAULT_PRIME // 2, values - DEFAULT_PRIME, values)


def test_jacobian_and_its_tangent_against_integers_by_hand():
    arch = dln.linear_network((2, 2, 3))
    metric, ring = ModularMetric(arch), NilpotentModular()
    rng = np.random.default_rng(0)
    w1, w2, d1, d2 = (rng.integers(-9, 10, size=shape) for shape in [(2, 2), (3, 2), (2, 2), (3, 2)])
    point, direction = np.concatenate([w1.ravel(), w2.ravel()]), np.concatenate([d1.ravel(), d2.ravel()])
    changes = metric.changes(ring, point % DEFAULT_PRIME, direction[None] % DEFAULT_PRIME)
    a, b = d2 @ w2.T, d1.T @ w1
    expected = np.einsum("ia,jb->ijab", a + a.T, np.eye(2, dtype=int))
    expected = expected + np.einsum("ia,jb->ijab", np.eye(3, dtype=int), b + b.T)
    assert np.array_equal(symmetric_residues(changes[0]), expected.ravel())
    jacobian = symmetric_residues(metric.jacobian(ring, point % DEFAULT_PRIME))
    assert np.array_equal(jacobian @ direction, (w2 @ d1 + d2 @ w1).ravel())


def test_products_of_residues():
    rng = np.random.default_rng(1)
    a, b = rng.integers(0, DEFAULT_PRIME, size=(2, 70, 70))
    exact = (a.astype(object) @ b.astype(object)) % DEFAULT_PRIME
    assert np.array_equal(product_mod(NilpotentModular(), a, b), exact.astype(np.int64))


def test_ranks_of_the_two_layer_network():
    arch = dln.linear_network((2, 2, 3))
    tests = generic_kernel_tests(ModularMetric(arch), conservation_laws(arch).laws)
    assert len(tests) == 2
    assert tests[0].prime != tests[1].prime
    assert tests[0].ranks == (6, 3, 1, 1)
    assert tests[0].dimension == 10
    assert not tests[0].holds


def test_a_large_fibre_is_sampled_not_enumerated():
    arch = dln.linear_network((6, 30, 6))
    metric = ModularMetric(arch)
    started = time.perf_counter()
    test = kernel_test(
        metric, conservation_laws(arch).laws, random_point(metric.system, DEFAULT_PRIME, 0), DEFAULT_PRIME
    )
    # Here (Z, S) are independent functions of (U, V) as far as the laws go.
    assert test.fibre == 360 - 36 - test.rank_laws
    assert 0 < test.defect <= 42
    assert time.perf_counter() - started < 10


def test_rational_phi():
    arch = scale_invariant(3)
    laws = conservation_laws(arch)
    tests = generic_kernel_tests(ModularMetric(arch), laws.laws)
    assert tests[0].fibre == 0


@pytest.mark.parametrize(
    ("widths", "rank", "fibre", "defect"),
    [((2, 2, 3), 7, 1, 1), ((1, 2, 2, 1), 1, 0, 0), ((2, 2, 2, 2), 6, 2, 2)],
)
def test_law_free(widths, rank, fibre, defect):
    arch = dln.linear_network(widths)
    metric, system = ModularMetric(arch), GradientSystem(arch)
    point = random_point(metric.system, DEFAULT_PRIME, 0)
    found = lie_test(metric, system, point, DEFAULT_PRIME, room=arch.size)
    assert (found.rank, found.fibre, found.defect) == (rank, fibre, defect)
    assert found.status == "saturated"
    assert not found.is_open
    again = lie_test(metric, system, point, DEFAULT_PRIME, room=rank)
    assert (again.status, again.fibre, again.defect) == ("complete", fibre, defect)


def test_the_search_for_brackets_obeys_its_deadline():
    arch = dln.linear_network((3, 4, 4, 3))
    metric = ModularMetric(arch)
    point = random_point(metric.system, DEFAULT_PRIME, 0)
    system = GradientSystem(arch)
    found = lie_test(metric, system, point, DEFAULT_PRIME, room=arch.size, deadline=time.perf_counter() - 1.0)
    assert found.is_open
    assert found.status == "time limit"


def test_law_free_span_of_a_tied_network_is_everything():
    arch = dln.Architecture(lambda p: p["U"] @ p["U"].T, {"U": (3, 2)}, name="tied")
    metric = ModularMetric(arch)
    point = random_point(metric.system, DEFAULT_PRIME, 0)
    found = lie_test(metric, GradientSystem(arch), point, DEFAULT_PRIME, room=6)
    assert (found.rank, found.fibre, found.defect) == (6, 1, 0)
