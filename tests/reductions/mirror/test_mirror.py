"""Mirror potentials two ways, refusals with brackets and defects, and the KKT residual of runs by SciPy."""

import re

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import solve_ivp
from systems.entrywise import ENTRYWISE

import dlntheory as dln
from dlntheory.families.diagonal import power_network
from dlntheory.families.normalised import weight_normalised
from dlntheory.reductions.mirror import commuting_test, kkt_residual, mirror_potential, symmetry_defect
from dlntheory.reductions.mirror.mirror_potentials import ChainScalars

N = 3


def named(phi, count, name="test"):
    return dln.Architecture(phi, dict.fromkeys("abcd"[:count], (N,)), name=name)


# Name, form in `systems.entrywise`, φ with scale -1/2 and offset 1/4, number of roles, whether weights are positive.
CASES = {
    "diagonal": ("diagonal", lambda p: 0.25 - 0.5 * p["a"] * p["b"], 2, False),
    "squares": ("squares", lambda p: 0.25 - 0.5 * p["b"] ** 2 + 0.5 * p["a"] ** 2, 2, False),
    "cubes": ("cubes", lambda p: 0.25 + 0.5 * p["a"] ** 3 - 0.5 * p["b"] ** 3, 2, True),
    "fourth powers": ("fourth powers", lambda p: 0.25 + 0.5 * p["a"] ** 4 - 0.5 * p["b"] ** 4, 2, True),
    "chain": ("chain", lambda p: 0.25 - 0.5 * p["a"] * p["b"] * p["c"], 3, False),
    "long chain": ("chain", lambda p: 0.25 - 0.5 * p["a"] * p["b"] * p["c"] * p["d"], 4, False),
}


def start_of(name, seed=5):
    """Weights as NumPy rows and the potential's own start."""
    _, phi, roles, is_positive = CASES[name]
    rng = np.random.default_rng(seed)
    weights = rng.uniform(0.4, 1.2, (roles, N)) if is_positive else rng.standard_normal((roles, N))
    arch = named(phi, roles, name)
    return arch, weights, dict(zip(arch.shapes, weights, strict=True))


def scale_of(name):
    return 0.5 if name in ("squares", "cubes", "fourth powers") else -0.5


MOST_SLOW = [
    pytest.param(name, marks=[] if name in ("diagonal", "chain") else pytest.mark.slow) for name in CASES
]


class Potentials(dict):
    """Made when asked for."""

    def __missing__(self, name):
        arch, _, theta0 = start_of(name)
        self[name] = mirror_potential(arch, theta0)
        return self[name]


@pytest.fixture(scope="module")
def potentials():
    return Potentials()


@pytest.mark.parametrize("name", MOST_SLOW)
def test_metric_at_the_start_is_that_of_the_weights(potentials, name):
    _, weights, _ = start_of(name)
    slopes = 0.5 * ENTRYWISE[CASES[name][0]][1](weights)
    potential = potentials[name]
    np.testing.assert_allclose(
        potential.metric(potential.start), np.diag(np.sum(slopes**2, axis=0)), rtol=1e-13
    )
    np.testing.assert_allclose(
        potential.hessian(potential.start) @ potential.metric(potential.start), np.eye(N), atol=1e-14
    )
    assert float(potential.warp(potential.start)) == 1.0


def flow_to(name, weights, time):
    """Weights after the flow of f(z) = sum of z, for which every entry's mirror coordinate moves by -time."""
    slopes = ENTRYWISE[CASES[name][0]][1]

    def field(t, y):
        return -scale_of(name) * slopes(y.reshape(weights.shape)).ravel()

    solution = solve_ivp(field, (0, time), weights.ravel(), method="DOP853", rtol=1e-13, atol=1e-15)
    assert solution.success
    return solution.y[:, -1].reshape(weights.shape)


