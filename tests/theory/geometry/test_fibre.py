"""Volumes, metric, entropy and mean curvature against Gram determinants, differences and hand-made tangents."""

import itertools
import math

import numpy as np
import pytest

from dlntheory.theory.geometry import (
    FreeEnergy,
    entropy,
    entropy_gradient,
    equilibrium_measures,
    log_density_factor,
    log_fibre_volume,
    log_metric_density,
    log_orthogonal_volume,
    mean_curvature,
    metric_operator,
)

RNG = np.random.default_rng(2)
CASES = [(2, 2), (3, 2), (2, 4), (4, 3), (3, 5)]


def random_product(size):
    return RNG.standard_normal((size, size)) + np.diag(np.arange(1.0, size + 1))


def fibre_point(product, depth):
    """Balanced square layers with random hidden bases."""
    left, s, right = np.linalg.svd(product)
    root = np.diag(s ** (1 / depth))
    bases = (
        [right.T] + [np.linalg.qr(RNG.standard_normal(product.shape))[0] for _ in range(depth - 1)] + [left]
    )
    return [bases[l + 1] @ root @ bases[l].T for l in range(depth)]


def chain(layers, size):
    out = np.eye(size)
    for layer in layers:
        out = layer @ out
    return out


def skew_basis(size):
    for i, j in itertools.combinations(range(size), 2):
        a = np.zeros((size, size))
        a[i, j], a[j, i] = 1 / math.sqrt(2), -1 / math.sqrt(2)
        yield a


def vertical(layers):
    """Tangents of the fibre: hidden rotations, unit in the metric |A|^2; each a list of layer changes."""
    size, depth = layers[0].shape[0], len(layers)
    for l in range(depth - 1):
        for a in skew_basis(size):
            yield (
                l,
                a,
                [
                    a @ layers[m] if m == l else -layers[m] @ a if m == l + 1 else np.zeros((size, size))
                    for m in range(depth)
                ],
            )


def flat(tangent):
    return np.concatenate([part.ravel() for part in tangent])


@pytest.mark.parametrize(("size", "depth"), CASES)
def test_fibre_volume_element_is_a_gram_determinant(size, depth):
    product = random_product(size)
    expected = log_fibre_volume(product, depth) - (depth - 1) * log_orthogonal_volume(size)
    assert abs(expected - entropy(product, depth)) < 1e-12
    for _ in range(3):
        tangents = np.stack([flat(t) for _, _, t in vertical(fibre_point(product, depth))])
        log_element = 0.5 * np.linalg.slogdet(tangents @ tangents.T)[1]
        assert abs(log_element - expected) < 1e-12


def test_orthogonal_volumes_and_a_fibre_measured_as_a_polygon():
    # O(1): two points; O(2): two circles of radius sqrt 2; SO(3) = RP^3 of radius 2 sqrt 2: pi^2 r^3.
    expected = [2.0, 2 * 2 * math.pi * math.sqrt(2), 2 * math.pi**2 * (2 * math.sqrt(2)) ** 3]
    np.testing.assert_allclose([math.exp(log_orthogonal_volume(d)) for d in (1, 2, 3)], expected, rtol=1e-14)
    product = np.array([[2.0, 0.4], [-0.3, 0.7]])
    first, second = fibre_point(product, 2)
    angles = np.linspace(0, 2 * math.pi, 20_001)
    turns = np.stack([np.cos(angles), -np.sin(angles), np.sin(angles), np.cos(angles)], 1).reshape(-1, 2, 2)
    points = np.concatenate(
        [(turns @ first).reshape(-1, 4), (second @ turns.transpose(0, 2, 1)).reshape(-1, 4)], 1
    )
    length = 2 * np.sum(np.linalg.norm(np.diff(points, axis=0), axis=1))  # both components
    assert abs(length / math.exp(log_fibre_volume(product, 2)) - 1) < 2e-8


@pytest.mark.parametrize(("size", "depth"), CASES)
def test_metric_is_that_of_horizontal_lifts(size, depth):
    product = random_product(size)
    layers = fibre_point(product, depth)
    # d phi d phi^T on all of weight space: its horizontal lifts lie in the balanced manifold's tangent space.
    columns = []
    for l in range(depth):
        below, above = chain(layers[:l], size), chain(layers[l + 1 :], size)
        columns.append(np.kron(above, below.T))
    jacobian = np.concatenate(columns, axis=1)
    operator = metric_operator(product, depth)
    np.testing.assert_allclose(operator, jacobian @ jacobian.T, atol=1e-11 * np.linalg.norm(operator))
    assert abs(log_metric_density(product, depth) + 0.5 * np.linalg.slogdet(operator)[1]) < 1e-12
    # Those lifts are tangent to the balanced manifold: the linearised balance conditions vanish.
    lift = (jacobian.T @ np.linalg.solve(operator, RNG.standard_normal(size * size))).reshape(
        depth, size, size
    )
    for l in range(depth - 1):
        up, low = layers[l + 1].T @ lift[l + 1], lift[l] @ layers[l].T
        assert np.abs(up + up.T - low - low.T).max() < 1e-12


def test_entropy_gradient_also_at_equal_singular_values():
    for product in (random_product(3), np.diag([2.0, 2.0, 0.5])):
        for depth in (2, 3):
            found = entropy_gradient(product, depth)
            direction = RNG.standard_normal((3, 3))
            h = 1e-5
            difference = (
                entropy(product + h * direction, depth) - entropy(product - h * direction, depth)
            ) / (2 * h)
            assert abs(np.sum(found * direction) - difference) < 1e-8
    # It grows with every singular value.
    assert np.all(np.diag(entropy_gradient(np.diag([3.0, 1.0, 0.2]), 4)) > 0)


