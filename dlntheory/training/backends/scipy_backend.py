"""Implicit multistep integration by SciPy with JAX's Jacobian: for plateaus at small initialisation.

Along a saddle-to-saddle path the modes already learnt relax at a rate that does not shrink with the initial scale,
so the step count of an explicit method grows as $\\alpha^{-(L-2)}$; that of LSODA grows as $\\log 1/\\alpha$.
"""

from __future__ import annotations

import dataclasses
import warnings
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...display.progress import interruptible
from ..base import AbstractFlow, State
from ..events import AbstractEvent
from ..recording import LawMonitor, quantities, record
from ..time_reparametrisation import Clock
from .compiling import Compiled
from .diffrax_backend import ProgressCallback, RawRun

MAX_PARAMETERS = 1000


@Compiled
def _field(dynamics: AbstractFlow, clock: Clock, like: State, s, vector):
    _, unravel = ravel_pytree(like)
    return ravel_pytree(clock.velocity(dynamics, s, unravel(vector)))[0]


@Compiled
def _jacobian(dynamics: AbstractFlow, clock: Clock, like: State, s, vector):
    return jax.jacfwd(lambda y: _field.function(dynamics, clock, like, s, y))(vector)


@Compiled
def _event_value(dynamics: AbstractFlow, clock: Clock, event: AbstractEvent, like: State, s, vector):
    _, unravel = ravel_pytree(like)
    return event.value(dynamics, clock.time(s), unravel(vector))


@Compiled
def _rows(dynamics: AbstractFlow, clock: Clock, monitor: LawMonitor | None, reference, like: State, points):
    _, unravel = ravel_pytree(like)

    def row(point):
        s, vector = point
        state = unravel(vector)
        return record(dynamics, clock.time(s), state, reference, monitor=monitor, with_state=True)

    return jax.lax.map(row, points)


@dataclasses.dataclass
class _March:
    """Accepted steps of a SciPy solver, interpolated at the save times."""

    points: list[tuple[float, np.ndarray]]
    final_t: float
    final: np.ndarray
    event: int | None = None
    failure: str | None = None
    interrupted: bool = False
    evaluations: int = 0
    jacobians: int = 0
    steps: int = 0


def run_stiff(
    dynamics: AbstractFlow,
    state0: State,
    ts: np.ndarray,
    t0: float,
    *,
    clock: Clock,
    rtol: float,
    atol: float,
    events: tuple[AbstractEvent, ...],
    monitor: LawMonitor | None,
    save_states: bool,
    max_steps: int,
    scipy_method: str = "LSODA",
    every_step: bool = False,
    tell: ProgressCallback,
) -> RawRun:
    """Integrate with LSODA, with BDF where LSODA gives up, or with Radau on request. See `solve`.

    Raises:
        ValueError: more than 1000 numbers in the state, for which a dense Jacobian is too expensive.
        KeyboardInterrupt: the user stopped the run before its first step; later, what is done is returned.
    """
    vector0 = np.asarray(ravel_pytree(state0)[0])
    if vector0.size > MAX_PARAMETERS:
        raise ValueError(
            f'Argument `method` must not be "stiff" above {MAX_PARAMETERS} state variables (it factorises a dense '
            f'Jacobian), but the state of {dynamics.label} has {vector0.size}. Use "dopri8".'
        )
    traces = _field.traces

    def field(s, y):
        return np.asarray(_field(dynamics, clock, state0, jnp.asarray(s), jnp.asarray(y)))

    def jacobian(s, y):
        return np.asarray(_jacobian(dynamics, clock, state0, jnp.asarray(s), jnp.asarray(y)))

    def event_values(s, y):
        values = [
            float(_event_value(dynamics, clock, event, state0, jnp.asarray(s), jnp.asarray(y)))
            for event in events
        ]
        return np.array(values)

    def attempt(name: str) -> _March:
        return _march(
            name, field, jacobian, event_values, vector0, ts, t0, rtol, atol, max_steps, every_step, tell
        )

    label = f"stiff ({scipy_method})"
    march = attempt(scipy_method)
    if march.failure and scipy_method == "LSODA" and march.steps < max_steps:
        first, march = march.failure, attempt("BDF")
        label = "stiff (BDF, after LSODA gave up)"
        if march.failure:
            march.failure = f"LSODA: {first} BDF: {march.failure}"

    reference = quantities(dynamics, clock.time(jnp.asarray(t0)), state0, monitor)
    saved, last = [t for t, _ in march.points], (march.final_t, march.final)
    times, states = (list(column) for column in zip(*march.points, last, strict=True))
    count = len(times)
    if every_step:
        # The number of steps differs from run to run: padded to a power of two, few sizes are ever compiled.
        padding = (1 << (count - 1).bit_length()) - count
        times, states = times + [times[-1]] * padding, states + [states[-1]] * padding
    points = jnp.asarray(times), jnp.asarray(np.stack(states))
    rows = jax.tree.map(
        lambda leaf: np.asarray(leaf)[:count], _rows(dynamics, clock, monitor, reference, state0, points)
    )
    grid_rows = {
        name: jax.tree.map(lambda leaf: leaf[:-1], row)
        for name, row in rows.items()
        if save_states or name != "state"
    }
    return RawRun(
        ts=np.asarray(saved),
        rows=grid_rows,
        final_t=march.final_t,
        final_row={name: jax.tree.map(lambda leaf: leaf[-1], row) for name, row in rows.items()},
        counts={
            "steps": march.steps,
            # LSODA counts in int32.
            "evaluations": int(march.evaluations),
            "Jacobians": int(march.jacobians),
        },
        failure=march.failure,
        event=march.event,
        method=label,
        compiled=_field.traces > traces,
        interrupted=march.interrupted,
    )


