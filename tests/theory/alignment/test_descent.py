"""Gradient descent by three step rules, and the smoothness constants behind them."""

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.theory.alignment import (
    SeparableProblem,
    admissible_start,
    clock_disagreement,
    gradient_descent,
    largest_hessian_norm,
    log_time_flow,
    published_smoothness,
    risk_smoothness,
    sharper_smoothness,
)

#: log(1 + t) reached in 1e5 steps on data of this kind.
REACHED = {
    (2, "paper"): 5.91,
    (2, "sharper"): 8.47,
    (2, "normalised"): 4492.7,
    (3, "paper"): 2.92,
    (3, "sharper"): 5.49,
    (3, "normalised"): 4346.6,
}


def problem(loss="logistic"):
    data = dln.data.simplex_margin(jax.random.key(0), 30, 4, 0.3)
    return SeparableProblem(data.inputs, data.targets, loss)


def by_hand(task, weights, rule, steps):
    """The same rules in NumPy with explicit gradients, for moderate risks."""
    rows, layers = task.signed_inputs, [np.array(w) for w in weights.values()]
    depth, t = len(layers), 0.0
    radius = 1.0 + max(np.linalg.norm(w) for w in layers)
    risks = []
    for _ in range(steps):
        w = layers[-1]
        for layer in reversed(layers[:-1]):
            w = w @ layer
        margins = rows @ w[0]
        risks.append(np.mean(np.log1p(np.exp(-margins))))
        pull = ((1 / (1 + np.exp(margins)) / len(rows)) @ rows)[None, :]
        if rule == "normalised":
            r = max(1.0, *(np.linalg.norm(layer) for layer in layers))
            eta = 1 / (2 * risks[-1] * (depth * r ** (2 * depth - 2) + (depth - 1) * r ** (depth - 2)))
        elif rule == "paper":
            eta = min(1.0, 1 / (2 * depth**2 * radius ** (2 * depth - 2) * 1.25))
        else:
            bound = 0.25 * depth * radius ** (2 * depth - 2) + (depth - 1) * radius ** (depth - 2)
            eta = min(1.0, 1 / bound)
        after = []
        for k in range(depth):
            above = np.eye(1)
            for layer in reversed(layers[k + 1 :]):
                above = above @ layer
            below = np.eye(rows.shape[1])
            for layer in layers[:k]:
                below = layer @ below
            after.append(layers[k] + eta * above.T @ pull @ below.T)
        layers, t = after, t + eta
        if max(np.linalg.norm(layer) for layer in layers) > radius - 1:
            radius += 1
    return {f"W{k}": w for k, w in enumerate(layers, start=1)}, np.log1p(t), np.array(risks)


@pytest.mark.parametrize("rule", ["paper", pytest.param("sharper", marks=pytest.mark.slow), "normalised"])
def test_rules_are_those_of_the_theory(rule):
    task = problem()
    start = admissible_start(task, task.network(2), jax.random.key(1))
    weights, log_time, risks = by_hand(task, start, rule, 300)
    run = gradient_descent(task, start, rule, 300, ts=np.arange(301))
    assert clock_disagreement(run.final, weights) < 1e-12
    assert run.s[-1] == pytest.approx(log_time, rel=1e-12)
    np.testing.assert_allclose(run.log_risk[:-1], np.log(risks), rtol=1e-10, atol=1e-12)
    assert run.largest_change == pytest.approx(np.max(np.diff(run.log_risk)), abs=1e-14)
    assert run.is_monotone
    assert run.steps.tolist() == list(range(301))
    assert f"{rule} steps" in repr(run)
    assert "monotone" in str(run)


def test_largest_change_sees_a_rise():
    # Without the bound on the inputs the constant is wrong, and the run must say so.
    task = problem()
    from dlntheory.theory.alignment.separable_descent import CHANGE, SeparableDescent
    from dlntheory.training import iterate

    rows = np.array(task.signed_inputs)
    rows[-1] = -rows[0]
    start = admissible_start(task, task.network(2), jax.random.key(1))
    descent = SeparableDescent(task.network(2), dln.LogisticLoss(300 * rows, np.ones(30)), "paper")
    run = iterate(descent, start, 300, ts=np.arange(301))
    assert float(run.final[CHANGE]) > 0.1
    assert float(run.final[CHANGE]) == pytest.approx(np.max(np.diff(np.log(run.loss))[:-1]), rel=1e-9)


def test_step_rules_need_the_logistic_loss():
    task = problem("exponential")
    start = admissible_start(task, task.network(2), jax.random.key(1))
    with pytest.raises(ValueError, match='must be "normalised" for the exponential loss'):
        gradient_descent(task, start, "paper", 10)
    with pytest.raises(ValueError, match="`rule` must be one of \\['paper', 'sharper', 'normalised'\\]"):
        gradient_descent(task, start, "constant", 10)


def test_constants_of_the_bounds():
    assert [sharper_smoothness(r, depth) for depth in (2, 3) for r in (1.0, 3.0)] == [1.5, 5.5, 2.75, 66.75]
    assert [published_smoothness(r, depth) for depth in (2, 3) for r in (1.0, 3.0)] == [10, 90, 22.5, 1822.5]
    assert [risk_smoothness(r, depth) for depth in (1, 2, 3) for r in (1.0, 2.0)] == [1, 1, 3, 9, 5, 52]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"radius": 0.5}, "`radius` must be a finite number of at least 1"),
        ({"radius": 1.0, "points": 1}, "`points`"),
    ],
)
def test_bad_hessian_searches(options, message):
    task = problem()
    with pytest.raises(ValueError, match=message):
        largest_hessian_norm(task, task.network(2), key=jax.random.key(0), **options)


@pytest.mark.slow
@pytest.mark.parametrize(("depth", "least"), [(2, (0.49, 0.9)), (3, (0.85, 2.8))])
def test_hessian_norms_lie_below_the_sharper_bound(depth, least):
    task = problem()
    for radius, found_before in zip((1.0, 3.0), least, strict=True):
        found = largest_hessian_norm(task, task.network(depth), radius, jax.random.key(5))
        assert (
            found_before <= found <= sharper_smoothness(radius, depth) <= published_smoothness(radius, depth)
        )


@pytest.mark.slow
@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("rule", ["paper", "sharper", "normalised"])
def test_log_time_reached_in_1e5_steps(depth, rule):
    task = problem()
    start = admissible_start(task, task.network(depth), jax.random.key(1))
    run = gradient_descent(task, start, rule, 100_000)
    assert run.is_monotone
    # Other data and another start: the time differs by a factor, its logarithm by O(1).
    assert run.s[-1] == pytest.approx(REACHED[depth, rule], abs=0.5 if rule != "normalised" else 100)
    if rule == "paper":
        flow = log_time_flow(task, start, float(run.s[-1]))
        assert clock_disagreement(run.final, flow.trajectory.final) < 5e-4
