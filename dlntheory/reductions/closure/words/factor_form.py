r"""`FactorForm`: what a flow of matrix equations integrates, the factors of a network narrowed without loss.

Gram matrices are for reading, factors are for computing. The closed equations of $M = XX^\top$ hold on all symmetric
matrices, so that a rounding error in $\ker X^\top$ grows like $e^{2st}$, $s$ the part of the residual that the network
cannot fit, and the integrated $M$ leaves the rank of the network. A factor cannot: gradient flow itself trains it.

Which factors: every hidden index space of width $h$ is cut down to a subspace that all factors and their transposes map
into one another and that holds what the outer spaces reach. Gradients stay in it, its complement never shows in $z$.
Where the words close, it is spanned by the beginnings of the observables: $[W_1, W_2^\top]$ for two layers, of
$\min(h, d_0 + d_2)$ columns. That it is invariant is a statement on words, checked here once and for all widths.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax.numpy as jnp
import numpy as np

from ....exact.words.reading import Word, WordForm, word_value
from ....exact.words.terms import transpose
from .scalar_law_rewriting import Expressions, Rule

#: One side of a letter: its name, 0 for the rows and 1 for the columns.
Side = tuple[str, int]


class FactorForm:
    """The factors of a word form on invariant subspaces of the hidden index spaces.

    Args:
        form: φ as words.
        observables: words that are closed under the gradient flow, those of φ among them.
        rules: the scalar laws that the closure rests on.

    Attributes:
        shapes: rows and columns of each narrowed factor, by letter.
    """

    def __init__(self, form: WordForm, observables: Sequence[Word], rules: Sequence[Rule] = ()):
        self.form = form
        words = list(dict.fromkeys([*form.words, *observables]))
        self._space = _spaces(form)
        ends = {self._space[side] for word in words for side in (_left(word), _left(transpose(word)))}
        beginnings: dict[Side, set[Word]] = {}
        for word in [*words, *map(transpose, words)]:
            for place in range(1, len(word)):
                beginnings.setdefault(self._space[_left(word[place:])], set()).add(word[place:])
        invariant = _invariant(form, self._space, ends, beginnings, Expressions(words, rules, ()))
        #: The words whose columns span what is kept of a hidden space; the other spaces are kept whole.
        self.spanning = {
            space: columns
            for space, columns in invariant.items()
            if sum(form.shape_of(word)[1] for word in columns) < form.letters[space[0]].shape[space[1]]
        }
        self.shapes = {
            name: (self._width(name, 0), self._width(name, 1))
            for name, source in form.letters.items()
            if source.factor is not None or any(self._space[name, side] in self.spanning for side in (0, 1))
        }

    @property
    def numbers(self) -> int:
        """The number of entries of the narrowed factors that training moves."""
        moving = [name for name in self.shapes if self.form.letters[name].factor is not None]
        return sum(rows * columns for rows, columns in (self.shapes[name] for name in moving))

    def factors(self, theta: Mapping[str, Any]) -> dict[str, Any]:
        r"""$P_r^\top X P_c$ for every factor $X$, with orthonormal $P$ by QR: no decision about a rank. Pure."""
        matrices = {name: jnp.asarray(value) for name, value in self.form.matrices(theta).items()}
        bases = {
            space: jnp.linalg.qr(jnp.concatenate([word_value(w, matrices) for w in words], axis=1))[0]
            for space, words in self.spanning.items()
        }
        found = {}
        for name in self.shapes:
            left, right = (bases.get(self._space[name, side]) for side in (0, 1))
            value = matrices[name] if left is None else left.T @ matrices[name]
            found[name] = value if right is None else value @ right
        return found

    def matrices(self, factors: Mapping[str, Any]) -> dict[str, Any]:
        """The value of every letter: narrowed factors, and constants that need no narrowing. Pure."""
        return {
            name: factors[name] if name in self.shapes else jnp.asarray(np.asarray(source.value, np.float64))
            for name, source in self.form.letters.items()
        }

    def output(self, factors: Mapping[str, Any]) -> Any:
        """$z$ of the factors. Pure."""
        matrices = self.matrices(factors)
        flat = jnp.asarray(np.asarray(self.form.constant, dtype=np.float64).ravel())
        for block in self.form.blocks:
            for word, coefficient in block.terms.items():
                flat = flat.at[block.positions].add(float(coefficient) * word_value(word, matrices))
        return flat.reshape(self.form.shape)

    def _width(self, name: str, side: int) -> int:
        words = self.spanning.get(self._space[name, side])
        if words is None:
            return self.form.letters[name].shape[side]
        return sum(self.form.shape_of(word)[1] for word in words)


def _left(word: Word) -> Side:
    """The side of the first letter at which a word begins."""
    name, flipped = word[0]
    return name, int(flipped)


def _spaces(form: WordForm) -> dict[Side, Side]:
    """A representative of the index space of every side of every letter: sides that meet in a word of φ share it."""
    parent: dict[Side, Side] = {(name, side): (name, side) for name in form.letters for side in (0, 1)}

    def root(side: Side) -> Side:
        while parent[side] != side:
            side = parent[side]
        return side

    for word in form.words:
        for here, after in itertools.pairwise(word):
            parent[root((here[0], 1 - int(here[1])))] = root(_left((after,)))
    return {side: root(side) for side in parent}


def _invariant(
    form: WordForm,
    space_of: Mapping[Side, Side],
    ends: Iterable[Side],
    beginnings: Mapping[Side, set[Word]],
    expressions: Expressions,
) -> dict[Side, list[Word]]:
    """The hidden spaces that need not be kept whole, with words that span an invariant subspace of each.

    A letter takes the span of words at its columns into that at its rows if each product begins with a word of the
    latter, after scalar laws have been used. A product that does not is added; a space with too many is kept whole.
    """
    spanning = {space: _shortest(words) for space, words in beginnings.items() if space not in set(ends)}

    def lies_in(word: Word, words: list[Word]) -> bool:
        def begins(other: Word) -> bool:
            return any(other[:n] in words for n in range(1, len(other) + 1))

        return begins(word) or any(
            begins(other) and all(rest and lies_in(rest, words) for _, (rest,) in leftover)
            for other, leftover in expressions.orbit(word).items()
        )

    def missing() -> tuple[Side, Word] | None:
        for letter in ((name, flipped) for name in form.letters for flipped in (False, True)):
            to, begin = space_of[_left((letter,))], space_of[_left(transpose((letter,)))]
            for word in spanning.get(begin, [()]) if to in spanning else ():
                if not lies_in((letter, *word), spanning[to]):
                    return to, (letter, *word)
        return None

    while (found := missing()) is not None:
        space, word = found
        spanning[space] = _shortest({*spanning[space], word})
        # Further products may still show that less than the whole space is reached elsewhere, but not for ever.
        if sum(form.shape_of(w)[1] for w in spanning[space]) >= 2 * form.letters[space[0]].shape[space[1]]:
            del spanning[space]
    return spanning


def _shortest(words: Iterable[Word]) -> list[Word]:
    """Without the words that begin with another one, in whose span they lie."""
    kept = set(words)
    return sorted(word for word in kept if not any(word[:n] in kept for n in range(1, len(word))))
