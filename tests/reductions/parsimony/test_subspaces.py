"""Active subspaces: dimensions, closedness under training, what is refused and what is only noted."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from dlntheory.claims.parsimony import runs
from dlntheory.reductions.parsimony import active_subspaces
from dlntheory.reductions.parsimony.rangefinder import low_rank_factor

TABLE = [  # widths, r, dimensions, multiplicity outside, spare directions
    ((60, 60, 60, 60), 3, (6, 6, 6, 6), [54], (0, 0, 0, 0)),
    ((60, 60, 60, 3), 3, (6, 6, 6, 3), [], (54, 54, 54, 0)),
    ((60, 60, 60, 20), 3, (9, 9, 9, 6), [14], (37, 37, 37, 0)),
    ((60, 60, 60, 5), 3, (8, 8, 8, 5), [], (52, 52, 52, 0)),
    ((60, 40, 40, 60), 3, (9, 6, 6, 9), [34], (17, 0, 0, 17)),
    ((60, 80, 80, 60), 3, (26, 46, 46, 26), [34], (0, 0, 0, 0)),
    ((40, 80, 80, 80, 60), 3, (26, 49, 49, 49, 29), [14], (0, 17, 17, 17, 17)),
    ((30, 30), 2, (4, 4), [26], (0, 0)),
]


@pytest.mark.parametrize(
    ("widths", "rank", "dims", "outside", "untrained"), TABLE, ids=lambda case: str(case)
)
def test_dimensions_are_those_of_the_theory(widths, rank, dims, outside, untrained):
    for seed in (0, 1):
        layers = runs.start_layers(widths, "orthogonal", runs.EPS, seed)
        found = active_subspaces(layers, runs.low_rank(widths[-1], widths[0], rank, seed), seed=seed)
        assert found.dims == found.closure_dims == dims
        assert [one.multiplicity for one in found.residual.classes] == outside
        assert found.residual.untrained == untrained
        assert found.notes == ()
        for basis in found.bases:
            np.testing.assert_allclose(basis.T @ basis, np.eye(basis.shape[1]), atol=1e-14)
        if outside:
            np.testing.assert_allclose(found.residual.scales, runs.EPS[: len(layers)], rtol=1e-13)


def test_square_subspaces_are_those_of_the_formula():
    layers, target = runs.start_layers((25,) * 4, "orthogonal", runs.EPS), runs.low_rank(25, 25, 3)
    found = active_subspaces(layers, target)
    for ours, formula in zip(found.bases, runs.explicit_bases(layers, target, 3), strict=True):
        np.testing.assert_allclose(ours @ ours.T, formula @ formula.T, atol=1e-13)


@pytest.mark.slow
def test_reference_gradients_are_those_of_jax():
    layers, target = runs.start_layers((5, 4, 6, 3), "gaussian", runs.EPS), runs.low_rank(3, 5, 2)
    covariance = np.cov(np.random.default_rng(0).standard_normal((5, 20)))

    def loss(weights):
        z = weights[2] @ weights[1] @ weights[0]
        quadratic = 0.5 * jnp.sum((z @ covariance) * z) - jnp.sum(z * target)
        return quadratic + 0.05 * sum(jnp.sum(w**2) for w in weights)

    automatic = jax.grad(loss)([jnp.asarray(w) for w in layers])
    for ours, theirs in zip(runs.gradients(layers, target, covariance, 0.1), automatic, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-14)


@settings(max_examples=15, deadline=None, derandomize=True)
@given(
    widths=st.lists(st.integers(3, 14), min_size=2, max_size=5),
    rank=st.integers(1, 3),
    decay=st.sampled_from([0.0, 0.05]),
    seed=st.integers(0, 100),
)
def test_training_never_leaves_the_subspaces(widths, rank, decay, seed):
    rank = min(rank, widths[0], widths[-1])
    layers = runs.start_layers(widths, "orthogonal", (0.7, 0.4, 0.9, 0.6), seed)
    target = runs.low_rank(widths[-1], widths[0], rank, seed)
    found = active_subspaces(layers, target)
    depth = len(layers)
    top = max(1.0, np.linalg.norm(target, 2))
    rate = 0.5 / (depth * top ** (2 - 2 / depth) + decay)
    for rule, momentum in (("gradient descent", 0.0), ("heavy ball", 0.4), ("nesterov", 0.4)):
        trained = runs.train(layers, target, rate=rate, steps=60, decay=decay, rule=rule, momentum=momentum)
        assert np.max(found.leakage(trained)) < 1e-12


def test_gaussian_layers_have_the_whole_space():
    layers = runs.start_layers((40,) * 4, "gaussian", runs.EPS)
    found = active_subspaces(layers, runs.low_rank(40, 40, 3))
    assert found.dims == (40, 40, 40, 40)
    assert "the start is not orthogonal (W1 by" in found.notes[0]
    assert "general closure gives dimensions 40 -> 40 -> 40 -> 40" in found.notes[0]
    assert "this is the full network, nothing is compressed" in found.notes[-1]
    assert "4800 of 4800" in str(found)


def test_leakage_is_measured_not_assumed():
    layers, target = runs.start_layers((20,) * 3, "orthogonal", (0.5, 0.5)), runs.low_rank(20, 20, 1)
    found = active_subspaces(layers, target)
    assert np.max(found.leakage(layers)) < 1e-14
    # One off-diagonal block of known size.
    inside, outside = found.bases[1][:, :1], np.linalg.svd(found.bases[0].T)[2][-1:]
    moved = [layers[0] + 0.3 * inside @ outside, layers[1]]
    leak = found.leakage(moved)
    assert leak[0] == pytest.approx(0.3 / np.linalg.norm(moved[0]), rel=1e-12)
    assert leak[1] < 1e-14
    # Adam moves single entries: a rotation of the weights is not respected.
    trained = runs.train(layers, target, rate=0.003, steps=200, rule="adam")
    assert np.min(found.leakage(trained)) > 0.01


def test_covariances_with_few_values_outside_are_classes():
    rng = np.random.default_rng(0)
    layers, target = runs.start_layers((40,) * 4, "orthogonal", runs.EPS), runs.low_rank(40, 40, 3)
    frame = runs.semi_orthogonal(rng, 40, 2)
    spiked = active_subspaces(layers, target, np.eye(40) + frame @ np.diag([3.0, 1.0]) @ frame.T)
    assert spiked.dims == (8, 8, 8, 8)
    assert [(float(c.variance), c.multiplicity) for c in spiked.residual.classes] == [
        (pytest.approx(1.0), 32)
    ]
    # Fewer samples than inputs: the second moment is a projection.
    samples = runs.semi_orthogonal(rng, 40, 25)
    fewer = active_subspaces(layers, target @ samples @ samples.T, samples @ samples.T)
    assert fewer.dims == (9, 9, 9, 9)
    values = [(round(float(c.variance), 12), c.multiplicity) for c in fewer.residual.classes]
    assert values == [(0.0, 12), (1.0, 19)]
    full = rng.standard_normal((40, 60))
    assert active_subspaces(layers, target, full @ full.T).dims == (40, 40, 40, 40)


def test_what_is_not_scalar_outside_is_added():
    rng = np.random.default_rng(0)
    layers, target = runs.start_layers((16,) * 4, "orthogonal", runs.EPS), runs.low_rank(16, 16, 1)
    left, right = runs.semi_orthogonal(rng, 16, 16), runs.semi_orthogonal(rng, 16, 16)
    layers[1] = left @ np.diag(np.repeat([1.0, 2.0], 8)) @ right
    found = active_subspaces(layers, target)
    assert found.closure_dims == (4, 4, 4, 4)
    assert found.dims == (16, 16, 16, 16)
    assert any("smallest closed subspaces have dimensions 4 -> 4 -> 4 -> 4" in note for note in found.notes)


def test_a_subspace_that_nothing_leaves_but_rank_deficient_layers_end_is_spare():
    # A start of rank 2: outside the subspaces the layers are 0, and no gradient reaches there.
    rng = np.random.default_rng(0)
    frames = [runs.semi_orthogonal(rng, 12, 2) for _ in range(3)]
    layers = [0.5 * frames[1] @ frames[0].T, 0.5 * frames[2] @ frames[1].T]
    found = active_subspaces(layers, runs.low_rank(12, 12, 1))
    assert found.residual.classes == ()
    assert max(found.dims) <= 4
    trained = runs.train(layers, runs.low_rank(12, 12, 1), rate=0.05, steps=200)
    assert np.max(found.leakage(trained)) < 1e-13


def test_a_direction_that_is_almost_there_counts():
    # B lies within 1e-5 of what A reaches backwards: left out, it would leak in proportion.
    layers = runs.start_layers((20,) * 3, "orthogonal", (0.7, 0.6))
    rng = np.random.default_rng(0)
    left = rng.standard_normal(20)
    right = runs.product(layers).T @ left + 1e-5 * rng.standard_normal(20)
    found = active_subspaces(layers, np.outer(left, right) / np.linalg.norm(left) / np.linalg.norm(right))
    assert found.dims == (2, 2, 2)
    trained = runs.train(layers, np.outer(left, right) / 20, rate=0.05, steps=200)
    assert np.max(found.leakage(trained)) < 1e-13


def test_large_ranks_return_the_full_network_with_a_notice():
    layers = runs.start_layers((8,) * 4, "orthogonal", runs.EPS)
    found = active_subspaces(layers, runs.low_rank(8, 8, 4))
    assert found.dims == (8, 8, 8, 8)
    assert found.notes == ("the subspaces fill the network: this is the full network, nothing is compressed",)
    most = active_subspaces(layers, runs.low_rank(8, 8, 3))
    assert most.dims == (6, 6, 6, 6)
    assert "no useful compression" in most.notes[0]


def test_range_finder_is_the_singular_value_decomposition():
    rng = np.random.default_rng(0)
    for rank in (1, 7, 15, 16, 40):
        left, right = runs.semi_orthogonal(rng, 90, rank), runs.semi_orthogonal(rng, 70, rank)
        values = np.linspace(3.0, 0.1, rank)
        found = low_rank_factor((left * values) @ right.T)
        assert found.rank == rank
        np.testing.assert_allclose(found.singular_values, values, rtol=1e-12)
        np.testing.assert_allclose(found.left @ found.left.T, left @ left.T, atol=1e-12)
        np.testing.assert_allclose(found.right @ found.right.T, right @ right.T, atol=1e-12)
        assert found.discarded < 1e-12


def test_a_prescribed_rank_reports_what_it_discards():
    rng = np.random.default_rng(0)
    left, right = runs.semi_orthogonal(rng, 40, 40), runs.semi_orthogonal(rng, 40, 40)
    values = np.concatenate([[2.0, 1.0], np.full(38, 1e-9)])
    target = (left * values) @ right.T
    found = active_subspaces(runs.start_layers((40,) * 3, "orthogonal", runs.EPS), target, rank=2)
    assert found.dims == (4, 4, 4)
    assert float(found.discarded) == pytest.approx(1e-9 * np.sqrt(38), rel=1e-6)


LAYERS = runs.start_layers((12,) * 3, "orthogonal", (0.5, 0.5))
SLOPE = runs.semi_orthogonal(np.random.default_rng(1), 12, 12)


@pytest.mark.parametrize(
    ("weights", "target", "options", "message"),
    [
        (
            LAYERS,
            SLOPE @ np.diag(10.0 ** -np.arange(12)) @ SLOPE.T,
            {},
            r"must have a gap in its spectrum that determines its rank, but its singular values fall gradually: "
            r"1, 0\.1, 0\.01.*Give `rank=`",
        ),
        (
            [LAYERS[0], 0.0 * LAYERS[1]],
            np.eye(12, 12),
            {},
            r"must not hold a layer that is 0, but layer 2 is \(scale 0\)",
        ),
        (LAYERS, np.zeros((12, 12)), {}, "must not vanish"),
        (LAYERS, np.eye(12), {"rank": 13}, "`rank` must lie between 1 and 12.*but is 13"),
        (LAYERS, np.outer(SLOPE[0], SLOPE[1]), {"rank": 2}, "at most the rank 1 of the target, but is 2"),
        (LAYERS, np.eye(11), {}, r"must have the shape \(12, 12\) of the product, but has \(11, 11\)"),
        ([LAYERS[0], LAYERS[1][:, :5]], np.eye(12), {}, r"matrices W_l of shape.*but the shapes are"),
        ([], np.eye(12), {}, "non-empty sequence"),
        (LAYERS, np.full((12, 12), np.nan), {}, "must be finite, but 144 of 144"),
        (
            LAYERS,
            np.eye(12),
            {"covariance": np.triu(np.ones((12, 12)))},
            "symmetric matrix.*and is not symmetric",
        ),
        (
            LAYERS,
            np.eye(12),
            {"covariance": np.eye(3)},
            r"symmetric matrix of shape \(12, 12\), but has shape \(3, 3\)",
        ),
    ],
)
def test_bad_input_is_refused_with_its_number(weights, target, options, message):
    with pytest.raises(ValueError, match=message):
        active_subspaces(weights, target, **options)


def test_it_prints_itself():
    found = active_subspaces(LAYERS, np.outer(SLOPE[0], SLOPE[1]))
    assert repr(found) == "ActiveSubspaces(2-2-2 in 12-12-12, target of rank 1)"
    text = str(found)
    for word in ("12 -> 12 -> 12", "2 -> 2 -> 2", "8 of 288", "10 directions with input variance 1"):
        assert word in text
    assert "<table" in found._repr_html_()
