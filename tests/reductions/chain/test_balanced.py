"""`BalancedFlow`: against the full flow and SciPy, exact rational identity, derivative rule, refusals."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh

import dlntheory as dln
from dlntheory.reductions.chain.relaxed_operator import balanced_operator


def with_singular_values(arch, values, seed=0):
    """A balanced start whose product has exactly these singular values."""
    rng = np.random.default_rng(seed)
    rows, columns = arch.output_shape
    left = np.linalg.qr(rng.standard_normal((rows, rows)))[0]
    right = np.linalg.qr(rng.standard_normal((columns, columns)))[0]
    middle = np.zeros((rows, columns))
    middle[np.arange(len(values)), np.arange(len(values))] = values
    return dln.balanced(arch, jax.random.key(seed), product=left @ middle @ right.T)


CASES = [
    ((4, 5, 3), [1.0, 0.5, 0.2]),  # wide hidden layer, rectangular
    ((3, 4, 5), [1.0, 1.0, 0.2]),  # repeated singular value, taller than wide
    ((4, 2, 3), [1.0, 0.3]),  # bottleneck
    ((4, 3, 2, 5), [0.7, 0.7]),  # depth 3, bottleneck inside, repeated
    ((3, 4, 4, 3), [1.0, 0.3]),  # rank-deficient start in a network that could have full rank
    ((3, 4, 3, 4, 3), [1.0, 1.0, 1e-6]),  # depth 4, tiny and repeated
    ((3, 1, 2), [0.4]),  # one hidden neuron
    ((3, 2), [1.0, 0.5]),  # one layer: the flow itself
]


@pytest.mark.parametrize(("widths", "values"), CASES, ids=lambda case: str(case))
def test_reduced_equals_full(widths, values):
    arch = dln.linear_network(widths)
    loss, gradient = log_cosh(np.random.default_rng(3).standard_normal(arch.output_shape))
    theta0 = with_singular_values(arch, values)
    reduced = dln.BalancedFlow(arch, loss, rank=len(values))
    ts = np.linspace(0.0, 2.0, 6)
    run = dln.solve(reduced, theta0, 2.0, ts=ts, rtol=1e-10, method="dopri8", step_to_ts=True)
    reference, _ = chain_flow([np.asarray(theta0[n]) for n in arch.chain], gradient, ts)
    assert np.max(np.abs(run.z - reference)) < 1e-9 * np.max(np.abs(reference))
    singular = np.linalg.svd(run.z, compute_uv=False)
    assert np.all(singular[:, len(values) :] < 1e-12 * singular[:, :1]), "rank is conserved"


def test_compare_gives_the_same_verdict_through_the_public_door():
    arch = dln.linear_network((4, 5, 3))
    loss, _ = log_cosh(np.random.default_rng(3).standard_normal((3, 4)))
    theta0 = with_singular_values(arch, [1.0, 0.5, 0.2])
    both = dln.compare(dln.GradientFlow(arch, loss), dln.reduce(arch, theta0), theta0, 2.0, ts=6)
    assert both.max_error < 3e-11
    assert not both.full.stats.compiled
    assert both.full.max_drift < 1e-11
    text = str(both)
    for word in ("balanced end-to-end flow: 12 variables", "error of z", "speed-up", "Arora"):
        assert word in text
    assert "<table" in both._repr_html_()
    assert both.to_dict()["error"] == both.max_error


@pytest.mark.parametrize("depth", [1, 2, 3, 5])
@pytest.mark.parametrize("shape", [(3, 4), (4, 3), (3, 3)])
def test_operator_equals_its_definition_and_is_symmetric(depth, shape):
    rng = np.random.default_rng(depth)
    z, g, h = (rng.standard_normal(shape) for _ in range(3))

    def power(matrix, exponent):
        if exponent == 0:
            return np.eye(len(matrix))
        values, vectors = np.linalg.eigh(matrix)
        # Null directions come out of eigh as 1e-16, whose cube root is 5e-6.
        values = np.where(values > 1e-12 * values[-1], values, 0.0)
        return (vectors * values**exponent) @ vectors.T

    expected = sum(
        power(z @ z.T, (depth - l) / depth) @ g @ power(z.T @ z, (l - 1) / depth) for l in range(1, depth + 1)
    )
    rank = np.asarray(min(shape))
    np.testing.assert_allclose(
        balanced_operator(z, g, depth, rank), expected, atol=1e-12 * np.max(np.abs(expected))
    )
    left = np.sum(np.asarray(balanced_operator(z, g, depth, rank)) * h)
    right = np.sum(np.asarray(balanced_operator(z, h, depth, rank)) * g)
    assert left == pytest.approx(right, rel=1e-12)


def test_operator_is_exact_at_rational_points():
    # z = diag(a^L): every power is rational, so the formula can be checked without rounding in the oracle.
    for depth in (2, 3, 4):
        roots = [Fraction(1, 2), Fraction(3), Fraction(1)]
        g = np.array([[Fraction(i - 2 * j + 1, 3) for j in range(3)] for i in range(3)])
        expected = np.array(
            [
                [
                    sum(
                        roots[i] ** (2 * (depth - l)) * roots[j] ** (2 * (l - 1)) for l in range(1, depth + 1)
                    )
                    * g[i, j]
                    for j in range(3)
                ]
                for i in range(3)
            ],
            dtype=float,
        )
        z = np.diag([float(root**depth) for root in roots])
        result = balanced_operator(z, g.astype(float), depth, np.asarray(3))
        np.testing.assert_allclose(result, expected, rtol=1e-13)


SPECTRA = [(1.0, 1.0, 0.0), (1.0, 1.0, 1.0 + 1e-9), (2.0, 0.5, 1e-3), (1.0, 1.0, 1.0)]


@pytest.mark.parametrize("depth", [2, 3])
@pytest.mark.parametrize("values", SPECTRA)
def test_derivative_rule_at_repeated_and_zero_singular_values(depth, values):
    rng = np.random.default_rng(5)
    u, v = (np.linalg.qr(rng.standard_normal((n, n)))[0] for n in (3, 4))
    rank = int(np.sum(np.array(values) > 0))
    scale = np.zeros((3, 4))
    scale[np.arange(3), np.arange(3)] = values
    z, g = u @ scale @ v.T, rng.standard_normal((3, 4))
    # A direction along which the rank stays: A z + z B.
    a, b = rng.standard_normal((3, 3)), rng.standard_normal((4, 4))
    step = 1e-3 if min(x for x in values if x > 0) > 0.1 else 1e-5

    def moved(t):
        return jax.scipy.linalg.expm(t * a) @ z @ jax.scipy.linalg.expm(t * b)

    def operator(t):
        return np.asarray(balanced_operator(moved(t), g, depth, np.asarray(rank)))

    quotient = (8 * (operator(step) - operator(-step)) - (operator(2 * step) - operator(-2 * step))) / (
        12 * step
    )
    direction = a @ z + z @ b
    _, tangent = jax.jvp(lambda x: balanced_operator(x, g, depth, np.asarray(rank)), (z,), (direction,))
    np.testing.assert_allclose(tangent, quotient, atol=2e-8 * max(1.0, np.max(np.abs(quotient))))
    cotangent = rng.standard_normal((3, 4))
    _, pullback = jax.vjp(lambda x: balanced_operator(x, g, depth, np.asarray(rank)), jnp.asarray(z))
    pulled = pullback(jnp.asarray(cotangent))[0]
    assert np.sum(np.asarray(pulled) * direction) == pytest.approx(
        np.sum(cotangent * np.asarray(tangent)), rel=1e-11
    )


def test_operator_goes_through_jit_and_vmap():
    rng = np.random.default_rng(6)
    zs, g = rng.standard_normal((5, 3, 4)), rng.standard_normal((3, 4))
    operator = jax.jit(jax.vmap(lambda z: balanced_operator(z, g, 3, jnp.asarray(3))))
    for z, value in zip(zs, operator(zs), strict=True):
        np.testing.assert_allclose(value, balanced_operator(z, g, 3, np.asarray(3)), atol=1e-12)


@pytest.mark.slow
def test_rates_and_weight_decay_come_from_the_flow():
    arch = dln.linear_network((4, 3, 2, 5))
    loss, gradient = log_cosh(np.random.default_rng(3).standard_normal((5, 4)))
    start = with_singular_values(arch, [1.0, 0.4])
    ts = np.linspace(0, 1.5, 4)
    for decay, rates in [(0.3, {}), (0.0, {"W1": 2.0, "W3": 0.5}), (0.2, {"W1": 2.0, "W2": 2.0, "W3": 2.0})]:
        theta0 = {name: np.sqrt(rates.get(name, 1.0)) * np.asarray(w) for name, w in start.items()}
        flow = dln.GradientFlow(arch, loss, weight_decay=decay, rates=rates)
        reduced = dln.BalancedFlow(arch).bind(flow.training)
        run = dln.solve(reduced, theta0, 1.5, ts=ts, rtol=1e-10, method="dopri8", step_to_ts=True)
        speeds = [rates.get(name, 1.0) for name in arch.chain]
        reference, _ = chain_flow([theta0[n] for n in arch.chain], gradient, ts, decay=decay, rates=speeds)
        assert np.max(np.abs(run.z - reference)) < 1e-9 * np.max(np.abs(reference))
    with pytest.raises(ValueError, match="must be 0 with unequal `rates`"):
        dln.BalancedFlow(arch, loss, weight_decay=0.1, rates={"W1": 2.0})


def test_an_unbalanced_start_is_refused_with_its_number():
    arch = dln.linear_network((4, 3, 5))
    theta0 = with_singular_values(arch, [1.0, 0.5, 0.2])
    shifted = {**theta0, "W2": np.asarray(theta0["W2"]) * (1 + 1e-3)}
    with pytest.raises(dln.ConditionError, match="expect an absolute error of z of the order of") as caught:
        dln.BalancedFlow(arch).check_start(shifted)
    imbalance = np.asarray(shifted["W2"]).T @ np.asarray(shifted["W2"]) - theta0["W1"] @ theta0["W1"].T
    assert caught.value.measured == pytest.approx(np.linalg.norm(imbalance), rel=1e-12)
    # The announced error is of the size of the error that one gets.
    loss, gradient = log_cosh(np.random.default_rng(3).standard_normal((5, 4)))
    run = dln.solve(dln.BalancedFlow(arch, loss), shifted, 2.0, ts=5, check=False)
    reference, _ = chain_flow([np.asarray(shifted[n]) for n in arch.chain], gradient, run.ts)
    actual = np.max(np.abs(run.z - reference))
    assert caught.value.expected_error / 10 < actual < caught.value.expected_error * 10

    balanced = dln.lambda_balanced(arch, jax.random.key(1), 0.7)
    with pytest.raises(dln.ConditionError, match=r"λ-balanced but not balanced, D_1 = 0\.7 I") as caught:
        dln.BalancedFlow(arch).check_start(balanced)
    assert caught.value.measured == pytest.approx(0.7 * np.sqrt(3), rel=1e-12)


def test_a_start_of_another_rank_is_refused_with_the_remedy():
    arch = dln.linear_network((4, 3, 5))
    theta0 = with_singular_values(arch, [1.0, 0.5])
    with pytest.raises(dln.ConditionError, match=r"rank 2.*BalancedFlow\(arch, loss, rank=2\)"):
        dln.BalancedFlow(arch).check_start(theta0)
    assert dln.BalancedFlow(arch, rank=2).condition(arch.check(theta0)).holds
    assert "Condition: holds" in str(dln.BalancedFlow(arch, rank=2).condition(arch.check(theta0)))
    zero = {name: np.zeros(shape) for name, shape in arch.shapes.items()}
    with pytest.raises(dln.ConditionError, match="nothing moves"):
        dln.BalancedFlow(arch).check_start(zero)
    for rank in (0, 4):
        with pytest.raises(ValueError, match=f"`rank` must be .* at most 3, but is {rank}"):
            dln.BalancedFlow(arch, rank=rank)


def test_it_prints_its_equation_and_source():
    reduced = dln.BalancedFlow(dln.linear_network((3, 3, 3, 3)))
    assert reduced.statement.count(r"\nabla f(z)") == 3
    assert "2/3" in reduced.statement
    assert "Theorem 1" in str(reduced)
    assert "not bound" in str(reduced)
    assert reduced._repr_latex_().startswith("$")


def equations(jaxpr):
    """How many equations a jaxpr has, those of inner ones included."""
    inner = [value for eqn in jaxpr.eqns for value in jax.tree.leaves(list(eqn.params.values()))]
    return len(jaxpr.eqns) + sum(
        equations(getattr(value, "jaxpr", value))
        for value in inner
        if hasattr(getattr(value, "jaxpr", value), "eqns")
    )


def test_the_derivative_of_the_operator_does_not_grow_with_the_square_of_the_depth():
    g = jnp.ones((3, 3))
    counts = []
    for depth in (8, 32):
        operator = lambda z, depth=depth: balanced_operator(z, g, depth, np.asarray(3))
        counts.append(equations(jax.make_jaxpr(jax.jacfwd(operator))(jnp.eye(3)).jaxpr))
    assert counts[1] < 3 * counts[0]
    assert counts[1] < 3000, "80,187 when each power had a loop over the depth"
    with pytest.raises(TypeError, match="first derivatives in z only"):
        jax.jacfwd(jax.jacfwd(lambda z: balanced_operator(z, g, 3, np.asarray(3))))(jnp.eye(3))
