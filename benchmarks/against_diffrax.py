"""`solve` against a hand-written `diffrax.diffeqsolve` of the same problem: what the wrapping costs, warm."""

from __future__ import annotations

from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

import dlntheory as dln

from . import problem
from .harness import Row, paired

ROUNDS = 25
LIMIT = 1.05


def rows() -> list[Row]:
    """The default of `solve` against hand-written code that keeps as much, and against code that keeps less."""
    theta0 = {f"W{layer + 1}": jnp.asarray(w) for layer, w in enumerate(problem.start())}
    arch = dln.linear_network((problem.WIDTH,) * (problem.DEPTH + 1))
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target(problem.target()))
    options: dict[str, Any] = {"ts": problem.TIMES, "rtol": problem.RTOL, "atol": problem.ATOL}

    def ours(save_states: bool) -> dln.Trajectory:
        return dln.solve(flow, theta0, problem.END, save_states=save_states, **options)

    times = jnp.asarray(problem.TIMES)
    tolerances = (jnp.asarray(problem.RTOL), jnp.asarray(problem.ATOL))

    def hand(keep: str) -> dict[str, Any]:
        return jax.tree.map(np.asarray, _by_hand(theta0, times, *tolerances, keep))

    run = ours(True)
    steps = f"{run.stats.counts['steps accepted']} steps, error {problem.error(run.z):.1e}"
    cases = (
        ("keeps z, loss, drift, states", True, "all", LIMIT, steps),
        ("keeps z, loss, drift", False, "drift", LIMIT, ""),
        ("keeps z, loss, drift", False, "z", None, "the other keeps z, loss; solve always records the drift"),
    )
    return [
        Row(
            "diffrax",
            f"solve, {label}",
            f"by hand, keeps {_kept(keep)}",
            limit=limit,
            note=note,
            **paired(lambda s=states: ours(s), lambda k=keep: hand(k), ROUNDS),
        )
        for label, states, keep, limit, note in cases
    ]


def _kept(keep: str) -> str:
    return {"all": "the same", "drift": "the same", "z": "z, loss"}[keep]


@eqx.filter_jit
def _by_hand(theta0: dict[str, Any], times, rtol, atol, keep: str):
    target = jnp.asarray(problem.target())

    def value(z):
        return 0.5 * jnp.sum((z - target) ** 2)

    def product(w):
        return w["W3"] @ w["W2"] @ w["W1"]

    def field(t, w, args):
        return jax.tree.map(jnp.negative, jax.grad(lambda w: value(product(w)))(w))

    def laws(w):
        return [w["W2"].T @ w["W2"] - w["W1"] @ w["W1"].T, w["W3"].T @ w["W3"] - w["W2"] @ w["W2"].T]

    before = laws(theta0)

    def save(t, w, args):
        z = product(w)
        row: dict[str, Any] = {"z": z, "loss": value(z)}
        if keep != "z":
            row["drift"] = [jnp.max(jnp.abs(a - b)) for a, b in zip(laws(w), before, strict=True)]
        if keep == "all":
            row["states"] = w
        return row

    return diffrax.diffeqsolve(
        diffrax.ODETerm(field),  # pyright: ignore[reportArgumentType]
        diffrax.Tsit5(),
        times[0],
        times[-1],
        None,
        theta0,
        saveat=diffrax.SaveAt(ts=times, fn=save),
        stepsize_controller=diffrax.PIDController(rtol=rtol, atol=atol),
        max_steps=1_000_000,
        throw=False,
    ).ys
