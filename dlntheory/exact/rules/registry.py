"""The table of rules: what each JAX primitive means over a ring."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from ..._errors import UnsupportedPrimitiveError
from ..builder import Builder


class Walker(Protocol):
    """What a rule sees of the interpreter."""

    @property
    def builder(self) -> Builder:
        """Where instructions go."""
        ...

    def run(self, closed: Any, inputs: list[Any]) -> list[Any]:
        """The outputs of a nested jaxpr."""
        ...

    def bind(self, eqn: Any, operands: list[Any], **changes: Any) -> list[Any]:
        """What JAX makes of concrete operands."""
        ...

    def refusal(self, hint: str | None = None) -> UnsupportedPrimitiveError:
        """The error for the equation at hand."""
        ...


#: From the walker, an equation and its operands (concrete arrays, or `Entry`) to its results.
Rule = Callable[[Walker, Any, list[Any]], list[Any]]
RULES: dict[str, Rule] = {}


def rule(names: str) -> Callable[[Rule], Rule]:
    """Registers a rule for primitives, given by their names with spaces in between."""

    def register(function: Rule) -> Rule:
        RULES.update(dict.fromkeys(names.split(), function))
        return function

    return register
