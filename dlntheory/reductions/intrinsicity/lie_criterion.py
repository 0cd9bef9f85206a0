r"""The criterion without laws: $L(\theta)$, the span of the Lie algebra of the gradients, in place of $\ker\partial h$.

$L(\theta) \subset \ker\partial h(\theta)$, with equality exactly where the laws are complete.
"""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from ...exact import NilpotentModular
from ...exact.linear_algebra import modular_nullspace, modular_rank
from ...laws.proof.lie_rank import bracket_string
from ...laws.systems import AbstractSystem
from .kernel_criterion import ModularMetric, product_mod

MAX_DEPTH = 10
_SPARE = 4
_LOT = 64
_WORDS = 2**22


@dataclasses.dataclass(frozen=True)
class LieTest:
    r"""The law-free kernel criterion at one point modulo one prime.

    Attributes:
        rank: dimension of the part of $L(\theta)$ that was found.
        ranks: the same for brackets of depth at most 0, 1, …
        status: `"complete"` (the rank that the laws leave room for), `"saturated"` (one more level of brackets
            added nothing), `"depth limit"` or `"time limit"`.
        fibre: dimension of $\ker\partial\varphi \cap L(\theta)$.
        defect: rank of $\partial M$ on it.
        prime: the modulus.
        seed: what the point and the combinations were drawn from.
    """

    rank: int
    ranks: tuple[int, ...]
    status: str
    fibre: int
    defect: int
    prime: int
    seed: int

    @property
    def is_open(self) -> bool:
        """Whether the search for brackets ended early; a defect that was found is one all the same."""
        return self.status in ("depth limit", "time limit")


def lie_test(
    metric: ModularMetric,
    system: AbstractSystem,
    point: np.ndarray,
    prime: int,
    *,
    room: int,
    seed: int = 0,
    deadline: float | None = None,
) -> LieTest:
    r"""Whether $\ker\partial\varphi \cap L(\theta) \subset \ker\partial M$ at a point of residues.

    Args:
        metric: $\partial\varphi$ of the architecture.
        system: its gradient system, in the same coordinates, with the cheapest pullback.
        point: residues (D,).
        prime: the modulus.
        room: $\dim\theta - \mathrm{rank}\,\partial h$, which $\dim L$ cannot exceed.
        seed: determines the combinations.
        deadline: on the clock of `time.perf_counter`, after which no more brackets are drawn.
    """
    ring = NilpotentModular(prime)
    rows, ranks, status = _span(system, ring, point, room, seed, deadline)
    # v = rows^T c with dphi v = 0; combinations with rows^T c = 0 only repeat the zero vector.
    image = product_mod(ring, metric.jacobian(ring, point), rows.T)
    kernel = product_mod(ring, modular_nullspace(image, prime), rows)
    fibre = modular_rank(kernel, prime)
    defect = metric.defect(ring, point, kernel, np.random.default_rng([seed, prime, 7])) if fibre else 0
    return LieTest(ranks[-1], tuple(ranks), status, fibre, defect, prime, seed)


def _span(
    system: AbstractSystem,
    ring: NilpotentModular,
    point: np.ndarray,
    room: int,
    seed: int,
    deadline: float | None,
) -> tuple[np.ndarray, list[int], str]:
    """Rows that span what was found of L at the point, its rank by depth, and why the search ended."""
    rng = np.random.default_rng([seed, ring.prime, 8])
    rows = np.zeros((0, len(point)), dtype=np.int64)
    ranks: list[int] = []
    for depth in range(MAX_DEPTH + 1):
        ranks.append(ranks[-1] if ranks else 0)
        idle, chunk = 0, max(1, _WORDS // (3**depth * 4 * system.peak_memory))
        # A random string adds nothing once its level is exhausted; a few idle ones make that certain enough.
        while idle < _SPARE:
            count = min(room - ranks[-1] + _SPARE, _LOT, chunk)
            slots = [system.draw(ring, rng, count) for _ in range(depth)]
            strings = bracket_string(system, ring, point[None, None], slots, system.draw(ring, rng, count))
            grown = modular_rank(np.concatenate([rows, strings]), ring.prime)
            if grown > ranks[-1]:
                rows = np.concatenate([rows, strings])
            idle += count - (grown - ranks[-1])
            ranks[-1] = grown
            if grown >= room:
                return rows, ranks, "complete"
            if deadline is not None and time.perf_counter() > deadline:
                return rows, ranks, "time limit"
        if depth and ranks[-1] == ranks[-2]:
            return rows, ranks, "saturated"
    return rows, ranks, "depth limit"
