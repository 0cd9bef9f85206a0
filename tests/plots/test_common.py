"""What holds for every figure: the axes given and nothing else, labels, room for everything, hostile names."""

import copy
import dataclasses
import functools
import inspect
from itertools import pairwise

import matplotlib
import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlntheory.plotting import style
from dlntheory.reductions.parsimony import plots as parsimony
from dlntheory.theory.alignment import plots as alignment
from dlntheory.theory.collapse import plots as collapse
from dlntheory.theory.landscape import plots as landscape
from dlntheory.theory.mean_field import plots as mean_field
from dlntheory.theory.saddles import phase_diagram_plots as phase_diagram, plots as saddles
from dlntheory.training import plots as training

MODULES = (collapse, training, alignment, saddles, phase_diagram, landscape, parsimony, mean_field)
TARGET = np.diag([2.0, 1.0])
SLOPES = {(0.5, 6): 11.0 * np.exp(-1.2 * np.arange(6)), (0.25, 6): 11.0 * np.exp(-2.5 * np.arange(6))}

#: Every figure on made-up results; the functions with two axes take `axes`.
ONE = {
    training.plot_loss: lambda m, ax: training.plot_loss(m.both.full, ax),
    training.plot_singular_values: lambda m, ax: training.plot_singular_values(m.both.full, ax),
    training.plot_drift: lambda m, ax: training.plot_drift(m.both.full, ax),
    alignment.plot_alignment: lambda m, ax: alignment.plot_alignment(m.runs[2], ax),
    alignment.plot_margin_gap: lambda m, ax: alignment.plot_margin_gap(m.runs, ax),
    alignment.plot_spectra: lambda m, ax: alignment.plot_spectra(m.runs[2], ax),
    alignment.plot_descent: lambda m, ax: alignment.plot_descent(m.descents, ax),
    saddles.plot_distances: lambda m, ax: saddles.plot_distances(m.studies, ax),
    saddles.plot_escape_times: lambda m, ax: saddles.plot_escape_times(
        m.escape, [1e-1, 3e-2, 1e-2], [3.81, 13.1, 39.8], ax
    ),
    saddles.plot_path: lambda m, ax: saddles.plot_path(m.path, ax, found=m.found),
    saddles.plot_plateaus: lambda m, ax: saddles.plot_plateaus(m.path, m.found, ax),
    saddles.plot_approach: lambda m, ax: saddles.plot_approach(m.approach, ax),
    saddles.plot_recovery: lambda m, ax: saddles.plot_recovery(m.completed, ax),
    saddles.plot_bottleneck: lambda m, ax: saddles.plot_bottleneck([(3, 3), (4, 2)], [1e-3, 1e-2, 1e-1], ax),
    phase_diagram.plot_phase_diagram: lambda m, ax: phase_diagram.plot_phase_diagram(
        TARGET, 2, ax, studies=m.studies
    ),
    landscape.plot_critical_points: lambda m, ax: landscape.plot_critical_points(m.points, ax),
    landscape.plot_mode_landscape: lambda m, ax: landscape.plot_mode_landscape(1.5, 3, [0, 0.3, 0.6], ax),
    parsimony.plot_layer_spectrum: lambda m, ax: parsimony.plot_layer_spectrum(m.ts, m.weights, 2, ax),
    parsimony.plot_vector_angles: lambda m, ax: parsimony.plot_vector_angles(
        m.ts[1:], m.weights[1:], m.basis, ax
    ),
    parsimony.plot_completion: lambda m, ax: parsimony.plot_completion(m.completions, ax),
    collapse.plot_collapse: lambda m, ax: collapse.plot_collapse(SLOPES, 10, ax),
    parsimony.plot_leakage: lambda m, ax: parsimony.plot_leakage([1e-3, 1e-2], [2e-3, 2e-2], ax),
    parsimony.plot_closure_dimensions: lambda m, ax: parsimony.plot_closure_dimensions(
        [10, 12], {"a": [4, 8], "b": [4, 4]}, {"a": [4, 8]}, ax
    ),
    mean_field.plot_sweep: lambda m, ax: mean_field.plot_sweep(m.sweep, ax),
    mean_field.plot_rate_transfer: lambda m, ax: mean_field.plot_rate_transfer(m.transfer, ax),
    mean_field.plot_against_networks: lambda m, ax: mean_field.plot_against_networks(m.mean_field, ax),
    mean_field.plot_rates: lambda m, ax: mean_field.plot_rates(m.grid, ax),
}
TWO = {
    training.plot_comparison: lambda m, axes: training.plot_comparison(m.both, axes),
    alignment.plot_directions: lambda m, axes: alignment.plot_directions(m.digits, (8, 8), axes),
    parsimony.plot_compression: lambda m, axes: parsimony.plot_compression(
        m.ts,
        m.weights,
        m.weights * (1 + 1e-14),
        m.weights * 0.9,
        0.1 * np.linalg.norm(m.weights, axis=(1, 2)),
        axes,
    ),
    parsimony.plot_completion_cost: lambda m, axes: parsimony.plot_completion_cost(
        [5, 10], {"sparse": [1.0, 2.0]}, {"sparse": [3.0, np.nan]}, axes
    ),
}


