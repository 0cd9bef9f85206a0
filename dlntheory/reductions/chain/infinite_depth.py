r"""`InfiniteDepthFlow`: the limit of a deep linear network near the identity, $W_l = I + A_l/L$, as $L \to \infty$."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...laws.balancedness import imbalances
from ...training import GradientFlow, State, Training
from ..base import AbstractReduction, Condition, chain_of, widths_of
from .logarithmic_mean import logarithmic_mean_operator


class InfiniteDepthFlow(AbstractReduction):
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
            costs no more than the limit itself.

    Validity:
        Asymptotic. If $L^2 D_l = \lambda_l I$ up to $O(1/L)$, where $D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$, the
        error of $z$ on a fixed interval of the limit's time is $O(1/L)$, for every smooth loss and every λ: the
        equation does not depend on λ. For other imbalances it does not tend to 0. The layers must be closer to the
        identity than 1 in spectral norm; then $\det z > 0$, which the equation keeps.

    Raises:
        ValueError: no declared chain of equal widths, fewer than two layers, weight decay, or unequal rates.

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

    arch: Architecture
    settings: Training | None
    tolerance: float | None

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        rates: Mapping[str, float] | None = None,
        tolerance: float | None = None,
    ):
        chain = chain_of(arch, "the flow of infinite depth")
        widths = widths_of(arch)
        if len(chain) < 2 or len(set(widths)) > 1 or len(set(chain)) < len(chain):
            raise ValueError(
                "Argument `arch` must be a chain of at least two different square matrices for the flow of infinite "
                f"depth, but {arch.name} has widths {'-'.join(map(str, widths))}."
            )
        if tolerance is not None and not (np.isfinite(tolerance) and tolerance >= 0):
            raise ValueError(
                f"Argument `tolerance` must be a finite number of at least 0, but is {tolerance}."
            )
        self.arch = arch
        self.settings = None if loss is None else _checked(arch, Training(loss, rates=rates))
        self.tolerance = None if tolerance is None else float(tolerance)

    @property
    def label(self) -> str:
        return "flow of infinite depth"

    @property
    def architecture(self) -> Architecture:
        return self.arch

    @property
    def training(self) -> Training | None:
        return self.settings

    @property
    def statement(self) -> str:
        return r"\dot z = -L e \int_0^1 (z z^\top)^{1-s}\, \nabla f(z)\, (z^\top z)^{s}\, ds"

    @property
    def source(self) -> str:
        return "derived here, in the setting of [marcotte2026intrinsic]"

    @property
    def exactness(self) -> str:
        return "asymptotic, order 1/L, for every smooth loss, at a relaxed balanced start near the identity"

    def bind(self, training: Training) -> Self:
        _checked(self.arch, training)
        return type(self)(
            self.arch,
            training.loss,
            rates={name: float(rate) for name, rate in training.rates.items()},
            tolerance=self.tolerance,
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        chain = chain_of(self.arch, self.label)
        depth, size = len(chain), widths_of(self.arch)[0]
        steps = [np.asarray(theta0[name]) - np.eye(size) for name in chain]
        distance = max(float(np.linalg.norm(step, 2)) for step in steps)
        if distance >= 1:
            return Condition(
                requirement="every layer is closer to the identity than 1 in spectral norm, so that det z > 0",
                measured=distance,
                tolerance=float(np.nextafter(1.0, 0.0)),
                explanation=f"max_l |W_l - I| = {distance:.3g}, det z = {_determinant(self.arch, theta0):.3g}",
                remedy="Use a start `near_identity_balanced(arch, S0)`, or a reduction of finite depth.",
            )
        defects = [depth**2 * np.asarray(defect) for defect in imbalances(self.arch, dict(theta0))]
        lambdas = [float(np.trace(defect)) / size for defect in defects]
        measured = max(
            float(np.linalg.norm(defect - lam * np.eye(size)))
            for defect, lam in zip(defects, lambdas, strict=True)
        )
        scale = max(float(np.linalg.norm(depth * step)) ** 2 for step in steps)
        # The imbalances of an exact start carry the rounding of entries of size 1, multiplied by L^2.
        rounding = 100 * size * depth**2 * float(np.finfo(float).eps)
        tolerance = 2 * scale / depth if self.tolerance is None else self.tolerance
        return Condition(
            requirement="the scaled imbalances L^2 D_l are multiples of the identity up to O(1/L)",
            measured=measured,
            tolerance=tolerance + rounding,
            explanation=f"L = {depth}, lambda_l from {min(lambdas):.3g} to {max(lambdas):.3g}, "
            f"max |A_l|^2 = {scale:.3g}",
            # Seen at time 1: 0.2/L to 1.7/L at exact starts; deviations of 0.8 to 1.5 left 0.007 to 0.1 at L = 64.
            expected_error=0.03 * measured + 1.0 / depth,
            remedy="Use a start `near_identity_balanced(arch, S0)`, or the full flow.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        return {"z": self.arch(dict(theta0))}

    def velocity(self, t, state: State) -> State:
        training = self.settings
        assert training is not None  # `solve` refuses an unbound reduction
        chain = chain_of(self.arch, self.label)
        speed = len(chain) * training.rate(chain[0])
        return {"z": -speed * logarithmic_mean_operator(state["z"], jax.grad(training.loss)(state["z"]))}

    def output(self, state: State):
        return state["z"]

    def conserved(self, state: State) -> dict[str, Any]:
        return {}

    def monitors(self, state: State) -> dict[str, Any]:
        sign, log_determinant = jnp.linalg.slogdet(state["z"])
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        return {
            "det z": sign * jnp.exp(log_determinant),
            "smallest singular value / largest": singular[-1] / singular[0],
        }


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


def _checked(arch: Architecture, training: Training) -> Training:
    training.check(arch)
    if training.is_decaying:
        raise ValueError(
            "Argument `weight_decay` must be 0 for the flow of infinite depth (it pulls the layers to 0, away from "
            f"the identity), but is {float(training.weight_decay):g}."
        )
    rates = {float(training.rate(name)) for name in chain_of(arch, "the flow of infinite depth")}
    if len(rates) > 1:
        raise ValueError(
            f"Argument `rates` must be equal for all layers for the flow of infinite depth, but are {sorted(rates)}."
        )
    return training


def _determinant(arch: Architecture, theta0: Mapping[str, Any]) -> float:
    return float(np.linalg.det(np.asarray(arch(dict(theta0)))))
