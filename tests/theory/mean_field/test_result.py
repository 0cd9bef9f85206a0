"""The result: printing, dictionary, xarray, immutability."""

import json
import math

import numpy as np
import pytest

from dlntheory.display.text import json_text
from dlntheory.theory.mean_field import MeanFieldConfig, solve
from dlntheory.theory.mean_field.time_stepping import TimeStepping


@pytest.fixture(scope="module")
def result():
    config = MeanFieldConfig(
        T=9, L=2, eta=0.02, nu=1.0, alpha=2.0, sigma=0.5, momentum=0.5, lam=(2.0, 1.0), centered=True
    )
    return solve(config, two_time=True, ensemble=True)


def test_prints(result):
    assert repr(result).startswith(
        "MeanFieldResult(2 hidden layers, full batch, alpha 2, nu 1, gamma0 1, 9 times"
    )
    text = str(result)
    assert "learning rate  0.02, momentum 0.5, centred output, 2 eigenvalues" in text
    assert text.splitlines()[-1].split()[0] == "8"
    assert "<table>" in result._repr_html_()
    schedule = result.config.replace(momentum=0.0, weight_decay=0.1, eta=tuple(np.linspace(0.02, 0.0, 9)))
    assert "schedule, 0 to 0.02, weight decay 0.1" in str(solve(schedule))


def test_dictionary_is_json(result):
    found = json.loads(json_text(result.to_dict()))
    assert found["gen"] == result.gen.tolist()
    assert found["config"]["lam"] == [2.0, 1.0]
    assert np.asarray(found["two_time"]["H"]).shape == (2, 9, 9)
    assert MeanFieldConfig(**found["config"]) == result.config
    assert "two_time" not in solve(result.config).to_dict()


def test_xarray(result, tmp_path):
    found = result.to_xarray()
    assert dict(found.sizes) == {"time": 9, "layer": 2, "time_2": 9}
    assert found.H.sel(layer=2, time=3) == result.H[1, 3]
    assert found.two_time_Cv.sel(time=3, time_2=5) == result.two_time.Cv[3, 5]
    assert found.attrs["gamma0"] == 1.0
    found.to_netcdf(tmp_path / "result.nc", engine="h5netcdf")
    short = solve(result.config.replace(nu=math.inf, T=2)).to_xarray()
    assert "time_2" not in short.sizes
    assert short.attrs["nu"] == math.inf


def test_is_immutable(result):
    with pytest.raises(ValueError, match="read-only"):
        result.gen[0] = 0.0
    with pytest.raises(ValueError, match="read-only"):
        result.two_time.H[0, 0, 0] = 0.0
    with pytest.raises(AttributeError):
        result.gen = None


def test_derived_values(result):
    assert np.array_equal(result.test, result.gen + 0.25)
    assert result.best_stop == (int(np.argmin(result.gen)), np.min(result.gen))
    assert result.times.tolist() == list(range(9))
    assert result.alignment[0] == 0.0
    assert np.all((result.alignment[1:] > 0) & (result.alignment[1:] < 1))


def test_nothing_at_all(monkeypatch):
    """Interrupted before the first row: the result says so without failing."""

    def interrupted(self):
        raise KeyboardInterrupt

    monkeypatch.setattr(TimeStepping, "advance", interrupted)
    found = solve(MeanFieldConfig(T=3, L=1, eta=0.1), two_time=True)
    assert len(found) == 0
    assert "0 of 3, interrupted" in str(found)
    assert found.to_xarray().sizes["time"] == 0
    with pytest.raises(ValueError, match="must have at least one time"):
        _ = found.best_stop
