"""`conservation_laws`: the entry point, from an architecture to laws, values and JSON."""

import json
import time
from fractions import Fraction

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy

import dlntheory.laws.conservation as conservation
from dlntheory import UnsupportedPrimitiveError
from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.families.relu import relu_network
from dlntheory.initial import gaussian
from dlntheory.laws import imbalances
from dlntheory.laws.conservation import conservation_laws
from dlntheory.laws.law import law_of_terms
from dlntheory.laws.proof.certificate import check
from dlntheory.laws.proof.verification import NotConservedError

ARCH = linear_network((2, 3, 3, 2))


@pytest.fixture(scope="module")
def laws():
    return conservation_laws(ARCH)


def test_a_linear_network(laws):
    assert (laws.count, laws.lower, laws.upper, laws.status) == (12, 12, 12, "complete")
    assert [law.name for law in laws.laws] == ["W2^T W2 - W1 W1^T", "W3^T W3 - W2 W2^T"]
    assert laws.searched == ("Gram ansatz",)
    assert laws.unused == ()
    # The search for brackets knows when to stop, so that no level is spent on showing that it adds nothing.
    assert (laws.certificate.lie.status, laws.certificate.lie.target) == ("target", 9)
    assert check(laws.certificate, laws.system)


def test_values_are_the_imbalances(laws):
    theta = gaussian(ARCH, jax.random.key(0))
    values = jax.jit(laws)(theta)
    for value, expected in zip(values.values(), imbalances(ARCH, theta), strict=True):
        np.testing.assert_allclose(value, expected, rtol=0, atol=1e-14)


def test_the_derivative_along_any_gradient_vanishes(laws):
    theta = gaussian(ARCH, jax.random.key(1))
    gradient = jax.grad(lambda p: jnp.sum(jnp.cos(ARCH(p))))(theta)
    _, rates = jax.jvp(laws, (theta,), (gradient,))
    assert max(float(jnp.max(jnp.abs(rate))) for rate in rates.values()) < 1e-13


def test_expressions_are_in_the_symbols_of_the_architecture(laws):
    w1, w2 = (sympy.Matrix(ARCH.symbolic().symbols[name]) for name in ("W1", "W2"))
    matrix = w2.T * w2 - w1 * w1.T
    found = laws.matrices["W2^T W2 - W1 W1^T"]
    assert (found - matrix).applyfunc(sympy.expand).is_zero_matrix
    assert len(laws.expressions) == 12
    assert sympy.expand(laws.expressions[0] - matrix[0, 0]) == 0


def test_json(laws):
    record = json.loads(json.dumps(laws.to_dict(), allow_nan=False))
    assert list(record) == [
        "parameters",
        "laws",
        "lower",
        "upper",
        "status",
        "lie_rank",
        "expressions",
        "matrices",
        "seconds",
    ]
    assert {key: record[key] for key in list(record)[:6]} == {
        "parameters": 21,
        "laws": 12,
        "lower": 12,
        "upper": 12,
        "status": "complete",
        "lie_rank": 9,
    }
    assert record["matrices"] == ["W2^T W2 - W1 W1^T", "W3^T W3 - W2 W2^T"]
    assert "W2[1,1]^2" in record["expressions"][0]
    assert len(record["expressions"]) == 12


def test_how_it_prints(laws):
    lines = str(laws).splitlines()
    assert lines[:2] == [
        "Conservation laws of linear 2-3-3-2, gradient flow",
        "exactly 12 independent laws; none missing (proved)",
    ]
    assert repr(laws) == (
        "ConservationLaws(linear 2-3-3-2, gradient flow: exactly 12 independent laws; none missing (proved))"
    )
    assert laws.latex().splitlines()[1] == r"W_{2}^\top W_{2} - W_{1} W_{1}^\top &= \text{const} \\"
    assert laws._repr_latex_().startswith(r"$\displaystyle \begin{aligned}")
    assert laws._repr_html_().count(r"= \text{const}") == 2


def test_momentum():
    found = conservation_laws(linear_network((2, 2, 1)), momentum=Fraction(1, 2))
    assert (found.count, found.status, found.laws[0].kind) == (1, "complete", "noether")
    none = conservation_laws(relu_network((2, 1, 2)), momentum=0.0)
    assert (none.count, none.laws, str(none).splitlines()[-1]) == (0, (), "no law")
    assert none.latex() == "\\begin{aligned}\n&\\text{no law}\n\\end{aligned}"
    assert conservation_laws(linear_network((2, 2, 1)), momentum=("over_t", 3)).count == 1


def test_a_metric():
    found = conservation_laws(linear_network((2, 2, 3)), metric={"W1": "theta", "W2": "theta"})
    assert (found.count, found.status) == (2, "complete")


def test_relu_networks():
    found = conservation_laws(relu_network((2, 7, 9)))
    assert (found.count, found.upper, found.status) == (7, 7, "complete")


def test_parameters_that_phi_ignores_are_trivial_laws():
    arch = Architecture(lambda p: p["w"][:1] * p["u"], {"w": (2,), "u": (1,), "c": (2,)}, name="unused")
    found = conservation_laws(arch)
    assert found.unused == ("w[2]", "c[1]", "c[2]")
    assert (found.count, found.status) == (4, "complete")
    assert [law.rank for law in found.laws] == [3, 1]
    assert found.laws[0].name == "w[2], c[1], c[2]"
    assert "never moved, trivial laws: w[2], c[1], c[2]" in str(found)
    assert check(found.certificate, found.system)


