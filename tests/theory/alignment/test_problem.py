"""Problems, the maximum-margin oracle and its refusals, starts."""

import itertools

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import ConditionError, PrecisionError
from dlntheory.theory.alignment import (
    InseparableError,
    SeparableProblem,
    admissible,
    admissible_start,
    gradient_descent,
    is_admissible,
    log_time_flow,
    max_margin,
)
from dlntheory.theory.alignment.admissible_starts import check_not_critical
from dlntheory.theory.alignment.observables import observe

ROWS = [[0.5, 0.5], [0.5, -0.75]]


def brute_force_margin(rows):
    """The least norm over all faces of the hull: minimum-norm affine points with positive weights."""
    best = np.inf
    for size in range(1, rows.shape[1] + 1):
        for face in itertools.combinations(range(len(rows)), size):
            z = rows[list(face)]
            system = np.block([[z @ z.T, np.ones((size, 1))], [np.ones((1, size)), np.zeros((1, 1))]])
            if np.linalg.matrix_rank(system) <= size:
                continue
            weights = np.linalg.solve(system, np.append(np.zeros(size), 1.0))[:size]
            if np.all(weights >= 0):
                best = min(best, np.linalg.norm(weights @ z))
    return best


@pytest.mark.parametrize("dimension", [1, 2, 3])
@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_margin_is_that_of_all_faces(dimension, seed):
    rng = np.random.default_rng([dimension, seed])
    rows = rng.standard_normal((12, dimension)) + 1.5 * np.eye(dimension)[0]
    rows = rows[rows[:, 0] > 0.1]
    found = max_margin(rows)
    assert found.margin == pytest.approx(brute_force_margin(rows), rel=1e-12)
    assert found.lower == np.min(rows @ found.direction)
    assert found.upper == np.linalg.norm(found.dual @ rows)
    assert abs(found.upper - found.lower) < 1e-14
    assert np.sum(found.dual) == pytest.approx(1.0, abs=1e-14)
    assert np.all(found.dual >= 0)
    assert found.slackness < 1e-14
    assert set(np.flatnonzero(found.dual)) <= set(found.support.tolist())


@pytest.mark.parametrize("margin", [0.3, 1e-3, 1e-6])
def test_margin_of_the_simplex_construction_is_found_to_rounding(margin):
    data = dln.data.simplex_margin(jax.random.key(3), 40, 5, margin)
    found = SeparableProblem(data.inputs, data.targets).max_margin()
    assert found.margin == pytest.approx(margin, rel=1e-15 / margin)
    assert np.linalg.norm(found.direction - data.teacher[0]) < 5e-15 / min(1.0, 10 * margin)
    assert found.support.tolist() == list(range(5))
    assert (found.support_rank, found.spans) == (5, True)


def test_duplicate_and_dependent_support_vectors_are_counted_by_rank():
    found = max_margin(np.array([[1.0, 1.0, 0.0], [1.0, -1.0, 0.0], [1.0, 1.0, 0.0], [1.0, 0.0, 0.0]]))
    assert found.margin == pytest.approx(1.0, rel=1e-15)
    assert found.support.tolist() == [0, 1, 2, 3]
    assert (found.support_rank, found.spans) == (2, False)
    assert "do not span" in str(found)
    assert "support vectors of rank 2 in 3" in repr(found)


def test_scale_is_kept_and_changes_the_margin():
    plain, scaled = SeparableProblem(ROWS, [1, 1]), SeparableProblem(4.0 * np.array(ROWS), [1, 1])
    assert (plain.scale, scaled.scale) == (1.0, pytest.approx(4.0 * np.hypot(0.5, 0.75)))
    assert scaled.margin.margin * scaled.scale == pytest.approx(4.0 * plain.margin.margin, rel=1e-14)
    assert "divided by" in str(scaled)


def test_one_class_is_enough():
    both = [SeparableProblem(ROWS, labels).margin.margin for labels in ([1, 1], [-1, -1])]
    assert both[0] == pytest.approx(both[1], rel=1e-15)


@pytest.mark.parametrize("size", [1e100, 1e149])
def test_rows_of_any_size_have_their_margin(size):
    plain, large = (
        SeparableProblem(4.0 * np.array(ROWS), [1, 1]),
        SeparableProblem(size * np.array(ROWS), [1, 1]),
    )
    assert large.margin.margin == pytest.approx(plain.margin.margin, rel=1e-14)
    assert large.scale == pytest.approx(size * np.hypot(0.5, 0.75), rel=1e-14)
    assert max_margin(1e307 * np.array(ROWS)).margin == pytest.approx(0.5e307, rel=1e-12)
    assert max_margin(1e-250 * np.array(ROWS)).margin == pytest.approx(0.5e-250, rel=1e-12)


