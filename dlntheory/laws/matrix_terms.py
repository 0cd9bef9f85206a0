r"""`Term`: a Gram matrix, norm, sum or Noether form of named blocks, with its entries as index arrays.

The same term is needed as an exact polynomial, as a derivative modulo a prime and as a JAX value. The first two read
the index arrays of `indexed`; the third, `factor_value`, multiplies matrices.
"""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

Blocks = tuple[tuple[str, tuple[int, ...]], ...]
TIME = "s"


@dataclasses.dataclass(frozen=True)
class Term:
    r"""A coefficient times one form of one or two blocks.

    With the axes of a block split into `batch`, at most one of `axes` and the rest:

    | form | entries |
    | --- | --- |
    | `"gram"` | $\sum_{rest} x_{\beta a r} x_{\beta b r}$, or $\sum_{rest} x_{\beta r}^2$ without an axis |
    | `"sum"` | $\sum_{rest} x_{\beta r}$ |
    | `"symmetric"` | $W + W^\top$ |
    | `"autocorrelation"` | $\sum_i w_i w_{i+s}$, cyclic, $s = 0, …, \lfloor n/2 \rfloor$ |
    | `"product"` | $\sum_{rest} x_{a r} y_{b r}$, $\sum x y$ without axes, $x \odot y$ if all axes are batch |
    | `"skew"` | $\sum_{rest} x_{\beta a r} y_{\beta b r} - x_{\beta b r} y_{\beta a r}$ |

    Attributes:
        coefficient: a rational number.
        form: see above.
        blocks: names of the one or two blocks.
        batch: axes whose index is shared.
        axes: the axis of each block that carries the free index.
        time: the power of the coordinate `s` that multiplies it.
    """

    coefficient: Fraction
    form: str
    blocks: tuple[str, ...]
    batch: tuple[int, ...] = ()
    axes: tuple[int, ...] = ()
    time: int = 0

    def scaled(self, coefficient: Fraction) -> Term:
        """The same form with another coefficient."""
        return dataclasses.replace(self, coefficient=coefficient)

    def label(self, blocks: Blocks) -> str:
        """The name of the form for `matrix_form`: `"gram-left"` is $W^\\top W$, `"gram-right"` $W W^\\top$."""
        rank = len(dict(blocks)[self.blocks[0]])
        if self.form == "gram" and self.axes and not self.batch:
            if rank == 1:
                return "outer"
            return {0: "gram-right", 1: "gram-left"}[self.axes[0]] if rank == 2 else f"gram-{self.axes[0]}"
        if self.form in ("gram", "sum") and not self.axes:
            if len(self.batch) == rank:
                return "square" if self.form == "gram" else "entry"
            if not self.batch:
                return "norm" if self.form == "gram" else "sum"
            if rank == 2 and self.form == "gram":
                return "diag-left" if self.batch == (1,) else "diag-right"
            if rank == 2:
                return "column-sum" if self.batch == (1,) else "row-sum"
        axes = "".join(f"-{axis}" for axis in self.axes)
        return self.form + axes + "".join(f"-batch{axis}" for axis in self.batch)


def term_of_label(
    coefficient: Fraction, names: Any, label: str, shapes: Mapping[str, tuple[int, ...]]
) -> Term:
    """The term that `Term.label` calls so, for matrices and vectors.

    Raises:
        ValueError: an unknown block, or a label that its shape does not have.
    """
    names = (names,) if isinstance(names, str) else tuple(names)
    if unknown := [name for name in names if name not in shapes]:
        raise ValueError(f"Argument `terms` must name blocks of {list(shapes)}, but names {unknown}.")
    rank = len(shapes[names[0]])
    everything = tuple(range(rank))
    matrix = {
        "gram-left": ("gram", (), (1,)),
        "gram-right": ("gram", (), (0,)),
        "diag-left": ("gram", (1,), ()),
        "diag-right": ("gram", (0,), ()),
        "column-sum": ("sum", (1,), ()),
        "row-sum": ("sum", (0,), ()),
    }
    always = {
        "square": ("gram", everything, ()),
        "norm": ("gram", (), ()),
        "entry": ("sum", everything, ()),
        "sum": ("sum", (), ()),
    }
    known = always | (matrix if rank == 2 else {}) | ({"outer": ("gram", (), (0,))} if rank == 1 else {})
    if label not in known:
        raise ValueError(
            f"Argument `terms` must use one of the labels {sorted(known)} for '{names[0]}' of shape "
            f"{shapes[names[0]]}, but uses {label!r}."
        )
    form, batch, axes = known[label]
    return Term(coefficient, form, names, batch, axes)


