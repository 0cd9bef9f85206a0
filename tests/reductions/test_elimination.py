"""Relations by elimination: known polynomials, branches against the closed forms, a real time limit, refusals."""

import time

import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import dlntheory as dln
from dlntheory.reductions.base import FormError
from dlntheory.reductions.intrinsicity.parameter_elimination import eliminate_parameters
from dlntheory.reductions.mirror import mirror_potential


def pair(phi, size=1, name="pair"):
    return dln.Architecture(phi, {"u": (size,), "v": (size,)}, name=name)


CUBES = pair(lambda p: p["u"] ** 3 - p["v"] ** 3, name="cubes")
START = {"u": np.array([1.1]), "v": np.array([0.6])}


def same(found, expected):
    return sympy.expand(found - expected) == 0 or sympy.expand(found + expected) == 0


def test_two_factors_and_squares():
    k, z, c2, kappa = sympy.symbols("k z c2 kappa")
    product = eliminate_parameters(
        pair(lambda p: p["u"] * p["v"], 2), {"u": np.array([2.0, 1.0]), "v": np.array([1.0, 3.0])}, 1
    )
    assert same(product.polynomial, k**2 - c2**2 - 4 * z**2)
    assert (product.status, product.method, product.degree, product.terms) == ("found", "resultant", 2, 3)
    assert product.branch == (2, 2)
    assert product.values == (8.0,)
    assert product.definitions == ("v[1]^2 - u[1]^2",)
    assert product.metric == 10.0
    squares = eliminate_parameters(pair(lambda p: (p["u"] ** 2 - p["v"] ** 2) / 2 + 1), START)
    # z - 1 = p / 2 and k = K(p) / 4 with K = 4 sqrt(p^2 + 4 kappa^2).
    assert same(squares.polynomial, k**2 - 4 * (z - 1) ** 2 - 4 * kappa**2)
    assert "branch" in str(squares)
    assert "2^{2}" not in squares.latex()
    assert squares.latex().endswith("= 0")


@pytest.mark.parametrize(
    ("arch", "degree", "terms"),
    [
        (dln.linear_network((1, 1, 1, 1)), 3, None),
        pytest.param(dln.linear_network((1, 1, 1, 1, 1)), 4, 98, marks=pytest.mark.slow),
        (CUBES, 6, None),
        pytest.param(pair(lambda p: 1 + (p["u"] ** 4 - p["v"] ** 4) / 2), None, None, marks=pytest.mark.slow),
    ],
)
def test_branch_of_the_start_is_followed(arch, degree, terms):
    """Against the metric of the closed forms, across z = 0, where branches of R cross."""
    rng = np.random.default_rng(4)
    theta0 = {name: rng.uniform(0.3, 1.3, shape) for name, shape in arch.shapes.items()}
    relation = eliminate_parameters(arch, theta0)
    assert degree in (None, relation.degree)
    assert terms in (None, relation.terms)
    assert relation.residual(relation.metric, relation.start) < 1e-14
    potential = mirror_potential(arch, theta0)
    for factor in (-3.0, -1.0, 0.0, 0.3, 20.0):
        z = factor * relation.start[0]
        expected = float(potential.metric(jnp.full(arch.output_shape, z))[0, 0])
        assert relation(z) == pytest.approx(expected, rel=1e-10)
        assert relation.residual(1.1 * expected, z) > 1e-6
    assert 1 <= relation.branch[0] <= relation.branch[1]


@pytest.mark.slow
def test_groebner_bases_reach_entries_off_the_diagonal():
    neuron = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (2,)}, name="neuron")
    theta0 = {"u": np.array([0.8]), "v": np.array([0.4, -0.9])}
    relation = eliminate_parameters(neuron, theta0, (0, 1))
    assert relation.method == "groebner"
    z = np.array([-0.4, 0.9])
    expected = float(mirror_potential(neuron, theta0).metric(jnp.asarray(z))[0, 1])
    assert relation(z) == pytest.approx(expected, rel=1e-10)
    chain = eliminate_parameters(
        dln.linear_network((1, 1, 1, 1)),
        {f"W{l}": np.full((1, 1), 0.5 * l) for l in (1, 2, 3)},
        method="groebner",
    )
    assert chain.degree == 3


def test_time_limit_is_kept():
    u, v = (symbols.ravel()[0] for symbols in CUBES.symbolic().symbols.values())
    begin = time.perf_counter()
    relation = eliminate_parameters(CUBES, START, method="groebner", laws=[1 / u + 1 / v], time_limit=1.5)
    assert time.perf_counter() - begin < 6.0
    assert (relation.status, relation.polynomial, relation.branch) == ("open", None, None)
    assert relation.reason == "time limit of 1.5 s reached"
    assert "open" in repr(relation)
    assert relation.definitions == ("(u[0] + v[0]) / (u[0]*v[0])",)
    assert relation._repr_latex_().endswith(r"\text{open}$")
    with pytest.raises(ValueError, match="status is 'open'"):
        relation(0.1)


def test_without_its_law_there_is_no_relation():
    relation = eliminate_parameters(CUBES, START, method="groebner", laws=[])
    assert relation.status == "open"
    assert relation.reason == "no relation follows from the 0 laws at hand"


def test_bad_input():
    with pytest.raises(ValueError, match="`method` must be"):
        eliminate_parameters(CUBES, START, method="magic")
    with pytest.raises(ValueError, match="`time_limit` must be"):
        eliminate_parameters(CUBES, START, time_limit=0)
    with pytest.raises(ValueError, match="`entry` must be one or two indices below 1"):
        eliminate_parameters(CUBES, START, 1)
    u, v = (symbols.ravel()[0] for symbols in CUBES.symbolic().symbols.values())
    with pytest.raises(ValueError, match="must hold conserved quantities"):
        eliminate_parameters(CUBES, START, method="groebner", laws=[1 / u + 1 / v**2])
    with pytest.raises(FormError, match="shares a parameter"):
        eliminate_parameters(
            dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (2,)}, name="neuron"),
            {"u": np.ones(1), "v": np.ones(2)},
            method="resultant",
        )
    with pytest.raises(FormError, match="neither a product nor a difference"):
        eliminate_parameters(pair(lambda p: p["u"] + p["v"]), START, method="resultant")
    with pytest.raises(FormError, match="on the diagonal"):
        eliminate_parameters(
            pair(lambda p: p["u"] * p["v"], 2), {"u": np.ones(2), "v": np.ones(2)}, (0, 1), method="resultant"
        )
