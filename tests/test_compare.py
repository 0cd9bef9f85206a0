"""`compare` and Ctrl-C: what is done is compared, and the full run is never lost."""

import importlib

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory._errors import NotApplicableError
from dlntheory.display.progress import whole_runs
from dlntheory.solutions.riccati_solution import RiccatiSolution
from dlntheory.training.backends import diffrax_backend, resumable_stepping
from dlntheory.training.backends.resumable_stepping import ChunkLength

compare_module = importlib.import_module("dlntheory.compare")

STEPS = 7
#: Of few stages, and thereby compiled in half the time.
OPTIONS = {"ts": 40, "method": "tsit5", "rtol": 1e-8}


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((3, 4, 2))
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]]))
    rng = np.random.default_rng(0)
    theta0 = {name: 0.5 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return flow, dln.GramFlow(arch, flow.training.loss), theta0


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", STEPS)
    monkeypatch.setattr(ChunkLength, "learn", lambda self, steps, seconds: None)


@pytest.fixture(scope="module")
def whole(problem):
    flow, reduced, theta0 = problem
    return dln.compare(flow, reduced, theta0, 5.0, timing=False, **OPTIONS)


def press(monkeypatch, *presses):
    """Ctrl-C in these parts of all runs together, counted from 1."""
    add, count = diffrax_backend._Done.and_then, 0

    def and_then(*args):
        nonlocal count
        count += 1
        if count in presses:
            raise KeyboardInterrupt
        return add(*args)

    monkeypatch.setattr(diffrax_backend._Done, "and_then", and_then)


def parts(run):
    return -(-sum(run.stats.counts.values()) // STEPS)


def run(problem, **options):
    flow, reduced, theta0 = problem
    return dln.compare(flow, reduced, theta0, 5.0, **OPTIONS, **options)


def test_an_interrupted_full_run_is_compared_up_to_its_end(problem, whole, small_parts, monkeypatch):
    press(monkeypatch, 3)
    both = run(problem)
    assert both.interrupted
    assert both.full.stats.stopped_by == "interrupted"
    assert both.reduced.stats.stopped_by is None
    assert 2 < len(both.full) < len(whole.full)
    np.testing.assert_array_equal(both.ts, both.full.ts)
    np.testing.assert_array_equal(both.full.z[:-1], whole.full.z[: len(both.full) - 1])
    assert len(both.error) == len(both.loss_error) == len(both.full)
    assert both.max_error < 1e-6
    assert f"interrupted: compared up to t = {both.ts[-1]:.6g}" in str(both)
    assert "interrupted" in both._repr_html_()
    assert "interrupted" not in str(whole)


@pytest.mark.parametrize("part", [2, 3, 6, 9])
def test_an_interrupted_reduced_run_loses_nothing_of_the_full_one(
    problem, whole, small_parts, monkeypatch, part
):
    press(monkeypatch, parts(whole.full) + part)
    both = run(problem, timing=False)
    assert both.interrupted
    assert both.full.stats.stopped_by is None
    np.testing.assert_array_equal(both.full.z, whole.full.z)
    assert both.reduced.stats.stopped_by == "interrupted"
    count = len(both.reduced)
    assert 0 < count < len(whole.full)
    np.testing.assert_array_equal(both.ts, whole.full.ts[:count])
    np.testing.assert_array_equal(both.error, whole.error[:count])
    np.testing.assert_array_equal(both.loss_error, whole.loss_error[:count])
    for name, leaf in both.reduced.final.items():
        np.testing.assert_allclose(leaf, both.reduced.states[name][-1], rtol=0, atol=1e-15)
    for arrays in (both.reduced.drift, both.reduced.monitors):
        assert all(len(array) == count for array in arrays.values())


def test_a_reduced_run_that_had_not_begun(problem, whole, small_parts, monkeypatch):
    press(monkeypatch, parts(whole.full) + 1)
    with pytest.raises(KeyboardInterrupt, match="had not begun") as caught:
        run(problem, timing=False)
    np.testing.assert_array_equal(caught.value.trajectory.z, whole.full.z)
    press(monkeypatch, 1)
    with pytest.raises(KeyboardInterrupt) as caught:
        run(problem, timing=False)
    assert not hasattr(caught.value, "trajectory")


def test_an_interrupt_while_runs_are_timed_ends_the_timing(problem, whole, small_parts, monkeypatch):
    press(monkeypatch, parts(whole.full) + 2)
    both = run(problem)
    assert both.interrupted
    assert both.full.stats.stopped_by is both.reduced.stats.stopped_by is None
    np.testing.assert_array_equal(both.error, whole.error)
    assert "interrupted" in str(both)


def test_code_that_needs_both_runs_hears_the_interrupt(problem, whole, small_parts, monkeypatch):
    count = parts(whole.full)
    for part, timing in ((3, False), (count + 2, False), (count + 2, True)):
        with monkeypatch.context() as patch, whole_runs(), pytest.raises(KeyboardInterrupt):
            press(patch, part)
            run(problem, timing=timing)


@pytest.mark.slow
def test_a_closed_form_is_evaluated_where_the_full_run_ended(small_parts, monkeypatch):
    arch = dln.linear_network((3, 3, 3))
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), 0.0, scale=0.5)
    loss = dln.SquaredLoss.from_target(np.random.default_rng(0).standard_normal((3, 3)))
    flow = dln.GradientFlow(arch, loss)
    press(monkeypatch, 3)
    both = dln.compare(flow, RiccatiSolution(arch, theta0, loss), theta0, 8.0)
    assert both.interrupted
    assert both.full.stats.stopped_by == "interrupted"
    np.testing.assert_array_equal(both.ts, both.full.ts)
    assert both.max_error < 1e-8


