"""`MixedBalancedFlow` and `TwoLayerScalarFlow`: against the full flow, the metric by `eigh`, signatures, refusals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh
from systems.velocities import scipy_run

import dlntheory as dln
from dlntheory.initial import mixed_balanced
from dlntheory.reductions.chain.mixed import MixedBalancedFlow, signature
from dlntheory.reductions.chain.two_layer_scalar import TwoLayerScalarFlow


def problem(widths):
    arch = dln.linear_network(widths)
    return arch, *log_cosh(1.5 * np.random.default_rng(3).standard_normal(arch.output_shape))


def reference_of(arch, theta0, gradient, ts, rates=None):
    return chain_flow([np.asarray(theta0[n]) for n in arch.chain], gradient, ts, rates=rates)[0]


def error(left, right):
    return np.max(np.abs(left - right)) / np.max(np.abs(right))


@pytest.mark.parametrize(
    "widths",
    [
        (2, 5, 3),
        pytest.param((3, 7, 2), marks=pytest.mark.slow),  # two dead neurons
        pytest.param((2, 4, 2), marks=pytest.mark.slow),
    ],
)
def test_mixed_signature_reduced_equals_full(widths):
    arch, loss, gradient = problem(widths)
    theta0 = mixed_balanced(arch, jax.random.key(0), 0.9, 0.4)
    flow = MixedBalancedFlow.from_start(arch, theta0, loss)
    assert float(flow.kappa) == pytest.approx(0.65, rel=1e-13)
    ts = np.linspace(0.0, 2.0, 5)
    assert error(scipy_run(flow, theta0, ts), reference_of(arch, theta0, gradient, ts)) < 1e-10


@pytest.mark.slow
def test_one_sign_alone_agrees_with_the_relaxed_flow_and_rates_rescale():
    arch, loss, gradient = problem((2, 3, 3))
    rates = {"W1": 2.0, "W2": 0.3}
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), 0.7)
    theta0 = {name: np.sqrt(rates[name]) * np.asarray(w) for name, w in theta0.items()}
    flow = MixedBalancedFlow.from_start(arch, theta0, loss, rates=rates)
    assert float(flow.kappa) == pytest.approx(0.35, rel=1e-13)
    ts = np.linspace(0.0, 2.0, 5)
    assert error(scipy_run(flow, theta0, ts), reference_of(arch, theta0, gradient, ts, [2.0, 0.3])) < 2e-11
    bound = MixedBalancedFlow(arch, kappa=0.35).bind(dln.GradientFlow(arch, loss, rates=rates).training)
    assert bound.condition(theta0).holds
    assert not MixedBalancedFlow(arch, loss, kappa=0.35).condition(theta0).holds


@pytest.mark.parametrize("shape", [(2, 3), (3, 2)])
def test_the_metric_by_eigenvalues(shape):
    rng = np.random.default_rng(0)
    z, g = rng.standard_normal(shape), rng.standard_normal(shape)
    arch = dln.linear_network((shape[1], 5, shape[0]))
    flow = MixedBalancedFlow(arch, lambda x: jnp.sum(jnp.asarray(g) * x), kappa=0.65)

    def root(matrix):
        values, vectors = np.linalg.eigh(0.65**2 * np.eye(len(matrix)) + matrix)
        return (vectors * np.sqrt(values)) @ vectors.T

    expected = -(root(z @ z.T) @ g + g @ root(z.T @ z))
    np.testing.assert_allclose(flow.velocity(0.0, {"z": jnp.asarray(z)})["z"], expected, atol=1e-13)


def test_the_metric_of_weights_on_the_level_set_and_off_it():
    # W_2 W_2^T = (λ - μ)/2 I + (κ^2 I + z z^T)^{1/2}, the shift cancels in the sum.
    theta0 = mixed_balanced(dln.linear_network((2, 5, 3)), jax.random.key(3), 0.9, 0.4)
    w1, w2 = (np.asarray(theta0[name]) for name in ("W1", "W2"))
    z = w2 @ w1
    left, right = (w @ w.T - shift * np.eye(len(w)) for w, shift in ((w2, 0.25), (w1.T, -0.25)))
    np.testing.assert_allclose(left @ left, 0.65**2 * np.eye(3) + z @ z.T, atol=1e-13)
    np.testing.assert_allclose(right @ right, 0.65**2 * np.eye(2) + z.T @ z, atol=1e-13)


def test_signatures_that_are_refused_are_off_by_the_distance_reported():
    arch, loss, gradient = problem((2, 5, 3))
    theta0 = mixed_balanced(arch, jax.random.key(0), 0.9, 0.4)
    w2 = np.asarray(theta0["W2"])
    shifted = {**theta0, "W2": w2 * (1 + 1e-3 * np.arange(5))}
    with pytest.raises(dln.ConditionError, match=r"(?s)GramFlow.*eigenvalues of S ") as caught:
        MixedBalancedFlow.from_start(arch, shifted)
    shifted_s = (
        np.asarray(shifted["W2"]).T @ np.asarray(shifted["W2"])
        - np.asarray(theta0["W1"]) @ np.asarray(theta0["W1"]).T
    )
    assert caught.value.measured == pytest.approx(signature(shifted_s, 3, 2).distance, rel=1e-9)
    ts = np.linspace(0.0, 2.0, 5)
    flow = MixedBalancedFlow(arch, loss, kappa=0.65)
    gap = np.max(
        np.abs(scipy_run(flow, shifted, ts, check=False) - reference_of(arch, shifted, gradient, ts))
    )
    assert caught.value.expected_error / 10 < gap < 10 * caught.value.expected_error
    with pytest.raises(dln.ConditionError, match="with kappa = 0.7"):
        MixedBalancedFlow(arch, loss, kappa=0.7).check_start(theta0)
    balanced = dln.balanced(arch, jax.random.key(1))
    with pytest.raises(dln.ConditionError, match="S = 0 is `BalancedFlow`"):
        MixedBalancedFlow.from_start(arch, balanced)
    narrow = dln.linear_network((3, 2, 3))
    with pytest.raises(dln.ConditionError, match="hidden width must be at least 3 for it, and is 2"):
        MixedBalancedFlow.from_start(narrow, dln.lambda_balanced(narrow, jax.random.key(1), 0.7))


def test_the_signature_is_the_nearest_of_the_three():
    diagonal = np.diag([0.9, 0.9, 0.0, -0.4])
    assert signature(diagonal, 2, 1)[:2] == pytest.approx((0.9, 0.4))
    assert signature(diagonal, 2, 1).distance < 1e-15
    assert signature(np.diag([0.9, 0.9, 0.0]), 2, 1).distance < 1e-15
    # p = n with 0 < q < m is no level set of this metric.
    assert signature(np.diag([0.9, 0.9, 0.0, -0.4]), 2, 2).distance == pytest.approx(0.4 / np.sqrt(2))
    assert signature(-np.eye(3), 2, 3) == pytest.approx((0.0, 1.0, 0.0))


def test_scalar_identity_is_exact_in_integers():
    for u, v in itertools.product(
        itertools.product((-2, 0, 3), repeat=2), itertools.product((1, -1, 4), repeat=2)
    ):
        s = np.outer(u, u) - np.outer(v, v)
        z = int(np.dot(u, v))
        assert 2 * np.trace(s @ s) - np.trace(s) ** 2 + 4 * z**2 == (np.dot(u, u) + np.dot(v, v)) ** 2


def test_scalar_flow_from_any_start():
    arch, loss, gradient = problem((1, 4, 1))
    theta0 = dln.gaussian(arch, jax.random.key(3))
    w1, w2 = (np.asarray(theta0[name]) for name in ("W1", "W2"))
    s = w2.T @ w2 - w1 @ w1.T
    flow = TwoLayerScalarFlow.from_start(arch, theta0, loss)
    assert float(flow.level) == pytest.approx(2 * np.trace(s @ s) - np.trace(s) ** 2, rel=1e-12)
    ts = np.linspace(0.0, 2.0, 5)
    assert error(scipy_run(flow, theta0, ts), reference_of(arch, theta0, gradient, ts)) < 1e-10
    rates = {"W1": 2.0, "W2": 0.3}
    faster = TwoLayerScalarFlow.from_start(arch, theta0, loss, rates=rates)
    expected = reference_of(arch, theta0, gradient, ts, [2.0, 0.3])
    assert error(scipy_run(faster, theta0, ts), expected) < 2e-11
    with pytest.raises(dln.ConditionError, match=r"off by 0\.01 .*TwoLayerScalarFlow\.from_start"):
        TwoLayerScalarFlow(arch, loss, level=float(flow.level) + 0.01).check_start(theta0)


@pytest.mark.slow
def test_scalar_flow_at_level_zero_has_a_derivative():
    arch, loss, _ = problem((1, 4, 1))
    zero = TwoLayerScalarFlow(arch, loss, level=0.0)
    field = jax.jacfwd(lambda z: zero.velocity(0.0, {"z": z})["z"])
    assert np.all(np.isfinite(field(jnp.zeros((1, 1)))))


ARCH = dln.linear_network((2, 5, 3))
REFUSALS = [
    (lambda: MixedBalancedFlow(ARCH, kappa=0.0), "`kappa` must be a finite positive"),
    (lambda: MixedBalancedFlow(ARCH, kappa=1.0, rates={"W1": 2.0}), "`rates` must be left out"),
    (lambda: MixedBalancedFlow(dln.linear_network((2, 2, 2, 2)), kappa=1.0), "exactly 2 layers"),
    (
        lambda: MixedBalancedFlow(ARCH, kappa=1.0).bind(
            dln.GradientFlow(ARCH, lambda z: jnp.sum(z), weight_decay=0.1, rates={"W1": 2.0}).training
        ),
        "`weight_decay` must be 0 with unequal `rates` for the mixed",
    ),
    (lambda: TwoLayerScalarFlow(ARCH, level=1.0), "one input and one output .* has 2 and 3"),
    (lambda: TwoLayerScalarFlow(dln.linear_network((1, 2, 1)), level=-1.0), "`level` must be"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_they_print_their_equations():
    assert "kappa = 0.5" in str(MixedBalancedFlow(ARCH, kappa=0.5))
    assert "derived here" in str(TwoLayerScalarFlow(dln.linear_network((1, 2, 1)), level=2.0))
    assert r"C = 2" in TwoLayerScalarFlow(dln.linear_network((1, 2, 1)), level=2.0)._repr_latex_()


def test_wide_gaussian_layers_are_near_a_level_set_and_the_error_is_said():
    expected = []
    for width in (100, 1600):
        arch = dln.linear_network((3, width, 2))
        theta0 = dln.gaussian(arch, jax.random.key(0), scale=width**-0.5)
        with pytest.raises(dln.ConditionError, match="wide=True"):
            MixedBalancedFlow.from_start(arch, theta0)
        flow = MixedBalancedFlow.from_start(arch, theta0, wide=True)
        condition = flow.condition(arch.check(theta0))
        assert condition.holds
        assert "order w^(-1/2)" in flow.exactness
        expected.append(condition.expected_error)
    assert 2.0 < expected[0] / expected[1] < 8.0, "sixteen times the width, a quarter of the error"
    narrow = dln.linear_network((3, 6, 2))
    with pytest.raises(dln.ConditionError):
        MixedBalancedFlow.from_start(narrow, dln.balanced(narrow, jax.random.key(0)), wide=True)
