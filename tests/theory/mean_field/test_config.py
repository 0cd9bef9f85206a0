"""The configuration: what is refused and with which words, defaults, constructors, conventions."""

import math

import numpy as np
import pytest

from dlntheory.theory.mean_field import MeanFieldConfig, finite_size, gamma0_from

GOOD = {"T": 5, "L": 2, "eta": 0.1}
SPECTRUM = {"lam": (2.0, 1.0), "p": (0.5, 0.5), "teacher2": (1.0, 1.0)}


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"T": 0}, "Argument `T` must be a positive integer, but is 0"),
        ({"T": 5.0}, "Argument `T` must be a positive integer, but is 5.0"),
        ({"T": True}, "Argument `T` must be a positive integer, but is True"),
        ({"L": 0}, "Argument `L` must be a positive integer, but is 0"),
        ({"L": 1.5}, "Argument `L` must be a positive integer"),
        ({"eta": 0.0}, "Argument `eta` must be a finite positive number, but is 0.0"),
        ({"eta": -0.1}, "Argument `eta` must be a finite positive number, but is -0.1"),
        ({"eta": math.nan}, "Argument `eta` must be a finite positive number, but is nan"),
        ({"eta": math.inf}, "Argument `eta` must be a finite positive number, but is inf"),
        ({"eta": "0.1"}, "Argument `eta` must be a finite positive number, but is '0.1'"),
        (
            {"eta": [0.1] * 4},
            "Argument `eta` must be one number or a schedule of length T = 5, but has length 4",
        ),
        (
            {"eta": [0.1] * 4 + [-0.1]},
            "Argument `eta` must have non-negative entries, but entry 4 is -0.1",
        ),
        ({"eta": [0.0] * 5}, "Argument `eta` must have a positive entry, but is 0 at every step"),
        ({"gamma0": 0.0}, "Argument `gamma0` must be a finite positive number, but is 0.0"),
        ({"gamma0": -1}, "Argument `gamma0` must be a finite positive number, but is -1"),
        ({"gamma0": math.inf}, "Argument `gamma0` must be a finite positive number, but is inf"),
        (
            {"gamma0": 1e-200, "nu": 1.0},
            "Argument `gamma0` must be so large that gamma0.2 nu is above 1e-300",
        ),
        ({"nu": 0}, "Argument `nu` must be a positive number, but is 0"),
        ({"nu": math.nan}, "Argument `nu` must be a positive number, but is nan"),
        ({"alpha": -2.0}, "Argument `alpha` must be a positive number, but is -2.0"),
        ({"alpha": math.nan}, "Argument `alpha` must be .* but is nan"),
        ({"alpha": None}, "Argument `alpha` must be .* but is None"),
        ({"sigma": -0.1}, "Argument `sigma` must be a finite number of at least 0, but is -0.1"),
        (
            {"batch_fraction": 0.0, "alpha": 2.0},
            "Argument `batch_fraction` must be a finite positive number of at most 1, but is 0.0",
        ),
        ({"batch_fraction": 1.1, "alpha": 2.0}, "Argument `batch_fraction` must be .* but is 1.1"),
        (
            {"batch_fraction": 0.5, "alpha": 2.0, "data": "onepass"},
            "Argument `batch_fraction` must be 1 with data='onepass' .* but is 0.5",
        ),
        ({"batch_fraction": 0.5}, "Argument `batch_fraction` must be 1 with alpha=inf .* but is 0.5"),
        (
            {"momentum": 1.0},
            "Argument `momentum` must be a finite number of at least 0 and below 1, but is 1.0",
        ),
        ({"momentum": -0.1}, "Argument `momentum` must be .* but is -0.1"),
        (
            {"weight_decay": -0.1},
            "Argument `weight_decay` must be a finite number of at least 0, but is -0.1",
        ),
        ({"weight_decay": 10.0}, "Argument `weight_decay` must be below 1/eta = 10, but is 10"),
        (
            {"momentum": 0.5, "weight_decay": 0.1},
            "Argument `momentum` must be 0 with weight decay, but is 0.5",
        ),
        ({"data": "batches"}, "Argument `data` must be 'fixed' or 'onepass', but is 'batches'"),
        ({"data": 3}, "Argument `data` must be 'fixed' or 'onepass', but is 3"),
        (SPECTRUM | {"p": (1.0,)}, "Argument `p` must have 2 entries, but has 1"),
        (SPECTRUM | {"teacher2": (1.0,) * 3}, "Argument `teacher2` must have 2 entries, but has 3"),
        (
            SPECTRUM | {"lam": (2.0, -1.0)},
            "Argument `lam` must have non-negative entries, but entry 1 is -1",
        ),
        (SPECTRUM | {"lam": (2.0, math.nan)}, "Argument `lam` must be finite, but 1 of 2"),
        (SPECTRUM | {"p": (-0.5, 1.5)}, "Argument `p` must have .* but entry 0 is -0.5"),
        (SPECTRUM | {"teacher2": (math.nan, 1.0)}, "Argument `teacher2` must be finite, but 1 of 2"),
        (SPECTRUM | {"p": (0.5, 0.499)}, r"Argument `p` must sum to 1 \(within 1e-9\), but sums to 0.999"),
        (SPECTRUM | {"lam": (0.0, 0.0)}, "Argument `lam` must have a positive entry with positive `p`"),
        (
            SPECTRUM | {"lam": (1.0, 0.0), "p": (0.0, 1.0)},
            "Argument `lam` must have a positive entry with positive `p`",
        ),
        ({"lam": ()}, "Argument `lam` must have entries, but has shape"),
        ({"lam": 2.0}, "Argument `lam` must have 1 dimensions, but has shape"),
        ({"init_std": (1.0, 1.0)}, "Argument `init_std` must have 3 entries, but has 2"),
        ({"centered": 1}, "Argument `centered` must be True or False, but is 1"),
        ({"L": 1, "residual": 1.0}, "Argument `L` must be at least 2 for a residual network .* but is 1"),
        ({"residual": 0.0}, "Argument `residual` must be a finite positive number, but is 0.0"),
        ({"residual": True}, "Argument `residual` must be a finite positive number, but is True"),
    ],
)
def test_refuses(change, message):
    with pytest.raises(ValueError, match=message):
        MeanFieldConfig(**(GOOD | change))


