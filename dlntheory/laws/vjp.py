r"""Vector-Jacobian products $\partial\varphi(\theta)^\top c$ over a ring, for random combinations $c$ of outputs.

One of them runs the derivative that JAX has for φ. The others go once forward and once backward through the layers and
never form the outputs, which may be millions of paths. They have only combinations of rank one; these span all
combinations, and strings of brackets are multilinear in them, so that nothing is lost.
"""

from __future__ import annotations

import abc
import math
from typing import Any

import numpy as np

from ..architecture import Architecture
from ..exact import NilpotentModular, Program
from ..families.relu import PathLifting

RingState = dict[str, np.ndarray]


class AbstractVjp(abc.ABC):
    """How the gradient of a random combination of the outputs is computed at a point of the ring."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The route in a word, for tables."""

    @property
    @abc.abstractmethod
    def peak_memory(self) -> int:
        """The size of the largest array that one evaluation forms, for chunks that fit the memory."""

    @property
    @abc.abstractmethod
    def outputs(self) -> int:
        """The number of outputs, which bounds the rank of the gradients."""

    @abc.abstractmethod
    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> Any:
        """`batch` random combinations, at level 0."""

    @abc.abstractmethod
    def __call__(self, ring: NilpotentModular, theta: RingState, combination: Any) -> RingState:
        """The gradient of the combination, factor by factor."""

    @property
    def is_rational(self) -> bool:
        """Whether φ divides by parameters, so that there are points where it is not defined."""
        return False

    def has_good_reduction(self, prime: int) -> bool:
        """Whether no denominator of a constant of φ is divisible by `prime`."""
        return True


class InterpretedVjp(AbstractVjp):
    """The vector-Jacobian product of φ, taken by JAX before φ is read; its cotangent is the combination.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
    """

    def __init__(self, arch: Architecture):
        self._output_shape = arch.output_shape
        self._program = vjp_program(arch)
        instructions = self._program.instructions
        shapes = [*self._program.input_shapes, *(instruction.shape for instruction in instructions)]
        self._words = max(math.prod(shape) for shape in shapes)
        constants = [entry.parameters[0] for entry in instructions if entry.operation == "constant"]
        self._denominators = {value.denominator for array in constants for value in array.ravel()}

    @property
    def label(self) -> str:
        return "interpreted"

    @property
    def peak_memory(self) -> int:
        return self._words

    @property
    def outputs(self) -> int:
        return math.prod(self._output_shape)

    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> np.ndarray:
        return random_residues(ring, rng, batch, self._output_shape)

    def __call__(self, ring: NilpotentModular, theta: RingState, combination: np.ndarray) -> RingState:
        return self._program.evaluate(ring, theta, combination)

    @property
    def is_rational(self) -> bool:
        return self._program.is_rational

    def has_good_reduction(self, prime: int) -> bool:
        return all(denominator % prime for denominator in self._denominators)


class ChainVjp(AbstractVjp):
    r"""The gradient of $u^\top W_L \cdots W_1 v$ by one forward and one backward pass of vectors: $O(D)$.

    Args:
        arch: an architecture that declares a chain; factors outside it have gradient zero.

    Raises:
        ValueError: no chain is declared, or a factor occurs twice in it.
    """

    def __init__(self, arch: Architecture):
        if arch.chain is None or arch.widths is None or len(set(arch.chain)) < len(arch.chain):
            raise ValueError(
                f"Argument `arch` must declare a chain of distinct factors, but {arch.name} has {arch.chain}."
            )
        self._arch, self._chain, self._widths = arch, arch.chain, arch.widths

    @property
    def label(self) -> str:
        return "chain, forward and backward"

    @property
    def peak_memory(self) -> int:
        return max(math.prod(shape) for _, shape in self._arch.named_shapes)

    @property
    def outputs(self) -> int:
        return self._widths[0] * self._widths[-1]

    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> tuple[np.ndarray, ...]:
        return tuple(random_residues(ring, rng, batch, (n,)) for n in (self._widths[0], self._widths[-1]))

    def __call__(self, ring: NilpotentModular, theta: RingState, combination: Any) -> RingState:
        forward, backward = [combination[0]], combination[1]
        for name in self._chain[:-1]:
            forward.append(matrix_vector(ring, theta[name], forward[-1]))
        gradient = {}
        for name, vector in zip(reversed(self._chain), reversed(forward), strict=True):
            gradient[name] = outer(ring, backward, vector)
            if name != self._chain[0]:
                backward = matrix_vector(ring, transpose(theta[name]), backward)
        for name, shape in self._arch.named_shapes:
            gradient.setdefault(name, ring.constant(np.zeros(shape, dtype=np.int64)))
        return gradient


