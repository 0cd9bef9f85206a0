"""Studies on top of the theory: published numbers, orderings that hold, and those that do not."""

import dataclasses
import math

import matplotlib
import numpy as np
import pytest

from dlntheory.theory.mean_field.comparison import compare
from dlntheory.theory.mean_field.config import MeanFieldConfig
from dlntheory.theory.mean_field.plots import (
    plot_against_networks,
    plot_rate_transfer,
    plot_rates,
    plot_sweep,
)
from dlntheory.theory.mean_field.rate_transfer import (
    DivergesError,
    GridEndError,
    RateTransfer,
    best_rate,
    depth_transfer,
    width_transfer,
)
from dlntheory.theory.mean_field.simulation import simulate
from dlntheory.theory.mean_field.solver import solve
from dlntheory.theory.mean_field.sweeps import (
    data_modes,
    data_sweep,
    depth_deviation,
    depth_sweep,
    sweep,
    width_sweep,
)

matplotlib.use("Agg")


@pytest.fixture(scope="module")
def widths():
    return width_sweep(MeanFieldConfig(T=41, L=2, eta=0.05))


@pytest.fixture(scope="module")
def amounts():
    return data_sweep(MeanFieldConfig(T=201, L=2, eta=0.05, nu=1.0, sigma=0.5))


def test_wider_is_better_on_the_population(widths):
    curves = widths.curves()
    assert np.all(np.diff(curves, axis=0) < 0)
    # Digits from an independent prototype.
    np.testing.assert_allclose(curves[0, [0, 5, 10, 20, 40]], [5, 0.8827, 0.7522, 0.6513, 0.4832], rtol=1e-4)
    np.testing.assert_allclose(curves[-1, [5, 10, 20]], [0.16990, 1.6017e-2, 5.6062e-5], rtol=3e-5)


def test_wider_is_better_reverses_late_with_noise():
    noisy = width_sweep(
        MeanFieldConfig(T=101, L=2, eta=0.05, alpha=2.0, sigma=0.5), (1.0, 2.0, 8.0, math.inf)
    )
    curves = noisy.curves()
    np.testing.assert_allclose(curves[:, 10], [0.525, 0.380, 0.260, 0.220], atol=6e-4)
    np.testing.assert_allclose(curves[:, 100], [0.2261, 0.2320, 0.2384, 0.2404], atol=6e-5)
    best = [error for _, error in noisy.best]
    assert np.all(np.diff(best) < 0), "with early stopping it holds"


def test_more_data_closes_the_gap(amounts):
    gen, train = amounts.curves("gen"), amounts.curves("train")
    assert np.all(train[:-1, 1:] < amounts.curves("test")[:-1, 1:])
    assert np.all((np.diff(train, axis=1) < 0) | (train[:, 1:] < 1e-14)), "falling, until rounding"
    assert np.all(np.diff(gen[:, -1]) < 0)
    assert np.all(np.diff((amounts.curves("test") - train)[:, -1]) < 0)
    np.testing.assert_allclose(gen[2, [10, 50, 200]], [0.77426, 0.66271, 0.95193], atol=6e-6)
    assert [t for t, _ in amounts.best[:5]] == [2, 8, 37, 74, 86]
    expected = [1.4967, 1.1864, 0.65545, 0.22249, 0.08229]
    np.testing.assert_allclose([error for _, error in amounts.best[:5]], expected, rtol=1e-4)


def test_fresh_samples_beat_repeated_ones():
    found = data_modes(MeanFieldConfig(T=101, L=2, eta=0.05, nu=1.0, sigma=0.3))
    expected = [
        [0.27888, 4.448e-3, 1.6526e-6],
        [0.36350, 0.028186, 0.018119],
        [0.39480, 0.044109, 0.025558],
        [0.53352, 0.17548, 0.097955],
        [0.49266, 0.15878, 0.090038],
        [1.09825, 1.11214, 1.13786],
    ]
    np.testing.assert_allclose(found.curves()[:, [10, 40, 100]], expected, rtol=2e-4)
    with pytest.raises(ValueError, match="at least `batch`, 0.5, but has \\[0.1\\]"):
        data_modes(MeanFieldConfig(T=3, L=1, eta=0.1, nu=1.0), amounts=(2.0, 0.1))


def test_depth_limit_is_reached_at_rate_one_over_depth():
    found = depth_sweep(
        MeanFieldConfig(T=6, L=2, eta=0.02, nu=1.0, alpha=2.0, sigma=0.3, residual=1.0), (4, 8, 16, 32)
    )
    np.testing.assert_allclose(found.curves()[:, 5][[0, 2, 3]], [1.09638, 1.07324, 1.06957], atol=6e-6)
    deviation = depth_deviation(found)
    np.testing.assert_allclose(list(deviation.values()), [0.074, 0.040, 0.021, 0.0105], atol=1e-3)
    with pytest.raises(ValueError, match="must be a residual network"):
        depth_sweep(MeanFieldConfig(T=6, L=2, eta=0.02))
    with pytest.raises(ValueError, match="n/2 and n blocks"):
        depth_deviation(depth_sweep(found.results[0].config, (1, 3)))


