"""Trajectories as labelled xarray data sets and netCDF files.

A name may hold anything: in a file "/" separates groups, so it is escaped, together with the sign of escape. Dimensions
of the map are called `out` and `inp` and those of a factor after the factor, so that a factor may be called z.

What is read are the fields of a `Trajectory`, which makes itself from them.
"""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..display.files import check_writable, write_beside
from .stats import Stats

if TYPE_CHECKING:
    import xarray

FORMAT = "dlntheory trajectory 2"
_READABLE = ("dlntheory trajectory 1", FORMAT)
_GROUPS = {"states": "state_", "final": "final_", "drift": "drift_", "monitors": "monitor_"}


def to_dataset(trajectory: Any) -> xarray.Dataset:
    """The trajectory with dimension `time`, that of a batch with `member` (`member0`, …) before it.

    Settings and versions stand in the attributes; "/" and "%" in names are written "%2F" and "%25".
    """
    import xarray

    from .._versions import versions

    count = len(trajectory.batch_shape)
    batch = ("member",) if count == 1 else tuple(f"member{number}" for number in range(count))
    rows = (*batch, "time")
    shape = trajectory.z.shape[count + 1 :]
    variables: dict[str, tuple[tuple[str, ...], np.ndarray]] = {
        "z": ((*rows, *(("out", "inp") if len(shape) == 2 else _axes("out", len(shape)))), trajectory.z),
        "loss": (rows, trajectory.loss),
    }
    for name, array in (trajectory.states or {}).items():
        axes = _axes(f"{_escaped(name)}_axis", array.ndim - count - 1)
        variables[f"state_{_escaped(name)}"] = ((*rows, *axes), array)
    for name, array in trajectory.final.items():
        axes = _axes(f"{_escaped(name)}_axis", np.ndim(array) - count)
        variables[f"final_{_escaped(name)}"] = ((*batch, *axes), np.asarray(array))
    for group in ("drift", "monitors"):
        for name, array in getattr(trajectory, group).items():
            variables[_GROUPS[group] + _escaped(name)] = (rows, array)
    return xarray.Dataset(
        variables,
        coords={"time": trajectory.ts},
        attrs={
            "format": FORMAT,
            "label": trajectory.label,
            "architecture": trajectory.architecture,
            "conventions": trajectory.conventions,
            "clock": trajectory.clock,
            "stats": json.dumps(dataclasses.asdict(trajectory.stats), default=_plain),
            "versions": json.dumps(versions()),
        },
    )


def write(trajectory: Any, path: str | os.PathLike[str]) -> None:
    """Write `to_dataset` as netCDF through h5netcdf, beside an old file and then into its place.

    Raises:
        OSError: the file cannot be written; an old one is left as it was.
    """
    target = check_writable(Path(path))
    # Made in memory: a disk that is full within HDF5 ends the process.
    content = to_dataset(trajectory).to_netcdf(engine="h5netcdf")
    write_beside(target, lambda beside: beside.write_bytes(content))


def read(path: str | os.PathLike[str]) -> dict[str, Any]:
    """The fields of the trajectory that `write` wrote.

    Raises:
        OSError: the file cannot be read.
        ValueError: the file is damaged or holds no trajectory; the message names it.
    """
    import xarray

    name = os.fspath(path)
    with open(name, "rb"):
        # Whether it can be read at all: what fails from here on is what it holds.
        pass
    try:
        with xarray.open_dataset(name, engine="h5netcdf") as opened:
            data = opened.load()
    except (OSError, KeyError, ValueError, TypeError, RuntimeError, AttributeError, EOFError) as error:
        raise ValueError(
            f"Argument `path` must be a netCDF file, but {name!r} cannot be read as one: {error}"
        ) from error
    if data.attrs.get("format") not in _READABLE:
        raise ValueError(
            f'Argument `path` must be a file with format "{FORMAT}", but {name!r} has {data.attrs.get("format")!r}.'
        )
    try:
        return _fields(data)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"Argument `path` must be a whole trajectory, but {name!r} is damaged: {type(error).__name__} {error}."
        ) from error


def _fields(data: xarray.Dataset) -> dict[str, Any]:
    def group(prefix: str) -> dict[str, np.ndarray]:
        return {
            _unescaped(str(name).removeprefix(prefix)): data[name].to_numpy()
            for name in data.data_vars
            if str(name).startswith(prefix)
        }

    groups: dict[str, Any] = {field: group(prefix) for field, prefix in _GROUPS.items()}
    loss, z, ts = (data[name].to_numpy() for name in ("loss", "z", "time"))
    if not groups["final"] or loss.shape[-1:] != ts.shape or z.shape[: loss.ndim] != loss.shape:
        raise ValueError("its arrays do not fit")
    texts = {name: str(data.attrs[name]) for name in ("label", "architecture", "conventions", "clock")}
    stats = Stats(**json.loads(data.attrs["stats"]))
    arrays = {"ts": ts, "z": z, "loss": loss, **groups, "states": groups["states"] or None}
    return {**arrays, **texts, "stats": stats}


def _axes(prefix: str, count: int) -> tuple[str, ...]:
    return tuple(f"{prefix}{number}" for number in range(count))


def _escaped(name: str) -> str:
    return name.replace("%", "%25").replace("/", "%2F")


def _unescaped(name: str) -> str:
    return name.replace("%2F", "/").replace("%25", "%")


def _plain(value: Any) -> Any:
    """NumPy numbers as JSON."""
    return np.asarray(value).item()
