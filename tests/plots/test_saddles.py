"""Figures of saddle-to-saddle dynamics, by what is on their axes; the results they show are made up."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.plotting.style import COLOURS, shade
from dlntheory.theory.saddles import (
    ApproachStudy,
    CompletionStudy,
    EscapeTime,
    PathRun,
    PhaseTransition,
    Plateau,
    Plateaus,
    bottleneck_time,
    plots as figures,
)


def test_distances():
    widths = np.array([16, 32, 64])
    lazy = PhaseTransition(2, 0.8, widths, widths**-0.1, widths**0.1, widths**-0.1, widths**0.1, 2)
    none = np.full(3, np.nan)
    critical = PhaseTransition(2, 1.0, widths, np.ones(3), np.ones(3), none, none, 2)
    ax = figures.plot_distances([lazy, critical], name="saddle")
    assert [line.get_label() for line in ax.lines][::2] == [
        "$\\gamma = 0.8$, slope 0.10",
        "$\\gamma = 1$, slope 0.00",
    ]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), lazy.saddle)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), lazy.predicted_saddle)
    assert len(ax.lines) == 4  # nothing is predicted at gamma = 1
    with pytest.raises(ValueError, match="`name`"):
        figures.plot_distances([lazy], name="maximum")
    with pytest.raises(ValueError, match="`studies` must hold at least one"):
        figures.plot_distances([])


def test_escape_times():
    law = EscapeTime(3, 3.0, 0.4, -0.2, 1e-2, 39.8)
    _, given = plt.subplots()
    ax = figures.plot_escape_times(law, [1e-1, 1e-2], [3.81, 39.8], given)
    assert ax is given
    np.testing.assert_allclose(ax.lines[2].get_ydata(), [0.381, 0.398])
    np.testing.assert_allclose(ax.lines[1].get_ydata()[[0, -1]], [0.398, 0.38])
    assert ax.get_xscale() == "log"
    with pytest.raises(ValueError, match="at least 3 layers"):
        figures.plot_escape_times(EscapeTime(2, 3.0, np.inf, 1.0, 1e-2, 1.0), [0.1], [1.0])


@pytest.fixture(scope="module")
def run():
    ts = np.linspace(0.0, 100.0, 50)
    z = np.tanh(ts / 20)[:, None, None] * np.diag([2.0, 1.0])
    loss = 2.5 * (1 - np.tanh(ts / 20)) ** 2
    trajectory = dln.Trajectory("made up", "", "", "t", ts, z, loss, None, {}, {}, {}, None)  # pyright: ignore
    return PathRun(trajectory, 0.1, 3, np.exp(-ts / 20), 0.0)


def test_path(run):
    found = Plateaus((Plateau(10, run.ts[10], run.loss[10], run.gradient_norm[10], 1),))
    ax = figures.plot_path(run, quantity="loss", found=found)
    np.testing.assert_allclose(ax.lines[0].get_xdata(), 0.1 * run.ts)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), run.loss[[10]])
    assert [text.get_text() for text in ax.texts] == ["rank 1"]
    assert ax.get_xlabel() == r"rescaled gradient-flow time $t\,\alpha$"
    assert figures.plot_path(run, quantity="gradient").get_yscale() == "log"
    spectra = figures.plot_path(run, quantity="singular values", found=found)
    np.testing.assert_allclose(spectra.lines[0].get_ydata(), 2 * np.tanh(run.ts / 20), atol=1e-14)
    assert figures.plot_path(run, until=3.0).get_xlim() == (0.0, 3.0)
    with pytest.raises(ValueError, match="`quantity` must be one of"):
        figures.plot_path(run, quantity="rank")


def test_plateaus_have_levels_ranks_and_saddles(made):
    ax = figures.plot_plateaus(made.path, made.found)
    first, second, loss, dots = ax.lines
    assert [line.get_ydata()[0] for line in (first, second)] == made.found.losses.tolist()
    for level in (first, second):
        assert level.get_color() == COLOURS["predicted"]
    np.testing.assert_array_equal(loss.get_ydata(), made.path.loss)
    np.testing.assert_allclose(loss.get_xdata(), made.path.ts * 1e-2)
    np.testing.assert_array_equal(dots.get_ydata(), made.found.losses)
    assert [text.get_text() for text in ax.texts] == ["rank 0", "rank 1"]
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["level of a plateau", r"loss, $\alpha = 0.01$"]
    ax = figures.plot_plateaus(made.path, made.found, levels=[2.72, 0.72, 0.0], until=1.0)
    assert [line.get_ydata()[0] for line in ax.lines[:3]] == [2.72, 0.72, 0.0]
    assert ax.get_legend().get_texts()[0].get_text() == "loss of a saddle"
    assert ax.get_xlim() == (0.0, 1.0)


def test_measured_and_predicted_have_one_colour_and_two_styles(made):
    ax = figures.plot_distances(made.studies)
    measured, predicted = ax.lines[:2]
    assert measured.get_color() == predicted.get_color() == shade(0, 3)
    assert (measured.get_marker(), measured.get_linestyle()) == ("o", "-")
    assert (predicted.get_marker(), predicted.get_linestyle()) == ("None", "--")
    assert ax.lines[2].get_color() == shade(1, 3)
    np.testing.assert_array_equal(ax.get_xticks(), [16, 32, 64])
    assert ax.get_ylabel() == "distance to the nearest minimum"
    assert figures.plot_distances(made.studies, name="saddle").get_ylabel().endswith("saddle")
    ax = figures.plot_escape_times(made.escape, [0.1, 0.01], [3.81, 39.8])
    assert ax.lines[0].get_color() == COLOURS["background"]
    assert ax.lines[1].get_color() == COLOURS["predicted"]
    assert (ax.lines[2].get_color(), ax.lines[2].get_linestyle()) == (COLOURS["measured"], "None")


def test_approach():
    alphas = np.array([1e-1, 1e-2])
    study = ApproachStudy(3, alphas, np.stack([alphas**3, 2 * alphas**3], axis=1), np.array([3.0, 3.0]))
    ax = figures.plot_approach([study])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), alphas**3)
    np.testing.assert_allclose(ax.lines[3].get_ydata(), 2 * alphas**3)
    assert ax.lines[0].get_label() == "$L = 3$, saddle 1: slope 3.00"


def test_completion():
    alphas = np.array([1e-1, 1e-2])
    study = CompletionStudy(2, alphas, np.ones((2, 2)), np.array([0.2, 0.1]), None, np.ones(3))  # pyright: ignore
    ax = figures.plot_recovery([study])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), [0.2, 0.1])
    assert ax.lines[0].get_label() == "$L = 2$"


def test_bottleneck():
    eps = [1e-2, 1e-1]
    ax = figures.plot_bottleneck([(3, 3), (5, 3), (4, 2)], eps)
    assert len(ax.lines) == 3 + 2
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [bottleneck_time(5, 3, one) for one in eps])
    assert ax.lines[0].get_color() == ax.lines[1].get_color() != ax.lines[2].get_color()
