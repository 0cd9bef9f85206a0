r"""$\varphi$, laws and $M$ at float points without compiling anything: φ interpreted over complex numbers.

A derivative is the imaginary part of a value at $\theta + i\varepsilon v$ with $\varepsilon = 10^{-30}$: exact to
rounding for polynomial and rational maps, since nothing is subtracted.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np

from ...architecture import Architecture
from ...exact import AbstractRing, Program
from ...laws import Law
from ...laws.vjp import vjp_program

_STEP = 1e-30


class Floats(AbstractRing):
    """Real or complex floats in batches: a ring array is a NumPy array with one leading axis of points."""

    def from_fractions(self, values: np.ndarray) -> np.ndarray:
        return np.array([float(value) for value in values.ravel()]).reshape(1, *values.shape)

    def shape(self, x: np.ndarray) -> tuple[int, ...]:
        return x.shape[1:]

    def reshape(self, x: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        return x.reshape(len(x), *shape)

    def take(self, sources: list[np.ndarray], indices: np.ndarray) -> np.ndarray:
        batch = max(map(len, sources))
        flat = [np.broadcast_to(x.reshape(len(x), -1), (batch, x[0].size)) for x in sources]
        return np.concatenate(flat, axis=1)[:, indices]

    def add(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a + b

    def neg(self, a: np.ndarray) -> np.ndarray:
        return -a

    def mul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a * b

    def reciprocal(self, x: np.ndarray) -> np.ndarray:
        return 1 / x

    def sum(self, x: np.ndarray, axes: tuple[int, ...]) -> np.ndarray:
        return x.sum(axis=tuple(axis + 1 for axis in axes))

    def matmul(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        return a @ b


class Monomials:
    """A vector of polynomials as flat arrays: fast values and gradients at float points.

    Args:
        entries: `SparsePolynomial`s.
        dimension: the number of variables.
    """

    def __init__(self, entries: Sequence[Any], dimension: int):
        degree = max((entry.degree for entry in entries), default=0)
        parts = [entry.arrays(dimension, degree) for entry in entries]
        empty = np.zeros((0, degree), dtype=np.int64)
        self._places = np.concatenate([places for places, _ in parts] or [empty])
        self._owners = np.repeat(np.arange(len(parts)), [len(values) for _, values in parts])
        self._values = np.array([int(v.p) / int(v.q) for _, values in parts for v in values])
        self._shape = (len(parts), dimension)

    def __call__(self, vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Values (entries,) and gradients (entries, D)."""
        entries, dimension = self._shape
        factors = np.append(vector, 1.0)[self._places]
        values = np.zeros(entries)
        np.add.at(values, self._owners, self._values * factors.prod(axis=1))
        gradients = np.zeros((entries, dimension + 1))
        for place in range(factors.shape[1]):
            others = np.delete(factors, place, axis=1).prod(axis=1)
            np.add.at(gradients, (self._owners, self._places[:, place]), self._values * others)
        return values, gradients[:, :dimension]


class InterpretedMetric:
    r"""$\varphi$ and laws as functions of one flat vector, with their derivatives, for a polynomial or rational φ.

    Args:
        arch: the architecture.
        laws: its laws.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
    """

    def __init__(self, arch: Architecture, laws: Sequence[Law]):
        self.arch = arch
        self._ring = Floats()
        self._units = np.eye(int(np.prod(arch.output_shape))).reshape(-1, *arch.output_shape)
        self._laws = [_law_parts(law) for law in laws]

    @functools.cached_property
    def _phi(self) -> Program:
        return self.arch.traced.program

    @functools.cached_property
    def _pullback(self) -> Program:
        return vjp_program(self.arch)

    def values(self, vector: np.ndarray) -> tuple[np.ndarray, ...]:
        r"""$\varphi$ (outputs,), $h$ (entries,), $\partial\varphi$ (outputs, D) and $\partial h$ (entries, D)."""
        phi = self._phi.evaluate(self._ring, self._state(vector)).ravel()
        found = [_law_values(parts, vector) for parts in self._laws]
        h = np.concatenate([np.zeros(0), *(values for values, _ in found)])
        gradients = np.concatenate([np.zeros((0, len(vector))), *(rows for _, rows in found)])
        return phi, h, self._jacobian(vector), gradients

    def tangent(self, vector: np.ndarray, direction: np.ndarray) -> np.ndarray:
        r"""The derivative of $\partial\varphi$ along one direction, (outputs, D)."""
        return np.imag(self._jacobian(vector + 1j * _STEP * direction)) / _STEP

    def _jacobian(self, vector: np.ndarray) -> np.ndarray:
        gradient = self._pullback.evaluate(self._ring, self._state(vector), self._units)
        count = len(self._units)
        rows = [
            np.broadcast_to(gradient[name], (count, *shape)).reshape(count, -1)
            for name, shape in self.arch.named_shapes
        ]
        return np.concatenate(rows, axis=1)

    def _state(self, vector: np.ndarray) -> dict[str, np.ndarray]:
        return {name: part[None] for name, part in unravelled(self.arch, vector).items()}


def unravelled(arch: Architecture, vector: np.ndarray) -> dict[str, np.ndarray]:
    """The factors in NumPy; slicing in JAX would compile a program for each of them."""
    sizes = [int(np.prod(shape)) for _, shape in arch.named_shapes]
    parts = np.split(vector, np.cumsum(sizes)[:-1])
    return {name: part.reshape(shape) for (name, shape), part in zip(arch.named_shapes, parts, strict=True)}


def _law_parts(law: Law) -> tuple[Monomials, ...]:
    if law.is_rational:
        tops, bottoms = zip(*law.polynomials, strict=True)
        return Monomials(tops, law.dimension), Monomials(bottoms, law.dimension)
    return (Monomials(law.polynomials, law.dimension),)


def _law_values(parts: tuple[Monomials, ...], vector: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    top, rows = parts[0](vector)
    if len(parts) == 1:
        return top, rows
    bottom, below = parts[1](vector)
    quotient = top / bottom
    return quotient, (rows - quotient[:, None] * below) / bottom[:, None]
