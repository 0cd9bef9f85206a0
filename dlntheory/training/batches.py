"""Batches of starts: parameters whose arrays have leading axes in common are run together, as one problem."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import is_traced
from ..architecture import Architecture
from .backends.compiling import Compiled
from .base import AbstractTrainingRule, State


class Start(NamedTuple):
    """Where a run starts.

    Attributes:
        state: of the rule; with one leading axis where it is a batch.
        batch_shape: the leading axes of the parameters as given; `()` for a single start.
    """

    state: State
    batch_shape: tuple[int, ...]

    @property
    def is_batched(self) -> bool:
        """Whether there are several starts, or one in an array of length 1."""
        return bool(self.batch_shape)


@Compiled
def _initial(rule: AbstractTrainingRule, batch: State) -> State:
    return jax.vmap(rule.initial)(batch)


def start_of(rule: AbstractTrainingRule, theta0: Any, *, check: bool = True) -> Start:
    """The checked start of a run, single or a batch. Not jit-compatible.

    Args:
        rule: what will run.
        theta0: parameters; where every array has the same additional leading axes, a batch.
        check: check the condition of a reduction, of each member of a batch.

    Raises:
        ValueError: malformed parameters, or traced ones.
        ConditionError: a start does not meet the condition of a reduction; a note names the member.
    """
    refuse_traced(rule, theta0)
    arch = rule.architecture
    shape = batch_shape(arch, theta0)
    if not shape:
        # Through the class: to bind a method of a module takes longer than all else here.
        checked = type(rule).check_start(rule, theta0) if check else arch.check(theta0)
        state = {
            name: leaf if isinstance(leaf, jax.Array) else jnp.asarray(leaf)
            for name, leaf in type(rule).initial(rule, checked).items()
        }
        return Start(state, ())
    named = arch.named(theta0)
    flat = {name: np.asarray(named[name]).reshape(-1, *own) for name, own in arch.shapes.items()}
    if check and type(rule).check_start is not AbstractTrainingRule.check_start:
        for number in range(math.prod(shape)):
            try:
                rule.check_start({name: leaf[number] for name, leaf in flat.items()})
            except ValueError as error:
                error.add_note(f"(at member {np.unravel_index(number, shape)} of the batch of starts)")
                raise
    # The checks of one start look at types and finite entries alone: what holds for the flattest holds for all.
    for name, leaf in flat.items():
        if leaf.dtype.kind not in "fiub":
            raise ValueError(f"Argument `theta0['{name}']` must be real, but has dtype {leaf.dtype}.")
        if bad := int(np.sum(~np.isfinite(leaf))):
            raise ValueError(
                f"Argument `theta0['{name}']` must be finite, but {bad} of {leaf.size} entries are not."
            )
    dtype = jnp.result_type(float)
    state = _initial(rule, {name: leaf.astype(dtype) for name, leaf in flat.items()})
    return Start(dict(state), shape)


def check_first_loss(rule: AbstractTrainingRule, losses: Any) -> None:
    """Raise unless the loss is a number at the start: a solver would only tell of a step size that became too small."""
    if bad := int(np.sum(~np.isfinite(np.asarray(losses)))):
        where = "it is not" if np.ndim(losses) == 0 else f"{bad} of {len(losses)} starts have none"
        raise ValueError(
            f"Argument `theta0` must have a finite loss for {rule.label} of {rule.architecture.name}, but {where}: "
            "check the loss and the start, `loss(arch(theta0))`."
        )


def batch_shape(arch: Architecture, theta0: Any) -> tuple[int, ...]:
    """The leading axes that all arrays have beyond the shapes of the architecture; `()` for a single start.

    Raises:
        ValueError: some arrays have them and others do not, or they differ, or one has length 0.
    """
    named = arch.named(theta0)
    shapes = arch.shapes
    if not isinstance(named, Mapping) or set(named) != set(shapes):
        return ()
    leading = {}
    for name, own in shapes.items():
        given = np.shape(named[name])
        if len(given) <= len(own) or given[len(given) - len(own) :] != own:
            return ()
        leading[name] = given[: len(given) - len(own)]
    if len(set(leading.values())) > 1:
        raise ValueError(
            "Argument `theta0` must have the same leading axes in every array to be a batch of starts, but has "
            f"{leading}."
        )
    shape = next(iter(leading.values()))
    if 0 in shape:
        raise ValueError(f"Argument `theta0` must hold at least one start, but has leading axes {shape}.")
    return shape


def refuse_traced(*trees: Any) -> None:
    """Raise if anything is traced: a verb that looks at values cannot run inside a transformation.

    Raises:
        ValueError: an array is traced; the message says what to call instead.
    """
    if any(is_traced(leaf) for tree in trees for leaf in jax.tree.leaves(tree)):
        raise ValueError(
            "Arguments of `solve`, `iterate` and `compare` must be arrays with values, but some are traced by jit, "
            "vmap or grad: these verbs check, time and report, and run on the host. Inside a transformation call "
            "`dlntheory.training.states_at(rule, theta0, ts)`; for many starts give `theta0` a leading axis."
        )


def unbatched(leaves: Any, shape: tuple[int, ...], *, has_time: bool) -> Any:
    """Arrays (time, members, …) or (members, …) of a batch in the form (*batch, time, …) or (*batch, …)."""
    if not shape:
        return leaves

    def one(leaf: Any) -> np.ndarray:
        array = np.asarray(leaf)
        array = np.moveaxis(array, 1, 0) if has_time else array
        return array.reshape(*shape, *array.shape[1:])

    return jax.tree.map(one, leaves)
