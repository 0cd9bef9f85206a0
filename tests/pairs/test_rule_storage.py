"""Every training rule runs, compiles once for all its numbers, and its trajectory survives a file."""

import inspect
import pkgutil
from importlib import import_module

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import dlntheory as dln
from dlntheory.training import AbstractFlow, AbstractIteration, rules
from dlntheory.training.backends.diffrax_backend import integrate
from dlntheory.training.iterate import _run_chunk

ARCH = dln.linear_network((3, 2, 2))
TARGET = np.array([[1.0, 0.0, 0.5], [0.0, 2.0, 0.0]])
#: Arguments of rules that need more than an architecture and a loss.
MORE = {
    "learning_rate": 0.05,
    "metric": {"W1": "theta"},
    "radius": 0.01,
}


def classes():
    """All concrete rules of the package, found by walking it."""
    found = {}
    for module in pkgutil.iter_modules(rules.__path__):
        for name, cls in vars(import_module(f"{rules.__name__}.{module.name}")).items():
            is_rule = inspect.isclass(cls) and issubclass(cls, AbstractFlow | AbstractIteration)
            if is_rule and not name.startswith("Abstract") and not inspect.isabstract(cls):
                found[name] = cls
    return found


def made(cls, loss):
    """A rule with the loss, or `None` where it needs something that is not an example's."""
    named = inspect.signature(cls.__init__).parameters
    needed = [n for n, p in named.items() if p.default is p.empty and p.kind in (1, 3)][1:]
    if any(name not in (*MORE, "arch", "loss") for name in needed):
        return None
    return cls(ARCH, loss, **{name: MORE[name] for name in needed if name in MORE})


@pytest.mark.parametrize("name", sorted(classes()))
def test_a_rule_compiles_once_and_its_trajectory_survives_a_file(name, tmp_path):
    cls = classes()[name]
    theta0 = {n: 0.4 + 0.1 * np.arange(np.prod(shape)).reshape(shape) for n, shape in ARCH.shapes.items()}
    runs, traces = [], []
    for scale in (1.0, 0.9):
        rule = made(cls, dln.SquaredLoss.from_target(scale * TARGET))
        if rule is None:
            pytest.skip("needs arguments of its own; see the tests of the rule")
        start = jax.tree.map(lambda leaf, factor=scale: factor * leaf, theta0)
        is_flow = isinstance(rule, AbstractFlow)
        count = 3 if scale == 1.0 else 4
        run = dln.solve(rule, start, 0.4, ts=count) if is_flow else dln.iterate(rule, start, 8, ts=count)
        runs.append(run)
        traces.append(integrate.traces + _run_chunk.traces)
    assert traces[0] == traces[1], "another loss, start and number of times compile nothing"
    assert not runs[1].stats.compiled
    run = runs[0]
    run.save(tmp_path / "run.nc")
    back = dln.Trajectory.load(tmp_path / "run.nc")
    assert back.stats == run.stats
    for group in ("states", "final", "drift", "monitors"):
        left, right = getattr(back, group), getattr(run, group)
        assert list(left) == list(right)
        jax.tree.map(np.testing.assert_array_equal, left, right)
    assert jnp.isfinite(run.loss[-1])
