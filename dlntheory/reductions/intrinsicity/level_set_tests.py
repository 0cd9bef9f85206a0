r"""Special level sets of the laws, in floats: $h = 0$, each matrix law a multiple of the identity, that of a start."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..._errors import InfeasibleError
from ...architecture import Architecture
from ...initial.index_chains import forced_squares, offsets
from ...laws import Law
from .fibre_points import Companion, companions_of
from .gauss_newton import FAILS, HOLDS, FloatMetric, float_kernel, gauss_newton, is_late

LAMBDAS = (0.0, 0.7, -0.7)
_COMPANIONS = 3
_STARTS = 4
_TIME = 0.3


@dataclasses.dataclass(frozen=True, eq=False)
class LevelSetTest:
    r"""The kernel criterion and the spread of $M$ over a fibre, at one point of one level set.

    Attributes:
        name: the level set.
        status: `"holds"`, `"fails"`, `"undecided"`, `"empty"` (proved) or `"not reached"` (empty, or Gauss-Newton
            stalled).
        residual: distance of the point from the level set, in the values of the laws.
        fibre: dimension of $\ker\partial\varphi \cap \ker\partial h$.
        ratio: size of $\partial M$ on it relative to $|M|$; see `FloatKernel`.
        spread: largest relative difference of $M$ on the fibre, `None` if no other point of it was found.
        distances: how far the other points are.
        detail: further words.
    """

    name: str
    status: str
    residual: float | None = None
    fibre: int | None = None
    ratio: float | None = None
    spread: float | None = None
    distances: tuple[float, ...] = ()
    detail: str = ""


def special_level_sets(
    metric: FloatMetric,
    laws: Sequence[Law],
    lambdas: Sequence[float],
    seed: int,
    deadline: float | None = None,
) -> tuple[LevelSetTest, ...]:
    r"""The level sets on which all matrix laws are multiples $\lambda I$, by signs where there are two laws.

    A point of a chain of matrices is constructed (or proved not to exist); otherwise Gauss-Newton looks for one.

    Args:
        metric: in floats.
        laws: the laws of `metric`, as `Law`s.
        lambdas: values of λ; 0 stands for $h = 0$, all other laws included.
        seed: determines the points.
        deadline: on the clock of `time.perf_counter`, after which no further level set is tested.
    """
    if not laws:
        # Without laws there is one level set, the whole space, and its generic points have been tested.
        return ()
    matrices = [law for law in laws if law.kind == "matrix"]
    tests = []
    for name, values in _targets(len(matrices), lambdas):
        if is_late(deadline):
            break
        rng = np.random.default_rng([seed, 2, len(tests)])
        tests.append(_tested(metric, laws, matrices, name, values, rng, deadline))
    return tuple(tests)


def start_level_set(
    metric: FloatMetric, vector: np.ndarray, seed: int, deadline: float | None = None
) -> LevelSetTest:
    r"""The level set of a start: at the start itself, and at a point that training with a linear loss reaches from it.

    A start may be special within its level set (zero factors, repeated singular values), where the criterion at
    that one point says little.
    """
    rng = np.random.default_rng([seed, 3])
    name = "h = h(theta0)"
    here = tested_point(metric, name, vector, rng, residual=0.0, deadline=deadline)
    if not np.any(metric.values(vector)[2]):
        return dataclasses.replace(
            here, status="undecided", detail="theta0 is a critical point of every loss: z never moves"
        )
    further = _trained(metric, vector, rng)
    drift = float(np.linalg.norm(metric.values(further)[1] - metric.values(vector)[1]))
    there = tested_point(metric, name, further, rng, residual=drift, deadline=deadline)
    order = ("fails", "undecided", "holds")
    worst = min((here, there), key=lambda test: order.index(test.status))
    place = "at theta0" if worst is here else "at a point reached from theta0"
    return (
        worst
        if worst.status == "holds"
        else dataclasses.replace(worst, detail=": ".join(filter(None, (place, worst.detail))))
    )


def tested_point(
    metric: FloatMetric,
    name: str,
    vector: np.ndarray,
    rng: np.random.Generator,
    *,
    residual: float,
    deadline: float | None,
) -> LevelSetTest:
    """Kernel criterion and fibre spread at a point (D,)."""
    kernel = float_kernel(metric, vector, rng)
    found: tuple[Companion, ...] = companions_of(metric, vector, _COMPANIONS, rng, deadline)
    spread = max((companion.spread for companion in found), default=None)
    if kernel.ratio > FAILS and kernel.is_clear:
        status, detail = "fails", ""
    elif not kernel.is_clear:
        status, detail = "undecided", "nearly singular: the dimension of the fibre is in doubt"
    elif not kernel.ratio <= HOLDS:
        status, detail = "undecided", "dM on the fibre is neither clearly zero nor clearly not"
    elif spread is not None and spread > FAILS:
        status, detail = "undecided", "another piece of the fibre has another M"
    else:
        status, detail = "holds", ""
    return LevelSetTest(
        name=name,
        status=status,
        residual=residual,
        fibre=kernel.fibre,
        ratio=kernel.ratio,
        spread=spread,
        distances=tuple(companion.distance for companion in found),
        detail=detail,
    )


def _targets(matrices: int, lambdas: Sequence[float]) -> list[tuple[str, tuple[float, ...] | None]]:
    """Names and multiples of the identity for each matrix law; `None` for h = 0."""
    targets: list[tuple[str, tuple[float, ...] | None]] = []
    sizes = sorted({abs(value) for value in lambdas})
    for size in sizes:
        if size == 0:
            targets.append(("h = 0", None))
            continue
        signed = [value for value in lambdas if abs(value) == size]
        if matrices == 2:
            combinations = list(itertools.product(signed, repeat=2))
        else:
            combinations = [(value,) * matrices for value in signed]
        for values in combinations if matrices else ():
            distinct = sorted(set(values), reverse=True)
            shown = (
                f"{values[0]:g}" if len(distinct) == 1 else "({})".format(", ".join(f"{v:g}" for v in values))
            )
            targets.append((f"h = {shown} I", values))
    return targets


def _tested(
    metric: FloatMetric,
    laws: Sequence[Law],
    matrices: Sequence[Law],
    name: str,
    values: tuple[float, ...] | None,
    rng: np.random.Generator,
    deadline: float | None,
) -> LevelSetTest:
    arch = metric.arch
    is_chain = arch.chain is not None and len(set(arch.chain)) == len(arch.chain) == len(arch.shapes)
    # On a chain whose matrix laws are its imbalances, points are known in closed form, exact to rounding.
    if is_chain and arch.chain and len(matrices) in (0, len(arch.chain) - 1):
        multiples = values or (0.0,) * (len(arch.chain) - 1)
        try:
            point = _balanced_chain(arch, arch.chain, multiples, rng)
        except InfeasibleError as error:
            return LevelSetTest(name, "empty", detail=str(error))
        return tested_point(metric, name, point, rng, residual=0.0, deadline=deadline)
    rows, target = _constraint(laws, values)

    def equations(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        _, h, _, gradients = metric.values(x)
        return h[rows] - target, gradients[rows]

    best: Any = (np.inf, None)
    for _ in range(_STARTS):
        point, residual = gauss_newton(equations, rng.standard_normal(arch.size), deadline=deadline)
        best = min(best, (residual, point), key=lambda pair: pair[0])
        if residual <= 1e-12:
            return tested_point(metric, name, point, rng, residual=residual, deadline=deadline)
    return LevelSetTest(name, "not reached", residual=float(best[0]), detail="empty, or Gauss-Newton stalled")


def _constraint(laws: Sequence[Law], values: tuple[float, ...] | None) -> tuple[np.ndarray, np.ndarray]:
    """Which entries of h are prescribed, and their values."""
    rows, targets, start = [], [], 0
    remaining = iter(values or ())
    for law in laws:
        entries = np.arange(start, start + law.size)
        start += law.size
        if values is None:
            rows.append(entries)
            targets.append(np.zeros(law.size))
        elif law.kind == "matrix":
            rows.append(entries)
            # Arrays with three axes have one matrix for each index of the first: all of them are the same multiple.
            identity = np.broadcast_to(np.eye(law.value_shape[-1]), law.value_shape)
            targets.append(next(remaining) * identity.ravel()[law.positions])
    return np.concatenate(rows), np.concatenate(targets)


def _trained(metric: FloatMetric, vector: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Where the flow of a random linear loss leads from a point in a while: on its level set, to 13 digits."""
    from scipy.integrate import solve_ivp

    phi, _, jacobian, _ = metric.values(vector)
    loss = rng.standard_normal(len(phi))
    speed = np.linalg.norm(jacobian.T @ loss)
    scale = _TIME * np.linalg.norm(vector) / speed if speed else 1.0
    run = solve_ivp(
        lambda t, x: -scale * (metric.values(x)[2].T @ loss),
        (0.0, 1.0),
        vector,
        method="DOP853",
        rtol=1e-12,
        atol=1e-14 * (1 + float(np.linalg.norm(vector))),
    )
    return run.y[:, -1]


def _balanced_chain(
    arch: Architecture, chain: tuple[str, ...], multiples: Sequence[float], rng: np.random.Generator
) -> np.ndarray:
    """A random point of a chain with D_l = lambda_l I, flat, as `lambda_balanced` makes it, in NumPy.

    Raises:
        InfeasibleError: there is none.
    """
    widths = arch.widths
    assert widths is not None
    squares, shifts = forced_squares(widths, multiples), offsets(multiples)
    free = rng.uniform(0.5, 1.5, size=min(widths))
    bases = [np.linalg.qr(rng.standard_normal((width, width)))[0] for width in widths]
    layers = {}
    for layer, name in enumerate(chain):
        spectrum = squares[layer].copy()
        spectrum[: len(free)] = free + shifts[layer]
        count = min(widths[layer : layer + 2])
        left, right = bases[layer + 1][:, :count], bases[layer][:, :count]
        layers[name] = (left * np.sqrt(spectrum[:count])) @ right.T
    return np.concatenate([layers[name].ravel() for name in arch.shapes])
