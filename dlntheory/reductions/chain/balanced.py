"""`BalancedFlow`: the end-to-end equation of a balanced deep linear network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax.numpy as jnp
import numpy as np

from ..._checks import integer, real_number
from ..._errors import ConditionError
from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ...training import State, Training
from ..base import AbstractReduction, Condition, chain_of, numerical_rank, widths_of
from ..decay_and_rates import rate_of
from .base import AbstractChainFlow
from .relaxed_operator import balanced_operator

BALANCE = "all imbalances W_{l+1}^T W_{l+1} - W_l W_l^T vanish"


class BalancedFlow(AbstractChainFlow):
    r"""The end-to-end flow of a balanced chain of any depth and widths, for any loss.

    $$\dot z = -\sum_{l=1}^{L} (z z^\top)^{(L-l)/L}\, \nabla f(z)\, (z^\top z)^{(l-1)/L}$$

    The state is $z$ alone, (out, inp). Layer rates $e_l$ multiply the right side by $(\prod_l e_l)^{1/L}$ and balance
    means $W_{l+1}^\top W_{l+1}/e_{l+1} = W_l W_l^\top/e_l$; weight decay $\gamma$ adds $-L\gamma z$ (equal rates only).

    Args:
        arch: a chain of matrices.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$.
        rates: layer rates $e_l$ by factor name; 1 where not named.
        rank: rank of $z$, which the flow conserves; singular values beyond it are held at exactly 0. By default
            the smallest width of the network.
        tolerance: largest relative imbalance $\max_l \|D_l\|_F / \max_l \|W_l\|_F^2$ that passes for balanced.

    Validity:
        Exact for every loss while the flow exists, if `theta0` is balanced. The operator has no derivative at rank
        deficient $z$ across ranks; rank is conserved, so trajectories never cross.

    Raises:
        FormError: φ is no chain.
        ValueError: a rank outside 1 … smallest width; weight decay with unequal rates.

    References:
        [arora2018optimization], Theorem 1.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> theta0 = dln.balanced(arch, jax.random.key(0))
        >>> BalancedFlow(arch).condition(theta0).holds
        True
    """

    rank: np.ndarray
    tolerance: float

    label = "balanced end-to-end flow"
    source = "[arora2018optimization], Theorem 1"
    exactness = "exact for every loss, at a balanced start"
    order = 10.0
    has_law = False

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
        chain_of(arch, f"the {self.label}")
        self.rank = np.asarray(checked_rank(arch, rank))
        self.tolerance = real_number(tolerance, "tolerance", minimum=0.0)
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        """The flow with the rank of a start.

        Raises:
            FormError: φ is no chain.
            ConditionError: a layer is zero.
        """
        return cls(arch, loss, rank=balanced_rank(arch, theta0, f"the {cls.label}"))

    @property
    def statement(self) -> str:
        depth = len(self._chain)
        terms = " + ".join(
            _matrix_power(r"z z^\top", depth - l, depth)
            + r"\nabla f(z)"
            + _matrix_power(r"z^\top z", l - 1, depth)
            for l in range(1, depth + 1)
        )
        return rf"\dot z = -\left( {terms} \right)"

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        return balance_condition(
            self.architecture, self.training, theta0, int(self.rank), self.tolerance, type(self).__name__
        )

    def metric(self, z, gradient, law):
        return balanced_operator(z, gradient, len(self._chain), self.rank)

    def monitors(self, state: State) -> dict[str, Any]:
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        index = jnp.arange(singular.shape[0])
        return {
            "smallest kept singular value": jnp.min(jnp.where(index < self.rank, singular, jnp.inf)),
            "largest singular value beyond the rank": jnp.max(jnp.where(index < self.rank, 0.0, singular)),
        }


def checked_rank(arch: Architecture, rank: int | None) -> int:
    """A rank that a chain can have; by default the largest, its smallest width."""
    smallest = min(widths_of(arch))
    return smallest if rank is None else integer(rank, "rank", maximum=smallest)


def balanced_rank(arch: Architecture, theta0: Mapping[str, Any], label: str) -> int:
    """The rank of a start in a balanced flow.

    Raises:
        FormError: φ is no chain.
        ConditionError: a layer is zero.
    """
    rank = min(numerical_rank(theta0[name]) for name in chain_of(arch, label))
    if rank == 0:
        raise ConditionError(
            f"Argument `theta0` must have layers that are not zero for {label}, but a layer of `theta0` is zero: a "
            "balanced flow never moves from there, and no other start is balanced.",
            measured=0.0,
        )
    return rank


def balance_condition(
    arch: Architecture,
    training: Training | None,
    theta0: Mapping[str, Any],
    rank: int,
    tolerance: float,
    flow: str,
) -> Condition:
    """Whether a start is balanced and of the rank that a flow was built for."""
    chain = chain_of(arch, "a balanced flow")
    rates = None if training is None else {name: rate_of(training, name) for name in chain}
    matrices = [np.asarray(theta0[name]) for name in chain]
    defects = [np.asarray(d) for d in imbalances(arch, dict(theta0), rates)]
    measured = max((float(np.linalg.norm(d)) for d in defects), default=0.0)
    scale = max(float(np.linalg.norm(w)) ** 2 for w in matrices)
    if measured > tolerance * scale:
        return Condition(
            requirement=BALANCE,
            measured=measured,
            tolerance=tolerance * scale,
            explanation=_describe_imbalance(defects),
            # Seen: deviations of 6.5e-7, 1.1e-3, 0.12 gave errors of 3.4e-7, 4.5e-4, 4.8e-2.
            expected_error=measured / 2,
            remedy="Use `GramFlow` (two layers, any start), or a balanced start: `balanced(arch, key)`.",
        )
    if (found := min(numerical_rank(w) for w in matrices)) != rank:
        return Condition(
            requirement=f"z has rank {rank}",
            measured=float(abs(found - rank)),
            tolerance=0.0,
            explanation=f"the layers of `theta0` have rank {found}",
            remedy=f"Use `{flow}(arch, loss, rank={found})`."
            if found
            else "At rank 0 nothing moves: z stays 0 (L > 1).",
        )
    return Condition(requirement=BALANCE, measured=measured, tolerance=tolerance * scale)


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
