"""Every training rule against every law: one step in rational arithmetic, with equality, and negative controls."""

import functools
from fractions import Fraction as F

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory import NotApplicableError
from dlntheory.exact import Rationals, simplest_fraction, trace
from dlntheory.exact.rings.polynomials import Polynomials, SparsePolynomial
from dlntheory.families import (
    attention,
    diagonal_network,
    gram_factorisation,
    input_convex,
    linear_network,
    nonnegative_factorisation,
    relu_network,
    residual_network,
    softmax_output,
)
from dlntheory.laws.law import law_of_expressions, law_of_polynomials, law_of_quotients, law_of_terms
from dlntheory.laws.matrix_terms import Term
from dlntheory.laws.systems import training_system
from dlntheory.losses import SampleLoss
from dlntheory.training import (
    CayleyDescent,
    GradientDescent,
    GradientFlow,
    HeavyBall,
    ImplicitMidpoint,
    MirrorDescent,
    MirrorFlow,
    ModifiedFlow,
    MomentumFlow,
    Nesterov,
    StochasticGradientFlow,
)

RING = Rationals()
ETA, DECAY, BETA = F(2, 7), F(3, 5), F(5, 6)


class Case:
    """An architecture, one law of its gradient flow and one of its momentum flow, and exact gradients."""

    def __init__(self, arch, terms=(), metric=None, expressions=None, noether=None):
        self.arch, self.metric = arch, metric or {}
        self.law = (
            law_of_terms(arch.named_shapes, terms)
            if expressions is None
            else law_of_expressions(arch.named_shapes, expressions(arch.symbolic().symbols))
        )
        self.noether = noether

    @functools.cached_property
    def program(self):
        structs = {name: jax.ShapeDtypeStruct(shape, "float64") for name, shape in self.arch.named_shapes}
        output = jax.ShapeDtypeStruct(self.arch.output_shape, "float64")
        return trace(lambda p, c: jax.vjp(self.arch.phi, p)[1](c)[0], structs, output)

    def gradient(self, theta, combination, ring=RING):
        """A combination of the generators: the gradient that some loss has on some minibatch."""
        return self.program.evaluate(ring, theta, combination)

    def noether_law(self, friction=0):
        """The skew matrix of the first hidden layer of a chain of matrices, times e^(tau t)."""
        blocks = training_system(self.arch, momentum=friction).blocks
        first, second = self.noether
        axes = {"left": (1,), "right": (0,)}
        terms = [
            dict(form="skew", blocks=(name, name + "'"), axes=axes[side] * 2, time=int(friction > 0))
            for name, side in ((first, "right"), (second, "left"))
        ]
        return law_of_terms(blocks, [Term(F(1), **term) for term in terms])


def balance(first, second, bias=None):
    return [(1, second, "gram-left"), (-1, first, "gram-right")] + ([(-1, bias, "outer")] if bias else [])


def residual_entries(symbols):
    one = sympy.eye(2)
    v1, v2 = sympy.Matrix(symbols["W1"]) + one, sympy.Matrix(symbols["W2"]) + one
    difference = v2.T * v2 - v1 * v1.T
    return [difference[0, 0], difference[0, 1], difference[1, 1]]


CASES = {
    "chain": Case(linear_network((2, 3, 2)), balance("W1", "W2"), noether=("W1", "W2")),
    "deep chain": Case(linear_network((2, 1, 3, 2)), balance("W2", "W3"), noether=("W2", "W3")),
    "biased": Case(linear_network((2, 2, 1), bias=True), balance("W1", "W2", "b1")),
    "diagonal": Case(diagonal_network(2, 3), [(1, "w2", "square"), (-1, "w1", "square")]),
    "relu": Case(
        relu_network((2, 2, 2, 1), bias=True),
        [(1, "W3", "diag-left"), (-1, "W2", "diag-right"), (-1, "b2", "square")],
    ),
    "attention": Case(attention(2, 3), [(1, "Q1", "gram-left"), (-1, "K1", "gram-left")], noether=None),
    "residual": Case(residual_network(2, 2), expressions=residual_entries),
    "softmax": Case(softmax_output((2, 3)), [(1, "W1", "column-sum")]),
    "nmf": Case(
        nonnegative_factorisation(2, 3, 2),
        [(1, "U", "column-sum"), (-1, "V", "row-sum")],
        metric={"U": "theta", "V": "theta"},
    ),
    "icnn": Case(
        input_convex(2, 2, 3, bias=True),
        [(2, "U", "column-sum"), (-1, "V", "diag-right"), (-1, "b", "square")],
        metric={"U": "theta"},
    ),
}
EUCLIDEAN = [name for name in CASES if not CASES[name].metric]
METRIC = [name for name in CASES if CASES[name].metric]


