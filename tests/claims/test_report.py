import dataclasses
import json
import re
from html.parser import HTMLParser

import pytest

from dlntheory.claims import Curves, Evidence, claims, run_claims
from dlntheory.display.typesetting import prose
from dlntheory.report import write_report
from dlntheory.report.page import page_html
from dlntheory.report.rendering import arguments_in_words

VOID = {"meta", "img", "br", "input"}
HOSTILE = "</style><script>alert('x')</script> \" & <b>"


class Outline(HTMLParser):
    """Collects tags, ids, links and text, and fails on tags that do not nest."""

    def __init__(self):
        super().__init__()
        self.open, self.tags, self.text = [], [], ""
        self.links, self.ids, self.labels = [], [], []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "xlink:href")]
        self.ids += [value for name, value in attrs if name == "id"]
        self.labels += [value for name, value in attrs if name == "aria-label"]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1:] != ["style"]:
            self.text += data


def outline(page):
    parsed = Outline()
    parsed.feed(page)
    parsed.close()
    assert parsed.open == []
    return parsed


def is_self_contained(page):
    """No address anywhere but data and anchors of the page itself."""
    outside = re.findall(r'(?:src|href)="(?!#|data:)[^"]*"|url\((?!#|data:)[^)]*\)|@import', page)
    targets = {link[1:] for link in outline(page).links if link.startswith("#")}
    return not outside and targets <= set(outline(page).ids)


class MainJob:
    def __str__(self):
        return "<i>full</i> flow < reduced flow"

    def to_dict(self):
        return {"error": float("nan")}

    def figures(self):
        return ({"balanced": curves_of(1.0), "Gaussian": curves_of(2.0)},)


def curves_of(start, **fields):
    series = {"measured": ([0.0, 1.0], [start, start / 2]), "predicted": ([0.0, 1.0], [start, start / 3])}
    return Curves(**{"x": "time $t$", "y": "loss $f(z)$", "series": series, **fields})


def with_curves(x):
    return Evidence(1.0, x, curves=curves_of(x))


def marked_up(x):
    if x == 2.0:
        raise ValueError("<i>no</i> such number")
    return Evidence("<i>one</i>", "<i>one</i>", detail="<i>so</i> it is")


