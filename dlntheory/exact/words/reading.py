r"""`read_words`: φ as blocks, each a rational combination of words (products of named matrices and transposes)."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import numpy as np

from ...display.displayed import Displayed
from ..linear_algebra import DEFAULT_PRIME
from ..program import Program
from ..reading import read_program
from ..rings.multidual import NilpotentModular
from ..traced import traced_map
from .printing import (
    sum_latex as sum_latex,
    sum_text as sum_text,
    word_latex as word_latex,
    word_text as word_text,
)
from .ring import WordArray, Words
from .terms import Letter as Letter, NotWordsError, Word, transpose

_MAX_READINGS = 27


@dataclasses.dataclass(frozen=True)
class LetterSource:
    """What a letter stands for.

    Attributes:
        factor: name of the parameter array, or `None` for a constant matrix.
        index: the slice of the array, such as (2, slice(None), slice(None)); `()` for the whole.
        shape: rows and columns of the letter; a vector counts as one column.
        value: entries of a constant matrix (object array of `Fraction`), else `None`.
        is_frozen: whether it belongs to a factor by which JAX does not differentiate φ, see `read_program`.
    """

    factor: str | None
    index: tuple[Any, ...]
    shape: tuple[int, int]
    value: np.ndarray | None = dataclasses.field(default=None, compare=False)
    is_frozen: bool = False

    def entries(self, array: Any) -> Any:
        """The matrix in a parameter array (NumPy, JAX or any other that slices and reshapes)."""
        return array[self.index].reshape(self.shape)


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    r"""A block of $z$: at the flat positions `positions` stands $\sum_w c_w\, w$ (plus the constant part of $z$).

    Attributes:
        positions: (rows, columns) array of indices into $z$ laid out flat.
        terms: coefficient of each word.
    """

    positions: np.ndarray
    terms: dict[Word, Fraction]

    @property
    def shape(self) -> tuple[int, int]:
        """Rows and columns of the block."""
        return self.positions.shape[0], self.positions.shape[1]

    def gradient(self, flat: Any) -> Any:
        r"""The part of a flat gradient $\nabla f(z)$ that belongs to this block, as a matrix."""
        return flat[self.positions]


@dataclasses.dataclass(frozen=True, eq=False)
class WordForm(Displayed):
    r"""φ as words: $z = c + \sum_{\text{blocks}} \sum_w c_w w$, read off its jaxpr and checked at a random point.

    Attributes:
        letters: what each letter stands for, parameters first.
        blocks: the blocks; every entry of every word appears in its block. Blocks may overlap: they add up.
        constant: object array of `Fraction` in the shape of $z$.

    Example:
        >>> import jax.numpy as jnp
        >>> print(read_words(lambda p: p["U"] @ p["V"].T + jnp.eye(2), {"U": (2, 3), "V": (2, 3)}))
        z = U V^T + constant
    """

    letters: dict[str, LetterSource]
    blocks: tuple[Block, ...]
    constant: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of $z$."""
        return self.constant.shape

    @property
    def words(self) -> tuple[Word, ...]:
        """All words, each once and as it first appears, a word and its transpose counting as one."""
        found: dict[Word, Word] = {}
        for block in self.blocks:
            for word in block.terms:
                found.setdefault(canonical(word), word)
        return tuple(found.values())

    @property
    def frozen(self) -> frozenset[str]:
        """The letters that training does not move: constant matrices and frozen factors."""
        return frozenset(
            name for name, source in self.letters.items() if source.factor is None or source.is_frozen
        )

    @property
    def has_constant(self) -> bool:
        """Whether a number other than zero is added to the words."""
        return bool(np.any(self.constant != 0))

    def shape_of(self, word: Word) -> tuple[int, int]:
        """Rows and columns of a word that is not empty."""
        (first, first_flipped), (last, last_flipped) = word[0], word[-1]
        return self.letters[first].shape[int(first_flipped)], self.letters[last].shape[1 - int(last_flipped)]

    def matrices(self, params: Mapping[str, Any]) -> dict[str, Any]:
        """The value of every letter at parameters; constants are float64."""
        return {
            name: source.entries(params[source.factor])
            if source.factor is not None
            else np.asarray(source.value, dtype=np.float64)
            for name, source in self.letters.items()
        }

    def evaluate(self, params: Mapping[str, Any]) -> np.ndarray:
        """$z$ from the words, in NumPy; for checks."""
        matrices = {name: np.asarray(value) for name, value in self.matrices(params).items()}
        flat = np.asarray(self.constant, dtype=np.float64).ravel().copy()
        for block in self.blocks:
            for word, coefficient in block.terms.items():
                flat[block.positions] += float(coefficient) * word_value(word, matrices)
        return flat.reshape(self.shape)

    def latex(self) -> str:
        """$z$ as words in LaTeX, one equation for each block."""
        flat = self.constant.ravel()
        lines = [
            sum_latex(block.terms) + (r" + \mathrm{const}" if np.any(flat[block.positions] != 0) else "")
            for block in self.blocks
        ] or [r"\mathrm{const}"]
        if len(lines) == 1:
            return f"z = {lines[0]}"
        return r",\quad ".join(f"z_{{({number})}} = {line}" for number, line in enumerate(lines, start=1))

    def __repr__(self) -> str:
        shape = " x ".join(map(str, self.shape))
        return f"WordForm(z {shape}: {len(self.words)} words in {', '.join(self.letters)})"

    def _title(self) -> str:
        return "φ as words"

    def _formulas(self) -> list[str]:
        return [self.latex()]

    def __str__(self) -> str:
        flat = self.constant.ravel()
        lines = [
            sum_text(block.terms) + (" + constant" if np.any(flat[block.positions] != 0) else "")
            for block in self.blocks
        ] or ["constant"]
        if len(lines) == 1:
            return f"z = {lines[0]}"
        return "\n".join(f"z block {number} = {line}" for number, line in enumerate(lines, start=1))


