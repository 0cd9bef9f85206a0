"""`WordSystem`: closed equations of noncommutative monomials in the matrices of φ, in numbers and in symbols."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping
from fractions import Fraction
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import sympy

from ....display.latex import latex_name
from ....exact.words.reading import Word, canonical, word_latex, word_value
from ....exact.words.terms import transpose
from ....training import State, Training
from ..closed_system import AbstractClosedSystem, Observable, ObservableLaw
from .factor_form import FactorForm
from .matrix_source import word_source
from .scalar_law_rewriting import Product, Scalars, scalar_value
from .trace_laws import trace_laws
from .word_notation import WordNotation, joined, signed
from .word_search import MatrixTerm, WordClosure, powers_text


class WordSystem(AbstractClosedSystem):
    """The closed equations of words; a flow integrates the factors of its `FactorForm`.

    Args:
        closure: the result of the search.

    Attributes:
        closure: the same.
        names: the name of each word in the equations.
        notation: how products of observables are written.
    """

    def __init__(self, closure: WordClosure):
        self.closure, self.notation = closure, WordNotation(closure)
        self.names = self.notation.names
        self._rules = {rule.number: rule for rule in closure.rules}

    @functools.cached_property
    def content(self) -> Hashable:
        form = self.closure.form
        letters = tuple(
            (name, source.factor, str(source.index), source.shape, _content(source.value), source.is_frozen)
            for name, source in form.letters.items()
        )
        blocks = tuple((_content(block.positions), tuple(block.terms.items())) for block in form.blocks)
        return letters, blocks, _content(form.constant), self.closure.rules, self.closure.observables

    @functools.cached_property
    def factor_form(self) -> FactorForm:
        """The factors on invariant subspaces of the hidden spaces."""
        return FactorForm(self.closure.form, self.closure.observables, self.closure.rules)

    @functools.cached_property
    def observables(self) -> tuple[Observable, ...]:
        form, given = self.closure.form, {canonical(word) for word in self.closure.form.words}
        return tuple(
            Observable(
                name,
                form.shape_of(word),
                powers_text(word),
                word_latex(word),
                self.degrees(word),
                canonical(word) in given,
            )
            for word, name in self.names.items()
        )

    @property
    def numbers(self) -> int:
        return self.closure.numbers

    @property
    def variables(self) -> int:
        return self.factor_form.numbers

    @property
    def level(self) -> str:
        return "words"

    @property
    def is_determined_by_output(self) -> bool:
        is_single = all(len(block.terms) == 1 for block in self.closure.form.blocks)
        return is_single and all(observable.of_z for observable in self.observables)

    @property
    def independent_entries(self) -> int:
        total = 0
        for word in self.names:
            rows, columns = self.closure.form.shape_of(word)
            total += rows * (rows + 1) // 2 if word == transpose(word) else rows * columns
        return total

    @functools.cached_property
    def laws(self) -> tuple[ObservableLaw, ...]:
        return trace_laws(self.notation)

    def degrees(self, word: Word) -> dict[str, int]:
        """The degree of a word in each parameter array."""
        found: dict[str, int] = {}
        for name, _ in word:
            factor = self.closure.form.letters[name].factor
            if factor is not None:
                found[factor] = found.get(factor, 0) + 1
        return found

    def initial(self, theta: Mapping[str, Any]) -> State:
        return self._values(self.closure.form.matrices(theta))

    def velocity(self, state: State, gradient: Any) -> State:
        flat = jnp.reshape(gradient, -1)
        blocks = [flat[block.positions] for block in self.closure.form.blocks]
        return {
            name: -sum(
                self._scale(term.coefficient, term.scalars) * self._sided(term, blocks[term.block], state)
                for term in self.closure.equations[word]
            )
            if self.closure.equations[word]
            else jnp.zeros_like(state[name])
            for word, name in self.names.items()
        }

    def output(self, state: State) -> Any:
        form = self.closure.form
        flat = jnp.asarray(np.asarray(form.constant, dtype=np.float64).ravel())
        for block, expression in zip(form.blocks, self.closure.blocks, strict=True):
            for (scalars, product), coefficient in expression.items():
                value = self._scale(coefficient, scalars) * self.notation.multiplied(
                    product, state, block.shape[0]
                )
                flat = flat.at[block.positions].add(value)
        return flat.reshape(form.shape)

    def integrated(self, theta: Mapping[str, Any]) -> State:
        return self.factor_form.factors(theta)

    def integrated_velocity(self, t: Any, integrated: State, training: Training) -> State:
        form = self.factor_form
        slopes = jax.grad(lambda factors: training.loss(form.output(factors)))(integrated)
        moved = {}
        for name, slope in slopes.items():
            factor, value = form.form.letters[name].factor, integrated[name]
            # Weight decay takes its part of a factor that φ freezes, too.
            pull = jnp.zeros_like(value) if name in form.form.frozen else slope
            moved[name] = pull if factor is None else training.change(factor, pull, value, t)
        return moved

    def integrated_output(self, integrated: State) -> Any:
        return self.factor_form.output(integrated)

    def integrated_observables(self, integrated: State) -> State:
        return self._values(self.factor_form.matrices(integrated))

    def check(self, training: Training) -> None:
        """Nothing is refused: a network on invariant subspaces takes every rate, decay and schedule by factor."""

    @property
    def rules(self) -> tuple[str, ...]:
        return tuple(map(str, self.closure.rules))

    def violations(self, theta: Mapping[str, Any]) -> dict[str, tuple[float, float]]:
        matrices = {name: np.asarray(value) for name, value in self.closure.form.matrices(theta).items()}
        scale = max(float(np.linalg.norm(value)) ** 2 for value in matrices.values())
        found = {}
        for rule in self.closure.rules:
            gap = word_value(rule.left, matrices) - word_value(rule.right, matrices)
            found[str(rule)] = float(np.linalg.norm(gap - rule.value * np.eye(len(gap)))), scale
        return found

    @functools.cached_property
    def equations(self) -> dict[str, sympy.Expr]:
        return {
            name: self._derivative(self.closure.equations[word], self.closure.form.shape_of(word))
            for word, name in self.names.items()
        }

    def lines(self) -> list[str]:
        return [
            f"{name}' = {_negated([self._term_text(term) for term in self.closure.equations[word]])}"
            for word, name in self.names.items()
        ]

    def latex_lines(self) -> list[str]:
        found = []
        for word, name in self.names.items():
            terms = [self._term_latex(term) for term in self.closure.equations[word]]
            found.append(rf"\dot{{{latex_name(name)}}} &= {_negated(terms, latex=True)}")
        return found

    def python(self) -> str:
        return word_source(self.notation)

    def _values(self, matrices: Mapping[str, Any]) -> State:
        arrays = {name: jnp.asarray(value) for name, value in matrices.items()}
        return {name: word_value(word, arrays) for word, name in self.names.items()}

    def _scale(self, coefficient: Fraction, scalars: Scalars) -> float:
        return float(coefficient) * scalar_value(scalars, self._rules)

    def _sided(self, term: MatrixTerm, gradient: Any, state: State) -> Any:
        value = gradient.T if term.flipped else gradient
        if term.left:
            value = self.notation.multiplied(term.left, state) @ value
        return value @ self.notation.multiplied(term.right, state) if term.right else value

    def _derivative(self, terms: tuple[MatrixTerm, ...], shape: tuple[int, int]) -> sympy.Expr:
        total: Any = sympy.ZeroMatrix(*shape)
        for term in terms:
            block = self.closure.form.blocks[term.block]
            gradient = sympy.MatrixSymbol(self.notation.gradient_name(term.block), *block.shape)
            value = self._symbolic(term.left, gradient.T if term.flipped else gradient, term.right)
            scale = sympy.Rational(term.coefficient.numerator, term.coefficient.denominator)
            for number in term.scalars:
                scale = scale * sympy.Symbol(f"lambda_{number}", real=True)
            total = total - scale * value
        return total

    def _symbolic(self, left: Product, middle: Any, right: Product) -> Any:
        value = middle
        for word in reversed(left):
            value = self._symbol(word) * value
        for word in right:
            value = value * self._symbol(word)
        return value

    def _symbol(self, word: Word) -> Any:
        name, flipped = self.notation.factor_name(word)
        shape = self.closure.form.shape_of(transpose(word) if flipped else word)
        symbol = sympy.MatrixSymbol(name, *shape)
        return symbol.T if flipped else symbol

    def _term_text(self, term: MatrixTerm) -> str:
        parts = [f"λ{number}" for number in term.scalars]
        parts += [self.notation.product_text(term.left)] if term.left else []
        parts += [self.notation.gradient_name(term.block) + ("^T" if term.flipped else "")]
        parts += [self.notation.product_text(term.right)] if term.right else []
        return signed(term.coefficient, " ".join(parts))

    def _term_latex(self, term: MatrixTerm) -> str:
        gradient = _gradient_latex(self.notation.gradient_name(term.block)) + (
            r"^{\top}" if term.flipped else ""
        )
        parts = [rf"\lambda_{{{number}}}" for number in term.scalars]
        parts += [self.notation.product_latex(term.left), gradient, self.notation.product_latex(term.right)]
        return signed(term.coefficient, " ".join(part for part in parts if part), latex=True)


def _content(array: Any) -> Any:
    """An array of integers or fractions as something that can be hashed and compared."""
    return None if array is None else (array.shape, tuple(array.ravel().tolist()))


def _gradient_latex(name: str) -> str:
    return latex_name(name).replace(r"\mathrm{grad}", r"\nabla f")


def _negated(terms: list[str], *, latex: bool = False) -> str:
    if not terms:
        return "0"
    if len(terms) == 1 and not terms[0].startswith("-"):
        return f"-{terms[0]}"
    return rf"-\left({joined(terms)}\right)" if latex else f"-({joined(terms)})"