def draw(shapes, seed):
    """Arrays of small random fractions, by name."""
    rng = np.random.default_rng(seed)
    return {
        name: RING.from_fractions(
            np.array(
                [F(int(n), int(d)) for n, d in rng.integers(1, 9, (int(np.prod(shape)), 2)) * [1, 1]],
                dtype=object,
            ).reshape(shape)
            - F(7, 3)
        )
        for name, shape in shapes.items()
    }


def output(case, seed):
    return draw({"z": case.arch.output_shape}, seed)["z"]


def plus(a, b, scale=1):
    scale = exact(scale)
    return {name: a[name] + scale * b[name] for name in a}


def times(scale, a):
    return {name: exact(scale) * value for name, value in a.items()}


def exact(value):
    """A fraction; the floats that rules hold stand for the simplest one."""
    fraction = simplest_fraction(float(value)) if isinstance(value, (float, np.ndarray)) else F(value)
    return flint.fmpq(fraction.numerator, fraction.denominator)


def entries(law, state):
    """The independent entries at a point of any number type with + and *."""
    flat = [entry for name, _ in law.blocks for entry in np.ravel(state[name])]
    values = []
    for polynomial in law.polynomials:
        total = 0 * flat[0]
        for monomial, value in polynomial.terms.items():
            total = total + functools.reduce(lambda a, b: a * b, [flat[i] for i in monomial], value)
        values.append(total)
    return np.array(values, dtype=object)


def independent(law, value):
    return np.ravel(value)[law.positions]


def same(a, b):
    return np.array_equal(np.asarray(a, dtype=object), np.asarray(b, dtype=object))


def with_velocity(theta, velocity, time=1):
    return {"s": np.array(exact(time), dtype=object)} | theta | {f"{n}'": v for n, v in velocity.items()}


LOSS = jnp.sum
#: Settings of training, as of the constructors; floats are read as the fractions that they were.
SETTINGS = {
    "plain": {},
    "decay": {"weight_decay": DECAY},
    "decay by factor": {"weight_decay": True},
    "decay and rates": {"weight_decay": DECAY, "rates": True},
    "decoupled": {"weight_decay": DECAY, "rates": True, "decoupled": True},
}
#: Every law with and without decay; the settings by factor on a quadratic, a mixed and a partial law.
PAIRS = [
    (name, settings)
    for name in EUCLIDEAN
    for settings in SETTINGS
    if settings in ("plain", "decay") or name in ("chain", "residual", "relu")
]
DESCENTS = {
    "gradient descent": lambda arch, **k: GradientDescent(arch, LOSS, ETA, **k),
    "heavy ball": lambda arch, **k: HeavyBall(arch, LOSS, ETA, BETA, **k),
    "Nesterov": lambda arch, **k: Nesterov(arch, LOSS, ETA, BETA, **k),
}


def made(case, make, settings):
    """The rule, with a rate or decay of its own for one factor of the law where the settings say so."""
    first = sorted({block for term in case.law.terms or () for block in term.blocks})
    name = first[0] if first else case.law.blocks[0][0]
    named = {
        key: {name: F(3, 2)} if value is True and key != "decoupled" else value
        for key, value in settings.items()
    }
    return make(case.arch, **named)


def exact_numbers(rule):
    """The numbers of a rule as exact fractions."""
    return {
        key: {n: exact(x) for n, x in value.items()} if isinstance(value, dict) else exact(value)
        for key, value in rule.numbers_at(0.0).items()
    }