def test_learning_rate_transfers_in_mup_and_not_in_ntk():
    found = width_transfer(MeanFieldConfig(T=9, L=2, eta=0.1, nu=1.0), (1.0, 8.0, 64.0))
    np.testing.assert_allclose(found.etas("muP"), [0.192, 0.259, 0.253], atol=1.1e-3)
    np.testing.assert_allclose(found.etas("NTK"), [0.091, 0.224, 0.314], atol=1.1e-3)
    assert 0.93 < found.ratio("muP", 64.0, 8.0) < 1.05
    assert found.ratio("NTK", 64.0, 8.0) > 1.3
    assert found.rates["muP"][0].gen == pytest.approx(2.1e-2, rel=0.01)
    data = found.to_xarray()
    assert data["eta"].dims == ("scaling", "nu")
    assert float(data["gen"].sel(scaling="NTK", nu=8.0)) == pytest.approx(2.0e-9, rel=0.02)


def test_the_deepest_valley_is_found_even_near_the_edge_of_stability():
    # The error oscillates with the rate there: 6.4e-4 at 0.060, but 5.8e-4 in a narrow valley at 0.073.
    found = best_rate(MeanFieldConfig(T=9, L=2, eta=0.1, nu=0.5, gamma0=4.0 / math.sqrt(0.5)))
    assert found.eta == pytest.approx(0.073, abs=6e-4)
    assert found.gen == pytest.approx(5.8e-4, rel=0.01)


def test_a_rate_at_the_edge_of_the_grid_is_refused():
    config = MeanFieldConfig(T=9, L=2, eta=0.1, nu=1.0)
    with pytest.raises(GridEndError, match="`highest` must leave the best rate inside"):
        best_rate(config, 0.01, 0.05)
    with pytest.raises(GridEndError, match="`lowest` must leave the best rate inside"):
        best_rate(config, 0.4, 0.5)
    with pytest.raises(DivergesError, match="every rate from 5 to 9 diverges"):
        best_rate(config.replace(T=30), 5.0, 9.0)
    with pytest.raises(ValueError, match="`highest` must be a finite number above 0.5"):
        best_rate(config, 0.5, 0.1)


def test_only_what_does_not_train_has_no_rate_in_depth():
    config = MeanFieldConfig(T=7, L=2, eta=0.02, nu=1.0, alpha=2.0, sigma=0.3, residual=1.0)
    # The network trains, better and better up to the end of the grid: no answer is no "does not train".
    with pytest.raises(GridEndError, match="at its end, eta = 0.02: take a larger one"):
        depth_transfer(config, (2,), lowest=0.001, highest=0.02, factor=2.0)
    with pytest.raises(ValueError, match="`highest` must be a finite number above 0.5"):
        depth_transfer(config, (2,), lowest=0.5, highest=0.1)
    nothing = depth_transfer(config.replace(T=30), (2,), lowest=5.0, highest=9.0, factor=1.5)
    assert np.all(np.isnan(nothing.etas("scaled")))


@pytest.mark.slow
def test_learning_rate_transfers_in_depth_only_with_scaled_branches():
    found = depth_transfer(
        MeanFieldConfig(T=11, L=2, eta=0.05, nu=2.0, residual=1.0),
        (2, 8, 16),
        lowest=1e-3,
        highest=0.6,
        factor=1.2,
    )
    np.testing.assert_allclose(found.etas("scaled"), [0.1139, 0.0823, 0.0763], atol=2e-4)
    np.testing.assert_allclose(found.etas("fixed"), [0.185, 0.0267, 0.0025], atol=6e-4)
    assert 0.88 < found.ratio("scaled", 16.0, 8.0) < 0.97
    assert found.ratio("fixed", 16.0, 8.0) < 0.3


CONFIGS = {
    "full batch": {"alpha": 2.0, "sigma": 0.5},
    "one pass": {"alpha": 0.5, "sigma": 0.3, "data": "onepass"},
    "minibatches": {"alpha": 2.0, "sigma": 0.3, "batch_fraction": 0.25},
    "heavy ball": {"alpha": 2.0, "sigma": 0.3, "momentum": 0.7, "eta": 0.02},
    "weight decay": {"alpha": 2.0, "sigma": 0.3, "weight_decay": 0.1},
    "residual": {"alpha": 2.0, "sigma": 0.3, "L": 4, "residual": 1.0, "eta": 0.02},
    "spectrum, unequal starts": {
        "alpha": 2.0,
        "sigma": 0.3,
        "lam": (2.0, 1.0, 0.25),
        "p": (0.25, 0.25, 0.5),
        "init_std": (0.7, 0.5, 1.2),
    },
}


