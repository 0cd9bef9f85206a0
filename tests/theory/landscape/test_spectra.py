"""Spectra in closed form against automatic differentiation, and what the critical points are."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import ConditionError
from dlntheory.theory.landscape import (
    WhitenedLandscape,
    critical_points,
    hessian_spectrum,
    ntk_spectrum,
    reduced_rank_minimum,
    sharpness,
)
from dlntheory.training import Training

RNG = np.random.default_rng(1)


def frames(outputs, inputs):
    return np.linalg.qr(RNG.standard_normal((outputs, outputs)))[0], np.linalg.qr(
        RNG.standard_normal((inputs, inputs))
    )[0]


def two_layers(s, outputs, inputs, hidden, left, right):
    """Balanced layers with singular values s, and a random hidden basis."""
    hidden_basis = np.linalg.qr(RNG.standard_normal((hidden, hidden)))[0]
    above, below = np.zeros((outputs, hidden)), np.zeros((hidden, inputs))
    for unit, mode in enumerate(np.flatnonzero(s)):
        above[mode, unit] = below[unit, mode] = np.sqrt(s[mode])
    return hidden_basis @ below @ right.T, left @ above @ hidden_basis.T


def hessian_of(slope, first, second, curvature=1.0):
    """The Hessian over (W1, W2) of a loss with gradient `slope` and Hessian `curvature` I in z, written by hand."""
    h, d = first.shape
    o = second.shape[0]
    jacobian = np.concatenate([np.kron(second, np.eye(d)), np.kron(np.eye(o), first.T)], axis=1)
    hessian = curvature * jacobian.T @ jacobian
    # d^2 z_{ab} / dW1_{kb} dW2_{ak} = 1
    cross = np.einsum("ab,kj->kbaj", slope, np.eye(h)).reshape(h * d, o * h)
    hessian[: h * d, h * d :] += cross
    hessian[h * d :, : h * d] += cross.T
    return hessian


def hessian_eigenvalues(target, first, second):
    return np.linalg.eigvalsh(hessian_of(second @ first - target, first, second))


@pytest.mark.slow
def test_the_hand_written_hessian_is_the_hessian():
    first, second, target = (
        RNG.standard_normal((2, 3)),
        RNG.standard_normal((4, 2)),
        RNG.standard_normal((4, 3)),
    )
    flat = np.concatenate([first.ravel(), second.ravel()])

    def loss(x):
        return 0.5 * jnp.sum((x[6:].reshape(4, 2) @ x[:6].reshape(2, 3) - target) ** 2)

    expected = np.linalg.eigvalsh(np.asarray(jax.hessian(loss)(flat)))
    np.testing.assert_allclose(hessian_eigenvalues(target, first, second), expected, atol=1e-13)


@pytest.mark.parametrize(
    ("outputs", "inputs", "hidden", "s"),
    [
        (3, 3, 3, (1.2, 0.4, 0.1)),
        (4, 2, 5, (0.9, 1.7)),
        (2, 5, 3, (0.6, 0.0)),
        (4, 4, 2, (1.1, 0.0, 0.0, 0.6)),
        (3, 4, 1, (0.0, 0.8, 0.0)),
        (3, 5, 2, (0.0, 0.0, 0.0)),
        (1, 1, 1, (0.5,)),
    ],
)
def test_full_hessian_spectrum_with_and_without_bottleneck(outputs, inputs, hidden, s):
    left, right = frames(outputs, inputs)
    s, sigma = np.array(s), np.array([2.0, 1.3, 0.7, 0.2])[: len(s)]
    matrix = np.zeros((outputs, inputs))
    np.fill_diagonal(matrix, sigma)
    target = left @ matrix @ right.T
    first, second = two_layers(s, outputs, inputs, hidden, left, right)
    found = hessian_spectrum(s, sigma, outputs, inputs, hidden)
    assert len(found) == hidden * (outputs + inputs)
    np.testing.assert_allclose(found, hessian_eigenvalues(target, first, second), atol=1e-12)


@pytest.mark.parametrize(("outputs", "inputs", "depth"), [(3, 4, 3), (4, 2, 2), (2, 2, 4)])
def test_tangent_kernel_spectrum(outputs, inputs, depth):
    left, right = frames(outputs, inputs)
    s = np.array([1.5, 0.6])
    width = 4
    layers = []
    for l in range(depth):
        rows, columns = outputs if l == depth - 1 else width, inputs if l == 0 else width
        layer = np.zeros((rows, columns))
        layer[[0, 1], [0, 1]] = s ** (1 / depth)
        layers.append(
            (left if l == depth - 1 else np.eye(rows)) @ layer @ (right.T if l == 0 else np.eye(columns))
        )
    kernel = np.zeros((outputs * inputs, outputs * inputs))
    for l in range(depth):
        below, above = np.eye(inputs), np.eye(layers[l].shape[0])
        for w in layers[:l]:
            below = w @ below
        for w in layers[l + 1 :]:
            above = w @ above
        jacobian = np.kron(above, below.T)
        kernel += jacobian @ jacobian.T
    found = ntk_spectrum(s, outputs, inputs, depth)
    np.testing.assert_allclose(found, np.linalg.eigvalsh(kernel), atol=1e-12)


def test_critical_points_are_strict_saddles_but_one():
    target = np.diag([2.0, 1.2, 0.5])
    points = critical_points(target, 3)
    assert len(points) == 8
    assert [p.kind for p in points] == ["global minimum"] + ["strict saddle"] * 7
    for point in points[1:]:
        missing = [m for m in range(3) if m not in point.fitted]
        assert abs(point.lowest + max(target[m, m] for m in missing)) < 1e-12
    narrow = {p.fitted: p for p in critical_points(target, 1)}
    assert narrow[(0,)].kind == "global minimum"
    assert abs(narrow[(1,)].lowest + 0.8) < 1e-12
    assert abs(narrow[(2,)].lowest + 1.5) < 1e-12
    assert abs(narrow[()].lowest + 2.0) < 1e-12
    # The gradient vanishes and the loss is as stated, at a point of every family.
    left, right = frames(3, 3)
    for point in points:
        s = np.where(np.isin(range(3), point.fitted), np.diag(target), 0.0)
        first, second = two_layers(s, 3, 3, 3, left, right)
        residual = second @ first - left @ target @ right.T
        assert np.abs(second.T @ residual).max() < 1e-14
        assert np.abs(residual @ first.T).max() < 1e-14
        assert abs(0.5 * np.sum(residual**2) - point.loss) < 1e-14
        assert abs(hessian_eigenvalues(left @ target @ right.T, first, second)[0] - point.lowest) < 1e-12


def test_origin_of_deep_networks_has_no_curvature():
    directions = RNG.standard_normal((20, 3))
    change = lambda scale: 0.5 * (np.prod(scale * directions, axis=1) - 1.0) ** 2 - 0.5
    # Along every line the loss changes with the third power: no curvature, but no minimum either.
    np.testing.assert_allclose(change(1e-2) / 1e-6, -np.prod(directions, axis=1), atol=1e-5)


def problem(rates=None, reduction="mean"):
    x = np.linalg.qr(RNG.standard_normal((12, 3)))[0] * 2.0
    y = RNG.standard_normal((12, 2))
    arch = dln.linear_network((3, 4, 2))
    return arch, Training(dln.SquaredLoss(x, y, reduction=reduction), rates=rates)


@pytest.mark.parametrize(
    ("rates", "reduction"), [(None, "mean"), (None, "sum"), ({"W1": 0.5, "W2": 3.0}, "mean")]
)
def test_factors_of_the_loss_reach_the_spectra(rates, reduction):
    arch, training = problem(rates, reduction)
    landscape = WhitenedLandscape.of(arch, training)
    minimum = landscape.minimiser()
    np.testing.assert_allclose(minimum, training.loss.minimiser(), atol=1e-12)
    rates = rates or {"W1": 1.0, "W2": 1.0}
    left, s, right = np.linalg.svd(minimum, full_matrices=False)
    # Balanced in W / sqrt(e).
    root = np.sqrt(s / np.sqrt(rates["W1"] * rates["W2"]))
    pad = np.eye(4, 2)
    theta = {
        "W1": np.sqrt(rates["W1"]) * pad @ (root[:, None] * right),
        "W2": np.sqrt(rates["W2"]) * (left * root) @ pad.T,
    }
    speeds = np.concatenate([np.full(12, rates["W1"]), np.full(8, rates["W2"])])
    slope = jax.grad(training.loss)
    unit = np.zeros((2, 3))
    unit[0, 0] = 1.0
    curvature = float((slope(minimum + unit) - slope(minimum))[0, 0])
    hessian = hessian_of(np.asarray(slope(minimum)), theta["W1"], theta["W2"], curvature)
    matrix = np.sqrt(speeds)[:, None] * hessian * np.sqrt(speeds)
    expected = np.linalg.eigvalsh(matrix)
    scale = expected[-1]
    np.testing.assert_allclose(landscape.hessian_spectrum(minimum), expected, atol=1e-12 * scale)
    assert abs(landscape.sharpness / scale - 1) < 1e-12
    assert abs(landscape.largest_stable_step * scale / 2 - 1) < 1e-12
    # At zero residual the Hessian is J^T K J: its nonzero spectrum is that of the kernel.
    np.testing.assert_allclose(landscape.ntk_spectrum(minimum), expected[-6:], atol=1e-12 * scale)
    losses = [point.loss for point in landscape.critical_points()]
    zero = float(training.loss(np.zeros((2, 3)))) - float(training.loss(minimum))
    assert losses[0] == 0
    assert abs(losses[-1] / zero - 1) < 1e-12


def test_weight_decay_of_the_loss_reaches_the_minimiser():
    x = np.linalg.qr(RNG.standard_normal((12, 3)))[0] * 2.0
    y = 3.0 * RNG.standard_normal((12, 2))
    loss = dln.SquaredLoss(x, y)
    arch = dln.linear_network((3, 3, 2))
    decay = 0.05
    z = WhitenedLandscape.of(arch, Training(loss, weight_decay=decay)).minimiser()
    # Stationarity of f(z) + gamma |z|_*: the gradient is -gamma U V^T on the support.
    left, s, right = np.linalg.svd(z, full_matrices=False)
    kept = s > 1e-12
    slope = np.asarray(jax.grad(loss)(z))
    np.testing.assert_allclose(slope @ right[kept].T, -decay * left[:, kept], atol=1e-12)
    landscape = WhitenedLandscape.of(arch, Training(loss, weight_decay=decay))
    with pytest.raises(ValueError, match="`weight_decay` must be 0"):
        _ = landscape.sharpness
    strongest = landscape.decay_thresholds()[0].critical
    gone = WhitenedLandscape.of(arch, Training(loss, weight_decay=1.0001 * strongest)).minimiser()
    left = WhitenedLandscape.of(arch, Training(loss, weight_decay=0.9999 * strongest)).minimiser()
    assert np.all(gone == 0)
    assert np.linalg.norm(left) > 0


@pytest.mark.slow
def test_random_flows_end_at_the_reduced_rank_minimum():
    x = RNG.standard_normal((20, 4)) * np.array([1.3, 1.0, 0.8, 0.9])
    y = x @ np.diag([3.0, 2.0, 0.5, 0.0])[:, :3] + 0.1 * RNG.standard_normal((20, 3))
    loss = dln.SquaredLoss(x, y)
    arch = dln.linear_network((4, 2, 3))
    expected = reduced_rank_minimum(loss, 2)
    flow = dln.GradientFlow(arch, loss)
    for seed in range(6):
        theta0 = dln.gaussian(arch, jax.random.key(seed), scale=0.5)
        run = dln.solve(flow, theta0, 60.0, method="dopri8", rtol=1e-9, ts=2)
        assert abs(run.loss[-1] - expected) < 1e-12


def test_reduced_rank_minimum_without_bottleneck_is_the_minimum():
    _, training = problem()
    assert abs(reduced_rank_minimum(training.loss, 2) - float(training.loss.minimum)) < 1e-15
    # Rank 0 is not asked for; rank 1 beats every rank-one map.
    best = reduced_rank_minimum(training.loss, 1)
    trials = [training.loss(np.outer(RNG.standard_normal(2), RNG.standard_normal(3))) for _ in range(50)]
    assert best < min(float(value) for value in trials)


def test_sharpness_of_deep_minima():
    depth, sigma = 3, np.array([1.5, 0.7])
    root = np.diag(sigma ** (1 / depth))
    # Zero residual: the Hessian is J^T J, with the spectrum of the tangent kernel.
    kernel = np.zeros((4, 4))
    for above in range(depth):
        part = np.kron(np.linalg.matrix_power(root, above), np.linalg.matrix_power(root, depth - 1 - above))
        kernel += part @ part.T
    assert abs(sharpness(np.diag(sigma), depth) / np.linalg.eigvalsh(kernel)[-1] - 1) < 1e-13


def test_refusals():
    with pytest.raises(ValueError, match="distinct singular values"):
        critical_points(np.eye(2), 2)
    with pytest.raises(ValueError, match="`hidden` must be a positive integer"):
        critical_points(np.diag([2.0, 1.0]), 0)
    with pytest.raises(ValueError, match="at most 1 nonzero entries"):
        hessian_spectrum([1.0, 1.0], [2.0, 1.0], 2, 2, 1)
    with pytest.raises(ValueError, match="smallest entry is -1"):
        ntk_spectrum([-1.0], 2, 2, 2)
    arch, training = problem()
    with pytest.raises(ValueError, match="share its singular vectors"):
        WhitenedLandscape.of(arch, training).hessian_spectrum(RNG.standard_normal((2, 3)))
    crooked = Training(dln.SquaredLoss(RNG.standard_normal((9, 3)), RNG.standard_normal((9, 2))))
    with pytest.raises(ConditionError, match=r"\|Sxx - k I\| ="):
        WhitenedLandscape.of(arch, crooked)
    with pytest.raises(ValueError, match="no bottleneck"):
        _ = WhitenedLandscape.of(dln.linear_network((3, 1, 2)), training).sharpness
    with pytest.raises(ValueError, match="two layers"):
        WhitenedLandscape.of(dln.linear_network((3, 3, 3, 2)), training).critical_points()
