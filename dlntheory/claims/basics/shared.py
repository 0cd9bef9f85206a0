"""Losses, starts and distances that the first claims share."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ...initial import balanced
from ...laws import imbalances
from ...training import Trajectory

TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-10, "step_to_ts": True, "ts": 20}


@lru_cache(maxsize=4)
def target_of(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


class LogCosh:
    """A loss that is neither quadratic nor convex-quadratic in disguise: sum of log cosh(z - S)."""

    conventions = "sum of log cosh(z - S)"

    def __init__(self, shape: tuple[int, ...]):
        self.target = target_of(shape)

    def __call__(self, z):
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z) - jnp.log(2.0))

    def __hash__(self):
        return hash(self.target.shape)

    def __eq__(self, other):
        return isinstance(other, LogCosh) and self.target.shape == other.target.shape


def imbalances_at(arch, params, rates=None) -> list[np.ndarray]:
    return [np.asarray(defect) for defect in imbalances(arch, params, rates)]


def weights_along(run: Trajectory) -> list[dict[str, np.ndarray]]:
    """The weights at each time of a run that kept its states."""
    assert run.states is not None  # all runs of these claims keep them
    return [{name: value[k] for name, value in run.states.items()} for k in range(len(run))]


def distance(left, right, scale: float) -> float:
    return max(float(np.linalg.norm(a - b)) for a, b in zip(left, right, strict=True)) / scale


def balanced_with_product(arch, product: np.ndarray) -> dict[str, Any]:
    return balanced(arch, jax.random.key(9), product=product)
