"""Logarithmic time on separable data: steps and time by depth, and how far gradient descent gets in as many steps."""

from __future__ import annotations

import statistics
import time
from typing import Any

import jax

import dlntheory as dln
from dlntheory.theory.alignment import (
    RULES,
    SeparableProblem,
    admissible_start,
    gradient_descent,
    log_time_flow,
)

from .harness import Row

END = 1e4
STEPS = 100_000
ROUNDS = 5


def rows() -> list[Row]:
    """Flow to t = e^1000 and e^10000 for one to four layers; three step rules for two and three layers."""
    data = dln.data.simplex_margin(jax.random.key(0), 30, 4, 0.3)
    found = []
    for depth in (1, 2, 3, 4):
        problem = SeparableProblem(data.inputs, data.targets, name=data.name)
        start = admissible_start(problem, problem.network(depth), jax.random.key(1))
        for end, limit in ((1e3, 1.0), (END, None)):
            found.append(_flow_row(problem, start, depth, end, limit))
    problem = SeparableProblem(data.inputs, data.targets, "logistic", name=data.name)
    for depth in (2, 3):
        start = admissible_start(problem, problem.network(depth), jax.random.key(1))
        found += [_descent_row(problem, start, depth, rule) for rule in RULES]
    return found


def _flow_row(problem: SeparableProblem, start: Any, depth: int, end: float, limit: float | None) -> Row:
    log_time_flow(problem, start, end)
    times = []
    for _ in range(ROUNDS):
        begin = time.perf_counter()
        run = log_time_flow(problem, start, end)
        times.append(time.perf_counter() - begin)
    seconds, counts = statistics.median(times), run.trajectory.stats.counts
    return Row(
        "alignment",
        f"flow to log t = {end:g}, L = {depth}",
        "" if limit is None else f"{limit:g} s",
        ours=seconds,
        other=limit,
        ratio=None if limit is None else seconds / limit,
        limit=None if limit is None else 1.0,
        note=f"{counts['steps accepted']} steps, {counts['steps rejected']} rejected",
    )


def _descent_row(problem: SeparableProblem, start: Any, depth: int, rule: str) -> Row:
    gradient_descent(problem, start, rule, 100)
    run = gradient_descent(problem, start, rule, STEPS)
    return Row(
        "alignment",
        f"gradient descent, {rule} steps, L = {depth}",
        "",
        ours=run.trajectory.stats.seconds,
        note=f"log t = {run.s[-1]:.4g} after {STEPS} steps, largest change of log R {run.largest_change:.1e}",
        failed=not run.is_monotone,
    )
