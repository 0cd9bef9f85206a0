"""How results show themselves: one line, a table, HTML and LaTeX, whatever users put into names and labels."""

import contextlib
import html
import pathlib
import re
from html.parser import HTMLParser

import jax
import jax.extend
import pytest
from systems.shown import everything

import dlntheory as dln
from dlntheory.display import typesetting
from dlntheory.display.text import WIDTH

#: What no front end may obey: a tag, a formula with dollars or brackets, an entity, quotes, an underscore.
NAME = "<img src=x onerror=alert(1)> $\\evil$ \\(x\\) & &amp; \"q\" 's' a_b {c}^d~e"
FACTORS = ("W_<img src=x>$\\evil$", "b_{c}^d~e & f#%")

TAGS = {"div", "strong", "table", "thead", "tbody", "tr", "th", "td", "span", "br", "hr"}
#: Kinds whose LaTeX is prose with formulas, by contract.
PROSE = ("claim",)
#: SymPy prints these on one line.
WIDE = ("symbols",)
#: Results that carry no text of the user's.
NAMELESS = {
    *("Lie rank", "law", "words", "symbols", "loss", "logistic loss", "completion loss", "whitened problem"),
    *("margin", "bias", "sensing", "limit point", "interpolation limit", "active subspaces", "distances"),
    *(
        "level set with a metric",
        "two-layer table",
        "bounds",
        "measures",
        "decay",
        "mean field",
        "simulation",
    ),
    *(
        "rank-one run",
        "escape",
        "plateaus",
        "no plateaus",
        "phase transition",
        "approach",
        "completion study",
    ),
    *("discriminant", "defect"),
}


@pytest.fixture(scope="module")
def hostile():
    return everything(NAME, FACTORS)


@pytest.fixture(scope="module")
def plain():
    return everything("two tasks")


class Page(HTMLParser):
    """The elements of a page, with the text that stands in each: formulas begin and end within one."""

    def __init__(self, source):
        super().__init__(convert_charrefs=True)
        self.tags, self.attributes, self.nodes, self.words = set(), set(), [""], ""
        self.feed(source)

    def handle_starttag(self, tag, attrs):
        self.tags.add(tag)
        self.attributes |= {name for name, _ in attrs}
        self.nodes.append("")

    def handle_endtag(self, tag):
        self.nodes.append("")

    def handle_data(self, data):
        self.nodes[-1] += data
        self.words += data

    @property
    def formulas(self):
        """What MathJax would typeset: the text between dollar signs, or brackets, of one element."""
        found = []
        for node in self.nodes:
            parts = re.split(r"(?<!\\)\$", node)
            found += parts[1::2] if len(parts) % 2 else parts[1:-1:2]
            found += re.findall(r"\\[(\[](.+?)\\[)\]]", re.sub(r"(?<!\\)\$.+?(?<!\\)\$", "", node))
        return found


def test_no_name_becomes_a_tag_or_a_formula(hostile):
    for kind, result in hostile.items():
        page = Page(result._repr_html_())
        assert "<img" not in result._repr_html_(), kind
        assert page.tags <= TAGS, kind
        assert page.attributes <= {"style", "class"}, kind
        assert not [formula for formula in page.formulas if "\\evil" in formula or formula == "x"], kind


def test_names_are_shown_as_they_are(hostile):
    for kind, result in hostile.items():
        page = Page(result._repr_html_())
        assert (NAME in page.words) == (kind not in NAMELESS), kind


def test_programs_that_read_the_source_see_no_formula_in_a_name(hostile):
    # The documentation replaces formulas in the source of a page, where entities are not yet read.
    for kind, result in hostile.items():
        source = result._repr_html_()
        for formula in re.findall(r"(?<!\\)\$(.+?)(?<!\\)\$", source, re.DOTALL):
            assert "\\evil" not in formula, kind
            assert "</" not in formula, kind


def test_names_are_escaped_in_latex(hostile):
    seen = 0
    for kind, result in hostile.items():
        latex = getattr(result, "_repr_latex_", lambda: None)()
        if latex is None:
            continue
        seen += 1
        bare = latex.replace(r"\backslash{}", "")
        assert r"\evil" not in bare, kind
        if kind in PROSE:
            continue
        assert latex[0] == latex[-1] == "$", kind
        assert not re.search(r"(?<!\\)[$#%~]", latex[1:-1]), kind
        braces = re.sub(r"\\[{}]", "", latex)
        assert braces.count("{") == braces.count("}"), kind
        if "b_" in latex or r"b\_" in latex:
            assert r"b\_\{c\}{}^{\wedge}d{\sim}e\ \&\ f\#\%" in latex, kind
    assert seen >= 15


def test_every_formula_can_be_typeset_without_a_network(plain, hostile):
    for kind, result in [*plain.items(), *hostile.items()]:
        for formula in Page(result._repr_html_()).formulas:
            assert typesetting.formula(formula).startswith("<math"), kind


