"""Separable data sets: their margins are what they say."""

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import InfeasibleError
from dlntheory.data.hull import nearest_in_hull


def signed(data):
    return data.targets * data.inputs


@pytest.mark.parametrize(("dimension", "samples", "margin"), [(2, 2, 0.1), (4, 30, 0.3), (7, 20, 0.45)])
def test_simplex_is_certified_by_its_own_weights(dimension, samples, margin):
    data = dln.data.simplex_margin(jax.random.key(1), samples, dimension, margin)
    rows, direction = signed(data), data.teacher[0]
    along = rows @ direction
    np.testing.assert_allclose(along[:dimension], margin, rtol=1e-13)
    assert np.all(along[dimension:] >= 1.6 * margin * (1 - 1e-12))
    assert np.all(along <= 0.75 + 1e-12)
    assert np.max(np.linalg.norm(rows, axis=1)) <= 1.0
    assert np.linalg.matrix_rank(rows[:dimension]) == dimension
    weights = np.linalg.solve(rows[:dimension].T, margin * direction)
    assert np.all(weights > 0)
    assert np.sum(weights) == pytest.approx(1.0)
    assert np.linalg.cond(rows[:dimension]) < 20
    assert {-1.0, 1.0} >= set(data.targets.ravel())


def test_draws_follow_the_key():
    first, again, other = (dln.data.simplex_margin(jax.random.key(k), 9, 4, 0.2) for k in (0, 0, 1))
    np.testing.assert_array_equal(first.inputs, again.inputs)
    assert np.max(np.abs(first.inputs - other.inputs)) > 0.1


def test_blobs_are_separable_scaled_and_of_two_classes():
    for seed in range(3):
        data = dln.data.blobs(jax.random.key(seed), 30, 3, separation=3.0)
        rows = signed(data)
        assert np.linalg.norm(nearest_in_hull(rows) @ rows) > 1e-6
        assert np.max(np.linalg.norm(rows, axis=1)) == pytest.approx(1.0)
        assert set(data.targets.ravel()) == {-1.0, 1.0}
    with pytest.raises(InfeasibleError, match="None of 100 draws of 60 samples in 1 dimensions"):
        dln.data.blobs(jax.random.key(0), 60, 1, separation=0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda key: dln.data.simplex_margin(key, 5, 1, 0.3), "`dimension` must be an integer of at least 2"),
        (lambda key: dln.data.simplex_margin(key, 3, 4, 0.3), "`samples` must be an integer of at least 4"),
        (lambda key: dln.data.simplex_margin(key, 9, 4, 0.5), "`margin` must be above 0 and below 0.4688"),
        (lambda key: dln.data.blobs(key, 1, 2), "`samples` must be an integer of at least 2"),
        (lambda key: dln.data.blobs(key, 5, 2, separation=-1.0), "`separation` must be a finite number"),
    ],
)
def test_bad_sizes_are_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call(jax.random.key(0))


def test_digit_pairs():
    data = dln.data.digit_pair(3, 8)
    assert repr(data) == "Dataset(digits 3 v 8: 357 samples, 64 inputs, 1 target)"
    assert np.max(np.linalg.norm(data.inputs, axis=1)) == pytest.approx(1.0, rel=1e-15)
    raw = dln.data.digits(classes=(3, 8))
    np.testing.assert_array_equal(data.targets, raw.targets)
    with pytest.raises(ValueError, match="two or more different digits"):
        dln.data.digit_pair(3, 3)


@pytest.mark.parametrize("distance", [0.1, 1e-3, 1e-6, 1e-9])
def test_hull_at_a_small_distance(distance):
    rows = np.array([[distance, 1.0, 0.0], [distance, -0.5, 0.7], [distance, -0.6, -0.8], [0.5, 0.1, 0.1]])
    weights = nearest_in_hull(rows)
    assert np.linalg.norm(weights @ rows) == pytest.approx(distance, rel=1e-6, abs=1e-15)
