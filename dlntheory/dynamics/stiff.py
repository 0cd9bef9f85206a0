"""Implicit multistep integration by SciPy with JAX's Jacobian: for plateaus at small initialisation.

Along a saddle-to-saddle path the modes already learnt relax at a rate that does not shrink with the initial scale,
so the step count of an explicit method grows as $\\alpha^{-(L-2)}$; that of LSODA grows as $\\log 1/\\alpha$.
"""

from __future__ import annotations

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .base import AbstractDynamics, State
from .clocks import Clock
from .events import AbstractEvent
from .explicit import RawRun
from .recording import record

MAX_PARAMETERS = 1000


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def _field(dynamics: AbstractDynamics, clock: Clock, like: State, s, vector):
    _, unravel = ravel_pytree(like)
    velocity = dynamics.velocity(clock.time(s), unravel(vector))
    return clock.rate(s) * ravel_pytree(velocity)[0]


@eqx.filter_jit
def _jacobian(dynamics: AbstractDynamics, clock: Clock, like: State, s, vector):
    return jax.jacfwd(lambda y: _field(dynamics, clock, like, s, y))(vector)


@eqx.filter_jit
def _event_value(dynamics: AbstractDynamics, clock: Clock, event: AbstractEvent, like: State, s, vector):
    _, unravel = ravel_pytree(like)
    return event.value(dynamics, clock.time(s), unravel(vector))


@eqx.filter_jit
def _rows(dynamics: AbstractDynamics, reference, like: State, vectors):
    _, unravel = ravel_pytree(like)
    return jax.lax.map(lambda y: record(dynamics, unravel(y), reference, with_state=True), vectors)


def run_stiff(
    dynamics: AbstractDynamics,
    state0: State,
    ts: np.ndarray,
    t0: float,
    *,
    clock: Clock,
    rtol: float,
    atol: float,
    events: tuple[AbstractEvent, ...],
    save_states: bool,
    scipy_method: str = "LSODA",
) -> RawRun:
    """Integrate with LSODA, with BDF where LSODA gives up, or with Radau on request. A host verb; see `solve`.

    Raises:
        ValueError: more than 1000 numbers in the state, for which a dense Jacobian is too expensive.
    """
    from scipy.integrate import solve_ivp

    vector0, _ = ravel_pytree(state0)
    if vector0.size > MAX_PARAMETERS:
        raise ValueError(
            f'Argument `method` must not be "stiff" above {MAX_PARAMETERS} state variables (it factorises a dense '
            f'Jacobian), but the state of {dynamics.label} has {vector0.size}. Use "dopri8".'
        )
    traces = eqx.debug.get_num_traces(_field)

    def field(s, y):
        return np.asarray(_field(dynamics, clock, state0, jnp.asarray(s), jnp.asarray(y)))

    def jacobian(s, y):
        return np.asarray(_jacobian(dynamics, clock, state0, jnp.asarray(s), jnp.asarray(y)))

    def terminal(event: AbstractEvent):
        def value(s, y):
            return float(_event_value(dynamics, clock, event, state0, jnp.asarray(s), jnp.asarray(y)))

        value.terminal = True
        value.direction = -1
        return value

    def attempt(name: str):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            solution = solve_ivp(
                field,
                (t0, float(ts[-1])),
                np.asarray(vector0),
                method=name,
                t_eval=ts,
                events=[terminal(event) for event in events] or None,
                jac=jacobian,
                rtol=rtol,
                atol=atol,
            )
        reasons = [str(entry.message) for entry in caught] + [str(solution.message)]
        return solution, "; ".join(dict.fromkeys(reasons))

    label = f"stiff ({scipy_method})"
    solution, message = attempt(scipy_method)
    if solution.status < 0 and scipy_method == "LSODA":
        label = "stiff (BDF, after LSODA gave up)"
        solution, message = attempt("BDF")

    # t_eval saves nothing at an event, and solve_ivp has no other door to the state there.
    times, vectors = solution.t, solution.y.T
    hit = None
    if solution.status == 1:
        hit = next(i for i, found in enumerate(solution.t_events) if len(found))
        final_t, final = float(solution.t_events[hit][0]), solution.y_events[hit][0]
    elif len(times):
        final_t, final = float(times[-1]), vectors[-1]
    else:
        final_t, final = t0, np.asarray(vector0)
    reference = dynamics.conserved(state0)
    everything = np.concatenate([vectors.reshape(-1, vector0.size), final[None]])
    rows = jax.tree.map(np.asarray, _rows(dynamics, reference, state0, jnp.asarray(everything)))
    grid_rows = {k: jax.tree.map(lambda a: a[:-1], v) for k, v in rows.items()}
    if not save_states:
        del grid_rows["state"]
    return RawRun(
        ts=np.asarray(times),
        rows=grid_rows,
        final_t=final_t,
        final_row={k: jax.tree.map(lambda a: a[-1], v) for k, v in rows.items()},
        counts={"evaluations": int(solution.nfev), "jacobians": int(solution.njev)},
        failure=message if solution.status < 0 else None,
        event=hit,
        method=label,
        compiled=eqx.debug.get_num_traces(_field) > traces,
    )
