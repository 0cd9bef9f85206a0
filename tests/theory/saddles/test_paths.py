"""Paths over saddles: choice of the method, plateaus, greedy points, closest approach."""

import dataclasses

import numpy as np
import pytest
from systems.reference import chain_flow
from systems.saddles import MODES, start, target

import dlntheory as dln
from dlntheory import ConditionError, IntegrationError
from dlntheory.theory.saddles import (
    PathRun,
    StiffCostWarning,
    approach_exponent,
    approach_study,
    closest_approach,
    estimated_steps,
    follow_path,
    greedy_low_rank,
    matched_distances,
    plateaus,
)
from dlntheory.theory.saddles.path_integration import (
    accurate_atol,
    atol_for,
    chosen_method,
    jacobian_cost,
    largest_jump,
    relaxation_rate,
)

GOAL = target()
LOSSES = [0.5 * sum(s**2 for s in MODES[k:]) for k in range(4)]
LEFT, _, RIGHT = np.linalg.svd(GOAL)
MAPS = [(LEFT[:, :k] * np.array(MODES[:k])) @ RIGHT[:k] for k in range(4)]


@pytest.fixture(scope="module")
def cost():
    return dln.SquaredLoss.from_target(GOAL)


@pytest.fixture(scope="module")
def deep(cost):
    return {
        alpha: follow_path(cost, start(3), alpha, method="stiff", rtol=1e-8) for alpha in (1e-2, 1e-3, 1e-4)
    }


@pytest.fixture(scope="module")
def greedy(cost):
    return greedy_low_rank(cost, (3, 3), 3, eps=4e-3)


def test_deep_path_passes_the_saddles_in_order(deep):
    for run in deep.values():
        found = plateaus(run)
        assert found.ranks == (0, 1, 2)
        np.testing.assert_allclose(found.losses, LOSSES[:3], rtol=1e-3)
        assert "conjecture" in str(found)
        assert largest_jump(run) < 0.5


def test_noise_of_the_gradient_makes_no_plateaus(deep):
    """A tenth of a decade, as minibatches have it: version 0.1 found 5 to 12 plateaus."""
    for alpha, run in deep.items():
        for seed in range(8):
            noise = 0.1 * np.random.default_rng(seed).standard_normal(len(run.ts))
            noisy = dataclasses.replace(run, gradient_norm=run.gradient_norm * 10.0**noise)
            found = plateaus(noisy)
            assert found.ranks == (0, 1, 2), (alpha, seed)
            np.testing.assert_allclose(found.losses, LOSSES[:3], rtol=1e-2)


