import base64
import json
import re
from html.parser import HTMLParser
from xml.etree import ElementTree

import pytest

from dlntheory.claims import Evidence, run_claims
from dlntheory.report import statement_html, write_report

VOID = {"meta", "img", "br"}


class Outline(HTMLParser):
    """Collects tags and text, and fails on tags that do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text, self.links = [], [], "", []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


def outline(page):
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    return parsed


class MainJob:
    def __str__(self):
        return "<i>full</i> flow < reduced flow"

    def to_dict(self):
        return {"error": float("nan")}


def marked_up(x):
    if x == 2.0:
        raise ValueError("<i>no</i> such number")
    return Evidence("<i>one</i>", "<i>1</i>", 0.0, detail="<i>so</i> it is")


def test_page_and_json(toys, tmp_path):
    evil = toys.make(
        "toy-evil-page",
        statement="<script>alert(1)</script> $a < b$",
        summary="<b>bold</b>",
        source="<i>R&D</i>",
        control="</article>",
    )
    report = run_claims([toys.passing, evil, toys.vacuous, toys.make("toy-marked-up", marked_up), toys.slow])
    page = write_report(report, tmp_path / "new" / "folder", main_job=MainJob())
    text = page.read_text(encoding="utf-8")
    parsed = outline(text)
    assert page.name == "index.html"
    assert not {"script", "b", "i", "link"} & set(parsed.tags)
    assert all(link.startswith("data:image/svg+xml;base64,") for link in parsed.links)
    assert len(parsed.links) == 5
    assert parsed.tags.count("article") == 5
    for expected in (
        "<script>alert(1)</script> ",
        "<b>bold</b>",
        "<i>R&D</i>",
        "control: </article>",
        "<i>full</i> flow < reduced flow",
        "control (it must come out false by its number) raised ValueError: <i>no</i> such number",
        "Traceback (most recent call last)",
        "<i>one</i><i>1</i>",
        "<i>so</i> it is",
        "vacuous:",
        report.date,
        report.summary(),
        report.versions["jax"],
    ):
        assert expected in parsed.text
    assert "prefers-color-scheme: dark" in text
    document = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
    assert document["main_job"] == {"error": "nan"}
    assert [entry["verdict"] for entry in document["claims"]] == [
        "passed",
        "passed",
        "vacuous",
        "failed",
        "skipped",
    ]


def test_report_is_replaced(toys, tmp_path):
    write_report(run_claims([toys.failing]), tmp_path)
    page = write_report(run_claims([toys.passing]), tmp_path)
    assert "toy-failing" not in page.read_text(encoding="utf-8")
    assert "main_job" not in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))


def test_folder_that_cannot_be_made_is_refused(toys, tmp_path):
    (tmp_path / "file").write_text("")
    report = run_claims([toys.passing])
    for path in (tmp_path / "file", tmp_path / "file" / "folder"):
        with pytest.raises(ValueError, match="`directory` must be a folder"):
            write_report(report, path)


def drawing(markup):
    data = re.search(r'base64,([^"]+)"', markup)
    assert data is not None
    return ElementTree.fromstring(base64.b64decode(data[1]))


@pytest.mark.parametrize(
    "formula",
    [
        r"W_{l+1}^\top W_{l+1} - W_l W_l^\top",
        r"\lVert z \rVert \le 1",
        r"\frac{d}{dt} z = -\sum_{l=1}^{L} K_l \nabla f",
    ],
)
def test_formula_is_drawn(formula):
    markup = statement_html(f"Here ${formula}$.")
    assert markup.startswith("Here <img alt=")
    assert markup.endswith(">.")
    assert drawing(markup).tag.endswith("svg")
    assert statement_html(formula) == statement_html(f"${formula}$")


def test_formula_that_mathtext_cannot_read_is_code():
    assert statement_html(r"If $\begin{cases} a < b \end{cases}$ & so") == (
        r"If <code>\begin{cases} a &lt; b \end{cases}</code> &amp; so"
    )


def test_prose_without_formulas_stays_prose():
    assert statement_html("The rank is two.") == "The rank is two."
