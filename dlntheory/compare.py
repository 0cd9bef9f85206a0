"""`compare`: the full flow against a reduction or a closed form, on one grid, with errors, times and drift."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._errors import IntegrationError
from .citations import in_words
from .display.progress import keeps_partial
from .display.text import card, key_values
from .reductions import AbstractReduction
from .solutions.base import AbstractSolution
from .training import AbstractFlow, Trajectory, solve
from .training.time_reparametrisation import clock_named
from .training.trajectory import INTERRUPTED, Stats

#: How far `theta0` may be from the start of a closed form, relative to its largest entry.
SAME_START = 1e-12


@dataclasses.dataclass(frozen=True, eq=False)
class Comparison:
    r"""Two trajectories of the same $z(t)$ on one time grid.

    Attributes:
        full: the trajectory of the full dynamics.
        reduced: the trajectory of the reduction or closed form.
        error: (time,) $\|z_{\text{full}} - z_{\text{red}}\|_F / \max_t \|z_{\text{full}}\|_F$.
        loss_error: (time,) $|f_{\text{full}} - f_{\text{red}}| / \max_t |f_{\text{full}}|$.
        statement: the reduced equation or the formula in LaTeX, if the second one is a reduction or a closed form.
        source: where it comes from.
        interrupted: whether the user ended it early: the errors are over the times of `reduced`, and the wall times
            those of single runs.
    """

    full: Trajectory
    reduced: Trajectory
    error: np.ndarray
    loss_error: np.ndarray
    statement: str
    source: str
    interrupted: bool = False

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
            ("f(z)", f"{full.loss[0]:.6e} -> {full.loss[-1]:.6e}"),
            ("error of z", f"{self.max_error:.2e} relative (largest over {len(reduced)} times)"),
            ("error of f(z)", f"{float(np.max(self.loss_error)):.2e} relative"),
        ]
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
            "loss_start": float(self.full.loss[0]),
            "loss_end": float(self.full.loss[-1]),
            "error": self.max_error,
            "loss_error": float(np.max(self.loss_error)),
            "speedup": self.speedup,
        }

    def __str__(self) -> str:
        return key_values(self._summary())

    def _repr_html_(self) -> str:
        title = f"{self.full.label} against {self.reduced.label}"
        return card(title, formulas=self.statement, facts=self._summary())

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


def compare(
    full: AbstractFlow,
    reduced: AbstractFlow | AbstractSolution,
    theta0: Mapping[str, Any],
    t1: float,
    *,
    method: str = "dopri8",
    rtol: float = 1e-10,
    ts: Any = 100,
    timing: bool = True,
    progress: bool | None = None,
    **options: Any,
) -> Comparison:
    r"""Integrate both dynamics from `theta0` on one grid and measure how far their $z(t)$ are apart.

    A host verb. A reduction without a loss is bound to the loss, weight decay and rates of `full`. A closed form is
    evaluated at the save times of the full run.

    Ctrl-C loses nothing that is done: during the full run it ends that run, and the reduced one is made up to the time
    that was reached; during the reduced run the errors end where it does; while runs are timed it ends the timing. The
    result is marked `interrupted`. A second Ctrl-C during the reduced run ends that one early as well.

    Args:
        full: usually a `GradientFlow`.
        reduced: a reduction (or any dynamics of the same network), or a closed form whose start is `theta0`.
        theta0: the network's parameters.
        t1: end of the run, in gradient-flow time.
        method: see `solve`; every save is a solver step, so that no interpolation error enters.
        rtol: relative tolerance per step.
        ts: see `solve`.
        timing: run each once more (three times if it takes under 2 s) and keep the fastest, so that the times are
            warm and free of most of the machine's noise.
        progress: show a bar for each run; by default on a terminal and in a notebook, after two seconds.
        **options: passed to both runs of `solve` (`atol`, `check`, `max_steps`, …).

    Raises:
        ValueError: the two belong to different networks, the reduction is bound to another loss or factors, or the
            closed form belongs to another start.
        ConditionError: the start does not meet the reduction's condition.
        IntegrationError: a run stopped early.
        KeyboardInterrupt: the user stopped it before anything was done; if the full run was, it is in `.trajectory`.

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
    if isinstance(reduced, AbstractSolution):
        _check_start(reduced, theta0)
    if method in ("tsit5", "dopri8") and not options.get("stop"):
        options.setdefault("step_to_ts", True)

    interrupted = False

    def run(dynamics: AbstractFlow, end: float, times: Any) -> Trajectory:
        nonlocal interrupted
        arguments = {"method": method, "rtol": rtol, "ts": times, "progress": progress, **options}
        runs = [solve(dynamics, theta0, end, **arguments)]
        interrupted |= _is_interrupted(runs[0])
        try:
            while timing and not interrupted and _is_worth_repeating(runs):
                again = solve(dynamics, theta0, end, **arguments)
                if _is_interrupted(again):
                    raise KeyboardInterrupt
                runs.append(again)
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            interrupted = True
        warm = [one for one in runs if not one.stats.compiled]
        return min(warm or runs, key=lambda trajectory: trajectory.stats.seconds)

    left = run(full, t1, ts)
    if _is_interrupted(left) and left.ts[-1] <= float(options.get("t0", 0.0)):
        raise InterruptedComparison(left)
    try:
        if isinstance(reduced, AbstractSolution):
            right = _evaluate(reduced, left, float(options.get("t0", 0.0)), timing and not interrupted)
        elif _is_interrupted(left):
            right = run(reduced, float(left.ts[-1]), left.ts)
        else:
            right = run(reduced, t1, ts)
    except KeyboardInterrupt:
        raise InterruptedComparison(left) from None
    if _is_interrupted(right):
        if right.ts[0] not in left.ts:
            raise InterruptedComparison(left)
        right = _saved(right, left.ts)
    elif len(left) != len(right):
        raise ValueError(
            f"Argument `stop` must end both runs at one save, but they have {len(left)} and {len(right)}."
        )
    # An interrupted reduced run has the first rows of the full one only.
    count = len(right)
    gap = np.linalg.norm((left.z[:count] - right.z).reshape(count, -1), axis=1)
    size = float(np.max(np.linalg.norm(left.z.reshape(len(left), -1), axis=1)))
    loss_size = float(np.max(np.abs(left.loss)))
    is_stated = isinstance(reduced, AbstractReduction | AbstractSolution)
    return Comparison(
        full=left,
        reduced=right,
        error=gap / size if size else gap,
        loss_error=np.abs(left.loss[:count] - right.loss) / (loss_size or 1.0),
        statement=reduced.statement if is_stated else "",
        source=reduced.source if is_stated else "",
        interrupted=interrupted,
    )


