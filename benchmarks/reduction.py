"""Full against reduced training on the handwritten digits, 64-h-10: what a reduction saves, and its error."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

import dlntheory as dln

from .harness import Row, paired

HIDDEN = (32, 256, 1024)
END = 100.0
ROUNDS = 7
OPTIONS: dict[str, Any] = {
    "method": "dopri8",
    "rtol": 1e-10,
    "ts": 20,
    "step_to_ts": True,
    "save_states": False,
}


def rows() -> list[Row]:
    """The balanced flow from a balanced start and the Gram flow from a Gaussian one, at three hidden widths."""
    loss = dln.data.digits(centred=True).loss()
    found = []
    for hidden in HIDDEN:
        arch = dln.linear_network((64, hidden, 10))
        flow = dln.GradientFlow(arch, loss)
        key = jax.random.key(0)
        cases = (
            (dln.balanced(arch, key, scale=0.1), dln.BalancedFlow(arch, loss)),
            (dln.gaussian(arch, key, scale=0.1), dln.GramFlow(arch, loss)),
        )
        found += [_row(arch, flow, reduced, theta0) for theta0, reduced in cases]
    return found


def _row(arch: dln.Architecture, flow: dln.GradientFlow, reduced: dln.AbstractReduction, theta0: Any) -> Row:
    def run(dynamics: dln.AbstractFlow) -> dln.Trajectory:
        return dln.solve(dynamics, theta0, END, **OPTIONS)

    left, right = run(flow), run(reduced)
    gap = np.linalg.norm(left.z - right.z, axis=(1, 2)) / np.max(np.linalg.norm(left.z, axis=(1, 2)))
    sizes = [sum(array.size for array in side.final.values()) for side in (right, left)]
    return Row(
        "reduction",
        f"{reduced.label}, {arch.name}",
        "full gradient flow",
        note=f"{sizes[0]} variables against {sizes[1]}, error {np.max(gap):.0e}",
        **paired(lambda: run(reduced), lambda: run(flow), ROUNDS),
    )