def steps_of(rule, case, steps=2):
    """Steps of the rule itself in rational arithmetic: arguments of `predict`, then the state after each."""
    theta, memory = draw(case.arch.shapes, 4), {}
    if rule.memory({}) or "momentum" in rule.numbers_at(0.0):
        memory = {f"{name}'": value for name, value in draw(case.arch.shapes, 5).items()}
    for step in range(steps):
        taken = []

        def slope(at, step=step, taken=taken):
            taken.append((at, case.gradient(at, output(case, step))))
            return taken[-1][1]

        after, kept = rule.advance(theta, memory, slope, exact_numbers(rule))
        where, gradient = taken[-1]
        velocity = {name: memory.get(f"{name}'") for name in theta}
        given = {"theta": theta, "velocity": velocity if memory else None, "gradient": gradient}
        given["shift"] = {name: where[name] - theta[name] for name in theta}
        yield given, after, {name: kept.get(f"{name}'") for name in theta}
        theta, memory = after, kept


@pytest.mark.parametrize("rule", DESCENTS)
@pytest.mark.parametrize(("name", "settings"), PAIRS)
def test_descents(name, rule, settings):
    """Each step on its own minibatch, with the decay and the rates where the rule puts them."""
    case = CASES[name]
    rule = made(case, DESCENTS[rule], SETTINGS[settings])
    change = case.law.change(rule)
    moved = False
    for given, after, _ in steps_of(rule, case):
        measured = entries(case.law, after) - entries(case.law, given["theta"])
        assert same(independent(case.law, change.predict(**given)), measured)
        moved |= any(measured)
    assert moved or (case.law.degree == 1 and settings == "plain")
    if change.order != "O(1)":
        # Control: an arbitrary direction is no gradient, and the first order does not cancel.
        given["gradient"] = draw(case.arch.shapes, 9)
        numbers = exact_numbers(rule)
        memory = {f"{n}'": v for n, v in (given["velocity"] or {}).items() if v is not None}
        after, _ = rule.advance(given["theta"], memory, lambda at: given["gradient"], numbers)
        measured = entries(case.law, after) - entries(case.law, given["theta"])
        assert not same(independent(case.law, change.predict(**given)), measured)


@pytest.mark.parametrize("settings", ["plain", "decay", "decay by factor"])
@pytest.mark.parametrize("rule", ["heavy ball", "Nesterov"])
@pytest.mark.parametrize("name", ["chain", "biased", "residual"])
def test_companions(name, rule, settings):
    """q+ - q for q = <v, grad h>, which is exact for quadratics by an even step to both sides."""
    case = CASES[name]
    rule = made(case, DESCENTS[rule], SETTINGS[settings])
    companion = case.law.change(rule).companion

    def q(theta, velocity):
        return (
            entries(case.law, plus(theta, velocity)) - entries(case.law, plus(theta, velocity, -1))
        ) / exact(2)

    for given, after, faster in steps_of(rule, case):
        measured = q(after, faster) - q(given["theta"], given["velocity"])
        assert any(measured)
        assert same(independent(case.law, companion.predict(**given)), measured)


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("rule", ["heavy ball", "Nesterov"])
@pytest.mark.parametrize("friction", [0, 1])
def test_noether_laws(rule, friction, settings):
    """Heavy ball: l+ = beta l, also under uniform decay; look-ahead loses -eta beta <v, A g>."""
    case = CASES["chain"]
    law, heavy = case.noether_law(friction), rule == "heavy ball"
    rule = made(case, DESCENTS[rule], SETTINGS[settings])
    change = law.change(rule)
    # The skew matrix of this law has no block between two factors, so that a decay by factor leaves it alone too.
    kept = settings in ("plain", "decay", "decay by factor")
    for given, after, faster in steps_of(rule, case):
        before, later = (
            entries(law, with_velocity(*at)) for at in ((given["theta"], given["velocity"]), (after, faster))
        )
        assert any(before)
        predicted = change.predict(**given)
        assert same(independent(law, predicted), later - before)
        assert same(predicted, -predicted.T)
        assert same(later, exact(BETA) * before) == (heavy and kept)
    factor = change.factor(3)
    assert (factor is not None) == (heavy and settings in ("plain", "decay"))
    assert factor is None or factor == pytest.approx(float(BETA) ** 3, rel=1e-15)


