"""Trajectories as labelled xarray data sets and netCDF files."""

from __future__ import annotations

import dataclasses
import json
import os
from typing import TYPE_CHECKING

import numpy as np

from .trajectory import Stats, Trajectory

if TYPE_CHECKING:
    import xarray

FORMAT = "dlntheory trajectory 1"


def to_dataset(trajectory: Trajectory) -> xarray.Dataset:
    """The trajectory with dimension `time` and named axes; settings and versions stand in the attributes."""
    import xarray

    from .._versions import versions

    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "z": (("time", *_axes("z", trajectory.z.ndim - 1)), trajectory.z),
        "loss": (("time",), trajectory.loss),
    }
    for name, array in (trajectory.states or {}).items():
        variables[f"state_{name}"] = (("time", *_axes(name, array.ndim - 1)), array)
    for name, array in trajectory.final.items():
        variables[f"final_{name}"] = (_axes(name, array.ndim), np.asarray(array))
    for name, array in trajectory.drift.items():
        variables[f"drift_{name}"] = (("time",), array)
    for name, array in trajectory.monitors.items():
        variables[f"monitor_{name}"] = (("time",), array)
    return xarray.Dataset(
        variables,
        coords={"time": trajectory.ts},
        attrs={
            "format": FORMAT,
            "label": trajectory.label,
            "architecture": trajectory.architecture,
            "conventions": trajectory.conventions,
            "clock": trajectory.clock,
            "stats": json.dumps(dataclasses.asdict(trajectory.stats)),
            "versions": json.dumps(versions()),
        },
    )


def write(trajectory: Trajectory, path: str | os.PathLike[str]) -> None:
    """Write `to_dataset` as netCDF through h5netcdf."""
    to_dataset(trajectory).to_netcdf(os.fspath(path), engine="h5netcdf")


def read(path: str | os.PathLike[str]) -> Trajectory:
    """Read what `write` wrote.

    Raises:
        ValueError: the file is netCDF but holds no trajectory.
    """
    import xarray

    with xarray.open_dataset(os.fspath(path), engine="h5netcdf") as opened:
        data = opened.load()
    if data.attrs.get("format") != FORMAT:
        raise ValueError(
            f'Argument `path` must be a file with format "{FORMAT}", but {os.fspath(path)!r} '
            f"has {data.attrs.get('format')!r}."
        )

    def group(prefix: str) -> dict[str, np.ndarray]:
        return {
            str(name).removeprefix(prefix): data[name].to_numpy()
            for name in data.data_vars
            if str(name).startswith(prefix)
        }

    return Trajectory(
        label=data.attrs["label"],
        architecture=data.attrs["architecture"],
        conventions=data.attrs["conventions"],
        clock=data.attrs["clock"],
        ts=data["time"].to_numpy(),
        z=data["z"].to_numpy(),
        loss=data["loss"].to_numpy(),
        states=group("state_") or None,
        final=group("final_"),
        drift=group("drift_"),
        monitors=group("monitor_"),
        stats=Stats(**json.loads(data.attrs["stats"])),
    )


def _axes(name: str, count: int) -> tuple[str, ...]:
    if name == "z" and count == 2:
        return ("out", "inp")
    return tuple(f"{name}_axis{i}" for i in range(count))
