"""Limits with a closed form: the marching against the formula, and the formulas against plain random matrices."""

import numpy as np
import pytest

from dlntheory.theory.mean_field import (
    MeanFieldConfig,
    infinite_one_layer,
    initial_error,
    lazy_finite_data,
    lazy_finite_width,
    least_squares_floor,
    marchenko_pastur,
    solve,
)

SPECTRUM = {"lam": (2.0, 1.0, 0.25), "p": (0.25, 0.25, 0.5), "teacher2": (1.0, 0.5, 1.5)}
STD = (0.7, 0.5, 1.2, 0.9)


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({}, 1 + 1 / (1.5**2 * 0.4)),
        ({"nu": np.inf}, 1.0),
        ({"centered": True}, 1.0),
        ({"init_std": STD}, 1 + (0.7 * 0.5 * 1.2 * 0.9) ** 2 / (1.5**2 * 0.4)),
        (SPECTRUM, 0.5 + 0.125 + 0.1875 + 0.875 / (1.5**2 * 0.4)),
        ({"residual": 0.8}, 1 + (1 + 0.64 / 2) ** 2 / (1.5**2 * 0.4)),
        (
            {"residual": 0.8, "init_std": STD},
            1 + (0.7 * 0.9) ** 2 * (1 + 0.32 * 0.25) * (1 + 0.32 * 1.44) / (1.5**2 * 0.4),
        ),
    ],
)
def test_initial_error(change, expected):
    config = MeanFieldConfig(**({"T": 1, "L": 3, "eta": 0.1, "gamma0": 1.5, "nu": 0.4} | change))
    assert initial_error(config) == pytest.approx(expected, rel=1e-14)
    assert solve(config).gen[0] == pytest.approx(expected, rel=1e-14)


def test_infinite_depth_of_the_initial_error():
    gaps = []
    for blocks in (32, 64, 128):
        config = MeanFieldConfig(T=1, L=blocks + 1, eta=0.1, nu=1.0, residual=1.3)
        gaps.append(1 + np.exp(1.69) - initial_error(config))
    assert gaps[0] / gaps[1] == pytest.approx(2, abs=0.06)
    assert gaps[1] / gaps[2] == pytest.approx(2, abs=0.03)


@pytest.mark.parametrize("gamma0", [0.1, 1.0, 3.0])
def test_infinite_one_layer(gamma0):
    found = solve(MeanFieldConfig(T=61, L=1, eta=0.05, gamma0=gamma0))
    assert np.allclose(found.gen, infinite_one_layer(61, eta=0.05, gamma0=gamma0), rtol=0, atol=5e-15)


@pytest.mark.parametrize("alpha", [0.7, 2.0, 4.0])
@pytest.mark.parametrize("L", [1, 2])
def test_lazy_finite_data(alpha, L):
    config = MeanFieldConfig(T=61, L=L, eta=0.05, gamma0=1e-5, alpha=alpha, sigma=0.4)
    gen, train = lazy_finite_data(61, L=L, eta=0.05, alpha=alpha, sigma=0.4)
    found = solve(config)
    assert np.allclose(found.gen, gen, rtol=1e-9, atol=0)
    assert np.allclose(found.train, train, rtol=1e-9, atol=0)


@pytest.mark.parametrize("nu", [0.5, 2.0])
def test_lazy_finite_width(nu):
    """The deviation is 3e-8 at gamma0 = 1e-3 and falls with its square."""
    config = MeanFieldConfig(T=61, L=1, eta=0.1, gamma0=1e-3, nu=nu, centered=True)
    expected = lazy_finite_width(61, eta=0.1, nu=nu)
    small, large = (
        np.max(np.abs(solve(config.replace(gamma0=gamma0)).gen - expected)) for gamma0 in (1e-3, 1e-2)
    )
    assert small < 4e-8
    assert large / small == pytest.approx(100, rel=0.05)


@pytest.mark.parametrize(("alpha", "tolerance"), [(2.0, 5e-4), (4.0, 5e-8), (8.0, 3e-11)])
def test_least_squares_floor(alpha, tolerance):
    found = solve(MeanFieldConfig(T=401, L=2, eta=0.05, nu=2.0, alpha=alpha, sigma=0.5))
    gen, train = least_squares_floor(alpha, 0.5)
    assert found.gen[-1] == pytest.approx(gen, rel=tolerance)
    assert found.train[-1] == pytest.approx(train, rel=tolerance)


def test_one_pass_is_the_limit_of_minibatches():
    base = MeanFieldConfig(T=61, L=2, eta=0.05, nu=1.0, sigma=0.3, alpha=0.5, data="onepass")
    expected = solve(base).gen
    printed = {50.0: 8.8e-2, 500.0: 9.3e-3, 5000.0: 9.3e-4}
    for alpha, deviation in printed.items():
        found = solve(base.replace(data="fixed", alpha=alpha, batch_fraction=0.5 / alpha)).gen
        assert np.max(np.abs(expected / found - 1)) == pytest.approx(deviation, rel=0.01)