@pytest.mark.parametrize("size", [1e-200, 1e-310])
def test_rows_too_small_for_their_predictors_are_refused_for_that_reason(size):
    with pytest.raises(ValueError, match="`inputs` must have a row of norm 1e-100 or more") as caught:
        SeparableProblem(size * np.array(ROWS), [1, 1])
    assert not isinstance(caught.value, InseparableError)


@pytest.mark.parametrize("margin", [1e-8, 1e-10, 1e-14])
def test_margins_far_below_the_rows_are_found(margin):
    assert max_margin(np.array([[1.0, margin], [-1.0, margin]])).margin == pytest.approx(margin, rel=1e-12)
    rows = [[1.0, 0.3, margin], [-1.0, 0.2, margin], [0.5, -0.7, margin], [0.1, 0.2, 2 * margin]]
    found = max_margin(np.array(rows))
    # By hand: in the plane the first three rows surround the origin, so that all of the margin is the third entry.
    assert found.margin == pytest.approx(margin, rel=1e-10) or found.margin < margin
    assert 0 < found.lower <= found.upper * (1 + 1e-12)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_log_risk_is_that_of_the_loss_object(loss):
    problem = SeparableProblem(ROWS, [1, 1], loss)
    for w in np.random.default_rng(0).standard_normal((20, 2)) * np.geomspace(0.1, 2000, 20)[:, None]:
        assert problem.log_risk(w) == pytest.approx(float(problem.loss.log_value(w)), rel=1e-14, abs=1e-14)
    assert problem.log_risk(np.zeros(2)) == pytest.approx(problem.log_risk_of_zero, abs=1e-15)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((ROWS, [0, 1]), "is 0 or 1: use `2 \\* labels - 1`"),
        ((ROWS, [0, 0]), "is 0 or 1"),
        ((ROWS, [1, 2]), "must be -1 or 1, but 1 of 2 are not: 2"),
        ((ROWS, [[1, 1]]), "`labels` must have shape"),
        ((ROWS, [1, 1, 1]), "one row per row"),
        (([[np.nan, 1.0], [1.0, 1.0]], [1, 1]), "`inputs` must be finite, but 1 of 4"),
        (([1.0, 2.0], [1, 1]), "`inputs` must have shape"),
        ((ROWS, [1, 1], "hinge"), "`loss` must be one of \\['exponential', 'logistic'\\], but is 'hinge'"),
    ],
)
def test_malformed_problems_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        SeparableProblem(*arguments)


@pytest.mark.parametrize(
    ("rows", "labels"),
    [
        ([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]], [1, -1, 1]),
        ([[1.0, 0.0], [-0.5, 0.8], [-0.5, -0.8]], [1, 1, 1]),
        ([[0.0, 0.0], [1.0, 0.0]], [1, 1]),
        ([[0.0, 0.0]], [1]),
    ],
)
def test_inseparable_data_are_refused_with_a_certificate(rows, labels):
    with pytest.raises(
        InseparableError, match="convex combination .* no direction has all margins"
    ) as caught:
        SeparableProblem(rows, labels)
    weights, signed = caught.value.weights, np.array(labels)[:, None] * np.array(rows)
    assert np.all(weights >= 0)
    assert np.sum(weights) == pytest.approx(1.0)
    assert np.linalg.norm(weights @ signed) < 1e-12
    assert caught.value.distance < 1e-12


def weights_of(*shapes, seed=0):
    rng = np.random.default_rng(seed)
    return {f"W{k}": rng.standard_normal(shape) for k, shape in enumerate(shapes, start=1)}


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "at least one layer, but is empty \\(L = 0\\)"),
        ([np.ones((1, 2))], "must be a dict of matrices"),
        ({"A": np.ones((1, 2))}, "must have the names \\['W1'\\]"),
        (weights_of((3, 2), (2, 3)), "`weights\\['W2'\\]` must have 1 row"),
        (weights_of((3, 3), (1, 3)), "must have 2 columns \\(inputs\\)"),
        (weights_of((3, 2), (1, 4)), "must have 3 columns \\(rows of the layer below\\)"),
        ({"W1": np.full((1, 2), np.inf)}, "must be finite"),
        ({"W1": np.zeros((3, 2)), "W2": np.zeros((1, 3))}, "critical point of the risk"),
        (
            {"W1": np.zeros((3, 2)), "W2": np.zeros((3, 3)), "W3": np.ones((1, 3))},
            "critical point of the risk",
        ),
    ],
)
def test_starts_that_do_not_fit_are_refused(weights, message):
    problem = SeparableProblem(ROWS, [1, 1], "logistic")
    with pytest.raises(ValueError, match=message):
        log_time_flow(problem, weights)
    with pytest.raises(ValueError, match=message):
        gradient_descent(problem, weights, "paper", 10)


