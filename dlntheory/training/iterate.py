"""`iterate`: the verb that runs any `AbstractIteration`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import integer
from .._errors import IntegrationError
from .._precision import require_float64
from ..display.progress import interruptible, progress_bar
from .backends.compiling import Compiled
from .backends.diffrax_backend import for_members
from .backends.resumable_stepping import ChunkLength
from .base import AbstractIteration, State
from .batches import check_first_loss, start_of, unbatched
from .events import AbstractEvent, checked_events, event_values
from .failures import divergence_message
from .recording import LawMonitor, number_count, quantities, record
from .save_times import save_grid
from .solve import MAX_RECORDED, law_monitor
from .stats import INTERRUPTED, Stats
from .trajectory import Trajectory, trajectory_of

#: Save times per compiled call, at most: between calls the host looks at the loss and may stop.
CHUNK = 16


class _Settings(eqx.Module):
    """What a run is made of beside its state; the static fields decide the compiled program."""

    iteration: AbstractIteration
    events: tuple[AbstractEvent, ...]
    monitor: LawMonitor | None
    start: State
    with_state: bool = eqx.field(static=True)
    is_batched: bool = eqx.field(static=True)


@Compiled
def _run_chunk(settings: _Settings, state: State, k: Any, gaps: Any) -> tuple[Any, dict[str, Any]]:
    """Advance by `gaps[0]`, `gaps[1]`, … steps, recording after each; gaps are traced: any grid compiles once.

    An event is looked at after every step, and nothing moves any more once it has happened.
    """
    iteration, events, is_batched = settings.iteration, settings.events, settings.is_batched
    # A bound method of a module has no hash, which `fori_loop` asks for.
    step = for_members(lambda k, one: iteration.step(k, one), is_batched, shared=1)
    zero = jnp.asarray(0)
    reference = for_members(
        lambda start: quantities(iteration, iteration.time_of(zero), start, settings.monitor), is_batched
    )(settings.start)

    def one_row(t: Any, state: State, reference: Any) -> dict[str, Any]:
        return record(
            iteration, t, state, reference, monitor=settings.monitor, with_state=settings.with_state
        )

    def values(k: Any, state: State) -> Any:
        return event_values(events, iteration, iteration.time_of(k), state, is_batched)

    def stretch(carry: Any, gap: Any) -> Any:
        k, state, value = carry
        end = k + gap
        if events:

            def move(carry: Any) -> Any:
                k, state, _ = carry
                state = step(k, state)
                return k + 1, state, values(k + 1, state)

            k, state, value = jax.lax.while_loop(
                lambda carry: (carry[0] < end) & jnp.all(carry[2] > 0), move, (k, state, value)
            )
        else:
            state = jax.lax.fori_loop(k, end, step, state)
            k = end
        row = for_members(one_row, is_batched, shared=1)(iteration.time_of(k), state, reference)
        return (k, state, value), {"k": k, "event": value, **row}

    value = values(k, state) if events else None
    (k, state, _), rows = jax.lax.scan(stretch, (k, state, value), gaps)
    return (k, state), rows


class _Done(NamedTuple):
    """The run so far: replaced as a whole after every chunk, so that an interrupt finds no half of one."""

    k: Any
    state: State
    steps: int = 0
    saves: int = 0
    parts: tuple[dict[str, Any], ...] = ()
    #: The row at `steps`, which need not be a save time.
    last: dict[str, Any] | None = None
    #: Which event ended the run.
    event: int | None = None
    is_diverged: bool = False


def iterate(
    iteration: AbstractIteration,
    theta0: Any,
    steps: int,
    *,
    ts: int | Sequence[int] | np.ndarray = 200,
    stop: Any = (),
    laws: Callable[[dict[str, Any]], Any] | None = None,
    save_states: bool | None = None,
    check: bool = True,
    progress: bool | None = None,
    allow_float32: bool = False,
) -> Trajectory:
    r"""Run `steps` steps of a training rule from `theta0`, in compiled chunks.

    Not jit-compatible (it runs on the host); inside jit, vmap or grad call `states_at`. `Trajectory.ts` is
    gradient-flow time, $k\eta$ for a constant step, so that a run lies over the flow that it discretises.

    Where every array of `theta0` has the same additional leading axes, the starts are a batch and run together; see
    `solve`. Ctrl-C ends a long run within about a second and returns what is done, with
    `stats.stopped_by == "interrupted"`; before anything is done, and a second time, it raises `KeyboardInterrupt`.

    Args:
        iteration: a `GradientDescent` or any `AbstractIteration`.
        theta0: the network's parameters, one start or a batch.
        steps: number of steps, at least 1.
        ts: number of evenly spaced save times (step 0 and the last included), or increasing step numbers; the last step
            is always one.
        stop: what ends the run early, after the first step at which it holds: `LossBelow(level)`, `SteadyState(rtol)`,
            a function `(t, params) -> number` that crosses zero, or several of them; see `solve`.
        laws: conservation laws to watch, a function of the dict of factors; see `solve`.
        save_states: keep the state at every save time; by default if that takes at most 0.5 GB.
        check: check `theta0` against the condition of a reduction.
        progress: show a bar; by default on a terminal and in a notebook, after two seconds.
        allow_float32: run in float32 and mark the result.

    Raises:
        ValueError: malformed arguments, traced ones, an event that already holds at the start.
        IntegrationError: the iteration diverged; the message has the measured sharpness, `.trajectory` the finite part.
        KeyboardInterrupt: the user stopped the run before anything was done.
    """
    float64 = require_float64("iterate", allow_float32=allow_float32)
    if not isinstance(iteration, AbstractIteration):
        raise ValueError(
            f"Argument `iteration` must be a rule with steps, but is {type(iteration).__name__}: a flow runs by "
            "`solve`."
        )
    if iteration.training is None:
        raise ValueError(
            f"Argument `iteration` must be bound to a loss, but {iteration.label} is not: call `.bind(flow.training)`."
        )
    grid = save_grid(ts, 0, integer(steps, "steps"), whole=True)
    start = start_of(iteration, theta0, check=check)
    state, is_batched = start.state, start.is_batched
    if save_states is None:
        save_states = number_count(state, len(grid)) <= MAX_RECORDED
    events = checked_events(stop, iteration, 0.0, state, is_batched)
    monitor = law_monitor(laws, iteration, state)
    settings = _Settings(iteration, events, monitor, state, bool(save_states), is_batched)
    traces = _run_chunk.traces
    begin = time.perf_counter()

    def run(done: _Done, gaps: list[int]) -> tuple[Any, State, dict[str, Any]]:
        padded = np.asarray(gaps + [0] * (CHUNK - len(gaps)))
        (k, after), rows = _run_chunk(settings, done.state, done.k, padded)
        return k, after, _cut(rows, len(gaps))

    done, chunk = _Done(np.asarray(0), state), ChunkLength(state, iteration)
    with (
        progress_bar(int(grid[-1]), iteration.label, unit=" steps", progress=progress) as bar,
        interruptible(lambda: done.last is not None) as work,
    ):
        while done.saves < len(grid) and done.event is None and not done.is_diverged:
            shown, began, known = done.steps, time.perf_counter(), _run_chunk.traces
            done = _advance(iteration, done, grid, chunk.steps, run)
            if done.steps > shown and _run_chunk.traces == known:
                chunk.learn(done.steps - shown, time.perf_counter() - began)
            if done.last is not None:
                bar.set_postfix_str(f"loss {np.max(done.last['loss']):.3g}")
            bar.update(done.steps - shown)
    parts, at = list(done.parts), grid[: done.saves]
    if done.last is not None and done.steps > (at[-1] if len(at) else -1):
        # Stopped between two save times.
        parts.append(jax.tree.map(lambda leaf: leaf[None], done.last))
        at = np.append(at, done.steps)
    stopped_by = None if done.event is None else events[done.event].label
    stats = Stats(
        method=f"{iteration.label}, step {float(np.max(np.asarray(iteration.time_step))):g}",
        rtol=None,
        atol=None,
        counts={"steps": done.steps},
        seconds=time.perf_counter() - begin,
        compiled=_run_chunk.traces > traces,
        stopped_by=INTERRUPTED if work.interrupted else stopped_by,
        float64=float64,
    )
    trajectory = None
    if len(at):
        rows = jax.tree.map(lambda *leaves: np.concatenate(leaves), *parts)
        del rows["k"], rows["event"]
        rows = unbatched(rows, start.batch_shape, has_time=True)
        final = unbatched(jax.tree.map(np.asarray, done.state), start.batch_shape, has_time=False)
        times = np.asarray(iteration.time_of(at))
        trajectory = trajectory_of(iteration, "t", times, rows, final, stats)
    if done.is_diverged:
        ends = (state, done.state)
        first, last = jax.tree.map(lambda leaf: leaf[0], ends) if is_batched else ends
        raise IntegrationError(
            divergence_message(iteration, first, last, done.steps, int(grid[done.saves]), steps, len(at)),
            trajectory=trajectory,
        )
    assert trajectory is not None  # row 0 is the checked, finite start
    return trajectory


def _advance(
    rule: AbstractIteration,
    done: _Done,
    grid: np.ndarray,
    most: int,
    run: Callable[[_Done, list[int]], tuple[Any, State, dict[str, Any]]],
) -> _Done:
    """One chunk of at most so many steps and `CHUNK` save times; its last row need not be at a save time."""
    gaps, ends = [], grid[done.saves : done.saves + CHUNK]
    for end in np.minimum(ends, done.steps + most).tolist():
        gaps.append(end - done.steps - sum(gaps))
        if end == done.steps + most:
            break
    k, state, rows = run(done, gaps)
    if done.last is None and not np.all(np.isfinite(rows["loss"][0])) and gaps[0] == 0:
        check_first_loss(rule, rows["loss"][0])
    event, good = None, len(gaps)
    if rows["event"] is not None and (stopped := np.flatnonzero(np.any(rows["event"] <= 0, axis=1))).size:
        good = int(stopped[0]) + 1
        event = int(np.argmin(rows["event"][good - 1]))
    # A batch ends where all of its members have diverged: until then the others go on.
    loss = rows["loss"][:good].reshape(good, -1)
    finite = np.any(np.isfinite(loss), axis=1)
    is_diverged = not finite.all()
    if is_diverged:
        good, event = int(np.argmin(finite)), None
        # Replay the chunk up to its last good row, so that the final state is the one reported.
        k, state, _ = run(done, gaps[:good])
    at = rows["k"][:good]
    saves = int(np.sum(np.isin(at, ends)))
    return _Done(
        k,
        state,
        int(at[-1]) if good else done.steps,
        done.saves + saves,
        (*done.parts, _cut(rows, saves)),
        jax.tree.map(lambda leaf: leaf[good - 1], rows) if good else done.last,
        event,
        is_diverged,
    )


def _cut(row: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.array(leaf[:count]), row)
