"""True laws are identities, false ones are refused with the coefficient, large ones by theorem, others at points."""

import dataclasses
from fractions import Fraction

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.families.relu import relu_network
from dlntheory.laws.law import IDENTITY, NOT_VERIFIED, RANDOM_POINTS, law_of_expressions, law_of_terms
from dlntheory.laws.proof.verification import (
    THEOREM_LINEAR,
    THEOREM_RELU,
    NotConservedError,
    check_constants,
    expand,
    require,
    verify,
)
from dlntheory.laws.systems import GradientSystem, MomentumSystem

LINEAR = GradientSystem(linear_network((2, 3, 2)))
RELU = GradientSystem(relu_network((2, 3, 2), bias=True))


def balanced(system, leaving=1, entering=-1):
    return law_of_terms(system.blocks, [(leaving, "W2", "gram-left"), (entering, "W1", "gram-right")])


def neuron(system, bias=-1):
    terms = [(1, "W2", "diag-left"), (-1, "W1", "diag-right")]
    return law_of_terms(system.blocks, terms + ([(bias, "b1", "square")] if bias else []))


def test_a_law_is_an_identity():
    law = balanced(LINEAR)
    assert law.verified == NOT_VERIFIED
    assert require(LINEAR, law).verified == IDENTITY
    assert verify(LINEAR, law).error_probability == 0


def test_a_false_law_is_refused_with_its_nonzero_coefficient():
    arch = Architecture(lambda p: jnp.stack([p["u"] * p["v"], p["v"] ** 2]), {"u": (), "v": ()})
    system = GradientSystem(arch)
    u, v = law_of_expressions(system.blocks, [0]).symbols
    # Along u v: 2u v + 2c v u; along v^2: 2 c v 2 v. With c = -1 only the second generator sees it.
    verification = verify(system, law_of_expressions(system.blocks, [u**2 - v**2]))
    assert not verification
    assert (verification.generator, verification.monomial, verification.value) == (1, "v^2", Fraction(-4))
    assert verification.method == IDENTITY
    verification = verify(system, law_of_expressions(system.blocks, [u**2 + 2 * v]))
    assert (verification.generator, verification.entry) == (0, 0)
    with pytest.raises(
        NotConservedError, match=r"along generator 1 entry 0 changes at the rate … -4 v\^2"
    ) as error:
        require(system, law_of_expressions(system.blocks, [u**2 - v**2]))
    assert not error.value.verification


@pytest.mark.parametrize(("leaving", "entering"), [(1, 1), (2, -1), (1, Fraction(-9999, 10000))])
@pytest.mark.parametrize("max_terms", [10**5, 0])
def test_one_wrong_coefficient_is_enough(leaving, entering, max_terms):
    assert not verify(LINEAR, balanced(LINEAR, leaving, entering), max_terms=max_terms)


def test_the_generator_of_a_chain_is_the_output_that_sees_the_defect():
    u = law_of_expressions(LINEAR.blocks, [0]).symbols
    # Only output row 2 moves W2[2, 1] = coordinate 9.
    verification = verify(LINEAR, law_of_expressions(LINEAR.blocks, [u[9]]))
    assert verification.generator in (2, 3)
    assert verification.monomial == f"W1[1,{verification.generator - 1}]"


def test_generators_of_a_momentum_system_count_the_drift_first():
    system = MomentumSystem(linear_network((1, 1, 1)), friction=1)
    s, w1, w2, v1, v2 = law_of_expressions(system.blocks, [0]).symbols
    assert verify(system, law_of_expressions(system.blocks, [s * w1])).generator == 0
    assert verify(system, law_of_expressions(system.blocks, [s * v1])).generator == 1
    assert not verify(system, law_of_expressions(system.blocks, [w1 * v2 - w2 * v1]))


def test_large_chains_are_recognised_by_their_coefficients():
    for max_terms, method in ((10**5, IDENTITY), (0, THEOREM_LINEAR)):
        assert verify(LINEAR, balanced(LINEAR), max_terms=max_terms).method == method
    deep = GradientSystem(linear_network((2, 3, 2, 2)))
    norms = law_of_terms(deep.blocks, [(1, "W3", "norm"), (1, "W2", "norm"), (-2, "W1", "norm")])
    assert verify(deep, norms, max_terms=0).method == THEOREM_LINEAR
    assert not verify(deep, dataclasses.replace(norms, terms=norms.terms[:2]), max_terms=0)
    diagonal = law_of_terms(deep.blocks, [(3, "W3", "diag-left"), (-3, "W2", "diag-right")])
    assert verify(deep, diagonal, max_terms=0).method == THEOREM_LINEAR
    skipped = law_of_terms(deep.blocks, [(1, "W3", "gram-left"), (-1, "W1", "gram-left")])
    assert not verify(deep, skipped, max_terms=0)


def test_path_products_have_neuron_laws_by_theorem():
    assert verify(RELU, neuron(RELU)).method == IDENTITY
    assert verify(RELU, neuron(RELU), max_terms=0).method == THEOREM_RELU
    for wrong in (0, 1, -2):
        assert not verify(RELU, neuron(RELU, wrong))
        assert not verify(RELU, neuron(RELU, wrong), max_terms=0)
    full = law_of_terms(RELU.blocks, [(1, "W2", "gram-left"), (-1, "W1", "gram-right"), (-1, "b1", "outer")])
    assert not verify(RELU, full, max_terms=0)
    norms = law_of_terms(RELU.blocks, [(1, "W2", "norm"), (-1, "W1", "norm"), (-1, "b1", "norm")])
    assert verify(RELU, norms, max_terms=0).method == THEOREM_RELU


def test_what_no_theorem_covers_is_only_checked_at_points():
    def twice(p):
        z = p["W2"] @ p["W1"]
        return jnp.stack([z, 2 * z])

    arch = Architecture(twice, {"W1": (3, 2), "W2": (2, 3)})
    verification = verify(GradientSystem(arch), balanced(GradientSystem(arch)), max_terms=0)
    assert (verification.method, verification.law.verified) == (RANDOM_POINTS, RANDOM_POINTS)
    # The gradient of the law has degree 1, the fields 2 in point and combination: d = 3, four points, two primes.
    expected = (3 / (2**31 - 2)) ** 4 * (3 / (2**31 - 20)) ** 4
    assert verification.error_probability == pytest.approx(expected, rel=1e-12)


def test_the_expanded_fields_are_the_fields():
    system = MomentumSystem(linear_network((2, 2, 1)), friction=3)
    generators = expand(system)
    terms = sum(len(component.terms) for component in generators.components)
    assert terms <= check_constants(system)
    assert generators.fields[0][0] == (system.dimension,)
    drift = generators.fields[0][1]
    names = law_of_expressions(system.blocks, [0]).symbols
    assert drift[0].to_sympy(names) == 3 * names[0]
    assert len(generators.fields) == 1 + 2


def test_constants_that_are_no_fractions_are_refused():
    arch = Architecture(lambda p: np.sqrt(2.0) * p["u"] * p["v"], {"u": (2,), "v": (2,)})
    with pytest.raises(ValueError, match=r"denominators up to 1000000, but holds 1\.414"):
        check_constants(GradientSystem(arch))


def test_laws_of_another_system_are_refused():
    with pytest.raises(ValueError, match="must be in the coordinates"):
        verify(RELU, balanced(LINEAR))
