r"""Other points of one fibre $\{\theta : \varphi(\theta) = z_0,\; h(\theta) = h_0\}$: does $M$ differ on them?

The kernel criterion is local; a fibre of several pieces is caught only by looking at some of its points.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from ..._precision import require_float64
from ...architecture import Architecture
from ...display.progress import waiting
from ...laws import ConservationLaws
from ...laws.conservation import laws_to_build_on
from .float_metric import InterpretedMetric, unravelled
from .gauss_newton import FloatMetric, gauss_newton, is_late

_TRIES = 5
_SAME = 1e-6


@dataclasses.dataclass(frozen=True, eq=False)
class Companion:
    r"""Another point of the fibre of a start.

    Attributes:
        theta: the parameters.
        distance: Euclidean, from the start.
        residual: norm of what is left of $\varphi = z_0$, $h = h_0$, relative to $1 + |(z_0, h_0)|$.
        spread: $|M(\theta) - M(\theta_0)| / |M(\theta_0)|$.
    """

    theta: dict[str, jax.Array]
    distance: float
    residual: float
    spread: float

    def __repr__(self) -> str:
        return f"Companion(distance {self.distance:.3g}, residual {self.residual:.1e}, spread of M {self.spread:.1e})"


def fibre_companions(
    arch: Architecture,
    theta0: Mapping[str, Any],
    *,
    laws: ConservationLaws | None = None,
    count: int = 3,
    seed: int = 0,
    progress: bool | None = None,
) -> tuple[Companion, ...]:
    r"""Other parameters with the same $z$ and the same values of all laws as `theta0`.

    Found by Gauss-Newton from random starts. Where the dynamics of $z$ is intrinsic, full flows from any two points
    of one fibre have one $z(t)$; see `fibre_divergence`. Not jit-compatible; Ctrl-C is raised.

    Args:
        arch: the architecture.
        theta0: the parameters.
        laws: by default `conservation_laws(arch)`.
        count: how many to look for; five times as many starts are tried.
        seed: determines the starts.
        progress: count the seconds on a line; by default on a terminal and in a notebook.

    Returns:
        Up to `count` companions; none if the fibre is this one point.

    Raises:
        ValueError: a malformed `theta0`.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((1, 2, 3))
        >>> found = fibre_companions(arch, dln.lambda_balanced(arch, jax.random.key(0), 0.7))
        >>> bool(found[0].residual < 1e-12), bool(found[0].spread > 0.01)
        (True, True)
    """
    require_float64("fibre_companions")
    checked = arch.check(theta0)
    if count < 1:
        raise ValueError(f"Argument `count` must be at least 1, but is {count}.")
    with waiting(f"looking for companions in {arch.name}", progress):
        known = laws_to_build_on(arch, progress=False) if laws is None else laws
        metric = InterpretedMetric(arch, known.laws)
        rng = np.random.default_rng([seed, 1])
        return companions_of(metric, np.asarray(arch.ravel(checked)), count, rng)


def companions_of(
    metric: FloatMetric,
    vector: np.ndarray,
    count: int,
    rng: np.random.Generator,
    deadline: float | None = None,
) -> tuple[Companion, ...]:
    """`fibre_companions` of a flat vector."""
    phi, h, jacobian, _ = metric.values(vector)
    target = np.concatenate([phi, h])
    scale = 1 + float(np.linalg.norm(target))
    here = jacobian @ jacobian.T

    def equations(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        values = metric.values(x)
        return (np.concatenate(values[:2]) - target) / scale, np.concatenate(values[2:]) / scale

    size = float(np.linalg.norm(vector)) / np.sqrt(len(vector))
    found: list[Companion] = []
    for _ in range(_TRIES * count):
        start = vector + 2 * size * rng.standard_normal(len(vector))
        point, residual = gauss_newton(equations, start, deadline=deadline)
        distance = float(np.linalg.norm(point - vector))
        if not residual <= 1e-12 or distance <= _SAME * (1 + np.linalg.norm(vector)):
            continue
        other = metric.values(point)[2]
        spread = float(np.linalg.norm(other @ other.T - here) / np.linalg.norm(here))
        theta = jax.device_put(unravelled(metric.arch, point))
        found.append(Companion(theta, distance, residual, spread))
        if len(found) == count or is_late(deadline):
            break
    return tuple(found)
