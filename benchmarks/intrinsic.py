"""Reductions in z against the full flow as the hidden width grows: one evaluation, and whole runs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

import dlntheory as dln
from dlntheory.families import gram_factorisation
from dlntheory.reductions import RelaxedBalancedFlow, TiedFlow

from .harness import Row, paired

ENDS = (8, 6)
HIDDEN = (6, 96, 1024)
END = 5.0
ROUNDS = 7
CALLS = 50
OPTIONS: dict[str, Any] = {
    "method": "dopri8",
    "rtol": 1e-10,
    "ts": 20,
    "step_to_ts": True,
    "save_states": False,
}


def rows() -> list[Row]:
    """Three layers, λ = (0, 0.5): a wide first hidden layer forces λ_1 = 0, the second has the width of the output."""
    target = np.random.default_rng(0).standard_normal(ENDS[::-1])
    loss = dln.SquaredLoss.from_target(target)
    cases = []
    for hidden in HIDDEN:
        arch = dln.linear_network((ENDS[0], hidden, ENDS[1], ENDS[1]))
        theta0 = dln.lambda_balanced(arch, jax.random.key(0), [0.0, 0.5], scale=0.5)
        cases.append(
            (arch, theta0, dln.GradientFlow(arch, loss), RelaxedBalancedFlow.from_start(arch, theta0, loss))
        )
    return [
        *(_evaluation(*case) for case in cases),
        _independence(cases),
        *_tied(),
        *(_run(*case) for case in cases),
    ]


def _tied() -> list[Row]:
    r"""$z = W^\top W$ from any start: no law is needed, and none is used."""
    loss = dln.SquaredLoss.from_target(np.diag(np.arange(1.0, ENDS[0] + 1)))
    cases = []
    for rank in (HIDDEN[0], HIDDEN[-1]):
        arch = gram_factorisation(rank, ENDS[0])
        theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.5)
        cases.append((arch, theta0, dln.GradientFlow(arch, loss), TiedFlow(arch, loss)))
    return [_evaluation(*cases[-1]), _independence(cases)]


def _independence(cases: Sequence[tuple[Any, Any, Any, dln.AbstractReduction]]) -> Row:
    """The widest network against the narrowest, both reduced."""
    narrow, wide = cases[0], cases[-1]
    return Row(
        "intrinsic",
        f"{CALLS} velocities of {wide[3].label}, hidden width {HIDDEN[-1]}",
        f"hidden width {HIDDEN[0]}",
        limit=1.3,
        note="the cost does not depend on the hidden width",
        **paired(_calls(wide[3], wide[1]), _calls(narrow[3], narrow[1]), ROUNDS),
    )


def _evaluation(
    arch: dln.Architecture, theta0: Any, full: dln.GradientFlow, reduced: dln.AbstractReduction
) -> Row:
    return Row(
        "intrinsic",
        f"{CALLS} velocities of {reduced.label}, {arch.name}",
        "full gradient flow",
        note=f"{np.prod(arch.output_shape)} variables against {arch.size}",
        **paired(_calls(reduced, theta0), _calls(full, theta0), ROUNDS),
    )


def _calls(dynamics: dln.AbstractFlow, theta0: Any):
    """A function that evaluates the velocity a number of times inside one compiled loop."""
    state = dynamics.initial(dynamics.check_start(theta0))

    @jax.jit
    def evaluate(start):
        # Every evaluation starts where the one before ended: nothing can be moved out of the loop.
        def step(_, now):
            velocity = dynamics.velocity(0.0, now)
            return {name: now[name] + 1e-6 * velocity[name] for name in now}

        return jax.lax.fori_loop(0, CALLS, step, start)

    return lambda: jax.block_until_ready(evaluate(state))


def _run(arch: dln.Architecture, theta0: Any, full: dln.GradientFlow, reduced: dln.AbstractReduction) -> Row:
    def run(dynamics: dln.AbstractFlow) -> dln.Trajectory:
        return dln.solve(dynamics, theta0, END, **OPTIONS)

    left, right = run(full), run(reduced)
    gap = np.linalg.norm(left.z - right.z, axis=(1, 2)) / np.max(np.linalg.norm(left.z, axis=(1, 2)))
    return Row(
        "intrinsic",
        f"{reduced.label}, {arch.name}, t = {END:g}",
        "full gradient flow",
        note=f"error {np.max(gap):.0e}",
        **paired(lambda: run(reduced), lambda: run(full), ROUNDS),
    )