class PathVjp(AbstractVjp):
    r"""The gradient of a combination of all path products of a network, without forming the paths: $O(D)$.

    Random gates $g_l$ at the nodes of every level, and one random scalar $s_l$ for each bias level: with
    $a_0 = g_0$ and $a_l = g_l \odot (W_l a_{l-1} + s_l b_l)$, the sum of the entries of $a_L$ is a combination
    of the products along all paths, those that start at a bias included.

    Args:
        arch: a path lifting, as `relu_network` makes.

    Raises:
        ValueError: φ is not a `PathLifting`.
    """

    def __init__(self, arch: Architecture):
        # A mere declaration is not enough here: a proof rests on these being the paths of φ.
        if not isinstance(arch.phi, PathLifting):
            raise ValueError(
                f"Argument `arch` must be a path lifting (see `relu_network`), but is {arch.name}."
            )
        shapes, self._weights = arch.shapes, arch.phi.weights
        biases: list[str | None] = [*arch.phi.biases]
        self._biases = (*biases, *[None] * (len(self._weights) - len(biases)))
        self._widths = (shapes[self._weights[0]][1], *(shapes[weight][0] for weight in self._weights))

    @property
    def weights(self) -> tuple[str, ...]:
        """Names of $W_1, …, W_L$."""
        return self._weights

    @property
    def biases(self) -> tuple[str | None, ...]:
        """Names of $b_1, …, b_L$, `None` where a layer has none."""
        return self._biases

    @property
    def label(self) -> str:
        return "paths, forward and backward"

    @property
    def peak_memory(self) -> int:
        return max(a * b for a, b in zip(self._widths[1:], self._widths[:-1], strict=True))

    @property
    def outputs(self) -> int:
        from_layer = [math.prod(self._widths[layer:]) for layer in range(len(self._widths))]
        starts = [from_layer[layer] for layer, bias in enumerate(self._biases, start=1) if bias is not None]
        return from_layer[0] + sum(starts)

    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> Any:
        gates = tuple(random_residues(ring, rng, batch, (n,)) for n in self._widths)
        return gates, tuple(random_residues(ring, rng, batch, (1,)) for _ in self._weights)

    def __call__(self, ring: NilpotentModular, theta: RingState, combination: Any) -> RingState:
        gates, scalars = combination
        forward = [gates[0]]
        for layer, (weight, bias) in enumerate(zip(self._weights[:-1], self._biases[:-1], strict=True)):
            total = matrix_vector(ring, theta[weight], forward[-1])
            if bias is not None:
                total = ring.add(total, ring.mul(scalars[layer], theta[bias]))
            forward.append(ring.mul(gates[layer + 1], total))
        gradient, backward = {}, gates[-1]
        for layer in reversed(range(len(self._weights))):
            weight, bias = self._weights[layer], self._biases[layer]
            gradient[weight] = outer(ring, backward, forward[layer])
            if bias is not None:
                gradient[bias] = ring.mul(scalars[layer], backward)
            if layer:
                backward = ring.mul(gates[layer], matrix_vector(ring, transpose(theta[weight]), backward))
        return gradient


def vjp_of(arch: Architecture) -> AbstractVjp:
    """The cheapest route by what φ is: passes through the layers of a chain or a path lifting, else JAX's own."""
    if arch.chain is not None and len(set(arch.chain)) == len(arch.chain):
        return ChainVjp(arch)
    if isinstance(arch.phi, PathLifting):
        return PathVjp(arch)
    return InterpretedVjp(arch)


def vjp_program(arch: Architecture) -> Program:
    r"""The program of $(\theta, c) \mapsto \partial\varphi(\theta)^\top c$, factor by factor."""
    return arch.traced.vjp_program


def random_residues(
    ring: NilpotentModular, rng: np.random.Generator, batch: int, shape: tuple[int, ...]
) -> np.ndarray:
    """`batch` arrays of residues uniform in 1..p-1, at level 0."""
    return ring.from_integers(rng.integers(1, ring.prime, size=(batch, *shape)))


# Whatever leading axes a ring has, the last ones are those of the array, and these broadcast as in NumPy.


def matrix_vector(ring: NilpotentModular, matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
    """The product of an (m, n) and an (n,) ring array."""
    return ring.sum(ring.mul(matrix, vector[..., None, :]), (1,))


def outer(ring: NilpotentModular, left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """The (m, n) ring array of all products of an (m,) and an (n,) one."""
    return ring.mul(left[..., :, None], right[..., None, :])


def transpose(matrix: np.ndarray) -> np.ndarray:
    """The transposed matrix of a ring array."""
    return np.swapaxes(matrix, -1, -2)
