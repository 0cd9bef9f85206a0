"""Factors of sparse polynomials over the rationals, by python-flint."""

from __future__ import annotations

import flint

from .rings.polynomials import SparsePolynomial


def factors(polynomial: SparsePolynomial) -> list[tuple[SparsePolynomial, int]]:
    """The irreducible factors over the rationals that are not constant, with their exponents.

    Args:
        polynomial: not zero.

    Raises:
        ValueError: the polynomial is zero.

    Example:
        >>> square = SparsePolynomial({(0, 0): 1, (1, 1): -1})
        >>> sorted(str(factor) for factor, _ in factors(square))
        ['x0 + x1', 'x0 - x1']
    """
    if not polynomial:
        raise ValueError("Argument `polynomial` must not be zero, but is.")
    variables = polynomial.variables
    if not variables:
        return []
    place = {variable: position for position, variable in enumerate(variables)}
    context = flint.fmpq_mpoly_ctx.get([("x", len(variables))], flint.Ordering.lex)
    terms = {}
    for monomial, value in polynomial.terms.items():
        exponents = [0] * len(variables)
        for variable in monomial:
            exponents[place[variable]] += 1
        terms[tuple(exponents)] = value
    _, found = context.from_dict(terms).factor()
    return [(_back(factor, variables).primitive(), int(exponent)) for factor, exponent in found]


def _back(polynomial: flint.fmpq_mpoly, variables: tuple[int, ...]) -> SparsePolynomial:
    return SparsePolynomial(
        {
            tuple(
                variable
                for variable, count in zip(variables, exponents, strict=True)
                for _ in range(int(count))
            ): value
            for exponents, value in polynomial.to_dict().items()
        }
    )
