"""Two linear layers on whitened data against ball arithmetic, the layers' own flow, limits and saddles."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow
from systems.riccati import exact_gram

import dlntheory as dln
from dlntheory._errors import SaddleWarning
from dlntheory.solutions.limit_points import limit_point
from dlntheory.solutions.riccati_frame import eigensystem, generator
from dlntheory.solutions.riccati_solution import RiccatiSolution, riccati_gram
from dlntheory.solutions.scaled_range import scaled_range
from dlntheory.solutions.two_layer_modes import balanced_mode
from dlntheory.solutions.whitened_problem import WhitenedProblem

TIMES = np.array([0.0, 1.0, 10.0, 100.0, 1e5])
SHAPES = [(3, 3, 3), (4, 2, 3), (3, 5, 4)]
MORE_SHAPES = [(1, 1, 1), (2, 7, 2), (3, 2, 4), (5, 2, 3), (6, 1, 2), (8, 5, 6)]
over_times = jax.jit(jax.vmap(riccati_gram, (0, None, None, None)))


def target_of(shape, seed=0):
    inputs, _, outputs = shape
    return np.random.default_rng(seed).standard_normal((outputs, inputs))


def start_of(shape, lam, scale=1.0, seed=1):
    arch = dln.linear_network(shape)
    theta0 = dln.lambda_balanced(arch, jax.random.key(seed), lam, scale=scale)
    return np.concatenate([np.asarray(theta0["W1"]).T, np.asarray(theta0["W2"])])


def imbalances_possible(shape):
    inputs, hidden, outputs = shape
    return [0.0] + [0.7, 1e-10] * (hidden <= outputs) + [-0.6, -1e-10] * (hidden <= inputs)


def grams(target, stacked, lam):
    return np.asarray(over_times(TIMES, target, stacked, lam))


@pytest.mark.parametrize("shape", SHAPES + [pytest.param(s, marks=pytest.mark.slow) for s in MORE_SHAPES])
def test_it_agrees_with_ball_arithmetic_at_every_time_imbalance_and_size(shape):
    target = target_of(shape)
    for lam in imbalances_possible(shape):
        stacked = start_of(shape, lam)
        found = grams(target, stacked, lam)
        for t, gram in zip(TIMES[1:4], found[1:4], strict=True):
            exact = exact_gram(t, target, stacked, lam)
            # Where the mode has decayed the growing part is a difference of the start's entries, known to rounding.
            rounding = 1e-16 * np.max(stacked**2)
            assert np.max(np.abs(gram - exact)) < 2e-14 * np.max(np.abs(exact)) + rounding
        np.testing.assert_allclose(found[0], stacked @ stacked.T, atol=5e-15)
        f = np.asarray(generator(target, lam))
        assert np.max(np.abs(f @ found[4] + found[4] @ f - found[4] @ found[4])) < 5e-14 * np.linalg.norm(f)
    # From a tiny start every entry keeps its digits relative to the largest, at every stage of the rise.
    stacked = start_of(shape, 0.0, scale=1e-8)
    found = np.asarray(over_times(np.array([2.0, 6.0, 10.0, 20.0, 60.0]), target, stacked, 0.0))
    for t, gram in zip((2.0, 6.0, 10.0, 20.0, 60.0), found, strict=True):
        exact = exact_gram(t, target, stacked, 0.0)
        assert np.max(np.abs(gram - exact)) < 3e-14 * np.max(np.abs(exact))


@pytest.mark.slow
def test_repeated_and_missing_singular_values_and_empty_starts():
    shape = SHAPES[0]
    rng = np.random.default_rng(3)
    low_rank = rng.standard_normal((6, 1)) @ rng.standard_normal((1, 3))
    for target in (np.eye(3), np.diag([2.0, 1.0, 1.0]), np.diag([1.0, 0.0, 0.0]), np.zeros((3, 3))):
        for stacked in (start_of(shape, 0.0), low_rank, np.zeros((6, 3)), start_of(shape, 0.7)):
            lam = 0.7 if stacked is not low_rank and np.any(stacked) else 0.0
            found = grams(target, stacked, lam)
            assert np.all(np.isfinite(found))
            exact = exact_gram(1.0, target, stacked, lam)
            assert np.max(np.abs(found[1] - exact)) < 2e-14 * max(1.0, np.max(np.abs(exact)))
            assert np.max(np.abs(found[2] - exact_gram(10.0, target, stacked, lam))) < 1e-13
    assert np.all(grams(np.eye(3), np.zeros((6, 3)), 0.0) == 0)
    assert np.all(np.isnan(riccati_gram(-1.0, np.eye(3), np.zeros((6, 3)))))


def test_growth_of_a_thousand_decades_keeps_the_basis_orthonormal():
    z = np.random.default_rng(0).standard_normal((6, 3))
    scales = np.array([1e4, 9e3, 5.0, -3.0, -1e4, 0.0])
    first, second = jax.jit(scaled_range)(z, scales)
    whole = np.concatenate([first, second])
    np.testing.assert_allclose(whole.T @ whole, np.eye(3), atol=1e-15)
    # Two rows win; what is left lies along the one combination of columns that they do not see.
    rest = np.linalg.svd(z[:2])[2][2]
    y = z[[2, 3, 5]] @ rest * np.exp(scales[[2, 3, 5]])
    np.testing.assert_allclose(
        np.asarray(second @ second.T)[[2, 3, 5]][:, [2, 3, 5]], np.outer(y, y) / (1 + y @ y), atol=1e-14
    )


def test_eigensystem_is_that_of_the_generator():
    for target in (target_of((4, 2, 3)), np.zeros((3, 4)), np.ones((3, 4)), 1e-9 * target_of((4, 2, 3))):
        for lam in (0.0, 1e-10, -1e-10, 2.0, -2.0):
            values, vectors = (np.asarray(part) for part in eigensystem(target, lam, 0.3))
            f = np.asarray(generator(target, lam, 0.3))
            np.testing.assert_allclose(vectors.T @ vectors, np.eye(7), atol=3e-15)
            np.testing.assert_allclose(f @ vectors, vectors * values, atol=5e-15)


def richardson(function, step):
    return (8 * (function(step) - function(-step)) - (function(2 * step) - function(-2 * step))) / (12 * step)


@pytest.mark.slow
def test_derivatives_are_right_also_where_singular_values_meet_or_vanish():
    shape = SHAPES[0]
    rng = np.random.default_rng(5)
    weights, stacked, dt, dq = (rng.standard_normal(s) for s in ((6, 6), (6, 3), (3, 3), (6, 3)))

    def value(t, target, start, lam):
        return jnp.sum(weights * riccati_gram(t, target, start, lam))

    gradient, plain = jax.jit(jax.grad(value, argnums=(0, 1, 2, 3))), jax.jit(value)
    for target in (
        target_of(shape),
        np.eye(3),
        np.diag([2.0, 1.0, 1.0]),
        np.diag([1.0, 0, 0]),
        np.zeros((3, 3)),
    ):
        for lam, t in ((0.0, 0.7), (0.3, 4.0), (-0.3, 30.0), (0.0, 1e-6)):
            by_t, by_target, by_start, by_lam = gradient(t, target, stacked, lam)
            moves = [
                lambda e, t=t, target=target, lam=lam: plain(t + e, target, stacked, lam),
                lambda e, t=t, target=target, lam=lam: plain(t, target + e * dt, stacked, lam),
                lambda e, t=t, target=target, lam=lam: plain(t, target, stacked + e * dq, lam),
                lambda e, t=t, target=target, lam=lam: plain(t, target, stacked, lam + e),
            ]
            steps = [1e-3 * min(t, 1.0), 1e-4, 1e-4, 1e-4]
            expected = [float(richardson(move, step)) for move, step in zip(moves, steps, strict=True)]
            found = [by_t, np.sum(by_target * dt), np.sum(by_start * dq), by_lam]
            noise = 1e-9 if t > 1e-3 else 1e-5  # the difference quotient in time has no more digits there
            np.testing.assert_allclose(found[1:], expected[1:], rtol=1e-9, atol=1e-9)
            np.testing.assert_allclose(found[0], expected[0], rtol=noise, atol=noise)
    # At the start itself the derivative in time is the equation's right side.
    by_time = jax.jvp(lambda t: riccati_gram(t, np.eye(3), stacked), (0.0,), (1.0,))[1]
    f, gram = np.asarray(generator(np.eye(3), 0.0)), stacked @ stacked.T
    np.testing.assert_allclose(by_time, f @ gram + gram @ f - gram @ gram, atol=1e-13)


def test_vmap_over_targets():
    stacked = start_of(SHAPES[0], 0.0)
    targets = np.stack([target_of(SHAPES[0], seed) for seed in range(3)])
    found = jax.jit(jax.vmap(lambda s: riccati_gram(2.0, s, stacked)))(targets)
    for target, gram in zip(targets, found, strict=True):
        np.testing.assert_allclose(gram, exact_gram(2.0, target, stacked, 0.0), atol=1e-13)


def quadratic(target, curvature=1.0):
    return lambda z: curvature * (z - target)


@pytest.mark.parametrize(
    ("shape", "lam", "decay", "rates"),
    [((4, 2, 3), 0.7, 0.0, {}), ((3, 3, 3), 0.0, 0.3, {}), ((4, 2, 3), -0.4, 0.0, {"W1": 2.0, "W2": 0.3})],
)
def test_the_solution_of_a_loss_is_that_of_the_layers(shape, lam, decay, rates):
    arch = dln.linear_network(shape)
    inputs, _, outputs = shape
    # Mean over 8 samples with covariance k I, k = 0.5: every factor of the loss matters.
    rng = np.random.default_rng(2)
    x = np.linalg.qr(rng.standard_normal((8, inputs)))[0] * np.sqrt(8 * 0.5)
    target = rng.standard_normal((outputs, inputs))
    loss = dln.SquaredLoss(x, x @ target.T)
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), lam, scale=0.7)
    theta0 = {name: np.sqrt(rates.get(name, 1.0)) * np.asarray(leaf) for name, leaf in theta0.items()}
    training = dln.Training(loss, weight_decay=decay, rates=rates)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaddleWarning)
        solution = RiccatiSolution(arch, theta0, training)
    ts = np.array([0.0, 0.5, 1.5, 4.0])
    expected, final = chain_flow(
        list(theta0.values()),
        quadratic(target, 0.5),
        ts,
        decay=decay,
        rates=[rates.get(n, 1.0) for n in theta0],
    )
    np.testing.assert_allclose(solution.z(ts), expected, atol=1e-12)
    gram = np.asarray(solution.gram(ts))[-1]
    np.testing.assert_allclose(gram[:inputs, :inputs], final[0].T @ final[0], atol=1e-12)
    np.testing.assert_allclose(gram[inputs:, inputs:], final[1] @ final[1].T, atol=1e-12)
    # The tangent kernel from the layers' own derivatives.
    e1, e2 = (rates.get(name, 1.0) for name in theta0)
    by_first = np.einsum("oh,ij->oihj", final[1], np.eye(inputs)).reshape(outputs * inputs, -1)
    by_second = np.einsum("ab,hi->aibh", np.eye(outputs), final[0]).reshape(outputs * inputs, -1)
    kernel = e1 * by_first @ by_first.T + e2 * by_second @ by_second.T
    found = np.asarray(solution.kernel(ts))
    np.testing.assert_allclose(found[-1], kernel, atol=3e-12)
    moved = np.linalg.norm(found[-1] - found[0]) / np.linalg.norm(found[0])
    assert float(solution.kernel_movement(ts)[-1]) == pytest.approx(moved, rel=1e-12)
    cosine = np.sum(found[-1] * found[0]) / np.linalg.norm(found[-1]) / np.linalg.norm(found[0])
    assert float(solution.kernel_turn(ts)[-1]) == pytest.approx(1 - cosine, abs=1e-14)
    assert "1/2 * mean over n = 8" in str(solution)
    clock = 0.5 * np.prod([rates.get(name, 1.0) for name in theta0])
    assert WhitenedProblem.of(arch, training).speed == pytest.approx(clock, rel=1e-14)


def signed_start(arch, seed, sign, target):
    """A balanced start whose determinant has the sign of the target's, or the other."""
    theta0 = {
        name: np.array(leaf) for name, leaf in dln.balanced(arch, jax.random.key(seed), scale=0.7).items()
    }
    product = theta0["W2"] @ theta0["W1"]
    if np.linalg.det(product) * np.linalg.det(target) * sign < 0:
        theta0["W1"][:, 0] *= -1
        theta0["W1"] = np.asarray(theta0["W1"])
    return theta0


