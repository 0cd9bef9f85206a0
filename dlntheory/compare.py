"""`compare`: the full flow against a reduction or a closed form, on one grid, with errors, times and drift."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ._errors import IntegrationError, NotApplicableError
from .comparison import Comparison, InterruptedComparison
from .display.progress import keeps_partial
from .reductions import AbstractReduction
from .reductions.parsimony import CompressedDescent
from .solutions.base import AbstractSolution
from .training import (
    AbstractFlow,
    AbstractIteration,
    AbstractTrainingRule,
    GradientDescent,
    GradientFlow,
    Trajectory,
    iterate,
    solve,
)
from .training.batches import batch_shape
from .training.save_times import save_grid
from .training.stats import INTERRUPTED, Stats
from .training.time_reparametrisation import clock_named

#: How far `theta0` may be from the start of a closed form, relative to its largest entry.
SAME_START = 1e-12


def compare(
    full: AbstractTrainingRule,
    reduced: AbstractTrainingRule | AbstractSolution,
    theta0: Any,
    t1: float,
    *,
    method: Any = "dopri8",
    rtol: float = 1e-10,
    ts: Any = 100,
    timing: bool = True,
    progress: bool | None = None,
    **options: Any,
) -> Comparison:
    r"""Run both from `theta0` over the same times and measure how far their $z(t)$ are apart.

    Not jit-compatible (it runs on the host). A reduction without a loss is bound to the loss, weight decay and rates of
    `full`. A closed form is evaluated at the save times of the full run. Where `theta0` is a batch of starts, see
    `solve`, both run as a batch.

    A rule with steps of size $\eta$ is compared with another rule with steps at every step number, and with a flow or a
    closed form at $t = k\eta$: then `step_error` is the part of the error that is due to the steps, and `flow_error`
    the rest.

    Ctrl-C loses nothing that is done: during the full run it ends that run, and the reduced one is made up to the time
    that was reached; during the reduced run the errors end where it does; while runs are timed it ends the timing. The
    result is marked `interrupted`. A second Ctrl-C during the reduced run ends that one early as well.

    Args:
        full: usually a `GradientFlow`, or a `GradientDescent`.
        reduced: a reduction that says it reduces `full`, a closed form whose start is `theta0`, or another rule of the
            same network.
        theta0: the network's parameters, one start or a batch.
        t1: end of the run, in gradient-flow time; rules with steps run to the step nearest to it.
        method: see `solve`; every save time is a solver step, so that no interpolation error enters.
        rtol: relative tolerance per step.
        ts: see `solve`, in gradient-flow time.
        timing: run each once more (three times if it takes under 2 s) and keep the fastest, so that the times are
            warm and free of most of the machine's noise.
        progress: show a bar for each run; by default on a terminal and in a notebook, after two seconds.
        **options: passed to both runs, see `solve` and `iterate` (`atol`, `check`, `max_steps`, …).

    Raises:
        NotApplicableError: `reduced` does not describe what `full` does to $z$.
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
    reduced, twin = _comparable(full, reduced)
    if isinstance(reduced, AbstractSolution):
        _check_start(reduced, theta0)
    if isinstance(method, str) and method in ("tsit5", "dopri8") and not options.get("stop"):
        options.setdefault("step_to_ts", True)
    t0 = float(options.get("t0", 0.0))
    interrupted = False

    def once(rule: AbstractTrainingRule, end: float, times: Any) -> Trajectory:
        if isinstance(rule, AbstractIteration):
            return _iterate(rule, theta0, end, times, progress, options)
        assert isinstance(rule, AbstractFlow)
        return solve(rule, theta0, end, method=method, rtol=rtol, ts=times, progress=progress, **options)

    def run(rule: AbstractTrainingRule, end: float, times: Any) -> Trajectory:
        nonlocal interrupted
        runs = [once(rule, end, times)]
        interrupted |= _is_interrupted(runs[0])
        try:
            while timing and not interrupted and _is_worth_repeating(runs):
                again = once(rule, end, times)
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
    if _is_interrupted(left) and left.ts[-1] <= t0:
        raise InterruptedComparison(left)
    # The steps of the full rule decide the times, or an interrupt did.
    follows = isinstance(full, AbstractIteration) or _is_interrupted(left)
    end, times = (float(left.ts[-1]), left.ts) if follows else (t1, ts)
    between = None
    try:
        if isinstance(reduced, AbstractSolution):
            right = _evaluate(reduced, left, t0, timing and not interrupted)
        else:
            right = run(reduced, end, times)
        if twin is not None and not _is_interrupted(right):
            between = once(twin, end, times)
    except KeyboardInterrupt:
        raise InterruptedComparison(left) from None
    if _is_interrupted(right):
        if right.ts[0] not in left.ts:
            raise InterruptedComparison(left)
        right = _saved(right, left.ts)
    elif len(left) != len(right):
        raise ValueError(
            f"Argument `stop` must end both runs at one save time, but they have {len(left)} and {len(right)}."
        )
    is_stated = isinstance(reduced, AbstractReduction | AbstractSolution)
    step_error = flow_error = None
    if between is not None and len(between) == len(left):
        step_error, flow_error = _error(left, left, between), _error(left, between, right)
    return Comparison(
        full=left,
        reduced=right,
        error=_error(left, left, right),
        loss_error=_loss_error(left, right),
        statement=reduced.statement if is_stated else "",
        source=reduced.source if is_stated else "",
        interrupted=interrupted,
        step_error=step_error,
        flow_error=flow_error,
    )


