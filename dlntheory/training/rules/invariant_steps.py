r"""Discrete time and conservation laws: how one step of descent changes them, and steps that keep them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from ...architecture import Architecture
from ..base import AbstractDynamics, State, Training
from .gradient_descent import AbstractDescent, checked_rate
from .gradient_flow import layer_velocity

#: Newton steps for one implicit step; each squares the error.
MAX_NEWTON = 30


def imbalance_drift(arch: Architecture, training: Training, params: State, learning_rate: Any) -> list[Any]:
    r"""What one step of gradient descent adds to the imbalances, exactly.

    $D_l(k+1) - D_l(k) = \eta^2(e_{l+1}\, g_{l+1}^\top g_{l+1} - e_l\, g_l g_l^\top)$ for
    $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$: the first-order terms cancel. Pure.

    Args:
        arch: a chain of at least two matrices.
        training: loss and rates, without weight decay.
        params: the weights before the step.
        learning_rate: $\eta$.

    Returns:
        One matrix for each pair of neighbouring layers.

    Raises:
        ValueError: no chain of two layers, or weight decay, with which first-order terms remain.

    References:
        Elementary; compare [du2018algorithmic].
    """
    _checked_chain(arch, "the drift of imbalances", training)
    assert arch.chain is not None
    velocity = layer_velocity(arch, training, params)
    rates = [training.rate(name) for name in arch.chain]
    # The velocity is -e g, so that v^T v / e = e g^T g.
    changes = [learning_rate * velocity[name] for name in arch.chain]
    return [
        changes[i + 1].T @ changes[i + 1] / rates[i + 1] - changes[i] @ changes[i].T / rates[i]
        for i in range(len(changes) - 1)
    ]


class ModifiedFlow(AbstractDynamics):
    r"""The flow that gradient descent of step $\eta$ follows to second order.

    $$\dot\theta = F - \frac{\eta}{2} F'F, \qquad F = -\nabla f(\varphi(\theta)),$$
    which for plain gradient descent is the flow of $f + \frac\eta4\|\nabla f\|^2$. Gradient descent stays within
    $O(\eta^2)$ of it, within $O(\eta)$ of gradient flow. Rates and weight decay are part of $F$.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$ of the descent that is described.
        weight_decay: $\gamma \ge 0$.
        rates: learning rate $e_l$ by factor name; 1 where not named.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.

    Validity:
        Asymptotic for $\eta \to 0$ over a fixed time. The imbalances are not conserved.

    References:
        [barrett2021implicit].

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> flow = ModifiedFlow(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> flow.label
        'modified flow'
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
        self.learning_rate = checked_rate(learning_rate)
        self.arch = arch
        self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
        self.settings.check(arch)

    @property
    def label(self) -> str:
        return "modified flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training:
        return self.settings

    def check_start(self, theta0: Mapping[str, Any]) -> dict[str, jax.Array]:
        return self.arch.check(theta0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return dict(theta0)

    def velocity(self, t, state: State) -> State:
        field = lambda params: layer_velocity(self.arch, self.settings, params)
        plain = field(state)
        _, bend = jax.jvp(field, (state,), (plain,))
        return {name: plain[name] - 0.5 * self.learning_rate * bend[name] for name in state}

    def output(self, state: State):
        return self.arch(state)

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        return {}


class ImplicitMidpoint(AbstractDescent):
    r"""Implicit midpoint steps of gradient flow: they keep every quadratic invariant, at any step size.

    $$\theta_{k+1} = \theta_k + \eta\,F\left(\tfrac12(\theta_k + \theta_{k+1})\right)$$

    solved by Newton's method. Of second order; imbalances and all other quadratic laws are kept to rounding.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        weight_decay: $\gamma \ge 0$.
        rates: learning rate $e_l$ by factor name; 1 where not named.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.

    Validity:
        Each step solves a dense system in all parameters: for small networks. Where Newton's method does not converge
        (steps far beyond $1/\lambda_{\max}$) the step is NaN and `iterate` raises, with the part before.

    References:
        [hairer2006geometric], for quadratic invariants.

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> rule = ImplicitMidpoint(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> rule.label
        'implicit midpoint'
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
        self.learning_rate = checked_rate(learning_rate)
        self.arch = arch
        self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
        self.settings.check(arch)

    @property
    def label(self) -> str:
        return "implicit midpoint"

    def step(self, k, state: State) -> State:
        start, unravel = ravel_pytree(state)

        def field(flat):
            return ravel_pytree(layer_velocity(self.arch, self.settings, unravel(flat)))[0]

        half = 0.5 * self.learning_rate

        def equation(middle):
            return middle - start - half * field(middle)

        scale = jnp.max(jnp.abs(start)) + 1e-300

        def is_open(carry):
            i, _, size = carry
            return (i < MAX_NEWTON) & ~(size <= 1e-15 * scale)

        def newton(carry):
            i, middle, _ = carry
            change = jnp.linalg.solve(jax.jacfwd(equation)(middle), equation(middle))
            return i + 1, middle - change, jnp.max(jnp.abs(change))

        first = start + half * field(start)
        _, middle, size = jax.lax.while_loop(is_open, newton, (0, first, jnp.asarray(jnp.inf, start.dtype)))
        # The law is kept by this form of the update, up to the residual of the equation.
        after = start + 2.0 * half * field(middle)
        after = jnp.where(size <= 1e-11 * scale, after, jnp.nan)
        return unravel(after)

    def monitors(self, state: State) -> dict[str, Any]:
        return {}


class CayleyDescent(AbstractDescent):
    r"""Explicit descent of two layers that keeps their imbalance to rounding, for any loss and step size.

    With $Q = [W_1^\top; W_2]$ and $N = [[0, -G^\top], [-G, 0]]$ at the present point,
    $$Q \leftarrow (I - \tfrac\eta2 N)^{-1}(I + \tfrac\eta2 N)\,Q .$$
    A Cayley transform of $N$ keeps $Q^\top\mathrm{diag}(-I, I)\,Q = W_2^\top W_2 - W_1 W_1^\top$. Of first order.

    Args:
        arch: a chain of two matrices.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        rates: learning rate $e_l$ by factor name; 1 where not named.

    Raises:
        ValueError: not a chain of two layers, or a learning rate that is not positive.

    Validity:
        $\frac\eta2\|G\|_2 < 1$; at 1 the transform is singular.

    References:
        Cayley transforms of quadratic Lie groups: [hairer2006geometric]; used here for $O(d, o)$.

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> rule = CayleyDescent(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> rule.label
        'Cayley descent'
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
        rates: Mapping[str, float] | None = None,
    ):
        self.learning_rate = checked_rate(learning_rate)
        self.settings = Training(loss, rates=rates)
        _checked_chain(arch, "Cayley descent", self.settings)
        assert arch.chain is not None
        if len(arch.chain) != 2:
            raise ValueError(
                f"Argument `arch` must have two layers for Cayley descent, but {arch.name} has {len(arch.chain)}."
            )
        self.arch = arch
        self.settings.check(arch)

    @property
    def label(self) -> str:
        return "Cayley descent"

    def step(self, k, state: State) -> State:
        assert self.arch.chain is not None
        first, second = self.arch.chain
        rates = [jnp.asarray(self.settings.rate(name), dtype=float) for name in (first, second)]
        # In W / sqrt(e) the flow is plain, with the gradient sqrt(e_1 e_2) G.
        below, above = state[first] / jnp.sqrt(rates[0]), state[second] / jnp.sqrt(rates[1])
        gradient = jnp.sqrt(rates[0] * rates[1]) * jax.grad(self.settings.loss)(self.arch(state))
        half = 0.5 * self.learning_rate * gradient
        # (I - X)^{-1}(I + X) Q = 2 (I - X)^{-1} Q - Q with X = [[0, -half^T], [-half, 0]], by its Schur complement.
        inner = jnp.eye(half.shape[0], dtype=half.dtype) - half @ half.T
        output = jnp.linalg.solve(inner, above - half @ below.T)
        inputs = below.T - half.T @ output
        return {
            first: jnp.sqrt(rates[0]) * (2.0 * inputs.T - below),
            second: jnp.sqrt(rates[1]) * (2.0 * output - above),
        }

    def monitors(self, state: State) -> dict[str, Any]:
        return {"|eta G / 2|": self._size(state)}

    def _size(self, state: State):
        gradient = jax.grad(self.settings.loss)(self.arch(state))
        return 0.5 * self.learning_rate * jnp.linalg.norm(gradient, 2)


def _checked_chain(arch: Architecture, what: str, training: Training) -> None:
    if arch.chain is None or len(arch.chain) < 2:
        raise ValueError(
            f"Argument `arch` must be a chain of at least two matrices for {what}, but {arch.name} is not."
        )
    if training.is_decaying:
        raise ValueError(
            f"Argument `training` must have no weight decay for {what}, but has {float(training.weight_decay):g}."
        )
