"""`states_at`: the pure core of a run, for use inside jit, vmap and grad."""

from __future__ import annotations

from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .backends.diffrax_backend import states_along
from .backends.runge_kutta_methods import SOLVERS, solver_of
from .base import AbstractFlow, AbstractIteration, AbstractTrainingRule, State
from .save_times import save_grid


def states_at(
    rule: AbstractTrainingRule,
    theta0: Any,
    ts: Any,
    *,
    t0: Any = 0.0,
    method: Any = "tsit5",
    rtol: Any = 1e-8,
    atol: Any = 1e-10,
    max_steps: int = 16_384,
    derivative: Literal["reverse", "forward", "both"] = "reverse",
) -> State:
    r"""The states of a training rule at given times: arrays in, arrays out.

    Pure: jit- and vmap-compatible, and differentiable with respect to the start and every number in the rule. `solve`
    and `iterate` are the same equations with checks, events, progress and a `Trajectory`. $z$ is
    `jax.vmap(rule.output)(states)`.

    Args:
        rule: an `AbstractFlow` or an `AbstractIteration`. To differentiate with respect to a number that it holds,
            replace that by `equinox.tree_at`.
        theta0: the network's parameters, by name or as the pytree that φ takes; not checked.
        ts: increasing times from `t0` on; of an iteration increasing step numbers, which are not traced.
        t0: start of a flow. An iteration starts at step 0.
        method: `"tsit5"`, `"dopri8"`, `"krylov"` or a diffrax solver.
        rtol: relative tolerance per step.
        atol: absolute tolerance per step.
        max_steps: most steps of the solver.
        derivative: which mode of differentiation to allow: `"reverse"` with recomputation from checkpoints,
            `"forward"`, or `"both"`, which is slow.

    Returns:
        Each array of the state with a leading time axis.

    Raises:
        ValueError: an unknown method or derivative, or step numbers that do not increase.
        RuntimeError: the solver took more than `max_steps` steps.

    Example:
        >>> import dlntheory as dln, jax, jax.numpy as jnp
        >>> arch = dln.linear_network((2, 3, 2))
        >>> flow = dln.GradientFlow(arch, dln.SquaredLoss.from_target([[1.0, 0.0], [0.0, 2.0]]))
        >>> end = lambda theta: arch(jax.tree.map(lambda w: w[-1], states_at(flow, theta, jnp.array([0.0, 1.0]))))
        >>> slope = jax.jit(jax.grad(lambda theta: jnp.sum(end(theta))))(dln.gaussian(arch, jax.random.key(0)))
        >>> slope["W1"].shape
        (3, 2)
    """
    if derivative not in ("reverse", "forward", "both"):
        raise ValueError(
            f'Argument `derivative` must be "reverse", "forward" or "both", but is {derivative!r}.'
        )
    theta = {name: jnp.asarray(leaf) for name, leaf in rule.architecture._flat(theta0).items()}
    state = {
        name: jnp.asarray(leaf, dtype=jnp.result_type(float)) for name, leaf in rule.initial(theta).items()
    }
    if isinstance(rule, AbstractIteration):
        steps = np.atleast_1d(np.asarray(ts))
        return _states_after(rule, state, save_grid(steps, 0, int(steps[-1]), whole=True), derivative)
    assert isinstance(rule, AbstractFlow)
    solver = solver_of(method)
    if solver is None:
        raise ValueError(
            f"Argument `method` must be one of {list(SOLVERS)} or a diffrax solver, but is {method!r}."
        )
    return states_along(
        rule,
        state,
        jnp.asarray(t0, dtype=float),
        jnp.asarray(ts, dtype=float),
        solver=solver,
        rtol=rtol,
        atol=atol,
        max_steps=max_steps,
        derivative=derivative,
    )


def _states_after(rule: AbstractIteration, state: State, steps: np.ndarray, derivative: str) -> State:
    gaps = np.diff(steps, prepend=0)
    kinds: dict[str, Any] = {"reverse": "checkpointed", "forward": "lax", "both": "bounded"}
    kind = kinds[derivative]
    most = max(int(gaps.max()), 1)

    def stretch(carry: Any, gap: Any) -> Any:
        k, state = carry

        def step(carry: Any) -> Any:
            k, left, state = carry
            return k + 1, left - 1, rule.step(k, state)

        k, _, state = eqx.internal.while_loop(
            lambda carry: carry[1] > 0,
            step,
            (k, gap, state),
            max_steps=None if kind == "lax" else most,
            kind=kind,
        )
        return (k, state), state

    return jax.lax.scan(stretch, (jnp.asarray(0), state), jnp.asarray(gaps))[1]
