"""`EntrySystem`: a closure of entries as a system of scalar equations, in numbers and in symbols."""

from __future__ import annotations

import functools
import math
from collections.abc import Hashable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy
from sympy.printing.latex import translate

from ...._errors import NotApplicableError
from ....display.text import latex_escaped
from ....exact.rings.polynomials import SparsePolynomial
from ....training import State, Training
from ..closed_system import AbstractClosedSystem, Observable, ObservableLaw
from .monomial_sums import Table, combination_expression, table
from .polynomial_laws import polynomial_laws
from .scalar_equations import EntryClosure
from .scalar_search import fraction_polynomial


class EntrySystem(AbstractClosedSystem):
    """The closed equations of entries. The state is one vector `o`.

    Args:
        closure: the result of the search.
        shapes: name of each parameter array and its shape, in the order of the variables.
        z_shape: the shape of $z$.
        labels: what some polynomials are called, by primitive polynomial: plain text and LaTeX.
    """

    def __init__(
        self,
        closure: EntryClosure,
        shapes: Mapping[str, tuple[int, ...]],
        z_shape: tuple[int, ...],
        labels: Mapping[SparsePolynomial, tuple[str, str]],
    ):
        self.closure, self.shapes, self.z_shape = closure, dict(shapes), z_shape
        self._labels = dict(labels)
        count, pieces = len(closure.generators), len(closure.pieces)
        keys = list(closure.table)
        self._moves = table([closure.table[key] for key in keys], count)
        self._moved = np.array([g for g, _ in keys], dtype=np.int64)[self._moves.owner]
        self._along = np.array([k for _, k in keys], dtype=np.int64)[self._moves.owner]
        self._pieces = table(closure.pieces, count)
        self._start = table([fraction_polynomial(g.polynomial) for g in closure.generators], self.dimension)
        self._shares = np.zeros((len(closure.shares), pieces))
        for row, share in zip(self._shares, closure.shares, strict=True):
            for piece, value in share.items():
                row[piece] = float(value)

    @property
    def dimension(self) -> int:
        """The number of parameters."""
        return sum(math.prod(shape) for shape in self.shapes.values())

    @functools.cached_property
    def observables(self) -> tuple[Observable, ...]:
        names = self._names
        return tuple(
            Observable(
                name,
                (),
                self._labels.get(
                    g.polynomial.primitive(), (_shown(g.polynomial.text(self._coordinates)), "")
                )[0],
                self._labels.get(g.polynomial.primitive(), ("", ""))[1]
                or self._polynomial_latex(g.polynomial),
                {factor: n for factor, n in zip(self.shapes, g.degree, strict=True) if n},
                g.of_z,
            )
            for name, g in zip(names, self.closure.generators, strict=True)
        )

    @functools.cached_property
    def content(self) -> Hashable:
        one = self.closure
        equations = tuple((key, tuple(entry.items())) for key, entry in one.table.items())
        pieces = tuple(tuple(piece.items()) for piece in one.pieces)
        shares = tuple(tuple(share.items()) for share in one.shares)
        constant = tuple(one.constant.ravel().tolist())
        return tuple(self.shapes.items()), self.z_shape, one.generators, pieces, equations, shares, constant

    @property
    def level(self) -> str:
        return "entries"

    @property
    def is_determined_by_output(self) -> bool:
        of_z = all(generator.of_z for generator in self.closure.generators)
        return of_z and int(np.linalg.matrix_rank(self._shares)) == self._shares.shape[1]

    @functools.cached_property
    def laws(self) -> tuple[ObservableLaw, ...]:
        return polynomial_laws(self.closure, self.dimension, self.symbols)

    @property
    def numbers(self) -> int:
        return len(self.closure.generators)

    @property
    def independent_entries(self) -> int:
        return len(self.closure.generators)

    @property
    def variables(self) -> int:
        return len(self.closure.generators)

    @functools.cached_property
    def equations(self) -> dict[str, sympy.Expr]:
        symbols = self.symbols
        gradient = [sympy.Symbol("G" + subscript(index)) for index in np.ndindex(self.z_shape)]
        along: dict[int, Any] = {}
        for place, share in enumerate(self.closure.shares):
            for piece, value in share.items():
                scale = sympy.Rational(value.numerator, value.denominator)
                along[piece] = along.get(piece, sympy.Integer(0)) + scale * gradient[place]
        found: dict[str, Any] = dict.fromkeys(self._names, sympy.Integer(0))
        for (generator, piece), entry in self.closure.table.items():
            found[self._names[generator]] -= along[piece] * combination_expression(entry, symbols)
        return found

    @functools.cached_property
    def symbols(self) -> list[sympy.Symbol]:
        """The SymPy symbol of each observable."""
        return [sympy.Symbol(name) for name in self._names]

    def initial(self, theta: Mapping[str, Any]) -> State:
        flat = jnp.concatenate([jnp.ravel(jnp.asarray(theta[factor])) for factor in self.shapes])
        return {"o": self._start(flat)}

    def velocity(self, state: State, gradient: Any) -> State:
        values = state["o"]
        along = jnp.asarray(self._shares.T) @ jnp.ravel(gradient)
        terms = self._moves
        moves = Table(terms.rows, terms.coefficients, self._moved, len(values))
        return {"o": -moves(values, along[self._along])}

    def output(self, state: State) -> Any:
        constant = jnp.asarray(np.asarray(self.closure.constant, dtype=np.float64))
        return jnp.reshape(constant + jnp.asarray(self._shares) @ self._pieces(state["o"]), self.z_shape)

    def integrated(self, theta: Mapping[str, Any]) -> State:
        return self.initial(theta)

    def integrated_velocity(self, t: Any, integrated: State, training: Training) -> State:
        change = self.velocity(integrated, jax.grad(training.loss)(self.output(integrated)))["o"]
        if training.is_decaying:
            # Each observable is homogeneous in every factor.
            degrees = np.array([generator.degree for generator in self.closure.generators], dtype=float)
            decays = jnp.stack([jnp.asarray(training.decay_of(factor, t)) for factor in self.shapes])
            change = change - degrees @ decays * integrated["o"]
        return {"o": training.speed(t) * change}

    def integrated_output(self, integrated: State) -> Any:
        return self.output(integrated)

    def integrated_observables(self, integrated: State) -> State:
        return integrated

    def check(self, training: Training) -> None:
        if training.rates:
            raise NotApplicableError(
                "Argument `rates` must be empty for equations of single entries, which are derived for equal layer "
                f"rates, but is { {name: float(rate) for name, rate in training.rates.items()} }.",
                requirement="equal layer rates",
                measured=training.conventions,
                remedy="Use the full flow, or a closure of matrix equations.",
            )

    @property
    def rules(self) -> tuple[str, ...]:
        return ()

    def violations(self, theta: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        return {}

    def lines(self) -> list[str]:
        return [f"{name}' = {expression}" for name, expression in self.equations.items()]

    def latex_lines(self) -> list[str]:
        return [
            rf"\dot{{{sympy.latex(symbol)}}} &= {sympy.latex(expression)}"
            for symbol, expression in zip(self.symbols, self.equations.values(), strict=True)
        ]

    def python(self) -> str:
        parts = {
            "_START": self._start,
            "_PIECES": self._pieces,
            "_MOVES": Table(self._moves.rows, self._moves.coefficients, self._moved, self.numbers),
        }
        lines = ["import jax.numpy as jnp", ""]
        lines.append(
            "# Sums of monomials: rows of factors (the last number stands for 1), coefficients, which sum."
        )
        for name, one in parts.items():
            lines += [
                f"{name} = (",
                f"    jnp.array({one.rows.tolist()!r}),",
                f"    jnp.array({one.coefficients.tolist()!r}),",
                f"    jnp.array({one.owner.tolist()!r}, dtype=int),",
                f"    {one.size},",
                ")",
            ]
        lines += [
            "# Which piece of z moves a term, what share of each piece an entry of z is, and its constant part.",
            f"_ALONG = jnp.array({self._along.tolist()!r}, dtype=int)",
            f"_SHARES = jnp.array({self._shares.tolist()!r})",
            f"_CONSTANT = jnp.array({[float(value) for value in self.closure.constant]!r})",
            _FUNCTIONS.format(factors=list(self.shapes), shape=self.z_shape),
        ]
        return "\n".join(lines)

    @functools.cached_property
    def _names(self) -> list[str]:
        """Entries of $z$ by their place, the other pieces of $z$ by number, the rest `o_1`, `o_2`, …"""
        places: dict[tuple[tuple[int, ...], ...], str] = {}
        for place, share in enumerate(self.closure.shares):
            if len(share) == 1 and not self.closure.constant[place]:
                ((piece, value),) = share.items()
                combination = self.closure.pieces[piece]
                if value == 1 and list(combination.values()) == [1]:
                    index = np.unravel_index(place, self.z_shape) if self.z_shape else ()
                    key = tuple(combination)
                    places.setdefault(key, "z" + subscript(tuple(map(int, index))))
        names, pieces, others = [], 0, 0
        for number, generator in enumerate(self.closure.generators):
            place = places.get(((number,),))
            if generator.of_z:
                pieces += place is None
                names.append(place or f"p_{{{pieces}}}")
            else:
                others += 1
                names.append(f"o_{{{others}}}")
        return names

    @functools.cached_property
    def _coordinates(self) -> list[str]:
        return [
            factor + (f"[{','.join(str(i + 1) for i in index)}]" if index else "")
            for factor, shape in self.shapes.items()
            for index in np.ndindex(shape)
        ]

    def _polynomial_latex(self, polynomial: SparsePolynomial) -> str:
        if len(polynomial.terms) > 8:
            return rf"\text{{{len(polynomial.terms)} terms}}"
        symbols = [
            sympy.Symbol(_parameter_latex(factor) + subscript(index))
            for factor, shape in self.shapes.items()
            for index in np.ndindex(shape)
        ]
        return sympy.latex(polynomial.to_sympy(symbols))


def subscript(index: tuple[int, ...]) -> str:
    """`_{1,2}`, counted from one; nothing for a number."""
    return f"_{{{','.join(str(i + 1) for i in index)}}}" if index else ""


def _shown(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"


def _parameter_latex(name: str) -> str:
    greek = translate(name)
    if greek != name or name.isalnum():
        return greek
    return rf"\mathrm{{{latex_escaped(name)}}}"


_FUNCTIONS = '''

def _sums(table, variables, weights=1.0):
    rows, coefficients, owner, size = table
    extended = jnp.concatenate([variables, jnp.ones(1, variables.dtype)])
    return jnp.zeros(size, variables.dtype).at[owner].add(coefficients * jnp.prod(extended[rows], axis=1) * weights)


def initial(theta):
    """The observables at parameters, a dict of arrays."""
    return {{"o": _sums(_START, jnp.concatenate([jnp.ravel(jnp.asarray(theta[name])) for name in {factors!r}]))}}


def output(state):
    """z of the observables."""
    return jnp.reshape(_CONSTANT + _SHARES @ _sums(_PIECES, state["o"]), {shape})


def velocity(t, state, grad_f):
    """The time derivative of the observables; grad_f maps z to the gradient of the loss there."""
    along = _SHARES.T @ jnp.ravel(grad_f(output(state)))
    return {{"o": -_sums(_MOVES, state["o"], along[_ALONG])}}
'''