def _row(function, draw, count):
    name = f"{function.__module__.split('.')[-1]}.{function.__name__}"
    return pytest.param(draw, count, id=name)


EVERY = [_row(*entry, count) for table, count in ((ONE, 1), (TWO, 2)) for entry in table.items()]
every_figure = pytest.mark.parametrize(("draw", "count"), EVERY)


def as_list(axes):
    return list(np.atleast_1d(axes))


def content(ax):
    """Everything on an axes that drawing elsewhere must not change."""
    return (
        ax.get_children(),
        ax.get_xlim(),
        ax.get_ylim(),
        ax.get_xlabel(),
        ax.get_title(),
        ax.get_position().bounds,
    )


def test_every_public_figure_is_in_the_table():
    public = {
        one
        for module in MODULES
        for name, one in inspect.getmembers(module, inspect.isfunction)
        if name.startswith("plot_") and one.__module__ == module.__name__
    }
    assert public == set(ONE) | set(TWO)


@every_figure
def test_axes_given_are_returned_and_nothing_else_is_touched(made, draw, count):
    figure, axes = plt.subplots(1, 3, figsize=(12, 3))
    given = axes[0] if count == 1 else axes[:2]
    before, settings = content(axes[2]), dict(matplotlib.rcParams)
    figures, engine = plt.get_fignums(), figure.get_layout_engine()
    assert draw(made, given) is given
    assert content(axes[2]) == before
    assert dict(matplotlib.rcParams) == settings
    assert plt.get_fignums() == figures
    assert figure.axes == list(axes), "no colour bar, no twin axes"
    assert (figure.texts, figure.legends, figure.get_layout_engine()) == ([], [], engine)
    plt.close(figure)


@pytest.fixture(scope="module")
def drawn(made):
    """Each figure on new axes, built and drawn once: (axes, numbers of figures that pyplot gained)."""

    @functools.cache
    def build(draw):
        before = len(plt.get_fignums())
        axes = as_list(draw(made, None))
        gained = len(plt.get_fignums()) - before
        figure = axes[0].figure
        figure.canvas.draw()
        plt.close(figure)
        return axes, gained

    return build


@every_figure
def test_new_axes_are_one_figure_of_the_common_size_with_labels(drawn, draw, count):
    axes, gained = drawn(draw)
    figure = axes[0].figure
    assert gained == 1
    assert tuple(figure.get_size_inches()) == (style.SINGLE if count == 1 else style.PAIR)
    assert figure.get_constrained_layout()
    assert figure.axes == axes
    for ax in axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()