def test_one_zero_layer_or_a_zero_linear_model_is_no_critical_point():
    problem = SeparableProblem(ROWS, [1, 1])
    check_not_critical(problem, {"W1": np.zeros((1, 2))})
    check_not_critical(problem, {"W1": np.zeros((3, 2)), "W2": np.ones((1, 3))})
    for layers in ([np.zeros((1, 1, 2))], [np.zeros((1, 3, 2)), np.ones((1, 1, 3))]):
        seen = observe(problem, layers)
        assert np.isfinite(seen.direction_error).all()
        assert np.isfinite(seen.rank_one_residual).all()
        assert np.isfinite(seen.predictor_deficit).all()
        assert all(np.isfinite(spectrum).all() for spectrum in seen.spectra)


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(PrecisionError, match="SeparableProblem"):
            SeparableProblem(ROWS, [1, 1])
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_flip_then_shrink(loss):
    problem = SeparableProblem(ROWS, [1, 1], loss)
    good = {"W1": np.eye(3, 2), "W2": np.array([[2.0, 0.0, 0.0]])}
    bad = {"W1": np.eye(3, 2), "W2": np.array([[-2.0, 0.0, 0.0]])}
    torn = {"W1": np.eye(3, 2), "W2": np.array([[0.1, 9.0, 0.0]])}
    assert is_admissible(problem, good)
    assert not is_admissible(problem, bad)
    np.testing.assert_array_equal(admissible(problem, good)["W2"], good["W2"])
    np.testing.assert_array_equal(admissible(problem, bad)["W2"], good["W2"])
    np.testing.assert_array_equal(bad["W2"], [[-2.0, 0.0, 0.0]])
    mended = admissible(problem, torn)
    assert is_admissible(problem, mended)
    ratio = np.linalg.norm(mended["W1"]) / np.linalg.norm(torn["W1"])
    assert np.log(ratio) / np.log(0.8) == pytest.approx(round(np.log(ratio) / np.log(0.8)), abs=1e-12)


def test_where_neither_sign_will_do_the_slope_at_zero_decides():
    problem = SeparableProblem([[0.6, 0.8], [0.6, -0.8]], [1, 1])
    w = admissible(problem, {"W1": np.array([[1.0, 5.0]])})["W1"][0]
    np.testing.assert_allclose(w, 0.8**12 * np.array([1.0, 5.0]), rtol=1e-14)
    risk = np.mean(np.exp(-np.array([0.6 * w[0] + 0.8 * w[1], 0.6 * w[0] - 0.8 * w[1]])))
    assert risk == pytest.approx(0.99609, abs=5e-6)
    with pytest.raises(ConditionError, match="orthogonal to the sum of the rows"):
        admissible(problem, {"W1": np.array([[0.0, 5.0]])})


@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_large_random_starts_become_admissible_without_vanishing(loss):
    for seed in range(30):
        data = dln.data.simplex_margin(jax.random.key(seed), 30, 4, 0.3)
        problem = SeparableProblem(data.inputs, data.targets, loss)
        start = admissible_start(problem, problem.network(2, 6), jax.random.key(seed), scale=0.8)
        w = (start["W2"] @ start["W1"])[0]
        assert np.linalg.norm(w) > 1e-6
        z = problem.signed_inputs @ w
        risk = np.mean(np.exp(-z)) if loss == "exponential" else np.mean(np.logaddexp(0.0, -z))
        assert risk < np.exp(problem.log_risk_of_zero)


def test_start_at_the_risk_of_zero_is_left_alone():
    problem = SeparableProblem(ROWS, [1, 1])
    still = {"W1": np.eye(3, 2), "W2": np.zeros((1, 3))}
    np.testing.assert_array_equal(admissible(problem, still)["W2"], still["W2"])


def test_random_starts_are_admissible():
    problem = SeparableProblem(ROWS, [1, 1], "logistic")
    for seed in range(3):
        start = admissible_start(problem, problem.network(2, 3), jax.random.key(seed), scale=2.0)
        assert is_admissible(problem, start)
    with pytest.raises(ValueError, match="`depth` must be a positive integer, but is 0"):
        problem.network(0)
