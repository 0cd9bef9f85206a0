"""Python source of a closure of words: three functions that import JAX only."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np

from ....exact.words.reading import Word
from .observable_names import identifiers
from .scalar_law_rewriting import Product, Scalars
from .word_notation import WordNotation
from .word_search import MatrixTerm


def word_source(notation: WordNotation) -> str:
    """The functions `initial`, `output`, `velocity` and the constants that they need."""
    return _Writer(notation).text()


class _Writer:
    """Collects the lines; one identifier for each observable, letter, gradient and constant."""

    def __init__(self, notation: WordNotation):
        self.notation, self.form = notation, notation.closure.form
        states = list(notation.names.values())
        gradients = [notation.gradient_name(number) for number in range(len(self.form.blocks))]
        self.letters = identifiers(list(self.form.letters), [*states, *gradients])
        self.lambdas = {rule.number: f"lambda_{rule.number}" for rule in notation.closure.rules}
        self.constants = [name for name, source in self.form.letters.items() if source.factor is None]

    def text(self) -> str:
        return (
            "\n\n\n".join(["\n".join(self._header()), self._initial(), self._observe(), self._velocity()])
            + "\n"
        )

    def _header(self) -> list[str]:
        lines = ["import jax.numpy as jnp"]
        values = {rule.number: rule.value for rule in self.notation.closure.rules}
        constants = [f"{self.lambdas[number]} = {value!r}" for number, value in values.items()]
        constants += [
            f"{self.letters[name]} = {array_literal(self.form.letters[name].value)}"
            for name in self.constants
        ]
        return [*lines, "", *constants] if constants else lines

    def _initial(self) -> str:
        lines = ["def initial(theta):", '    """The observables at parameters, a dict of arrays."""']
        for name, source in self.form.letters.items():
            if source.factor is None:
                continue
            index = ", ".join(":" if part == slice(None) else str(part) for part in source.index)
            array = f"theta[{source.factor!r}]" + (f"[{index}]" if index else "")
            lines.append(f"    {self.letters[name]} = jnp.reshape(jnp.asarray({array}), {source.shape})")
        lines.append("    return {")
        for word, name in self.notation.names.items():
            product = " @ ".join(self.letters[letter] + (".T" if flipped else "") for letter, flipped in word)
            lines.append(f"        {name!r}: {product},")
        return "\n".join([*lines, "    }"])

    def _observe(self) -> str:
        lines = ["def output(state):", '    """z of the observables."""', *self._unpacked()]
        blocks = zip(self.form.blocks, self.notation.closure.blocks, strict=True)
        values = [
            self._sum(
                [
                    (scalars, value, self._product(product, block.shape[0]))
                    for (scalars, product), value in terms.items()
                ]
            )
            for block, terms in blocks
        ]
        orders = [block.positions.ravel() for block in self.form.blocks]
        size = self.form.constant.size
        if np.array_equal(np.concatenate([*orders, []]), np.arange(size)):
            parts = [f"jnp.ravel({value})" for value in values]
            flat = parts[0] if len(parts) == 1 else f"jnp.concatenate([{', '.join(parts)}])"
            lines.append(f"    flat = {flat}")
        else:
            lines.append(f"    flat = jnp.zeros({size})")
            lines += [
                f"    flat = flat.at[{_index(order)}].add(jnp.ravel({value}))"
                for order, value in zip(orders, values, strict=True)
            ]
        if self.form.has_constant:
            lines.append(f"    flat = flat + {array_literal(self.form.constant.ravel())}")
        return "\n".join([*lines, f"    return jnp.reshape(flat, {self.form.shape})"])

    def _velocity(self) -> str:
        lines = [
            "def velocity(t, state, grad_f):",
            '    """The time derivative of the observables; grad_f maps z to the gradient of the loss there."""',
            *self._unpacked(),
            "    g = jnp.ravel(grad_f(output(state)))",
        ]
        for number, block in enumerate(self.form.blocks):
            name, index = self.notation.gradient_name(number), _index(block.positions.ravel())
            lines.append(f"    {name} = jnp.reshape(g[{index}], {block.shape})")
        lines.append("    return {")
        for word, name in self.notation.names.items():
            terms = self.notation.closure.equations[word]
            shape = self.form.shape_of(word)
            value = self._sum([(t.scalars, t.coefficient, self._term(t)) for t in terms]) if terms else ""
            lines.append(
                f"        {name!r}: -({value})," if terms else f"        {name!r}: jnp.zeros({shape}),"
            )
        return "\n".join([*lines, "    }"])

    def _unpacked(self) -> list[str]:
        names = list(self.notation.names.values())
        return [f"    {name} = state[{name!r}]" for name in names]

    def _term(self, term: MatrixTerm) -> str:
        gradient = self.notation.gradient_name(term.block) + (".T" if term.flipped else "")
        parts = [*map(self._factor, term.left), gradient, *map(self._factor, term.right)]
        return " @ ".join(parts)

    def _product(self, product: Product, size: int) -> str:
        return " @ ".join(map(self._factor, product)) or f"jnp.eye({size})"

    def _factor(self, word: Word) -> str:
        name, flipped = self.notation.factor_name(word)
        return self.letters.get(name, name) + (".T" if flipped else "")

    def _sum(self, terms: Sequence[tuple[Scalars, Fraction, str]]) -> str:
        text = ""
        for scalars, value, product in terms:
            size = abs(value)
            factors = [] if size == 1 else [f"({size})" if size.denominator != 1 else f"{size}"]
            factors += [self.lambdas[number] for number in scalars]
            shown = " * ".join([*factors, f"({product})" if factors and "@" in product else product])
            sign = ("-" if value < 0 else "") if not text else (" - " if value < 0 else " + ")
            text += sign + shown
        return text


def array_literal(values: Any) -> str:
    """`jnp.array([...])` with every digit of the float64 values."""
    return f"jnp.array({np.asarray(values, dtype=np.float64).tolist()!r})"


def _index(order: np.ndarray) -> str:
    """A slice where the positions are consecutive."""
    first = int(order[0])
    if np.array_equal(order, np.arange(first, first + order.size)):
        return f"{first}:{first + order.size}"
    return f"jnp.array({order.tolist()!r})"
