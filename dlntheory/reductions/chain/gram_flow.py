"""`GramFlow`: two linear layers in the Gram matrix of their factors, for any start and any loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, Condition, chain_of, widths_of


class GramFlow(AbstractReduction):
    r"""The closed equation of $M = QQ^\top$, $Q = [W_1^\top; W_2]$, for two linear layers.

    $$M = \begin{pmatrix} W_1^\top W_1 & z^\top \\ z & W_2 W_2^\top \end{pmatrix}, \qquad
      \dot M = N M + M N^\top, \qquad
      N = -\begin{pmatrix} \gamma e_1 I & e_1 \nabla f(z)^\top \\ e_2 \nabla f(z) & \gamma e_2 I \end{pmatrix}$$

    The state has $(d_0 + d_2)^2$ entries whatever the hidden width: the reduction to try first for two layers.
    Without weight decay the spectrum of $MJ$, $J = \mathrm{diag}(I/e_1, -I/e_2)$, is conserved.

    Args:
        arch: an architecture that declares a chain of exactly two matrices.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: layer rates $e_1, e_2$ by factor name.

    Validity:
        Exact for every start, every loss, any weight decay and any layer rates.

    Raises:
        ValueError: the architecture declares no chain of two matrices.

    References:
        [fukumizu1998effect] (the Riccati equation of whitened data); the closure for an arbitrary loss is
        elementary.
    """

    arch: Architecture
    settings: Training | None

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        chain_of(arch, "the Gram flow", depth=2)
        self.arch = arch
        self.settings = None
        if loss is not None:
            self.settings = Training(loss, weight_decay=weight_decay, rates=rates)
            self.settings.check(arch)

    @property
    def label(self) -> str:
        return "Gram flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        return (
            r"\dot M = N M + M N^\top,\quad M = \begin{pmatrix} W_1^\top W_1 & z^\top \\ z & W_2 W_2^\top"
            r" \end{pmatrix},\quad N = -\begin{pmatrix} \gamma e_1 I & e_1 \nabla f(z)^\top \\ e_2 \nabla f(z) &"
            r" \gamma e_2 I \end{pmatrix}"
        )

    @property
    def source(self) -> str:
        return "[fukumizu1998effect] for whitened data; elementary for any loss"

    @property
    def exactness(self) -> str:
        return "exact for every loss and every start"

    def bind(self, training: Training) -> Self:
        return type(self)(
            self.arch,
            training.loss,
            weight_decay=float(training.weight_decay),
            rates={name: float(rate) for name, rate in training.rates.items()},
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        return Condition(requirement="two linear layers, nothing else", measured=0.0, tolerance=0.0)

    def initial(self, theta0: Mapping[str, Any]) -> State:
        first, second = (theta0[name] for name in chain_of(self.arch, self.label))
        stacked = jnp.concatenate([first.T, second])
        return {"M": stacked @ stacked.T}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        inputs = widths_of(self.arch)[0]
        rate1, rate2 = (training.rate(name) for name in chain_of(self.arch, self.label))
        gram = state["M"]
        gradient = jax.grad(training.loss)(gram[inputs:, :inputs])
        top = -rate1 * (gradient.T @ gram[inputs:])
        bottom = -rate2 * (gradient @ gram[:inputs])
        if training.is_decaying:
            top = top - training.weight_decay * rate1 * gram[:inputs]
            bottom = bottom - training.weight_decay * rate2 * gram[inputs:]
        half = jnp.concatenate([top, bottom])
        return {"M": half + half.T}

    def output(self, state: State):
        inputs = widths_of(self.arch)[0]
        return state["M"][inputs:, :inputs]

    def conserved(self, state: State) -> dict[str, Any]:
        training = self.settings
        if training is None or training.is_decaying:
            return {}
        inputs, _, outputs = widths_of(self.arch)
        rate1, rate2 = (training.rate(name) for name in chain_of(self.arch, self.label))
        signs = jnp.concatenate([jnp.ones(inputs) / rate1, -jnp.ones(outputs) / rate2])
        product = state["M"] * signs[None, :]
        square = product @ product
        return {
            "tr MJ": jnp.trace(product),
            "tr (MJ)^2": jnp.trace(square),
            "tr (MJ)^3": jnp.sum(square * product.T),
        }

    def monitors(self, state: State) -> dict[str, Any]:
        # M is positive semidefinite; a clearly negative eigenvalue means that the tolerances are too loose.
        spectrum = jnp.linalg.eigvalsh(state["M"])
        return {"smallest eigenvalue of M / largest": spectrum[0] / spectrum[-1]}
