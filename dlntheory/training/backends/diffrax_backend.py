"""Runge-Kutta integration by diffrax, which nothing outside this folder imports.

`integrate` is the one compiled program of `solve`: a stretch of a run, of one start or of a batch of starts that share
their steps. `states_along` is the same equation without what belongs to a run on the host (chunks, records, events).
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...display.progress import interruptible
from ..base import AbstractFlow, State
from ..events import AbstractEvent, event_values
from ..recording import LawMonitor, quantities, record
from ..save_times import padded, padded_count
from ..time_reparametrisation import Clock
from .compiling import Compiled
from .resumable_stepping import (
    Bisection,
    Checkpoint,
    ChunkLength,
    ResumableController,
    blank_checkpoint,
    checkpoint_of,
    select,
)
from .runge_kutta_methods import clipped, controller_of

#: Progress callback, called between chunks: the time in units of the clock and the loss.
ProgressCallback = Callable[[float, float | None], None]


@dataclasses.dataclass(frozen=True)
class RawRun:
    """Unprocessed solver output: rows have a leading time axis, behind it that of the members of a batch."""

    ts: np.ndarray
    rows: dict[str, Any]
    final_t: float
    final_row: dict[str, Any]
    counts: dict[str, int]
    failure: str | None
    event: int | None
    method: str
    compiled: bool
    interrupted: bool = False
    note: str | None = None


# Plain tuples and dataclasses, not modules: to make a module takes a tenth of a millisecond, at every call of `solve`.
@dataclasses.dataclass(frozen=True)
class _Settings:
    """What decides the compiled program; everything else is traced."""

    clock: Clock
    step_to_ts: bool
    save_states: bool
    is_batched: bool


class _Arguments(NamedTuple):
    dynamics: AbstractFlow
    solver: diffrax.AbstractSolver
    events: tuple[AbstractEvent, ...]
    monitor: LawMonitor | None


class _Point(NamedTuple):
    """A time and the state at it."""

    t: Any
    state: State


class _Outcome(NamedTuple):
    """What leaves the compiled program: everything the host asks for, computed inside it."""

    ts: Any
    rows: dict[str, Any]
    final_t: Any
    final_row: dict[str, Any]
    accepted: Any
    rejected: Any
    is_finished: Any
    is_event: Any
    is_paused: Any
    result: Any
    events: Any
    checkpoint: Checkpoint


def for_members(function: Callable[..., Any], is_batched: bool, *, shared: int = 0) -> Callable[..., Any]:
    """A function of a state as one of the states of a batch; its first arguments are shared by the members."""
    if not is_batched:
        return function
    return lambda *args: jax.vmap(functools.partial(function, *args[:shared]))(*args[shared:])


def states_along(
    flow: AbstractFlow,
    state: State,
    t0: Any,
    ts: Any,
    *,
    solver: diffrax.AbstractSolver,
    rtol: Any,
    atol: Any,
    max_steps: int,
    derivative: str,
) -> State:
    """The states of a flow at increasing times from `t0` on. Pure; see `states_at`."""
    adjoints = {
        "reverse": diffrax.RecursiveCheckpointAdjoint,
        "forward": diffrax.ForwardMode,
        "both": diffrax.DirectAdjoint,
    }
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(lambda t, y, args: args.velocity(t, y)),  # pyright: ignore[reportArgumentType]
        solver,
        t0,
        ts[-1],
        None,
        state,
        flow,
        saveat=diffrax.SaveAt(ts=ts),
        stepsize_controller=controller_of(solver, False, None, rtol, atol),
        adjoint=adjoints[derivative](),
        max_steps=max_steps,
    )
    return solution.ys  # pyright: ignore[reportReturnType]


@Compiled
def integrate(
    settings: _Settings,
    arguments: _Arguments,
    start: _Point,
    here: _Point,
    end: Any,
    grid: Any,
    ts: Any,
    is_first: Any,
    checkpoint: Checkpoint,
    steps: Any,
    rtol: Any,
    atol: Any,
) -> _Outcome:
    """Part of a run; one compiled program per shape: tolerances, times, number of steps are arrays and never retrace.

    Args:
        settings: what the program depends on.
        arguments: the flow and what watches it.
        start: of the run.
        here: of this part.
        end: of the run.
        grid: the save times of the run, padded with NaN.
        ts: those after `here`, padded with NaN, which no step ever reaches.
        is_first: whether this part is the first.
        checkpoint: what the part before left; blank in the first.
        steps: how many steps to take.
        rtol: relative tolerance per step.
        atol: absolute tolerance per step.
    """
    clock, is_batched, solver = settings.clock, settings.is_batched, arguments.solver
    flow, monitor = arguments.dynamics, arguments.monitor
    # The conserved quantities at the start; computed here, a call of `solve` costs no eager operations.
    reference = for_members(lambda state: quantities(flow, clock.time(start.t), state, monitor), is_batched)(
        start.state
    )

    def field(s: Any, state: State, args: _Arguments) -> State:
        return for_members(functools.partial(clock.velocity, args.dynamics), is_batched, shared=1)(s, state)

    def row(s: Any, state: State, args: _Arguments, with_state: bool) -> dict[str, Any]:
        def one(t: Any, state: State, reference: Any) -> dict[str, Any]:
            return record(args.dynamics, t, state, reference, monitor=args.monitor, with_state=with_state)

        return for_members(one, is_batched, shared=1)(clock.time(s), state, reference)

    def first_event(t: Any, y: State, args: _Arguments, **kwargs: Any) -> Any:
        # diffrax passes t, y, args by keyword. The minimum crosses zero when the first of the events does.
        return jnp.min(event_values(args.events, args.dynamics, clock.time(t), y, is_batched))

    # Below the spacing of floats near the end a step no longer moves t: stop there instead of rejecting for ever.
    inner = controller_of(solver, is_batched, 1e-16 * (end - start.t), rtol, atol)
    inner = clipped(inner, grid) if settings.step_to_ts else inner
    term = diffrax.ODETerm(field)  # pyright: ignore[reportArgumentType]
    fresh = solver.init(term, here.t, end, here.state, arguments)
    solution = diffrax.diffeqsolve(
        term,
        solver,
        here.t,
        end,
        None,
        here.state,
        arguments,
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=ts, fn=lambda s, y, args: row(s, y, args, settings.save_states)),
                diffrax.SubSaveAt(t1=True, fn=lambda s, y, args: row(s, y, args, True)),
            ],
            solver_state=True,
            controller_state=True,
        ),
        stepsize_controller=ResumableController(  # pyright: ignore[reportCallIssue]
            controller=inner, is_first=is_first, checkpoint=checkpoint, end=end, steps=steps
        ),
        solver_state=select(is_first, fresh, checkpoint.solver),
        # Nobody differentiates a run on the host, and this compiles in two thirds of the default's time.
        adjoint=diffrax.ForwardMode(),
        event=diffrax.Event(first_event, Bisection(), direction=False) if arguments.events else None,
        max_steps=None,
        throw=False,
    )
    (grid_ts, last_ts), (rows, last) = solution.ts, solution.ys  # pyright: ignore[reportGeneralTypeIssues]
    final_row = jax.tree.map(lambda leaf: leaf[0], last)
    final_time = clock.time(last_ts[0])
    return _Outcome(
        ts=grid_ts,
        rows=rows,
        final_t=last_ts[0],
        final_row=final_row,
        accepted=solution.stats["num_accepted_steps"],
        rejected=solution.stats["num_rejected_steps"],
        is_finished=solution.result == diffrax.RESULTS.successful,
        is_event=solution.result == diffrax.RESULTS.event_occurred,
        is_paused=solution.result == diffrax.RESULTS.max_steps_reached,
        result=solution.result,
        events=event_values(arguments.events, flow, final_time, final_row["state"], is_batched)
        if arguments.events
        else None,
        checkpoint=checkpoint_of(solution),
    )


@functools.lru_cache(maxsize=1024)
def _zeros(solver: Any, step_to_ts: bool, count: int, shapes: tuple[Any, ...], dtype: Any) -> Checkpoint:
    """A checkpoint of zeros: shapes and types are known before the program of a run is compiled."""
    number = jax.ShapeDtypeStruct((), dtype)

    def make(grid: Any, one: Any, state: State) -> Checkpoint:
        controller = controller_of(solver, False, one, one, one)
        return blank_checkpoint(clipped(controller, grid) if step_to_ts else controller, solver, state, one)

    state = {name: jax.ShapeDtypeStruct(shape, kind) for name, shape, kind in shapes}
    form = eqx.filter_eval_shape(make, jax.ShapeDtypeStruct((count,), dtype), number, state)
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), form)


def _blank(solver: Any, step_to_ts: bool, state: State, count: int) -> Checkpoint:
    shapes = tuple((name, leaf.shape, leaf.dtype) for name, leaf in state.items())
    arguments = (solver, step_to_ts, count, shapes, jnp.result_type(float))
    try:
        return _zeros(*arguments)
    except TypeError:
        # A solver that holds arrays has no hash.
        return _zeros.__wrapped__(*arguments)


def run_diffrax(
    dynamics: AbstractFlow,
    state0: State,
    ts: np.ndarray,
    t0: float,
    *,
    solver: diffrax.AbstractSolver,
    label: str,
    clock: Clock,
    rtol: float,
    atol: float,
    events: tuple[AbstractEvent, ...],
    monitor: LawMonitor | None,
    step_to_ts: bool,
    save_states: bool,
    is_batched: bool,
    max_steps: int,
    tell: ProgressCallback,
) -> RawRun:
    """Integrate with a Runge-Kutta method and a step controller, in chunks of half a second. See `solve`.

    The chunks are of one compiled program, and put together they are the run that would have been made at once.

    Raises:
        KeyboardInterrupt: the user stopped the run before its first chunk was done; later, the partial run is returned.
    """
    settings = _Settings(clock, step_to_ts, save_states, is_batched)
    arguments = _Arguments(dynamics, solver, events, monitor)
    traces = integrate.traces
    start, chunk = _Point(np.asarray(t0), state0), ChunkLength(state0, dynamics)
    tolerances = np.asarray(rtol), np.asarray(atol)
    size = sum(leaf.size for leaf in state0.values()) if save_states else 1
    count = padded_count(len(ts), size)
    end, grid = np.asarray(float(ts[-1])), padded(ts, count, np.nan)

    def advance(done: _Done) -> _Done:
        began, known = time.perf_counter(), integrate.traces
        last, reached = done.last, done.saves
        here = start if last is None else _Point(last.final_t, last.final_row["state"])
        checkpoint = _blank(solver, step_to_ts, state0, count) if last is None else last.checkpoint
        remaining = padded(ts[reached:], count, np.nan)
        steps = np.asarray(min(chunk.steps, max_steps - done.steps))
        is_first = np.asarray(last is None)
        out = integrate(
            settings, arguments, start, here, end, grid, remaining, is_first, checkpoint, steps, *tolerances
        )
        done = done.and_then(out, len(ts), max_steps)
        if integrate.traces == known:
            chunk.learn(int(steps), time.perf_counter() - began)
        return done

    done = _Done()
    with interruptible(lambda: done.last is not None) as work:
        while done.goes_on:
            done = advance(done)
            if done.goes_on:
                tell(float(done.last.final_t), float(np.max(done.last.final_row["loss"])))
    out = done.last
    failure, event = None, None
    if out.is_event:
        event = int(np.argmin(out.events))
    elif not out.is_finished and not work.interrupted:
        failure = diffrax.RESULTS[out.result].strip().splitlines()[0]
    return RawRun(
        ts=_joined([part.ts for part in done.parts]),
        rows=jax.tree.map(lambda *leaves: _joined(leaves), *[part.rows for part in done.parts]),
        final_t=float(out.final_t),
        final_row=jax.tree.map(np.asarray, out.final_row),
        counts={"steps accepted": done.accepted, "steps rejected": done.rejected},
        failure=failure,
        event=event,
        method=label,
        compiled=integrate.traces > traces,
        interrupted=work.interrupted,
    )


class _Part(NamedTuple):
    ts: np.ndarray
    rows: dict[str, Any]


class _Done(NamedTuple):
    """What is done of a run: replaced as a whole after every part, so that an interrupt finds no half of one."""

    parts: tuple[_Part, ...] = ()
    saves: int = 0
    accepted: int = 0
    rejected: int = 0
    last: Any = None
    goes_on: bool = True

    @property
    def steps(self) -> int:
        return self.accepted + self.rejected

    def and_then(self, out: _Outcome, saves: int, max_steps: int) -> _Done:
        """Append a chunk, of a run with so many save times."""
        ts, rows = np.asarray(out.ts), jax.tree.map(np.asarray, out.rows)
        accepted, rejected = self.accepted + int(out.accepted), self.rejected + int(out.rejected)
        goes_on = bool(out.is_paused) and accepted + rejected < max_steps
        # Nothing comes of a start at which the loss is not finite, whatever the number of steps.
        goes_on = goes_on and (self.last is not None or bool(np.all(np.isfinite(out.final_row["loss"]))))
        if goes_on:
            # What is not reached yet is infinite. Copied, or the whole padded arrays of every part would stay alive.
            count = int(np.sum(np.isfinite(ts)))
            part = jax.tree.map(lambda leaf: np.array(leaf[:count]), _Part(ts, rows))
        else:
            count = saves - self.saves
            part = jax.tree.map(lambda leaf: leaf[:count], _Part(ts, rows))
        return _Done((*self.parts, part), self.saves + count, accepted, rejected, out, goes_on)


def _joined(pieces: Sequence[np.ndarray]) -> np.ndarray:
    return pieces[0] if len(pieces) == 1 else np.concatenate(pieces)
