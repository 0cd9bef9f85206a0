"""Losses against naive sums over samples, difference quotients, SciPy, and their own error messages."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from hypothesis import given, settings, strategies as st

import dlntheory.losses as losses
from dlntheory._errors import PrecisionError
from dlntheory.losses import (
    CrossEntropyLoss,
    ExponentialLoss,
    LogisticLoss,
    MatrixCompletionLoss,
    SquaredLoss,
)

N, D, K = 17, 5, 3


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)
    x = rng.standard_normal((N, D)) * np.array([1.0, 3.0, 0.5, 1.0, 2.0]) + 0.7
    return x, rng.standard_normal((N, K)), rng.standard_normal((K, D)), np.sign(rng.standard_normal(N))


def naive_squared(x, y, z, reduction="mean"):
    value, gradient = 0.0, np.zeros_like(z)
    for xi, yi in zip(x, y, strict=True):
        residual = z @ xi - yi
        value += 0.5 * residual @ residual
        gradient += np.outer(residual, xi)
    factor = 1 / len(x) if reduction == "mean" else 1.0
    return factor * value, factor * gradient


def inverse_root(matrix):
    values, vectors = np.linalg.eigh(matrix)
    return vectors @ np.diag(values**-0.5) @ vectors.T


def relative(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(np.asarray(b))))


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_squared_value_and_gradient_equal_the_sum_over_samples(data, reduction):
    x, y, z, _ = data
    value, gradient = jax.value_and_grad(SquaredLoss(x, y, reduction=reduction))(jnp.asarray(z))
    expected, expected_gradient = naive_squared(x, y, z, reduction)
    assert relative(value, expected) < 1e-13
    assert relative(gradient, expected_gradient) < 1e-13


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_squared_whitened_equals_the_sum_over_explicitly_whitened_samples(data, reduction):
    x, y, z, _ = data
    white = x @ inverse_root(x.T @ x / N)
    loss = SquaredLoss(x, y, reduction=reduction, whitened=True)
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(z))
    expected, expected_gradient = naive_squared(white, y, z, reduction)
    assert relative(value, expected) < 1e-13
    assert relative(gradient, expected_gradient) < 1e-13
    factor = 1.0 if reduction == "mean" else N
    assert relative(loss.correlation, factor * (y.T @ x / N) @ inverse_root(x.T @ x / N)) < 1e-13
    np.testing.assert_array_equal(loss.input_covariance, factor * np.eye(D))
    assert relative(loss.minimiser(), loss.correlation / factor) < 1e-14


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 12), st.integers(1, 5), st.integers(0, 10**6), st.floats(1e-6, 1e6))
def test_moments_determine_the_loss_in_any_shape_and_scale(n, d, seed, scale):
    rng = np.random.default_rng(seed)
    x, y = scale * rng.standard_normal((n, d)), rng.standard_normal((n, 2))
    loss = SquaredLoss(x, y)
    assert relative(loss.input_covariance, x.T @ x / n) < 1e-13
    correlation = y.T @ x / n
    size = np.linalg.norm(y) * np.linalg.norm(x) / n
    assert np.max(np.abs(np.asarray(loss.correlation) - correlation)) < 1e-14 * (size + 1e-300) * 10


@pytest.mark.parametrize("samples", [1, 3, N])
def test_fewer_samples_than_columns(data, samples):
    x, y, z, _ = data
    value, gradient = jax.value_and_grad(SquaredLoss(x[:samples], y[:samples]))(jnp.asarray(z))
    expected, expected_gradient = naive_squared(x[:samples], y[:samples], z)
    assert relative(value, expected) < 1e-13
    assert relative(gradient, expected_gradient) < 1e-13


def test_squared_minimiser_is_the_least_norm_solution_of_scipy(data):
    x, y, _, _ = data
    deficient = np.concatenate([x[:, :3], x[:, :2] @ np.array([[1.0], [2.0]]), np.zeros((N, 1))], axis=1)
    for inputs, targets in ((x, y), (deficient, y), (x[:3], y[:3]), (x, y[:, :1])):
        loss = SquaredLoss(inputs, targets)
        solution, *_ = scipy.linalg.lstsq(inputs, targets)
        assert relative(loss.minimiser(), solution.T) < 1e-12
        expected, _ = naive_squared(inputs, targets, solution.T)
        assert abs(float(loss.minimum) - expected) < 1e-13 * (1 + expected)
    assert float(SquaredLoss(deficient, y).minimum) > 0.1


def test_no_cancellation_near_zero_loss(data):
    x, _, z, _ = data
    loss = SquaredLoss(x, x @ z.T)
    error = 1e-9 * np.ones((K, D))
    expected = 0.5 * np.mean(np.sum((x @ error.T) ** 2, axis=1))
    # tr Syy - 2 tr z Sxy + tr z Sxx zᵀ would leave an error of about 1e-15, all of it or more.
    assert abs(float(loss(jnp.asarray(z + error))) / expected - 1) < 1e-5
    assert 0 <= float(loss.minimum) < 1e-28


def test_one_output_takes_vectors(data):
    x, y, z, labels = data
    column, vector = SquaredLoss(x, y[:, :1]), SquaredLoss(x, y[:, 0])
    assert float(column(jnp.asarray(z[:1]))) == float(vector(jnp.asarray(z[0])))
    assert jax.grad(vector)(jnp.asarray(z[0])).shape == (D,)
    logistic = LogisticLoss(x, labels[:, None])
    assert float(logistic(jnp.asarray(z[:1]))) == float(logistic(jnp.asarray(z[0])))


def test_from_target_is_exact(data):
    s, z = data[2], data[2][::-1] + 0.25
    loss = SquaredLoss.from_target(s)
    np.testing.assert_array_equal(loss.minimiser(), s)
    np.testing.assert_array_equal(loss.correlation, s)
    np.testing.assert_array_equal(loss.input_covariance, np.eye(D))
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(z)), z - s, rtol=0, atol=1e-15)
    assert float(loss(jnp.asarray(z))) == pytest.approx(0.5 * np.sum((z - s) ** 2), rel=1e-14)
    assert float(loss.minimum) == 0.0
    assert SquaredLoss.from_target(s[0])(jnp.asarray(s[0])) == 0.0


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_losses_of_margins(data, reduction):
    x, _, z, labels = data
    margins = labels * (x @ z[0])
    total = np.mean if reduction == "mean" else np.sum
    for make, value, slope in (
        (LogisticLoss, np.log1p(np.exp(-margins)), -1 / (1 + np.exp(margins))),
        (ExponentialLoss, np.exp(-margins), -np.exp(-margins)),
    ):
        loss = make(x, labels, reduction=reduction)
        found, gradient = jax.value_and_grad(loss)(jnp.asarray(z[0]))
        assert relative(found, total(value)) < 1e-13
        assert relative(gradient, total((slope * labels)[:, None] * x, axis=0)) < 1e-13
        assert relative(loss.margins(jnp.asarray(z[0])), margins) < 1e-14


def test_logistic_is_stable_far_out():
    loss = LogisticLoss([[1.0], [1.0]], [1, -1])
    value, gradient = jax.value_and_grad(loss)(jnp.array([2000.0]))
    assert (float(value), gradient.tolist()) == (1000.0, [0.5])


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_cross_entropy_against_a_loop_and_a_difference_quotient(data, reduction):
    x, _, z, _ = data
    classes = np.arange(N) % K
    loss = CrossEntropyLoss(x, classes, reduction=reduction)
    terms = [-np.log(np.exp(z @ xi)[c] / np.sum(np.exp(z @ xi))) for xi, c in zip(x, classes, strict=True)]
    assert relative(loss(jnp.asarray(z)), getattr(np, reduction)(terms)) < 1e-13
    assert float(CrossEntropyLoss(x, np.eye(K)[classes], reduction=reduction)(jnp.asarray(z))) == float(
        loss(jnp.asarray(z))
    )
    direction = np.cos(np.arange(K * D)).reshape(K, D)
    value = eqx.filter_jit(loss)
    quotient = (value(jnp.asarray(z + 1e-5 * direction)) - value(jnp.asarray(z - 1e-5 * direction))) / 2e-5
    assert relative(jnp.sum(jax.grad(loss)(jnp.asarray(z)) * direction), quotient) < 1e-8
    assert np.all(np.isfinite(jax.grad(loss)(jnp.asarray(1e4 * z))))
    assert loss.conventions.startswith(f"f(z) = {reduction} over n = {N} samples of -log softmax")


def test_two_class_cross_entropy_is_logistic(data):
    x, _, z, labels = data
    cross = CrossEntropyLoss(x, (labels > 0).astype(int))(jnp.asarray(np.stack([0 * z[0], z[0]])))
    assert relative(cross, LogisticLoss(x, labels)(jnp.asarray(z[0]))) < 1e-14


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_matrix_completion(data, reduction):
    _, y, _, _ = data
    mask = np.random.default_rng(1).random(y.shape) < 0.4
    target = np.where(mask, y, np.nan)
    z = np.linspace(-1, 1, y.size).reshape(y.shape)
    value, gradient = jax.value_and_grad(MatrixCompletionLoss(target, mask, reduction=reduction))(
        jnp.asarray(z)
    )
    factor = 1.0 if reduction == "sum" else 1 / mask.sum()
    expected = factor * 0.5 * sum((z[i, j] - y[i, j]) ** 2 for i, j in zip(*np.nonzero(mask), strict=True))
    assert relative(value, expected) < 1e-14
    np.testing.assert_allclose(gradient, factor * np.where(mask, z - y, 0.0), rtol=1e-14)


def all_losses(x, y, labels):
    mask = np.ones(y.shape, dtype=bool)
    return [
        SquaredLoss(x, y),
        SquaredLoss(x, y, whitened=True, reduction="sum"),
        SquaredLoss.from_target(y),
        LogisticLoss(x, labels),
        ExponentialLoss(x, labels),
        CrossEntropyLoss(x, np.arange(len(x)) % K),
        MatrixCompletionLoss(y, mask),
    ]


def test_equal_data_gives_equal_structure_and_no_second_compilation(data):
    x, y, _, labels = data
    shapes = [(K, D), (K, D), y.shape, (D,), (D,), (K, D), y.shape]

    @jax.jit
    @eqx.debug.assert_max_traces(max_traces=len(shapes))
    def value(loss, point):
        return loss(point)

    for first, second, other, shape in zip(
        all_losses(x, y, labels),
        all_losses(x.copy(), y.copy(), labels.copy()),
        all_losses(x + 1, y - 1, -labels),
        shapes,
        strict=True,
    ):
        assert jax.tree.structure(first) == jax.tree.structure(second)
        hash(jax.tree.structure(first))
        for leaf in jax.tree.leaves(first):
            assert leaf.dtype in (jnp.float64, bool)
            assert not leaf.weak_type
        point = jnp.cos(jnp.arange(1.0, 1.0 + math.prod(shape))).reshape(shape)
        assert float(value(first, point)) == float(value(second, point))
        assert float(value(other, point)) != float(value(first, point))


def test_squared_loss_of_more_samples_has_the_same_shapes_and_can_be_stacked(data):
    x, y, z, _ = data
    few, many = SquaredLoss(x[:4], y[:4]), SquaredLoss(x, y)
    assert jax.tree.map(jnp.shape, few) == jax.tree.map(jnp.shape, many)
    stack = jax.tree.map(lambda *leaves: jnp.stack(leaves), few, many)
    values = jax.vmap(lambda loss: loss(jnp.asarray(z)))(stack)
    np.testing.assert_allclose(values, [few(jnp.asarray(z)), many(jnp.asarray(z))], rtol=1e-14)
    assert stack.conventions == f"f(z) = 1/2 * mean over n = 4..{N} samples of |z x - y|^2"


def test_conventions_name_every_factor(data):
    x, y, _, labels = data
    found = [loss.conventions for loss in all_losses(x, y, labels)]
    assert found == [
        "f(z) = 1/2 * mean over n = 17 samples of |z x - y|^2",
        "f(z) = 1/2 * sum over n = 17 samples of |z x - y|^2, inputs whitened",
        "f(z) = 1/2 * |z - S|^2, target S as given (whitened inputs)",
        "f(z) = mean over n = 17 samples of log(1 + exp(-y z x))",
        "f(z) = mean over n = 17 samples of exp(-y z x)",
        "f(z) = mean over n = 17 samples of -log softmax(z x)_class, 3 classes",
        "f(z) = 1/2 * sum over 51 of 51 observed entries of (z_ij - y_ij)^2",
    ]


X, Y, NAN = np.arange(6.0).reshape(3, 2), np.ones((3, 1)), float("nan")
REFUSALS = [
    (lambda: SquaredLoss(X, Y[:2]), r"`targets` must have one row per row of `inputs` \(3\), but has 2"),
    (lambda: SquaredLoss(X[0], Y), r"`inputs` must have shape \(samples, columns\), but has shape \(2,\)"),
    (lambda: SquaredLoss(X, Y[None]), r"`targets` must have shape \(samples, columns\) or \(samples,\)"),
    (lambda: SquaredLoss(X[:0], Y[:0]), r"`inputs` must have entries, but has shape \(0, 2\)"),
    (lambda: SquaredLoss(X * NAN, Y), r"`inputs` must be finite, but 6 of 6 entries are not"),
    (lambda: SquaredLoss(X, Y * np.inf), r"`targets` must be finite, but 3 of 3"),
    (
        lambda: SquaredLoss(X * 1j, Y),
        r"`inputs` must be an array of real numbers, but is an array of dtype complex128",
    ),
    (lambda: SquaredLoss(X, Y, reduction="average"), r'must be "mean" or "sum", but is \'average\''),
    (lambda: SquaredLoss(X[:, [0, 0]], Y, whitened=True), r"full rank 2 to be whitened, but its rank is 1"),
    (lambda: SquaredLoss(X[:1], Y[:1], whitened=True), r"rank is 1 \(condition number inf, 1 samples\)"),
    (lambda: SquaredLoss(0 * X, Y, whitened=True), r"full rank 2 to be whitened, but its rank is 0"),
    (lambda: SquaredLoss(X, Y)(jnp.ones((2, 2))), r"must have shape \(1, 2\) or \(2,\) .*shape \(2, 2\)"),
    (lambda: SquaredLoss(X, X)(jnp.ones(2)), r"must have shape \(2, 2\) \(outputs, inputs\)"),
    (lambda: SquaredLoss.from_target(np.ones((1, 1, 1))), r"`target` must have shape \(outputs, inputs\)"),
    (lambda: LogisticLoss(X, [0, 1, 2]), r"`labels` must be -1 or 1, but 2 of 3 are not: 0, 2\."),
    (lambda: ExponentialLoss(X, [1, 1]), r"`labels` must have one row per row of `inputs` \(3\), but has 2"),
    (lambda: LogisticLoss(X, X), r"`labels` must have shape \(samples,\), but has shape \(3, 2\)"),
    (lambda: LogisticLoss(X, [1, 1, -1])(jnp.ones((2, 2))), r"LogisticLoss must have shape \(1, 2\)"),
    (lambda: CrossEntropyLoss(X, [0, 1, 0.5]), r"integers of at least 0, but contains 0\.5"),
    (lambda: CrossEntropyLoss(X, [0, 1, -1]), r"integers of at least 0, but contains -1"),
    (lambda: CrossEntropyLoss(X, [0, 1, 2], classes=2), r"above the largest label \(2\), but is 2"),
    (lambda: CrossEntropyLoss(X, [[1, 0], [1, 1], [0, 1]]), r"one-hot rows, but 1 of 3 rows are not"),
    (lambda: CrossEntropyLoss(X, np.eye(3), classes=4), r"number of columns of `labels` \(3\), but is 4"),
    (lambda: CrossEntropyLoss(X, np.eye(3)[None]), r"\(samples, classes\), but has shape \(1, 3, 3\)"),
    (lambda: MatrixCompletionLoss(X, X), r"`mask` must be booleans, or 0 and 1, but 4 of 6"),
    (lambda: MatrixCompletionLoss(X, X < -1), r"`mask` must observe an entry, but all 6 are false"),
    (lambda: MatrixCompletionLoss(X, X[0] > 0), r"shape of `target`, \(3, 2\), but has shape \(2,\)"),
    (lambda: MatrixCompletionLoss(X * NAN, X > 0), r"finite where observed, but 5 of 5 observed"),
    (lambda: MatrixCompletionLoss(X, X > 0)(jnp.ones(2)), r"must have shape \(3, 2\), but has shape \(2,\)"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_refusals_name_the_argument_the_rule_and_the_value(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_near_deficient_inputs_can_be_whitened():
    x = np.array([[1.0, 0.0], [0.0, 1e-9], [0.0, 0.0]])
    s = SquaredLoss(x, [1.0, 2.0, 3.0], whitened=True).correlation
    np.testing.assert_allclose(s, np.array([[1.0, 2.0]]) / np.sqrt(3), rtol=1e-14)


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        for call in (
            lambda: SquaredLoss(X, Y),
            lambda: SquaredLoss.from_target(X),
            lambda: LogisticLoss(X, [1, 1, 1]),
            lambda: ExponentialLoss(X, [1, 1, 1]),
            lambda: CrossEntropyLoss(X, [0, 1, 1]),
            lambda: MatrixCompletionLoss(X, X > 0),
        ):
            with pytest.raises(PrecisionError, match="needs float64"):
                call()
    finally:
        jax.config.update("jax_enable_x64", True)


def test_every_loss_is_final_and_documented():
    for name in dir(losses):
        member = getattr(losses, name)
        if isinstance(member, type) and name != "AbstractLoss":
            assert member.__bases__ == (losses.AbstractLoss,)
            assert "Example:" in (member.__doc__ or "")


def test_masks_of_zeros_and_ones():
    mask = np.array([[1.0, 0.0], [0.0, 1.0]])
    loss = MatrixCompletionLoss([[1.0, np.nan], [np.nan, 2.0]], mask)
    np.testing.assert_allclose(loss(jnp.zeros((2, 2))), 2.5, rtol=1e-15)
    with pytest.raises(ValueError, match="mask"):
        MatrixCompletionLoss(np.ma.masked_array(np.ones((2, 2)), mask=mask == 0), mask)
