r"""Rational fields without their denominators: $Q_j X_j$ in place of each generator $X_j$.

Multiplying a generator by a function that is not zero changes neither which functions are conserved along it nor the
Lie algebra over the field of rational functions (T4).
"""

from __future__ import annotations

from collections.abc import Iterable

from ..exact.rings.fractions import Quotient, Quotients
from ..exact.rings.polynomials import Monomial, SparsePolynomial


def cleared(ring: Quotients, components: Iterable[Quotient], dimension: int) -> tuple[SparsePolynomial, ...]:
    """The components of a combination of generators, each of them times its own least denominator.

    Args:
        ring: where the components are from.
        components: of the combined field; the combination is the variables from `dimension` on, and enters the
            numerators only.
        dimension: the number of coordinates.

    Raises:
        TooManyTermsError: the numerators are too large.
        ValueError: a denominator depends on the combination.
    """
    fields = list(components)
    for number in {number for field in fields for number in field.powers}:
        if any(variable >= dimension for variable in ring.bases[number].variables):
            raise ValueError(
                f"Argument `components` must have denominators in the {dimension} coordinates only, but "
                f"{ring.bases[number]} holds another variable."
            )
    generators: dict[Monomial, dict[int, Quotient]] = {}
    for place, field in enumerate(fields):
        for name, top in _by_generator(field.top, dimension).items():
            generators.setdefault(name, {})[place] = Quotient(top, field.powers)
    terms: list[dict[Monomial, object]] = [{} for _ in fields]
    for name, entries in generators.items():
        tops, _ = ring.reduced(ring.common(list(entries.values())))
        for place, top in zip(entries, tops, strict=True):
            terms[place] |= {monomial + name: value for monomial, value in top.terms.items()}
    return tuple(SparsePolynomial(part) for part in terms)


def _by_generator(polynomial: SparsePolynomial, dimension: int) -> dict[Monomial, SparsePolynomial]:
    """The coefficients of the monomials in the variables from `dimension` on."""
    parts: dict[Monomial, dict[Monomial, object]] = {}
    for monomial, value in polynomial.terms.items():
        split = sum(variable < dimension for variable in monomial)
        parts.setdefault(monomial[split:], {})[monomial[:split]] = value
    return {name: SparsePolynomial(terms) for name, terms in parts.items()}