@pytest.mark.parametrize("hidden", [3, pytest.param(7, marks=pytest.mark.slow)])
def test_the_sign_of_the_determinant_decides_between_the_target_and_a_saddle(hidden):
    rng = np.random.default_rng(hidden)
    arch = dln.linear_network((3, hidden, 3))
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    target = left @ np.diag([2.0, 1.0, 0.5]) @ right
    loss = dln.SquaredLoss.from_target(target)
    ts = np.array([12.0, 24.0, 72.0, 84.0, 1e5])
    for seed in range(6):
        good = RiccatiSolution(arch, signed_start(arch, seed, 1, target), loss)
        assert not good.limit_point.is_saddle
        assert 1e-4 < good.limit_point.smallest < 1
        assert np.max(np.abs(np.asarray(good.z([200.0])[0]) - target)) < 1e-13
        with pytest.warns(
            SaddleWarning, match="singular values 0.5 of the target are never learned .* opposite"
        ):
            bad = RiccatiSolution(arch, signed_start(arch, seed, -1, target), loss)
        assert bad.limit_point.is_saddle
        assert bad.limit_point.smallest < 1e-14
        assert bad.limit_point.lost == pytest.approx((0.5,))
        assert bad.limit_point.determinants is not None
        assert np.prod(bad.limit_point.determinants) == -1
        assert bad.limit_point.escape == pytest.approx(np.log(2**52) / 0.5)
        z = np.asarray(bad.z(ts))
        losses = [float(loss(one)) for one in z]
        # Rounding would fit the last mode from t = 72 on; the solution stays at the saddle.
        np.testing.assert_allclose(losses[2:], 0.125, rtol=1e-13)
        assert abs(losses[1] - 0.125) < 1e-5
        assert 0.125 < losses[0] < 0.15
        raw = over_times(np.array([0.0, 1.0, 4.0, 8.0, 90.0]), target, bad.stacked, 0.0)[:, 3:, :3]
        assert float(loss(raw[-1])) < 0.01  # what rounding makes of the formula
        smallest = np.linalg.svd(z, compute_uv=False)[:, -1]
        assert smallest[0] < 2e-6
        assert np.max(smallest[2:]) < 1e-13
        early = np.array([0.0, 1.0, 4.0, 8.0, 90.0])
        np.testing.assert_allclose(bad.z(early)[:-1], raw[:-1], atol=2e-13)


