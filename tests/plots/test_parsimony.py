"""Figures on invariant subspaces, by what is on their axes."""

import matplotlib.pyplot as plt
import numpy as np
import pytest

from dlntheory.claims.parsimony import runs
from dlntheory.plotting.style import COLOURS, shade
from dlntheory.reductions.parsimony import ObservedEntries, active_subspaces, complete, plots as figures
from dlntheory.theory.collapse import collapse_slope, plots as collapse


@pytest.fixture(scope="module")
def trained():
    """Times, the first layer over time, and its active basis, r = 1 in width 8."""
    layers, target = runs.start_layers((8,) * 3, "orthogonal", (0.9, 0.9)), runs.low_rank(8, 8, 1)
    history = [runs.train(layers, target, rate=0.05, steps=steps)[0] for steps in (5, 20, 60)]
    return 0.05 * np.array([5, 20, 60]), np.stack(history), active_subspaces(layers, target).bases[0]


def test_spectrum_separates_what_learns(trained):
    ts, weights, _ = trained
    ax = figures.plot_layer_spectrum(ts, weights, 2)
    assert len(ax.lines) == 8
    common = np.stack([line.get_ydata() for line in ax.lines[2:]])
    np.testing.assert_allclose(common, common[:1].repeat(6, axis=0), rtol=1e-12)
    learning = np.stack([line.get_ydata() for line in ax.lines[:2]])
    together = np.sort(np.concatenate([learning, common]), axis=0)
    np.testing.assert_allclose(together, np.sort(np.linalg.svd(weights, compute_uv=False).T, axis=0))
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["2 that learn", "6 others, equal"]
    assert ax.get_xlabel() == "gradient-flow time $t$"


def test_angles_are_zero_and_ninety(trained):
    ts, weights, basis = trained
    ax = figures.plot_vector_angles(ts, weights, basis)
    angles = np.stack([line.get_ydata() for line in ax.lines])
    np.testing.assert_allclose(angles[:2], 0.0, atol=1e-10)
    np.testing.assert_allclose(angles[2:], 90.0, atol=1e-10)


def test_compression_shows_both_errors_and_the_prediction():
    ts = np.linspace(0, 1, 4)
    full = np.stack([np.diag([2.0 + t, 1.0, 0.0]) for t in ts])
    naive = full + 0.1 * np.eye(3)
    left, right = figures.plot_compression(ts, full, full + 1e-15, naive, np.full(4, 0.1 * np.sqrt(3)))
    assert len(left.lines) == 4
    assert right.get_yscale() == "log"
    size = np.linalg.norm(full[-1])
    np.testing.assert_allclose(right.lines[1].get_ydata(), 0.1 * np.sqrt(3) / size)
    np.testing.assert_allclose(right.lines[2].get_ydata(), right.lines[1].get_ydata())


def test_compression_has_the_colours_of_its_roles(made):
    size = np.linalg.norm(made.weights, axis=(1, 2))
    left, right = figures.plot_compression(
        made.ts, made.weights, made.weights + 1e-9, made.weights * 0.9, 0.1 * size
    )
    assert left.lines[0].get_color() == COLOURS["full"]
    assert left.lines[-1].get_color() == COLOURS["reduced"]
    compressed, without, predicted = right.lines
    assert compressed.get_color() == COLOURS["reduced"]
    assert without.get_color() == COLOURS["control"]
    assert (predicted.get_color(), predicted.get_linestyle()) == (COLOURS["predicted"], "None")
    assert compressed.is_dashed()
    assert [text.get_text() for text in right.get_legend().get_texts()][:2] == [
        r"with $\rho$",
        r"without $\rho$",
    ]


def test_discrepant_rates_go_from_dark_to_light(made):
    ax = figures.plot_completion(made.completions)
    assert [line.get_color() for line in ax.lines] == [shade(0, 2), shade(1, 2)]
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["0", "0.1"]
    assert (ax.get_xlabel(), ax.get_legend().get_title().get_text()) == ("steps", "discrepant rate")


def test_collapse_draws_the_predicted_slope():
    slope = collapse_slope(0.5, 10, 4)
    ax = collapse.plot_collapse({(0.5, 4): 11.0 * np.exp(slope * np.arange(4))}, 10)
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ax.lines[1].get_ydata())
    assert ax.get_yscale() == "log"


def test_leakage_and_dimensions():
    ax = figures.plot_leakage([1e-3, 1e-2], [2e-3, 2e-2])
    np.testing.assert_allclose(ax.lines[0].get_ydata(), ax.lines[1].get_ydata())
    assert (ax.get_xscale(), ax.get_yscale()) == ("log", "log")
    ax = figures.plot_closure_dimensions([10, 12], {"a": [4, 8], "b": [4, 4]}, {"a": [4, 8]})
    assert [line.get_ydata().tolist() for line in ax.lines] == [[4, 8], [4, 8], [4, 4]]


def test_completion_needs_a_reference():
    rng = np.random.default_rng(0)
    target = np.outer(rng.standard_normal(10), rng.standard_normal(10)) / 10
    entries = ObservedEntries.from_mask(target, rng.random((10, 10)) < 0.7)
    options = {"learning_rate": 0.5, "discrepant_rate": 0.1, "steps": 100}
    known = complete(entries, 1, reference=target, **options)
    ax = figures.plot_completion({0.1: known})
    np.testing.assert_array_equal(ax.lines[0].get_ydata(), known.test_error)
    with pytest.raises(ValueError, match="the one at discrepant rate 0.1 has none"):
        figures.plot_completion({0.1: complete(entries, 1, **options)})
    left, right = figures.plot_completion_cost([5, 10], {"sparse": [1.0, 2.0]}, {"sparse": [3.0, np.nan]})
    assert (left.get_ylabel(), right.get_ylabel()) == (
        "wall time per iteration (ms)",
        "wall time to tolerance (s)",
    )


def test_axes_given_are_used():
    _, ax = plt.subplots()
    assert figures.plot_leakage([1e-3, 1e-2], [2e-3, 2e-2], ax=ax) is ax
