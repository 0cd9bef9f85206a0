"""Systems of fields against gradients that SymPy takes, and every sweep against the interpreter."""

from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory.architecture import Architecture
from dlntheory.exact import NilpotentModular, trace
from dlntheory.exact.linear_algebra import modular_rank
from dlntheory.families import linear_network
from dlntheory.families.relu import relu_network
from dlntheory.laws.proof.lie_rank import lie_rank
from dlntheory.laws.systems import GradientSystem, MomentumSystem, training_system
from dlntheory.laws.vjp import ChainVjp, InterpretedVjp, PathVjp, vjp_of

RING = NilpotentModular()
P = RING.prime


def random_state(system, seed, batch=1):
    rng = np.random.default_rng(seed)
    return {name: RING.from_integers(rng.integers(0, P, (batch, *shape))) for name, shape in system.blocks}


def test_fields_are_gradients():
    arch = relu_network((2, 2, 1), bias=True)
    system = GradientSystem(arch, vjp=InterpretedVjp(arch))
    symbolic = arch.symbolic()
    z = np.array(symbolic.z.tolist(), dtype=object).ravel()
    rng = np.random.default_rng(0)
    point, c = rng.integers(-9, 10, system.dimension), rng.integers(-9, 10, z.size)
    state = system.unflatten(RING, RING.constant(point))
    combination = RING.constant(c.reshape(arch.output_shape))
    found = system.flatten(RING, system.field(RING, state, combination)).ravel()
    symbols = [s for name, _ in system.blocks for s in symbolic.symbols[name].ravel()]
    value = sum(int(a) * b for a, b in zip(c, z, strict=True))
    at = dict(zip(symbols, map(int, point), strict=True))
    assert found.tolist() == [int(sympy.diff(value, s).subs(at)) % P for s in symbols]


def test_the_chain_sweep_is_the_gradient_for_a_cotangent_of_rank_one():
    arch = linear_network((3, 2, 4, 2))
    system = GradientSystem(arch)
    assert isinstance(system.vjp, ChainVjp)
    state = random_state(system, 1, batch=3)
    inward, outward = system.draw(RING, np.random.default_rng(2), 3)
    found = system.field(RING, state, (inward, outward))
    cotangent = RING.mul(outward[..., :, None], inward[..., None, :])
    expected = InterpretedVjp(arch)(RING, state, cotangent)
    for name in arch.shapes:
        assert np.array_equal(found[name], expected[name])


def test_the_path_sweep_is_the_gradient_of_its_forward_pass():
    arch = relu_network((2, 3, 2, 2), bias=True)
    system = GradientSystem(arch)
    assert isinstance(system.vjp, PathVjp)

    def forward(p, gates, scalars):
        a = gates[0]
        for layer in range(3):
            a = p[f"W{layer + 1}"] @ a
            if layer < 2:
                a = a + scalars[layer] * p[f"b{layer + 1}"]
            a = gates[layer + 1] * a
        return jnp.sum(a)

    state = random_state(system, 3)
    combination = system.draw(RING, np.random.default_rng(4), 1)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape[2:], float), (state, *combination))
    expected = trace(jax.grad(forward), *shapes).evaluate(RING, state, *combination)
    found = system.field(RING, state, combination)
    for name in arch.shapes:
        assert np.array_equal(found[name], expected[name])


@pytest.mark.parametrize("bias", [False, True])
def test_the_path_sweep_spans_the_gradients_of_the_paths(bias):
    arch = relu_network((2, 3, 2, 2), bias=bias)
    sweep, whole = GradientSystem(arch), GradientSystem(arch, vjp=InterpretedVjp(arch))
    state = random_state(sweep, 5)
    rows = [
        s.flatten(RING, s.field(RING, state, s.draw(RING, np.random.default_rng(6), arch.size)))[0]
        for s in (sweep, whole)
    ]
    ranks = [modular_rank(rows[0]), modular_rank(rows[1]), modular_rank(np.concatenate(rows))]
    assert ranks[0] == ranks[1] == ranks[2] == arch.size - 5


@pytest.mark.parametrize(
    ("arch", "options"),
    [
        (linear_network((2, 3, 2)), {}),
        (linear_network((2, 2, 2, 1)), {}),
        (linear_network((2, 3, 3, 1)), {}),
        (linear_network((1, 2, 3)), {"momentum": 1}),
        (linear_network((2, 3, 2)), {"metric": {"W1": "theta", "W2": "theta"}}),
        (relu_network((2, 3, 2)), {}),
        (relu_network((2, 3, 2, 1), bias=True), {}),
        (relu_network((2, 2, 1), bias=True), {"momentum": 0}),
    ],
    ids=lambda value: getattr(value, "name", str(value)),
)
def test_sweep_and_interpreter_give_equal_ranks_by_depth(arch, options):
    sweep = training_system(arch, **options)
    kind = type(sweep)
    arguments = {"metric": options.get("metric"), "vjp": InterpretedVjp(arch)}
    if kind is MomentumSystem:
        arguments["friction"] = options["momentum"]
    whole = kind(arch, **arguments)
    assert not isinstance(sweep.vjp, InterpretedVjp)
    assert lie_rank(sweep).ranks == lie_rank(whole).ranks


