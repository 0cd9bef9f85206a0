"""`solve` against closed forms and SciPy: accuracy, order in the tolerance, events, clocks, failures, traces."""

import contextlib
import dataclasses
import importlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh
from systems.scalar import exact_weights

import dlntheory as dln
from dlntheory.training.backends.diffrax_backend import integrate
from dlntheory.training.solve import default_atol

SIGMA = 1.5


@pytest.fixture(scope="module")
def scalar_flow():
    return dln.GradientFlow(dln.linear_network((1, 1, 1)), dln.SquaredLoss.from_target([[SIGMA]]))


def start(a, b):
    return {"W1": np.array([[b]]), "W2": np.array([[a]])}


@pytest.mark.slow
@pytest.mark.parametrize(("a", "b"), [(0.1, 0.1), (0.3, -0.2), (1e-6, 2e-6), (2.0, 0.5)])
def test_scalar_network_follows_the_closed_form(scalar_flow, a, b):
    run = dln.solve(scalar_flow, start(a, b), 12.0, ts=41, rtol=1e-10, step_to_ts=True, method="dopri8")
    exact_a, exact_b = exact_weights(a, b, SIGMA, run.ts)
    np.testing.assert_allclose(run.states["W2"][:, 0, 0], exact_a, rtol=2e-9, atol=0)
    np.testing.assert_allclose(run.states["W1"][:, 0, 0], exact_b, rtol=2e-9, atol=0)
    # The residual, not its square: near the end the loss has half the relative digits of the weights.
    np.testing.assert_allclose(np.sqrt(2 * run.loss), np.abs(exact_a * exact_b - SIGMA), rtol=0, atol=2e-9)


@pytest.mark.slow
def test_error_falls_with_the_tolerance_at_the_expected_rate(scalar_flow):
    tolerances = np.array([1e-4, 1e-6, 1e-8, 1e-10])
    errors = []
    for rtol in tolerances:
        run = dln.solve(scalar_flow, start(0.3, -0.2), 6.0, ts=2, rtol=float(rtol))
        errors.append(abs(run.final["W2"][0, 0] - exact_weights(0.3, -0.2, SIGMA, np.array(6.0))[0]))
    slope = np.polyfit(np.log(tolerances), np.log(errors), 1)[0]
    assert 0.7 < slope < 1.3


def test_a_small_start_keeps_its_digits_by_the_default_atol(scalar_flow):
    theta0 = start(1e-7, 1e-7)
    run = dln.solve(scalar_flow, theta0, 9.0, ts=2)
    exact = exact_weights(1e-7, 1e-7, SIGMA, np.array(9.0))[0]
    assert abs(run.final["W2"][0, 0] / exact - 1) < 1e-6
    loose = dln.solve(scalar_flow, theta0, 9.0, ts=2, atol=1e-6)
    assert abs(loose.final["W2"][0, 0] / exact - 1) > 1e-3, "the control: a fixed atol loses the escape"
    assert default_atol({"a": np.full((2, 2), 1e-3), "b": np.zeros(3)}, 1e-8) == pytest.approx(1e-13)
    assert default_atol({"a": np.full(2, 50.0)}, 1e-8) == pytest.approx(1e-10)


