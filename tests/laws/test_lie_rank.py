"""Ranks of brackets: against SymPy, against published tables, and where the algorithm could go wrong."""

import itertools
import time
from fractions import Fraction

import numpy as np
import pytest
import sympy

from dlntheory.architecture import Architecture
from dlntheory.exact import NilpotentModular
from dlntheory.exact.linear_algebra import modular_rank
from dlntheory.families import linear_network
from dlntheory.families.relu import relu_network
from dlntheory.laws.proof.lie_rank import bracket_string, field_degree, lie_rank, random_point
from dlntheory.laws.systems import AbstractSystem, GradientSystem, MomentumSystem
from dlntheory.laws.vjp import InterpretedVjp

RING = NilpotentModular()
P = RING.prime


def linear(*widths):
    return GradientSystem(linear_network(widths))


def sympy_bracket(x_field, y_field, symbols):
    return (y_field.jacobian(symbols) * x_field - x_field.jacobian(symbols) * y_field).applyfunc(sympy.expand)


@pytest.mark.parametrize("widths", [(2, 2, 1), (1, 2, 1, 1)])
@pytest.mark.parametrize("prime", [P, 10007])
def test_all_sub_strings_of_depth_three_equal_symbolic_brackets(widths, prime):
    ring = NilpotentModular(prime)
    arch = relu_network(widths, bias=True)
    system = GradientSystem(arch, vjp=InterpretedVjp(arch))
    symbolic = arch.symbolic()
    symbols = [s for name, _ in system.blocks for s in symbolic.symbols[name].ravel()]
    z = sympy.Matrix(sympy.flatten(symbolic.z.tolist()))
    rng = np.random.default_rng(0)
    point = rng.integers(-5, 6, system.dimension)
    combinations = rng.integers(-4, 5, (4, len(z)))
    fields = [(sympy.Matrix(c.tolist()).T * z).jacobian(symbols).T for c in combinations]
    cotangents = [ring.constant(c.reshape(arch.output_shape)) for c in combinations]
    at = dict(zip(symbols, map(int, point), strict=True))
    for slots in itertools.chain.from_iterable(itertools.combinations(range(3), k) for k in range(4)):
        expected = fields[3]
        for slot in reversed(slots):
            expected = sympy_bracket(fields[slot], expected, symbols)
        found = bracket_string(
            system, ring, ring.constant(point), [cotangents[slot] for slot in slots], cotangents[3]
        )
        values = [int(entry.subs(at)) % prime for entry in expected]
        assert any(values)
        assert found.tolist() == [values]


@pytest.mark.parametrize(
    ("widths", "ranks"),
    [
        ((2, 3, 5), (10, 15)),
        ((4, 2, 4, 3), (10, 15)),
        ((5, 2, 4), (14, 15)),
        ((2, 2, 5, 4, 2), (4, 9, 13, 14)),
        ((2, 5, 4, 2), (4, 8, 12, 13)),
    ],
)
def test_published_ranks_by_depth_linear(widths, ranks):
    found = lie_rank(linear(*widths), target=ranks[-1])
    assert (found.ranks, found.status, found.primes) == (ranks, "target", (P,))
    # Without the target the search ends on its own, by one more level.
    alone = lie_rank(linear(*widths), seed=1)
    assert (alone.ranks, alone.status) == ((*ranks, ranks[-1]), "saturated")
    assert len(set(alone.primes)) == 2
    degree = (alone.rank + 1) * len(alone.ranks) * len(widths)
    assert alone.error_probability == pytest.approx(degree**2 / alone.primes[0] / alone.primes[1], rel=1e-12)


@pytest.mark.parametrize(
    ("system", "ranks", "status"),
    [
        (GradientSystem(relu_network((2, 7, 9))), (70,), "target"),
        (GradientSystem(relu_network((5, 8, 5, 4, 2), bias=True)), (108,), "target"),
        (MomentumSystem(linear_network((1, 3, 2, 1))), (2, 3, 5, 7, 10, 13, 18, 19), "target"),
        (MomentumSystem(linear_network((2, 1, 2))), (4, 7, 9), "full"),
        (MomentumSystem(relu_network((2, 1, 3, 2))), (8, 15, 23), "full"),
    ],
    ids=lambda value: value.architecture.name if isinstance(value, AbstractSystem) else None,
)
def test_published_ranks_by_depth_of_other_systems(system, ranks, status):
    found = lie_rank(system, target=ranks[-1])
    assert (found.ranks, found.status) == (ranks, status)