def test_with_imbalance_the_determinant_may_change_its_sign():
    target = np.diag([2.0, 1.0, 0.5])
    arch = dln.linear_network((3, 3, 3))
    for seed in range(6):
        theta0 = dln.lambda_balanced(arch, jax.random.key(seed), 0.6)
        solution = RiccatiSolution(arch, theta0, dln.SquaredLoss.from_target(target))
        assert solution.limit_point.determinants is None
        assert np.max(np.abs(np.asarray(solution.z([80.0])[0]) - target)) < 1e-14


def test_limits_are_the_positive_part_or_the_best_fit_of_the_rank():
    rng = np.random.default_rng(9)
    for (inputs, hidden, outputs), lam in [
        ((3, 3, 3), 0.5),
        ((4, 2, 3), -0.4),
        ((4, 2, 3), 0.7),
        ((3, 5, 4), 0.0),
    ]:
        target = rng.standard_normal((outputs, inputs))
        stacked = start_of((inputs, hidden, outputs), lam)
        ending = limit_point(target, stacked, lam)
        assert not ending.is_saddle
        late = grams(target, stacked, lam)[-1]
        assert np.max(np.abs(late - ending.gram)) < 2e-14
        left, s, right = np.linalg.svd(target)
        fit = (left[:, : len(s)] * s)[:, :hidden] @ right[: len(s)][:hidden]
        np.testing.assert_allclose(ending.gram[inputs:, :inputs], fit, atol=2e-14)
        if hidden >= min(inputs, outputs):
            square = target.T @ target + lam**2 / 4 * np.eye(inputs)
            values, vectors = np.linalg.eigh(square)
            expected = (vectors * (np.sqrt(values) - lam / 2)) @ vectors.T
            if lam == 0.0 or hidden == inputs == outputs:
                np.testing.assert_allclose(ending.gram[:inputs, :inputs], expected, atol=3e-14)


