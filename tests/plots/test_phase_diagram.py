"""The phase diagram, by what is on its axes."""

import dataclasses

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.collections import PathCollection
from matplotlib.colors import to_rgba

from dlntheory.plotting.style import COLOURS
from dlntheory.theory.saddles import predicted_minimum, predicted_saddle
from dlntheory.theory.saddles.phase_diagram_plots import _ratio, plot_phase_diagram

TARGET = np.diag([2.0, 1.0, 0.6])


def circles(ax):
    return [one for one in ax.collections if isinstance(one, PathCollection)]


def test_numbers_on_contours_are_the_predicted_ratio():
    ax = plot_phase_diagram(TARGET, 3)
    assert ax.texts
    numbers = [text for text in ax.texts if not text.get_text().startswith("near")]
    assert len(numbers) >= 3
    for text in numbers:
        gamma, width = text.get_position()
        ratio = predicted_minimum(TARGET, 3, gamma)(width) / predicted_saddle(TARGET, 3, gamma)(width)
        assert float(text.get_text()) == pytest.approx(ratio, rel=0.15)


def test_axes_and_regimes():
    ax = plot_phase_diagram(TARGET, 3, gammas=(0.5, 1.8), widths=(16, 1024))
    assert (ax.get_xlim(), ax.get_ylim()) == ((0.5, 1.8), (16, 1024))
    assert ax.get_yscale() == "log"
    names = {text.get_text(): text.xy[0] for text in ax.texts if text.get_text().startswith("near")}
    assert names["near a minimum"] < 1.0 < names["near a saddle"]
    (border,) = [line for line in ax.lines if len(set(line.get_xdata())) == 1 and len(line.get_xdata()) == 2]
    assert border.get_xdata()[0] == 1.0
    (hatched,) = ax.patches
    assert hatched.get_hatch()
    assert hatched.get_x() + hatched.get_width() == pytest.approx(1 - 1 / 3)
    assert ax.get_legend().get_title().get_text() == "$L = 3$"


def test_on_one_side_of_the_transition_only():
    ax = plot_phase_diagram(TARGET, 2, gammas=(1.1, 1.8))
    assert [text.get_text() for text in ax.texts if "near" in text.get_text()] == ["near a saddle"]
    assert not ax.patches


def test_darker_is_nearer_to_a_saddle_and_measured_ratios_have_the_same_colours(made):
    ax = plot_phase_diagram(TARGET, 2, studies=made.studies)
    lazy, critical, saddle = circles(ax)
    np.testing.assert_array_equal(lazy.get_offsets()[:, 0], 0.8)
    np.testing.assert_array_equal(saddle.get_offsets()[:, 1], made.studies[2].widths)
    values = made.studies[2].minimum / made.studies[2].saddle
    np.testing.assert_allclose(saddle.get_array(), np.log10(values))
    ax.figure.canvas.draw()
    grey = [np.mean(one.get_facecolors()[:, :3] @ [0.299, 0.587, 0.114]) for one in (lazy, critical, saddle)]
    assert grey[0] > grey[2]
    for one in (lazy, critical, saddle):
        np.testing.assert_allclose(one.get_edgecolors()[0], to_rgba(COLOURS["reduced"]))
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["measured", "$d_m = d_s$", "$d_m/d_s$ predicted"]


def test_a_study_of_another_depth_is_refused(made):
    deep = dataclasses.replace(made.studies[0], depth=3)
    with pytest.raises(ValueError, match="`studies` must be of depth 2, but one has depth 3"):
        plot_phase_diagram(TARGET, 2, studies=[deep])
    assert plt.get_fignums() == []


def test_ratios_are_short():
    assert [_ratio(decades) for decades in (-1.0, 0.5, 2.0)] == ["0.1", "3.2", "1e+02"]
