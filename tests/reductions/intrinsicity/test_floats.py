"""Float points: the interpreted route against the compiled one and finite differences; Gauss-Newton."""

import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.families import attention, gram_factorisation, power_network, relu_network, weight_normalised
from dlntheory.laws import conservation_laws
from dlntheory.reductions.intrinsicity.float_metric import Floats, InterpretedMetric
from dlntheory.reductions.intrinsicity.gauss_newton import CompiledMetric, float_kernel, gauss_newton
from dlntheory.reductions.intrinsicity.level_set_tests import _constraint


@pytest.mark.parametrize(
    "make",
    [
        lambda: dln.linear_network((2, 2, 3)),
        lambda: attention(2, 1),
        lambda: relu_network((2, 2, 1), bias=True),
        lambda: power_network(2, 3),
        lambda: gram_factorisation(2, 1),
        lambda: weight_normalised(2, 1),
    ],
)
def test_two_routes_to_the_same_floats(make):
    arch = make()
    laws = conservation_laws(arch).laws
    rng = np.random.default_rng(0)
    x, v = rng.uniform(0.5, 1.5, size=(2, arch.size))
    left, right = InterpretedMetric(arch, laws), CompiledMetric(arch, laws)
    for a, b in zip(left.values(x), right.values(x), strict=True):
        assert a.shape == b.shape
        assert np.allclose(a, b, rtol=1e-13, atol=1e-13)
    assert np.allclose(left.tangent(x, v), right.tangent(x, v), rtol=1e-12, atol=1e-12)
    step = 1e-4
    difference = (left.values(x + step * v)[2] - left.values(x - step * v)[2]) / (2 * step)
    assert np.allclose(left.tangent(x, v), difference, atol=1e-6)


def test_targets_of_a_level_set():
    laws = conservation_laws(attention(2, 2)).laws
    rows, target = _constraint(laws, (0.7, -0.4))
    assert rows.tolist() == list(range(6))
    assert target.tolist() == [0.7, 0.0, 0.7, -0.4, 0.0, -0.4]
    assert _constraint(laws, None)[1].tolist() == [0.0] * 6


def test_ring_of_floats_in_batches():
    ring, rng = Floats(), np.random.default_rng(1)
    a, b = rng.standard_normal((2, 3, 2, 4, 4))
    assert np.array_equal(ring.matmul(a, b), np.einsum("nbij,nbjk->nbik", a, b)) or np.allclose(
        ring.matmul(a, b), np.einsum("nbij,nbjk->nbik", a, b), atol=1e-15
    )
    assert np.allclose(ring.mul(ring.reciprocal(a), a), 1.0)
    assert np.array_equal(ring.sum(a, (1,)), a.sum(axis=2))
    taken = ring.take([a[:1, 0, 0], b[:, 0, 0]], np.array([0, 5]))
    assert np.array_equal(taken, np.stack([np.full(3, a[0, 0, 0, 0]), b[:, 0, 0, 1]], axis=1))


def test_gauss_newton_finds_a_point_and_says_when_it_does_not():
    def circle(x):
        return np.array([x @ x - 4.0]), 2 * x[None]

    found, residual = gauss_newton(circle, np.array([1.0, 0.5]))
    assert residual < 1e-13
    assert np.isclose(np.linalg.norm(found), 2.0)
    # The step of minimum norm goes straight out.
    assert np.isclose(found[0] / found[1], 2.0)

    def nowhere(x):
        return np.array([x @ x + 1.0]), 2 * x[None]

    assert gauss_newton(nowhere, np.array([1.0, 0.5]))[1] > 0.9

    def overflowing(x):
        return np.exp(1e3 * x), np.diag(1e3 * np.exp(1e3 * x))

    assert np.isfinite(gauss_newton(overflowing, np.array([0.1]), steps=3)[1])


def test_kernel_of_floats_counts_as_the_exact_one():
    arch = dln.linear_network((2, 2, 3))
    metric = InterpretedMetric(arch, conservation_laws(arch).laws)
    rng = np.random.default_rng(2)
    point = rng.standard_normal(arch.size)
    kernel = float_kernel(metric, point, rng)
    assert kernel.fibre == 1
    assert kernel.is_clear
    # The ratio does not change with the scale of the weights.
    scaled = float_kernel(metric, 10.0 * point, rng)
    assert np.isclose(scaled.ratio, kernel.ratio, rtol=1e-9)
    # By hand: the direction of the fibre from an independent SVD.
    w1, w2 = point[:4].reshape(2, 2), point[4:].reshape(3, 2)
    rows = []
    for place in range(10):
        d = np.zeros(10)
        d[place] = 1.0
        d1, d2 = d[:4].reshape(2, 2), d[4:].reshape(3, 2)
        law = d2.T @ w2 + w2.T @ d2 - d1 @ w1.T - w1 @ d1.T
        rows.append(np.concatenate([(w2 @ d1 + d2 @ w1).ravel(), law.ravel()]))
    v = np.linalg.svd(np.array(rows).T)[2][-1]
    v1, v2 = v[:4].reshape(2, 2), v[4:].reshape(3, 2)
    a, b = v2 @ w2.T + w2 @ v2.T, v1.T @ w1 + w1.T @ v1
    change = np.kron(a, np.eye(2)) + np.kron(np.eye(3), b)
    size = np.kron(w2 @ w2.T, np.eye(2)) + np.kron(np.eye(3), w1.T @ w1)
    expected = np.linalg.norm(point) / np.sqrt(10) * np.linalg.norm(change) / np.linalg.norm(size)
    assert np.isclose(kernel.ratio, expected, rtol=1e-9)
    critical = float_kernel(metric, np.zeros(arch.size), rng)
    assert np.isnan(critical.ratio)
    assert not critical.is_clear


def test_equal_metrics_share_programs():
    arch = dln.linear_network((2, 2, 3))
    laws = conservation_laws(arch).laws
    assert CompiledMetric(arch, laws) == CompiledMetric(arch, laws)
    assert hash(CompiledMetric(arch, laws)) == hash(CompiledMetric(arch, laws))
    assert CompiledMetric(arch, laws) != CompiledMetric(arch, ())
    assert jnp.size(CompiledMetric(arch, ()).values(np.ones(arch.size))[1]) == 0
