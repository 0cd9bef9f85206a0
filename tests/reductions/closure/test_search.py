"""What `find_closure` refuses, how it stops, what it says; laws among the observables; presentation."""

import html
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from systems.closures import CHAIN, SMALL_CHAIN, Loss, attention, chain, residual, start

import dlntheory as dln
from dlntheory.reductions.closure import find_closure
from dlntheory.reductions.closure.ansatz_observables import read_hint

UV = {"U": (2, 3), "V": (2, 3)}


def _arch(phi, shapes, name="test"):
    return dln.Architecture(phi, shapes, name=name)


TWO = _arch(lambda p: p["U"] @ p["V"].T, UV)
THREE = _arch(chain, CHAIN)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"level": "matrices"}, "`level` must be"),
        ({"max_degree": 0}, "`max_degree` must be a positive integer, but is 0"),
        ({"max_generators": 2.5}, "`max_generators`"),
        ({"time_limit": 0}, "`time_limit` must be a positive number"),
        ({"hints": "tr(U U^T)"}, "`hints` must be a list"),
        ({"hints": [3]}, "but holds 3"),
        ({"hints": ["tr(U X)"]}, "holds 'X'"),
        ({"hints": ["tr(U)"]}, "square"),
        ({"hints": ["det(U)"]}, "square"),
        ({"hints": ["U V"]}, "does not fit"),
        ({"hints": ["tr()"]}, "holds none"),
        ({"hints": [lambda p: 1 / p["U"][0, 0]]}, "divides"),
        ({"balanced": {2: 0.1}}, "interfaces 1 … 1"),
        ({"balanced": {1: float("nan")}}, "finite"),
    ],
)
def test_bad_arguments_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        find_closure(TWO, **options)


def test_functions_that_are_not_polynomial_are_refused():
    with pytest.raises(dln.UnsupportedPrimitiveError, match="tanh"):
        find_closure(_arch(lambda p: jnp.tanh(p["u"]), {"u": (2,)}))
    with pytest.raises(ValueError, match="divides by parameters"):
        find_closure(_arch(lambda p: p["u"] / (1 + p["u"] ** 2), {"u": (2,)}))
    with pytest.raises(ValueError, match="must be an `Architecture`"):
        find_closure(lambda p: p["u"])  # pyright: ignore[reportArgumentType]
    with pytest.raises(ValueError, match="fractions with denominators"):
        find_closure(_arch(lambda p: 0.123456789012 * p["u"] ** 2, {"u": ()}))


def test_scalar_laws_need_one_word_and_a_law():
    with pytest.raises(dln.NoReductionError, match="one word in its matrices"):
        find_closure(_arch(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}), balanced={1: 0.0})
    with pytest.raises(dln.NoReductionError, match="but φ has 2"):
        find_closure(_arch(attention, dict.fromkeys("QKVO", (2, 2))), balanced={1: 0.0})
    with pytest.raises(ValueError, match="conservation law"):
        find_closure(_arch(lambda p: p["U"] @ p["U"] @ p["V"], {"U": (2, 2), "V": (2, 2)}), balanced={1: 0.1})


def test_bounds_are_named_with_what_stopped():
    few = find_closure(TWO, level="entries", max_generators=5, propose=False)
    assert (few.status, few.offending) == ("open", {"U": 0, "V": 2})
    assert "max_generators = 5" in few.explanation
    low = find_closure(TWO, level="entries", max_degree=1, propose=False)
    assert "max_degree = 1" in low.explanation
    late = find_closure(TWO, level="entries", time_limit=1e-9)
    assert "the time limit" in late.explanation
    words = find_closure(THREE, max_generators=4)
    assert "max_generators = 4" in words.explanation
    assert len(words.attempts[0].collected) == 4


def test_search_without_words_says_why_and_goes_on():
    closure = find_closure(_arch(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}))
    assert closure.level == "entries"
    assert "only part of u v^T" in closure.explanation
    only = find_closure(_arch(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}), level="words")
    assert (only.status, only.offending) == ("open", None)


def test_too_many_terms_are_not_expanded():
    closure = find_closure(_arch(lambda p: jnp.kron(p["U"] @ p["V"].T, p["U"]), {"U": (6, 60), "V": (6, 60)}))
    assert closure.status == "open"
    assert "50000 terms" in closure.explanation


def test_result_is_the_same_for_the_same_seed_and_for_another():
    lines = [find_closure(TWO, level="entries", seed=seed).python() for seed in (0, 0, 5)]
    assert lines[0] == lines[1] == lines[2]