def test_decoupled_decay_multiplies_the_momentum_laws():
    case = CASES["chain"]
    law = case.noether_law()
    rule = HeavyBall(case.arch, LOSS, ETA, BETA, weight_decay=DECAY, decoupled=True)
    ((given, after, faster),) = steps_of(rule, case, steps=1)
    before, later = (
        entries(law, with_velocity(given["theta"], given["velocity"])),
        entries(law, with_velocity(after, faster)),
    )
    kept = BETA * (1 - ETA * DECAY)
    assert same(later, exact(kept) * before)
    assert law.change(rule).factor(2) == pytest.approx(float(kept) ** 2, rel=1e-15)


def test_weighted_laws_of_unequal_rates_change_at_second_order():
    """The imbalance of a flow with rates has weights 1/e; the unweighted one is lost at first order."""
    case = CASES["chain"]
    weights = {"W1": F(2, 3), "W2": F(1)}
    weighted = law_of_terms(
        case.arch.named_shapes, [(weights["W2"], "W2", "gram-left"), (-weights["W1"], "W1", "gram-right")]
    )
    rule = GradientDescent(case.arch, LOSS, ETA, rates={"W1": 1.5})
    for law, order in ((weighted, r"O(\eta)"), (case.law, "O(1)")):
        change = law.change(rule)
        assert change.order == order
        for given, after, _ in steps_of(rule, case):
            measured = entries(law, after) - entries(law, given["theta"])
            assert same(independent(law, change.predict(**given)), measured)
    assert weighted.change(GradientFlow(case.arch, LOSS, rates={"W1": 1.5})).right_side == "0"


@pytest.mark.parametrize("name", METRIC)
def test_mirror_descent(name):
    case = CASES[name]
    for settings in ({}, {"weight_decay": DECAY, "decoupled": True}):
        rule = MirrorDescent(case.arch, LOSS, ETA, metric=case.metric, **settings)
        change = case.law.change(rule)
        for given, after, _ in steps_of(rule, case):
            measured = entries(case.law, after) - entries(case.law, given["theta"])
            assert same(independent(case.law, change.predict(**given)), measured)
    assert change.order == r"O(\eta)"
    # The law of the mirror flow is none of gradient flow: the identity says so, and stays true.
    plain = GradientDescent(case.arch, LOSS, ETA)
    assert case.law.change(plain).order == "O(1)"
    assert case.law.change(MirrorFlow(case.arch, LOSS, metric=case.metric)).right_side == "0"
    assert case.law.change(GradientFlow(case.arch, LOSS)).order == "O(1)"
    for given, after, _ in steps_of(plain, case, steps=1):
        measured = entries(case.law, after) - entries(case.law, given["theta"])
        assert same(independent(case.law, case.law.change(plain).predict(**given)), measured)


@pytest.mark.parametrize("name", ["chain", "diagonal"])
def test_a_step_as_an_identity_of_polynomials(name):
    """Not at points but in Q[theta, c], for every combination c of the generators."""
    case, ring = CASES[name], Polynomials()
    theta, start = {}, 0
    for factor, shape in case.arch.named_shapes:
        theta[factor] = ring.variables(shape, start)
        start += int(np.prod(shape))
    g = case.gradient(theta, ring.variables(case.arch.output_shape, start), ring)
    a, eta = SparsePolynomial({(): 1 - ETA * DECAY}), SparsePolynomial({(): -ETA})
    after = {n: np.vectorize(lambda x, y: a * x + eta * y, otypes=[object])(theta[n], g[n]) for n in theta}

    def value(state):
        flat = [entry for factor, _ in case.law.blocks for entry in state[factor].ravel()]
        return [
            functools.reduce(
                lambda x, y: x + y,
                ((flat[i] * flat[j]).scaled(c) for (i, j), c in entry.terms.items()),
            )
            for entry in case.law.polynomials
        ]

    rule = GradientDescent(case.arch, LOSS, ETA, weight_decay=DECAY)
    predicted = independent(case.law, case.law.change(rule).predict(theta=theta, gradient=g))
    measured = [x - y for x, y in zip(value(after), value(theta), strict=True)]
    assert list(predicted) == measured
    assert all(measured)


