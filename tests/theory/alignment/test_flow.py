"""The flow in logarithmic time: against SciPy, against other clocks, and what the theorems say of it."""

import copy
import dataclasses

import jax
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems.reference import chain_flow

import dlntheory as dln
from dlntheory import ConditionError
from dlntheory.theory.alignment import (
    Outcome,
    SeparableProblem,
    StartWarning,
    admissible_start,
    alignment_bounds,
    alignment_report,
    clock_disagreement,
    fitted_rates,
    limit_constants,
    log_time_flow,
    predicted_exponents,
)
from dlntheory.theory.alignment.log_time_flow import recommended_method
from dlntheory.theory.alignment.observables import angle_deficit

MARGIN = 0.3


def problem(loss="exponential", padding=0):
    data = dln.data.simplex_margin(jax.random.key(0), 30, 4, MARGIN)
    inputs = np.concatenate([data.inputs, np.zeros((30, padding))], axis=1)
    return SeparableProblem(inputs, data.targets, loss, name="simplex")


def start(task, depth, hidden=6):
    return admissible_start(task, task.network(depth, hidden), jax.random.key(1))


@pytest.fixture(scope="module")
def run():
    task = problem()
    return log_time_flow(task, start(task, 2))


def log_time_reference(task, weights, s_end):
    """dW_k/ds by hand for two layers, in NumPy, by SciPy's LSODA: no derivative and no clock of the package."""
    rows, shape = task.signed_inputs, weights["W1"].shape
    n = len(rows)

    def field(s, y):
        w1, w2 = y[: shape[0] * shape[1]].reshape(shape), y[shape[0] * shape[1] :][None, :]
        margins = rows @ (w2 @ w1)[0]
        slopes = -margins if task.loss_name == "exponential" else -np.logaddexp(0.0, margins)
        pull = (np.exp(s + slopes - np.log(n)) @ rows)[None, :]
        return np.concatenate([(w2.T @ pull).ravel(), (pull @ w1.T).ravel()])

    y0 = np.concatenate([weights["W1"].ravel(), weights["W2"].ravel()])
    solution = solve_ivp(field, (0.0, s_end), y0, method="LSODA", rtol=1e-11, atol=1e-12)
    return {
        "W1": solution.y[: y0.size - shape[0], -1].reshape(shape),
        "W2": solution.y[y0.size - shape[0] :, -1][None, :],
    }


def test_same_weights_as_scipy_in_ordinary_time(run):
    task, t_end = run.problem, 50.0
    weights = [w[0] for w in run.weights]

    def gradient(z):
        factors = np.exp(-task.signed_inputs @ z[0]) / len(task.signed_inputs)
        return -(factors @ task.signed_inputs)[None, :]

    _, final = chain_flow(weights, gradient, np.array([0.0, t_end]))
    grid = np.append(run.s[run.s < np.log1p(t_end)][:149], np.log1p(t_end))
    ours = log_time_flow(task, dict(zip(("W1", "W2"), weights, strict=True)), grid[-1], ts=150)
    assert clock_disagreement(ours.trajectory.final, dict(zip(("W1", "W2"), final, strict=True))) < 1e-8


@pytest.mark.parametrize("loss", ["exponential", pytest.param("logistic", marks=pytest.mark.slow)])
def test_same_weights_as_scipy_at_t_beyond_overflow(run, loss):
    task = problem(loss)
    weights = {"W1": run.weights[0][0], "W2": run.weights[1][0]}
    reference = log_time_reference(task, weights, 1000.0)
    count = 150
    ours = log_time_flow(task, weights, 1000.0, ts=count)
    assert clock_disagreement(ours.trajectory.final, reference) < 1e-7
    assert ours.log_risk[-1] < -1000.0


