r"""Which method runs a saddle-to-saddle path: by an estimate of the explicit steps it would take, never silently."""

from __future__ import annotations

import dataclasses
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._precision import require_float64
from ...display.displayed import Displayed
from ...display.progress import keeps_partial, whole_runs
from ...training import AbstractEvent, AbstractFlow, GradientFlow, State, Trajectory, solve
from ...training.backends.scipy_backend import MAX_PARAMETERS
from ...training.stats import INTERRUPTED
from .chain_inputs import Cost, check_alpha, layers_of, negative_gradient, network_of, scaled

#: The stability limit of an explicit Runge-Kutta step is about 3.3 relaxation times.
STABILITY = 3.3
#: Above this many explicit steps an implicit method is taken.
MAX_EXPLICIT_STEPS = 2e4
#: Times at which an explicit run is recorded, and how often they are moved to where something happens.
EXPLICIT_SAVES = 2000
MAX_REFINEMENTS = 3
LARGEST_JUMP, LARGEST_DECADES = 0.05, 0.2
METHODS = ("auto", "dopri8", "stiff", "krylov")


class StiffCostWarning(UserWarning):
    """`"stiff"` means LSODA, which factorises a dense Jacobian of more than 1000 parameters."""


class ModeReaches(AbstractEvent):
    r"""A singular mode grows to a level: $u^\top z\, v = c$ from below.

    Args:
        u: left vector (d_out,).
        v: right vector (d_in,).
        level: $c$.
    """

    u: np.ndarray
    v: np.ndarray
    level: np.ndarray

    def __init__(self, u: Any, v: Any, level: float):
        self.u, self.v = np.asarray(u, dtype=float), np.asarray(v, dtype=float)
        self.level = np.asarray(float(level))

    @property
    def label(self) -> str:
        return "mode reached its level"

    def value(self, dynamics: AbstractFlow, t, state: State) -> Any:
        return self.level - self.u @ dynamics.output(state) @ self.v


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class PathRun(Displayed):
    r"""A run of the full flow from $\alpha\theta_0$, at times close enough to follow plateaus and jumps.

    Attributes:
        trajectory: as `solve` returns it; its `stats` name the method that was taken.
        alpha: the initial scale.
        depth: $L$.
        gradient_norm: $\|\nabla_\theta C\|$ (time,).
        estimated_steps: explicit steps that were expected, see `estimated_steps`.
        interrupted: whether the user stopped it: it ends early, or its times are coarser than they would be.
    """

    trajectory: Trajectory
    alpha: float
    depth: int
    gradient_norm: np.ndarray
    estimated_steps: float
    interrupted: bool = False

    @property
    def ts(self) -> np.ndarray:
        """Times (time,)."""
        return self.trajectory.ts

    @property
    def loss(self) -> np.ndarray:
        """Costs (time,)."""
        return self.trajectory.loss

    @property
    def z(self) -> np.ndarray:
        """End-to-end maps (time, d_out, d_in)."""
        return self.trajectory.z

    def __repr__(self) -> str:
        mark = ", interrupted" if self.interrupted else ""
        return f"PathRun(L = {self.depth}, alpha = {self.alpha:g}, {len(self.ts)} times{mark})"

    def _title(self) -> str:
        return f"path from alpha = {self.alpha:g}, L = {self.depth}"

    def _facts(self) -> dict[str, str]:
        facts = dict(self.trajectory.facts()) | {"explicit steps": f"{self.estimated_steps:.2g} estimated"}
        return facts | ({"interrupted": "it ends early or is coarse"} if self.interrupted else {})


def atol_for(alpha: float) -> float:
    r"""Absolute tolerance of a path from scale $\alpha$: $10^{-5}\alpha$, so that waiting modes keep their digits."""
    return 1e-5 * check_alpha(alpha)


def accurate_atol(alpha: float) -> float:
    r"""$\min(10^{-10}\alpha, 10^{-13})$: needed wherever the second-order constant of an escape time is looked at."""
    return min(1e-10 * check_alpha(alpha), 1e-13)


