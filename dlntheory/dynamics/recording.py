"""What is recorded at every save, the same for every way of running."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp


def record(
    process: Any, state: dict[str, Any], reference: dict[str, Any], *, with_state: bool
) -> dict[str, Any]:
    """One row of a trajectory: $z$, loss, largest change of each conserved quantity, monitors, state. Pure.

    Args:
        process: an `AbstractDynamics` or `AbstractIteration`.
        state: its state.
        reference: its conserved quantities at the start.
        with_state: whether the state itself is part of the row.
    """
    z = process.observe(state)
    row = {
        "z": z,
        "loss": process.training.loss(z),
        "drift": {
            name: jnp.max(jnp.abs(value - reference[name]))
            for name, value in process.conserved(state).items()
        },
        "monitors": process.monitors(state),
    }
    if with_state:
        row["state"] = state
    return row


def number_count(state: Any, rows: int) -> int:
    """How many numbers `rows` recorded states take."""
    return rows * sum(leaf.size for leaf in jax.tree.leaves(state))
