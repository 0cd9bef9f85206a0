"""`Closure`: what `find_closure` found, with its equations as symbols, LaTeX, JAX source and a dynamics."""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable
from typing import Any

import sympy

from ..._errors import NoReductionError
from ..._version import __version__
from ...architecture import Architecture
from ...display.displayed import Displayed
from ...display.latex import latex_name
from ...display.text import Formula, key_values, shorten, text_table
from ...laws.conservation import laws_to_build_on
from .closed_flow import ClosedFlow
from .closed_system import AbstractClosedSystem, Observable, ObservableLaw
from .observable_ranks import Jacobians, Ranks
from .search_outcome import ClosureAttempt, explanation

_MAX_LINES = 14
_UNSTABLE = (
    "Gram matrices lose the rank of the network: an error in their null space grows like exp(2 s t), s the largest",
    "singular value of G that the network cannot fit. Where its rank is below that of the target, integrate factors.",
)
_MAX_RANKED = 40


@dataclasses.dataclass(frozen=True)
class Sizes:
    """How large the problem was and is.

    Attributes:
        parameters: the number of parameters.
        state: the number of entries of the observables.
        entries: the same, entries below the diagonal of symmetric observables not counted.
        integrated: the number of entries that `Closure.dynamics` integrates: of the narrowed factors for matrix
            equations, of the observables for scalar ones.
    """

    parameters: int
    state: int
    entries: int
    integrated: int

    @property
    def is_gain(self) -> bool:
        """Whether the closed system has fewer numbers than the network."""
        return min(self.entries, self.integrated) < self.parameters


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class Closure(Displayed):
    r"""Observables of the parameters that obey closed equations, or how far the search for them came.

    Attributes:
        architecture: the network.
        status: `"closed in z"`, `"closed"`, `"full space: no reduction"` (the observables determine the parameters up
            to finitely many choices; their equations hold all the same), or `"open"`.
        level: `"words"` for matrix equations, `"entries"` for scalar ones, of the last attempt.
        attempts: what was tried, in order.
        rules: the scalar laws on which the equations rest, in plain text.
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
    rules: tuple[str, ...]
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
        return explanation(self.attempts)

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
        """Numbers of parameters, of entries of the observables, and of what is integrated."""
        system = self._closed()
        return Sizes(self.architecture.size, system.numbers, system.independent_entries, system.variables)

    @property
    def matrix_form(self) -> dict[str, str] | None:
        """What each matrix observable is, in plain text; `None` for scalar equations or an open search."""
        if self.system is None or self.system.level != "words":
            return None
        return {observable.name: observable.text for observable in self.system.observables}

    @functools.cached_property
    def ranks(self) -> Ranks | None:
        """Functional ranks, with the conservation laws; `None` if the Jacobians are too large."""
        return self._ranks(None)

    @functools.cached_property
    def laws(self) -> tuple[ObservableLaw, ...]:
        """Conserved functions of the observables: the conservation laws that relate them."""
        return self._closed().laws

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
            self.architecture, self._closed(), loss, weight_decay=weight_decay, tolerance=tolerance
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
        if system.level == "words":
            comments += ["", *_UNSTABLE]
        lines = [
            f"# {shorten(line, 110)}".rstrip()
            for comment in comments
            for line in (comment.splitlines() or [""])
        ]
        return "\n".join(lines) + "\n\n" + system.python()

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
            "assumes": list(self.rules),
            "hints": list(self.hints),
            "laws": [law.text for law in self.laws] if self.is_closed else [],
            "seconds": self.seconds,
        }

    def prepare(self, deadline: float) -> Closure:
        """Find what displays show, while there is time: a display computes nothing itself."""
        if self.system is None:
            return self
        is_small = self.architecture.size <= _MAX_RANKED
        if is_small and time.perf_counter() < deadline:
            vars(self)["ranks"] = self._ranks(max(0.1, deadline - time.perf_counter()))
        if (is_small or self.level == "words") and time.perf_counter() < deadline:
            _ = self.laws
        return self

    def _ranks(self, time_limit: float | None) -> Ranks | None:
        self._closed()
        jacobians = self.jacobians()
        if jacobians is None:
            return None
        laws = laws_to_build_on(self.architecture, progress=False, time_limit=time_limit)
        return jacobians.with_laws(laws)

    def __repr__(self) -> str:
        if self.system is None:
            return f"Closure({self.architecture.name}: {self.status}, {self.attempts[-1].reason})"
        sizes = self.sizes
        mark = "" if sizes.is_gain else ", nothing gained"
        return (
            f"Closure({self.architecture.name}: {self.status}, {sizes.parameters} parameters -> "
            f"{sizes.state} numbers{mark})"
        )

    def _title(self) -> str:
        return f"Closure of {self.architecture.name}"

    def _formulas(self) -> list[str]:
        if self.system is None:
            return []
        lines = " \\\\\n".join(_cut(self.system.latex_lines(), r"&\ldots"))
        return [f"\\begin{{aligned}}\n{lines}\n\\end{{aligned}}"]

    def _tables(self) -> list[tuple[Any, ...]]:
        if self.system is None:
            return []
        rows = [
            (o.name, _shape(o.shape), _typeset(o.text, o.latex), "yes" if o.of_z else "no")
            for o in self.observables
        ]
        return [(_cut(rows, ("…", "", "", "")), ("name", "shape", "definition", "part of z"), "lllr")]

    def _repr_latex_(self) -> str | None:
        return None if self.system is None else f"$\\displaystyle {self.latex()}$"

    def __str__(self) -> str:
        # Plain text shows the equations as such, not as LaTeX.
        blocks = [self._title(), key_values(self._facts())]
        if self.system is not None:
            rows, *rest = self._tables()[0]
            plain = [
                (row[0], row[1], shorten(o.text, 60), row[3])
                for row, o in zip(rows, self.observables, strict=False)
            ]
            blocks += [text_table([*plain, *rows[len(plain) :]], *rest)]
            blocks += ["\n".join(_cut([shorten(line, 110) for line in self.system.lines()], "…"))]
        return "\n\n".join(blocks)

    def _facts(self) -> list[tuple[str, Any]]:
        rows: list[tuple[str, Any]] = [("status", self.status)]
        if self.system is not None:
            sizes = self.sizes
            kind = "matrix equations" if self.level == "words" else "equations of single entries"
            rows.append(("level", f"{self.level} ({kind})"))
            rows.append(("sizes", f"{sizes.parameters} parameters -> {sizes.state} numbers"))
            if sizes.integrated != sizes.state:
                rows.append(("integrated", f"as factors of {sizes.integrated} numbers, which keep the rank"))
            if not sizes.is_gain:
                rows.append(("gain", "none: the network is its own smallest closed system that is known"))
            # Only what `prepare` or the user has asked for: nothing is computed for a display.
            if (ranks := vars(self).get("ranks")) is not None:
                rows.append(("independent", _rank_text(ranks)))
            if vars(self).get("laws"):
                rows.append(("conserved", "\n".join(_cut([shorten(law.text, 90) for law in self.laws], "…"))))
        if self.rules:
            rows.append(("assumes", ", ".join(self.rules)))
        if self.hints:
            rows.append(("ansatz", ", ".join(self.hints)))
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
    # The names of scalar observables are LaTeX already.
    return name if "_" in name else latex_name(name)


def _cut(lines: list[Any], mark: Any) -> list[Any]:
    return lines if len(lines) <= _MAX_LINES else [*lines[: _MAX_LINES - 1], mark]
