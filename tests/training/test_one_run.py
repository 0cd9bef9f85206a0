"""What `solve` and `iterate` share: the grid, the stop argument, true reasons, warnings at saddles, few "
"compilations."""

import threading
import warnings

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory._errors import SaddleWarning
from dlntheory.training.backends.diffrax_backend import integrate
from dlntheory.training.save_times import padded_count, save_grid

ARCH = dln.linear_network((2, 3, 2))
LOSS = dln.SquaredLoss.from_target([[1.0, 0.0], [0.0, 2.0]])
FLOW = dln.GradientFlow(ARCH, LOSS)
DESCENT = dln.GradientDescent(ARCH, LOSS, 0.05)


@pytest.fixture(scope="module")
def theta0():
    return {n: 0.5 * np.random.default_rng(3).standard_normal(shape) for n, shape in ARCH.shapes.items()}


def test_the_end_is_always_a_save_time(theta0):
    run = dln.iterate(DESCENT, theta0, 1000, ts=[0, 10])
    np.testing.assert_allclose(run.ts, [0.0, 0.5, 50.0])
    assert run.stats.counts == {"steps": 1000}
    np.testing.assert_allclose(ARCH(run.final), run.z[-1], atol=1e-14)
    np.testing.assert_array_equal(save_grid([2, 5], 0, 9, whole=True), [2, 5, 9])
    np.testing.assert_array_equal(save_grid(4, 0, 9, whole=True), [0, 3, 6, 9])
    np.testing.assert_array_equal(save_grid([0.5], 0.0, 2.0), [0.5, 2.0])
    for bad in (1, True, 2.5, [], [[1]], ["a"], [1.0, np.nan], [3, 2], [0, 11], None):
        with pytest.raises(ValueError, match="`ts` must"):
            save_grid(bad, 0, 10, whole=True)
    assert (padded_count(5, 10), padded_count(300, 10), padded_count(300, 10**6)) == (256, 512, 300)


def level(t, params):
    return jnp.sum(params["W1"] ** 2) - 3.5


@pytest.mark.parametrize("verb", ["solve", "iterate"])
def test_a_plain_function_ends_a_run_where_it_crosses_zero(theta0, verb):
    run = (
        (lambda stop: dln.solve(FLOW, theta0, 20.0, stop=stop, rtol=1e-10))
        if verb == "solve"
        else (lambda stop: dln.iterate(DESCENT, theta0, 400, ts=3, stop=stop))
    )
    below = run(level)
    value = float(level(0.0, below.final))
    assert below.stats.stopped_by == "level crossed zero"
    if verb == "solve":
        assert abs(value) < 1e-12
    else:
        before = dln.iterate(DESCENT, theta0, round(below.ts[-1] / 0.05) - 1)
        assert float(level(0.0, before.final)) < 0 <= value, "the first step at which it holds"
    other = run([dln.LossBelow(1e-12), lambda t, params: 3.5 - jnp.sum(params["W1"] ** 2)])
    assert other.stats.stopped_by == "stop function crossed zero"
    assert other.ts[-1] == pytest.approx(below.ts[-1], abs=1e-9)
    for bad in (3.0, [dln.LossBelow(1.0), 5], lambda t, params: params["W1"], dln.LossBelow(1e9)):
        with pytest.raises(ValueError, match="`stop` must"):
            run(bad)


def test_another_number_of_times_start_rate_or_the_same_lambda_compile_nothing(theta0):
    def cell(scale, count):
        flow = dln.GradientFlow(dln.linear_network((2, 3, 2)), dln.SquaredLoss.from_target(scale * np.eye(2)))
        start = {name: scale * leaf for name, leaf in theta0.items()}
        return dln.solve(flow, start, 2.0 + scale, ts=count, stop=lambda t, params: t - 100.0)

    cell(1.0, 10)
    before = integrate.traces
    runs = [cell(0.5, 11), cell(2.0, 200), cell(1.5, 256)]
    assert integrate.traces == before
    assert not any(run.stats.compiled for run in runs)
    assert [len(run) for run in runs] == [11, 200, 256]


