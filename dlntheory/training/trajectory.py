"""`Trajectory`: what a run leaves behind, as NumPy float64 arrays with their names and settings."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..architecture import Architecture
from ..display.displayed import Displayed
from ..display.text import format_number
from .stats import INTERRUPTED, Stats


@dataclasses.dataclass(frozen=True, eq=False)
class Trajectory(Displayed):
    r"""One run, or a batch of runs over the same times: $z$, loss, states, drift of conserved quantities.

    Of a batch every array but `ts` has its leading axes, `batch_shape`, before the time axis; `trajectory[3]` is the
    run of one member.

    Attributes:
        label: the dynamics that ran.
        architecture: the network's name.
        conventions: loss factors, weight decay and rates in words.
        clock: unit of `ts`: `"t"` (gradient-flow time) or `"log_t"`.
        ts: (time,) save times.
        z: (time, …) the map $z$ at those times; (batch, time, …) of a batch, and so on.
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
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of a batch of starts; `()` for a single run."""
        return self.loss.shape[:-1]

    @property
    def max_drift(self) -> float:
        """The largest absolute drift of any conserved quantity; `nan` if none is monitored or one is not a number."""
        return (
            float(np.max([np.max(values) for values in self.drift.values()])) if self.drift else float("nan")
        )

    def __getitem__(self, index: Any) -> Trajectory:
        """The runs of some members of a batch: an index into the leading axes.

        Raises:
            TypeError: this is a single run.
        """
        if not self.batch_shape:
            raise TypeError("A single run has no members; a batch of starts has.")
        chosen = np.arange(int(np.prod(self.batch_shape))).reshape(self.batch_shape)[index]

        def pick(arrays: Any) -> Any:
            count = len(self.batch_shape)
            return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[count:])[chosen], arrays)

        names = ("z", "loss", "states", "final", "drift", "monitors")
        return dataclasses.replace(self, **{name: pick(getattr(self, name)) for name in names})

    def members(self) -> list[Trajectory]:
        """The runs of a batch, one after the other; a single run is a list of itself."""
        return [self[index] for index in np.ndindex(self.batch_shape)] if self.batch_shape else [self]

    @staticmethod
    def from_arrays(
        ts: Any,
        params: Any,
        arch: Architecture,
        loss: Callable[[Any], Any],
        *,
        laws: Callable[[dict[str, Any]], Any] | None = None,
        label: str = "own training loop",
    ) -> Trajectory:
        r"""The run of a training loop of one's own, with all that belongs to a run of this package.

        $z$, the loss and the drift of conserved quantities are computed here. Not jit-compatible.

        Args:
            ts: (time,) increasing times, for example $k\eta$.
            params: the parameters at these times: arrays with a leading time axis, by name or as the pytree that φ
                takes, or a sequence of such parameters without it.
            arch: the network.
            loss: a function of $z$.
            laws: conservation laws to watch beside those that a chain is known to have.
            label: a short name for tables and legends.

        Raises:
            ValueError: times that do not increase, or parameters that do not fit them or the network.

        Example:
            >>> import dlntheory as dln, jax, numpy as np
            >>> arch = dln.linear_network((2, 3, 2))
            >>> loss, theta = dln.SquaredLoss.from_target(np.eye(2)), dln.gaussian(arch, jax.random.key(0))
            >>> slope, kept = jax.jit(jax.grad(lambda p: loss(arch(p)))), []
            >>> for _ in range(3):
            ...     kept.append(theta)
            ...     theta = jax.tree.map(lambda w, g: w - 0.1 * g, theta, slope(theta))
            >>> Trajectory.from_arrays([0.0, 0.1, 0.2], kept, arch, loss).max_drift < 0.1
            True
        """
        from .from_arrays import run_of_arrays

        run = trajectory_of(*run_of_arrays(ts, params, arch, loss, laws=laws))
        return dataclasses.replace(run, label=str(label))

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

        return Trajectory(**read(path))

    def facts(self) -> list[tuple[str, str]]:
        """What a display shows: names and values."""
        stats = self.stats
        tolerances = (
            "" if stats.rtol is None else f", rtol {stats.rtol:.1e}, atol {format_number(stats.atol)}"
        )
        size = sum(array.size for array in self.final.values())
        kept = "kept" if self.states is not None else "only the last one kept"
        counts = ", ".join(f"{count} {name}" for name, count in stats.counts.items())
        rows: list[tuple[str, str]] = [
            ("dynamics", f"{self.label} of {self.architecture}"),
            ("loss", self.conventions),
            ("time", f"{self.clock} from {self.ts[0]:.6g} to {self.ts[-1]:.6g}, {len(self)} save times"),
            ("f(z)", f"{_spread(self.loss[..., 0], '.6e')} -> {_spread(self.loss[..., -1], '.6e')}"),
            ("state", f"{size} numbers ({', '.join(self.final)}), {kept}"),
            ("method", f"{stats.method}{tolerances}, {counts}"),
            ("wall time", f"{stats.seconds:.3g} s" + (" including compilation" if stats.compiled else "")),
        ]
        if self.batch_shape:
            shape = " x ".join(map(str, self.batch_shape))
            rows.insert(1, ("batch", f"{shape} starts, lowest and highest values below"))
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

    def _facts(self) -> list[tuple[str, str]]:
        return self.facts()

    def __repr__(self) -> str:
        end = f", {INTERRUPTED}" if self.stats.stopped_by == INTERRUPTED else ""
        batch = f"{' x '.join(map(str, self.batch_shape))} starts, " if self.batch_shape else ""
        return (
            f"Trajectory({self.label} of {self.architecture}, {batch}{len(self)} save times, "
            f"{self.clock} = {self.ts[0]:.4g} to {self.ts[-1]:.4g}, loss {_spread(self.loss[..., -1], '.4e')}{end})"
        )


def _spread(values: np.ndarray, form: str) -> str:
    """A number, or the range of those of a batch."""
    low, high = np.min(values), np.max(values)
    return f"{low:{form}}" if not values.ndim else f"{low:{form}} .. {high:{form}}"


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
