"""Starts on level sets: signatures and products of `mixed_balanced`, `project_to_relaxed_balanced`, refusals."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory._errors import InfeasibleError, PrecisionError
from dlntheory.families import linear_network
from dlntheory.initial import gaussian, lambda_balanced, mixed_balanced, project_to_relaxed_balanced

KEY = jax.random.key(3)


def imbalances(arch, theta):
    layers = [np.asarray(theta[name]) for name in arch.chain]
    return [b.T @ b - a @ a.T for a, b in itertools.pairwise(layers)]


def distance(left, right):
    return np.sqrt(sum(np.sum((np.asarray(left[name]) - np.asarray(right[name])) ** 2) for name in left))


@pytest.mark.parametrize("widths", [(2, 5, 3), (3, 7, 2), (1, 2, 1)])
def test_mixed_balanced_has_its_signature_and_product(widths):
    arch = linear_network(widths)
    inputs, hidden, outputs = widths
    theta0 = mixed_balanced(arch, KEY, 0.9, 0.4, scale=0.5)
    expected = [-0.4] * inputs + [0.0] * (hidden - inputs - outputs) + [0.9] * outputs
    np.testing.assert_allclose(np.linalg.eigvalsh(imbalances(arch, theta0)[0]), expected, atol=1e-14)
    z = np.asarray(theta0["W2"]) @ np.asarray(theta0["W1"])
    assert np.linalg.norm(z) / np.sqrt(min(inputs, outputs)) == pytest.approx(0.5, rel=1e-12)
    product = np.arange(inputs * outputs).reshape(outputs, inputs) / 3.0
    given = mixed_balanced(arch, KEY, 0.9, 0.4, product=product)
    np.testing.assert_allclose(np.asarray(given["W2"]) @ np.asarray(given["W1"]), product, atol=1e-14)
    np.testing.assert_allclose(np.linalg.eigvalsh(imbalances(arch, given)[0]), expected, atol=1e-14)


@pytest.mark.parametrize(
    ("widths", "lam"),
    [
        ((3, 3, 3, 3), [0.5, -0.3]),
        ((2, 2, 2, 3), [0.3, 0.4]),
        ((4, 2, 3), -0.6),
        ((2, 3, 3, 3, 2), [0.1, 0.2, -0.3]),
    ],
)
def test_projection_keeps_z_and_reaches_the_level_set(widths, lam):
    arch = linear_network(widths)
    rng = np.random.default_rng(0)
    theta0 = {name: rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    near = project_to_relaxed_balanced(arch, theta0, lam)
    np.testing.assert_allclose(arch(near), arch(theta0), atol=1e-13)
    for defect, value in zip(imbalances(arch, near), np.atleast_1d(lam), strict=True):
        np.testing.assert_allclose(defect, value * np.eye(len(defect)), atol=1e-13)
    # A start on the level set stays where it is.
    again = project_to_relaxed_balanced(arch, near, lam)
    assert distance(again, near) < 1e-12
    # Stationary: turning one hidden basis does not bring it nearer, to first order and beyond.
    here = distance(near, theta0)
    for _ in range(5):
        skew = 1e-3 * rng.standard_normal((widths[1],) * 2)
        turn = np.linalg.solve(np.eye(widths[1]) + skew - skew.T, np.eye(widths[1]) - skew + skew.T)
        moved = {**near, "W1": turn @ np.asarray(near["W1"]), "W2": np.asarray(near["W2"]) @ turn.T}
        assert distance(moved, theta0) > here - 1e-12


@pytest.mark.parametrize(
    ("widths", "lam"),
    [
        ((4, 3, 1), -0.7),
        ((4, 3, 2, 1), (-1, -0.5)),
        ((1, 2, 3, 4), (1, 0.5)),
        ((5, 4, 2, 4, 5), (-0.3, 0.2, 0.6)),
    ],
)
def test_a_start_on_the_level_set_stays_also_where_z_has_null_spaces(widths, lam):
    """Null vectors of z are arbitrary, but the layers have singular values there: 1.2 of 2.0 was lost."""
    arch = linear_network(widths)
    there = lambda_balanced(arch, KEY, lam)
    assert distance(project_to_relaxed_balanced(arch, there, lam), there) < 1e-13
    # Near it the projection is near too: the start moves by no more than its distance.
    rng = np.random.default_rng(0)
    noise = {name: rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    for size in (1e-4, 1e-7):
        start = {name: np.asarray(there[name]) + size * noise[name] for name in noise}
        near = project_to_relaxed_balanced(arch, start, lam)
        np.testing.assert_allclose(arch(near), arch(start), rtol=0, atol=1e-13)
        assert distance(near, start) < size * distance(noise, dict.fromkeys(noise, 0.0))


def test_a_rank_deficient_start_on_the_level_set_stays():
    """σ = (2, 0, 0) with λ = 0.5: directions that the first layer kills and the second does not."""
    arch, rng = linear_network((3, 3, 3)), np.random.default_rng(2)
    q = [np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3)]
    t = (-0.5 + np.sqrt(0.25 + 4 * 4.0)) / 2  # t (t + 1/2) = 4
    first, second = np.sqrt([t, 0.0, 0.0]), np.sqrt([t + 0.5, 0.5, 0.5])
    there = {"W1": (q[1] * first) @ q[0].T, "W2": (q[2] * second) @ q[1].T}
    assert distance(project_to_relaxed_balanced(arch, there, 0.5), there) < 1e-13


def test_a_projection_that_does_not_settle_warns_with_the_line_of_the_caller(monkeypatch):
    monkeypatch.setattr("dlntheory.initial.level_sets.SWEEPS", 2)
    arch = linear_network((3, 3, 3, 3))
    with pytest.warns(UserWarning, match="was not settled after 2 sweeps") as caught:
        near = project_to_relaxed_balanced(arch, gaussian(arch, KEY), [0.5, -0.3])
    assert caught[0].filename == __file__
    for defect, value in zip(imbalances(arch, near), (0.5, -0.3), strict=True):
        np.testing.assert_allclose(defect, value * np.eye(3), atol=1e-13)


def test_projection_is_nearer_than_a_random_start_with_the_same_z():
    arch = linear_network((3, 3, 3, 3))
    theta0 = gaussian(arch, KEY)
    near = project_to_relaxed_balanced(arch, theta0, [0.5, -0.3])
    q = np.linalg.qr(np.random.default_rng(1).standard_normal((3, 3)))[0]
    other = {**near, "W1": q @ np.asarray(near["W1"]), "W2": np.asarray(near["W2"]) @ q.T}
    assert distance(near, theta0) < 0.9 * distance(other, theta0)


NET = linear_network((2, 4, 3))
REFUSALS = [
    (
        lambda: mixed_balanced(NET, KEY, 0.5, 0.5),
        InfeasibleError,
        r"at least 2 \+ 3 for eigenvalues of both signs .* but layer 1 has width 4",
    ),
    (
        lambda: mixed_balanced(linear_network((2, 5, 3)), KEY, 0.5, 0.0),
        ValueError,
        "`mu` must be a finite positive",
    ),
    (lambda: mixed_balanced(linear_network((2, 2, 2, 2)), KEY, 1.0, 1.0), ValueError, "must have two layers"),
    (
        lambda: mixed_balanced(linear_network((2, 5, 3)), KEY, 0.5, 0.5, product=np.eye(2)),
        ValueError,
        r"must have shape \(3, 2\)",
    ),
    (
        lambda: mixed_balanced(linear_network((2, 5, 3)), KEY, 0.5, 0.5, product=np.ones((3, 2)), scale=2.0),
        ValueError,
        "`scale` must be left at 1",
    ),
    (
        lambda: project_to_relaxed_balanced(NET, {"W1": np.ones((4, 2)), "W2": np.ones((3, 4))}, 0.5),
        InfeasibleError,
        "wider than both its ends cannot be lambda-balanced with lam != 0",
    ),
    (
        lambda: project_to_relaxed_balanced(NET, {"W1": np.ones((4, 2)), "W2": np.ones((3, 4))}, [0.5, 0.1]),
        ValueError,
        "`lambdas` must hold one number",
    ),
    (
        lambda: project_to_relaxed_balanced(
            linear_network((2, 3, 4, 3)),
            {"W1": np.ones((3, 2)), "W2": np.ones((4, 3)), "W3": np.ones((3, 4))},
            [0.0, 0.5],
        ),
        InfeasibleError,
        r"hidden layer 2 \(width 4\) is wider than layer 3 after it \(width 3\)",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_float32_is_refused():
    theta0 = lambda_balanced(linear_network((2, 2, 2)), KEY, 0.5)
    jax.config.update("jax_enable_x64", False)
    try:
        for call in (
            lambda: mixed_balanced(linear_network((2, 5, 3)), KEY, 0.5, 0.5),
            lambda: project_to_relaxed_balanced(linear_network((2, 2, 2)), theta0, 0.5),
        ):
            with pytest.raises(PrecisionError, match="needs float64"):
                call()
    finally:
        jax.config.update("jax_enable_x64", True)
    assert jnp.asarray(1.0).dtype == jnp.float64