def test_starts_that_cannot_learn_a_mode_are_named():
    target = np.diag([2.0, 1.0])
    zero = limit_point(target, np.zeros((4, 2)), 0.0)
    assert zero.is_saddle
    assert zero.lost == (2.0, 1.0)
    assert not np.any(zero.gram)
    one = np.array([[1.0, 0], [0, 0], [1.0, 0], [0, 0]])  # aligned with the first mode, nothing in the second
    ending = limit_point(target, one, 0.0)
    assert ending.lost == (1.0,)
    assert ending.smallest == 0.0
    assert "1 of the target" in str(ending)
    np.testing.assert_allclose(ending.gram[2:, :2], np.diag([2.0, 0.0]), atol=1e-15)
    # Weight decay above a singular value makes it unwanted: nothing is lost.
    assert not limit_point(target, one, 0.0, decay=1.5).is_saddle
    assert not limit_point(np.zeros((2, 2)), np.ones((4, 2)), 0.0).is_saddle


def test_the_kernel_moves_as_the_inverse_square_of_the_imbalance():
    rng = np.random.default_rng(4)
    target = rng.standard_normal((3, 3))
    loss = dln.SquaredLoss.from_target(target / np.linalg.norm(target))
    arch = dln.linear_network((3, 3, 3))
    moved = {}
    for lam in (10.0, 30.0, 100.0, -100.0):
        # Singular values of the lighter layer negligible, so that the product starts near 0.
        theta0 = dln.lambda_balanced(arch, jax.random.key(0), lam, scale=1e-6)
        solution = RiccatiSolution(arch, theta0, loss)
        moved[lam] = lam**2 * float(solution.kernel_movement())
        assert float(solution.kernel_movement([1e4])[0]) * lam**2 == pytest.approx(moved[lam], rel=1e-9)
        if abs(lam) == 100.0:
            assert 1e-10 < float(solution.kernel_turn()) < 1e-8
    assert moved[100.0] == pytest.approx(moved[-100.0], rel=1e-3)
    assert moved[30.0] == pytest.approx(moved[100.0], rel=2e-3)
    assert moved[10.0] == pytest.approx(moved[100.0], rel=2e-2)
    assert 0.5 < moved[100.0] < 1.0


