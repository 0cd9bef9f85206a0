"""`SingularValueFlow`: the singular values and vectors of a balanced deep linear network as variables of their own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import real_number
from ...architecture import Architecture
from ...training import Limit, State, Training
from ..base import CLOSED_FORM_MORE, AbstractReduction, Condition, FormError, chain_of
from ..decay_and_rates import check_common_decay, common_decay, rate_of, scheduled
from .balanced import balance_condition, balanced_rank, checked_rank

LABEL = "singular value flow"
GAP = "smallest gap of singular values / largest"
SMALLEST = "smallest singular value / largest"
#: A relative gap, or for depth above 2 a smallest value, below its inverse is refused at the start.
AMPLIFICATION = 1e6
_INSTEAD = "Use `BalancedFlow`, whose operator is regular there."


class SingularValueFlow(AbstractReduction):
    r"""The flow of the thin singular value decomposition $z = U \mathrm{diag}(s) V^\top$ of a balanced chain.

    With $D = U^\top \nabla f(z)\, V$ and $\Phi_{rc} = 1/(s_c^{2/L} - s_r^{2/L})$, zero on the diagonal,

    $$\dot s_r = -L\, s_r^{2 - 2/L} D_{rr}, \qquad
      \dot U = -U\,(\Phi \circ [D s + s D^\top]) - (I - UU^\top)\, \nabla f(z)\, V s^{1 - 2/L}$$

    and likewise for $V$ with $\nabla f^\top$. The state has $r (o + d + 1)$ numbers.

    Args:
        arch: a chain of at least two matrices.
        loss: a function of $z$, or `None` to `bind` later.
        weight_decay: $\gamma \ge 0$; adds $-L\gamma s$ (equal layer rates only).
        rates: layer rates $e_l$; they multiply everything by $(\prod_l e_l)^{1/L}$.
        rank: rank of $z$, by default the smallest width.
        tolerance: largest relative imbalance that passes for balanced.

    Validity:
        Exact for every loss, at a balanced start with distinct positive singular values, until two of them meet or,
        for more than two layers, one of them vanishes: there the run ends and says so, and `BalancedFlow` goes on.

    Raises:
        FormError: φ is no chain of at least two matrices.
        ValueError: a rank that is not possible; weight decay with unequal rates.

    References:
        [arora2019implicit].

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> flow = SingularValueFlow(arch)
        >>> flow.condition(dln.balanced(arch, jax.random.key(0))).holds
        True
    """

    rank: int = eqx.field(static=True)
    tolerance: float

    label = LABEL
    statement = (
        r"\dot s_r = -L\, s_r^{2-2/L} D_{rr},\quad \dot U = -U (\Phi \circ [D s + s D^\top]) - (I - UU^\top)"
        r" \nabla f(z) V s^{1-2/L},\quad \dot V = -V (\Phi \circ [D^\top s + s D]) - (I - VV^\top)"
        r" \nabla f(z)^\top U s^{1-2/L},\quad D = U^\top \nabla f(z) V,\; "
        r"\Phi_{rc} = (s_c^{2/L} - s_r^{2/L})^{-1}"
    )
    source = "[arora2019implicit]"
    exactness = (
        "exact for every loss, at a balanced start, while the singular values are distinct and positive"
    )
    kind = CLOSED_FORM_MORE
    order = 230.0

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
        if len(chain_of(arch, f"the {LABEL}")) < 2:
            raise FormError(
                f"Argument `arch` must have at least two layers for the {LABEL}, but {arch.name} has one."
            )
        self.rank = checked_rank(arch, rank)
        self.tolerance = real_number(tolerance, "tolerance", minimum=0.0)
        super().__init__(arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        """The flow with the rank of a start.

        Raises:
            FormError: φ is no chain of at least two matrices.
            ConditionError: a layer is zero.
        """
        return cls(arch, loss, rank=balanced_rank(arch, theta0, f"the {LABEL}"))

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        check_common_decay(training, self._chain, f"the {LABEL}")

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        balance = balance_condition(
            self.architecture, self.training, theta0, self.rank, self.tolerance, type(self).__name__
        )
        if not balance.holds:
            return balance
        s = np.linalg.svd(np.asarray(self.architecture(dict(theta0))), compute_uv=False)[: self.rank]
        distances = {"gap": float(np.min(-np.diff(s), initial=np.inf)), "value": float(s[-1])}
        if len(self._chain) == 2:
            del distances["value"]
        name, least = min(distances.items(), key=lambda item: item[1])
        return Condition(
            requirement="the singular values of z are distinct"
            + (" and positive" if len(self._chain) > 2 else "")
            + " (largest / smallest gap or value)",
            measured=float(s[0]) / least if least > 0 else np.inf,
            tolerance=AMPLIFICATION,
            explanation=f"smallest {name} {least:.3g} at a largest value of {s[0]:.3g}",
            remedy=_INSTEAD,
        )

    @property
    def _chain(self) -> tuple[str, ...]:
        return chain_of(self.architecture, f"the {LABEL}")

    def initial(self, theta0: Mapping[str, Any]) -> State:
        u, s, vt = jnp.linalg.svd(self.architecture(dict(theta0)), full_matrices=False)
        return {"U": u[:, : self.rank], "s": s[: self.rank], "V": vt[: self.rank].T}

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        chain, depth = self._chain, len(self._chain)
        u, s, v = state["U"], state["s"], state["V"]
        gradient = jax.grad(training.loss)(self.output(state))
        core = u.T @ gradient @ v
        power = lambda exponent: jnp.maximum(s, 0.0) ** exponent if exponent else jnp.ones_like(s)
        squares = power(2 / depth)
        gap = squares[None, :] - squares[:, None]
        phi = jnp.where(gap == 0, 0.0, 1.0 / jnp.where(gap == 0, 1.0, gap))
        edge = power(1 - 2 / depth)[None, :]
        turned = lambda basis, core, gradient: (
            -basis @ (phi * (core * s[None, :] + s[:, None] * core.T))
            - (gradient - basis @ (basis.T @ gradient)) * edge
        )
        moved = {
            "U": turned(u, core, gradient @ v),
            "s": -depth * power(2 - 2 / depth) * jnp.diagonal(core),
            "V": turned(v, core.T, gradient.T @ u),
        }
        if training.rates:
            speed = jnp.prod(jnp.asarray([rate_of(training, name) for name in chain])) ** (1 / depth)
            moved = {name: speed * value for name, value in moved.items()}
        if training.is_decaying:
            moved["s"] = moved["s"] - depth * common_decay(training, chain, t) * s
        return scheduled(training, t, moved)

    def output(self, state: State):
        return (state["U"] * state["s"][None, :]) @ state["V"].T

    def conserved(self, state: State) -> dict[str, Any]:
        return {"U^T U": state["U"].T @ state["U"], "V^T V": state["V"].T @ state["V"]}

    def monitors(self, state: State) -> dict[str, Any]:
        s = state["s"]
        # In the order of the start, so that two that have crossed give a negative gap.
        gaps = s[:-1] - s[1:] if self.rank > 1 else s
        largest = jnp.max(s)
        return {GAP: jnp.min(gaps) / largest, SMALLEST: jnp.min(s) / largest}

    def limits(self) -> tuple[Limit, ...]:
        advice = f"the equations divide by it. {_INSTEAD}"
        found = (Limit(GAP, warn_below=1e-4, stop_below=1e-7, advice=advice),)
        if len(self._chain) == 2:
            return found
        return (*found, Limit(SMALLEST, warn_below=1e-6, stop_below=1e-12, advice=advice))
