import dataclasses
import json

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.display.text import (
    WIDTH,
    Formula,
    Prose,
    card,
    format_number,
    html_formula,
    html_key_values,
    html_table,
    html_text,
    json_text,
    key_values,
    latex_escaped,
    latex_text,
    one_line,
    shorten,
    text_table,
)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (3, "3"),
        (3.0, "3"),
        (123456789, "123456789"),
        (0.25, "0.25"),
        (1 / 3, "0.3333"),
        (1.2341e-12, "1.234e-12"),
        (-1e-9, "-1e-9"),
        (123456.0, "1.235e5"),
        (float("nan"), "nan"),
        (float("inf"), "inf"),
        (float("-inf"), "-inf"),
        (None, "–"),
        (True, "yes"),
        ("a text", "a text"),
        (np.float32(0.5), "0.5"),
        (np.int64(7), "7"),
        (jnp.asarray(0.5), "0.5"),
        ((2, 3), "(2, 3)"),
    ],
)
def test_format_number(value, text):
    assert format_number(value) == text


def test_format_number_digits():
    assert format_number(1.23456e-7, 2) == "1.2e-7"
    assert format_number(2 / 3, 6) == "0.666667"


def test_shorten():
    assert shorten("a  b\nc", 5) == "a b c"
    assert shorten("abcdef", 5) == "abcd…"
    assert shorten("abc   def", 5) == "abc…"


def test_one_line():
    @dataclasses.dataclass
    class Made:
        curve: np.ndarray
        weights: dict
        size: float
        widths: tuple
        inner: object
        nothing: None = None

    found = one_line(Made(np.ones((2, 3)), {"W1": np.ones(2)}, np.float64(1 / 3), (2, 3), Made))
    assert found.startswith("Made(curve 2×3, weights of W1, size 0.3333, widths (2, 3), inner <class '")
    assert found.endswith("nothing –)")


class TestTextTable:
    def test_columns_are_aligned(self):
        assert text_table([("one", 1.5), ("twenty", 1e-12)], ("name", "value")) == "\n".join(
            ["name    value", "──────  ─────", "one       1.5", "twenty  1e-12"]
        )

    def test_align(self):
        assert text_table([("a", "b", "c")], ("xxx", "yyy", "zzz"), "rcl").splitlines()[2] == "  a   b   c"

    def test_a_cell_stays_on_its_line(self):
        assert len(text_table([("a\nb", None)], ("x", "y")).splitlines()) == 3

    def test_missing_numbers_do_not_change_the_side(self):
        assert text_table([(None,), (10,)], ("number",)).splitlines()[2:] == ["     –", "    10"]

    def test_no_rows(self):
        assert text_table([], ("x", "y")) == "x  y\n─  ─"

    def test_wrong_shape(self):
        with pytest.raises(ValueError, match="`rows` must have 2 cells a row, but row 1 has 1"):
            text_table([(1, 2), (1,)], ("x", "y"))
        with pytest.raises(ValueError, match="`align` must"):
            text_table([(1, 2)], ("x", "y"), "lx")
        with pytest.raises(ValueError, match="`align` must"):
            text_table([(1, 2)], ("x", "y"), "l")


def test_html_table_escapes_everything():
    page = html_table([("<i>", "a & b")], ("<th>", "y"), caption="<c>")
    assert "<i>" not in page
    assert "<c>" not in page
    assert '<td style="text-align:left;white-space:nowrap">&lt;i&gt;</td>' in page
    assert "a &amp; b" in page
    assert "<caption>&lt;c&gt;</caption>" in page
    assert html_table([(1,)], ("x",)).count("right") == 2


def test_only_sentences_are_broken_in_a_table():
    page = html_table(
        [("1.2e-12", "a sentence of more than forty characters in a cell", "some twenty letters")], "xyz"
    )
    assert 'white-space:nowrap">1.2e-12' in page
    assert 'min-width:14em">a sentence' in page
    assert '<td style="text-align:left">some twenty' in page


