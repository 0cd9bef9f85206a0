"""How training rules break laws: in rational arithmetic, with equality, each row with a negative control."""

import functools
import re
from fractions import Fraction as F

import flint
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory import Architecture, GradientDescent
from dlntheory.exact import Rationals, trace
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
from dlntheory.laws.breaking import (
    GradientStep,
    HeavyBall,
    ImplicitMidpoint,
    Inertia,
    LookAhead,
    Noise,
    WeightDecay,
    defect,
)
from dlntheory.laws.law import law_of_expressions, law_of_polynomials, law_of_quotients, law_of_terms
from dlntheory.laws.matrix_terms import Term
from dlntheory.laws.systems import training_system

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

    def generator(self, theta, combination, ring=RING):
        """A combination of the generators: the gradient that some loss has on some minibatch, times the metric."""
        gradient = self.program.evaluate(ring, theta, combination)
        return {name: theta[name] * g if name in self.metric else g for name, g in gradient.items()}

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
CHAINS = ["chain", "deep chain"]


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
    fraction = F(value)
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


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("decay", [0, DECAY], ids=["plain", "decay"])
def test_gradient_steps(name, decay):
    """Three steps, each on its own minibatch: h+ = (1 - eta lam)^2 h + eta^2 h(g), and with linear parts."""
    case = CASES[name]
    change = defect(case.law, GradientStep(ETA, decay))
    theta = draw(case.arch.shapes, 0)
    moved = False
    for step in range(3):
        g = case.generator(theta, output(case, step))
        after = plus(times(1 - ETA * decay, theta), g, -ETA)
        measured = entries(case.law, after) - entries(case.law, theta)
        assert same(independent(case.law, change.predict(theta=theta, gradient=g)), measured)
        moved |= any(measured)
        theta = after
    assert moved == bool(decay or case.law.degree == 2)
    # Control: an arbitrary direction is no gradient, and the first order does not cancel.
    wrong = draw(case.arch.shapes, 9)
    measured = entries(case.law, plus(times(1 - ETA * decay, theta), wrong, -ETA)) - entries(case.law, theta)
    assert not same(independent(case.law, change.predict(theta=theta, gradient=wrong)), measured)


@pytest.mark.parametrize("name", ["chain", "residual", "relu"])
def test_gradient_steps_with_a_rate_for_each_factor(name):
    case = CASES[name]
    first = {"chain": "W1", "residual": "W2", "relu": "b2"}[name]
    change = defect(case.law, GradientStep(ETA, DECAY, {first: F(3)}))
    theta = draw(case.arch.shapes, 1)
    g = case.generator(theta, output(case, 1))
    force = plus(g, theta, DECAY)
    after = {n: theta[n] - exact(ETA * (3 if n == first else 1)) * force[n] for n in theta}
    measured = entries(case.law, after) - entries(case.law, theta)
    assert same(independent(case.law, change.predict(theta=theta, gradient=g)), measured)
    equal = defect(case.law, GradientStep(ETA, DECAY))
    assert not same(independent(case.law, equal.predict(theta=theta, gradient=g)), measured)
    assert (change.order, equal.order) == ("O(1)", r"O(\eta)")
    if name == "relu":
        # The law has no part in W1, whose rate does not matter then.
        elsewhere = defect(case.law, GradientStep(ETA, DECAY, {"W1": F(3)}))
        assert same(elsewhere.predict(theta=theta, gradient=g), equal.predict(theta=theta, gradient=g))
        assert elsewhere.order == r"O(\eta)"
    everywhere = defect(case.law, GradientStep(ETA, 0, dict.fromkeys(theta, 2)))
    assert same(everywhere.predict(gradient=g), defect(case.law, GradientStep(2 * ETA)).predict(gradient=g))


