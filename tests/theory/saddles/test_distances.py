"""Distances to minima and saddles, against SciPy's constrained optimisation and the constants of the theory."""

import numpy as np
import pytest
from scipy.optimize import minimize
from systems.saddles import product, start

from dlntheory import ConditionError, InfeasibleError
from dlntheory.theory.saddles import (
    distances,
    nearest_minimum,
    nearest_saddle,
    phase_transition,
    predicted_minimum,
    predicted_saddle,
    project_fibre,
)
from dlntheory.theory.saddles.distances import saddle_lower_bound
from dlntheory.theory.saddles.far_minimum import augmented_lagrangian

NEAR = np.diag([2.0, 1.0, 0.6])


def flat(weights):
    return np.concatenate([layer.ravel() for layer in weights.values()])


def constrained(weights, goal, guess):
    """The nearest point of the fibre by SLSQP, from a guess off the fibre."""
    names, cuts = list(weights), np.cumsum([layer.size for layer in weights.values()])[:-1]
    origin = flat(weights)

    def rest(vector):
        parts = np.split(vector, cuts)
        layers = {n: p.reshape(weights[n].shape) for n, p in zip(names, parts, strict=True)}
        return (product(layers) - goal).ravel()

    answer = minimize(
        lambda x: 0.5 * np.sum((x - origin) ** 2),
        guess,
        jac=lambda x: x - origin,
        method="SLSQP",
        constraints={"type": "eq", "fun": rest},
        options={"ftol": 1e-14, "maxiter": 500},
    )
    return float(np.linalg.norm(answer.x - origin))


@pytest.mark.parametrize("depth", [2, 3])
def test_projection_is_the_nearest_point_of_the_fibre(depth):
    weights = start(depth, width=3, size=0.8, seed=2)
    goal = product(weights) + 0.2 * np.random.default_rng(1).standard_normal((3, 3))
    found = project_fibre(weights, goal)
    np.testing.assert_allclose(product(found.weights), goal, atol=1e-10)
    moved = flat(found.weights) - flat(weights)
    assert found.distance == pytest.approx(np.linalg.norm(moved), rel=1e-12)
    guess = flat(found.weights) + 0.05 * np.random.default_rng(3).standard_normal(moved.size)
    assert found.distance == pytest.approx(constrained(weights, goal, guess), rel=1e-6)


def test_scalar_chain_in_closed_form():
    # On a b = 1 the point nearest to (x, x) is (1, 1).
    found = project_fibre({"W1": np.array([[0.8]]), "W2": np.array([[0.8]])}, [[1.0]])
    assert found.distance == pytest.approx(0.2 * np.sqrt(2), abs=1e-9)


def test_small_start_of_three_layers_needs_the_augmented_lagrangian():
    weights = start(3, width=6, size=0.02, seed=1)
    with pytest.raises(ConditionError, match="take `nearest_minimum`"):
        project_fibre(weights, NEAR)
    found = nearest_minimum(weights, NEAR)
    assert found.method == "augmented Lagrangian"
    assert found.residual < 1e-7
    limit = predicted_minimum(NEAR, 3, 2.0).constant
    assert limit == pytest.approx(np.sqrt(3 * np.sum(np.array([2, 1, 0.6]) ** (2 / 3))), rel=1e-14)
    # From nearly zero weights the nearest minimum is the balanced factorisation, a little nearer.
    assert 0.95 * limit < found.distance < limit
    guess = flat(found.weights) * 1.01
    assert found.distance == pytest.approx(constrained(weights, NEAR, guess), rel=1e-5)


def test_both_ways_to_the_fibre_agree():
    weights = start(3, width=3, size=0.8, seed=2)
    goal = product(weights) + 0.1
    layers, residual, _ = augmented_lagrangian(list(weights.values()), goal)
    assert residual < 1e-8
    away = np.linalg.norm(np.concatenate([w.ravel() for w in layers]) - flat(weights))
    assert away >= project_fibre(weights, goal).distance * (1 - 1e-6)


