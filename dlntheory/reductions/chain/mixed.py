"""`MixedBalancedFlow`: two linear layers with the metric between lazy and balanced, exact on its level sets."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Self

import jax.numpy as jnp
import numpy as np

from ..._checks import real_number
from ...architecture import Architecture
from ...training import Training
from ..base import AbstractReduction, Condition, chain_of, widths_of
from .base import AbstractChainFlow, rescaled_layers
from .relaxed_operator import relaxed_operator

LABEL = "mixed lazy and balanced flow"
_INSTEAD = (
    "Use `GramFlow` (two layers, any start), `RelaxedBalancedFlow` if S = lambda I, or for wide Gaussian layers the "
    "approximation `MixedBalancedFlow.from_start(arch, theta0, wide=True)`."
)
#: Times $w^{-1/2}$: the largest relative distance from the level set that passes for wide Gaussian layers.
WIDE = 4.0


class Signature(NamedTuple):
    r"""The nearest level set of the mixed metric to a symmetric $S$.

    Attributes:
        lam: the positive eigenvalue, of multiplicity $d_2$, or 0.
        mu: minus the negative eigenvalue, of multiplicity $d_0$, or 0.
        distance: Frobenius distance of $S$ from that level set.
    """

    lam: float
    mu: float
    distance: float

    @property
    def kappa(self) -> float:
        r"""$\kappa = (\lambda + \mu)/2$."""
        return (self.lam + self.mu) / 2


class MixedBalancedFlow(AbstractChainFlow):
    r"""The end-to-end flow of two layers, if $S = W_2^\top W_2 - W_1 W_1^\top$ has a full signature.

    $$\dot z = -\left( (\kappa^2 I + z z^\top)^{1/2}\, \nabla f(z)
      + \nabla f(z)\, (\kappa^2 I + z^\top z)^{1/2} \right)$$

    with $\kappa = (\lambda + \mu)/2$, where $S$ has one positive eigenvalue $\lambda$ of multiplicity $d_2$ (out) and
    one negative eigenvalue $-\mu$ of multiplicity $d_0$ (inp), or only one of the two; all others are 0. The state
    is $z$ alone. Large $\kappa$ is lazy (the metric is nearly the constant $2\kappa$), $\kappa = 0$ balanced.

    Args:
        arch: an architecture that declares a chain of exactly two matrices.
        loss: a function of $z$, or `None` to `bind` later.
        kappa: $\kappa > 0$; `MixedBalancedFlow.from_start` measures it at a start.
        rates: layer rates $e_1, e_2$ by factor name; $S$ is then $W_2^\top W_2/e_2 - W_1 W_1^\top/e_1$.
        tolerance: largest distance of $S$ from the level set, relative to the largest $\|W_l\|_F^2$, that passes.

    Validity:
        Exact for every loss while the flow exists. $K$ is analytic in $z$ at every rank, so that trajectories cross
        $\det z = 0$. Both signs together need a hidden width of at least $d_0 + d_2$. Gaussian layers of hidden width w
        are within $O(w^{-1/2})$ of such a level set, and the error of $z$ is of that order: `from_start(…, wide=True)`
        takes them, and the condition says which error to expect.

    Raises:
        FormError: φ is no chain of two matrices.
        ValueError: `kappa` not positive; weight decay with unequal rates.

    References:
        Derived here. For $S = \lambda I$: [marcotte2026intrinsic]; the same metric as an approximation:
        [tu2024mixed].

    Example:
        >>> import dlntheory as dln, jax
        >>> from dlntheory.initial import mixed_balanced
        >>> arch = dln.linear_network((2, 5, 3))
        >>> theta0 = mixed_balanced(arch, jax.random.key(0), 0.9, 0.4)
        >>> round(float(MixedBalancedFlow.from_start(arch, theta0).kappa), 12)
        0.65
    """

    kappa: np.ndarray
    tolerance: float

    label = LABEL
    source = "derived here; S = lambda I: [marcotte2026intrinsic]; wide Gaussian layers: [tu2024mixed]"
    order = 30.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        kappa: float,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
    ):
        chain_of(arch, f"the {LABEL}", depth=2)
        # 0 is `BalancedFlow`.
        self.kappa = np.asarray(real_number(kappa, "kappa", above=0.0))
        self.tolerance = real_number(tolerance, "tolerance", minimum=0.0)
        AbstractReduction.__init__(self, arch, loss, weight_decay=weight_decay, rates=rates)

    @classmethod
    def from_start(
        cls,
        arch: Architecture,
        theta0: Mapping[str, Any],
        loss: Any = None,
        *,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        tolerance: float = 1e-10,
        wide: bool = False,
    ) -> Self:
        r"""The flow with the $\kappa$ of a start. Not jit-compatible; `rates` need a `loss`.

        With `wide` the tolerance is $4/\sqrt w$ for hidden width w, which Gaussian layers meet: an approximation.

        Raises:
            ConditionError: the imbalance of `theta0` has another signature.
            FormError: no chain of two matrices.
            ValueError: a malformed `theta0`.
        """
        chain_of(arch, f"the {LABEL}", depth=2)
        checked = arch.check(theta0)
        if wide:
            tolerance = WIDE / np.sqrt(widths_of(arch)[1])
        training = None if loss is None else Training(loss, rates=rates)
        condition, found = _measured(arch, training, checked, None, tolerance)
        if not condition.holds:
            raise condition.error(LABEL)
        return cls(arch, loss, kappa=found.kappa, weight_decay=weight_decay, rates=rates, tolerance=tolerance)

    @property
    def exactness(self) -> str:
        if self.tolerance > 1e-6:
            width = widths_of(self.architecture)[1]
            return f"asymptotic, order w^(-1/2) in the hidden width w = {width}, for every loss"
        return "exact for every loss, if S has eigenvalues lambda (d_2 times) and -mu (d_0 times), or one of them"

    @property
    def statement(self) -> str:
        return (
            r"\dot z = -\left( (\kappa^2 I + z z^\top)^{1/2}\, \nabla f(z) + \nabla f(z)\, "
            rf"(\kappa^2 I + z^\top z)^{{1/2}} \right),\quad \kappa = {float(self.kappa):.6g}"
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        return _measured(self.architecture, self.training, theta0, float(self.kappa), self.tolerance)[0]

    def metric(self, z, gradient, law):
        # Gamma_ij = sqrt(kappa^2 + sigma_i^2) + sqrt(kappa^2 + sigma_j^2) is that of two layers with lambda = 2 kappa.
        span = 2.0 * jnp.asarray(self.kappa) * law
        zero, one = jnp.zeros_like(span), jnp.ones_like(span)
        left, right = jnp.stack([span, one]), jnp.stack([one, zero])
        return relaxed_operator(z, gradient, jnp.stack([zero, span]), left, right, np.asarray(min(z.shape)))


def signature(imbalance: np.ndarray, outputs: int, inputs: int) -> Signature:
    """The level set of the mixed metric that is nearest to a symmetric matrix.

    Args:
        imbalance: $S$, (hidden, hidden).
        outputs: $d_2$.
        inputs: $d_0$.
    """
    values = np.linalg.eigvalsh(imbalance)[::-1]
    found = []
    for positive, negative in ((outputs, inputs), (outputs, 0), (0, inputs)):
        if positive + negative > len(values):
            continue
        pattern = np.zeros(len(values))
        lam = float(np.mean(values[:positive])) if positive else 0.0
        mu = -float(np.mean(values[len(values) - negative :])) if negative else 0.0
        pattern[:positive] = lam
        pattern[len(values) - negative :] = -mu
        if lam >= 0 and mu >= 0:
            found.append(Signature(lam, mu, float(np.linalg.norm(values - pattern))))
    return min(found, key=lambda one: one.distance, default=Signature(0.0, 0.0, float("inf")))


def _measured(
    arch: Architecture,
    training: Training | None,
    theta0: Mapping[str, Any],
    kappa: float | None,
    tolerance: float,
) -> tuple[Condition, Signature]:
    inputs, hidden, outputs = widths_of(arch)
    first, second = rescaled_layers(arch, training, theta0, LABEL)
    imbalance = second.T @ second - first @ first.T
    scale = max(float(np.linalg.norm(first)) ** 2, float(np.linalg.norm(second)) ** 2)
    found = signature(imbalance, outputs, inputs)
    requirement = (
        f"S = W_2^T W_2 - W_1 W_1^T has one positive eigenvalue ({outputs} times), one negative eigenvalue "
        f"({inputs} times), or one of the two, and 0 otherwise"
    )
    distance = found.distance
    remedy = _INSTEAD
    if not np.isfinite(distance):
        # No such S exists at this hidden width.
        distance = float(np.linalg.norm(imbalance))
        remedy = (
            f"The hidden width must be at least {min(inputs, outputs)} for it, and is {hidden}. {_INSTEAD}"
        )
    elif found.kappa <= min(tolerance, 1e-10) * scale:
        distance = max(distance, 2 * tolerance * scale)
        remedy = f"S = 0 is `BalancedFlow`. {_INSTEAD}"
    elif kappa is not None:
        distance = max(distance, abs(found.kappa - kappa))
    spectrum = np.linalg.eigvalsh(imbalance)[::-1]
    if hidden > inputs + outputs:
        # All others are 0 up to rounding, whatever the layers.
        spectrum = np.concatenate([spectrum[:outputs], spectrum[hidden - inputs :]])
    values = ", ".join(f"{value:.4g}" for value in spectrum)
    holds = distance <= tolerance * scale
    return Condition(
        requirement=requirement + ("" if kappa is None else f", with kappa = {kappa:.6g}"),
        measured=distance,
        tolerance=tolerance * scale,
        explanation="" if holds else f"eigenvalues of S {values}",
        # An approximation says what it costs also where its own tolerance passes it.
        expected_error=None if distance <= 1e-8 * scale else distance / 2,
        remedy="" if holds else remedy,
    ), found