@pytest.mark.parametrize("settings", ["plain", "decay", "decay by factor", "decay and rates"])
@pytest.mark.parametrize("name", ["chain", "biased", "residual", "softmax"])
def test_implicit_midpoint(name, settings):
    """From the midpoint both ends of the step are explicit."""
    case = CASES[name]
    rule = made(case, lambda arch, **k: ImplicitMidpoint(arch, LOSS, ETA, **k), SETTINGS[settings])
    middle = draw(case.arch.shapes, 6)
    g = case.gradient(middle, output(case, 6))
    numbers = exact_numbers(rule)
    rates, decay = numbers["rates"], numbers["decay"]
    force = {n: rates.get(n, exact(1)) * (g[n] + decay.get(n, exact(0)) * middle[n]) for n in middle}
    before, after = plus(middle, force, ETA / 2), plus(middle, force, -ETA / 2)
    measured = entries(case.law, after) - entries(case.law, before)
    change = case.law.change(rule)
    predicted = change.predict(theta=before, gradient=g, middle=middle)
    assert predicted.shape == case.law.value_shape
    assert same(independent(case.law, predicted), measured)
    assert any(measured) == (settings != "plain")
    if case.law.degree == 2:
        # Control: the explicit step changes the law.
        euler = plus(before, case.gradient(before, output(case, 6)), -ETA)
        assert not same(entries(case.law, before), entries(case.law, euler))


def test_cayley_descent():
    """In rational arithmetic: the transform itself with an arbitrary G, and a law that it does not keep."""
    case = CASES["chain"]
    theta, g = draw(case.arch.shapes, 7), output(case, 7)
    zero = np.vectorize(lambda x: exact(int(x)), otypes=[object])
    n = np.block([[zero(np.zeros((2, 2), dtype=int)), -g.T], [-g, zero(np.zeros((2, 2), dtype=int))]])
    stack = np.concatenate([theta["W1"].T, theta["W2"]])
    one = zero(np.eye(4, dtype=int))
    right = (one + exact(ETA / 2) * n) @ stack
    solve = flint.fmpq_mat((one - exact(ETA / 2) * n).tolist()).solve(flint.fmpq_mat(right.tolist()))
    stack = np.array(solve.tolist(), dtype=object)
    after = {"W1": stack[:2].T, "W2": stack[2:]}
    rule = CayleyDescent(case.arch, LOSS, ETA)
    assert same(entries(case.law, after), entries(case.law, theta))
    assert not np.any(case.law.change(rule).predict(theta=theta))
    other = law_of_terms(case.arch.named_shapes, [(1, "W2", "gram-left"), (1, "W1", "gram-right")])
    assert not same(entries(other, after), entries(other, theta))
    with pytest.raises(NotApplicableError, match="must be conserved by the flow with these rates"):
        other.change(rule)


def rate(law, theta, velocity):
    """The derivative of the law along a velocity, by a dual number over the polynomials."""
    e = SparsePolynomial({(0,): 1})
    dual = {
        n: np.vectorize(lambda x, y: SparsePolynomial({(): x}) + e.scaled(y), otypes=[object])(
            theta[n], velocity[n]
        )
        for n in theta
    }
    flat = [entry for factor, _ in law.blocks for entry in dual[factor].ravel()]
    out = []
    for polynomial in law.polynomials:
        total = SparsePolynomial({})
        for monomial, value in polynomial.terms.items():
            start = SparsePolynomial({(): value})
            total = total + functools.reduce(lambda a, b: a * b, [flat[i] for i in monomial], start)
        out.append(total.terms.get((0,), flint.fmpq(0)))
    return np.array(out, dtype=object)