@pytest.fixture(scope="module")
def general():
    arch = dln.linear_network((4, 3, 2, 5))
    rng = np.random.default_rng(0)
    theta0 = {name: 0.7 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return arch, theta0, *log_cosh(rng.standard_normal((5, 4)))


@pytest.mark.parametrize(("decay", "rates"), [(0.0, {}), (0.2, {"W1": 2.0, "W3": 0.5})])
def test_full_flow_agrees_with_scipy_on_a_handwritten_field(general, decay, rates):
    arch, theta0, loss, gradient = general
    flow = dln.GradientFlow(arch, loss, weight_decay=decay, rates=rates)
    run = dln.solve(flow, theta0, 3.0, ts=13, rtol=1e-11, method="dopri8", step_to_ts=True)
    layers = [theta0[name] for name in arch.chain]
    zs, _ = chain_flow(layers, gradient, run.ts, decay=decay, rates=[rates.get(n, 1.0) for n in arch.chain])
    assert np.max(np.abs(run.z - zs)) < 1e-10 * np.max(np.abs(zs))
    assert bool(run.drift) == (decay == 0), "imbalances are conserved exactly without weight decay"
    if decay == 0:
        assert run.max_drift < 1e-11


@pytest.mark.slow
@pytest.mark.parametrize("method", ["tsit5", "stiff", "radau"])
def test_every_method_agrees_and_stops_at_the_same_event(general, method):
    arch, theta0, loss, _ = general
    flow = dln.GradientFlow(arch, loss)
    reference = dln.solve(flow, theta0, 3.0, ts=7, rtol=1e-11, method="dopri8", step_to_ts=True)
    run = dln.solve(flow, theta0, 3.0, ts=7, method=method, rtol=1e-9)
    assert np.max(np.abs(run.z - reference.z)) < 3e-7
    level = 0.5 * (reference.loss[0] + reference.loss[-1])
    stopped = dln.solve(flow, theta0, 3.0, ts=7, method=method, rtol=1e-9, stop=dln.LossBelow(level))
    assert stopped.stats.stopped_by == "loss level reached"
    assert abs(stopped.loss[-1] - level) < 1e-9
    assert stopped.ts[-1] < 3.0
    assert np.all(np.diff(stopped.ts) > 0)
    assert np.allclose(stopped.final["W1"], stopped.states["W1"][-1])


@pytest.mark.slow
def test_the_first_of_several_events_is_named(scalar_flow):
    events = [dln.SteadyState(rtol=1e-4), dln.LossBelow(1e-30)]
    run = dln.solve(scalar_flow, start(0.5, 0.5), 100.0, stop=events)
    assert run.stats.stopped_by == "steady state reached"
    velocity = scalar_flow.velocity(0.0, jax.tree.map(jnp.asarray, run.final))
    size = np.sqrt(sum(float(np.sum(np.asarray(v) ** 2)) for v in velocity.values()))
    norm = np.sqrt(sum(float(np.sum(w**2)) for w in run.final.values()))
    assert size == pytest.approx(1e-4 * norm, rel=1e-6)


@pytest.mark.slow
def test_logarithmic_clock_reaches_the_same_state(scalar_flow):
    plain = dln.solve(scalar_flow, start(0.1, 0.3), 7.0, ts=2, rtol=1e-10)
    run = dln.solve(scalar_flow, start(0.1, 0.3), np.log1p(7.0), ts=2, rtol=1e-10, clock="log_t")
    assert run.clock == "log_t"
    assert abs(run.final["W1"] - plain.final["W1"]).max() < 1e-9


def test_one_trace_per_shape(general):
    arch, theta0, _, _ = general
    # A second network object of equal widths and a second loss object of equal shape must not compile again.
    target = np.ones((5, 4))
    dln.solve(dln.GradientFlow(arch, dln.SquaredLoss.from_target(target)), theta0, 1.0, ts=5)
    before = integrate.traces
    for scale in (0.5, 2.0):
        again = dln.linear_network((4, 3, 2, 5))
        flow = dln.GradientFlow(again, dln.SquaredLoss.from_target(scale * target))
        scaled = {name: scale * w for name, w in theta0.items()}
        run = dln.solve(flow, scaled, 1.0 + scale, ts=5, rtol=1e-7 * scale, atol=1e-9 * scale)
        assert not run.stats.compiled
    assert integrate.traces == before


@pytest.mark.slow
def test_states_are_kept_or_not_but_the_last_one_always(general):
    arch, theta0, loss, _ = general
    flow = dln.GradientFlow(arch, loss)
    kept = dln.solve(flow, theta0, 1.0, ts=5)
    dropped = dln.solve(flow, theta0, 1.0, ts=5, save_states=False)
    assert dropped.states is None
    assert kept.states["W2"].shape == (5, 2, 3)
    np.testing.assert_array_equal(kept.final["W2"], dropped.final["W2"])


@pytest.mark.slow
def test_a_run_out_of_steps_keeps_what_was_computed(general):
    arch, theta0, loss, _ = general
    with pytest.raises(dln.IntegrationError, match="max_steps is 12") as caught:
        dln.solve(dln.GradientFlow(arch, loss), theta0, 200.0, ts=2001, max_steps=12)
    partial = caught.value.trajectory
    assert 1 < len(partial) < 2001
    assert np.all(np.isfinite(partial.z))
    # The last row is where the solver stood, past the last save of the grid.
    np.testing.assert_array_equal(partial.final["W1"], partial.states["W1"][-1])


@pytest.mark.slow
def test_blow_up_in_finite_time_is_reported_and_not_nan(scalar_flow):
    flow = dln.GradientFlow(scalar_flow.architecture, lambda z: -jnp.sum(z**4))
    for method in ("tsit5", "stiff"):
        with pytest.raises(dln.IntegrationError, match="before t = 10") as caught:
            dln.solve(flow, start(2.0, 1.0), 10.0, ts=5, method=method, max_steps=20000)
        assert np.all(np.isfinite(caught.value.trajectory.loss))


def test_bad_calls_name_argument_rule_and_value(scalar_flow, general):
    theta0 = start(1.0, 1.0)
    cases = [
        (dict(t1=0.0), "`t1` must be above"),
        (dict(t1=np.inf), "`t1` must be a finite number"),
        (dict(t1=1.0, ts=1), "`ts` must be an integer of at least 2, but is 1"),
        (dict(t1=1.0, ts=[0.5, 0.2]), "strictly increasing"),
        (dict(t1=1.0, ts=[0.5, 2.0]), "lie in"),
        (dict(t1=1.0, method="euler"), "`method` must be one of.*'euler'"),
        (dict(t1=1.0, rtol=0.0), "`rtol` must be a finite positive number"),
        (dict(t1=1.0, atol=-1.0), "`atol` must be"),
        (dict(t1=1.0, clock="tau"), "`clock` must be one of"),
        (dict(t1=800.0, clock="log_t"), "at most 709"),
        (dict(t1=1.0, max_steps=0), "`max_steps`"),
        (dict(t1=1.0, stop=dln.LossBelow(1e9)), "must not hold at the start"),
        (dict(t1=1.0, stop=dln.LossBelow(0.0), step_to_ts=True), "`step_to_ts` must be False"),
    ]
    for arguments, message in cases:
        with pytest.raises(ValueError, match=message):
            dln.solve(scalar_flow, theta0, **arguments)
    with pytest.raises(ValueError, match=r"\['W2'\] missing"):
        dln.solve(scalar_flow, {"W1": np.ones((1, 1))}, 1.0)
    with pytest.raises(ValueError, match=r"theta0\['W2'\]` must be finite, but 1 of 1"):
        dln.solve(scalar_flow, start(np.nan, 1.0), 1.0)
    wide = dln.linear_network((40, 30))
    with pytest.raises(ValueError, match="has 1200"):
        flow = dln.GradientFlow(wide, lambda z: jnp.sum(z**2))
        dln.solve(flow, {"W1": np.ones((30, 40))}, 1.0, method="stiff")
    with pytest.raises(ValueError, match="`level` must be a finite number"):
        dln.LossBelow(np.nan)
    with pytest.raises(ValueError, match="must not be both zero"):
        dln.SteadyState(rtol=0.0)
    with pytest.raises(ValueError, match="must be bound to a loss"):
        dln.solve(dln.BalancedFlow(wide), {"W1": np.ones((30, 40))}, 1.0)


def test_bad_training_settings_are_refused():
    arch = dln.linear_network((2, 2, 2))
    with pytest.raises(ValueError, match="`weight_decay` must be a finite number of at least 0, but is -1"):
        dln.GradientFlow(arch, jnp.sum, weight_decay=-1)
    with pytest.raises(ValueError, match=r"`rates\['W1'\]` must be a finite positive number, but is 0"):
        dln.GradientFlow(arch, jnp.sum, rates={"W1": 0})
    with pytest.raises(ValueError, match="unknown|must name factors"):
        dln.GradientFlow(arch, jnp.sum, rates={"W7": 2.0})
    with pytest.raises(ValueError, match="to a scalar"):
        dln.GradientFlow(arch, lambda z: z)
    with pytest.raises(ValueError, match="must be a function of z"):
        dln.GradientFlow(arch, 3.0)


@pytest.mark.slow
def test_float32_is_refused_or_marked(scalar_flow):
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(dln.PrecisionError, match="jax_enable_x64"):
            dln.solve(scalar_flow, start(1.0, 1.0), 1.0)
        arch = dln.linear_network((1, 1, 1))
        flow = dln.GradientFlow(arch, lambda z: jnp.sum((z - 1.0) ** 2))
        run = dln.solve(flow, start(0.5, 1.0), 1.0, allow_float32=True, ts=3)
        assert not run.stats.float64
        assert run.stats.rtol == 1e-5
        assert "float32" in str(run)
    finally:
        jax.config.update("jax_enable_x64", True)


@pytest.mark.slow
def test_logarithmic_grid_and_printing(scalar_flow):
    grid = dln.log_times(100.0, 9, decades=4)
    assert grid[0] == 0
    assert grid[-1] == 100.0
    np.testing.assert_allclose(grid[2:] / grid[1:-1], 10 ** (4 / 7))
    run = dln.solve(scalar_flow, start(0.5, 0.5), 100.0, ts=grid)
    np.testing.assert_allclose(run.ts, grid)
    text = str(run)
    for word in ("gradient flow of linear 1-1-1", "9 save times", "tsit5", "drift D_1", "1/2"):
        assert word in text
    assert "<table" in run._repr_html_()
    assert dataclasses.is_dataclass(run)
    for bad in (dict(count=2), dict(decades=0.0)):
        with pytest.raises(ValueError, match="Argument"):
            dln.log_times(1.0, **bad)


@pytest.mark.slow
def test_a_progress_bar_can_be_shown_and_changes_nothing(scalar_flow, capfd, monkeypatch):
    plain = dln.solve(scalar_flow, start(0.1, 0.3), 5.0, ts=3)
    assert capfd.readouterr().err == "", "no bar where nobody looks"
    monkeypatch.setattr("dlntheory.training.backends.resumable_stepping.FIRST_STEPS", 10)
    for method in ("tsit5", "stiff"):
        shown = dln.solve(scalar_flow, start(0.1, 0.3), 5.0, ts=3, progress=True, method=method)
        bar = capfd.readouterr().err
        assert "gradient flow:   0%|" in bar
        assert "/5 t [" in bar
        assert bar.endswith(" \r"), "it goes away"
        if method == "tsit5":
            np.testing.assert_array_equal(plain.z, shown.z)


@pytest.mark.slow
def test_the_bar_counts_the_time_of_the_run(scalar_flow, monkeypatch):
    seen = []

    class Bar(contextlib.nullcontext):
        def update(self, amount):
            assert amount >= 0
            seen.append(amount)

        def set_postfix_str(self, text):
            assert text.startswith("loss ")

    def progress_bar(total, description, *, unit, progress):
        assert (total, description, unit, progress) == (5.0, "gradient flow", "t", None)
        return Bar(Bar())

    monkeypatch.setattr("dlntheory.training.backends.resumable_stepping.FIRST_STEPS", 10)
    monkeypatch.setattr(
        "dlntheory.training.backends.resumable_stepping.ChunkLength.learn", lambda self, steps, seconds: None
    )
    monkeypatch.setattr(importlib.import_module("dlntheory.training.solve"), "progress_bar", progress_bar)
    for method in ("tsit5", "stiff"):
        seen.clear()
        run = dln.solve(scalar_flow, start(0.1, 0.3), 7.0, t0=2.0, ts=3, method=method)
        assert len(seen) > 3
        assert 3.0 < sum(seen) <= 5.0
        assert run.ts[-1] == 7.0
