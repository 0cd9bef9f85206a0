"""Initialisations: products, imbalances, distributions; feasibility of λ-balance by brute force."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings, strategies as st

from dlntheory._errors import InfeasibleError, PrecisionError
from dlntheory.architecture import Architecture
from dlntheory.families import linear_network
from dlntheory.initial import balanced, gaussian, lambda_balanced, orthogonal
from dlntheory.initial.index_chains import forced_squares, offsets

KEY = jax.random.key(3)
FACTORISATION = Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")


def defects(params, lam):
    """max |D_l - λ_l I|_F, by NumPy."""
    layers = [np.asarray(w) for w in params.values()]
    return max(
        (
            np.linalg.norm(b.T @ b - a @ a.T - value * np.eye(len(a)))
            for a, b, value in zip(layers, layers[1:], lam, strict=False)
        ),
        default=0.0,
    )


def product(params):
    layers = [np.asarray(w) for w in params.values()]
    return layers[0] if len(layers) == 1 else np.linalg.multi_dot(layers[::-1])


def test_gaussian_scales_by_factor_and_fan_in():
    arch = Architecture(lambda p: p["A"] @ p["B"], {"A": (90, 90), "B": (90, 30)})
    plain = gaussian(arch, KEY)
    assert list(plain) == ["A", "B"]
    assert float(jnp.std(plain["A"])) == pytest.approx(1.0, rel=0.03)
    scaled = gaussian(arch, KEY, {"B": 0.1}, fan_in=True)
    np.testing.assert_allclose(scaled["A"], plain["A"] / np.sqrt(90), rtol=1e-14)
    np.testing.assert_allclose(scaled["B"], 0.1 * plain["B"] / np.sqrt(30), rtol=1e-14)
    np.testing.assert_array_equal(gaussian(arch, KEY, 2.0)["A"], 2 * plain["A"])
    np.testing.assert_array_equal(gaussian(arch, KEY, 0)["A"], 0.0)


def test_gaussian_factors_are_independent():
    params = gaussian(Architecture(lambda p: p["A"] @ p["B"], {"A": (90, 90), "B": (90, 90)}), KEY)
    assert abs(np.corrcoef(np.ravel(params["A"]), np.ravel(params["B"]))[0, 1]) < 0.05


def test_orthogonal_matrices_of_any_shape():
    params = orthogonal(FACTORISATION, KEY, 0.5)
    for w in map(np.asarray, (params["U"], params["V"])):
        np.testing.assert_allclose(w.T @ w, 0.25 * np.eye(2), rtol=0, atol=1e-15)
    wide = np.asarray(orthogonal(linear_network((4, 2)), KEY)["W1"])
    np.testing.assert_allclose(wide @ wide.T, np.eye(2), rtol=0, atol=1e-14)


@pytest.mark.slow
def test_initialisers_map_over_keys_and_scales():
    arch = linear_network((3, 3, 3))
    keys, scales = jax.random.split(KEY, 3), jnp.array([0.5, 2.0, 1.0])
    for draw in (
        lambda key, scale: gaussian(arch, key, scale),
        lambda key, scale: lambda_balanced(arch, key, 0.5, scale=scale),
    ):
        stack, one = jax.jit(jax.vmap(draw))(keys, scales), draw(keys[1], 2.0)
        for name in one:
            np.testing.assert_allclose(stack[name][1], one[name], rtol=0, atol=1e-13)
            assert not np.allclose(stack[name][0], stack[name][1])


@pytest.mark.parametrize("widths", [(3, 4), (3, 4, 2), (4, 2, 3), (3, 4, 4, 2), (2, 1, 1)])
def test_balanced_random_and_with_given_product(widths):
    arch, bottleneck = linear_network(widths), min(widths)
    params = balanced(arch, KEY, scale=0.7)
    assert defects(params, np.zeros(len(widths))) < 1e-14
    for w in params.values():
        s = np.linalg.svd(w, compute_uv=False)
        assert np.sqrt(np.mean(s[:bottleneck] ** 2)) == pytest.approx(0.7, rel=1e-14)
        assert np.all(s[bottleneck:] < 1e-14)
        assert s[bottleneck - 1] > 0.3
    rng = np.random.default_rng(0)
    target = rng.standard_normal((widths[-1], bottleneck)) @ rng.standard_normal((bottleneck, widths[0]))
    given_product = balanced(arch, KEY, product=target)
    assert np.max(np.abs(product(given_product) - target)) < 5e-15 * np.linalg.norm(target, 2) * len(widths)
    assert defects(given_product, np.zeros(len(widths))) < 1e-14 * np.linalg.norm(target, 2)


def test_balanced_hidden_bases_are_random_but_the_product_is_not():
    arch, target = linear_network((2, 3, 2)), np.array([[2.0, 1.0], [0.0, 1.0]])
    first, second = (balanced(arch, key, product=target) for key in jax.random.split(KEY))
    assert not np.allclose(first["W1"], second["W1"])
    np.testing.assert_allclose(product(first), product(second), rtol=0, atol=1e-14)


def test_balanced_product_of_low_rank_has_no_noise_in_the_empty_directions():
    arch = linear_network((4, 4, 4, 4, 4))
    target = np.outer([1.0, 2.0, 3.0, 4.0], [1.0, 0.1, 0.3, 0.7])
    for w in balanced(arch, KEY, product=target).values():
        assert np.linalg.svd(w, compute_uv=False)[1] < 1e-14
    for w in balanced(arch, KEY, product=np.zeros((4, 4))).values():
        np.testing.assert_array_equal(w, 0.0)


def test_deep_lambda_balanced_has_the_chain_of_singular_values():
    lam, scale = np.array([0.5, -1.25, 0.25]), 0.3
    params = lambda_balanced(linear_network((3, 3, 3, 3, 3)), KEY, lam, scale=scale)
    assert defects(params, lam) < 5e-15
    squares = np.array([np.linalg.svd(w, compute_uv=False) ** 2 for w in params.values()])
    np.testing.assert_allclose(np.diff(squares, axis=0), np.broadcast_to(lam[:, None], (3, 3)), atol=1e-14)
    # Offsets 0, .5, -.75, -.5: the third layer is the lightest.
    assert np.mean(squares[2]) == pytest.approx(scale**2, rel=1e-12)
    np.testing.assert_allclose(offsets(lam), [0.75, 1.25, 0.0, 0.25], atol=1e-15)


def test_lambda_that_cancels_only_in_exact_arithmetic_is_accepted():
    params = lambda_balanced(linear_network((2, 3, 3, 3, 2)), KEY, [0.1, 0.2, -0.3])
    assert defects(params, [0.1, 0.2, -0.3]) < 1e-14
    with pytest.raises(InfeasibleError, match=r"lam_1 \+ lam_2 \+ lam_3 = 0"):
        lambda_balanced(linear_network((2, 3, 3, 3, 2)), KEY, [0.1, 0.2, -0.3 + 1e-9])


def possible_by_ranks(widths, lam):
    """Whether sorted spectra exist, by linear programming: an independent route to the same question.

    Unknown a[l][i] >= 0 is eigenvalue i of W_l W_l^T, also the nonzero spectrum of W_l^T W_l; both are
    padded with zeros to the width at which they are compared, and there feasibility is lost. The order is
    free: all injective matchings of the eigenvalues of neighbouring layers are tried.
    """
    ranks = [min(a, b) for a, b in itertools.pairwise(widths)]
    start = np.cumsum([0, *ranks])
    matchings = []
    for width, left, right in zip(widths[1:-1], ranks[:-1], ranks[1:], strict=True):
        places = itertools.permutations(range(width), right)
        matchings.append([dict(zip(place, range(right), strict=True)) for place in places] if left else [])
    for choice in itertools.product(*matchings):
        rows, values = [], []
        for layer, match in enumerate(choice):
            for i in range(widths[layer + 1]):
                row = np.zeros(start[-1])
                if i in match:
                    row[start[layer + 1] + match[i]] += 1
                if i < ranks[layer]:
                    row[start[layer] + i] -= 1
                rows.append(row)
                values.append(lam[layer])
        if scipy.optimize.linprog(np.zeros(start[-1]), A_eq=np.array(rows), b_eq=values).status == 0:
            return True
    return False


def exists(widths, lam):
    try:
        forced_squares(widths, lam)
    except InfeasibleError:
        return False
    return True


def test_two_layers_feasibility_is_the_theorem():
    for d, h, o in itertools.product(range(1, 6), repeat=3):
        assert exists((d, h, o), [0.5]) == (h <= o)
        assert exists((d, h, o), [-0.5]) == (h <= d)
        assert exists((d, h, o), [0.0])


@pytest.mark.slow
def test_feasibility_against_linear_programming():
    count = 0
    for widths in [*itertools.product((1, 2, 3), repeat=3), *itertools.product((1, 2, 3), repeat=4)]:
        signs = (
            [(0.5,), (-0.5,)] if len(widths) == 3 else [(0.5, -0.5), (0.5, -0.25), (-0.5, 0.25), (0.0, 0.5)]
        )
        for lam in signs:
            assert exists(widths, lam) == possible_by_ranks(widths, lam), (widths, lam)
            count += exists(widths, lam)
    assert count > 100


def assembled(widths, lam, rng):
    """The construction of `lambda_balanced` in NumPy, so that all small widths cost no compilation."""
    squares = forced_squares(widths, lam)
    squares[:, : min(widths)] = offsets(lam)[:, None] + rng.uniform(0.5, 1.5, min(widths))
    bases = [np.linalg.qr(rng.standard_normal((n, n)))[0] for n in widths]
    layers = []
    for layer, (columns, rows) in enumerate(itertools.pairwise(widths)):
        rank = min(rows, columns)
        assert not np.any(squares[layer, rank:])
        middle = np.zeros((rows, columns))
        middle[range(rank), range(rank)] = np.sqrt(squares[layer, :rank])
        layers.append(bases[layer + 1] @ middle @ bases[layer].T)
    return dict(enumerate(layers))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(1, 5), min_size=3, max_size=7),
    st.lists(st.sampled_from([-0.75, -0.5, 0.0, 0.0, 0.5, 0.75]), min_size=5, max_size=5),
    st.integers(0, 1000),
)
def test_whatever_is_not_refused_is_lambda_balanced(widths, lam, seed):
    lam = lam[: len(widths) - 2]
    if exists(widths, lam):
        assert defects(assembled(widths, lam, np.random.default_rng(seed)), lam) < 1e-13
        # Reading the chain from output to input turns the signs round.
        assert exists(widths[::-1], [-value for value in lam[::-1]])
    else:
        assert not exists(widths[::-1], [-value for value in lam[::-1]])


@pytest.mark.parametrize(
    ("widths", "lam"),
    [
        ((4, 2, 1), [-0.5]),
        ((1, 3, 4), [2.0]),
        ((1, 3, 3, 1), [0.5, -0.5]),
        ((3, 4, 2, 4), [0.0, 0.5]),
        ((2, 4, 3, 4), [0.0, 1.5]),
        ((2, 3, 4), [1e4]),
        ((2, 3), []),
    ],
)
def test_lambda_balanced_on_narrow_and_wide_interfaces(widths, lam):
    params = lambda_balanced(linear_network(widths), KEY, lam, scale=0.5)
    assert defects(params, lam) < 1e-14 * max(1.0, *np.abs(lam), 1.0)
    assert np.linalg.matrix_rank(product(params)) == min(widths)


def test_chain_in_another_order_than_declared():
    arch = Architecture(
        lambda p: p["out"] @ p["in"], {"out": (2, 3), "in": (3, 4)}, chain=("in", "out"), name="backwards"
    )
    params = balanced(arch, KEY, product=np.ones((2, 4)))
    assert list(params) == ["out", "in"]
    np.testing.assert_allclose(arch(params), np.ones((2, 4)), rtol=0, atol=1e-14)


NET, DEEP = linear_network((3, 2, 3)), linear_network((2, 2, 3, 2))
TIED = Architecture(lambda p: p["W"] @ p["W"], {"W": (2, 2)}, chain=("W", "W"), name="tied")
VECTOR = Architecture(lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)})
REFUSALS = [
    (
        lambda: gaussian(NET, KEY, -1.0),
        ValueError,
        r"`scale` must be a finite number of at least 0 .*, but is -1\.0",
    ),
    (lambda: gaussian(NET, KEY, {"W1": np.inf}), ValueError, r"`scale\['W1'\]` must be a finite number"),
    (lambda: gaussian(NET, KEY, [1.0, 2.0]), ValueError, r"`scale` must be a finite number"),
    (lambda: gaussian(NET, KEY, {"W9": 1.0}), ValueError, r"must name factors .*, but has \['W9'\]"),
    (lambda: gaussian(NET, 0), ValueError, r"`key` must be one key made by jax.random.key\(seed\), but is 0"),
    (lambda: orthogonal(VECTOR, KEY), ValueError, r"matrices as factors, but has {'u': \(3,\), 'v': \(3,\)}"),
    (lambda: balanced(FACTORISATION, KEY), ValueError, r"factorisation declares no `chain`"),
    (lambda: lambda_balanced(FACTORISATION, KEY, 0.1), ValueError, r"factorisation declares no `chain`"),
    (
        lambda: balanced(TIED, KEY),
        ValueError,
        r"all its factors, each once, but tied has the factors \['W'\]",
    ),
    (
        lambda: balanced(NET, KEY, product=np.eye(2)),
        ValueError,
        r"must have shape \(3, 3\), but has shape \(2, 2\)",
    ),
    (
        lambda: balanced(NET, KEY, product=np.eye(3), scale=2.0),
        ValueError,
        r"left at 1 if `product` is given",
    ),
    (lambda: balanced(NET, KEY, product=np.eye(3) * np.nan), ValueError, r"must be finite, but 9 of 9"),
    (
        lambda: balanced(NET, KEY, product=np.eye(3)),
        InfeasibleError,
        r"rank at most 2, the narrowest width of 3-2-3, but has rank 3",
    ),
    (lambda: lambda_balanced(DEEP, KEY, 0.5), ValueError, r"each of the 2 hidden layers, but is one number"),
    (lambda: lambda_balanced(DEEP, KEY, [0.5]), ValueError, r"2 hidden layers, but is of shape \(1,\)"),
    (
        lambda: lambda_balanced(NET, KEY, np.nan),
        ValueError,
        r"`lam` must be finite, but 1 of 1 entries are not",
    ),
    (
        lambda: lambda_balanced(linear_network((2, 4, 3)), KEY, 0.5),
        InfeasibleError,
        r"wider than both its ends cannot be lambda-balanced with lam != 0, but lam = 0\.5 for widths 2-4-3",
    ),
    (
        lambda: lambda_balanced(linear_network((4, 4, 3)), KEY, 0.5),
        InfeasibleError,
        r"lam > 0 needs hidden width 4 <= output width 3, but lam = 0\.5 for widths 4-4-3",
    ),
    (
        lambda: lambda_balanced(linear_network((3, 4, 4)), KEY, -0.5),
        InfeasibleError,
        r"lam < 0 needs hidden width 4 <= input width 3, but lam = -0\.5 for widths 3-4-4",
    ),
    (
        lambda: lambda_balanced(DEEP, KEY, [0.0, 0.5]),
        InfeasibleError,
        r"lam_2 = 0, since hidden layer 2 \(width 3\) is wider than layer 1 before it \(width 2\) and .* "
        r"than layer 3 after it \(width 2\), but the sum is 0\.5 for widths 2-2-3-2",
    ),
    (
        lambda: lambda_balanced(linear_network((2, 3, 3, 3)), KEY, [0.5, -0.75]),
        InfeasibleError,
        r"lam_1 \+ lam_2 >= 0, since hidden layer 1 \(width 3\) .* before it .*, but the sum is -0\.25",
    ),
    (
        lambda: lambda_balanced(linear_network((3, 3, 3, 2)), KEY, [0.75, -0.5]),
        InfeasibleError,
        r"lam_1 \+ lam_2 <= 0, since hidden layer 2 \(width 3\) .* after it .*, but the sum is 0\.25",
    ),
]


@pytest.mark.parametrize(("call", "error", "message"), REFUSALS)
def test_refusals(call, error, message):
    with pytest.raises(error, match=message):
        call()


def test_float32_is_refused():
    jax.config.update("jax_enable_x64", False)
    try:
        for call in (
            lambda: gaussian(NET, KEY),
            lambda: orthogonal(NET, KEY),
            lambda: balanced(NET, KEY),
            lambda: lambda_balanced(NET, KEY, 0.5),
        ):
            with pytest.raises(PrecisionError, match="needs float64"):
                call()
    finally:
        jax.config.update("jax_enable_x64", True)
