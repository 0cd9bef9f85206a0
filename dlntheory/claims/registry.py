"""Which claims there are: a module or package for each paper, walked when its claims are asked for."""

from __future__ import annotations

import difflib
import importlib
import importlib.util
import pkgutil

from .._version import __version__
from .base import PAPERS, Claim, Paper


class SelectionError(ValueError):
    """A paper or a claim that does not exist was asked for; the message lists those that do."""


def papers() -> tuple[Paper, ...]:
    """All papers that the package knows, with or without claims in this version."""
    return tuple(PAPERS.values())


def claims(paper: str | None = None, claim: str | None = None) -> tuple[Claim, ...]:
    """The claims of this version, in the order of the papers and, within a paper, of definition.

    Args:
        paper: only those of this paper.
        claim: only the one with this id.

    Raises:
        SelectionError: an unknown name, or a paper without claims so far; a `ValueError` that lists the known
        ones. ValueError: a module of claims contradicts itself: an id twice, or a claim of another paper.
    """
    if paper is None:
        selected = [found for one in papers() for found in _claims_of(one)]
    else:
        selected = _claims_of(_known_paper(paper))
    _check_unique(selected)
    if claim is None:
        return tuple(selected)
    known = [one.id for one in selected]
    if claim not in known:
        where = "" if paper is None else f" of paper {paper!r}"
        raise SelectionError(
            f"Argument `claim` must be a claim{where} ({', '.join(known) or 'none so far'}), "
            f"but is {claim!r}." + _did_you_mean(claim, known)
        )
    return tuple(one for one in selected if one.id == claim)


def _known_paper(key: str) -> Paper:
    if key not in PAPERS:
        raise SelectionError(
            f"Argument `paper` must be one of {', '.join(PAPERS)}, but is {key!r}."
            + _did_you_mean(key, list(PAPERS))
        )
    if not _has_module(PAPERS[key]):
        present = ", ".join(one.key for one in papers() if _has_module(one)) or "none so far"
        raise SelectionError(
            f"Argument `paper` must name a paper with claims in version {__version__} ({present}), "
            f"but {key!r} has no claims in it."
        )
    return PAPERS[key]


def _did_you_mean(name: object, known: list[str]) -> str:
    close = difflib.get_close_matches(str(name), known, n=3)
    return f" Did you mean {' or '.join(repr(match) for match in close)}?" if close else ""


def _has_module(paper: Paper) -> bool:
    return importlib.util.find_spec(paper.module) is not None


def _claims_of(paper: Paper) -> list[Claim]:
    """The claims in the module of a paper or in any module of its package: nobody lists them."""
    if not _has_module(paper):
        return []
    package = importlib.import_module(paper.module)
    inside = pkgutil.walk_packages(getattr(package, "__path__", ()), f"{paper.module}.")
    modules = [package, *(importlib.import_module(one.name) for one in inside)]
    # A dict keeps the order of definition and drops a second name of the same claim.
    values = (value for module in modules for value in vars(module).values())
    found = list(dict.fromkeys(value for value in values if isinstance(value, Claim)))
    for one in found:
        if one.paper != paper.key:
            raise ValueError(
                f"Claim {one.id!r} in {paper.module} must have paper {paper.key!r}, but has {one.paper!r}."
            )
    return found


def _check_unique(selected: list[Claim]) -> None:
    seen: set[str] = set()
    for one in selected:
        if one.id in seen:
            raise ValueError(f"The id of a claim must be unique, but {one.id!r} occurs twice.")
        seen.add(one.id)
