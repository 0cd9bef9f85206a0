"""The marching against the dense iteration, the printed equations, stored reference curves and its own structure."""

import json
import math
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from systems.mean_field import iterate_densely
from systems.plain_marching import march_plainly

from dlntheory.theory.mean_field import MeanFieldConfig, MeanFieldResult, solve
from dlntheory.theory.mean_field.time_stepping import TimeStepping

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "dmft_reference.json").read_text())
SPECTRUM = {"lam": (2.0, 1.0, 0.25), "p": (0.25, 0.25, 0.5), "teacher2": (1.0, 0.5, 1.5)}
BASE = {"T": 12, "L": 2, "eta": 0.05, "nu": 0.7, "sigma": 0.4}
UNEQUAL = (0.7, 0.5, 1.2, 0.9, 1.1)
CASES = {
    "one layer": {"L": 1, "alpha": 1.5, "eta": 0.1},
    "three layers, little data": {"L": 3, "alpha": 0.6, "init_std": UNEQUAL[:4]},
    "minibatches, weight decay": {"alpha": 2.0, "batch_fraction": 0.3, "weight_decay": 0.2},
    "minibatches, spectrum": {"alpha": 2.0, "batch_fraction": 0.4, **SPECTRUM},
    "one pass, momentum, spectrum": {
        "data": "onepass",
        "alpha": 0.7,
        "momentum": 0.6,
        "eta": 0.02,
        **SPECTRUM,
    },
    "one pass, infinite width": {"data": "onepass", "alpha": 0.7, "nu": math.inf, "init_std": UNEQUAL[:3]},
    "centred, spectrum": {"centered": True, "gamma0": 0.3, "alpha": 1.2, "eta": 0.02, **SPECTRUM},
    "centred, weight decay, population": {"centered": True, "weight_decay": 0.3, "gamma0": 0.5},
    "residual, weight decay": {
        "L": 4,
        "residual": 1.3,
        "alpha": 1.2,
        "weight_decay": 0.3,
        "init_std": UNEQUAL,
    },
    "residual, minibatches, centred": {
        "residual": 0.8,
        "batch_fraction": 0.5,
        "alpha": 3.0,
        "centered": True,
        "momentum": 0.4,
        "eta": 0.03,
        **SPECTRUM,
    },
    "infinite width, spectrum": {"nu": math.inf, "alpha": 1.1, "eta": 0.03, **SPECTRUM},
    "population, schedule": {"eta": tuple(np.linspace(0.15, 0.0, 12)), **SPECTRUM},
    "a mode without variance": {"alpha": 1.5, "lam": (1.5, 0.0), "p": (0.6, 0.4)},
}


@pytest.mark.parametrize("case", CASES)
def test_dense_iteration(case):
    config = MeanFieldConfig(**(BASE | CASES[case]))
    reference = iterate_densely(config)
    found = solve(config, two_time=True)
    for name in ("gen", "train"):
        assert np.allclose(getattr(found, name), reference[name], rtol=1e-12, atol=1e-12), name
    for name in ("Cv", "Cd", "V", "H", "G"):
        error = np.max(np.abs(getattr(found.two_time, name) - reference[name]))
        assert error < 1e-12 * max(1.0, np.max(np.abs(reference[name]))), name


@pytest.mark.parametrize("name", REFERENCE)
def test_reference_curves(name):
    config = MeanFieldConfig(**REFERENCE[name]["config"])
    theory = REFERENCE[name]["theory"]
    found = solve(config, two_time=True)
    close = lambda a, b: np.allclose(a, b, rtol=1e-9, atol=1e-13)
    for mine, theirs in {
        "gen": "gen",
        "train": "train",
        "bias": "bias",
        "V": "Vh",
        "H": "H",
        "G": "G",
    }.items():
        assert close(getattr(found, mine), theory[theirs]), mine
    assert np.allclose(found.alignment, theory["alignment"], rtol=1e-9, atol=1e-9)
    assert close(found.two_time.Cv[-1], theory["Cv_last_row"])
    assert close(found.two_time.Cd[-1], theory["Cd_last_row"])