def test_long_runs_are_routine(run):
    assert run.s[-1] == 1e4
    assert run.trajectory.stats.counts["steps accepted"] < 6000
    again = log_time_flow(run.problem, {"W1": run.weights[0][0], "W2": run.weights[1][0]}, 1000.0)
    assert not again.trajectory.stats.compiled
    assert again.trajectory.stats.seconds < 5.0  # 0.03 s on an idle machine
    assert "simplex" in repr(run)
    assert "misalignment" in str(run)


def test_conservation(run):
    error = alignment_bounds(run).conservation_error
    largest = np.max(run.observables.norms) ** 2
    assert np.max(error) <= 1e-13 * largest
    assert run.trajectory.max_drift == pytest.approx(np.max(error), abs=1e-9)


def test_bounds_hold_and_are_those_of_the_proof(run):
    bounds = alignment_bounds(run)
    assert bounds.norm_gap_holds
    assert bounds.alignment_holds
    w1, w2 = run.weights[0][0], run.weights[1][0]
    a_norm = np.max(np.abs(np.linalg.eigvalsh(w1 @ w1.T - w2.T @ w2)))
    d_1 = np.sum(w1**2) - np.sum(w2**2) + a_norm
    assert bounds.norm_gap[0] == pytest.approx(d_1, rel=1e-12)
    assert bounds.norm_gap[1] == 0.0
    assert bounds.published == pytest.approx(max(np.sum(w1**2), np.sum(w2**2)) - np.sum(w2**2) + a_norm)
    top = np.linalg.norm(run.weights[1][-1]) ** 2
    ends = np.linalg.norm(w1, 2) ** 2 + np.sum(w2**2)
    assert bounds.alignment[-1, 0] == pytest.approx(1 - (d_1 + ends) / top, rel=1e-12)
    assert np.max(run.observables.gap[:, 0]) <= d_1
    # The bound is not idle: it is within a factor ten of what is reached.
    assert np.max(run.observables.gap[:, 0]) > 0.1 * d_1
    assert "W_1" in str(bounds)
    assert "holds" in repr(bounds)
    broken = dataclasses.replace(bounds, norm_gap_slack=bounds.norm_gap_slack - 10.0)
    assert "VIOLATED" in repr(broken)


def test_risk_norms_and_growth(run):
    late = run.s >= 100
    assert np.all(run.log_risk[late] <= -0.95 * run.s[late])
    assert np.all(np.diff(run.observables.norms[run.s >= 10], axis=0) > 0)
    rates = fitted_rates(run)
    assert abs(rates.growth - 1.0) < 2e-3
    assert rates.log_log == pytest.approx(0.945, abs=0.01)
    # gamma |w| = s + (2 - 2/L) log s + O(1): the difference over a decade shows the coefficient.
    excess = MARGIN * run.observables.predictor_norm - run.s
    at = [int(np.argmin(np.abs(run.s - s))) for s in (1000.0, 10000.0)]
    step = (excess[at[1]] - excess[at[0]]) / np.log(run.s[at[1]] / run.s[at[0]])
    assert step == pytest.approx(1.0, abs=0.01)
    slope = (-run.log_risk - run.s)[at]
    assert (slope[1] - slope[0]) / np.log(run.s[at[1]] / run.s[at[0]]) == pytest.approx(1.0, abs=0.01)


def test_rates(run):
    rates = fitted_rates(run)
    for name, tolerance in {
        "norm": 0.01,
        "misalignment": 0.03,
        "margin_gap": 0.02,
        "direction": 0.03,
        "rank_one": 0.01,
    }.items():
        assert abs(rates.rates[name].fitted - predicted_exponents(2)[name]) < tolerance, name
    assert "misalignment" in repr(rates)
    assert "predicted" in str(rates)
    with pytest.raises(ValueError, match="at least 5 saved states, but \\[20000, 30000\\] holds 0"):
        fitted_rates(run, (2e4, 3e4))