@dataclasses.dataclass(frozen=True)
class NoWords:
    """φ is not a sum of words.

    Attributes:
        reason: why, as the rest of a sentence that begins with "φ has no reading as words: ".
    """

    reason: str

    def __str__(self) -> str:
        return f"φ has no reading as words: {self.reason}"


def read_words(
    phi: Callable[[dict[str, Any]], Any],
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    seed: int = 0,
    allow_frozen: bool = False,
) -> WordForm | NoWords:
    r"""φ as blocks of words in its named matrices, or the reason why it has no such form.

    Read off the jaxpr, so it does not matter how φ is written: `@`, `.T`, `einsum`, `vmap`, `reshape`, `concatenate`,
    `kron` with a constant, sums, scalar factors. Vectors count as one column; arrays with three axes as one matrix
    for each index of one axis. Constant matrices inside a product become letters of their own.

    Args:
        phi: an `Architecture`, or a function that maps a dict of named arrays to one array.
        shapes: name of each factor and its shape, for a plain function.
        seed: determines the point at which words and φ are compared, exactly modulo a prime.
        allow_frozen: whether the caller heeds `WordForm.frozen`: frozen factors have no velocity. Without it a φ that
            freezes a factor has no reading.

    Returns:
        A `WordForm`, or `NoWords` with the reason.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational, or JAX's derivative is not that of its value.
        RuntimeError: words and φ differ at the random point, which would be a defect of this function.

    Validity:
        Exact for the φ that was traced. Scalar parameters are refused: words do not commute, numbers do. A φ that
        shows only part of a word (the diagonal of $UV^\top$, say) is refused, as it obeys smaller equations.
    """
    traced = traced_map(phi, shapes)
    named = traced.shapes
    if wrong := [name for name, shape in named.items() if not 1 <= len(shape) <= 3]:
        axes = len(named[wrong[0]])
        kind = "a scalar, and scalars commute" if not axes else f"an array with {axes} axes"
        return NoWords(f"its parameter {wrong[0]} is {kind}")
    reading = read_program(traced)
    if reading.frozen and not allow_frozen:
        return NoWords(f"{', '.join(sorted(reading.frozen))} is frozen by {reading.cause}")
    reasons: list[str] = []
    for stacked in _readings(named):
        sources = _sources(named, stacked, reading.frozen)
        try:
            form = _form(reading.program, named, sources, stacked)
        except NotWordsError as refused:
            reasons.append(str(refused))
            continue
        _check(reading.program, named, form, seed)
        return form
    return NoWords(reasons[0])


