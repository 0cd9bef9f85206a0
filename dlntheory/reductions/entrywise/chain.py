r"""`ScalarChainFlow`: products $z = w_L \cdots w_1$ of scalars, of any depth, in $z$ alone, from any start."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State
from .base import AbstractLawFlow
from .recognise import EntrywiseForm, product_form
from .roots import chain_metric, smallest_square


class ScalarChainFlow(AbstractLawFlow):
    r"""The flow of $z = o + c\,\prod_l w_l$ entry by entry: diagonal networks and scalar chains of any depth.

    The laws make $w_l^2 = t + c_l$ with constants $c_l \ge 0$, $\min_l c_l = 0$. With $p = \prod_l w_l$ and
    $P(t) = \prod_l (t + c_l)$,

    $$\dot p = -P'(t)\; c\,\nabla f(z), \qquad P(t) = p^2, \qquad z = o + c\,p .$$

    Args:
        arch: an architecture whose φ has this form; the roles and the depth are read off its exact polynomials.
        loss: a function of $z$, or `None` to `bind` later.

    Validity:
        Exact for every loss and every start. $p$ may change its sign where a single weight has the smallest
        absolute value; where two or more share it, $p = 0$ is never reached.

    Raises:
        ValueError: φ is not of this form, or is no polynomial.

    References:
        Derived here from the laws $w_{l+1}^2 - w_l^2$ ([arora2018optimization] for equal weights).

    Example:
        >>> import dlntheory as dln
        >>> ScalarChainFlow(dln.linear_network((1, 1, 1, 1))).depth
        3
    """

    label = "flow of scalar chains"
    source = "derived here from the laws w_{l+1}^2 - w_l^2"
    order = 115.0
    law = "c"

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
    ):
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def form_of(cls, arch: Architecture) -> EntrywiseForm:
        return product_form(arch, "the flow of scalar chains")

    @property
    def depth(self) -> int:
        """L, the number of weights in each product."""
        return self.positions.shape[0]

    @property
    def degree(self) -> int:
        return self.depth

    @property
    def statement(self) -> str:
        return (
            rf"\dot z = -P'(t)\, \nabla f(z),\quad P(t) = \prod_{{l=1}}^{{{self.depth}}} (t + c_l) = z^2,"
            r"\quad c_l = w_l^2 - \min_k w_k^2"
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        weights = self.roles(theta0)
        sizes = jnp.abs(weights)
        smallest = jnp.min(sizes, axis=0, keepdims=True)
        gaps = (sizes - smallest) * (sizes + smallest)
        return {"p": jnp.prod(weights, axis=0), "c": gaps}

    def speed(self, state: State):
        return chain_metric(state["p"], state["c"])

    def monitors(self, state: State) -> dict[str, Any]:
        return {"smallest squared weight": jnp.min(smallest_square(state["p"], state["c"]))}
