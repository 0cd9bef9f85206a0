"""`RelaxedBalancedFlow`: the end-to-end equation of a deep linear network with $D_l = \\lambda_l I$."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Self

import equinox as eqx
import jax.numpy as jnp
import numpy as np

from ..._checks import real_number
from ..._errors import ConditionError
from ...architecture import Architecture
from ...initial.balance import checked_lam
from ...training import Limit, State, Training
from ..base import AbstractReduction, Condition, chain_of, widths_of
from .balanced import checked_rank
from .base import AbstractChainFlow, rescaled_layers
from .null_values import merged_offsets, null_spread, null_values, product_rank
from .relaxed_operator import relaxed_operator

LABEL = "relaxed balanced flow"
#: Largest relative deviation of a null block from a multiple of the identity; rounding gives 1e-15.
SPREAD = 1e-8
DROP = "sigma_r / max(sigma_1, sigma where offsets matter)"
_INSTEAD = "Use `GramFlow` (two layers, any start), a closure with more observables, or the full flow."


class RelaxedBalancedFlow(AbstractChainFlow):
    r"""The end-to-end flow of a chain of any depth and widths whose imbalances are $D_l = \lambda_l I$.

    $$\dot z = -\sum_{l=1}^{L} P_l(z)\, \nabla f(z)\, Q_l(z), \qquad
      P_l = \prod_{k>l} (T + c_k I), \quad Q_l = \prod_{k<l} (T' + c_k I)$$

    with $c_l = \sum_{k<l}\lambda_k$ shifted to minimum 0, and $T = T(zz^\top)$, $T' = T(z^\top z)$ from the root
    $t \ge 0$ of $\prod_k (t + c_k) = \sigma^2$ on each singular direction. On the null spaces of $z^\top$ and $z$ the
    widths and λ determine $P_l$ and $Q_l$. The state is $z$ alone, (out, inp), at a cost that does not depend on the
    hidden widths. Layer rates $e_l$ enter by $V_l = W_l/\sqrt{e_l}$, in which the condition is meant as well. Weight
    decay $\gamma$ (equal rates $e$ only) adds $-Le\gamma z$ and shrinks all λ by $e^{-2I}$, $I' = e\gamma$, which the
    state then holds.

    Args:
        arch: an architecture that declares a chain of matrices.
        loss: a function of $z$, or `None` to `bind` later.
        lambdas: $\lambda_1, …, \lambda_{L-1}$ at the start, of $D_l = W_{l+1}^\top W_{l+1}/e_{l+1} - W_l W_l^\top/e_l$;
            a number for two layers. `RelaxedBalancedFlow.from_start` measures them at a start.
        weight_decay: $\gamma \ge 0$.
        rates: learning rate $e_l$ by factor name; 1 where not named.
        rank: rank of $z$, by default the smallest width. A smaller one only if the smallest offset is repeated
            (for example balanced), since the rank can change otherwise; singular values beyond it are held at 0.
        tolerance: largest $\max_l \|D_l - \lambda_l I\|_F / \max_l \|W_l\|_F^2$ that passes.

    Validity:
        Exact for every loss while the flow exists, if $D_l = \lambda_l I$ at the start and each $P_l$ and $Q_l$ is a
        multiple of the identity on the null spaces (both are measured). If the null values differ from those at
        $\sigma = 0$ the equation holds at full rank only: the run ends where $\sigma_r$ falls to $10^{-8}$ of its
        scale, and carries a warning below $10^{-3}$, where errors are larger by its inverse. So that no solver steps
        over such a zero unseen, the state carries the integral of scale/$\sigma_r$, which diverges there. If the
        smallest offset is not repeated, $K$ is analytic at singular $z$ and trajectories may change the sign of
        $\det z$.

    Raises:
        InfeasibleError: no chain of these widths has these λ.
        FormError: φ is no chain.
        ValueError: a wrong number of λ; a rank that is not possible; weight decay with unequal rates.

    References:
        [marcotte2026intrinsic] (relaxed balanced linear networks); null values, existence and derivative rule
        derived here.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 3, 3, 3))
        >>> theta0 = dln.lambda_balanced(arch, jax.random.key(0), [0.5, -0.2])
        >>> RelaxedBalancedFlow.from_start(arch, theta0).condition(theta0).holds
        True
    """

    lambdas: np.ndarray
    offsets: np.ndarray
    left: np.ndarray
    right: np.ndarray
    rank: np.ndarray
    tolerance: float
    is_stratum: bool = eqx.field(static=True)

    label = LABEL
    source = "[marcotte2026intrinsic], relaxed balanced; null values derived here"
    order = 20.0

    def __init__(
        self,
        arch: Architecture,
        loss: Any = None,
        *,
        lambdas: float | Sequence[float] | np.ndarray,
        weight_decay: float = 0.0,
        rates: Mapping[str, float] | None = None,
        rank: int | None = None,
        tolerance: float = 1e-10,
    ):
        chain = chain_of(arch, f"the {LABEL}")
        self.lambdas = checked_lam(lambdas, len(chain), "lambdas")
        found = null_values(widths_of(arch), self.lambdas)
        self.offsets, self.left, self.right = found.offsets, found.left, found.right
        self.is_stratum = found.is_stratum
        self.rank = np.asarray(_checked_rank(arch, rank, found.multiplicity))
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
    ) -> Self:
        r"""The flow with $\lambda_l = \mathrm{tr}\,D_l/d_l$ and the rank of a start. Not jit-compatible.

        Offsets that differ by less than `tolerance` times the scale are taken to be equal. `rates` need a `loss`.

        Raises:
            ConditionError: the imbalances of `theta0` are no multiples of the identity, or nothing would move.
            FormError: φ is no chain.
            ValueError: a malformed `theta0`.
        """
        chain = chain_of(arch, f"the {LABEL}")
        checked = arch.check(theta0)
        training = None if loss is None else Training(loss, rates=rates)
        layers = rescaled_layers(arch, training, checked, LABEL)
        means = np.array([np.trace(defect) / len(defect) for defect in _imbalances(layers)])
        off = _off_balance(layers, means, tolerance)
        if not off.holds:
            raise off.error(LABEL)
        lam = np.diff(merged_offsets(means, tolerance * _scale(layers)))
        found = null_values(widths_of(arch), lam)
        rank = None
        if found.multiplicity > 1 and len(chain) > 1:
            rank = product_rank(layers)
            if rank == 0:
                raise ConditionError(
                    f"Argument `theta0` must have z of rank at least 1 for the {LABEL} if the smallest offset is "
                    "repeated, but z = 0: nothing moves.",
                    measured=0.0,
                )
        return cls(
            arch, loss, lambdas=lam, weight_decay=weight_decay, rates=rates, rank=rank, tolerance=tolerance
        )

    @property
    def statement(self) -> str:
        shown = ",\\, ".join(f"{value:.6g}" for value in self.offsets)
        return (
            r"\dot z = -\sum_{l=1}^{L} P_l\, \nabla f(z)\, Q_l,\quad P_l = \prod_{k>l} (T(zz^\top) + c_k I),\quad "
            r"Q_l = \prod_{k<l} (T(z^\top z) + c_k I),\quad \prod_{k} (T(x) + c_k) = x,\quad c = "
            rf"({shown})"
        )

    @property
    def exactness(self) -> str:
        if self.is_stratum:
            return f"exact for every loss, at D_l = lambda_l I, while z has rank {int(self.rank)}"
        return "exact for every loss, at D_l = lambda_l I"

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        layers = rescaled_layers(self.architecture, self.training, theta0, LABEL)
        off = _off_balance(layers, self.lambdas, self.tolerance)
        if not off.holds:
            return off
        rank, kept = product_rank(layers), int(self.rank)
        spread = null_spread(layers, rank)
        if spread > SPREAD:
            return Condition(
                requirement="each P_l and Q_l is a multiple of the identity on the null spaces of z^T and z",
                measured=spread,
                tolerance=SPREAD,
                explanation=f"z has rank {rank}, widths {'-'.join(map(str, widths_of(self.architecture)))}; the metric "
                "has several values over this z",
                remedy=_INSTEAD,
            )
        if np.sum(self.offsets == 0) > 1 and rank != kept:
            return Condition(
                requirement=f"z has rank {kept}",
                measured=float(abs(rank - kept)),
                tolerance=0.0,
                explanation=f"z of `theta0` has rank {rank}",
                remedy="Use `RelaxedBalancedFlow.from_start(arch, theta0)`."
                if rank
                else "At rank 0 nothing moves.",
            )
        return off

    def initial(self, theta0: Mapping[str, Any]) -> State:
        state = super().initial(theta0)
        return state | {"exposure": jnp.zeros((), state["z"].dtype)} if self.is_stratum else state

    def metric(self, z, gradient, law):
        # P_l is a product of L - l squares, each of which is a sum of laws on the null space; Q_l one of l - 1.
        powers = jnp.asarray(law, z.dtype) ** jnp.arange(len(self.offsets), dtype=z.dtype)
        left, right = self.left * powers[::-1], self.right * powers
        return relaxed_operator(z, gradient, self.offsets * law, left, right, self.rank)

    def moved(self, t, state: State, gradient) -> State:
        moved = super().moved(t, state, gradient)
        if self.is_stratum:
            # z(t) passes a rank drop without a trace that a step could see; this integral diverges there.
            singular = self._kept(jnp.linalg.svd(state["z"], compute_uv=False), jnp.inf)
            rate = self._scale(state) * jnp.sqrt(jnp.sum(1.0 / singular**2))
            moved["exposure"] = jnp.where(rate < 1e9, rate, jnp.inf)
        return moved

    def monitors(self, state: State) -> dict[str, Any]:
        singular = jnp.linalg.svd(state["z"], compute_uv=False)
        smallest = jnp.min(self._kept(singular, jnp.inf))
        found = {
            "smallest kept singular value": smallest,
            "largest singular value beyond the rank": jnp.max(singular - self._kept(singular, 0.0)),
        }
        if self.is_stratum:
            # At rank 1 the ratio to the largest singular value would always be 1.
            found[DROP] = smallest / jnp.maximum(singular[0], self._scale(state))
        return found

    def _kept(self, singular, other: float):
        return jnp.where(jnp.arange(singular.shape[0]) < self.rank, singular, other)

    def _scale(self, state: State):
        """The singular value at which the largest offset matters."""
        offsets = self.offsets * self._law(state)
        return self._stretch() * jnp.sqrt(jnp.prod(jnp.max(offsets) + offsets))

    def limits(self) -> tuple[Limit, ...]:
        if not self.is_stratum:
            return ()
        advice = (
            f"the equation has no continuous extension to lower rank, errors grow as its inverse. {_INSTEAD}"
        )
        return (Limit(DROP, warn_below=1e-3, stop_below=1e-8, advice=advice),)


def _checked_rank(arch: Architecture, rank: int | None, multiplicity: int) -> int:
    smallest, rank = min(widths_of(arch)), checked_rank(arch, rank)
    if rank < smallest and multiplicity == 1:
        raise ValueError(
            f"Argument `rank` must be the smallest width {smallest} unless the smallest offset is repeated (the rank "
            f"of z may change along the flow), but is {rank}."
        )
    return rank


def _imbalances(layers: Sequence[np.ndarray]) -> list[np.ndarray]:
    return [b.T @ b - a @ a.T for a, b in itertools.pairwise(layers)]


def _scale(layers: Sequence[np.ndarray]) -> float:
    return max(float(np.linalg.norm(w)) ** 2 for w in layers)


def _off_balance(layers: Sequence[np.ndarray], lambdas: np.ndarray, tolerance: float) -> Condition:
    """The condition $D_l = \\lambda_l I$, measured."""
    defects = _imbalances(layers)
    distances = [
        float(np.linalg.norm(defect - lam * np.eye(len(defect))))
        for defect, lam in zip(defects, lambdas, strict=True)
    ]
    measured, allowed = max(distances, default=0.0), tolerance * _scale(layers)
    requirement = "all imbalances W_{l+1}^T W_{l+1} - W_l W_l^T are multiples lambda_l of the identity"
    if measured <= allowed:
        return Condition(requirement=requirement, measured=measured, tolerance=allowed)
    found = ", ".join(
        f"|D_{l} - {lam:.4g} I| = {distance:.2g}"
        for l, (lam, distance) in enumerate(zip(lambdas, distances, strict=True), start=1)
    )
    return Condition(
        requirement=requirement,
        measured=measured,
        tolerance=allowed,
        explanation=found,
        expected_error=measured / 2,
        remedy="Use `GramFlow` (two layers, any start), `project_to_relaxed_balanced(arch, theta0, lambdas)`, or a "
        "start from `lambda_balanced(arch, key, lam)`.",
    )