def test_a_constant_phi_conserves_everything():
    found = conservation_laws(Architecture(lambda p: 0 * p["w"] + 3, {"w": (3,)}))
    assert (found.count, found.status, found.laws[0].name) == (3, "complete", "w[1], w[2], w[3]")


def test_a_gap_says_where_it_was_searched():
    found = conservation_laws(linear_network((1, 2, 2, 1)))
    assert (found.count, found.lower, found.upper, found.status) == (None, 6, 7, "saturated")
    assert len(found.searched) > 1
    assert str(found).splitlines()[-1].startswith("searched: Gram ansatz; quadratic search")


def test_the_search_goes_on_where_gram_matrices_do_not_suffice():
    # The sum and the difference of u and v are conserved up to a linear change of coordinates.
    arch = Architecture(lambda p: (p["x"][0] + p["x"][1]) * p["x"][2], {"x": (3,)}, name="tilted")
    found = conservation_laws(arch)
    assert (found.count, found.status) == (2, "complete")
    assert len(found.searched) >= 2


def test_searches_that_end_early_are_open():
    found = conservation_laws(linear_network((2, 5, 4, 2)), max_depth=0)
    assert found.status == "complete" or (found.status, found.count) == ("open", None)
    assert found.lower <= 25 <= found.upper
    arch = Architecture(lambda p: p["U"] @ p["U"].T, {"U": (3, 2)}, name="U U^T")
    assert conservation_laws(arch, time_limit=0).status in ("open", "complete")


def test_an_interrupt_in_the_search_for_laws_keeps_the_bounds(monkeypatch):
    stages = conservation.search_stages

    def interrupted(*arguments, **options):
        yield next(stages(*arguments, **options))
        raise KeyboardInterrupt

    monkeypatch.setattr(conservation, "search_stages", interrupted)
    found = conservation_laws(linear_network((1, 2, 2, 1)))
    assert (found.lower, found.upper, found.searched[-1]) == (6, 7, "interrupted")


def test_laws_of_the_user():
    arch = linear_network((2, 2, 2))
    blocks = arch.named_shapes
    balance = law_of_terms(blocks, [(1, "W2", "gram-left"), (-1, "W1", "gram-right")])
    norm = law_of_terms(blocks, [(1, "W2", "norm"), (-1, "W1", "norm")])
    found = conservation_laws(arch, laws=[balance, norm])
    assert (found.count, len(found.laws), found.searched) == (3, 2, ("laws given",))
    w1, w2 = (arch.symbolic().symbols[name] for name in ("W1", "W2"))
    difference = sum(w2.ravel() ** 2) - sum(w1.ravel() ** 2)
    partial = conservation_laws(arch, laws=[difference, 2 * difference])
    assert (partial.lower, partial.upper, partial.status) == (1, 3, "saturated")
    assert partial.certificate.law_rank == 1


def test_a_law_of_the_user_that_is_none():
    arch = linear_network((2, 2, 2))
    w1 = arch.symbolic().symbols["W1"]
    with pytest.raises(
        NotConservedError, match=r"must be conserved, but .* along generator 0 entry 0 changes at"
    ) as e:
        conservation_laws(arch, laws=[w1[0, 0] ** 2])
    assert e.value.verification.value == 2
    assert e.value.verification.monomial == "W1[1,1]*W2[1,1]"
    with pytest.raises(ValueError, match="rational coefficients"):
        conservation_laws(arch, laws=[0.1 * w1[0, 0]])


def test_the_seed_decides_and_the_result_does_not_depend_on_it():
    first, again, other = (conservation_laws(ARCH, seed=seed) for seed in (1, 1, 2))
    assert first.certificate.lie.points == again.certificate.lie.points != other.certificate.lie.points
    assert first.count == other.count == 12


def test_refusals():
    with pytest.raises(UnsupportedPrimitiveError, match="tanh"):
        conservation_laws(Architecture(lambda p: jnp.tanh(p["w"]), {"w": (2,)}))
    with pytest.raises(ValueError, match="whose simplest fraction is"):
        conservation_laws(Architecture(lambda p: float(np.sqrt(2)) * p["w"] ** 2, {"w": (2,)}))
    with pytest.raises(ValueError, match="`momentum` must be a friction of at least 0, but is -1"):
        conservation_laws(ARCH, momentum=-1)
    with pytest.raises(ValueError, match="`metric` must name factors"):
        conservation_laws(ARCH, metric={"V": "theta"})
    with pytest.raises(ValueError, match="`degree` must be a positive integer, but is 0"):
        conservation_laws(ARCH, degree=0)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("arch", "count", "seconds"),
    [
        (linear_network((10,) * 6), 220, 2),
        (linear_network((20,) * 4), 420, 12),
        (linear_network((30,) * 3), 465, 30),
        (relu_network((20,) * 4, bias=True), 40, 8),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_large_networks_in_time(arch, count, seconds):
    started = time.process_time()
    found = conservation_laws(arch)
    assert (found.count, found.status) == (count, "complete")
    assert time.process_time() - started < 2 * seconds


def test_unclear_calls_get_clear_errors():
    arch = linear_network((2, 3, 2))
    with pytest.raises(ValueError, match="`arch` must be an `Architecture`, but is a function"):
        conservation_laws(lambda p: p["W"])
    with pytest.raises(ValueError, match="must hold `Law`s or SymPy polynomials, but holds a function"):
        conservation_laws(arch, laws=[lambda p: p["W1"]])
    found = conservation_laws(arch)
    with pytest.raises(ValueError, match=r"\['W2'\] are missing"):
        found({"W1": 1.0})
    assert conservation_laws(arch, laws=found).status == "complete"
