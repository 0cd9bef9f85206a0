"""Pages: their blocks are run (by `conftest.py`), their links lead somewhere; and every docstring example is true."""

import doctest
import importlib
import os
import pkgutil
import re
from pathlib import Path

import matplotlib
import pytest

import dlntheory

ROOT = Path(__file__).resolve().parents[1]
PAGES = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")),
    *(page for page in sorted((ROOT / "docs").glob("**/*.md")) if not page.is_symlink()),
]
MODULES = sorted(
    info.name
    for info in pkgutil.walk_packages(dlntheory.__path__, "dlntheory.")
    if not info.name.endswith("__main__")
)

BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\(([^)#]+)(?:#[^)]*)?\)", re.DOTALL)


def name_of(page: Path) -> str:
    return str(page.relative_to(ROOT))


def blocks(page: Path) -> list[str]:
    """The text of each Python block."""
    return BLOCK.findall(page.read_text(encoding="utf-8"))


@pytest.fixture(autouse=True)
def _quiet_surroundings(tmp_path, monkeypatch):
    # Examples of docstrings may write files and draw.
    monkeypatch.chdir(tmp_path)
    matplotlib.use("Agg")


@pytest.fixture(scope="module")
def runner(request):
    """The `conftest.py` that runs the blocks of pages."""
    roots = set(request.config.getini("testpaths"))
    assert roots.issuperset({"docs", "README.md", "CONTRIBUTING.md", "CHANGELOG.md"})
    return request.config.pluginmanager.get_plugin(str(ROOT / "conftest.py"))


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_python_block_of_a_page_is_run(page, runner):
    assert runner.PAGES.should_parse(page)
    examples = runner.PAGES.parse(page).examples()
    assert [example.parsed.strip() for example in examples] == [block.strip() for block in blocks(page)]
    if page.parent.name in ("concepts", "how-to", "theory") and page.name != "index.md":
        assert blocks(page), "a page without a block that runs is not checked by anything"


def test_slow_pages_exist(runner):
    assert set(PAGES) >= runner.SLOW_PAGES


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_page_is_plain_and_its_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    assert str(ROOT) not in text
    for target in LINK.findall(text):
        if "://" not in target:
            place = Path(os.path.normpath(page.parent / target))
            assert place.exists(), f"{page.name} links to {target}"
            # A forge follows no symbolic link: `docs/notebooks/` is there for the site alone.
            assert place == place.resolve(), f"{page.name} links to {target}: say where the file lies itself"


def test_readme_example_is_ten_lines_and_starts_with_float64():
    source = blocks(ROOT / "README.md")[0]
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
