"""Words, and the terms of which arrays over the word ring consist: which entry of which word stands where."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

Letter = tuple[str, bool]
Word = tuple[Letter, ...]

MAX_TERMS = 256


class NotWordsError(Exception):
    """The map at hand is no sum of words; the message says why."""


def transpose(word: Word) -> Word:
    r"""$(AB^\top)^\top = BA^\top$: the letters in reverse order, each transposed."""
    return tuple((name, not flipped) for name, flipped in reversed(word))


@dataclasses.dataclass(frozen=True)
class Factor:
    """Entries of one word: at each place of an array the row and the column, -1 where there is none."""

    word: Word
    rows: np.ndarray
    columns: np.ndarray

    def flipped(self) -> Factor:
        return Factor(transpose(self.word), self.columns, self.rows)

    def canonical(self) -> Factor:
        """The smaller of the word and its transpose, so that equal things look equal."""
        return self if self.word <= transpose(self.word) else self.flipped()

    def moved(self, move: Any) -> Factor:
        return Factor(self.word, move(self.rows), move(self.columns))


@dataclasses.dataclass(frozen=True)
class Term:
    """A rational number times the entrywise product of one or two words; two wait for the sum that joins them."""

    coefficient: Fraction
    factors: tuple[Factor, ...]

    @property
    def support(self) -> np.ndarray:
        """Where the term stands: boolean, in the shape of the array."""
        return np.logical_and.reduce([factor.rows >= 0 for factor in self.factors])

    def moved(self, move: Any) -> Term:
        return Term(self.coefficient, tuple(factor.moved(move) for factor in self.factors))

    def masked(self, mask: np.ndarray) -> Term:
        return self.moved(lambda index: np.where(mask, index, -1))


def orientations(left: Factor, right: Factor):
    """Both factors, each as it is and transposed."""
    return itertools.product((left, left.flipped()), (right, right.flipped()))


def is_constant_along_rows(index: np.ndarray) -> bool:
    """Whether the index does not change along axis 1."""
    return bool(np.all(index == index[:, :1]))


def split_indices(inner: np.ndarray, outer: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    """The inner index (batch, k) and the outer one (batch, m) of index arrays (batch, m, k), -1 where absent.

    `None` if the entries are not those of a submatrix, row by row and column by column.
    """
    along, across = inner.max(axis=1, initial=-1), outer.max(axis=2, initial=-1)
    present = (across >= 0)[:, :, None] & (along >= 0)[:, None, :]
    if np.array_equal(inner, np.where(present, along[:, None, :], -1)) and np.array_equal(
        outer, np.where(present, across[:, :, None], -1)
    ):
        return along, across
    return None


def coverings(first: np.ndarray, second: np.ndarray, size: int) -> np.ndarray | None:
    """How often the common inner index (batch, k) of two factors runs through 0 … size - 1, or `None`."""
    common = (first >= 0) & (second >= 0)
    if not np.array_equal(first[common], second[common]):
        return None
    times = np.zeros(len(first), dtype=np.int64)
    for index, (row, mask) in enumerate(zip(first, common, strict=True)):
        counts = np.bincount(row[mask], minlength=size)
        if counts.min() != counts.max():
            return None
        times[index] = counts[0]
    return times


def merged(terms: Sequence[Term]) -> tuple[Term, ...]:
    """Equal terms added up, parts of one word that stand apart joined, zeros and empty terms dropped.

    Joining matters: a word that was cut into slices and put together again is one term again, and only then whole.
    Index arrays hold -1 where a part is absent, so that the maximum of two parts with disjoint supports is their
    union."""
    equal: dict[Any, Term] = {}
    for term in terms:
        if not term.coefficient or not term.support.any():
            continue
        factors = tuple(factor.canonical() for factor in term.factors)
        key = tuple((f.word, f.rows.tobytes(), f.columns.tobytes()) for f in factors)
        total = term.coefficient + (equal[key].coefficient if key in equal else 0)
        equal[key] = Term(total, factors)
    joined: list[Term] = []
    for term in equal.values():
        if not term.coefficient:
            continue
        for place, other in enumerate(joined):
            if _can_stand_together(term, other):
                factors = tuple(
                    Factor(f.word, np.maximum(f.rows, g.rows), np.maximum(f.columns, g.columns))
                    for f, g in zip(term.factors, other.factors, strict=True)
                )
                joined[place] = Term(term.coefficient, factors)
                break
        else:
            joined.append(term)
    if len(joined) > MAX_TERMS:
        raise NotWordsError(f"it is a sum of more than {MAX_TERMS} parts of words")
    return tuple(joined)


def _can_stand_together(a: Term, b: Term) -> bool:
    words = [tuple(factor.word for factor in term.factors) for term in (a, b)]
    return words[0] == words[1] and a.coefficient == b.coefficient and not bool(np.any(a.support & b.support))


def scaled(terms: Sequence[Term], factor: Fraction) -> list[Term]:
    return [Term(term.coefficient * factor, term.factors) for term in terms]