def _march(
    name, field, jacobian, event_values, vector0, ts, t0, rtol, atol, max_steps, every_step, tell
) -> _March:
    """Step a SciPy solver to the end, an event, a failure or an interrupt; nothing that was reached is lost.

    `solve_ivp` has no bound on steps, and near a blow-up LSODA takes ever smaller ones without end.
    """
    import scipy.integrate

    end = float(ts[-1])
    out = _March([(t0, vector0)] if ts[0] == t0 else [], t0, vector0)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        solver = getattr(scipy.integrate, name)(field, t0, vector0, end, rtol=rtol, atol=atol, jac=jacobian)
        before = event_values(t0, vector0)
        with interruptible(lambda: out.steps > 0) as work:
            while solver.status == "running" and out.failure is None and out.event is None:
                message = solver.step()
                moved = solver.t - out.final_t
                if (
                    solver.status == "failed"
                    or moved <= 1e-16 * (end - t0)
                    or not np.all(np.isfinite(solver.y))
                ):
                    reasons = [message or "", *(str(entry.message) for entry in caught)]
                    known = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
                    out.failure = known or "The step size became too small."
                    break
                interpolant, after = solver.dense_output(), event_values(solver.t, solver.y)
                event, stop = _first_crossing(event_values, interpolant, before, after, out.final_t, solver.t)
                saves = [stop] if every_step else ts[(ts > out.final_t) & (ts <= stop)]
                points = [(float(save), interpolant(save)) for save in saves]
                last = np.array(solver.y) if event is None else interpolant(stop)
                # Only now that nothing is left to be computed: an interrupt finds whole steps.
                out.final_t, out.final, out.event, before = stop, last, event, after
                out.points.extend(points)
                out.steps += 1
                if out.steps >= max_steps and solver.status == "running":
                    out.failure = "The maximum number of solver steps was reached."
                tell(stop, None)
    out.interrupted = work.interrupted
    out.evaluations, out.jacobians = solver.nfev, solver.njev
    return out


def _first_crossing(event_values, interpolant, before, after, start, end) -> tuple[int | None, float]:
    """Which event happens first in a step, and when; without one, the end of the step."""
    from scipy.optimize import brentq

    first, stop = None, float(end)
    for index in np.flatnonzero((before > 0) & (after <= 0)):
        along = _along(event_values, interpolant, int(index))
        crossing: Any = brentq(along, start, end, xtol=1e-13)
        if first is None or crossing < stop:
            first, stop = int(index), float(crossing)
    return first, stop


def _along(event_values, interpolant, index: int):
    return lambda s: event_values(s, interpolant(s))[index]
