"""Laws as JSON types, and back: exact, with fractions as text."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

from ...exact.rings.polynomials import SparsePolynomial
from ..law import Law
from ..matrix_terms import Term


def law_record(law: Law) -> dict[str, Any]:
    record: dict[str, Any] = {
        "kind": law.kind,
        "name": law.name,
        "statement": law.statement,
        "verified": law.verified,
    }
    if law.terms is not None:
        record["terms"] = [
            dataclasses.asdict(term) | {"coefficient": str(term.coefficient)} for term in law.terms
        ]
    else:
        record["entries"] = [
            [_polynomial_record(part) for part in (entry if law.is_rational else (entry,))]
            for entry in law.polynomials
        ]
    return record


def law_of_record(record: Mapping[str, Any], blocks: tuple[tuple[str, tuple[int, ...]], ...]) -> Law:
    plain = {key: record[key] for key in ("kind", "name", "statement", "verified")}
    if "terms" in record:
        terms = tuple(
            Term(
                coefficient=Fraction(term["coefficient"]),
                form=term["form"],
                blocks=tuple(term["blocks"]),
                batch=tuple(term["batch"]),
                axes=tuple(term["axes"]),
                time=term["time"],
            )
            for term in record["terms"]
        )
        return Law(**plain, blocks=blocks, terms=terms)
    entries = [tuple(map(_polynomial_of_record, parts)) for parts in record["entries"]]
    rational = record["kind"] == "rational"
    return Law(**plain, blocks=blocks, entries=tuple(parts if rational else parts[0] for parts in entries))


def _polynomial_record(polynomial: SparsePolynomial) -> list[list[Any]]:
    return [[list(monomial), str(value)] for monomial, value in polynomial.terms.items()]


def _polynomial_of_record(terms: Sequence[Sequence[Any]]) -> SparsePolynomial:
    return SparsePolynomial({tuple(monomial): Fraction(value) for monomial, value in terms})
