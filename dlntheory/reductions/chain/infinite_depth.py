r"""The end-to-end equation of a chain as its depth goes to infinity, near the identity or from a balanced start."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from ..._checks import real_number
from ..._errors import NotApplicableError
from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ...training import GradientFlow, State, Training
from ..base import ASYMPTOTIC, AbstractReduction, Condition, FormError, chain_of, widths_of
from ..decay_and_rates import rate_of, scheduled
from .balanced import balance_condition
from .logarithmic_mean import logarithmic_mean_operator


class AbstractDepthLimit(AbstractReduction):
    r"""$\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds$, without weight decay.

    In the singular bases of $z$ the integral multiplies entry $(i, j)$ by the logarithmic mean of $\sigma_i^2$ and
    $\sigma_j^2$.
    """

    statement = r"\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds"
    kind = ASYMPTOTIC

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        if training.is_decaying:
            raise NotApplicableError(
                f"Argument `weight_decay` must be 0 for the {self.label}, but the flow has {training.conventions}. "
                "Use `BalancedFlow` or the full flow.",
                requirement="no weight decay",
            )

    @property
    def _chain(self) -> tuple[str, ...]:
        return chain_of(self.architecture, f"the {self.label}")

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        rates = jnp.stack(
            [jnp.asarray(rate_of(training, name), jnp.result_type(float)) for name in self._chain]
        )
        speed = len(self._chain) * jnp.exp(jnp.mean(jnp.log(rates)))
        gradient = jax.grad(training.loss)(state["z"])
        return scheduled(training, t, {"z": -speed * logarithmic_mean_operator(state["z"], gradient)})

    def monitors(self, state: State) -> dict[str, Any]:
        sign, log_determinant = jnp.linalg.slogdet(state["z"])
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        return {
            "det z": sign * jnp.exp(log_determinant),
            "smallest singular value / largest": singular[-1] / singular[0],
        }


class InfiniteDepthFlow(AbstractDepthLimit):
    r"""The flow of $z$ for a chain of $L$ square layers near the identity, to first order in $1/L$.

    $$\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds$$

    with one learning rate $e$ of all layers. In the singular bases of $z$ the integral multiplies entry $(i, j)$ by
    the logarithmic mean of $\sigma_i^2$ and $\sigma_j^2$. With $W_l = I + A_l/L$ the limit has a time of its own:
    $A_l' = -\partial f/\partial W_l$ means $W_l' = -\frac1L\, \partial f/\partial W_l$, that is $e = 1/L$ and $Le = 1$;
    `near_identity_flow` is the full flow in that time. The state is $z$ alone, (d, d).

    Args:
        arch: a chain of at least two square matrices.
        loss: a function of $z$, or `None` to `bind` later.
        rates: learning rate by factor name; all must be equal. By default 1 for each, so that $z$ moves at a speed
            of order L.
        tolerance: largest $\max_l \|L^2 D_l - \lambda_l I\|_F$ that passes. By default $2 \max_l \|A_l\|_F^2 / L$,
            above the size that $L^2 D_l - D(s)$ has where the layers sample a smooth $A(s)$; below that, a violation
            costs no more than the limit itself. At most $L \max_l \|A_l\|_F / 4$, an eighth of what layers have that
            do not know of each other: at small L the first bound alone would let them pass.

    Validity:
        Asymptotic. If $L^2 D_l = \lambda_l I$ up to $O(1/L)$, where $D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$, the
        error of $z$ on a fixed interval of the limit's time is $O(1/L)$, for every smooth loss and every λ: the
        equation does not depend on λ. For other imbalances it does not tend to 0. The layers must be closer to the
        identity than 1 in spectral norm; then $\det z > 0$, which the equation keeps. The condition always says which
        error to expect: at few layers it is of the size of $z$.

    Raises:
        FormError: φ is no chain of equal widths, or has fewer than two layers.
        NotApplicableError: weight decay, or unequal rates.

    References:
        [marcotte2026intrinsic], for the setting. That λ drops out, and the logarithmic mean, are derived here
        and checked against the full flow.

    Example:
        >>> import dlntheory as dln, jax, numpy as np
        >>> from dlntheory.initial.near_identity import near_identity_balanced
        >>> arch = dln.linear_network((2,) * 9)
        >>> theta0 = near_identity_balanced(arch, [[0.3, 0.1], [0.1, -0.2]], lam=0.5)
        >>> InfiniteDepthFlow(arch).condition(theta0).holds
        True
    """

    tolerance: float | None

    label = "flow of infinite depth"
    source = "derived here, in the setting of [marcotte2026intrinsic]"
    exactness = "asymptotic, order 1/L, for every smooth loss, at a relaxed balanced start near the identity"
    order = 510.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        rates: Mapping[str, float] | None = None,
        tolerance: float | None = None,
    ):
        chain = chain_of(arch, f"the {self.label}")
        widths = widths_of(arch)
        if len(chain) < 2 or len(set(widths)) > 1 or len(set(chain)) < len(chain):
            raise FormError(
                f"Argument `arch` must be a chain of at least two different square matrices for the {self.label}, but "
                f"{arch.name} has widths {'-'.join(map(str, widths))}."
            )
        self.tolerance = None if tolerance is None else real_number(tolerance, "tolerance", minimum=0.0)
        AbstractReduction.__init__(self, arch, loss, rates=rates)

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        rates = {float(rate_of(training, name)) for name in self._chain}
        if len(rates) > 1:
            raise NotApplicableError(
                f"Argument `rates` must be equal for all layers for the {self.label}, but are {sorted(rates)}.",
                requirement="equal rates",
            )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        chain, size = self._chain, widths_of(self.architecture)[0]
        depth = len(chain)
        steps = [np.asarray(theta0[name]) - np.eye(size) for name in chain]
        distance = max(float(np.linalg.norm(step, 2)) for step in steps)
        if distance >= 1:
            return Condition(
                requirement="every layer is closer to the identity than 1 in spectral norm, so that det z > 0",
                measured=distance,
                tolerance=float(np.nextafter(1.0, 0.0)),
                explanation=f"max_l |W_l - I| = {distance:.3g}, det z = {_determinant(self.architecture, theta0):.3g}",
                remedy="Use a start `near_identity_balanced(arch, S0)`, or a reduction of finite depth.",
            )
        defects = [depth**2 * np.asarray(defect) for defect in imbalances(self.architecture, dict(theta0))]
        lambdas = [float(np.trace(defect)) / size for defect in defects]
        measured = max(
            float(np.linalg.norm(defect - lam * np.eye(size)))
            for defect, lam in zip(defects, lambdas, strict=True)
        )
        size_a = max(float(np.linalg.norm(depth * step)) for step in steps)
        # The imbalances of an exact start carry the rounding of entries of size 1, multiplied by L^2.
        rounding = 100 * size * depth**2 * float(np.finfo(float).eps)
        tolerance = self.tolerance
        if tolerance is None:
            tolerance = min(2 * size_a**2 / depth, depth * size_a / 4)
        return Condition(
            requirement="the scaled imbalances L^2 D_l are multiples of the identity up to O(1/L)",
            measured=measured,
            tolerance=tolerance + rounding,
            explanation=f"L = {depth}, lambda_l from {min(lambdas):.3g} to {max(lambdas):.3g}, "
            f"max |A_l|^2 = {size_a**2:.3g}, 1/L = {1 / depth:.3g}",
            # Seen at time 1: 0.2/L to 1.7/L at exact starts; deviations of 0.8 to 1.5 left 0.007 to 0.1 at L = 64.
            expected_error=0.03 * measured + 1.0 / depth,
            remedy="Use a start `near_identity_balanced(arch, S0)`, or the full flow.",
        )


class BalancedLimitFlow(AbstractDepthLimit):
    r"""The flow of $z$ for a balanced chain, to first order in $1/L$ in the time $L t$.

    $$\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds$$

    The sum over layers of `BalancedFlow` divided by L is a rule for this integral. Unlike `InfiniteDepthFlow` it
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
        FormError: φ is no chain of that kind.
        NotApplicableError: weight decay (it adds $-L \gamma z$: use `BalancedFlow`).

    References:
        [cohen2023deep].

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((2,) * 9)
        >>> theta0 = dln.balanced(arch, jax.random.key(0), product=[[1.0, 0.2], [0.0, -0.5]])
        >>> BalancedLimitFlow(arch).condition(theta0).holds
        True
    """

    tolerance: float

    label = "balanced flow of infinite depth"
    source = "[cohen2023deep]"
    exactness = (
        "asymptotic, order 1/L in the time L t, for every smooth loss, at a balanced start of full rank"
    )
    order = 520.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
    ):
        chain, widths = chain_of(arch, f"the {self.label}"), widths_of(arch)
        if len(chain) < 2 or widths[0] != widths[-1] or min(widths) < widths[0]:
            raise FormError(
                f"Argument `arch` must have at least two layers, equal input and output width and no narrower one "
                f"between for the {self.label}, but {arch.name} has widths {'-'.join(map(str, widths))}."
            )
        self.tolerance = real_number(tolerance, "tolerance", minimum=0.0)
        AbstractReduction.__init__(self, arch, loss, rates=rates)

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        arch, depth = self.architecture, len(self._chain)
        rank = min(widths_of(arch))
        found = balance_condition(arch, self.training, theta0, rank, self.tolerance, "BalancedFlow")
        if found.holds:
            return dataclasses.replace(
                found, explanation=f"1/L = {1 / depth:.3g}", expected_error=1.0 / depth
            )
        return dataclasses.replace(found, remedy="Use `BalancedFlow` or a balanced start of full rank.")


def near_identity_flow(arch: Architecture, loss: Any) -> GradientFlow:
    r"""The full flow of a chain near the identity in the time of its limit, $A_l' = -\partial f/\partial W_l$.

    With $W_l = I + A_l/L$ this is the gradient flow at the learning rate $1/L$ of every layer. `InfiniteDepthFlow`
    bound to it moves at a speed independent of L.

    Args:
        arch: a chain of L matrices.
        loss: a function of $z$.

    Raises:
        ValueError: no declared chain, or a loss that is no scalar function of its $z$.

    Example:
        >>> import dlntheory as dln
        >>> flow = near_identity_flow(dln.linear_network((2, 2, 2)), dln.SquaredLoss.from_target([[1.0, 0], [0, 2.0]]))
        >>> float(flow.training.rate("W1"))
        0.5
    """
    chain = chain_of(arch, "the flow near the identity")
    return GradientFlow(arch, loss, rates={name: 1.0 / len(chain) for name in chain})


def _determinant(arch: Architecture, theta0: Mapping[str, Any]) -> float:
    return float(np.linalg.det(np.asarray(arch(dict(theta0)))))
