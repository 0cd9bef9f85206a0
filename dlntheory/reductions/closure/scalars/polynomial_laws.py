"""Conservation laws among scalar observables: combinations of them, and of products of two."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import sympy

from ....exact.linear_algebra import DEFAULT_PRIME, combined, modular_nullspace, modular_rank
from ....exact.polynomial_span import Samples
from ....exact.rings.polynomials import SparsePolynomial, sum_of_products
from ..closed_system import ObservableLaw
from .monomial_sums import combination_expression, table
from .scalar_equations import EntryClosure

_MAX_PRODUCTS = 400
_ONE = SparsePolynomial({(): 1})


def polynomial_laws(
    closure: EntryClosure, dimension: int, symbols: Sequence[sympy.Symbol], seed: int = 0
) -> tuple[ObservableLaw, ...]:
    """Functionally independent combinations of the observables, then of products of two, that are conserved.

    Args:
        closure: the observables and their equations.
        dimension: the number of parameters.
        symbols: what the observables are called.
        seed: determines the points.
    """
    size = len(closure.generators)
    singles = [(n,) for n in range(size)]
    pairs = list(itertools.combinations_with_replacement(range(size), 2))
    polynomials = [generator.polynomial for generator in closure.generators]
    directions = len(closure.pieces)
    count = (size + len(pairs)) // max(1, directions) + 10
    samples = Samples(dimension, count, DEFAULT_PRIME, np.random.default_rng(seed))
    values = np.array([samples.values(p) for p in polynomials])
    rates = _rates(closure, samples, values)
    found, gradients = [], np.zeros((0, dimension), dtype=np.int64)
    for monomials in (singles, singles + pairs):
        if len(monomials) > _MAX_PRODUCTS:
            break
        columns = [_rate(samples, values, rates, monomial).ravel() for monomial in monomials]
        for vector in modular_nullspace(np.array(columns).T.reshape(-1, len(monomials)), samples.prime):
            fractions = combined(vector[None], [samples.prime])
            if fractions is None:
                continue
            terms = {m: value for m, value in zip(monomials, fractions, strict=True) if value}
            polynomial = sum_of_products(
                (polynomials[m[0]].scaled(value), polynomials[m[1]] if len(m) > 1 else _ONE)
                for m, value in terms.items()
            )
            grown = np.concatenate([gradients, samples.gradient(polynomial)[:, 0][None]])
            if modular_rank(grown, samples.prime) > len(gradients):
                gradients = grown
                found.append(_entry_law(symbols, terms))
    return tuple(found)


def _rates(closure: EntryClosure, samples: Samples, values: np.ndarray) -> np.ndarray:
    """(pieces, observables, points) derivatives of the observables along the pieces of $z$."""
    rates = np.zeros((len(closure.pieces), len(closure.generators), samples.count), dtype=np.int64)
    for (generator, piece), entry in closure.table.items():
        for monomial, value in entry.items():
            scale = value.numerator * pow(value.denominator, -1, samples.prime) % samples.prime
            rates[piece, generator] += samples.monomial(values, monomial) * scale % samples.prime
    return rates % samples.prime


def _rate(samples: Samples, values: np.ndarray, rates: np.ndarray, monomial: tuple[int, ...]) -> np.ndarray:
    """(pieces, points) derivatives of a product of observables."""
    total = np.zeros((len(rates), samples.count), dtype=np.int64)
    for place, factor in enumerate(monomial):
        rest = samples.monomial(values, monomial[:place] + monomial[place + 1 :])
        total = (total + rates[:, factor] * rest) % samples.prime
    return total


def _entry_law(symbols: Sequence[sympy.Symbol], terms: Mapping[tuple[int, ...], Fraction]) -> ObservableLaw:
    one = table([terms], len(symbols))

    def value(state: Mapping[str, Any]) -> Any:
        return one(state["o"])[0]

    expression = combination_expression(dict(terms), symbols)
    return ObservableLaw(str(expression), sympy.latex(expression), value)