def test_a_thread_that_compiles_does_not_make_others_say_so(theta0):
    dln.solve(FLOW, theta0, 1.0, ts=5)
    seen = {}

    def work(name, flow, start):
        seen[name] = [dln.solve(flow, start, 1.0, ts=5).stats.compiled for _ in range(2)]

    wide = dln.linear_network((2, 5, 2))
    start = dln.gaussian(wide, jax.random.key(0), scale=0.3)
    threads = [
        threading.Thread(target=work, args=("new", dln.GradientFlow(wide, LOSS), start)),
        threading.Thread(target=work, args=("old", FLOW, theta0)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"new": [True, False], "old": [False, False]}


@pytest.mark.slow
def test_any_adaptive_solver_of_diffrax_will_do(theta0):
    reference = dln.solve(FLOW, theta0, 3.0, ts=5, rtol=1e-11, method="dopri8")
    run = dln.solve(FLOW, theta0, 3.0, ts=5, rtol=1e-9, method=diffrax.Kvaerno5())
    assert run.stats.method == "Kvaerno5"
    np.testing.assert_allclose(run.z, reference.z, rtol=0, atol=1e-7)
    with pytest.raises(ValueError, match="error estimate"):
        dln.solve(FLOW, theta0, 3.0, method=diffrax.Euler())


def test_reasons_are_true(theta0):
    scalar = dln.linear_network((1, 1, 1))
    ones = {"W1": np.ones((1, 1)), "W2": 2 * np.ones((1, 1))}
    cases = [
        (dln.GradientFlow(scalar, lambda z: -jnp.sum(z**4)), ones, {}, "not bounded below along this run"),
        (FLOW, theta0, {"max_steps": 100, "t1": 500.0}, 'max_steps is 100.*stiff.*method="stiff"'),
        (FLOW, theta0, {"max_steps": 5}, "max_steps is 5, and all were taken. A larger"),
    ]
    for flow, start, options, message in cases:
        with pytest.raises(dln.IntegrationError, match=message):
            dln.solve(flow, start, options.pop("t1", 10.0), **options)
    for method in ("tsit5", "stiff"):
        with pytest.raises(ValueError, match="must have a finite loss"):
            dln.solve(dln.GradientFlow(scalar, lambda z: jnp.sum(jnp.log(-z))), ones, 1.0, method=method)
    with pytest.raises(
        dln.IntegrationError, match=r"eigenvalue of the Hessian was 24\.2 at the start.*smaller step size"
    ):
        dln.iterate(dln.GradientDescent(ARCH, LOSS, 4.0), theta0, 100)


@pytest.mark.parametrize("widths", [(3, 3, 3), (3, 4, 3, 3)])
def test_a_start_on_the_stable_manifold_of_a_saddle_is_told_where_it_is_made(widths):
    arch = dln.linear_network(widths)
    start = dln.balanced(arch, jax.random.key(0), scale=0.3)
    product = np.asarray(arch(start))
    wrong, right = (np.diag([3.0, 2.0, sign]) for sign in (1.0, -1.0))
    if np.linalg.det(product) > 0:
        wrong, right = right, wrong
    with pytest.warns(SaddleWarning, match="Rounding errors decide.*determinant-trap") as caught:
        dln.solve(dln.GradientFlow(arch, dln.SquaredLoss.from_target(wrong)), start, 0.1, ts=2)
    assert caught[0].filename == __file__
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        dln.solve(dln.GradientFlow(arch, dln.SquaredLoss.from_target(right)), start, 0.1, ts=2)
        nudged = {name: leaf + 1e-6 * np.ones(leaf.shape) for name, leaf in start.items()}
        dln.solve(dln.GradientFlow(arch, dln.SquaredLoss.from_target(wrong)), nudged, 0.1, ts=2)
    assert dln.SaddleWarning is SaddleWarning
