"""Rational φ: laws found and proved, against counts from SymPy; points and primes at which φ is not defined."""

import itertools

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

from dlntheory.architecture import Architecture
from dlntheory.exact import DivisionByZeroInRing, NilpotentModular
from dlntheory.exact.rings.fractions import Quotients
from dlntheory.families import scale_invariant, weight_normalised
from dlntheory.laws.conservation import conservation_laws
from dlntheory.laws.denominators import cleared
from dlntheory.laws.law import IDENTITY, RANDOM_POINTS, law_of_expressions, law_of_terms
from dlntheory.laws.proof.certificate import certify, check
from dlntheory.laws.proof.degree_bounds import field_degree
from dlntheory.laws.proof.lie_rank import lie_rank, random_point, usable_primes
from dlntheory.laws.proof.verification import NotConservedError, check_constants, expand, require, verify
from dlntheory.laws.search.strategies import find_laws, search_stages
from dlntheory.laws.systems import GradientSystem, MomentumSystem

RATIO = Architecture(lambda p: p["u"] / p["v"], {"u": (2,), "v": (2,)}, name="ratio")
DEEP = Architecture(
    lambda p: p["W"] @ (p["V"] * (p["g"] ** 2 / (p["V"] ** 2).sum(axis=1))[:, None]),
    {"W": (2, 2), "V": (2, 2), "g": (2,)},
    name="a layer on normalised weights",
)
UNDEFINED = Architecture(lambda p: p["u"] / (7.0 * p["v"]), {"u": (), "v": ()})