@pytest.mark.parametrize("name", ["chain", "diagonal"])
def test_gradient_step_as_an_identity_of_polynomials(name):
    """Not at points but in Q[theta, c], for every combination c of the generators."""
    case, ring = CASES[name], Polynomials()
    theta, start = {}, 0
    for factor, shape in case.arch.named_shapes:
        theta[factor] = ring.variables(shape, start)
        start += int(np.prod(shape))
    g = case.generator(theta, ring.variables(case.arch.output_shape, start), ring)
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

    predicted = independent(
        case.law, defect(case.law, GradientStep(ETA, DECAY)).predict(theta=theta, gradient=g)
    )
    measured = [x - y for x, y in zip(value(after), value(theta), strict=True)]
    assert list(predicted) == measured
    assert all(measured)


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_weight_decay_flow(name):
    case, rule = CASES[name], WeightDecay(DECAY)
    change = defect(case.law, rule)
    theta = draw(case.arch.shapes, 2)
    g = case.generator(theta, output(case, 2))

    def rate(velocity):
        """The derivative of the law along a velocity, by a dual number over the polynomials."""
        e = SparsePolynomial({(0,): 1})
        dual = {
            n: np.vectorize(lambda x, y: SparsePolynomial({(): x}) + e.scaled(y), otypes=[object])(
                theta[n], velocity[n]
            )
            for n in theta
        }
        flat = [entry for factor, _ in case.law.blocks for entry in dual[factor].ravel()]
        out = []
        for polynomial in case.law.polynomials:
            total = SparsePolynomial({})
            for monomial, value in polynomial.terms.items():
                start = SparsePolynomial({(): value})
                total = total + functools.reduce(lambda a, b: a * b, [flat[i] for i in monomial], start)
            out.append(total.terms.get((0,), flint.fmpq(0)))
        return np.array(out, dtype=object)

    measured = rate(plus(times(-DECAY, theta), g, -1))
    assert same(independent(case.law, change.predict(theta=theta)), measured)
    assert any(measured)
    value = entries(case.law, theta)
    if name == "residual":
        assert change.factor(1) is None
        assert not same(measured, exact(-2 * DECAY) * value)
    else:
        degree = case.law.degree
        assert same(measured, exact(-degree * DECAY) * value)
        assert change.factor(2) == pytest.approx(np.exp(-degree * 2 * float(DECAY)), rel=1e-15)
        t = sympy.Symbol("t")
        assert defect(case.law, WeightDecay(sympy.Rational(3, 5))).factor(t) == sympy.exp(
            -degree * sympy.Rational(3, 5) * t
        )
    # Unequal rates: exact still, but no multiple of the law.
    parts = sorted({block for term in case.law.terms or () for block in term.blocks}) or ["W1", "W2"]
    last = parts[-1]
    unequal = defect(case.law, WeightDecay({last: DECAY}))
    slow = {n: value * 0 if n != last else value for n, value in theta.items()}
    measured = rate(plus(times(-DECAY, slow), g, -1))
    assert same(independent(case.law, unequal.predict(theta=theta)), measured)
    assert (unequal.factor(1) is None) == (len(parts) > 1 or name == "residual")
    if len(parts) > 1:
        assert any(measured)
        assert len(value) == 1 or measured[0] * value[1] != measured[1] * value[0]


def test_weight_decay_of_homogeneous_laws_of_other_degrees():
    arch = gram_factorisation(3, 2)
    w = sympy.Matrix(arch.symbolic().symbols["W"])
    # Ratios of minors are conserved by W^T W, and by weight decay, having degree 0.
    minors = [w[[0, 1], :].det(), w[[0, 2], :].det()]
    top, bottom = law_of_expressions(arch.named_shapes, minors).polynomials
    change = defect(law_of_quotients(arch.named_shapes, [(top, bottom)]), WeightDecay(DECAY))
    theta = draw(arch.shapes, 3)
    assert list(change.predict(theta=theta)) == [0]
    assert change.factor(5) == 1
    assert change.right_side == "0"
    cubic = law_of_polynomials(arch.named_shapes, [SparsePolynomial({(0, 0, 1): 2, (3, 4, 5): 1})])
    change = defect(cubic, WeightDecay(DECAY))
    assert list(change.predict(theta=theta)) == list(exact(-3 * DECAY) * entries(cubic, theta))
    mixed = law_of_polynomials(arch.named_shapes, [SparsePolynomial({(0, 0, 1): 2, (3,): 1})])
    assert defect(mixed, WeightDecay(DECAY)).factor(1) is None
    for law, reason in (
        (cubic, "degree 3"),
        (law_of_quotients(arch.named_shapes, [(top, bottom)]), "rational"),
    ):
        for rule in (
            GradientStep(1),
            HeavyBall(1, 1),
            LookAhead(1, 1),
            Inertia(),
            Noise(),
            ImplicitMidpoint(1),
        ):
            with pytest.raises(ValueError, match=f"must be at most quadratic.*{reason}"):
                defect(law, rule)


