"""Why a run stopped before its end: what was measured where it stopped, in words."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .backends.compiling import Compiled
from .backends.rebased import AbstractRebased
from .base import AbstractFlow, AbstractIteration, AbstractTrainingRule, State
from .batches import Start
from .trajectory import Trajectory

#: Steps of the power iteration that measures a curvature.
POWER_STEPS = 60
#: An explicit method of this package takes steps of at most this many times 1 / the largest rate.
STABLE = 3.0


@Compiled
def _largest_curvature(rule: AbstractTrainingRule, state: State) -> Any:
    """The eigenvalue of largest modulus of the Hessian of the loss in the parameters, by power iteration."""
    params = rule.parameters(state)

    def gradient(theta: State) -> State:
        return jax.grad(lambda p: rule.training.loss(rule.architecture(p)))(theta)  # pyright: ignore

    def dot(a: State, b: State) -> Any:
        return sum(jnp.vdot(a[name], b[name]) for name in a)

    keys = jax.random.split(jax.random.key(0), len(params))
    vector = {
        name: jax.random.normal(key, params[name].shape) for key, name in zip(keys, params, strict=True)
    }

    def step(_: Any, carry: Any) -> Any:
        vector, _ = carry
        size = jnp.sqrt(dot(vector, vector))
        vector = {name: x / size for name, x in vector.items()}
        image = jax.jvp(gradient, (params,), (vector,))[1]
        return image, dot(vector, image)

    return jax.lax.fori_loop(0, POWER_STEPS, step, (vector, jnp.asarray(0.0)))[1]


@Compiled
def _largest_rate(flow: AbstractFlow, t: Any, state: State) -> Any:
    """The norm of the Jacobian of a velocity along its dominant direction, by power iteration."""

    def dot(a: State, b: State) -> Any:
        return sum(jnp.vdot(a[name], b[name]) for name in a)

    keys = jax.random.split(jax.random.key(0), len(state))
    vector = {name: jax.random.normal(key, state[name].shape) for key, name in zip(keys, state, strict=True)}

    def step(_: Any, carry: Any) -> Any:
        vector, _ = carry
        size = jnp.sqrt(dot(vector, vector))
        vector = {name: x / size for name, x in vector.items()}
        image = jax.jvp(lambda y: flow.velocity(t, y), (state,), (vector,))[1]
        return image, jnp.sqrt(dot(image, image))

    return jax.lax.fori_loop(0, POWER_STEPS, step, (vector, jnp.asarray(0.0)))[1]


def sharpness_at(rule: AbstractTrainingRule, state: State) -> float:
    """The largest eigenvalue (by modulus) of the Hessian of the loss at a state; NaN where it cannot be measured."""
    if any(name not in state for name in rule.architecture.shapes):
        return float("nan")
    return float(_largest_curvature(rule, {name: jnp.asarray(leaf) for name, leaf in state.items()}))


def failure_message(
    flow: AbstractFlow,
    start: Start,
    partial: Trajectory | None,
    failure: str,
    *,
    clock: str,
    end: float,
    kept: int,
    count: int,
    max_steps: int,
) -> str:
    """The message of the `IntegrationError` of a flow: the reason first, then where, then what to do."""
    reason, advice = _reason_and_advice(flow, start, partial, failure, clock, max_steps)
    reached = f"{clock} = {partial.ts[-1]:g}" if partial is not None else "its start"
    return (
        f"{flow.label} stopped at {reached}, before {clock} = {end:g}. Reason: {reason} {advice} "
        f"({kept} of {count} save times were reached and are kept in `.trajectory`.)"
    )


def _reason_and_advice(
    flow: AbstractFlow,
    start: Start,
    partial: Trajectory | None,
    failure: str,
    clock: str,
    max_steps: int,
) -> tuple[str, str]:
    is_out_of_steps = "maximum number of" in failure
    if any(limit.monitor in failure for limit in flow.limits()):
        return failure, "Beyond, its equation says nothing."
    if isinstance(flow, AbstractRebased):
        return failure, f"A smaller `rtol` may help, or max_steps above {max_steps}."
    if partial is None or not np.all(np.isfinite(partial.loss)):
        return (
            "the loss is not finite at the start.",
            "Check the loss and the start: `loss(arch(theta0))` must be a number.",
        )
    if start.is_batched:
        worst = np.unravel_index(int(np.argmax(np.abs(partial.loss[..., -1]))), start.batch_shape)
        return (
            failure,
            f"The largest loss is that of member {tuple(map(int, worst))} of the batch: run it alone.",
        )
    first, last = float(partial.loss[0]), float(partial.loss[-1])
    state = {name: jnp.asarray(leaf) for name, leaf in partial.final.items()}
    before, after = _size(start.state), _size(state)
    has_grown = after > 1e2 * max(before, 1e-300) or abs(last) > 1e6 * max(abs(first), 1e-300)
    if has_grown and last < first and last < 0:
        return (
            f"the loss is not bounded below along this run: it fell from {first:.3g} to {last:.3g} while the "
            "state grew "
            f"from norm {before:.2g} to {after:.2g}, and the flow may end in finite time.",
            "No method goes further; stop it earlier.",
        )
    moved = sum(partial.stats.counts.get(name, 0) for name in ("steps accepted", "steps"))
    if is_out_of_steps:
        reason = f"max_steps is {max_steps}, and all were taken."
        if clock == "t" and state and moved:
            rate = float(_largest_rate(flow, jnp.asarray(float(partial.ts[-1])), state))
            mean = float(partial.ts[-1] - partial.ts[0]) / moved
            if rate * mean > 0.3 * STABLE:
                return (
                    f"{reason} The flow is stiff: the fastest rate is {rate:.3g} where it stopped, which keeps "
                    "the steps of "
                    f"an explicit method near {STABLE / rate:.2g}.",
                    'Use `method="stiff"` (up to 1000 variables) or `method="krylov"`.',
                )
        return reason, "A larger `max_steps` or a looser `rtol` goes further."
    if "step size" in failure or "step" in failure.lower():
        return (
            f"the steps reached the spacing of floats ({failure.rstrip('.')}), where the loss is {last:.3g} and "
            "the state "
            f"has norm {after:.2g}.",
            "The velocity is not smooth there, or the flow ends in finite time.",
        )
    return failure, "Look at the last rows of `.trajectory`."


def divergence_message(
    rule: AbstractIteration, first: State, last: State, done: int, upper: int, steps: int, count: int
) -> str:
    """The message of the `IntegrationError` of an iteration whose loss is no longer finite.

    The sharpness is measured at the start and at the last finite state; more than that is not claimed.
    """
    rate = float(np.max(np.asarray(getattr(rule, "learning_rate", rule.time_step))))
    before, after = (rate * sharpness_at(rule, state) for state in (first, last))
    if not (np.isfinite(before) and np.isfinite(after)):
        measured = "The sharpness could not be measured."
    else:
        measured = (
            f"The step size times the largest eigenvalue of the Hessian was {before:.3g} at the start and "
            f"{after:.3g} at "
            f"step {done}; above 2 gradient descent is unstable in a quadratic bowl. "
        )
        measured += (
            "A smaller step size may help."
            if max(before, after) > 2
            else "That does not explain it: look at the rows before, and whether the loss is bounded below."
        )
    measured = rule.failure or measured
    return (
        f"{rule.label} diverged between steps {done} and {upper} of {steps} (step size {rate:g}). {measured} "
        f"({count} finite saved times are in `.trajectory`.)"
    )


def _size(state: State) -> float:
    return float(np.sqrt(sum(float(np.sum(np.square(np.asarray(leaf)))) for leaf in state.values())))
