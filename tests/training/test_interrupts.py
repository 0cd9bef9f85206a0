"""Ctrl-C ends a run with what is done, marked; what it ended can be gone on with."""

import functools
import importlib
import subprocess
import sys

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.display.progress import whole_runs
from dlntheory.training.backends import diffrax_backend, resumable_stepping, scipy_backend
from dlntheory.training.backends.resumable_stepping import ChunkLength

iterate_module = importlib.import_module("dlntheory.training.iterate")


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((4, 3, 2, 5))
    rng = np.random.default_rng(0)
    theta0 = {name: 0.7 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return dln.GradientFlow(arch, dln.SquaredLoss.from_target(rng.standard_normal((5, 4)))), theta0


@pytest.fixture
def small_parts(monkeypatch):
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", 6)
    monkeypatch.setattr(ChunkLength, "learn", lambda self, steps, seconds: None)


def interrupted_at(monkeypatch, owner, name, call):
    """Make the given call of a function, counted from 1, and every later one, one in which Ctrl-C was pressed."""
    function, count = getattr(owner, name), 0

    @functools.wraps(function)
    def counted(*args, **kwargs):
        nonlocal count
        count += 1
        if count >= call:
            raise KeyboardInterrupt
        return function(*args, **kwargs)

    counted.traces = getattr(function, "traces", 0)
    monkeypatch.setattr(owner, name, counted)


def check_first_part(run, whole):
    """`run` has the first rows of `whole`, then one where it was interrupted, and says so."""
    count = len(run) - 1
    assert 0 < count < len(whole) - 1
    np.testing.assert_array_equal(run.ts[:-1], whole.ts[:count])
    np.testing.assert_array_equal(run.z[:-1], whole.z[:count])
    assert whole.ts[count - 1] < run.ts[-1] < whole.ts[count]
    assert min(whole.loss[count - 1 : count + 1]) <= run.loss[-1] <= max(whole.loss[count - 1 : count + 1])
    for name, leaf in run.final.items():
        np.testing.assert_array_equal(leaf, run.states[name][-1])
    assert run.stats.stopped_by == "interrupted"
    assert "stopped by" in str(run)
    assert "interrupted" in str(run)
    assert "interrupted" in repr(run)
    assert "interrupted" not in f"{whole}{whole!r}"


@pytest.mark.parametrize("call", [1, 4])
def test_an_explicit_run_keeps_its_parts(problem, small_parts, monkeypatch, call):
    flow, theta0 = problem
    whole = dln.solve(flow, theta0, 3.0, ts=40)
    interrupted_at(monkeypatch, diffrax_backend._Done, "and_then", call)
    if call == 1:
        with pytest.raises(KeyboardInterrupt):
            dln.solve(flow, theta0, 3.0, ts=40)
        return
    run = dln.solve(flow, theta0, 3.0, ts=40)
    check_first_part(run, whole)
    assert sum(run.stats.counts.values()) == 18


def test_code_that_needs_the_end_of_a_run_hears_the_interrupt(problem, small_parts, monkeypatch):
    flow, theta0 = problem
    interrupted_at(monkeypatch, diffrax_backend._Done, "and_then", 4)
    with pytest.raises(KeyboardInterrupt), whole_runs():
        dln.solve(flow, theta0, 3.0, ts=40)
    interrupted_at(monkeypatch, iterate_module, "_advance", 3)
    descent = dln.GradientDescent(flow.architecture, flow.training.loss, 0.01)
    with pytest.raises(KeyboardInterrupt), whole_runs():
        dln.iterate(descent, theta0, 200, ts=41)


@pytest.mark.slow
@pytest.mark.parametrize("ts", [40, "steps"])
def test_a_stiff_run_keeps_its_steps(problem, monkeypatch, ts):
    flow, theta0 = problem
    whole = dln.solve(flow, theta0, 3.0, ts=ts, method="stiff")
    interrupted_at(monkeypatch, scipy_backend, "_field", 100)
    run = dln.solve(flow, theta0, 3.0, ts=ts, method="stiff")
    if ts == "steps":
        assert run.stats.stopped_by == "interrupted"
        np.testing.assert_array_equal(run.z, whole.z[: len(run)])
    else:
        check_first_part(run, whole)
    interrupted_at(monkeypatch, scipy_backend, "_field", 2)
    with pytest.raises(KeyboardInterrupt):
        dln.solve(flow, theta0, 3.0, ts=ts, method="stiff")


def test_an_iteration_keeps_its_steps_and_hears_ctrl_c_between_saves(problem, small_parts, monkeypatch):
    flow, theta0 = problem
    descent = dln.GradientDescent(flow.architecture, flow.training.loss, 0.01)
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", 10**9)
    whole = dln.iterate(descent, theta0, 200, ts=6)
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", 6)
    parts = dln.iterate(descent, theta0, 200, ts=6)
    jax.tree.map(np.testing.assert_array_equal, (parts.ts, parts.states), (whole.ts, whole.states))
    interrupted_at(monkeypatch, iterate_module, "_advance", 11)
    run = dln.iterate(descent, theta0, 200, ts=6)
    check_first_part(run, whole)
    assert run.stats.counts == {"steps": 60}
    assert run.ts[-1] == pytest.approx(0.6)
    interrupted_at(monkeypatch, iterate_module, "_advance", 1)
    with pytest.raises(KeyboardInterrupt):
        dln.iterate(descent, theta0, 200, ts=6)


@pytest.mark.slow
def test_a_run_can_be_gone_on_with(problem, small_parts, monkeypatch):
    flow, theta0 = problem
    laws = dln.conservation_laws(flow.architecture)
    options = {"ts": 40, "rtol": 1e-10, "laws": laws, "stop": dln.LossBelow(1.2)}
    whole = dln.solve(flow, theta0, 30.0, **options)
    with monkeypatch.context() as patch:
        interrupted_at(patch, diffrax_backend._Done, "and_then", 6)
        first = dln.solve(flow, theta0, 30.0, **options)
    assert first.stats.stopped_by == "interrupted"
    rest = dln.solve(flow, first.final, 30.0, t0=first.ts[-1], atol=first.stats.atol, **options)
    assert rest.stats.stopped_by == whole.stats.stopped_by == "loss level reached"
    assert rest.ts[0] == first.ts[-1]
    assert rest.ts[-1] == pytest.approx(whole.ts[-1], rel=1e-8)
    np.testing.assert_allclose(rest.z[-1], whole.z[-1], rtol=0, atol=1e-8)
    assert set(rest.drift) == set(whole.drift)
    assert max(values[0] for values in rest.drift.values()) == 0.0, "drift counts from the second start"
    assert rest.max_drift < 1e-8


SCRIPT = """
import os, signal, threading, time
import jax
jax.config.update("jax_enable_x64", True)
import numpy as np
import dlntheory as dln
flow = dln.GradientFlow(dln.linear_network((1, 1, 1)), dln.SquaredLoss.from_target([[1.5]]))
theta0 = {"W1": np.array([[0.3]]), "W2": np.array([[0.2]])}
dln.solve(flow, theta0, 1.0, ts=3)
pressed = []
def press():
    pressed.append(time.perf_counter())
    os.kill(os.getpid(), signal.SIGINT)
threading.Timer(1.0, press).start()
run = dln.solve(flow, theta0, 1e9, ts=3, max_steps=10**12)
print(run.stats.stopped_by, len(run), 0 < run.ts[-1] < 1e9, time.perf_counter() - pressed[0] < 5.0)
"""


@pytest.mark.slow
def test_a_signal_ends_a_run():
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.stderr == ""
    assert done.stdout.split() == ["interrupted", "2", "True", "True"]
