"""The table of closures: statuses, numbers of observables and ranks, each row within seconds."""

from typing import Any

import numpy as np
import pytest
import sympy
from systems.closures import CHAIN, SMALL_CHAIN, TABLE, chain, residual

import dlntheory as dln
from dlntheory.reductions.closure import find_closure


@pytest.mark.parametrize("name", TABLE)
def test_row_of_the_table(name):
    row = TABLE[name]
    arch = dln.Architecture(row.phi, row.shapes, name=name)
    closure = find_closure(arch, row.hints, level=row.level, propose=False)
    assert closure.status == row.status
    assert len(closure.observables) == row.observables
    ranks = closure.ranks
    assert ranks is not None
    assert (ranks.observables, ranks.observables_on_level_set, ranks.z_on_level_set) == (
        row.rank,
        row.level_set,
        row.z_level_set,
    )
    assert ranks.z_suffices == (row.level_set == row.z_level_set)
    assert closure.sizes.parameters == arch.size == ranks.parameters


def test_fifty_hidden_neurons_become_37_numbers():
    closure = find_closure(dln.linear_network((3, 50, 4)))
    assert (closure.sizes.parameters, closure.sizes.state, closure.sizes.entries) == (350, 37, 28)
    assert closure.matrix_form == {"Z": "W2 W1", "A": "W1^T W1", "B": "W2 W2^T"}


def test_width_does_not_enter_the_equations():
    lines = [find_closure(dln.linear_network((3, hidden, 4))).python() for hidden in (5, 500)]
    # Only the shapes of the parameters differ.
    assert (
        lines[0].replace("(5, 3)", "(500, 3)").replace("(4, 5)", "(4, 500)").replace("3-5-4", "3-500-4")
        == lines[1]
    )


def test_three_layers_have_no_finite_word_closure():
    closure = find_closure(dln.Architecture(chain, CHAIN, name="three layers"))
    assert closure.status == "open"
    assert not closure.is_closed
    assert closure.offending == {"W1": 1, "W2": 7, "W3": 1}
    assert "no finite word closure" in closure.explanation
    assert "grows with the width" in closure.explanation
    assert "balanced" in closure.explanation
    assert closure.attempts[0].collected[0] == "W3 W2 W1"
    assert "W3 W2 W2^T W3^T" in closure.attempts[0].collected
    with pytest.raises(dln.NoReductionError, match="no finite word closure"):
        closure.dynamics()


def test_three_small_layers_stop_at_the_known_degree_and_close_with_spectral_hints():
    arch = dln.Architecture(chain, SMALL_CHAIN, name="1-2-2-1")
    closure = find_closure(arch, level="entries", propose=False)
    assert (closure.status, closure.offending) == ("open", {"W1": 1, "W2": 7, "W3": 1})
    assert "1 in W1, 7 in W2, 1 in W3" in closure.explanation
    proposed = find_closure(arch)
    assert (proposed.status, len(proposed.observables)) == ("closed", 8)
    assert proposed.hints == ("tr(W2 W2^T)", "det(W2)")
    assert [attempt.closed for attempt in proposed.attempts] == [False, False, True]


def test_scalar_second_law_closes_three_layers_with_four_matrices():
    closure = find_closure(dln.Architecture(chain, CHAIN, name="three layers"), balanced={2: 0.7})
    assert closure.status == "closed"
    assert closure.matrix_form is not None
    assert set(closure.matrix_form.values()) == {"W3 W2 W1", "W3 W3^T", "W1^T W1", "W1^T W2^T W2 W1"}
    name = {text: name for name, text in closure.matrix_form.items()}
    a, b, c = (name[text] for text in ("W3 W3^T", "W1^T W1", "W1^T W2^T W2 W1"))
    # Z' = -(G C + A G B + (A^2 - lambda A) G), A' = -(G Z^T + Z G^T), B' = -(G^T Z + Z^T G), C' = -(X + X^T)
    # with X = G^T (A - lambda) Z + B G^T Z.
    expected = {
        "Z": {f"G {c}", f"{a} G {b}", f"{a} {a} G", f"- λ2 {a} G"},
        a: {"G Z^T", "Z G^T"},
        b: {"G^T Z", "Z^T G"},
        c: {f"G^T {a} Z", "- λ2 G^T Z", f"{b} G^T Z", f"Z^T {a} G", "- λ2 Z^T G", f"Z^T G {b}"},
    }
    assert closure.system is not None
    for line in closure.system.lines():
        left, right = line.split("' = -(")
        terms = right.removesuffix(")").replace(" - ", " + - ").split(" + ")
        assert {
            term.removeprefix("-").strip() if term.startswith("-λ") else term for term in terms
        } == expected[left]


@pytest.mark.parametrize("depth", [2, 3, 4, 5])
def test_scalar_laws_close_every_depth_with_three_matrices(depth):
    closure = find_closure(dln.linear_network((3, *[4] * (depth - 1), 2)), balanced=0.3)
    assert closure.status == "closed"
    assert closure.matrix_form == {
        "Z": " ".join(f"W{layer}" for layer in range(depth, 0, -1)),
        "A": "W1^T W1",
        "B": f"W{depth} W{depth}^T",
    }


def test_only_the_first_law_scalar_closes_as_well_and_only_a_middle_one_does_not():
    three = dln.Architecture(chain, CHAIN, name="three layers")
    assert find_closure(three, balanced={1: 0.2}).status == "closed"
    four = dln.linear_network((2, 3, 3, 3, 2))
    assert find_closure(four, balanced={2: 0.2}).status == "open"


def test_entries_and_words_agree_on_the_ranks():
    arch = dln.Architecture(residual, TABLE["residual"].shapes, name="residual")
    ranks = [find_closure(arch, level=level).ranks for level in ("words", "entries")]
    assert ranks[0] == ranks[1]


def test_symbolic_equations_are_those_of_the_system():
    closure = find_closure(dln.linear_network((2, 3, 2)))
    g, z, a, b = (sympy.MatrixSymbol(name, 2, 2) for name in "GZAB")
    for name, expected in (("Z", g * a + b * g), ("A", g.T * z + z.T * g)):
        total: Any = closure.equations[name] + expected
        assert total.as_explicit().expand() == sympy.zeros(2)
    entries = find_closure(dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="d"))
    first, squares = entries.equations["z_{1}"], sympy.symbols("o_{1} o_{3}")
    assert sympy.expand(first + sympy.Symbol("G_{1}") * sum(squares)) == 0


def test_redundant_hints_are_dropped():
    arch = dln.Architecture(lambda p: p["U"] @ p["V"].T, {"U": (2, 3), "V": (2, 3)}, name="two")
    given = ["tr(U U^T)", "U U^T", lambda p: (p["V"] ** 2).sum()]
    closure = find_closure(arch, given, level="entries")
    assert len(closure.observables) == 10
    assert np.all([observable.total_degree == 2 for observable in closure.observables])