@pytest.mark.parametrize(
    ("value", "source"),
    [
        ("<b> & 'q'", "&lt;b&gt; &amp; &#x27;q&#x27;"),
        ("$x$", "<span>&#36;</span>x<span>&#36;</span>"),
        (r"\(x\)", "<span>&#92;</span>(x<span>&#92;</span>)"),
        ("two\nlines", "two<br>lines"),
        ("&#36;", "&amp;#36;"),
        (1.5, "1.5"),
        (None, "–"),
        (Formula(r"a < \beta"), r"$a &lt; \beta$"),
        (Prose("<b> where $x < 1$"), "&lt;b&gt; where $x &lt; 1$"),
    ],
)
def test_html_text(value, source):
    assert html_text(value) == source


def test_formulas_scroll_by_themselves():
    page = html_formula(r"a & b < c")
    assert r"$\displaystyle a &amp; b &lt; c$</div>" in page
    assert "overflow-x:auto" in page


@pytest.mark.parametrize(
    ("name", "escaped", "words"),
    [
        ("W1", "W1", r"\text{W1}"),
        ("a b", r"a\ b", r"\text{a b}"),
        ("a_b", r"a\_b", r"\text{a}\_\text{b}"),
        ("#%&${}", r"\#\%\&\$\{\}", r"\#\%\&\$\{\}"),
        (r"\evil", r"\backslash{}evil", r"\backslash{}\text{evil}"),
        ("x^2~", r"x{}^{\wedge}2{\sim}", r"\text{x}{}^{\wedge}\text{2}{\sim}"),
    ],
)
def test_names_in_formulas(name, escaped, words):
    assert latex_escaped(name) == escaped
    assert latex_text(name) == words


def test_card():
    page = card(
        "the <title>",
        formulas=["x < 1", ""],
        facts={"<name>": "$value$"},
        tables=[([("<cell>",)], ("<head>",))],
        notes=["<note>"],
    )
    order = ["The &lt;title&gt;", "x &lt; 1", "&lt;name&gt;", "&lt;head&gt;", "&lt;cell&gt;", "&lt;note&gt;"]
    assert [page.index(part) for part in order] == sorted(page.index(part) for part in order)
    assert page.count("displaystyle") == 1
    assert "<span>&#36;</span>value" in page
    assert "<table" not in card("bare")
    assert html_key_values([("a", Formula("b"))]).count("$b$") == 1


def test_long_values_go_on_below():
    lines = key_values({"name": " ".join(["word"] * 60), "next": "x" * 200}).splitlines()
    assert len(lines) == 4
    assert max(map(len, lines[:3])) <= WIDTH
    assert lines[1].startswith("      word")
    assert lines[3] == "next  " + "x" * 200


def test_key_values():
    assert key_values({"name": "linear", "rank": 3, "laws": "a\nb"}, indent="> ") == "\n".join(
        ["> name  linear", "> rank  3", "> laws  a", ">       b"]
    )
    assert key_values([("x", 0.5)]) == "x  0.5"
    assert key_values([]) == ""


def test_json_is_strict():
    value = {
        "nan": float("nan"),
        "inf": np.float64("inf"),
        "array": np.array([[1.0, np.nan]]),
        "jax": jnp.arange(2),
        "scalar": np.int64(3),
        "tuple": (1, None, True, np.bool_(False)),
        1: "key",
        "other": slice(1),
        "text": "θ",
    }

    def refuse(literal):
        raise AssertionError(literal)

    assert json.loads(json_text(value), parse_constant=refuse) == {
        "nan": "nan",
        "inf": "inf",
        "array": [[1.0, "nan"]],
        "jax": [0, 1],
        "scalar": 3,
        "tuple": [1, None, True, False],
        "1": "key",
        "other": "slice(None, 1, None)",
        "text": "θ",
    }
