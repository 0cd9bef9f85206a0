"""`ImplicitMidpoint`: steps that keep every quadratic law of gradient flow."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import jax.numpy as jnp
import optimistix as optx
from jax.flatten_util import ravel_pytree

from ...architecture import Architecture
from ..base import State
from ..settings import Settings, Training, checked_number
from .gradient_descent import AbstractDescent

#: Newton steps for one implicit step; each squares the error.
MAX_NEWTON = 30
#: Where Newton's method stops, in units of the size of the step and its start; the last step is far below.
TOLERANCE = 1e-14


class ImplicitMidpoint(AbstractDescent):
    r"""Implicit midpoint steps of gradient flow: they keep every quadratic invariant, at any step size.

    $$\theta_{k+1} = \theta_k + \eta\,F\left(\tfrac12(\theta_k + \theta_{k+1})\right)$$

    solved by Newton's method. Of second order; imbalances and all other quadratic laws are kept to rounding.

    Args:
        arch: the architecture.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        **settings: `weight_decay`, `rates`, `schedule` and `decoupled` of `Training`.

    Raises:
        ValueError: a learning rate that is not positive, or what `GradientFlow` refuses.

    Validity:
        Each step solves a dense system in all parameters: for small networks. The equation of a step need not have a
        solution near the start; where Newton's method finds none, the step is NaN and `iterate` raises, with the part
        before. There is no bound $2/\lambda_{\max}$ on the step size.

    References:
        [cooper1987stability]; [hairer2006geometric], for quadratic invariants.

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> rule = ImplicitMidpoint(dln.linear_network((3, 4, 2)), lambda z: 0.5 * jnp.sum((z - 1.0) ** 2), 0.1)
        >>> rule.label
        'implicit midpoint'
    """

    architecture: Architecture
    training: Training
    learning_rate: Any
    label: ClassVar[str] = "implicit midpoint"

    def __init__(self, arch: Architecture, loss: Any, learning_rate: float, **settings: Unpack[Settings]):
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def step(self, k: Any, state: State) -> State:
        start, unravel = ravel_pytree(state)
        half = 0.5 * self.learning_rate
        time = self.time_of(k) + half

        def field(flat: Any) -> Any:
            return ravel_pytree(self.training.velocity(self.architecture, unravel(flat), time))[0]

        push = half * field(start)
        # The unit of both tolerances: of the start, and of the step where the start is (nearly) zero.
        unit = jnp.maximum(jnp.max(jnp.abs(start)), jnp.max(jnp.abs(push)))
        unit = jnp.where(unit > 0, unit, 1.0)

        def equation(moved: Any, _: Any) -> Any:
            return moved - half * field(start + unit * moved) / unit

        found = optx.root_find(
            equation, optx.Newton(TOLERANCE, TOLERANCE), push / unit, max_steps=MAX_NEWTON, throw=False
        )
        # The law is kept by this form of the update, up to the residual of the equation.
        after = start + 2.0 * half * field(start + unit * found.value)
        return unravel(jnp.where(found.result == optx.RESULTS.successful, after, jnp.nan))
