"""Generated modules: executed in a fresh process that has no dlntheory, against the system and the full flow."""

import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from systems.closures import CHAIN, HIDDEN, OFFSET, SMALL_CHAIN, Loss, chain, full_flow, start

import dlntheory as dln
from dlntheory.reductions.closure import find_closure

CASES = {
    "two layers": (lambda p: p["U"] @ p["V"].T, HIDDEN, {}),
    "scalar law": (chain, CHAIN, {"balanced": {2: 0.25}}),
    "entries": (chain, SMALL_CHAIN, {}),
    "constants, odd names": (
        lambda p: jnp.kron(jnp.eye(2), (OFFSET + p["W-1"] @ p["lambda"] / 3) @ OFFSET.T),
        {"W-1": (4, 2), "lambda": (2, 3)},
        {},
    ),
    "names of the module": (
        lambda p: p["theta"] @ p["Z"] + p["jnp"],
        dict.fromkeys(("theta", "Z", "jnp"), (2, 2)),
        {},
    ),
    "heads": (
        lambda p: jnp.einsum("nhk,mhk->hmn", p["Q"], p["K"]),
        {"Q": (3, 2, 2), "K": (2, 2, 2)},
        {},
    ),
}


def _module(source):
    names = {}
    exec(compile(source, "generated", "exec"), names)
    return names


@pytest.mark.parametrize("name", CASES)
def test_generated_source_is_the_system(name):
    phi, shapes, options = CASES[name]
    arch = dln.Architecture(phi, shapes, name=name)
    closure = find_closure(arch, **options)
    assert closure.is_closed
    module, system = _module(closure.python()), closure.system
    assert system is not None
    slope = jax.grad(Loss(arch.output_shape))
    theta0 = arch.check(start(shapes))

    def everything(initial, output, velocity):
        state = initial(theta0)
        return state, output(state), velocity(state, slope(output(state)))

    ours = jax.jit(lambda: everything(system.initial, system.output, system.velocity))()
    theirs = jax.jit(
        lambda: everything(
            module["initial"], module["output"], lambda state, g: module["velocity"](0.0, state, lambda z: g)
        )
    )()
    for left, right in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(right, left, rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(theirs[1], jax.jit(arch)(theta0), rtol=1e-11, atol=1e-12)


def test_names_that_clash_are_kept_apart():
    arch = dln.Architecture(lambda p: p["G"] @ p["Z"].T, {"G": (2, 3), "Z": (2, 3)}, name="clash")
    closure = find_closure(arch)
    assert closure.system is not None
    assert closure.system.lines()[0] == "Z1' = -(grad B + A grad)"
    assert r"\nabla f" in closure.latex()
    module = _module(closure.python())
    theta0 = arch.check(start(arch.shapes))
    np.testing.assert_allclose(module["output"](module["initial"](theta0)), arch(theta0), rtol=1e-14)


_SCRIPT = """
import sys, time
import jax
jax.config.update("jax_enable_x64", True)
sys.modules["dlntheory"] = None
import numpy as np
import jax.numpy as jnp
import module
from scipy.integrate import solve_ivp
data = np.load("data.npz")
target, ts = data["target"], data["ts"]
grad_f = jax.grad(lambda z: jnp.sum(jnp.logaddexp(z - target, target - z)))
theta = {name: data[name] for name in data.files if name not in ("target", "ts")}
state = module.initial(theta)
shapes = {name: value.shape for name, value in state.items()}
cuts = np.cumsum([value.size for value in state.values()])[:-1]
def unpack(y):
    return {n: part.reshape(s) for (n, s), part in zip(shapes.items(), np.split(y, cuts))}
field = jax.jit(lambda state: module.velocity(0.0, state, grad_f))
begin = time.process_time()
jax.block_until_ready(field(unpack(np.concatenate([np.ravel(v) for v in state.values()]))))
seconds = time.process_time() - begin
def right_side(t, y):
    change = field(unpack(y))
    return np.concatenate([np.ravel(change[name]) for name in state])
y0 = np.concatenate([np.ravel(v) for v in state.values()])
run = solve_ivp(right_side, (ts[0], ts[-1]), y0, method="DOP853", t_eval=ts, rtol=1e-12, atol=1e-14)
np.savez("out.npz", z=np.stack([module.output(unpack(y)) for y in run.y.T]), seconds=seconds)
"""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["two layers", "entries"])
def test_generated_module_runs_alone_and_equals_the_full_flow(name, tmp_path):
    phi, shapes, options = CASES[name]
    arch = dln.Architecture(phi, shapes, name=name)
    loss, theta0, ts = Loss(arch.output_shape), start(shapes), np.linspace(0.0, 1.0, 5)
    (tmp_path / "module.py").write_text(find_closure(arch, **options).python(), encoding="utf-8")
    (tmp_path / "run.py").write_text(_SCRIPT, encoding="utf-8")
    np.savez(tmp_path / "data.npz", target=loss.target, ts=ts, **theta0)
    subprocess.run([sys.executable, "run.py"], cwd=tmp_path, check=True, timeout=120)
    found = np.load(tmp_path / "out.npz")
    full = full_flow(phi, loss, theta0, ts)
    assert np.max(np.abs(full - found["z"])) < 2e-11 * np.max(np.abs(full))
    # Seconds of the processor, as other processes may keep it busy.
    assert float(found["seconds"]) < 3