def test_population_of_one_pass_is_allowed():
    assert MeanFieldConfig(**GOOD, data="onepass").is_population


def test_accepts_numpy_scalars_and_lists():
    config = MeanFieldConfig(
        T=np.int64(3), L=1, eta=np.linspace(0.2, 0.0, 3), nu=np.float64(2), lam=np.array([1.0, 0.5])
    )
    assert config.rates.tolist() == [0.2, 0.1, 0.0]
    assert config.p == (0.5, 0.5)
    assert config.teacher2 == (1.0, 1.0)
    assert hash(config) == hash(MeanFieldConfig(**config.to_dict()))


def test_round_trip_and_replace():
    config = MeanFieldConfig(**GOOD, **SPECTRUM, alpha=2.0, residual=0.5)
    assert MeanFieldConfig(**config.to_dict()) == config
    assert config.replace(L=3).init_std == (1.0,) * 4
    assert config.replace(lam=(1.0, 2.0, 3.0)).p == (1 / 3,) * 3
    assert config.replace(lam=(1.0, 3.0)).p == (0.5, 0.5)
    with pytest.raises(ValueError, match="Argument `init_std` must have 4 entries"):
        config.replace(init_std=(0.5, 1.0, 1.0)).replace(L=3)


def test_ntk_freezes_with_width():
    config = MeanFieldConfig.ntk(gamma=4.0, nu=16.0, **GOOD)
    assert config.gamma0 == 1.0
    assert MeanFieldConfig.mup(**GOOD, nu=16.0) == config
    with pytest.raises(ValueError, match="Argument `nu` must be a finite positive number, but is inf"):
        MeanFieldConfig.ntk(nu=math.inf, **GOOD)


def test_conventions_give_the_same_network():
    """Multiplier and raw rate of each convention, from its own definition, against `finite_size`."""
    D, gamma, eta, nu = 48, 1.7, 0.1, 0.5
    N = int(nu * D)
    multiplier = {
        "mup": np.sqrt(D) / (gamma * N),
        "ntk": 1 / (gamma * np.sqrt(N)),
        "plain_mean_field": 1 / (gamma * N),
    }
    for convention, expected in multiplier.items():
        gamma0 = gamma0_from(gamma, convention, nu=nu, input_dim=D)
        size = finite_size(MeanFieldConfig(T=3, L=2, eta=eta, gamma0=gamma0, nu=nu, alpha=2.0), D)
        assert size.output_multiplier == pytest.approx(expected, rel=1e-14)
        # The rate undoes the square of the multiplier: eta_raw = eta D / (N multiplier^2) in every convention.
        assert size.learning_rate == pytest.approx([eta * D / (N * expected**2)] * 3, rel=1e-14)
    ntk = finite_size(MeanFieldConfig.ntk(gamma=gamma, nu=nu, T=2, L=1, eta=eta), D)
    assert ntk.learning_rate[0] == pytest.approx(eta * gamma**2 * D, rel=1e-14)


def test_convention_refusals():
    with pytest.raises(
        ValueError, match="Argument `convention` must be 'mup' or 'ntk' or 'plain_mean_field'"
    ):
        gamma0_from(1.0, "sp")
    with pytest.raises(ValueError, match="Argument `nu` must be a finite positive number, but is None"):
        gamma0_from(1.0, "ntk")
    with pytest.raises(ValueError, match="Argument `input_dim` must be a positive integer, but is None"):
        gamma0_from(1.0, "plain_mean_field")


def test_finite_size():
    size = finite_size(MeanFieldConfig(**GOOD, nu=0.5, alpha=2.0, batch_fraction=0.25), 64)
    assert (size.width, size.samples, size.batch, size.nu, size.alpha) == (32, 128, 32, 0.5, 2.0)
    population = finite_size(MeanFieldConfig(**GOOD, nu=0.5), 64)
    assert population.samples is None
    assert population.alpha == math.inf
    with pytest.raises(
        ValueError, match="Argument `nu` must be finite for a network of finite size, but is inf"
    ):
        finite_size(MeanFieldConfig(**GOOD), 64)
    with pytest.raises(
        ValueError, match="Argument `input_dim` must be large enough that nu = 0.1 leaves something"
    ):
        finite_size(MeanFieldConfig(**GOOD, nu=0.1), 2)


def test_labels():
    assert MeanFieldConfig(**GOOD).label == "2 hidden layers, population, nu inf, gamma0 1"
    assert "one pass, alpha 0.5" in MeanFieldConfig(**GOOD, alpha=0.5, data="onepass").label
    assert "minibatches of 0.5" in MeanFieldConfig(**GOOD, alpha=1.0, batch_fraction=0.5).label
    assert MeanFieldConfig(**GOOD, alpha=1.0, residual=1.0).label.startswith("1 residual block, full batch")
