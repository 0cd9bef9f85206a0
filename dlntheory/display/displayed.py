"""`Displayed`: one description of a result (title, formulas, facts, tables, notes), from which all displays follow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from .text import card, key_values, text_table


class Displayed:
    """A mixin: `str`, HTML and LaTeX of a result from what it says of itself.

    A class says what it has to say by `_title`, `_formulas`, `_facts`, `_tables` and `_notes`; all but the title may be
    left out. It has no fields, so that dataclasses and `eqx.Module`s take it as a base.
    """

    def _title(self) -> str:
        """What it is, in a few words."""
        return type(self).__name__

    def _formulas(self) -> Sequence[str]:
        """LaTeX without dollar signs, one displayed formula each."""
        return ()

    def _facts(self) -> Mapping[str, Any] | Iterable[tuple[str, Any]]:
        """Names and values, in the order: condition or certificate, numbers, source."""
        return ()

    def _tables(self) -> Iterable[tuple[Any, ...]]:
        """The arguments of `text_table`, one tuple a table: rows, headers and perhaps the alignment."""
        return ()

    def _notes(self) -> Iterable[str]:
        """Sentences below everything else."""
        return ()

    def __str__(self) -> str:
        facts = dict(self._facts())
        blocks = [self._title()]
        lines = [("equation" if i == 0 else f"equation {i + 1}", f) for i, f in enumerate(self._formulas())]
        if lines or facts:
            blocks.append(key_values([*lines, *facts.items()]))
        blocks += [text_table(*table[:3]) for table in self._tables()]
        blocks += [str(note) for note in self._notes()]
        return "\n".join(block for block in blocks if block)

    def _repr_html_(self) -> str:
        return card(
            self._title(),
            formulas=self._formulas(),
            facts=self._facts(),
            tables=self._tables(),
            notes=self._notes(),
        )

    def _repr_latex_(self) -> str | None:
        # None lets a notebook fall back on the HTML card where there is no formula.
        lines = list(self._formulas())
        if not lines:
            return None
        body = lines[0] if len(lines) == 1 else r"\begin{gathered}" + r"\\".join(lines) + r"\end{gathered}"
        return f"$\\displaystyle {body}$"
