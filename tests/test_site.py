"""The documentation site: it builds without a warning, needs no network, typesets every formula, lists every name."""

import html.parser
import re
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

import dlntheory

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = Path(dlntheory.__file__).parent
NOTEBOOKS = sorted(path.stem for path in (ROOT / "notebooks").glob("*.ipynb"))
#: Elements that fetch what they name, and the attributes that name it.
FETCHED = {"script": "src", "img": "src", "iframe": "src", "source": "src", "video": "src", "object": "data"}
#: Relations of `<link>` that fetch nothing before the reader follows them.
FOLLOWED = {"index", "search", "next", "prev", "canonical", "author", "license"}

pytestmark = pytest.mark.slow


class Page(html.parser.HTMLParser):
    """What a page fetches, its running text, its identifiers, its formulas."""

    def __init__(self, path):
        super().__init__()
        self.fetched, self.words, self.identifiers, self.formulas = [], [], set(), 0
        self.verbatim = 0
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.identifiers.add(values.get("id"))
        self.formulas += tag == "math"
        if tag in ("script", "style", "pre", "code"):
            self.verbatim += 1
        if tag in FETCHED and values.get(FETCHED[tag]):
            self.fetched.append(values[FETCHED[tag]])
        if tag == "link" and values.get("rel") not in FOLLOWED:
            self.fetched.append(values["href"])

    def handle_endtag(self, tag):
        if tag in ("script", "style", "pre", "code"):
            self.verbatim -= 1

    def handle_data(self, data):
        if not self.verbatim:
            self.words.append(data)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-b", "html", "-q", "-W", "--keep-going"]
    built = subprocess.run(
        [*command, "-d", folder / "doctrees", ROOT / "docs", folder / "html"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return folder / "html"


@pytest.fixture(scope="module")
def pages(site):
    """Each page of the site but the listings of source code, by its path."""
    found = {path.relative_to(site).as_posix(): path for path in site.rglob("*.html")}
    return {name: Page(path) for name, path in found.items() if not name.startswith("_modules/")}


@pytest.fixture(scope="module")
def inventory(site):
    """Name of each Python object -> the page and the identifier of its entry."""
    head, _, body = (site / "objects.inv").read_bytes().partition(b"zlib.\n")
    assert head.startswith(b"# Sphinx inventory version 2")
    entries = {}
    for line in zlib.decompress(body).decode().splitlines():
        name, kind, _, place, _ = line.split(maxsplit=4)
        if kind.startswith("py:"):
            page, _, identifier = place.partition("#")
            entries[name] = (page, identifier.replace("$", name))
    return entries


def test_every_source_is_a_page(site):
    for source in (ROOT / "docs").rglob("*.md"):
        assert (site / source.relative_to(ROOT / "docs").with_suffix(".html")).is_file(), source
    assert len(NOTEBOOKS) >= 9
    for name in NOTEBOOKS:
        assert (site / "notebooks" / f"{name}.html").is_file()
    assert (site / "searchindex.js").stat().st_size > 1e5


def test_nothing_comes_from_a_network(site, pages):
    for name, page in pages.items():
        for address in page.fetched:
            assert not re.match(r"(?:\w+:)?//", address), f"{name} fetches {address}"
    for sheet in site.rglob("*.css"):
        text = sheet.read_text(encoding="utf-8")
        assert not re.search(r"(?:@import|url\()\s*(?:url\()?[\"']?(?:https?:)?//", text), sheet
    for script in site.rglob("*.js"):
        assert not re.search(r"mathjax|katex", script.read_text(encoding="utf-8"), re.IGNORECASE), script


def test_links_within_the_site_arrive(site, pages):
    missing = []
    for name in pages:
        text = (site / name).read_text(encoding="utf-8")
        for target in re.findall(r'<a [^>]*href="([^"#][^":]*)"', text):
            path, _, identifier = target.partition("#")
            place = (site / name).parent / path.partition("?")[0]
            if not place.is_file():
                missing.append(f"{name} -> {target}")
                continue
            there = place.resolve().relative_to(site.resolve()).as_posix()
            if identifier and there in pages and identifier not in pages[there].identifiers:
                missing.append(f"{name} -> {target}")
    assert not missing, missing[:20]


def test_formulas_are_mathml_everywhere(pages):
    assert pages["theory/intrinsic.html"].formulas > 100
    assert pages["reference/saddles.html"].formulas > 100
    assert pages["gallery.html"].formulas > 100
    for name, page in pages.items():
        left = re.search(r"\$[^$\n]{1,80}\$|\\\(|\\\[|\\frac|\\top", "".join(page.words))
        assert left is None, f"{name}: {left[0]!r} is not typeset"


def test_html_that_objects_show_in_notebooks_is_typeset(site):
    text = (site / "notebooks" / "conservation_laws.html").read_text(encoding="utf-8")
    output = text.partition('<div class="output text_html">')[2].partition("</ul>")[0]
    assert "<math" in output or "<math" in text.partition("Conservation laws of ReLU")[2][:3000]


def test_the_font_is_embedded(site):
    sheet = (site / "_static" / "mathematics.css").read_text(encoding="utf-8")
    assert "data:font/woff2;base64," in sheet
    assert "mathematics.css" in (site / "index.html").read_text(encoding="utf-8")


def public_packages():
    """Packages for users: not the command line, not the checks of single papers."""
    for path in [PACKAGE / "__init__.py", *sorted(PACKAGE.rglob("*/__init__.py"))]:
        parts = path.parent.relative_to(PACKAGE.parent).parts
        if not {"cli", "typesetting"} & set(parts) and not (len(parts) > 2 and parts[1] == "claims"):
            yield ".".join(parts), path.read_text(encoding="utf-8")


def test_every_exported_name_is_in_the_reference(inventory, pages):
    names = {
        f"{package}.{name}"
        for package, text in public_packages()
        for name in re.findall(r"\b([A-Za-z]\w*) as \1\b", text)
    }
    assert len(names) > 300
    assert not sorted(names - set(inventory))
    for name in names:
        page, identifier = inventory[name]
        assert page.startswith("reference/"), name
        assert identifier in pages[page].identifiers, name


def test_an_entry_has_its_arguments_shapes_and_sources(site, inventory):
    page, _ = inventory["dlntheory.theory.saddles.escape_direction"]
    entry = (
        (site / page)
        .read_text(encoding="utf-8")
        .partition('id="dlntheory.theory.saddles.escape_direction"')[2]
    )
    entry = entry.partition("<dl class=")[2].partition('<dl class="py')[0]
    for part in ("Parameters", "gradient", "(d_out, d_in)", "Raises", "ConditionError", "Validity", "<math"):
        assert part in entry, part


def test_code_in_prose_leads_to_the_reference(site):
    text = (site / "theory" / "intrinsic.html").read_text(encoding="utf-8")
    assert re.search(r'href="\.\./reference/reductions\.html#dlntheory\.intrinsic"[^>]*><code', text)
    # An ordinary word stays code where the entry means something else by it.
    laws = (site / "reference" / "laws.html").read_text(encoding="utf-8")
    assert 'href="claims.html#dlntheory.verify"' not in laws


def test_the_bibliography_holds_every_entry(site):
    keys = re.findall(
        r"^@\w+\{", (PACKAGE / "citations" / "references.bib").read_text(encoding="utf-8"), re.MULTILINE
    )
    text = (site / "bibliography.html").read_text(encoding="utf-8")
    assert text.count('class="citation"') == len(keys) > 10
