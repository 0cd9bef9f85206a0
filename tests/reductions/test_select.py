"""`reduce` and `try_reductions`: which reduction is chosen, for whom, and what is said when there is none."""

import logging

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.families.attention import attention
from dlntheory.reductions import base, reduce, try_reductions

KEY = jax.random.key(0)


def residual_blocks():
    return dln.Architecture(
        lambda p: (jnp.eye(2) + p["D"] @ p["C"]) @ (jnp.eye(2) + p["B"] @ p["A"]),
        {"A": (1, 2), "B": (2, 1), "C": (1, 2), "D": (2, 1)},
        name="two residual blocks",
    )


def factorisation():
    return dln.Architecture(lambda p: jnp.einsum("ik,jk->ij", p["a"], p["b"]), {"a": (3, 2), "b": (4, 2)})


def shared_query():
    return dln.Architecture(
        lambda p: jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1),
        {"Q": (2, 2), "K": (2, 2), "V": (3, 2)},
    )


CASES = {
    "balanced chain": (lambda: dln.linear_network((4, 5, 3)), dln.balanced, "balanced end-to-end flow"),
    "generic chain": (lambda: dln.linear_network((4, 5, 3)), dln.gaussian, "Gram flow"),
    "wide generic chain": (lambda: dln.linear_network((64, 100, 10)), dln.gaussian, "Gram flow"),
    "scalar chain": (lambda: dln.linear_network((1, 1, 1, 1)), dln.gaussian, "relaxed balanced flow"),
    "one input and output": (
        lambda: dln.linear_network((1, 2, 1)),
        dln.gaussian,
        "mixed lazy and balanced flow",
    ),
    "relu": (lambda: dln.relu_network((2, 3, 1), bias=True), dln.gaussian, "two-layer path flow"),
    "factors of other names": (factorisation, dln.gaussian, "flow of Gram matrices"),
    "shared query": (shared_query, dln.gaussian, "flow of Gram matrices"),
    "attention of head width 1": (
        lambda: attention(3, 1),
        dln.gaussian,
        "relaxed balanced flow of independent products",
    ),
    "entrywise product": (
        lambda: dln.Architecture(lambda p: p["x"] * p["y"], {"x": (3,), "y": (3,)}),
        dln.gaussian,
        "diagonal flow",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_the_smallest_reduction_that_holds_is_chosen(name):
    make, start, label = CASES[name]
    arch = make()
    theta0 = start(arch, KEY)
    found = reduce(arch, theta0)
    assert found.label == label
    assert found.condition(theta0).holds


def test_lambda_balanced_start_gets_the_relaxed_flow():
    arch = dln.linear_network((2, 2, 2, 2))
    assert reduce(arch, dln.lambda_balanced(arch, KEY, [0.3, -0.2])).label == "relaxed balanced flow"


@pytest.mark.slow
def test_what_no_closed_form_covers_is_closed_automatically():
    arch = dln.Architecture(
        lambda p: (jnp.eye(3) + p["D"] @ p["C"]) @ (jnp.eye(3) + p["B"] @ p["A"]),
        {"A": (2, 3), "B": (3, 2), "C": (2, 3), "D": (3, 2)},
    )
    theta0 = dln.gaussian(arch, KEY, scale=0.5)
    target = jnp.asarray(np.random.default_rng(0).standard_normal((3, 3)))
    flow = dln.GradientFlow(arch, lambda z: jnp.sum(jnp.logaddexp(z - target, target - z)))
    found = try_reductions(arch, theta0)
    assert found.best is not None
    assert found.attempts[-1].kind == "automatic closure"
    both = dln.compare(flow, found.best, theta0, 1.0, ts=5, timing=False)
    assert both.max_error < 1e-9


@pytest.mark.slow
def test_no_reduction_says_why_with_numbers_and_what_would():
    arch = dln.linear_network((2, 2, 2, 2))
    with pytest.raises(dln.NoReductionError) as caught:
        reduce(arch, dln.gaussian(arch, KEY), time_limit=5.0)
    first, *rest = str(caught.value).splitlines()
    assert "GradientFlow(arch, loss)" in first
    assert "lambda_balanced(arch, key, lam)" in first
    assert len(str(caught.value)) < 800
    for words in (
        "Nearest: relaxed balanced flow, off by",
        "Equations in z alone: intrinsic on level sets, since at generic points M changes in 2 of the 2 directions",
    ):
        assert words in "\n".join(rest)
    for words in (
        "12 parameters, rank dphi 4, rank dh 6, fibre of 2 dimensions with rank dM 2 (exact mod",
        "h = 0.7 I: |dM v|/|M| = ",
        "h = h(theta0): |dM v|/|M| = ",
    ):
        assert words in caught.value.intrinsic.numbers()
    answers = {one.name: one.answer for one in caught.value.details.attempts}
    assert answers["balanced end-to-end flow"].startswith("off by")
    assert answers["closed system"].startswith("open")
    assert "by 6.1e-01" in answers["implicit reduced flow"], "K is a branch at this start"
    with pytest.raises(dln.NoReductionError, match=r"(?s)alone: not intrinsic, ") as caught:
        reduce(residual_blocks(), dln.gaussian(residual_blocks(), KEY), time_limit=10.0)
    assert "law-free: dim L 6" in caught.value.intrinsic.numbers()
    assert "full space" in {one.name: one.answer for one in caught.value.details.attempts}["closed system"]


def test_no_reduction_without_a_verdict_says_so():
    wavy = dln.Architecture(lambda p: jnp.sin(p["a"]) * p["b"], {"a": (2,), "b": (2,)}, name="wavy")
    with pytest.raises(
        dln.NoReductionError, match="alone: not decided, .* no exact kernel test .it uses `sin`"
    ):
        reduce(wavy, dln.gaussian(wavy, KEY), time_limit=1.0)
    large = dln.Architecture(lambda p: jnp.sin(p["a"]), {"a": (65,)}, name="large")
    with pytest.raises(dln.NoReductionError, match="alone: not tested above 64 parameters"):
        reduce(large, dln.gaussian(large, KEY), time_limit=1.0)


def test_a_chain_has_any_names_and_need_not_be_declared():
    shapes = {"A": (2, 2), "B": (2, 2), "C": (2, 2)}
    phi = lambda p: p["C"] @ p["B"] @ p["A"]
    for declared in ({}, {"chain": ("A", "B", "C")}):
        arch = dln.Architecture(phi, shapes, name="three", **declared)
        assert reduce(arch, dln.balanced(arch, KEY)).label == "balanced end-to-end flow"


def test_the_report_prints_every_attempt_and_can_go_on():
    arch = dln.linear_network((3, 4, 2))
    found = try_reductions(arch, dln.balanced(arch, KEY), everything=True)
    applies = [one.name for one in found.attempts if one.reduction is not None]
    assert applies[0] == "balanced end-to-end flow"
    assert {"relaxed balanced flow", "Gram flow", "closed system", "singular value flow"} <= set(applies)
    assert found.best is found.attempts[0].reduction
    for one in found.attempts:
        assert one.name in " ".join(str(found).split())
    assert "<table" in found._repr_html_()
    assert "balanced end-to-end flow" in repr(found)


def test_zero_layer_is_no_balanced_start():
    arch = dln.linear_network((2, 3, 2))
    theta0 = {**dln.gaussian(arch, KEY), "W2": jnp.zeros((2, 3))}
    first = try_reductions(arch, theta0).attempts[0]
    assert first.reduction is None
    assert "a layer of `theta0` is zero" in first.answer
    with pytest.raises(ValueError, match="must hold exactly the factors"):
        try_reductions(arch, {"W1": jnp.zeros((3, 2))})


def copied_neuron_flow():
    """A reduction as a reader writes it in a notebook: one class and nothing else."""

    class CopiedNeuronFlow(dln.AbstractReduction):
        label = "flow of two copies"
        statement = r"\dot a = -2 f'(2 a^2)\, a"
        source = "symmetry under exchange"

        def condition(self, theta0):
            u, v = (np.asarray(theta0[name]) for name in self.architecture.shapes)
            return dln.Condition(requirement="u = v", measured=float(np.max(np.abs(u - v))), tolerance=1e-12)

        @classmethod
        def from_start(cls, arch, theta0, loss=None):
            if arch.name != "copied neuron":
                raise dln.NotApplicableError("Argument `arch` must be the copied neuron.")
            return super().from_start(arch, theta0, loss)

        def initial(self, theta0):
            return {"a": theta0["u"]}

        def velocity(self, t, state):
            return {"a": -jax.grad(self.training.loss)(self.output(state)) * state["a"]}

        def output(self, state):
            return state["a"] ** 2

    return CopiedNeuronFlow


def test_a_class_of_a_notebook_is_tried_and_replaced_when_its_cell_runs_again():
    arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (), "v": ()}, name="copied neuron")
    flow = copied_neuron_flow()
    found = reduce(arch, {"u": 0.5, "v": 0.5})
    assert type(found) is flow
    assert found.numbers() == 1
    assert "1 numbers, the network has 2" in str(found)
    assert type(reduce(arch, {"u": 0.5, "v": 0.6})) is not flow
    again = copied_neuron_flow()
    assert type(reduce(arch, {"u": 0.5, "v": 0.5})) is again
    names = [cls.__name__ for cls in base.reductions()]
    assert len(names) == len(set(names))
    with pytest.raises(TypeError, match=r"must define \['statement', 'source'\]"):
        type("Nameless", (dln.AbstractReduction,), {})


