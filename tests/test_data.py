"""Data sets: the promised moments, spectra and teachers, and their own error messages."""

import dataclasses
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from dlntheory._errors import PrecisionError
from dlntheory.data import (
    Dataset,
    diabetes,
    digits,
    iris,
    linear_teacher,
    low_rank_target,
    power_law,
    whitened_gaussian,
    wine,
)

KEY = jax.random.key(7)


@pytest.fixture(scope="module")
def noisy():
    return linear_teacher(KEY, samples=50, inputs=6, outputs=4, noise=0.1)


def test_dataset_holds_read_only_copies_in_float64():
    source = np.arange(6).reshape(3, 2)
    data = Dataset(source, [1, 0, 1], name="x")
    source[0, 0] = 99
    assert data.inputs[0, 0] == 0
    assert data.inputs.dtype == data.targets.dtype == np.float64
    assert (data.targets.shape, len(data), repr(data)) == (
        (3, 1),
        3,
        "Dataset(x: 3 samples, 2 inputs, 1 target)",
    )
    with pytest.raises(ValueError, match="read-only"):
        data.inputs[0, 0] = 1.0
    with pytest.raises(dataclasses.FrozenInstanceError):
        data.name = "y"  # pyright: ignore[reportAttributeAccessIssue]


def test_moments_are_naive_sums(noisy):
    x, y = noisy.inputs, noisy.targets
    np.testing.assert_allclose(noisy.covariance, sum(np.outer(a, a) for a in x) / 50, rtol=0, atol=1e-14)
    np.testing.assert_allclose(
        noisy.correlation, sum(np.outer(b, a) for a, b in zip(x, y, strict=True)) / 50, rtol=0, atol=1e-14
    )


def test_whitened_inputs_and_teacher(noisy):
    white = noisy.whitened()
    np.testing.assert_allclose(white.covariance, np.eye(6), rtol=0, atol=1e-14)
    root = np.real(scipy.linalg.sqrtm(noisy.covariance))
    np.testing.assert_allclose(white.inputs @ root, noisy.inputs, rtol=0, atol=1e-13)
    np.testing.assert_allclose(
        white.inputs @ white.teacher.T, noisy.inputs @ noisy.teacher.T, rtol=0, atol=1e-13
    )
    np.testing.assert_array_equal(white.targets, noisy.targets)
    assert white.name == "linear teacher of rank 4, whitened"


def test_whitened_data_and_whitened_loss_agree(noisy):
    z = jnp.asarray(np.cos(np.arange(24.0)).reshape(4, 6))
    pairs = [
        (noisy.whitened().loss(reduction=r), noisy.loss(reduction=r, whitened=True)) for r in ("mean", "sum")
    ]
    for explicit, implicit in pairs:
        assert float(explicit(z)) == pytest.approx(float(implicit(z)), rel=1e-13)
        np.testing.assert_allclose(explicit.correlation, implicit.correlation, rtol=0, atol=1e-12)


def test_centred_and_standardised(noisy):
    columns = np.concatenate([noisy.inputs + 3.0, np.full((50, 1), 0.1)], axis=1)
    data = Dataset(columns, noisy.targets, teacher=np.ones((4, 7)))
    for result in (data.centred(), data.standardised()):
        np.testing.assert_allclose(result.inputs.mean(axis=0), 0, atol=1e-14)
        np.testing.assert_array_equal(result.targets, data.targets)
        assert result.teacher is None
    np.testing.assert_array_equal(data.standardised().inputs[:, 6], 0.0)
    np.testing.assert_allclose(np.std(data.standardised().inputs[:, :6], axis=0), 1, rtol=1e-14)
    both = data.centred(targets=True)
    np.testing.assert_allclose(both.targets.mean(axis=0), 0, atol=1e-14)
    np.testing.assert_array_equal(both.teacher, data.teacher)
    np.testing.assert_allclose(data.standardised(targets=True).targets.std(axis=0), 1, rtol=1e-14)


def test_subset_keeps_rows_name_and_teacher(noisy):
    np.testing.assert_array_equal(noisy.subset(7).inputs, noisy.inputs[:7])
    chosen = noisy.subset([3, 1, 3])
    np.testing.assert_array_equal(chosen.targets, noisy.targets[[3, 1, 3]])
    assert chosen.teacher is not None
    assert chosen.name == noisy.name


def test_digits_are_the_published_set():
    data = digits()
    assert data.inputs.shape == (1797, 64)
    assert data.targets.shape == (1797, 10)
    assert (data.inputs.min(), data.inputs.max()) == (0.0, 1.0)
    np.testing.assert_array_equal(
        data.targets.sum(axis=0), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    )
    with pytest.raises(ValueError, match=r"full rank 64 to be whitened, but its rank is 61"):
        data.whitened()
    with pytest.raises(ValueError, match=r"rank is 61 \(condition number .*, 1797 samples\)"):
        data.loss(whitened=True)
    np.testing.assert_allclose(digits(centred=True).inputs.mean(axis=0), 0, atol=1e-15)


