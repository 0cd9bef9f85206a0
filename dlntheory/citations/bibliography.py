"""The works that the package names, read from `references.bib`."""

from __future__ import annotations

import functools
import re
import types
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources

from .._version import __version__

FILE = "references.bib"
#: The field that says by which words the package names a work in its `source` texts; BibTeX does not know it.
ALIASES = "citedas"
#: Titles of at most this many letters, such as those of programs, name nothing by themselves.
SHORT_TITLE = 12
#: Of the package in this version.
YEAR = "2026"
ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", re.MULTILINE)
ACCENTS = {
    "\\'e": "é",
    "\\'a": "á",
    "\\'o": "ó",
    '\\"i': "ï",
    "\\c{c}": "ç",
    "\\c{C}": "Ç",
    "\\c{s}": "ş",
    "\\c{S}": "Ş",
    "\\ae": "æ",
    "\\o": "ø",
}


@dataclass(frozen=True)
class Reference:
    """One work.

    Attributes:
        key: its BibTeX key, such as `"saxe2014exact"`.
        kind: `"article"`, `"inproceedings"`, `"misc"`, …
        fields: the BibTeX fields as they stand.
        aliases: the words by which the package names it in its `source` texts.
    """

    key: str
    kind: str
    fields: Mapping[str, str]
    aliases: tuple[str, ...] = ()

    @property
    def bibtex(self) -> str:
        """The entry for a `.bib` file."""
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}\n}}"

    @property
    def short_title(self) -> str:
        """The title up to its colon."""
        return plain(self.fields["title"]).split(":")[0].split("?")[0]

    def __str__(self) -> str:
        """Authors, title, place and year in one line of plain text."""
        names = [name.split(",")[0].strip("{}") for name in self.fields["author"].split(" and ")]
        authors = ", ".join("et al." if name == "others" else name for name in names)
        place = next(
            (
                self.fields[name]
                for name in ("journal", "booktitle", "school", "publisher", "note")
                if name in self.fields
            ),
            "",
        )
        arxiv = f"arXiv {self.fields['eprint']}" if "eprint" in self.fields and "arXiv" not in place else ""
        details = [part for part in (place, self.fields.get("year", ""), arxiv) if part]
        title = f"{authors}: {self.fields['title']}."
        return plain(f"{title} {', '.join(details)}." if details else title)


@functools.cache
def bibliography() -> Mapping[str, Reference]:
    """All works by key, the package itself first.

    Example:
        >>> print(bibliography()["ji2019gradient"])
        Ji, Telgarsky: Gradient Descent Aligns the Layers of Deep Linear Networks. International Conference on Learning
        Representations, 2019, arXiv 1810.02032.
    """
    found = {"dlntheory": _own()}
    text = resources.files("dlntheory.citations").joinpath(FILE).read_text(encoding="utf-8")
    for kind, key, body in ENTRY.findall(text):
        fields = dict(FIELD.findall(body))
        aliases = tuple(alias.strip() for alias in fields.pop(ALIASES, "").split("|") if alias.strip())
        if key in found:
            raise ValueError(f"{FILE} must have each key once, but {key!r} stands there twice.")
        found[key] = Reference(key, kind, types.MappingProxyType(fields), aliases)
    return types.MappingProxyType(found)


def named_in(source: str) -> tuple[str, ...]:
    """The keys of the works that a `source` text names, in the order in which they stand there.

    A work is named by one of its `aliases`, by its title in quotation marks or by its number on arXiv.

    Example:
        >>> named_in("Arora, Cohen, Hazan 2018, Theorem 1; Saxe, McClelland, Ganguli 2014")
        ('arora2018optimization', 'saxe2014exact')
    """
    places: dict[str, int] = {}
    for key, reference in bibliography().items():
        marks = [*reference.aliases]
        if len(reference.short_title) > SHORT_TITLE:
            marks.append(f'"{reference.short_title}')
        if "eprint" in reference.fields:
            marks.append(f"arXiv {reference.fields['eprint']}")
        starts = [found.start() for mark in marks for found in _whole(mark).finditer(source)]
        if starts:
            places[key] = min(starts)
    return tuple(sorted(places, key=places.__getitem__))


@functools.cache
def _whole(mark: str) -> re.Pattern[str]:
    # "Menon, Yu" is not in "Cohen, Menon, Yu", nor "Li 2026" in "Ali 2026"; a quoted title may follow authors.
    alone = r"(?<!\w)" if mark.startswith('"') else r"(?<!\w)(?<!\w, )"
    return re.compile(rf"{alone}{re.escape(mark)}(?!\d)", re.IGNORECASE)


def plain(latex: str) -> str:
    """Text without the LaTeX of accents, dashes and braces."""
    for command, letter in ACCENTS.items():
        latex = latex.replace("{" + command + "}", letter).replace(command, letter)
    return latex.replace("--", "–").replace("\\&", "&").replace("{", "").replace("}", "")


def _own() -> Reference:
    fields = {
        "author": "{The dlntheory authors}",
        "title": "{dlntheory}: Conservation Laws, Reduced Dynamics and Exact Solutions for Deep Linear Networks",
        "year": YEAR,
        "note": f"Version {__version__}",
    }
    return Reference("dlntheory", "misc", types.MappingProxyType(fields))