@every_figure
def test_nothing_is_cut_off_and_no_two_ticks_overlap(drawn, draw, count):
    axes = drawn(draw)[0]
    figure = axes[0].figure
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert box.x0 > -0.02
    assert box.y0 > -0.02
    assert box.x1 < width + 0.02
    assert box.y1 < height + 0.02
    for ax in axes:
        if ax.images:
            continue
        for axis, side in ((ax.xaxis, "x"), (ax.yaxis, "y")):
            low, high = sorted(axis.get_view_interval())
            shown = [
                tick.label1.get_window_extent()
                for tick in axis.get_major_ticks()
                if tick.label1.get_text() and low <= tick.get_loc() <= high
            ]
            assert len(shown) >= 2, f"too few readable ticks on {side}"
            edges = sorted((getattr(one, f"{side}0"), getattr(one, f"{side}1")) for one in shown)
            assert all(first[1] <= second[0] for first, second in pairwise(edges)), side


def covered(ax, box):
    """Labels of lines that pass below a box of the display."""
    for line in ax.lines:
        x, y = (np.asarray(values, dtype=float) for values in line.get_data())
        if line.get_transform() != ax.transData or not len(x):
            continue
        if line.get_linestyle() != "None":
            at = np.linspace(0, len(x) - 1, 400)
            x, y = (np.interp(at, np.arange(len(values)), values) for values in (x, y))
        points = ax.transData.transform(np.column_stack([x, y]))
        if any(box.contains(*point) for point in points[np.all(np.isfinite(points), axis=1)]):
            yield line.get_label()


@every_figure
def test_a_legend_names_every_labelled_line_once_and_covers_none(drawn, draw, count):
    for ax in drawn(draw)[0]:
        labels, legend = ax.get_legend_handles_labels()[1], ax.get_legend()
        if legend is None:
            assert len(labels) <= 1
            continue
        assert len(set(labels)) == len(labels) >= 1
        assert sorted(text.get_text() for text in legend.get_texts()) == sorted(labels)
        assert not list(covered(ax, legend.get_window_extent()))


HOSTILE = [r"cost $\frac{", "a_b^c", "_hidden", "$x_{$ & 5% #", "two\nlines", "{}", "$", "$$", "\\", "<b>"]


def test_names_that_are_no_mathematics_are_drawn_as_they_stand():
    ax = style.new_axes()
    for name in HOSTILE:
        ax.plot([0, 1], [0, 1], label=style.as_text(name))
    style.legend(ax, style.as_text(HOSTILE[0]))
    ax.figure.canvas.draw()
    shown = [" ".join(text.get_text().replace(r"\$", "$").split()) for text in ax.get_legend().get_texts()]
    assert shown == [" ".join(name.split()) for name in HOSTILE]


def test_figures_take_any_name(made):
    bad, hidden = r"$x_{$ & cost $\frac{", "_hidden"
    run = dataclasses.replace(
        made.both.full, label=hidden, architecture=bad, drift={bad: made.ts, f"D_{bad}": made.ts}
    )
    task = copy.copy(made.runs[1].problem)
    object.__setattr__(task, "name", bad)
    named = dataclasses.replace(made.runs[1], problem=task)
    left, right = training.plot_comparison(dataclasses.replace(made.both, full=run))
    assert [text.get_text() for text in left.get_legend().get_texts()] == [" _hidden", "Gram flow"]
    assert left.get_title().replace("\\$", "$") == bad
    training.plot_drift(run, right)
    _, axes = plt.subplots(2, 4)
    alignment.plot_spectra(named, axes[0, 0])
    alignment.plot_margin_gap([named], axes[0, 1])
    alignment.plot_alignment(named, axes[0, 2])
    parsimony.plot_closure_dimensions([10, 12], {bad: [4, 8]}, ax=axes[0, 3])
    parsimony.plot_completion_cost([5, 10], {bad: [1.0, 2.0]}, {bad: [3.0, 4.0]}, axes[1, :2])
    mean_field.plot_sweep(dataclasses.replace(made.modes, labels=(bad,) * 6, parameter=bad), axes[1, 2])
    transfer = dataclasses.replace(made.transfer, parameter=bad, rates={bad: made.transfer.rates["muP"]})
    mean_field.plot_rate_transfer(transfer, axes[1, 3])