def test_saddle_is_one():
    # For diagonal layers everything is explicit: the second pair is switched off in both layers.
    weights = {"W1": np.diag([1.0, 0.1]), "W2": np.diag([1.0, 0.2])}
    distance, off = nearest_saddle(weights, np.diag([1.0, 0.5]))
    assert (distance, off) == (pytest.approx(np.hypot(0.1, 0.2)), 1)
    # The pair that stays on has to be fitted: from (0.8, 0.8) to (1, 1).
    unfitted = {"W1": np.diag([0.8, 0.1]), "W2": np.diag([0.8, 0.2])}
    fitted = np.sqrt(0.1**2 + 0.2**2 + 2 * 0.2**2)
    assert nearest_saddle(unfitted, np.diag([1.0, 0.5]))[0] == pytest.approx(fitted)
    assert saddle_lower_bound(weights, np.diag([1.0, 0.5])) == pytest.approx(np.hypot(0.1, 0.2))
    assert saddle_lower_bound(weights, np.diag([1.0, 0.0])) is None
    assert "1 singular pair switched off" in str(distances(weights, np.diag([1.0, 0.5])))


def test_lower_bound_is_below():
    for seed in range(4):
        weights = start(2, width=20, size=20**-0.4, seed=seed)
        lower = saddle_lower_bound(weights, NEAR)
        assert lower is not None
        assert lower <= nearest_saddle(weights, NEAR)[0]


def test_lazy_constants():
    study = phase_transition(NEAR, 2, 0.8, (256, 512, 1024), seeds=3)
    assert study.minimum[-1] / study.predicted_minimum[-1] == pytest.approx(1.0, abs=0.08)
    assert study.saddle[-1] / study.predicted_saddle[-1] == pytest.approx(1.0, abs=0.08)
    assert study.slope("minimum") == pytest.approx(-0.1, abs=0.1)
    assert study.slope("saddle") == pytest.approx(0.1, abs=0.02)
    assert "d_s at most" in str(study)
    assert "gamma = 0.8" in repr(study)


@pytest.mark.slow
def test_lazy_constants_of_three_layers():
    study = phase_transition(NEAR, 3, 0.8, (256, 512), seeds=3)
    assert study.minimum[-1] / study.predicted_minimum[-1] == pytest.approx(1.0, abs=0.08)
    assert study.saddle[-1] / study.predicted_saddle[-1] == pytest.approx(1.0, abs=0.08)


@pytest.mark.slow
def test_rich_constants():
    study = phase_transition(NEAR, 2, 2.0, (16, 32, 64), seeds=2)
    assert study.slope("saddle") == pytest.approx(-0.5, abs=0.05)
    assert study.deficit_slope() == pytest.approx(-0.5, abs=0.1)
    assert phase_transition(NEAR, 3, 3.0, (16,), seeds=1).minimum[0] == pytest.approx(3.1458, rel=0.06)


def test_predictions_and_their_range():
    assert predicted_saddle(NEAR, 3, 0.8)(512) == pytest.approx(2.639, abs=1e-3)
    assert predicted_saddle(NEAR, 2, 2.0)(1024) == pytest.approx(0.0765, abs=1e-4)
    assert predicted_minimum(NEAR, 2, 3.0).constant == pytest.approx(2.683, abs=1e-3)
    assert predicted_minimum(NEAR, 4, 3.0).constant == pytest.approx(3.571, abs=1e-3)
    assert predicted_minimum(NEAR, 4, 3.0).correction == -1.0
    lazy = predicted_minimum(NEAR, 3, 0.8, 0.5 * NEAR)
    assert lazy.exponent == pytest.approx(-0.2)
    assert lazy.constant == pytest.approx(0.5 * np.linalg.norm(NEAR) / np.sqrt(3))
    with pytest.raises(ConditionError, match=r"at least 1 - 1/L = 0.6667 for L = 3, but is 0.6"):
        predicted_minimum(NEAR, 3, 0.6)
    with pytest.raises(ConditionError, match="`gamma`"):
        phase_transition(NEAR, 2, 0.4, (8,))
    with pytest.raises(ValueError, match="must not be 1"):
        predicted_saddle(NEAR, 2, 1.0)


def test_bad_input():
    weights = start(2, width=2)
    with pytest.raises(InfeasibleError, match="rank at most 2, the narrowest width, but has rank 3"):
        distances(weights, NEAR)
    with pytest.raises(ValueError, match="must not be zero"):
        distances(start(2), np.zeros((3, 3)))
    with pytest.raises(ValueError, match="`depth` must be an integer of at least 2"):
        distances({"W1": np.eye(3)}, NEAR)
    with pytest.raises(ValueError, match="must hold W1"):
        distances({"A": np.eye(3), "B": np.eye(3)}, NEAR)
    with pytest.raises(ValueError, match="must be a chain"):
        distances({"W1": np.ones((4, 3)), "W2": np.ones((3, 5))}, NEAR)
    with pytest.raises(ValueError, match="shape \\(3, 3\\)"):
        distances(start(2), np.eye(2))