def test_maximum_margin_is_reached_and_a_rotated_direction_is_not(run):
    seen = run.observables
    assert 0 < seen.margin_gap[-1] <= 1e-4 * MARGIN
    assert 0 < seen.direction_error[-1] <= 1e-7
    assert seen.first_layer_error[-1] <= 1e-7
    direction = run.problem.margin.direction
    aside = np.linalg.svd(direction[None, :])[2][1]
    rotated = np.cos(1e-3) * direction + np.sin(1e-3) * aside
    w = run.predictors[-1] / np.linalg.norm(run.predictors[-1])
    assert 0.5 * np.sum((w - rotated) ** 2) > 1e-7


def test_limits_of_margin_gap_and_direction(run):
    limits = limit_constants(run.problem)
    assert run.observables.margin_gap[-1] * 1e4 == pytest.approx(limits["margin_gap"], rel=2e-3)
    assert run.observables.direction_error[-1] * 1e8 == pytest.approx(limits["direction"], rel=4e-3)
    # By hand: margins of support vectors differ by the logarithms of the dual weights.
    a = run.problem.margin.dual[:4]
    z = run.problem.margins(run.predictors[-1])[:4]
    np.testing.assert_allclose(z - z[0], np.log(a[0]) - np.log(a), atol=5e-3)
    with pytest.raises(ConditionError, match="6 linearly independent support vectors, but has 4 of rank 4"):
        limit_constants(problem(padding=2))


def test_observables_are_the_plain_formulas_where_those_are_accurate(run):
    at, seen = 20, run.observables
    w1, w2 = run.weights[0][at], run.weights[1][at]
    u, sigma, vt = np.linalg.svd(w1)
    assert seen.norms[at] == pytest.approx([np.linalg.norm(w1), np.linalg.norm(w2)])
    assert seen.gap[at, 0] == pytest.approx(np.sum(w1**2) - sigma[0] ** 2)
    rank_one = np.linalg.norm(w1 / np.linalg.norm(w1) - np.outer(u[:, 0], vt[0]))
    assert seen.rank_one_residual[at, 0] == pytest.approx(rank_one)
    assert seen.misalignment[at, 0] == pytest.approx(1 - abs(w2[0] @ u[:, 0]) / np.linalg.norm(w2))
    w = (w2 @ w1)[0]
    assert seen.predictor_deficit[at] == pytest.approx(
        1 - abs(w @ vt[0]) / (np.linalg.norm(w1) * np.linalg.norm(w2))
    )
    margin = run.problem.margin
    assert seen.margin_gap[at] == pytest.approx(
        margin.margin - np.min(run.problem.margins(w)) / np.linalg.norm(w)
    )
    assert seen.direction_error[at] == pytest.approx(1 - w @ margin.direction / np.linalg.norm(w))
    assert seen.first_layer_error[at] == pytest.approx(1 - abs(vt[0] @ margin.direction))
    np.testing.assert_allclose(seen.spectra[0][at], sigma[:4] / np.linalg.norm(w1))
    assert np.all(seen.first_directions @ margin.direction >= 0)


def test_small_angles_keep_their_digits():
    angle = 1e-9
    first, second = np.array([[1.0, 0.0]]), -np.array([[np.cos(angle), np.sin(angle)]])
    assert angle_deficit(first, second)[0] == pytest.approx(0.5e-18, rel=1e-9)


def test_report_verifies(run):
    report = alignment_report(run)
    assert {finding.outcome for finding in report.findings.values()} == {Outcome.VERIFIED}
    assert "7 verified" in repr(report)
    assert "maximum margin" in str(report)
    assert "<table>" in report._repr_html_()
    short = dataclasses.replace(run, s=run.s / 100)
    with pytest.raises(ValueError, match="must reach s = 1000, but ends at s = 100"):
        alignment_report(short)