def test_no_figure_writes_into_pyplot_or_settings():
    for module in (*MODULES, style):
        source = inspect.getsource(module)
        for forbidden in (
            "plt.show",
            "rcParams",
            "plt.style",
            "plt.gca",
            "plt.gcf",
            "plt.sca",
            "suptitle",
            "colorbar",
        ):
            assert forbidden not in source, f"{module.__name__} uses {forbidden}"
        assert not source.startswith("import matplotlib")
        assert "\nimport matplotlib" not in source
        assert "\nfrom matplotlib" not in source


REFUSED = {
    "count": lambda m: training.plot_singular_values(m.both.full, count=0),
    "axes": lambda m: training.plot_comparison(m.both, plt.subplots()[1]),
    "runs": lambda m: alignment.plot_descent([]),
    "shape": lambda m: alignment.plot_directions(m.digits, (8, 9)),
    "studies": lambda m: saddles.plot_distances([]),
    "name": lambda m: saddles.plot_distances(m.studies, name="maximum"),
    "times": lambda m: saddles.plot_escape_times(m.escape, [0.1, 0.01], [1.0]),
    "alphas": lambda m: saddles.plot_escape_times(m.escape, [0.0], [1.0]),
    "quantity": lambda m: saddles.plot_path(m.path, quantity="rank"),
    "found": lambda m: saddles.plot_plateaus(dataclasses.replace(m.path, trajectory=m.both.full), m.found),
    "levels": lambda m: saddles.plot_plateaus(m.path, m.found, levels=[np.nan]),
    "cases": lambda m: saddles.plot_bottleneck([], [0.1]),
    "eps": lambda m: saddles.plot_bottleneck([(3, 3)], [-0.1]),
    "gammas": lambda m: phase_diagram.plot_phase_diagram(TARGET, 2, gammas=(2.0, 1.0)),
    "widths": lambda m: phase_diagram.plot_phase_diagram(TARGET, 2, widths=(8.0,)),
    "points": lambda m: landscape.plot_critical_points([]),
    "decays": lambda m: landscape.plot_mode_landscape(1.0, 3, []),
    "sigma": lambda m: landscape.plot_mode_landscape(-1.0, 3, [0.1]),
    "weights": lambda m: parsimony.plot_layer_spectrum(m.ts, m.weights[:3], 2),
    "active": lambda m: parsimony.plot_layer_spectrum(m.ts, m.weights, 7),
    "basis": lambda m: parsimony.plot_vector_angles(m.ts, m.weights, np.eye(3)),
    "without_rho": lambda m: parsimony.plot_compression(m.ts, m.weights, m.weights, m.weights[0]),
    "predicted": lambda m: parsimony.plot_compression(m.ts, m.weights, m.weights, m.weights, [1.0]),
    "seconds": lambda m: parsimony.plot_completion_cost([5, 10], {"a": [1, 2]}, {"a": [1]}),
    "completions": lambda m: parsimony.plot_completion({}),
    "lines": lambda m: collapse.plot_collapse({(0.5, 2): [1.0, 0.0]}, 10),
    "leakages": lambda m: parsimony.plot_leakage([0.1], [0.0]),
    "dims": lambda m: parsimony.plot_closure_dimensions([10], {"a": [1, 2]}),
    "quantities": lambda m: mean_field.plot_against_networks(m.mean_field, quantities=("z",)),
    "grid": lambda m: mean_field.plot_rates([]),
}


@pytest.mark.parametrize(("argument", "call"), REFUSED.items(), ids=list(REFUSED))
def test_what_cannot_be_drawn_is_refused_by_name_and_leaves_no_figure(made, argument, call):
    with pytest.raises(ValueError, match=f"^Argument `{argument}` must"):
        call(made)
    assert len(plt.get_fignums()) == (1 if argument == "axes" else 0)