@pytest.mark.parametrize("name", MOST_SLOW)
def test_mirror_coordinate_moves_at_unit_speed_along_the_full_flow(potentials, name):
    """grad Phi(z(T)) - grad Phi(z(0)) = -T for f = sum of z, whatever the weights did on the way."""
    arch, weights, _ = start_of(name)
    potential = potentials[name]
    limit = 0.1 if name == "fourth powers" else 0.4
    for time in (limit, -limit):
        after = flow_to(name, weights, time)
        z = arch(dict(zip(arch.shapes, after, strict=True)))
        change = np.asarray(potential.gradient(z)) - np.asarray(potential.gradient(potential.start))
        np.testing.assert_allclose(change, -time, rtol=1e-11)
        # The metric far from the start is still that of the weights.
        slopes = 0.5 * ENTRYWISE[CASES[name][0]][1](after)
        np.testing.assert_allclose(np.diag(potential.metric(z)), np.sum(slopes**2, axis=0), rtol=1e-10)


@pytest.mark.slow
@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[] if name == "chain" else pytest.mark.slow) for name in CASES],
)
def test_gradient_and_hessian_are_derivatives_of_the_potential(potentials, name):
    potential = potentials[name]
    z = potential.start + jnp.asarray([0.1, -0.2, 0.3])
    np.testing.assert_allclose(jax.grad(potential)(z), potential.gradient(z), rtol=1e-12)
    np.testing.assert_allclose(
        jax.jacfwd(potential.gradient)(z), potential.hessian(z), rtol=1e-11, atol=1e-14
    )


@pytest.mark.parametrize("name", MOST_SLOW)
def test_potential_is_the_integral_of_its_gradient(potentials, name):
    """Gauss-Legendre quadrature of the gradient along a line, independent of automatic differentiation."""
    potential = potentials[name]
    step = np.array([0.1, -0.2, 0.3])
    nodes, weights = np.polynomial.legendre.leggauss(40)
    expected = sum(
        w / 2 * float(step @ np.asarray(potential.gradient(potential.start + (1 + x) / 2 * step)))
        for x, w in zip(nodes, weights, strict=True)
    )
    found = float(potential(potential.start + step)) - float(potential(potential.start))
    assert found == pytest.approx(expected, rel=1e-8)
    assert float(potential.bregman(potential.start + step)) > 0
    assert float(potential.bregman(potential.start)) == 0


@pytest.mark.parametrize(
    ("weights", "product"),
    [
        ([0.3, 0.8, 1.1], -0.7),
        pytest.param([0.3, -0.8, 1.1], 5.0, marks=pytest.mark.slow),
        pytest.param([0.5, 0.5, 0.9], 2.0, marks=pytest.mark.slow),
        pytest.param([0.5, 0.5, 0.5], 0.01, marks=pytest.mark.slow),
        ([1e-3, 1.0, 30.0], 4.0),
        pytest.param([0.2, 0.4, 0.6, 0.8], -1.0, marks=pytest.mark.slow),
        pytest.param([0.5, -0.5, 0.5, 0.9], -2.0, marks=pytest.mark.slow),
    ],
)
def test_chain_potential_against_an_integral_in_high_precision(weights, product):
    depth = len(weights)
    arch = dln.linear_network((1,) * (depth + 1))
    theta0 = {name: np.array([[w]]) for name, w in zip(arch.shapes, weights, strict=True)}
    potential = mirror_potential(arch, theta0)
    with mpmath.workdps(30):
        w = [mpmath.mpf(x) for x in weights]
        least = min(x**2 for x in w)
        gaps = [x**2 - least for x in w]

        def metric(z):
            # The root on a logarithmic scale by bisection: no Newton step in common with the code.
            low, high = mpmath.mpf(-80), mpmath.mpf(20)
            for _ in range(100):
                middle = (low + high) / 2
                t = mpmath.e**middle
                low, high = (middle, high) if mpmath.fprod(t + g for g in gaps) < z**2 else (low, middle)
            t = mpmath.e**low
            return mpmath.fsum(
                mpmath.fprod(t + g for k, g in enumerate(gaps) if k != l) for l in range(depth)
            )

        z0 = mpmath.fprod(w)
        breaks = [z0, mpmath.mpf(0), mpmath.mpf(product)] if z0 * product < 0 else [z0, mpmath.mpf(product)]
        with mpmath.workdps(16):
            expected = float(mpmath.quad(lambda z: 1 / metric(z), breaks, maxdegree=7))
    found = float(
        potential.gradient(jnp.full((1, 1), product))[0, 0] - potential.gradient(potential.start)[0, 0]
    )
    assert found == pytest.approx(expected, rel=1e-9)


