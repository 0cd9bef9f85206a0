r"""Gram matrices $M = \Theta\Theta^\top$ by their factor: the state of every closed system of Gram type.

A stack $\Theta$ (N, h) holds as rows all rows of factors that share one summation index of size h. Where φ depends on
$\Theta$ through $M$ alone, every $\Theta R$ with orthogonal R is the same network, and with $\Theta = X V^\top$,
$V^\top V = I$, gradient flow moves $X$ like a network with $\min(h, N)$ hidden units and leaves $V$ where it is.

The closed equation $\dot M = -E(\Gamma + \gamma)M - M(\Gamma + \gamma)E$ is for reading only. In the null space of
$\Theta^\top$ a rounding error of $M$ obeys it too and grows like $e^{2st}$, s the part of the gradient that h units
cannot fit: it reaches 1 from $10^{-16}$ at $t = \ln(10^{16})/(2s)$ whatever the tolerance, and the loss that a network
of h units has to keep is then fitted. $X$ cannot leave the rank of the network.
"""

from __future__ import annotations

import abc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import jax
import jax.numpy as jnp

from ..training import State
from .base import CLOSED_FORM_MORE, AbstractReduction
from .decay_and_rates import decay_of, rate_of, scheduled

#: (factor, number of its rows) by name of the stack.
Rows = dict[str, tuple[tuple[str, int], ...]]


def narrowed(stack):
    r"""$X$ (N, min(h, N)) with $X X^\top = \Theta\Theta^\top$: the R of a QR of $\Theta^\top$. Pure.

    No rank is decided, and every row keeps its own relative accuracy (an SVD loses that of small rows). For
    $h \le N$ it is the stack itself.

    Args:
        stack: $\Theta$, (N, h).
    """
    rows, columns = stack.shape
    return stack if columns <= rows else jnp.linalg.qr(stack.T, mode="reduced")[1].T


class AbstractFactorFlow(AbstractReduction):
    r"""A network with at most N hidden units for each stack of N rows: $\dot X = -E(\nabla_X f + \gamma X)$.

    A subclass gives `stacks`, `output` of the narrowed stacks, and `rows`.

    Validity:
        Exact for every loss, every start (vanishing factors included), any weight decay and rates. Where a stack has
        as many rows as columns or more, $X$ is the stack: nothing is gained, and the network is its own smallest
        system of this kind.
    """

    kind: ClassVar[str] = CLOSED_FORM_MORE

    @abc.abstractmethod
    def stacks(self, theta: Mapping[str, Any]) -> State:
        """The stacks at parameters, by name, (N, h) each, and arrays that are trained as they are. Pure."""

    @abc.abstractmethod
    def rows(self) -> Rows:
        """The factors whose rows a stack holds, with their numbers, by name of the stack."""

    def row_rates(self, name: str):
        """The learning rate of each row of a stack. Pure."""
        return self._by_row(name, lambda factor: rate_of(self.training, factor))

    def _by_row(self, name: str, value: Callable[[str], Any]):
        return jnp.concatenate([jnp.full(count, value(factor)) for factor, count in self.rows()[name]])

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {
            name: narrowed(stack) if stack.ndim == 2 else stack for name, stack in self.stacks(theta0).items()
        }

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        slopes = jax.grad(lambda moved: training.loss(self.output(moved)))(state)
        moved = {name: -_over_rows(self.row_rates(name), slope) * slope for name, slope in slopes.items()}
        if training.is_decaying:
            for name, value in state.items():
                decay = self._by_row(name, lambda factor: decay_of(training, factor, t))
                moved[name] = moved[name] - _over_rows(decay, value) * value
        return scheduled(training, t, moved)

    def gram(self, state: State, name: str):
        r"""$M = X X^\top$ of a stack, (N, N). Pure."""
        return state[name] @ state[name].T


def _over_rows(numbers, value):
    """A number a row, shaped to multiply whole rows."""
    return jnp.reshape(numbers.astype(value.dtype), (-1,) + (1,) * (value.ndim - 1))