def canonical(word: Word) -> Word:
    """The smaller of a word and its transpose."""
    return min(word, transpose(word))


def word_value(word: Word, matrices: Mapping[str, Any]) -> Any:
    """The product of the letters, left to right."""
    parts = [matrices[name].T if flipped else matrices[name] for name, flipped in word]
    value = parts[0]
    for part in parts[1:]:
        value = value @ part
    return value


def _readings(shapes: Mapping[str, tuple[int, ...]]) -> list[dict[str, int]]:
    """Which axis of each three-axis parameter counts matrices: the same one for all first."""
    names = [name for name, shape in shapes.items() if len(shape) == 3]
    choices = sorted(itertools.product(range(3), repeat=len(names)), key=lambda axes: len(set(axes)))
    return [dict(zip(names, axes, strict=True)) for axes in choices[:_MAX_READINGS]]


def _sources(
    shapes: Mapping[str, tuple[int, ...]], stacked: Mapping[str, int], frozen: frozenset[str]
) -> dict[str, LetterSource]:
    sources = {}
    for name, shape in shapes.items():
        fixed = name in frozen
        if len(shape) < 3:
            whole = (math.prod(shape[:1]), math.prod(shape[1:]))
            sources[name] = LetterSource(name, (), whole, is_frozen=fixed)
            continue
        axis = stacked[name]
        rest = tuple(n for place, n in enumerate(shape) if place != axis)
        for position in range(shape[axis]):
            index = tuple(position if place == axis else slice(None) for place in range(3))
            label = f"{name}[{','.join(str(position) if place == axis else ':' for place in range(3))}]"
            label = f"{name}[{position}]" if axis == 0 else label
            sources[label] = LetterSource(name, index, (rest[0], rest[1]), is_frozen=fixed)
    return sources


def _form(
    program: Program,
    shapes: Mapping[str, tuple[int, ...]],
    sources: Mapping[str, LetterSource],
    stacked: Mapping[str, int],
) -> WordForm:
    """The program over the word ring.

    Raises:
        NotWordsError: it leaves the ring, or shows only part of a word.
    """
    ring = Words({name: source.shape for name, source in sources.items()})
    inputs = {}
    for name, shape in shapes.items():
        terms = []
        for letter, source in sources.items():
            if source.factor != name:
                continue
            rows, columns = np.full(shape, -1), np.full(shape, -1)
            where = np.indices(source.shape).reshape(2, *rows[source.index].shape)
            rows[source.index], columns[source.index] = where
            terms.append(ring.letter(letter, rows, columns))
        inputs[name] = WordArray(np.full(shape, Fraction(0), dtype=object), tuple(terms))
    output = ring.settled(jax.tree_util.tree_leaves(program.evaluate(ring, inputs))[0])
    blocks: dict[bytes, Block] = {}
    for term in output.terms:
        (factor,) = term.factors
        for positions, word in _placements(factor, ring.shape_of(factor.word), output.constant.shape):
            key = str(positions.shape).encode() + positions.tobytes()
            block = blocks.setdefault(key, Block(positions, {}))
            block.terms[word] = block.terms.get(word, Fraction(0)) + term.coefficient
    for block in blocks.values():
        for word in [word for word, coefficient in block.terms.items() if not coefficient]:
            del block.terms[word]
    kept = sorted(
        (block for block in blocks.values() if block.terms), key=lambda b: tuple(b.positions.ravel())
    )
    used = {name for block in kept for word in block.terms for name, _ in word}
    constants = {
        name: LetterSource(None, (), (value.shape[0], value.shape[1]), value)
        for name, value in ring.constants.items()
        if name in used
    }
    return WordForm({**sources, **constants}, tuple(kept), output.constant)


