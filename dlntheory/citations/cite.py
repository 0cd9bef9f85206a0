"""`cite`: the works behind results, reductions, claims and runs."""

from __future__ import annotations

import html
import inspect
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .bibliography import Reference, bibliography, cited_in

#: The body of the References section of a docstring.
REFERENCES = re.compile(r"^References:\n((?:[ \t].*\n?)+)", re.MULTILINE)

#: The works behind a numerical method, by the words that stand in the statistics of a run.
METHODS: dict[str, tuple[str, ...]] = {
    "tsit5": ("kidger2021neural", "tsitouras2011runge"),
    "dopri8": ("kidger2021neural", "prince1981high"),
    "krylov": ("kidger2021neural", "kvaerno2004singly"),
    "LSODA": ("virtanen2020scipy", "petzold1983automatic"),
    "Radau": ("virtanen2020scipy", "hairer1996solving"),
}


@dataclass(frozen=True)
class Citations:
    """Works with their BibTeX entries; `print` it, or write `str` of it to a `.bib` file.

    Attributes:
        references: the works, the package itself first, in order of use.
    """

    references: tuple[Reference, ...]

    @property
    def keys(self) -> tuple[str, ...]:
        """The BibTeX keys."""
        return tuple(reference.key for reference in self.references)

    def __len__(self) -> int:
        return len(self.references)

    def __iter__(self) -> Iterator[Reference]:
        return iter(self.references)

    def __repr__(self) -> str:
        return f"Citations({', '.join(self.keys)})"

    def __str__(self) -> str:
        return "\n\n".join(reference.bibtex for reference in self.references) + "\n"

    def _repr_html_(self) -> str:
        works = "".join(f"<li>{html.escape(str(reference))}</li>" for reference in self.references)
        return (
            f"<ol>{works}</ol><details><summary>BibTeX</summary><pre>{html.escape(str(self))}</pre></details>"
        )


def cite(*objects: Any) -> Citations:
    r"""The works that results rest on, with the package itself: papers of the theorems, solvers, algebra.

    Args:
        *objects: anything that the package made: laws, a verdict, a reduction, a closure, a solution, a trajectory, a
            comparison, a claim, a report of `verify` (only the claims that ran count), a study; also a class or a
            function of the package, a BibTeX key, or a text with keys in brackets, `"[saxe2014exact]"`. Without any:
            the package itself.

    Returns:
        `Citations`, which prints as BibTeX.

    Raises:
        ValueError: an object that says nothing of its sources.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.linear_network((2, 3, 2))
        >>> dln.cite(dln.conservation_laws(arch), dln.BalancedFlow).keys
        ('dlntheory', 'marcotte2023abide', 'meurer2017sympy', 'flint2025fast', 'arora2018optimization')
    """
    keys = ["dlntheory"]
    for number, one in enumerate(objects):
        found = list(_keys(one))
        # What was derived here has a source that names nobody else: then the package is what to cite.
        if not found and not _has_source(one):
            raise ValueError(
                "Argument `objects` must be results, classes or functions of dlntheory that have a source, or texts "
                f"with keys in brackets, but number {number} is {type(one).__name__}: {_shortened(one)}."
            )
        keys += found
    return Citations(tuple(bibliography()[key] for key in dict.fromkeys(keys)))


def _keys(one: Any) -> Iterable[str]:
    if isinstance(one, str):
        return [one] if one in bibliography() else cited_in(one)
    is_definition = isinstance(one, type) or (callable(one) and hasattr(one, "__name__"))
    module = str(one.__module__ if is_definition else type(one).__module__)
    if module.split(".")[0] != "dlntheory":
        return []
    if is_definition:
        return [*cited_in(_references(one.__doc__)), *_cited_by_packages(module)]
    found = [*_inside(one), *cited_in(_references(type(one).__doc__)), *_cited_by_packages(module)]
    if module.startswith("dlntheory.laws.") and "momentum" in getattr(
        getattr(one, "system", None), "label", ""
    ):
        found.append("marcotte2024keep")
    return found


def _inside(one: Any) -> list[str]:
    """What an object and the results that it holds say themselves."""
    found: list[str] = []
    for name in ("full", "reduced", "runs", "claim", "topic", "best", "reduction", "solution"):
        found += [key for part in _parts(getattr(one, name, None)) for key in _keys(part)]
    for result in _parts(getattr(one, "results", None)):
        # A report: what was skipped says nothing.
        if getattr(result, "evidence", None) is not None:
            found += _keys(result)
    if isinstance(source := getattr(one, "source", None), str):
        found += cited_in(source)
    if isinstance(method := getattr(getattr(one, "stats", None), "method", None), str):
        found += [key for name, keys in METHODS.items() if name in method for key in keys]
    return found


def _parts(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _references(doc: str | None) -> str:
    """The References section of a docstring: all that a definition says of its sources."""
    found = REFERENCES.search(inspect.cleandoc(doc or ""))
    return found[1] if found else ""


def _cited_by_packages(module: str) -> tuple[str, ...]:
    """What the innermost of the modules around a definition cites that cites anything, such as its package."""
    while "." in module:
        if keys := cited_in(_references(getattr(sys.modules.get(module), "__doc__", None))):
            return keys
        module = module.rpartition(".")[0]
    return ()


def _has_source(one: Any) -> bool:
    return not isinstance(one, str) and isinstance(getattr(one, "source", None), str)


def _shortened(one: Any) -> str:
    text = repr(one)
    return text if len(text) <= 60 else text[:59] + "…"
