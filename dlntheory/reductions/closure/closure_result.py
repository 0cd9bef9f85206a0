"""`Closure`: what `find_closure` found, with its equations as symbols, LaTeX, JAX source and a dynamics."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import sympy

from ..._errors import NoReductionError
from ..._version import __version__
from ...architecture import Architecture
from ...display.text import Formula, card, key_values, shorten, text_table
from ...laws.conservation import laws_to_build_on
from .closed_flow import ClosedFlow
from .closed_system import AbstractClosedSystem, Observable
from .observable_laws import ObservableLaw, entry_relations, word_relations
from .observable_ranks import Jacobians, Ranks
from .scalars.scalar_system import EntrySystem
from .words.matrix_system import WordSystem
from .words.scalar_law_rewriting import Rule

CLOSED_IN_Z = "closed in z"
CLOSED = "closed"
FULL_SPACE = "full space: no reduction"
OPEN = "open"

_MAX_LINES = 14
_MAX_RANKED = 40


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the problem was and is.

    Attributes:
        parameters: the number of parameters.
        state: the number of entries of the closed system's state.
        entries: the same, entries below the diagonal of symmetric observables not counted.
    """

    parameters: int
    state: int
    entries: int


@dataclasses.dataclass(frozen=True)
class ClosureAttempt:
    """How a search went.

    Attributes:
        level: `"words"` or `"entries"`.
        closed: whether it ended.
        reason: what stopped it, or what was needed, in words.
        offending: the degree, in each parameter array, of what could not be added.
        collected: the observables by then, in plain text.
    """

    level: str
    closed: bool
    reason: str
    offending: dict[str, int] | None = None
    collected: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Closure:
    r"""Observables of the parameters that obey closed equations, or how far the search for them came.

    Attributes:
        architecture: the network.
        status: `"closed in z"`, `"closed"`, `"full space: no reduction"` (the observables determine the parameters up
            to finitely many choices; their equations hold all the same), or `"open"`.
        level: `"words"` for matrix equations, `"entries"` for scalar ones, of the last attempt.
        attempts: what was tried, in order.
        rules: the scalar laws on which the equations rest.
        hints: names of the hints that were used, given or proposed.
        seconds: the time it took.
        system: the equations, `None` if open.
        interrupted: whether the user stopped the search; the last attempt then holds what it had collected.

    Example:
        >>> import dlntheory as dln
        >>> from dlntheory.reductions.closure import find_closure
        >>> closure = find_closure(dln.linear_network((3, 50, 4)))
        >>> closure.status, closure.sizes.parameters, closure.sizes.state
        ('closed', 350, 37)
        >>> print("\n".join(closure.system.lines()))
        Z' = -(G A + B G)
        A' = -(G^T Z + Z^T G)
        B' = -(G Z^T + Z G^T)
    """

    architecture: Architecture
    status: str
    level: str
    attempts: tuple[ClosureAttempt, ...]
    rules: tuple[Rule, ...]
    hints: tuple[str, ...]
    seconds: float
    system: AbstractClosedSystem | None
    jacobians: Callable[[], Jacobians | None] = dataclasses.field(repr=False)
    interrupted: bool = False

    @property
    def is_closed(self) -> bool:
        """Whether there are equations."""
        return self.system is not None

    @property
    def explanation(self) -> str:
        """Why it is open, or what the status means, in words."""
        return "; ".join(attempt.reason for attempt in self.attempts if attempt.reason)

    @property
    def offending(self) -> dict[str, int] | None:
        """The multidegree at which the last search stopped, by factor; `None` if it ended."""
        return None if self.is_closed else self.attempts[-1].offending

    @property
    def observables(self) -> tuple[Observable, ...]:
        """The observables, those of $z$ first; none if open (then see `attempts`)."""
        return () if self.system is None else self.system.observables

    @property
    def equations(self) -> dict[str, sympy.Expr]:
        r"""$\dot o$ of each observable in SymPy, by name; `G` stands for $\nabla f(z)$."""
        return self._closed().equations

    @property
    def sizes(self) -> Sizes:
        """Numbers of parameters, of entries of the state, and of independent entries."""
        system = self._closed()
        return Sizes(self.architecture.size, system.numbers, system.independent_entries)

    @property
    def matrix_form(self) -> dict[str, str] | None:
        """What each matrix observable is, in plain text; `None` for scalar equations or an open search."""
        if not isinstance(self.system, WordSystem):
            return None
        return {observable.name: observable.text for observable in self.system.observables}

    @functools.cached_property
    def ranks(self) -> Ranks | None:
        """Functional ranks, with the conservation laws; `None` if the Jacobians are too large."""
        self._closed()
        jacobians = self.jacobians()
        return (
            None
            if jacobians is None
            else jacobians.with_laws(laws_to_build_on(self.architecture, progress=False))
        )

    @functools.cached_property
    def laws(self) -> tuple[ObservableLaw, ...]:
        """Conserved functions of the observables: the conservation laws that relate them."""
        system = self._closed()
        if isinstance(system, WordSystem):
            return word_relations(system)
        assert isinstance(system, EntrySystem)  # there are two kinds of systems
        return entry_relations(system)

    def dynamics(
        self, loss: Any = None, *, weight_decay: float = 0.0, tolerance: float = 1e-10
    ) -> ClosedFlow:
        """The equations as a reduction for `solve` and `compare`.

        Args:
            loss: a function of $z$, or `None`: `compare` binds it to the loss of the full flow.
            weight_decay: the strength of weight decay.
            tolerance: the largest relative violation of the scalar laws on which the equations rest, if any.

        Raises:
            NoReductionError: the search is open.
        """
        return ClosedFlow(
            self.architecture,
            self._closed(),
            self.rules,
            self.laws,
            loss,
            weight_decay=weight_decay,
            tolerance=tolerance,
        )

    def python(self) -> str:
        """A Python module that imports JAX only: `initial(theta)`, `output(state)`, `velocity(t, state, grad_f)`.

        Raises:
            NoReductionError: the search is open.
        """
        system = self._closed()
        comments = [
            f"Closed dynamics of {self.architecture.name}, derived by dlntheory {__version__}.",
            "Gradient flow theta' = -grad of f(z(theta)); G is the gradient of f at z. Enable float64 in JAX.",
        ]
        comments += [f"Holds where {rule}." for rule in self.rules]
        comments += ["", *(f"{o.name}: {o.text}" for o in system.observables), "", *system.lines()]
        lines = [
            f"# {shorten(line, 110)}".rstrip()
            for comment in comments
            for line in (comment.splitlines() or [""])
        ]
        return "\n".join(lines) + "\n\n" + system.source()

    def latex(self) -> str:
        r"""Observables and equations as one `aligned` environment.

        Raises:
            NoReductionError: the search is open.
        """
        system = self._closed()
        lines = [f"{_name(o.name)} &= {o.latex}" for o in system.observables if _name(o.name) != o.latex]
        return "\\begin{aligned}\n" + " \\\\\n".join(lines + system.latex_lines()) + "\n\\end{aligned}"

    def to_dict(self) -> dict[str, Any]:
        """The result as JSON types."""
        ranks = dataclasses.asdict(self.ranks) if self.is_closed and self.ranks is not None else None
        return {
            "architecture": self.architecture.name,
            "parameters": self.architecture.size,
            "status": self.status,
            "level": self.level,
            "explanation": self.explanation,
            "offending": self.offending,
            "observables": [
                {"name": o.name, "shape": list(o.shape), "is": o.text, "of_z": o.of_z}
                for o in self.observables
            ],
            "equations": self.system.lines() if self.system is not None else [],
            "sizes": dataclasses.asdict(self.sizes) if self.is_closed else None,
            "ranks": ranks,
            "assumes": [str(rule) for rule in self.rules],
            "hints": list(self.hints),
            "laws": [law.text for law in self.laws] if self.is_closed else [],
            "seconds": self.seconds,
        }

    def __post_init__(self) -> None:
        # A display computes nothing, so what it shows is found here, where that takes some milliseconds.
        if self.system is None:
            return
        small = self.architecture.size <= _MAX_RANKED
        if small:
            _ = self.ranks
        if small or isinstance(self.system, WordSystem):
            _ = self.laws

    def __repr__(self) -> str:
        if self.system is None:
            return f"Closure({self.architecture.name}: {self.status}, {self.attempts[-1].reason})"
        return (
            f"Closure({self.architecture.name}: {self.status}, {self.architecture.size} parameters -> "
            f"{self.system.numbers} numbers)"
        )

    def __str__(self) -> str:
        parts = [key_values(self._summary())]
        if self.system is not None:
            rows = [(o.name, _shape(o.shape), shorten(o.text, 60), o.of_z) for o in self.observables]
            parts.append(
                text_table(_cut(rows, ("…", "", "", "")), ("name", "shape", "is", "part of z"), "lllr")
            )
            parts.append("\n".join(_cut([shorten(line, 110) for line in self.system.lines()], "…")))
        return "\n\n".join(parts)

    def _repr_html_(self) -> str:
        formulas, tables = "", []
        if self.system is not None:
            rows = [
                (Formula(_name(o.name)), _shape(o.shape), _typeset(o.text, o.latex), o.of_z)
                for o in self.observables
            ]
            tables = [(_cut(rows, ("…", "", "", "")), ("name", "shape", "is", "part of z"), "lllr")]
            lines = " \\\\\n".join(_cut(self.system.latex_lines(), r"&\ldots"))
            formulas = f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"
        _, *facts = self._summary()
        title = f"Closure of {self.architecture.name}"
        return card(title, formulas=formulas, facts=facts, tables=tables)

    def _repr_latex_(self) -> str | None:
        return None if self.system is None else f"$\\displaystyle {self.latex()}$"

    def _summary(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [("closure of", self.architecture.name), ("status", self.status)]
        if self.system is not None:
            sizes, kind = (
                self.sizes,
                "matrix equations" if self.level == "words" else "equations of single entries",
            )
            rows.append(("level", f"{self.level} ({kind})"))
            rows.append(("sizes", f"{sizes.parameters} parameters -> {sizes.state} numbers"))
            # Only what `__post_init__` or the user has asked for: nothing is computed for a display.
            if (ranks := vars(self).get("ranks")) is not None:
                rows.append(("independent", _rank_text(ranks)))
            if vars(self).get("laws"):
                rows.append(("conserved", "\n".join(_cut([shorten(law.text, 90) for law in self.laws], "…"))))
        if self.rules:
            rows.append(("assumes", ", ".join(map(str, self.rules))))
        if self.hints:
            rows.append(("hints", ", ".join(self.hints)))
        for attempt in self.attempts:
            if attempt.reason:
                rows.append((f"{attempt.level}:", attempt.reason))
        return rows

    def _closed(self) -> AbstractClosedSystem:
        if self.system is None:
            raise NoReductionError(
                f"No closed equations of {self.architecture.name} were found: {self.explanation}. Other hints or "
                "larger bounds may help, or a start on which laws are scalar (`balanced`)."
            )
        return self.system


def _rank_text(ranks: Ranks) -> str:
    text = (
        f"{ranks.observables} of the observables ({ranks.z} of z); with the laws fixed "
        f"{ranks.observables_on_level_set} ({ranks.z_on_level_set} of z)"
    )
    if not ranks.laws_are_complete:
        text += ", laws not proven complete"
    return text


def _typeset(text: str, latex: str) -> str:
    return Formula(latex) if len(text) <= 60 else shorten(text, 60)


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape)) or "number"


def _name(name: str) -> str:
    stem = name.rstrip("0123456789")
    return name if stem == name or not stem.isalpha() else f"{stem}_{{{name[len(stem) :]}}}"


def _cut(lines: list[Any], mark: Any) -> list[Any]:
    return lines if len(lines) <= _MAX_LINES else [*lines[: _MAX_LINES - 1], mark]
