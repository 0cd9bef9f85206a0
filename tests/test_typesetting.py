"""Formulas become MathML that says what the LaTeX says, and the font that draws them is whole."""

import base64
import html
import io
import re
from pathlib import Path

import pytest
from fontTools.ttLib import TTFont

from dlntheory.display.typesetting import font_face, formula, prose

ROOT = Path(__file__).resolve().parents[1]
MATHEMATICS = re.compile(r"\$\$(.+?)\$\$|\$([^$\n]+)\$", re.DOTALL)


def text_of(element):
    return html.unescape(re.sub(r"<[^>]*>", "", element))


def test_a_formula_holds_its_symbols_and_its_source():
    element = formula(r"\dot z = -\sum_{l=1}^L (zz^\top)^{(L-l)/L}\,\nabla f(z)")
    assert text_of(element).startswith("z˙=−∑l=1L(")
    assert r'aria-label="\dot z = -\sum' in element
    assert "display=" not in formula("z")
    assert 'display="block"' in formula("z", display=True)


def test_prose_is_escaped_and_its_formulas_are_set():
    page = prose(r"<img src=x> holds for $a < b$ & $$c$$")
    assert page.startswith("&lt;img src=x&gt; holds for <math")
    assert page.count("<math") == 2
    assert page.count('display="block"') == 1
    assert "<img" not in page
    assert "$" not in page
    assert prose(r"z = W_2 W_1").startswith("<math"), "one formula without dollar signs"
    assert prose("no mathematics here") == "no mathematics here"


def test_a_formula_that_cannot_be_read_is_refused_or_shown_as_it_is():
    with pytest.raises(ValueError, match=r"Argument `latex` must be a formula in LaTeX, but '.*frob"):
        formula(r"\frobnicate{z}")
    assert prose(r"see $\frobnicate{<b>}$.") == r"see <code>\frobnicate{&lt;b&gt;}</code>."


def test_a_label_cannot_leave_its_attribute():
    element = formula('a" onclick="alert(1)')
    assert element.startswith('<math aria-label="a&quot; onclick=&quot;alert(1)">')
    assert 'onclick="' not in element


def formulas_of_the_project():
    from dlntheory.claims.registry import claims

    for claim in claims(None, None):
        statement = claim.statement
        yield from statement.split("$")[1::2] if "$" in statement else []
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("**/*.md")]:
        text = re.sub(r"```.*?```|`[^`\n]*`", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
        for display, inline in MATHEMATICS.findall(text):
            yield display or inline


def test_every_formula_of_the_project_is_set_with_glyphs_of_the_font():
    data = re.search(r"base64,([\w+/=]+)", font_face())
    assert data
    font = TTFont(io.BytesIO(base64.b64decode(data[1])))
    assert "MATH" in font, "without this table nothing stretches"
    glyphs = font.getBestCmap()
    found = list(formulas_of_the_project())
    assert len(found) > 1000
    missing = {
        (character, latex)
        for latex in found
        for character in text_of(formula(latex))
        if ord(character) not in glyphs
    }
    assert missing == set()