def _comparable(full: Any, reduced: Any) -> tuple[Any, GradientFlow | None]:
    """The second one bound to the loss of the first, and the flow behind steps that are compared with a flow.

    Raises:
        NotApplicableError: the two do not describe the same $z(t)$.
        ValueError: different networks or settings, or no loss.
    """
    if full.architecture != reduced.architecture:
        raise ValueError(
            f"Arguments `full` and `reduced` must describe one network, but are {full.architecture!r} "
            f"and {reduced.architecture!r}."
        )
    if full.training is None:
        raise ValueError(f"Argument `full` must be bound to a loss, but {full.label} is not.")
    rule, twin = full, None
    if isinstance(full, AbstractIteration) and not isinstance(reduced, AbstractIteration):
        if not isinstance(full, GradientDescent):
            raise NotApplicableError(
                f"Argument `full` must be a flow or gradient descent to be compared with the {reduced.label}, but is "
                f"{full.label}: no flow is known whose steps these are. Compare it with another rule with steps.",
                requirement="a flow behind the steps",
                measured=full.label,
            )
        plain = GradientFlow(full.architecture, full.training.loss)
        rule = twin = eqx.tree_at(lambda flow: flow.training, plain, full.training)
    if isinstance(reduced, AbstractReduction):
        reduced.reduces(rule)
    elif isinstance(reduced, AbstractSolution) and not isinstance(rule, GradientFlow):
        raise NotApplicableError(
            f"Argument `full` must be gradient flow or gradient descent for the {reduced.label}, a closed form "
            "of gradient "
            f"flow, but is {full.label}.",
            requirement="gradient flow",
            measured=full.label,
        )
    elif isinstance(reduced, AbstractIteration):
        _check_steps(full, reduced)
    if isinstance(reduced, AbstractReduction) and reduced.training is None:
        reduced = reduced.bind(full.training)
    if not _same_training(full.training, reduced.training):
        raise ValueError(
            "Argument `reduced` must train with the loss, weight decay and rates of `full`, but has "
            f"«{getattr(reduced.training, 'conventions', None)}» against «{full.training.conventions}» "
            "(or other data)."
        )
    return reduced, twin


