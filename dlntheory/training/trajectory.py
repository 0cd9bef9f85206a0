"""`Trajectory`: what a run leaves behind, as NumPy float64 arrays with their names and settings."""

from __future__ import annotations

import dataclasses
import os
from typing import Any

import numpy as np

from ..display.text import card, format_number, key_values

#: `Stats.stopped_by` of a run that the user ended with Ctrl-C.
INTERRUPTED = "interrupted"


@dataclasses.dataclass(frozen=True)
class Stats:
    """How a run was made.

    Attributes:
        method: solver or iteration.
        rtol: relative tolerance per step (`None` for an iteration).
        atol: absolute tolerance per step, derived from the start unless given (`None` for an iteration).
        counts: steps accepted and rejected, or evaluations, by name.
        seconds: wall time of the call.
        compiled: whether that time includes a compilation.
        stopped_by: the event that ended the run early, `"interrupted"` if the user did, or `None`.
        float64: whether JAX computed in float64.
        warning: how near a reduction came to the edge of its domain, or `None`.
    """

    method: str
    rtol: float | None
    atol: float | None
    counts: dict[str, int]
    seconds: float
    compiled: bool
    stopped_by: str | None = None
    float64: bool = True
    warning: str | None = None


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory:
    r"""One run: times, $z$, loss, states, drift of conserved quantities.

    Attributes:
        label: the dynamics that ran.
        architecture: the network's name.
        conventions: loss factors, weight decay and rates in words.
        clock: unit of `ts`: `"t"` (gradient-flow time) or `"log_t"`.
        ts: (time,) save times.
        z: (time, …) the map $z$ at those times.
        loss: (time,) the loss $f(z)$, without weight decay.
        states: each named array with a leading time axis, or `None` if they were not kept.
        final: the state at the last time.
        drift: (time,) largest absolute change of each conserved quantity since the start, by name.
        monitors: (time,) scalars that tell whether a reduction is inside its domain, by name.
        stats: solver statistics.
    """

    label: str
    architecture: str
    conventions: str
    clock: str
    ts: np.ndarray
    z: np.ndarray
    loss: np.ndarray
    states: dict[str, np.ndarray] | None
    final: dict[str, np.ndarray]
    drift: dict[str, np.ndarray]
    monitors: dict[str, np.ndarray]
    stats: Stats

    def __len__(self) -> int:
        return len(self.ts)

    @property
    def max_drift(self) -> float:
        """The largest absolute drift of any conserved quantity; `nan` if none is monitored."""
        return max((float(np.max(values)) for values in self.drift.values()), default=float("nan"))

    def plot(self, ax=None):
        """Loss against time on logarithmic axes; returns the axes. See `dlntheory.plotting` for more."""
        from .plots import plot_loss

        return plot_loss(self, ax=ax)

    def to_xarray(self):
        """A labelled `xarray.Dataset` with dimension `time`; states are the variables `state_NAME`."""
        from .trajectory_storage import to_dataset

        return to_dataset(self)

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write netCDF (HDF5) to `path`; `Trajectory.load` reads it back.

        Raises:
            OSError: the file cannot be written.
        """
        from .trajectory_storage import write

        write(self, path)

    @staticmethod
    def load(path: str | os.PathLike[str]) -> Trajectory:
        """Read a trajectory that `save` wrote.

        Raises:
            OSError: the file cannot be read.
            ValueError: it holds no trajectory of dlntheory.
        """
        from .trajectory_storage import read

        return read(path)

    def facts(self) -> list[tuple[str, str]]:
        """What a display shows: names and values."""
        stats = self.stats
        tolerances = (
            "" if stats.rtol is None else f", rtol {stats.rtol:.1e}, atol {format_number(stats.atol)}"
        )
        size = sum(array.size for array in self.final.values())
        kept = "kept" if self.states is not None else "only the last one kept"
        rows: list[tuple[str, str]] = [
            ("dynamics", f"{self.label} of {self.architecture}"),
            ("loss", self.conventions),
            ("time", f"{self.clock} from {self.ts[0]:.6g} to {self.ts[-1]:.6g}, {len(self)} saves"),
            ("f(z)", f"{self.loss[0]:.6e} -> {self.loss[-1]:.6e}"),
            ("state", f"{size} numbers ({', '.join(self.final)}), {kept}"),
            (
                "method",
                stats.method
                + tolerances
                + ", "
                + ", ".join(f"{count} {name}" for name, count in stats.counts.items()),
            ),
            ("wall time", f"{stats.seconds:.3g} s" + (" including compilation" if stats.compiled else "")),
        ]
        rows += [
            (f"drift {name}", f"{np.max(values):.1e} (largest absolute change)")
            for name, values in self.drift.items()
        ]
        rows += [
            (name, f"{np.min(values):.3e} .. {np.max(values):.3e}") for name, values in self.monitors.items()
        ]
        if stats.stopped_by:
            rows.append(("stopped by", stats.stopped_by))
        if stats.warning:
            rows.append(("warning", stats.warning))
        if not stats.float64:
            rows.append(("precision", "float32: effects below 1e-5 cannot be told from none"))
        return rows

    def __str__(self) -> str:
        return key_values(self.facts())

    def _repr_html_(self) -> str:
        return card("Trajectory", facts=self.facts())

    def __repr__(self) -> str:
        end = f", {INTERRUPTED}" if self.stats.stopped_by == INTERRUPTED else ""
        return (
            f"Trajectory({self.label} of {self.architecture}, {len(self)} saves, "
            f"{self.clock} = {self.ts[0]:.4g} to {self.ts[-1]:.4g}, loss {self.loss[-1]:.4e}{end})"
        )


def trajectory_of(
    process: Any, clock: str, ts: np.ndarray, rows: dict[str, Any], final: dict[str, Any], stats: Stats
) -> Trajectory:
    """Assemble a trajectory from recorded rows (NumPy, leading time axis) of a dynamics or an iteration."""
    return Trajectory(
        label=process.label,
        architecture=process.architecture.name,
        conventions=process.training.conventions,
        clock=clock,
        ts=ts,
        z=rows["z"],
        loss=rows["loss"],
        states=rows.get("state"),
        final=final,
        drift=rows["drift"],
        monitors=rows["monitors"],
        stats=stats,
    )