class TestPage:
    def test_page_and_json(self, toys, tmp_path):
        evil = toys.make(
            "toy-evil-page",
            statement="<script>alert(1)</script> $a < b$",
            summary="<b>bold</b>",
            source="<i>R&D</i>",
            control="</article>",
        )
        checks = [toys.passing, evil, toys.vacuous, toys.make("toy-marked-up", marked_up), toys.slow]
        report = run_claims([*checks, toys.make("toy-with-curves", with_curves, paper="closure")])
        page = write_report(report, tmp_path / "new" / "folder", main_job=MainJob())  # pyright: ignore[reportArgumentType]
        text = page.read_text(encoding="utf-8")
        parsed = outline(text)
        assert page.name == "index.html"
        assert not {"script", "i", "link", "img"} & set(parsed.tags)
        assert is_self_contained(text)
        assert len(parsed.ids) == len(set(parsed.ids))
        assert parsed.tags.count("article") == 6
        assert parsed.tags.count("figure") == 2
        for expected in (
            "<script>alert(1)</script> ",
            "<b>bold</b>",
            "<i>R&D</i>",
            "control (breaks a hypothesis): </article>",
            "<i>full</i> flow < reduced flow",
            "control (it must come out false by its number) raised ValueError: <i>no</i> such number",
            "Traceback (most recent call last)",
            "<i>one</i>",
            "<i>so</i> it is",
            "vacuous:",
            "x = 1",
            "error must be ≤ 1e-9",
            "error must be > 1e-9",
            "dlntheory verify --claim toy-vacuous",
            "International Conference on Machine Learning, 2018, arXiv 1802.06509",
            "1 claim not run",
            "def marked_up(x):",
            report.date,
            report.summary(),
            report.versions["jax"],
        ):
            assert expected in parsed.text
        document = json.loads((page.parent / "report.json").read_text(encoding="utf-8"))
        assert document["main_job"] == {"error": "nan"}
        verdicts = ["passed", "passed", "vacuous", "failed", "skipped", "passed"]
        assert [entry["verdict"] for entry in document["claims"]] == verdicts
        assert document["claims"][-1]["curves"]["series"]["measured"] == {"x": [0.0, 1.0], "y": [1.0, 0.5]}

    def test_report_is_replaced(self, toys, tmp_path):
        write_report(run_claims([toys.failing]), tmp_path)
        page = write_report(run_claims([toys.passing]), tmp_path)
        assert "toy-failing" not in page.read_text(encoding="utf-8")
        assert "main_job" not in json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))

    def test_folder_that_cannot_be_made_is_refused(self, toys, tmp_path):
        (tmp_path / "file").write_text("")
        report = run_claims([toys.passing])
        for path in (tmp_path / "file", tmp_path / "file" / "folder"):
            with pytest.raises(ValueError, match="`directory` must be a folder"):
                write_report(report, path)

    def test_same_report_same_page(self, toys):
        report = run_claims([toys.make("toy-with-curves", with_curves), toys.vacuous, toys.slow])
        assert page_html(report, None) == page_html(report, None)

    def test_interrupted_report_says_so(self, toys):
        stopped = page_html(run_claims([toys.passing, toys.interrupting]), None)
        assert "Interrupted." in outline(stopped).text
        assert "Interrupted." not in outline(page_html(run_claims([toys.passing]), None)).text

    def test_summary_counts_and_links_what_went_wrong(self, toys):
        report = run_claims([toys.passing, toys.failing, toys.vacuous, toys.slow])
        text = page_html(report, None)
        for verdict in ("passed", "failed", "vacuous", "skipped"):
            assert f'<li class="{verdict}"><b>1</b>{verdict}</li>' in text
        assert '<a href="#toy-failing">toy-failing</a>, <a href="#toy-vacuous">toy-vacuous</a>' in text
        assert "failed or vacuous (2)" in text
        assert '<section class="paper with-trouble" id="paper-basics">' in text
        assert '<section class="paper" id="paper-closure">' in text

    def test_skipped_claims_are_folded(self, toys):
        text = page_html(run_claims([toys.passing, toys.slow]), None)
        folded = text[text.index("<details><summary>1 claim not run") :]
        assert 'id="toy-slow"' in folded
        assert 'id="toy-passing"' not in folded

    def test_themes_and_print(self, toys):
        text = page_html(run_claims([toys.passing]), None)
        for rule in ("prefers-color-scheme: dark", "@media print", "max-width: 40rem", "@font-face"):
            assert text.count(rule) == 1

    @pytest.mark.parametrize("field", ["x", "y", "note", "series"])
    def test_hostile_curves_are_escaped(self, toys, field):
        fields = {"series": {HOSTILE: ([1.0], [1.0])}} if field == "series" else {field: HOSTILE}

        def check(x):
            return Evidence(1.0, x, curves=curves_of(x, **fields))

        parsed = outline(page_html(run_claims([toys.make("toy-hostile", check)]), None))
        assert "script" not in parsed.tags
        assert HOSTILE in parsed.text
        assert field == "note" or any(HOSTILE in label for label in parsed.labels)

    def test_figure_that_fails_costs_only_itself(self, toys, monkeypatch):
        from dlntheory.report import page as pages

        figure_html = pages.figure_html

        def broken(panels, name, tolerance=None):
            if name.startswith("figure-"):
                raise RuntimeError("no <i>ink</i>")
            return figure_html(panels, name, tolerance)

        report = run_claims([toys.make("toy-with-curves", with_curves), toys.passing])
        monkeypatch.setattr(pages, "figure_html", broken)
        parsed = outline(page_html(report, MainJob()))  # pyright: ignore[reportArgumentType]
        assert parsed.text.count("The figure could not be drawn: RuntimeError: no <i>ink</i>") == 1
        assert "toy-passing" in parsed.ids
        assert parsed.tags.count("article") == 2
        assert parsed.tags.count("figure") == 1  # that of the main job

    def test_main_job_without_figure_keeps_its_words(self, toys):
        class Broken(MainJob):
            def figures(self):
                raise RuntimeError("no run")

        parsed = outline(page_html(run_claims([toys.passing]), Broken()))  # pyright: ignore[reportArgumentType]
        assert "The figure could not be drawn: RuntimeError: no run" in parsed.text
        assert "<i>full</i> flow" in parsed.text

    def test_code_of_a_check_may_be_missing(self, toys):
        space = {"Evidence": Evidence}
        exec("def nowhere(x):\n    return Evidence(1.0, x)", space)
        text = page_html(run_claims([toys.make("toy-nowhere", space["nowhere"])]), None)
        assert "The check in Python" not in text
        assert "The check in Python" in page_html(run_claims([toys.passing]), None)


def test_arguments_in_words():
    arguments = {"seed": 0, "layer_rates": (1.0, (2.5,)), "kind": "gaussian", "tied": True}
    assert arguments_in_words(arguments) == "seed = 0, layer rates = (1, (2.5,)), kind = gaussian, tied = yes"


def test_every_statement_is_typeset():
    for claim in claims():
        markup = prose(claim.statement)
        assert "<code>" not in markup, claim.id
        words = re.sub(r"<math.*?</math>", "", markup, flags=re.DOTALL)
        assert "$" not in words, claim.id
        assert "\\" not in words, claim.id
        assert "<" not in words, claim.id


def test_every_claim_has_a_page_that_is_self_contained(toys):
    report = run_claims(dataclasses.replace(one, tier="full") for one in claims())
    page = page_html(report, None)
    assert outline(page).tags.count("article") == len(claims())
    assert is_self_contained(page)