def _placements(
    factor: Any, shape: tuple[int, int], z_shape: tuple[int, ...]
) -> list[tuple[np.ndarray, Word]]:
    """The flat positions of a word in $z$, once for each time that it stands there.

    All entries of the word have to appear, and equally often; copies are told apart by the order of their positions.
    """
    flat_rows, flat_columns = factor.rows.ravel(), factor.columns.ravel()
    support = np.flatnonzero((flat_rows >= 0) & (flat_columns >= 0))
    entries = flat_rows[support] * shape[1] + flat_columns[support]
    counts = np.bincount(entries, minlength=math.prod(shape))
    if counts.min() != counts.max():
        raise NotWordsError(f"z holds only part of {word_text(factor.word)}")
    table = support[np.argsort(entries, kind="stable")].reshape(math.prod(shape), counts[0])
    return [_oriented(copy.reshape(shape), factor.word, z_shape) for copy in table.T]


def _oriented(positions: np.ndarray, word: Word, z_shape: tuple[int, ...]) -> tuple[np.ndarray, Word]:
    """A block and its word as they stand in $z$, row by row, and not transposed."""
    rows, columns = positions.shape
    if rows > 1 and columns > 1:
        stands = bool(positions[0, 1] < positions[1, 0])
    elif len(z_shape) == 2 and rows != columns:
        row_of = np.unravel_index(positions.ravel()[:2], z_shape)[0]
        stands = bool(row_of[0] == row_of[1]) == (rows == 1)
    else:
        stands = columns == 1
    return (positions, word) if stands else (np.ascontiguousarray(positions.T), transpose(word))


def _check(program: Program, shapes: Mapping[str, tuple[int, ...]], form: WordForm, seed: int) -> None:
    """Words and φ at one random integer point, equal modulo a prime."""
    ring, rng = NilpotentModular(DEFAULT_PRIME), np.random.default_rng(seed)
    point = {name: rng.integers(0, DEFAULT_PRIME, (1, *shape)) for name, shape in shapes.items()}
    arrays = {name: ring.from_integers(value) for name, value in point.items()}
    expected = jax.tree_util.tree_leaves(program.evaluate(ring, arrays))[0][0, 0].ravel()
    matrices = {
        name: source.entries(point[source.factor][0])
        if source.factor is not None
        else ring.from_fractions(source.value)[0, 0]  # pyright: ignore[reportArgumentType]
        for name, source in form.letters.items()
    }
    total = ring.from_fractions(form.constant)[0, 0].ravel()
    for block in form.blocks:
        for word, coefficient in block.terms.items():
            value = _word_residues(ring, word, matrices)
            scale = coefficient.numerator * pow(coefficient.denominator, -1, ring.prime) % ring.prime
            total[block.positions] = (total[block.positions] + value * scale) % ring.prime
    if not np.array_equal(total, expected):
        raise RuntimeError(
            f"The words read off φ must equal it, but differ at {np.sum(total != expected)} of {total.size} entries of "
            f"z at a random point modulo {ring.prime}. Please report this φ."
        )


def _word_residues(ring: NilpotentModular, word: Word, matrices: Mapping[str, np.ndarray]) -> np.ndarray:
    parts = [matrices[name].T if flipped else matrices[name] for name, flipped in word]
    value = parts[0][None, None, None]
    for part in parts[1:]:
        value = ring.matmul(value, part[None, None, None])
    return value[0, 0, 0]