@pytest.mark.parametrize(("size", "depth"), [(2, 2), (2, 3), (2, 4), (3, 2)])
def test_mean_curvature_of_the_fibre_is_minus_a_grad_entropy(size, depth):
    product = random_product(size)
    layers = fibre_point(product, depth)
    tangents = list(vertical(layers))
    gram = np.stack([flat(t) for *_, t in tangents])
    inverse = np.linalg.inv(gram @ gram.T)
    pushed = np.zeros((size, size))
    for a, (_l, _A, s) in enumerate(tangents):
        for b, (_m, _B, t) in enumerate(tangents):
            # The push-forward of the acceleration is minus the second derivative of the product along the pair.
            second = np.zeros((size, size))
            for i in range(depth):
                for j in range(depth):
                    if i != j:
                        parts = list(layers)
                        parts[i], parts[j] = s[i], t[j]
                        second += chain(parts, size)
            pushed -= inverse[a, b] * second
    np.testing.assert_allclose(mean_curvature(product, depth), pushed, atol=1e-12)


def test_volume_of_the_balanced_manifold_is_fibre_times_base():
    # Square of size 2, two layers: W_1 = A^T O, W_2 = A is a chart; push its volume element to W and the fibre.
    A, angle = random_product(2), 0.7
    turn = lambda x: np.array([[np.cos(x), -np.sin(x)], [np.sin(x), np.cos(x)]])
    weights = lambda x: np.concatenate([(x[:4].reshape(2, 2).T @ turn(x[4])).ravel(), x[:4]])
    point = np.concatenate([A.ravel(), [angle]])
    step = 1e-6
    columns = np.stack(
        [(weights(point + step * e) - weights(point - step * e)) / (2 * step) for e in np.eye(5)], 1
    )
    # Orthonormal frame of the tangent space: volume on M = volume of the vertical unit times that of the image.
    basis = np.linalg.qr(columns)[0]
    W1, W2 = weights(point)[:4].reshape(2, 2), A
    jacobian = np.concatenate([np.kron(W2, np.eye(2)), np.kron(np.eye(2), W1.T)], axis=1)
    image = jacobian @ basis
    # Coarea factor sqrt det(J J^T) restricted to M is 1 / sqrt det g.
    factor = 0.5 * np.linalg.slogdet(image @ image.T)[1]
    assert abs(factor + log_metric_density(W2 @ W1, 2)) < 1e-8


def test_free_energy_and_its_descent():
    target = random_product(2)
    energy = FreeEnergy(lambda w: 0.5 * ((w - target) ** 2).sum(), depth=3, beta=2.0)
    product = random_product(2)
    expected = 0.5 * np.sum((product - target) ** 2) - entropy(product, 3) / 2.0
    assert abs(energy(product) - expected) < 1e-13
    np.testing.assert_allclose(
        energy.gradient(product), product - target - entropy_gradient(product, 3) / 2.0
    )
    # The entropic part of the velocity is the mean curvature, with the sign that enlarges the fibre.
    calm = FreeEnergy(lambda w: 0.0 * w.sum(), depth=3, beta=2.0)
    np.testing.assert_allclose(calm.velocity(product), -mean_curvature(product, 3) / 2.0, atol=1e-12)


def test_three_measures():
    s = np.array([1.7, 0.6])
    product = np.diag(s)
    metric, lebesgue, values = (
        float(log_density_factor(s, 3, name)) for name in ("metric", "lebesgue", "singular values")
    )
    assert abs(metric - entropy(product, 3)) < 1e-14
    assert abs(lebesgue - metric - log_metric_density(product, 3)) < 1e-14
    assert abs(values - lebesgue - math.log(1.7**2 - 0.6**2)) < 1e-14
    text = str(equilibrium_measures(s, 3))
    assert "d vol_g" in text
    assert "dW" in text
    assert "larger products" in text
    assert "smaller products" in text
    for name, slope in equilibrium_measures(s, 3).slopes.items():
        scaled = [float(log_density_factor(s * math.exp(h), 3, name)) for h in (1e-5, -1e-5)]
        assert abs((scaled[0] - scaled[1]) / 2e-5 - slope) < 1e-8
    # Low rank is favoured against Lebesgue measure.
    assert log_density_factor([1.7, 1e-6], 3, "lebesgue") > lebesgue + 5


def test_refusals():
    with pytest.raises(ValueError, match="must be invertible"):
        log_fibre_volume(np.diag([1.0, 0.0]), 2)
    with pytest.raises(ValueError, match="square matrix"):
        entropy(np.ones((2, 3)), 2)
    with pytest.raises(ValueError, match="2 of 4 entries are not"):
        entropy(np.array([[np.nan, 1.0], [np.inf, 1.0]]), 2)
    with pytest.raises(ValueError, match="`depth` must be a positive integer"):
        entropy(np.eye(2), 0)
    with pytest.raises(ValueError, match="`beta` must be a finite positive number"):
        FreeEnergy(lambda w: w.sum(), 2, 0.0)
    with pytest.raises(ValueError, match="`reference` must be one of"):
        log_density_factor([1.0], 2, "measure")
    with pytest.raises(ValueError, match="`singular_values` must be positive"):
        log_density_factor([1.0, 0.0], 2, "metric")
