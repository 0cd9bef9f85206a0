"""Every training rule: against a loop written in NumPy, from any start, under vmap and grad, and unknown ones."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import NotApplicableError
from dlntheory.losses import SampleLoss
from dlntheory.training import (
    AbstractFlow,
    AbstractIteration,
    CayleyDescent,
    EulerMaruyama,
    GradientDescent,
    GradientFlow,
    HeavyBall,
    ImplicitMidpoint,
    MirrorDescent,
    MirrorFlow,
    MomentumFlow,
    Nesterov,
    StochasticGradientDescent,
    StochasticGradientFlow,
    Training,
)

ARCH = dln.linear_network((2, 3, 2))
TARGET = np.array([[1.2, 0.3], [-0.4, 0.8]])
LOSS = dln.SquaredLoss.from_target(TARGET)
KEY = jax.random.key(3)
RNG = np.random.default_rng(1)
SAMPLES = SampleLoss(RNG.standard_normal((6, 2)), RNG.standard_normal((6, 2)))
ETA, BETA = 0.1, 0.8
RATES = {"W1": 0.5, "W2": 2.0}
#: Weight decay by factor and in time, and a schedule.
SETTINGS = {
    "plain": {},
    "decay by factor": {"weight_decay": {"W1": 0.3}, "rates": RATES},
    "decoupled": {"weight_decay": {"W1": 0.3, "W2": 0.1}, "rates": RATES, "decoupled": True},
    "schedules": {"weight_decay": lambda t: 0.2 * t, "schedule": lambda t: 1.0 / (1.0 + t)},
}


def start(scale=0.5):
    rng = np.random.default_rng(0)
    return {"W1": scale * rng.standard_normal((3, 2)), "W2": scale * rng.standard_normal((2, 3))}


def as_arrays(theta):
    return {name: jnp.asarray(value) for name, value in theta.items()}


def slope(theta):
    g = theta["W2"] @ theta["W1"] - TARGET
    return {"W1": theta["W2"].T @ g, "W2": g @ theta["W1"].T}


def reference(kind, settings, steps):
    """The steps written out: gradient descent, heavy ball and Nesterov with all settings."""
    theta, velocity = start(), {name: np.zeros_like(value) for name, value in start().items()}
    rates = settings.get("rates", {"W1": 1.0, "W2": 1.0})
    decay = settings.get("weight_decay", 0.0)
    for k in range(steps):
        t = k * ETA
        a = settings["schedule"](t) if "schedule" in settings else 1.0
        gamma = decay(t) if callable(decay) else decay
        gamma = gamma if isinstance(gamma, dict) else {"W1": gamma, "W2": gamma}
        beta = BETA if kind != "gradient descent" else 0.0
        at = {n: theta[n] + (beta * velocity[n] if kind == "Nesterov" else 0.0) for n in theta}
        g, coupled = slope(at), not settings.get("decoupled")
        for n in theta:
            force = g[n] + (gamma.get(n, 0.0) * at[n] if coupled else 0.0)
            velocity[n] = beta * velocity[n] - ETA * a * rates[n] * force
        shrunk = {n: 0.0 if coupled else ETA * a * gamma.get(n, 0.0) * theta[n] for n in theta}
        theta = {n: theta[n] + velocity[n] - shrunk[n] for n in theta}
    return theta


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("kind", ["gradient descent", "heavy ball", "Nesterov"])
def test_steps_with_decay_rates_and_schedules(kind, settings):
    settings = SETTINGS[settings]
    rule = {
        "gradient descent": lambda: GradientDescent(ARCH, LOSS, ETA, **settings),
        "heavy ball": lambda: HeavyBall(ARCH, LOSS, ETA, BETA, **settings),
        "Nesterov": lambda: Nesterov(ARCH, LOSS, ETA, BETA, **settings),
    }[kind]()
    state = rule.initial(as_arrays(start()))
    for k in range(4):
        state = rule.step(k, state)
    expected = reference(kind, settings, 4)
    for name in expected:
        np.testing.assert_allclose(state[name], expected[name], rtol=1e-13, atol=1e-15)
    assert rule.label == kind or kind == "Nesterov"


def test_flows_with_decay_by_factor_and_schedules():
    """theta' and theta'' at a time, written out."""
    theta, t = start(), 0.7
    g, a = slope(theta), 1.0 / 1.7
    settings = {"weight_decay": {"W1": 0.3}, "rates": RATES, "schedule": lambda s: 1.0 / (1.0 + s)}
    force = {n: -a * RATES[n] * (g[n] + {"W1": 0.3, "W2": 0.0}[n] * theta[n]) for n in g}
    found = GradientFlow(ARCH, LOSS, **settings).velocity(t, as_arrays(theta))
    heavy = MomentumFlow(ARCH, LOSS, friction=0.4, velocity=theta, **settings)
    pushed = heavy.velocity(t, heavy.initial(as_arrays(theta)))
    decaying = MomentumFlow(ARCH, LOSS, friction=("over_t", 3), **settings)
    state = as_arrays(theta) | {f"{n}'": jnp.asarray(x) for n, x in theta.items()}
    late, early = (
        decaying.velocity(jnp.asarray(t), state),
        decaying.velocity(jnp.asarray(0.0), decaying.initial(theta)),
    )
    mirror = MirrorFlow(ARCH, LOSS, metric={"W1": "theta"}, **settings).velocity(t, as_arrays(theta))
    for n in theta:
        np.testing.assert_allclose(found[n], force[n], rtol=1e-13)
        np.testing.assert_allclose(pushed[f"{n}'"], force[n] - 0.4 * theta[n], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(late[f"{n}'"], force[n] - 3 / t * theta[n], rtol=1e-12, atol=1e-15)
        np.testing.assert_allclose(early[f"{n}'"], force[n] / a / 4, rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(mirror["W1"], theta["W1"] * force["W1"], rtol=1e-13)
    np.testing.assert_allclose(mirror["W2"], force["W2"], rtol=1e-13)


def every_iteration():
    flow = StochasticGradientFlow(ARCH, SAMPLES, ETA)
    return {
        "gradient descent": GradientDescent(ARCH, LOSS, ETA),
        "stochastic": StochasticGradientDescent(ARCH, SAMPLES, ETA, batch_size=2, key=KEY),
        "heavy ball": HeavyBall(ARCH, LOSS, ETA, BETA),
        "Nesterov": Nesterov(ARCH, LOSS, ETA, BETA),
        "mirror": MirrorDescent(ARCH, LOSS, ETA, metric={"W1": "theta"}),
        "midpoint": ImplicitMidpoint(ARCH, LOSS, ETA),
        "Cayley": CayleyDescent(ARCH, LOSS, ETA),
        "Euler-Maruyama": flow.euler_maruyama(0.01, KEY),
    }


@pytest.mark.parametrize("name", every_iteration())
def test_every_start_is_stepped_from(name):
    """Zero is a saddle and stays; a start of 1e-14 grows like the linear flow; 1 is an ordinary start."""
    rule = every_iteration()[name]
    step = eqx.filter_jit(rule.step)
    zero = step(0, rule.initial(as_arrays(start(0.0))))
    assert all(bool(jnp.all(value == 0)) for value in jax.tree.leaves(rule.parameters(zero)))
    for scale in (1e-14, 1.0):
        before = rule.initial(as_arrays(start(scale)))
        after = step(0, before)
        size = max(float(jnp.max(jnp.abs(after[n] - before[n]))) for n in ARCH.shapes)
        assert 1e-3 * scale < size < scale


def test_midpoint_from_a_tiny_start_is_the_linear_step():
    """At 1e-14 the equation is linear: theta+ = (1 - eta/2 A)^-1 (1 + eta/2 A) theta."""
    rule, theta = ImplicitMidpoint(ARCH, LOSS, 0.5), as_arrays(start(1e-14))
    after = rule.step(0, theta)
    n = np.block([[np.zeros((2, 2)), TARGET.T], [TARGET, np.zeros((2, 2))]])
    stack = np.concatenate([theta["W1"].T, theta["W2"]])
    expected = np.linalg.solve(np.eye(4) - 0.25 * n, (np.eye(4) + 0.25 * n) @ stack)
    np.testing.assert_allclose(np.concatenate([after["W1"].T, after["W2"]]), expected, rtol=1e-12)


def test_midpoint_from_zero_where_zero_is_no_saddle():
    """Tiny weights and a target of size one: the step is as large as the bias term makes it."""
    arch = dln.Architecture(lambda p: p["W"] + p["b"], {"W": (2,), "b": (2,)}, name="sum")
    rule = ImplicitMidpoint(arch, lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 1.0)
    for scale in (0.0, 1e-14):
        after = rule.step(0, {"W": scale * jnp.ones(2), "b": jnp.zeros(2)})
        # z' = -2 (z - 1): the midpoint of one step of size one from 0 is 1/2 in z, shared by both.
        np.testing.assert_allclose(after["W"], 0.5, rtol=1e-13)


@pytest.mark.parametrize(
    "name", ["gradient descent", "heavy ball", "Nesterov", pytest.param("midpoint", marks=pytest.mark.slow)]
)
def test_rules_are_made_and_run_under_vmap_and_grad(name):
    make = {
        "gradient descent": lambda eta: GradientDescent(ARCH, LOSS, eta, weight_decay=eta),
        "heavy ball": lambda eta: HeavyBall(ARCH, LOSS, eta, BETA),
        "Nesterov": lambda eta: Nesterov(ARCH, LOSS, eta, eta),
        "midpoint": lambda eta: ImplicitMidpoint(ARCH, LOSS, eta),
    }[name]

    def loss_after(eta):
        rule = make(eta)
        state = rule.step(0, rule.initial(as_arrays(start())))
        return LOSS(rule.output(rule.step(1, state)))

    etas = jnp.array([0.05, 0.1])
    values, slopes = jax.vmap(jax.value_and_grad(loss_after))(etas)
    for eta, value, found in zip(etas, values, slopes, strict=True):
        np.testing.assert_allclose(value, loss_after(float(eta)), rtol=1e-12)
        difference = (loss_after(float(eta) + 1e-5) - loss_after(float(eta) - 1e-5)) / 2e-5
        np.testing.assert_allclose(found, difference, rtol=1e-7)


class TestMinibatches:
    def test_epochs_are_permutations(self):
        rule = StochasticGradientDescent(ARCH, SAMPLES, ETA, batch_size=2, key=KEY)
        epochs = [np.concatenate([rule.rows(k) for k in range(3 * e, 3 * e + 3)]) for e in range(2)]
        assert [sorted(epoch.tolist()) for epoch in epochs] == [list(range(6))] * 2
        assert epochs[0].tolist() != epochs[1].tolist()

    def test_replacement_draws_every_sample(self):
        rule = StochasticGradientDescent(ARCH, SAMPLES, ETA, batch_size=3, key=KEY, replacement=True)
        rows = np.concatenate([rule.rows(k) for k in range(40)])
        assert set(rows.tolist()) == set(range(6))

    def test_a_step_is_that_of_the_minibatch(self):
        rule = StochasticGradientDescent(ARCH, SAMPLES, ETA, batch_size=2, key=KEY)
        rows, theta = np.asarray(rule.rows(1)), start()
        x, y = np.asarray(SAMPLES.inputs)[rows], np.asarray(SAMPLES.targets)[rows]
        g = (theta["W2"] @ theta["W1"] @ x.T - y.T) @ x / 2
        after = rule.step(1, as_arrays(theta))
        np.testing.assert_allclose(after["W1"], theta["W1"] - ETA * theta["W2"].T @ g, rtol=1e-13)

    def test_the_whole_batch_is_gradient_descent(self):
        data = dln.data.Dataset(np.asarray(SAMPLES.inputs), np.asarray(SAMPLES.targets))
        whole = StochasticGradientDescent(ARCH, data, ETA, batch_size=6, key=KEY).step(0, as_arrays(start()))
        plain = GradientDescent(ARCH, data.loss(), ETA).step(0, as_arrays(start()))
        np.testing.assert_allclose(whole["W2"], plain["W2"], rtol=1e-13)

    def test_noise_has_the_covariance_of_minibatches(self):
        """The sum of squares of the columns is eta times the covariance of a minibatch of B with replacement."""
        theta = as_arrays(start())
        columns = StochasticGradientFlow(ARCH, SAMPLES, ETA, batch_size=3).noise(0.0, theta)["W1"]
        each = np.stack(
            [jax.grad(lambda p, i=i: SAMPLES.on(np.array([i]))(ARCH(p)))(theta)["W1"] for i in range(6)]
        )
        covariance = np.mean((each - each.mean(0)) ** 2, axis=0) / 3
        np.testing.assert_allclose(np.sum(columns**2, axis=0), ETA * covariance, rtol=1e-12)

    def test_refusals(self):
        with pytest.raises(
            ValueError, match="`batch_size` must be at most the number of samples, 6, but is 7"
        ):
            StochasticGradientDescent(ARCH, SAMPLES, ETA, batch_size=7, key=KEY)
        for make in (StochasticGradientDescent, StochasticGradientFlow):
            with pytest.raises(ValueError, match="`loss` must be a `SampleLoss`"):
                make(
                    ARCH,
                    LOSS,
                    ETA,
                    batch_size=1,
                    **({"key": KEY} if make is StochasticGradientDescent else {}),
                )
        smooth = StochasticGradientFlow(ARCH, SAMPLES, ETA, stratonovich=True)
        with pytest.raises(NotApplicableError, match="must be False for Euler-Maruyama"):
            smooth.euler_maruyama(0.1, KEY)
        assert isinstance(StochasticGradientFlow(ARCH, SAMPLES, ETA).euler_maruyama(0.1, KEY), EulerMaruyama)


class OwnSteps(AbstractIteration):
    """A rule as one writes it in a notebook: fields and a step, and no law change."""

    architecture: dln.Architecture
    training: Training
    learning_rate: float

    def step(self, k, state):
        velocity = self.training.velocity(self.architecture, state)
        return {name: state[name] + self.learning_rate * jnp.sign(velocity[name]) for name in state}


class OwnFlow(AbstractFlow):
    architecture: dln.Architecture
    training: Training

    def velocity(self, t, state):
        velocity = self.training.velocity(self.architecture, state)
        return {name: jnp.tanh(velocity[name]) for name in state}


def test_an_own_rule_is_one_class_and_has_no_law_change_unless_it_says_so():
    law = dln.conservation_laws(ARCH).laws[0]
    steps, flow = OwnSteps(ARCH, Training(LOSS), 0.01), OwnFlow(ARCH, Training(LOSS))
    assert (steps.label, flow.label) == ("own steps", "own flow")
    assert "own steps of linear 2-3-2" in str(steps)
    for rule in (steps, flow):
        with pytest.raises(
            NotApplicableError, match=f"for {type(rule).__name__} no exact law change is known"
        ):
            law.change(rule)
    with pytest.raises(TypeError, match="must be a training rule with a method `law_change`, but is 0.1"):
        law.change(0.1)
    run = dln.iterate(steps, start(), 20)
    expected = start()
    for _ in range(20):
        g = slope(expected)
        expected = {n: expected[n] - 0.01 * np.sign(g[n]) for n in g}
    np.testing.assert_allclose(run.final["W1"], expected["W1"], rtol=0, atol=1e-14)


def test_settings_that_reductions_do_not_know_are_refused():
    for settings in (
        {"weight_decay": {"W1": 0.1}},
        {"weight_decay": lambda t: 0.1},
        {"schedule": lambda t: 1.0},
        {"weight_decay": 0.1, "rates": {"W1": 2.0}, "decoupled": True},
    ):
        training = Training.of(ARCH, LOSS, **settings)
        with pytest.raises(NotApplicableError, match="must have constant settings for balanced flow"):
            training.require_constant("balanced flow")
        with pytest.raises(NotApplicableError):
            _ = (training.weight_decay, training.rate("W1"))
    assert float(Training(LOSS, weight_decay=0.1).weight_decay) == pytest.approx(0.1)


def test_functions_of_time_are_values():
    """The same function written twice is one: what is compiled for it is compiled once."""
    one, two = (Training(LOSS, schedule=lambda t: jnp.exp(-t)) for _ in range(2))
    other = Training(LOSS, schedule=lambda t: jnp.exp(-2 * t))
    assert jax.tree.structure(one) == jax.tree.structure(two)
    assert jax.tree.structure(one) != jax.tree.structure(other)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf, None, "0.1", 1j])
def test_numbers_are_checked(bad):
    for make in (GradientDescent, ImplicitMidpoint, CayleyDescent):
        with pytest.raises(ValueError, match="`learning_rate` must be a finite positive number"):
            make(ARCH, LOSS, bad)
    if bad != 0.0:
        for make in (lambda: HeavyBall(ARCH, LOSS, 0.1, bad), lambda: MomentumFlow(ARCH, LOSS, friction=bad)):
            with pytest.raises(ValueError, match="`momentum`|`friction`"):
                make()
        with pytest.raises(ValueError, match=r"`weight_decay\['W1'\]` must be a finite number of at least 0"):
            GradientFlow(ARCH, LOSS, weight_decay={"W1": bad})