@pytest.mark.parametrize(
    "change",
    [
        {"L": 2, "alpha": 2.0, "sigma": 0.5},
        {"L": 1, "alpha": 0.5, "sigma": 0.3, **SPECTRUM},
        pytest.param({"T": 600, "L": 3, "nu": 2.0, "alpha": 1.5, "momentum": 0.5}, marks=pytest.mark.slow),
    ],
)
def test_marching_as_printed(change):
    """Beyond 192 rows the products go by panels; the panels must give what whole matrices give."""
    config = MeanFieldConfig(**({"T": 260, "L": 2, "eta": 0.02, "nu": 1.0} | change))
    reference = march_plainly(config)
    found = solve(config, two_time=True)
    pairs = found.two_time
    mine = {
        "gen": found.gen,
        "train": found.train,
        "Cv": pairs.Cv[-1],
        "V": pairs.V[-1],
        "H": pairs.H[-1, -1],
    }
    for name, values in mine.items():
        assert np.allclose(values, reference[name], rtol=1e-12, atol=1e-12), name


@pytest.mark.parametrize("residual", [None, 1.0])
def test_many_rows_are_the_same_with_and_without_panels(residual, monkeypatch):
    from dlntheory.theory.mean_field import (
        residual_layers,
        triangular_products as triangular,
    )

    config = MeanFieldConfig(T=70, L=2, eta=0.05, nu=1.0, alpha=2.0, residual=residual, weight_decay=0.1)
    whole = solve(config)
    monkeypatch.setattr(triangular, "SMALL", 16)
    monkeypatch.setattr(triangular, "PANEL_ENTRIES", 1)
    monkeypatch.setattr(residual_layers, "SMALL", 16)
    panels = solve(config)
    for name in ("gen", "train", "V", "H", "G"):
        assert np.allclose(getattr(whole, name), getattr(panels, name), rtol=1e-12, atol=1e-14), name


def test_structure():
    """Strictly causal responses have no diagonal; the others do, and matter. Batches are noisier than their set."""
    config = MeanFieldConfig(**(BASE | {"alpha": 2.0, "batch_fraction": 0.25}))
    march = TimeStepping.of(config, ensemble=False)
    while march.rows < config.T:
        assert march.advance()
    layers, data = march.layers, march.data
    for strict in (*layers.Rg, data.N, *data.U):
        assert np.all(np.triu(strict) == 0)
    for unit in (*layers.Q, *layers.S, data.RD, *data.M):
        assert np.all(np.diag(unit) == 1)
        assert np.all(np.triu(unit, 1) == 0)
    assert np.max(np.abs(np.diag(layers.Rh[0]))) > 0.1
    assert np.allclose(np.diag(data.Cb), data.train / config.batch_fraction, rtol=1e-13)
    for covariance in (data.Cv, data.Cb, layers.V, *layers.H, *layers.G):
        assert np.array_equal(covariance, covariance.T)
        assert np.min(np.linalg.eigvalsh(covariance)) > -1e-13 * np.max(np.abs(covariance))


def test_memory_is_what_was_announced():
    for change in (
        {"alpha": 2.0},
        {},
        {"alpha": 2.0, **SPECTRUM},
        {"alpha": 2.0, "data": "onepass", **SPECTRUM},
        {"nu": math.inf, "alpha": 1.0, **SPECTRUM},
        {"L": 3, "residual": 1.0},
    ):
        config = MeanFieldConfig(**(BASE | change))
        march = TimeStepping.of(config, ensemble=True)
        seen = {}
        for part in (march.layers, march.data, march.ensemble):
            for value in vars(part).values():
                for array in value if isinstance(value, list) else [value]:
                    if isinstance(array, np.ndarray) and array.ndim >= 2 and array.shape[-2:] == (12, 12):
                        base = array if array.base is None else array.base
                        seen[id(base)] = base.nbytes
        assert sum(seen.values()) == TimeStepping.memory_bytes(config, ensemble=True), change


def test_refuses_before_allocating():
    config = MeanFieldConfig(T=200_000, L=2, eta=0.05, nu=1.0, alpha=2.0)
    with pytest.raises(
        ValueError, match=r"Argument `T` must be so small .* memory_limit = 4 GB, but T = 200000 needs"
    ):
        solve(config)
    with pytest.raises(ValueError, match="needs about 2.07e-05 GB"):
        solve(config.replace(T=12), memory_limit=1e4)
    with pytest.raises(ValueError, match="Argument `memory_limit` must be a positive number"):
        solve(config.replace(T=12), memory_limit=0)
    with pytest.raises(TypeError, match="Argument `config` must be a MeanFieldConfig, but is a dict"):
        solve({"T": 3})


