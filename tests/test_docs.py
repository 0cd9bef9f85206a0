"""Every Python block of the README and the manual runs, page by page; every docstring example is true."""

import doctest
import importlib
import pkgutil
import re
from pathlib import Path

import matplotlib
import pytest

import dlntheory

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
SLOW_PAGES = {
    "README.md",
    "intrinsic.md",
    "closure.md",
    "gallery.md",
    "exact-solutions.md",
    "saddles.md",
    "mean-field.md",
    "parsimony.md",
    "alignment.md",
    "index.md",
    "dynamics.md",
    "reductions.md",
    "sharp-bits.md",
    "laws.md",
}
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(dlntheory.__path__, "dlntheory.")
    if not info.name.endswith("__main__")
)

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.DOTALL)


def blocks(page: Path) -> list[tuple[int, str]]:
    """Line number and text of each Python block."""
    text = page.read_text(encoding="utf-8")
    return [(text[: found.start(1)].count("\n"), found.group(1)) for found in BLOCK.finditer(text)]


def _marked(page: Path):
    return pytest.param(page, id=page.name, marks=[pytest.mark.slow] if page.name in SLOW_PAGES else [])


@pytest.fixture(autouse=True)
def _quiet_surroundings(tmp_path, monkeypatch):
    # The blocks are a user's: they may write files, and they rely on no setting that only the tests make.
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")


@pytest.mark.parametrize("page", [_marked(page) for page in PAGES])
def test_blocks_run(page, capsys):
    assert blocks(page), "a page without a block that runs is not checked by anything"
    namespace: dict[str, object] = {"__name__": f"page_{page.stem}"}
    for line, source in blocks(page):
        # Blank lines in front make tracebacks name the line of the page.
        exec(compile("\n" * line + source, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_page_is_plain_and_its_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    for target in LINK.findall(text):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_readme_example_is_ten_lines_and_starts_with_float64():
    (_, source) = blocks(ROOT / "README.md")[0]
    lines = [line for line in source.splitlines() if line.strip()]
    assert len(lines) <= 10
    assert 'jax.config.update("jax_enable_x64", True)' in lines[0]


def test_there_are_docstring_examples():
    finder = doctest.DocTestFinder(exclude_empty=True)
    assert (
        sum(len(test.examples) for name in MODULES for test in finder.find(importlib.import_module(name)))
        > 50
    )


@pytest.mark.parametrize("name", MODULES)
def test_docstring_examples(name):
    results = doctest.testmod(importlib.import_module(name), optionflags=doctest.NORMALIZE_WHITESPACE)
    assert results.failed == 0, f"{results.failed} of {results.attempted} examples of {name} failed"