def test_off_balance_it_refuses_with_an_honest_error_estimate():
    arch = dln.linear_network((3, 3, 3))
    target = target_of((3, 3, 3))
    loss = dln.SquaredLoss.from_target(target)
    base = {
        name: np.asarray(leaf) for name, leaf in dln.lambda_balanced(arch, jax.random.key(1), 0.4).items()
    }
    shift = np.random.default_rng(0).standard_normal((3, 3))
    for size in (3e-7, 5e-4, 5e-2):
        theta0 = {**base, "W1": base["W1"] + size * shift}
        with pytest.raises(
            dln.ConditionError, match=r"(?s)off by .* `GramFlow`.* expect an absolute error"
        ) as refused:
            RiccatiSolution(arch, theta0, loss)
        stacked = np.concatenate([theta0["W1"].T, theta0["W2"]])
        imbalance = theta0["W2"].T @ theta0["W2"] - theta0["W1"] @ theta0["W1"].T
        lam = np.trace(imbalance) / 3
        assert refused.value.measured == pytest.approx(np.linalg.norm(imbalance - lam * np.eye(3)))
        expected, _ = chain_flow([theta0["W1"], theta0["W2"]], quadratic(target), np.array([0.0, 2.0]))
        error = np.linalg.norm(np.asarray(riccati_gram(2.0, target, stacked, lam))[3:, :3] - expected[-1])
        assert 0.05 < error / (refused.value.expected_error or np.nan) < 5