def test_report_refutes_what_is_not_there(run):
    constant = tuple(np.broadcast_to(w[40], w.shape) for w in run.weights)
    report = alignment_report(dataclasses.replace(run, weights=constant))
    for key in ("risk", "alignment", "max_margin", "rates"):
        assert report[key].outcome is Outcome.REFUTED, key
    halved = alignment_report(dataclasses.replace(run, s=2 * run.s))  # the risk falls like t^(-1/2) only
    assert halved["risk"].outcome is Outcome.REFUTED
    assert "norms increase" in halved["risk"].measured
    high = alignment_report(dataclasses.replace(run, is_admissible=False))
    assert high["risk"].outcome is Outcome.OBSERVED
    assert "risk above that of zero" in high["risk"].missing
    assert high["norm_gap"].outcome is Outcome.VERIFIED
    assert Outcome.of(False, False) is Outcome.ABSENT


def test_start_above_the_risk_of_zero_is_warned_about(run):
    bad = {"W1": run.weights[0][0], "W2": -run.weights[1][0]}
    with pytest.warns(StartWarning, match="above that of zero, 0: the theorems say nothing"):
        high = log_time_flow(run.problem, bad, 1e4)
    assert not high.is_admissible
    assert alignment_report(high)["max_margin"].outcome in (Outcome.OBSERVED, Outcome.ABSENT)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"s_max": -1.0}, "`s_max` must be a finite positive number"),
        ({"s_max": 2e6}, "`t1` must be at most 1e\\+06"),
        ({"method": "euler"}, "`method` must be one of"),
        ({"clock": "t"}, "`clock` must be one of \\['log_t', 'risk', 'risk_normalised'\\]"),
        ({"clock": "risk", "ts": 5}, "`ts` must be None"),
        ({"ts": 2}, "`ts` must be at least 3"),
    ],
)
def test_bad_options_are_refused(run, options, message):
    with pytest.raises(ValueError, match=message):
        log_time_flow(run.problem, {"W1": run.weights[0][0], "W2": run.weights[1][0]}, **options)


def test_method_follows_the_support_vectors():
    task = problem()
    assert recommended_method(task, 30) == "dopri8"
    many = np.concatenate([np.eye(12), 0.5 * np.ones((1, 12))], axis=0)
    stiff = SeparableProblem(many, np.ones(13))
    assert len(stiff.margin.support) > 10
    assert recommended_method(stiff, 1000) == "radau"
    with pytest.raises(ValueError, match="at most 1000 entries for data as stiff .* hidden width"):
        recommended_method(stiff, 1001)


def test_rank_of_the_support_vectors_decides_between_verified_and_observed(run):
    task = copy.copy(run.problem)
    object.__setattr__(task, "margin", dataclasses.replace(task.margin, support_rank=3))
    report = alignment_report(dataclasses.replace(run, problem=task))
    assert report["max_margin"].outcome is Outcome.OBSERVED
    assert report["max_margin"].outcome == "hypothesis not met, observed"
    assert report["max_margin"].missing == "the support vectors have rank 3 < 4"
    assert report["alignment"].outcome is Outcome.VERIFIED


@pytest.mark.slow
def test_without_span_nothing_is_called_verified():
    task = problem(padding=2)
    assert (task.margin.support_rank, task.dimension) == (4, 6)
    flow = log_time_flow(task, start(task, 2))
    report = alignment_report(flow)
    assert report["max_margin"].outcome is Outcome.OBSERVED
    assert report["max_margin"].outcome == "hypothesis not met, observed"
    assert report["rates"].outcome is Outcome.OBSERVED
    assert report["alignment"].outcome is Outcome.VERIFIED
    assert "rank 4 < 6" in report["max_margin"].missing
    assert fitted_rates(flow, (1e3, 1e4)).rates["direction"].fitted == pytest.approx(-1.0, abs=0.05)
    # The part of W_1 that no sample sees does not move.
    np.testing.assert_allclose(flow.weights[0][-1][:, 4:], flow.weights[0][0][:, 4:], atol=1e-12)