def test_a_bug_in_a_reduction_goes_through(monkeypatch):
    arch = dln.linear_network((4, 5, 3))
    broken = lambda self, theta0: np.zeros((2, 3)) @ np.zeros((2, 3))
    monkeypatch.setattr(dln.BalancedFlow, "condition", broken)
    with pytest.raises(ValueError, match="mismatch") as caught:
        reduce(arch, dln.balanced(arch, KEY))
    assert not isinstance(caught.value, dln.NotApplicableError)


def test_a_start_where_solve_would_refuse_is_decided_by_reduce():
    arch = dln.linear_network((1, 1, 3))
    tiny = {"W1": np.array([[1e-12]]), "W2": np.sqrt(0.7) * np.array([[0.6], [0.0], [0.8]])}
    report = try_reductions(arch, tiny)
    (relaxed,) = (one for one in report.attempts if one.name == "relaxed balanced flow")
    assert relaxed.reduction is None
    assert "above 1e-08" in relaxed.answer
    assert report.best is not None
    assert report.best.label != "relaxed balanced flow"


def test_momentum_is_not_reduced_by_a_reduction_of_gradient_flow():
    arch = dln.linear_network((3, 8, 2))
    loss = dln.SquaredLoss.from_target(np.eye(2, 3))
    reduction = dln.GramFlow(arch)
    reduction.reduces(dln.GradientFlow(arch, loss))
    with pytest.raises(dln.NotApplicableError, match="reduces gradient flow only"):
        reduction.reduces(dln.MomentumFlow(arch, loss, friction=0.5))
    with pytest.raises(dln.NotApplicableError, match="must train the network"):
        reduction.reduces(dln.GradientFlow(dln.linear_network((3, 9, 2)), loss))


@pytest.mark.parametrize(
    ("make", "start"),
    [
        (lambda: dln.linear_network((3, 8, 2)), dln.gaussian),
        (lambda: dln.linear_network((2, 2, 2, 2)), lambda a, key: dln.lambda_balanced(a, key, [0.3, -0.2])),
        (lambda: dln.relu_network((2, 3, 1), bias=True), dln.gaussian),
    ],
    ids=["two layers", "relaxed balanced", "path products"],
)
def test_a_second_seed_compiles_nothing(make, start, caplog):
    starts = []
    for seed in (0, 1):
        arch = make()
        starts.append((arch, {name: np.asarray(w) for name, w in start(arch, jax.random.key(seed)).items()}))
    reduce(*starts[0])
    with jax.log_compiles(), caplog.at_level(logging.WARNING, logger="jax"):
        reduce(*starts[1])
        jax.jit(lambda x: x + 1.0)(0.5)
    compiled = [record.message for record in caplog.records if record.message.startswith("Compiling")]
    assert len(compiled) == 1, "only the function that is compiled to see that compilations are seen"
