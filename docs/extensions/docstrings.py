"""Docstrings of the package are Markdown with Google's sections: rendered by MyST, as the pages are.

`field_lists` turns the sections into field lists, which Sphinx lays out; `markdown-docstring` renders the result.
"""

from __future__ import annotations

import dataclasses
import re
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from docutils import nodes
from myst_parser.config.main import MdParserConfig
from myst_parser.mdit_to_docutils.sphinx_ import SphinxRenderer
from myst_parser.parsers.mdit import create_md_parser
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

#: Sections with one entry for each name, and the field that an entry becomes.
ENTRIES = {"Args": "param", "Raises": "raises"}
#: Sections with running text, and their label.
TEXTS = {
    "Returns": "returns",
    "Yields": "yields",
    "Warns": "Warns",
    "Validity": "Validity",
    "Note": "Note",
    "References": "References",
}
SECTION = re.compile(rf"^({'|'.join([*ENTRIES, *TEXTS, 'Attributes', 'Example', 'Examples'])}):\s*$")
#: A key of the bibliography in brackets.
CITED = re.compile(r"\[([a-z]+\d{4}[a-z]+)\]")
ENTRY = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*)(?: \((?P<kind>[^)]*)\))?:(?:\s+(?P<text>.*))?$")


def field_lists(lines: Sequence[str]) -> list[str]:
    """A docstring's lines with each section as Markdown fields, each doctest as a block of code."""
    found: list[str] = []
    rest = list(lines)
    while rest:
        line = rest.pop(0)
        section = SECTION.match(line)
        if section is None:
            found.append(line)
            continue
        body = []
        while rest and (not rest[0].strip() or rest[0].startswith(" ")):
            body.append(rest.pop(0))
        found += [*_section(section[1], textwrap.dedent("\n".join(body)).strip().splitlines())]
    return _fenced_doctests(found)


def _section(name: str, body: list[str]) -> Iterator[str]:
    if name in ENTRIES:
        for names, text in _entries(body):
            yield from _field(f"{ENTRIES[name]} {names}", text)
    elif name == "Attributes":
        items = [
            [f"- **{names}** – {text[0]}", *textwrap.indent("\n".join(text[1:]), "  ").splitlines()]
            for names, text in _entries(body)
        ]
        yield from _field("Attributes", ["", *(line for item in items for line in item)])
    elif name.startswith("Example"):
        yield from _field("Example", ["", *body])
    elif name == "References":
        yield from _field(TEXTS[name], [CITED.sub(r"{cite:t}`\1`", line) for line in body])
    else:
        yield from _field(TEXTS[name], body)
    yield ""


def _entries(body: Sequence[str]) -> list[tuple[str, list[str]]]:
    """Names and text of each entry; a line that names nothing belongs to the entry above it."""
    entries: list[tuple[str, list[str]]] = []
    for line in body:
        if found := ENTRY.match(line):
            kind = f"({found['kind']}) " if found["kind"] else ""
            entries.append((found["names"].replace("*", r"\*"), [kind + (found["text"] or "")]))
        elif entries:
            entries[-1][1].append(line.removeprefix("    "))
        else:
            raise ValueError(
                f"An entry of a docstring must begin with its name and a colon, but is {line!r}."
            )
    return entries


def _field(name: str, body: Sequence[str]) -> Iterator[str]:
    first, *others = body or [""]
    yield f":{name.strip()}: {first}".rstrip()
    yield from (f"    {line}".rstrip() for line in others)


def _fenced_doctests(lines: Sequence[str]) -> list[str]:
    """Each run of lines from `>>>` to the next empty one within a fence."""
    found: list[str] = []
    inside = ""
    for line in [*lines, ""]:
        if not inside and line.lstrip().startswith(">>> "):
            indent = line[: len(line) - len(line.lstrip())]
            inside = f"{indent}```"
            found += [f"{inside}pycon"]
        elif inside and not line.strip():
            found.append(inside)
            inside = ""
        found.append(line)
    return found[:-1]


class DocstringRenderer(SphinxRenderer):
    """Renders a piece of a page: what belongs to the whole page (slugs of headings, footnotes) stays as it is."""

    def render(self, tokens: Any, options: Any, md_env: Any) -> nodes.document:
        self.setup_render(options, md_env)
        self._render_tokens(list(tokens))
        return self.document


class MarkdownDocstring(SphinxDirective):
    """The body of the directive as Markdown, with fields."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        environment: Any = self.env
        config: MdParserConfig = environment.myst_config
        config = dataclasses.replace(config, enable_extensions={*config.enable_extensions, "fieldlist"})
        parser = create_md_parser(config, DocstringRenderer)
        container = nodes.container()
        parser.options.update({"document": self.state.document, "current_node": container})
        parser.render("\n".join(self.content), {"relative-images": None})
        return container.children


def process_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    if any(line.strip() for line in lines):
        body = textwrap.indent("\n".join(field_lists(lines)), "   ").splitlines()
        lines[:] = [".. markdown-docstring::", "", *body, ""]


def setup(app: Sphinx) -> dict[str, Any]:
    app.add_directive("markdown-docstring", MarkdownDocstring)
    app.connect("autodoc-process-docstring", process_docstring)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
