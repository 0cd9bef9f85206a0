"""Each row of the catalogue: which laws the search finds, that they are identities, and how many are independent."""

import jax.numpy as jnp
import numpy as np
import pytest

from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.laws.law import IDENTITY
from dlntheory.laws.search.strategies import Collection, find_laws, search_stages
from dlntheory.laws.systems import GradientSystem, MomentumSystem

DIFFERENCES = np.array([[1.0, -1.0, 0.0], [0.0, 1.0, -1.0]])


def circular(*filters):
    n = filters[0].shape[0]
    shifts = (np.arange(n)[:, None] - np.arange(n)[None]) % n
    out = filters[0]
    for w in filters[1:]:
        out = w[shifts] @ out
    return out


def heads(p):
    scores = jnp.einsum("hik,hjk->hij", p["Q"], p["K"])
    return jnp.stack([scores, jnp.einsum("hik,hkj->hij", p["V"], p["O"])])


def recurrent(p):
    states = [p["B"]]
    for _ in range(3):
        states.append(p["A"] @ states[-1])
    return jnp.stack([p["C"] @ state for state in states])


def channels(p):
    full = [jnp.einsum("aj,jb->ab", p["W2"][:, :, s], p["W1"][:, :, t]) for s in range(2) for t in range(2)]
    return jnp.stack([full[0], full[1] + full[2], full[3]])


def residual(p):
    return (jnp.eye(3) + p["W2"]) @ (jnp.eye(3) + p["W1"])


