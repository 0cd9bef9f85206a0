r"""Two other times of the flow, $d\tau = R\,dt$ and $d\sigma = R\|W\|^{L-2}dt$: a cross-check.

In $\tau$ the flow is $dW/d\tau = -\nabla\log R$, in which nothing is small; $s = \log(1+t)$ is carried as a further
variable, $ds/d\tau = e^{-\log R - s}$. For $L \ge 3$ the weights diverge at a finite $\tau$, and for $L = 2$ the time
$\tau$ grows as $\log\log t$; the second one removes the divergence. No better than logarithmic time, but a different
equation.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...display.progress import whole_runs
from ...training import AbstractEvent, AbstractFlow, State, Training, Trajectory, solve
from ...training.rules.gradient_flow import chain_imbalances
from .problem import SeparableProblem

CLOCKS = ("risk", "risk_normalised")
LOG_TIME = "log_time"
#: An upper bound on $\\tau$ and $\\sigma$; the event ends the run long before.
LAST = 1e12


class RiskClockFlow(AbstractFlow):
    r"""Gradient flow in $\tau$ or $\sigma$, with $s = \log(1 + t)$ among its variables.

    Args:
        arch: a chain of $L$ matrices.
        loss: a loss with a logarithm.
        is_normalised: $\sigma$ instead of $\tau$; $\|W\|^2$ is then the sum of all squared weights.
    """

    architecture: Architecture
    training: Training
    is_normalised: bool = eqx.field(static=True)

    def __init__(self, arch: Architecture, loss: Any, *, is_normalised: bool = False):
        self.architecture = arch
        self.training = Training(loss)
        self.training.check(arch)
        self.is_normalised = is_normalised

    @property
    def label(self) -> str:
        return "gradient flow, normalised risk clock" if self.is_normalised else "gradient flow, risk clock"

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {**theta0, LOG_TIME: jnp.zeros(())}

    def velocity(self, t, state: State) -> State:
        weights = self.parameters(state)
        log_risk, gradient = jax.value_and_grad(lambda p: self.training.loss.log_value(self.architecture(p)))(
            weights
        )
        speed = jnp.ones(())
        if self.is_normalised:
            norm = jnp.sqrt(sum(jnp.sum(w**2) for w in weights.values()))
            speed = norm ** (2.0 - len(weights))
        velocity = {name: -speed * gradient[name] for name in weights}
        return {**velocity, LOG_TIME: speed * jnp.exp(-log_risk - state[LOG_TIME])}

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, self.parameters(state))


class LogTimeReached(AbstractEvent):
    """The variable $s$ of a `RiskClockFlow` reaches a value."""

    target: np.ndarray

    def __init__(self, target: float):
        self.target = np.asarray(float(target))

    @property
    def label(self) -> str:
        return "log time reached"

    def value(self, dynamics: AbstractFlow, t, state: State) -> Any:
        return self.target - state[LOG_TIME]


@whole_runs()
def run_risk_clock(
    problem: SeparableProblem,
    arch: Architecture,
    weights: Mapping[str, Any],
    s_max: float,
    clock: str,
    rtol: float,
    max_steps: int,
    progress: bool | None = None,
) -> tuple[Trajectory, np.ndarray]:
    """Start and end of a run up to $s$ = `s_max`, and $s$ at both. See `log_time_flow`."""
    trajectory = solve(
        RiskClockFlow(arch, problem.loss, is_normalised=clock == "risk_normalised"),
        weights,
        LAST,
        ts=[0.0, LAST],
        method="dopri8",
        rtol=rtol,
        atol=1e-2 * rtol,
        stop=LogTimeReached(s_max),
        save_states=True,
        max_steps=max_steps,
        progress=progress,
    )
    assert trajectory.states is not None  # `save_states` is set
    return trajectory, trajectory.states[LOG_TIME]


def clock_disagreement(first: Mapping[str, Any], second: Mapping[str, Any]) -> float:
    """The distance of two sets of weights relative to the norm of the second, over all layers."""
    gap = np.sqrt(sum(np.sum((np.asarray(first[k]) - np.asarray(second[k])) ** 2) for k in second))
    return float(gap / np.sqrt(sum(np.sum(np.asarray(w) ** 2) for w in second.values())))
