"""`BalancedFlow`: the end-to-end equation of a balanced deep linear network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ...training import State, Training
from ..base import AbstractReduction, Condition, chain_of, numerical_rank, widths_of
from .balanced_operator import balanced_operator


class BalancedFlow(AbstractReduction):
    r"""The end-to-end flow of a balanced chain of any depth and widths, for any loss.

    $$\dot z = -\sum_{l=1}^{L} (z z^\top)^{(L-l)/L}\, \nabla f(z)\, (z^\top z)^{(l-1)/L}$$

    The state is $z$ alone, (out, inp). Layer rates $e_l$ multiply the right side by $(\prod_l e_l)^{1/L}$ and balance
    means $W_{l+1}^\top W_{l+1}/e_{l+1} = W_l W_l^\top/e_l$; weight decay $\gamma$ adds $-L\gamma z$ (equal rates only).

    Args:
        arch: an architecture that declares a chain of matrices.
        loss: a function of $z$, or `None` to `bind` later.
        rank: rank of $z$, which the flow conserves; singular values beyond it are held at exactly 0. By default
            the smallest width of the network.
        tolerance: largest relative imbalance $\max_l \|D_l\|_F / \max_l \|W_l\|_F^2$ that passes for balanced.

    Validity:
        Exact for every loss while the flow exists, if `theta0` is balanced. The operator has no derivative at rank
        deficient $z$ across ranks; rank is conserved, so trajectories never cross.

    Raises:
        ValueError: no declared chain; a rank outside 1 … smallest width; weight decay with unequal rates.

    References:
        [arora2018optimization], Theorem 1.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> theta0 = dln.balanced(arch, jax.random.key(0))
        >>> BalancedFlow(arch).condition(theta0).holds
        True
    """

    arch: Architecture
    settings: Training | None
    rank: np.ndarray
    tolerance: float

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        rank: int | None = None,
        tolerance: float = 1e-10,
    ):
        chain_of(arch, "the balanced flow")
        smallest = min(widths_of(arch))
        if rank is not None and not 1 <= rank <= smallest:
            raise ValueError(
                f"Argument `rank` must lie between 1 and the smallest width {smallest}, but is {rank}."
            )
        self.arch = arch
        self.settings = None
        if loss is not None:
            self.settings = _checked(arch, Training(loss, weight_decay=weight_decay, rates=rates))
        self.rank = np.asarray(smallest if rank is None else rank)
        self.tolerance = float(tolerance)

    @property
    def label(self) -> str:
        return "balanced end-to-end flow"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        depth = len(chain_of(self.arch, self.label))
        terms = " + ".join(
            _matrix_power(r"z z^\top", depth - l, depth)
            + r"\nabla f(z)"
            + _matrix_power(r"z^\top z", l - 1, depth)
            for l in range(1, depth + 1)
        )
        return rf"\dot z = -\left( {terms} \right)"

    @property
    def source(self) -> str:
        return "[arora2018optimization], Theorem 1"

    @property
    def exactness(self) -> str:
        return "exact for every loss, at a balanced start"

    def bind(self, training: Training) -> Self:
        bound = type(self)(
            self.arch,
            training.loss,
            weight_decay=float(training.weight_decay),
            rates={name: float(rate) for name, rate in training.rates.items()},
            rank=int(self.rank),
            tolerance=self.tolerance,
        )
        return bound

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        chain = chain_of(self.arch, self.label)
        rates = None
        if self.settings is not None:
            rates = {name: self.settings.rate(name) for name in chain}
        matrices = [np.asarray(theta0[name]) for name in chain]
        defects = [np.asarray(d) for d in imbalances(self.arch, dict(theta0), rates)]
        measured = max((float(np.linalg.norm(d)) for d in defects), default=0.0)
        scale = max(float(np.linalg.norm(w)) ** 2 for w in matrices)
        rank = min(numerical_rank(w) for w in matrices)
        if measured > self.tolerance * scale:
            return Condition(
                requirement="all imbalances W_{l+1}^T W_{l+1} - W_l W_l^T vanish",
                measured=measured,
                tolerance=self.tolerance * scale,
                explanation=_describe_imbalance(defects),
                # Seen: deviations of 6.5e-7, 1.1e-3, 0.12 gave errors of 3.4e-7, 4.5e-4, 4.8e-2.
                expected_error=measured / 2,
                remedy="Use `GramFlow` (two layers, any start), or a balanced start: `balanced(arch, key)`.",
            )
        if rank != int(self.rank):
            return Condition(
                requirement=f"z has rank {int(self.rank)}",
                measured=float(abs(rank - int(self.rank))),
                tolerance=0.0,
                explanation=f"the layers of `theta0` have rank {rank}",
                remedy=f"Use `BalancedFlow(arch, loss, rank={rank})`."
                if rank
                else "At rank 0 nothing moves: z stays 0 (L > 1).",
            )
        return Condition(
            requirement="all imbalances W_{l+1}^T W_{l+1} - W_l W_l^T vanish",
            measured=measured,
            tolerance=self.tolerance * scale,
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {"z": self.arch(dict(theta0))}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        chain = chain_of(self.arch, self.label)
        depth = len(chain)
        z = state["z"]
        velocity = -balanced_operator(z, jax.grad(training.loss)(z), depth, self.rank)
        if training.rates:
            product = jnp.prod(jnp.asarray([training.rate(name) for name in chain]))
            velocity = velocity * product ** (1 / depth)
        if training.is_decaying:
            # Weight decay is only admitted with equal rates, so any layer's rate serves.
            velocity = velocity - depth * training.rate(chain[0]) * training.weight_decay * z
        return {"z": velocity}

    def output(self, state: State):
        return state["z"]

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        index = jnp.arange(singular.shape[0])
        return {
            "smallest kept singular value": jnp.min(jnp.where(index < self.rank, singular, jnp.inf)),
            "largest singular value beyond the rank": jnp.max(jnp.where(index < self.rank, 0.0, singular)),
        }


def _checked(arch: Architecture, training: Training) -> Training:
    training.check(arch)
    rates = {float(training.rate(name)) for name in chain_of(arch, "the balanced flow")}
    if training.is_decaying and len(rates) > 1:
        raise ValueError(
            "Argument `weight_decay` must be 0 with unequal layer `rates` (balance is then not kept), "
            f"but is {float(training.weight_decay):g} with rates {sorted(rates)}."
        )
    return training


def _describe_imbalance(defects: list[np.ndarray]) -> str:
    parts, is_lambda_balanced = [], True
    for layer, defect in enumerate(defects, start=1):
        lam = float(np.trace(defect)) / defect.shape[0]
        rest = float(np.linalg.norm(defect - lam * np.eye(defect.shape[0])))
        parts.append(f"D_{layer} = {lam:.3g} I + a part of norm {rest:.2g}")
        is_lambda_balanced &= rest <= 1e-10 * float(np.linalg.norm(defect))
    return ("λ-balanced but not balanced, " if is_lambda_balanced else "") + ", ".join(parts)


def _matrix_power(base: str, numerator: int, depth: int) -> str:
    if numerator == 0:
        return ""
    exponent = "" if numerator == depth else f"^{{{numerator}/{depth}}}"
    return rf"({base}){exponent}\,"
