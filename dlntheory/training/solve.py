"""`solve`: the verb that runs any `AbstractFlow`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np

from .._checks import integer, real_number
from .._errors import IntegrationError
from .._precision import FLOAT32_TOLERANCE_FLOOR, require_float64
from ..display.progress import progress_bar
from .backends.diffrax_backend import RawRun, run_diffrax
from .backends.rebased import AbstractRebased, run_rebased
from .backends.runge_kutta_methods import SOLVERS, solver_of
from .backends.scipy_backend import run_stiff
from .base import AbstractFlow, State
from .batches import Start, check_first_loss, start_of, unbatched
from .domain_limits import check_limits, limit_events
from .events import checked_events
from .failures import failure_message
from .recording import LawMonitor, number_count
from .saddle_starts import warn_of_saddle
from .save_times import save_grid
from .stats import INTERRUPTED, Stats
from .time_reparametrisation import clock_named
from .trajectory import Trajectory, trajectory_of

STIFF_METHODS = {"stiff": "LSODA", "radau": "Radau"}
#: Above this many recorded numbers (0.5 GB) states are kept only if asked for.
MAX_RECORDED = 2**26


def solve(
    dynamics: AbstractFlow,
    theta0: Any,
    t1: float,
    *,
    t0: float = 0.0,
    ts: int | str | Sequence[float] | np.ndarray = 200,
    method: Any = "tsit5",
    rtol: float = 1e-8,
    atol: float | None = None,
    clock: str = "t",
    stop: Any = (),
    laws: Callable[[dict[str, Any]], Any] | None = None,
    step_to_ts: bool = False,
    save_states: bool | None = None,
    check: bool = True,
    max_steps: int = 1_000_000,
    progress: bool | None = None,
    allow_float32: bool = False,
) -> Trajectory:
    r"""Integrate a flow from the network parameters `theta0` to time `t1`.

    Not jit-compatible: it looks at values, times itself and may raise. Inside jit, vmap or grad call `states_at`.

    Where every array of `theta0` has the same additional leading axes, the starts are a batch: they run together with
    the steps that the most demanding of them needs, several times faster than one after the other, and the arrays of
    the `Trajectory` have the same leading axes.

    Ctrl-C ends a long run within about a second and returns what is done, with `stats.stopped_by == "interrupted"`;
    before anything is done, and a second time, it raises `KeyboardInterrupt`. The state of a `GradientFlow` is its
    parameters, so that `solve(flow, run.final, t1, t0=run.ts[-1], atol=run.stats.atol)` goes on where `run` ended. The
    drift of the second run counts from its own start.

    Args:
        dynamics: a `GradientFlow`, a reduction bound to a loss, or any `AbstractFlow`.
        theta0: the network's parameters, one start or a batch; the flow maps them to its own state.
        t1: end of the run, in units of `clock`.
        t0: start of the run, likewise.
        ts: number of evenly spaced save times, or increasing times in `[t0, t1]`; see `log_times`. `t1` is always one.
            With a stiff method also `"steps"`: every accepted step, which follows plateaus and jumps of unknown times.
        method: `"tsit5"`, `"dopri8"` (tight references), any diffrax solver with an error estimate, or, for long
            plateaus with at most 1000 state variables, `"stiff"` (LSODA) and `"radau"`; with more variables `"krylov"`
            (Kvaerno5 with GMRES, no Jacobian is formed).
        rtol: relative tolerance per step.
        atol: absolute tolerance per step; by default `rtol / 100` times the size of the smallest non-zero array
            of the start (its root mean square, at most 1), so that a small initialisation keeps its digits.
        clock: `"t"`, or `"log_t"` for $s = \log(1 + t)$, up to $s = 709$; a `GradientFlow` of a logistic or exponential
            loss without weight decay goes on to $s = 10^6$, where its recorded loss has long underflown to 0.
        stop: what ends the run early: `LossBelow(level)`, `SteadyState(rtol)`, a function `(t, params) -> number` that
            crosses zero, or several of them; `stats.stopped_by` tells which did. The crossing is the last row. In a
            batch the run ends where it has happened in every member.
        laws: conservation laws to watch, a function of the dict of factors (`conservation_laws(arch)` or one of its
            laws): their drift is recorded beside what the flow itself is known to conserve.
        step_to_ts: make every save time a step of the solver. Otherwise states are interpolated, which adds an error of
            its own order and shows in the drift of conserved quantities. Not with a stiff method, nor with events.
        save_states: keep the state at every save time; by default if that takes at most 0.5 GB. The last one is always
            kept.
        check: check `theta0` against the condition of a reduction, and warn of starts from which rounding decides.
            `False` lets you see what goes wrong without it.
        max_steps: upper bound on solver steps.
        progress: show a bar over the time of the run; by default on a terminal and in a notebook, after two seconds.
        allow_float32: run in float32 with tolerances of at least 1e-5 and mark the result.

    Returns:
        A `Trajectory`. If an event or Ctrl-C ended the run, its last row is where.

    Raises:
        ValueError: malformed arguments, traced ones, an event that already holds at the start.
        ConditionError: `theta0` does not meet the condition of a reduction.
        PrecisionError: JAX is in float32 mode.
        IntegrationError: the solver stopped early, met non-finite values or left the domain of a reduction; the message
            says why, `.trajectory` holds what was computed.
        KeyboardInterrupt: the user stopped the run before anything was done.

    Warns:
        SaddleWarning: rounding errors decide where the run ends.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]]))
        >>> trajectory = dln.solve(flow, dln.gaussian(arch, jax.random.key(0), scale=0.5), 20.0)
        >>> bool(trajectory.loss[-1] < 1e-12)
        True
    """
    float64 = require_float64("solve", allow_float32=allow_float32)
    if not isinstance(dynamics, AbstractFlow):
        raise ValueError(
            f"Argument `dynamics` must be a flow, but is {type(dynamics).__name__}: a rule with steps runs by "
            "`iterate`."
        )
    if dynamics.training is None:
        raise ValueError(
            f"Argument `dynamics` must be bound to a loss, but {dynamics.label} is not: "
            "give it one, or call `.bind(flow.training)`."
        )
    is_stiff = isinstance(method, str) and method in STIFF_METHODS
    solver = None if is_stiff else solver_of(method)
    if solver is None and not is_stiff:
        raise ValueError(
            f"Argument `method` must be one of {[*SOLVERS, *STIFF_METHODS]} or a diffrax solver, but is {method!r}."
        )
    run_clock = clock_named(clock)
    every_step = isinstance(ts, str)
    if every_step and (ts != "steps" or not is_stiff):
        raise ValueError(
            'Argument `ts` must be a number, increasing times or, with a stiff method, "steps", '
            f"but is {ts!r} with method {method!r}."
        )
    t0, t1 = real_number(t0, "t0"), real_number(t1, "t1")
    ts = save_grid(2 if every_step else ts, t0, t1)
    if ts[-1] > (last := run_clock.last_for(dynamics)):
        raise ValueError(
            f'Argument `t1` must be at most {last:g} with clock "{clock}" for {dynamics.label}, but is {t1:g}: beyond, '
            "t overflows. A gradient flow without weight decay of a logistic or exponential loss goes further."
        )
    integer(max_steps, "max_steps")
    start = start_of(dynamics, theta0, check=check)
    state0, is_batched = start.state, start.is_batched
    if is_batched and (is_stiff or isinstance(dynamics, AbstractRebased)):
        what = f"method {method!r}" if is_stiff else dynamics.label
        raise ValueError(
            f"Argument `theta0` must be one start for {what}, but is a batch of {start.batch_shape}."
        )
    rtol, atol = _tolerances(state0, rtol, atol, float64, is_batched)
    t_start = float(np.asarray(run_clock.time(np.asarray(t0))))
    events = checked_events(stop, dynamics, t_start, state0, is_batched)
    if step_to_ts and (events or is_stiff):
        raise ValueError("Argument `step_to_ts` must be False with events or a stiff method, but is True.")
    user_events, domain_events = len(events), limit_events(dynamics, state0, is_batched)
    if not step_to_ts:
        events = (*events, *domain_events)
    monitor = law_monitor(laws, dynamics, state0)
    if save_states is None:
        save_states = number_count(state0, len(ts)) <= MAX_RECORDED
    label = method if isinstance(method, str) else type(method).__name__
    if check:
        warn_of_saddle(dynamics, start)

    def run(moving: AbstractFlow, state: State, times: np.ndarray, begin: float) -> RawRun:
        shared: dict[str, Any] = {
            "clock": run_clock,
            "rtol": rtol,
            "atol": atol,
            "events": events,
            "monitor": monitor,
            "save_states": bool(save_states),
            "max_steps": max_steps,
            "tell": tell,
        }
        if solver is None:
            return run_stiff(
                moving,
                state,
                times,
                begin,
                scipy_method=STIFF_METHODS[method],
                every_step=every_step,
                **shared,
            )
        return run_diffrax(
            moving,
            state,
            times,
            begin,
            solver=solver,
            label=label,
            step_to_ts=step_to_ts,
            is_batched=is_batched,
            **shared,
        )

    started = time.perf_counter()
    with progress_bar(t1 - t0, dynamics.label, unit=clock, progress=progress) as bar:
        shown = t0

        def tell(t: float, loss: float | None) -> None:
            nonlocal shown
            if loss is not None:
                bar.set_postfix_str(f"loss {loss:.3g}")
            # A rebased run may go back to try a shorter way.
            bar.update(max(t - shown, 0.0))
            shown = max(t, shown)

        if isinstance(dynamics, AbstractRebased):
            raw = run_rebased(run, dynamics, state0, ts, t0, max_steps=max_steps)
        else:
            raw = run(dynamics, state0, ts, t0)
    # A run that gets nowhere because its loss is not a number ends within its first chunk.
    first = (
        raw.rows["loss"][:1] if ts[0] == t0 else raw.final_row["loss"][None] if raw.failure else np.zeros(1)
    )
    check_first_loss(dynamics, first[0] if len(first) else raw.final_row["loss"])
    raw, warning = check_limits(dynamics, raw, user_events)
    stats = Stats(
        method=raw.method,
        rtol=rtol,
        atol=atol,
        counts=raw.counts,
        seconds=time.perf_counter() - started,
        compiled=raw.compiled,
        stopped_by=INTERRUPTED if raw.interrupted else None if raw.event is None else events[raw.event].label,
        float64=float64,
        warning="; ".join(text for text in (warning, raw.note) if text) or None,
    )
    return _finish(dynamics, clock, raw, stats, start, t1, max_steps)


def law_monitor(laws: Any, rule: Any, state0: State) -> LawMonitor | None:
    """`laws=` as what watches a run.

    Raises:
        ValueError: the state does not hold the factors, or the laws are those of another friction.
    """
    if laws is None:
        return None
    if missing := [name for name in rule.architecture.shapes if name not in state0]:
        raise ValueError(
            f"Argument `laws` must be None for {rule.label}, whose state does not hold the factors {missing}."
        )
    monitor = LawMonitor(laws)
    monitor.check(rule)
    return monitor


def default_atol(state0: State, rtol: float, *, is_batched: bool = False) -> float:
    """`rtol / 100` times the root mean square of the smallest non-zero array of the start, at most 1.

    Of a batch the smallest array of any member counts.
    """
    sizes = []
    for leaf in jax.tree.leaves(state0):
        square = np.square(np.asarray(leaf))
        sizes.append(np.sqrt(np.mean(square, axis=tuple(range(1, square.ndim)) if is_batched else None)))
    found = np.concatenate([np.ravel(size) for size in sizes]) if sizes else np.zeros(0)
    return 1e-2 * rtol * float(np.min(found, initial=1.0, where=found > 0))


def _tolerances(state0: State, rtol: Any, atol: Any, float64: bool, is_batched: bool) -> tuple[float, float]:
    rtol = real_number(real_number(rtol, "rtol", above=0), "rtol", minimum=1e-16)
    atol = (
        default_atol(state0, rtol, is_batched=is_batched)
        if atol is None
        else real_number(atol, "atol", minimum=0)
    )
    if not float64:
        rtol, atol = max(rtol, FLOAT32_TOLERANCE_FLOOR), max(atol, FLOAT32_TOLERANCE_FLOOR * 1e-2)
    return rtol, atol


def _finish(
    dynamics: AbstractFlow,
    clock: str,
    raw: RawRun,
    stats: Stats,
    start: Start,
    end: float,
    max_steps: int,
) -> Trajectory:
    """Cut padding and non-finite rows, add the event's row, and raise if the run did not reach its end."""
    count = len(raw.ts)
    finite = np.isfinite(raw.ts)
    for name in ("loss", "z"):
        finite &= np.all(np.isfinite(raw.rows[name].reshape(count, -1)), axis=1)
    kept = int(np.argmin(finite)) if not np.all(finite) else count
    ts = raw.ts[:kept]
    rows = jax.tree.map(lambda leaf: leaf[:kept], raw.rows)
    stopped_early = raw.event is not None or raw.interrupted
    stopped_early |= raw.failure is not None and bool(np.all(np.isfinite(raw.final_row["loss"])))
    if stopped_early and (kept == 0 or raw.final_t > ts[-1]):
        last = {name: raw.final_row[name] for name in rows}
        ts = np.append(ts, raw.final_t)
        rows = jax.tree.map(lambda many, one: np.concatenate([many, one[None]]), rows, last)
    failure = raw.failure
    if failure is None and raw.event is None and kept < count:
        failure = "The state became non-finite."
    rows = unbatched(rows, start.batch_shape, has_time=True)
    final = unbatched(raw.final_row["state"], start.batch_shape, has_time=False)
    partial = trajectory_of(dynamics, clock, ts, rows, final, stats) if len(ts) else None
    if failure is None:
        assert partial is not None
        return partial
    raise IntegrationError(
        failure_message(
            dynamics,
            start,
            partial,
            failure,
            clock=clock,
            end=end,
            kept=kept,
            count=count,
            max_steps=max_steps,
        ),
        trajectory=partial,
    )
