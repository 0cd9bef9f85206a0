"""`AbstractLoss`, and the checks of arguments that all losses and data sets share."""

from __future__ import annotations

import abc
import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, choice, real_array
from ..display.displayed import Displayed

Reduction = Literal["mean", "sum"]


class AbstractLoss(Displayed, eqx.Module):
    """A loss $f(z)$ of the end-to-end map $z$: a pure scalar function whose data are the leaves of a pytree.

    Every subclass is final. Losses built from data of equal shape have equal tree structure, so a function
    compiled for one serves the other, and a stack of them can be mapped over with `jax.vmap`. Hand a loss to
    a compiled function as an argument; to compile the loss itself, use `equinox.filter_jit(loss)`.
    """

    @abc.abstractmethod
    def __call__(self, z) -> jax.Array:
        """The value $f(z)$. Jit-compatible, and so are its derivatives."""

    @property
    @abc.abstractmethod
    def conventions(self) -> str:
        """The factors in words (one half, mean or sum, n, whitened), for printing beside every result."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.conventions})"

    def _facts(self) -> list[tuple[str, str]]:
        leaves = {
            field.name: getattr(self, field.name)
            for field in dataclasses.fields(self)
            if getattr(getattr(self, field.name), "ndim", 0)
        }
        held = ", ".join(f"{name} {' x '.join(map(str, leaf.shape))}" for name, leaf in leaves.items())
        return [("conventions", self.conventions)] + [("holds", held)] * bool(held)


def checked_array(value: Any, argument: str, *, finite: bool = True) -> np.ndarray:
    """`value` as a new float64 NumPy array whose squares are numbers, booleans as 0 and 1."""
    return real_array(value, argument, finite=finite, booleans=True, largest=SQUARABLE)


def checked_rows(value: Any, argument: str, *, vector_is_column: bool = False) -> np.ndarray:
    """A matrix whose rows are samples; a vector counts as one column where `vector_is_column`."""
    array = checked_array(value, argument)
    if array.ndim == 1 and vector_is_column:
        array = array[:, None]
    if array.ndim != 2:
        allowed = "(samples, columns) or (samples,)" if vector_is_column else "(samples, columns)"
        raise ValueError(f"Argument `{argument}` must have shape {allowed}, but has shape {array.shape}.")
    return array


def checked_pair(inputs: Any, targets: Any) -> tuple[np.ndarray, np.ndarray]:
    """Inputs (n, d_0) and targets (n, d_L) with equally many rows."""
    rows, columns = checked_rows(inputs, "inputs"), checked_rows(targets, "targets", vector_is_column=True)
    check_same_samples(rows, columns, "targets")
    return rows, columns


def check_same_samples(inputs: np.ndarray, other: np.ndarray, argument: str) -> None:
    if len(inputs) != len(other):
        raise ValueError(
            f"Argument `{argument}` must have one row per row of `inputs` ({len(inputs)}), "
            f"but has {len(other)}."
        )


def check_reduction(reduction: str) -> None:
    choice(reduction, ("mean", "sum"), "reduction")


def check_full_rank(singular_values: np.ndarray, shape: tuple[int, int]) -> None:
    """Raise unless inputs of this shape with these singular values can be whitened, saying the rank."""
    samples, dimension = shape
    largest = float(np.max(singular_values))
    rank = int(np.sum(singular_values > largest * max(shape) * np.finfo(float).eps))
    if rank == dimension:
        return
    smallest = float(np.min(singular_values)) if len(singular_values) == dimension else 0.0
    condition = (largest / smallest) ** 2 if smallest > 0 else np.inf
    raise ValueError(
        f"Argument `inputs` must have a second moment Sxx of full rank {dimension} to be whitened, but its "
        f"rank is {rank} (condition number {condition:.1e}, {samples} samples). Drop constant or dependent "
        "columns, or do without whitening."
    )


def as_map(z: Any, shape: tuple[int, ...], loss: str) -> jax.Array:
    """`z` of this shape (outputs, inputs); a vector (inputs,) counts as a map to one output."""
    array = jnp.asarray(z)
    if array.ndim == 1 and shape[0] == 1:
        array = array[None, :]
    if array.shape != shape:
        also = f" or ({shape[1]},)" if shape[0] == 1 else ""
        raise ValueError(
            f"Argument `z` of this {loss} must have shape {shape}{also} (outputs, inputs), "
            f"but has shape {jnp.shape(z)}."
        )
    return array


def reduced(values: jax.Array, reduction: str) -> jax.Array:
    return jnp.mean(values) if reduction == "mean" else jnp.sum(values)


def over_samples(reduction: str, samples: Any) -> str:
    """`mean over n = 100 samples of`; a stack of losses with different n shows the range."""
    counts = np.asarray(samples)
    low, high = int(counts.min()), int(counts.max())
    return f"{reduction} over n = {low if low == high else f'{low}..{high}'} samples of"
