r"""Matrix completion from vanishing weights: depth finds the low rank at practical scales, two layers do not."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..._checks import integer, real_number
from ...display.displayed import Displayed
from ...display.progress import collect, whole_runs
from ...display.text import one_line
from ...losses import MatrixCompletionLoss
from .chain_inputs import layers_of
from .closest_approach import closest_approach
from .greedy_path import GreedyPath, greedy_low_rank
from .path_integration import follow_path
from .plateaus import CONJECTURE


@dataclasses.dataclass(frozen=True, eq=False)
class CompletionProblem:
    """A low-rank matrix with some entries hidden.

    Attributes:
        truth: the whole matrix.
        mask: booleans, true where observed.
        rank: its rank.
    """

    truth: np.ndarray
    mask: np.ndarray
    rank: int

    @property
    def loss(self) -> MatrixCompletionLoss:
        """Half the sum of squared errors on the observed entries."""
        return MatrixCompletionLoss(self.truth, self.mask)

    def recovery_error(self, z: Any) -> np.ndarray:
        """Relative error on all entries, the hidden ones included: $\\|z - Y\\|_F/\\|Y\\|_F$, over leading axes."""
        return np.linalg.norm(np.asarray(z) - self.truth, axis=(-2, -1)) / np.linalg.norm(self.truth)

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class CompletionStudy(Displayed):
    r"""Full flows over scales against the greedy points.

    Attributes:
        depth: $L$.
        alphas: scales (n,).
        distances: closest approach to the greedy points of width 1, …, k (n, k).
        recovery: relative error of the final maps (n,).
        greedy: the greedy path.
        greedy_recovery: relative errors of its points (k + 1,).
        interrupted: whether the user stopped it: the scales are those that were finished.
    """

    depth: int
    alphas: np.ndarray
    distances: np.ndarray
    recovery: np.ndarray
    greedy: GreedyPath
    greedy_recovery: np.ndarray
    interrupted: bool = False

    def __repr__(self) -> str:
        mark = ", interrupted" if self.interrupted else ""
        return f"CompletionStudy(L = {self.depth}, {len(self.alphas)} scales{mark})"

    def _title(self) -> str:
        return f"matrix completion from small starts, L = {self.depth}{' (interrupted)' if self.interrupted else ''}"

    def _notes(self) -> list[str]:
        return [CONJECTURE]

    def _tables(self) -> list[tuple[Any, ...]]:
        names = [f"to greedy {k}" for k in range(1, self.distances.shape[1] + 1)]
        rows = zip(self.alphas, *self.distances.T, self.recovery, strict=True)
        return [(list(rows), ("alpha", *names, "recovery error"))]


def completion_problem(
    side: int = 8, rank: int = 2, observed: float = 0.75, *, norm: float = 4.0, seed: int = 0
) -> CompletionProblem:
    """A Gaussian matrix of low rank and spectral norm `norm`, a fraction `observed` of its entries shown at random.

    Raises:
        ValueError: a rank above the side, or a fraction outside (0, 1] or too small to show an entry.
    """
    side = integer(side, "side")
    rank, norm = integer(rank, "rank", maximum=side), real_number(norm, "norm", above=0)
    count = round(real_number(observed, "observed", above=0, maximum=1) * side**2)
    if count < 1:
        raise ValueError(f"Argument `observed` must be so large that an entry is shown, but is {observed}.")
    rng = np.random.default_rng(integer(seed, "seed", minimum=0))
    truth = rng.standard_normal((side, rank)) @ rng.standard_normal((rank, side))
    mask = np.zeros(side**2, dtype=bool)
    mask[rng.permutation(side**2)[:count]] = True
    return CompletionProblem(norm * truth / np.linalg.norm(truth, 2), mask.reshape(side, side), rank)


def completion_study(
    problem: CompletionProblem,
    theta0: Mapping[str, Any],
    alphas: Sequence[float],
    *,
    greedy: GreedyPath | None = None,
    time: float = 60.0,
    progress: bool | None = None,
) -> CompletionStudy:
    r"""Runs the full flow from $\alpha\theta_0$ for every scale and compares with the greedy points.

    Ctrl-C returns the scales that are done, with `interrupted` set; before the first one it propagates.

    Args:
        problem: from `completion_problem`.
        theta0: the start at $\alpha = 1$.
        alphas: scales.
        greedy: the greedy path, if it is there already.
        time: length of a run in units of $\alpha^{-(L-2)}$, or of $\log(1/\alpha) + 5$ for two layers.
        progress: show a bar; by default on a terminal and in a notebook.

    Validity:
        Observed, not proved. For two layers recovery improves with smaller $\alpha$ without reaching an asymptotic
        regime at any practical scale.
    """
    depth = len(layers_of(theta0, "theta0"))
    with whole_runs():
        path = greedy or greedy_low_rank(
            problem.loss, problem.truth.shape, depth, k_max=problem.rank, progress=progress
        )

    def row(alpha: float) -> tuple[float, ...]:
        end = time * (np.log(1 / alpha) + 5 if depth == 2 else alpha ** -(depth - 2))
        run = follow_path(problem.loss, theta0, alpha, end, method="stiff", rtol=1e-8, progress=False)
        return (*closest_approach(run, path.z[1:]), float(problem.recovery_error(run.z[-1])))

    rows, interrupted = collect(row, alphas, "completion", unit="scale", progress=progress)
    table, done = np.array(rows), np.asarray(alphas)[: len(rows)]
    recovery = problem.recovery_error(path.z)
    return CompletionStudy(depth, done, table[:, :-1], table[:, -1], path, recovery, interrupted)