def relaxation_rate(cost: Cost, depth: int, shape: tuple[int, ...]) -> float:
    r"""An estimate of the fastest rate at which learnt modes relax, $\kappa L\,s^{2 - 2/L}$.

    $\kappa$ is the curvature of the cost in its stiffest direction and $s = s_1(G(0))/\kappa$, what a Newton step
    reaches; both are exact for whitened regression. Used only to choose a method: a run that turns out longer still
    ends right.
    """
    zero = np.zeros(shape)
    gradient = negative_gradient(cost, zero)
    largest = float(np.linalg.norm(gradient, 2))
    if largest == 0.0:
        return 0.0
    unit = jnp.asarray(gradient / np.linalg.norm(gradient))
    start = jnp.zeros(shape)
    # Power iteration on the Hessian of the cost; five rounds are ample for a factor of two.
    for _ in range(5):
        image = jax.jvp(jax.grad(cost), (start,), (unit,))[1]
        curvature = float(jnp.linalg.norm(image))
        if curvature == 0.0:
            return 0.0
        unit = image / curvature
    return curvature * depth * (largest / curvature) ** (2 - 2 / depth)


def estimated_steps(cost: Cost, weights: Mapping[str, Any], t1: float) -> float:
    """Explicit steps that stability asks for from these weights to `t1`: rate times time over 3.3."""
    layers = layers_of(weights)
    shape = (layers[-1].shape[0], layers[0].shape[1])
    return relaxation_rate(cost, len(layers), shape) * float(t1) / STABILITY


def chosen_method(steps: float, size: int) -> str:
    """The method that `"auto"` stands for, by the explicit steps that are ahead and the number of parameters.

    `"dopri8"` up to 20 000 steps; beyond, `"stiff"` up to 1000 parameters, else `"krylov"`.
    """
    if steps <= MAX_EXPLICIT_STEPS:
        return "dopri8"
    return "stiff" if size <= MAX_PARAMETERS else "krylov"


def jacobian_cost(size: int) -> str:
    """What a dense Jacobian of this many parameters costs, in words."""
    return (
        f"with {size} parameters, above {MAX_PARAMETERS}, the dense Jacobian of an implicit method has {size**2:.1e} "
        f"entries ({8e-6 * size**2:.0f} MB), each factorisation about {2 / 3 * size**3:.0e} operations"
    )


def follow_path(
    cost: Cost,
    theta0: Mapping[str, Any],
    alpha: float,
    t1: float | None = None,
    *,
    method: str = "auto",
    rtol: float = 1e-6,
    atol: float | None = None,
    ts: int | str | Sequence[float] | np.ndarray | None = None,
    stop: AbstractEvent | Sequence[AbstractEvent] = (),
    max_steps: int = 1_000_000,
    progress: bool | None = None,
) -> PathRun:
    r"""The gradient flow of $C(W_L \cdots W_1)$ from $\alpha\theta_0$ to `t1`.

    Args:
        cost: $C$, a convex function of $z$.
        theta0: `"W1"`, …, `"WL"`.
        alpha: the initial scale.
        t1: the end; by default $20\,\alpha^{-(L-2)}$ for $L \ge 3$ and $20 \log(1/\alpha)$ for two layers, in units of
            $3/s_1(G(0))$ with $\alpha$ taken relative to the largest layer.
        method: `"auto"`, `"dopri8"`, `"stiff"` (LSODA, BDF where it gives up) or `"krylov"` (implicit without
            matrices, for wide networks). `"auto"` takes an implicit one above 20 000 `estimated_steps`.
        rtol: relative tolerance per step.
        atol: absolute tolerance per step; by default $10^{-5}\alpha$ times the size of $\theta_0$ (at most 1). Times
            of jumps are then right to about $10^{-3}$; take `accurate_atol(alpha)` where they matter.
        ts: as in `solve`; by default every accepted step of a stiff method, 2000 times of an explicit one,
            placed by up to three further runs where loss and gradient change.
        stop: events that end the run.
        max_steps: upper bound on steps; reaching it is an error, never a shorter run.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        A `PathRun`. Ctrl-C returns it up to there, with `interrupted` set; while times are placed, the run before.

    Raises:
        ValueError: malformed arguments, $\alpha \le 0$.
        IntegrationError: the run stopped early; `.trajectory` holds what there is.

    Warns:
        StiffCostWarning: `"stiff"` for more than 1000 parameters; `"krylov"` runs.

    Validity:
        Waiting modes share matrix entries with learnt modes of size one, so that rounding limits them to a relative
        precision of about $10^{-16}/\alpha$: keep $\alpha \ge 10^{-8}$ for the second saddle and later.
    """
    require_float64("follow_path")
    if method not in METHODS:
        raise ValueError(f"Argument `method` must be one of {list(METHODS)}, but is {method!r}.")
    start = scaled(theta0, alpha)
    tolerance = atol_for(alpha) * min(1.0, _size(theta0)) if atol is None else atol
    flow = GradientFlow(network_of(start), cost)
    end = default_horizon(cost, start) if t1 is None else float(t1)
    steps = estimated_steps(cost, start, end)
    size = flow.architecture.size
    if method == "auto":
        method = chosen_method(steps, size)
    elif method == "stiff" and size > MAX_PARAMETERS:
        warnings.warn(
            f"Argument `method` is 'stiff', but {jacobian_cost(size)}: the run takes 'krylov' instead, "
            "an implicit method that forms no Jacobian.",
            StiffCostWarning,
            stacklevel=2,
        )
        method = "krylov"

    def run_on(times: int | str | Sequence[float] | np.ndarray) -> PathRun:
        run = solve(
            flow,
            start,
            end,
            ts=times,
            method=method,
            rtol=rtol,
            atol=tolerance,
            stop=stop,
            max_steps=max_steps,
            save_states=True,
            progress=progress,
        )
        norms = np.asarray(_gradient_norms(flow, run.states or {}))
        return PathRun(run, float(alpha), len(start), norms, steps, run.stats.stopped_by == INTERRUPTED)

    if ts is not None or method == "stiff":
        return run_on("steps" if ts is None else ts)
    found = run_on(EXPLICIT_SAVES)
    for _ in range(MAX_REFINEMENTS):
        if found.interrupted or _is_fine(found):
            break
        try:
            with whole_runs():
                found = run_on(_refined(found, end))
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            found = dataclasses.replace(found, interrupted=True)
    return found


