"""Exponents of power-law data: the formula, the rank-one flow and the full theory."""

import numpy as np
import pytest
from scipy.integrate import solve_ivp

from dlntheory.theory.mean_field import (
    MeanFieldConfig,
    lazy_exponent,
    log_slope,
    power_law_modes,
    rank_one_flow,
    rich_exponent,
    solve,
)


def test_spectrum():
    """The bins carry the whole tail: the sums of signal and of teacher are those of the modes one by one."""
    a, b, end = 1.3, 0.8, 2e5 + 0.5
    modes = power_law_modes(a, b, end=end)
    k = np.arange(1.0, 2e5 + 1)
    signal = k ** (-a * b - 1)
    signal /= np.sum(signal)
    weight = modes["p"] * modes["teacher2"]
    assert np.sum(weight * modes["lam"]) == pytest.approx(1, rel=1e-14)
    assert modes["lam"][:40] == pytest.approx(k[:40] ** -a)
    assert (weight * modes["lam"])[:40] == pytest.approx(signal[:40], rel=1e-4)
    assert np.sum(weight) == pytest.approx(np.sum(signal * k**a), rel=2e-3)
    assert np.all(np.diff(modes["lam"]) < 0)


@pytest.mark.parametrize(
    ("source", "L", "printed"),
    [
        (0.3, 1, 0.4616),
        (0.3, 3, 0.6317),
        (0.5, 2, 0.7502),
        (0.75, 1, 0.8611),
        (0.75, 3, 0.9285),
        (1.5, 2, 1.5014),
    ],
)
def test_rank_one_slopes(source, L, printed):
    run = rank_one_flow(power_law_modes(2.0, source), L, [1e2, 1e5])
    assert run.slope[-1] == pytest.approx(printed, abs=3e-4)
    assert run.slope[-1] == pytest.approx(rich_exponent(source, L), abs=0.01)


def test_rank_one_flow_is_the_flow_of_a_balanced_network():
    """Against W -> w products: L = 2, gradient flow of three balanced rank-one factors, by another solver."""
    lam, target = np.array([1.0, 0.6, 0.2]), np.array([1.0, -0.5, 0.8])
    u = lam * target / np.linalg.norm(lam * target)
    size = 0.3 ** (1 / 3)  # every factor has this norm: |B| = 0.3
    ts = np.array([1.0, 3.0, 8.0])

    def field(t, y):
        first, middle, last = y[:6].reshape(2, 3), y[6:10].reshape(2, 2), y[10:]
        g = lam * (target - last @ middle @ first)
        return np.concatenate(
            [
                np.outer(middle.T @ last, g).ravel(),
                np.outer(last, first @ g).ravel(),
                middle @ first @ g,
            ]
        )

    e = np.array([0.6, 0.8])
    start = np.concatenate([np.outer(e, u).ravel(), np.outer(e, e).ravel(), e]) * size
    full = solve_ivp(field, (0, 8), start, method="DOP853", t_eval=ts, rtol=1e-11, atol=1e-13).y.T
    products = [y[10:] @ y[6:10].reshape(2, 2) @ y[:6].reshape(2, 3) for y in full]
    modes = {"lam": lam, "p": np.full(3, 1 / 3), "teacher2": 3 * target**2}
    flip = np.sign(target)
    run = rank_one_flow(modes, 2, ts, start=0.3, rtol=1e-9)
    expected = [np.sum(lam * (target - b) ** 2) for b in products]
    assert np.all(np.sign(products[0]) == flip)
    assert run.gen == pytest.approx(expected, rel=1e-6)
    assert run.norm == pytest.approx([np.linalg.norm(b) for b in products], rel=1e-6)


def test_slope_is_the_derivative():
    run = rank_one_flow(power_law_modes(2.0, 0.5), 1, np.geomspace(99, 101, 3))
    measured = -np.log(run.gen[2] / run.gen[0]) / np.log(run.ts[2] / run.ts[0])
    assert run.slope[1] == pytest.approx(measured, rel=1e-4)


def test_lazy_and_rich_slopes_of_the_full_theory():
    modes = power_law_modes(1.5, 0.5)
    slopes = {}
    for name, L, gamma0, eta in (("lazy", 1, 1e-4, 0.4), ("rich", 1, 3.0, 0.05), ("deep", 2, 3.0, 0.02)):
        found = solve(MeanFieldConfig(T=701, L=L, eta=eta, gamma0=gamma0, **modes))
        slopes[name] = log_slope(found.times, found.gen, 70, 700)
    assert slopes["lazy"] == pytest.approx(lazy_exponent(0.5), abs=0.002)
    assert 0.650 < slopes["rich"] < 0.654
    assert slopes["deep"] == pytest.approx(0.71, abs=0.005)


def test_exponents():
    assert rich_exponent(0.5, 1) == pytest.approx(2 / 3)
    assert rich_exponent(1.0, 4) == 1.0
    assert rich_exponent(1 - 1e-12, 4) == pytest.approx(1.0)
    assert rich_exponent(0.3, 3) == pytest.approx(0.6316, abs=1e-4)


def test_refusals():
    with pytest.raises(ValueError, match="Argument `source` must be a finite positive number .*, but is 0"):
        power_law_modes(1.5, 0.0)
    with pytest.raises(ValueError, match="Argument `end` must be a finite number above 40.5, but is 10"):
        power_law_modes(1.5, 0.5, end=10)
    with pytest.raises(ValueError, match="Argument `times` must be positive and increasing"):
        rank_one_flow(power_law_modes(1.5, 0.5), 1, [1.0, 0.5])
    with pytest.raises(ValueError, match="Argument `times` must have two entries between 5 and 6, but has 1"):
        log_slope(np.array([1.0, 5.5]), np.ones(2), 5, 6)
    with pytest.raises(ValueError, match="Argument `values` must be positive"):
        log_slope(np.array([1.0, 2.0]), np.array([1.0, 0.0]), 1, 2)
