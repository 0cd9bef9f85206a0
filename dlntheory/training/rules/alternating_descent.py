"""`AlternatingDescent`: gradient steps of one block of factors after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, ClassVar, Unpack

import equinox as eqx
import jax.numpy as jnp

from ...architecture import Architecture
from ...laws.law import Law
from ..base import State
from ..law_change import LawChange, form_of, taylor
from ..settings import Settings, Training, checked_number
from .descent import AbstractDescent


class AlternatingDescent(AbstractDescent):
    r"""Block coordinate descent: step $k$ moves the factors of block $k \bmod B$ by $-\eta e_l g_l$, the others rest.

    One step takes the time $\eta/B$, so that one cycle is the time $\eta$. Quadratic laws of gradient flow, which
    balance several factors, are lost at first order within a cycle: their change is Taylor's formula in the step.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        blocks: names of the factors that move together, in their order; by default each factor alone.
        **settings: `weight_decay`, `rates` and `schedule` of `Training`; decay is that of the block that moves.

    Raises:
        ValueError: a number out of range, blocks that do not hold every factor once, or what `GradientFlow` refuses.
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    blocks: tuple[tuple[str, ...], ...] = eqx.field(static=True)
    label: ClassVar[str] = "alternating descent"

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        blocks: Sequence[Sequence[str]] | None = None,
        **settings: Unpack[Settings],
    ):
        if settings.get("decoupled"):
            raise ValueError("Argument `decoupled` must be False for alternating descent, but is True.")
        self.blocks = tuple((name,) for name in arch.shapes) if blocks is None else tuple(map(tuple, blocks))
        named = [name for block in self.blocks for name in block]
        if sorted(named) != sorted(arch.shapes):
            raise ValueError(
                f"Argument `blocks` must hold each of the factors {list(arch.shapes)} once, but has {named}."
            )
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    @property
    def time_step(self) -> Any:
        return self.learning_rate / len(self.blocks)

    def memory(self, theta: Mapping[str, Any]) -> State:
        return {"turn": jnp.zeros(())}

    def update(
        self,
        eta: Mapping[str, Any],
        theta: State,
        memory: State,
        gradient: Callable[[State], State],
        numbers: Mapping[str, Any],
    ) -> tuple[State, State]:
        slope, turn = gradient(theta), memory["turn"]
        mine = {name: float(place) for place, block in enumerate(self.blocks) for name in block}
        after = {
            name: theta[name] - jnp.where(turn == mine[name], eta[name], 0.0) * slope[name] for name in theta
        }
        return after, {"turn": jnp.where(turn + 1.0 < len(self.blocks), turn + 1.0, 0.0)}

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def law_change(self, law: Law) -> LawChange:
        return taylor(self, form_of(self, law))