def test_full_batch_is_the_limit_of_large_minibatches():
    config = MeanFieldConfig(T=20, L=2, eta=0.05, nu=1.0, sigma=0.3, alpha=2.0)
    found = solve(config.replace(batch_fraction=1 - 1e-10))
    assert np.allclose(found.gen, solve(config).gen, rtol=1e-9)


@pytest.mark.parametrize(
    ("eta", "printed"), [(0.08, 0.10961), (0.04, 0.10890), (0.02, 0.10864), (0.01, 0.10852)]
)
def test_gradient_flow_is_approached_at_first_order(eta, printed):
    T = round(3.2 / eta) + 1
    found = solve(MeanFieldConfig(T=T, L=2, eta=eta, nu=1.0, alpha=2.0, sigma=0.3))
    assert round(float(found.gen[-1]), 5) == printed


@pytest.mark.parametrize("ratio", [0.1, 0.5, 0.98, 1.03, 4.0])
def test_marchenko_pastur_moments(ratio):
    """Moments 1, 1 + c, 1 + 3c + c^2 are those of X^T X/P by Wick's rule; the inverse moment is 1/(1 - c)."""
    x, weight = marchenko_pastur(ratio)
    moments = [float(weight @ x**power) for power in range(4)]
    assert moments == pytest.approx([1, 1, 1 + ratio, 1 + 3 * ratio + ratio**2], rel=1e-12)
    if ratio < 0.9:
        assert weight @ (1 / x) == pytest.approx(1 / (1 - ratio), rel=1e-11)


def test_lazy_formulas_against_sampled_matrices():
    """Ridge-less gradient descent on sampled data: mean over the spectrum of one large matrix, 1/D fluctuations."""
    D, alpha, L, eta, sigma, T = 300, 2.0, 2, 0.05, 0.5, 30
    random = np.random.default_rng(3)
    x = np.linalg.eigvalsh(np.cov(random.standard_normal((int(alpha * D), D)).T, bias=True))
    gen, train = lazy_finite_data(T, L=L, eta=eta, alpha=alpha, sigma=sigma)
    decay = (1 - eta * (L + 1) * x) ** (T - 1)
    assert gen[-1] == pytest.approx(np.mean(decay**2 + sigma**2 / alpha * (1 - decay) ** 2 / x), rel=0.01)
    noise = np.mean(decay**2) / alpha + 1 - 1 / alpha
    assert train[-1] == pytest.approx(np.mean(x * decay**2) + sigma**2 * noise, rel=0.01)


@pytest.mark.parametrize("gamma0", [1e-3, 1e-6, 1e-8, 1e-12])
def test_lazy_limit_of_a_centred_output_needs_no_smallest_richness(gamma0):
    """Differences of covariances would lose 1e-16/gamma0^2; version 0.1 was off by 2.2 at gamma0 = 1e-8."""
    found = solve(MeanFieldConfig(T=61, L=1, eta=0.1, nu=0.8, gamma0=gamma0, centered=True))
    error = np.max(np.abs(found.gen - lazy_finite_width(61, eta=0.1, nu=0.8)))
    assert error < 1e-12 + 0.04 * gamma0**2
    if gamma0 < 1e-5:
        assert found.gen[60] == pytest.approx(8.1914357e-7, rel=1e-8)


@pytest.mark.parametrize(
    "change",
    [
        {"L": 3, "alpha": 1.5, "eta": 0.03},
        {"L": 3, "residual": 1.0, "alpha": 1.2, "batch_fraction": 0.5},
        {"L": 2, "data": "onepass", "alpha": 0.7, "momentum": 0.5, "eta": 0.02},
    ],
    ids=["deep", "residual, minibatches", "one pass, momentum"],
)
def test_lazy_limit_is_that_of_moderate_richness_extrapolated(change):
    base = {"T": 40, "L": 2, "eta": 0.04, "nu": 0.8, "sigma": 0.3, "centered": True} | change
    gen = lambda gamma0: solve(MeanFieldConfig(**base, gamma0=gamma0), warn=False).gen
    # Richardson's extrapolation of an expansion in gamma0^2, where no digit is lost.
    limit = (64 * gen(0.01) - 20 * gen(0.02) + gen(0.04)) / 45
    assert np.max(np.abs(gen(1e-8) - limit)) < 5e-12
    # Weight decay makes the initial function fade, so that centring leaves a part of size 1/gamma0^2.
    decaying = MeanFieldConfig(**(base | {"momentum": 0.0}), gamma0=1e-8, weight_decay=0.1)
    with pytest.warns(UserWarning, match="weight decay"):
        assert solve(decaying).diverged


def test_refusals():
    with pytest.raises(ValueError, match="Argument `ratio` must be a finite positive number, but is 0"):
        marchenko_pastur(0.0)
    with pytest.raises(ValueError, match="Argument `ratio` must be farther from 1 .* but is 1.0."):
        marchenko_pastur(1.0)
    with pytest.raises(ValueError, match=r"Argument `alpha` must be a number above 1, but is 0.5"):
        least_squares_floor(0.5, 1.0)
