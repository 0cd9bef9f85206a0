"""`WordNotation`: what the observables of a closure of words are called, and how their products are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from ....display.latex import latex_name
from ....exact.words.reading import Word, canonical
from ....exact.words.terms import transpose
from .observable_names import observable_names
from .scalar_law_rewriting import Product
from .word_search import WordClosure


class WordNotation:
    """Names of observables and gradients, and products of observables as text, LaTeX and values.

    Args:
        closure: the result of the search.

    Attributes:
        closure: the same.
        names: the name of each word in the equations.
    """

    def __init__(self, closure: WordClosure):
        self.closure = closure
        given = {canonical(word) for word in closure.form.words}
        of_z = [canonical(word) in given for word in closure.observables]
        names = observable_names(sum(of_z), len(of_z) - sum(of_z), closure.form.letters)
        first, others = iter(names[: sum(of_z)]), iter(names[sum(of_z) :])
        self.names = {
            word: next(first if belongs else others)
            for word, belongs in zip(closure.observables, of_z, strict=True)
        }

    def factor_name(self, word: Word) -> tuple[str, bool]:
        """The name of an observable or constant letter that stands in a product, and whether it is transposed."""
        if word in self.names:
            return self.names[word], False
        if transpose(word) in self.names:
            return self.names[transpose(word)], True
        return word[0]

    def gradient_name(self, block: int) -> str:
        """`G`, or `G1`, `G2`, … where $z$ has several blocks; `grad` where a factor is called so."""
        names = (
            ["G"]
            if len(self.closure.form.blocks) == 1
            else [f"G{n + 1}" for n in range(len(self.closure.form.blocks))]
        )
        if set(names) & set(self.closure.form.letters):
            names = [name.replace("G", "grad") for name in names]
        return names[block]

    def product_text(self, product: Product) -> str:
        """A product of observables in plain text."""
        factors = (self.factor_name(word) for word in product)
        return " ".join(name + ("^T" if flipped else "") for name, flipped in factors) or "I"

    def product_latex(self, product: Product) -> str:
        """A product of observables in LaTeX."""
        factors = (self.factor_name(word) for word in product)
        return " ".join(
            _powers([latex_name(name) + (r"^{\top}" if flipped else "") for name, flipped in factors])
        )

    def multiplied(self, product: Product, state: Mapping[str, Any], size: int = 1) -> Any:
        """The value of a product of observables; the identity of this size if there is no factor."""
        value = None
        for word in product:
            name, flipped = self.factor_name(word)
            source = self.closure.form.letters.get(name) if name not in state else None
            matrix = (
                state[name] if source is None else jnp.asarray(np.asarray(source.value, dtype=np.float64))
            )
            matrix = matrix.T if flipped else matrix
            value = matrix if value is None else value @ matrix
        return jnp.eye(size) if value is None else value


def weighted_text(terms: Sequence[tuple[Fraction, str]], *, latex: bool = False) -> str:
    """A combination of named things in plain text or LaTeX."""
    return joined([signed(weight, text, latex=latex) for weight, text in terms])


def signed(coefficient: Fraction, text: str, *, latex: bool = False) -> str:
    """A term with its coefficient, in plain text or LaTeX."""
    size = abs(coefficient)
    if size == 1:
        shown = ""
    elif latex and size.denominator != 1:
        shown = rf"\tfrac{{{size.numerator}}}{{{size.denominator}}} "
    else:
        shown = f"{size} "
    return ("-" if coefficient < 0 else "") + shown + text


def joined(terms: list[str]) -> str:
    """Terms, each with its own sign, as a sum."""
    text = terms[0] if terms else "0"
    for term in terms[1:]:
        text += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return text


def _powers(factors: list[str]) -> list[str]:
    """Equal neighbours as powers."""
    found: list[tuple[str, int]] = []
    for factor in factors:
        if found and found[-1][0] == factor:
            found[-1] = (factor, found[-1][1] + 1)
        else:
            found.append((factor, 1))
    return [
        factor if count == 1 else f"({factor})^{{{count}}}" if "^" in factor else f"{factor}^{{{count}}}"
        for factor, count in found
    ]
