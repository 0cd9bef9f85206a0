"""`GramFlow` against SciPy for any start, rates and decay; `reduce` and `compare` pick and refuse by number."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.reference import chain_flow, log_cosh

import dlntheory as dln


@pytest.fixture(scope="module")
def problem():
    arch = dln.linear_network((4, 7, 3))
    rng = np.random.default_rng(8)
    theta0 = {name: 0.6 * rng.standard_normal(shape) for name, shape in arch.shapes.items()}
    return arch, theta0, *log_cosh(rng.standard_normal((3, 4)))


@pytest.mark.parametrize(
    ("decay", "rates"), [(0.0, {}), (0.3, {}), (0.0, {"W1": 2.0, "W2": 0.5}), (0.2, {"W2": 3.0})]
)
def test_gram_flow_equals_the_full_flow(problem, decay, rates):
    arch, theta0, loss, gradient = problem
    reduced = dln.GramFlow(arch, loss, weight_decay=decay, rates=rates)
    ts = np.linspace(0, 2, 6)
    run = dln.solve(reduced, theta0, 2.0, ts=ts, rtol=1e-11, method="dopri8", step_to_ts=True)
    speeds = [rates.get(name, 1.0) for name in arch.chain]
    reference, layers = chain_flow([theta0["W1"], theta0["W2"]], gradient, ts, decay=decay, rates=speeds)
    assert np.max(np.abs(run.z - reference)) < 1e-10 * np.max(np.abs(reference))
    stacked = np.concatenate([layers[0].T, layers[1]])
    np.testing.assert_allclose(reduced.gram(run.final, "X"), stacked @ stacked.T, atol=1e-9)
    if decay == 0:
        assert set(run.drift) == {"X^T J X"}
        assert run.max_drift < 1e-8
    else:
        assert not run.drift, "weight decay breaks X^T J X: nothing may be monitored as conserved"


def test_what_is_conserved_is_the_imbalance(problem):
    arch, theta0, loss, _ = problem
    reduced = dln.GramFlow(arch, loss)
    params = {name: jnp.asarray(w) for name, w in theta0.items()}
    values = reduced.conserved(reduced.initial(params))
    defect = -np.asarray(dln.imbalances(arch, params)[0])  # W_1 W_1^T - W_2^T W_2
    # X = Q V with orthogonal V, so that X^T J X has the eigenvalues of the imbalance.
    found = np.linalg.eigvalsh(values["X^T J X"])
    np.testing.assert_allclose(found, np.linalg.eigvalsh(defect), atol=1e-12 * np.max(np.abs(defect)))


def test_two_layers_are_required(problem):
    with pytest.raises(ValueError, match="exactly 2 layers for the Gram flow, but linear 3-3-3-3 has 3"):
        dln.GramFlow(dln.linear_network((3, 3, 3, 3)))
    plain = dln.Architecture(lambda p: p["U"] @ p["V"].T, {"U": (4, 2), "V": (3, 2)}, name="factorisation")
    with pytest.raises(ValueError, match="factorisation declares none"):
        dln.GramFlow(plain)
    with pytest.raises(ValueError, match="declares none"):
        dln.BalancedFlow(plain)


def test_reduce_picks_the_smallest(problem):
    arch, theta0, _, _ = problem
    assert dln.reduce(arch, theta0).label == "Gram flow"
    balanced = dln.balanced(arch, jax.random.key(0))
    assert dln.reduce(arch, balanced).label == "balanced end-to-end flow"
    low_rank = dln.balanced(arch, jax.random.key(0), product=np.outer([1.0, 2, 3], [1.0, 0, 0, 1]))
    assert int(dln.reduce(arch, low_rank).rank) == 1


@pytest.mark.slow
def test_compare_refuses_to_mix_factors(problem):
    arch, theta0, loss, _ = problem
    target = np.ones((3, 4))
    inputs = np.random.default_rng(0).standard_normal((20, 4))
    mean = dln.SquaredLoss(inputs, inputs @ target.T)
    total = dln.SquaredLoss(inputs, inputs @ target.T, reduction="sum")
    other = dln.SquaredLoss(inputs, 2 * inputs @ target.T)
    flow = dln.GradientFlow(arch, mean)
    for bad in (
        dln.GramFlow(arch, total),
        dln.GramFlow(arch, other),
        dln.GramFlow(arch, mean, weight_decay=0.1),
        dln.GramFlow(arch, mean, rates={"W1": 2.0}),
        dln.GramFlow(arch, loss),
    ):
        with pytest.raises(ValueError, match="must train with the loss, weight decay and rates of `full`"):
            dln.compare(flow, bad, theta0, 1.0)
    again = dln.GramFlow(arch, dln.SquaredLoss(inputs, inputs @ target.T))
    assert dln.compare(flow, again, theta0, 0.5, timing=False, ts=3).max_error < 1e-10
    with pytest.raises(ValueError, match="one network"):
        dln.compare(flow, dln.GramFlow(dln.linear_network((4, 6, 3)), mean), theta0, 1.0)
