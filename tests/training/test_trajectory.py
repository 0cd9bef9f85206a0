"""A trajectory survives xarray and netCDF, and names its axes."""

import dataclasses

import jax
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


AWKWARD = {"enc/W": (3, 2), "z": (2, 3), "100%2F": (2, 2)}


@pytest.fixture(scope="module")
def awkward():
    """Factors whose names are no names of variables in a file, one of them called like the map."""
    arch = dln.Architecture(lambda p: p["z"] @ p["enc/W"] @ p["100%2F"], AWKWARD, name="awkward")
    theta0 = {name: np.ones(shape) / 3 for name, shape in AWKWARD.items()}
    return arch, dln.SquaredLoss.from_target(np.eye(2)), theta0


@pytest.mark.parametrize("method", ["tsit5", pytest.param("stiff", marks=pytest.mark.slow)])
def test_names_and_methods_survive_a_file(awkward, tmp_path, method):
    arch, loss, theta0 = awkward
    run = dln.solve(dln.GradientFlow(arch, loss), theta0, 1.0, ts=3, method=method)
    run = dataclasses.replace(run, monitors={"|eta G / 2|": np.arange(3.0)})
    run.save(tmp_path / "run.nc")
    back = dln.Trajectory.load(tmp_path / "run.nc")
    assert back.stats == run.stats
    for group in ("states", "final", "monitors"):
        left, right = getattr(back, group), getattr(run, group)
        assert list(left) == list(right)
        jax.tree.map(np.testing.assert_array_equal, left, right)


def test_a_batch_has_its_axes_in_a_file_and_gives_up_its_members(tmp_path):
    run = dln.Trajectory(
        label="a",
        architecture="b",
        conventions="c",
        clock="t",
        ts=np.arange(4.0),
        z=np.random.default_rng(0).normal(size=(5, 4, 2, 3)),
        loss=np.ones((5, 4)),
        states=None,
        final={"W": np.arange(10.0).reshape(5, 2)},
        drift={"D_1": np.full((5, 4), np.nan)},
        monitors={},
        stats=dln.training.Stats("m", None, None, {"steps": 1}, 0.0, False),
    )
    assert run.to_xarray()["z"].dims == ("member", "time", "out", "inp")
    run.save(tmp_path / "batch.nc")
    back = dln.Trajectory.load(tmp_path / "batch.nc")
    np.testing.assert_array_equal(back.z, run.z)
    assert (back.batch_shape, len(back), back[2].z.shape) == ((5,), 4, (4, 2, 3))
    np.testing.assert_array_equal(back[2].final["W"], run.final["W"][2])
    assert [one.loss.shape for one in back.members()] == [(4,)] * 5
    assert np.isnan(back.max_drift), "a drift that is no number is not passed over"
    with pytest.raises(TypeError, match="no members"):
        back[0][0]
    assert "5 starts" in repr(back)
    assert "batch" in str(back)


def test_damage_and_full_disks_are_told_with_the_path(run, tmp_path, monkeypatch):
    path = tmp_path / "run.nc"
    run.save(path)
    whole = path.read_bytes()
    for content in (b"", b"no netCDF", whole[: len(whole) // 2], whole[:-700]):
        (tmp_path / "bad.nc").write_bytes(content)
        with pytest.raises(ValueError, match=r"bad\.nc"):
            dln.Trajectory.load(tmp_path / "bad.nc")
    short = run.to_xarray().drop_vars("loss")
    short.to_netcdf(tmp_path / "short.nc", engine="h5netcdf")
    with pytest.raises(ValueError, match=r"short\.nc.*damaged"):
        dln.Trajectory.load(tmp_path / "short.nc")
    with pytest.raises(FileNotFoundError):
        dln.Trajectory.load(tmp_path / "none.nc")
    with pytest.raises(OSError, match="nowhere"):
        run.save(tmp_path / "nowhere" / "run.nc")

    def full(self, content):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("pathlib.Path.write_bytes", full)
    with pytest.raises(OSError, match=r"run\.nc could not be written: No space left"):
        run.save(path)
    assert path.read_bytes() == whole


def test_a_training_loop_of_ones_own_becomes_a_trajectory(run):
    arch = dln.linear_network((3, 2, 4))
    loss = dln.SquaredLoss.from_target(np.ones((4, 3)))
    own = dln.Trajectory.from_arrays(run.ts, run.states, arch, loss)
    points = [{name: leaf[k] for name, leaf in run.states.items()} for k in range(len(run))]
    listed = dln.Trajectory.from_arrays(run.ts, points, arch, loss, label="mine")
    np.testing.assert_allclose(own.z, run.z, rtol=0, atol=1e-14)
    np.testing.assert_array_equal(own.z, listed.z)
    np.testing.assert_allclose(own.loss, [float(loss(z)) for z in run.z], rtol=1e-14)
    np.testing.assert_allclose(own.drift["D_1"], run.drift["D_1"], rtol=0, atol=1e-13)
    assert (listed.label, own.label) == ("mine", "own training loop")
    with pytest.raises(ValueError, match="strictly increasing"):
        dln.Trajectory.from_arrays(run.ts[::-1], run.states, arch, loss)
    with pytest.raises(ValueError, match=r"params\['W1'\]` must have shape \(5, 2, 3\)"):
        dln.Trajectory.from_arrays(run.ts[:-1], run.states, arch, loss)
