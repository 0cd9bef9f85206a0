r"""Observables that a search is given: words, traces and determinants by name, functions, SymPy expressions.

Traces and determinants never appear as derivatives of anything smaller, so a search that starts from $z$ does not find
them; proposals for them are made here.
"""

from __future__ import annotations

import dataclasses
import itertools
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np
import sympy

from ...architecture import Architecture
from ...exact import trace
from ...exact.rings.polynomials import Polynomials, SparsePolynomial, from_sympy
from ...exact.words.reading import Word, WordForm, word_latex, word_text

_MAX_DETERMINANT = 4
_MAX_PROPOSED_TERMS = 5000
_MAX_LABELLED = 100
_FORM = re.compile(r"\s*(?:(tr|trace|det)\s*\((.*)\)|(.*))\s*")


@dataclasses.dataclass(frozen=True)
class Hint:
    """A named observable, entry by entry.

    Attributes:
        text: its name in plain text.
        latex: its name in LaTeX.
        entries: (index, polynomial) of each entry; one entry with the index `()` for a number.
    """

    text: str
    latex: str
    entries: tuple[tuple[tuple[int, ...], SparsePolynomial], ...]

    def labels(self) -> dict[SparsePolynomial, tuple[str, str]]:
        """What its entries are called, by primitive polynomial."""
        return {
            polynomial.primitive(): (
                self.text + (f"[{','.join(str(i + 1) for i in index)}]" if index else ""),
                self.latex + (f"_{{{','.join(str(i + 1) for i in index)}}}" if index else ""),
            )
            for index, polynomial in self.entries
        }


