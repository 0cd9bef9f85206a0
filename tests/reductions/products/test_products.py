"""Attention, shared queries, tied factors and adapters against SciPy; recognition for any names; refusals by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems import products as reference
from systems.reference import log_cosh

import dlntheory as dln
from dlntheory.families.attention import attention, linear_attention
from dlntheory.families.gram import difference_of_grams, gram_factorisation
from dlntheory.families.residual import residual_blocks, shortcut_network
from dlntheory.reductions.entrywise import NeuronFlow
from dlntheory.reductions.products import (
    GramBlocksFlow,
    RelaxedBlocksFlow,
    TiedFlow,
    product_form,
)

TS = np.linspace(0, 1.5, 4)
TIGHT = {"ts": TS, "rtol": 1e-12, "method": "dopri8", "step_to_ts": True}


def stacked(p):
    return jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1)


SYSTEMS = {
    "attention": (attention(3, 4), reference.attention_output, reference.attention_slopes),
    "shared": (
        dln.Architecture(stacked, {"Q": (2, 5), "K": (3, 5), "V": (1, 5)}, name="shared query"),
        reference.shared_output,
        reference.shared_slopes,
    ),
    "tied": (
        dln.Architecture(lambda p: -2 * p["U"] @ p["U"].T, {"U": (3, 4)}, name="tied"),
        reference.tied_output,
        reference.tied_slopes,
    ),
    "adapter": (
        dln.Architecture(
            lambda p: reference.FROZEN + p["B"] @ p["A"], {"A": (2, 3), "B": (4, 2)}, name="adapter"
        ),
        reference.adapter_output,
        reference.adapter_slopes,
    ),
    "shortcut": (
        dln.Architecture(
            lambda p: p["B"] @ p["A"] + p["C"], {"A": (2, 3), "B": (4, 2), "C": (4, 3)}, name="short"
        ),
        reference.shortcut_output,
        reference.shortcut_slopes,
    ),
}


def start(arch, scale=0.7, seed=0):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal(shape) for name, shape in arch.shapes.items()}


def error(run, zs):
    return np.max(np.abs(run.z - zs)) / np.max(np.abs(zs))


def problem(name, seed=1):
    arch, output, slopes = SYSTEMS[name]
    loss, gradient = log_cosh(np.random.default_rng(seed).standard_normal(arch.output_shape))
    return arch, output, slopes, loss, gradient


@pytest.mark.parametrize(
    ("name", "decay", "rates"),
    [
        ("attention", 0.0, {}),
        pytest.param("shared", 0.2, {"Q": 2.0, "V": 0.5}, marks=pytest.mark.slow),
        pytest.param("tied", 0.1, {"U": 0.5}, marks=pytest.mark.slow),
        pytest.param("adapter", 0.0, {}, marks=pytest.mark.slow),
        pytest.param("shortcut", 0.3, {"C": 2.0}, marks=pytest.mark.slow),
    ],
)
def test_gram_matrices_give_the_full_flow(name, decay, rates):
    arch, output, slopes, loss, gradient = problem(name)
    theta0 = start(arch)
    if name == "adapter":
        theta0["B"] = np.zeros_like(theta0["B"])
    zs, _ = reference.full_flow(output, slopes, theta0, gradient, TS, decay=decay, rates=rates)
    run = dln.solve(GramBlocksFlow(arch, loss, weight_decay=decay, rates=rates), theta0, TS[-1], **TIGHT)
    assert error(run, zs) < 1e-10
    if decay == 0:
        assert run.drift
        assert run.max_drift < 1e-9


@pytest.mark.slow
def test_tied_factors_in_z_alone():
    arch, output, slopes, loss, gradient = problem("tied")
    theta0 = start(arch)
    rates = {"U": 0.5}
    zs, final = reference.full_flow(output, slopes, theta0, gradient, TS, decay=0.1, rates=rates)
    run = dln.solve(TiedFlow(arch, loss, weight_decay=0.1, rates=rates), theta0, TS[-1], **TIGHT)
    assert error(run, zs) < 1e-10
    np.testing.assert_allclose(run.final["X"] @ run.final["X"].T, final["U"] @ final["U"].T, atol=1e-10)
    transposed = gram_factorisation(4, 3)
    factor = TiedFlow(transposed).initial(transposed.check({"W": theta0["U"].T}))["X"]
    assert factor @ factor.T == pytest.approx(theta0["U"] @ theta0["U"].T)


def relaxed_attention(first, second, seed=4):
    """A start of attention(3, 3) with Q^T Q - K^T K = first I and V^T V - O O^T = second I."""
    rng = np.random.default_rng(seed)
    theta0 = {}
    for names, lam in ((("Q1", "K1"), first), (("V1", "O1"), second)):
        left, middle, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(3))
        square = rng.uniform(0.3, 1.0, 3)
        big, small = np.sqrt(square + max(lam, 0)), np.sqrt(square - min(lam, 0))
        theta0[names[0]] = (left * big) @ middle.T
        theta0[names[1]] = (right * small) @ middle.T
    theta0["O1"] = theta0["O1"].T
    return theta0


def test_attention_in_z_alone_where_each_law_is_scalar():
    arch = attention(3, 3)
    loss, gradient = log_cosh(2 * np.random.default_rng(3).standard_normal(arch.output_shape))
    theta0 = relaxed_attention(0.6, -0.4)
    reduced = RelaxedBlocksFlow.from_start(arch, theta0, loss)
    assert [float(part.lambdas[0]) for part in reduced.parts] == pytest.approx([0.6, -0.4])
    zs, _ = reference.full_flow(reference.attention_output, reference.attention_slopes, theta0, gradient, TS)
    run = dln.solve(reduced, theta0, TS[-1], **TIGHT)
    assert sum(array.size for array in run.final.values()) == 18
    assert error(run, zs) < 1e-10
    assert dln.reduce(arch, theta0).label == reduced.label


def test_a_law_that_is_no_scalar_is_refused_with_its_distance():
    arch = attention(3, 3)
    theta0 = relaxed_attention(0.6, -0.4)
    broken = {**theta0, "V1": theta0["V1"] + np.diag([0.0, 0.01, 0.0])}
    with pytest.raises(dln.ConditionError, match="product of V1 and O1"):
        RelaxedBlocksFlow.from_start(arch, broken)
    condition = RelaxedBlocksFlow(arch, [0.6, -0.4]).condition(arch.check(broken))
    law = broken["V1"].T @ broken["V1"] - broken["O1"] @ broken["O1"].T
    assert not condition.holds
    assert condition.measured == pytest.approx(np.linalg.norm(law + 0.4 * np.eye(3)))
    assert "V1 and O1" in condition.explanation
    assert dln.reduce(arch, broken).label == "flow of Gram matrices"
    with pytest.raises(ValueError, match="one number for each of the 2 products"):
        RelaxedBlocksFlow(arch, [0.6])


@pytest.mark.slow
def test_a_law_that_is_off_gives_another_flow():
    arch = attention(3, 3)
    loss, gradient = log_cosh(2 * np.random.default_rng(3).standard_normal(arch.output_shape))
    theta0 = relaxed_attention(0.6, -0.4)
    broken = {**theta0, "V1": theta0["V1"] + np.diag([0.0, 0.1, 0.0])}
    zs, _ = reference.full_flow(reference.attention_output, reference.attention_slopes, broken, gradient, TS)
    run = dln.solve(RelaxedBlocksFlow(arch, [0.6, -0.4], loss), broken, TS[-1], check=False, **TIGHT)
    assert error(run, zs) > 1e-4


@pytest.mark.slow
def test_an_adapter_of_rank_one_is_always_intrinsic():
    arch = dln.Architecture(
        lambda p: reference.FROZEN + p["B"] @ p["A"], {"A": (1, 3), "B": (4, 1)}, name="lora"
    )
    loss, gradient = log_cosh(np.random.default_rng(5).standard_normal((4, 3)))
    theta0 = start(arch)
    zs, _ = reference.full_flow(reference.adapter_output, reference.adapter_slopes, theta0, gradient, TS)
    for reduced in (RelaxedBlocksFlow.from_start(arch, theta0, loss), NeuronFlow(arch, loss)):
        assert error(dln.solve(reduced, theta0, TS[-1], **TIGHT), zs) < 1e-10


def test_an_adapter_that_starts_at_zero_falls_back_on_gram_matrices():
    arch, *_ = SYSTEMS["adapter"]
    theta0 = {"A": np.random.default_rng(0).standard_normal((2, 3)), "B": np.zeros((4, 2))}
    assert dln.reduce(arch, theta0).label == "flow of Gram matrices"
    # A A^T = I makes the law scalar, but z = 0 does not tell the rows of A.
    orthogonal = {**theta0, "A": np.eye(2, 3)}
    assert dln.reduce(arch, orthogonal).label == "flow of Gram matrices"
    neuron = dln.Architecture(lambda p: p["B"] @ p["A"], {"A": (1, 3), "B": (4, 1)}, name="lora")
    zero = {"A": np.ones((1, 3)), "B": np.zeros((4, 1))}
    # A product of two matrices is recognised as a chain, whatever its factors are called.
    assert dln.reduce(neuron, zero).label == "Gram flow"
    condition = NeuronFlow(neuron).condition(neuron.check(zero))
    assert not condition.holds
    assert "direction" in condition.explanation


def test_words_tell_who_belongs_together():
    assert GramBlocksFlow(attention(2, 1, heads=2)).groups == (
        ("Q1", "K1"),
        ("V1", "O1"),
        ("Q2", "K2"),
        ("V2", "O2"),
    )
    shared = product_form(SYSTEMS["shared"][0], "a test").components[0]
    assert [side.letter for side in shared.sides] == ["Q", "K", "V"]
    assert shared.signs == (1, -1, -1)
    assert product_form(SYSTEMS["tied"][0], "a test").components[0].signs is None
    assert GramBlocksFlow(difference_of_grams(3, 2)).groups == (("U",), ("V",))
    assert GramBlocksFlow(residual_blocks(2, (3,))).groups == (("B1", "A1"),)
    assert GramBlocksFlow(shortcut_network(3, 4, 2)).groups == (("W2", "W1"),)


@pytest.mark.parametrize(
    ("arch", "message"),
    [
        (dln.linear_network((2, 2, 2, 2)), "the longer word W3 W2 W1"),
        (dln.Architecture(lambda p: p["A"] @ p["A"], {"A": (2, 2)}, name="square"), "multiplies A on both"),
        (
            dln.Architecture(lambda p: p["A"] @ p["B"] + p["A"], {"A": (2, 2), "B": (2, 2)}, name="beside"),
            "beside shows A",
        ),
        (linear_attention(2, 1), "known only that"),
        (
            dln.Architecture(lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}, name="diagonal"),
            "known only that",
        ),
    ],
)
def test_other_forms_are_refused_by_name(arch, message):
    with pytest.raises(ValueError, match=message):
        GramBlocksFlow(arch)


def test_each_flow_refuses_what_is_not_its_form():
    with pytest.raises(ValueError, match="o \\+ c U U\\^T"):
        TiedFlow(SYSTEMS["shared"][0])
    with pytest.raises(ValueError, match="Q, K, V occur in 2 products"):
        RelaxedBlocksFlow(SYSTEMS["shared"][0], [0.1])
    with pytest.raises(ValueError, match="shows single factors"):
        RelaxedBlocksFlow(SYSTEMS["shortcut"][0], [0.1])
    decaying = dln.GradientFlow(attention(2, 1), jnp.sum, weight_decay=0.1, rates={"Q1": 2.0})
    with pytest.raises(dln.NotApplicableError, match="unequal `rates`"):
        RelaxedBlocksFlow(attention(2, 1), [0.1, 0.2]).bind(decaying.training)


def grams(state):
    """A factor turns along a run, its Gram matrix does not."""
    return {key: value @ value.T if key.startswith("X") else value for key, value in state.items()}


@pytest.mark.slow
def test_velocity_is_the_push_forward_at_any_point():
    """dM/dt and dz/dt of the reduced flow equal the derivative along the full field, for random starts."""
    for name, (arch, *_) in SYSTEMS.items():
        loss, _ = log_cosh(np.random.default_rng(6).standard_normal(arch.output_shape))
        rates = {next(iter(arch.shapes)): 0.5}
        full = dln.GradientFlow(arch, loss, weight_decay=0.2, rates=rates)
        reduced = GramBlocksFlow(arch).bind(full.training)
        theta = arch.check(start(arch, seed=9))
        seen = lambda params, reduced=reduced: grams(reduced.initial(params))
        _, expected = jax.jvp(seen, (theta,), (full.velocity(0.0, theta),))
        state = reduced.initial(theta)
        _, found = jax.jvp(grams, (state,), (reduced.velocity(0.0, state),))
        for key in expected:
            np.testing.assert_allclose(found[key], expected[key], atol=1e-12, err_msg=f"{name} {key}")