def test_progress_reaches_every_run(problem, monkeypatch):
    asked, solve = [], compare_module.solve

    def spy(*args, **options):
        asked.append(options["progress"])
        return solve(*args, **options)

    monkeypatch.setattr(compare_module, "solve", spy)
    run(problem, timing=False, progress=False)
    run(problem, timing=False)
    assert asked == [False, False, None, None]


def test_pairs_that_do_not_describe_the_same_map_are_refused():
    arch = dln.linear_network((3, 4, 2))
    loss = dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]])
    theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.5)
    reduction = dln.reduce(arch, theta0)
    momentum = dln.training.MomentumFlow(arch, loss, friction=0.5)
    with pytest.raises(NotApplicableError, match="reduces gradient flow only, but is momentum flow"):
        dln.compare(momentum, reduction, theta0, 3.0)
    with pytest.raises(NotApplicableError, match="rule with steps"):
        dln.compare(dln.GradientFlow(arch, loss), dln.GradientDescent(arch, loss, 0.1), theta0, 3.0)
    rates = [dln.GradientDescent(arch, loss, eta) for eta in (0.1, 0.2)]
    with pytest.raises(NotApplicableError, match=r"steps of the size of `full`, 0\.1, but has 0\.2"):
        dln.compare(*rates, theta0, 3.0)


def test_steps_are_compared_with_a_flow_and_the_error_is_split():
    arch = dln.linear_network((3, 4, 2))
    loss = dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]])
    theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.5)
    reduction, errors = dln.reduce(arch, theta0), []
    for eta in (0.1, 0.05):
        both = dln.compare(dln.GradientDescent(arch, loss, eta), reduction, theta0, 3.0, ts=7, timing=False)
        np.testing.assert_allclose(both.ts / eta, np.round(both.ts / eta), atol=1e-9)
        assert np.max(both.flow_error) < 1e-10
        assert both.max_error == pytest.approx(float(np.max(both.step_error)), rel=1e-6)
        errors.append(both.max_error)
    assert 1.8 < errors[0] / errors[1] < 2.4, "Euler steps: the error is proportional to their size"
    assert "by the size of the steps" in str(both)