def test_bad_input_is_refused_with_a_reason():
    arch = dln.linear_network((3, 2, 3))
    loss = dln.SquaredLoss.from_target(np.eye(3))
    balanced = dln.balanced(arch, jax.random.key(0))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaddleWarning)
        solution = RiccatiSolution(arch, balanced, loss)
    uneven = dln.SquaredLoss(np.diag([1.0, 1.0, 2.0]), np.eye(3))
    lopsided = dln.lambda_balanced(arch, jax.random.key(0), 0.5)
    for call, kind, words in [
        (lambda: solution.z([-1.0]), ValueError, "`ts` must be at least 0, but its smallest value is -1"),
        (lambda: solution.z(1.0), ValueError, "one-dimensional"),
        (lambda: RiccatiSolution(arch, balanced, uneven), dln.ConditionError, r"\|Sxx - k I\| = 0.667"),
        (
            lambda: RiccatiSolution(arch, lopsided, dln.Training(loss, weight_decay=0.1)),
            dln.ConditionError,
            r"imbalance 0 .* weight decay, but has lambda = 0.5: it decays",
        ),
        (
            lambda: RiccatiSolution(dln.linear_network((3, 2, 2, 3)), {}, loss),
            ValueError,
            "exactly 2 layers",
        ),
        (lambda: RiccatiSolution(arch, balanced, jnp.sum), ValueError, "must be a `SquaredLoss`"),
        (
            lambda: RiccatiSolution(arch, {**balanced, "W1": np.full((2, 3), np.nan)}, loss),
            ValueError,
            "W1",
        ),
        (lambda: RiccatiSolution(arch, {"W1": balanced["W1"]}, loss), ValueError, "W2"),
        (
            lambda: dln.lambda_balanced(dln.linear_network((3, 5, 4)), jax.random.key(0), 0.5),
            dln.InfeasibleError,
            "5",
        ),
        (lambda: dln.linear_network((3, 0, 3)), ValueError, "positive integer"),
        (
            lambda: RiccatiSolution(
                arch, dln.balanced(arch, jax.random.key(0), product=0 * np.eye(3)), loss
            ).kernel_movement(),
            ValueError,
            "must not be 0 for the movement",
        ),
    ]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", SaddleWarning)
            with pytest.raises(kind, match=words):
                call()


@pytest.mark.slow
def test_compare_takes_a_closed_form():
    arch = dln.linear_network((3, 3, 3))
    loss = dln.SquaredLoss.from_target(target_of((3, 3, 3)))
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), 0.5)
    solution = RiccatiSolution(arch, theta0, loss)
    flow = dln.GradientFlow(arch, loss)
    both = dln.compare(flow, solution, theta0, 3.0, ts=8)
    assert both.max_error < 1e-10
    assert both.speedup > 0
    assert not both.reduced.stats.compiled
    assert both.reduced.stats.counts == {"evaluations": 8}
    assert "closed form" in str(both.reduced)
    assert "Q_0" in both.statement
    assert "Braun" in str(both)
    other = {**theta0, "W1": theta0["W1"] + 1e-6}
    with pytest.raises(
        ValueError, match=r"must be the start of the Riccati solution, but W1 differs from it by 1e-06"
    ):
        dln.compare(flow, solution, other, 3.0)
    with pytest.raises(ValueError, match="must train with the loss"):
        dln.compare(dln.GradientFlow(arch, loss, rates={"W1": 2.0}), solution, theta0, 3.0)


@pytest.mark.slow
def test_width_beyond_both_ends_costs_nothing_and_changes_nothing():
    arch = dln.linear_network((1, 40, 1))
    theta0 = dln.balanced(arch, jax.random.key(0), scale=0.3)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", SaddleWarning)
        solution = RiccatiSolution(arch, theta0, dln.SquaredLoss.from_target([[2.0]]))
    assert solution.stacked.shape == (2, 2)
    w = float(arch(theta0)[0, 0])
    ts = np.array([0.0, 0.5, 1.0, 5.0])
    expected = np.sign(w) * balanced_mode(ts, 2.0 * np.sign(w), abs(w))
    np.testing.assert_allclose(solution.z(ts)[:, 0, 0], expected, rtol=1e-12)


def test_it_reads():
    arch = dln.linear_network((1, 1, 1))
    loss = dln.SquaredLoss.from_target([[2.0]])
    solution = RiccatiSolution(arch, {"W1": np.ones((1, 1)), "W2": np.ones((1, 1))}, loss)
    assert repr(solution) == f"RiccatiSolution({arch.name})"
    assert "converges to the best fit" in str(solution)
    assert "Q_0" in solution._repr_latex_()
    assert float(solution.z([1e6])[0, 0, 0]) == pytest.approx(2.0, rel=1e-15)
    assert "verdict" in str(solution.limit_point)


@pytest.mark.parametrize("small", [1e-13, 1e-20])
def test_a_small_component_is_no_saddle(small):
    """Two modes of their own: s' = 2 s (sigma - s) from small^2 for the weaker one."""
    arch = dln.linear_network((2, 2, 2))
    layer = np.diag([1.0, small])
    solution = RiccatiSolution(
        arch, {"W1": layer, "W2": layer}, dln.SquaredLoss.from_target(np.diag([2.0, 1.0]))
    )
    grown = small**2 * np.exp(2 * 35.0)
    assert not solution.limit_point.is_saddle
    assert solution.z([35.0])[0, 1, 1] == pytest.approx(grown / (1 + grown), rel=1e-12)
