"""Dynamics whose vector field solves equations from a base point: run in chunks, with a new base point after each."""

from __future__ import annotations

import abc
import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from ..._errors import IntegrationError
from ...display.progress import interruptible
from ..base import AbstractFlow, State
from .diffrax_backend import RawRun

_MAX_HALVINGS = 12


@dataclasses.dataclass(frozen=True)
class Rebasing:
    """What came of moving a base point to a state.

    Attributes:
        dynamics: the same dynamics with its new base point, of the same shapes, so that nothing is compiled again.
        state: the state, put back on the set that the equations define.
        is_accurate: whether the equations were solved to rounding from the old base point.
        failure: why a run cannot pass this state, in a sentence with the numbers; `None` if it can.
    """

    dynamics: Any
    state: State
    is_accurate: bool
    failure: str | None


class AbstractRebased(AbstractFlow):
    """A dynamics with a base point among its arrays, which `solve` moves along from one save to the next at least."""

    @abc.abstractmethod
    def rebased(self, state: State) -> Rebasing:
        """The same dynamics with the base point moved to a state, and whether that succeeded. Not jit-compatible."""


def run_rebased(
    run: Callable[[AbstractFlow, State, np.ndarray, float], RawRun],
    dynamics: AbstractRebased,
    state0: State,
    ts: np.ndarray,
    t0: float,
    *,
    max_steps: int,
) -> RawRun:
    """Run to each save time in one chunk, halved as long as the base point is too far for its end. See `solve`.

    Args:
        run: one chunk: dynamics, state, the times of its start and end, its start.
        dynamics: with a base point near `state0`.
        state0: the start.
        ts: the save times.
        t0: the start time.
        max_steps: bound on the steps of all chunks together.

    Raises:
        IntegrationError: the equations have no solution at the start.
        KeyboardInterrupt: the user stopped the run before its first chunk was done; later, what is done is returned.
    """
    start = dynamics.rebased(state0)
    if start.failure is not None:
        raise IntegrationError(f"{dynamics.label} cannot start at t = {t0:g}: {start.failure}")
    here, now, length = start, t0, np.inf
    counts: dict[str, int] = {}
    saved: list[tuple[float, Any]] = []
    compiled, chunks, inaccurate, raw, kept = False, 0, 0, None, None
    with interruptible(lambda: kept is not None) as work:
        for save in ts[ts > t0]:
            while now < save:
                end = float(save) if now + 1.5 * length >= save else now + length
                raw = run(here.dynamics, here.state, np.array([now, end]), now)
                compiled, chunks = compiled or raw.compiled, chunks + 1
                for name, count in raw.counts.items():
                    counts[name] = counts.get(name, 0) + count
                if raw.interrupted:
                    # Whether its base point would have been near enough for this part of a chunk is not known.
                    raise KeyboardInterrupt
                if not saved and ts[0] == t0:
                    saved.append((t0, _row(raw.rows, 0)))
                failure = raw.failure
                if failure is None and sum(n for name, n in counts.items() if "steps" in name) >= max_steps:
                    failure = "The maximum number of solver steps was reached."
                if failure is not None or raw.event is not None or not _is_finite(raw.final_row["state"]):
                    return _joined(raw, saved, counts, chunks, compiled, failure=failure)
                there = here.dynamics.rebased(raw.final_row["state"])
                if there.is_accurate or end - now <= (ts[-1] - t0) * 0.5**_MAX_HALVINGS:
                    if there.failure is not None:
                        return _joined(raw, saved, counts, chunks, compiled, failure=there.failure)
                    inaccurate += not there.is_accurate
                    here, now, length, kept = there, end, 2 * (end - now), raw
                    if now == save:
                        saved.append((now, _row(raw.rows, 1)))
                else:
                    length = 0.5 * (end - now)
    if work.interrupted:
        assert kept is not None
        return _joined(kept, saved, counts, chunks, compiled, interrupted=True)
    if raw is None:
        raise ValueError(f"Argument `ts` must reach beyond the start {t0:g} for {dynamics.label}.")
    note = None
    if inaccurate:
        note = (
            f"{inaccurate} of {chunks} chunks were taken although their equations were not solved to rounding from "
            f"the base point, at 2^-{_MAX_HALVINGS} of the run"
        )
    return dataclasses.replace(_joined(raw, saved, counts, chunks, compiled), note=note)


def _row(rows: dict[str, Any], index: int) -> dict[str, Any]:
    return jax.tree.map(lambda leaf: leaf[index], rows)


def _is_finite(state: State) -> bool:
    return all(bool(np.all(np.isfinite(leaf))) for leaf in jax.tree.leaves(state))


def _joined(
    last: RawRun,
    saved: list[tuple[float, Any]],
    counts: dict[str, int],
    chunks: int,
    compiled: bool,
    *,
    failure: str | None = None,
    interrupted: bool = False,
) -> RawRun:
    """One run out of the rows of many; after a failure the end of the last chunk stays its final row."""
    if not saved:
        # No save was reached: keep the form of the rows, none of them.
        joined = jax.tree.map(lambda leaf: leaf[:0], last.rows)
    else:
        joined = jax.tree.map(lambda *leaves: np.stack(leaves), *[row for _, row in saved])
    return dataclasses.replace(
        last,
        ts=np.asarray([t for t, _ in saved]),
        rows=joined,
        counts={**counts, "chunks": chunks},
        failure=failure,
        compiled=compiled,
        interrupted=interrupted,
    )