def _check_steps(full: Any, reduced: AbstractIteration) -> None:
    if not isinstance(full, AbstractIteration):
        raise NotApplicableError(
            f"Argument `full` must be a rule with steps for {reduced.label}, which has steps itself, but is "
            f"{full.label}.",
            requirement="a rule with steps",
            measured=full.label,
        )
    ours, theirs = float(full.time_step), float(reduced.time_step)
    if abs(ours - theirs) > 1e-12 * abs(ours):
        raise NotApplicableError(
            f"Argument `reduced` must have steps of the size of `full`, {ours:g}, but has {theirs:g}.",
            requirement="equal steps",
            measured=theirs,
        )
    if isinstance(reduced, CompressedDescent):
        reduced.reduces(full)


#: What `iterate` takes of the options of `compare`; tolerances do not concern steps.
_STEP_OPTIONS = ("check", "laws", "save_states", "allow_float32")
_FLOW_ONLY = ("t0", "clock", "stop")


def _iterate(
    rule: AbstractIteration, theta0: Any, end: float, ts: Any, progress: bool | None, options: dict[str, Any]
) -> Trajectory:
    """Steps to the one nearest to a time, saved at those nearest to other times."""
    if given := [name for name in _FLOW_ONLY if options.get(name)]:
        raise ValueError(f"Arguments {given} must be left out where a rule with steps is compared.")
    size = float(rule.time_step)
    steps = max(1, round(end / size))
    if np.ndim(ts):
        ts = np.unique(np.round(save_grid(ts, 0.0, max(end, steps * size)) / size).astype(np.int64))
        ts = ts[ts <= steps]
    chosen = {name: options[name] for name in _STEP_OPTIONS if name in options}
    return iterate(rule, theta0, steps, ts=ts, progress=progress, **chosen)


def _error(scale: Trajectory, one: Trajectory, other: Trajectory) -> np.ndarray:
    r"""(batch, time) $\|z_1 - z_2\|_F$ over the largest norm along the run that sets the scale."""
    dims = len(scale.batch_shape)
    count = min(len(one), len(other))

    def norms(z: np.ndarray) -> np.ndarray:
        return np.linalg.norm(z.reshape(*z.shape[: dims + 1], -1), axis=-1)

    ahead = (slice(None),) * dims
    gap = norms(one.z[(*ahead, slice(count))] - other.z[(*ahead, slice(count))])
    size = np.max(norms(scale.z), axis=-1, keepdims=True)
    return gap / np.where(size > 0, size, 1.0)


def _loss_error(left: Trajectory, right: Trajectory) -> np.ndarray:
    # An interrupted reduced run has the first rows of the full one only.
    size = np.max(np.abs(left.loss), axis=-1, keepdims=True)
    return np.abs(left.loss[..., : len(right)] - right.loss) / np.where(size > 0, size, 1.0)


def _is_interrupted(run: Trajectory) -> bool:
    return run.stats.stopped_by == INTERRUPTED


def _is_worth_repeating(runs: list[Trajectory]) -> bool:
    return len(runs) < 2 or (len(runs) < 4 and runs[-1].stats.seconds < 2.0)


def _saved(run: Trajectory, ts: np.ndarray) -> Trajectory:
    """An interrupted run without its last row, if that is none of the times `ts`."""
    count = int(np.sum(np.isin(run.ts, ts)))
    if count == len(run):
        return run
    ahead = (slice(None),) * len(run.batch_shape)
    first = lambda arrays: jax.tree.map(lambda array: array[(*ahead, slice(count))], arrays)
    last = lambda arrays: jax.tree.map(lambda array: array[(*ahead, count - 1)], arrays)
    return dataclasses.replace(
        run,
        ts=run.ts[:count],
        # Without recorded states that of the last row is not known, and the one where the run ended stays.
        final=run.final if run.states is None else last(run.states),
        **{name: first(getattr(run, name)) for name in ("z", "loss", "states", "drift", "monitors")},
    )


def _check_start(solution: AbstractSolution, theta0: Any) -> None:
    if batch_shape(solution.architecture, theta0):
        raise ValueError(
            f"Argument `theta0` must be one start, that of the {solution.label}, but is a batch of starts."
        )
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
            f"The {solution.label} is not finite at a save time in t = {times[0]:g} to {times[-1]:g}."
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
