"""Derivatives of the terms of laws modulo a prime: gradients at a point, rates along fields."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from .matrix_terms import Blocks, Term, indexed


def cofactors(values: np.ndarray, weights: np.ndarray, prime: int) -> Iterator[np.ndarray]:
    """For each factor of monomials the product of their weight with all other factors, modulo a prime.

    By the product rule these are the derivatives of the monomials by the variable that stands there.

    Args:
        values: residues of the factors, the last axis over the factors of one monomial.
        weights: residues of the coefficients, of the shape of `values` without its last axis, or that broadcasts to it.
        prime: below 2^31, so that products of two residues fit 64 bits.
    """
    degree = values.shape[-1]
    for place in range(degree):
        product = np.broadcast_to(weights, values.shape[:-1])
        for other in range(degree):
            if other != place:
                product = product * values[..., other] % prime
        yield product


def gradients_of_terms(terms: Sequence[Term], blocks: Blocks, point: np.ndarray, prime: int) -> np.ndarray:
    """The gradients (entries, D) of the entries of a sum of terms at a point (D,)."""
    dimension = len(point)
    padded = np.append(point, 1)
    rows = np.zeros((len(indexed(terms[0], blocks)[0]), dimension + 1), dtype=np.int64)
    for term in terms:
        indices, signs = indexed(term, blocks)
        coefficient = term.coefficient.numerator * pow(term.coefficient.denominator, -1, prime)
        weights = (signs.astype(np.int64) * (coefficient % prime)) % prime
        for place, product in enumerate(cofactors(padded[indices], weights, prime)):
            where = np.broadcast_to(np.arange(len(indices))[:, None], product.shape)
            # Fewer than 2**31 residues are added before the reduction.
            if term.form == "gram" and not term.time:
                # One factor of each summand: within a row no coordinate occurs twice, and plain addition is faster.
                rows[where, indices[:, :, place]] += product
            else:
                np.add.at(rows, (where, indices[:, :, place]), product)
    return rows[:, :dimension] % prime


def rates_of_term(
    term: Term, blocks: Blocks, points: np.ndarray, fields: np.ndarray, prime: int, chosen: np.ndarray | None
) -> np.ndarray:
    """Derivatives of chosen entries of a term along fields (points, D), as (points, entries)."""
    indices, signs = indexed(term, blocks, chosen)
    pad = np.ones((len(points), 1), dtype=np.int64)
    x, dx = np.concatenate([points, pad], axis=1), np.concatenate([fields, 0 * pad], axis=1)
    total = np.zeros((len(points), len(indices)), dtype=np.int64)
    for place, product in enumerate(cofactors(x[:, indices], signs % prime, prime)):
        total += (product * dx[:, indices[:, :, place]] % prime).sum(axis=2) % prime
    return total % prime
