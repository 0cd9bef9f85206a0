"""The first call of `solve` against a hand-written diffrax run, in CPU seconds of fresh processes; and what a batch
saves.

Not timed is the import, which `importing` does.
"""

from __future__ import annotations

import statistics
import subprocess
import sys

import jax
import numpy as np

import dlntheory as dln

from .harness import Row, paired

WIDTHS = (7, 9, 4)
END, SAVE_TIMES, STARTS = 5.0, 200, 64
ROUNDS = 5
_COMMON = f"""
import time
import jax; jax.config.update("jax_enable_x64", True)
import diffrax, equinox as eqx, jax.numpy as jnp, numpy as np
import dlntheory as dln
arch = dln.linear_network({WIDTHS})
target = np.random.default_rng(0).normal(size=({WIDTHS[-1]}, {WIDTHS[0]}))
theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.3)
begin = time.process_time()
BODY
print(time.process_time() - begin)
"""
_OURS = f"""
flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(target))
dln.solve(flow, theta0, {END}, ts={SAVE_TIMES}, stop=STOP)
"""
_BY_HAND = f"""
value = lambda w: 0.5 * jnp.sum((w["W2"] @ w["W1"] - target) ** 2)
field = lambda t, w, args: jax.tree.map(jnp.negative, jax.grad(value)(w))
save = lambda t, w, args: {{"z": w["W2"] @ w["W1"], "loss": value(w), "states": w}}
@eqx.filter_jit
def run(w, ts, rtol, atol):
    return diffrax.diffeqsolve(
        diffrax.ODETerm(field), diffrax.Tsit5(), ts[0], ts[-1], None, w, saveat=diffrax.SaveAt(ts=ts, fn=save),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol), max_steps=1_000_000, throw=False,
    ).ys
jax.tree.map(np.asarray, run(theta0, np.linspace(0.0, {END}, {SAVE_TIMES}), np.asarray(1e-8), np.asarray(1e-10)))
"""


def rows() -> list[Row]:
    """Two rows for first calls, one for a batch of starts."""
    bodies = {
        "hand": _BY_HAND,
        "plain": _OURS.replace("STOP", "()"),
        "event": _OURS.replace("STOP", "dln.LossBelow(1e-3)"),
    }
    seconds: dict[str, list[float]] = {name: [] for name in bodies}
    for _ in range(ROUNDS):
        for name, body in bodies.items():
            seconds[name].append(_cpu_seconds(body))
    found = []
    for name, case, limit in (("plain", "first solve", 1.25), ("event", "first solve with an event", 1.5)):
        pairs = zip(seconds[name], seconds["hand"], strict=True)
        found.append(
            Row(
                "compiling",
                f"{case}, linear 7-9-4, CPU s",
                "diffrax by hand, no event",
                ours=statistics.median(seconds[name]),
                other=statistics.median(seconds["hand"]),
                ratio=statistics.median(a / b for a, b in pairs),
                limit=limit,
            )
        )
    return [*found, _batch()]


def _batch() -> Row:
    """One call for a batch of starts against a loop over them."""
    arch = dln.linear_network(WIDTHS)
    target = np.random.default_rng(0).normal(size=(WIDTHS[-1], WIDTHS[0]))
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(target))
    starts = [dln.gaussian(arch, jax.random.key(number), scale=0.3) for number in range(STARTS)]
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)

    def together() -> dln.Trajectory:
        return dln.solve(flow, batch, END)

    def alone() -> list[dln.Trajectory]:
        return [dln.solve(flow, start, END) for start in starts]

    times = paired(together, alone, ROUNDS)
    gap = max(
        np.max(np.abs(one.z - other.z)) for one, other in zip(together().members(), alone(), strict=True)
    )
    return Row(
        "compiling",
        f"{STARTS} starts in one call, linear 7-9-4, warm",
        "a loop over them",
        limit=0.25,
        note=f"largest difference of z {gap:.0e}",
        **times,
    )


def _cpu_seconds(body: str) -> float:
    program = _COMMON.replace("BODY", body)
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    return float(done.stdout.split()[-1])
