"""A trajectory survives xarray and netCDF, and names its axes."""

import numpy as np
import pytest
import xarray

import dlntheory as dln


@pytest.fixture(scope="module")
def run():
    arch = dln.linear_network((3, 2, 4))
    rng = np.random.default_rng(2)
    theta0 = {name: rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(rng.standard_normal((4, 3))))
    return dln.solve(flow, theta0, 1.0, ts=6)


def test_dataset_has_names_axes_and_settings(run):
    data = run.to_xarray()
    assert data["z"].dims == ("time", "out", "inp")
    assert data["state_W1"].shape == (6, 2, 3)
    assert set(data.data_vars) == {"z", "loss", "state_W1", "state_W2", "final_W1", "final_W2", "drift_D_1"}
    assert "jax" in data.attrs["versions"]
    np.testing.assert_allclose(data["time"], run.ts)


def test_netcdf_round_trip_is_exact(run, tmp_path):
    path = tmp_path / "run.nc"
    run.save(path)
    back = dln.Trajectory.load(path)
    assert back.stats == run.stats
    assert (back.label, back.architecture, back.conventions, back.clock) == (
        run.label,
        run.architecture,
        run.conventions,
        run.clock,
    )
    for name in ("ts", "z", "loss"):
        np.testing.assert_array_equal(getattr(back, name), getattr(run, name))
    for name in ("states", "final", "drift", "monitors"):
        left, right = getattr(back, name), getattr(run, name)
        assert left.keys() == right.keys()
        for key in left:
            np.testing.assert_array_equal(left[key], right[key])


def test_a_foreign_file_is_refused(tmp_path):
    path = tmp_path / "other.nc"
    xarray.Dataset({"a": ("x", np.ones(2))}).to_netcdf(path, engine="h5netcdf")
    with pytest.raises(ValueError, match=r"must be a file with format.*None"):
        dln.Trajectory.load(path)
