"""Sums of monomials of scalar observables: as tables that JAX evaluates, and in SymPy."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from .scalar_equations import Combination


@dataclasses.dataclass(frozen=True)
class Table:
    """Sums of monomials: `sums[owner] += coefficient * product of variables[rows]`, index -1 for the factor 1.

    Attributes:
        rows: (terms, factors) indices of variables; the number of variables stands for the factor 1.
        coefficients: (terms,) floats.
        owner: (terms,) which sum a term belongs to.
        size: the number of sums.
    """

    rows: np.ndarray
    coefficients: np.ndarray
    owner: np.ndarray
    size: int

    def __call__(self, variables: Any, weights: Any = None) -> Any:
        """The sums, each term multiplied by its weight if given."""
        extended = jnp.concatenate([variables, jnp.ones(1, variables.dtype)])
        terms = jnp.asarray(self.coefficients) * jnp.prod(extended[self.rows], axis=1)
        terms = terms if weights is None else terms * weights
        return jnp.zeros(self.size, variables.dtype).at[self.owner].add(terms)


def table(sums: Sequence[Mapping[tuple[int, ...], Fraction]], variables: int) -> Table:
    """The table of polynomials in so many variables."""
    terms = [(m, value, n) for n, one in enumerate(sums) for m, value in one.items()]
    width = max([len(monomial) for monomial, _, _ in terms], default=1) or 1
    rows = np.full((len(terms), width), variables)
    for row, (monomial, _, _) in zip(rows, terms, strict=True):
        row[: len(monomial)] = monomial
    return Table(
        rows,
        np.array([float(value) for _, value, _ in terms]),
        np.array([owner for _, _, owner in terms], dtype=np.int64),
        len(sums),
    )


def combination_expression(combination: Combination, symbols: Sequence[sympy.Symbol]) -> sympy.Expr:
    """A polynomial of the observables in SymPy."""
    return sympy.Add(
        *(
            sympy.Rational(value.numerator, value.denominator) * sympy.Mul(*(symbols[g] for g in monomial))
            for monomial, value in combination.items()
        )
    )
