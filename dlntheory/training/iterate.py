"""`iterate`: the verb that runs any `AbstractIteration`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import IntegrationError
from .._precision import require_float64
from ..display.progress import keeps_partial, progress_bar
from .backends.resumable_stepping import Pace
from .base import AbstractIteration, State
from .recording import LawMonitor, number_count, quantities, record
from .solve import MAX_RECORDED
from .trajectory import INTERRUPTED, Stats, Trajectory, trajectory_of

#: Saves per compiled call, at most: between calls the host looks at the loss and may stop.
CHUNK = 16


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def _run_chunk(
    iteration: AbstractIteration,
    state: State,
    k,
    gaps,
    reference,
    monitor: LawMonitor | None,
    with_state: bool,
):
    """Advance by `gaps[0]`, `gaps[1]`, … steps, recording after each; gaps are traced: any grid compiles once."""

    def advance(carry, gap):
        k, state = carry
        state = jax.lax.fori_loop(k, k + gap, lambda i, s: iteration.step(i, s), state)
        t = jnp.asarray(k + gap, dtype=float) * iteration.time_step
        row = record(iteration, t, state, reference, monitor=monitor, with_state=with_state)
        return (k + gap, state), row

    return jax.lax.scan(advance, (k, state), gaps)


class _Done(NamedTuple):
    """What is done of a run: replaced as a whole after every chunk, so that an interrupt finds no half of one."""

    k: Any
    state: State
    steps: int = 0
    saves: int = 0
    parts: tuple[dict[str, Any], ...] = ()
    #: The row at `steps`, which need not be a save.
    last: dict[str, Any] | None = None
    is_low: bool = False
    is_diverged: bool = False


def iterate(
    iteration: AbstractIteration,
    theta0: Mapping[str, Any],
    steps: int,
    *,
    ts: int | Sequence[int] | np.ndarray = 200,
    stop_loss: float | None = None,
    laws: Callable[[dict[str, Any]], Any] | None = None,
    save_states: bool | None = None,
    progress: bool | None = None,
    allow_float32: bool = False,
) -> Trajectory:
    r"""Run `steps` steps of a training rule from `theta0`, in compiled chunks.

    A host verb. `Trajectory.ts` is $k\eta$, so that a run lies over the flow that it discretises.

    Ctrl-C ends a long run within about a second and returns what is done, with `stats.stopped_by == "interrupted"`;
    before anything is done, and a second time, it raises `KeyboardInterrupt`.

    Args:
        iteration: a `GradientDescent` or any `AbstractIteration`.
        theta0: the network's parameters.
        steps: number of steps, at least 1.
        ts: number of evenly spaced save times (step 0 and the last included), or increasing step numbers.
        laws: conservation laws to watch, a function of the dict of factors; see `solve`.
        stop_loss: end the run at the first save at which the loss is at or below this.
        save_states: keep the state at every save; by default if that takes at most 0.5 GB.
        progress: show a bar; by default on a terminal and in a notebook, after two seconds.
        allow_float32: run in float32 and mark the result.

    Raises:
        ValueError: malformed arguments.
        IntegrationError: the iteration diverged; `.trajectory` holds the finite part.
        KeyboardInterrupt: the user stopped the run before anything was done.
    """
    float64 = require_float64("iterate", allow_float32=allow_float32)
    grid = _step_grid(ts, steps)
    checked = iteration.architecture.check(theta0)
    state = {name: jnp.asarray(leaf) for name, leaf in iteration.initial(checked).items()}
    if save_states is None:
        save_states = number_count(state, len(grid)) <= MAX_RECORDED
    monitor = None if laws is None else LawMonitor(laws)
    reference = quantities(iteration, jnp.asarray(0.0), state, monitor)
    traces = eqx.debug.get_num_traces(_run_chunk)
    begin = time.perf_counter()

    def run(done: _Done, gaps: list[int]) -> tuple[Any, State, dict[str, Any]]:
        padded = jnp.asarray(gaps + [0] * (CHUNK - len(gaps)))
        (k, after), rows = _run_chunk(
            iteration, done.state, done.k, padded, reference, monitor, bool(save_states)
        )
        return k, after, {name: _cut(row, len(gaps)) for name, row in rows.items()}

    done, pace, interrupted = _Done(jnp.asarray(0), state), Pace(state, iteration), False
    with progress_bar(int(grid[-1]), iteration.label, unit=" steps", progress=progress) as bar:
        while done.saves < len(grid) and not (done.is_low or done.is_diverged or interrupted):
            try:
                shown, began, known = done.steps, time.perf_counter(), eqx.debug.get_num_traces(_run_chunk)
                done = _advance(done, grid, pace.steps, stop_loss, run)
                if done.steps > shown and eqx.debug.get_num_traces(_run_chunk) == known:
                    pace.learn(done.steps - shown, time.perf_counter() - began)
                if done.last is not None:
                    bar.set_postfix_str(f"loss {done.last['loss']:.3g}")
                bar.update(done.steps - shown)
            except KeyboardInterrupt:
                if done.last is None:
                    raise
                interrupted = True
    if interrupted and not keeps_partial():
        raise KeyboardInterrupt
    parts, at = list(done.parts), grid[: done.saves]
    if done.last is not None and done.steps > (at[-1] if len(at) else -1):
        # Stopped between two saves.
        parts.append(jax.tree.map(lambda leaf: leaf[None], done.last))
        at = np.append(at, done.steps)
    rate = float(iteration.time_step)
    stats = Stats(
        method=f"{iteration.label}, step {rate:g}",
        rtol=None,
        atol=None,
        counts={"steps": done.steps},
        seconds=time.perf_counter() - begin,
        compiled=eqx.debug.get_num_traces(_run_chunk) > traces,
        stopped_by=INTERRUPTED if interrupted else "loss level reached" if done.is_low else None,
        float64=float64,
    )
    run_of_all = None
    if len(at):
        rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        final = jax.tree.map(np.asarray, done.state)
        run_of_all = trajectory_of(iteration, "t", at * rate, rows, final, stats)
    if done.is_diverged:
        raise IntegrationError(
            f"{iteration.label} diverged between steps {done.steps} and {grid[done.saves]} of {steps} "
            f"(step size {rate:g}). A step size below 2/(largest Hessian eigenvalue) is needed; "
            f"the {len(at)} finite saves are in `.trajectory`.",
            trajectory=run_of_all,
        )
    assert run_of_all is not None  # row 0 is the checked, finite start
    return run_of_all


def _advance(
    done: _Done,
    grid: np.ndarray,
    most: int,
    stop_loss: float | None,
    run: Callable[[_Done, list[int]], tuple[Any, State, dict[str, Any]]],
) -> _Done:
    """One chunk of at most so many steps and `CHUNK` saves; a row that is no save may be its last one."""
    gaps, ends = [], grid[done.saves : done.saves + CHUNK]
    for end in np.minimum(ends, done.steps + most).tolist():
        gaps.append(end - done.steps - sum(gaps))
        if end == done.steps + most:
            break
    saves = int(np.sum(ends[: len(gaps)] <= done.steps + most))
    k, state, rows = run(done, gaps)
    finite = np.isfinite(rows["loss"])
    good = len(gaps) if finite.all() else int(np.argmin(finite))
    low = np.flatnonzero(rows["loss"][: min(good, saves)] <= stop_loss) if stop_loss is not None else []
    is_low = len(low) > 0
    if is_low:
        good = int(low[0]) + 1
    if good < len(gaps):
        # Replay the chunk up to its last good row, so that the final state is the one reported.
        k, state, _ = run(done, gaps[:good])
    saves = min(saves, good)
    return _Done(
        k,
        state,
        done.steps + sum(gaps[:good]),
        done.saves + saves,
        (*done.parts, _cut(rows, saves)),
        jax.tree.map(lambda leaf: leaf[good - 1], rows) if good else done.last,
        is_low,
        good < len(gaps) and not is_low,
    )


def _cut(row: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.array(leaf[:count]), row)


def _step_grid(ts: int | Sequence[int] | np.ndarray, steps: int) -> np.ndarray:
    if not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"Argument `steps` must be a positive integer, but is {steps!r}.")
    if isinstance(ts, (int, np.integer)):
        if ts < 2:
            raise ValueError(f"Argument `ts` must be at least 2, but is {ts}.")
        return np.unique(np.linspace(0, int(steps), int(ts)).round().astype(np.int64))
    grid = np.asarray(ts)
    if grid.ndim != 1 or grid.size == 0 or grid.dtype.kind not in "iu":
        raise ValueError("Argument `ts` must be a number or a one-dimensional array of step numbers.")
    if np.any(np.diff(grid) <= 0) or grid[0] < 0 or grid[-1] > steps:
        raise ValueError(f"Argument `ts` must increase within [0, {steps}], but is {grid.tolist()}.")
    return grid.astype(np.int64)
