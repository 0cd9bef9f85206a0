"""Conservation laws among the observables: combinations of traces, or of the observables and their products."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
import sympy

from ...exact.float_fractions import simplest_fraction
from ...exact.linear_algebra import DEFAULT_PRIME, combined, modular_nullspace, modular_rank
from ...exact.polynomial_span import Samples
from ...exact.rings.polynomials import SparsePolynomial, sum_of_products
from ...exact.words.reading import Word
from ...exact.words.terms import transpose
from .scalars.scalar_system import EntrySystem, combination_expression, table
from .words.matrix_system import WordSystem, flow_of, weighted_text
from .words.scalar_law_rewriting import Product, Rule, normal_form

_MAX_LETTERS = 8
_MAX_CANDIDATES = 150
_MAX_PRODUCTS = 400
_ONE = SparsePolynomial({(): 1})


@dataclasses.dataclass(frozen=True, eq=False)
class ObservableLaw:
    """A function of the observables that training does not change.

    Attributes:
        text: plain text, such as `tr A - tr B`.
        latex: LaTeX.
        value: maps a state of the closed system to the number. Pure.
    """

    text: str
    latex: str
    value: Callable[[Mapping[str, Any]], Any] = dataclasses.field(repr=False)


def word_relations(system: WordSystem) -> tuple[ObservableLaw, ...]:
    """Combinations of traces of products of observables that are conserved, whatever the widths.

    Exact over the rationals: the derivative of each trace is written in words, and the kernel is taken.
    """
    rules = system.closure.rules
    candidates: dict[Any, Product] = {}
    for product in _closed_products(system):
        key = frozenset(trace_form(_joined(product), rules).items())
        candidates.setdefault(key, product)
    products = list(candidates.values())[:_MAX_CANDIDATES]
    if not products:
        return ()
    flow = flow_of(system)
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
            found.append(_trace_law(system, terms))
    return tuple(found)


def entry_relations(system: EntrySystem, seed: int = 0) -> tuple[ObservableLaw, ...]:
    """Functionally independent combinations of the observables, then of products of two, that are conserved."""
    closure, size = system.closure, system.numbers
    singles = [(n,) for n in range(size)]
    pairs = list(itertools.combinations_with_replacement(range(size), 2))
    polynomials = [generator.polynomial for generator in closure.generators]
    directions = len(closure.pieces)
    count = (size + len(pairs)) // max(1, directions) + 10
    samples = Samples(system.dimension, count, DEFAULT_PRIME, np.random.default_rng(seed))
    values = np.array([samples.values(p) for p in polynomials])
    rates = _rates(system, samples, values)
    found, gradients = [], np.zeros((0, system.dimension), dtype=np.int64)
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
                found.append(_entry_law(system, terms))
    return tuple(found)


def _rates(system: EntrySystem, samples: Samples, values: np.ndarray) -> np.ndarray:
    """(pieces, observables, points) derivatives of the observables along the pieces of $z$."""
    closure = system.closure
    rates = np.zeros((len(closure.pieces), system.numbers, samples.count), dtype=np.int64)
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


def _closed_products(system: WordSystem) -> list[Product]:
    """Products of observables whose trace exists, short ones first."""
    words = list(system.names)
    pieces = list(dict.fromkeys([*words, *(transpose(word) for word in words)]))
    shape = system.closure.form.shape_of
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


def _trace_law(system: WordSystem, terms: Sequence[tuple[Fraction, Product]]) -> ObservableLaw:
    def value(state: Mapping[str, Any]) -> Any:
        return sum(float(weight) * jnp.trace(system.multiplied(product, state)) for weight, product in terms)

    texts = [(weight, f"tr({system.product_text(product)})") for weight, product in terms]
    formulas = [
        (weight, rf"\operatorname{{tr}}({system.product_latex(product)})") for weight, product in terms
    ]
    return ObservableLaw(weighted_text(texts), weighted_text(formulas, latex=True), value)


def _entry_law(system: EntrySystem, terms: Mapping[tuple[int, ...], Fraction]) -> ObservableLaw:
    one = table([terms], system.numbers)

    def value(state: Mapping[str, Any]) -> Any:
        return one(state["o"])[0]

    expression = combination_expression(dict(terms), system.symbols)
    return ObservableLaw(str(expression), sympy.latex(expression), value)
