"""`Program`: a polynomial or rational map as straight-line code over any ring."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax

from .rings.base import AbstractRing


@dataclass(frozen=True, eq=False)
class Instruction:
    """One ring operation.

    Attributes:
        operation: name of the method of `AbstractRing`.
        operands: slots of the ring arrays that it takes.
        parameters: what follows the ring arrays in the call: indices, axes, an exponent, a shape, fractions.
        shape: shape of the result.
        products: number of scalar products it costs.
    """

    operation: str
    operands: tuple[int, ...]
    parameters: tuple[Any, ...]
    shape: tuple[int, ...]
    products: int = 0


@dataclass(frozen=True, eq=False)
class Program:
    """A polynomial or rational map as straight-line code: nothing of JAX is left in it, so it runs over any ring.

    Slots 0, 1, … hold the input arrays; instruction number i writes the slot after those and its
    predecessors'.

    Attributes:
        instructions: the code; every instruction serves some output.
        input_shapes: shapes of the flattened inputs.
        outputs: slots of the flattened outputs.
        input_tree: pytree structure of the tuple of arguments.
        output_tree: pytree structure of the result.
    """

    instructions: tuple[Instruction, ...] = field(repr=False)
    input_shapes: tuple[tuple[int, ...], ...]
    outputs: tuple[int, ...] = field(repr=False)
    input_tree: Any = field(repr=False)
    output_tree: Any = field(repr=False)

    def __post_init__(self):
        instructions, outputs = _without_dead_code(self.instructions, self.outputs, len(self.input_shapes))
        object.__setattr__(self, "instructions", instructions)
        object.__setattr__(self, "outputs", outputs)

    @property
    def products(self) -> int:
        """The number of scalar products that one evaluation costs."""
        return sum(instruction.products for instruction in self.instructions)

    @property
    def is_rational(self) -> bool:
        """Whether it divides by something that depends on the inputs."""
        return any(instruction.operation == "reciprocal" for instruction in self.instructions)

    @property
    def output_shapes(self) -> tuple[tuple[int, ...], ...]:
        """Shapes of the flattened outputs."""
        shapes = [*self.input_shapes, *(instruction.shape for instruction in self.instructions)]
        return tuple(shapes[slot] for slot in self.outputs)

    def evaluate(self, ring: AbstractRing, *arguments: Any) -> Any:
        """The map at a point of the ring.

        Args:
            ring: where to compute.
            *arguments: pytrees of ring arrays, of the structure and shapes that were traced.

        Returns:
            A pytree of ring arrays.

        Raises:
            ValueError: the structure or a shape differs from what was traced, or a denominator is zero.
            DivisionByZeroInRing: a denominator has no inverse at this point of the ring.
            TypeError: the map is rational, and the ring has no reciprocals.
        """
        leaves, tree = jax.tree_util.tree_flatten(arguments)
        if tree != self.input_tree:
            raise ValueError(
                f"Arguments must have the structure {self.input_tree} that was traced, but have {tree}."
            )
        shapes = tuple(ring.shape(leaf) for leaf in leaves)
        if shapes != self.input_shapes:
            raise ValueError(f"Arguments must have the shapes {self.input_shapes}, but have {shapes}.")
        slots: list[Any] = list(leaves)
        last_use = self._last_use()
        for position, instruction in enumerate(self.instructions, start=len(leaves)):
            slots.append(_execute(ring, instruction, [slots[slot] for slot in instruction.operands]))
            for slot in instruction.operands:
                if last_use[slot] == position:
                    slots[slot] = None
        return jax.tree_util.tree_unflatten(self.output_tree, [slots[slot] for slot in self.outputs])

    def _last_use(self) -> dict[int, int]:
        last_use = {
            slot: position
            for position, instruction in enumerate(self.instructions, start=len(self.input_shapes))
            for slot in instruction.operands
        }
        return last_use | dict.fromkeys(self.outputs, -1)


def _execute(ring: AbstractRing, instruction: Instruction, operands: list[Any]) -> Any:
    if instruction.operation == "constant":
        return ring.from_fractions(*instruction.parameters)
    if instruction.operation == "take":
        return ring.take(operands, *instruction.parameters)
    return getattr(ring, instruction.operation)(*operands, *instruction.parameters)


def needed_slots(instructions: Sequence[Instruction], outputs: Sequence[int], inputs: int) -> set[int]:
    """The slots on which some output depends."""
    needed = set(outputs)
    for position in range(len(instructions) - 1, -1, -1):
        if inputs + position in needed:
            needed.update(instructions[position].operands)
    return needed


def _without_dead_code(instructions, outputs, inputs: int):
    """The instructions that some output needs, renumbered. Derivatives leave many that none does."""
    needed = needed_slots(instructions, outputs, inputs)
    renumbered, kept = {slot: slot for slot in range(inputs)}, []
    for position, instruction in enumerate(instructions):
        if inputs + position not in needed:
            continue
        renumbered[inputs + position] = inputs + len(kept)
        operands = tuple(renumbered[slot] for slot in instruction.operands)
        kept.append(
            Instruction(
                instruction.operation,
                operands,
                instruction.parameters,
                instruction.shape,
                instruction.products,
            )
        )
    return tuple(kept), tuple(renumbered[slot] for slot in outputs)
