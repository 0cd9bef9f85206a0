r"""Scalar laws as rewriting rules: $A^\top A = BB^\top + \lambda I$, read both ways, and words as sums of products.

A rule turns a word into another of the same length and a shorter leftover, so the words that a word can be turned
into are finitely many. A word is expressed by observables if one of them is a product of observables and every leftover
is expressed as well.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping
from fractions import Fraction

from ....exact.words.reading import Letter, Word, canonical, word_text
from ....exact.words.terms import transpose

#: Sorted numbers of the rules whose λ are multiplied; `()` is 1.
Scalars = tuple[int, ...]
#: Words that stand one after another: observables, their transposes, constant letters.
Product = tuple[Word, ...]
#: A combination of products.
Expression = dict[tuple[Scalars, Product], Fraction]

_MAX_ORBIT = 2000


@dataclasses.dataclass(frozen=True)
class Rule:
    r"""The law $A^\top A - BB^\top = \lambda I$ at the place where $A$ meets $B$ in a word of φ.

    Attributes:
        number: the interface $l$, counted from the right of the word.
        upper: the letter $A$, as it stands in the word.
        lower: the letter $B$.
        value: $\lambda$.
    """

    number: int
    upper: Letter
    lower: Letter
    value: float

    @property
    def left(self) -> Word:
        r"""$A^\top A$."""
        return (*transpose((self.upper,)), self.upper)

    @property
    def right(self) -> Word:
        r"""$BB^\top$."""
        return (self.lower, *transpose((self.lower,)))

    def __str__(self) -> str:
        return f"{word_text(self.left)} - {word_text(self.right)} = {self.value:g} I"


class Expressions:
    """Words in terms of given observables, with the answers remembered.

    Args:
        observables: the words that may be used, in either orientation.
        rules: scalar laws.
        constants: letters that are known matrices, and may be used as well.
    """

    def __init__(self, observables: Iterable[Word], rules: Iterable[Rule], constants: Iterable[str]):
        self.rules = tuple(rules)
        self.constants = frozenset(constants)
        self.pieces: set[Word] = set()
        for word in observables:
            self.pieces |= {word, transpose(word)}
        self._known: dict[Word, Expression | None] = {}

    def express(self, word: Word) -> Expression | None:
        """The word as a combination of products, or `None`."""
        if word not in self._known:
            self._known[word] = self._found(word)
        return self._known[word]

    def orbit(self, word: Word) -> dict[Word, Expression]:
        """The words of equal length that the rules lead to, each with the leftover: word = other + leftover.

        Leftovers are combinations of words (products of one), not of observables.
        """
        found: dict[Word, Expression] = {word: {}}
        queue = [word]
        while queue and len(found) < _MAX_ORBIT:
            current = queue.pop(0)
            for other, rule, sign, rest in self._swaps(current):
                if other in found:
                    continue
                leftover = dict(found[current])
                if rule.value:
                    key = ((rule.number,), (rest,))
                    leftover[key] = leftover.get(key, Fraction(0)) + sign
                found[other] = leftover
                queue.append(other)
        return found

    def factored(self, word: Word) -> Product | None:
        """The word as a product of the fewest pieces, or `None`."""
        best: list[Product | None] = [(), *[None] * len(word)]
        for stop in range(1, len(word) + 1):
            for start in range(stop):
                before, piece = best[start], word[start:stop]
                usable = piece in self.pieces or (len(piece) == 1 and piece[0][0] in self.constants)
                known = best[stop]
                if before is not None and usable and (known is None or len(before) + 1 < len(known)):
                    best[stop] = (*before, piece)
        return best[-1]

    def _found(self, word: Word) -> Expression | None:
        for other, leftover in self.orbit(word).items():
            product = self.factored(other)
            if product is None:
                continue
            total: Expression = {((), product): Fraction(1)}
            for (scalars, (rest,)), coefficient in leftover.items():
                part = self.express(rest)
                if part is None:
                    break
                for (more, pieces), value in part.items():
                    key = (tuple(sorted(scalars + more)), pieces)
                    total[key] = total.get(key, Fraction(0)) + coefficient * value
            else:
                return {key: value for key, value in total.items() if value}
        return None

    def _swaps(self, word: Word):
        """Every rule applied at every place: the new word, the rule, the sign of its λ and the shorter word."""
        for place in range(len(word) - 1):
            pair = word[place : place + 2]
            for rule in self.rules:
                for old, new, sign in ((rule.left, rule.right, 1), (rule.right, rule.left, -1)):
                    if pair == old:
                        rest = word[:place] + word[place + 2 :]
                        yield word[:place] + new + word[place + 2 :], rule, sign, rest


def normal_form(word: Word, rules: Iterable[Rule]) -> dict[tuple[Scalars, Word], Fraction]:
    r"""The word with every $A^\top A$ replaced by $BB^\top + \lambda$: equal words have equal normal forms.

    The left sides of the rules do not overlap and each replacement moves to lower interfaces, so the order does not
    matter and it ends.
    """
    active = tuple(rules)
    pending, total = [((), word, Fraction(1))], {}
    while pending:
        scalars, current, coefficient = pending.pop()
        for rule in active:
            place = next((i for i in range(len(current) - 1) if current[i : i + 2] == rule.left), None)
            if place is not None:
                before, after = current[:place], current[place + 2 :]
                pending.append((scalars, before + rule.right + after, coefficient))
                if rule.value:
                    pending.append((tuple(sorted((*scalars, rule.number))), before + after, coefficient))
                break
        else:
            total[scalars, current] = total.get((scalars, current), Fraction(0)) + coefficient
    return {key: value for key, value in total.items() if value}


def scalar_value(scalars: Scalars, rules: Mapping[int, Rule]) -> float:
    """The product of the λ."""
    value = 1.0
    for number in scalars:
        value *= rules[number].value
    return value


def representative(words: Iterable[Word]) -> Word:
    """The word that stands for its orbit: a palindrome if there is one, then the smallest."""
    return min((canonical(word) for word in words), key=lambda word: (word != transpose(word), word))
