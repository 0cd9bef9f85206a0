r"""All laws of degree at most two of systems with several hundred coordinates.

$h = \theta^\top A\theta/2$ is a law of gradient flow if and only if $D\varphi(\theta) A\theta = 0$: these are the
symmetries of φ under $\exp(sA)$, $A$ symmetric. Linear and mixed terms are translations. The $D(D+3)/2$ unknowns are no
burden, since one term of φ alone shows most of them to be zero.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from ..deadline import UNLIMITED, Deadline
from ..law import Law
from ..proof.verification import Generators
from ..systems import AbstractSystem
from .polynomial_ansatz import laws_among

MAX_COORDINATES = 700


def quadratic_laws(
    system: AbstractSystem,
    generators: Generators,
    known: np.ndarray,
    point: np.ndarray,
    degree: int = 2,
    *,
    seed: int = 0,
    deadline: Deadline = UNLIMITED,
) -> Iterator[Law]:
    """Laws of degree 1 and 2 whose gradients are independent of known ones; still to be verified.

    Args:
        system: the training rule.
        generators: its expanded fields.
        known: gradients (n, D) of known laws at `point`, modulo the default prime.
        point: residues (D,).
        degree: 1 for linear laws only.
        seed: see `laws_among`.
        deadline: likewise.
    """
    unknowns = quadratic_monomials(generators.dimension, degree)
    yield from laws_among(system, generators, unknowns, known, point, seed=seed, deadline=deadline)


def quadratic_monomials(dimension: int, degree: int = 2) -> np.ndarray:
    """Squares, products, then single variables, as rows of two indices with D for the factor 1."""
    single = np.arange(dimension)
    linear = np.stack([single, np.full(dimension, dimension)], axis=1)
    if degree == 1:
        return linear
    i, j = np.triu_indices(dimension, k=1)
    return np.concatenate([np.stack([single, single], axis=1), np.stack([i, j], axis=1), linear])
