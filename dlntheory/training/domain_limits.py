"""Domain constraints: monitors that must stay above a level, or the equation no longer means anything."""

from __future__ import annotations

import dataclasses
from typing import Any

import equinox as eqx
import jax
import numpy as np

from .._errors import ConditionError
from .backends.diffrax_backend import RawRun
from .base import AbstractFlow, AbstractTrainingRule, Limit, State
from .events import AbstractEvent


class LimitReached(AbstractEvent):
    """The event that a monitor falls to the level at which its `Limit` stops a run."""

    by_any_member = True
    limit: Limit = eqx.field(static=True)

    @property
    def label(self) -> str:
        return f"{self.limit.monitor} fell to {self.limit.stop_below:g}"

    def value(self, rule: AbstractTrainingRule, t: Any, state: State) -> Any:
        return rule.monitors(state)[self.limit.monitor] - self.limit.stop_below


def limit_events(dynamics: AbstractFlow, state0: State, is_batched: bool = False) -> tuple[LimitReached, ...]:
    """One event for each limit of a dynamics, checked at the start.

    Raises:
        ConditionError: a monitor is below its level already.
    """
    limits = type(dynamics).limits(dynamics)
    values = _monitored(dynamics, state0, is_batched) if limits else {}
    for limit in limits:
        found = float(np.min(np.asarray(values[limit.monitor])))
        if not found > limit.stop_below:
            raise ConditionError(
                f"Argument `theta0` must have {limit.monitor} above {limit.stop_below:g} for {dynamics.label}, but "
                f"it is {found:.1e}: {limit.advice}",
                measured=found,
                tolerance=limit.stop_below,
            )
    return tuple(LimitReached(limit) for limit in limits)


@eqx.filter_jit
def _monitored(dynamics: AbstractFlow, state: State, is_batched: bool) -> dict[str, Any]:
    """The monitors of a state, compiled once for all starts of a flow."""
    return (jax.vmap(dynamics.monitors) if is_batched else dynamics.monitors)(state)


def check_limits(dynamics: AbstractFlow, raw: RawRun, user_events: int) -> tuple[RawRun, str | None]:
    """A run cut where a monitor fell below its level, and the warning for one that came near it.

    Where every save time is a step no event can watch the run, so that the recorded rows are looked at as well.

    Args:
        dynamics: what was run.
        raw: its run; the events with a number from `user_events` on are those of `limit_events`.
        user_events: how many events the caller of `solve` gave.

    Returns:
        The run, with a failure if it left the domain, and a text or `None`.
    """
    warnings, limits = [], type(dynamics).limits(dynamics)
    if raw.event is not None and raw.event >= user_events:
        raw = dataclasses.replace(raw, event=None, failure=_failure(limits[raw.event - user_events]))
    for limit in limits:
        # Of a batch the lowest member counts.
        values = (
            np.asarray(raw.rows["monitors"][limit.monitor])
            .reshape(len(raw.ts), -1)
            .min(axis=1, initial=np.inf)
        )
        last = float(np.min(raw.final_row["monitors"][limit.monitor]))
        below = np.flatnonzero(np.isfinite(raw.ts) & (values <= limit.stop_below))
        if len(below):
            raw = dataclasses.replace(_cut(raw, int(below[0])), event=None, failure=_failure(limit))
        elif raw.failure not in (None, _failure(limit)) and last < limit.warn_below:
            raw = dataclasses.replace(raw, failure=f"{raw.failure} {_failure(limit)}")
        lowest = min(np.min(values, initial=np.inf, where=np.isfinite(values)), last)
        if lowest < limit.warn_below:
            warnings.append(
                f"{limit.monitor} fell to {lowest:.1e}, below {limit.warn_below:g}: {limit.advice}"
            )
    return raw, "; ".join(warnings) or None


def _failure(limit: Limit) -> str:
    return f"{limit.monitor} fell towards {limit.stop_below:g}: {limit.advice}"


def _cut(raw: RawRun, last: int) -> RawRun:
    """The run up to one of its recorded rows, which becomes its final one."""
    row = {name: jax.tree.map(lambda leaf: leaf[last], many) for name, many in raw.rows.items()}
    return dataclasses.replace(
        raw,
        ts=raw.ts[: last + 1],
        rows=jax.tree.map(lambda leaf: leaf[: last + 1], raw.rows),
        final_t=float(raw.ts[last]),
        # Without recorded states that of the last row is not known.
        final_row={"state": {}, **row},
    )