def test_digits_loss_equals_the_sum_over_samples():
    data = digits()
    z = np.random.default_rng(0).standard_normal((10, 64))
    residual = data.inputs @ z.T - data.targets
    loss = data.loss()
    value, gradient = jax.value_and_grad(loss)(jnp.asarray(z))
    assert float(value) == pytest.approx(0.5 * np.mean(np.sum(residual**2, axis=1)), rel=1e-13)
    expected = residual.T @ data.inputs / 1797
    assert np.max(np.abs(gradient - expected)) < 1e-13 * np.max(np.abs(expected))
    solution, *_ = scipy.linalg.lstsq(data.inputs, data.targets)
    assert np.max(np.abs(np.asarray(loss.minimiser()) - solution.T)) < 1e-11 * np.max(np.abs(solution))


def test_digits_of_some_classes():
    pair, reverse, three = digits(classes=(3, 8)), digits(classes=(8, 3)), digits(classes=(2, 0, 9))
    assert (pair.targets.shape, pair.targets.sum(), reverse.targets.sum()) == ((357, 1), 183 - 174, 174 - 183)
    assert set(np.unique(pair.targets)) == {-1.0, 1.0}
    np.testing.assert_array_equal(three.targets.sum(axis=0), [177, 178, 180])
    assert three.name == "digits 2, 0, 9"


def test_diabetes_iris_wine():
    data = diabetes()
    for columns in (data.inputs, data.targets):
        np.testing.assert_allclose(columns.mean(axis=0), 0, atol=1e-14)
        np.testing.assert_allclose(columns.std(axis=0), 1, rtol=1e-14)
    # The published coefficient of determination of ordinary least squares on all ten columns is 0.5177.
    assert 1 - 2 * float(data.loss().minimum) == pytest.approx(0.51775, abs=1e-5)
    assert iris().targets.sum(axis=0).tolist() == [50, 50, 50]
    assert wine().targets.sum(axis=0).tolist() == [59, 71, 48]


def test_missing_scikit_learn_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "sklearn", None)
    with pytest.raises(ImportError, match=r"`digits` reads .* pip install 'dlntheory\[data\]'"):
        digits()