LAWS = {
    "two layers": (TWO, {}, ["tr(A) - tr(B)", "tr(Z Z^T) - 1/2 tr(A A) - 1/2 tr(B B)"]),
    "entries": (
        _arch(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}),
        {},
        ["o_{1} - o_{3}", "o_{2} - o_{4}"],
    ),
    "residual": (_arch(residual, dict.fromkeys(("U2", "V2", "U1", "V1"), (2, 1))), {}, ["tr(A) - tr(C)"]),
    "scalar law": (THREE, {"balanced": {2: 0.5}}, []),
    "quadratic": (_arch(chain, SMALL_CHAIN), {}, ["o_{1} - o_{6}", "o_{5} - o_{6}"]),
}


def _values_and_changes(closure, theta0):
    flow = closure.dynamics(Loss(closure.architecture.output_shape))
    theta0 = flow.check_start(theta0)

    def changes():
        state = flow.system.initial(theta0)
        velocity = flow.system.velocity(state, jax.grad(flow.training.loss)(flow.system.output(state)))
        return [jax.jvp(law.value, (state,), (velocity,)) for law in closure.laws]

    return jax.jit(changes)()


@pytest.mark.parametrize("name", LAWS)
def test_laws_among_the_observables_are_conserved(name):
    arch, options, texts = LAWS[name]
    closure = find_closure(arch, **options)
    found = [law.text for law in closure.laws]
    assert found[: len(texts)] == texts
    assert name == "scalar law" or found
    if options:
        return
    for value, change in _values_and_changes(closure, start(arch.shapes)):
        assert abs(change) < 1e-12 * max(1.0, abs(value))


def test_what_scalar_laws_make_constant_is_not_listed_as_a_law():
    assert find_closure(dln.linear_network((3, 3, 3)), balanced=0.5).laws == ()


def test_hints_can_be_written_in_four_ways():
    arch = _arch(chain, SMALL_CHAIN)
    w2 = arch.symbolic().symbols["W2"]
    given = [
        "tr(W2 @ W2.T)",
        lambda p: jnp.trace(p["W2"] @ p["W2"].T),
        sympy.Add(*(entry**2 for entry in w2.ravel())),
        "trace(W2^T W2)",
    ]
    polynomials = [read_hint(arch, hint).entries[0][1] for hint in given]
    assert all(polynomial == polynomials[0] for polynomial in polynomials)
    determinant = read_hint(arch, "det(W2)").entries[0][1]
    assert str(determinant.text([str(i) for i in range(8)])) == "2*5 - 3*4"
    word = read_hint(arch, "W3 W2 W2' W3ᵀ")
    assert (len(word.entries), word.text) == (1, "(W3 W2 W2^T W3^T)")


def test_presentation():
    closure = find_closure(TWO)
    assert repr(closure) == "Closure(test: closed, 12 parameters -> 12 numbers)"
    text = str(closure)
    for part in (
        "12 parameters -> 12 numbers",
        "U V^T",
        "Z' = -(G B + A G)",
        "tr(A) - tr(B)",
        "9 of the obs",
    ):
        assert part in text
    assert r"\dot{Z} &= -\left(G B + A G\right)" in closure.latex()
    assert r"A &= U U^{\top}" in closure.latex()
    assert "<table>" in closure._repr_html_()
    assert closure._repr_latex_() == f"$\\displaystyle {closure.latex()}$"
    opened = find_closure(THREE)
    assert "open" in repr(opened)
    assert "no finite word closure" in str(opened)
    assert opened._repr_latex_() is None
    assert opened.observables == ()
    assert opened.matrix_form is None


def test_names_of_users_are_escaped():
    arch = _arch(lambda p: p["<b>"] @ p["W_1"].T, {"<b>": (2, 1), "W_1": (2, 1)}, name="<script>")
    page = find_closure(arch)._repr_html_()
    assert "<script>" not in page
    assert html.escape("<script>") in page
    assert "<b>" not in page
    assert r"\mathrm{<b>} W_{1}^{\top}" in find_closure(arch).latex()


def test_dictionary_is_json():
    found = json.loads(json.dumps(find_closure(TWO).to_dict()))
    assert (found["status"], found["level"]) == ("closed", "words")
    assert found["ranks"]["observables"] == 9
    assert found["equations"][0] == "Z' = -(G B + A G)"
    assert found["observables"][1] == {"name": "A", "shape": [2, 2], "is": "U U^T", "of_z": False}
    opened = json.loads(json.dumps(find_closure(THREE).to_dict()))
    assert (opened["status"], opened["ranks"], opened["equations"]) == ("open", None, [])
    entries = find_closure(_arch(lambda p: p["u"] ** 3, {"u": ()}))
    assert np.isclose(json.loads(json.dumps(entries.to_dict()))["seconds"], entries.seconds)
