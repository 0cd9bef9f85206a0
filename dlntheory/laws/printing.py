"""How laws are written: canonical scale and order, plain text and LaTeX in the names of the factors."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction

import numpy as np

from ..display.latex import latex_name
from ..exact.rings.polynomials import SparsePolynomial, monomial_order
from .matrix_terms import TIME, Blocks, Term

Shapes = Mapping[str, tuple[int, ...]]


def canonical(coefficients: Sequence[Fraction]) -> list[Fraction]:
    """The multiple with coprime integers and a positive first nonzero entry."""
    denominator = math.lcm(*(value.denominator for value in coefficients))
    content = math.gcd(*(int(value * denominator) for value in coefficients)) or 1
    first = next((value for value in coefficients if value), Fraction(1))
    return [value * denominator / content * (1 if first > 0 else -1) for value in coefficients]


def minimal_span_basis(rows: Sequence[Sequence[Fraction]]) -> list[list[Fraction]]:
    r"""A basis of the row space in which all first and all last nonzero places are distinct.

    It turns $w_1^2 - w_4^2, w_2^2 - w_4^2, w_3^2 - w_4^2$ into differences of neighbours.

    Args:
        rows: linearly independent rows, in echelon form.
    """
    basis = [list(row) for row in rows]
    for last in reversed(range(len(basis[0]) if basis else 0)):
        ending = [i for i, row in enumerate(basis) if row[last] and not any(row[last + 1 :])]
        # In echelon form the lowest of them starts last, so that subtracting it moves no other start.
        for i in ending[:-1]:
            ratio = basis[i][last] / basis[ending[-1]][last]
            basis[i] = [a - ratio * b for a, b in zip(basis[i], basis[ending[-1]], strict=True)]
    return basis


def text_sum(terms: Sequence[Term], shapes: Shapes) -> str:
    """The combination in plain text: `W2^T W2 - W1 W1^T`."""
    clocks = {power: TIME + (f"^{power}" if power > 1 else "") for power in {t.time for t in terms}}
    groups = [(clocks[power], list(group)) for power, group in itertools.groupby(terms, lambda t: t.time)]
    if len(groups) == 1 and groups[0][1][0].time:
        inner = _joined([(t.coefficient, _text(t, shapes), _is_sum(t)) for t in terms], "*")
        return f"{groups[0][0]} ({inner})"
    parts = []
    for term in terms:
        body, loose = _text(term, shapes), _is_sum(term)
        if term.time:
            body, loose = clocks[term.time] + (f" ({body})" if loose else f" {body}"), False
        parts.append((term.coefficient, body, loose))
    return _joined(parts, "*")


def latex_sum(terms: Sequence[Term], shapes: Shapes, time: str = TIME) -> str:
    """The combination in LaTeX; `time` stands for the coordinate `s` of a momentum system."""

    def clock(power: int) -> str:
        return time if power == 1 else rf"({time})^{{{power}}}"

    powers = {term.time for term in terms}
    if len(powers) == 1 and (power := min(powers)):
        inner = _joined([(t.coefficient, _latex(t, shapes), _is_sum(t)) for t in terms], r"\,")
        return rf"{clock(power)} \bigl({inner}\bigr)"
    parts = []
    for term in terms:
        body, loose = _latex(term, shapes), _is_sum(term)
        if term.time:
            body, loose = clock(term.time) + (rf" \bigl({body}\bigr)" if loose else rf"\,{body}"), False
        parts.append((term.coefficient, body, loose))
    return _joined(parts, r"\,", (r"\bigl(", r"\bigr)"))


def latex_polynomial(polynomial: SparsePolynomial, blocks: Blocks) -> str:
    """An explicit polynomial in LaTeX."""
    names = [latex_name(name, index) for name, shape in blocks for index in np.ndindex(*shape)]
    parts = []
    for monomial in sorted(polynomial.terms, key=monomial_order):
        value = polynomial.terms[monomial]
        powers = [(names[variable], len(list(group))) for variable, group in itertools.groupby(monomial)]
        factors = [base if count == 1 else f"{{{base}}}^{{{count}}}" for base, count in powers]
        parts.append((Fraction(int(value.p), int(value.q)), " ".join(factors) or "1", False))
    return _joined(parts, r"\,") or "0"


def _joined(
    parts: Sequence[tuple[Fraction, str, bool]], product: str, brackets: tuple[str, str] = ("(", ")")
) -> str:
    """Coefficients and bodies as one sum; a body that is itself a sum gets brackets."""
    pieces: list[str] = []
    for coefficient, body, loose in parts:
        size = abs(coefficient)
        sign = "-" if coefficient < 0 else "+"
        if loose and (size != 1 or sign == "-"):
            body = brackets[0] + body + brackets[1]
        if size != 1:
            # LaTeX puts fractions upright only with a macro; plain a/b reads well in both.
            body = str(size) if body == "1" else f"{size}{product}{body}"
        if pieces:
            pieces.append(f" {sign} {body}")
        else:
            pieces.append(body if sign == "+" else f"-{body}")
    return "".join(pieces)


def _is_sum(term: Term) -> bool:
    return term.form in ("symmetric", "skew")


def _text(term: Term, shapes: Shapes) -> str:
    names = list(term.blocks)
    return _formula(term, shapes, names, _PLAIN)


def _latex(term: Term, shapes: Shapes) -> str:
    return _formula(term, shapes, [latex_name(name) for name in term.blocks], _LATEX)


_PLAIN = {
    "T": "{0}^T",
    "times": " ",
    "unfold": "{0}_({1})",
    "diag": "diag({0})",
    "norm": "|{0}|^2",
    "square": "{0}*{0}",
    "had": "{0}*{1}",
    "dot": "<{0}, {1}>",
    "ones": "1",
    "star": "autocorr({0})",
    "each": "({0})_{1}",
    "sum": "sum({0})",
}
_LATEX = {
    "T": r"{0}^\top",
    "times": " ",
    "unfold": r"{{{0}}}_{{({1})}}",
    "diag": r"\operatorname{{diag}}({0})",
    "norm": r"\lVert {0} \rVert^2",
    "square": r"{0} \odot {0}",
    "had": r"{0} \odot {1}",
    "dot": r"\langle {0}, {1} \rangle",
    "ones": r"\mathbf{{1}}",
    "star": r"{0} \star {0}",
    "each": r"\bigl({0}\bigr)_{{{1}}}",
    "sum": r"\mathbf{{1}}^\top {0}",
}


def _formula(term: Term, shapes: Shapes, names: list[str], style: Mapping[str, str]) -> str:
    ranks = [len(shapes[block]) for block in term.blocks]
    first, last, rank = names[0], names[-1], ranks[0]
    if term.form == "symmetric":
        return f"{first} + {style['T'].format(first)}"
    if term.form == "autocorrelation":
        return style["star"].format(first)
    if not term.axes:
        return _without_axes(term, rank, first, last, style)

    def row(name: str, block_rank: int, axis: int, front: bool) -> str:
        """A block with its free index in front, or behind."""
        free = block_rank - len(term.batch)
        name = name.strip()
        if free == 1:
            return name if front else style["T"].format(name)
        if free == 2:
            others = [k for k in range(block_rank) if k not in term.batch]
            turned = axis == others[0] if not front else axis == others[1]
            return style["T"].format(name) if turned else name
        name = style["unfold"].format(name, axis + 1)
        return name if front else style["T"].format(name)

    def product(a: str, b: str) -> str:
        return row(a, ranks[0], term.axes[0], True) + style["times"] + row(b, ranks[-1], term.axes[-1], False)

    if term.form == "skew":
        # x_a y_b - x_b y_a; the second matrix is the transpose of the first.
        second = (
            row(last, ranks[-1], term.axes[-1], True) + style["times"] + row(first, rank, term.axes[0], False)
        )
        body = f"{product(first, last)} - {second}"
    else:
        body = product(first, last)
    return style["each"].format(body, _batch_name(term)) if term.batch else body


def _without_axes(term: Term, rank: int, first: str, last: str, style: Mapping[str, str]) -> str:
    entrywise = len(term.batch) == rank
    if term.form == "product":
        return style["had" if entrywise and rank else "dot"].format(first, last)
    if term.form == "sum":
        if entrywise:
            return first
        if rank == 2 and term.batch:
            transposed_one = style["T"].format(style["ones"].format())
            return f"{transposed_one} {first}" if term.batch == (1,) else f"{first} {style['ones'].format()}"
        total = style["sum"].format(first)
        return style["each"].format(total, _batch_name(term)) if term.batch else total
    if entrywise:
        return style["square"].format(first)
    if not term.batch:
        return style["norm"].format(first)
    if rank == 2:
        flipped = style["T"].format(first)
        return style["diag"].format(f"{flipped} {first}" if term.batch == (1,) else f"{first} {flipped}")
    if len(term.batch) == 1:
        unfolded = style["unfold"].format(first, term.batch[0] + 1)
        return style["diag"].format(f"{unfolded} {style['T'].format(unfolded)}")
    return style["each"].format(style["norm"].format(first), _batch_name(term))


def _batch_name(term: Term) -> str:
    return "".join("ijkl"[place] for place, _ in enumerate(term.batch))