def test_import_loads_nothing_heavy():
    code = (
        "import sys, jax\n"
        "import dlntheory.losses, dlntheory.data, dlntheory.initial, dlntheory.laws.balancedness\n"
        "heavy = {'sklearn', 'matplotlib', 'xarray', 'scipy.integrate'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
        "assert not jax.live_arrays()\n"
        "assert not jax.config.jax_enable_x64\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_linear_teacher_has_the_promised_rank_and_noise():
    clean = linear_teacher(KEY, samples=50, inputs=6, outputs=4, rank=2)
    assert np.linalg.matrix_rank(clean.teacher) == 2
    np.testing.assert_allclose(clean.targets, clean.inputs @ clean.teacher.T, rtol=0, atol=1e-14)
    np.testing.assert_allclose(clean.loss().minimiser(), clean.teacher, rtol=0, atol=1e-13)
    noisy = linear_teacher(KEY, samples=50, inputs=6, outputs=4, rank=2, noise=0.3)
    np.testing.assert_array_equal(noisy.inputs, clean.inputs)
    assert np.std(noisy.targets - clean.targets) == pytest.approx(0.3, rel=0.15)
    again = linear_teacher(KEY, samples=50, inputs=6, outputs=4, rank=2)
    np.testing.assert_array_equal(again.targets, clean.targets)


@pytest.mark.parametrize("rank", [None, 5])
def test_linear_teacher_has_targets_of_variance_one(rank):
    teacher = linear_teacher(KEY, samples=1, inputs=60, outputs=80, rank=rank).teacher
    assert 60 * np.mean(teacher**2) == pytest.approx(1.0, rel=0.05 if rank is None else 0.35)


def test_low_rank_target_has_exactly_these_singular_values():
    for shape, values in (((3, 5), [1.0, 3.0, 1e-8]), ((5, 3), [2.0, 2.0, 0.0]), ((1, 1), 2.0)):
        found = scipy.linalg.svdvals(low_rank_target(KEY, shape, values))
        expected = np.zeros(min(shape))
        expected[: np.size(values)] = np.sort(np.ravel(values))[::-1]
        np.testing.assert_allclose(found, expected, rtol=0, atol=5e-15)


def test_low_rank_target_is_haar():
    draws = [low_rank_target(key, (2, 2), [1.0, 0.0]) for key in jax.random.split(KEY, 60)]
    angles = [np.arctan2(m[0] @ m[0], m[1] @ m[1]) for m in draws]
    assert 0.6 < np.mean(angles) < 0.97
    # Both signs of the first left singular vector and all angles of it: (cos t, sin t) up to sign, t uniform.
    first = np.array([np.linalg.svd(m)[0][:, 0] for m in draws])
    uniform = np.mod(np.arctan2(first[:, 1], first[:, 0]), np.pi) / np.pi
    assert scipy.stats.kstest(uniform, "uniform").pvalue > 1e-3


def test_whitened_gaussian_is_white_also_when_square():
    for samples in (4, 30):
        x = whitened_gaussian(KEY, samples, 4)
        np.testing.assert_allclose(x.T @ x / samples, np.eye(4), rtol=0, atol=5e-15)


def test_power_law_spectrum_and_source():
    data = power_law(KEY, samples=4000, dimension=20, exponent=1.5, source=0.5, noise=0.2)
    k = np.arange(1.0, 21.0)
    np.testing.assert_allclose(k**-1.5 * data.teacher[0] ** 2, k ** (-1.5 * 0.5 - 1), rtol=1e-13)
    assert set(np.sign(data.teacher[0])) == {-1.0, 1.0}
    slope = np.polyfit(np.log(k), np.log(np.diag(data.covariance)), 1)[0]
    assert slope == pytest.approx(-1.5, abs=0.05)
    assert np.std(data.targets - data.inputs @ data.teacher.T) == pytest.approx(0.2, rel=0.05)


DATA = Dataset(np.arange(6.0).reshape(3, 2), np.ones(3))
REFUSALS = [
    (lambda: Dataset(np.ones((3, 2)), np.ones(2)), r"`targets` must have one row per row .*\(3\), but has 2"),
    (lambda: Dataset([[np.nan]], [1.0]), r"`inputs` must be finite, but 1 of 1 entries are not"),
    (lambda: Dataset(np.ones((3, 2)), np.ones(3), teacher=np.ones(3)), r"`teacher` must have shape \(1, 2\)"),
    (lambda: DATA.subset(4), r"between 1 and 3 samples, but is 4"),
    (lambda: DATA.subset(0), r"between 1 and 3 samples, but is 0"),
    (lambda: DATA.subset([0, 3]), r"indices between 0 and 2, but reaches from 0 to 3"),
    (lambda: DATA.subset([-1]), r"indices between 0 and 2, but reaches from -1 to -1"),
    (lambda: DATA.subset([]), r"vector of integer indices, but is an array of shape \(0,\)"),
    (lambda: DATA.subset(0.5), r"vector of integer indices"),
    (lambda: Dataset([[1.0, 1.0], [2.0, 2.0]], [1.0, 2.0]).whitened(), r"full rank 2 .* its rank is 1"),
    (lambda: digits(classes=(3,)), r"two or more different digits, but is \(3,\)"),
    (lambda: digits(classes=(3, 3)), r"two or more different digits"),
    (lambda: digits(classes=(3, 10)), r"two or more different digits"),
    (lambda: linear_teacher(0, 2, 2, 2), r"`key` must be one key made by jax.random.key\(seed\), but is 0"),
    (
        lambda: linear_teacher(jax.random.PRNGKey(0), 2, 2, 2),
        r"but is an array of shape \(2,\), dtype uint32",
    ),
    (lambda: linear_teacher(jax.random.split(KEY), 2, 2, 2), r"`key` must be one key"),
    (lambda: linear_teacher(KEY, 2, 2, 0), r"`outputs` must be a positive integer, but is 0"),
    (
        lambda: linear_teacher(KEY, 2, 2, 3, rank=3),
        r"`rank` must be a positive integer and at most 2, but is 3",
    ),
    (lambda: linear_teacher(KEY, 2, 2, 3, noise=-1.0), r"`noise` must be a finite number of at least 0"),
    (lambda: low_rank_target(KEY, (2, 3), [1, 1, 1]), r"at most 2 numbers of at least 0 for shape \(2, 3\)"),
    (lambda: low_rank_target(KEY, (2, 3), [-1.0]), r"the least being -1"),
    (
        lambda: low_rank_target(KEY, (2,), [1.0]),
        r"`shape` must be at least two positive integers, outputs first, but is \(2,\)",
    ),
    (lambda: whitened_gaussian(KEY, 3, 4), r"`samples` must be at least `dimension` \(4\) .* but is 3"),
    (lambda: power_law(KEY, 3, 4, 0.0), r"`exponent` must be a finite positive number, but is 0"),
    (lambda: power_law(KEY, 3, 4, 1.0, source=-1.0), r"`source` must be a finite positive number"),
]


@pytest.mark.parametrize(("call", "message"), REFUSALS)
def test_refusals(call, message):
    with pytest.raises(ValueError, match=message):
        call()


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        for call in (
            lambda: linear_teacher(KEY, 2, 2, 2),
            lambda: low_rank_target(KEY, (2, 2), [1.0]),
            lambda: whitened_gaussian(KEY, 3, 2),
            lambda: power_law(KEY, 3, 2, 1.0),
            lambda: DATA.loss(),
        ):
            with pytest.raises(PrecisionError, match="needs float64"):
                call()
    finally:
        jax.config.update("jax_enable_x64", True)