def test_stiff_run_agrees_with_scipy(cost):
    run = follow_path(cost, start(3), 1e-2, 90.0, method="stiff", rtol=1e-10, atol=1e-13)
    last = len(run.ts) - 1
    weights = [1e-2 * layer for layer in start(3).values()]
    zs, _ = chain_flow(weights, lambda z: z - GOAL, [0.0, run.ts[last // 2], run.ts[last]], rtol=1e-10)
    np.testing.assert_allclose(run.z[[0, last // 2, last]], zs, atol=1e-5)


def test_gradient_norm(deep):
    run = deep[1e-2]
    row = len(run.ts) // 2
    w1, w2, w3 = (run.trajectory.states[name][row] for name in ("W1", "W2", "W3"))
    rest = GOAL - w3 @ w2 @ w1
    parts = [(w3 @ w2).T @ rest, w3.T @ rest @ w1.T, rest @ (w2 @ w1).T]
    expected = np.sqrt(sum(np.sum(part**2) for part in parts))
    assert run.gradient_norm[row] == pytest.approx(expected, rel=1e-10)


def test_closest_approach_of_three_layers(deep):
    study = approach_study(list(deep.values()), GOAL)
    np.testing.assert_array_equal(study.predicted, 3.0)
    assert study.slopes()[0] == pytest.approx(3.0, abs=0.15)
    assert "conjecture" in str(study)
    with pytest.raises(ValueError, match="at least two runs"):
        approach_study([deep[1e-2]], GOAL)


def test_closest_approach_between_steps():
    # |A - A_1| = cosh(t): its minimum 1 lies between the recorded times.
    ts = np.linspace(-1.05, 1.0, 12)
    z = np.cosh(ts)[:, None, None] * np.ones((1, 1))
    run = _made_up(ts, z, np.ones(12))
    assert closest_approach(run, np.zeros((1, 1, 1)))[0] == pytest.approx(1.0, abs=2e-4)
    assert closest_approach(run, np.full((1, 1, 1), 99.0))[0] == pytest.approx(99.0 - z.max())


def _made_up(ts, z, norms, loss=None):
    """A run as the detector sees it."""
    loss = 0.5 * np.sum(z**2, axis=(1, 2)) if loss is None else loss
    trajectory = dln.Trajectory("made up", "", "", "t", ts, z, loss, None, {}, {}, {}, None)
    return PathRun(trajectory, 0.1, 2, norms, 0.0)


def test_detector_on_a_made_up_run():
    ts = np.linspace(0.0, 10.0, 201)
    sizes = 2.0 + np.tanh(4 * (ts - 3)) + np.tanh(4 * (ts - 7))
    norms = 1e-6 + 4 / np.cosh(4 * (ts - 3)) ** 2 + 4 / np.cosh(4 * (ts - 7)) ** 2
    loss = 5.0 - sizes
    z = np.zeros((201, 2, 2))
    z[:, 0, 0], z[:, 1, 1] = np.minimum(sizes, 2.0), np.maximum(sizes - 2.0, 0.0)
    found = plateaus(_made_up(ts, z, norms, loss))
    assert found.ranks == (0, 1)
    np.testing.assert_allclose(found.losses, [5.0, 3.0], atol=1e-3)
    assert found[1].t == pytest.approx(5.0, abs=0.1)
    # A singular value of a fifth of the largest counts, one of a fiftieth does not.
    for share, ranks in ((0.2, (0, 1)), (0.02, (0, 0))):
        assert plateaus(_made_up(ts, z * np.diag([share, 1.0]), norms, loss)).ranks == ranks
    assert plateaus(_made_up(ts, z, norms, loss), prominence=20.0).ranks == ()
    # Rounding noise at the end: minima at the final loss do not count.
    noisy = norms.copy()
    noisy[190::2] *= 1e-3
    settled = np.where(ts > 9.4, loss[-1], loss)
    assert plateaus(_made_up(ts, z, noisy, settled)).ranks == (0, 1)
    # Nor do they hide what was before, however long the run stays at its end: there is noise of the gradient there.
    rest = np.random.default_rng(0).standard_normal(4000)
    long = _made_up(
        np.concatenate([ts, 10.0 + np.arange(1.0, 4001.0)]),
        np.concatenate([z, np.repeat(z[-1:], 4000, axis=0)]),
        np.concatenate([norms, 1e-6 * 10.0**rest]),
        np.concatenate([loss, np.full(4000, loss[-1])]),
    )
    assert [(one.index, one.rank) for one in plateaus(long)] == [(one.index, one.rank) for one in found]
    with pytest.raises(ValueError, match="recorded closely enough"):
        plateaus(_made_up(ts[::50], z[::50], norms[::50], loss[::50]))
    with pytest.raises(ValueError, match="`prominence` must be a finite positive number"):
        plateaus(_made_up(ts, z, norms, loss), prominence=0.0)


def test_greedy_points(greedy):
    np.testing.assert_allclose(greedy.losses, LOSSES, atol=1e-8)
    np.testing.assert_allclose(greedy.singular_values, MODES, rtol=1e-7)
    for k, point in enumerate(greedy.points):
        np.testing.assert_allclose(point.z, MAPS[k], atol=1e-7)
        if k:
            assert [layer.shape for layer in point.weights.values()] == [(k, 3), (k, k), (3, k)]
            w1, w2, w3 = point.weights.values()
            np.testing.assert_allclose(w3 @ w2 @ w1, point.z, atol=1e-14)
    assert greedy.stopped_by == "loss below 1e-10"
    assert "conjecture" in str(greedy)


def test_greedy_start_is_the_definition(greedy):
    second = greedy.points[2].segment
    w1, w2, w3 = (second.states[name][0] for name in ("W1", "W2", "W3"))
    left, _, right = np.linalg.svd(GOAL - greedy.points[1].z)
    sign = np.sign(right[0] @ w1[1])
    np.testing.assert_allclose(w1[1], sign * 4e-3 * right[0], atol=1e-12)
    np.testing.assert_allclose(w3[:, 1], sign * 4e-3 * left[:, 0], atol=1e-12)
    assert w2[1, 1] == 4e-3
    assert w2[0, 1] == w2[1, 0] == 0.0
    for unused in (w1[2], w2[2], w3[:, 2]):
        assert not np.any(unused)


def test_width_k_description_follows_the_path(deep, greedy, cost):
    levels = (5.0, 3.5, 2.5, 1.5, 1.0, 0.3)
    near = matched_distances(deep[1e-2], greedy, levels)
    far = matched_distances(deep[1e-4], greedy_low_rank(cost, (3, 3), 3, eps=4e-5), levels)
    assert np.max(far) < 0.4 * np.max(near), (near, far)
    with pytest.raises(ValueError, match="`levels` must lie between"):
        matched_distances(deep[1e-2], greedy, [7.0])


def test_greedy_refuses_what_it_cannot_do(cost):
    with pytest.raises(IntegrationError, match="not stationary at t_max = 10"):
        greedy_low_rank(cost, (3, 3), 3, t_max=10.0)
    with pytest.raises(ValueError, match="`eps` must be a finite positive number"):
        greedy_low_rank(cost, (3, 3), 3, eps=0.0)
    with pytest.raises(ValueError, match="`depth`"):
        greedy_low_rank(cost, (3, 3), 1)
    # Nothing to learn: the gradient vanishes at the start.
    constant = dln.SquaredLoss.from_target(np.zeros((3, 3)))
    assert greedy_low_rank(constant, (3, 3), 3).losses.tolist() == [0.0]


@pytest.mark.slow
def test_two_layers_are_marginal(cost):
    runs = [follow_path(cost, start(2), alpha, method="stiff", rtol=1e-8) for alpha in (1e-2, 1e-3, 1e-4)]
    assert [plateaus(run).ranks for run in runs[1:]] == [(0, 1, 2), (0, 1, 2)]
    assert approach_study(runs, GOAL).slopes()[0] == pytest.approx(0.5, abs=0.05)
    large = follow_path(cost, start(2, size=1.0), 1.0, 20.0, method="stiff", rtol=1e-8)
    assert 1 not in plateaus(large).ranks


@pytest.mark.slow
def test_explicit_path_finds_the_same_plateaus(cost, deep):
    run = follow_path(cost, start(3), 1e-2, method="dopri8")
    assert run.trajectory.stats.method == "dopri8"
    explicit, implicit = plateaus(run), plateaus(deep[1e-2])
    assert explicit.ranks == implicit.ranks
    np.testing.assert_allclose(explicit.losses, implicit.losses, rtol=1e-3)


@pytest.mark.slow
def test_matrix_free_run_agrees(cost, deep):
    with pytest.warns(StiffCostWarning, match="dense Jacobian"):
        wide = follow_path(
            dln.SquaredLoss.from_target(np.pad(GOAL, (0, 16))),
            start(3, width=19, sides=(19, 19), size=0.05),
            1e-1,
            3000.0,
            method="stiff",
        )
    assert wide.trajectory.stats.method == "krylov"
    assert plateaus(wide).ranks == (0, 1, 2)


def test_approach_exponents():
    assert approach_exponent(2, 3.0, 1.8) == pytest.approx(0.5)
    assert approach_exponent(4, 3.0, 1.8) == 4.0
    with pytest.raises(ConditionError, match="equal modes"):
        approach_exponent(2, 1.0, 1.0)


def test_rate_and_choice(cost):
    # Whitened regression: curvature 1, rate L s^(2 - 2/L).
    assert relaxation_rate(cost, 3, (3, 3)) == pytest.approx(3 * 3 ** (4 / 3), rel=1e-10)
    steps = estimated_steps(cost, start(3), 100.0)
    assert steps == pytest.approx(100 * 3 * 3 ** (4 / 3) / 3.3)
    assert chosen_method(1e4, 75) == "dopri8"
    assert chosen_method(1e5, 75) == "stiff"
    assert chosen_method(1e5, 1001) == "krylov"
    assert "8 MB" in jacobian_cost(1001)
    assert (atol_for(1e-3), accurate_atol(1e-2), accurate_atol(1e-4)) == pytest.approx((1e-8, 1e-13, 1e-14))


def test_bad_input(cost):
    with pytest.raises(ValueError, match="`alpha` must be a finite number of at least"):
        follow_path(cost, start(3), 0.0)
    with pytest.raises(ValueError, match="`method` must be one of"):
        follow_path(cost, start(3), 0.1, method="euler")
    with pytest.raises(ValueError, match=r"G\(0\) = 0"):
        follow_path(dln.SquaredLoss.from_target(np.zeros((3, 3))), start(3), 0.1)
    with pytest.raises(ValueError, match='with a stiff method, "steps"'):
        dln.solve(dln.GradientFlow(dln.linear_network((3, 4, 3)), cost), start(2), 1.0, ts="steps")


def test_every_step_is_recorded(deep):
    run = deep[1e-2].trajectory
    assert len(run) == run.stats.counts["steps"] + 1
    assert np.all(np.diff(run.ts) > 0)
    assert dataclasses.replace(run).final["W1"].shape == (4, 3)
