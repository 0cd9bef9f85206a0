"""Every closed form, with weight decay and rates: its velocity is the derivative of its state along the full flow."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory import reductions
from dlntheory.families.attention import attention
from dlntheory.families.diagonal import diagonal_network, difference_of_squares
from dlntheory.reductions.chain.base import DECAY
from dlntheory.reductions.chain.infinite_depth import BalancedLimitFlow

KEY = jax.random.key(0)
DECAYED = {"weight_decay": 0.3}


def loss_for(arch):
    """Not quadratic, and it couples the entries of z."""
    rng = np.random.default_rng(5)
    size = int(np.prod(arch.output_shape))
    mix, target = rng.normal(size=(size, size)) / size, rng.normal(size=size)
    return lambda z: jnp.sum(jnp.logaddexp(mix @ jnp.ravel(z) - target, target - mix @ jnp.ravel(z)))


def rates(arch, *values):
    return {"rates": dict(zip(arch.shapes, values, strict=False))}


def same(arch, value):
    return rates(arch, *([value] * len(arch.shapes)))


def cumulative(size, power=None):
    """Not entry by entry, but an injective linear map of products or of differences."""
    form = (lambda p: p["u"] * p["v"]) if power is None else (lambda p: p["u"] ** power - p["v"] ** power)
    return dln.Architecture(lambda p: jnp.cumsum(form(p)), {"u": (size,), "v": (size,)}, name="cumulative")


def gaussian(arch):
    return {name: np.asarray(value) for name, value in dln.gaussian(arch, KEY).items()}


def positive(arch):
    return {name: 0.5 + np.abs(value) for name, value in gaussian(arch).items()}


def scaled(start, settings):
    """A start of the rescaled weights: W_l = sqrt(e_l) V_l."""
    speeds = settings.get("rates", {})
    return {name: np.sqrt(speeds.get(name, 1.0)) * np.asarray(value) for name, value in start.items()}


CHAIN = dln.linear_network((3, 4, 4, 2))
TWO = dln.linear_network((3, 3, 3))
WIDE = dln.linear_network((2, 6, 3))
SCALAR = dln.linear_network((1, 3, 1))
NEURON = dln.linear_network((3, 1, 2))
RELU = dln.relu_network((2, 3, 2), bias=True)
QUERY = dln.Architecture(
    lambda p: p["Q"] @ p["K"].T + p["Q"] @ p["V"].T, dict.fromkeys("QKV", (3, 5)), name="shared query"
)


def mixed_start(arch):
    """S = W2^T W2 - W1 W1^T with the eigenvalues 0.8 (d_2 times) and -0.5 (d_0 times)."""
    inputs, hidden, outputs = arch.widths
    basis = np.linalg.qr(np.random.default_rng(3).normal(size=(hidden, hidden)))[0]
    first, second = basis[:, :inputs] * np.sqrt(0.5), (basis[:, inputs : inputs + outputs] * np.sqrt(0.8)).T
    return {"W1": first, "W2": second}


CASES = {
    "balanced": (CHAIN, lambda a: dln.balanced(a, KEY), reductions.BalancedFlow.from_start, True),
    "singular values": (CHAIN, lambda a: dln.balanced(a, KEY), reductions.SingularValueFlow.from_start, True),
    "relaxed": (
        TWO,
        lambda a: dln.lambda_balanced(a, KEY, 0.8),
        reductions.RelaxedBalancedFlow.from_start,
        True,
    ),
    "relaxed deep": (
        dln.linear_network((2, 2, 2, 2)),
        lambda a: dln.lambda_balanced(a, KEY, [0.5, -0.3]),
        reductions.RelaxedBalancedFlow.from_start,
        True,
    ),
    "mixed": (WIDE, mixed_start, reductions.MixedBalancedFlow.from_start, True),
    "scalar": (SCALAR, gaussian, reductions.TwoLayerScalarFlow.from_start, True),
    "products": (attention(2, 1), gaussian, reductions.RelaxedBlocksFlow.from_start, True),
    "Gram": (WIDE, gaussian, reductions.GramFlow.from_start, False),
    "shared query": (QUERY, gaussian, reductions.GramBlocksFlow.from_start, False),
    "tied": (
        dln.Architecture(lambda p: p["U"] @ p["U"].T, {"U": (3, 5)}, name="tied"),
        gaussian,
        reductions.TiedFlow.from_start,
        False,
    ),
    "diagonal": (diagonal_network(3, 2), gaussian, reductions.DiagonalFlow.from_start, True),
    "cumulative": (cumulative(3), gaussian, reductions.DiagonalFlow.from_start, True),
    "scalar chains": (diagonal_network(2, 3), gaussian, reductions.ScalarChainFlow.from_start, True),
    "squares": (difference_of_squares(3), gaussian, reductions.SquaresFlow.from_start, None),
    "cumulative cubes": (cumulative(3, 3), positive, reductions.PowersFlow.from_start, None),
    "neuron": (NEURON, gaussian, reductions.NeuronFlow.from_start, True),
    "two-layer paths": (RELU, gaussian, reductions.TwoLayerPathFlow.from_start, True),
}
BY_LAYER = {name: case for name, case in CASES.items() if case[3] is not None}


def check(name, settings):
    """Push the full velocity forward to the state of the reduction, and compare it with the reduced velocity."""
    arch, start, _, _ = CASES[name]
    theta = {n: jnp.asarray(w) for n, w in scaled(start(arch), settings).items()}
    flow = dln.GradientFlow(arch, loss_for(arch), **settings)
    reduced = bound(name, theta, flow)
    assert reduced.condition(theta).holds

    def seen(state):
        """What of a state is a function of the parameters: Gram matrices of factors, laws, $z$."""
        found = {key: value for key, value in state.items() if not key.startswith((DECAY, "exposure", "X"))}
        found |= {key: value @ value.T for key, value in state.items() if key.startswith("X")}
        if name == "singular values":
            del found["U"], found["V"]  # their signs are free
        if name == "cumulative cubes":
            found = dict(zip("uv", reduced._inverse_powers(state), strict=True))
        return found | {"output": reduced.output(state)}

    @jax.jit
    def both(theta):
        full = flow.velocity(0.7, theta)
        found, pushed = jax.jvp(lambda p: seen(reduced.initial(p)), (theta,), (full,))
        state = reduced.initial(theta)
        moved = jax.jvp(seen, (state,), (reduced.velocity(0.7, state),))[1]
        return found, pushed, moved

    found, pushed, moved = both(theta)
    np.testing.assert_allclose(found["output"], arch(theta), rtol=1e-12, atol=1e-13)
    scale = max(float(jnp.max(jnp.abs(value))) for value in pushed.values())
    for key in pushed:
        np.testing.assert_allclose(moved[key], pushed[key], atol=1e-12 * scale, err_msg=f"{name} {key}")


def bound(name, theta, flow):
    """The reduction measured with rates, which its condition is about."""
    arch, _, make, _ = CASES[name]
    settings = {"rates": {n: float(rate) for n, rate in flow.training.rates.items()}}
    if name in ("relaxed", "relaxed deep", "mixed", "scalar", "products"):
        return make(arch, theta, flow.training.loss, **settings).bind(flow.training)
    return make(arch, theta).bind(flow.training)


@pytest.mark.parametrize("name", CASES)
def test_with_weight_decay(name):
    """With a decay that depends on time and a schedule, which multiplies both."""
    changing = {"weight_decay": lambda t: 0.2 + 0.1 * jnp.sin(3.0 * t), "schedule": lambda t: 1.0 / (1.0 + t)}
    check(name, {**changing, **same(CASES[name][0], 2.0)})


@pytest.mark.parametrize("name", BY_LAYER)
def test_with_rates_by_factor(name):
    arch = BY_LAYER[name][0]
    check(name, rates(arch, 2.0, 0.5, 1.5, 3.0))


@pytest.mark.parametrize("name", ["relaxed", "relaxed deep", "mixed", "scalar"])
def test_later_the_laws_have_shrunk(name):
    """At any weights, seen as the later ones of a run whose laws were larger by exp(2 I) at its start."""
    arch, start, make, _ = CASES[name]
    theta = {n: jnp.asarray(w) for n, w in start(arch).items()}
    flow = dln.GradientFlow(arch, loss_for(arch), weight_decay=0.3)
    now, passed = make(arch, theta), 0.4
    grown = {
        "relaxed": lambda: reductions.RelaxedBalancedFlow(arch, lambdas=now.lambdas * np.exp(2 * passed)),
        "relaxed deep": lambda: reductions.RelaxedBalancedFlow(
            arch, lambdas=now.lambdas * np.exp(2 * passed)
        ),
        "mixed": lambda: reductions.MixedBalancedFlow(arch, kappa=float(now.kappa) * np.exp(2 * passed)),
        "scalar": lambda: reductions.TwoLayerScalarFlow(arch, level=float(now.level) * np.exp(4 * passed)),
    }[name]()
    reduced = grown.bind(flow.training)
    z, pushed = jax.jvp(arch, (theta,), (flow.velocity(0.0, theta),))
    state = {**reduced.initial(theta), "z": z, DECAY: jnp.asarray(passed)}
    np.testing.assert_allclose(
        reduced.velocity(0.0, state)["z"], pushed, atol=1e-11 * float(jnp.max(jnp.abs(pushed)))
    )
    frozen = {**state, DECAY: jnp.asarray(0.0)}
    assert float(jnp.max(jnp.abs(reduced.velocity(0.0, frozen)["z"] - pushed))) > 1e-2, (
        "laws that do not shrink"
    )


def test_decay_that_no_law_survives_is_refused():
    arch = dln.linear_network((2, 2, 2))
    training = dln.Training(loss_for(arch), weight_decay=0.3, rates={"W1": 2.0})
    for reduction in (reductions.BalancedFlow(arch), reductions.RelaxedBalancedFlow(arch, lambdas=0.5)):
        with pytest.raises(dln.NotApplicableError, match="unequal `rates`"):
            reduction.bind(training)
    with pytest.raises(dln.NotApplicableError, match="must be 0"):
        BalancedLimitFlow(arch).bind(training)
    squares = difference_of_squares(2)
    with pytest.raises(dln.NotApplicableError, match="equal for the two powers"):
        reductions.SquaresFlow(squares).bind(dln.Training(loss_for(squares), rates={"u": 2.0}))


CONSTANT = np.array([[2.0, 1.0, 0.0], [0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])


@pytest.mark.parametrize(
    ("phi", "shapes", "groups"),
    [
        (lambda p: p["U"] @ CONSTANT @ p["V"].T, {"U": (2, 3), "V": (4, 3)}, (("U", "V"), ("U", "V"))),
        (lambda p: p["W"].T @ (CONSTANT + CONSTANT.T) @ p["W"], {"W": (3, 2)}, (("W",), ("W",))),
        (lambda p: p["U"] @ (2.0 * jnp.eye(3)) @ p["V"].T, {"U": (2, 3), "V": (4, 3)}, (("U", "V"),)),
    ],
    ids=["between two", "symmetric", "multiple of the identity"],
)
def test_a_constant_matrix_in_the_middle_of_a_product(phi, shapes, groups):
    arch = dln.Architecture(phi, shapes, name="with a constant")
    theta = arch.check(gaussian(arch))
    flow = dln.GradientFlow(arch, loss_for(arch), **DECAYED)
    reduced = reductions.GramBlocksFlow(arch).bind(flow.training)
    assert reduced.groups == groups
    state = reduced.initial(theta)
    np.testing.assert_allclose(reduced.output(state), arch(theta), rtol=1e-12, atol=1e-13)
    z_dot = jax.jvp(reduced.output, (state,), (reduced.velocity(0.0, state),))[1]
    expected = jax.jvp(arch, (theta,), (flow.velocity(0.0, theta),))[1]
    np.testing.assert_allclose(z_dot, expected, atol=1e-12 * float(jnp.max(jnp.abs(expected))))


def test_a_frozen_or_skew_matrix_in_a_product_is_another_form():
    frozen = dln.Architecture(
        lambda p: p["U"] @ jax.lax.stop_gradient(p["V"]).T + p["U"] @ p["W"].T,
        {"U": (2, 3), "V": (4, 3), "W": (4, 3)},
    )
    skew = dln.Architecture(lambda p: p["W"] @ (CONSTANT - 1.0) @ p["W"].T, {"W": (2, 3)})
    for arch in (frozen, skew):
        with pytest.raises(dln.NotApplicableError, match="a constant matrix in|is frozen by"):
            reductions.GramBlocksFlow(arch)
