"""Starts and distances that the first claims share."""

from __future__ import annotations

from typing import Any

import jax
import numpy as np

from ...initial import balanced
from ...laws import imbalances
from ...training import Trajectory

TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-10, "step_to_ts": True, "ts": 20}


def imbalances_at(arch, params, rates=None) -> list[np.ndarray]:
    return [np.asarray(imbalance) for imbalance in imbalances(arch, params, rates)]


def weights_along(run: Trajectory) -> list[dict[str, np.ndarray]]:
    """The weights at each time of a run that kept its states."""
    assert run.states is not None  # all runs of these claims keep them
    return [{name: value[k] for name, value in run.states.items()} for k in range(len(run))]


def balanced_with_product(arch, product: np.ndarray) -> dict[str, Any]:
    return balanced(arch, jax.random.key(9), product=product)
