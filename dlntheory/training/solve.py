"""`solve`: the one verb that runs any `AbstractFlow`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np

from .._errors import IntegrationError
from .._precision import FLOAT32_TOLERANCE_FLOOR, require_float64
from ..display.progress import keeps_partial, progress_bar
from .backends.diffrax_backend import SOLVERS, RawRun, run_explicit
from .backends.rebased import AbstractAnchored, run_anchored
from .backends.scipy_backend import run_stiff
from .base import AbstractFlow, State
from .domain_limits import enforce, limit_events
from .events import AbstractEvent
from .recording import LawMonitor, number_count
from .save_times import save_grid
from .time_reparametrisation import clock_named
from .trajectory import INTERRUPTED, Stats, Trajectory, trajectory_of

STIFF_METHODS = {"stiff": "LSODA", "radau": "Radau"}
#: Above this many recorded numbers (0.5 GB) states are kept only if asked for.
MAX_RECORDED = 2**26


def solve(
    dynamics: AbstractFlow,
    theta0: Mapping[str, Any],
    t1: float,
    *,
    t0: float = 0.0,
    ts: int | str | Sequence[float] | np.ndarray = 200,
    method: str = "tsit5",
    rtol: float = 1e-8,
    atol: float | None = None,
    clock: str = "t",
    stop: AbstractEvent | Sequence[AbstractEvent] = (),
    laws: Callable[[dict[str, Any]], Any] | None = None,
    step_to_ts: bool = False,
    save_states: bool | None = None,
    check: bool = True,
    max_steps: int = 1_000_000,
    progress: bool | None = None,
    allow_float32: bool = False,
) -> Trajectory:
    r"""Integrate a dynamics from the network parameters `theta0` to time `t1`.

    A host verb: it looks at values, times itself and may raise, so it does not go through jit.

    Ctrl-C ends a long run within about a second and returns what is done, with `stats.stopped_by == "interrupted"`;
    before anything is done, and a second time, it raises `KeyboardInterrupt`. The state of a `GradientFlow` is its
    parameters, so that `solve(flow, run.final, t1, t0=run.ts[-1], atol=run.stats.atol)` goes on where `run` ended. The
    drift of the second run counts from its own start.

    Args:
        dynamics: a `GradientFlow`, a reduction bound to a loss, or any `AbstractFlow`.
        theta0: the network's parameters; the dynamics maps them to its own state.
        t1: end of the run, in units of `clock`.
        t0: start of the run, likewise.
        ts: number of evenly spaced save times, or increasing times in `[t0, t1]`; see `log_times`. With a stiff method
            also `"steps"`: every accepted step, which follows plateaus and jumps of unknown times.
        method: `"tsit5"`, `"dopri8"` (tight references) or, for long plateaus with at most 1000 state variables,
            `"stiff"` (LSODA) and `"radau"`; with more variables `"krylov"` (Kvaerno5 with GMRES, no Jacobian is
            formed).
        rtol: relative tolerance per step.
        atol: absolute tolerance per step; by default `rtol / 100` times the size of the smallest non-zero array
            of the start (its root mean square, at most 1), so that a small initialisation keeps its digits.
        clock: `"t"`, or `"log_t"` for $s = \log(1 + t)$, up to $s = 709$; a `GradientFlow` of a logistic or exponential
            loss without weight decay goes on to $s = 10^6$, where its recorded loss has long underflown to 0.
        stop: events that end the run early: `LossBelow(level)`, `SteadyState(rtol)`.
        laws: conservation laws to watch, a function of the dict of factors (`conservation_laws(arch)` or one of its
            laws): their drift is recorded beside what the dynamics itself is known to conserve.
        step_to_ts: make every save time a step of the solver. Otherwise states are interpolated, which adds an error of
            its own order and shows in the drift of conserved quantities. Explicit methods only; no events.
        save_states: keep the state at every save; by default if that takes at most 0.5 GB. The last one is always
            kept.
        check: check `theta0` against the condition of a reduction. `False` lets you see what goes wrong without it.
        max_steps: upper bound on solver steps.
        progress: show a bar over the time of the run; by default on a terminal and in a notebook, after two seconds.
        allow_float32: run in float32 with tolerances of at least 1e-5 and mark the result.

    Returns:
        A `Trajectory`. If an event or Ctrl-C ended the run, its last row is where.

    Raises:
        ValueError: malformed arguments, an event that already holds at the start.
        ConditionError: `theta0` does not meet the condition of a reduction.
        PrecisionError: JAX is in float32 mode.
        IntegrationError: the solver stopped early, met non-finite values or left the domain of a reduction;
            `.trajectory` holds what was computed.
        KeyboardInterrupt: the user stopped the run before anything was done.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]]))
        >>> trajectory = dln.solve(flow, dln.gaussian(arch, jax.random.key(0), scale=0.5), 20.0)
        >>> bool(trajectory.loss[-1] < 1e-12)
        True
    """
    float64 = require_float64("solve", allow_float32=allow_float32)
    if dynamics.training is None:
        raise ValueError(
            f"Argument `dynamics` must be bound to a loss, but {dynamics.label} is not: "
            "give it one, or call `.bind(flow.training)`."
        )
    methods = [*SOLVERS, *STIFF_METHODS]
    if method not in methods:
        raise ValueError(f"Argument `method` must be one of {methods}, but is {method!r}.")
    run_clock = clock_named(clock)
    every_step = isinstance(ts, str)
    if every_step and (ts != "steps" or method not in STIFF_METHODS):
        raise ValueError(
            'Argument `ts` must be a number, increasing times or, with a stiff method, "steps", '
            f"but is {ts!r} with method {method!r}."
        )
    ts = save_grid(2 if every_step else ts, float(t0), float(t1))
    if ts[-1] > (last := run_clock.last_for(dynamics)):
        raise ValueError(
            f'Argument `t1` must be at most {last:g} with clock "{clock}" for {dynamics.label}, but is {t1:g}: beyond, '
            "t overflows. A gradient flow without weight decay of a logistic or exponential loss goes further."
        )
    if max_steps < 1:
        raise ValueError(f"Argument `max_steps` must be at least 1, but is {max_steps}.")
    events = (stop,) if isinstance(stop, AbstractEvent) else tuple(stop)
    if step_to_ts and (events or method in STIFF_METHODS):
        raise ValueError("Argument `step_to_ts` must be False with events or a stiff method, but is True.")
    arch = dynamics.architecture
    checked = dynamics.check_start(theta0) if check else arch.check(theta0)
    state0 = {name: jax.numpy.asarray(leaf) for name, leaf in dynamics.initial(checked).items()}
    rtol, atol = _tolerances(state0, rtol, atol, float64)
    t_start = float(np.asarray(run_clock.time(np.asarray(float(t0)))))
    for event in events:
        if not float(event.value(dynamics, t_start, state0)) > 0:
            raise ValueError(f"Argument `stop` must not hold at the start already, but: {event.label}.")
    user_events, domain_events = len(events), limit_events(dynamics, state0)
    if not step_to_ts:
        events = (*events, *domain_events)
    monitor = None
    if laws is not None:
        if missing := [name for name in arch.shapes if name not in state0]:
            raise ValueError(
                f"Argument `laws` must be None for {dynamics.label}, whose state does not hold the factors {missing}."
            )
        monitor = LawMonitor(laws)
        monitor.check(dynamics)
    if save_states is None:
        save_states = number_count(state0, len(ts)) <= MAX_RECORDED

    def run(moving: AbstractFlow, state: State, times: np.ndarray, begin: float) -> RawRun:
        if method in STIFF_METHODS:
            return run_stiff(
                moving,
                state,
                times,
                begin,
                clock=run_clock,
                rtol=rtol,
                atol=atol,
                events=events,
                monitor=monitor,
                save_states=bool(save_states),
                max_steps=max_steps,
                scipy_method=STIFF_METHODS[method],
                every_step=every_step,
                tell=tell,
            )
        return run_explicit(
            moving,
            state,
            times,
            begin,
            method=method,
            clock=run_clock,
            rtol=rtol,
            atol=atol,
            events=events,
            monitor=monitor,
            step_to_ts=step_to_ts,
            save_states=bool(save_states),
            max_steps=max_steps,
            tell=tell,
        )

    started = time.perf_counter()
    with progress_bar(float(ts[-1]) - float(t0), dynamics.label, unit=clock, progress=progress) as bar:
        shown = float(t0)

        def tell(t: float, loss: float | None) -> None:
            nonlocal shown
            if loss is not None:
                bar.set_postfix_str(f"loss {loss:.3g}")
            # An anchored run may go back to try a shorter way.
            bar.update(max(t - shown, 0.0))
            shown = max(t, shown)

        if isinstance(dynamics, AbstractAnchored):
            raw = run_anchored(run, dynamics, state0, ts, float(t0), max_steps=max_steps)
        else:
            raw = run(dynamics, state0, ts, float(t0))
    if raw.interrupted and not keeps_partial():
        raise KeyboardInterrupt
    raw, warning = enforce(dynamics, raw, user_events)
    stats = Stats(
        method=raw.method,
        rtol=rtol,
        atol=atol,
        counts=raw.counts,
        seconds=time.perf_counter() - started,
        compiled=raw.compiled,
        stopped_by=INTERRUPTED if raw.interrupted else None if raw.event is None else events[raw.event].label,
        float64=float64,
        warning=warning,
    )
    return _finish(dynamics, clock, raw, stats, float(ts[-1]), max_steps)


def default_atol(state0: State, rtol: float) -> float:
    """`rtol / 100` times the root mean square of the smallest non-zero array of the start, at most 1."""
    sizes = [float(np.sqrt(np.mean(np.square(np.asarray(leaf))))) for leaf in jax.tree.leaves(state0)]
    return 1e-2 * rtol * min(1.0, min((size for size in sizes if size > 0), default=1.0))


def _tolerances(state0: State, rtol: float, atol: float | None, float64: bool) -> tuple[float, float]:
    if not (np.isfinite(rtol) and rtol > 0):
        raise ValueError(f"Argument `rtol` must be a positive number, but is {rtol}.")
    if atol is None:
        atol = default_atol(state0, rtol)
    elif not (np.isfinite(atol) and atol >= 0):
        raise ValueError(f"Argument `atol` must be a non-negative number, but is {atol}.")
    if not float64:
        rtol, atol = max(rtol, FLOAT32_TOLERANCE_FLOOR), max(atol, FLOAT32_TOLERANCE_FLOOR * 1e-2)
    return float(rtol), float(atol)


def _finish(
    dynamics: AbstractFlow, clock: str, raw: RawRun, stats: Stats, end: float, max_steps: int
) -> Trajectory:
    """Cut padding and non-finite rows, add the event's row, and raise if the run did not reach its end."""
    finite = np.isfinite(raw.ts) & np.isfinite(raw.rows["loss"])
    finite &= np.all(np.isfinite(raw.rows["z"].reshape(len(raw.ts), -1)), axis=1)
    kept = int(np.argmin(finite)) if not np.all(finite) else len(finite)
    ts = raw.ts[:kept]
    rows = jax.tree.map(lambda leaf: leaf[:kept], raw.rows)
    final = raw.final_row["state"]
    stopped_early = raw.event is not None or raw.interrupted
    stopped_early |= raw.failure is not None and bool(np.isfinite(raw.final_row["loss"]))
    if stopped_early and (kept == 0 or raw.final_t > ts[-1]):
        last = {name: raw.final_row[name] for name in rows}
        ts = np.append(ts, raw.final_t)
        rows = jax.tree.map(lambda many, one: np.concatenate([many, one[None]]), rows, last)
    failure = raw.failure
    if failure is None and raw.event is None and kept < len(finite):
        failure = "the state became non-finite."
    if failure is None:
        return trajectory_of(dynamics, clock, ts, rows, final, stats)
    reached = float(ts[-1]) if len(ts) else float("nan")
    partial = trajectory_of(dynamics, clock, ts, rows, final, stats) if len(ts) else None
    advice = (
        f"max_steps is {max_steps}: a larger one, a looser `rtol`, or for a long plateau "
        '`method="stiff"` may help; with a loss that is not bounded below the flow may end in finite time.'
    )
    if isinstance(dynamics, AbstractAnchored):
        advice = f"A smaller `rtol` may help, or max_steps above {max_steps}; or the equation has no solution beyond."
    raise IntegrationError(
        f"{dynamics.label} with {stats.method} stopped at {clock} = {reached:g}, before {clock} = {end:g} "
        f"({kept} of {len(finite)} saves were reached and are kept in `.trajectory`). Reason: {failure} "
        + advice,
        trajectory=partial,
    )
