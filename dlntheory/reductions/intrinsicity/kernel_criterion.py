r"""The kernel criterion, exactly modulo primes: does $\ker\partial\varphi \cap \ker\partial h$ lie in $\ker\partial M$?

$M = \partial\varphi\,\partial\varphi^\top$. Derivatives of $\varphi$ are taken by JAX before they are interpreted;
those of $\partial\varphi$ are read off over the ring $\mathbb F_p[e]/(e^2)$.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from ...architecture import Architecture
from ...exact import NilpotentModular
from ...exact.linear_algebra import DEFAULT_PRIME, modular_nullspace, modular_rank
from ...laws import Law
from ...laws.proof.lie_rank import random_point, usable_primes
from ...laws.systems import GradientSystem
from ...laws.vjp import InterpretedVjp

SECOND_PRIME = 2**31 - 19
_WORDS = 2**22
_SPARE = 8


@dataclasses.dataclass(frozen=True)
class KernelTest:
    r"""The kernel criterion at one point modulo one prime.

    Attributes:
        dimension: the number of parameters.
        rank_phi: of $\partial\varphi$.
        rank_laws: of $\partial h$.
        fibre: dimension of $\ker\partial\varphi \cap \ker\partial h$.
        defect: rank of $v \mapsto \partial M\,v$ on it; 0 exactly if the criterion holds at the point.
        prime: the modulus.
        seed: what the point was drawn from.
    """

    dimension: int
    rank_phi: int
    rank_laws: int
    fibre: int
    defect: int
    prime: int
    seed: int

    @property
    def holds(self) -> bool:
        r"""Whether $\partial M$ vanishes on the fibre."""
        return self.defect == 0

    @property
    def ranks(self) -> tuple[int, int, int, int]:
        """The four numbers on which points must agree."""
        return self.rank_phi, self.rank_laws, self.fibre, self.defect


class ModularMetric:
    r"""$\partial\varphi$ and its directional derivatives at points modulo a prime.

    Args:
        arch: the architecture.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
    """

    def __init__(self, arch: Architecture):
        self.system = GradientSystem(arch, vjp=InterpretedVjp(arch))
        self.outputs = int(np.prod(arch.output_shape))
        units = np.eye(self.outputs, dtype=np.int64)
        self._units = units.reshape(1, self.outputs, *arch.output_shape)

    def jacobian(self, ring: NilpotentModular, point: np.ndarray) -> np.ndarray:
        r"""$\partial\varphi$ at residues (D,), of shape (outputs, D)."""
        return self._gradients(ring, point[None, None])[0]

    def tangents(self, ring: NilpotentModular, point: np.ndarray, directions: np.ndarray) -> np.ndarray:
        """The derivatives of the Jacobian along directions (k, D), of shape (k, outputs, D)."""
        found = np.zeros((len(directions), self.outputs, len(point)), dtype=np.int64)
        for place, direction in enumerate(directions):
            moving = ring.join(point[None, None], direction[None, None] % ring.prime, 0)
            gradients = self._gradients(ring, moving)
            if len(gradients) > 1:
                found[place] = gradients[1]
        return found

    def changes(self, ring: NilpotentModular, point: np.ndarray, directions: np.ndarray) -> np.ndarray:
        r"""$\partial M\,v = \partial_v J\,J^\top + J\,\partial_v J^\top$ for each direction, flat: (k, outputs^2)."""
        jacobian = self.jacobian(ring, point)
        rows = []
        for tangent in self.tangents(ring, point, directions):
            half = product_mod(ring, tangent, jacobian.T)
            rows.append(((half + half.T) % ring.prime).ravel())
        return np.array(rows).reshape(len(directions), self.outputs**2)

    def defect(
        self, ring: NilpotentModular, point: np.ndarray, directions: np.ndarray, rng: np.random.Generator
    ) -> int:
        """The rank of $v \\mapsto \\partial M\\,v$ on the span of the directions; a lower bound if there are many."""
        if not len(directions):
            return 0
        affordable = max(1, _WORDS // (self.outputs * len(point)))
        if len(directions) > affordable:
            # Zero or not is decided by a single random combination, up to a probability of 1/p.
            mixing = rng.integers(0, ring.prime, size=(affordable, len(directions)))
            directions = product_mod(ring, mixing, directions)
        changes = self.changes(ring, point, directions)
        columns = len(changes) + _SPARE
        if changes.shape[1] > columns:
            mixing = rng.integers(0, ring.prime, size=(changes.shape[1], columns))
            changes = product_mod(ring, changes, mixing)
        return modular_rank(changes, ring.prime)

    def _gradients(self, ring: NilpotentModular, vector: np.ndarray) -> np.ndarray:
        state = self.system.unflatten(ring, vector)
        return self.system.flatten(ring, self.system.field(ring, state, self._units))


def kernel_test(
    metric: ModularMetric, laws: Sequence[Law], point: np.ndarray, prime: int, seed: int = 0
) -> KernelTest:
    """The kernel criterion at a point of residues (D,), which may lie on a special level set.

    Args:
        metric: of the architecture.
        laws: the laws; their gradients cut the kernel down.
        point: residues modulo `prime`.
        prime: below $2^{31}$.
        seed: recorded, and used where combinations are drawn.
    """
    ring = NilpotentModular(prime)
    jacobian = metric.jacobian(ring, point)
    gradients = np.concatenate(
        [law.gradients_mod_p(point, prime) for law in laws] or [np.zeros((0, len(point)), dtype=np.int64)]
    )
    kernel = modular_nullspace(np.concatenate([jacobian, gradients]), prime)
    rng = np.random.default_rng([seed, prime, 6])
    return KernelTest(
        dimension=len(point),
        rank_phi=modular_rank(jacobian, prime),
        rank_laws=modular_rank(gradients, prime),
        fibre=len(kernel),
        defect=metric.defect(ring, point, kernel, rng),
        prime=prime,
        seed=seed,
    )


def generic_kernel_tests(metric: ModularMetric, laws: Sequence[Law], seed: int = 0) -> tuple[KernelTest, ...]:
    """The test at random points modulo different primes, until two of them agree; the agreeing ones come first.

    The ranks of the Jacobians can only be too small at an unlucky point, with probability at most degree / p.

    Raises:
        DivisionByZeroInRing: denominators of φ vanish at six points drawn.
    """
    tests: list[KernelTest] = []
    for prime in usable_primes(metric.system, (DEFAULT_PRIME, SECOND_PRIME), seed):
        test = kernel_test(metric, laws, random_point(metric.system, prime, seed), prime, seed)
        agreeing = [other for other in tests if other.ranks == test.ranks]
        if agreeing:
            return (*agreeing, test)
        tests.append(test)
    raise AssertionError("the primes never end")


def product_mod(ring: NilpotentModular, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The product of two matrices of residues."""
    return ring.matmul(a[None, None, None], b[None, None, None])[0, 0, 0]
