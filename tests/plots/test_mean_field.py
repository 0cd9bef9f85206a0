"""Figures of the mean-field theory, by what is on their axes; their data are solved or made up in no time."""

import numpy as np
import pytest

from dlntheory.plotting.style import COLOURS, MARKERS, ROLES, SERIES, shade
from dlntheory.theory.mean_field import plots as figures


def texts(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_sweep_has_one_shade_a_value_and_the_limit_is_a_prediction(made):
    ax = figures.plot_sweep(made.sweep)
    np.testing.assert_array_equal(ax.lines[2].get_ydata(), made.sweep.curves()[2])
    assert [line.get_color() for line in ax.lines[:-1]] == [shade(i, 6) for i in range(6)]
    assert ax.lines[-1].get_color() == COLOURS["predicted"]
    assert ax.lines[-1].get_linestyle() == "--"
    assert texts(ax) == ["0.25", "0.5", "1", "2", "4", "8", r"$\infty$"]
    assert ax.get_legend().get_title().get_text() == r"$\nu = N/D$"
    assert (ax.get_xlabel(), ax.get_ylabel()) == (
        "updates $t$ (optimiser steps)",
        "test error (noise-free)",
    )
    assert ax.get_yscale() == "log"


def test_ways_of_training_have_markers(made):
    ax = figures.plot_sweep(made.modes, name="train")
    assert tuple(line.get_marker() for line in ax.lines) == MARKERS
    assert tuple(line.get_color() for line in ax.lines) == SERIES
    assert ax.get_ylabel() == "train error"


def test_alignment_is_linear(made):
    assert figures.plot_sweep(made.sweep, name="alignment").get_yscale() == "linear"
    with pytest.raises(ValueError, match="`name` must be one of gen, test"):
        figures.plot_sweep(made.sweep, name="loss")


def test_theory_is_dashed_and_networks_are_points_in_bands(made):
    ax = figures.plot_against_networks(made.mean_field)
    points, theory, more, _ = ax.lines
    one = made.mean_field["gen"]
    np.testing.assert_array_equal(theory.get_ydata(), one.predicted)
    np.testing.assert_array_equal(points.get_ydata(), one.mean)
    assert (theory.get_color(), theory.get_marker()) == (COLOURS["predicted"], "None")
    assert str(theory.get_linestyle()) == "--"
    assert (points.get_linestyle(), points.get_marker(), more.get_marker()) == ("None", "o", "s")
    band = ax.collections[0].get_paths()[0].vertices
    assert band[:, 1].max() == pytest.approx(np.max(one.mean + 2 * one.standard_error))
    inside = band[np.isclose(band[:, 0], 10.0)][:, 1]
    expected = [one.mean[10] - 2 * one.standard_error[10], one.mean[10] + 2 * one.standard_error[10]]
    np.testing.assert_allclose(sorted({round(y, 12) for y in inside}), np.round(expected, 12))
    assert texts(ax) == ["test error (noise-free)", "train error", "theory"]
    assert "4 networks, $D = 16$" in ax.get_legend().get_title().get_text()


def test_order_parameters_are_no_errors(made):
    ax = figures.plot_against_networks(made.mean_field, quantities=("H1", "G1"))
    assert ax.get_ylabel() == "order parameter"


def test_rates(made):
    ax = figures.plot_rate_transfer(made.transfer)
    np.testing.assert_array_equal(ax.lines[1].get_ydata(), [np.nan, 0.3, 0.3])
    np.testing.assert_array_equal(ax.get_xticks(), [1, 2, 4])
    assert texts(ax) == ["muP", "NTK"]
    ax = figures.plot_rates(made.grid)
    assert np.isnan(ax.lines[0].get_ydata()[-1])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    assert ROLES["full"]["color"] == ax.lines[0].get_color()
