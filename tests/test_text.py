import json

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory._text import format_number, html_table, json_text, key_values, shorten, text_table


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
    assert '<td style="text-align:left">&lt;i&gt;</td>' in page
    assert "a &amp; b" in page
    assert "<caption>&lt;c&gt;</caption>" in page
    assert html_table([(1,)], ("x",)).count("right") == 2


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
