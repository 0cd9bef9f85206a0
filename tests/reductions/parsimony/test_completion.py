"""Matrix completion: both kernels against automatic derivatives, the discrepant rate, early stop, refusals."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.reductions.parsimony import ObservedEntries, complete
from dlntheory.reductions.parsimony.observed_entries import (
    dense_gradients,
    dense_layout,
    sparse_gradients,
    sparse_layout,
)


def problem(shape=(40, 40), rank=2, density=0.5):
    rng = np.random.default_rng(0)
    target = rng.standard_normal((shape[0], rank)) @ rng.standard_normal((rank, shape[1]))
    return target / np.linalg.norm(target, 2), rng.random(shape) < density


@pytest.mark.slow
@pytest.mark.parametrize("shape", [(19, 30), (24, 16)])
def test_kernels_are_the_gradient_of_the_loss(shape):
    target, mask = problem(shape, density=0.3)
    mask[3] = False  # a row without entries
    entries = ObservedEntries.from_mask(np.where(mask, target, np.nan), mask)
    rng = np.random.default_rng(1)
    left, right = (
        jnp.asarray(rng.standard_normal((shape[0], 5))),
        jnp.asarray(rng.standard_normal((shape[1], 5))),
    )
    loss = dln.MatrixCompletionLoss(target, mask)
    expected = loss(left @ right.T), *jax.grad(lambda a, b: loss(a @ b.T), argnums=(0, 1))(left, right)
    for found in (
        sparse_gradients(sparse_layout(entries), left, right),
        dense_gradients(dense_layout(entries), left, right),
    ):
        for ours, automatic in zip(found, expected, strict=True):
            np.testing.assert_allclose(ours, automatic, rtol=1e-13, atol=1e-13)


def test_sparse_layout_never_holds_the_matrix():
    entries = ObservedEntries(np.arange(500), np.arange(500)[::-1], np.ones(500), (100_000, 80_000))
    layout = sparse_layout(entries)
    assert sum(array.size for array in layout) < 5 * 200_000


@pytest.fixture(scope="module")
def runs_by_rate():
    target, mask = problem()
    entries = ObservedEntries.from_mask(target, mask)
    options = {"learning_rate": 1.0, "scale": 0.01, "steps": 3000, "reference": target}
    return target, {rate: complete(entries, 4, discrepant_rate=rate, **options) for rate in (0.0, 0.1)}


def test_discrepant_rates_recover_what_fixed_factors_do_not(runs_by_rate):
    target, found = runs_by_rate
    fixed, moving = found[0.0], found[0.1]
    assert moving.converged
    assert not fixed.converged
    assert fixed.error(target) > 100 * moving.error(target)
    assert moving.error(target) < 1e-3
    # It stopped early, at a save, and recorded on the way.
    assert moving.iterations[-1] < 3000
    assert moving.iterations[1] == 50
    assert moving.loss[-1] <= 1e-8 * moving.loss[0] < moving.loss[-2]
    assert moving.test_error[-1] == pytest.approx(moving.error(target), rel=1e-12)
    assert fixed.iterations[-1] == 3000
    rows, columns = np.array([0, 3]), np.array([5, 7])
    np.testing.assert_allclose(moving.entries(rows, columns), moving.matrix()[rows, columns], rtol=1e-12)
    text = str(moving)
    for word in ("40 x 40, inner dimension 8", "converged", "dense kernel", "relative, whole matrix"):
        assert word in text
    assert "not converged" in repr(fixed)
    assert "<table" in moving._repr_html_()


@pytest.mark.slow
def test_steps_are_gradient_descent_of_the_stated_network():
    # Two steps against automatic derivatives of the whole network, on a rectangular matrix.
    target, mask = problem((18, 14), density=0.6)
    entries, loss = ObservedEntries.from_mask(target, mask), dln.MatrixCompletionLoss(target, mask)
    options = {"learning_rate": 0.3, "discrepant_rate": 0.2, "depth": 3, "scale": 0.7, "seed": 3}
    one = complete(entries, 2, steps=1, save_every=1, kernel="sparse", **options)
    two = complete(entries, 2, steps=2, save_every=1, kernel="dense", **options)
    np.testing.assert_allclose(two.loss[:2], one.loss, rtol=1e-13)

    def f(left, cores, right):
        return loss(left @ cores[2] @ cores[1] @ cores[0] @ right.T)

    # Undo one step from the factors at the start, which have orthonormal columns.
    start = complete(entries, 2, steps=1, save_every=1, **{**options, "learning_rate": 1e-300})
    factors = (jnp.asarray(start.left), jnp.stack([0.7 * jnp.eye(4)] * 3), jnp.asarray(start.right))
    for factor in (start.left, start.right):
        np.testing.assert_allclose(factor.T @ factor, np.eye(4), atol=1e-14)
    for _ in range(2):
        pulls = jax.grad(f, argnums=(0, 1, 2))(*factors)
        rates = (0.3 * 0.2, 0.3, 0.3 * 0.2)
        factors = tuple(a - rate * pull for a, rate, pull in zip(factors, rates, pulls, strict=True))
    left, cores, right = factors
    np.testing.assert_allclose(two.left, left, atol=1e-14)
    np.testing.assert_allclose(two.right, right, atol=1e-14)
    np.testing.assert_allclose(two.core, cores[2] @ cores[1] @ cores[0], atol=1e-14)


def test_outer_factors_hold_the_leading_vectors():
    target, mask = problem((18, 14), density=0.6)
    entries = ObservedEntries.from_mask(target, mask)
    u, v = entries.leading_vectors(2)
    left, _, right = np.linalg.svd(np.where(mask, target, 0.0))
    np.testing.assert_allclose(u @ u.T, left[:, :2] @ left[:, :2].T, atol=1e-12)
    np.testing.assert_allclose(v @ v.T, right[:2].T @ right[:2], atol=1e-12)
    start = complete(entries, 2, steps=1, learning_rate=1e-300, discrepant_rate=0.0)
    for vectors, basis in ((u, start.left), (v, start.right)):
        np.testing.assert_allclose(basis @ (basis.T @ vectors), vectors, atol=1e-12)


def test_divergence_and_progress(capsys):
    target, mask = problem()
    entries = ObservedEntries.from_mask(target, mask)
    with pytest.raises(
        dln.IntegrationError, match=r"diverged between iterations \d+ and \d+ .learning rate 50"
    ):
        complete(entries, 4, learning_rate=50.0, discrepant_rate=0.1, scale=0.5)
    complete(entries, 4, learning_rate=1.0, discrepant_rate=0.1, steps=100, progress=True)
    assert "completing" in capsys.readouterr().err


def test_entries_are_checked_and_print_themselves():
    assert (
        repr(ObservedEntries([0, 1], [1, 0], [1.0, 2.0], (2, 4)))
        == "ObservedEntries(2 of 2 x 4 entries, 25 %)"
    )
    entries = ObservedEntries([1, 0, 1], [1, 2, 0], [3.0, 1.0, 2.0], (2, 3))
    assert entries.values.tolist() == [1.0, 2.0, 3.0]
    cases = [
        (([0, 0], [1, 1], [1.0, 2.0], (2, 2)), "must name each entry once, but 1 repeat"),
        (
            ([0, 2], [1, 1], [1.0, 2.0], (2, 2)),
            "`rows` must hold indices from 0 to 1, but reaches from 0 to 2",
        ),
        (
            ([0, 1], [-1, 1], [1.0, 2.0], (2, 2)),
            "`columns` must hold indices from 0 to 1, but reaches from -1",
        ),
        (([0], [1, 1], [1.0, 2.0], (2, 2)), "vectors of one length, but have 1, 2"),
        (([0.5], [1], [1.0], (2, 2)), "`rows` must be a non-empty vector of integers"),
        (([0], [1], [np.nan], (2, 2)), "`values` must be finite"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            ObservedEntries(*arguments)
    with pytest.raises(ValueError, match="`mask` must be boolean"):
        ObservedEntries.from_mask(np.eye(2), np.eye(2))
    with pytest.raises(ValueError, match="must observe an entry, but all 4 are false"):
        ObservedEntries.from_mask(np.eye(2), np.zeros((2, 2), dtype=bool))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rank": 20}, "`rank` must be a positive integer and at most 19"),
        ({"learning_rate": -1.0}, "`learning_rate` must be a finite positive number, but is -1"),
        ({"discrepant_rate": -0.1}, "`discrepant_rate` must be a finite number of at least 0, but is -0.1"),
        ({"depth": 0}, "`depth` must be a positive integer, but is 0"),
        ({"kernel": "fast"}, "`kernel` must be one of"),
        ({"reference": np.eye(3)}, r"`reference` must have shape \(40, 40\), but has shape \(3, 3\)"),
        ({"entries": np.eye(40)}, "must be ObservedEntries, but is ndarray"),
    ],
)
def test_bad_options_are_refused(options, message):
    target, mask = problem()
    arguments = {"entries": ObservedEntries.from_mask(target, mask), "rank": 4, "learning_rate": 1.0}
    with pytest.raises(ValueError, match=message):
        complete(**{**arguments, "discrepant_rate": 0.1, **options})
