"""`cite`: the works behind results, reductions, claims and runs."""

from __future__ import annotations

import html
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from .bibliography import Reference, bibliography, named_in

#: The works behind everything that a part of the package makes, by the longest module name that fits.
MODULES: dict[str, tuple[str, ...]] = {
    "dlntheory.exact": ("meurer2017sympy", "flint"),
    "dlntheory.laws": ("marcotte2023abide", "meurer2017sympy", "flint"),
    "dlntheory.training": ("bradbury2018jax",),
    "dlntheory.initial.near_identity": ("marcotte2026intrinsic",),
    "dlntheory.reductions.intrinsicity.implicit_flow": ("marcotte2026intrinsic",),
    "dlntheory.reductions.intrinsicity": ("marcotte2026intrinsic", "meurer2017sympy", "flint"),
    "dlntheory.reductions.closure": ("marcotte2026intrinsic", "meurer2017sympy", "flint"),
    "dlntheory.reductions.intrinsicity.elimination": ("marcotte2026intrinsic", "meurer2017sympy", "flint"),
    "dlntheory.reductions.mirror": ("li2022implicit",),
    "dlntheory.reductions.parsimony": ("yaras2023law",),
    "dlntheory.theory.alignment": ("ji2019gradient",),
    "dlntheory.theory.collapse": ("yaras2023law",),
    "dlntheory.theory.geometry": ("menon2024geometry", "menon2025entropy"),
    "dlntheory.theory.greedy": ("li2021resolving", "jacot2021saddle"),
    "dlntheory.theory.landscape": ("baldi1989neural", "kawaguchi2016deep"),
    "dlntheory.theory.saddles": ("jacot2021saddle",),
    "dlntheory.theory.mean_field": ("bordelon2025deep",),
}
#: The works behind a numerical method, by the words that stand in the statistics of a run.
METHODS: dict[str, tuple[str, ...]] = {
    "tsit5": ("kidger2021neural", "tsitouras2011runge"),
    "dopri8": ("kidger2021neural", "prince1981high"),
    "krylov": ("kidger2021neural", "kvaerno2004singly"),
    "LSODA": ("virtanen2020scipy", "petzold1983automatic"),
    "Radau": ("virtanen2020scipy", "hairer1996solving"),
}

#: The paper of each group of claims.
PAPERS: dict[str, str] = {
    "basics": "arora2018optimization",
    "conservation": "marcotte2023abide",
    "intrinsic": "marcotte2026intrinsic",
    "closure": "marcotte2026intrinsic",
    "exact": "saxe2014exact",
    "parsimony": "yaras2023law",
    "alignment": "ji2019gradient",
    "saddles": "jacot2021saddle",
    "mean-field": "bordelon2025deep",
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
            function of the package, a BibTeX key, or a text that names its sources. Without any: the package itself.

    Returns:
        `Citations`, which prints as BibTeX.

    Raises:
        ValueError: an object that says nothing of its sources.

    Example:
        >>> import dlntheory as dln
        >>> arch = dln.linear_network((2, 3, 2))
        >>> dln.cite(dln.conservation_laws(arch), dln.BalancedFlow).keys
        ('dlntheory', 'marcotte2023abide', 'meurer2017sympy', 'flint', 'arora2018optimization')
    """
    keys = ["dlntheory"]
    for number, one in enumerate(objects):
        found = list(_keys(one))
        # What was derived here has a source that names nobody else: then the package is what to cite.
        if not found and not _has_source(one):
            raise ValueError(
                "Argument `objects` must be results, classes or functions of dlntheory that have a source, or texts "
                f"that name one, but number {number} is {type(one).__name__}: {_shortened(one)}."
            )
        keys += found
    return Citations(tuple(bibliography()[key] for key in dict.fromkeys(keys)))


def _keys(one: Any) -> Iterable[str]:
    if isinstance(one, str):
        return [one] if one in bibliography() else named_in(one)
    found: list[str] = []
    own = isinstance(one, type) or (callable(one) and hasattr(one, "__name__"))
    module = one.__module__ if own else type(one).__module__
    if str(module).split(".")[0] != "dlntheory":
        return found
    if own:
        found += named_in(_documented_source(one))
    else:
        found += _inside(one)
    if prefix := max((name for name in MODULES if _is_inside(module, name)), key=len, default=None):
        found += MODULES[prefix]
    if prefix == "dlntheory.laws" and "momentum" in getattr(getattr(one, "system", None), "label", ""):
        found.append("marcotte2024keep")
    return found


def _inside(one: Any) -> list[str]:
    """What an object and the results that it holds say themselves."""
    found: list[str] = []
    for name in ("full", "reduced", "runs", "claim", "best", "reduction", "solution"):
        found += [key for part in _parts(getattr(one, name, None)) for key in _keys(part)]
    for result in _parts(getattr(one, "results", None)):
        # A report: what was skipped says nothing.
        if getattr(result, "evidence", None) is not None:
            found += _keys(result)
    if isinstance(paper := getattr(one, "paper", None), str) and paper in PAPERS:
        found.append(PAPERS[paper])
    if isinstance(source := getattr(one, "source", None), str):
        found += named_in(source)
    if isinstance(method := getattr(getattr(one, "stats", None), "method", None), str):
        found += [key for name, keys in METHODS.items() if name in method for key in keys]
    return found


def _parts(value: Any) -> tuple[Any, ...]:
    return () if value is None else tuple(value) if isinstance(value, (tuple, list)) else (value,)


def _documented_source(one: Any) -> str:
    """The References section of a docstring: all a class or function says of its sources."""
    _, _, references = (one.__doc__ or "").partition("References:")
    return " ".join(references.split())


def _has_source(one: Any) -> bool:
    return not isinstance(one, str) and isinstance(getattr(one, "source", None), str)


def _is_inside(module: str, prefix: str) -> bool:
    return module == prefix or module.startswith(prefix + ".")


def _shortened(one: Any) -> str:
    text = repr(one)
    return text if len(text) <= 60 else text[:59] + "…"