@pytest.mark.parametrize(("name", "settings"), PAIRS)
def test_gradient_flow(name, settings):
    """h' = -<grad h, decay>, of laws of any degree; with one decay a multiple of the law itself."""
    case = CASES[name]
    rule = made(case, lambda arch, **k: GradientFlow(arch, LOSS, **k), SETTINGS[settings])
    change, theta = case.law.change(rule), draw(case.arch.shapes, 2)
    g = case.gradient(theta, output(case, 2))
    numbers = exact_numbers(rule)
    rates, decay = numbers["rates"], numbers["decay"]
    coupled = not rule.training.decoupled
    velocity = {}
    for n, x in theta.items():
        damped = decay.get(n, exact(0)) * x
        force = rates.get(n, exact(1)) * (g[n] + damped if coupled else g[n])
        velocity[n] = -(force if coupled else force + damped)
    measured = rate(case.law, theta, velocity)
    assert same(independent(case.law, change.predict(theta=theta, gradient=g)), measured)
    assert any(measured) == (settings != "plain")
    value = entries(case.law, theta)
    if settings == "decay" and name != "residual":
        degree = case.law.degree
        assert same(measured, exact(-degree * DECAY) * value)
        assert change.factor(2) == pytest.approx(np.exp(-degree * 2 * float(DECAY)), rel=1e-15)
        t = sympy.Symbol("t")
        symbolic = change.with_numbers(decay=dict.fromkeys(theta, sympy.Rational(3, 5)))
        assert symbolic.factor(t) == sympy.exp(-degree * sympy.Rational(3, 5) * t)
    elif settings != "plain":
        blocks = {block for term in case.law.terms or () for block in term.blocks}
        assert (change.factor(2) is None) == (len(blocks) != 1)


def test_weight_decay_of_rational_and_cubic_laws():
    arch = gram_factorisation(3, 2)
    w = sympy.Matrix(arch.symbolic().symbols["W"])
    # Ratios of minors are conserved by W^T W, and by weight decay, having degree 0.
    minors = [w[[0, 1], :].det(), w[[0, 2], :].det()]
    top, bottom = law_of_expressions(arch.named_shapes, minors).polynomials
    flow = GradientFlow(arch, LOSS, weight_decay=DECAY)
    theta = draw(arch.shapes, 3)
    ratio = law_of_quotients(arch.named_shapes, [(top, bottom)])
    change = ratio.change(flow)
    assert (
        change.right_side == "-\\langle \\nabla h, E G + \\lambda \\theta \\rangle"
        or change.right_side == "0"
    )
    cubic = law_of_polynomials(arch.named_shapes, [SparsePolynomial({(0, 0, 1): 2, (3, 4, 5): 1})])
    g = draw(arch.shapes, 8)
    predicted = cubic.change(flow).predict(theta=theta, gradient=g)
    velocity = {"W": -(g["W"] + exact(DECAY) * theta["W"])}
    assert same(predicted, rate(cubic, theta, velocity))
    for law, reason in ((cubic, "degree 3"), (ratio, "rational")):
        for rule in (
            GradientDescent(arch, LOSS, 1.0),
            HeavyBall(arch, LOSS, 1.0, 0.5),
            Nesterov(arch, LOSS, 1.0, 0.5),
            MomentumFlow(arch, LOSS),
            ModifiedFlow(arch, LOSS, 1.0),
            ImplicitMidpoint(arch, LOSS, 1.0),
            StochasticGradientFlow(arch, SampleLoss(np.eye(2), np.eye(2)), 0.1),
        ):
            with pytest.raises(NotApplicableError, match=f"must be at most quadratic.*{reason}"):
                law.change(rule)


@pytest.mark.parametrize("settings", ["plain", "decay", "decay by factor"])
@pytest.mark.parametrize("name", ["chain", "biased", "residual", "diagonal"])
def test_modified_flow(name, settings):
    """Against the derivative of the law along the flow itself."""
    case = CASES[name]
    rule = made(case, lambda arch, **k: ModifiedFlow(arch, LOSS, ETA, **k), SETTINGS[settings])
    theta = {n: jnp.asarray(x.astype(float)) for n, x in draw(case.arch.shapes, 1).items()}
    change = case.law.change(rule)
    (_, measured) = jax.jvp(case.law, (theta,), (rule.velocity(0.0, theta),))
    np.testing.assert_allclose(
        change.at(theta), measured, rtol=0, atol=1e-12 * float(jnp.max(jnp.abs(measured)))
    )
    assert float(jnp.max(jnp.abs(measured))) > 1e-3