def parameter_matrices(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Object arrays of the variables of each parameter array, numbered in order; vectors as they are."""
    found, start = {}, 0
    for name, shape in shapes.items():
        found[name] = Polynomials().variables(shape, start)
        start += math.prod(shape)
    return found


def read_hint(arch: Architecture, hint: Any) -> Hint:
    """A hint as polynomials of the parameters.

    Args:
        arch: the architecture.
        hint: `"tr(W2 W2^T)"`, `"det(W2)"`, a word such as `"W3 W2 W2^T W3^T"`, a polynomial JAX function of the
            parameters, or a SymPy expression in the symbols of `arch.symbolic()`.

    Raises:
        ValueError: it is none of these, names an unknown factor, or shapes do not fit.
        UnsupportedPrimitiveError: a function is not polynomial.
    """
    if isinstance(hint, str):
        return _read_text(arch, hint)
    if isinstance(hint, sympy.Expr):
        symbols = [symbol for array in arch.symbolic().symbols.values() for symbol in array.ravel()]
        return Hint(str(hint), sympy.latex(hint), (((), from_sympy(hint, symbols)),))
    if not callable(hint):
        raise ValueError(
            "Argument `hints` must hold texts like 'tr(W2 W2^T)', functions of the parameters, or SymPy expressions, "
            f"but holds {hint!r}."
        )
    structs = {name: jax.ShapeDtypeStruct(shape, "float64") for name, shape in arch.shapes.items()}
    program = trace(hint, structs)
    if program.is_rational:
        raise ValueError(
            "Argument `hints` must hold polynomials, but a function in it divides by parameters."
        )
    values = jax.tree_util.tree_leaves(program.evaluate(Polynomials(), parameter_matrices(arch.shapes)))
    name = getattr(hint, "__name__", "hint").replace("<lambda>", "hint")
    entries = [(index, entry) for value in values for index, entry in np.ndenumerate(value)]
    return Hint(name, rf"\mathrm{{{name}}}".replace("_", r"\_"), tuple(entries))


def proposed_hints(
    arch: Architecture, form: WordForm | None, max_degree: int
) -> tuple[list[Hint], list[Hint]]:
    r"""The squared norms and determinants of the factors; and these with more traces.

    The further ones are traces of $(XX^\top)^k$ and, where $X$ meets $Y$ in φ, of $X^\top X Y Y^\top$.
    """
    simple, found = [], []
    for name, shape in arch.shapes.items():
        if len(shape) != 2 or min(shape) < 2:
            continue
        letter = (name, False)
        for power in range(1, min(shape) + 1):
            if 2 * power <= max_degree and (shape[0] * shape[1]) ** power <= _MAX_PROPOSED_TERMS:
                hint = _trace(arch, (letter, (name, True)) * power)
                (simple if power == 1 else found).append(hint)
        if shape[0] == shape[1] <= min(_MAX_DETERMINANT, max_degree):
            simple.append(_determinant(arch, (letter,)))
    meetings = {pair for word in (form.words if form else ()) for pair in itertools.pairwise(word)}
    for first, second in sorted(meetings):
        (a, flipped), (b, turned) = first, second
        if a == b or a not in arch.shapes or b not in arch.shapes or max_degree < 4:
            continue
        if math.prod(arch.shapes[a]) * math.prod(arch.shapes[b]) <= _MAX_PROPOSED_TERMS:
            found.append(_trace(arch, ((a, not flipped), (a, flipped), (b, turned), (b, not turned))))
    return simple, simple + found


def gram_labels(shapes: Mapping[str, tuple[int, ...]]) -> dict[SparsePolynomial, tuple[str, str]]:
    """Names for the entries of products of two factors, by which observables are recognised."""
    found: dict[SparsePolynomial, tuple[str, str]] = {}
    if sum(math.prod(shape) for shape in shapes.values()) > _MAX_LABELLED:
        return found
    matrices = _matrices(shapes)
    letters = [(name, flipped) for name in matrices for flipped in (False, True)]
    for first, second in itertools.product(letters, repeat=2):
        left, right = _letter(matrices, first), _letter(matrices, second)
        # Products of single entries say more by themselves.
        if left.shape[1] != right.shape[0] or (left.shape[1] == 1 and first[0] != second[0]):
            continue
        word = (first, second)
        for index, entry in np.ndenumerate(_product(matrices, word)):
            place = ",".join(str(i + 1) for i in index)
            label = (f"({word_text(word)})[{place}]", rf"({word_latex(word)})_{{{place}}}")
            if left.shape[0] == right.shape[1] == 1:
                label = (word_text(word), word_latex(word))
            found.setdefault(entry.primitive(), label)
    return found


def _read_text(arch: Architecture, text: str) -> Hint:
    match = _FORM.fullmatch(text)
    assert match is not None  # the last alternative takes anything
    function, inside, plain = match.groups()
    word = _read_word(arch, inside if function else plain, text)
    if function == "det":
        return _determinant(arch, word)
    if function:
        return _trace(arch, word)
    value = _product(_matrices(arch.shapes), word)
    return Hint(f"({word_text(word)})", f"({word_latex(word)})", tuple(np.ndenumerate(value)))


def _read_word(arch: Architecture, text: str, hint: str) -> Word:
    letters = []
    for part in text.replace("@", " ").replace("*", " ").split():
        name, flipped = part, False
        for ending in ("^T", ".T", "'", "ᵀ"):
            if part.endswith(ending):
                name, flipped = part.removesuffix(ending), True
        if name not in arch.shapes or not 1 <= len(arch.shapes[name]) <= 2:
            raise ValueError(
                f"Argument `hints` must name matrices or vectors of {arch.name}, {list(arch.shapes)}, but {hint!r} "
                f"holds {name!r}."
            )
        letters.append((name, flipped))
    if not letters:
        raise ValueError(f"Argument `hints` must hold products of factors, but {hint!r} holds none.")
    matrices = _matrices(arch.shapes)
    for left, right in itertools.pairwise(letters):
        if _letter(matrices, left).shape[1] != _letter(matrices, right).shape[0]:
            raise ValueError(
                f"Argument `hints` must hold products of matrices that fit, but in {hint!r} {left[0]} does not fit "
                f"{right[0]}."
            )
    return tuple(letters)


def _trace(arch: Architecture, word: Word) -> Hint:
    value = _product(_matrices(arch.shapes), word)
    _check_square(value, word)
    total = Polynomials().add_up(list(np.diagonal(value)))
    return Hint(f"tr({word_text(word)})", rf"\operatorname{{tr}}({word_latex(word)})", (((), total),))


def _determinant(arch: Architecture, word: Word) -> Hint:
    value = _product(_matrices(arch.shapes), word)
    _check_square(value, word)
    size = len(value)
    if size > _MAX_DETERMINANT:
        raise ValueError(
            f"Argument `hints` must hold determinants of size up to {_MAX_DETERMINANT}, but det({word_text(word)}) has "
            f"size {size}."
        )
    total = SparsePolynomial({})
    for order in itertools.permutations(range(size)):
        swaps = sum(a > b for a, b in itertools.combinations(order, 2))
        product = SparsePolynomial({(): (-1) ** swaps})
        for row, column in enumerate(order):
            product = product * value[row, column]
        total = total + product
    return Hint(f"det({word_text(word)})", rf"\det({word_latex(word)})", (((), total),))


def _check_square(value: np.ndarray, word: Word) -> None:
    if value.shape[0] != value.shape[1]:
        raise ValueError(
            f"Argument `hints` must hold traces and determinants of square matrices, but {word_text(word)} has shape "
            f"{value.shape}."
        )


def _matrices(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    return {
        name: array.reshape(array.shape[0], -1)
        for name, array in parameter_matrices(shapes).items()
        if 1 <= array.ndim <= 2
    }


def _letter(matrices: Mapping[str, np.ndarray], letter: tuple[str, bool]) -> np.ndarray:
    return matrices[letter[0]].T if letter[1] else matrices[letter[0]]


def _product(matrices: Mapping[str, np.ndarray], word: Sequence[tuple[str, bool]]) -> np.ndarray:
    value = _letter(matrices, word[0])[None]
    for letter in word[1:]:
        value = Polynomials().matmul(value, _letter(matrices, letter)[None])
    return value[0]