def test_two_factors_in_a_chain_give_the_hyperbolic_entropy():
    """The same φ as a chain of depth 2 and as a diagonal network: two formulas for one potential."""
    arch, _, theta0 = start_of("diagonal")
    closed = mirror_potential(arch, theta0).scalars
    a, b = theta0["a"], theta0["b"]
    gaps = jnp.asarray(np.stack([a**2, b**2]) - np.minimum(a**2, b**2))
    chain = ChainScalars(origin=jnp.asarray(a * b), gaps=gaps)
    p = jnp.asarray(a * b) * jnp.asarray([-2.0, 3.0, 0.0])
    origin = jnp.asarray(a * b)
    np.testing.assert_allclose(chain.slope(p), closed.slope(p) - closed.slope(origin), rtol=1e-13, atol=1e-14)


@pytest.mark.slow
@pytest.mark.parametrize(("number", "seed"), [(2.5, 0), (-0.3, 1)])
def test_warped_potential_of_a_neuron(number, seed):
    arch = dln.Architecture(lambda p: 0.25 - 2 * p["u"] * p["v"], {"u": (), "v": (N,)}, name="neuron")
    v = np.random.default_rng(seed).standard_normal(N)
    potential = mirror_potential(arch, {"u": np.array(number), "v": v})
    metric = 4 * (number**2 * np.eye(N) + np.outer(v, v))
    np.testing.assert_allclose(potential.metric(potential.start), metric, rtol=1e-13, atol=1e-13)
    np.testing.assert_allclose(potential.gradient(potential.start), -np.sign(number) * v / 2, rtol=1e-13)
    assert float(potential.warp(potential.start)) == pytest.approx(abs(number))
    z = potential.start + jnp.asarray([0.2, -0.3, 0.1])
    np.testing.assert_allclose(jax.grad(potential)(z), potential.gradient(z), rtol=1e-12)
    np.testing.assert_allclose(
        jax.jacfwd(potential.gradient)(z), potential.hessian(z), rtol=1e-12, atol=1e-13
    )
    np.testing.assert_allclose(
        potential.hessian(z) @ potential.metric(z), float(potential.warp(z)) * np.eye(N), atol=1e-13
    )
    assert "warped" in str(potential)
    assert symmetry_defect(arch, {"u": np.array(number), "v": v}).relative > 0.1
    turned = dln.Architecture(lambda p: p["v"] * p["u"], {"v": (N,), "u": (1,)}, name="turned")
    other = mirror_potential(turned, {"u": np.array([number]), "v": v})
    np.testing.assert_allclose(other.gradient(other.start), np.sign(number) * v, rtol=1e-13)
    dead = mirror_potential(turned, {"u": np.zeros(1), "v": v})
    assert not dead.exists
    assert "not 0" in dead.reason


MATRIX = np.array([[1.0, 0.5, -0.3], [0.2, -1.0, 0.6]])
TARGETS = np.array([0.7, -0.4])


def fitted(form, weights, scale, offset, time=400.0):
    """The end of the full flow of |A z - b|^2 / 2."""
    value, slopes = ENTRYWISE[form]

    def field(t, y):
        w = y.reshape(weights.shape)
        return -(scale * slopes(w) * (MATRIX.T @ (MATRIX @ (offset + scale * value(w)) - TARGETS))).ravel()

    solution = solve_ivp(field, (0, time), weights.ravel(), method="DOP853", rtol=1e-12, atol=1e-14)
    assert solution.success
    return offset + scale * value(solution.y[:, -1].reshape(weights.shape))