def _is_interrupted(run: Trajectory) -> bool:
    return run.stats.stopped_by == INTERRUPTED


def _is_worth_repeating(runs: list[Trajectory]) -> bool:
    return len(runs) < 2 or (len(runs) < 4 and runs[-1].stats.seconds < 2.0)


def _saved(run: Trajectory, ts: np.ndarray) -> Trajectory:
    """An interrupted run without its last row, if that is none of the times `ts`."""
    count = int(np.sum(np.isin(run.ts, ts)))
    if count == len(run):
        return run
    cut = lambda arrays: {name: array[:count] for name, array in arrays.items()}
    return dataclasses.replace(
        run,
        ts=run.ts[:count],
        z=run.z[:count],
        loss=run.loss[:count],
        # Without recorded states that of the last row is not known, and the one where the run ended stays.
        final=run.final if run.states is None else {n: array[count - 1] for n, array in run.states.items()},
        states=None if run.states is None else cut(run.states),
        drift=cut(run.drift),
        monitors=cut(run.monitors),
    )


def _check_start(solution: AbstractSolution, theta0: Mapping[str, Any]) -> None:
    checked = solution.architecture.check(theta0)
    scale = max(float(np.max(np.abs(leaf))) for leaf in solution.start.values())
    for name, leaf in solution.start.items():
        gap = float(np.max(np.abs(np.asarray(leaf) - np.asarray(checked[name]))))
        if gap > SAME_START * scale:
            raise ValueError(
                f"Argument `theta0` must be the start of the {solution.label}, but {name} differs from it by {gap:.3g}."
            )


def _evaluate(solution: AbstractSolution, full: Trajectory, t0: float, timing: bool) -> Trajectory:
    """The closed form at the save times of the full run, timed like one: arguments in, NumPy arrays out."""
    clock = clock_named(full.clock)
    times = clock.times(full.ts) - float(clock.times(np.asarray(t0)))

    @eqx.filter_jit
    def rows(ts):
        z = solution.z(ts)
        return z, jax.vmap(solution.training.loss)(z)

    seconds: list[float] = []
    z = loss = np.zeros(0)
    for _ in range(4 if timing else 1):
        begin = time.perf_counter()
        z, loss = (np.asarray(array) for array in rows(times))
        seconds.append(time.perf_counter() - begin)
    if not (np.all(np.isfinite(z)) and np.all(np.isfinite(loss))):
        raise IntegrationError(
            f"The {solution.label} is not finite at a save in t = {times[0]:g} to {times[-1]:g}."
        )
    return Trajectory(
        label=solution.label,
        architecture=full.architecture,
        conventions=solution.training.conventions,
        clock=full.clock,
        ts=full.ts,
        z=z,
        loss=loss,
        states=None,
        final={"z": z[-1]},
        drift={},
        monitors={},
        stats=Stats(
            method="closed form",
            rtol=None,
            atol=None,
            counts={"evaluations": len(times)},
            seconds=min(seconds[1:] or seconds),
            compiled=not timing,
        ),
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
