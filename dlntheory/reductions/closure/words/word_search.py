r"""The closure of words: which products of the factors obey a closed equation, whatever the widths.

With $G = \nabla f$ for a block of $z$, an occurrence $L X R$ of a factor in a word of that block contributes
$-L^\top G R^\top$ to $X'$ and $-R G^\top L$ if it stands transposed. The derivative of a word is then a sum of
(word) $G^{(\top)}$ (word). Every side word must be a product of observables; one that is not becomes an observable.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Mapping, Sequence
from fractions import Fraction

from ...._errors import NoReductionError
from ....exact.words.reading import Word, WordForm, canonical, word_text
from ....exact.words.terms import transpose
from .scalar_law_rewriting import Expression, Expressions, Product, Rule, Scalars, representative

#: Words left and right of the gradient of a block, and whether that is transposed: (left, block, flipped, right).
Sides = tuple[Word, int, bool, Word]


@dataclasses.dataclass(frozen=True)
class MatrixTerm:
    r"""One term of a derivative, $-c\, \lambda\cdots\, P\, G_b^{(\top)}\, Q$ with products $P$, $Q$ of observables.

    Attributes:
        coefficient: $c$.
        scalars: the numbers of the λ that multiply it.
        left: $P$.
        block: the number $b$ of the block of $z$.
        flipped: whether the gradient is transposed.
        right: $Q$.
    """

    coefficient: Fraction
    scalars: Scalars
    left: Product
    block: int
    flipped: bool
    right: Product


@dataclasses.dataclass(frozen=True)
class WordClosure:
    """Observables with closed equations.

    Attributes:
        form: φ as words.
        rules: the scalar laws that were used.
        observables: the words, those of $z$ first.
        equations: the terms of the derivative of each.
        blocks: each block of $z$ as a combination of products of observables.
    """

    form: WordForm
    rules: tuple[Rule, ...]
    observables: tuple[Word, ...]
    equations: dict[Word, tuple[MatrixTerm, ...]]
    blocks: tuple[Expression, ...]

    @property
    def numbers(self) -> int:
        """The number of entries of all observables."""
        shapes = [self.form.shape_of(word) for word in self.observables]
        return sum(rows * columns for rows, columns in shapes)


@dataclasses.dataclass(frozen=True)
class OpenWords:
    """The search met a bound.

    Attributes:
        reason: which, in words.
        offending: the word that was not allowed any more.
        observables: what had been collected by then.
    """

    reason: str
    offending: Word
    observables: tuple[Word, ...]


class WordFlow:
    """The gradient flow in the letters of a word form: constants are known, frozen factors only do not move."""

    def __init__(self, form: WordForm):
        self.form = form
        self.constants = frozenset(name for name, source in form.letters.items() if source.factor is None)
        self.velocities: dict[str, list[tuple[Fraction, Sides]]] = {
            name: [] for name in form.letters if name not in form.frozen
        }
        for number, block in enumerate(form.blocks):
            for word, coefficient in block.terms.items():
                for place, (name, flipped) in enumerate(word):
                    if name not in form.frozen:
                        left, right = transpose(word[:place]), transpose(word[place + 1 :])
                        sides = (left, number, False, right)
                        self.velocities[name].append((coefficient, _turned(sides) if flipped else sides))

    def derivative(self, word: Word) -> dict[Sides, Fraction]:
        """Minus the time derivative of a word: coefficients of (left, block, flipped, right)."""
        total: dict[Sides, Fraction] = {}
        for place, (name, flipped) in enumerate(word):
            for coefficient, sides in self.velocities.get(name, ()):
                left, number, turned, right = _turned(sides) if flipped else sides
                key = (word[:place] + left, number, turned, right + word[place + 1 :])
                total[key] = total.get(key, Fraction(0)) + coefficient
        return total

    def degree(self, word: Word) -> int:
        """The number of letters that are parameters."""
        return sum(name not in self.constants for name, _ in word)


def close_words(
    form: WordForm,
    rules: Sequence[Rule] = (),
    *,
    max_degree: int = 8,
    max_generators: int = 60,
    deadline: float | None = None,
) -> WordClosure | OpenWords:
    """The closure of the words of φ, or the word at which a bound was met.

    Where φ holds constant matrices, two closures are tried, with observables that end in them and with observables
    that do not, and the one with fewer entries is returned.

    Args:
        form: φ as words.
        rules: scalar laws that may be used; see `scalar_rules`.
        max_degree: the largest number of letters of an observable that is no word of φ.
        max_generators: the largest number of observables.
        deadline: a value of `time.perf_counter()` at which to stop.
    """
    flow = WordFlow(form)
    bounds = (max_degree, max_generators, deadline)
    found = [
        _search(flow, rules, *bounds, strip=strip)
        for strip in ((False, True) if flow.constants else (False,))
    ]
    closed = [result for result in found if isinstance(result, WordClosure)]
    return min(closed, key=lambda result: result.numbers) if closed else found[0]


def scalar_rules(form: WordForm, balanced: Mapping[int, float]) -> tuple[Rule, ...]:
    r"""Rules for the laws $D_l = \lambda_l I$ at the interfaces $l = 1, 2, …$ of the word of φ, counted from the right.

    Raises:
        NoReductionError: φ is not one word, so that interfaces have no numbers.
        ValueError: no such interface, a λ that is not finite, or a law that the flow does not conserve.
    """
    if not balanced:
        return ()
    words = [word for block in form.blocks for word in block.terms]
    if len(words) != 1:
        raise NoReductionError(
            f"Argument `balanced` must go with a φ that is one word, but φ has {len(words)}: "
            f"{', '.join(map(word_text, words))}."
        )
    (word,) = words
    rules = []
    for number, value in sorted(balanced.items()):
        if number not in range(1, len(word)):
            raise ValueError(
                f"Argument `balanced` must name interfaces 1 … {len(word) - 1} of φ = {word_text(word)}, but names "
                f"{number!r}."
            )
        value = float(value)
        if not abs(value) < float("inf"):
            raise ValueError(f"Argument `balanced[{number}]` must be a finite number, but is {value}.")
        place = len(word) - 1 - number
        rules.append(Rule(number, word[place], word[place + 1], value))
    flow = WordFlow(form)
    for rule in rules:
        change = flow.derivative(rule.left)
        for sides, coefficient in flow.derivative(rule.right).items():
            change[sides] = change.get(sides, Fraction(0)) - coefficient
        if any(change.values()):
            raise ValueError(
                f"Argument `balanced[{rule.number}]` must state a conservation law, but {rule} is none for "
                f"φ = {word_text(word)}."
            )
    return tuple(rules)


def _turned(sides: Sides) -> Sides:
    """The transpose of (left) G (right)."""
    left, number, flipped, right = sides
    return transpose(right), number, not flipped, transpose(left)


def _search(
    flow: WordFlow,
    rules: Sequence[Rule],
    max_degree: int,
    max_generators: int,
    deadline: float | None,
    *,
    strip: bool,
) -> WordClosure | OpenWords:
    given = flow.form.words
    observables = list(given)
    while True:
        known = Expressions(observables, rules, flow.constants)
        missing = {
            side
            for word in observables
            for left, _, _, right in flow.derivative(word)
            for side in (left, right)
            if known.express(side) is None
        }
        if not missing:
            return _assembled(flow, rules, _pruned(flow, rules, observables))
        candidate = min(
            (_candidate(flow, known, side, strip=strip) for side in missing), key=lambda w: (len(w), w)
        )
        late = deadline is not None and time.perf_counter() > deadline
        if flow.degree(candidate) > max_degree or len(observables) >= max_generators or late:
            bound = (
                "the time limit"
                if late
                else f"max_generators = {max_generators}"
                if len(observables) >= max_generators
                else f"max_degree = {max_degree}"
            )
            return OpenWords(bound, candidate, tuple(observables))
        observables.append(candidate)


def _candidate(flow: WordFlow, known: Expressions, side: Word, *, strip: bool) -> Word:
    """What to add so that a side word can be expressed: the word that stands for its orbit."""
    word = representative(known.orbit(side))
    while strip and word[0][0] in flow.constants:
        word = word[1:]
    while strip and word[-1][0] in flow.constants:
        word = word[:-1]
    return canonical(word)


def _pruned(flow: WordFlow, rules: Sequence[Rule], observables: Sequence[Word]) -> list[Word]:
    """Without the words that are combinations of products of the rest, longest first; words of φ stay.

    A word of φ that ends in constant matrices goes as well: it is read off the others.
    """
    kept = list(observables)
    given = [word for word in flow.form.words if flow.degree(word) == len(word)]
    for word in sorted(observables, key=len, reverse=True):
        rest = [other for other in kept if other != word]
        if word not in given and Expressions(rest, rules, flow.constants).express(word) is not None:
            kept = rest
    return kept


def _assembled(flow: WordFlow, rules: Sequence[Rule], observables: Sequence[Word]) -> WordClosure:
    known = Expressions(observables, rules, flow.constants)
    equations = {}
    for word in observables:
        total: dict[tuple[Scalars, Product, int, bool, Product], Fraction] = {}
        for (left, block, flipped, right), coefficient in flow.derivative(word).items():
            for (scalars, before), x in _expressed(known, left).items():
                for (more, after), y in _expressed(known, right).items():
                    key = (tuple(sorted(scalars + more)), before, block, flipped, after)
                    total[key] = total.get(key, Fraction(0)) + coefficient * x * y
        equations[word] = tuple(
            MatrixTerm(value, scalars, before, block, flipped, after)
            for (scalars, before, block, flipped, after), value in total.items()
            if value
        )
    blocks = []
    for block in flow.form.blocks:
        expression: Expression = {}
        for word, coefficient in block.terms.items():
            for key, value in _expressed(known, word).items():
                expression[key] = expression.get(key, Fraction(0)) + coefficient * value
        blocks.append(expression)
    return WordClosure(flow.form, tuple(rules), tuple(observables), equations, tuple(blocks))


def _expressed(known: Expressions, word: Word) -> Expression:
    expression = known.express(word)
    assert expression is not None  # the search has ended, so every side word is expressed
    return expression


def powers_text(word: Word) -> str:
    """The word with repetitions as powers: `W3 (W2 W2^T)^3 W2 W1`."""
    parts, place = [], 0
    while place < len(word):
        pair, count = word[place : place + 2], 1
        while len(pair) == 2 and word[place + 2 * count : place + 2 * count + 2] == pair:
            count += 1
        if count > 1:
            parts.append(f"({word_text(pair)})^{count}")
            place += 2 * count
        else:
            parts.append(word_text(word[place : place + 1]))
            place += 1
    return " ".join(parts)
