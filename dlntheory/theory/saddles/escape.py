r"""Escape from the origin: speed, direction, and the time it takes with both of its constants."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import integer, real_number
from ..._errors import IntegrationError
from ..._precision import require_float64
from ...architecture import Architecture
from ...display.displayed import Displayed
from ...display.progress import whole_runs
from ...display.text import one_line
from ...losses import SquaredLoss
from ...training import AbstractFlow, GradientFlow, State, Training, solve
from .chain_inputs import LeadingPair, as_params, check_alpha, layers_of, leading_pair, network_of, scaled
from .path_integration import ModeReaches, accurate_atol


class LinearCost:
    r"""The cost near the origin up to a constant, $-\langle G(0), z\rangle$.

    Args:
        gradient: $G(0) = -\nabla C(0)$.
    """

    conventions = "f(z) = -<G(0), z>, the cost near the origin"

    def __init__(self, gradient: np.ndarray):
        self.gradient = np.asarray(gradient)

    def __call__(self, z):
        return -jnp.sum(self.gradient * z)

    def __hash__(self) -> int:
        return hash(self.gradient.tobytes())

    def __eq__(self, other: object) -> bool:
        return isinstance(other, LinearCost) and np.array_equal(self.gradient, other.gradient)


class EscapeFlow(AbstractFlow):
    r"""The homogeneous flow near the origin in polar coordinates, in the time $d\sigma = \|\theta\|^{L-2} dt$.

    With $\theta = e^{\rho} n$, $\|n\| = 1$ and $F = -\nabla H$, $H(\theta) = -\langle G(0), W_L \cdots W_1\rangle$:
    $n' = F(n) - \langle n, F(n)\rangle n$, $\rho' = \langle n, F(n)\rangle$, and $dt/d\sigma = e^{-(L-2)\rho}$. For
    $L \ge 3$ the flow blows up at a finite time $T^* = \lim_{\sigma\to\infty} t$, in $\sigma$ a convergent integral.

    Args:
        arch: the linear network.
        gradient: $G(0)$ (d_out, d_in).
    """

    architecture: Architecture
    training: Training
    label = "escape from the origin"

    def __init__(self, arch: Architecture, gradient: Any):
        self.architecture = arch
        self.training = Training(LinearCost(gradient))
        self.training.check(arch)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        norm = jnp.sqrt(sum(jnp.sum(layer**2) for layer in theta0.values()))
        return {name: layer / norm for name, layer in theta0.items()} | {
            "log_norm": jnp.log(norm),
            "time": jnp.zeros(()),
        }

    def velocity(self, t, state: State) -> State:
        direction = self.parameters(state)
        force = jax.grad(lambda p: -self.training.loss(self.architecture(p)))(direction)
        speed = sum(jnp.sum(force[name] * direction[name]) for name in direction)
        degree = float(len(direction) - 2)
        # The second term returns the direction to the sphere, from which rounding drifts away.
        norm = sum(jnp.sum(layer**2) for layer in direction.values())
        turning = {name: force[name] - (speed + norm - 1.0) * direction[name] for name in direction}
        return turning | {"log_norm": speed, "time": jnp.exp(-degree * state["log_norm"])}


@dataclasses.dataclass(frozen=True, eq=False)
class EscapeDirection:
    r"""Where the flow leaves the origin and how fast.

    Attributes:
        speed: limiting radial speed $d\rho/d\sigma$ of the run.
        predicted_speed: $s^* = L^{-(L-2)/2} s_1$.
        rank_one_defect: the largest $s_2/s_1$ among the layers of the limiting direction.
        correlation: $\langle A/\|A\|_F, u_1 v_1^\top\rangle$ of the limiting direction.
        blow_up_time: $T^*$ of the homogeneous flow from $\theta_0$, infinite for two layers.
        direction: the limiting direction, by name, of norm 1.
    """

    speed: float
    predicted_speed: float
    rank_one_defect: float
    correlation: float
    blow_up_time: float
    direction: dict[str, np.ndarray]

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False)
class EscapeTime(Displayed):
    r"""The asymptotic law of $t_{1/2}$, when the first mode is at $s_1/2$.

    Attributes:
        depth: $L$.
        s1: the largest singular value of $G(0)$.
        blow_up_time: $T^*$ from $\theta_0$; infinite for two layers.
        constant: $c_L$ for $L \ge 3$; for two layers $c = \frac14\|W_1 v_1 + W_2^\top u_1\|^2$.
        alpha: the scale at which `half_time` is evaluated.
        half_time: the law at `alpha`.
    """

    depth: int
    s1: float
    blow_up_time: float
    constant: float
    alpha: float
    half_time: float

    def at(self, alpha: float) -> float:
        """The law at another scale."""
        return _law(self.depth, self.s1, self.blow_up_time, self.constant, check_alpha(alpha))

    def __repr__(self) -> str:
        return f"EscapeTime(L = {self.depth}, s_1 = {self.s1:.6g}, t_half = {self.half_time:.6g})"

    def _title(self) -> str:
        return "escape from the origin"

    def _facts(self) -> dict[str, Any]:
        if self.depth == 2:
            law = f"log(s_1/(alpha^2 c) - 1)/(2 s_1), c = {self.constant:.6g}"
        else:
            law = f"T* alpha^-{self.depth - 2} + c_L, T* = {self.blow_up_time:.6g}, c_L = {self.constant:.5g}"
        return {"depth": self.depth, "s_1": self.s1, "law": law, f"t_half at {self.alpha:g}": self.half_time}


@whole_runs()
def escape_direction(gradient: Any, theta0: Mapping[str, Any]) -> EscapeDirection:
    r"""The direction in which the flow from a vanishing multiple of $\theta_0$ leaves the origin.

    Ctrl-C propagates, here and in the other functions of this module: an unfinished escape has no direction.

    Args:
        gradient: $G(0)$ (d_out, d_in), with a simple largest singular value.
        theta0: `"W1"`, …, `"WL"`.

    Raises:
        ValueError: malformed arguments; ConditionError: $G(0) = 0$ or $s_1$ not simple.
        IntegrationError: the direction does not settle, or on a ray other than the fastest, or without escape.

    Validity:
        The fastest ray (every layer rank one of norm $L^{-1/2}$, chained, ending in $u_1$ and $v_1$) attracts almost
        every start for $L \le 3$; for more layers other rays attract as well (remark in Jacot et al. 2021, probability
        at least 1/2). Which one is reached is measured, not assumed: see `correlation`.
    """
    require_float64("escape_direction")
    layers, pair = layers_of(theta0, "theta0"), leading_pair(gradient)
    depth = len(layers)
    predicted = depth ** (-(depth - 2) / 2) * pair.s
    flow = EscapeFlow(network_of(as_params(layers)), gradient)
    final = _settled(flow, as_params(layers), predicted, pair)
    direction = {name: np.asarray(final[name]) for name in flow.architecture.shapes}
    force = flow.velocity(0.0, {name: jnp.asarray(leaf) for name, leaf in final.items()})
    speed = float(force["log_norm"])
    spectra = [np.linalg.svd(layer, compute_uv=False) for layer in direction.values()]
    defect = max(float(s[1] / s[0]) if len(s) > 1 else 0.0 for s in spectra)
    z = np.asarray(flow.architecture(direction))
    correlation = float(pair.u @ z @ pair.v / np.linalg.norm(z))
    blow_up = float("inf")
    if depth > 2:
        # Beyond the run the speed is constant: the rest of the integral is a geometric tail.
        blow_up = float(final["time"]) + float(np.exp(-(depth - 2) * final["log_norm"])) / (
            (depth - 2) * speed
        )
    return EscapeDirection(speed, predicted, defect, correlation, blow_up, direction)


def escape_time(gradient: Any, theta0: Mapping[str, Any], alpha: float) -> EscapeTime:
    r"""When the flow from $\alpha\theta_0$ has learnt half of the first mode, with both constants.

    $t_{1/2} = \frac{1}{2 s_1}\log\big(\frac{s_1}{\alpha^2 c} - 1\big)$, $c = \frac14\|W_1 v_1 + W_2^\top u_1\|^2$, for
    two layers; $t_{1/2} = T^* \alpha^{-(L-2)} + c_L + o(1)$ for $L \ge 3$, with the blow-up time $T^*$ of the
    homogeneous flow and $c_L = \frac{1}{L} s_1^{-2+2/L} \big[B(\tfrac12; \tfrac2L, 0) - \tfrac{2^{1-2/L}}{1 -
    2/L}\big]$.

    Args:
        gradient: $G(0)$ (d_out, d_in), which for $C = \frac12\|A - A_*\|_F^2$ is $A_*$.
        theta0: the start at $\alpha = 1$.
        alpha: the scale.

    Raises:
        ValueError: $\alpha \le 0$, fewer than two layers; ConditionError: $G(0) = 0$ or $s_1$ not simple.
        IntegrationError: the start does not reach the fastest ray.

    Validity:
        $T^*$: any convex smooth cost. $c_L$ and the law for two layers: whitened regression. Derived here; asymptotic
        as $\alpha \to 0$, with an error proportional to $\alpha$ for three layers. Needs the fastest escape ray: an
        error otherwise.

    Example:
        >>> weights = {"W1": np.eye(2), "W2": np.eye(2)}
        >>> round(escape_time(np.diag([3.0, 1.0]), weights, 1e-4).half_time, 6)
        3.253216
    """
    require_float64("escape_time")
    scale, layers, pair = check_alpha(alpha), layers_of(theta0, "theta0"), leading_pair(gradient)
    depth, blow_up = len(layers), float("inf")
    if depth == 2:
        constant = 0.25 * float(np.sum((layers[0] @ pair.v + layers[1].T @ pair.u) ** 2))
    else:
        found = escape_direction(gradient, theta0)
        if found.correlation < 1 - 1e-3:
            raise IntegrationError(
                f"The start settles on a ray whose product has correlation {found.correlation:.4f} with the leading "
                "pair, not on the fastest one: the law does not apply to it. Take another start."
            )
        blow_up, constant = found.blow_up_time, second_constant(pair.s, depth)
    law = _law(depth, pair.s, blow_up, constant, scale)
    return EscapeTime(depth, pair.s, blow_up, constant, scale, law)


def second_constant(s1: float, depth: int) -> float:
    r"""$c_L$ of `escape_time` for $L \ge 3$, with $B(x; a, 0) = \int_0^x y^{a-1}/(1-y)\,dy$.

    Raises:
        ValueError: fewer than three layers, $s_1$ not positive.

    Example:
        >>> round(second_constant(3.0, 3), 5), round(second_constant(3.0, 4), 5)
        (-0.19651, -0.05127)
    """
    from scipy.special import hyp2f1

    s1, depth = real_number(s1, "s1", minimum=1e-100), integer(depth, "depth", minimum=3)
    a = 2.0 / depth
    incomplete = 0.5**a / a * float(hyp2f1(1.0, a, a + 1.0, 0.5))
    return float(s1) ** (-2 + a) / depth * (incomplete - 2.0 ** (1 - a) / (1 - a))


@whole_runs()
def measured_half_time(target: Any, theta0: Mapping[str, Any], alpha: float, *, rtol: float = 1e-11) -> float:
    r"""$t_{1/2}$ of the full flow from $\alpha\theta_0$ for $C = \frac12\|A - A_*\|_F^2$, by root finding.

    The absolute tolerance is $\min(10^{-10}\alpha, 10^{-13})$, which the second constant needs: at $10^{-8}$ it comes
    out wrong by 0.1 for four layers and $\alpha = 10^{-3}$. LSODA, for at most 1000 parameters: its events are located
    by Brent's method to the spacing of floats.

    Raises:
        ValueError: malformed arguments, more than 1000 parameters; ConditionError: no simple leading pair.
        IntegrationError: the first mode does not get there in a thousand times the expected time.
    """
    pair = leading_pair(target)
    start = scaled(theta0, alpha)
    flow = GradientFlow(network_of(start), SquaredLoss.from_target(target))
    depth = len(start)
    horizon = 1e3 * (np.log(1e3 / alpha) + alpha ** -(depth - 2)) / pair.s
    run = solve(
        flow,
        start,
        horizon,
        ts=2,
        method="stiff",
        rtol=rtol,
        atol=accurate_atol(alpha),
        stop=ModeReaches(pair.u, pair.v, 0.5 * pair.s),
        save_states=False,
    )
    if run.stats.stopped_by is None:
        raise IntegrationError(f"The first mode did not reach s_1/2 before t = {horizon:g}.", trajectory=run)
    return float(run.ts[-1])


def _law(depth: int, s1: float, blow_up: float, constant: float, alpha: float) -> float:
    if depth > 2:
        return blow_up * alpha ** -(depth - 2) + constant
    ratio = s1 / (alpha**2 * constant) if constant > 0 else np.inf
    if not ratio > 2 or not np.isfinite(ratio):
        raise ValueError(
            f"Argument `alpha` must be small enough for the first mode to start below s_1/2, but alpha^2 c = "
            f"{alpha**2 * constant:.3g} and s_1 = {s1:.3g}."
        )
    return float(np.log(ratio - 1) / (2 * s1))


def _settled(flow: EscapeFlow, theta0: dict[str, np.ndarray], speed: float, pair: LeadingPair) -> State:
    """The state in polar coordinates once the direction rests; the run is made longer until it does."""
    depth = len(flow.architecture.shapes)
    # A direction with singular value s turns towards the first pair at a rate of about s_1 - s.
    rate = min(speed, depth ** (-(depth - 2) / 2) * pair.gap)
    length = 25.0 / rate
    for _ in range(4):
        run = solve(
            flow,
            theta0,
            length,
            ts=2,
            method="dopri8",
            rtol=1e-11,
            atol=1e-13,
            save_states=False,
            check=False,
        )
        final = run.final
        turning = flow.velocity(0.0, {name: jnp.asarray(leaf) for name, leaf in final.items()})
        moving = max(float(jnp.max(jnp.abs(turning[name]))) for name in flow.architecture.shapes)
        if moving < 1e-9 and float(turning["log_norm"]) > 1e-6 * speed:
            return final
        length *= 3.0
    raise IntegrationError(
        f"The direction has not settled on an escape ray after sigma = {length / 3:.3g}: it still turns at "
        f"{moving:.1e}, "
        f"with radial speed {float(turning['log_norm']):.3g} against {speed:.3g}.",
        trajectory=run,
    )