@pytest.mark.slow
@pytest.mark.parametrize("clock", ["risk", "risk_normalised"])
@pytest.mark.parametrize("depth", [2, 3])
def test_clocks_agree(depth, clock):
    task = problem()
    weights = start(task, depth)
    ours = log_time_flow(task, weights, 50.0, rtol=1e-10)
    other = log_time_flow(task, weights, 50.0, clock=clock, rtol=1e-10)
    assert other.s.tolist() == pytest.approx([0.0, 50.0])
    assert clock_disagreement(other.trajectory.final, ours.trajectory.final) < 2e-9


#: Exponents of norm, misalignment, margin gap and direction of a published run on data of this kind (other draws).
TABLE = {
    1: (1.007, None, -1.007, -2.006),
    2: (0.498, -1.992, -1.074, -2.130),
    3: (0.325, -1.323, -1.159, -2.293),
    4: (0.233, -0.995, -1.217, -2.407),
}


@pytest.mark.slow
@pytest.mark.parametrize("depth", [1, 2, 3, 4])
@pytest.mark.parametrize("loss", ["exponential", "logistic"])
def test_table_of_exponents(depth, loss):
    task = problem(loss)
    flow = log_time_flow(task, start(task, depth))
    report = alignment_report(flow)
    assert {finding.outcome for finding in report.findings.values()} == {Outcome.VERIFIED}
    rates, (norm, misalignment, gap, direction) = fitted_rates(flow).rates, TABLE[depth]
    assert rates["norm"].fitted == pytest.approx(norm, abs=0.01)
    if misalignment is not None:
        assert rates["misalignment"].fitted == pytest.approx(misalignment, abs=0.02)
    # These two depend on the draw through log log t: both this and the table lie in the interval of the theory.
    for fitted, listed, low, high in (
        (rates["margin_gap"].fitted, gap, -1.3, -0.95),
        (rates["direction"].fitted, direction, -2.6, -1.9),
    ):
        assert low <= fitted <= high
        assert low <= listed <= high
    assert fitted_rates(flow).log_log == pytest.approx(
        {1: -0.26, 2: 0.945, 3: 1.366, 4: 1.585}[depth], abs=0.05
    )
    limits = limit_constants(task)
    assert flow.observables.margin_gap[-1] * 1e4 == pytest.approx(limits["margin_gap"], rel=5e-3)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pair", "margin", "rank"), [((0, 1), 0.1217, 16), ((3, 8), 0.0451, 29)], ids=["0 v 1", "3 v 8"]
)
@pytest.mark.parametrize(("depth", "end"), [(2, 1e4), (3, 1e3)])
def test_digits(pair, margin, rank, depth, end):
    data = dln.data.digit_pair(*pair)
    task = SeparableProblem(data.inputs, data.targets, "logistic", name=data.name)
    assert task.margin.margin == pytest.approx(margin, abs=5e-5)
    assert (len(task.margin.support), task.margin.support_rank) == (rank, rank)
    weights = admissible_start(task, task.network(depth, 4), jax.random.key(1), scale=0.1)
    run = log_time_flow(task, weights, end, method="stiff", rtol=1e-10)
    report = alignment_report(run)
    for key in ("conservation", "norm_gap", "alignment_bound", "risk", "alignment"):
        assert report[key].outcome is Outcome.VERIFIED, key
    assert report["max_margin"].outcome is Outcome.OBSERVED
    gap = run.observables.margin_gap[-1] * end / margin
    assert 0 < gap < 5.0
    late = run.s > 10
    assert np.all(np.diff(np.max(run.observables.misalignment[late], axis=1)) < 0)


@pytest.mark.slow
def test_held_out_blobs():
    data = dln.data.blobs(jax.random.key(5), 40, 3, separation=5.0)
    task = SeparableProblem(data.inputs, data.targets, "logistic", name=data.name)
    run = log_time_flow(task, start(task, 2))
    report = alignment_report(run)
    for key in ("conservation", "norm_gap", "alignment_bound", "risk", "alignment"):
        assert report[key].outcome is Outcome.VERIFIED, key
    expected = Outcome.VERIFIED if task.margin.spans else Outcome.OBSERVED
    assert report["max_margin"].outcome is expected
