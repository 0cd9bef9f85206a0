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
#: Of the package in this version.
YEAR = "2026"
ENTRY = re.compile(r"^@(\w+)\{([\w-]+),\n(.*?)^\}", re.MULTILINE | re.DOTALL)
FIELD = re.compile(r"^\s*(\w+)\s*=\s*\{(.*)\},?\s*$", re.MULTILINE)
#: A key in brackets, as in "[saxe2014exact], section 3": authors, year, a word of the title.
CITED = re.compile(r"\[([a-z]+\d{4}[a-z]+)\]")
ACCENTS = {
    "\\'e": "é",
    "\\'a": "á",
    "\\'o": "ó",
    "\\'u": "ú",
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
    """

    key: str
    kind: str
    fields: Mapping[str, str]

    @property
    def bibtex(self) -> str:
        """The entry for a `.bib` file."""
        lines = ",\n".join(f"  {name} = {{{value}}}" for name, value in self.fields.items())
        return f"@{self.kind}{{{self.key},\n{lines}\n}}"

    @property
    def authors(self) -> str:
        """The family names, such as `"Ji, Telgarsky"`."""
        names = [name.split(",")[0].strip("{}") for name in self.fields["author"].split(" and ")]
        return plain(", ".join("et al." if name == "others" else name for name in names))

    def __str__(self) -> str:
        """Authors, title, place and year in one line of plain text."""
        places = ("journal", "booktitle", "school", "publisher", "note")
        place = next((self.fields[name] for name in places if name in self.fields), "")
        arxiv = f"arXiv {self.fields['eprint']}" if "eprint" in self.fields and "arXiv" not in place else ""
        details = [part for part in (place, self.fields.get("year", ""), arxiv) if part]
        title = f"{self.authors}: {self.fields['title']}."
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
        if key in found:
            raise ValueError(f"{FILE} must have each key once, but {key!r} stands there twice.")
        found[key] = Reference(key, kind, types.MappingProxyType(dict(FIELD.findall(body))))
    return types.MappingProxyType(found)


def cited_in(text: str) -> tuple[str, ...]:
    """The keys that stand in brackets in a text, each once, in the order of their first occurrence.

    Raises:
        ValueError: a key that the bibliography does not have.

    Example:
        >>> cited_in("[arora2018optimization], Theorem 1; setting of [saxe2014exact]")
        ('arora2018optimization', 'saxe2014exact')
    """
    keys = tuple(dict.fromkeys(CITED.findall(text)))
    if unknown := [key for key in keys if key not in bibliography()]:
        raise ValueError(f"Argument `text` must cite works of {FILE}, but cites {', '.join(unknown)}.")
    return keys


def in_words(text: str, *, whole: bool = False) -> str:
    """The text with authors and year in place of each key in brackets.

    Args:
        text: a source as the package writes it.
        whole: put title, place and year there as well.

    Example:
        >>> in_words("[ji2019gradient]; the rate is derived here")
        'Ji, Telgarsky 2019; the rate is derived here'
    """
    works = {key: bibliography()[key] for key in cited_in(text)}
    names = {
        key: str(work).rstrip(".") if whole else f"{work.authors} {work.fields['year']}"
        for key, work in works.items()
    }
    return CITED.sub(lambda found: names[found[1]], text)


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