class Fields(AbstractSystem):
    """The fields d_1 and d_2 + x_1 d_3 + x_1^2 d_4 + x_1 x_2 d_5 on R^5, of the free Lie algebra of two letters."""

    label = "two fields"
    architecture = linear_network((5, 1))
    blocks = (("x", (5,)),)

    def draw(self, ring, rng, batch):
        return ring.from_integers(rng.integers(1, ring.prime, size=(batch, 2)))

    def field(self, ring, state, combination):
        x1, x2 = (ring.take([state["x"]], np.array(i)) for i in range(2))
        a, b = (ring.take([combination], np.array(i)) for i in range(2))
        entries = [a, b, ring.mul(b, x1), ring.mul(b, ring.mul(x1, x1)), ring.mul(b, ring.mul(x1, x2))]
        return {"x": ring.take([ring.reshape(entry, (1,)) for entry in entries], np.arange(5))}


def test_slots_must_be_independent():
    system = Fields()
    assert lie_rank(system).ranks == (2, 3, 5)
    rng = np.random.default_rng(0)
    point = random_point(system, P, 0)[None, None]
    fixed, others = system.draw(RING, rng, 1), system.draw(RING, rng, 8)
    powers = [bracket_string(system, RING, point, [fixed] * n, others) for n in range(5)]
    ranks = [modular_rank(np.concatenate(powers[: n + 1])) for n in range(5)]
    assert ranks == [2, 3, 4, 4, 4]


@pytest.mark.parametrize("prime", [2, 3, 5, 7, 11, 13, 31])
def test_small_primes_never_exceed_the_generic_rank(prime):
    ring, system, generic = NilpotentModular(prime), linear(2, 3, 4, 3), 13
    rng = np.random.default_rng(prime)
    ranks = []
    for _ in range(5):
        point = rng.integers(0, prime, (1, 1, system.dimension))
        x, y = (tuple(ring.from_integers(rng.integers(0, prime, (60, n))) for n in (2, 3)) for _ in range(2))
        rows = [bracket_string(system, ring, point, slots, y) for slots in ([], [x])]
        ranks.append(modular_rank(np.concatenate(rows), prime))
    assert max(ranks) <= generic
    assert (min(ranks) < generic) == (prime < 7)
    assert lie_rank(system, primes=(prime,), max_depth=1).rank <= generic


def test_strings_of_a_batch_are_the_strings_one_by_one():
    system = linear(2, 3, 2)
    rng = np.random.default_rng(1)
    x, y = (system.draw(RING, rng, 3) for _ in range(2))
    point = random_point(system, P, 5)[None, None]
    together = bracket_string(system, RING, point, [x], y)
    for i in range(3):
        one = [tuple(part[:, i : i + 1] for part in combination) for combination in (x, y)]
        assert np.array_equal(bracket_string(system, RING, point, one[:1], one[1])[0], together[i])


def test_everything_follows_from_the_seed_and_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002
    first, second, other = (lie_rank(linear(2, 3, 2), seed=seed) for seed in (4, 4, 5))
    assert (first.points, first.primes, first.ranks) == (second.points, second.primes, second.ranks)
    assert other.points != first.points
    assert other.primes[1] != first.primes[1]
    assert np.array_equal(before, np.random.get_state()[1])  # noqa: NPY002


def test_chunks_do_not_change_ranks(monkeypatch):
    expected = lie_rank(linear(2, 5, 4, 2)).ranks
    monkeypatch.setattr("dlntheory.laws.proof.lie_rank._WORDS", 1)
    assert lie_rank(linear(2, 5, 4, 2)).ranks == expected


def test_the_search_can_be_cut_short():
    system = linear(2, 5, 4, 2)
    shallow = lie_rank(system, max_depth=1)
    assert (shallow.ranks, shallow.status, shallow.is_open) == ((4, 8), "depth limit", True)
    assert lie_rank(system, max_depth=0).ranks == (4,)
    hurried = lie_rank(system, time_limit=0)
    assert (hurried.status, hurried.is_open) == ("time limit", True)
    assert 0 < hurried.rank <= 13
    began = time.perf_counter()
    lie_rank(system, time_limit=1e-9)
    assert time.perf_counter() - began < 5


