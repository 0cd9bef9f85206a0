"""Every source that the package names is in the bibliography, and `cite` finds it from the results."""

import ast
import re
from pathlib import Path

import jax
import pytest

import dlntheory as dln
from dlntheory import families
from dlntheory.citations import bibliography, cite, cited_in, in_words
from dlntheory.citations.bibliography import plain
from dlntheory.citations.cite import _references
from dlntheory.claims.registry import claims
from dlntheory.training import MomentumFlow

PACKAGE = Path(dln.__file__).parent
#: A source that names no work says what it is instead.
OWN = re.compile(r"(?i)derived|elementary|measured|observed|definition|theorem of the alternative")
YEAR = re.compile(r"(?<![a-z])(19|20)\d\d(?![.\d])")


def docstrings():
    """Every docstring of the package with the place where it stands."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and (
                text := ast.get_docstring(node)
            ):
                yield f"{path.relative_to(PACKAGE)} {getattr(node, 'name', '')}", text


def sources():
    """The text of every `source` of a class, every `source` property and every `source=` of the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            value = None
            if isinstance(node, ast.FunctionDef) and node.name == "source":
                value = node.body[-1].value if isinstance(node.body[-1], ast.Return) else None
            elif isinstance(node, ast.keyword) and node.arg == "source":
                value = node.value
            elif isinstance(node, ast.ClassDef):
                fields = [one for one in node.body if isinstance(one, ast.AnnAssign)]
                value = next((one.value for one in fields if ast.unparse(one.target) == "source"), None)
            if isinstance(value, ast.Constant) and isinstance(value.value, str):
                yield str(path.relative_to(PACKAGE)), value.value
    yield from ((claim.id, claim.source) for claim in claims(None, None))


def says_nothing(text):
    """Whether a source neither cites a work by its key nor says that it is the package's own; unknown keys raise."""
    return not cited_in(text) and not OWN.search(text)


def test_every_references_section_cites_by_key():
    found = [(place, text) for place, doc in docstrings() if (text := _references(doc))]
    assert len(found) > 100
    assert [place for place, text in found if says_nothing(text)] == []
    # A year outside a key is a work that was named in prose, which `cite` would miss.
    assert [place for place, text in found if YEAR.search(text)] == []


def test_every_source_cites_by_key():
    found = sorted(set(sources()))
    assert len(found) > 60
    assert [place for place, text in found if says_nothing(text)] == []
    assert [place for place, text in found if YEAR.search(text)] == []
    assert YEAR.search("Nobody, Unknown 2031")
    assert says_nothing("Nobody, Unknown 2031")


def test_a_key_that_does_not_exist_is_refused():
    with pytest.raises(ValueError, match=r"cites nobody2031nothing"):
        cited_in("[saxe2014exact]; [nobody2031nothing]")
    with pytest.raises(ValueError, match=r"nobody2031nothing"):
        cite("[nobody2031nothing]")


def test_every_paper_of_the_claims_is_known():
    from dlntheory.claims import PAPERS

    for paper in PAPERS.values():
        (key,) = cited_in(paper.source)
        if paper.key not in ("basics", "closure"):
            short = plain(bibliography()[key].fields["title"]).split(":")[0].split("?")[0]
            words = [re.sub(r"\W", "", text).lower() for text in (short, paper.title)]
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
        assert not re.search(r"[\\{}]", str(reference)), str(reference)
        if reference.key != "dlntheory":
            year = reference.fields["year"]
            assert year in reference.key


def test_texts_are_shown_with_authors_and_year():
    text = "[fukumizu1998effect] for whitened data; elementary for any loss"
    assert in_words(text) == "Fukumizu 1998 for whitened data; elementary for any loss"
    assert in_words("setting of [ji2019gradient].", whole=True).startswith(
        "setting of Ji, Telgarsky: Gradient"
    )


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
    # Version 0.1 lost these: their docstrings name works that no pattern over prose knew.
    assert cite(dln.linear_network).keys == ("dlntheory", "marcotte2023abide")
    assert {"neyshabur2015path", "gonon2024path", "marcotte2023abide"} <= set(cite(dln.relu_network).keys)
    assert "marcotte2025transformative" in cite(families.multichannel_network).keys
    assert {"arora2018optimization", "du2018algorithmic"} <= set(cite(dln.laws.imbalances).keys)
    assert "kohn2022geometry" in cite(families.convolutional_network).keys
    assert "marcotte2024keep" in cite(MomentumFlow).keys
    assert cite(dln.BalancedFlow).keys == ("dlntheory", "arora2018optimization")
    assert "bordelon2025deep" in cite(dln.mean_field.solve).keys
    (claim,) = claims("alignment", claims("alignment", None)[0].id)
    assert "ji2019gradient" in cite(claim).keys
    assert cite().keys == ("dlntheory",)
    assert cite("saxe2014exact").keys == ("dlntheory", "saxe2014exact")
    assert cite("derived in [saxe2014exact]").keys == ("dlntheory", "saxe2014exact")


@pytest.mark.parametrize("nothing", [3.0, "no work is named here", object(), [1, 2], None])
def test_what_says_nothing_is_refused(nothing):
    with pytest.raises(ValueError, match=r"Argument `objects` must be results.*number 1 is"):
        cite("saxe2014exact", nothing)


def test_a_report_cites_only_what_ran():
    from dlntheory.claims import ClaimStatus, Report, Result
    from dlntheory.claims.evidence import Evidence

    first, second = claims("alignment", None)[0], claims("saddles", None)[0]
    evidence = Evidence(1.0, 1.0)
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
