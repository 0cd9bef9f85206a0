r"""Products of matrices: whether $\varphi = W_L \cdots W_1$, decided exactly, and in which order."""

from __future__ import annotations

import functools
import itertools
from collections import Counter

import numpy as np
from jax.extend import core

from .._errors import UnsupportedPrimitiveError
from .linear_algebra import DEFAULT_PRIME
from .reading import read_program
from .rings.base import DivisionByZeroInRing
from .rings.multidual import NilpotentModular
from .traced import TracedMap
from .words.reading import WordForm, read_words

#: `dimension_numbers` of a matrix product: the last axis of the left factor meets the first of the right one.
_MATRIX_PRODUCT = (((1,), (0,)), ((), ()))


@functools.lru_cache(maxsize=256)
def is_product(traced: TracedMap, names: tuple[str, ...]) -> bool:
    r"""Whether φ is the product of these factors, first one rightmost, and JAX differentiates it as such.

    Compared at two random points modulo a prime: a float comparison would accept $W_2 W_1 + 10^{-14} W_3$.

    Args:
        traced: φ.
        names: matrices that can be multiplied.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational, or JAX's derivative is not that of its value.
    """
    written = _written_product(traced)
    if written is not None:
        return written == names
    reading = read_program(traced)
    first, last = names[0], names[-1]
    shape = (traced.shapes[last][0], traced.shapes[first][1])
    if reading.frozen or reading.program.is_rational or shape != traced.output_shape:
        return False
    ring, rng = NilpotentModular(DEFAULT_PRIME), np.random.default_rng(1)
    theta = {
        name: ring.from_integers(rng.integers(0, ring.prime, (2, *shape)))
        for name, shape in traced.shapes.items()
    }
    product = theta[first][:, :, None]
    for name in names[1:]:
        product = ring.matmul(theta[name][:, :, None], product)
    return bool(np.all(reading.program.evaluate(ring, theta) == product[:, :, 0]))


def _written_product(traced: TracedMap) -> tuple[str, ...] | None:
    """The factors, first one rightmost, of a φ whose code is nothing but products of matrices; else `None`.

    Such a φ needs no arithmetic: deep or wide networks are recognised at once.
    """
    jaxpr = traced.jaxpr.jaxpr
    factors: dict[core.Var, tuple[str, ...]] = {
        variable: (name,)
        for variable, (name, shape) in zip(jaxpr.invars, traced.shapes.items(), strict=True)
        if len(shape) == 2
    }
    for eqn in jaxpr.eqns:
        is_product = (
            eqn.primitive.name == "dot_general" and eqn.params["dimension_numbers"] == _MATRIX_PRODUCT
        )
        if not is_product or any(
            isinstance(atom, core.Literal) or atom not in factors for atom in eqn.invars
        ):
            return None
        left, right = eqn.invars
        factors[eqn.outvars[0]] = factors[right] + factors[left]
    (output,) = jaxpr.outvars
    return None if isinstance(output, core.Literal) else factors.get(output)


@functools.lru_cache(maxsize=256)
def recognised_chain(traced: TracedMap) -> tuple[str, ...] | None:
    r"""The names of $W_1, …, W_L$ if φ is the product of all its factors, each once and as it is stored, else
    `None`."""
    shapes = traced.shapes
    if any(len(shape) != 2 for shape in (*shapes.values(), traced.output_shape)):
        return None
    # In a chain every hidden width is once a number of rows and once one of columns: most φ are dismissed here.
    rows, columns = (
        Counter(shape[0] for shape in shapes.values()),
        Counter(shape[1] for shape in shapes.values()),
    )
    rows[traced.output_shape[1]] += 1
    columns[traced.output_shape[0]] += 1
    if rows != columns:
        return None
    written = _written_product(traced)
    if written is not None:
        return written if sorted(written) == sorted(shapes) else None
    try:
        form = read_words(traced)
        if not isinstance(form, WordForm) or len(form.words) != 1:
            return None
        word = tuple(name for name, _ in form.words[0])
        if sorted(word) != sorted(shapes):
            return None
        # Where all factors are numbers a word and its transpose look alike.
        for names in (word[::-1], word):
            fits = all(shapes[b][1] == shapes[a][0] for a, b in itertools.pairwise(names))
            if fits and is_product(traced, names):
                return names
    except (UnsupportedPrimitiveError, DivisionByZeroInRing):
        return None
    return None