def test_factors_outside_the_chain_never_move():
    arch = Architecture(
        lambda p: p["W2"] @ p["W1"], {"W1": (2, 2), "W2": (2, 2), "c": (3,)}, chain=("W1", "W2")
    )
    system = GradientSystem(arch)
    field = system.field(RING, random_state(system, 7), system.draw(RING, np.random.default_rng(0), 1))
    assert not np.any(field["c"])
    assert np.all(field["W1"])


def test_the_route_follows_what_the_architecture_declares():
    assert isinstance(vjp_of(linear_network((2, 2))), ChainVjp)
    assert isinstance(vjp_of(relu_network((2, 2, 2))), PathVjp)
    # A factor that occurs twice has a gradient of two terms, which the sweep does not have.
    tied = Architecture(lambda p: p["W"] @ p["W"], {"W": (2, 2)}, chain=("W", "W"))
    assert isinstance(vjp_of(tied), InterpretedVjp)
    with pytest.raises(ValueError, match="must declare a chain of distinct factors"):
        ChainVjp(tied)
    with pytest.raises(ValueError, match=r"must be a path lifting .* but is linear 2-2"):
        PathVjp(linear_network((2, 2)))


def test_outputs_bound_the_rank_of_the_fields():
    assert vjp_of(linear_network((3, 5, 2))).outputs == 6
    arch = relu_network((2, 3, 2, 2), bias=True)
    assert vjp_of(arch).outputs == InterpretedVjp(arch).outputs == int(np.prod(arch.output_shape))


@pytest.mark.parametrize("friction", [0, Fraction(1, 3), 0.5, ("over_t", 3)])
def test_momentum_fields(friction):
    arch = linear_network((2, 2, 1))
    system = MomentumSystem(arch, friction=friction)
    state = random_state(system, 8)
    drift, impulses = system.draw(RING, np.random.default_rng(9), 1)
    found = system.field(RING, state, (drift, impulses))
    gradient = system.vjp(RING, {name: state[name] for name in arch.shapes}, impulses)
    over_t = isinstance(friction, tuple)
    tau = Fraction(friction[1] if over_t else friction)
    tau = tau.numerator * pow(tau.denominator, -1, P) % P
    c, s = int(drift.item()), int(state["s"].item())
    time_rate = c * s if over_t or tau else c
    speed = c * s % P if over_t else c
    assert int(found["s"].item()) == (time_rate if over_t or not tau else time_rate * tau) % P
    for name in arch.shapes:
        velocity = state[f"{name}'"]
        assert np.array_equal(found[name], velocity * speed % P)
        expected = (gradient[name] - velocity * (c * tau % P)) % P
        assert np.array_equal(found[f"{name}'"], expected)


def test_friction_is_exact():
    assert MomentumSystem(linear_network((1, 1)), friction=Fraction(1, 3)).friction == Fraction(1, 3)
    assert MomentumSystem(linear_network((1, 1)), friction=("over_t", 3)).friction == ("over_t", 3)
    assert not MomentumSystem(linear_network((1, 1)), friction=Fraction(1, 7)).has_good_reduction(7)


def test_metrics():
    arch = linear_network((2, 2, 1))
    plain, mirror = GradientSystem(arch), GradientSystem(arch, metric={"W1": "theta"})
    state = random_state(plain, 10)
    combination = plain.draw(RING, np.random.default_rng(11), 1)
    a, b = plain.field(RING, state, combination), mirror.field(RING, state, combination)
    assert np.array_equal(b["W1"], a["W1"] * state["W1"] % P)
    assert np.array_equal(b["W2"], a["W2"])
    assert mirror.label == "metric flow, diag(W1) on W1"


def test_refusals():
    arch = linear_network((2, 2))
    with pytest.raises(
        ValueError, match=r"`metric` must name factors of linear 2-2, \['W1'\], but names 'V'"
    ):
        GradientSystem(arch, metric={"V": "theta"})
    with pytest.raises(ValueError, match=r"`metric\['W1'\]` must be one of .* but is 'fisher'"):
        GradientSystem(arch, metric={"W1": "fisher"})
    with pytest.raises(ValueError, match="`momentum` must be a friction of at least 0, but is -1"):
        training_system(arch, momentum=-1)
    with pytest.raises(ValueError, match="`momentum` must be a finite number, but is nan"):
        training_system(arch, momentum=float("nan"))
    with pytest.raises(ValueError, match=r'`momentum` must be a number or \("over_t", c\), but is'):
        training_system(arch, momentum=("per_t", 3))
    with pytest.raises(ValueError, match='`metric` must not be "mirror" with friction c/t'):
        training_system(arch, momentum=("over_t", 3), metric={"W1": "mirror"})
    clash = Architecture(lambda p: p["s"] * p["w"], {"s": (), "w": ()})
    with pytest.raises(ValueError, match=r"no factor called like the time `s` .* but has \['s'\]"):
        MomentumSystem(clash)
