"""Closed systems of Gram type keep the rank of a network that is narrower than its target, however long they run."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import reductions
from dlntheory.families.gram import gram_factorisation
from dlntheory.reductions.gram_factor import narrowed

KEY = jax.random.key(0)


def tied():
    arch = gram_factorisation(1, 2)
    return arch, np.diag([2.0, 1.0]), dln.gaussian(arch, KEY, scale=0.3), "flow of tied factors", 30.0, 0.5


def bottleneck():
    """The best map of rank 2 leaves the smallest singular value of the target."""
    arch = dln.linear_network((4, 2, 3))
    target = np.random.default_rng(0).normal(size=(3, 4))
    left = 0.5 * np.linalg.svd(target, compute_uv=False)[-1] ** 2
    assert left == pytest.approx(0.106332, abs=1e-6)
    return arch, target, dln.gaussian(arch, KEY, scale=0.3), "Gram flow", 80.0, left


def wide_target():
    arch = dln.linear_network((6, 2, 6))
    target = np.diag([3.0, 2.5, 2.0, 1.5, 1.0, 0.5])
    return arch, target, dln.gaussian(arch, KEY, scale=0.3), "Gram flow", 20.0, 3.75


def adapter():
    """W_0 + B A of rank one; s = 2.566814 is the second singular value of what is to be fitted."""
    rng = np.random.default_rng(0)
    frozen, target = rng.normal(size=(3, 4)), rng.normal(size=(3, 4))
    theta0 = {"A": 0.3 * rng.normal(size=(1, 4)), "B": np.zeros((3, 1))}
    arch = dln.Architecture(
        lambda p: frozen + p["B"] @ p["A"], {"A": (1, 4), "B": (3, 1)}, name="adapter of rank 1"
    )
    return arch, target, theta0, "flow of Gram matrices", 21.5294, 3.62431956


@pytest.mark.parametrize("case", [tied, bottleneck, wide_target, adapter], ids=lambda case: case.__name__)
def test_what_the_network_cannot_fit_stays(case):
    arch, target, theta0, label, t1, left = case()
    loss = dln.SquaredLoss.from_target(target)
    reduced = {
        "flow of tied factors": reductions.TiedFlow,
        "Gram flow": reductions.GramFlow,
        "flow of Gram matrices": reductions.GramBlocksFlow,
    }[label](arch, loss)
    singular = np.linalg.svd(target - arch(arch.check(theta0)), compute_uv=False)
    # A rounding error of a Gram matrix would be of order one at ln(1e16)/(2s), s at least what is left over.
    assert t1 > np.log(1e16) / (2 * np.sqrt(2 * left)), singular
    run = dln.solve(reduced, theta0, t1, ts=4, rtol=1e-9)
    assert run.loss[-1] == pytest.approx(left, rel=1e-6)
    assert np.linalg.matrix_rank(
        run.z[-1] - arch(arch.check({n: 0.0 * np.asarray(w) for n, w in theta0.items()}))
    ) < min(target.shape)
    assert reduced.numbers() <= arch.size
    assert run.max_drift < 1e-6 if run.drift else label == "flow of tied factors"


def test_reduce_takes_them_and_says_that_nothing_is_saved():
    arch, target, theta0, label, _, left = bottleneck()
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(target))
    report = dln.try_reductions(arch, theta0)
    assert report.best is not None
    assert report.best.label == label
    assert report.best.numbers() == arch.size
    assert "nothing is saved" in str(report)
    both = dln.compare(flow, report.best, theta0, 40.0, ts=5, timing=False)
    assert both.max_error < 1e-8
    assert both.reduced.loss[-1] == pytest.approx(left, rel=1e-4)


def test_the_factor_has_the_gram_matrix_of_the_stack_row_by_row():
    rng = np.random.default_rng(1)
    stack = rng.normal(size=(4, 9)) * 10.0 ** -np.arange(0, 16, 4)[:, None]
    factor = narrowed(jnp.asarray(stack))
    assert factor.shape == (4, 4)
    gram, sizes = stack @ stack.T, np.linalg.norm(stack, axis=1)
    # Relative to the rows' own sizes: an SVD would lose the rows of 1e-12.
    np.testing.assert_allclose(
        factor @ factor.T / np.outer(sizes, sizes), gram / np.outer(sizes, sizes), atol=4e-15
    )
    assert narrowed(jnp.asarray(stack.T)) is not None
    np.testing.assert_array_equal(narrowed(jnp.asarray(stack.T)), stack.T)
