"""Predictions with their printed digits: width, learning rate, amount and use of data, depth."""

import math

import numpy as np
import pytest

from dlntheory.theory.mean_field import MeanFieldConfig, solve

BASE = MeanFieldConfig(T=41, L=2, eta=0.05, nu=1.0)


def digits(value, printed):
    """Whether `value` rounds to the printed number, given as text so that its digits count."""
    mantissa, _, exponent = printed.partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    return abs(value - float(printed)) <= 0.5001 * unit


@pytest.mark.parametrize(
    ("nu", "printed"),
    [
        (0.25, "5 .8827 .7522 .6513 .4832"),
        (0.5, "3 .7441 .5286 .3111 8.364e-2"),
        (1.0, "2 .5452 .2789 7.459e-2 4.448e-3"),
        (2.0, "1.5 .3819 .1285 1.388e-2 2.075e-4"),
        (8.0, "1.125 .2268 3.695e-2 8.728e-4 1.200e-6"),
        (math.inf, "1 .16990 1.6017e-2 5.6062e-5 4.4408e-10"),
    ],
)
def test_width(nu, printed):
    gen = solve(BASE.replace(nu=nu)).gen
    for t, text in zip((0, 5, 10, 20, 40), printed.split(), strict=True):
        assert digits(gen[t], text), (t, gen[t])


def test_wider_is_better_on_the_population_but_not_late_with_noise():
    widths = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
    population = np.array([solve(BASE.replace(nu=nu)).gen for nu in widths])
    assert np.all(np.diff(population, axis=0) < 0)
    data = [solve(BASE.replace(nu=nu, T=101, alpha=2.0, sigma=0.5)).gen for nu in widths]
    early = [".886", ".727", ".525", ".380", ".301", ".260", ".220"]
    assert all(digits(gen[10], text) for gen, text in zip(data, early, strict=True))
    late = dict(zip(widths, (gen[100] for gen in data), strict=True))
    for nu, text in {1.0: ".2261", 2.0: ".2320", 8.0: ".2384", math.inf: ".2404"}.items():
        assert digits(late[nu], text)
    assert np.all(np.diff([np.min(gen) for gen in data]) < 0)


@pytest.mark.parametrize(
    ("kind", "nu", "eta", "gen"),
    [
        ("mup", 0.5, 0.144, "2.96e-1"),
        ("mup", 2.0, 0.224, "4.0e-4"),
        ("mup", 8.0, 0.259, "2.0e-8"),
        ("mup", 64.0, 0.253, "6.6e-14"),
        ("ntk", 0.5, 0.073, "5.8e-4"),
        ("ntk", 2.0, 0.117, "5.1e-6"),
        ("ntk", 8.0, 0.224, "2.0e-9"),
        ("ntk", 64.0, 0.314, "1.6e-14"),
    ],
)
def test_best_learning_rate(kind, nu, eta, gen):
    """The printed rate has three digits: the minimum is within one per cent of it, the error there within 15."""
    make = {
        "mup": lambda rate: MeanFieldConfig.mup(T=9, L=2, eta=rate, nu=nu, gamma0=1.0),
        "ntk": lambda rate: MeanFieldConfig.ntk(T=9, L=2, eta=rate, nu=nu, gamma=4.0),
    }[kind]
    low, here, high = (float(solve(make(rate)).gen[-1]) for rate in (eta / 1.01, eta, eta * 1.01))
    assert here < low
    assert here < high
    assert here == pytest.approx(float(gen), rel=0.15)


@pytest.mark.parametrize(
    ("alpha", "gen", "train", "best"),
    [
        (0.25, "1.5666 1.5916 1.5916", "4.449e-3 1.9e-8 0.0e-9", (2, "1.4967")),
        (0.5, "1.1900 1.3183 1.3642", "8.540e-2 1.964e-3 4e-7", (8, "1.1864")),
        (1.0, ".77426 .66271 .95193", ".25089 5.905e-2 2.134e-2", (37, ".65545")),
        (2.0, ".52455 .23195 .24286", ".38010 .14358 .12514", (74, ".22249")),
        (4.0, ".39938 .08903 .08327", ".45310 .19453 .18750", (86, ".08229")),
        (math.inf, ".27888 1.120e-3 6.6e-12", ".52888 .25112 .25000", None),
    ],
)
def test_amount_of_data(alpha, gen, train, best):
    found = solve(BASE.replace(T=201, alpha=alpha, sigma=0.5))
    for curve, printed in ((found.gen, gen), (found.train, train)):
        for t, text in zip((10, 50, 200), printed.split(), strict=True):
            assert digits(curve[t], text), (t, curve[t])
    if best is not None:
        assert found.best_stop[0] == best[0]
        assert digits(found.best_stop[1], best[1])
    assert np.all(np.diff(found.train) < 1e-14)
    assert np.all(found.train[1:] < found.test[1:]) or alpha == math.inf


@pytest.mark.parametrize(
    ("settings", "printed"),
    [
        ({}, ".27888 4.448e-3 1.65e-6"),
        ({"alpha": 0.5, "data": "onepass"}, ".36350 .028186 .018119"),
        ({"alpha": 10.0, "batch_fraction": 0.05}, ".39480 .044109 .025558"),
        ({"alpha": 2.0, "batch_fraction": 0.25}, ".53352 .17548 .097955"),
        ({"alpha": 2.0}, ".49266 .15878 .090038"),
        ({"alpha": 0.5}, "1.09825 1.11214 1.13786"),
    ],
)
def test_use_of_data(settings, printed):
    gen = solve(BASE.replace(T=101, sigma=0.3, **settings)).gen
    for t, text in zip((10, 40, 100), printed.split(), strict=True):
        assert digits(gen[t], text), (t, gen[t])


def test_depth():
    base = BASE.replace(T=51, eta=0.02, alpha=2.0, sigma=0.3)
    printed = {
        1: "1.17947 .52494 .24592",
        4: "1.09638 .50676 .23667",
        16: "1.07324 .50564 .23578",
        32: "1.06957 .50569 .23573",
    }
    curves = {blocks: solve(base.replace(L=blocks + 1, residual=1.0)).gen for blocks in (1, 4, 8, 16, 32)}
    for blocks, texts in printed.items():
        for t, text in zip((5, 20, 50), texts.split(), strict=True):
            assert digits(curves[blocks][t], text), (blocks, t)
    limit = 2 * curves[32] - curves[16]
    deviations = [np.max(np.abs(curves[blocks] / limit - 1)) for blocks in (4, 8, 16, 32)]
    assert deviations == pytest.approx([0.074, 0.040, 0.021, 0.0105], rel=0.03)


@pytest.mark.parametrize(
    ("settings", "eta"),
    [
        ({"L": 5, "residual": 1.0}, 0.0936),
        ({"L": 17, "residual": 1.0}, 0.0763),
        ({"L": 5, "residual": 0.5 * 2.0}, 0.0936),
        ({"L": 9, "residual": 0.5 * math.sqrt(8)}, 0.0267),
        ({"L": 5}, 0.0728),
    ],
)
def test_best_learning_rate_with_depth(settings, eta):
    config = MeanFieldConfig(T=11, eta=eta, nu=2.0, **settings)
    low, here, high = (solve(config.replace(eta=rate)).gen[-1] for rate in (eta / 1.01, eta, eta * 1.01))
    assert here < low
    assert here < high
