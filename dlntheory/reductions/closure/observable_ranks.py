r"""How many of the observables are independent: everywhere, and where the conservation laws are fixed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ...exact.linear_algebra import DEFAULT_PRIME, modular_rank
from ...exact.rings.multidual import NilpotentModular
from ...exact.words.reading import Word, WordForm
from ...laws import ConservationLaws
from .scalars.scalar_equations import EntryClosure
from .scalars.scalar_search import Algebra

#: Jacobians with more entries are not examined.
MAX_ENTRIES = 4_000_000


@dataclasses.dataclass(frozen=True)
class Ranks:
    r"""Ranks of Jacobians at a random point, exact modulo a prime.

    Attributes:
        parameters: the number of parameters.
        observables: rank of $\partial O$: functionally independent observables.
        z: rank of $\partial\varphi$.
        laws: rank of $\partial h$ for the conservation laws that are known.
        observables_on_level_set: rank of $[\partial O; \partial h]$ minus that of $\partial h$.
        z_on_level_set: the same for $z$.
        laws_are_complete: whether it is proven that no law is missing.
    """

    parameters: int
    observables: int
    z: int
    laws: int
    observables_on_level_set: int
    z_on_level_set: int
    laws_are_complete: bool

    @property
    def z_suffices(self) -> bool:
        """Whether, with the laws fixed, the observables are locally functions of $z$."""
        return self.observables_on_level_set == self.z_on_level_set


@dataclasses.dataclass(frozen=True, eq=False)
class Jacobians:
    """Gradients at one point modulo a prime: (number, parameters) arrays of residues.

    Attributes:
        point: the parameters as one vector.
        observables: gradients of the observables.
        z: gradients of the entries of $z$.
    """

    point: np.ndarray
    observables: np.ndarray
    z: np.ndarray

    def rank(self) -> int:
        """The rank of the observables."""
        return modular_rank(self.observables, DEFAULT_PRIME)

    def with_laws(self, laws: ConservationLaws) -> Ranks:
        """All ranks, with the gradients of the laws at the same point."""
        size = len(self.point)
        gradients = [law.gradients_mod_p(self.point, DEFAULT_PRIME) for law in laws.laws]
        fixed = np.concatenate([*gradients, np.zeros((0, size), dtype=np.int64)])
        rank = modular_rank(fixed, DEFAULT_PRIME)
        return Ranks(
            parameters=size,
            observables=self.rank(),
            z=modular_rank(self.z, DEFAULT_PRIME),
            laws=rank,
            observables_on_level_set=modular_rank(np.concatenate([self.observables, fixed]), DEFAULT_PRIME)
            - rank,
            z_on_level_set=modular_rank(np.concatenate([self.z, fixed]), DEFAULT_PRIME) - rank,
            laws_are_complete=laws.status == "complete",
        )


def entry_jacobians(algebra: Algebra, closure: EntryClosure) -> Jacobians:
    """The gradients of the observables of a closure of entries, and of $z$."""
    pieces = algebra.jacobian(algebra.directions)
    z = np.zeros((len(closure.shares), algebra.grading.size), dtype=np.int64)
    for row, share in zip(z, closure.shares, strict=True):
        for piece, value in share.items():
            scale = value.numerator * pow(value.denominator, -1, algebra.prime) % algebra.prime
            row += pieces[piece] * scale % algebra.prime
    observables = algebra.jacobian([generator.polynomial for generator in closure.generators])
    return Jacobians(algebra.samples.points[0], observables, z % algebra.prime)


def word_jacobians(
    form: WordForm, shapes: dict[str, tuple[int, ...]], words: Sequence[Word], seed: int = 0
) -> Jacobians:
    """The gradients of the entries of words, and of $z$."""
    ring, rng = NilpotentModular(DEFAULT_PRIME), np.random.default_rng(seed)
    size = sum(math.prod(shape) for shape in shapes.values())
    point = rng.integers(0, DEFAULT_PRIME, size)
    values, places, start = {}, {}, 0
    for name, shape in shapes.items():
        where = np.arange(start, start + math.prod(shape)).reshape(shape)
        start += math.prod(shape)
        for letter, source in form.letters.items():
            if source.factor == name:
                places[letter] = source.entries(where)
                values[letter] = point[places[letter]]
    for letter, source in form.letters.items():
        if source.value is not None:
            values[letter] = ring.from_fractions(source.value)[0, 0]

    def gradient(word: Word) -> np.ndarray:
        rows, columns = form.shape_of(word)
        found = np.zeros((rows, columns, size), dtype=np.int64)
        for place, (name, flipped) in enumerate(word):
            if name not in places:
                continue
            left, right = (
                _product(ring, word[:place], values, rows),
                _product(ring, word[place + 1 :], values, columns),
            )
            where = places[name].T if flipped else places[name]
            for (i, j), variable in np.ndenumerate(where):
                outer = left[:, i, None] * right[None, j, :] % ring.prime
                found[:, :, variable] = (found[:, :, variable] + outer) % ring.prime
        return found.reshape(rows * columns, size)

    z = np.zeros((form.constant.size, size), dtype=np.int64)
    for block in form.blocks:
        for word, coefficient in block.terms.items():
            scale = coefficient.numerator * pow(coefficient.denominator, -1, ring.prime) % ring.prime
            at = block.positions.ravel()
            z[at] = (z[at] + gradient(word) * scale) % ring.prime
    observables = [gradient(word) for word in words]
    return Jacobians(point, np.concatenate(observables), z)


def _product(ring: NilpotentModular, word: Word, values: dict[str, np.ndarray], size: int) -> np.ndarray:
    if not word:
        return np.eye(size, dtype=np.int64)
    parts = [values[name].T if flipped else values[name] for name, flipped in word]
    value = parts[0][None, None, None]
    for part in parts[1:]:
        value = ring.matmul(value, part[None, None, None])
    return value[0, 0, 0]
