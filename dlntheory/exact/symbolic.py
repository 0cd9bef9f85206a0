"""φ in SymPy: its symbols by name, z as expressions, LaTeX."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import sympy

from ..display.displayed import Displayed
from ..display.latex import latex_name
from .program import Program
from .reading import read_program
from .rings.base import Expressions, Rationals

MAX_PRODUCTS = 20_000
_MAX_PRINTED_TERMS = 300


@dataclass(frozen=True, eq=False)
class SymbolicMap(Displayed):
    """A polynomial or rational map with names: what `symbolic_map` returns.

    Attributes:
        symbols: name of each factor and the object array of its SymPy symbols; entry (1, 2) of `W1` is
            `W1_{1,2}`, counted from one.
        z: the output, unexpanded: an `ImmutableDenseMatrix` if it has two axes, else an
            `ImmutableDenseNDimArray`.
        frozen: names of the factors by which JAX does not differentiate φ; in equations of motion they are constants.
    """

    symbols: dict[str, np.ndarray]
    z: Any
    program: Program = field(repr=False)
    frozen: frozenset[str] = frozenset()

    def latex(self) -> str:
        """$z$ in LaTeX, whole. Greek names are set as such."""
        pretty = {
            symbol: latex_name(name, index)
            for name, array in self.symbols.items()
            for index, symbol in np.ndenumerate(array)
        }
        return sympy.latex(self.z, symbol_names=pretty)

    def evaluate(self, params: Mapping[str, Any]) -> np.ndarray:
        """$z$ at rational parameters, exactly.

        Args:
            params: name of each factor and its entries: integers, fractions, or floats, read as
                `simplest_fraction`.

        Returns:
            An object array of `flint.fmpq`, of the shape of $z$.
        """
        ring = Rationals()
        return self.program.evaluate(ring, {name: ring.constant(params[name]) for name in self.symbols})

    @property
    def printed_terms(self) -> int:
        """The number of symbols and numbers that printing $z$ would take."""
        counts: dict[Any, int] = {}
        return sum(_leaves(entry, counts) for entry in _entries(self.z))

    def __str__(self) -> str:
        return f"z = {self.z}" if self.printed_terms <= _MAX_PRINTED_TERMS else self._summary()

    def __repr__(self) -> str:
        return f"SymbolicMap({self._summary()})"

    def _title(self) -> str:
        return "φ with symbols"

    def _formulas(self) -> list[str]:
        return [self._shown()]

    def _shown(self) -> str:
        if self.printed_terms <= _MAX_PRINTED_TERMS:
            return f"z = {self.latex()}"
        domain = r" \times ".join(
            rf"\mathbb{{R}}^{{{_times(array.shape)}}}" for array in self.symbols.values()
        )
        return rf"\varphi : {domain} \to \mathbb{{R}}^{{{_times(self.z.shape)}}}"

    def _summary(self) -> str:
        factors = ", ".join(f"{name}{list(array.shape)}" for name, array in self.symbols.items())
        return f"z{list(self.z.shape)} of {factors}, {self.printed_terms} terms"


def symbolic_map(
    phi: Callable[[dict[str, Any]], Any], shapes: Mapping[str, tuple[int, ...]] | None = None
) -> SymbolicMap:
    """φ in SymPy, read off its jaxpr.

    Args:
        phi: an `Architecture`, or a polynomial or rational JAX function of a dict of named arrays, with one array
            as its
            value.
        shapes: name of each factor and its shape, for a plain function.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational, or JAX's derivative is not that of its value.
        ValueError: more than 20000 scalar products or entries, two symbols of one name, or no single output.

    Example:
        >>> print(symbolic_map(lambda p: p["u"] * p["v"], {"u": (), "v": (2,)}))
        z = [u*v_{1}, u*v_{2}]
    """
    reading = read_program(phi, shapes)
    program, shapes = reading.program, reading.map.shapes
    sizes = [math.prod(shape) for shape in (*shapes.values(), *program.output_shapes)]
    work = max(program.products, *sizes)
    if work > MAX_PRODUCTS:
        raise ValueError(
            f"Argument `shapes` must be small enough to be read as expressions, at most {MAX_PRODUCTS} "
            f"scalar products or entries, but this φ takes {work}. Take smaller shapes: the formulas are the "
            "same; or evaluate φ exactly at points: `dlntheory.exact.interpret` over `Rationals()`."
        )
    symbols = {name: symbols_of(name, shape) for name, shape in shapes.items()}
    _check_distinct(symbols)
    z = program.evaluate(Expressions(), symbols)
    entries = z.ravel().tolist()
    if z.ndim == 2:
        return SymbolicMap(symbols, sympy.ImmutableDenseMatrix(*z.shape, entries), program, reading.frozen)
    return SymbolicMap(symbols, sympy.ImmutableDenseNDimArray(entries, z.shape), program, reading.frozen)


def symbols_of(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """The SymPy symbols of the entries of a factor; entry (1, 2) of `W1` is `W1_{1,2}`, counted from one."""
    array = np.empty(shape, dtype=object)
    for index in itertools.product(*map(range, shape)):
        array[index] = sympy.Symbol(name + _subscript(index))
    return array


def _subscript(index: tuple[int, ...]) -> str:
    # Commas, since W_{111} could be entry (1, 11) or (11, 1).
    return f"_{{{','.join(str(i + 1) for i in index)}}}" if index else ""


def _check_distinct(symbols: dict[str, np.ndarray]) -> None:
    owner: dict[Any, str] = {}
    for name, array in symbols.items():
        for symbol in array.ravel():
            if symbol in owner:
                raise ValueError(
                    f"Argument `shapes` must lead to distinct symbols, but both '{owner[symbol]}' and "
                    f"'{name}' have an entry called {symbol}; rename a factor."
                )
            owner[symbol] = name


def _entries(z: Any) -> list[Any]:
    return list(z.flat()) if isinstance(z, sympy.MatrixBase) else list(sympy.flatten(z.tolist()))


def _leaves(expression: Any, counts: dict[Any, int]) -> int:
    """Leaves of the expression tree; shared parts are walked once, as the tree can be far larger."""
    if not expression.args:
        return 1
    if expression not in counts:
        counts[expression] = sum(_leaves(part, counts) for part in expression.args)
    return counts[expression]


def _times(shape: tuple[int, ...]) -> str:
    return r" \times ".join(map(str, shape)) or "1"