def indexed(term: Term, blocks: Blocks, chosen: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The independent entries of a form, without its coefficient, as sums of signed monomials.

    Args:
        term: the form.
        blocks: names and shapes of the arrays that hold the coordinates.
        chosen: which independent entries; all by default.

    Returns:
        Coordinates (entries, summands, degree), with the index D for a factor 1, and signs (summands,).
    """
    positions, _ = _positions(blocks)
    axes = term.axes or (None,) * len(term.blocks)
    arrays = [
        _arranged(positions[name], term.batch, axis) for name, axis in zip(term.blocks, axes, strict=True)
    ]
    first, last = arrays[0], arrays[-1]
    pick = slice(None) if chosen is None else chosen
    if term.form == "symmetric":
        square = positions[term.blocks[0]]
        a, b = (index[pick] for index in np.triu_indices(len(square)))
        indices = np.stack([square[a, b], square[b, a]], axis=1)[..., None]
    elif term.form == "autocorrelation":
        vector = positions[term.blocks[0]]
        shifted = np.stack([np.roll(vector, -shift) for shift in range(len(vector) // 2 + 1)])[pick]
        indices = np.stack(np.broadcast_arrays(vector, shifted), axis=2)
    elif term.form == "sum":
        indices = first[pick, 0, :, None]
    else:
        n, m = first.shape[1], last.shape[1]
        if term.form == "product":
            a, b = (index.ravel() for index in np.indices((n, m)))
        else:
            a, b = np.triu_indices(n, k=1 if term.form == "skew" else 0)
        beta = np.repeat(np.arange(len(first)), len(a))[pick]
        a, b = np.tile(a, len(first))[pick], np.tile(b, len(first))[pick]
        indices = np.stack([first[beta, a], last[beta, b]], axis=-1)
        if term.form == "skew":
            indices = np.concatenate([indices, np.stack([first[beta, b], last[beta, a]], axis=-1)], axis=1)
    signs = np.ones(indices.shape[1], dtype=np.int64)
    if term.form == "skew":
        signs[len(signs) // 2 :] = -1
    if term.time:
        clock = np.full((*indices.shape[:2], term.time), positions[TIME], dtype=np.int64)
        indices = np.concatenate([indices, clock], axis=2)
    return indices, signs


def value_shape(term: Term, blocks: Blocks) -> tuple[int, ...]:
    """The shape of the value: the shared axes, then the free ones."""
    shapes = dict(blocks)
    first = shapes[term.blocks[0]]
    if term.form == "symmetric":
        return first
    if term.form == "autocorrelation":
        return (first[0] // 2 + 1,)
    batch = tuple(first[axis] for axis in term.batch)
    if not term.axes:
        return batch
    last = shapes[term.blocks[-1]][term.axes[-1]]
    return (*batch, first[term.axes[0]], last)


def value_triangle(term: Term, blocks: Blocks) -> np.ndarray:
    """Flat positions of the independent entries in the value, in the order of `indexed`."""
    shape = value_shape(term, blocks)
    size = math.prod(shape)
    if term.form not in ("gram", "symmetric", "skew") or (term.form != "symmetric" and not term.axes):
        return np.arange(size)
    n = shape[-1]
    upper = np.ravel_multi_index(np.triu_indices(n, k=1 if term.form == "skew" else 0), (n, n))
    return (np.arange(size // n**2)[:, None] * n**2 + upper).ravel()


def factor_value(term: Term, params: Mapping[str, Any]) -> jax.Array:
    """The value of the form, without its coefficient, by matrix products."""
    arrays = [jnp.asarray(params[name]) for name in term.blocks]
    first = arrays[0]
    if term.form == "symmetric":
        value = first + first.T
    elif term.form == "autocorrelation":
        shifts = [jnp.sum(first * jnp.roll(first, -shift)) for shift in range(first.shape[0] // 2 + 1)]
        value = jnp.stack(shifts)
    else:
        parts = [
            _arranged(array, term.batch, axis)
            for array, axis in zip(arrays, term.axes or (None,) * len(arrays), strict=True)
        ]
        left, right = parts[0], parts[-1]
        if term.form == "sum":
            value = jnp.sum(left, axis=2)
        else:
            value = jnp.einsum("bik,bjk->bij", left, right)
            if term.form == "skew":
                value = value - jnp.swapaxes(value, 1, 2)
        batch = tuple(first.shape[axis] for axis in term.batch)
        value = jnp.reshape(value, batch + (tuple(value.shape[1:]) if term.axes else ()))
    if term.time:
        value = jnp.asarray(params[TIME]) ** term.time * value
    return value


def _arranged(array: Any, batch: tuple[int, ...], axis: int | None) -> Any:
    """The array as (batch, free index, rest)."""
    free = () if axis is None else (axis,)
    rest = tuple(k for k in range(array.ndim) if k not in (*batch, *free))
    shape = [math.prod(array.shape[k] for k in group) for group in (batch, free, rest)]
    return array.transpose(*batch, *free, *rest).reshape(shape)


@functools.lru_cache(maxsize=32)
def _positions(blocks: Blocks) -> tuple[dict[str, np.ndarray], int]:
    positions, start = {}, 0
    for name, shape in blocks:
        size = math.prod(shape)
        positions[name] = np.arange(start, start + size).reshape(shape)
        start += size
    return positions, start


def kind_of(terms: tuple[Term, ...]) -> str:
    """The kind of a law that is a combination of these terms: `matrix`, `diagonal`, `norm`, `linear`, …"""
    forms = {term.form for term in terms}
    if "skew" in forms:
        return "noether"
    if forms <= {"sum", "symmetric"}:
        return "linear"
    if "autocorrelation" in forms:
        return "polynomial"
    first = next(term for term in terms if term.form not in ("sum", "symmetric"))
    if first.axes:
        return "matrix"
    return "diagonal" if first.batch else "norm"