def test_an_interrupt_keeps_what_is_known(monkeypatch):
    system = linear(2, 5, 4, 2)
    calls, field = itertools.count(), type(system).field

    def interrupted(self, *arguments):
        if next(calls) == 6:
            raise KeyboardInterrupt
        return field(self, *arguments)

    monkeypatch.setattr(type(system), "field", interrupted)
    found = lie_rank(system)
    assert (found.status, found.is_open) == ("interrupted", True)
    assert found.ranks[0] == 4


def test_the_rank_at_a_point():
    system = linear(2, 2, 2)
    assert lie_rank(system, at=np.zeros(8)).rank == 0
    generic = lie_rank(system, at={"W1": [[1, 2], [3, 5]], "W2": [[0.5, 1], [Fraction(1, 3), 7]]})
    assert (generic.rank, generic.status, generic.at, len(generic.primes)) == (5, "generic", True, 1)
    # Two hidden neurons that are equal, and stay so.
    twins = lie_rank(system, at={"W1": [[1, 2], [1, 2]], "W2": [[3, 3], [4, 4]]})
    assert (twins.rank, twins.status, len(twins.primes)) == (3, "depth limit", 3)
    assert "w.h.p." in str(twins)


def test_primes_that_divide_a_denominator_are_passed_over():
    arch = Architecture(lambda p: p["u"] * p["v"] / 7, {"u": (), "v": ()})
    found = lie_rank(GradientSystem(arch), primes=(7,))
    assert (found.rank, 7 in found.primes) == (1, False)
    assert 11 not in lie_rank(linear(1, 1, 1), at=[Fraction(1, 11), 2], primes=(11, 13)).primes


@pytest.mark.parametrize("widths", [(2, 2), (2, 2, 2), (1, 2, 1, 2, 1), (1,) * 12])
def test_degree_of_the_fields(widths):
    arch = linear_network(widths)
    # One layer less than φ has, and the two vectors of a sweep or the one cotangent of the interpreter.
    assert field_degree(GradientSystem(arch), P, 0) == len(widths)
    assert field_degree(GradientSystem(arch, vjp=InterpretedVjp(arch)), P, 0) == len(widths) - 1


def test_constant_phi_has_rank_zero():
    constant = Architecture(lambda p: 0 * p["w"] + 3, {"w": (2,)})
    found = lie_rank(GradientSystem(constant))
    assert (found.ranks, found.status) == ((0, 0), "saturated")


def test_refusals():
    system = linear(2, 2, 1)
    for prime in (15, 2**31 + 11):
        with pytest.raises(ValueError, match=rf"`primes` must be a prime below 2\*\*31, but is {prime}"):
            lie_rank(system, primes=(prime,))
    with pytest.raises(
        ValueError, match=r"`at` must be a rational point, 6 numbers .* but it has shape \(5,\)"
    ):
        lie_rank(system, at=[1] * 5)
    with pytest.raises(
        ValueError, match=r"`at` must be a rational point, .* but 'W1' has shape \(2,\) instead"
    ):
        lie_rank(system, at={"W1": [1, 2], "W2": [[1, 2]]})
    with pytest.raises(ValueError, match=r"`at` must be a rational point, .* but it has the blocks \['U'\]"):
        lie_rank(system, at={"U": 1})
    for entry in (float("nan"), sympy.sqrt(2), "1"):
        with pytest.raises(ValueError, match="Argument `at` must be a rational point, 6 numbers"):
            lie_rank(system, at=[1, 2, 3, 4, 5, entry])
    with pytest.raises(
        ValueError, match="`target` must be between 0 and the number of coordinates, 6, but is 7"
    ):
        lie_rank(system, target=7)
    with pytest.raises(ValueError, match="`max_depth` must be an integer of at least 0, but is -1"):
        lie_rank(system, max_depth=-1)


def test_it_prints_as_a_table():
    found = lie_rank(linear(1, 2, 2, 1))
    assert str(found).splitlines()[:3] == [
        "rank               1 of 8, generic, at least",
        "ranks by depth     1, 1",
        "status             saturated",
    ]
