"""Words in named matrices, and combinations of them, in plain text and in LaTeX."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from fractions import Fraction

from sympy.printing.latex import translate

from ...display.text import latex_escaped
from .terms import Word


def word_text(word: Word) -> str:
    """`W2 W1`, `U V^T`; `1` for the empty word."""
    return " ".join(name + ("^T" if flipped else "") for name, flipped in word) or "1"


def word_latex(word: Word) -> str:
    """The word in LaTeX."""
    return " ".join(letter_latex(name) + (r"^{\top}" if flipped else "") for name, flipped in word) or "I"


def letter_latex(name: str) -> str:
    """The name of a letter in LaTeX: `W12` is $W_{12}$, `Q[0]` is $Q_{0}$."""
    stem, bracket, inside = name.partition("[")
    digits = stem[len(stem.rstrip("0123456789")) :]
    stem = stem[: len(stem) - len(digits)]
    indices = [digits] if digits else []
    if bracket:
        indices.append(inside.rstrip("]").replace(":", r"\cdot"))
    subscript = f"_{{{','.join(indices)}}}" if indices else ""
    greek = translate(stem)
    if greek != stem or len(stem) == 1:
        return greek + subscript
    return rf"\mathrm{{{latex_escaped(stem)}}}{subscript}"


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
