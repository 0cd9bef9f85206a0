"""`Comparison`: two runs of the same $z(t)$, how far they are apart, and what each of them took."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from .citations import in_words
from .display.displayed import Displayed
from .training import Trajectory
from .training.stats import INTERRUPTED


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison(Displayed):
    r"""Two trajectories of the same $z(t)$ on one time grid, or two batches of them.

    Attributes:
        full: the trajectory of the full rule.
        reduced: the trajectory of the reduction or closed form.
        error: (time,) of a single run, (batch, time) of a batch: $\|z_{\text{full}} - z_{\text{red}}\|_F / \max_t
            \|z_{\text{full}}\|_F$.
        loss_error: (time,) $|f_{\text{full}} - f_{\text{red}}| / \max_t |f_{\text{full}}|$.
        statement: the reduced equation or the formula in LaTeX, if the second one is a reduction or a closed form.
        source: where it comes from, with BibTeX keys in brackets.
        interrupted: whether the user ended it early: the errors are over the times of `reduced`, and the wall times
            those of single runs.
        step_error: where steps are compared with a flow at $t = k\eta$: the part of `error` that is due to the size of
            the steps, the distance of `full` from the full flow, likewise relative; `None` otherwise.
        flow_error: then the distance of the full flow from `reduced`, the part that is due to the reduction.
    """

    full: Trajectory
    reduced: Trajectory
    error: np.ndarray
    loss_error: np.ndarray
    statement: str
    source: str
    interrupted: bool = False
    step_error: np.ndarray | None = None
    flow_error: np.ndarray | None = None

    @property
    def ts(self) -> np.ndarray:
        """(time,) the times of the errors, in units of `full.clock`."""
        return self.reduced.ts

    @property
    def max_error(self) -> float:
        """The largest relative error of $z$ over the run."""
        return float(np.max(self.error))

    @property
    def speedup(self) -> float:
        """Wall time of the full run over that of the reduced run (both warm unless `timing=False`)."""
        return self.full.stats.seconds / self.reduced.stats.seconds

    def plot(self, axes=None):
        """Loss of both runs and the error over time; returns the two axes."""
        from .training.plots import plot_comparison

        return plot_comparison(self, axes=axes)

    def _summary(self) -> list[tuple[str, str]]:
        full, reduced = self.full, self.reduced
        rows = [
            ("network", full.architecture),
            ("full", _run_line(full)),
            ("reduced", _run_line(reduced)),
            ("loss", full.conventions),
            ("f(z)", dict(full.facts())["f(z)"]),
            ("error of z", f"{self.max_error:.2e} relative (largest over {len(reduced)} times)"),
        ]
        if self.step_error is not None and self.flow_error is not None:
            rows.append(
                (
                    "of which",
                    f"{float(np.max(self.step_error)):.2e} by the size of the steps (against the full flow at t "
                    "= k eta), "
                    f"{float(np.max(self.flow_error)):.2e} by the reduction",
                )
            )
        rows.append(("error of f(z)", f"{float(np.max(self.loss_error)):.2e} relative"))
        warm = not (full.stats.compiled or reduced.stats.compiled)
        rows.append(("speed-up", f"{self.speedup:.2f}" + ("" if warm else " (compilation included)")))
        for name, run in (("full", full), ("reduced", reduced)):
            if run.drift:
                rows.append(
                    (
                        f"drift, {name}",
                        f"{run.max_drift:.1e} absolute, {', '.join(run.drift)} along the {run.label}",
                    )
                )
        rows += [
            (name, f"{np.min(values):.2e} .. {np.max(values):.2e}")
            for name, values in reduced.monitors.items()
        ]
        if self.interrupted:
            rows.append(("stopped by", f"{INTERRUPTED}: compared up to {full.clock} = {self.ts[-1]:.6g}"))
        if self.source:
            rows.append(("source", in_words(self.source)))
        return rows

    def to_dict(self) -> dict[str, Any]:
        """The numbers of the comparison, ready for JSON."""
        return {
            "network": self.full.architecture,
            "full": {
                "label": self.full.label,
                "state": _size(self.full),
                "seconds": self.full.stats.seconds,
            },
            "reduced": {
                "label": self.reduced.label,
                "state": _size(self.reduced),
                "seconds": self.reduced.stats.seconds,
            },
            "loss_start": _number(self.full.loss[..., 0]),
            "loss_end": _number(self.full.loss[..., -1]),
            "error": self.max_error,
            "loss_error": float(np.max(self.loss_error)),
            "speedup": self.speedup,
        }

    def _title(self) -> str:
        return f"{self.full.label} against {self.reduced.label}"

    def _formulas(self) -> list[str]:
        return [self.statement] if self.statement else []

    def _facts(self) -> list[tuple[str, str]]:
        return self._summary()

    def __repr__(self) -> str:
        return (
            f"Comparison({self.full.label} against {self.reduced.label}, error {self.max_error:.2e}, "
            f"speed-up {self.speedup:.2f})"
        )


class InterruptedComparison(KeyboardInterrupt):
    """The user stopped `compare` before its second run had begun.

    Attributes:
        trajectory: the full run.
    """

    def __init__(self, trajectory: Trajectory):
        super().__init__("The reduced run had not begun; the full one is in `.trajectory`.")
        self.trajectory = trajectory


def _number(values: np.ndarray) -> Any:
    return float(values) if not values.ndim else values.tolist()


def _size(run: Trajectory) -> int:
    return sum(array.size for array in run.final.values())


def _run_line(run: Trajectory) -> str:
    steps = next(iter(run.stats.counts.items()))
    return f"{run.label}: {_size(run)} variables, {steps[1]} {steps[0]}, {run.stats.seconds:.3g} s"