def momentum_steps(case, look_ahead, steps=3):
    theta, velocity = draw(case.arch.shapes, 4), draw(case.arch.shapes, 5)
    for step in range(steps):
        where = plus(theta, velocity, BETA) if look_ahead else theta
        g = case.generator(where, output(case, step))
        faster = plus(times(BETA, velocity), g, -ETA)
        after = plus(theta, faster)
        yield theta, velocity, g, after, faster
        theta, velocity = after, faster


@pytest.mark.parametrize("rule", [HeavyBall, LookAhead])
@pytest.mark.parametrize("name", CHAINS)
@pytest.mark.parametrize("friction", [0, 1])
def test_noether_laws_under_momentum(rule, name, friction):
    """Heavy ball: ell+ = beta ell. Look-ahead: lost by -eta beta <v, A g>, exactly."""
    case = CASES[name]
    law = case.noether_law(friction)
    change, heavy = defect(law, rule(ETA, BETA)), defect(law, HeavyBall(ETA, BETA))
    for theta, velocity, g, after, faster in momentum_steps(case, rule is LookAhead):
        before = entries(law, with_velocity(theta, velocity))
        later = entries(law, with_velocity(after, faster))
        given = {"theta": theta, "velocity": velocity, "gradient": g}
        assert any(before)
        predicted = change.predict(**given)
        assert same(independent(law, predicted), later - before)
        assert same(predicted, -predicted.T)
        assert same(later, exact(BETA) * before) == (rule is HeavyBall)
        assert same(independent(law, heavy.predict(**given)), later - before) == (rule is HeavyBall)
        if rule is LookAhead:
            lost = entries(law, with_velocity(g, velocity))
            assert any(lost)
            assert same(later - exact(BETA) * before, exact(-ETA * BETA) * lost)
    assert change.factor(3) == (BETA**3 if rule is HeavyBall else None)
    # Control: a direction that is no gradient.
    wrong = draw(case.arch.shapes, 11)
    faster = plus(times(BETA, velocity), wrong, -ETA)
    later = entries(law, with_velocity(plus(theta, faster), faster))
    predicted = change.predict(theta=theta, velocity=velocity, gradient=wrong)
    assert not same(independent(law, predicted), later - entries(law, with_velocity(theta, velocity)))


@pytest.mark.parametrize("rule", [HeavyBall, LookAhead])
@pytest.mark.parametrize("name", EUCLIDEAN)
def test_laws_of_gradient_flow_under_momentum(rule, name):
    """h+ - h = beta q + h_2(v+) and q+ = beta q + 2 h_2(v+), look-ahead with eta beta <v, A g> more."""
    case = CASES[name]
    law, change = case.law, defect(case.law, rule(ETA, BETA))

    def q(theta, velocity):
        # An even step to both sides leaves the linear term: exact for quadratics.
        return (entries(law, plus(theta, velocity)) - entries(law, plus(theta, velocity, -1))) / exact(2)

    for theta, velocity, g, after, faster in momentum_steps(case, rule is LookAhead):
        given = {"theta": theta, "velocity": velocity, "gradient": g}
        measured = entries(law, after) - entries(law, theta)
        assert any(measured)
        assert same(independent(law, change.predict(**given)), measured)
        later = q(after, faster) - q(theta, velocity)
        assert same(independent(law, change.companion.predict(**given)), later)
        if law.degree == 2:
            other = defect(law, LookAhead(ETA, BETA) if rule is HeavyBall else HeavyBall(ETA, BETA))
            assert not same(independent(law, other.predict(**given)), measured)


