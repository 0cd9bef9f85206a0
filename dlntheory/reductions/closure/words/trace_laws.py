"""Conservation laws among matrix observables: combinations of traces of their products."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np

from ....exact.float_fractions import simplest_fraction
from ....exact.linear_algebra import DEFAULT_PRIME, combined, modular_nullspace
from ....exact.words.reading import Word
from ....exact.words.terms import transpose
from ..closed_system import ObservableLaw
from .scalar_law_rewriting import Product, Rule, normal_form
from .word_notation import WordNotation, weighted_text
from .word_search import WordFlow

_MAX_LETTERS = 8
_MAX_CANDIDATES = 150


def trace_laws(notation: WordNotation) -> tuple[ObservableLaw, ...]:
    """Combinations of traces of products of observables that are conserved, whatever the widths.

    Exact over the rationals: the derivative of each trace is written in words, and the kernel is taken.
    """
    rules = notation.closure.rules
    candidates: dict[Any, Product] = {}
    for product in _closed_products(notation):
        key = frozenset(trace_form(_joined(product), rules).items())
        candidates.setdefault(key, product)
    products = list(candidates.values())[:_MAX_CANDIDATES]
    if not products:
        return ()
    flow = WordFlow(notation.closure.form)
    columns = []
    for product in products:
        column: dict[Any, Fraction] = {}
        for (left, block, flipped, right), value in flow.derivative(_joined(product)).items():
            word = right + left
            for form, factor in _numeric_form(transpose(word) if flipped else word, rules).items():
                column[block, form] = column.get((block, form), Fraction(0)) + value * factor
        columns.append(column)
    forms = [trace_form(_joined(product), rules) for product in products]
    found = []
    for vector in _rational_kernel(columns):
        total: dict[Any, Fraction] = {}
        for weight, form in zip(vector, forms, strict=True):
            for word, value in form.items():
                total[word] = total.get(word, Fraction(0)) + weight * value
        # What the rules alone make constant is no law.
        if any(value and word for word, value in total.items()):
            terms = [(weight, product) for weight, product in zip(vector, products, strict=True) if weight]
            found.append(_trace_law(notation, terms))
    return tuple(found)


def trace_form(word: Word, rules: Sequence[Rule]) -> dict[Word, Fraction]:
    """The trace of a word in a form that equal traces share: rules applied all around, the smallest rotation."""
    pending, total = [(word, Fraction(1))], {}
    while pending:
        current, coefficient = pending.pop()
        turns = [current[i:] + current[:i] for i in range(len(current))] or [()]
        for turn, rule in itertools.product(turns, rules):
            if turn[:2] == rule.left and len(turn) > 1:
                pending.append((rule.right + turn[2:], coefficient))
                if rule.value:
                    pending.append((turn[2:], coefficient * simplest_fraction(rule.value)))
                break
        else:
            smallest = min([*turns, *(transpose(turn) for turn in turns)])
            total[smallest] = total.get(smallest, Fraction(0)) + coefficient
    return {key: value for key, value in total.items() if value}


def _numeric_form(word: Word, rules: Sequence[Rule]) -> dict[Word, Fraction]:
    values = {rule.number: simplest_fraction(rule.value) for rule in rules}
    total: dict[Word, Fraction] = {}
    for (scalars, form), coefficient in normal_form(word, rules).items():
        for number in scalars:
            coefficient = coefficient * values[number]
        total[form] = total.get(form, Fraction(0)) + coefficient
    return total


def _closed_products(notation: WordNotation) -> list[Product]:
    """Products of observables whose trace exists, short ones first."""
    words = list(notation.names)
    pieces = list(dict.fromkeys([*words, *(transpose(word) for word in words)]))
    shape = notation.closure.form.shape_of
    found = []
    for count in range(1, 4 if len(words) <= 4 else 3):
        for product in itertools.product(pieces, repeat=count):
            ends = [shape(word) for word in product]
            fits = all(a[1] == b[0] for a, b in itertools.pairwise([*ends, ends[0]]))
            if fits and sum(map(len, product)) <= max(_MAX_LETTERS, max(map(len, words))):
                found.append(product)
    return sorted(found, key=lambda product: (len(_joined(product)), len(product)))


def _joined(product: Product) -> Word:
    return tuple(letter for word in product for letter in word)


def _rational_kernel(columns: Sequence[Mapping[Any, Fraction]]) -> list[list[Fraction]]:
    """A basis of the combinations of the columns that vanish, checked over the rationals."""
    keys = list(dict.fromkeys(key for column in columns for key in column))
    matrix = np.zeros((len(keys), len(columns)), dtype=np.int64)
    place = {key: row for row, key in enumerate(keys)}
    for position, column in enumerate(columns):
        for key, value in column.items():
            matrix[place[key], position] = (
                value.numerator * pow(value.denominator, -1, DEFAULT_PRIME) % DEFAULT_PRIME
            )
    found = []
    for vector in modular_nullspace(matrix, DEFAULT_PRIME):
        fractions = combined(vector[None], [DEFAULT_PRIME])
        if fractions is None:
            continue
        total: dict[Any, Fraction] = {}
        for weight, column in zip(fractions, columns, strict=True):
            for key, value in column.items():
                total[key] = total.get(key, Fraction(0)) + weight * value
        if not any(total.values()):
            found.append(list(fractions))
    return found


def _trace_law(notation: WordNotation, terms: Sequence[tuple[Fraction, Product]]) -> ObservableLaw:
    def value(state: Mapping[str, Any]) -> Any:
        return sum(
            float(weight) * jnp.trace(notation.multiplied(product, state)) for weight, product in terms
        )

    texts = [(weight, f"tr({notation.product_text(product)})") for weight, product in terms]
    formulas = [
        (weight, rf"\operatorname{{tr}}({notation.product_latex(product)})") for weight, product in terms
    ]
    return ObservableLaw(weighted_text(texts), weighted_text(formulas, latex=True), value)
