r"""The word ring: arrays whose entries are sums of entries of words, products of named matrices and transposes.

An entry of an array is a number plus a rational combination of entries $(w)_{rc}$ of words $w$. Whole arrays are kept
as terms, one for a word and a coefficient, with two index arrays that say which entry of the word stands where.

Slices, transposes, stacks and broadcasts only move index arrays about. A matrix product is recognised by its
indices: the inner index of both operands has to run through the whole side of both words, each value equally often;
then $\sum_k w_{rk} v_{kc} = (wv)_{rc}$ whatever the widths are, and no sum is ever expanded. So a program is read
at the cost of moving a few integer arrays of the size of $z$. An entrywise product of two words is kept as a term
with two factors, in the hope of a sum that joins them; `einsum` and `vmap` produce such pairs. What is left of them
at the end is refused.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ..float_fractions import object_array
from ..rings.base import AbstractRing
from .terms import (
    MAX_TERMS,
    Factor,
    Letter,
    NotWordsError,
    Term,
    Word,
    coverings,
    is_constant_along_rows,
    merged,
    orientations,
    scaled,
    split_indices,
)

_MAX_VALUES = 16


@dataclasses.dataclass(frozen=True)
class WordArray:
    """An array over the word ring: `constant` (object array of `Fraction`) plus `terms`."""

    constant: np.ndarray
    terms: tuple[Term, ...] = ()


class Words(AbstractRing):
    """Arrays of sums of words. What is no such sum raises `NotWordsError` with the reason.

    Args:
        shapes: rows and columns of each letter; letters for constant matrices are added while the ring is used.

    Attributes:
        constants: the values (object arrays of `Fraction`) of the letters that stand for constant matrices.
    """

    def __init__(self, shapes: dict[str, tuple[int, int]]):
        self.shapes = dict(shapes)
        self.constants: dict[str, np.ndarray] = {}

    def letter(self, name: str, rows: np.ndarray, columns: np.ndarray) -> Term:
        """The term whose places hold the entries (rows, columns) of a letter."""
        return Term(Fraction(1), (Factor(((name, False),), rows, columns),))

    def shape_of(self, word: Word) -> tuple[int, int]:
        """Rows and columns of a word."""
        (first, first_flipped), (last, last_flipped) = word[0], word[-1]
        return self.shapes[first][int(first_flipped)], self.shapes[last][1 - int(last_flipped)]

    def from_fractions(self, values: np.ndarray) -> WordArray:
        return WordArray(values)

    def shape(self, x: WordArray) -> tuple[int, ...]:
        return x.constant.shape

    def reshape(self, x: WordArray, shape: tuple[int, ...]) -> WordArray:
        return _moved(x, lambda array: array.reshape(shape))

    def take(self, sources: list[WordArray], indices: np.ndarray) -> WordArray:
        constant = np.concatenate([source.constant.ravel() for source in sources])
        terms, start = [], 0
        for source in sources:
            stop = start + source.constant.size
            inside = (indices >= start) & (indices < stop)
            places = np.where(inside, indices - start, 0)
            terms += [
                term.moved(lambda index, p=places, i=inside: np.where(i, index.ravel()[p], -1))
                for term in source.terms
            ]
            start = stop
        return WordArray(_boxed(constant[indices], indices.shape), merged(terms))

    def add(self, a: WordArray, b: WordArray) -> WordArray:
        return WordArray(_boxed(a.constant + b.constant, a.constant.shape), merged([*a.terms, *b.terms]))

    def neg(self, a: WordArray) -> WordArray:
        return WordArray(_boxed(-a.constant, a.constant.shape), tuple(scaled(a.terms, Fraction(-1))))

    def mul(self, a: WordArray, b: WordArray) -> WordArray:
        terms = [*self._weighted(a.terms, b.constant), *self._weighted(b.terms, a.constant)]
        for x, y in itertools.product(a.terms, b.terms):
            left, right = (self._joined(term) for term in (x, y))
            mask = left.support & right.support
            if mask.any():
                both = (*left.masked(mask).factors, *right.masked(mask).factors)
                terms.append(Term(left.coefficient * right.coefficient, both))
        return WordArray(_boxed(a.constant * b.constant, a.constant.shape), merged(terms))

    def sum(self, x: WordArray, axes: tuple[int, ...]) -> WordArray:
        kept = [axis for axis in range(x.constant.ndim) if axis not in axes]
        shape = tuple(x.constant.shape[axis] for axis in kept)
        rows, length = math.prod(shape), math.prod(x.constant.shape[axis] for axis in axes)
        flat = _moved(x, lambda array: np.transpose(array, (*kept, *axes)).reshape(rows, length))
        constant = object_array([sum(row, start=Fraction(0)) for row in flat.constant], shape)
        terms: list[Term] = []
        for term in flat.terms:
            joined = self._contracted(term) if len(term.factors) == 2 else None
            if joined is not None:
                terms.append(joined)
                continue
            term = self._joined(term)
            columns = np.flatnonzero(term.support.any(axis=0))
            if len(columns) > MAX_TERMS:
                raise NotWordsError(f"it adds up the entries of {self._text(term)}")
            terms += [term.moved(lambda index, c=column: index[:, c]) for column in columns]
        return WordArray(constant, merged([term.moved(lambda i: i.reshape(shape)) for term in terms]))

    def matmul(self, a: WordArray, b: WordArray) -> WordArray:
        (batch, m, _), n = a.constant.shape, b.constant.shape[2]
        constant = _constant_product(a.constant, b.constant)
        terms: list[Term] = []
        for x, y in itertools.product(a.terms, b.terms):
            terms += self._product(self._joined(x), self._joined(y))
        for term in b.terms:
            terms += self._times_constant(a.constant, self._joined(term))
        if a.terms and np.any(b.constant != 0):
            # (XC)^T = C^T X^T: one rule serves both sides.
            flipped = np.transpose(b.constant, (0, 2, 1))
            for term in a.terms:
                turned = self._joined(term).moved(lambda index: np.transpose(index, (0, 2, 1)))
                terms += [
                    result.moved(lambda index: np.transpose(index, (0, 2, 1)))
                    for result in self._times_constant(flipped, turned, is_right=True)
                ]
        return WordArray(constant.reshape(batch, m, n), merged(terms))

    def reciprocal(self, x: WordArray) -> WordArray:
        raise NotWordsError("it divides by parameters")

    def settled(self, x: WordArray) -> WordArray:
        """The array with one word in every term.

        Raises:
            NotWordsError: an entrywise product of two matrices is left.
        """
        return WordArray(x.constant, merged([self._joined(term) for term in x.terms]))

    def _text(self, term: Term) -> str:
        return " ∘ ".join(
            "·".join(name + ("ᵀ" if flipped else "") for name, flipped in factor.word)
            for factor in term.factors
        )

    def _weighted(self, terms: Sequence[Term], weights: np.ndarray) -> list[Term]:
        """Terms times numbers, entry by entry: one new term for each distinct number."""
        values = {value for value in weights.ravel() if value != 0} if terms else set()
        if len(values) > _MAX_VALUES:
            raise NotWordsError("it multiplies entrywise by a constant matrix")
        weighted = []
        if len(values) > 1:
            # Numbers that belong to the columns of a word multiply it by a diagonal matrix, which is a letter.
            scaled_by = {id(term): self._column_scaled(term, weights) for term in terms}
            weighted = [found for found in scaled_by.values() if found is not None]
            terms = [term for term in terms if scaled_by[id(term)] is None]
        for term, value in itertools.product(terms, values):
            masked = term.masked(np.asarray(weights == value, dtype=bool))
            if masked.support.any():
                weighted.append(Term(term.coefficient * value, masked.factors))
        return weighted

    def _column_scaled(self, term: Term, weights: np.ndarray) -> Term | None:
        """A word times a diagonal matrix, if the number at each place depends on the column (or the row) alone."""
        if len(term.factors) != 1:
            return None
        for factor in (term.factors[0], term.factors[0].flipped()):
            present = factor.columns >= 0
            size = self.shape_of(factor.word)[1]
            diagonal = np.full(size, Fraction(0), dtype=object)
            diagonal[factor.columns[present]] = weights[present]
            if len(set(diagonal)) > 1 and np.all(diagonal[factor.columns[present]] == weights[present]):
                matrix = np.full((size, size), Fraction(0), dtype=object)
                matrix[np.arange(size), np.arange(size)] = diagonal
                word = (*factor.word, self._constant_letter(matrix))
                return Term(term.coefficient, (Factor(word, factor.rows, factor.columns).canonical(),))
        return None

    def _joined(self, term: Term) -> Term:
        """One word instead of two: a column times a row is a matrix."""
        if len(term.factors) == 1:
            return term
        for left, right in orientations(*term.factors):
            if self.shape_of(left.word)[1] == 1 and self.shape_of(right.word)[0] == 1:
                return Term(
                    term.coefficient, (Factor(left.word + right.word, left.rows, right.columns).canonical(),)
                )
        raise NotWordsError(f"it holds the entrywise product {self._text(term)}")

    def _contracted(self, term: Term) -> Term | None:
        """The sum over axis 1 of a product of two words, if it is an entry of their matrix product.

        Within each row of the table the outer indices have to stand still, and the two inner ones have to be equal
        and to cover the inner width, each value `times` times.
        """
        mask = term.support
        full = np.any(mask, axis=1)
        if not np.array_equal(mask, np.broadcast_to(full[:, None], mask.shape)) or not full.any():
            return None
        for left, right in orientations(*term.factors):
            inner = self.shape_of(left.word)[1]
            if inner != self.shape_of(right.word)[0] or not np.array_equal(left.columns, right.rows):
                continue
            if not (is_constant_along_rows(left.rows) and is_constant_along_rows(right.columns)):
                continue
            ordered = np.sort(left.columns[full], axis=1)
            times, rest = divmod(ordered.shape[1], inner)
            if rest == 0 and np.array_equal(
                ordered, np.broadcast_to(np.repeat(np.arange(inner), times), ordered.shape)
            ):
                word = Factor(left.word + right.word, left.rows[:, 0], right.columns[:, 0])
                return Term(term.coefficient * times, (word.canonical(),))
        return None

    def _product(self, x: Term, y: Term) -> list[Term]:
        """The matrix product of two terms; the inner index must run through the whole side of both words."""
        if not (x.support.any(axis=1) & y.support.any(axis=2)).any():
            return []
        # A word is stored as itself or as its transpose, whichever is smaller, so that either may be the one that
        # fits.
        for left, right in orientations(x.factors[0], y.factors[0]):
            first, second = (
                split_indices(left.columns, left.rows),
                split_indices(_turned(right.rows), _turned(right.columns)),
            )
            if first is None or second is None:
                continue
            inner = self.shape_of(left.word)[1]
            if inner != self.shape_of(right.word)[0]:
                continue
            times = coverings(first[0], second[0], inner)
            if times is None:
                continue
            terms = []
            for count in {int(value) for value in times if value}:
                at = times == count
                present = at[:, None, None] & (first[1] >= 0)[:, :, None] & (second[1] >= 0)[:, None, :]
                if present.any():
                    rows = np.where(present, first[1][:, :, None], -1)
                    columns = np.where(present, second[1][:, None, :], -1)
                    factor = Factor(left.word + right.word, rows, columns).canonical()
                    terms.append(Term(x.coefficient * y.coefficient * count, (factor,)))
            return terms
        raise NotWordsError(f"it multiplies only parts of {self._text(x)} and {self._text(y)}")

    def _times_constant(self, matrix: np.ndarray, term: Term, *, is_right: bool = False) -> list[Term]:
        """A stack of constant matrices (batch, m, k) times a term (batch, k, n); `is_right` if all is transposed."""
        nonzero = np.asarray(matrix != 0, dtype=bool)
        if not nonzero.any():
            return []
        is_selection = bool(np.all(nonzero.sum(axis=2) <= 1))
        if is_selection and len(set(matrix[nonzero])) == 1:
            return self._selected(matrix, nonzero, term)
        for factor in (term.factors[0], term.factors[0].flipped()):
            split = split_indices(_turned(factor.rows), _turned(factor.columns))
            if split is not None:
                named = self._with_letters(matrix, factor.word, *split, is_right=is_right)
                return scaled(named, term.coefficient)
        if is_selection:
            # Rows with weights of their own, of something that is no whole submatrix: one term for each weight.
            return self._selected(matrix, nonzero, term)
        raise NotWordsError(f"it multiplies only parts of {self._text(term)} by a constant matrix")

    def _selected(self, matrix: np.ndarray, nonzero: np.ndarray, term: Term) -> list[Term]:
        """Rows picked and scaled: the identity, permutations, slices."""
        chosen = np.argmax(nonzero, axis=2)
        weights = np.take_along_axis(matrix, chosen[:, :, None], axis=2)
        picked = term.moved(lambda index: np.take_along_axis(index, chosen[:, :, None], axis=1))
        shape = picked.factors[0].rows.shape
        return self._weighted([picked], np.broadcast_to(weights, shape))

    def _with_letters(
        self, matrix: np.ndarray, word: Word, inner: np.ndarray, outer: np.ndarray, *, is_right: bool
    ) -> list[Term]:
        """A constant matrix in front of a word becomes a letter, one for each batch.

        Only some rows of the word may be present, in any order (`inner`): the columns of the letter are those of the
        matrix, put at the places of these rows, and zero elsewhere.
        """
        (batch, m, _), size = matrix.shape, self.shape_of(word)[0]
        terms = []
        for index in range(batch):
            cut = np.full((m, size), Fraction(0), dtype=object)
            for place in np.flatnonzero(inner[index] >= 0):
                cut[:, inner[index, place]] += matrix[index, :, place]
            if not np.any(cut != 0):
                continue
            name, flipped = self._constant_letter(cut.T if is_right else cut)
            letter = (name, flipped != is_right)
            present = np.zeros((batch, m, outer.shape[1]), dtype=bool)
            present[index] = outer[index] >= 0
            rows = np.where(present, np.arange(m)[None, :, None], -1)
            columns = np.where(present, outer[:, None, :], -1)
            terms.append(Term(Fraction(1), (Factor((letter, *word), rows, columns).canonical(),)))
        return terms

    def _constant_letter(self, value: np.ndarray) -> Letter:
        for name, known in self.constants.items():
            if known.shape == value.shape and np.all(known == value):
                return name, False
            if known.shape == value.T.shape and np.all(known == value.T):
                return name, True
        number = len(self.constants) + 1
        while (name := f"C{number}") in self.shapes:
            number += 1
        self.constants[name] = value
        self.shapes[name] = (value.shape[0], value.shape[1])
        return name, False


def _moved(x: WordArray, move: Any) -> WordArray:
    return WordArray(move(x.constant), tuple(term.moved(move) for term in x.terms))


def _turned(index: np.ndarray) -> np.ndarray:
    return np.transpose(index, (0, 2, 1))


def _boxed(x: Any, shape: tuple[int, ...]) -> np.ndarray:
    """NumPy turns operations on zero-dimensional object arrays into the bare object."""
    return x if isinstance(x, np.ndarray) else object_array([x], shape)


def _constant_product(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if not (np.any(a != 0) and np.any(b != 0)):
        return np.full((a.shape[0], a.shape[1], b.shape[2]), Fraction(0), dtype=object)
    return np.matmul(a, b)
