"""The gallery page shows what the library computes: some rows always, the others in the long run."""

import importlib
import re
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[1] / "docs"
NOISE = 1e-11


@pytest.fixture(scope="module")
def gallery():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        yield importlib.import_module("make_gallery")


def _titles():
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(DOCS))
        entries = importlib.import_module("gallery_rows").ENTRIES
    return {entry.title: entry for entry in entries}


ENTRIES = _titles()


def _marked(entry):
    return pytest.param(entry, id=entry.title, marks=[] if entry.quick else [pytest.mark.slow])


@pytest.mark.parametrize("entry", [_marked(entry) for entry in ENTRIES.values()])
def test_row_is_what_the_library_computes(entry, gallery):
    found = gallery.facts(entry)
    written = _cells(entry.title)
    assert written[:-1] == found.cells
    if found.error is None:
        assert written[-1] == ""
        return
    assert found.error < 1e-10
    # The last digits differ between machines.
    assert found.error < max(10 * float(written[-1].replace(gallery.HYPHEN, "-")), NOISE)
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    assert gallery.section(entry, found.closure) in text


def test_page_has_every_architecture_once_and_at_least_ten_beyond_the_known_ones(gallery):
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    headings = re.findall(r"^### (.+)$", text, re.MULTILINE)
    assert headings == list(ENTRIES)
    assert len(gallery.FURTHER) >= 10
    # Every architecture has its place under a heading.
    assert len(headings) == len(gallery.KNOWN) + len(gallery.FURTHER)
    for title in ENTRIES:
        assert len(_cells(title)) == len(gallery.HEADER)


def _cells(title):
    text = (DOCS / "gallery.md").read_text(encoding="utf-8")
    (line,) = [line for line in text.splitlines() if line.startswith(f"| {title} | ")]
    return tuple(cell.strip() for cell in line.removeprefix("|").removesuffix("|").split(" | "))
