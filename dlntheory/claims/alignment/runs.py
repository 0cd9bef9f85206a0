"""Problems and runs that several claims on separable data share."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np

from ...data import simplex_margin
from ...theory.alignment import (
    AlignmentRun,
    DescentRun,
    SeparableProblem,
    admissible_start,
    gradient_descent,
    log_time_flow,
)

PAPER = "[ji2019gradient]"
LOG_TIME = r"$s = \log(1 + t)$, $t$ gradient-flow time"
#: Dimension, samples, margin of the simplex data.
SIZE = (4, 30, 0.3)


@lru_cache(maxsize=8)
def problem_of(loss: str, padding: int = 0) -> SeparableProblem:
    data = simplex_margin(jax.random.key(0), SIZE[1], SIZE[0], SIZE[2])
    inputs = np.concatenate([data.inputs, np.zeros((len(data), padding))], axis=1)
    return SeparableProblem(inputs, data.targets, loss, name=data.name)


def both_labels(problem: SeparableProblem) -> np.ndarray:
    """The rows of the problem, the last one replaced by the first sample with the opposite label: not separable."""
    rows = np.array(problem.signed_inputs)
    rows[-1] = -rows[0]
    return rows


@lru_cache(maxsize=8)
def flow_of(depth: int, padding: int = 0) -> AlignmentRun:
    problem = problem_of("exponential", padding)
    return log_time_flow(problem, admissible_start(problem, problem.network(depth), jax.random.key(1)))


@lru_cache(maxsize=4)
def descent_of(rule: str, depth: int, steps: int) -> DescentRun:
    problem = problem_of("logistic")
    start = admissible_start(problem, problem.network(depth), jax.random.key(1))
    return gradient_descent(problem, start, rule, steps)
