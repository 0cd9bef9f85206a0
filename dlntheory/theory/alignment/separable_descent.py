r"""Gradient descent on separable data by three step rules, in logarithms: the risk may fall to $e^{-4000}$."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...display.displayed import Displayed
from ...display.text import format_number
from ...training import AbstractIteration, State, Training, Trajectory, iterate
from ...training.rules.gradient_flow import chain_imbalances
from ...training.stats import INTERRUPTED
from .admissible_starts import check_not_critical, checked_network, product
from .problem import SeparableProblem
from .smoothness import published_smoothness, risk_smoothness, sharper_smoothness

RULES = ("paper", "sharper", "normalised")
LOG_TIME, LOG_RISK, RADIUS, CHANGE = "log_time", "log_risk_before", "radius", "largest_change"


class SeparableDescent(AbstractIteration):
    r"""Gradient descent with steps $\eta_t$ that keep the risk decreasing; the time step is one iteration.

    The state holds the weights, $\log(1 + \sum_{j<t}\eta_j)$, the radius $R_t$ of the ball that the rule works in, the
    log risk before the last step and the largest change of the log risk in any step so far.

    Args:
        arch: a chain of $L$ matrices onto one output.
        loss: a loss with a logarithm; logistic for the rules `"paper"` and `"sharper"`.
        rule: see `gradient_descent`.
    """

    architecture: Architecture
    training: Training
    rule: str = eqx.field(static=True)

    def __init__(self, arch: Architecture, loss: Any, rule: str):
        self.architecture = arch
        self.training = Training(loss)
        self.training.check(arch)
        self.rule = rule

    @property
    def label(self) -> str:
        return f"gradient descent, {self.rule} steps"

    @property
    def time_step(self) -> Any:
        return 1.0

    def initial(self, theta0: Mapping[str, Any]) -> State:
        scalars = {LOG_TIME: 0.0, LOG_RISK: jnp.inf, RADIUS: 1.0 + _largest_norm(theta0), CHANGE: -jnp.inf}
        return {**theta0, **{name: jnp.asarray(value) for name, value in scalars.items()}}

    def step(self, k, state: State) -> State:
        weights = self.parameters(state)
        log_risk, gradient = jax.value_and_grad(lambda p: self.training.loss.log_value(self.architecture(p)))(
            weights
        )
        log_rate = self._log_rate(state, weights, log_risk)
        # rate * grad R = exp(log rate + log R) * grad log R
        speed = jnp.exp(log_rate + log_risk)
        after = {name: weights[name] - speed * gradient[name] for name in weights}
        outside = _largest_norm(after) > state[RADIUS] - 1.0
        return {
            **after,
            LOG_TIME: jnp.logaddexp(state[LOG_TIME], log_rate),
            LOG_RISK: log_risk,
            RADIUS: jnp.where(outside, state[RADIUS] + 1.0, state[RADIUS]),
            CHANGE: jnp.maximum(state[CHANGE], log_risk - state[LOG_RISK]),
        }

    def _log_rate(self, state: State, weights: State, log_risk):
        depth = len(weights)
        if self.rule == "normalised":
            radius = jnp.maximum(1.0, _largest_norm(weights))
            return -jnp.log(2.0 * risk_smoothness(radius, depth)) - log_risk
        bound = published_smoothness if self.rule == "paper" else sharper_smoothness
        return jnp.minimum(0.0, -jnp.log(bound(state[RADIUS], depth)))

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, self.parameters(state))


@dataclasses.dataclass(frozen=True, eq=False, repr=False)
class DescentRun(Displayed):
    r"""A run of gradient descent on separable data.

    Attributes:
        problem: data and loss.
        rule: the rule of the steps.
        steps: number of steps at each save (time,).
        s: $\log(1 + t)$ with $t = \sum_j \eta_j$ (time,).
        log_risk: $\log R$ (time,).
        weights: $W_1, …, W_L$, each (time, d_k, d_{k-1}).
        largest_change: the largest change of $\log R$ in any single step; negative: the risk fell in every one.
        trajectory: the run as `iterate` returns it.
        interrupted: whether the user stopped the run; its last row is where.
    """

    problem: SeparableProblem
    rule: str
    steps: np.ndarray
    s: np.ndarray
    log_risk: np.ndarray
    weights: tuple[np.ndarray, ...]
    largest_change: float
    trajectory: Trajectory
    interrupted: bool = False

    @property
    def is_monotone(self) -> bool:
        """Whether the risk fell in every step."""
        return self.largest_change < 0

    @property
    def final(self) -> dict[str, np.ndarray]:
        """The last weights."""
        return {f"W{k}": w[-1] for k, w in enumerate(self.weights, start=1)}

    def __repr__(self) -> str:
        return (
            f"DescentRun({self.rule} steps, L = {len(self.weights)}, {self.steps[-1]} steps, "
            f"log(1 + t) = {self.s[-1]:.4g}{', interrupted' if self.interrupted else ''})"
        )

    def _title(self) -> str:
        return "descent on separable data"

    def _facts(self) -> dict[str, Any]:
        return {
            "problem": repr(self.problem),
            "network": self.trajectory.architecture,
            "rule": self.rule,
            "steps": f"{int(self.steps[-1])}{', interrupted' if self.interrupted else ''}",
            "log(1 + t)": float(self.s[-1]),
            "log risk": f"{self.log_risk[0]:.6g} -> {self.log_risk[-1]:.6g}",
            "monotone": f"{'yes' if self.is_monotone else 'NO'}, largest change of log R in a step "
            + format_number(self.largest_change, 2),
            "wall time": f"{self.trajectory.stats.seconds:.3g} s",
        }


def gradient_descent(
    problem: SeparableProblem,
    weights: Mapping[str, Any],
    rule: str,
    steps: int,
    *,
    ts: int | Sequence[int] | np.ndarray = 100,
    progress: bool | None = None,
) -> DescentRun:
    r"""Gradient descent $W_k \leftarrow W_k - \eta_t \nabla_k R$ with one of three rules for $\eta_t$.

    - `"paper"`: $\eta_t = \min(1, 1/\beta(R_t))$ with $\beta(r) = 2L^2r^{2L-2}(\beta + G)$.
      $R_0 = 1 + \max_k\|W_k(0)\|_F$; $R_t$ grows by 1 whenever the weights leave the ball of radius $R_t - 1$.
    - `"sharper"`: the same with $\beta'(r) = \beta L r^{2L-2} + G(L-1)r^{L-2}$.
    - `"normalised"`: $\eta_t = 1/(2 R(W)\,(L r^{2L-2} + (L-1) r^{L-2}))$, $r = \max(1, \max_k\|W_k\|_F)$: the
      steps grow as the risk falls, and $\log t$ advances by $O(1)$ in $O(\log t)$ steps.

    Args:
        problem: data and loss; logistic for the first two rules, whose constants the exponential loss does not have.
        weights: the start, `"W1"` … `"WL"`.
        rule: see above.
        steps: number of steps, at least 1.
        ts: number of save times, or increasing step numbers.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        A `DescentRun`. Ctrl-C returns it up to there, with `interrupted` set.

    Raises:
        ValueError: malformed arguments, a start that does not fit the data or at which the gradient is zero.
        PrecisionError: JAX is in float32 mode.

    Validity:
        With the first two rules the risk falls in every step, $\sum\eta_t = \infty$, and the limits are those of the
        flow (logistic loss, separable data). For the third the bound of the Hessian holds at the start of a step;
        that the risk falls is measured in every run, in `.largest_change`.

    References:
        [ji2019gradient] (the first rule); the others are ours.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> problem = SeparableProblem([[0.5, 0.5], [0.5, -1.0]], [1, 1], "logistic")
        >>> run = gradient_descent(problem, {"W1": np.array([[0.1, 0.2]])}, "sharper", 200, ts=2)
        >>> run.is_monotone, f"{run.s[-1]:.3f}"
        (True, '5.303')
    """
    if rule not in RULES:
        raise ValueError(f"Argument `rule` must be one of {list(RULES)}, but is {rule!r}.")
    if rule != "normalised" and problem.loss_name != "logistic":
        raise ValueError(
            f'Argument `rule` must be "normalised" for the {problem.loss_name} loss, which is not '
            f"globally smooth, but is "
            f'{rule!r}. The logistic loss (`SeparableProblem(..., "logistic")`) takes all rules.'
        )
    arch = checked_network(problem, weights)
    check_not_critical(problem, weights)
    descent = SeparableDescent(arch, problem.loss, rule)
    run = iterate(descent, weights, steps, ts=ts, save_states=True, progress=progress)
    assert run.states is not None  # `save_states` is set
    layers = tuple(run.states[name] for name in arch.shapes)
    log_risk = problem.log_risk(product({str(k): layer for k, layer in enumerate(layers)}))
    last = float(log_risk[-1] - run.states[LOG_RISK][-1])
    return DescentRun(
        problem=problem,
        rule=rule,
        steps=run.ts.astype(np.int64),
        s=run.states[LOG_TIME],
        log_risk=log_risk,
        weights=layers,
        largest_change=max(float(run.states[CHANGE][-1]), last),
        trajectory=run,
        interrupted=run.stats.stopped_by == INTERRUPTED,
    )


def _largest_norm(weights: Mapping[str, Any]):
    return jnp.max(jnp.stack([jnp.linalg.norm(w) for w in weights.values()]))
