"""Figures of the loss landscape, by what is on their axes."""

import numpy as np
import pytest

from dlntheory.plotting.style import COLOURS
from dlntheory.theory.landscape import critical_points, decay_thresholds, decayed_mode, plots as figures


def test_critical_points_by_rank_loss_and_kind(made):
    ax = figures.plot_critical_points(made.points)  # modes 3, 2, 1 and two hidden units
    greedy, saddles, minimum = ax.lines
    np.testing.assert_allclose(greedy.get_data(), [[0, 1, 2], [7.0, 2.5, 0.5]])
    np.testing.assert_allclose(minimum.get_data(), [[2], [0.5]])
    assert len(saddles.get_xdata()) == len(made.points) - 1
    assert minimum.get_markerfacecolor() == COLOURS["full"]
    assert saddles.get_markerfacecolor() == "white"
    names = {text.get_text(): tuple(text.xy) for text in ax.texts}
    assert names["{1, 2}"] == (2, 0.5)
    assert names["{}"] == (0, 7.0)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["strongest modes first", "strict saddle", "global minimum"]


def test_many_critical_points_are_not_named():
    ax = figures.plot_critical_points(critical_points(np.diag([5.0, 4.0, 3.0, 2.0, 1.0]), 5))
    assert not ax.texts


@pytest.mark.parametrize("depth", [2, 3])
def test_dots_are_the_global_minima_of_their_curves(depth):
    decays = [0.0, 0.3, 0.6, 1.6]
    ax = figures.plot_mode_landscape(1.5, depth, decays)
    for curve, dot, decay in zip(ax.lines[::2], ax.lines[1::2], decays, strict=True):
        assert dot.get_xdata()[0] == pytest.approx(float(decayed_mode(1.5, decay, depth)))
        assert dot.get_ydata()[0] <= np.min(curve.get_ydata()) + 1e-12
        assert curve.get_color() == dot.get_color()
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "0.3", "0.6", "1.6"]
    assert f"{decay_thresholds(1.5, depth).critical:.3g}" in ax.get_title()
