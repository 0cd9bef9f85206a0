"""`intrinsic`: the list of verdicts, their numbers, level sets, fibres, refusals, and how they show themselves."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import sympy
from systems.level_sets import random_start, relaxed_pair

import dlntheory as dln
from dlntheory._errors import UnsupportedPrimitiveError
from dlntheory.families import (
    attention,
    gram_factorisation,
    low_rank_adapter,
    relu_network,
    residual_blocks,
)
from dlntheory.laws import conservation_laws
from dlntheory.reductions.intrinsicity import fibre_companions, intrinsic

SHARED = {"Q": (2, 2), "K": (2, 2), "V": (2, 2)}


def shared_key(p):
    return jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1)


#: Network, answer, and the answer on h = 0.7 I where it is tried.
VERDICTS = {
    "two layers": (lambda: dln.linear_network((2, 2, 3)), "intrinsic on level sets", "holds"),
    "three layers": (lambda: dln.linear_network((2, 2, 2, 2)), "intrinsic on level sets", "holds"),
    "shared key": (
        lambda: dln.Architecture(shared_key, SHARED, name="shared key"),
        "intrinsic on level sets",
        "holds",
    ),
    "attention": (lambda: attention(2, 2), "intrinsic on level sets", "holds"),
    "adapter": (lambda: low_rank_adapter((3, 3), 1), "recoverable", None),
    "ReLU": (lambda: relu_network((2, 3, 1)), "recoverable", None),
    "tied": (lambda: gram_factorisation(2, 3), "intrinsic", None),
    "residual": (lambda: residual_blocks(2, (1, 1)), "not intrinsic", None),
    "tall": (lambda: dln.linear_network((1, 2, 3)), "intrinsic on level sets", "fails"),
    "scalar output": (lambda: dln.linear_network((1, 2, 2, 1)), "intrinsic", None),
}


@pytest.fixture(scope="module")
def verdicts():
    return {}


@pytest.mark.parametrize("name", VERDICTS)
def test_list_of_verdicts(name, verdicts):
    make, answer, on_scalar = VERDICTS[name]
    verdict = verdicts[name] = intrinsic(make())
    assert verdict.answer == answer, str(verdict)
    assert len(set(verdict.primes)) == 2
    assert verdict.kernel[0].ranks == verdict.kernel[1].ranks
    if on_scalar is not None:
        test = verdict.at("h = 0.7 I")
        assert test.status == on_scalar
        assert (test.ratio < 1e-13) if on_scalar == "holds" else (test.ratio > 0.1)
        assert (test.spread < 1e-13) if on_scalar == "holds" else (test.spread > 0.1)
        # Balanced starts of two layers are intrinsic at any widths: case (a) of the classification.
        assert verdict.at("h = 0").status == "holds"
    assert verdict.is_complete == (name != "scalar output")


def test_counterexample_in_numbers(verdicts):
    """n = 3, m = 1, r = 2, lambda = 0.7: one (z, h) has several M."""
    verdict = verdicts["tall"]
    test = verdict.at("h = 0.7 I")
    assert test.fibre == 2
    assert 0.1 < test.ratio < 0.6
    assert verdict.at("h = -0.7 I").status == "empty"
    assert "lam < 0 needs hidden width 2 <= input width 1" in verdict.at("h = -0.7 I").detail
    with pytest.raises(ValueError, match="must be one of"):
        verdict.at("h = 1")


def test_only_special_level_sets_are_missed_by_generic_points():
    verdict = intrinsic(dln.linear_network((2, 2, 3)), level_sets=())
    assert verdict.answer == "not intrinsic"
    assert verdict.level_sets == ()
    assert "law-free" in str(verdict)
    assert verdict.lie.defect == 1


def test_missing_laws_do_not_make_a_negative_verdict():
    arch = dln.linear_network((1, 2, 2, 1))
    verdict = intrinsic(arch, random_start(arch.shapes))
    assert not verdict.kernel[0].holds
    assert not verdict.is_complete
    assert verdict.answer == "intrinsic"
    assert "incomplete" in verdict.reason
    assert verdict.at("h = h(theta0)").status == "undecided"
    # The law-free test settles it: no special level sets are tried.
    assert len(verdict.level_sets) == 1
    scalar = intrinsic(dln.linear_network((1, 1, 1)), laws=[])
    assert scalar.answer == "intrinsic"
    assert scalar.kernel[0].defect == 1


def test_level_set_of_a_start(verdicts):
    arch = dln.linear_network((2, 2, 3))
    laws = conservation_laws(arch)
    u, v = relaxed_pair(3, 2, 2, 0.3)
    relaxed = {"W1": v.T, "W2": u}
    verdict = intrinsic(arch, relaxed, laws=laws, level_sets=())
    assert verdict.answer == "intrinsic on level sets"
    assert verdict.where == ("h = h(theta0)",)
    generic = intrinsic(arch, random_start(arch.shapes, seed=1), laws=laws, level_sets=())
    assert generic.answer == "not intrinsic"
    assert generic.at("h = h(theta0)").ratio > 0.01
    zero = {name: np.zeros(shape) for name, shape in arch.shapes.items()}
    stuck = intrinsic(arch, zero, laws=laws, level_sets=())
    assert stuck.answer == "not intrinsic"
    assert "h = h(theta0) could not be decided" in stuck.reason
    assert "critical point of every loss" in stuck.at("h = h(theta0)").detail


def test_a_fibre_of_several_pieces_is_seen():
    """z = x^3 - 3x has one tangent direction and three preimages: nothing local can tell."""
    arch = dln.Architecture(lambda p: p["x"] ** 3 - 3.0 * p["x"], {"x": (1,)}, name="cubic")
    found = fibre_companions(arch, {"x": [0.5]}, count=2, seed=3)
    assert {round(float(one.theta["x"][0]), 6) for one in found} <= {
        round(float(root), 6) for root in np.roots([1, 0, -3, -(0.125 - 1.5)]) if np.isreal(root)
    }
    assert found[0].spread > 0.1
    assert found[0].residual < 1e-12
    # On each piece of a fibre M is constant, and it differs between the pieces.
    folded = dln.Architecture(
        lambda p: (lambda z: z**3 - 3.0 * z)(p["U"] @ p["U"].T), {"U": (2, 2)}, name="folded"
    )
    for seed in range(3):
        verdict = intrinsic(folded, seed=seed)
        assert verdict.kernel[0].defect == 0
        assert verdict.kernel[0].fibre == 1
        assert verdict.answer == "undecided"
        assert "another piece of the fibre has another M (spread" in verdict.reason
    # Where theta is recovered, locally, the same is a remark.
    rings = dln.Architecture(
        lambda p: (lambda s: s**3 - 6.0 * s**2 + 9.0 * s)(jnp.sum(p["x"] ** 2)), {"x": (2,)}, name="rings"
    )
    verdict = intrinsic(rings)
    assert verdict.answer == "locally recoverable, several branches"
    assert "followed until two of them meet" in verdict.reason


def test_companions_lie_on_the_fibre():
    arch = dln.linear_network((2, 2, 3))
    laws = conservation_laws(arch)
    theta0 = random_start(arch.shapes, seed=2)
    for found in fibre_companions(arch, theta0, laws=laws, count=2):
        product, product0 = (np.asarray(p["W2"]) @ np.asarray(p["W1"]) for p in (found.theta, theta0))
        assert np.allclose(product, product0, atol=1e-11)
        gram, gram0 = (
            np.asarray(p["W2"]).T @ np.asarray(p["W2"]) - np.asarray(p["W1"]) @ np.asarray(p["W1"]).T
            for p in (found.theta, theta0)
        )
        assert np.allclose(gram, gram0, atol=1e-11)
        flat = np.concatenate([np.ravel(found.theta[name] - theta0[name]) for name in arch.shapes])
        assert np.isclose(np.linalg.norm(flat), found.distance)
        u, v = np.asarray(found.theta["W2"]), np.asarray(found.theta["W1"]).T
        u0, v0 = np.asarray(theta0["W2"]), np.asarray(theta0["W1"]).T

        def metric(u, v):
            return np.kron(u @ u.T, np.eye(2)) + np.kron(np.eye(3), v @ v.T)

        spread = np.linalg.norm(metric(u, v) - metric(u0, v0)) / np.linalg.norm(metric(u0, v0))
        assert np.isclose(found.spread, spread, rtol=1e-9)
        assert "distance" in repr(found)
    with pytest.raises(ValueError, match="count"):
        fibre_companions(arch, theta0, laws=laws, count=0)


def test_a_law_that_is_not_conserved_names_law_and_entry():
    arch = dln.linear_network((2, 2, 2))
    symbols = {str(symbol): symbol for symbol in arch.symbolic().symbols["W1"].ravel()}
    wrong = next(iter(symbols.values())) ** 2
    with pytest.raises(
        ValueError, match=r"law W1\[1,1\]\^2 changes along the gradient of the entry z\[1, 1\] of"
    ):
        intrinsic(arch, laws=[wrong])
    with pytest.raises(ValueError, match="exact=False"):
        intrinsic(arch, laws=lambda p: p["W1"])
    assert isinstance(wrong, sympy.Expr)


@pytest.mark.slow
def test_phi_that_is_not_polynomial():
    arch = dln.Architecture(lambda p: jnp.exp(p["a"]) * p["b"], {"a": (1,), "b": (1,)}, name="exponential")
    with pytest.raises(
        UnsupportedPrimitiveError, match=r"uses `exp`.*float tests are: `intrinsic\(arch"
    ) as caught:
        intrinsic(arch)
    assert caught.value.primitive == "exp"
    # h = a - b^2/2 ... is conserved: (e^a b, e^a) . (1, -b) = 0.
    verdict = intrinsic(arch, {"a": [0.1], "b": [1.0]}, exact=False, laws=lambda p: p["a"] - p["b"] ** 2 / 2)
    assert verdict.answer == "recoverable"
    assert verdict.is_complete is None
    assert verdict.laws is None
    assert "floats only" in str(verdict)
    without = intrinsic(arch, exact=False)
    assert without.answer == "undecided"
    with pytest.raises(ValueError, match=r"changes along the gradient of the entry z\[1\] of phi"):
        intrinsic(arch, exact=False, laws=lambda p: p["a"])
    polynomial = dln.linear_network((2, 2, 3))
    assert intrinsic(polynomial, exact=False, laws=conservation_laws(polynomial)).answer == "undecided"


@pytest.mark.parametrize("level_sets", ["all", (np.inf,)])
def test_malformed_level_sets(level_sets):
    with pytest.raises(ValueError, match="level_sets"):
        intrinsic(dln.linear_network((1, 1, 1)), level_sets=level_sets)


def test_malformed_start_and_precision():
    arch = dln.linear_network((2, 2, 3))
    with pytest.raises(ValueError, match="theta0"):
        intrinsic(arch, {"W1": np.full((2, 2), np.nan), "W2": np.ones((3, 2))})
    jax.config.update("jax_enable_x64", False)
    try:
        with pytest.raises(dln.PrecisionError):
            intrinsic(arch)
    finally:
        jax.config.update("jax_enable_x64", True)


def test_time_limit_leaves_the_question_open():
    verdict = intrinsic(dln.linear_network((1, 2, 2, 1)), time_limit=0.0, level_sets=())
    assert verdict.answer in ("intrinsic", "undecided")
    assert verdict.seconds < 5


def test_a_verdict_is_no_condition_and_shows_itself(verdicts):
    verdict = verdicts["two layers"]
    with pytest.raises(TypeError, match="six answers"):
        bool(verdict)
    text = str(verdict)
    assert all(str(prime) in text for prime in verdict.primes)
    assert "rank dphi 6, rank dh 3, fibre 1, rank dM on it 1" in text
    assert "complete" in text
    assert "h = 0.7 I" in text
    assert repr(verdict).startswith("IntrinsicityResult(linear 2-2-3: intrinsic on level sets {h = 0")
    assert verdict._repr_html_().count("<table>") == 2
    assert r"\ker \partial\varphi" in verdict._repr_latex_()
    assert "law-free: dim L 7" in verdict.numbers()
    record = verdict.to_dict()
    assert record["answer"] == verdict.answer
    assert record["kernel"][0]["fibre"] == 1
    again = intrinsic(dln.linear_network((2, 2, 3)), seed=4, level_sets=())
    assert again.kernel[0].ranks == verdict.kernel[0].ranks
    assert again.seed == 4


def convolution(stride):
    """The full one-dimensional convolution of two filters of sizes 3 and 2, the first one with a stride."""
    place = np.zeros((2 * stride + 2, 3, 2))
    for i in range(3):
        for j in range(2):
            place[i * stride + j, i, j] = 1.0
    phi = lambda p: jnp.einsum("kij,i,j->k", place, p["a"], p["b"])
    return dln.Architecture(phi, {"a": (3,), "b": (2,)}, name=f"convolution, stride {stride}")


def test_several_branches_are_an_answer_of_their_own():
    """Polynomials of degree 2 and 1 with one product share it with other factorisations; with stride 2 they do not."""
    several = intrinsic(convolution(1))
    assert several.answer == "locally recoverable, several branches"
    assert "K is a branch" in several.reason
    assert intrinsic(convolution(2)).answer == "recoverable"


def test_reduce_refuses_a_branch_and_the_implicit_flow_stops_at_its_end():
    phi = lambda p: jnp.stack(
        [p["u"][0] * p["v"][0], p["u"][0] * p["v"][1] + p["u"][1] * p["v"][0], p["u"][1] * p["v"][1]]
    )
    arch = dln.Architecture(phi, {"u": (2,), "v": (2,)}, name="product of two linear forms")
    x = np.random.default_rng(0).normal(size=4)
    theta0 = {"u": x[:2], "v": x[2:]}
    target = jnp.asarray(2 * np.random.default_rng(7).normal(size=3))
    loss = lambda z: 0.5 * jnp.sum((z - target) ** 2) + 0.1 * jnp.sum((z - target) ** 2) ** 2
    with pytest.raises(dln.NotApplicableError, match="K is a branch"):
        dln.reductions.ImplicitFlow.from_start(arch, arch.check(theta0), loss)
    full = dln.solve(dln.GradientFlow(arch, loss), theta0, 3.0, ts=301)
    u, v = full.states["u"], full.states["v"]
    crossing = full.ts[np.flatnonzero(u[:, 0] * v[:, 1] < u[:, 1] * v[:, 0])[0]]
    assert 0 < crossing < 3
    with pytest.raises(dln.IntegrationError, match="branch lost") as caught:
        dln.solve(dln.reductions.ImplicitFlow(arch, theta0, loss), theta0, 3.0, ts=[0.0, 0.3, 3.0])
    assert 0.9 * crossing < caught.value.trajectory.ts[-1] < crossing
    assert np.max(np.abs(caught.value.trajectory.z[1] - full.z[30])) < 1e-6


def test_networks_without_laws_whose_criterion_fails_are_decided():
    c = np.array([[1.0, 2.0, 0.0], [0.0, 1.0, 3.0], [1.0, 0.0, 2.0]])
    middle = dln.Architecture(lambda p: p["W"] @ c @ p["W"].T, {"W": (2, 3)}, name="W C W^T")
    assert intrinsic(middle).answer == "not intrinsic"
    tied = dln.Architecture(
        lambda p: jnp.concatenate([p["W"].T @ p["W"], (p["W"].T @ p["b"] + p["c"])[:, None]], axis=1),
        {"W": (3, 2), "b": (3,), "c": (2,)},
        name="tied autoencoder with biases",
    )
    assert intrinsic(tied).answer in ("not intrinsic", "intrinsic", "recoverable")


def test_what_the_exact_test_shows_is_said_although_level_sets_stay_open():
    x = np.array([[1.0, 2.0], [-1.0, 0.5], [0.0, 1.0]])
    phi = lambda p: p["V"] @ jnp.mean((x @ p["W"].T) ** 2, axis=0)[:, None]
    sets = dln.Architecture(phi, {"V": (2, 3), "W": (3, 2)}, name="mean-pooled deep sets")
    assert intrinsic(sets).answer == "not intrinsic"


@pytest.mark.slow
def test_the_time_limit_is_kept():
    import time

    arch = dln.linear_network((6, 7, 7, 6))
    started = time.process_time()
    found = intrinsic(arch, time_limit=2.0)
    assert time.process_time() - started < 1.5 * 2.0 + 1.0
    assert "time limit" in found.reason
