"""Imbalances against NumPy, their conservation without an integrator, and how a `Balance` prints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.initial import gaussian, lambda_balanced
from dlntheory.laws import balance, imbalances
from dlntheory.losses import SquaredLoss

ARCH = linear_network((3, 2, 3, 3))
KEY = jax.random.key(11)
RATES = {"W1": 0.5, "W3": np.asarray(4.0)}


@pytest.fixture(scope="module")
def theta():
    return gaussian(ARCH, KEY)


def test_imbalances_by_numpy(theta):
    w1, w2, w3 = (np.asarray(w) for w in theta.values())
    for found, expected in zip(
        imbalances(ARCH, theta), (w2.T @ w2 - w1 @ w1.T, w3.T @ w3 - w2 @ w2.T), strict=True
    ):
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-14)
    expected = (w2.T @ w2 - w1 @ w1.T / 0.5, w3.T @ w3 / 4 - w2 @ w2.T)
    for found, wanted in zip(imbalances(ARCH, theta, RATES), expected, strict=True):
        np.testing.assert_allclose(found, wanted, rtol=0, atol=1e-14)


@pytest.mark.parametrize("rates", [None, RATES])
def test_time_derivative_along_the_flow_vanishes(theta, rates):
    loss = SquaredLoss.from_target(np.cos(np.arange(9.0)).reshape(3, 3))
    gradient = jax.grad(lambda params: loss(ARCH(params)))(theta)
    velocity = {name: -float((rates or {}).get(name, 1.0)) * g for name, g in gradient.items()}
    size = max(float(jnp.max(jnp.abs(v))) for v in velocity.values())

    def derivative(with_rates):
        return jax.jvp(lambda params: imbalances(ARCH, params, with_rates), (theta,), (velocity,))[1]

    assert max(float(jnp.max(jnp.abs(d))) for d in derivative(rates)) < 2e-14 * size
    if rates:
        assert max(float(jnp.max(jnp.abs(d))) for d in derivative(None)) > 0.1 * size


def test_pure_under_jit_and_vmap(theta):
    stack = jax.tree.map(lambda w: jnp.stack([w, 2.0 * w]), theta)
    for one, many in zip(
        imbalances(ARCH, theta), jax.vmap(lambda p: imbalances(ARCH, p))(stack), strict=True
    ):
        np.testing.assert_allclose(many[1], 4 * one, rtol=1e-13, atol=1e-13)
    for a, b in zip(imbalances(ARCH, theta), jax.jit(lambda p: imbalances(ARCH, p))(theta), strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=1e-14)


def test_balance_of_a_lambda_balanced_start_and_of_a_perturbed_one():
    arch = linear_network((3, 2, 3))
    params = lambda_balanced(arch, KEY, 0.5)
    found = balance(arch, params)
    assert found.lambdas[0] == pytest.approx(0.5, rel=1e-13)
    assert found.norms[0] == pytest.approx(0.5 * np.sqrt(2), rel=1e-13)
    assert found.off_lambda_balance < 1e-15
    assert found.scale == pytest.approx(max(np.sum(np.asarray(w) ** 2) for w in params.values()), rel=1e-14)
    assert found.off_balance == pytest.approx(0.5 * np.sqrt(2) / found.scale, rel=1e-13)
    w2 = np.array(params["W2"])
    moved = balance(arch, params | {"W2": w2 + 1e-4 * np.cos(np.arange(6.0)).reshape(3, 2)})
    assert 1e-6 < moved.off_lambda_balance < 1e-3
    d = np.asarray(imbalances(arch, {"W1": params["W1"], "W2": jnp.asarray(w2 + 0.1)})[0])
    shifted = balance(arch, {"W1": params["W1"], "W2": w2 + 0.1})
    # tr D / n is the nearest multiple of the identity: no other is nearer.
    assert shifted.deviations[0] == pytest.approx(
        min(
            np.linalg.norm(d - (shifted.lambdas[0] + step) * np.eye(2))
            for step in np.linspace(-0.5, 0.5, 101)
        ),
        rel=1e-12,
    )


def test_balance_with_rates_is_balance_of_the_rescaled_layers(theta):
    rescaled = {name: w / np.sqrt(float(RATES.get(name, 1.0))) for name, w in theta.items()}
    with_rates, plain = balance(ARCH, theta, RATES), balance(ARCH, rescaled)
    for field in ("lambdas", "norms", "deviations", "scale"):
        np.testing.assert_allclose(getattr(with_rates, field), getattr(plain, field), rtol=1e-12)


def test_balance_prints_a_table():
    found = balance(linear_network((2, 1, 1)), {"W1": [[1.0, 2.0]], "W2": [[3.0]]})
    assert repr(found) == (
        "Balance(linear 2-1-1: lambda = (4), off balance by 4.4e-01, off lambda-balance by 0.0e+00)"
    )
    assert str(found).splitlines() == [
        "Balance of linear 2-1-1",
        "layer  width  lambda       |D|  |D - lambda I|",
        "─────  ─────  ──────  ────────  ──────────────",
        "    1      1       4  4.00e+00        0.00e+00",
        "off balance by 4.4e-01, off lambda-balance by 0.0e+00, relative to max |W_l|^2/e_l = 9",
    ]


def test_one_layer_and_zero_weights_are_balanced():
    assert balance(linear_network((2, 2)), {"W1": np.eye(2)}).off_balance == 0.0
    zero = balance(linear_network((2, 2, 2)), {"W1": np.zeros((2, 2)), "W2": np.zeros((2, 2))})
    assert (zero.off_balance, zero.off_lambda_balance) == (0.0, 0.0)


def test_refusals(theta):
    plain = Architecture(lambda p: p["U"] + p["V"], {"U": (2, 2), "V": (2, 2)}, name="no chain")
    for verb in (imbalances, balance):
        with pytest.raises(
            ValueError, match=rf"`{verb.__name__}` must be a chain .* but no chain declares no"
        ):
            verb(plain, {})
        with pytest.raises(ValueError, match=r"`rates` must name factors .* but has \['W7'\]"):
            verb(ARCH, theta, {"W7": 2.0})
    with pytest.raises(ValueError, match=r"`rates\['W1'\]` must be a finite positive number, but is 0"):
        balance(ARCH, theta, {"W1": 0.0})
    with pytest.raises(
        ValueError, match=r"`params\['W1'\]` must have shape \(2, 3\), but has shape \(3, 4\)"
    ):
        balance(ARCH, theta | {"W1": np.ones((3, 4))})
