"""Entrywise flows and single neurons against SciPy, recognition of any user's φ, and starts that are refused."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from systems.entrywise import ENTRYWISE, entrywise_flow as full_flow, neuron_flow
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.families.diagonal import diagonal_network, difference_of_squares, power_network
from dlntheory.reductions.base import FormError
from dlntheory.reductions.entrywise import (
    DiagonalFlow,
    NeuronFlow,
    PowersFlow,
    ScalarChainFlow,
    SquaresFlow,
    factor_roles,
)
from dlntheory.reductions.entrywise.recognise import difference_form, polynomials_of, product_form
from dlntheory.reductions.entrywise.roots import chain_metric, smallest_square
from dlntheory.reductions.guarded import neuron_operator, squared_norms

N = 3
TS = np.linspace(0, 2, 5)
TIGHT = {"ts": TS, "rtol": 1e-12, "method": "dopri8", "step_to_ts": True}
MIX = np.random.default_rng(1).standard_normal((N, N))
TARGET = 2 * np.random.default_rng(2).standard_normal(N)


def form_of(arch, loss=None):
    """The first of the entrywise flows whose form φ has."""
    for kind in (DiagonalFlow, ScalarChainFlow, SquaresFlow, PowersFlow, NeuronFlow):
        try:
            return kind(arch, loss)
        except FormError:
            pass
    return None


def loss(z):
    """Not quadratic, and it couples the entries."""
    residual = jnp.asarray(MIX) @ z - TARGET
    return jnp.sum(jnp.logaddexp(residual, -residual))


def gradient(z):
    return MIX.T @ np.tanh(MIX @ z - TARGET)


def named(phi, count, name="test"):
    return dln.Architecture(phi, dict.fromkeys("abcd"[:count], (N,)), name=name)


CASES = {
    "diagonal": (named(lambda p: 0.5 * p["a"] * p["b"] - 0.25, 2), DiagonalFlow, 2),
    "squares": (named(lambda p: 0.5 * p["b"] ** 2 - 0.5 * p["a"] ** 2 - 0.25, 2), SquaresFlow, 2),
    "cubes": (named(lambda p: 0.5 * (p["a"] ** 3 - p["b"] ** 3) - 0.25, 2), PowersFlow, 2),
    "fourth powers": (named(lambda p: 0.5 * (p["a"] ** 4 - p["b"] ** 4) - 0.25, 2), PowersFlow, 2),
    "chain": (named(lambda p: 0.5 * p["a"] * p["b"] * p["c"] - 0.25, 3), ScalarChainFlow, 3),
    "long chain": (named(lambda p: 0.5 * p["a"] * p["b"] * p["c"] * p["d"] - 0.25, 4), ScalarChainFlow, 4),
}


def weights_of(name, seed=23):
    roles = CASES[name][2]
    rng = np.random.default_rng(seed)
    if CASES[name][1] is PowersFlow:
        return rng.uniform(0.4, 1.2, (roles, N))
    return rng.standard_normal((roles, N))


def start_of(name, weights):
    order = reversed(weights) if name == "squares" else weights
    return dict(zip(CASES[name][0].shapes, order, strict=True))


@pytest.mark.parametrize(
    "name",
    [
        pytest.param("diagonal", marks=pytest.mark.slow),
        pytest.param("squares", marks=pytest.mark.slow),
        pytest.param("cubes", marks=pytest.mark.slow),
        pytest.param("fourth powers", marks=pytest.mark.slow),
        "chain",
        pytest.param("long chain", marks=pytest.mark.slow),
    ],
)
def test_closed_form_equals_the_full_flow(name):
    arch, kind, _ = CASES[name]
    weights = weights_of(name)
    form = {"long chain": "chain"}.get(name, name)
    zs, _ = full_flow(form, weights, gradient, TS, scale=0.5, offset=-0.25)
    reduced = form_of(arch, loss)
    assert type(reduced) is kind
    run = dln.solve(reduced, start_of(name, weights), TS[-1], **TIGHT)
    assert np.max(np.abs(run.z - zs)) < 1e-10 * np.max(np.abs(zs))
    bare = (zs + 0.25) / 0.5
    assert np.any(bare[0] * bare[-1] < 0), "an entry must change its sign for this to test anything"


@pytest.mark.parametrize("name", CASES)
def test_speed_of_z_is_minus_the_metric_times_the_gradient(name):
    arch, _, _ = CASES[name]
    weights = weights_of(name, seed=11)
    theta0 = arch.check(start_of(name, weights))
    reduced = form_of(arch, loss)
    state = reduced.initial(theta0)
    _, found = jax.jvp(reduced.output, (state,), (reduced.velocity(0.0, state),))
    slopes = ENTRYWISE[{"long chain": "chain"}.get(name, name)][1](weights)
    expected = -np.sum((0.5 * slopes) ** 2, axis=0) * gradient(np.asarray(arch(theta0)))
    np.testing.assert_allclose(found, expected, rtol=1e-13)


@pytest.mark.parametrize(
    ("rows", "columns", "seed", "bound"),
    [
        pytest.param(3, 2, 3, 1e-10, marks=pytest.mark.slow),
        pytest.param(1, 3, 7, 1e-10, marks=pytest.mark.slow),
        pytest.param(3, 1, 3, 1e-10, marks=pytest.mark.slow),
        # u changes its sign, and z passes through 0 where the direction of v is lost: it costs digits.
        pytest.param(1, 3, 3, 1e-7, marks=pytest.mark.slow),
    ],
)
def test_one_neuron_equals_the_full_flow(rows, columns, seed, bound):
    arch = dln.Architecture(
        lambda p: 0.25 - 2 * p["u"][:, None] * p["v"][None, :], {"u": (rows,), "v": (columns,)}, name="neuron"
    )
    rng = np.random.default_rng(seed)
    objective, slope = log_cosh(2 * rng.standard_normal((rows, columns)))
    u, v = 1.5 * rng.standard_normal(rows), rng.standard_normal(columns)
    zs, a, b = neuron_flow(u, v, slope, TS, scale=-2.0, offset=0.25)
    run = dln.solve(NeuronFlow(arch, objective), {"u": u, "v": v}, TS[-1], **TIGHT)
    assert np.max(np.abs(run.z - zs)) < bound * np.max(np.abs(zs))
    np.testing.assert_allclose(run.final["Z"], np.outer(a, b), atol=bound)
    assert (u[0] * a[0] < 0) == (bound > 1e-10) or rows > 1


@pytest.mark.slow
def test_neuron_operator_has_no_division_where_a_side_is_a_scalar():
    g = jnp.asarray([[1.0, -2.0]])
    at_zero = neuron_operator(jnp.zeros((1, 2)), g, jnp.asarray(0.7))
    np.testing.assert_allclose(at_zero, 0.7 * g)
    slope = jax.jacfwd(lambda z: neuron_operator(z, g, jnp.asarray(0.7)))(jnp.zeros((1, 2)))
    assert np.all(np.isfinite(slope))
    assert np.allclose(slope, 0)
    u, v = np.array([1.0, 2.0, -1.0]), np.array([0.3, -0.2])
    gap = jnp.asarray(u @ u - v @ v)
    other = np.arange(6.0).reshape(3, 2)
    expected = np.outer(u, u) @ other + other @ np.outer(v, v)
    found = neuron_operator(jnp.asarray(np.outer(u, v)), jnp.asarray(other), gap)
    np.testing.assert_allclose(found, expected, rtol=1e-13, atol=1e-14)


@pytest.mark.parametrize("gap", [1e8, -1e8, 1e-8, 0.0])
def test_smaller_norm_keeps_its_digits(gap):
    square = 3e-5
    with mpmath.workdps(50):
        rho = mpmath.sqrt(mpmath.mpf(gap) ** 2 + 4 * mpmath.mpf(square))
        exact = float((rho + gap) / 2), float((rho - gap) / 2)
    found = squared_norms(jnp.asarray(square), jnp.asarray(gap))
    np.testing.assert_allclose(np.array(found), exact, rtol=4e-15)


def test_chain_root_over_many_scales():
    rng = np.random.default_rng(0)
    gaps = 10.0 ** rng.uniform(-10, 4, (4, 50))
    gaps[0] = 0.0
    gaps[1, :10] = 0.0
    products = 10.0 ** rng.uniform(-8, 6, 50) * rng.choice([-1, 1], 50)
    found = np.asarray(smallest_square(jnp.asarray(products), jnp.asarray(gaps)))
    metric = np.asarray(chain_metric(jnp.asarray(products), jnp.asarray(gaps)))
    with mpmath.workdps(40):
        for i in range(50):
            t = mpmath.mpf(found[i])
            factors = [t + mpmath.mpf(g) for g in gaps[:, i]]
            slope = mpmath.fsum(mpmath.fprod(factors[:l] + factors[l + 1 :]) for l in range(4))
            change = (mpmath.fprod(factors) - mpmath.mpf(products[i]) ** 2) / slope
            assert abs(change) < 1e-13 * t
            assert abs(metric[i] / slope - 1) < 1e-13


@pytest.mark.slow
def test_chain_root_at_zero_and_its_derivatives():
    gaps = jnp.asarray([[0.0, 0.0], [0.5, 0.0], [2.0, 1.0]])
    at_zero = jnp.zeros(2)
    np.testing.assert_allclose(chain_metric(at_zero, gaps), [1.0, 0.0])
    slope = jax.jacfwd(smallest_square)(at_zero, gaps)
    assert np.all(np.asarray(slope) == 0)
    points = jnp.asarray([0.3, -0.4])
    for argument in (0, 1):
        derivative = jax.jacfwd(chain_metric, argnums=argument)(points, gaps)
        step = 1e-5
        bump = [points, gaps]
        if argument:
            # The gap that is 0 by convention stays: moving it would be a shift of t.
            direction = jnp.asarray([[0.0, 0.0], [1.0, 0.0], [0.3, 1.0]])
        else:
            direction = jnp.asarray([1.0, 0.5])
        plus, minus = (
            [x + sign * step * direction if i == argument else x for i, x in enumerate(bump)]
            for sign in (1, -1)
        )
        expected = (np.asarray(chain_metric(*plus)) - np.asarray(chain_metric(*minus))) / (2 * step)
        along = np.tensordot(np.asarray(derivative), np.asarray(direction), direction.ndim)
        np.testing.assert_allclose(along, expected, rtol=1e-8)


def test_forms_are_read_whatever_the_layout():
    stacked = dln.Architecture(lambda p: p["w"][0] * p["w"][1], {"w": (2, N)}, name="stacked")
    assert DiagonalFlow(stacked).positions.tolist() == [[0, 1, 2], [3, 4, 5]]
    assert type(form_of(diagonal_network(2, 2))) is DiagonalFlow
    assert type(form_of(diagonal_network(2, 5))) is ScalarChainFlow
    assert type(form_of(dln.linear_network((1, 1, 1, 1)))) is ScalarChainFlow
    assert type(form_of(difference_of_squares(2))) is SquaresFlow
    rank_one = dln.linear_network((3, 1, 2))
    assert NeuronFlow(rank_one).size == (3, 2)
    theta0 = {"W1": np.array([[1.0, 2.0, 3.0]]), "W2": np.array([[1.0], [-1.0]])}
    flow = NeuronFlow(rank_one)
    np.testing.assert_allclose(flow.output(flow.initial(rank_one.check(theta0))), rank_one(theta0))
    swapped = CASES["squares"][0]
    assert factor_roles(swapped, difference_form(swapped, 2, "a test")) == {"u": "b", "v": "a"}
    assert factor_roles(stacked, product_form(stacked, "a test")) == {
        "u": "w[0, 0], w[0, 1], w[0, 2]",
        "v": "w[1, 0], w[1, 1], w[1, 2]",
    }


@pytest.mark.parametrize(
    ("phi", "form", "message"),
    [
        (lambda p: p["a"] * p["b"] + p["a"], DiagonalFlow, r"z\[0\] of test is a\[0\]"),
        (lambda p: p["a"] * jnp.sum(p["b"]), DiagonalFlow, r"a\[0\] of test occurs in several"),
        (lambda p: p["a"] * p["b"][0], DiagonalFlow, r"b\[0\] of test occurs in several"),
        (lambda p: p["a"] ** 2 * p["b"], ScalarChainFlow, r"a\[0\]\^2\*b\[0\]"),
        (lambda p: p["a"] ** 2 - 2 * p["b"] ** 2, SquaresFlow, r"u_i\^2 - v_i\^2"),
        (lambda p: p["a"] ** 2 + p["b"] ** 2, SquaresFlow, r"u_i\^2 - v_i\^2"),
        (lambda p: p["a"] ** 2 - p["b"] ** 2, PowersFlow, "L >= 3"),
        (lambda p: p["a"] ** 3 - p["b"] ** 4, PowersFlow, "L >= 3"),
        (lambda p: p["a"] * p["b"], NeuronFlow, "3 products of 5 by 1 parameters"),
        (lambda p: (p["a"] * p["b"][0]) * jnp.asarray([1.0, 2.0, 1.0]), NeuronFlow, "one c for all"),
        (lambda p: p["a"] / p["b"], DiagonalFlow, "divides by parameters"),
    ],
)
def test_another_form_is_refused_with_the_entry(phi, form, message):
    with pytest.raises(FormError, match=message):
        form(named(phi, 2))


def test_no_form_fits():
    assert form_of(power_network(2, 3)) is None
    with pytest.raises(dln.UnsupportedPrimitiveError, match="tanh"):
        form_of(named(lambda p: jnp.tanh(p["a"]), 1))
    with pytest.raises(FormError, match="small enough"):
        polynomials_of(dln.linear_network((40, 40, 40, 40)))


def test_powers_need_positive_weights_or_an_even_exponent():
    cubes, fourth = CASES["cubes"][0], CASES["fourth powers"][0]
    weights = weights_of("cubes")
    weights[1, 2] = -0.3
    with pytest.raises(dln.ConditionError, match="positive") as refusal:
        PowersFlow(cubes).check_start(start_of("cubes", weights))
    assert refusal.value.measured == pytest.approx(0.3)
    flow = PowersFlow(fourth)
    theta0 = flow.check_start(start_of("fourth powers", weights))
    np.testing.assert_allclose(flow.output(flow.initial(theta0)), fourth(theta0), rtol=1e-14)
    weights[1, 2] = 0.0
    with pytest.raises(dln.ConditionError, match="not 0"):
        flow.check_start(start_of("fourth powers", weights))


def test_a_lost_direction_is_refused():
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (N,)}, name="neuron")
    lost = {"u": np.zeros(1), "v": np.array([3.0, 0.0, 4.0])}
    with pytest.raises(dln.ConditionError, match="does not tell the direction of v") as refusal:
        NeuronFlow(arch).check_start(lost)
    assert refusal.value.measured == pytest.approx(5.0)
    NeuronFlow(arch).check_start({"u": np.ones(1), "v": np.zeros(N)})
    NeuronFlow(arch).check_start({"u": np.zeros(1), "v": np.zeros(N)})
    (limit,) = NeuronFlow(arch).limits()
    assert limit.stop_below == 1e-8
    state = NeuronFlow(arch).initial(arch.check({"u": np.array([3e-4]), "v": np.array([0.0, 1.0, 0.0])}))
    assert float(NeuronFlow(arch).monitors(state)[limit.monitor]) == pytest.approx(3e-4, rel=1e-6)


@pytest.mark.slow
def test_a_wrong_law_gives_another_flow():
    """Negative control: λ off by 0.1 moves z by far more than the tolerance."""
    arch, *_ = CASES["diagonal"]
    weights = weights_of("diagonal")
    zs, _ = full_flow("diagonal", weights, gradient, TS, scale=0.5, offset=-0.25)
    factor = np.sqrt(1.1)
    run = dln.solve(
        DiagonalFlow(arch, loss),
        start_of("diagonal", np.stack([weights[0] * factor, weights[1] / factor])),
        TS[-1],
        **TIGHT,
    )
    assert np.max(np.abs(run.z - zs)) > 1e-3


@pytest.mark.slow
def test_velocity_is_differentiable_at_the_origin_of_a_dead_entry():
    arch = CASES["diagonal"][0]
    flow = DiagonalFlow(arch, loss)
    state = {"p": jnp.asarray([0.0, 0.1, 0.2]), "lambda": jnp.asarray([0.0, 0.0, 0.3])}
    slope = jax.jacfwd(lambda p: flow.velocity(0.0, {**state, "p": p})["p"])(state["p"])
    assert np.all(np.isfinite(slope))