class TestContinuousTime:
    """Symbolically, on the chain 1-2-1 with forces f(t) and g(t) along its one generator."""

    t, tau = sympy.symbols("t tau", positive=True)
    arch = linear_network((1, 2, 1))
    names = ("a1", "a2", "b1", "b2")

    def path(self):
        a1, a2, b1, b2, f = (sympy.Function(name)(self.t) for name in (*self.names, "f"))
        # The gradient of z = b1 a1 + b2 a2 times the force.
        return [a1, a2, b1, b2], [f * b1, f * b2, f * a1, f * a2]

    def named(self, flat):
        flat = np.array(flat, dtype=object)
        return {"W1": flat[:2].reshape(2, 1), "W2": flat[2:].reshape(1, 2)}

    def second_order(self, friction):
        """A function that differentiates along theta'' + friction theta' = -f grad z."""
        theta, force = self.path()
        velocity = [x.diff(self.t) for x in theta]
        accelerations = {
            x.diff(self.t, 2): -friction * v - g for x, v, g in zip(theta, velocity, force, strict=True)
        }
        return theta, velocity, lambda x: sympy.diff(x, self.t).subs(accelerations)

    @pytest.mark.parametrize("friction", ["tau", "over_t"])
    def test_inertia(self, friction):
        rule = MomentumFlow(self.arch, LOSS, friction=1.0 if friction == "tau" else ("over_t", 1.0))
        rate = self.tau if friction == "tau" else self.tau / self.t
        theta, velocity, derivative = self.second_order(rate)
        law = law_of_terms(self.arch.named_shapes, balance("W1", "W2"))
        change = law.change(rule).with_numbers(friction=self.tau)
        predicted = independent(law, change.predict(velocity=self.named(velocity)))
        for entry, expected in zip(entries_sympy(law, theta), predicted, strict=True):
            first = derivative(entry)
            assert sympy.simplify(derivative(first) + rate * first - expected) == 0
            assert sympy.simplify(derivative(first) - expected) != 0
        noether = Case(self.arch, balance("W1", "W2"), noether=("W1", "W2")).noether_law()
        change = noether.change(rule).with_numbers(friction=self.tau)
        (ell,) = entries_sympy(noether, [sympy.Integer(1), *theta, *velocity])
        (predicted,) = independent(
            noether,
            change.predict(theta=self.named(theta), velocity=self.named(velocity), time=self.t),
        )
        assert ell != 0
        assert sympy.simplify(derivative(ell) - predicted) == 0
        growth = sympy.exp(self.tau * self.t) if friction == "tau" else self.t**self.tau
        assert sympy.simplify(derivative(growth * ell)) == 0
        assert sympy.simplify(derivative(growth**2 * ell)) != 0
        if friction == "tau":
            assert sympy.simplify(change.factor(self.t) * growth) == 1

    def test_noise(self):
        """Itô's formula with the Hessian, for two columns along the generators."""
        law = law_of_terms(self.arch.named_shapes, balance("W1", "W2"))
        symbols = sympy.symbols("a1 a2 b1 b2 c d")
        theta, (c, d) = list(symbols[:4]), symbols[4:]
        gradient = [theta[2], theta[3], theta[0], theta[1]]
        columns = [[c * x for x in gradient], [d * x for x in gradient]]
        noise = SampleLoss(np.ones((2, 1)), np.ones((2, 1)))
        change = law.change(StochasticGradientFlow(self.arch, noise, 0.1))
        predicted = independent(law, change.predict(noise=[self.named(column) for column in columns]))
        smooth = StochasticGradientFlow(self.arch, noise, 0.1, stratonovich=True)
        assert not np.any(law.change(smooth).predict())
        for entry, expected in zip(entries_sympy(law, theta), predicted, strict=True):
            hessian, slope = sympy.hessian(entry, theta), sympy.Matrix([entry.diff(x) for x in theta])
            drift = sum((sympy.Matrix(g).T * hessian * sympy.Matrix(g))[0] for g in columns) / 2
            assert sympy.expand(drift - expected) == 0
            assert sympy.expand(expected) != 0
            for g in columns:
                # No martingale part; Stratonovich's correction removes the drift.
                assert sympy.expand((sympy.Matrix(g).T * slope)[0]) == 0
                along = sympy.Matrix(g).jacobian(theta) * sympy.Matrix(g)
                drift += (along.T * slope)[0] / 2
            assert sympy.expand(drift) == 0
            stray = sympy.Matrix([1, 2, 3, 4])
            assert sympy.expand((stray.T * slope)[0]) != 0


def entries_sympy(law, point):
    return [polynomial.to_sympy(point) for polynomial in law.polynomials]
