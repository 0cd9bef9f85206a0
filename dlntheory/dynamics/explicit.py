"""Runge-Kutta integration, explicit or matrix-free implicit, and the only place that drives diffrax."""

from __future__ import annotations

import dataclasses
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
import numpy as np
import optimistix as optx

from .base import AbstractDynamics, State
from .clocks import Clock
from .events import AbstractEvent
from .recording import LawMonitor, quantities, record


def _matrix_free() -> diffrax.AbstractSolver:
    """Kvaerno5 whose Newton steps solve by GMRES: Jacobians are only multiplied with, never formed."""
    linear = lineax.GMRES(rtol=1e-4, atol=1e-12, restart=30, stagnation_iters=60)
    return diffrax.Kvaerno5(
        root_finder=diffrax.with_stepsize_controller_tols(optx.Newton)(linear_solver=linear)
    )


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


class _Settings(eqx.Module):
    """What decides the compiled program; everything else is traced."""

    solver: str = eqx.field(static=True)
    clock: Clock = eqx.field(static=True)
    step_to_saves: bool = eqx.field(static=True)
    save_states: bool = eqx.field(static=True)
    progress: bool = eqx.field(static=True)
    max_steps: int = eqx.field(static=True)


class _Arguments(eqx.Module):
    dynamics: AbstractDynamics
    events: tuple[AbstractEvent, ...]
    monitor: LawMonitor | None


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
    result: Any


def _finite_norm(error):
    # A non-finite error estimate would make the next step size nan, and every later step is then rejected.
    size = optx.rms_norm(error)
    return jnp.where(jnp.isfinite(size), size, 1e10)


def _event_values(arguments: _Arguments, t, state: State):
    return jnp.stack([event.value(arguments.dynamics, t, state) for event in arguments.events])


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def integrate(settings: _Settings, arguments: _Arguments, state0: State, ts, t0, rtol, atol):
    """One compiled solve per shape; tolerances and times are arrays, so that they never retrace."""
    clock = settings.clock
    # The conserved quantities at the start; computed here, a call of `solve` costs no eager operations.
    reference = quantities(arguments.dynamics, clock.time(t0), state0, arguments.monitor)

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

    # Below the spacing of floats near t1 a step no longer moves t: stop there instead of rejecting for ever.
    shortest = 1e-16 * (ts[-1] - t0)
    # A proportional term keeps an implicit method, whose error estimates jump, from rejecting most of its steps.
    pcoeff, icoeff = (0.3, 0.4) if settings.solver == "krylov" else (0.0, 1.0)
    controller = diffrax.PIDController(
        rtol=rtol,
        atol=atol,
        pcoeff=pcoeff,
        icoeff=icoeff,
        norm=_finite_norm,
        dtmin=shortest,
        force_dtmin=False,
    )
    if settings.step_to_saves:
        controller = diffrax.ClipStepSizeController(controller, step_ts=ts)
    event = None
    if arguments.events:
        finder = optx.Bisection(rtol=1e-12, atol=1e-13, flip="detect")
        event = diffrax.Event(first_event, finder, direction=False)
    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
        SOLVERS[settings.solver](),
        t0,
        ts[-1],
        None,
        state0,
        arguments,
        saveat=diffrax.SaveAt(
            subs=[diffrax.SubSaveAt(ts=ts, fn=save), diffrax.SubSaveAt(t1=True, fn=save_last)]
        ),
        stepsize_controller=controller,
        # `solve` is a host verb that nobody differentiates; this compiles in two thirds of the default's time.
        adjoint=diffrax.ForwardMode(),
        event=event,
        max_steps=settings.max_steps,
        throw=False,
        progress_meter=diffrax.TqdmProgressMeter() if settings.progress else diffrax.NoProgressMeter(),
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
        result=solution.result,
    )


def run_explicit(
    dynamics: AbstractDynamics,
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
    step_to_saves: bool,
    save_states: bool,
    max_steps: int,
    progress: bool,
) -> RawRun:
    """Integrate with Tsit5 or Dopri8 and a proportional step controller. A host verb; see `solve`."""
    settings = _Settings(method, clock, step_to_saves, save_states, progress, max_steps)
    arguments = _Arguments(dynamics, events, monitor)
    traces = eqx.debug.get_num_traces(integrate)
    out = integrate(settings, arguments, state0, ts, np.asarray(t0), np.asarray(rtol), np.asarray(atol))
    failure, event = None, None
    if out.is_event:
        values = _event_values(arguments, clock.time(out.final_t), out.final_row["state"])
        event = int(np.argmin(values))
    elif not out.is_finished:
        failure = diffrax.RESULTS[out.result].strip().splitlines()[0]
    return RawRun(
        ts=np.asarray(out.ts),
        rows=jax.tree.map(np.asarray, out.rows),
        final_t=float(out.final_t),
        final_row=jax.tree.map(np.asarray, out.final_row),
        counts={"steps accepted": int(out.accepted), "steps rejected": int(out.rejected)},
        failure=failure,
        event=event,
        method=method,
        compiled=eqx.debug.get_num_traces(integrate) > traces,
    )