@pytest.mark.parametrize("name", EUCLIDEAN)
def test_implicit_midpoint(name):
    """From the midpoint both ends of the step are explicit."""
    case = CASES[name]
    middle = draw(case.arch.shapes, 6)
    g = case.generator(middle, output(case, 6))
    before, after = plus(middle, g, ETA / 2), plus(middle, g, -ETA / 2)
    assert same(entries(case.law, before), entries(case.law, after))
    predicted = defect(case.law, ImplicitMidpoint(ETA)).predict(theta=before)
    assert not np.any(predicted)
    assert predicted.shape == case.law.value_shape
    if case.law.degree == 2:
        euler = plus(before, case.generator(before, output(case, 6)), -ETA)
        assert not same(entries(case.law, before), entries(case.law, euler))


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
        rule = Inertia(self.tau if friction == "tau" else ("over_t", self.tau))
        rate = self.tau if friction == "tau" else self.tau / self.t
        theta, velocity, derivative = self.second_order(rate)
        law = law_of_terms(self.arch.named_shapes, balance("W1", "W2"))
        change = defect(law, rule)
        predicted = independent(law, change.predict(velocity=self.named(velocity)))
        for entry, expected in zip(entries_sympy(law, theta), predicted, strict=True):
            first = derivative(entry)
            assert sympy.simplify(derivative(first) + rate * first - expected) == 0
            assert sympy.simplify(derivative(first) - expected) != 0
        noether = Case(self.arch, balance("W1", "W2"), noether=("W1", "W2")).noether_law()
        change = defect(noether, rule)
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
        change = defect(law, Noise())
        predicted = independent(law, change.predict(noise=[self.named(column) for column in columns]))
        assert not np.any(defect(law, Noise(stratonovich=True)).predict())
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


class TestNumberTypes:
    case = CASES["chain"]
    change = defect(CASES["chain"].law, GradientStep(0.1, F(1, 5)))

    def point(self, kind):
        theta = draw(self.case.arch.shapes, 7)
        g = self.case.generator(theta, output(self.case, 7))
        convert = np.vectorize(kind, otypes=[object])
        return {
            "theta": {n: convert(x) for n, x in theta.items()},
            "gradient": {n: convert(x) for n, x in g.items()},
        }

    def floats(self):
        given = self.point(float)
        return {k: {n: jnp.asarray(x.astype(float)) for n, x in v.items()} for k, v in given.items()}

    def test_all_exact_types_agree(self):
        reference = self.change.predict(**self.point(lambda x: x))
        fractions = self.change.predict(**self.point(lambda x: F(int(x.p), int(x.q))))
        rationals = self.change.predict(**self.point(lambda x: sympy.Rational(int(x.p), int(x.q))))
        mixed = self.change.predict(
            theta=self.point(lambda x: F(int(x.p), int(x.q)))["theta"],
            gradient=self.point(lambda x: x)["gradient"],
        )
        assert isinstance(fractions[0, 0], F)
        assert isinstance(rationals[0, 0], sympy.Rational)
        assert reference.shape == (3, 3)
        assert same(reference, reference.T)
        for other in (fractions, rationals, mixed):
            assert [F(int(x.p), int(x.q)) for x in reference.ravel()] == [
                F(int(x.numerator), int(x.denominator))
                if not isinstance(x, flint.fmpq)
                else F(int(x.p), int(x.q))
                for x in other.ravel()
            ]

    def test_integers_are_exact(self):
        big = {"W1": np.full((3, 2), 10**9), "W2": np.full((2, 3), 10**9 + 1)}
        value = defect(self.case.law, GradientStep(1)).predict(gradient=big)
        assert value[0, 1] == 2 * (10**9 + 1) ** 2 - 2 * 10**18

    def test_jax(self):
        given = self.floats()
        exact_values = self.change.predict(**self.point(lambda x: F(int(x.p), int(x.q)))).astype(float)
        value = self.change.predict(**given)
        assert isinstance(value, jax.Array)
        np.testing.assert_allclose(value, exact_values, rtol=1e-12)
        compiled = jax.jit(lambda given: self.change.predict(**given))(given)
        np.testing.assert_allclose(compiled, exact_values, rtol=1e-12)
        stack = jax.tree.map(lambda x: jnp.stack([x, 2 * x]), given)
        np.testing.assert_allclose(
            jax.vmap(lambda given: self.change.predict(**given))(stack)[1], 4 * exact_values, rtol=1e-12
        )
        slope = jax.grad(lambda given: jnp.sum(self.change.predict(**given)))(given)
        assert jax.tree.all(jax.tree.map(lambda x: bool(jnp.any(x != 0)), slope))
        rate = jax.jit(
            lambda eta: defect(self.case.law, GradientStep(eta)).predict(gradient=given["gradient"])
        )(0.5)
        np.testing.assert_allclose(rate, 0.25 * self.case.law(given["gradient"]), rtol=1e-12)

    def test_symbols(self):
        eta = sympy.Symbol("eta")
        symbols = self.case.arch.symbolic().symbols
        value = defect(self.case.law, GradientStep(eta)).predict(gradient=symbols)
        assert sympy.expand(value[0, 1] - eta**2 * self.case.law.matrix[0, 1]) == 0
        with pytest.raises(ValueError, match="must hold numbers where the point does"):
            defect(self.case.law, GradientStep(eta)).predict(gradient=self.point(lambda x: x)["gradient"])


