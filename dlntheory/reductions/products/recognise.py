r"""Products of two factors in φ, read off its words: $z = o + \sum c\, A B^\top$, and which factors belong together."""

from __future__ import annotations

import collections
import dataclasses
import functools
from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...display.latex import latex_name
from ...exact.words.reading import LetterSource, NoWords, Word, WordForm, read_words, word_text
from ..base import FormError


@dataclasses.dataclass(frozen=True)
class Side:
    """A factor turned so that its columns are the summation index of its products.

    Attributes:
        letter: its name, see `dlntheory.exact.words.reading`.
        is_transposed: whether it was transposed for that.
        shape: rows and columns after turning.
        part: where a constant matrix stands between two factors, the number of its singular value, whose singular
            vectors the columns are turned to; else `None`.
    """

    letter: str
    is_transposed: bool
    shape: tuple[int, int]
    part: int | None = None

    @property
    def latex(self) -> str:
        """The turned factor in LaTeX."""
        turned = latex_name(self.letter) + (r"^\top" if self.is_transposed else "")
        return turned if self.part is None else rf"{turned} P_{{{self.part}}}"


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
        bases: the columns to which a factor beside a constant matrix is turned, by letter and part.
    """

    letters: dict[str, LetterSource]
    components: tuple[Component, ...]
    single: tuple[tuple[np.ndarray, float, str, bool], ...]
    constant: np.ndarray
    shape: tuple[int, ...]
    bases: dict[tuple[str, int], np.ndarray]

    def factor(self, letter: str) -> str:
        """The name of the factor that a letter stands for."""
        factor = self.letters[letter].factor
        assert factor is not None  # constants were refused
        return factor

    def matrix(self, side: Side, theta: Mapping[str, Any]) -> Any:
        """The turned factor at parameters."""
        value = jnp.asarray(self.letters[side.letter].entries(theta[self.factor(side.letter)]))
        value = value.T if side.is_transposed else value
        return value if side.part is None else value @ self.bases[side.letter, side.part]


@functools.lru_cache(maxsize=64)
def product_form(arch: Architecture, label: str) -> ProductForm:
    r"""The products of two factors that φ is made of, whatever its factors are called.

    A constant matrix between two factors, $U C V^\top$ or $W C W^\top$ with symmetric C, is taken apart: in the
    singular bases of C the product is $\sum_k s_k U_k V_k^\top$ over its different singular values, and the flow does
    not see that U and V were turned.

    Not jit-compatible (exact arithmetic). Scalar parameters are no matrices: see the flows of `entrywise`.

    Args:
        arch: the architecture.
        label: who asks, for the message.

    Raises:
        FormError: φ has longer words, other constant or frozen matrices inside words, or a factor that is multiplied
            on both sides; the message names the word or the factor.
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
    bases: dict[tuple[str, int], np.ndarray] = {}
    uses = collections.Counter(
        name for block in words.blocks for word in block.terms for name in {n for n, _ in word}
    )
    for block in words.blocks:
        for word, coefficient in block.terms.items():
            fixed = [words.letters[name].factor is None or words.letters[name].is_frozen for name, _ in word]
            alone = all(uses[name] == 1 for name, _ in word)
            if fixed == [False, True, False] and alone and (found := _through_constant(words, word)):
                for scale, left, right, columns in found:
                    bases |= columns
                    terms.append(ProductTerm(block.positions, float(coefficient) * scale, left, right))
                continue
            if len(word) > 2 or any(fixed):
                kind = "a constant matrix in" if any(fixed) else "the longer word"
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
        bases=bases,
    )


Through = list[tuple[float, Side, Side, dict[tuple[str, int], np.ndarray]]]


def _through_constant(words: WordForm, word: Word) -> Through | None:
    """A product with a constant in its middle by the different singular values of that; `None` if it is none."""
    (first, turned), (middle, flipped), (second, back) = word
    value = words.letters[middle].value
    if value is None:  # a frozen factor, whose value belongs to the start
        return None
    value = np.asarray(value.T if flipped else value)
    left, right = _side(words, first, turned), _side(words, second, not back)
    if first == second:
        if left != right or not np.array_equal(value, value.T):
            return None
        scales, basis = np.linalg.eigh(value.astype(np.float64))
        pairs = (basis, basis)
    else:
        u, scales, vt = np.linalg.svd(value.astype(np.float64))
        pairs = (u[:, : len(scales)], vt[: len(scales)].T)
    found: Through = []
    for part, (scale, columns) in enumerate(_different(scales), start=1):
        sides, bases = [], {}
        for side, basis in zip((left, right), pairs, strict=True):
            bases[side.letter, part] = basis[:, columns]
            sides.append(Side(side.letter, side.is_transposed, (side.shape[0], len(columns)), part))
        found.append((scale, sides[0], sides[1], bases))
    return found


def _different(values: np.ndarray) -> list[tuple[float, list[int]]]:
    """The values that differ by more than rounding, without 0, and where each stands."""
    size = float(np.max(np.abs(values), initial=0.0))
    found: list[tuple[float, list[int]]] = []
    for index, value in enumerate(values.tolist()):
        if abs(value) <= 1e-12 * size:
            continue
        if found and abs(value - found[-1][0]) <= 1e-12 * size:
            found[-1][1].append(index)
        else:
            found.append((value, [index]))
    return found


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