@pytest.mark.parametrize("name", MOST_SLOW)
def test_training_ends_at_the_minimiser_of_the_divergence(potentials, name):
    _, weights, _ = start_of(name)
    end = fitted(CASES[name][0], weights, scale_of(name), 0.25)
    report = kkt_residual(potentials[name], MATRIX, TARGETS, end)
    assert report.is_fitted
    assert report.free == 1
    assert report.residual < 1e-8
    assert report.divergence > 0


def test_neuron_ends_at_the_minimiser_of_its_warped_divergence():
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (N,)}, name="neuron")
    u, v = 1.4, np.array([0.3, -0.2, 0.5])

    def field(t, y):
        g = MATRIX.T @ (MATRIX @ (y[0] * y[1:]) - TARGETS)
        return np.concatenate([[-y[1:] @ g], -y[0] * g])

    solution = solve_ivp(field, (0, 100), [u, *v], method="DOP853", rtol=1e-12, atol=1e-14)
    end = solution.y[0, -1] * solution.y[1:, -1]
    assert np.all(solution.y[0] > 0)
    potential = mirror_potential(arch, {"u": np.array([u]), "v": v})
    assert kkt_residual(potential, MATRIX, TARGETS, end).residual < 1e-9
    # Negative controls: another law, and the Euclidean answer.
    wrong = mirror_potential(arch, {"u": np.array([1.1 * u]), "v": v / 1.1})
    assert kkt_residual(wrong, MATRIX, TARGETS, end).residual > 1e-3
    plain = end + np.linalg.svd(MATRIX)[2][2] * 0.1
    assert kkt_residual(potential, MATRIX, TARGETS, plain).residual > 1e-3


def test_wrong_width_of_the_entropy_shows(potentials):
    arch, weights, _ = start_of("diagonal")
    end = fitted("diagonal", weights, -0.5, 0.25)
    wrong = mirror_potential(arch, {"a": 1.2 * weights[0], "b": weights[1] / 1.2})
    assert kkt_residual(wrong, MATRIX, TARGETS, end).residual > 1e-3
    assert kkt_residual(potentials["chain"], MATRIX, TARGETS, end).residual > 1e-3


@pytest.mark.slow
def test_nothing_is_reported_before_the_fit(potentials):
    potential = potentials["diagonal"]
    report = kkt_residual(potential, MATRIX, TARGETS, np.asarray(potential.start))
    assert not report.is_fitted
    assert report.residual is None
    assert "not reported" in str(report)
    with pytest.raises(ValueError, match="`potential` must be one, but there is none: .* do not commute"):
        square = dln.linear_network((2, 2, 2))
        kkt_residual(mirror_potential(square, gaussian_start(square)), MATRIX, TARGETS, np.zeros(N))
    for arguments, message in (
        ((MATRIX[:, :2], TARGETS, np.zeros(N)), "`matrix` must have shape"),
        ((MATRIX, TARGETS[:1], np.zeros(N)), "`targets` must have shape"),
        ((MATRIX, TARGETS, np.zeros(2)), "`end` must have shape"),
        ((MATRIX, TARGETS, np.full(N, np.nan)), "`end` must be finite"),
    ):
        with pytest.raises(ValueError, match=message):
            kkt_residual(potential, *arguments)


def gaussian_start(arch, seed=0):
    rng = np.random.default_rng(seed)
    return {name: rng.standard_normal(shape) for name, shape in arch.shapes.items()}


@pytest.mark.parametrize(
    ("arch", "words"),
    [
        (dln.Architecture(lambda p: p["U"] @ p["U"].T, {"U": (2, 2)}, name="tied"), "do not commute"),
        (dln.linear_network((2, 2, 2)), "its inverse is no Hessian"),
        pytest.param(
            dln.Architecture(
                lambda p: p["u"][:, None] * p["v"][None, :], {"u": (2,), "v": (2,)}, name="rank one"
            ),
            "on the range of the metric, of rank 3 of 4",
            marks=pytest.mark.slow,
        ),
        (power_network(2, 3), "commute, so that training is a mirror flow"),
        pytest.param(
            named(lambda p: jnp.tanh(p["a"]) * p["b"], 2),
            r"no polynomial \(tanh\).*leaves the question open",
            marks=pytest.mark.slow,
        ),
        pytest.param(weight_normalised(2, 1), "could not be read as polynomials", marks=pytest.mark.slow),
    ],
)
def test_refusals_say_why(arch, words):
    answer = mirror_potential(arch, gaussian_start(arch))
    assert not answer.exists
    assert re.search(words, answer.reason), answer.reason
    assert "none" in str(answer)


