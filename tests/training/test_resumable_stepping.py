"""Runs in parts are the runs made at once, bit by bit; how long parts are; where events are found."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import optimistix as optx
import pytest

import dlntheory as dln
from dlntheory.training.backends import diffrax_backend, resumable_stepping
from dlntheory.training.backends.resumable_stepping import Bisection, ChunkLength

CASES = {
    "tsit5": {},
    "tsit5, saves that are steps": {"step_to_ts": True},
    "dopri8, saves that are steps": {"method": "dopri8", "step_to_ts": True, "rtol": 1e-11},
    "dopri8, logarithmic clock, late saves": {
        "method": "dopri8",
        "clock": "log_t",
        "ts": [0.5, 0.7, 1.1, 1.4],
    },
    "tsit5, an event": {"stop": dln.LossBelow(2.0)},
    "tsit5, an event that does not happen": {"stop": dln.LossBelow(1e-30), "save_states": False},
    "krylov": {"method": "krylov"},
}


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((4, 3, 2, 5))
    rng = np.random.default_rng(0)
    theta0 = {name: 0.7 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return dln.GradientFlow(arch, dln.SquaredLoss.from_target(rng.standard_normal((5, 4)))), theta0


def in_parts(monkeypatch, steps):
    """Parts of so many steps from here on, however long they take."""
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", steps)
    monkeypatch.setattr(ChunkLength, "learn", lambda self, steps, seconds: None)


def same(left, right):
    leaves = [
        (run.ts, run.z, run.loss, run.states, run.final, run.drift, run.monitors) for run in (left, right)
    ]
    jax.tree.map(np.testing.assert_array_equal, *leaves)
    assert left.stats.counts == right.stats.counts
    assert left.stats.stopped_by == right.stats.stopped_by


@pytest.mark.parametrize(
    "case", [case if case == "tsit5" else pytest.param(case, marks=pytest.mark.slow) for case in CASES]
)
def test_a_run_in_parts_is_the_run_made_at_once(problem, monkeypatch, case):
    flow, theta0 = problem
    options = {"ts": 23, "rtol": 1e-8} | CASES[case]
    parts, add = [], diffrax_backend._Done.and_then
    monkeypatch.setattr(diffrax_backend._Done, "and_then", lambda *args: parts.append(args) or add(*args))
    in_parts(monkeypatch, 10**9)
    whole = dln.solve(flow, theta0, 1.5, **options)
    assert len(parts) == 1
    for steps in (7, 1):
        parts.clear()
        in_parts(monkeypatch, steps)
        run = dln.solve(flow, theta0, 1.5, **options)
        same(run, whole)
        assert len(parts) == -(-sum(whole.stats.counts.values()) // steps) > 1
        assert not run.stats.compiled, "one compiled program for every part of every run"


@pytest.mark.slow
def test_a_run_in_parts_is_what_diffrax_gives(problem, monkeypatch):
    flow, theta0 = problem
    in_parts(monkeypatch, 5)
    ts = np.linspace(0.0, 1.5, 9)
    run = dln.solve(flow, theta0, 1.5, ts=ts, rtol=1e-8, atol=1e-10)
    plain = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: flow.velocity(t, y)),
        diffrax.Tsit5(),
        0.0,
        1.5,
        None,
        jax.tree.map(jnp.asarray, theta0),
        saveat=diffrax.SaveAt(ts=jnp.asarray(ts)),
        stepsize_controller=diffrax.PIDController(rtol=1e-8, atol=1e-10),
    )
    assert run.stats.counts["steps accepted"] == plain.stats["num_accepted_steps"]
    assert run.stats.counts["steps rejected"] == plain.stats["num_rejected_steps"]
    for name, leaf in plain.ys.items():
        np.testing.assert_allclose(run.states[name], leaf, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_a_run_out_of_steps_ends_in_its_last_part(problem, monkeypatch):
    flow, theta0 = problem
    partial = []
    for steps in (5, 10**9):
        in_parts(monkeypatch, steps)
        with pytest.raises(dln.IntegrationError, match="max_steps is 12") as caught:
            dln.solve(flow, theta0, 200.0, ts=2001, max_steps=12)
        partial.append(caught.value.trajectory)
        assert sum(partial[-1].stats.counts.values()) == 12
    same(*partial)


def test_parts_follow_the_measured_time_and_begin_short(monkeypatch):
    assert ChunkLength(np.zeros(10)).steps == resumable_stepping.FIRST_STEPS
    assert (
        ChunkLength({"W": np.zeros((1000, 100))}, [np.zeros(100_000)]).steps
        == resumable_stepping.FIRST_NUMBERS // 200_000
    )
    assert ChunkLength(np.broadcast_to(0.0, (10**8,))).steps == 1
    monkeypatch.setattr(resumable_stepping, "FIRST_STEPS", 512)
    chunk = ChunkLength(np.zeros(10))
    chunk.learn(500, 2.0)
    assert chunk.steps == 500 * resumable_stepping.CHUNK_SECONDS / 2.0
    chunk.learn(100, 1e-6)
    assert chunk.steps == 1000, "eight times as many at most"
    chunk.learn(1, 1e6)
    assert chunk.steps == 125
    for _ in range(9):
        chunk.learn(1, 1e6)
    assert chunk.steps == 1


@pytest.mark.parametrize(("low", "high"), [(0.0, 2.0), (1e6, 1e6 + 1e-3), (-1.0, 1.0)])
def test_a_crossing_is_found_to_the_spacing_of_floats(low, high):
    root = low + 0.37 * (high - low)
    steep = lambda t, args: 1e9 * (root - t) - 1e-30
    found = optx.root_find(
        steep,
        Bisection(),
        jnp.asarray(high),
        options={"lower": jnp.asarray(low), "upper": jnp.asarray(high)},
        throw=False,
    )
    assert found.result == optx.RESULTS.successful
    assert steep(found.value, None) <= 0, "where the event has happened"
    assert steep(np.nextafter(found.value, -np.inf), None) > 0


@pytest.mark.slow
def test_an_event_at_a_late_time_is_found(problem):
    flow, theta0 = problem
    early = dln.solve(flow, theta0, 1.5, ts=5, stop=dln.LossBelow(2.0))
    # The spacing of floats is 1e-10 here, and the loss moves by more from one to the next than any tolerance on it.
    late = dln.solve(flow, theta0, 1e6 + 1.5, t0=1e6, ts=5, stop=dln.LossBelow(2.0))
    assert late.stats.stopped_by == "loss level reached"
    assert late.ts[-1] - 1e6 == pytest.approx(early.ts[-1], abs=1e-7)
    assert early.loss[-1] == pytest.approx(2.0, abs=1e-13)
    assert late.loss[-1] == pytest.approx(2.0, abs=1e-8)
