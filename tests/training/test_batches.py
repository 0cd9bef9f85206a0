"""Batches of starts: equal to the runs one by one, whatever their axes; and what is refused."""

import jax
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.training.batches import batch_shape

ARCH = dln.linear_network((3, 4, 2))
LOSS = dln.SquaredLoss.from_target([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]])
FLOW = dln.GradientFlow(ARCH, LOSS)


@pytest.fixture(scope="module")
def starts():
    rng = np.random.default_rng(0)
    return [{n: 0.5 * rng.standard_normal(shape) for n, shape in ARCH.shapes.items()} for _ in range(6)]


def stacked(starts, *shape):
    batch = jax.tree.map(lambda *leaves: np.stack(leaves), *starts)
    return jax.tree.map(lambda leaf: leaf.reshape(*shape, *leaf.shape[1:]), batch)


def test_a_batch_is_its_runs(starts):
    together = dln.solve(FLOW, stacked(starts, 2, 3), 4.0, ts=7, rtol=1e-9, stop=dln.LossBelow(1e-2))
    assert together.z.shape == (2, 3, len(together), 2, 3)
    assert together.final["W1"].shape == (2, 3, 4, 3)
    assert np.max(together.loss[..., -1]) == pytest.approx(1e-2, abs=1e-9), (
        "the last to reach the level ends the run"
    )
    for index in (0, 4):
        alone = dln.solve(FLOW, starts[index], float(together.ts[-1]), ts=together.ts, rtol=1e-9)
        member = together[np.unravel_index(index, (2, 3))]
        np.testing.assert_allclose(member.z, alone.z, rtol=0, atol=1e-7)
        np.testing.assert_allclose(member.final["W2"], alone.final["W2"], rtol=0, atol=1e-7)
        assert member.max_drift < 1e-7


def test_steps_of_a_batch_are_its_steps(starts):
    rule = dln.GradientDescent(ARCH, LOSS, 0.1)
    together = dln.iterate(rule, stacked(starts, 6), 40, ts=5, laws=dln.conservation_laws(ARCH))
    for index in (0, 5):
        alone = dln.iterate(rule, starts[index], 40, ts=5, laws=dln.conservation_laws(ARCH))
        np.testing.assert_allclose(together[index].z, alone.z, rtol=0, atol=1e-13)
        for name, values in alone.drift.items():
            np.testing.assert_allclose(together[index].drift[name], values, rtol=0, atol=1e-13)


@pytest.mark.slow
def test_a_batch_is_compared_at_once(starts):
    both = dln.compare(FLOW, dln.reduce(ARCH, starts[0]), stacked(starts, 6), 2.0, ts=5, timing=False)
    assert both.error.shape == (6, 5)
    assert both.max_error < 1e-9
    assert "6 starts" in repr(both.full)


def test_what_is_no_batch_is_refused(starts):
    batch = stacked(starts, 6)
    assert batch_shape(ARCH, starts[0]) == ()
    with pytest.raises(ValueError, match="same leading axes"):
        dln.solve(FLOW, {"W1": batch["W1"], "W2": batch["W2"][:2]}, 1.0)
    with pytest.raises(ValueError, match="must have shape"):
        dln.solve(FLOW, {"W1": batch["W1"], "W2": batch["W2"][0]}, 1.0)
    with pytest.raises(ValueError, match="at least one start"):
        dln.solve(FLOW, jax.tree.map(lambda leaf: leaf[:0], batch), 1.0)
    with pytest.raises(ValueError, match=r"theta0\['W1'\]` must be finite, but 1 of 72"):
        bad = batch["W1"].copy()
        bad[3, 0, 0] = np.nan
        dln.iterate(dln.GradientDescent(ARCH, LOSS, 0.1), {**batch, "W1": bad}, 2)
    with pytest.raises(ValueError, match="must be one start for method 'stiff'"):
        dln.solve(FLOW, batch, 1.0, method="stiff")
    with pytest.raises(dln.ConditionError) as caught:
        dln.solve(dln.BalancedFlow(ARCH).bind(FLOW.training), batch, 1.0)
    assert "member" in caught.value.__notes__[0]
    for transformation in (jax.jit, jax.grad):
        with pytest.raises(ValueError, match="states_at"):
            transformation(lambda p: dln.solve(FLOW, p, 1.0).loss[-1])(starts[0])