def test_entries_that_never_move_are_named():
    arch = named(lambda p: p["a"] * p["b"], 2)
    answer = mirror_potential(arch, {"a": np.array([1.0, 0.0, 1.0]), "b": np.array([1.0, 0.0, 0.0])})
    assert "1 entries of z start where all their gradients vanish" in answer.reason
    assert "[1]" in answer.reason
    cubes = named(lambda p: p["a"] ** 3 - p["b"] ** 3, 2)
    assert "positive" in mirror_potential(cubes, {"a": np.ones(N), "b": -np.ones(N)}).reason


def test_brackets_are_exact():
    assert commuting_test(named(lambda p: p["a"] * p["b"] * p["c"], 3)).commuting
    assert commuting_test(dln.linear_network((1, 3, 1))).commuting
    test = commuting_test(dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (2,)}, name="neuron"))
    assert not test.commuting
    assert test.outputs == ((0,), (1,))
    # [v_0 d_u + u d_v0, v_1 d_u + u d_v1] = v_0 d_v1 - v_1 d_v0.
    assert (test.component, test.witness) == ("v[0]", "-v[1]")
    # A bracket that vanishes at a point only: u_0^2 and u_0 u_1.
    almost = dln.Architecture(
        lambda p: jnp.stack([p["u"][0] ** 2, p["u"][0] * p["u"][1]]), {"u": (2,)}, name="two"
    )
    assert not commuting_test(almost).commuting


@pytest.mark.slow
def test_symmetry_defect_against_finite_differences():
    """T = d(K^{-1})/dz of a neuron from its closed form, by central differences."""
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (2,)}, name="neuron")
    u, v = 0.8, np.array([0.5, -0.9])
    gap = u**2 - v @ v

    def metric(z):
        square = (gap + np.sqrt(gap**2 + 4 * z @ z)) / 2
        return square * np.eye(2) + np.outer(z, z) / square

    z, h = u * v, 1e-5
    tensor = np.stack(
        [(np.linalg.inv(metric(z + h * e)) - np.linalg.inv(metric(z - h * e))) / (2 * h) for e in np.eye(2)]
    )
    root = np.linalg.cholesky(metric(z))
    tensor = np.einsum("kij,ka,ib,jc->abc", tensor, root, root, root)
    expected = np.linalg.norm(tensor - tensor.swapaxes(0, 1)) / np.linalg.norm(tensor)
    found = symmetry_defect(arch, {"u": np.array([u]), "v": v})
    assert found.relative == pytest.approx(expected, rel=1e-7)
    assert (found.rank, found.outputs) == (2, 2)
    assert (
        symmetry_defect(
            named(lambda p: p["a"] * p["b"], 2), gaussian_start(named(lambda p: p["a"] * p["b"], 2))
        ).relative
        < 1e-13
    )
    with pytest.raises(ValueError, match="φ varies"):
        symmetry_defect(arch, {"u": np.zeros(1), "v": np.zeros(2)})


@pytest.mark.slow
def test_entropy_of_width_zero_has_the_slope_log_for_both_signs():
    arch = named(lambda p: p["a"] * p["b"], 2)
    weights = np.array([0.5, 0.7, 0.9])
    potential = mirror_potential(arch, {"a": weights, "b": weights * np.array([1.0, -1.0, 1.0])})
    z, step = np.asarray(potential.start), 1e-5
    np.testing.assert_allclose(potential.gradient(z), np.log(np.abs(z)) / 2, rtol=1e-14)
    numeric = [
        (float(potential(z + step * e)) - float(potential(z - step * e))) / (2 * step) for e in np.eye(N)
    ]
    np.testing.assert_allclose(numeric, np.log(np.abs(z)) / 2, rtol=1e-8)