class TestGradientDescentObjects:
    @pytest.mark.parametrize(
        "settings", [{}, {"weight_decay": 0.3}, {"weight_decay": 0.3, "rates": {"W1": 2.0}}]
    )
    def test_one_step(self, settings):
        arch = linear_network((2, 3, 2))
        law = CASES["chain"].law
        loss = lambda z: jnp.sum((z - 1.0) ** 2)
        rule = GradientDescent(arch, loss, 0.05, **settings)
        theta = {n: jax.random.normal(jax.random.key(i), s) for i, (n, s) in enumerate(arch.named_shapes)}
        g = jax.grad(lambda p: loss(arch(p)))(theta)
        after = rule.step(0, theta)
        predicted = defect(law, rule).predict(theta=theta, gradient=g)
        np.testing.assert_allclose(predicted, law(after) - law(theta), rtol=0, atol=1e-13)
        assert np.max(np.abs(predicted)) > 1e-3

    def test_refuses_others(self):
        law = CASES["chain"].law

        class Rule:
            learning_rate, momentum = 0.1, 0.9

        for rule in (Rule(), 0.1, "gradient descent"):
            with pytest.raises(
                TypeError, match="one of GradientStep, HeavyBall, .* or have a `learning_rate`"
            ):
                defect(law, rule)


class TestWriting:
    def test_two_layers(self):
        arch = Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)})
        law = law_of_terms(arch.named_shapes, [(1, "U", "gram-left"), (-1, "V", "gram-left")])
        change = defect(law, GradientStep(0.1))
        assert change.statement == (
            r"H_+ - H = \eta^2 \bigl(G_{U}^\top G_{U} - G_{V}^\top G_{V}\bigr)"
            r",\qquad H = U^\top U - V^\top V"
        )
        assert change.order == r"O(\eta)"
        assert "drift over a fixed time" in str(change)
        assert change._repr_latex_() == rf"$\displaystyle {change.statement}$"
        assert defect(law, LookAhead(0.1, 0.9)).right_side == (
            r"\beta Q + \bigl({V^+_{U}}^\top {V^+_{U}} - {V^+_{V}}^\top {V^+_{V}}\bigr)"
            r" + \eta\beta \langle V, A G \rangle,\quad Q = \langle V, \nabla H \rangle"
        )
        assert defect(law, WeightDecay(1)).right_side == r"-2\lambda H"
        assert defect(law, Inertia(1)).quantity == r"\ddot{H} + \tau\,\dot{H}"
        assert defect(law, Inertia()).quantity == r"\ddot{H}"

    def test_noether(self):
        law = CASES["chain"].noether_law(1)
        assert defect(law, HeavyBall(0.1, 0.9)).statement == (
            r"S_+ - S = (\beta - 1) S,\qquad S = W_{1} V_{W_{1}}^\top - V_{W_{1}} W_{1}^\top"
            r" + W_{2}^\top V_{W_{2}} - V_{W_{2}}^\top W_{2}"
        )
        assert r"- \eta\beta \bigl(G_{W_{1}} V_{W_{1}}^\top" in defect(law, LookAhead(0.1, 0.9)).right_side

    def test_unfolded_tensors(self):
        blocks = (("U", (2, 3)), ("G", (3, 1, 2)))
        law = law_of_terms(blocks, [(1, "U", "gram-left"), Term(F(-1), "gram", ("G",), (), (0,))])
        assert defect(law, GradientStep(1)).right_side == (
            r"\eta^2 \bigl(G_{U}^\top G_{U} - {G_{G}}_{(1)} {G_{G}}_{(1)}^\top\bigr)"
        )

    @pytest.mark.parametrize("name", CASES)
    def test_is_latex_of_the_laws_own_terms(self, name):
        case = CASES[name]
        rules = [
            GradientStep(1),
            GradientStep(1, 1),
            HeavyBall(1, 1),
            LookAhead(1, 1),
            WeightDecay(1),
            Noise(),
        ]
        for rule in (*rules, Inertia(1), GradientStep(1, 0, {case.law.blocks[0][0]: 2})):
            text = defect(case.law, rule).statement
            assert text.count("{") == text.count("}")
            assert "W_{1" not in re.sub(r"W_\{1[,}]", "", text)
            # No second superscript on a letter that has one.
            assert not re.search(r"\^[+k]_\{(?:[^{}]|\{[^{}]*\})*\}\^", text)
        linear = case.law.degree == 1
        assert (defect(case.law, GradientStep(1)).right_side == "0") == linear
        assert (defect(case.law, GradientStep(1)).order == "0") == linear


