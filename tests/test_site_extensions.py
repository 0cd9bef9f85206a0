"""What the documentation adds to Sphinx, piece by piece; `test_site.py` looks at the site they make together."""

import importlib
import logging
import re
from pathlib import Path

import pytest

import dlntheory as dln

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture
def extension(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "docs"))
    return lambda name: importlib.import_module(f"extensions.{name}")


def test_sections_become_fields_and_doctests_code(extension):
    lines = [
        "A thing of $x$.",
        "",
        "Args:",
        "    first: one (n, d),",
        "        with more.",
        "    *others: any.",
        "",
        "Returns:",
        "    The value: exact.",
        "",
        "Raises:",
        "    ValueError: malformed.",
        "",
        "Attributes:",
        "    size: how many,",
        "        in all.",
        "",
        "Validity:",
        "    For $L \\ge 3$.",
        "",
        "Example:",
        "    >>> thing(1)",
        "    1",
        "",
    ]
    found = "\n".join(extension("docstrings").field_lists(lines))
    assert found.startswith("A thing of $x$.\n\n:param first: one (n, d),\n    with more.\n")
    assert r":param \*others: any." in found
    assert ":returns: The value: exact." in found
    assert ":raises ValueError: malformed." in found
    assert ":Attributes:\n    - **size** – how many,\n      in all.\n" in found
    assert ":Validity: For $L \\ge 3$." in found
    assert found.count("```") == 2
    assert "    ```pycon\n    >>> thing(1)\n    1\n    ```" in found


def test_keys_in_references_become_citations(extension):
    lines = ["What it is.", "", "References:", "    [ji2019gradient], Theorem 2; see [a link](page.md).", ""]
    found = "\n".join(extension("docstrings").field_lists(lines))
    assert ":References: {cite:t}`ji2019gradient`, Theorem 2; see [a link](page.md)." in found


def test_prose_of_a_docstring_stays(extension):
    lines = ["Sections end in a colon:", "", "- a list", "- of two: things", "", "Note: not a section."]
    assert extension("docstrings").field_lists(lines) == lines


def test_a_class_whose_name_begins_a_line_is_an_entry_of_its_own(extension):
    lines = ["Raises:", "    ValueError: one,", "    two.", "    ConditionError: three."]
    found = extension("docstrings").field_lists(lines)
    assert found[:3] == [":raises ValueError: one,", "    two.", ":raises ConditionError: three."]


def test_an_entry_without_a_name_is_an_error(extension):
    with pytest.raises(ValueError, match="must begin with its name"):
        extension("docstrings").field_lists(["Args:", "    the first argument"])


def test_formulas_in_html_are_typeset_and_the_rest_stays(extension):
    source = '<b title="$a$">cost $x &lt; y$</b><pre>$HOME and $PATH</pre> 5 \\$ $$\\sum_i$$'
    found = extension("mathematics").typeset_html(source, None)
    assert found.startswith('<b title="$a$">cost <math')
    assert "<pre>$HOME and $PATH</pre>" in found
    assert found.count("<math") == 2
    assert found.count('display="block"') == 1
    # What was escaped in the page is escaped in the label and in the formula.
    assert 'aria-label="x &lt; y"' in found
    assert "<mo>&lt;</mo>" in found


def test_a_formula_that_cannot_be_read_is_a_warning(extension, caplog):
    mathematics = extension("mathematics")
    with caplog.at_level(logging.WARNING):
        # Sphinx hands its warnings to a logger of its own, which does not propagate.
        logger = logging.getLogger("sphinx.extensions.mathematics")
        logger.addHandler(caplog.handler)
        found = mathematics.typeset(r"\nonsense{<}", display=False, location=None)
        logger.removeHandler(caplog.handler)
    assert found == r"<code>\nonsense{&lt;}</code>"
    assert "not typeset" in caplog.text


def test_each_object_is_shown_once_under_its_shortest_name(extension):
    groups = extension("public_names").surface()
    shown = [public for group in groups.values() for public in group]
    assert len({id(public.value) for public in shown if callable(public.value)}) == sum(
        callable(public.value) for public in shown
    )
    (laws,) = [public for public in shown if public.value is dln.conservation_laws]
    assert (laws.name, laws.owner, laws.aliases) == (
        "dlntheory.conservation_laws",
        "dlntheory.laws",
        ("dlntheory.laws.conservation_laws",),
    )
    assert laws.directive == "autofunction"
    assert "$" not in laws.name
    assert re.match(r"What training conserves .*\.$", laws.summary)
    (error,) = [public for public in shown if public.value is dln.ConditionError]
    assert error.directive == "autoexception"


def test_results_that_nobody_exports_are_shown_with_what_returns_them(extension):
    group = extension("public_names").surface()["dlntheory.laws"]
    (kind,) = [public for public in group if public.name == "dlntheory.laws.proof.verification.Verification"]
    assert not kind.is_exported


def test_internal_modules_are_no_part_of_the_reference(extension):
    names = extension("public_names").modules()
    assert "dlntheory.laws" in names
    assert not [name for name in names if re.search(r"\.cli|\.typesetting|claims\.saddles|\._", name)]


def test_modules_handed_on_by_name(extension):
    found = extension("public_names").exported_modules(["dlntheory"])
    assert found["dlntheory.mean_field"] == "dlntheory.theory.mean_field"
    assert found["dlntheory.families"] == "dlntheory.families"
