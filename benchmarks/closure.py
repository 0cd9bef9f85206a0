"""Closed systems against full gradient flow: their run time does not know the hidden width."""

from __future__ import annotations

import time
from typing import Any

import jax
import numpy as np

import dlntheory as dln
from dlntheory.reductions.closure import find_closure

from .harness import Row, paired

WIDTHS = (3, 4)
HIDDEN = (50, 500, 2000)
END = 2.0
ROUNDS = 5
OPTIONS: dict[str, Any] = {
    "method": "dopri8",
    "rtol": 1e-10,
    "ts": 10,
    "step_to_ts": True,
    "save_states": False,
}


def rows() -> list[Row]:
    """Two layers of three hidden widths: size, time of the search, time of the runs, error."""
    loss = dln.SquaredLoss.from_target(np.random.default_rng(0).standard_normal((WIDTHS[1], WIDTHS[0])))
    found, closed_runs, full_times = [], [], []
    for hidden in HIDDEN:
        arch = dln.linear_network((WIDTHS[0], hidden, WIDTHS[1]))
        theta0 = dln.gaussian(arch, jax.random.key(0), scale=hidden**-0.5)
        begin = time.perf_counter()
        closure = find_closure(arch)
        seconds = time.perf_counter() - begin
        flow, reduced = dln.GradientFlow(arch, loss), closure.dynamics(loss)

        def run(dynamics: dln.AbstractFlow, start: Any = theta0) -> dln.Trajectory:
            return dln.solve(dynamics, start, END, **OPTIONS)

        left, right = run(flow), run(reduced)
        gap = float(np.max(np.abs(left.z - right.z)) / np.max(np.abs(left.z)))
        times = paired(lambda d=reduced, r=run: r(d), lambda d=flow, r=run: r(d), ROUNDS)
        closed_runs.append(lambda d=reduced, r=run: r(d))
        full_times.append(times["other"])
        found.append(
            Row(
                "closure",
                f"closed system, {arch.name}",
                "full gradient flow",
                note=f"{closure.sizes.state} numbers for {arch.size} parameters, found in {1e3 * seconds:.0f} ms, "
                f"error {gap:.0e}",
                failed=closure.sizes.state != 37 or gap > 1e-9,
                **times,
            )
        )
    # The two closed systems in turn: what is compared must not run at different times of a busy machine.
    found.append(
        Row(
            "closure",
            f"closed system, {HIDDEN[-1]} hidden",
            f"closed system, {HIDDEN[0]} hidden",
            limit=2.0,
            note=f"full flow: {full_times[-1] / full_times[0]:.3g} times slower at {HIDDEN[-1]} hidden units",
            **paired(closed_runs[-1], closed_runs[0], 3 * ROUNDS),
        )
    )
    return found