@pytest.mark.parametrize(
    ("arch", "laws", "count"),
    [
        (scale_invariant(2), ["|v|^2"], 1),
        (scale_invariant(4), ["|v|^2"], 1),
        (weight_normalised(2, 1), ["|V|^2"], 1),
        (weight_normalised(3, 2), ["diag(V V^T)"], 2),
        (weight_normalised(5, 6), ["diag(V V^T)"], 6),
        (RATIO, ["u*u + v*v"], 2),
        (DEEP, ["diag(W^T W) + diag(V V^T)", "2*diag(V V^T) + g*g"], 4),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_laws_are_found_and_none_is_missing(arch, laws, count):
    found = conservation_laws(arch)
    assert [law.name for law in found.laws] == laws
    assert {law.verified for law in found.laws} == {IDENTITY}
    assert (found.count, found.status) == (count, "complete")
    system = GradientSystem(arch)
    assert check(certify(system, found.laws), system)


@pytest.mark.parametrize("arch", [scale_invariant(3), weight_normalised(2, 2), RATIO, DEEP])
def test_every_search_finds_the_same_number(arch):
    system = GradientSystem(arch)
    expected = system.dimension - lie_rank(system).rank
    for options in ({"forms": "gram"}, {"forms": "polynomial"}, {"forms": "polynomial", "degree": 3}):
        assert sum(law.rank for law in find_laws(system, **options)) == expected
    names = [name for name, *_ in search_stages(system)]
    assert names == ["Gram ansatz", "quadratic search", "rational search"]


def test_a_law_is_also_conserved_in_sympy():
    """Independent of everything here: <grad h, grad φ_i> by SymPy's own calculus."""
    arch = weight_normalised(2, 2)
    symbolic = arch.symbolic()
    symbols = [s for name in arch.shapes for s in symbolic.symbols[name].ravel()]
    (law,) = conservation_laws(arch).laws
    renamed = dict(zip(law.symbols, symbols, strict=True))
    for expression, z in itertools.product(law.expressions, sympy.flatten(symbolic.z.tolist())):
        h = expression.xreplace(renamed)
        assert sympy.simplify(sum(sympy.diff(h, s) * sympy.diff(z, s) for s in symbols)) == 0


def test_false_laws_are_refused_with_a_coefficient():
    system = GradientSystem(weight_normalised(2, 1))
    a, b, g = law_of_expressions(system.blocks, [0]).symbols
    require(system, law_of_expressions(system.blocks, [(a**2 + b**2) ** 2]))
    for wrong in (a**2 + 2 * b**2, a**2 + b**2 + g, a**2 + b**2 - g**2, g):
        verification = verify(system, law_of_expressions(system.blocks, [wrong]))
        assert not verification
        assert verification.value
        assert verification.monomial
        assert verification.cleared
    verification = verify(system, law_of_expressions(system.blocks, [g]))
    # z_11 = g^2 a^2 / s with s = a^2 + b^2: the derivative by g is 2 g a^2 / s, and the least denominator s^2.
    assert (verification.generator, verification.monomial, verification.value) == (0, "V[1,1]^4*g[1]", 2)
    with pytest.raises(NotConservedError, match=r"…, times its denominator\.$"):
        require(system, law_of_expressions(system.blocks, [g]))


def test_the_cleared_fields_are_multiples_of_the_fields():
    system = MomentumSystem(DEEP, friction=2)
    generators, ring = expand(system), NilpotentModular()
    assert generators.cleared
    assert len(generators.fields) == 1 + 4
    rng = np.random.default_rng(0)
    point = system.defined_points(ring, rng, 1)
    state = system.unflatten(ring, point[None])
    for name, field in generators.fields:
        unit = [ring.constant(0), ring.constant(np.zeros((2, 2)))]
        index = name[0] - system.dimension
        unit[index > 0] = ring.constant(1 if not index else np.eye(4)[index - 1].reshape(2, 2))
        values = system.flatten(ring, system.field(ring, state, tuple(unit)))[0, 0]
        zero, p = [], ring.prime
        ratios = set()
        for variable, value in enumerate(values.tolist()):
            expanded = field[variable].evaluate_mod(point[0], p) if variable in field else 0
            (ratios.add(expanded * pow(value, -1, p) % p) if value else zero.append(expanded))
        assert len(ratios) == 1
        assert not any(zero)


def test_each_generator_has_its_own_denominator():
    """With all neurons over one denominator the degree would be 2 + 4 · 6 or more."""
    generators = expand(GradientSystem(weight_normalised(3, 6)))
    assert max(component.degree for component in generators.components) <= 1 + 6


def test_without_expansion_points_decide():
    system = GradientSystem(weight_normalised(3, 2))
    good, bad = (law_of_terms(system.blocks, [(1, "V", kind)]) for kind in ("diag-right", "gram-left"))
    verification = verify(system, good, max_terms=0)
    assert (verification.method, bool(verification)) == (RANDOM_POINTS, True)
    assert not verify(system, bad, max_terms=0)
    assert not verify(system, bad)


def test_large_systems_are_not_expanded():
    system = GradientSystem(weight_normalised(40, 3))
    laws = find_laws(system, forms="gram")
    assert [(law.name, law.rank, law.verified) for law in laws] == [("diag(V V^T)", 3, RANDOM_POINTS)]
    names = [name for name, *_ in search_stages(system)]
    assert names == ["Gram ansatz", "polynomial search skipped: φ has too many terms to be expanded"]
    assert expand(GradientSystem(scale_invariant(10)), 1000) is None


def test_constants_are_checked():
    arch = Architecture(lambda p: np.sqrt(2.0) * p["u"] / p["v"], {"u": (), "v": ()})
    with pytest.raises(ValueError, match="denominators up to 1000000"):
        check_constants(GradientSystem(arch))
    with pytest.raises(ValueError, match="denominators up to 1000000"):
        conservation_laws(arch)


def test_the_rank_at_a_point():
    system = GradientSystem(scale_invariant(3))
    assert lie_rank(system, at=[1, 2, 3]).rank == 2
    with pytest.raises(
        ValueError, match="`at` must be a point where φ is defined, but a denominator of φ vanishes"
    ):
        lie_rank(system, at=[0, 0, 0])
    # 1 + 4 + 9 = 14 is zero modulo 7: the point is fine, the prime is not.
    found = lie_rank(system, at=[1, 2, 3], primes=(7,))
    assert 7 not in found.primes
    assert found.rank == 2


def test_points_where_a_denominator_vanishes_are_drawn_again():
    """Modulo 5 the form x^2 + y^2 = (x + 2y)(x - 2y) vanishes at half of all points with x, y != 0."""
    system, ring = GradientSystem(scale_invariant(2)), NilpotentModular(5)
    squares = []
    for seed in range(40):
        first = np.random.default_rng([seed, 5]).integers(1, 5, size=(1, 2))[0]
        try:
            point = random_point(system, 5, seed)
        except DivisionByZeroInRing:
            assert not (first**2).sum() % 5
            squares.append(None)
            continue
        squares.append(int((first**2).sum() % 5))
        assert (point**2).sum() % 5
        if squares[-1]:
            assert point.tolist() == first.tolist()
    assert 5 < squares.count(0) < 35
    points = system.defined_points(ring, np.random.default_rng(1), 3)
    assert ((points**2).sum(axis=1) % 5).all()
    for seed in range(10):
        found = lie_rank(system, primes=(5,), seed=seed)
        assert found.rank == 1
        assert check(
            certify(system, conservation_laws(scale_invariant(2)).laws, primes=(5,), seed=seed), system
        )


def test_primes_that_divide_a_denominator_give_way():
    system = GradientSystem(UNDEFINED)
    assert next(usable_primes(system, (7, 11), 0)) == 11
    with pytest.raises(DivisionByZeroInRing, match="zero modulo 7"):
        random_point(system, 7, 0)
    assert 7 not in lie_rank(system, primes=(7,)).primes
    # Modulo 2 the only point without zeros is (1, 1), where u^2 + v^2 vanishes.
    assert next(usable_primes(GradientSystem(scale_invariant(2)), (2, 3), 0)) == 3


def test_a_denominator_that_is_zero_at_every_point_ends_the_search(monkeypatch):
    monkeypatch.setattr("dlntheory.architecture._check_at_random_point", lambda arch: None)
    arch = Architecture(lambda p: p["u"] / (p["v"] - p["v"]), {"u": (), "v": ()})
    with pytest.raises(DivisionByZeroInRing, match="take another point or another prime"):
        lie_rank(GradientSystem(arch))


def test_degrees_of_rational_fields():
    prime = 2**31 - 1
    # grad of c u/v: (c/v, -c u/v^2) = (c v, -c u)/v^2.
    ratio = Architecture(lambda p: p["u"] / p["v"], {"u": (), "v": ()})
    assert field_degree(GradientSystem(ratio), prime, 0) == 2 * 2
    # grad of c v v^T/s: numerators c v s and c v v v over s^2.
    assert field_degree(GradientSystem(scale_invariant(3)), prime, 0) == 2 * 4
    assert field_degree(GradientSystem(scale_invariant(3)), 7, 0) == 7
    found = lie_rank(GradientSystem(scale_invariant(3)))
    assert found.status == "saturated"
    assert found.error_probability == pytest.approx(
        (3 * len(found.ranks) * 8) ** 2 / found.primes[0] / found.primes[1], rel=1e-12
    )


def test_a_denominator_in_the_combination_is_refused():
    ring = Quotients()
    x = ring.variables((2,))
    with pytest.raises(ValueError, match="denominators in the 1 coordinates only, but x1"):
        cleared(ring, ring.reciprocal(x), 1)


def test_momentum():
    """Rotations of the rows of W leave W^T W as it is: one angular momentum. Scalings alone give no law."""
    assert conservation_laws(scale_invariant(2), momentum=1).count == 0
    shared = Architecture(
        lambda p: (p["W"].T @ p["W"]) / jnp.sum(p["W"] ** 2), {"W": (2, 2)}, name="normalised gram"
    )
    for friction in (0, 1):
        found = conservation_laws(shared, momentum=friction)
        assert (found.count, found.status) == (1, "complete")
