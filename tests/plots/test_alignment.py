"""Figures of alignment, by what is on their axes."""

import dataclasses

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.plotting.style import COLOURS, shade
from dlntheory.theory.alignment import (
    SeparableProblem,
    admissible,
    gradient_descent,
    log_time_flow,
    plots as figures,
)


@pytest.fixture(scope="module")
def task():
    data = dln.data.simplex_margin(jax.random.key(0), 30, 4, 0.3)
    return SeparableProblem(data.inputs, data.targets, "logistic", name=data.name)


@pytest.fixture(scope="module")
def start(task):
    rng = np.random.default_rng(1)
    return admissible(
        task, {"W1": 0.2 * rng.standard_normal((6, 4)), "W2": 0.2 * rng.standard_normal((1, 6))}
    )


@pytest.fixture(scope="module")
def run(task, start):
    return log_time_flow(task, start, 1e3, ts=40, rtol=1e-7)


def test_alignment(run):
    ax = figures.plot_alignment(run)
    line, bound, slope = ax.lines
    np.testing.assert_array_equal(line.get_xdata(), run.observables.norms[:, 0])
    np.testing.assert_array_equal(line.get_ydata(), run.observables.misalignment[:, 0])
    assert [entry.get_label() for entry in ax.lines] == ["layers 1, 2", "published bound", "slope $-4$"]
    x, y = slope.get_data()
    assert np.log(y[1] / y[0]) / np.log(x[1] / x[0]) == pytest.approx(-4.0)
    assert np.all(bound.get_ydata() >= line.get_ydata()[-len(bound.get_ydata()) :])
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")


def test_margin_gap(run):
    _, given = plt.subplots()
    ax = figures.plot_margin_gap([run, run], given)
    assert ax is given
    assert [line.get_label() for line in ax.lines] == ["$L = 2$", "$L = 2$", "slope $-1$"]
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), run.observables.margin_gap[1:])
    with pytest.raises(ValueError, match="`runs` must hold at least one entry"):
        figures.plot_margin_gap([])


def test_spectra(run):
    ax = figures.plot_spectra(run)
    assert len(ax.lines) == 4 + 1
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), run.observables.spectra[0][1:, 0])
    assert ax.get_xlabel() == r"$s = \log(1+t)$, $t$ gradient-flow time"


def test_descent(task, start):
    runs = [gradient_descent(task, start, "normalised", 50, ts=[0, 1, 10, 50])]
    ax = figures.plot_descent(runs)
    np.testing.assert_array_equal(ax.lines[0].get_xdata(), [1, 10, 50])
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), runs[0].s[1:])
    assert ax.lines[0].get_label() == "normalised, $L = 2$"
    with pytest.raises(ValueError, match="`runs`"):
        figures.plot_descent([])


def test_depths_layers_and_rules_have_their_colours(made):
    ax = figures.plot_margin_gap(made.runs)
    assert [line.get_color() for line in ax.lines[:3]] == [shade(i, 3) for i in range(3)]
    assert ax.lines[3].is_dashed()
    ax = figures.plot_alignment(made.runs[2])
    pairs = {line.get_label(): line for line in ax.lines}
    assert pairs["layers 1, 2"].get_color() == shade(0, 2) != pairs["layers 2, 3"].get_color()
    assert pairs["published bound"].get_linestyle() != "-"
    ax = figures.plot_descent(made.descents)
    assert [line.get_color() for line in ax.lines] == [
        COLOURS["predicted"],
        COLOURS["full"],
        COLOURS["reduced"],
    ]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("steps", r"$s = \log(1+t)$, $t$ sum of the step sizes")


def test_negative_pixels_are_marked(made):
    left, right = figures.plot_directions(made.digits, (8, 8))
    wanted = made.digits.problem.margin.direction
    bound = left.images[0].get_clim()[1]
    assert len(right.collections[0].get_offsets()) == np.sum(wanted < -0.1 * bound)
    column, row = right.collections[0].get_offsets()[0].astype(int)
    assert wanted.reshape(8, 8)[row, column] < 0


def test_directions(run):
    left, right = figures.plot_directions(run, (2, 2))
    np.testing.assert_array_equal(
        left.images[0].get_array(), run.observables.first_directions[-1].reshape(2, 2)
    )
    np.testing.assert_array_equal(right.images[0].get_array(), run.problem.margin.direction.reshape(2, 2))
    assert left.images[0].get_clim() == right.images[0].get_clim()
    with pytest.raises(ValueError, match="`shape` must have 4 pixels, but \\(3, 3\\) has 9"):
        figures.plot_directions(run, (3, 3))


def test_one_layer_cannot_align(run):
    with pytest.raises(ValueError, match="at least 2 layers"):
        figures.plot_alignment(dataclasses.replace(run, weights=run.weights[:1]))