class TestRefusals:
    law = CASES["chain"].law

    @pytest.mark.parametrize(
        "make",
        [
            lambda: GradientStep(-0.1),
            lambda: GradientStep(float("nan")),
            lambda: GradientStep("0.1"),
            lambda: HeavyBall(0.1, float("inf")),
            lambda: WeightDecay({"W1": -1}),
            lambda: GradientStep(0.1, 0, {"W1": -1}),
            lambda: Inertia(("over_t", -1)),
            lambda: Inertia("fast"),
        ],
    )
    def test_numbers(self, make):
        with pytest.raises(ValueError, match="must be a finite number of at least 0, but is"):
            make()

    def test_names_of_factors(self):
        for rule in (GradientStep(1, 0, {"W3": 2}), WeightDecay({"W3": 2})):
            with pytest.raises(ValueError, match=r"must name factors of \['W1', 'W2'\], but names \['W3'\]"):
                defect(self.law, rule)

    def test_points(self):
        theta = draw(CASES["chain"].arch.shapes, 0)
        change = defect(self.law, HeavyBall(1, 1))
        with pytest.raises(ValueError, match="`velocity` must be given for HeavyBall"):
            change.predict(theta=theta, gradient=theta)
        with pytest.raises(ValueError, match=r"`gradient` must hold the factors .* but lacks \['W2'\]"):
            change.predict(theta=theta, velocity=theta, gradient={"W1": theta["W1"]})
        with pytest.raises(ValueError, match="`theta` must hold the factors .* but is ndarray"):
            change.predict(theta=theta["W1"], velocity=theta, gradient=theta)
        with pytest.raises(ValueError, match=r"`theta\['W2'\]` must have shape \(2, 3\), but has \(3, 2\)"):
            change.predict(theta=theta | {"W2": theta["W1"]}, velocity=theta, gradient=theta)

    def test_noether_laws_need_a_velocity(self):
        law = CASES["chain"].noether_law()
        for rule in (GradientStep(1), WeightDecay(1), Noise(), ImplicitMidpoint(1)):
            with pytest.raises(ValueError, match="`rule` must have a velocity"):
                defect(law, rule)

    def test_laws_of_momentum_of_another_form(self):
        blocks = training_system(linear_network((1, 1, 1)), momentum=0).blocks
        # s, W1, W2, W1', W2' are 0, ..., 4.
        for terms in (
            {(1, 2): 1},
            {(1, 3): 1},
            {(1, 4): 1, (2, 3): 1},
            {(1, 4): 1, (0, 2, 3): -1},
            {(1,): 1},
        ):
            law = law_of_polynomials(blocks, [SparsePolynomial(terms)])
            with pytest.raises(ValueError, match="time factor times <v, A theta"):
                defect(law, HeavyBall(1, 1))
        skew = law_of_polynomials(blocks, [SparsePolynomial({(1, 4): 1, (2, 3): -1, (3,): 5})])
        assert defect(skew, HeavyBall(1, 1)).right_side == r"(\beta - 1) \ell"
