"""`Builder`: assembles a `Program`, one ring operation at a time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from .float_fractions import exact_array
from .program import Instruction


@dataclass(frozen=True)
class Entry:
    """A value that depends on the inputs: its slot in the program under construction, and its shape."""

    slot: int
    shape: tuple[int, ...]


class Builder:
    """Collects instructions. A value is an `Entry`, or a concrete array that JAX has computed."""

    def __init__(self, input_shapes: list[tuple[int, ...]]):
        self.inputs = [Entry(slot, tuple(shape)) for slot, shape in enumerate(input_shapes)]
        self.instructions: list[Instruction] = []

    def emit(
        self, operation: str, operands: list[Entry], *parameters: Any, shape, products: int = 0
    ) -> Entry:
        slots = tuple(operand.slot for operand in operands)
        self.instructions.append(Instruction(operation, slots, parameters, tuple(shape), products))
        return Entry(len(self.inputs) + len(self.instructions) - 1, tuple(shape))

    def entry(self, value: Any) -> Entry:
        """The value in the program: a concrete array becomes a constant of exact fractions."""
        if isinstance(value, Entry):
            return value
        fractions = exact_array(np.asarray(value))
        return self.emit("constant", [], fractions, shape=fractions.shape)

    def reshape(self, value: Any, shape) -> Any:
        if not isinstance(value, Entry):
            return np.reshape(np.asarray(value), shape)
        return (
            value if value.shape == tuple(shape) else self.emit("reshape", [value], tuple(shape), shape=shape)
        )

    def take(self, sources: list[Any], indices: np.ndarray) -> Entry:
        """Entries of the sources laid out flat one after another, at the positions `indices`."""
        if not all(isinstance(source, Entry) for source in sources):
            sources = _without_unused(sources, indices)
        entries = [self.entry(source) for source in sources]
        size = int(np.prod(entries[0].shape))
        if len(entries) == 1 and np.array_equal(np.ravel(indices), np.arange(size)):
            return self.reshape(entries[0], indices.shape)
        return self.emit("take", entries, indices, shape=indices.shape)

    def rearrange(self, value: Any, arrange: Any) -> Any:
        """What the function `arrange`, which only moves entries of a NumPy array, makes of a value."""
        if not isinstance(value, Entry):
            return arrange(np.asarray(value))
        return self.take([value], arrange(np.arange(int(np.prod(value.shape))).reshape(value.shape)))

    def broadcast(self, value: Any, shape) -> Any:
        if isinstance(value, Entry) and value.shape == tuple(shape):
            return value
        return self.rearrange(value, lambda x: np.broadcast_to(x, shape))

    def row(self, value: Any, index: int) -> Any:
        """The slice at an index of the first axis."""
        return self.rearrange(value, lambda x: x[index])

    def add(self, a: Any, b: Any, shape) -> Entry:
        operands = [self.entry(self.broadcast(x, shape)) for x in (a, b)]
        return self.emit("add", operands, shape=shape)

    def neg(self, a: Any) -> Entry:
        entry = self.entry(a)
        return self.emit("neg", [entry], shape=entry.shape)

    def mul(self, a: Any, b: Any, shape) -> Any:
        if any(not isinstance(x, Entry) and not np.any(np.asarray(x)) for x in (a, b)):
            return np.zeros(shape)
        operands = [self.entry(self.broadcast(x, shape)) for x in (a, b)]
        return self.emit("mul", operands, shape=shape, products=int(np.prod(shape)))

    def sum(self, a: Any, axes) -> Entry:
        entry = self.entry(a)
        kept = tuple(n for axis, n in enumerate(entry.shape) if axis not in axes)
        return self.emit("sum", [entry], tuple(axes), shape=kept) if axes else entry

    def matmul(self, a: Any, b: Any) -> Entry:
        left, right = self.entry(a), self.entry(b)
        (batch, m, k), n = left.shape, right.shape[2]
        return self.emit("matmul", [left, right], shape=(batch, m, n), products=batch * m * k * n)

    def power(self, a: Any, exponent: int) -> Entry:
        entry = self.entry(a)
        if exponent == 0:
            return self.entry(np.ones(entry.shape))
        squarings = abs(exponent).bit_length() + abs(exponent).bit_count() - 2
        return self.emit(
            "power", [entry], exponent, shape=entry.shape, products=squarings * int(np.prod(entry.shape))
        )

    def reciprocal(self, a: Any) -> Entry:
        entry = self.entry(a)
        return self.emit("reciprocal", [entry], shape=entry.shape, products=int(np.prod(entry.shape)))

    def sum_of_entries(self, value: Any, positions: np.ndarray) -> Entry:
        """Sums over axis 0 of the entries at `positions`, where -1 stands for zero."""
        entry = self.entry(value)
        zero = int(np.prod(entry.shape))
        return self.sum(self.take([entry, np.zeros(())], np.where(positions < 0, zero, positions)), (0,))

    def stack(self, values: list[Any]) -> Any:
        """The values along a new first axis; concrete if they all are."""
        if not any(isinstance(value, Entry) for value in values):
            return np.stack([np.asarray(value) for value in values])
        shape = np.shape(values[0]) if not isinstance(values[0], Entry) else values[0].shape
        count = len(values) * int(np.prod(shape))
        return self.take(values, np.arange(count).reshape(len(values), *shape))


def _without_unused(sources: list[Any], indices: np.ndarray) -> list[Any]:
    """Constants with zeros where nothing is taken: `where` and padding name numbers that are never used, nan among
    them."""
    kept, start = [], 0
    for source in sources:
        size = int(np.prod(source.shape)) if isinstance(source, Entry) else np.size(source)
        if not isinstance(source, Entry) and np.asarray(source).dtype.kind == "f":
            used = np.zeros(size, dtype=bool)
            used[indices[(indices >= start) & (indices < start + size)] - start] = True
            source = np.where(used.reshape(np.shape(source)), source, 0.0)
        kept.append(source)
        start += size
    return kept
