"""Figures of training runs, by what is on their axes."""

import dataclasses
import warnings

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.plotting.style import COLOURS, shade
from dlntheory.training import plots as figures


@pytest.fixture(scope="module")
def both():
    arch = dln.linear_network((3, 4, 2))
    loss = dln.SquaredLoss.from_target([[2.0, 0.0, 0.0], [0.0, 1.0, 0.0]])
    theta0 = dln.gaussian(arch, jax.random.key(0), scale=0.3)
    return dln.compare(
        dln.GradientFlow(arch, loss),
        dln.reduce(arch, theta0),
        theta0,
        10.0,
        ts=30,
        timing=False,
        method="tsit5",
        rtol=1e-8,
    )


def with_loss(trajectory, loss):
    return dataclasses.replace(trajectory, loss=np.asarray(loss, dtype=float), ts=np.arange(len(loss)) + 0.0)


def test_loss(both):
    ax = figures.plot_loss(both.full)
    (line,) = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), both.full.ts)
    np.testing.assert_array_equal(line.get_ydata(), both.full.loss)
    assert line.get_label() == "gradient flow"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("gradient-flow time $t$", "loss $f(z)$")
    assert ax.get_yscale() == "log"


@pytest.mark.parametrize(
    ("loss", "scale"),
    [
        ([1.0, 0.5, 0.05], "log"),
        ([0.5, 0.3, 0.2], "linear"),
        ([1.0, 0.0, 0.0], "linear"),
        ([1.0, -5.0, -9.0], "linear"),
    ],
)
def test_loss_is_logarithmic_only_where_that_can_be_read(both, loss, scale):
    assert figures.plot_loss(with_loss(both.full, loss)).get_yscale() == scale


def test_time_axis_names_the_clock(both):
    ax = figures.plot_loss(dataclasses.replace(both.full, clock="log_t"))
    assert r"\log(1+t)" in ax.get_xlabel()


def test_style_is_passed_on_and_overrides(both):
    ax = figures.plot_loss(both.full, color="red", label="mine")
    assert (ax.lines[0].get_color(), ax.lines[0].get_label()) == ("red", "mine")


def test_trajectory_plot_draws_the_loss_on_the_given_axes(both):
    _, ax = plt.subplots()
    assert both.full.plot(ax=ax) is ax
    assert len(ax.lines) == 1


def test_singular_values(both):
    ax = figures.plot_singular_values(both.full)
    assert len(ax.lines) == 2
    expected = np.linalg.svd(both.full.z[-1], compute_uv=False)
    np.testing.assert_allclose([line.get_ydata()[-1] for line in ax.lines], expected)
    assert ax.get_legend_handles_labels()[1] == ["gradient flow"], "one entry for all lines of a run"
    assert ax.get_ylabel() == "singular values of $z$"
    assert ax.get_yscale() == "linear"


def test_leading_singular_values_only(both):
    assert len(figures.plot_singular_values(both.full, count=1).lines) == 1


def test_singular_values_need_a_matrix(both):
    vector = dataclasses.replace(both.full, z=both.full.z[:, 0, :])
    with pytest.raises(ValueError, match=r"matrix z.*\(3,\)"):
        figures.plot_singular_values(vector)
    assert plt.get_fignums() == []


def test_drift(both):
    ax = figures.plot_drift(both.full)
    (line,) = ax.lines
    later = both.full.drift["D_1"] > 0
    np.testing.assert_array_equal(line.get_ydata(), both.full.drift["D_1"][later])
    assert line.get_label() == "$D_{1}$"
    assert (ax.get_yscale(), ax.get_ylabel()) == ("log", "absolute drift")
    assert ax.get_legend() is not None


def test_drift_of_two_runs_can_be_told_apart(both):
    ax = figures.plot_drift(both.full, label="full", color="red")
    figures.plot_drift(both.reduced, ax, label="reduced")
    labels = [line.get_label() for line in ax.lines]
    assert labels[0] == "full: $D_{1}$"
    assert len(labels) == 1 + len(both.reduced.drift)
    assert labels[1].startswith("reduced: ")
    assert ax.lines[0].get_color() == "red"


def test_drift_needs_a_conserved_quantity(both):
    with pytest.raises(ValueError, match="monitors none"):
        figures.plot_drift(dataclasses.replace(both.full, drift={}))
    assert plt.get_fignums() == []


def test_comparison(both):
    left, right = both.plot()
    full, reduced = left.lines
    np.testing.assert_array_equal(full.get_ydata(), both.full.loss)
    np.testing.assert_array_equal(reduced.get_ydata(), both.reduced.loss)
    assert [text.get_text() for text in left.get_legend().get_texts()] == ["gradient flow", "Gram flow"]
    assert left.get_title() == "linear 3-4-2"
    assert full.get_linewidth() > reduced.get_linewidth(), "the full run must be seen under the reduced one"
    assert reduced.get_linestyle() != "-"
    (error,) = right.lines
    np.testing.assert_array_equal(error.get_ydata(), both.error[both.error > 0])
    assert right.get_yscale() == "log"
    low, high = right.get_ylim()
    assert low <= error.get_ydata().min()
    assert error.get_ydata().max() <= high
    assert high >= 10 * low, "at least one decade, for readable ticks"


def test_full_reduced_and_error_have_their_colours(both):
    left, right = both.plot()
    assert [line.get_color() for line in left.lines] == [COLOURS["full"], COLOURS["reduced"]]
    assert right.lines[0].get_color() == COLOURS["error"]
    assert figures.plot_loss(both.full).lines[0].get_color() == COLOURS["full"]
    assert figures.plot_singular_values(both.full).lines[0].get_color() == COLOURS["full"]


def test_laws_go_from_dark_to_light(made):
    ax = figures.plot_drift(made.both.full)
    assert [line.get_color() for line in ax.lines] == [shade(0, 2), shade(1, 2)]
    assert [line.get_label() for line in ax.lines] == ["$D_{1}$", "$D_{2}$"]


def test_comparison_on_given_axes(both):
    _, axes = plt.subplots(1, 2)
    assert both.plot(axes=axes) is axes
    assert len(plt.get_fignums()) == 1


def test_two_equal_runs_have_an_empty_error_and_no_warning(both):
    equal = dataclasses.replace(both, error=np.zeros_like(both.error))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        _, right = equal.plot()
        right.figure.canvas.draw()
    assert right.lines[0].get_xdata().size == 0
