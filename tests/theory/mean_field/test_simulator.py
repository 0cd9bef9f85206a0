"""Finite networks: the fast simulator against automatic differentiation of the loss as it is written down."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.theory.mean_field.config import MeanFieldConfig
from dlntheory.theory.mean_field.finite_networks import FiniteProblem, draw_networks
from dlntheory.theory.mean_field.simulation import simulate


def output(weights, x, config, N):
    """f(x) of the docstring of `MeanFieldConfig`, one sample a row."""
    D = x.shape[1]
    field = weights[0] @ x.T / math.sqrt(D)
    for weight in weights[1:-1]:
        inner = weight @ field / math.sqrt(N)
        if config.residual is None:
            field = inner
        else:
            field = field + config.residual / math.sqrt(config.L - 1) * inner
    return math.sqrt(D) / (config.gamma0 * N) * (weights[-1] @ field)


def by_autodiff(config, D, stream):
    """Losses of the same network, trained on gradients of the loss with the raw learning rate."""
    problem = FiniteProblem.of(config, D)
    networks = draw_networks(problem, [stream])
    weights = [jnp.asarray(w[0]) for w in networks.weights]
    assert networks.inputs is not None
    assert networks.noise is not None
    x = jnp.asarray(networks.inputs[0])
    y = x @ jnp.asarray(networks.teacher[0]) / math.sqrt(D) + jnp.asarray(networks.noise[0])
    start = output(weights, x, config, problem.N) if config.centered else jnp.zeros_like(y)
    raw = config.gamma0**2 * problem.N

    def loss(weights):
        error = y - (output(weights, x, config, problem.N) - start)
        return jnp.sum(error**2) / (2 * len(y))

    value_and_gradient = jax.jit(jax.value_and_grad(loss))
    momentum = [jnp.zeros_like(w) for w in weights]
    losses = []
    for rate in config.rates:
        value, gradient = value_and_gradient(weights)
        losses.append(2 * float(value))
        momentum = [
            config.momentum * m - float(rate) * raw * g for m, g in zip(momentum, gradient, strict=True)
        ]
        weights = [
            (1 - float(rate) * config.weight_decay) * w + m for w, m in zip(weights, momentum, strict=True)
        ]
    return np.array(losses)


BASE = {"T": 12, "eta": 0.05, "nu": 1.5, "alpha": 1.25, "sigma": 0.4}
CASES = {
    "one layer": {"L": 1},
    "three layers, unequal starts": {"L": 3, "eta": 0.02, "init_std": (0.7, 0.5, 1.2, 0.9), "gamma0": 1.7},
    "residual, three blocks": {"L": 4, "eta": 0.02, "residual": 1.3},
    "heavy ball": {"L": 2, "eta": 0.02, "momentum": 0.7},
    "weight decay": {"L": 2, "weight_decay": 0.6},
    "centred, schedule, spectrum": {
        "L": 2,
        "gamma0": 0.3,
        "centered": True,
        "eta": tuple(0.05 + 0.002 * t for t in range(12)),
        "lam": (2.0, 0.5),
        "p": (0.25, 0.75),
        "teacher2": (0.5, 1.5),
    },
}


@pytest.mark.parametrize("name", CASES)
def test_simulator_equals_autodiff(name):
    config = MeanFieldConfig(**{**BASE, **CASES[name]})
    stream = np.random.SeedSequence(5).spawn(1)[0]
    expected = by_autodiff(config, 16, stream)
    found = simulate(config, 16, seeds=1, seed=5).train[0]
    assert np.max(np.abs(found - expected)) < 2e-14 * np.max(expected)


def test_the_error_on_noisy_labels_is_the_noise_above_the_other():
    config = MeanFieldConfig(**BASE, L=2)
    found = simulate(config, 16, seeds=2)
    np.testing.assert_allclose(found.test - found.gen, 0.4**2, rtol=1e-14)
    # Labels of a fresh set, noise included, under the weights before training.
    problem = FiniteProblem.of(config, 16)
    networks = draw_networks(problem, np.random.SeedSequence(0).spawn(1))
    rng = np.random.default_rng(1)
    x = rng.standard_normal((100_000, 16))
    y = x @ networks.teacher[0] / 4.0 + 0.4 * rng.standard_normal(100_000)
    error = float(np.mean((y - output([w[0] for w in networks.weights], x, config, problem.N)) ** 2))
    assert found.test[0, 0] == pytest.approx(error, rel=0.03)


def test_chunks_do_not_change_the_networks(monkeypatch):
    config = MeanFieldConfig(**BASE, L=2)
    together = simulate(config, 16, seeds=3)
    monkeypatch.setattr("dlntheory.theory.mean_field.simulation.CHUNK_ENTRIES", 1)
    alone = simulate(config, 16, seeds=3)
    np.testing.assert_allclose(together.gen, alone.gen, rtol=1e-12)
    assert not np.allclose(together.gen[0], together.gen[1])


def test_generalisation_error_is_that_of_fresh_data():
    config = MeanFieldConfig(**{**BASE, "T": 5}, L=2, lam=(3.0, 1.0), p=(0.5, 0.5))
    problem = FiniteProblem.of(config, 16)
    networks = draw_networks(problem, np.random.SeedSequence(0).spawn(1))
    for _ in range(4):
        networks.step(networks.probe(), 0.05)
    fields = networks.probe()
    x = np.random.default_rng(1).standard_normal((200_000, 16)) * np.sqrt(np.repeat([3.0, 1.0], 8))
    values = output([w[0] for w in networks.weights], x, config, problem.N)
    error = float(np.mean((x @ networks.teacher[0] / 4.0 - values) ** 2))
    assert abs(fields.gen[0] / error - 1) < 0.02  # sampling: sqrt(2/200000) = 0.3 percent, and heavier tails


def test_the_batch_decides_what_a_step_sees():
    fixed = MeanFieldConfig(T=30, L=1, eta=0.1, nu=1.0, alpha=0.5)
    onepass = fixed.replace(data="onepass")
    population = fixed.replace(alpha=math.inf)
    part = fixed.replace(batch_fraction=0.5)
    gen = {
        name: simulate(config, 32, seeds=60).mean("gen")[-1]
        for name, config in {"fixed": fixed, "onepass": onepass, "population": population}.items()
    }
    assert gen["population"] < gen["onepass"] < gen["fixed"]
    assert FiniteProblem.of(part, 32).batch == 8
    small = simulate(part, 32, seeds=4)
    assert np.all(small.train[:, 0] == simulate(fixed, 32, seeds=4).train[:, 0]), "the loss of the whole set"
    assert np.all(small.train[:, -1] != simulate(fixed, 32, seeds=4).train[:, -1])


def test_teacher_norm_is_exact_in_every_eigenspace_and_bias_is_unbiased():
    config = MeanFieldConfig(
        T=2, L=1, eta=0.1, nu=1.0, lam=(2.0, 1.0, 0.5), p=(0.25, 0.25, 0.5), teacher2=(1.0, 0.0, 2.0)
    )
    problem = FiniteProblem.of(config, 20)
    networks = draw_networks(problem, np.random.SeedSequence(3).spawn(2))
    for k, expected in enumerate((1.0, 0.0, 2.0)):
        np.testing.assert_allclose(
            np.mean(networks.teacher[:, problem.bins == k] ** 2, axis=1), expected, rtol=1e-14
        )
    run = simulate(config, 20, seeds=400)
    # At t = 0 the network is independent of the teacher: m = 1, and the bias is the whole variance of y.
    assert abs(run.bias[0] - (0.25 * 2 + 0.5 * 0.5 * 2)) < 0.05
    assert run.alignment.shape == (400, 2)
    assert np.all(np.abs(run.alignment) <= 1 + 1e-12)


def test_divergence_is_a_flag():
    run = simulate(MeanFieldConfig(T=40, L=2, eta=2.0, nu=1.0), 16, seeds=3)
    assert np.all(run.diverged)
    assert not np.any(simulate(MeanFieldConfig(T=5, L=2, eta=0.02, nu=1.0), 16, seeds=3).diverged)


@pytest.mark.parametrize(
    ("settings", "D", "words"),
    [
        ({"nu": math.inf}, 16, "`nu` must be finite"),
        ({"nu": 0.01}, 16, "nu = 0.01 leaves something, but is 16"),
        ({"alpha": 0.01}, 16, "alpha = 0.01 leaves something"),
        ({"alpha": 1.0, "batch_fraction": 0.01}, 16, "batch_fraction = 0.01 leaves something"),
        ({"lam": tuple(range(1, 20))}, 16, "every eigenvalue"),
        ({}, 0, "`D` must be a positive integer"),
    ],
)
def test_sizes_that_do_not_exist_are_refused(settings, D, words):
    config = MeanFieldConfig(**{"T": 3, "L": 1, "eta": 0.1, "nu": 1.0, **settings})
    with pytest.raises(ValueError, match=words):
        simulate(config, D, seeds=1)


def test_one_seed_has_no_standard_error():
    run = simulate(MeanFieldConfig(T=3, L=1, eta=0.1, nu=1.0), 16, seeds=1)
    with pytest.raises(ValueError, match="at least 2 seeds"):
        run.standard_error("gen")
