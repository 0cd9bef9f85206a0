"""The Riccati solution of two layers: eight times in one call, against integrating the full flow, by width."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import dlntheory as dln
from dlntheory.solutions.riccati_solution import RiccatiSolution

from .harness import Row, paired

ENDS = (10, 8)
HIDDEN = (8, 32, 128)
LARGE = (30, 20, 10)
TIMES = np.array([0.1, 0.3, 1.0, 2.0, 3.0, 5.0, 7.0, 10.0])
ROUNDS = 5
OPTIONS: dict[str, Any] = {
    "method": "dopri8",
    "rtol": 1e-10,
    "ts": TIMES,
    "step_to_ts": True,
    "save_states": False,
}


def rows() -> list[Row]:
    """One row for each width with the full flow beside it, and one for a larger network alone."""
    target = np.random.default_rng(0).standard_normal(ENDS[::-1])
    loss = dln.SquaredLoss.from_target(target)
    found, closed = [], []
    for hidden in HIDDEN:
        arch = dln.linear_network((ENDS[0], hidden, ENDS[1]))
        theta0 = dln.balanced(arch, jax.random.key(0), scale=0.3)
        solution, flow = RiccatiSolution(arch, theta0, loss), dln.GradientFlow(arch, loss)

        def ours(solution: RiccatiSolution = solution) -> np.ndarray:
            return np.asarray(solution.z(TIMES))

        def other(flow: dln.GradientFlow = flow, start: Any = theta0) -> dln.Trajectory:
            return dln.solve(flow, start, TIMES[-1], **OPTIONS)

        full = other().z
        gap = float(np.max(np.abs(ours() - full)) / np.max(np.abs(full)))
        times = paired(ours, other, ROUNDS)
        closed.append(times["ours"])
        found.append(
            Row(
                "exact",
                f"Riccati solution, 8 times, {arch.name}",
                "full gradient flow",
                limit=1.0,
                note=f"{1 / times['ratio']:.3g} times faster, error {gap:.0e} (that of the integration)",
                failed=gap > 1e-8,
                **times,
            )
        )
    found.append(
        Row(
            "exact",
            f"Riccati solution, {HIDDEN[-1]} hidden",
            f"Riccati solution, {HIDDEN[0]} hidden",
            ours=closed[-1],
            other=closed[0],
            ratio=closed[-1] / closed[0],
            limit=15.0,
            note=f"no growth beyond h = d + o = {sum(ENDS)}: only the Gram matrix of the start matters",
        )
    )
    arch = dln.linear_network(LARGE)
    theta0 = dln.lambda_balanced(arch, jax.random.key(0), -0.5, scale=1e-8)
    wide = dln.SquaredLoss.from_target(np.random.default_rng(1).standard_normal((LARGE[-1], LARGE[0])))
    solution = RiccatiSolution(arch, theta0, wide)
    call = lambda: np.asarray(solution.z(TIMES))
    seconds = paired(call, call, ROUNDS)["ours"]
    finite = bool(np.all(np.isfinite(solution.z([1e5]))))
    found.append(
        Row(
            "exact",
            f"Riccati solution, 8 times, {arch.name}",
            "",
            ours=seconds,
            note="start 1e-8, finite at t = 1e5" if finite else "not finite at t = 1e5",
            failed=not finite,
        )
    )
    return found