# name: φ, shapes, formulas, N
CATALOGUE = {
    "over-wide": (linear_network((2, 5, 2)), None, {"W2^T W2 - W1 W1^T"}, 14),
    "bottleneck": (
        linear_network((4, 2, 3, 2)),
        None,
        {"W2^T W2 - W1 W1^T", "W3^T W3 - W2 W2^T"},
        9,
    ),
    "scalar hidden layer": (linear_network((3, 1, 3)), None, {"|W1|^2 - |W2|^2"}, 1),
    "biases": (
        lambda p: jnp.concatenate([p["W2"] @ p["W1"], (p["W2"] @ p["b1"] + p["b2"])[:, None]], axis=1),
        {"W1": (3, 3), "b1": (3,), "W2": (2, 3), "b2": (2,)},
        {"W2^T W2 - W1 W1^T - b1 b1^T"},
        6,
    ),
    "residual": (
        residual,
        {"W1": (3, 3), "W2": (3, 3)},
        {"W2^T W2 - W1 W1^T + W2 + W2^T - (W1 + W1^T)"},
        6,
    ),
    "residual blocks": (
        lambda p: (jnp.eye(3) + p["B2"] @ p["A2"]) @ (jnp.eye(3) + p["B1"] @ p["A1"]),
        {"A1": (2, 3), "B1": (3, 2), "A2": (2, 3), "B2": (3, 2)},
        {"B1^T B1 - A1 A1^T", "B2^T B2 - A2 A2^T"},
        6,
    ),
    "adapters": (
        lambda p: (np.arange(9.0).reshape(3, 3) + p["B2"] @ p["A2"]) @ (np.eye(3)[::-1] + p["B1"] @ p["A1"]),
        {"A1": (1, 3), "B1": (3, 1), "A2": (2, 3), "B2": (3, 2)},
        {"|A1|^2 - |B1|^2", "B2^T B2 - A2 A2^T"},
        4,
    ),
    "sum with a free matrix": (
        lambda p: p["W2"] @ p["W1"] + p["W3"],
        {"W1": (2, 3), "W2": (2, 2), "W3": (2, 3)},
        {"W2^T W2 - W1 W1^T"},
        3,
    ),
    "tied square": (lambda p: p["W"] @ p["W"], {"W": (2, 2)}, set(), 0),
    "tied cube": (lambda p: p["W"] @ p["W"] @ p["W"], {"W": (2, 2)}, set(), 0),
    "tied inside": (
        lambda p: p["W3"] @ p["W"] @ p["W"] @ p["W1"],
        {"W1": (2, 3), "W": (2, 2), "W3": (3, 2)},
        {"W^T W + W3^T W3 - W1 W1^T - W W^T", "2*|W1|^2 - |W|^2"},
        4,
    ),
    "recurrent": (
        recurrent,
        {"A": (2, 2), "B": (2, 2), "C": (2, 2)},
        {"A^T A + C^T C - A A^T - B B^T"},
        3,
    ),
    "difference of squares": (
        lambda p: p["U"] @ p["U"].T - p["V"] @ p["V"].T,
        {"U": (3, 2), "V": (3, 2)},
        {"U^T V"},
        4,
    ),
    "difference of squares, wide": (
        lambda p: p["U"] @ p["U"].T - p["V"] @ p["V"].T,
        {"U": (2, 3), "V": (2, 3)},
        {"U^T V"},
        8,
    ),
    "diagonal": (
        lambda p: p["a"] * p["b"] * p["c"] * p["d"],
        dict.fromkeys("abcd", (3,)),
        {"a*a - b*b", "b*b - c*c", "c*c - d*d"},
        9,
    ),
    "u^2 - v^2": (lambda p: p["u"] ** 2 - p["v"] ** 2, {"u": (3,), "v": (3,)}, {"u*v"}, 3),
    "u^3": (lambda p: p["u"] ** 3, {"u": (3,)}, set(), 0),
    "circular convolution, odd": (
        lambda p: circular(p["w1"], p["w2"], p["w3"]),
        dict.fromkeys(("w1", "w2", "w3"), (5,)),
        {"autocorr(w1) - autocorr(w2)", "autocorr(w2) - autocorr(w3)"},
        6,
    ),
    "circular convolution, even": (
        lambda p: circular(p["w1"], p["w2"]),
        {"w1": (4,), "w2": (4,)},
        {"autocorr(w1) - autocorr(w2)"},
        3,
    ),
    "aperiodic convolution": (
        lambda p: jnp.convolve(p["w1"], p["w2"]),
        {"w1": (3,), "w2": (4,)},
        {"|w1|^2 - |w2|^2"},
        1,
    ),
    "channels": (
        channels,
        {"W1": (2, 2, 2), "W2": (2, 2, 2)},
        {"W2_(2) W2_(2)^T - W1_(1) W1_(1)^T"},
        3,
    ),
    "attention": (
        heads,
        {"Q": (2, 3, 2), "K": (2, 3, 2), "V": (2, 3, 2), "O": (2, 2, 3)},
        {"(Q^T Q)_i - (K^T K)_i", "(V^T V)_i - (O O^T)_i"},
        12,
    ),
    "linear attention, one head": (
        lambda p: jnp.einsum("ab,cd->abcd", p["Q"] @ p["K"].T, p["V"] @ p["O"]),
        {"Q": (2, 2), "K": (2, 2), "V": (2, 2), "O": (2, 2)},
        {"Q^T Q - K^T K", "V^T V - O O^T", "|K|^2 - |V|^2"},
        7,
    ),
    "merged heads": (
        lambda p: jnp.einsum("hab,hcd->abcd", p["A"], p["B"]),
        {"A": (2, 2, 2), "B": (2, 2, 2)},
        {"A_(1) A_(1)^T - B_(1) B_(1)^T"},
        3,
    ),
    "CP": (
        lambda p: jnp.einsum("ar,br,cr->abc", p["a"], p["b"], p["c"]),
        {"a": (2, 3), "b": (2, 3), "c": (2, 3)},
        {"diag(a^T a) - diag(b^T b)", "diag(b^T b) - diag(c^T c)"},
        6,
    ),
    "Tucker": (
        lambda p: jnp.einsum("ijk,ai,bj,ck->abc", p["G"], p["U1"], p["U2"], p["U3"]),
        {"G": (2, 2, 2), "U1": (2, 2), "U2": (3, 2), "U3": (2, 2)},
        {
            "U1^T U1 - G_(1) G_(1)^T",
            "G_(2) G_(2)^T - U2^T U2",
            "G_(3) G_(3)^T - U3^T U3",
        },
        9,
    ),
    "tensor train": (
        lambda p: jnp.einsum("ai,ibj,jc->abc", p["A"], p["B"], p["C"]),
        {"A": (3, 2), "B": (2, 2, 2), "C": (2, 3)},
        {"A^T A - B_(1) B_(1)^T", "B_(3) B_(3)^T - C C^T"},
        6,
    ),
    "quadratic activation": (
        lambda p: jnp.einsum("k,ki,kj->ij", p["a"], p["W"], p["W"]),
        {"a": (2,), "W": (2, 3)},
        {"2*a*a - diag(W W^T)"},
        2,
    ),
    "softmax": (lambda p: DIFFERENCES @ p["W"], {"W": (3, 2)}, {"1^T W"}, 2),
    "softmax over two layers": (
        lambda p: DIFFERENCES @ p["W2"] @ p["W1"],
        {"W1": (2, 3), "W2": (3, 2)},
        {"1^T W2", "W2^T W2 - W1 W1^T"},
        5,
    ),
    "unused factor": (
        lambda p: p["u"] * p["v"],
        {"u": (3,), "v": (3,), "unused": (2,)},
        {"unused", "u*u - v*v"},
        5,
    ),
}


def system_of(row):
    phi, shapes = row[:2]
    return GradientSystem(phi if shapes is None else Architecture(phi, shapes))


def check(system, laws, formulas, count):
    assert {law.name for law in laws} == formulas
    assert all(law.verified == IDENTITY for law in laws)
    assert rank_of(system, laws) == count


def rank_of(system, laws):
    collection = Collection(system)
    collection.add(laws)
    assert len(collection.laws) == len(laws)
    return collection.rank


@pytest.mark.parametrize("name", CATALOGUE)
def test_catalogue_rows_are_found_in_matrix_form(name):
    row = CATALOGUE[name]
    system = system_of(row)
    check(system, find_laws(system, forms="gram"), *row[2:])


