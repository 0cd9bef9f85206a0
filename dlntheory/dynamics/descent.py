"""`AbstractIteration`, the discrete twin of a dynamics, `GradientDescent`, and `iterate`, which runs any of them."""

from __future__ import annotations

import abc
import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import IntegrationError
from .._precision import require_float64
from ..architecture import Architecture
from .base import State, Training
from .flow import chain_imbalances, layer_velocity
from .recording import LawMonitor, number_count, quantities, record
from .solve import MAX_RECORDED
from .trajectory import Stats, Trajectory, trajectory_of

#: Saves per compiled call: between calls the host looks at the loss and may stop.
CHUNK = 16


class AbstractIteration(eqx.Module):
    """A discrete-time training rule. The state is a dict of named arrays; step k is time k * `time_step`."""

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """A short name for tables and legends."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.architecture.name})"

    @property
    @abc.abstractmethod
    def architecture(self) -> Architecture:
        """The network that is trained."""

    @property
    @abc.abstractmethod
    def training(self) -> Training:
        """Loss and factors."""

    @property
    @abc.abstractmethod
    def time_step(self) -> Any:
        """Gradient-flow time of one step."""

    @abc.abstractmethod
    def initial(self, theta0: Mapping[str, Any]) -> State:
        """The state at checked parameters. Pure."""

    @abc.abstractmethod
    def step(self, k, state: State) -> State:
        """The state after step number `k` (counted from 0). Pure."""

    @abc.abstractmethod
    def observe(self, state: State):
        """$z$ of the state. Pure."""

    @abc.abstractmethod
    def conserved(self, state: State) -> dict[str, Any]:
        """Quantities that the flow behind this rule conserves; their drift measures the discretisation. Pure."""

    @abc.abstractmethod
    def monitors(self, state: State) -> dict[str, Any]:
        """Further scalars to record; may be `{}`. Pure."""


class GradientDescent(AbstractIteration):
    r"""Gradient descent with step size $\eta$.

    $$\theta_l \leftarrow \theta_l - \eta e_l(\nabla_{\theta_l} f(\varphi(\theta)) + \gamma\theta_l)$$

    One step of size $\eta$ is the explicit Euler step of `GradientFlow`, and time is $t = k\eta$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        weight_decay: $\gamma \ge 0$.
        rates: factor $e_l$ on the learning rate by name; 1 where not named.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.
    """

    arch: Architecture
    settings: Training
    learning_rate: np.ndarray

    def __init__(
        self,
        arch: Architecture,
        loss: Any,
        learning_rate: float,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        if not (math.isfinite(float(learning_rate)) and float(learning_rate) > 0):
            raise ValueError(f"Argument `learning_rate` must be a positive number, but is {learning_rate}.")
        self.arch = arch
        self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
        self.settings.check(arch)
        self.learning_rate = np.asarray(float(learning_rate))

    @property
    def label(self) -> str:
        return "gradient descent"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training:
        return self.settings

    @property
    def time_step(self) -> Any:
        return self.learning_rate

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0)

    def step(self, k, state: State) -> State:
        velocity = layer_velocity(self.arch, self.settings, state)
        return {name: state[name] + self.learning_rate * velocity[name] for name in state}

    def observe(self, state: State):
        return self.arch(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.arch, self.settings, state)

    def monitors(self, state: State) -> dict[str, Any]:
        return {}


@eqx.filter_jit
@eqx.debug.assert_max_traces(max_traces=None)
def _run_chunk(
    iteration: AbstractIteration,
    state: State,
    k,
    gaps,
    reference,
    monitor: LawMonitor | None,
    with_state: bool,
):
    """Advance by `gaps[0]`, `gaps[1]`, … steps, recording after each; gaps are traced: any grid compiles once."""

    def advance(carry, gap):
        k, state = carry
        state = jax.lax.fori_loop(k, k + gap, lambda i, s: iteration.step(i, s), state)
        t = jnp.asarray(k + gap, dtype=float) * iteration.time_step
        row = record(iteration, t, state, reference, monitor=monitor, with_state=with_state)
        return (k + gap, state), row

    return jax.lax.scan(advance, (k, state), gaps)


def iterate(
    iteration: AbstractIteration,
    theta0: Mapping[str, Any],
    steps: int,
    *,
    saves: int | Sequence[int] | np.ndarray = 200,
    stop_loss: float | None = None,
    laws: Callable[[dict[str, Any]], Any] | None = None,
    save_states: bool | None = None,
    allow_float32: bool = False,
) -> Trajectory:
    r"""Run `steps` steps of a training rule from `theta0`, in compiled chunks.

    A host verb. `Trajectory.ts` is $k\eta$, so that a run lies over the flow that it discretises.

    Args:
        iteration: a `GradientDescent` or any `AbstractIteration`.
        theta0: the network's parameters.
        steps: number of steps, at least 1.
        saves: number of evenly spaced saves (step 0 and the last included), or increasing step numbers.
        laws: conservation laws to watch, a function of the dict of factors; see `solve`.
        stop_loss: end the run at the first save at which the loss is at or below this.
        save_states: keep the state at every save; by default if that takes at most 0.5 GB.
        allow_float32: run in float32 and mark the result.

    Raises:
        ValueError: malformed arguments.
        IntegrationError: the iteration diverged; `.trajectory` holds the finite part.
    """
    float64 = require_float64("iterate", allow_float32=allow_float32)
    grid = _step_grid(saves, steps)
    checked = iteration.architecture.check(theta0)
    state = {name: jnp.asarray(leaf) for name, leaf in iteration.initial(checked).items()}
    if save_states is None:
        save_states = number_count(state, len(grid)) <= MAX_RECORDED
    monitor = None if laws is None else LawMonitor(laws)
    reference = quantities(iteration, jnp.asarray(0.0), state, monitor)
    traces = eqx.debug.get_num_traces(_run_chunk)
    begin = time.perf_counter()
    gaps = np.diff(grid, prepend=0)
    padded = np.concatenate([gaps, np.zeros(-len(gaps) % CHUNK, dtype=gaps.dtype)])
    k, chunks, kept, stopped, diverged = jnp.asarray(0), [], 0, None, False
    for start in range(0, len(padded), CHUNK):
        gaps, before = padded[start : start + CHUNK], (k, state)
        (k, state), rows = _run_chunk(iteration, state, k, jnp.asarray(gaps), reference, monitor, save_states)
        rows = {name: _cut(row, len(grid) - start) for name, row in rows.items()}
        chunks.append(rows)
        finite = np.isfinite(rows["loss"])
        good = len(finite) if finite.all() else int(np.argmin(finite))
        diverged = good < len(finite)
        reached = np.flatnonzero(rows["loss"][:good] <= stop_loss) if stop_loss is not None else []
        if len(reached):
            good, stopped, diverged = int(reached[0]) + 1, "loss level reached", False
        kept += good
        if stopped or diverged:
            # Replay the chunk up to its last good row, so that the final state is the one reported.
            gaps = np.where(np.arange(CHUNK) < good, gaps, 0)
            (k, state), _ = _run_chunk(
                iteration, before[1], before[0], jnp.asarray(gaps), reference, monitor, save_states
            )
            break
    rows = jax.tree.map(lambda *leaves: np.concatenate(leaves)[:kept], *chunks)
    rate = float(iteration.time_step)
    stats = Stats(
        method=f"{iteration.label}, step {rate:g}",
        rtol=None,
        atol=None,
        counts={"steps": int(grid[kept - 1]) if kept else 0},
        seconds=time.perf_counter() - begin,
        compiled=eqx.debug.get_num_traces(_run_chunk) > traces,
        stopped_by=stopped,
        float64=float64,
    )
    final = jax.tree.map(np.asarray, state)
    run = trajectory_of(iteration, "t", grid[:kept] * rate, rows, final, stats) if kept else None
    if diverged:
        raise IntegrationError(
            f"{iteration.label} diverged between steps {grid[kept - 1] if kept else 0} and {grid[kept]} of {steps} "
            f"(step size {rate:g}). A step size below 2/(largest Hessian eigenvalue) is needed; "
            f"the {kept} finite saves are in `.trajectory`.",
            trajectory=run,
        )
    assert run is not None  # row 0 is the checked, finite start
    return run


def _cut(row: Any, count: int) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf[:count]), row)


def _step_grid(saves: int | Sequence[int] | np.ndarray, steps: int) -> np.ndarray:
    if not isinstance(steps, (int, np.integer)) or steps < 1:
        raise ValueError(f"Argument `steps` must be a positive integer, but is {steps!r}.")
    if isinstance(saves, (int, np.integer)):
        if saves < 2:
            raise ValueError(f"Argument `saves` must be at least 2, but is {saves}.")
        return np.unique(np.linspace(0, int(steps), int(saves)).round().astype(np.int64))
    grid = np.asarray(saves)
    if grid.ndim != 1 or grid.size == 0 or grid.dtype.kind not in "iu":
        raise ValueError("Argument `saves` must be a number or a one-dimensional array of step numbers.")
    if np.any(np.diff(grid) <= 0) or grid[0] < 0 or grid[-1] > steps:
        raise ValueError(f"Argument `saves` must increase within [0, {steps}], but is {grid.tolist()}.")
    return grid.astype(np.int64)