def test_every_formula_is_in_the_html(plain):
    # Front ends prefer HTML where there are both, so LaTeX that is not in it would never be seen.
    for kind in ("architecture", "law", "verdict", "bound reduction", "solution", "potential", "relation"):
        latex = plain[kind]._repr_latex_()[1:-1].removeprefix(r"\displaystyle ")
        assert html.escape(latex.partition(r": \text{intrinsic}")[0]) in plain[kind]._repr_html_(), kind
    for kind in ("closure", "closed flow"):
        assert r"\dot{Z} &amp;= -\left(G A + B G\right)" in plain[kind]._repr_html_()
    for law in plain["laws"].laws:
        assert law.statement in plain["laws"]._repr_html_()
    assert r"x \geq 1" in plain["claim"]._repr_html_()


def test_one_line_and_a_table(plain):
    for kind, result in plain.items():
        assert "\n" not in repr(result), kind
        assert "object at 0x" not in repr(result), kind
        assert "array(" not in repr(result), kind
        lines = str(result).splitlines()
        assert kind in WIDE or max(map(len, lines)) <= WIDTH, kind
        assert str(result) != repr(result), kind


def test_parts_of_results_do_not_spill_their_arrays(plain):
    parts = {
        "Deviation": plain["mean-field comparison"].deviations["two tasks"],
        "GreedyPoint": plain["greedy path"].points[0],
        "AlignmentObservables": plain["alignment run"].observables,
    }
    for name, part in parts.items():
        assert repr(part).startswith(name + "(")
        assert "\n" not in repr(part)
        assert "array(" not in repr(part)


def test_colours_are_those_of_the_page(plain):
    for kind, result in plain.items():
        styles = " ".join(re.findall(r'style="([^"]*)"', result._repr_html_()))
        assert not re.search(r"color|background|#", styles), kind


def test_a_display_computes_nothing(hostile, monkeypatch):
    def refuse(*arguments, **options):
        raise AssertionError("a display computed something")

    for module, name in {
        "laws.law": "modular_rank",
        "laws.proof.certificate": "lie_rank",
        "reductions.closure.closure_result": "laws_to_build_on",
        "exact.traced": "trace",
    }.items():
        monkeypatch.setattr(f"dlntheory.{module}.{name}", refuse)
    monkeypatch.setattr("dlntheory.reductions.closure.closure_result.Jacobians", refuse)
    # Every operation of JAX goes through here once compiled functions are left out.
    monkeypatch.setattr(jax.extend.core.Primitive, "bind", refuse)
    with jax.disable_jit():
        with pytest.raises(AssertionError), contextlib.suppress(ZeroDivisionError):
            jax.numpy.add(1.0, 2.0)
        for result in hostile.values():
            for show in (repr, str, type(result)._repr_html_, getattr(type(result), "_repr_latex_", str)):
                show(result)


def test_large_results_leave_out_what_would_take_time():
    laws = dln.conservation_laws(dln.linear_network((12, 16, 12)))
    assert "rank" not in vars(laws.laws[0])
    assert re.search(r" 136 +– ", str(laws))
    laws = dln.conservation_laws(dln.linear_network((2, 3, 2)))
    assert re.search(r" 6 +6 ", str(laws))
    closed = dln.find_closure(dln.linear_network((4, 10, 3)))
    assert "tr(A) - tr(B)" in str(closed)
    assert "independent" not in closed._repr_html_()
    assert "ranks" not in vars(closed)


def test_long_chains_are_cut():
    arch = dln.linear_network((2,) * 30)
    assert "z = W29 W28 … W1" in str(arch)
    assert arch._repr_latex_() == r"$\displaystyle z = W_{29} W_{28} \cdots W_{1}$"
    assert "W10[2, 2], …, W29[2, 2] (29 factors)" in repr(arch)
    spaces = dln.Architecture(
        lambda p: sum(p.values()), {f"A{i}": () for i in range(14)}, name="sum", try_out=False
    )
    assert spaces._repr_latex_() == (
        r"$\displaystyle \varphi : \mathbb{R} \times \mathbb{R} \times \cdots \times \mathbb{R} \to \mathbb{R}$"
    )
    assert "a number" in str(spaces)


def test_a_broken_condition_says_what_to_expect_and_what_to_use(plain):
    for text in (str(plain["condition"]), plain["condition"]._repr_html_()):
        assert "an error of z of the order of 0.1" in text
        assert "instead" in text
    assert "expect" not in str(plain["condition that holds"])


def test_both_drifts_of_a_comparison_are_shown(plain):
    assert "drift, full" in str(plain["comparison"])
    assert "drift, reduced" in plain["comparison"]._repr_html_()


def test_every_type_is_among_the_examples(plain):
    shown = {base.__name__ for result in plain.values() for base in type(result).__mro__}
    defined: set[str] = set()
    for path in pathlib.Path(dln.__file__).parent.rglob("*.py"):
        owner = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if found := re.match(r"class (\w+)(.*)", line):
                owner = found[1]
                # A display that follows from the mixin.
                if re.search(r"\bDisplayed\b", found[2]):
                    defined.add(owner)
            elif line.startswith("    def _repr_html_("):
                defined.add(owner)
    # Citations show the package's own bibliography, and nothing of the user's.
    defined -= {"Citations"}
    assert len(defined) > 50
    assert defined <= shown