def test_divergence_truncates():
    config = MeanFieldConfig(T=60, L=2, eta=1.5, nu=1.0, alpha=2.0)
    with pytest.warns(UserWarning, match=r"eta = 1.5 is above 0.2288, the largest stable rate"):
        found = solve(config, two_time=True, ensemble=True)
    assert found.diverged
    assert found.diverged_at == len(found) < 60
    assert found.two_time.H.shape == (2, len(found), len(found))
    assert np.all(np.isfinite(found.gen))
    assert np.max(found.gen) <= 1e6 * found.gen[0]
    before = solve(config.replace(T=len(found)), warn=False)
    assert not before.diverged
    assert np.array_equal(before.gen, found.gen)
    assert "diverged at update" in repr(found)


def test_a_large_initial_function_is_no_divergence():
    config = MeanFieldConfig(T=3, L=1, eta=0.05, gamma0=1e-4, nu=1.0)
    with pytest.warns(UserWarning, match=r"gamma0 = 0.0001 at finite nu without centring.*about 1e\+08"):
        found = solve(config)
    assert not found.diverged
    assert found.gen[0] == pytest.approx(1e8, rel=1e-6)


def test_no_advice_means_no_warning():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        solve(MeanFieldConfig(T=2, L=1, eta=5.0), warn=False)
        solve(MeanFieldConfig(T=2, L=1, eta=0.1, gamma0=1e-5, nu=1.0, centered=True))


def test_interruption_keeps_what_is_done(monkeypatch):
    config = MeanFieldConfig(**BASE)
    advance = TimeStepping.advance

    def interrupted(self):
        if self.rows == 5:
            raise KeyboardInterrupt
        return advance(self)

    monkeypatch.setattr(TimeStepping, "advance", interrupted)
    found = solve(config, two_time=True)
    monkeypatch.undo()
    assert found.interrupted
    assert not found.diverged
    assert np.array_equal(found.gen, solve(config).gen[:5])
    assert found.two_time.Cv.shape == (5, 5)
    assert "interrupted" in str(found)


def test_progress_bar_only_when_wanted(capsys, monkeypatch):
    config = MeanFieldConfig(**BASE)
    solve(config)
    assert capsys.readouterr().err == ""
    solve(config, progress=True)
    assert "mean field" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    solve(config)  # on a terminal, but over before anybody looks
    assert capsys.readouterr().err == ""


def test_ensemble():
    """The printed number; no noise of initialisation at infinite width; the bias on the population."""
    config = MeanFieldConfig(T=11, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)
    found = solve(config, ensemble=True)
    assert f"{found.gen[10]:.4f} {found.ensemble[10]:.4f}" == "0.5246 0.2960"
    assert np.all(found.bias <= found.ensemble + 1e-15)
    assert np.all(found.ensemble <= found.gen + 1e-15)
    for change in ({}, {"data": "onepass"}, SPECTRUM):
        wide = solve(config.replace(nu=math.inf, **change), ensemble=True, warn=False)
        assert np.allclose(wide.ensemble, wide.gen, rtol=1e-13)
    population = solve(config.replace(alpha=math.inf), ensemble=True)
    assert np.allclose(population.ensemble, population.bias, rtol=1e-13)


def test_two_times_agree_with_the_curves():
    found = solve(MeanFieldConfig(**(BASE | {"alpha": 1.3, "batch_fraction": 0.5})), two_time=True)
    pairs = found.two_time
    assert isinstance(found, MeanFieldResult)
    for curve, matrix in ((found.gen, pairs.Cv), (found.train, pairs.Cd), (found.V, pairs.V)):
        assert np.allclose(curve, np.diagonal(matrix), rtol=1e-13)
    for curves, matrices in ((found.H, pairs.H), (found.G, pairs.G)):
        assert np.array_equal(curves, np.diagonal(matrices, axis1=1, axis2=2))


def test_a_shorter_run_is_the_beginning_of_a_longer_one():
    config = MeanFieldConfig(**(BASE | {"alpha": 1.3, "residual": 1.0}))
    assert np.allclose(solve(config.replace(T=6)).gen, solve(config).gen[:6], rtol=1e-14)
    assert len(solve(config.replace(T=1))) == 1
