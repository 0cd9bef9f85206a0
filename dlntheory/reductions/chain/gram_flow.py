"""`GramFlow`: two linear layers in the Gram matrix of their factors, for any start and any loss."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...training import State
from ..base import AbstractReduction, chain_of, widths_of
from ..gram_factor import AbstractFactorFlow, Rows


class GramFlow(AbstractFactorFlow):
    r"""The closed equation of $M = QQ^\top$, $Q = [W_1^\top; W_2]$, for two linear layers.

    $$M = \begin{pmatrix} W_1^\top W_1 & z^\top \\ z & W_2 W_2^\top \end{pmatrix}, \qquad
      \dot M = N M + M N^\top, \qquad
      N = -\begin{pmatrix} \gamma e_1 I & e_1 \nabla f(z)^\top \\ e_2 \nabla f(z) & \gamma e_2 I \end{pmatrix}$$

    What is integrated is a factor $X$ of $M = XX^\top$, $\dot X = N X$, with $\min(h, d_0 + d_2)$ columns: the network
    with that many hidden units. $M$ itself would leave the rank of a network that is narrower than its target (see
    `dlntheory.reductions.gram_factor`). The reduction to try first for two layers wider than $d_0 + d_2$. Without
    weight decay $X^\top J X$, $J = \mathrm{diag}(I/e_1, -I/e_2)$, is conserved.

    Args:
        arch: a chain of exactly two matrices.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: layer rates $e_1, e_2$ by factor name.

    Validity:
        Exact for every start, every loss, any weight decay and any layer rates.

    Raises:
        FormError: φ is no chain of two matrices.

    References:
        [fukumizu1998effect] (the Riccati equation of whitened data); the closure for an arbitrary loss is
        elementary.
    """

    label = "Gram flow"
    statement = (
        r"\dot M = N M + M N^\top,\quad M = \begin{pmatrix} W_1^\top W_1 & z^\top \\ z & W_2 W_2^\top"
        r" \end{pmatrix},\quad N = -\begin{pmatrix} \gamma e_1 I & e_1 \nabla f(z)^\top \\ e_2 \nabla f(z) &"
        r" \gamma e_2 I \end{pmatrix}"
    )
    source = "[fukumizu1998effect] for whitened data; elementary for any loss"
    order = 210.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        chain_of(arch, "the Gram flow", depth=2)
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    def stacks(self, theta: Mapping[str, Any]) -> State:
        first, second = (jnp.asarray(theta[name]) for name in chain_of(self.architecture, self.label))
        return {"X": jnp.concatenate([first.T, second])}

    def rows(self) -> Rows:
        inputs, _, outputs = widths_of(self.architecture)
        first, second = chain_of(self.architecture, self.label)
        return {"X": ((first, inputs), (second, outputs))}

    def output(self, state: State):
        inputs = widths_of(self.architecture)[0]
        return state["X"][inputs:] @ state["X"][:inputs].T

    def conserved(self, state: State) -> dict[str, Any]:
        if self.training is None or self.training.is_decaying:
            return {}
        inputs, _, outputs = widths_of(self.architecture)
        signs = np.concatenate([np.ones(inputs), -np.ones(outputs)])
        return {"X^T J X": state["X"].T @ ((signs / self.row_rates("X"))[:, None] * state["X"])}
