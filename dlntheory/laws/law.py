"""`Law`: a conserved quantity, as exact polynomials, as a formula in named matrices and as a JAX function."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from ..display.text import card
from ..exact.linear_algebra import DEFAULT_PRIME, modular_rank
from ..exact.rings.polynomials import SparsePolynomial, from_sympy
from ..exact.symbolic import symbols_of
from .matrix_terms import (
    Blocks,
    Term,
    factor_value,
    indexed,
    kind_of,
    term_of_label,
    value_shape,
    value_triangle,
)
from .monomials import gradients_of_terms
from .printing import latex_polynomial, latex_sum, text_sum

IDENTITY = "identity in Q[theta]"
RANDOM_POINTS = "random points only"
NOT_VERIFIED = "not verified"

# Explicit laws with more entries show the first ones.
_MAX_SHOWN = 12


@dataclasses.dataclass(frozen=True, repr=False)
class Law:
    r"""A quantity that a system conserves, whatever the loss; one law may have many entries.

    Given either by `terms`, a rational combination of Gram matrices, norms and sums of named blocks, or by explicit
    `entries`, polynomials in the coordinates (pairs of numerator and denominator for a rational law).

    Attributes:
        kind: `"linear"`, `"matrix"`, `"diagonal"`, `"norm"`, `"polynomial"`, `"rational"` or `"noether"`.
        name: a short name in plain text.
        statement: LaTeX.
        blocks: names and shapes of the arrays that hold the coordinates, in their order.
        terms: the structured description, or `None`.
        entries: explicit polynomials, or `None` where `terms` says it all.
        verified: how it is known to be conserved: `"identity in Q[theta]"`, `"structural theorem T9"`,
            `"structural theorem T10"`, `"random points only"`, or `"not verified"`.

    Example:
        >>> law = law_of_terms((("W1", (2, 3)), ("W2", (1, 2))), [(1, "W2", "gram-left"), (-1, "W1", "gram-right")])
        >>> print(law)
        W2^T W2 - W1 W1^T
        >>> law.statement, law.kind, len(law.polynomials)
        ('W_{2}^\\top W_{2} - W_{1} W_{1}^\\top', 'matrix', 3)
    """

    kind: str
    name: str
    statement: str
    blocks: Blocks
    terms: tuple[Term, ...] | None = None
    entries: tuple[Any, ...] | None = None
    verified: str = NOT_VERIFIED

    def __post_init__(self):
        if (self.terms is None) == (self.entries is None):
            raise ValueError("Argument `terms` must be given exactly if `entries` is not, but is not.")

    @functools.cached_property
    def polynomials(self) -> tuple[Any, ...]:
        """One `SparsePolynomial` for each independent entry; (numerator, denominator) for a rational law."""
        if self.terms is None:
            return self.entries or ()
        totals: list[dict[tuple[int, ...], Any]] = [{} for _ in range(self.size)]
        one = self.dimension
        for term in self.terms:
            indices, signs = indexed(term, self.blocks)
            values = [term.coefficient * int(sign) for sign in signs]
            for total, rows in zip(totals, np.sort(indices, axis=2).tolist(), strict=True):
                for row, value in zip(rows, values, strict=True):
                    monomial = tuple(variable for variable in row if variable != one)
                    total[monomial] = total.get(monomial, 0) + value
        return tuple(SparsePolynomial(total) for total in totals)

    @property
    def matrix_form(self) -> tuple[tuple[Fraction, str | tuple[str, ...], str], ...] | None:
        """(coefficient, block, form) of each term, such as (1, "W2", "gram-left"), or `None`."""
        if self.terms is None:
            return None
        return tuple(
            (
                term.coefficient,
                term.blocks[0] if len(term.blocks) == 1 else term.blocks,
                term.label(self.blocks),
            )
            for term in self.terms
        )

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return sum(math.prod(shape) for _, shape in self.blocks)

    @functools.cached_property
    def size(self) -> int:
        """The number of independent entries as functions of the index; their rank may be smaller."""
        if self.terms is None:
            return len(self.entries or ())
        return len(indexed(self.terms[0], self.blocks)[0])

    @functools.cached_property
    def degree(self) -> int:
        """The largest degree of an entry, of its numerator and denominator if it is rational."""
        flat = [part for entry in self.polynomials for part in (entry if self.is_rational else (entry,))]
        return max((polynomial.degree for polynomial in flat), default=0)

    @property
    def is_rational(self) -> bool:
        """Whether the entries are quotients."""
        return self.kind == "rational"

    @functools.cached_property
    def rank(self) -> int:
        """The number of functionally independent entries: the rank of the gradients at a random point mod p."""
        return self.rank_at(np.random.default_rng(0).integers(1, DEFAULT_PRIME, size=self.dimension))

    def rank_at(self, point: np.ndarray, prime: int = DEFAULT_PRIME) -> int:
        """The rank of the gradients at a point modulo a prime: at most `rank`, and equal to it almost everywhere."""
        return modular_rank(self.gradients_mod_p(point, prime), prime)

    def __hash__(self) -> int:
        # Polynomials of thousands of terms are hashed once, not at each call of what is compiled for the law.
        return self._hash

    @functools.cached_property
    def _hash(self) -> int:
        return hash((self.kind, self.name, self.blocks, self.terms, self.entries, self.verified))

    def gradients_mod_p(self, point: np.ndarray, prime: int = DEFAULT_PRIME) -> np.ndarray:
        r"""The gradients of the entries modulo a prime, (entries, D).

        For a rational law $a/b$ that of $b^2\,\nabla(a/b) = b\nabla a - a\nabla b$, which never divides and spans
        the same line.

        Raises:
            ValueError: a point of another length, or the prime divides a denominator.
        """
        point = np.asarray(point, dtype=np.int64) % prime
        if point.shape != (self.dimension,):
            raise ValueError(
                f"Argument `point` must have shape ({self.dimension},), but has shape {point.shape}."
            )
        if self.terms is not None:
            return gradients_of_terms(self.terms, self.blocks, point, prime)
        rows = np.zeros((self.size, self.dimension), dtype=np.int64)
        for row, entry in zip(rows, self.polynomials, strict=True):
            if self.is_rational:
                top, bottom = entry
                a, b = top.evaluate_mod(point, prime), bottom.evaluate_mod(point, prime)
                row[:] = (b * top.gradient_mod(point, prime) - a * bottom.gradient_mod(point, prime)) % prime
            else:
                row[:] = entry.gradient_mod(point, prime)
        return rows

    def __call__(self, params: Mapping[str, Any]) -> jax.Array:
        """The conserved matrix, vector or number; for explicit entries their vector. Pure: jit, vmap, grad."""
        if self.terms is not None:
            parts = [float(term.coefficient) * factor_value(term, params) for term in self.terms]
            return functools.reduce(jnp.add, parts)
        flat = jnp.concatenate([jnp.ravel(jnp.asarray(params[name])) for name, _ in self.blocks])
        if not self.is_rational:
            return _values(self.polynomials, flat)
        tops, bottoms = zip(*self.polynomials, strict=True)
        return _values(tops, flat) / _values(bottoms, flat)

    def gradient(self, params: Mapping[str, Any]) -> dict[str, jax.Array]:
        """The derivative of `__call__`, block by block, of shape value shape + block shape."""
        return jax.jacobian(self.__call__)({name: jnp.asarray(params[name]) for name, _ in self.blocks})

    @property
    def symbols(self) -> tuple[sympy.Symbol, ...]:
        """The SymPy symbols of the coordinates, named as in `Architecture.symbolic`."""
        return coordinate_symbols(self.blocks)

    @functools.cached_property
    def expressions(self) -> tuple[sympy.Expr, ...]:
        """The independent entries in SymPy."""
        symbols = self.symbols
        if self.is_rational:
            return tuple(a.to_sympy(symbols) / b.to_sympy(symbols) for a, b in self.polynomials)
        return tuple(polynomial.to_sympy(symbols) for polynomial in self.polynomials)

    @property
    def value_shape(self) -> tuple[int, ...]:
        """The shape of what `__call__` returns."""
        return (self.size,) if self.terms is None else value_shape(self.terms[0], self.blocks)

    @functools.cached_property
    def positions(self) -> np.ndarray:
        """Where the independent entries stand in the flat value of `__call__`."""
        return np.arange(self.size) if self.terms is None else value_triangle(self.terms[0], self.blocks)

    @property
    def matrix(self) -> sympy.ImmutableDenseMatrix | None:
        """The whole matrix in SymPy if the value is one, else `None`."""
        if self.terms is None or len(self.value_shape) != 2:
            return None
        rows, columns = self.value_shape
        mirrored = -1 if self.kind == "noether" else 1
        entries: list[list[sympy.Expr]] = [[sympy.S.Zero] * columns for _ in range(rows)]
        for position, expression in zip(self.positions, self.expressions, strict=True):
            i, j = divmod(int(position), columns)
            if self.size < rows * columns:
                entries[j][i] = mirrored * expression
            entries[i][j] = expression
        return sympy.ImmutableDenseMatrix(entries)

    def change(self, rule: Any) -> Any:
        """How a training rule changes the law in a step, or at which rate: an exact identity.

        Args:
            rule: a training rule; the answer, a `dlntheory.training.LawChange`, is that of its `law_change`.

        Raises:
            TypeError: `rule` is no training rule.
            NotApplicableError: no exact identity is known for this rule, or for this law under it.
        """
        change = getattr(rule, "law_change", None)
        if change is None:
            raise TypeError(
                f"Argument `rule` must be a training rule with a method `law_change`, but is {rule!r}."
            )
        return change(self)

    def latex(self) -> str:
        """The statement in LaTeX."""
        return self.statement

    def __str__(self) -> str:
        return self.name

    def __repr__(self) -> str:
        plural = "entry" if self.size == 1 else "entries"
        return f"Law({self.name}: {self.kind}, {self.size} {plural}, {self.verified})"

    def _repr_latex_(self) -> str:
        return rf"$\displaystyle {self.statement} = \text{{const}}$"

    def _repr_html_(self) -> str:
        facts = {"kind": self.kind, "entries": self.size, "verified": self.verified}
        return card("Conservation law", formulas=rf"{self.statement} = \text{{const}}", facts=facts)


def law_of_terms(
    blocks: Blocks,
    terms: Sequence[Term | tuple[Any, Any, str]],
    *,
    time: str = "s",
    verified: str = NOT_VERIFIED,
) -> Law:
    """A law from its terms: `Term`s, or triples such as `(1, "W2", "gram-left")`.

    Args:
        blocks: names and shapes of the state's arrays, as a system has them.
        terms: labels are `"gram-left"` ($W^\\top W$), `"gram-right"` ($W W^\\top$), `"outer"` ($b b^\\top$),
            `"diag-left"` and `"diag-right"` (their diagonals), `"square"` (entry by entry), `"norm"`, `"row-sum"`,
            `"column-sum"`, `"sum"`, `"entry"`.
        time: LaTeX of the coordinate `s` of a momentum system.
        verified: how it is known to be conserved; `dlntheory.laws.proof.verification` finds out.

    Raises:
        ValueError: an unknown block or label, or terms of different shapes.
    """
    known = dict(blocks)
    built = tuple(
        term if isinstance(term, Term) else term_of_label(Fraction(term[0]), term[1], term[2], known)
        for term in terms
    )
    if not built:
        raise ValueError("Argument `terms` must not be empty, but is.")
    shapes = {(value_shape(term, blocks), len(value_triangle(term, blocks))) for term in built}
    if len(shapes) > 1:
        raise ValueError(f"Argument `terms` must all have one shape, but have {sorted(shapes)}.")
    return Law(
        kind=kind_of(built),
        name=text_sum(built, known),
        statement=latex_sum(built, known, time),
        blocks=blocks,
        terms=built,
        verified=verified,
    )


def law_of_polynomials(
    blocks: Blocks, polynomials: Sequence[SparsePolynomial], *, verified: str = NOT_VERIFIED
) -> Law:
    """A law from explicit polynomials in the coordinates."""
    kind = "linear" if all(polynomial.degree <= 1 for polynomial in polynomials) else "polynomial"
    return _explicit(blocks, kind, tuple(polynomials), verified)


def law_of_quotients(
    blocks: Blocks,
    pairs: Sequence[tuple[SparsePolynomial, SparsePolynomial]],
    *,
    verified: str = NOT_VERIFIED,
) -> Law:
    """A law from pairs of numerator and denominator."""
    return _explicit(blocks, "rational", tuple(pairs), verified)


def law_of_expressions(blocks: Blocks, expressions: Sequence[Any]) -> Law:
    """A law from SymPy polynomials in the symbols of `coordinate_symbols`.

    Raises:
        ValueError: an unknown symbol, a float coefficient, or no polynomial.
    """
    symbols = coordinate_symbols(blocks)
    return law_of_polynomials(blocks, [from_sympy(expression, symbols) for expression in expressions])


@functools.lru_cache(maxsize=32)
def coordinate_symbols(blocks: Blocks) -> tuple[sympy.Symbol, ...]:
    """The SymPy symbols of the coordinates, named as in `Architecture.symbolic`: `W1_{1,2}`."""
    return tuple(symbol for name, shape in blocks for symbol in symbols_of(name, shape).ravel())


def coordinate_names(blocks: Blocks) -> tuple[str, ...]:
    """The names of the coordinates in plain text: `W1[1,2]`."""
    return tuple(
        name + (f"[{','.join(str(i + 1) for i in index)}]" if shape else "")
        for name, shape in blocks
        for index in np.ndindex(*shape)
    )


def _explicit(blocks: Blocks, kind: str, entries: tuple[Any, ...], verified: str) -> Law:
    names, shown = coordinate_names(blocks), entries[:_MAX_SHOWN]

    def text(entry: Any) -> str:
        if kind != "rational":
            return entry.text(names)
        return f"({entry[0].text(names)}) / ({entry[1].text(names)})"

    def latex(entry: Any) -> str:
        if kind != "rational":
            return latex_polynomial(entry, blocks)
        return rf"\frac{{{latex_polynomial(entry[0], blocks)}}}{{{latex_polynomial(entry[1], blocks)}}}"

    more = "" if len(entries) <= _MAX_SHOWN else f", and {len(entries) - _MAX_SHOWN} more"
    return Law(
        kind=kind,
        name=", ".join(map(text, shown)) + more,
        statement=r",\; ".join(map(latex, shown)) + (rf"\text{{{more}}}" if more else ""),
        blocks=blocks,
        entries=entries,
        verified=verified,
    )


def _values(polynomials: Sequence[SparsePolynomial], flat: jax.Array) -> jax.Array:
    """The values of polynomials at a flat point: one gather, one product, one sum by polynomial."""
    degree = max((polynomial.degree for polynomial in polynomials), default=0)
    parts = [polynomial.arrays(flat.size, degree) for polynomial in polynomials]
    rows = np.concatenate([indices for indices, _ in parts])
    owner = np.repeat(np.arange(len(parts)), [len(values) for _, values in parts])
    coefficients = [int(v.p) / int(v.q) for _, values in parts for v in values]
    padded = jnp.concatenate([flat, jnp.ones(1, dtype=flat.dtype)])
    products = jnp.asarray(coefficients, dtype=flat.dtype) * jnp.prod(padded[rows], axis=1)
    return jax.ops.segment_sum(products, jnp.asarray(owner), num_segments=len(parts))
