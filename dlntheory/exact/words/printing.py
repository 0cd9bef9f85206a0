"""Words in named matrices, and combinations of them, in plain text and in LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from ...display.latex import latex_name
from .terms import Word


def word_text(word: Word) -> str:
    """`W2 W1`, `U V^T`; `1` for the empty word."""
    return " ".join(name + ("^T" if flipped else "") for name, flipped in word) or "1"


def word_latex(word: Word) -> str:
    """The word in LaTeX."""
    return " ".join(latex_name(name) + (r"^{\top}" if flipped else "") for name, flipped in word) or "I"


def sum_text(terms: Mapping[Word, Fraction]) -> str:
    """A combination of words in plain text."""
    return _sum(terms, word_text, str)


def sum_latex(terms: Mapping[Word, Fraction]) -> str:
    """The same in LaTeX."""

    def number(size: Fraction) -> str:
        return str(size) if size.denominator == 1 else rf"\tfrac{{{size.numerator}}}{{{size.denominator}}}"

    return _sum(terms, word_latex, number)


def _sum(
    terms: Mapping[Word, Fraction], write: Callable[[Word], str], number: Callable[[Fraction], str]
) -> str:
    parts = []
    for word, coefficient in terms.items():
        size = abs(coefficient)
        factor = "" if size == 1 and word else f"{number(size)} " if word else number(size)
        sign = ("-" if coefficient < 0 else "") if not parts else (" - " if coefficient < 0 else " + ")
        parts.append(sign + factor + (write(word) if word else ""))
    return "".join(parts) or "0"
