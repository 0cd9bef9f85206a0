"""Runge-Kutta integration, explicit or matrix-free implicit, and the only place that drives diffrax."""

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
import lineax
import numpy as np
import optimistix as optx

from ..base import AbstractFlow, State
from ..events import AbstractEvent
from ..recording import LawMonitor, quantities, record
from ..time_reparametrisation import Clock
from .resumable_stepping import Crossing, Memory, Pace, Pausing, blank_memory, memory_of, select


def _matrix_free() -> diffrax.AbstractSolver:
    """Kvaerno5 whose Newton steps solve by GMRES: Jacobians are only multiplied with, never formed."""
    linear = lineax.GMRES(rtol=1e-4, atol=1e-12, restart=30, stagnation_iters=60)
    return diffrax.Kvaerno5(
        root_finder=diffrax.with_stepsize_controller_tols(optx.Newton)(linear_solver=linear)
    )


#: Told between the parts of a run how far it is: the time in units of the clock and the loss.
Tell = Callable[[float, float], None]

SOLVERS = {"tsit5": diffrax.Tsit5, "dopri8": diffrax.Dopri8, "krylov": _matrix_free}


@dataclasses.dataclass(frozen=True)
class RawRun:
    """What a back end hands to `solve`: arrays padded or cut as it saw fit, nothing interpreted."""

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


class _Settings(eqx.Module):
    """What decides the compiled program; everything else is traced."""

    solver: str = eqx.field(static=True)
    clock: Clock = eqx.field(static=True)
    step_to_ts: bool = eqx.field(static=True)
    save_states: bool = eqx.field(static=True)


class _Arguments(eqx.Module):
    dynamics: AbstractFlow
    events: tuple[AbstractEvent, ...]
    monitor: LawMonitor | None


class _Point(eqx.Module):
    """A time and the state at it."""

    t: Any
    state: State


class _Outcome(eqx.Module):
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
    memory: Memory


def _finite_norm(error):
    # A non-finite error estimate would make the next step size nan, and every later step is then rejected.
    size = optx.rms_norm(error)
    return jnp.where(jnp.isfinite(size), size, 1e10)


def _event_values(arguments: _Arguments, t, state: State):
    return jnp.stack([event.value(arguments.dynamics, t, state) for event in arguments.events])


def _controller(solver: str, step_to_ts: bool, grid, shortest, rtol, atol) -> Any:
    # A proportional term keeps an implicit method, whose error estimates jump, from rejecting most of its steps.
    pcoeff, icoeff = (0.3, 0.4) if solver == "krylov" else (0.0, 1.0)
    controller = diffrax.PIDController(
        rtol=rtol,
        atol=atol,
        pcoeff=pcoeff,
        icoeff=icoeff,
        norm=_finite_norm,
        dtmin=shortest,
        force_dtmin=False,
    )
    return diffrax.ClipStepSizeController(controller, step_ts=grid) if step_to_ts else controller


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def integrate(
    settings: _Settings,
    arguments: _Arguments,
    start: _Point,
    here: _Point,
    grid,
    saves,
    is_first,
    memory: Memory,
    steps,
    rtol,
    atol,
):
    """Part of a run; one compiled program per shape: tolerances, times, number of steps are arrays and never retrace.

    Args:
        settings: what the program depends on.
        arguments: the dynamics and what watches it.
        start: of the run.
        here: of this part.
        grid: the save times of the run.
        saves: those after `here`, filled up with `nan`, which no step ever reaches.
        is_first: whether this part is the first.
        memory: what the part before left; blank in the first.
        steps: how many steps to take.
        rtol: relative tolerance per step.
        atol: absolute tolerance per step.
    """
    clock, end = settings.clock, grid[-1]
    # The conserved quantities at the start; computed here, a call of `solve` costs no eager operations.
    reference = quantities(arguments.dynamics, clock.time(start.t), start.state, arguments.monitor)

    def field(s, state, args: _Arguments):
        return clock.velocity(args.dynamics, s, state)

    def row(s, state, args: _Arguments, with_state: bool):
        return record(
            args.dynamics, clock.time(s), state, reference, monitor=args.monitor, with_state=with_state
        )

    def save(s, state, args: _Arguments):
        return row(s, state, args, settings.save_states)

    def save_last(s, state, args: _Arguments):
        return row(s, state, args, True)

    def first_event(t, y, args: _Arguments, **kwargs):
        # diffrax passes t, y, args by keyword. The minimum crosses zero when the first of the events does.
        return jnp.min(_event_values(args, clock.time(t), y))

    # Below the spacing of floats near the end a step no longer moves t: stop there instead of rejecting for ever.
    shortest = 1e-16 * (end - start.t)
    inner = _controller(settings.solver, settings.step_to_ts, grid, shortest, rtol, atol)
    solver, term = SOLVERS[settings.solver](), diffrax.ODETerm(field)  # pyright: ignore[reportArgumentType]
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
            subs=[diffrax.SubSaveAt(ts=saves, fn=save), diffrax.SubSaveAt(t1=True, fn=save_last)],
            solver_state=True,
            controller_state=True,
        ),
        stepsize_controller=Pausing(  # pyright: ignore[reportCallIssue]
            controller=inner, is_first=is_first, memory=memory, end=end, steps=steps
        ),
        solver_state=select(is_first, fresh, memory.solver),
        # `solve` is a host verb that nobody differentiates; this compiles in two thirds of the default's time.
        adjoint=diffrax.ForwardMode(),
        event=diffrax.Event(first_event, Crossing(), direction=False) if arguments.events else None,
        max_steps=None,
        throw=False,
    )
    (grid_ts, last_ts), (rows, last) = solution.ts, solution.ys  # pyright: ignore[reportGeneralTypeIssues]
    return _Outcome(
        ts=grid_ts,
        rows=rows,
        final_t=last_ts[0],
        final_row=jax.tree.map(lambda leaf: leaf[0], last),
        accepted=solution.stats["num_accepted_steps"],
        rejected=solution.stats["num_rejected_steps"],
        is_finished=solution.result == diffrax.RESULTS.successful,
        is_event=solution.result == diffrax.RESULTS.event_occurred,
        is_paused=solution.result == diffrax.RESULTS.max_steps_reached,
        result=solution.result,
        memory=memory_of(solution),
    )