@pytest.mark.parametrize("name", ["full batch", "one pass"])
def test_finite_networks_follow_the_theory(name):
    config = MeanFieldConfig(**{"T": 31, "L": 2, "eta": 0.05, "nu": 1.0, **CONFIGS[name]})
    both = compare(solve(config), simulate(config, 128, 60, progress=False))
    assert both["gen"].max_relative < 0.10
    assert both["gen"].max_z < 4.5
    assert both["train"].max_relative < 0.10
    # The same networks against the theory of other data: the comparison can fail.
    other = dataclasses.replace(solve(config.replace(alpha=4.0)), config=config)
    assert compare(other, both.simulation)["gen"].max_relative > 0.15


@pytest.mark.slow
@pytest.mark.parametrize("name", CONFIGS)
def test_large_networks_follow_the_theory_closely(name):
    config = MeanFieldConfig(**{"T": 61, "L": 2, "eta": 0.05, "nu": 1.0, **CONFIGS[name]})
    both = compare(solve(config), simulate(config, 512, 16, progress=False))
    assert both["gen"].max_relative < 0.05 + 3 * np.nanmax(both["gen"].relative_error)
    for one in both.deviations.values():
        assert one.max_z < 4.5, one.name


@pytest.mark.slow
def test_the_deviation_shrinks_with_size_and_single_networks_scatter_little():
    config = MeanFieldConfig(T=41, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)
    theory = solve(config)
    bias = {}
    for D, seeds in ((16, 1500), (32, 1500), (64, 1500)):
        run = compare(theory, simulate(config, D, seeds, progress=False))["gen"]
        bias[D] = (D * run.relative[40], D * run.relative_error[40])
        assert np.max(np.std(simulate(config, D, 50).gen / theory.gen, axis=0)) < 8 / math.sqrt(D)
    for value, error in bias.values():  # D times the relative bias is 1.5 or so at every size
        assert abs(value - 1.5) < 0.5 + 3 * error


def test_comparison_refuses_what_cannot_be_compared():
    config = MeanFieldConfig(T=6, L=1, eta=0.1, nu=1.0)
    theory = solve(config)
    with pytest.raises(ValueError, match="must have the configuration of `theory`"):
        compare(theory, simulate(config.replace(nu=2.0), 16, 2))
    with pytest.raises(ValueError, match="at least 2 seeds"):
        compare(theory, simulate(config, 16, 1))
    both = compare(theory, simulate(config, 32, 10))
    assert both["gen"].relative.shape == (6,)
    for text in ("gen", "H1", "G1", "largest z", "10 seeds"):
        assert text in str(both)
    assert "<table" in both._repr_html_()


def test_sweeps_show_themselves(widths, amounts):
    assert "nu" in str(widths)
    assert "<table" in widths._repr_html_()
    assert "0.25" in repr(widths)
    assert widths[math.inf].config.nu == math.inf
    with pytest.raises(ValueError, match="between 0 and 40"):
        widths.table([0, 41])
    data = amounts.to_xarray()
    assert data["gen"].dims == ("alpha", "step")
    np.testing.assert_array_equal(data["train"].values, amounts.curves("train"))
    with pytest.raises(ValueError, match="one length T"):
        sweep("x", "x", {1: MeanFieldConfig(T=3, L=1, eta=0.1), 2: MeanFieldConfig(T=4, L=1, eta=0.1)})


def test_truncated_curves_are_filled_with_nan():
    with pytest.warns(UserWarning, match="largest stable rate"):
        found = width_sweep(MeanFieldConfig(T=60, L=2, eta=1.5), (1.0, 2.0))
    assert any(result.diverged for result in found.results)
    assert found.curves().shape == (2, 60)
    assert np.isnan(found.curves()[0, -1])


def test_figures_take_axes_and_label_them(widths):
    import matplotlib.pyplot as plt

    axes = plt.subplots(2, 2)[1].ravel()
    config = widths.results[2].config
    both = compare(widths[1.0], simulate(config, 16, 4))
    best = best_rate(config.replace(T=5))
    transfer = RateTransfer("nu", (1.0, 2.0), {"muP": (best, best), "NTK": (None, best)})
    assert plot_sweep(widths, axes[0]) is axes[0]
    assert len(axes[0].lines) == 7
    assert plot_against_networks(both, axes[1]) is axes[1]
    assert plot_rate_transfer(transfer, axes[2]) is axes[2]
    assert plot_rates(best.grid, axes[3], label="x") is axes[3]
    for ax in axes:
        assert ax.get_xlabel()
        assert ax.get_ylabel()
    with pytest.raises(ValueError, match="`name` must be one of gen"):
        plot_sweep(widths, axes[0], "loss")
    with pytest.raises(ValueError, match="has \\['z'\\]"):
        plot_against_networks(both, axes[1], ("z",))
    assert "-" in str(transfer)
    plt.close("all")