def default_horizon(cost: Cost, start: Mapping[str, Any]) -> float:
    """Time enough for the first few modes to be learnt from these (already small) weights."""
    layers = layers_of(start)
    gradient = negative_gradient(cost, np.zeros((layers[-1].shape[0], layers[0].shape[1])))
    s1 = float(np.linalg.norm(gradient, 2))
    if s1 == 0.0:
        raise ValueError(
            "Argument `cost` must have a gradient at 0, but G(0) = 0: nothing leaves the origin."
        )
    scale = _size(start)
    if len(layers) == 2:
        return 3.0 / s1 * 20.0 * (1.0 + max(0.0, np.log(1.0 / scale)))
    return 3.0 / s1 * 20.0 * max(1.0, scale ** -(len(layers) - 2))


def _size(weights: Mapping[str, Any]) -> float:
    """The largest root mean square of a layer."""
    return max(float(np.sqrt(np.mean(layer**2))) for layer in layers_of(weights))


def largest_jump(run: PathRun) -> float:
    """The largest fall of the loss between two times of a run, relative to its total fall."""
    drop = float(run.loss[0] - run.loss[-1])
    return float(np.max(-np.diff(run.loss))) / drop if drop > 0 else 0.0


def _is_fine(run: PathRun) -> bool:
    """Whether neither the loss nor the gradient changes much between two times, rounding at the end aside."""
    drop = float(run.loss[0] - run.loss[-1])
    active = np.flatnonzero(run.loss - run.loss[-1] > 1e-9 * drop)
    decades = np.abs(np.diff(np.log10(np.maximum(run.gradient_norm[active], 1e-16))))
    return largest_jump(run) <= LARGEST_JUMP and float(np.max(decades, initial=0.0)) <= LARGEST_DECADES


def _refined(run: PathRun, end: float) -> np.ndarray:
    """As many times again, most of them where loss and gradient change: jumps are short and at unknown times."""
    loss = -np.diff(run.loss) / max(float(run.loss[0] - run.loss[-1]), 1e-300)
    decades = np.abs(np.diff(np.log10(np.maximum(run.gradient_norm, 1e-16))))
    weight = np.abs(loss) + 0.2 * np.minimum(decades, 1.0) + 0.2 * np.diff(run.ts) / (run.ts[-1] - run.ts[0])
    passed = np.concatenate([[0.0], np.cumsum(weight)])
    times = np.interp(np.linspace(0.0, passed[-1], EXPLICIT_SAVES), passed, run.ts)
    times[0], times[-1] = run.ts[0], min(float(run.ts[-1]), end)
    return times


@eqx.filter_jit
def _gradient_norms(flow: GradientFlow, states: State):
    def norm(state):
        velocity = flow.velocity(0.0, state)
        return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in velocity.values()))

    return jax.lax.map(norm, {name: jnp.asarray(leaf) for name, leaf in states.items()})
