"""`CayleyDescent`: explicit steps of two layers that keep their imbalance."""

from __future__ import annotations

from typing import Any, ClassVar, Unpack

import jax
import jax.numpy as jnp

from ..._checks import instance_of
from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...laws.law import Law
from ..base import AbstractIteration, State
from ..law_change import LawChange, form_of, invariance, is_conserved_by, needs_velocity
from ..settings import Settings, Training, checked_number
from .gradient_flow import chain_imbalances


class CayleyDescent(AbstractIteration):
    r"""Explicit descent of two layers that keeps their imbalance to rounding, for any loss and step size.

    With $Q = [W_1^\top; W_2]$ and $N = [[0, -G^\top], [-G, 0]]$ at the present point,
    $$Q \leftarrow (I - \tfrac\eta2 N)^{-1}(I + \tfrac\eta2 N)\,Q .$$
    A Cayley transform of $N$ keeps $Q^\top\mathrm{diag}(-I, I)\,Q = W_2^\top W_2 - W_1 W_1^\top$. Of first order.

    Args:
        arch: a chain of two matrices.
        loss: a function of $z$.
        learning_rate: $\eta > 0$.
        **settings: `rates` and `schedule` of `Training`; there is no weight decay.

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

    architecture: Architecture
    training: Training
    learning_rate: Any
    label: ClassVar[str] = "Cayley descent"

    def __init__(self, arch: Architecture, loss: Any, learning_rate: float, **settings: Unpack[Settings]):
        instance_of(arch, Architecture, "arch")
        if arch.chain is None or len(arch.chain) != 2:
            depth = "no chain" if arch.chain is None else f"a chain of {len(arch.chain)}"
            raise ValueError(
                f"Argument `arch` must be a chain of two matrices for Cayley descent, but {arch.name} is {depth}."
            )
        self.architecture, self.training = arch, Training.of(arch, loss, **settings)
        if self.training.is_decaying:
            raise ValueError("Argument `weight_decay` must be 0 for Cayley descent, but is not.")
        self.learning_rate = checked_number(learning_rate, "learning_rate", above=0)

    def step(self, k: Any, state: State) -> State:
        assert self.architecture.chain is not None
        first, second = self.architecture.chain
        rates = [jnp.asarray(self.training.rates.get(name, 1.0), dtype=float) for name in (first, second)]
        # In W / sqrt(e) the flow is plain, with the gradient sqrt(e_1 e_2) G.
        below, above = state[first] / jnp.sqrt(rates[0]), state[second] / jnp.sqrt(rates[1])
        gradient = jnp.sqrt(rates[0] * rates[1]) * jax.grad(self.training.loss)(self.architecture(state))
        half = 0.5 * self._rate(k) * gradient
        # (I - X)^{-1}(I + X) Q = 2 (I - X)^{-1} Q - Q with X = [[0, -half^T], [-half, 0]], by its Schur complement.
        inner = jnp.eye(half.shape[0], dtype=half.dtype) - half @ half.T
        output = jnp.linalg.solve(inner, above - half @ below.T)
        inputs = below.T - half.T @ output
        return {
            first: jnp.sqrt(rates[0]) * (2.0 * inputs.T - below),
            second: jnp.sqrt(rates[1]) * (2.0 * output - above),
        }

    def monitors(self, state: State) -> dict[str, Any]:
        gradient = jax.grad(self.training.loss)(self.output(state))
        return {"half of |eta G|": 0.5 * self.learning_rate * jnp.linalg.norm(gradient, 2)}

    def conserved(self, state: State) -> dict[str, Any]:
        return chain_imbalances(self.architecture, self.training, state)

    def law_change(self, law: Law) -> LawChange:
        r"""$h_+ = h$ for every quadratic law of the flow with these rates.

        Such a law is invariant under all linear flows $Q' = NQ$ of two-layer chains, hence under their Cayley
        transforms.
        """
        form = form_of(self, law)
        if form.noether:
            raise needs_velocity(self, form)
        if not is_conserved_by(form, self):
            raise NotApplicableError(
                f"Argument `law` must be conserved by the flow with these rates for {self!r}, but {law.name} is not.",
                requirement="a law of the flow with the rates of the rule",
            )
        return invariance(self, form, "[hairer2006geometric] (Cayley transforms of quadratic Lie groups)")

    def _rate(self, k: Any) -> Any:
        return self.learning_rate * self.training.speed(self.time_of(k))