@functools.lru_cache(maxsize=1024)
def _form(solver: str, step_to_ts: bool, saves: int, shapes: tuple[Any, ...], dtype: Any) -> Memory:
    """Shapes and types of the memory of a run: known before its program is compiled."""
    number = jax.ShapeDtypeStruct((), dtype)

    def make(grid, one, state):
        return blank_memory(
            _controller(solver, step_to_ts, grid, one, one, one), SOLVERS[solver](), state, one
        )

    state = {name: jax.ShapeDtypeStruct(shape, kind) for name, shape, kind in shapes}
    return eqx.filter_eval_shape(make, jax.ShapeDtypeStruct((saves,), dtype), number, state)


def _blank(settings: _Settings, state: State, saves: int) -> Memory:
    shapes = tuple((name, leaf.shape, leaf.dtype) for name, leaf in state.items())
    form = _form(settings.solver, settings.step_to_ts, saves, shapes, jnp.result_type(float))
    return jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), form)


def run_explicit(
    dynamics: AbstractFlow,
    state0: State,
    ts: np.ndarray,
    t0: float,
    *,
    method: str,
    clock: Clock,
    rtol: float,
    atol: float,
    events: tuple[AbstractEvent, ...],
    monitor: LawMonitor | None,
    step_to_ts: bool,
    save_states: bool,
    max_steps: int,
    tell: Tell,
) -> RawRun:
    """Integrate with Tsit5, Dopri8 or Kvaerno5 and a step controller, in parts of half a second. See `solve`.

    The parts are of one compiled program, and put together they are the run that would have been made at once.

    Raises:
        KeyboardInterrupt: the user stopped the run before its first part was done; later, what is done is returned.
    """
    settings = _Settings(method, clock, step_to_ts, save_states)
    arguments = _Arguments(dynamics, events, monitor)
    traces = eqx.debug.get_num_traces(integrate)
    start, pace = _Point(np.asarray(t0), state0), Pace(state0, dynamics)
    tolerances = np.asarray(rtol), np.asarray(atol)

    def advance(done: _Done) -> _Done:
        began, known = time.perf_counter(), eqx.debug.get_num_traces(integrate)
        last, reached = done.last, done.saves
        here = start if last is None else _Point(last.final_t, last.final_row["state"])
        memory = _blank(settings, state0, len(ts)) if last is None else last.memory
        saves = np.concatenate([ts[reached:], np.full(reached, np.nan)]) if reached else ts
        steps = np.asarray(min(pace.steps, max_steps - done.steps))
        is_first = np.asarray(last is None)
        out = integrate(settings, arguments, start, here, ts, saves, is_first, memory, steps, *tolerances)
        done = done.and_then(out, len(ts), max_steps)
        if eqx.debug.get_num_traces(integrate) == known:
            pace.learn(int(steps), time.perf_counter() - began)
        return done

    done, interrupted = _Done(), False
    while done.goes_on and not interrupted:
        try:
            done = advance(done)
            if done.goes_on:
                tell(float(done.last.final_t), float(done.last.final_row["loss"]))
        except KeyboardInterrupt:
            if done.last is None:
                raise
            interrupted = True
    out = done.last
    failure, event = None, None
    if out.is_event:
        values = _event_values(arguments, clock.time(out.final_t), out.final_row["state"])
        event = int(np.argmin(values))
    elif not out.is_finished and not interrupted:
        failure = diffrax.RESULTS[out.result].strip().splitlines()[0]
    return RawRun(
        ts=_joined([part.ts for part in done.parts]),
        rows=jax.tree.map(lambda *leaves: _joined(leaves), *[part.rows for part in done.parts]),
        final_t=float(out.final_t),
        final_row=jax.tree.map(np.asarray, out.final_row),
        counts={"steps accepted": done.accepted, "steps rejected": done.rejected},
        failure=failure,
        event=event,
        method=method,
        compiled=eqx.debug.get_num_traces(integrate) > traces,
        interrupted=interrupted,
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
        """Add a part, of a run of so many saves."""
        ts, rows = np.asarray(out.ts), jax.tree.map(np.asarray, out.rows)
        accepted, rejected = self.accepted + int(out.accepted), self.rejected + int(out.rejected)
        goes_on = bool(out.is_paused) and accepted + rejected < max_steps
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
