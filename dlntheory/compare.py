"""`compare`: the full flow against a reduction, on one grid, with errors, times and drift."""

from __future__ import annotations

import dataclasses
import html
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._text import html_key_values, key_values
from .dynamics import AbstractDynamics, Trajectory, solve
from .reductions import AbstractReduction


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    r"""Two trajectories of the same $z(t)$ on one time grid.

    Attributes:
        full: the trajectory of the full dynamics.
        reduced: the trajectory of the reduction.
        error: (time,) $\|z_{\text{full}} - z_{\text{red}}\|_F / \max_t \|z_{\text{full}}\|_F$.
        loss_error: (time,) $|f_{\text{full}} - f_{\text{red}}| / \max_t |f_{\text{full}}|$.
        statement: the reduced equation in LaTeX, if the second dynamics is a reduction.
        source: where it comes from.
    """

    full: Trajectory
    reduced: Trajectory
    error: np.ndarray
    loss_error: np.ndarray
    statement: str
    source: str

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
        from .plotting import plot_comparison

        return plot_comparison(self, axes=axes)

    def _summary(self) -> list[tuple[str, str]]:
        full, reduced = self.full, self.reduced
        rows = [
            ("network", full.architecture),
            ("full", _run_line(full)),
            ("reduced", _run_line(reduced)),
            ("loss", full.conventions),
            ("f(z)", f"{full.loss[0]:.6e} -> {full.loss[-1]:.6e}"),
            ("error of z", f"{self.max_error:.2e} relative (largest over {len(full)} times)"),
            ("error of f(z)", f"{float(np.max(self.loss_error)):.2e} relative"),
        ]
        warm = not (full.stats.compiled or reduced.stats.compiled)
        rows.append(("speed-up", f"{self.speedup:.2f}" + ("" if warm else " (compilation included)")))
        for run in (full, reduced):
            if run.drift:
                rows.append(
                    ("drift", f"{run.max_drift:.1e} absolute, {', '.join(run.drift)} along the {run.label}")
                )
        rows += [
            (name, f"{np.min(values):.2e} .. {np.max(values):.2e}")
            for name, values in reduced.monitors.items()
        ]
        if self.source:
            rows.append(("source", self.source))
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
            "loss_start": float(self.full.loss[0]),
            "loss_end": float(self.full.loss[-1]),
            "error": self.max_error,
            "loss_error": float(np.max(self.loss_error)),
            "speedup": self.speedup,
        }

    def __str__(self) -> str:
        return key_values(self._summary())

    def _repr_html_(self) -> str:
        equation = f"<p>$\\displaystyle {html.escape(self.statement)}$</p>" if self.statement else ""
        return html_key_values(self._summary()) + equation

    def __repr__(self) -> str:
        return (
            f"Comparison({self.full.label} against {self.reduced.label}, error {self.max_error:.2e}, "
            f"speed-up {self.speedup:.2f})"
        )


def compare(
    full: AbstractDynamics,
    reduced: AbstractDynamics,
    theta0: Mapping[str, Any],
    t1: float,
    *,
    method: str = "dopri8",
    rtol: float = 1e-10,
    saves: Any = 100,
    timing: bool = True,
    **options: Any,
) -> Comparison:
    r"""Integrate both dynamics from `theta0` on one grid and measure how far their $z(t)$ are apart.

    A host verb. A reduction without a loss is bound to the loss, weight decay and rates of `full`.

    Args:
        full: usually a `GradientFlow`.
        reduced: a reduction (or any dynamics of the same network).
        theta0: the network's parameters.
        t1: end of the run, in gradient-flow time.
        method: see `solve`; every save is a solver step, so that no interpolation error enters.
        rtol: relative tolerance per step.
        saves: see `solve`.
        timing: run each once more (three times if it takes under 2 s) and keep the fastest, so that the times are
            warm and free of most of the machine's noise.
        **options: passed to both runs of `solve` (`atol`, `admit`, `max_steps`, …).

    Raises:
        ValueError: the two belong to different networks, or the reduction is bound to another loss or factors.
        ConditionError: the start does not meet the reduction's condition.
        IntegrationError: a run stopped early.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]]))
        >>> theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.5)
        >>> both = compare(flow, dln.reduce(arch, theta0), theta0, 5.0)
        >>> bool(both.max_error < 1e-9)
        True
    """
    if full.architecture != reduced.architecture:
        raise ValueError(
            f"Arguments `full` and `reduced` must describe one network, but are {full.architecture!r} "
            f"and {reduced.architecture!r}."
        )
    if full.training is None:
        raise ValueError(f"Argument `full` must be bound to a loss, but {full.label} is not.")
    if isinstance(reduced, AbstractReduction) and reduced.training is None:
        reduced = reduced.bind(full.training)
    if not _same_training(full.training, reduced.training):
        raise ValueError(
            "Argument `reduced` must train with the loss, weight decay and rates of `full`, but has "
            f"«{getattr(reduced.training, 'conventions', None)}» against «{full.training.conventions}» "
            "(or other data)."
        )
    if method in ("tsit5", "dopri8") and not options.get("stop"):
        options.setdefault("step_to_saves", True)

    def run(dynamics: AbstractDynamics) -> Trajectory:
        arguments = {"method": method, "rtol": rtol, "saves": saves, **options}
        runs = [solve(dynamics, theta0, t1, **arguments)]
        while timing and (len(runs) < 2 or (len(runs) < 4 and runs[-1].stats.seconds < 2.0)):
            runs.append(solve(dynamics, theta0, t1, **arguments))
        warm = [one for one in runs if not one.stats.compiled]
        return min(warm or runs, key=lambda trajectory: trajectory.stats.seconds)

    left, right = run(full), run(reduced)
    if len(left) != len(right):
        raise ValueError(
            f"Argument `stop` must end both runs at one save, but they have {len(left)} and {len(right)}."
        )
    gap = np.linalg.norm((left.z - right.z).reshape(len(left), -1), axis=1)
    size = float(np.max(np.linalg.norm(left.z.reshape(len(left), -1), axis=1)))
    loss_size = float(np.max(np.abs(left.loss)))
    is_reduction = isinstance(reduced, AbstractReduction)
    return Comparison(
        full=left,
        reduced=right,
        error=gap / size if size else gap,
        loss_error=np.abs(left.loss - right.loss) / (loss_size or 1.0),
        statement=reduced.statement if is_reduction else "",
        source=reduced.source if is_reduction else "",
    )


def _same_training(left, right) -> bool:
    numbers_left, static_left = eqx.partition(left, eqx.is_array_like)
    numbers_right, static_right = eqx.partition(right, eqx.is_array_like)
    if jax.tree.structure(left) != jax.tree.structure(right):
        return False
    if jax.tree.leaves(static_left) != jax.tree.leaves(static_right):
        return False
    pairs = zip(jax.tree.leaves(numbers_left), jax.tree.leaves(numbers_right), strict=True)
    return all(np.array_equal(np.asarray(a), np.asarray(b)) for a, b in pairs)


def _size(run: Trajectory) -> int:
    return sum(array.size for array in run.final.values())


def _run_line(run: Trajectory) -> str:
    steps = next(iter(run.stats.counts.items()))
    return f"{run.label}: {_size(run)} variables, {steps[1]} {steps[0]}, {run.stats.seconds:.3g} s"
