"""One hidden neuron: closed form of both weights, branches, mirror potential and interpolation against the flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy as sp
from scipy.integrate import solve_ivp

import dlntheory as dln
from dlntheory.solutions.neuron_limit import neuron_interpolation, neuron_potential
from dlntheory.solutions.neuron_solution import NeuronSolution, neuron, neuron_branch, second_layer_squared

compiled = jax.jit(neuron)


def flow(inputs, targets, w0, a0, end):
    """Eighth-order reference for 1/2 |X (a w) - y|^2."""

    def velocity(t, y):
        residual = inputs @ (y[-1] * y[:-1]) - targets
        pull = inputs.T @ residual
        return -np.append(y[-1] * pull, pull @ y[:-1])

    y = solve_ivp(velocity, (0.0, end), np.append(w0, a0), method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    return y[:-1], y[-1]


def cases(seed, count):
    rng = np.random.default_rng(seed)
    for case in range(count):
        beta, w0 = rng.standard_normal(3), rng.standard_normal(3) * 10 ** rng.uniform(-1, 0.3)
        a0 = rng.standard_normal() * 10 ** rng.uniform(-1, 0.3)
        if case % 5 == 0:
            a0 = float(np.sign(a0) * np.linalg.norm(w0))  # delta = 0
        yield beta, w0, a0, rng.uniform(0.1, 4.0)


@pytest.mark.parametrize("count", [40, pytest.param(200, marks=pytest.mark.slow)])
def test_both_weights_follow_the_flow_for_any_start(count):
    for beta, w0, a0, end in cases(0, count):
        expected, last = flow(np.eye(3), beta, w0, a0, end)
        w, a = compiled(end, beta[None], w0, np.array([a0]))
        assert np.max(np.abs(np.append(w - expected, a - last))) < 2e-11
        assert abs(float(a[0] ** 2 - np.sum(w**2)) - (a0**2 - w0 @ w0)) < 2e-13 * max(1.0, w0 @ w0)


def test_the_branch_is_known_at_the_start():
    for beta, w0, a0, _ in cases(1, 300):
        _, a = compiled(300.0, beta[None], w0, np.array([a0]))
        assert np.sign(float(a[0])) == np.sign(neuron_branch(beta, w0, a0))
    # On the boundary neither wins: the saddle.
    assert neuron_branch([1.0, 0.0], [-0.5, 0.2], 0.0) < 0 < neuron_branch([1.0, 0.0], [0.5, 0.2], 0.0)
    assert neuron_branch([1.0, 0.0], [-0.7, 0.0], 0.7) == 0.0
    with pytest.raises(ValueError, match="`target` must not be 0"):
        neuron_branch([0.0], [1.0], 1.0)


def test_extreme_and_empty_cases():
    w, a = compiled(1e7, np.array([[3.0, 4.0, 0.0]]), 1e-6 * np.ones(3), np.array([1e-6]))
    np.testing.assert_allclose(a[0] * w, [3.0, 4.0, 0.0], atol=1e-13)
    for begin in (np.zeros(3), np.array([1.0, 2.0, 0.5])):
        for last in (0.0, 1.5):
            w, a = compiled(5.0, np.zeros((1, 3)), begin, np.array([last]))
            expected, end = flow(np.eye(3), np.zeros(3), begin, last, 5.0)
            np.testing.assert_allclose(np.append(w, a), np.append(expected, end), atol=1e-12)
    w, a = compiled(0.0, np.ones((1, 3)), np.arange(3.0), np.array([2.0]))
    np.testing.assert_array_equal(np.append(w, a), [0.0, 1.0, 2.0, 2.0])
    assert np.all(np.isnan(compiled(-1.0, np.ones((1, 3)), np.arange(3.0), np.array([2.0]))[0]))
    gradient = jax.jit(jax.grad(lambda b: jnp.sum(neuron(1.0, b[None], jnp.ones(3), jnp.ones(1))[0])))
    at = np.array([0.3, -1.0, 0.5])
    step = np.array([0.2, 0.5, 1.0])
    value = lambda e: float(np.sum(compiled(1.0, (at + e * step)[None], np.ones(3), np.ones(1))[0]))
    quotient = (8 * (value(1e-4) - value(-1e-4)) - (value(2e-4) - value(-2e-4))) / 12e-4
    assert float(gradient(at) @ step) == pytest.approx(quotient, rel=1e-9)


@pytest.mark.slow
def test_one_neuron_with_several_outputs_and_the_factors_of_a_loss():
    arch = dln.linear_network((3, 1, 2))
    rng = np.random.default_rng(3)
    target = rng.standard_normal((2, 3))
    inputs = np.sqrt(2.0) * np.eye(3)
    rates = {"W1": 2.0, "W2": 0.5}
    loss = dln.SquaredLoss(inputs, inputs @ target.T, reduction="sum")
    theta0 = dln.gaussian(arch, jax.random.key(0))
    solution = NeuronSolution(arch, theta0, dln.Training(loss, rates=rates))
    w0, a0 = np.asarray(theta0["W1"])[0], np.asarray(theta0["W2"])[:, 0]

    def velocity(t, y):
        w, a = y[:3], y[3:]
        pull = 2.0 * (np.outer(a, w) - target)
        return -np.concatenate([2.0 * a @ pull, 0.5 * pull @ w])

    expected = solve_ivp(velocity, (0, 1.5), np.append(w0, a0), method="DOP853", rtol=1e-12, atol=1e-14).y[
        :, -1
    ]
    weights = solution.weights([0.0, 1.5])
    found = np.append(weights["W1"][1, 0], weights["W2"][1, :, 0])
    np.testing.assert_allclose(found, expected, atol=1e-11)
    np.testing.assert_allclose(solution.z([0.0])[0], np.outer(a0, w0), atol=1e-15)
    assert solution.delta == pytest.approx(np.sum(a0**2) / 0.5 - np.sum(w0**2) / 2.0)
    assert solution.branch.size >= 2  # two growing planes
    assert "e^{Ft} q_0" in str(solution)
    assert repr(solution) == f"NeuronSolution({arch.name})"


def test_the_branch_of_a_solution_has_the_sign_of_the_second_layer():
    arch = dln.linear_network((3, 1, 1))
    loss = dln.SquaredLoss.from_target([[1.0, -0.5, 2.0]])
    for seed in range(5):
        theta0 = dln.gaussian(arch, jax.random.key(seed))
        solution = NeuronSolution(arch, theta0, loss)
        expected = neuron_branch([1.0, -0.5, 2.0], theta0["W1"][0], theta0["W2"][0, 0])
        assert np.sign(solution.branch[0]) == np.sign(expected)
        assert np.sign(float(solution.weights([200.0])["W2"][0, 0, 0])) == np.sign(expected)


def test_bad_input_is_refused():
    loss = dln.SquaredLoss.from_target(np.ones((1, 3)))
    arch, wide = dln.linear_network((3, 1, 1)), dln.linear_network((3, 2, 1))
    theta0 = dln.gaussian(arch, jax.random.key(0))
    with pytest.raises(ValueError, match="one hidden neuron .* has 2"):
        NeuronSolution(wide, dln.gaussian(wide, jax.random.key(0)), loss)
    with pytest.raises(ValueError, match="no weight decay .* has 0.1"):
        NeuronSolution(arch, theta0, dln.Training(loss, weight_decay=0.1))
    with pytest.raises(ValueError, match="must be at least 0"):
        NeuronSolution(arch, theta0, loss).z([-0.1])


@pytest.mark.parametrize("delta", [2.0, 1e-9, 0.0, -1e-9, -2.0])
def test_product_determines_the_second_layer_and_the_gradient_of_the_potential(delta):
    w = np.array([1.1, -1.0, 0.4])
    a = np.sqrt(delta + w @ w)
    assert float(second_layer_squared(a * w, delta)) == pytest.approx(a**2, rel=1e-14)
    np.testing.assert_allclose(jax.grad(neuron_potential)(jnp.asarray(a * w), delta), w, rtol=2e-14)
    if delta < 0:  # the naive form loses every digit here
        tiny = 1e-9 * w
        expected = tiny @ tiny / abs(delta)
        if expected < 1e-3 * abs(delta):
            assert float(second_layer_squared(tiny, delta)) == pytest.approx(expected, rel=1e-2)


@pytest.mark.parametrize("delta", [5.0, 0.5, 0.0, -0.5, -5.0, -3.0])
def test_any_data_move_the_first_layer_in_the_row_space_to_the_root(delta):
    rng = np.random.default_rng(17)
    x, y = rng.standard_normal((3, 6)), rng.standard_normal(3)
    w0 = rng.standard_normal(6)
    w0 *= np.sqrt(max(-delta, 0.0) + 0.4) / np.linalg.norm(w0)
    a0 = np.sqrt(delta + w0 @ w0)
    w, a = flow(x, y, w0, a0, 400.0)
    moved = w - w0
    assert np.linalg.norm(moved - np.linalg.pinv(x) @ (x @ moved)) < 1e-13
    found = neuron_interpolation(x, y, w0, a0, sign=int(np.sign(a)))
    assert found.residual < 1e-13
    np.testing.assert_allclose(found.beta, a * w, atol=2e-11)
    assert found.is_minimiser == (delta >= 0)
    if delta >= 0:
        # The minimisation statement, by the gradient on the constraint's tangent space.
        slope = np.asarray(jax.grad(neuron_potential)(jnp.asarray(found.beta), delta)) - w0
        assert np.linalg.norm(slope - np.linalg.pinv(x) @ (x @ slope)) < 1e-13


def test_bad_data_of_an_interpolation_are_refused():
    for call, words in [
        (
            lambda: neuron_interpolation(np.ones((2, 3)), np.ones(2), np.ones(3), 1.0),
            "rank 2, but has rank 1",
        ),
        (lambda: neuron_interpolation(np.ones((1, 3)), np.ones(2), np.ones(3), 1.0), "shape"),
        (lambda: neuron_interpolation(np.ones((1, 3)), np.ones(1), np.ones(3), 0.0), "`sign` must be given"),
    ]:
        with pytest.raises(ValueError, match=words):
            call()


def test_symbolic_residual_vanishes_in_one_dimension():
    t, beta, delta, w0 = sp.symbols("t beta delta w0", positive=True)
    a0 = sp.sqrt(delta + w0**2)
    f = sp.Matrix([[-delta / 2, beta], [beta, delta / 2]])
    kappa = sp.sqrt(delta**2 / 4 + beta**2)
    cosh, sinh = (sp.exp(kappa * t) + sp.exp(-kappa * t)) / 2, (sp.exp(kappa * t) - sp.exp(-kappa * t)) / 2
    grown = sp.eye(2) * cosh + f * sinh / kappa  # e^{Ft}, since F^2 = kappa^2
    q0 = sp.Matrix([w0, a0])
    double = grown.subs(t, 2 * t)
    k = 1 + (q0.T * f.inv() * (double - sp.eye(2)) * q0)[0] / 2
    w, a = grown * q0 / sp.sqrt(k)
    # K' = |e^{Ft} q0|^2 (F commutes with its exponential), and w' = -a (a w - beta) times K^{3/2}.
    first, second = grown * q0
    # d/dt e^{Ft} q0 = F e^{Ft} q0, K' = |e^{Ft} q0|^2 and the conserved difference turn w = first / sqrt(K),
    # a = second / sqrt(K) into w' = -a (a w - beta), a' = -w (a w - beta).
    assert sp.simplify(sp.diff(first, t) + delta / 2 * first - beta * second) == 0
    assert sp.simplify(sp.diff(second, t) - delta / 2 * second - beta * first) == 0
    assert sp.simplify(sp.diff(k, t) - (first**2 + second**2)) == 0
    assert sp.simplify(second**2 - first**2 - delta * k) == 0
    at = {t: 0.7, beta: 1.3, delta: 0.5, w0: 0.2}
    found = compiled(0.7, np.array([[1.3, 0.0, 0.0]]), np.array([0.2, 0.0, 0.0]), np.array([np.sqrt(0.54)]))
    assert float(found[0][0]) == pytest.approx(float(w.subs(at)), rel=1e-12)
    assert float(found[1][0]) == pytest.approx(float(a.subs(at)), rel=1e-12)


def test_the_sign_of_an_interpolating_neuron_is_given_where_it_decides():
    with pytest.raises(ValueError, match="`sign` must be given where the second layer may cross 0"):
        neuron_interpolation(np.eye(1, 3), np.ones(1), np.ones(3), 0.5)
    assert neuron_interpolation(np.eye(1, 3), np.ones(1), np.ones(3), 0.5, sign=1).second > 0


def test_neuron_takes_many_times_and_the_matrices_of_the_network():
    arch = dln.linear_network((3, 1, 2))
    theta = dln.gaussian(arch, jax.random.key(0))
    target, ts = jnp.asarray(np.random.default_rng(1).normal(size=(2, 3))), jnp.asarray([0.0, 0.5, 2.0])
    w, a = neuron(ts, target, theta["W1"], theta["W2"])
    assert (w.shape, a.shape) == ((3, 3), (3, 2))
    one = neuron(0.5, target, theta["W1"][0], theta["W2"][:, 0])
    assert np.allclose(w[1], one[0], rtol=1e-14)
    assert np.allclose(a[1], one[1], rtol=1e-14)
    with pytest.raises(ValueError, match="must have shapes"):
        neuron(0.5, target, theta["W2"], theta["W1"])
