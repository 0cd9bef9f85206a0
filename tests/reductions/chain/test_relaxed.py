"""`RelaxedBalancedFlow`: against the full flow by SciPy at many widths and λ, null blocks, refusals, rank drops."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh
from systems.velocities import scipy_run

import dlntheory as dln
from dlntheory.initial import project_to_relaxed_balanced
from dlntheory.reductions.chain.null_values import merged_offsets, null_spread, null_values, product_rank
from dlntheory.reductions.chain.relaxed import DROP, RelaxedBalancedFlow


def problem(widths, size=1.5):
    arch = dln.linear_network(widths)
    return arch, *log_cosh(size * np.random.default_rng(3).standard_normal(arch.output_shape))


def error(left, right):
    return np.max(np.abs(left - right)) / np.max(np.abs(right))


# widths, λ, whether the equation is confined to full rank, whether det z changes its sign on the way
CASES = [
    ((3, 3, 3), [0.9], False, True),  # r = n = m
    ((4, 2, 3), [0.7], True, False),  # rank stratum, n > r
    ((4, 2, 3), [-0.7], True, False),
    ((2, 2, 2, 2), [0.5, -0.2], False, False),
]
SLOW_CASES = [
    ((2, 3, 3), [0.7], False, False),  # r = n > m
    ((1, 2, 2, 3), [0.3, -0.3], False, False),  # hidden wider than one end
    ((2, 2, 2, 3), [0.3, 0.4], True, False),
    ((3, 2, 2, 2), [0.3, 0.4], False, False),
    ((2, 3, 3, 3), [0.3, -0.3], False, False),  # wider than the input
    ((2, 4, 4, 2), [0.0, 0.0], False, False),  # balanced, wider than both ends
    ((4, 2, 3), [0.0], False, False),  # balanced bottleneck
    ((3, 3, 3, 3, 3), [0.5, -1.25, 0.25], False, False),
    ((2, 2, 2, 2, 2, 2), [-0.3, 0.5, 0.4, -0.2], False, False),  # five layers
    ((2, 3, 3, 3, 3, 2), [0.1, 0.2, 0.0, -0.3], False, False),  # sums that cancel, five layers
    ((3, 4, 3, 2), [0.0, -0.6], False, False),  # unequal hidden widths, λ forced to 0
    ((2, 3, 2, 3), [0.0, 0.5], True, False),  # unequal hidden widths, bottleneck
]
PARAMETERS = [*CASES, *(pytest.param(*case, marks=pytest.mark.slow) for case in SLOW_CASES)]


@pytest.mark.parametrize(("widths", "lam", "is_stratum", "crosses"), PARAMETERS)
def test_reduced_equals_full(widths, lam, is_stratum, crosses):
    arch, loss, gradient = problem(widths)
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), lam)
    flow = RelaxedBalancedFlow.from_start(arch, theta0, loss)
    np.testing.assert_allclose(flow.lambdas, lam, atol=1e-13)
    assert flow.is_stratum == is_stratum
    assert bool(flow.limits()) == is_stratum
    ts = np.linspace(0.0, 2.0, 5)
    reference, _ = chain_flow([np.asarray(theta0[n]) for n in arch.chain], gradient, ts)
    # Both runs carry a relative error of 1e-12 a step, which depth amplifies.
    assert error(scipy_run(flow, theta0, ts, rtol=1e-12), reference) < (8e-9 if len(widths) > 5 else 2e-10)
    if crosses:
        assert len(set(np.sign(np.linalg.det(reference)))) == 2


@pytest.mark.slow
def test_a_lower_rank_is_conserved_if_the_smallest_offset_is_repeated():
    arch, loss, gradient = problem((3, 3, 3, 3))
    start = dln.balanced(arch, jax.random.key(2), product=np.diag([1.0, 0.4, 0.0]))
    theta0 = project_to_relaxed_balanced(arch, start, [0.5, -0.5])
    flow = RelaxedBalancedFlow.from_start(arch, theta0, loss)
    assert int(flow.rank) == 2
    ts = np.linspace(0.0, 2.0, 5)
    reference, _ = chain_flow([np.asarray(theta0[n]) for n in arch.chain], gradient, ts)
    reduced = scipy_run(flow, theta0, ts)
    assert error(reduced, reference) < 1e-10
    assert np.max(np.linalg.svd(reduced, compute_uv=False)[:, 2]) < 1e-12
    with pytest.raises(dln.ConditionError, match=r"z has rank 3.*rank 2.*RelaxedBalancedFlow\.from_start"):
        RelaxedBalancedFlow(arch, loss, lambdas=[0.5, -0.5]).check_start(theta0)
    zero = {name: np.zeros(shape) for name, shape in arch.shapes.items()}
    with pytest.raises(dln.ConditionError, match="nothing moves"):
        RelaxedBalancedFlow.from_start(arch, zero)


@pytest.mark.slow
def test_rates_by_rescaling_and_solve_and_compare():
    arch, loss, gradient = problem((3, 3, 3, 3))
    rates = {"W1": 2.0, "W2": 0.5, "W3": 0.7}
    even = dln.lambda_balanced(arch, jax.random.key(1), [0.5, -0.2])
    theta0 = {name: np.sqrt(rates[name]) * np.asarray(w) for name, w in even.items()}
    flow = dln.GradientFlow(arch, loss, rates=rates)
    bound = RelaxedBalancedFlow(arch, lambdas=[0.5, -0.2])
    with pytest.raises(dln.ConditionError, match=r"\|D_1 - 0\.5 I\| = "):
        bound.check_start(theta0)
    both = dln.compare(flow, bound, theta0, 2.0, ts=4, timing=False, rtol=1e-11)
    assert both.max_error < 2e-10
    assert np.allclose(RelaxedBalancedFlow.from_start(arch, theta0, loss, rates=rates).lambdas, [0.5, -0.2])
    ts = both.full.ts
    reference, _ = chain_flow([theta0[n] for n in arch.chain], gradient, ts, rates=list(rates.values()))
    assert error(both.reduced.z, reference) < 2e-10
    # One rate for all is a change of the unit of time and of λ.
    assert "Marcotte" in str(both)


@pytest.mark.slow
def test_small_lambda_tends_to_balanced_and_large_lambda_to_lazy():
    arch, loss, _ = problem((3, 3, 3))
    z = np.random.default_rng(0).standard_normal((3, 3))
    balanced = dln.BalancedFlow(arch, loss).velocity(0.0, {"z": z})["z"]
    errors = [
        np.max(np.abs(RelaxedBalancedFlow(arch, loss, lambdas=lam).velocity(0.0, {"z": z})["z"] - balanced))
        for lam in (1e-2, 1e-3)
    ]
    assert errors[1] < errors[0] / 20
    gradient = np.asarray(jax.grad(loss)(jnp.asarray(z)))
    lazy = RelaxedBalancedFlow(arch, loss, lambdas=1e5).velocity(0.0, {"z": z})["z"]
    assert np.max(np.abs(np.asarray(lazy) / 1e5 + gradient)) < 1e-8


@pytest.mark.slow
def test_a_wrong_lambda_gives_an_error_of_first_order():
    arch, loss, gradient = problem((2, 2, 2, 2))
    theta0 = dln.lambda_balanced(arch, jax.random.key(1), [0.5, -0.2])
    ts = np.linspace(0.0, 2.0, 5)
    reference, _ = chain_flow([np.asarray(theta0[n]) for n in arch.chain], gradient, ts)
    off = []
    for delta in (1e-2, 1e-3):
        flow = RelaxedBalancedFlow(arch, loss, lambdas=[0.5 + delta, -0.2])
        condition = flow.condition(arch.check(theta0))
        assert condition.measured == pytest.approx(np.sqrt(2) * delta, rel=1e-6)
        run = dln.solve(flow, theta0, 2.0, ts=ts, check=False, rtol=1e-10)
        off.append(np.max(np.linalg.norm(run.z - reference, axis=(1, 2))))
        assert condition.expected_error / 10 < off[-1] < 10 * condition.expected_error
    assert 0.9 < np.log10(off[0] / off[1]) < 1.1
    with pytest.raises(
        dln.ConditionError, match=r"(?s)\|D_1 - 0\.501 I\| = 0\.0014, .*expect an absolute error"
    ):
        flow.check_start(theta0)


COUNTEREXAMPLES = [
    ((1, 2, 2, 3), [0.3, 0.4], False),
    ((1, 2, 2, 3), [0.3, -0.3], True),
    ((2, 2, 2, 3), [0.3, 0.4], True),
    ((3, 2, 2, 2), [0.3, 0.4], True),
    ((3, 2, 2, 2), [-0.3, -0.4], True),
    ((3, 2, 2, 1), [-0.3, -0.4], False),
    ((1, 2, 3), [0.7], False),  # n = 3, m = 1, r = 2
    ((3, 2, 1), [-0.7], False),
    ((2, 2, 3), [0.7], True),
    ((2, 3, 4), [0.7], False),  # m < r < n
    ((2, 3, 3), [0.7], True),  # m < r = n
]


@pytest.mark.parametrize(("widths", "lam", "accepted"), COUNTEREXAMPLES)
def test_null_blocks_decide_at_run_time(widths, lam, accepted):
    arch = dln.linear_network(widths)
    theta0 = dln.lambda_balanced(arch, jax.random.key(4), lam)
    flow = RelaxedBalancedFlow.from_start(arch, theta0)
    if accepted:
        assert flow.condition(theta0).holds
        return
    with pytest.raises(dln.ConditionError, match="multiple of the identity on the null spaces") as caught:
        flow.check_start(theta0)
    assert caught.value.measured > 0.05
    assert "GramFlow" in str(caught.value)
    # The metric at this z is really not unique: another start with the same z and the same D has another one.
    here = metric(theta0)
    others = [turned(arch, theta0, seed) for seed in range(4)]
    for other in others:
        np.testing.assert_allclose(arch(other), arch(theta0), atol=1e-14)
        assert RelaxedBalancedFlow.from_start(arch, other).lambdas == pytest.approx(lam, abs=1e-13)
    assert max(np.linalg.norm(here - metric(other)) for other in others) > 0.05 * np.linalg.norm(here)


def metric(theta0):
    layers = [np.asarray(w) for w in theta0.values()]
    total = 0.0
    for l in range(len(layers)):
        above = (
            np.linalg.multi_dot([*layers[:l:-1], np.eye(layers[l].shape[0])]) if l + 1 < len(layers) else None
        )
        above = np.eye(layers[-1].shape[0]) if above is None else above
        below = np.eye(layers[0].shape[1])
        for w in layers[:l]:
            below = w @ below
        total = total + np.kron(above @ above.T, below.T @ below)
    return total


def turned(arch, theta0, seed):
    """The same z and imbalances: the last (first) layer turned on the null space of z^T (of z)."""
    layers = {name: np.asarray(w) for name, w in theta0.items()}
    u, s, vt = np.linalg.svd(np.asarray(arch(theta0)))
    rank = int(np.sum(s > 1e-10))
    rng = np.random.default_rng(seed)
    first, last = arch.chain[0], arch.chain[-1]

    def turn(basis):
        null = basis[:, rank:]
        if null.shape[1] == 0:
            return np.eye(len(basis))
        q = np.linalg.qr(rng.standard_normal((null.shape[1],) * 2))[0]
        return np.eye(len(basis)) + null @ (q - np.eye(len(q))) @ null.T

    layers[last] = turn(u) @ layers[last]
    layers[first] = layers[first] @ turn(vt.T)
    return layers


def test_null_values_are_those_of_actual_weights():
    for widths, lam in [
        ((4, 2, 3), [0.7]),
        ((3, 2, 2, 2), [0.3, 0.4]),
        ((2, 3, 2, 3), [0.0, 0.5]),
        ((2, 3, 3), [0.7]),
    ]:
        arch = dln.linear_network(widths)
        layers = [np.asarray(w) for w in dln.lambda_balanced(arch, jax.random.key(6), lam).values()]
        found = null_values(widths, np.array(lam))
        z = np.linalg.multi_dot(layers[::-1])
        u, _, vt = np.linalg.svd(z)
        rank = min(widths)
        for l in range(1, len(widths)):
            above, below = np.eye(widths[-1]), np.eye(widths[0])
            for w in layers[: l - 1]:
                below = w @ below
            for w in reversed(layers[l:]):
                above = above @ w
            left = np.diag(u[:, rank:].T @ above @ above.T @ u[:, rank:])
            right = np.diag(vt[rank:] @ below.T @ below @ vt[rank:].T)
            np.testing.assert_allclose(left, found.left[l - 1], atol=1e-13)
            np.testing.assert_allclose(right, found.right[l - 1], atol=1e-13)
        assert null_spread(layers, product_rank(layers)) < 1e-14


def test_rounding_of_lambda_decides_neither_multiplicity_nor_feasibility():
    np.testing.assert_array_equal(merged_offsets(np.array([1e-13, 0.5, -0.5 + 1e-13]), 1e-12)[[0, 1, 3]], 0.0)
    assert np.count_nonzero(merged_offsets(np.array([1e-3, 0.5]), 1e-12)) == 2
    arch = dln.linear_network((2, 3, 3, 3, 2))
    theta0 = dln.lambda_balanced(arch, jax.random.key(0), [0.1, 0.2, -0.3], scale=30.0)
    assert RelaxedBalancedFlow.from_start(arch, theta0).condition(theta0).holds


@pytest.fixture(scope="module")
def dropping():
    """n = 3, r = m = 1: W_1 (a number) changes its sign, z passes through 0 exactly."""
    arch = dln.linear_network((1, 1, 3))
    w2 = np.array([[0.6], [0.5], [-0.4]])
    theta0 = {"W1": np.array([[np.sqrt(w2[:, 0] @ w2[:, 0] - 0.7)]]), "W2": w2}
    target = -2.0 * w2
    return arch, dln.SquaredLoss.from_target(target), theta0


@pytest.mark.parametrize(
    "options",
    [
        pytest.param({}, marks=pytest.mark.slow),
        pytest.param({"step_to_ts": True}, marks=pytest.mark.slow),
        pytest.param({"method": "stiff"}, marks=pytest.mark.slow),
    ],
)
def test_a_rank_drop_ends_the_run_with_a_way_out(dropping, options):
    arch, loss, theta0 = dropping
    full = dln.solve(dln.GradientFlow(arch, loss), theta0, 2.0, ts=50)
    assert full.z[0, 0, 0] * full.z[-1, 0, 0] < 0, "the full flow passes through 0"
    flow = RelaxedBalancedFlow.from_start(arch, theta0, loss)
    assert flow.is_stratum
    with pytest.raises(
        dln.IntegrationError, match="no continuous extension to lower rank.*GramFlow"
    ) as caught:
        dln.solve(flow, theta0, 2.0, ts=50, max_steps=20_000, **options)
    part = caught.value.trajectory
    assert part.monitors[DROP][-1] < 1e-6
    crossing = full.ts[np.argmax(full.z[:, 0, 0] * full.z[0, 0, 0] < 0)]
    assert crossing - 2.0 / 49 <= part.ts[-1] <= crossing
    assert "warning" in str(part)
    if not options:
        # The remedy that the message names works.
        remedy = dln.compare(dln.GradientFlow(arch, loss), dln.GramFlow(arch), theta0, 2.0, timing=False)
        assert remedy.max_error < 1e-8


@pytest.mark.slow
def test_the_neighbourhood_of_a_rank_drop_is_warned_of(dropping):
    arch, loss, theta0 = dropping
    flow = RelaxedBalancedFlow.from_start(arch, theta0, loss)
    full = dln.solve(dln.GradientFlow(arch, loss), theta0, 2.0, ts=2000)
    index = np.argmax(full.z[:, 0, 0] * full.z[0, 0, 0] < 0)
    before = full.ts[index - 1] - full.z[index - 1, 0, 0] * (full.ts[index] - full.ts[index - 1]) / (
        full.z[index, 0, 0] - full.z[index - 1, 0, 0]
    )
    run = dln.solve(flow, theta0, float(before) * (1 - 1e-3), ts=10)
    assert "below 0.001" in run.stats.warning
    assert "warning" in str(run)
    assert dln.solve(flow, theta0, 0.5 * float(before), ts=10).stats.warning is None
    tiny = {"W1": np.array([[1e-12]]), "W2": np.sqrt(0.7) * np.array([[0.6], [0.0], [0.8]])}
    with pytest.raises(dln.ConditionError, match="above 1e-08 for relaxed balanced flow, but it is"):
        dln.solve(RelaxedBalancedFlow(arch, loss, lambdas=0.7), tiny, 1.0)


ARCH = dln.linear_network((3, 2, 4))
REFUSALS = [
    (
        lambda: RelaxedBalancedFlow(ARCH, lambdas=[0.1, 0.2]),
        ValueError,
        r"`lambdas` must hold one number .* shape \(2,\)",
    ),
    (lambda: RelaxedBalancedFlow(ARCH, lambdas=np.nan), ValueError, r"`lambdas` must be finite"),
    (
        lambda: RelaxedBalancedFlow(ARCH, lambdas=0.5, rank=3),
        ValueError,
        "`rank` must be a positive integer and at most 2, but is 3",
    ),
    (
        lambda: RelaxedBalancedFlow(ARCH, lambdas=0.5, rank=1),
        ValueError,
        "must be the smallest width 2 unless",
    ),
    (
        lambda: RelaxedBalancedFlow(ARCH, lambdas=0.5, rates={"W1": 2.0}),
        ValueError,
        "`rates` must be left out",
    ),
    (
        lambda: RelaxedBalancedFlow(dln.linear_network((3, 4, 3)), lambdas=0.5),
        dln.InfeasibleError,
        "wider than both its ends cannot be lambda-balanced with lam != 0",
    ),
    (
        lambda: RelaxedBalancedFlow(dln.linear_network((2, 3, 3, 2)), lambdas=[0.5, 0.1]),
        dln.InfeasibleError,
        r"lam_1 \+ lam_2 = 0, since hidden layer 1 \(width 3\) is wider than layer 0",
    ),
    (
        lambda: RelaxedBalancedFlow(ARCH, lambdas=0.5).bind(
            dln.GradientFlow(ARCH, lambda z: jnp.sum(z**2), weight_decay=0.1, rates={"W1": 2.0}).training
        ),
        ValueError,
        "`weight_decay` must be 0 with unequal `rates` for the relaxed balanced flow",
    ),
    (
        lambda: RelaxedBalancedFlow.from_start(ARCH, dln.gaussian(ARCH, jax.random.key(0))),
        dln.ConditionError,
        r"(?s)multiples lambda_l of the identity.*project_to_relaxed_balanced.*\|D_1 - ",
    ),
    (
        lambda: RelaxedBalancedFlow.from_start(ARCH, {"W1": np.full((2, 3), np.nan), "W2": np.ones((4, 2))}),
        ValueError,
        "must be finite, but 6 of 6",
    ),
    (
        lambda: RelaxedBalancedFlow(ARCH, lambda z: z, lambdas=0.5),
        ValueError,
        "must map z of shape",
    ),
    (
        lambda: RelaxedBalancedFlow(
            dln.Architecture(lambda p: p["a"] * p["b"], {"a": (2,), "b": (2,)}), lambdas=0.5
        ),
        ValueError,
        "must be a chain of matrices for the relaxed balanced flow",
    ),
]


@pytest.mark.parametrize(("call", "kind", "message"), REFUSALS)
def test_bad_input_is_refused(call, kind, message):
    with pytest.raises(kind, match=message):
        call()


def test_single_precision_is_refused():
    theta0 = dln.lambda_balanced(ARCH, jax.random.key(0), 0.5)
    flow = RelaxedBalancedFlow(ARCH, lambda z: jnp.sum(z**2), lambdas=0.5)
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(dln.PrecisionError):
            dln.solve(flow, theta0, 1.0)
    finally:
        jax.config.update("jax_enable_x64", True)


def test_it_prints_its_equation_and_source():
    flow = RelaxedBalancedFlow(ARCH, lambdas=0.5)
    assert "c = (0,\\, 0.5)" in flow.statement
    assert "while z has rank 2" in str(flow)
    assert "not bound" in str(flow)
    assert flow._repr_latex_().startswith("$")
    assert repr(flow) == "RelaxedBalancedFlow(linear 3-2-4)"
