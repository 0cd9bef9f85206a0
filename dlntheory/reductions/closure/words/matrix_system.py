"""`WordSystem`: closed equations of noncommutative monomials in the matrices of φ, in numbers and in symbols."""

from __future__ import annotations

import functools
from collections.abc import Hashable, Mapping, Sequence
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
from .observable_names import observable_names
from .scalar_law_rewriting import Product, Scalars, scalar_value
from .word_search import MatrixTerm, WordClosure, powers_text


class WordSystem(AbstractClosedSystem):
    """The closed equations of words; a flow integrates the factors of its `FactorForm`.

    Args:
        closure: the result of the search.

    Attributes:
        closure: the same.
        names: the name of each word in the equations.
    """

    def __init__(self, closure: WordClosure):
        self.closure = closure
        given = {canonical(word) for word in closure.form.words}
        of_z = [canonical(word) in given for word in closure.observables]
        names = observable_names(sum(of_z), len(of_z) - sum(of_z), closure.form.letters)
        first, others = iter(names[: sum(of_z)]), iter(names[sum(of_z) :])
        self.names = {
            word: next(first if belongs else others)
            for word, belongs in zip(closure.observables, of_z, strict=True)
        }
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
        from .trace_laws import trace_laws

        return trace_laws(self)

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
                value = self._scale(coefficient, scalars) * self.multiplied(product, state, block.shape[0])
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
        from .matrix_source import word_source

        return word_source(self)

    def factor_name(self, word: Word) -> tuple[str, bool]:
        """The name of an observable or constant letter that stands in a product, and whether it is transposed."""
        if word in self.names:
            return self.names[word], False
        if transpose(word) in self.names:
            return self.names[transpose(word)], True
        return word[0]

    def gradient_name(self, block: int) -> str:
        """`G`, or `G1`, `G2`, … where $z$ has several blocks; `grad` where a factor is called so."""
        names = (
            ["G"]
            if len(self.closure.form.blocks) == 1
            else [f"G{n + 1}" for n in range(len(self.closure.form.blocks))]
        )
        if set(names) & set(self.closure.form.letters):
            names = [name.replace("G", "grad") for name in names]
        return names[block]

    def _values(self, matrices: Mapping[str, Any]) -> State:
        arrays = {name: jnp.asarray(value) for name, value in matrices.items()}
        return {name: word_value(word, arrays) for word, name in self.names.items()}

    def _scale(self, coefficient: Fraction, scalars: Scalars) -> float:
        return float(coefficient) * scalar_value(scalars, self._rules)

    def multiplied(self, product: Product, state: Mapping[str, Any], size: int = 1) -> Any:
        """The value of a product of observables; the identity of this size if there is no factor."""
        value = None
        for word in product:
            name, flipped = self.factor_name(word)
            source = self.closure.form.letters.get(name) if name not in state else None
            matrix = (
                state[name] if source is None else jnp.asarray(np.asarray(source.value, dtype=np.float64))
            )
            matrix = matrix.T if flipped else matrix
            value = matrix if value is None else value @ matrix
        return jnp.eye(size) if value is None else value

    def _sided(self, term: MatrixTerm, gradient: Any, state: State) -> Any:
        value = gradient.T if term.flipped else gradient
        if term.left:
            value = self.multiplied(term.left, state) @ value
        return value @ self.multiplied(term.right, state) if term.right else value

    def _derivative(self, terms: tuple[MatrixTerm, ...], shape: tuple[int, int]) -> sympy.Expr:
        total: Any = sympy.ZeroMatrix(*shape)
        for term in terms:
            block = self.closure.form.blocks[term.block]
            gradient = sympy.MatrixSymbol(self.gradient_name(term.block), *block.shape)
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
        name, flipped = self.factor_name(word)
        shape = self.closure.form.shape_of(transpose(word) if flipped else word)
        symbol = sympy.MatrixSymbol(name, *shape)
        return symbol.T if flipped else symbol

    def product_text(self, product: Product) -> str:
        """A product of observables in plain text."""
        factors = (self.factor_name(word) for word in product)
        return " ".join(name + ("^T" if flipped else "") for name, flipped in factors) or "I"

    def _term_text(self, term: MatrixTerm) -> str:
        parts = [f"λ{number}" for number in term.scalars]
        parts += [self.product_text(term.left)] if term.left else []
        parts += [self.gradient_name(term.block) + ("^T" if term.flipped else "")]
        parts += [self.product_text(term.right)] if term.right else []
        return _signed(term.coefficient, " ".join(parts))

    def product_latex(self, product: Product) -> str:
        """A product of observables in LaTeX."""
        factors = (self.factor_name(word) for word in product)
        return " ".join(
            _powers([latex_name(name) + (r"^{\top}" if flipped else "") for name, flipped in factors])
        )

    def _term_latex(self, term: MatrixTerm) -> str:
        gradient = _gradient_latex(self.gradient_name(term.block)) + (r"^{\top}" if term.flipped else "")
        parts = [rf"\lambda_{{{number}}}" for number in term.scalars]
        parts += [self.product_latex(term.left), gradient, self.product_latex(term.right)]
        return _signed(term.coefficient, " ".join(part for part in parts if part), latex=True)


def _content(array: Any) -> Any:
    """An array of integers or fractions as something that can be hashed and compared."""
    return None if array is None else (array.shape, tuple(array.ravel().tolist()))


def _gradient_latex(name: str) -> str:
    return latex_name(name).replace(r"\mathrm{grad}", r"\nabla f")


def _powers(factors: list[str]) -> list[str]:
    """Equal neighbours as powers."""
    found: list[tuple[str, int]] = []
    for factor in factors:
        if found and found[-1][0] == factor:
            found[-1] = (factor, found[-1][1] + 1)
        else:
            found.append((factor, 1))
    return [
        factor if count == 1 else f"({factor})^{{{count}}}" if "^" in factor else f"{factor}^{{{count}}}"
        for factor, count in found
    ]


def _signed(coefficient: Fraction, text: str, *, latex: bool = False) -> str:
    size = abs(coefficient)
    if size == 1:
        shown = ""
    elif latex and size.denominator != 1:
        shown = rf"\tfrac{{{size.numerator}}}{{{size.denominator}}} "
    else:
        shown = f"{size} "
    return ("-" if coefficient < 0 else "") + shown + text


def _joined(terms: list[str]) -> str:
    text = terms[0] if terms else "0"
    for term in terms[1:]:
        text += f" - {term[1:]}" if term.startswith("-") else f" + {term}"
    return text


def _negated(terms: list[str], *, latex: bool = False) -> str:
    if not terms:
        return "0"
    if len(terms) == 1 and not terms[0].startswith("-"):
        return f"-{terms[0]}"
    return rf"-\left({_joined(terms)}\right)" if latex else f"-({_joined(terms)})"


def weighted_text(terms: Sequence[tuple[Fraction, str]], *, latex: bool = False) -> str:
    """A combination of named things in plain text or LaTeX."""
    return _joined([_signed(weight, text, latex=latex) for weight, text in terms])
