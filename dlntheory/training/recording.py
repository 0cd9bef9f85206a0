"""What is recorded at every save, the same for every way of running."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from ..laws.systems import MomentumSystem
from .rules.momentum_flow import MomentumFlow


@dataclasses.dataclass(frozen=True, eq=False)
class LawMonitor:
    """Laws to watch along a run: a function of the named arrays that returns an array or a dict of them.

    Compared by the identity of the function, so that runs with the same laws share one compiled program.
    """

    laws: Callable[[dict[str, Any]], Any]

    def check(self, process: Any) -> None:
        """Refuse laws of a momentum flow with another friction: they would be fed the time factor of this run.

        Raises:
            ValueError: the frictions differ.
        """
        system = getattr(self.laws, "system", None)
        if not isinstance(system, MomentumSystem) or not isinstance(process, MomentumFlow):
            return
        over_t = isinstance(system.friction, tuple)
        friction = system.friction[1] if over_t else system.friction
        if over_t != process.over_t or float(friction) != float(process.friction):
            raise ValueError(
                f"Argument `laws` must be those of friction {float(process.friction):g}"
                f"{'/t' if process.over_t else ''}, but are of {system.label}."
            )

    def __call__(self, process: Any, t, state: dict[str, Any]) -> dict[str, Any]:
        values = self.laws(process.law_coordinates(t, state))
        if isinstance(values, dict):
            return values
        name = getattr(self.laws, "name", None) or getattr(self.laws, "__name__", "law")
        return {"law" if name == "<lambda>" else str(name): values}

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LawMonitor) and other.laws is self.laws

    def __hash__(self) -> int:
        return id(self.laws)


def record(
    process: Any,
    t: Any,
    state: dict[str, Any],
    reference: dict[str, Any],
    *,
    monitor: LawMonitor | None,
    with_state: bool,
) -> dict[str, Any]:
    """One row of a trajectory: $z$, loss, largest change of each conserved quantity, monitors, state. Pure.

    Args:
        process: an `AbstractFlow` or `AbstractIteration`.
        t: gradient-flow time.
        state: its state.
        reference: its conserved quantities at the start, see `quantities`.
        monitor: further laws to watch.
        with_state: whether the state itself is part of the row.
    """
    z = process.output(state)
    drift = {
        name: jnp.max(jnp.abs(value - reference[name]))
        for name, value in quantities(process, t, state, monitor).items()
    }
    row = {"z": z, "loss": process.training.loss(z), "drift": drift, "monitors": process.monitors(state)}
    if with_state:
        row["state"] = state
    return row


def quantities(process: Any, t: Any, state: dict[str, Any], monitor: LawMonitor | None) -> dict[str, Any]:
    """What the run should conserve: what its dynamics is known to, and the laws of the monitor."""
    known = process.conserved(state)
    return known if monitor is None else known | monitor(process, t, state)


def number_count(state: Any, rows: int) -> int:
    """How many numbers `rows` recorded states take."""
    return rows * sum(leaf.size for leaf in jax.tree.leaves(state))
