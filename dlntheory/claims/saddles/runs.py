"""Runs that several claims on saddles share."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...losses import SquaredLoss
from ...theory.saddles import (
    CompletionProblem,
    CompletionStudy,
    GreedyPath,
    PathRun,
    PhaseTransition,
    completion_problem,
    completion_study,
    follow_path,
    greedy_low_rank,
    nearest_saddle,
    phase_transition,
)

#: Singular values of the target of all paths.
MODES = (3.0, 1.8, 1.0)
#: Singular values of the target of the distances.
NEAR = (2.0, 1.0, 0.6)


def target(modes: tuple[float, ...] = MODES) -> np.ndarray:
    """A 3 x 3 map with these singular values, in random bases."""
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    return (left * np.array(modes)) @ right.T


def start(
    depth: int, *, width: int = 5, side: int = 3, size: float = 0.2, seed: int = 0
) -> dict[str, np.ndarray]:
    """Gaussian weights with standard deviation `size`."""
    rng = np.random.default_rng(seed)
    widths = (side, *[width] * (depth - 1), side)
    return {
        f"W{layer}": size * rng.standard_normal((widths[layer], widths[layer - 1]))
        for layer in range(1, depth + 1)
    }


@lru_cache(maxsize=32)
def path(depth: int, alpha: float) -> PathRun:
    """The whole path for the target, at every step of LSODA."""
    return follow_path(SquaredLoss.from_target(target()), start(depth), alpha, method="stiff", rtol=1e-8)


@lru_cache(maxsize=8)
def greedy(depth: int, eps: float = 1e-3, stretch: float = 1.0) -> GreedyPath:
    """The greedy path to the target; the first input direction may be stretched, which whitened data do not have."""
    root = np.diag([stretch, 1.0, 1.0])
    loss = SquaredLoss(root, root @ target().T, reduction="sum")
    return greedy_low_rank(loss, (3, 3), depth, eps=eps)


@lru_cache(maxsize=8)
def transition(depth: int, gamma: float, widths: tuple[int, ...], seeds: int = 4) -> PhaseTransition:
    """Distances over widths for the target of the distances."""
    return phase_transition(np.diag(NEAR), depth, gamma, widths, seeds=seeds)


def saddle_distance(width: int, gamma: float) -> float:
    """Distance to the nearest saddle of two layers, for the target of the distances."""
    size = width ** (-gamma / 2)
    return nearest_saddle(start(2, width=width, size=size), np.diag(NEAR))[0]


@lru_cache(maxsize=1)
def completion() -> CompletionProblem:
    """8 x 8, rank 2, 48 entries."""
    return completion_problem(8, 2)


@lru_cache(maxsize=4)
def completed(depth: int, alphas: tuple[float, ...]) -> CompletionStudy:
    """Runs of completion over scales."""
    return completion_study(completion(), start(depth, width=8, side=8, size=0.3), alphas)
