r"""`BalancedLimitFlow`: the end-to-end equation of a balanced chain as its depth goes to infinity."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State, Training
from ..base import AbstractReduction, Condition, chain_of, widths_of
from .balanced import BalancedFlow
from .logarithmic_mean import logarithmic_mean_operator

LABEL = "balanced flow of infinite depth"


class BalancedLimitFlow(AbstractReduction):
    r"""The flow of $z$ for a balanced chain, to first order in $1/L$ in the clock $L t$.

    $$\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds$$

    The sum over layers of `BalancedFlow` divided by L is a rule for this integral. In the singular bases of $z$ it
    multiplies entry $(i, j)$ by the logarithmic mean of $\sigma_i^2$ and $\sigma_j^2$. Unlike `InfiniteDepthFlow` it
    needs balance, but no layers near the identity: hidden bases may be any, and $\det z$ may be negative.

    Args:
        arch: a chain of at least two matrices with equal input and output width, and no narrower one between.
        loss: a function of $z$, or `None` to `bind` later.
        rates: layer rates $e_l$; $e = (\prod_l e_l)^{1/L}$.
        tolerance: largest relative imbalance that passes for balanced.

    Validity:
        Asymptotic: the error of $z$ on a fixed interval of $L t$ is $O(1/L)$, for every smooth loss, at a balanced
        start with $z$ of full rank (in empty directions nothing moves). Exact for $L \to \infty$ at fixed $z(0)$.

    Raises:
        ValueError: no chain of that kind, or weight decay (it adds $-L \gamma z$: use `BalancedFlow`).

    References:
        [cohen2023deep].

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((2,) * 9)
        >>> theta0 = dln.balanced(arch, jax.random.key(0), product=[[1.0, 0.2], [0.0, -0.5]])
        >>> BalancedLimitFlow(arch).condition(theta0).holds
        True
    """

    whole: BalancedFlow

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
    ):
        chain, widths = chain_of(arch, f"the {LABEL}"), widths_of(arch)
        if len(chain) < 2 or widths[0] != widths[-1] or min(widths) < widths[0]:
            raise ValueError(
                f"Argument `arch` must have at least two layers, equal input and output width and no narrower one "
                f"between for the {LABEL}, but {arch.name} has widths {'-'.join(map(str, widths))}."
            )
        self.whole = BalancedFlow(arch, loss, rates=rates, tolerance=tolerance)

    @property
    def label(self) -> str:
        return LABEL

    @property
    def architecture(self) -> Architecture:
        return self.whole.arch

    @property
    def training(self) -> Training | None:
        return self.whole.settings

    @property
    def statement(self) -> str:
        return r"\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds"

    @property
    def source(self) -> str:
        return "[cohen2023deep]"

    @property
    def exactness(self) -> str:
        return (
            "asymptotic, order 1/L in the clock L t, for every smooth loss, at a balanced start of full rank"
        )

    def bind(self, training: Training) -> Self:
        if training.is_decaying:
            raise ValueError(
                f"Argument `weight_decay` must be 0 for the {LABEL}, but is {float(training.weight_decay):g}. Use "
                "`BalancedFlow`."
            )
        return type(self)(
            self.whole.arch,
            training.loss,
            rates={name: float(rate) for name, rate in training.rates.items()},
            tolerance=self.whole.tolerance,
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        found = self.whole.condition(theta0)
        if found.holds:
            return dataclasses.replace(found, expected_error=1.0 / len(chain_of(self.whole.arch, LABEL)))
        return dataclasses.replace(found, remedy="Use `BalancedFlow` or a balanced start of full rank.")

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {"z": self.whole.arch(dict(theta0))}

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        chain = chain_of(self.whole.arch, LABEL)
        rates = jnp.stack([jnp.asarray(training.rate(name), jnp.result_type(float)) for name in chain])
        speed = len(chain) * jnp.exp(jnp.mean(jnp.log(rates)))
        return {"z": -speed * logarithmic_mean_operator(state["z"], jax.grad(training.loss)(state["z"]))}

    def output(self, state: State):
        return state["z"]

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        return {"smallest singular value / largest": singular[-1] / singular[0]}
