import subprocess
import sys

import pytest

import dlntheory.claims
from dlntheory.claims import PAPERS, SelectionError, claims, papers
from dlntheory.claims.registry import _has_module

KEYS = [
    "basics",
    "conservation",
    "intrinsic",
    "closure",
    "exact",
    "parsimony",
    "alignment",
    "saddles",
    "mean-field",
]


def ids(selected):
    return [one.id for one in selected]


def test_papers_are_those_of_the_design_in_order():
    assert [paper.key for paper in papers()] == KEYS
    assert PAPERS["mean-field"].module == "dlntheory.claims.mean_field"
    assert all(paper.title and paper.source for paper in papers())


def test_claims_come_in_order_of_papers_and_definition(toys, set_papers):
    set_papers(closure=[toys.slow], basics=[toys.vacuous, toys.passing, toys.vacuous, "no claim"])
    assert ids(claims()) == ["toy-vacuous", "toy-passing", "toy-slow"]
    assert ids(claims("closure")) == ["toy-slow"]
    assert ids(claims("basics", "toy-passing")) == ids(claims(claim="toy-passing")) == ["toy-passing"]


def test_unknown_names_list_the_known_ones(toys, set_papers):
    set_papers(basics=[toys.passing, toys.vacuous], closure=[toys.slow])
    with pytest.raises(
        SelectionError, match=r"basics, conservation, .*, but is 'alignmet'. Did you mean 'alignment'"
    ):
        claims("alignmet")
    with pytest.raises(ValueError, match=r"\(basics, closure\), but 'mean-field' has no claims"):
        claims("mean-field")
    with pytest.raises(
        SelectionError, match=r"toy-passing, toy-vacuous, toy-slow.*Did you mean 'toy-vacuous'"
    ):
        claims(claim="toy-vacous")
    with pytest.raises(SelectionError, match="claim of paper 'closure'"):
        claims("closure", "toy-passing")


def test_version_without_claims(set_papers):
    set_papers()
    assert claims() == ()
    with pytest.raises(SelectionError, match="none so far"):
        claims("basics")
    with pytest.raises(SelectionError, match="none so far"):
        claims(claim="toy-passing")


def test_contradictions_in_modules_are_found(toys, set_papers):
    set_papers(basics=[toys.slow])
    with pytest.raises(ValueError, match=r"'toy-slow' in dlntheory.claims.basics must have paper 'basics'"):
        claims()
    set_papers(basics=[toys.passing, toys.make("toy-passing")])
    with pytest.raises(ValueError, match="unique, but 'toy-passing' occurs twice"):
        claims()


def test_module_is_found_as_a_file_and_imported_only_when_asked_for(tmp_path, monkeypatch):
    name = "dlntheory.claims.mean_field"
    (tmp_path / "mean_field.py").write_text(
        "from dlntheory.claims import Evidence, claim\n"
        "@claim(statement='$x$', source='x', tolerance=1, arguments={'x': 1}, control_arguments={'x': 3},\n"
        "       control='x is 3')\n"
        "def toy_from_file(x):\n    'x'\n    return Evidence(1, x)\n"
    )
    monkeypatch.setattr(dlntheory.claims, "__path__", [str(tmp_path)])
    monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr(dlntheory.claims, "mean_field", raising=False)
    try:
        assert _has_module(PAPERS["mean-field"])
        assert name not in sys.modules
        assert ids(claims("mean-field")) == ["toy-from-file"]
    finally:
        sys.modules.pop(name, None)
        vars(dlntheory.claims).pop("mean_field", None)


def test_claims_of_this_version_are_sound_in_form():
    """Every module of claims imports, its claims name their paper, and no id occurs twice."""
    selected = claims()
    assert {one.paper for one in selected} == {paper.key for paper in papers() if _has_module(paper)}


#: Identities, counts and bounds, which have no hypothesis to break; everything else must break one.
PREDICTIONS = {
    "alignment-bounded",
    "clocks-agree",
    "closure-counts-and-ranks",
    "completion-two-layers",
    "decay-thresholds",
    "equilibrium-reference-measures",
    "escape-direction",
    "langevin-equilibrium-scalar",
    "langevin-equilibrium-two-by-two",
    "metric-of-a-chain-by-elimination",
    "neuron-branch",
    "norm-gap-bounded",
    "norm-imbalance-identity",
    "riccati-stable-form",
    "tied-factors-in-z-alone",
    "two-layer-level-sets",
}


def test_controls_break_a_hypothesis_where_there_is_one():
    assert {one.id for one in claims() if one.breaks == "prediction"} == PREDICTIONS


def test_import_is_light():
    code = "import sys, dlntheory.claims; print(sys.modules.keys() & {'matplotlib', 'xarray', 'tqdm'})"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert loaded.strip() == "set()"
