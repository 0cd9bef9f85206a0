import re

import numpy as np
import pytest

from dlntheory.claims import Curves
from dlntheory.plotting.style import ROLES
from dlntheory.report.figures import figure_html
from dlntheory.report.limits import panel_limits
from dlntheory.report.style import style_sheet

XS = [1.0, 2.0, 3.0]


def curves(ys=(1.0, 0.5, 0.25), name="measured", **fields):
    return Curves(**{"x": "time $t$", "y": "loss", "series": {name: (XS, ys)}, **fields})


def lines(figure):
    """The colour variables of the drawn data, in order of the panels."""
    return re.findall(r'clip-path="[^"]*" style="fill: none;[^"]*stroke: var\(--([a-z0-9-]+)\)', figure)


def words(figure):
    return re.sub(r"<[^>]+>", "", figure)


def test_panels_labels_and_note():
    figure = figure_html({"hypotheses hold": curves(note="slope $-1$"), "control: x < 1": curves()}, "f")
    assert figure.count('class="panel"') == 2
    assert figure.count("<math") == 3  # t under both panels, and the note
    assert "control: x &lt; 1" in figure
    assert "log scale" not in figure
    assert "slope" in words(figure)


def test_roles_have_the_colours_of_the_figures():
    both = Curves("t", "loss", {"measured": (XS, XS), "predicted": (XS, XS)})
    assert lines(figure_html({"a": both}, "f")) == ["role-measured", "role-predicted"]
    assert lines(figure_html({"a": curves(name="drift"), "b": curves()}, "f")) == [
        "series-0",
        "role-measured",
    ]
    for role, look in ROLES.items():
        assert f"--role-{role}: {look['color']};" in style_sheet()


def test_other_names_have_colours_of_their_own():
    series = {f"{name}, $L = {depth}$": (XS, XS) for depth in (2, 3) for name in ("train", "test")}
    drawn = lines(figure_html({"a": Curves("t", "loss", series)}, "f"))
    assert drawn == ["series-0", "series-1", "series-2", "series-3"]
    # One prediction here and another one there are no cases: each panel has one.
    panels = {power: curves(name=f"predicted $t^{power}$") for power in "12"}
    assert lines(figure_html(panels, "f")) == ["role-predicted", "role-predicted"]


def test_a_case_has_one_colour_in_all_roles():
    series = {f"{role}, $L = {depth}$": (XS, XS) for depth in (2, 3) for role in ("measured", "predicted")}
    legend = figure_html({"a": Curves("t", "loss", series)}, "f").split("<figcaption>")[1]
    assert re.findall(r"stroke:var\(--([a-z0-9-]+)\)", legend) == [
        "series-0",
        "series-0",
        "series-1",
        "series-1",
    ]
    dashes = re.findall(r"stroke-dasharray:([^\"]+)", legend)
    assert [dash == "none" for dash in dashes] == [True, False, True, False]


def test_tolerance_is_drawn_where_asked_for():
    asked = figure_html({"a": curves(with_tolerance=True, scale="log-y")}, "f", 0.1)
    assert words(asked).count("tolerance") == 1
    assert "tolerance" not in figure_html({"a": curves(scale="log-y")}, "f", 0.1)
    # The line is inside the axes, however small the errors are.
    low = curves((1e-9, 1e-9, 1e-9), with_tolerance=True, scale="log-y")
    ((bottom, top),) = [ends["y"] for ends in panel_limits([low], 1e-3)]
    assert bottom < 1e-9
    assert 1e-3 < top < 1e-2


def test_axes_are_shared_unless_one_would_be_squeezed():
    def heights(first, second, **fields):
        figure = figure_html({"a": curves(first, **fields), "b": curves(second, **fields)}, "f")
        paths = re.findall(r'd="M ([\d. ]+?)" clip-path', figure)
        return [
            [float(y) for y in re.findall(r"[\d.]+ ([\d.]+)", path)]
            for path in paths
            if len(path.split()) == 6
        ]

    steep, flat = heights((0.0, 1.0, 2.0), (0.0, 0.5, 1.0))
    assert flat[-1] > steep[-1] + 30  # y runs downwards
    steep, flat = heights((0.0, 10.0, 20.0), (0.0, 0.5, 1.0))
    assert flat[-1] == pytest.approx(steep[-1], abs=1.0)
    steep, flat = heights((1.0, 1e3, 1e6), (1.0, 1.0, 2.0), scale="log-y")
    assert flat[-1] > steep[-1] + 30


def test_values_off_the_scale_are_counted():
    figure = figure_html(
        {"hold": curves((0.0, 1.0, np.nan), scale="log-y"), "control": curves(scale="log-y")}, "f"
    )
    assert "hold: 2 values are off the scale" in words(figure)
    assert "control: " not in words(figure)
    assert "1 value is off" in words(figure_html({"hold": curves((np.inf, 1.0, 2.0))}, "f"))
    nothing = figure_html({"hold": curves((0.0, -1.0, 0.0), scale="log-y")}, "f")
    assert "hold: 3 values are off the scale" in words(nothing)


def test_figures_do_not_share_ids_and_are_small():
    rng = np.random.default_rng(0)
    series = {f"case {k}": (np.arange(900), rng.standard_normal(900)) for k in range(8)}
    full = Curves("t", "loss", series)
    first, second = (figure_html({"hold": full, "control": full}, name) for name in ("f", "g"))
    ids = re.findall(r' id="([^"]+)"', first + second)
    assert len(ids) == len(set(ids)) > 0
    assert set(re.findall(r'(?:href="|url\()#([^")]+)', first + second)) == set(ids)
    assert len(first) < 60_000
    assert "#0102" not in first  # every ink became a colour of the page


def test_settings_of_the_user_change_nothing():
    import matplotlib

    plain = figure_html({"a": curves()}, "f")
    with matplotlib.rc_context({"font.size": 20, "axes.facecolor": "black", "lines.linewidth": 9}):
        assert figure_html({"a": curves()}, "f") == plain
