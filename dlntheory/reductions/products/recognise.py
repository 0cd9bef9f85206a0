r"""Products of two factors in φ, read off its words: $z = o + \sum c\, A B^\top$, and which factors belong together."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...display.latex import latex_name
from ...exact.words.reading import LetterSource, NoWords, WordForm, read_words, word_text
from ..base import FormError


@dataclasses.dataclass(frozen=True)
class Side:
    """A factor turned so that its columns are the summation index of its products.

    Attributes:
        letter: its name, see `dlntheory.exact.words.reading`.
        is_transposed: whether it was transposed for that.
        shape: rows and columns after turning.
    """

    letter: str
    is_transposed: bool
    shape: tuple[int, int]

    @property
    def latex(self) -> str:
        """The turned factor in LaTeX."""
        return latex_name(self.letter) + (r"^\top" if self.is_transposed else "")


@dataclasses.dataclass(frozen=True, eq=False)
class ProductTerm:
    r"""One term $c\, A B^\top$ of $z$ at the flat positions `positions`; A and B are sides of one component.

    Attributes:
        positions: (rows of A, rows of B) indices into the flat $z$.
        coefficient: c.
        left: A.
        right: B, the same side as A in $A A^\top$.
    """

    positions: np.ndarray
    coefficient: float
    left: Side
    right: Side


@dataclasses.dataclass(frozen=True, eq=False)
class Component:
    """Factors that meet in products, directly or through others; they share the summation index.

    Attributes:
        sides: the factors, in the order in which they occur in z.
        terms: their products in z.
        signs: +1 and -1 for the two sides of every product if the factors can be told apart so, else `None`.
    """

    sides: tuple[Side, ...]
    terms: tuple[ProductTerm, ...]
    signs: tuple[int, ...] | None

    @property
    def inner(self) -> int:
        """The length of the summation index, the hidden width."""
        return self.sides[0].shape[1]

    @property
    def rows(self) -> int:
        """The number of rows of all sides, stacked."""
        return sum(side.shape[0] for side in self.sides)

    def span(self, side: Side) -> slice:
        """The rows of one side in the stack."""
        start = sum(other.shape[0] for other in self.sides[: self.sides.index(side)])
        return slice(start, start + side.shape[0])


@dataclasses.dataclass(frozen=True, eq=False)
class ProductForm:
    r"""φ as products of two factors, single factors and constants.

    Attributes:
        letters: what each letter stands for.
        components: the groups of factors that meet in products.
        single: (positions, coefficient, letter, whether transposed) of factors that stand alone in $z$.
        constant: the constant part of $z$, flat.
        shape: the shape of $z$.
    """

    letters: dict[str, LetterSource]
    components: tuple[Component, ...]
    single: tuple[tuple[np.ndarray, float, str, bool], ...]
    constant: np.ndarray
    shape: tuple[int, ...]

    def factor(self, letter: str) -> str:
        """The name of the factor that a letter stands for."""
        factor = self.letters[letter].factor
        assert factor is not None  # constants were refused
        return factor

    def matrix(self, side: Side, theta: Mapping[str, Any]) -> Any:
        """The turned factor at parameters."""
        value = jnp.asarray(self.letters[side.letter].entries(theta[self.factor(side.letter)]))
        return value.T if side.is_transposed else value


@functools.lru_cache(maxsize=64)
def product_form(arch: Architecture, label: str) -> ProductForm:
    r"""The products of two factors that φ is made of, whatever its factors are called.

    Not jit-compatible (exact arithmetic). Scalar parameters are no matrices: see the flows of `entrywise`.

    Args:
        arch: the architecture.
        label: who asks, for the message.

    Raises:
        FormError: φ has longer words, constant matrices inside words, or a factor that is multiplied on both sides;
            the message names the word or the factor.
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.

    Example:
        >>> import dlntheory as dln
        >>> form = product_form(dln.linear_network((3, 4, 2)), "a test")
        >>> [side.letter for side in form.components[0].sides], form.components[0].inner
        (['W2', 'W1'], 4)
    """
    words = read_words(arch)
    if isinstance(words, NoWords):
        raise FormError(
            f"Argument `arch` must be made of products of two factors for {label}, but of {arch.name} it is known "
            f"only that {words.reason}."
        )
    terms: list[ProductTerm] = []
    single = []
    for block in words.blocks:
        for word, coefficient in block.terms.items():
            constants = [name for name, _ in word if words.letters[name].factor is None]
            if len(word) > 2 or constants:
                kind = "a constant matrix in" if constants else "the longer word"
                raise FormError(
                    f"Argument `arch` must be made of products of two factors for {label}, but {arch.name} has "
                    f"{kind} {word_text(word)}."
                )
            letters = list(word)
            if len(letters) == 1:
                name, flipped = letters[0]
                single.append((block.positions, float(coefficient), name, flipped))
                continue
            (first, turned), (second, back) = letters
            left = _side(words, first, turned)
            right = _side(words, second, not back)
            terms.append(ProductTerm(block.positions, float(coefficient), left, right))
    _check_roles(arch, label, terms, [name for _, _, name, _ in single])
    return ProductForm(
        letters=words.letters,
        components=_components(terms),
        single=tuple(single),
        constant=np.asarray(words.constant, dtype=np.float64).ravel(),
        shape=words.shape,
    )


def check_unchained(arch: Architecture, label: str) -> None:
    """Raise for a chain of matrices, whose own flows `reduce` tries.

    Raises:
        FormError: it is one.
    """
    if arch.chain is not None:
        raise FormError(f"Argument `arch` must be no chain for {label} to be tried, but {arch.name} is one.")


def _side(words: WordForm, letter: str, turned: bool) -> Side:
    rows, columns = words.letters[letter].shape
    return Side(letter, turned, (columns, rows) if turned else (rows, columns))


def _check_roles(arch: Architecture, label: str, terms: list[ProductTerm], single: list[str]) -> None:
    orientation: dict[str, bool] = {}
    for side in (side for term in terms for side in (term.left, term.right)):
        if orientation.setdefault(side.letter, side.is_transposed) != side.is_transposed:
            raise FormError(
                f"Argument `arch` must multiply each factor on one side only for {label}, but {arch.name} multiplies "
                f"{side.letter} on both."
            )
    if both := [name for name in single if name in orientation]:
        raise FormError(
            f"Argument `arch` must not show a factor beside its products for {label}, but {arch.name} shows {both[0]}."
        )


def _components(terms: list[ProductTerm]) -> tuple[Component, ...]:
    groups: list[list[ProductTerm]] = []
    for term in terms:
        touching = [
            group for group in groups if any({term.left, term.right} & {t.left, t.right} for t in group)
        ]
        rest = [group for group in groups if group not in touching]
        groups = [*rest, [*(t for group in touching for t in group), term]]
    found = []
    for group in sorted(groups, key=lambda group: min(terms.index(term) for term in group)):
        sides = tuple(dict.fromkeys(side for term in group for side in (term.left, term.right)))
        found.append(Component(sides, tuple(group), _two_colours(sides, group)))
    return tuple(found)


def _two_colours(sides: tuple[Side, ...], terms: list[ProductTerm]) -> tuple[int, ...] | None:
    colour = {sides[0]: 1}
    for _ in sides:
        for term in terms:
            for here, there in ((term.left, term.right), (term.right, term.left)):
                if here in colour and colour.setdefault(there, -colour[here]) == colour[here]:
                    return None
    return tuple(colour[side] for side in sides)
