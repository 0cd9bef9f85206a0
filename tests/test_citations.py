"""Every source that the package names is in the bibliography, and `cite` finds it from the results."""

import ast
import re
from pathlib import Path

import jax
import pytest

import dlntheory as dln
from dlntheory.citations import bibliography, cite, named_in
from dlntheory.citations.cite import PAPERS as PAPER_KEYS
from dlntheory.claims.registry import claims

PACKAGE = Path(dln.__file__).parent
YEAR = re.compile(r"\b(19|20)\d\d\b(?!\.)")
OWN = "derived|elementary|measured|observed|definition|theorem of the alternative"


def sources():
    """The text of every `source` property and every `source=` of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            texts = []
            if isinstance(node, ast.FunctionDef) and node.name == "source":
                last = node.body[-1]
                value = last.value if isinstance(last, ast.Return) else None
                texts = [value.value] if isinstance(value, ast.Constant) else []
            elif isinstance(node, ast.keyword) and node.arg == "source":
                texts = [node.value.value] if isinstance(node.value, ast.Constant) else []
            yield from (text for text in texts if isinstance(text, str))
    yield from (claim.source for claim in claims(None, None))


def unnamed_years(source):
    """Years that stand in a source outside the words by which the bibliography knows a work."""
    for reference in bibliography().values():
        for alias in reference.aliases:
            source = source.replace(alias, "")
    return YEAR.findall(re.sub(r"arXiv \d{4}\.\d{4,5}", "", source))


def test_the_sources_of_the_package_are_known():
    found = sorted(set(sources()))
    assert len(found) > 60
    assert [source for source in found if unnamed_years(source)] == []
    assert [source for source in found if not named_in(source) and not re.search(OWN, source)] == []
    assert unnamed_years("Nobody, Unknown 2031")
    assert not named_in("Nobody, Unknown 2031")


def test_every_paper_of_the_claims_is_known():
    from dlntheory.claims import PAPERS

    for paper in PAPERS.values():
        reference = bibliography()[PAPER_KEYS[paper.key]]
        assert reference.fields["eprint"] in paper.citation
        if paper.key not in ("basics", "closure"):
            words = [re.sub(r"\W", "", text).lower() for text in (reference.short_title, paper.title)]
            assert words[1].startswith(words[0]), paper.key


def test_entries_are_whole():
    entries = bibliography()
    text = (PACKAGE / "citations" / "references.bib").read_text(encoding="utf-8")
    assert len(entries) == text.count("\n@") + 1, "each entry was read"
    for reference in entries.values():
        assert {"author", "title"} <= set(reference.fields)
        assert re.fullmatch(r"\d{4}", reference.fields["year"])
        assert re.fullmatch(r"\d{4}\.\d{4,5}", reference.fields.get("eprint", "0000.00000"))
        assert reference.bibtex.count("{") == reference.bibtex.count("}")
        assert "citedas" not in reference.bibtex
        assert not re.search(r"[\\{}]", str(reference)), str(reference)
        if reference.key != "dlntheory":
            year = reference.fields["year"]
            assert year in reference.key or reference.key == "flint"
    aliases = [alias for reference in entries.values() for alias in reference.aliases]
    assert len(aliases) == len(set(aliases))


@pytest.mark.parametrize(
    ("source", "keys"),
    [
        ("Menon; Menon, Yu: geometry", ("menon2024geometry", "menon2025entropy")),
        ("Cohen, Menon, Veraszto 2023", ("cohen2023deep",)),
        ("Bah, Rauhut, Terstiege, Westdickenberg 2022; Menon, Yu", ("bah2022learning", "menon2025entropy")),
        (
            "Woodworth et al. 2020; Gunasekar et al. 2018",
            ("woodworth2020kernel", "gunasekar2018characterizing"),
        ),
        ("Gunasekar, Lee, Soudry, Srebro, NeurIPS 2018", ("gunasekar2018convolutional",)),
        ("Ali 2026", ()),
        ("Cohen, Menon, Yu", ()),
        ("arXiv 2508.073701", ()),
        ('somebody, "gradient descent aligns the layers of deep linear networks"', ("ji2019gradient",)),
    ],
)
def test_works_are_found_by_name_number_and_title(source, keys):
    assert named_in(source) == keys


@pytest.fixture(scope="module")
def comparison():
    arch = dln.linear_network((3, 4, 2))
    flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]]))
    theta0 = dln.balanced(arch, jax.random.key(0), scale=0.3)
    return dln.compare(flow, dln.reduce(arch, theta0), theta0, 2.0)


def test_a_comparison_cites_its_theorem_and_its_solver(comparison):
    keys = dln.cite(comparison).keys
    assert keys[0] == "dlntheory"
    assert {"arora2018optimization", "kidger2021neural", "bradbury2018jax"} <= set(keys)
    assert ("prince1981high" in keys) == ("dopri8" in comparison.full.stats.method)
    assert len(keys) == len(set(keys))
    assert "arora2018optimization" not in dln.cite(comparison.full).keys, "the flow alone rests on no theorem"


def test_objects_of_other_rooms():
    arch = dln.linear_network((2, 3, 2))
    assert "marcotte2023abide" in cite(dln.conservation_laws(arch)).keys
    momentum = cite(dln.conservation_laws(dln.linear_network((1, 2, 1)), momentum=0.0)).keys
    assert "marcotte2024keep" in momentum
    assert "marcotte2024keep" not in cite(dln.conservation_laws(arch)).keys
    assert cite(dln.BalancedFlow).keys == ("dlntheory", "arora2018optimization")
    assert "bordelon2025deep" in cite(dln.mean_field.solve).keys
    (claim,) = claims("alignment", claims("alignment", None)[0].id)
    assert "ji2019gradient" in cite(claim).keys
    assert cite().keys == ("dlntheory",)
    assert cite("saxe2014exact").keys == ("dlntheory", "saxe2014exact")
    assert cite("derived in Saxe, McClelland, Ganguli 2014").keys == ("dlntheory", "saxe2014exact")


@pytest.mark.parametrize("nothing", [3.0, "no work is named here", object(), [1, 2], None])
def test_what_says_nothing_is_refused(nothing):
    with pytest.raises(ValueError, match=r"Argument `objects` must be results.*number 1 is"):
        cite("saxe2014exact", nothing)


def test_a_report_cites_only_what_ran():
    from dlntheory.claims import ClaimStatus, Report, Result
    from dlntheory.claims.base import Evidence

    first, second = claims("alignment", None)[0], claims("saddles", None)[0]
    evidence = Evidence(1.0, 1.0, 0.0)
    ran = Result(first, ClaimStatus.PASSED, evidence, evidence)
    report = Report((ran, Result(second, ClaimStatus.SKIPPED)), 0.0, "")
    assert "ji2019gradient" in cite(report).keys
    assert "jacot2021saddle" not in cite(report).keys


def test_citations_print(comparison):
    found = dln.cite(comparison)
    assert str(found).count("@") >= len(found) == len(list(found))
    page = found._repr_html_()
    assert page.count("<li>") == len(found)
    assert "<pre>@misc{dlntheory" in page
    assert repr(found).startswith("Citations(dlntheory, ")
