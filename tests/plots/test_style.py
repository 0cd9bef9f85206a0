"""The common look: roles, families, readable ticks, room for a legend, straight guides."""

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.colors import to_rgba

from dlntheory.plotting import style


def grey(colour):
    return float(np.dot(to_rgba(colour)[:3], [0.299, 0.587, 0.114]))


def test_roles_are_told_apart_without_colour():
    dashes = [
        str(style.ROLES[name].get("linestyle", "-"))
        for name in ("full", "reduced", "predicted", "control", "guide")
    ]
    assert len(set(dashes)) == len(dashes)
    assert style.ROLES["measured"]["marker"]
    assert len(set(style.MARKERS)) == len(set(style.SERIES)) == 6


def test_a_role_can_be_changed_without_changing_it_for_others():
    assert style.role("predicted", color="red")["color"] == "red"
    assert style.role("predicted")["color"] == style.COLOURS["predicted"]


def test_shades_go_from_dark_to_light_in_grey():
    steps = [grey(style.shade(i, 6)) for i in range(6)]
    assert np.all(np.diff(steps) > 0.03)
    assert steps[-1] < 0.75, "readable on white paper"
    assert style.shade(0, 1) == style.shade(0, 6)


def test_mathematics_in_names_stays_mathematics():
    assert style.as_text(r"net $\alpha_1$") == r"net $\alpha_1$"
    assert style.as_text(r"net $\alpha_{$") == r"net \$\alpha_{\$"
    assert style.as_text("$D_{$$", otherwise="D_$") == r"D_\$"
    assert len(style.as_text("x" * 200)) == 60


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (2.0, 30.0, ["2", "5", "10", "20"]),
        (1.0, 8.0, ["1", "1.5", "2", "3", "5", "7"]),
        (0.41, 0.44, ["0.41", "0.42", "0.43", "0.44"]),
    ],
)
def test_ticks_below_two_decades_are_written_numbers(low, high, expected):
    ax = style.new_axes()
    ax.plot([low, high], [1, 2])
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    style.readable_ticks(ax.xaxis)
    ax.figure.canvas.draw()
    shown = [
        tick.label1.get_text()
        for tick in ax.xaxis.get_major_ticks()
        if low <= tick.get_loc() <= high * (1 + 1e-9)
    ]
    assert set(expected) <= set(shown)
    assert not [tick for tick in ax.xaxis.get_minor_ticks() if tick.label1.get_text()]


def test_far_from_one_ticks_are_powers_of_ten():
    ax = style.new_axes()
    ax.semilogy([0, 1], [2e-9, 5e-8])
    style.readable_ticks(ax.yaxis)
    ax.figure.canvas.draw()
    texts = [tick.label1.get_text() for tick in ax.yaxis.get_major_ticks()]
    assert any("10^{-9}" in text for text in texts)


def test_wide_axes_keep_their_ticks_and_settings_have_their_own():
    ax = style.new_axes()
    ax.loglog([16, 64, 16384], [1e-9, 1e-3, 1.0])
    before = ax.yaxis.get_major_locator()
    style.readable_ticks(ax.yaxis)
    assert ax.yaxis.get_major_locator() is before
    style.readable_ticks(ax.xaxis, at=[64, 16, 16, 16384])
    np.testing.assert_array_equal(ax.get_xticks(), [16, 64, 16384])


@pytest.mark.parametrize("scale", ["linear", "log"])
def test_room_for_a_legend_is_above_the_data_and_later_data_still_rescale(scale):
    _, ax = plt.subplots()
    ax.plot([1, 2], [1.0, 10.0], label="one")
    ax.set_yscale(scale)
    style.legend(ax, "title", room=True, loc="upper right")
    ax.figure.canvas.draw()
    box = ax.get_legend().get_window_extent()
    assert box.y0 > ax.transData.transform((2, 10.0))[1]
    ax.plot([1, 2], [1.0, 1000.0])
    assert ax.get_ylim()[1] >= 1000.0


def test_no_legend_without_labels():
    _, ax = plt.subplots()
    ax.plot([1, 2])
    style.legend(ax)
    assert ax.get_legend() is None


@pytest.mark.parametrize("exponent", [-4.0, 1.0])
def test_a_guide_has_its_slope_and_ends_at_the_last_point(exponent):
    _, ax = plt.subplots()
    x = np.geomspace(1, 100, 20)
    style.slope_guide(ax, x, 7 * x**exponent, exponent, "slope", shift=0.5)
    ends, values = ax.lines[0].get_data()
    assert np.log(values[1] / values[0]) / np.log(ends[1] / ends[0]) == pytest.approx(exponent)
    assert ends[1] == 100
    assert values[1] == pytest.approx(0.5 * 7 * 100**exponent)
