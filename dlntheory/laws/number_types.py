"""`Numbers`: scalars and flat arrays of one number type, floats of JAX or exact, for the change of laws."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import flint
import jax
import jax.numpy as jnp
import numpy as np
import sympy

from ..exact import exact_array
from ..exact.float_fractions import object_array
from ..exact.rings.polynomials import SparsePolynomial, as_fmpq


class Numbers:
    """One number type for all that enters a prediction: floats of JAX, or one exact type."""

    def __init__(self, arrays: Sequence[Any]):
        held = [array if isinstance(array, jax.Array) else np.asarray(array) for array in arrays]
        self.floats = any(isinstance(array, jax.Array) or array.dtype.kind == "f" for array in held)
        entries = [] if self.floats else [entry for array in held for entry in array.ravel().tolist()]
        kinds = (SparsePolynomial, sympy.Basic, flint.fmpq)
        present = (kind for kind in kinds if any(isinstance(entry, kind) for entry in entries))
        self.kind = next(present, Fraction)

    def scalar(self, value: Any) -> Any:
        """A number of the rule or of the law in this type."""
        if self.floats:
            return value if isinstance(value, jax.Array) else float(value)
        if isinstance(value, self.kind):
            return value
        if isinstance(value, sympy.Basic) and not value.is_Rational:
            raise ValueError(f"Argument `rule` must hold numbers where the point does, but holds {value}.")
        fraction = exact_array(np.asarray(value, dtype=object)).item()
        if self.kind is SparsePolynomial:
            return SparsePolynomial({(): fraction})
        if self.kind is sympy.Basic:
            return sympy.Rational(fraction.numerator, fraction.denominator)
        return as_fmpq(fraction) if self.kind is flint.fmpq else fraction

    def each(self, values: Sequence[Any]) -> Any:
        """A flat array of scalars."""
        scalars = [self.scalar(value) for value in values]
        return jnp.asarray(scalars, dtype=float) if self.floats else object_array(scalars, (len(scalars),))

    def flat(self, arrays: Sequence[Any]) -> Any:
        """Arrays laid out one after another."""
        if not self.floats:
            return self.each([entry for array in arrays for entry in np.asarray(array).ravel().tolist()])
        exact = lambda array: array if isinstance(array, jax.Array) else np.asarray(array).astype(float)
        return jnp.concatenate([jnp.ravel(jnp.asarray(exact(array), dtype=float)) for array in arrays])

    def total(self, products: Any, owner: np.ndarray, size: int) -> Any:
        """Sums of the products that belong to each entry."""
        if self.floats:
            return jax.ops.segment_sum(products, jnp.asarray(owner), num_segments=size)
        sums = [self.scalar(0)] * size
        for place, product in zip(owner.tolist(), products, strict=True):
            sums[place] = sums[place] + product
        return object_array(sums, (size,))