@pytest.mark.parametrize("name", [name for name, row in CATALOGUE.items() if row[3] <= 6])
def test_the_complete_quadratic_search_finds_as_many(name):
    system = system_of(CATALOGUE[name])
    laws = find_laws(system, forms="polynomial")
    assert all(law.size == 1 and law.verified == IDENTITY for law in laws)
    assert len(laws) == CATALOGUE[name][3]


@pytest.mark.parametrize(("rank", "count"), [(1, 7), (2, 5)])
def test_data_of_low_rank_add_linear_laws(rank, count):
    inputs = np.array([[1.0, 0.0], [2.0, 1.0], [3.0, -1.0]])[:, :rank]
    arch = Architecture(lambda p: p["W2"] @ (p["W1"] @ inputs), {"W1": (2, 3), "W2": (2, 2)})
    laws = find_laws(GradientSystem(arch))
    assert [law.kind for law in laws].count("linear") == 2 * (3 - rank)
    assert sum(law.rank for law in laws) == count


def test_multiplicative_updates_conserve_sums():
    arch = Architecture(lambda p: p["U"] @ p["V"], {"U": (3, 2), "V": (2, 4)})
    system = GradientSystem(arch, metric={"U": "theta", "V": "theta"})
    check(system, find_laws(system), {"1^T U - V 1"}, 2)


def test_input_convex_networks_mix_sums_and_squares():
    def phi(p):
        return p["U"][:, :, None] * jnp.concatenate([p["V"], p["b"][:, None]], axis=1)[None]

    system = GradientSystem(Architecture(phi, {"U": (2, 3), "V": (3, 2), "b": (3,)}), metric={"U": "theta"})
    check(system, find_laws(system, forms="gram"), {"diag(V V^T) + b*b - 2*1^T U"}, 3)


@pytest.mark.parametrize(
    ("widths", "friction", "count", "latex"),
    [
        ((3, 4, 2), 0, 6, r"W_{2}^\top \dot{W}_{2} - \dot{W}_{2}^\top W_{2}"),
        ((3, 4, 2), 1, 6, r"e^{t} \bigl(W_{2}^\top \dot{W}_{2}"),
        ((2, 2, 2), 0.5, 1, r"e^{1/2 t} \bigl("),
        ((2, 2, 2), ("over_t", 3), 1, r"(t)^{3} \bigl("),
        ((2, 2, 2, 2), 0, 2, r"W_{2}^\top \dot{W}_{2}"),
        ((1, 2, 1), 1, 2, r"e^{t} \bigl("),
        ((1, 3, 1), 0, 6, r"W_{2}^\top \dot{W}_{2}"),
    ],
)
def test_momentum_conserves_angular_momenta(widths, friction, count, latex):
    system = MomentumSystem(linear_network(widths), friction=friction)
    laws = find_laws(system, forms="gram")
    assert rank_of(system, laws) == count
    assert {law.kind for law in laws} == {"noether"}
    assert laws[0].latex().startswith(latex)
    assert all(law.verified == IDENTITY for law in laws)


def test_momentum_has_no_law_of_the_symmetric_kind_and_two_for_a_translation():
    system = MomentumSystem(Architecture(lambda p: DIFFERENCES @ p["W"], {"W": (3, 2)}), friction=2)
    laws = find_laws(system)
    assert {law.name for law in laws} == {"2*1^T W + 1^T W'", "s (1^T W')"}
    diagonal = MomentumSystem(Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}), friction=1)
    assert find_laws(diagonal, degree=3) == ()


def test_gaps_are_reported_by_stages_that_find_nothing():
    system = GradientSystem(linear_network((1, 2, 2, 1)))
    stages = {name: laws for name, laws, _ in search_stages(system, degree=4)}
    assert list(stages)[:4] == ["Gram ansatz", "quadratic search", "degree 3 search", "degree 4 search"]
    assert rank_of(GradientSystem(linear_network((1, 2, 2, 1))), list(stages.values())[-1]) == 6


@pytest.mark.parametrize(("rows", "columns", "count"), [(4, 1, 3), (3, 2, 2), (4, 2, 4)])
def test_column_spaces_are_conserved_quotients_of_minors(rows, columns, count):
    system = GradientSystem(Architecture(lambda p: p["W"].T @ p["W"], {"W": (rows, columns)}))
    laws = find_laws(system)
    assert rank_of(system, laws) == count == columns * (rows - columns)
    assert {(law.kind, law.degree, law.verified) for law in laws} == {("rational", columns, IDENTITY)}


@pytest.mark.parametrize(("rows", "columns"), [(2, 2), (2, 3)])
def test_gram_matrices_of_wide_factors_have_no_law(rows, columns):
    arch = Architecture(lambda p: p["W"].T @ p["W"], {"W": (rows, columns)})
    assert find_laws(GradientSystem(arch), degree=3) == ()
