"""`CompressedFlow`: gradient flow inside the active subspaces, with the scalars outside; `compress` makes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import NotApplicableError
from ..._precision import require_float64
from ...architecture import Architecture
from ...families import linear_network
from ...losses import SquaredLoss
from ...training import State, Training
from ...training.rules.gradient_flow import chain_imbalances
from ..base import CLOSED_FORM_MORE, AbstractReduction, Condition, FormError, chain_of
from .active_subspaces import ActiveSubspaces, active_subspaces
from .compressed_factors import CompressedFactors, compressed_factors

#: Covariances closer to a multiple of the identity than this count as white.
WHITE = 1e-12


class CompressedFlow(AbstractReduction):
    r"""The flow of squared loss compressed exactly to a small network and a few scalars; made by `compress`.

    With $P_l$ (d_l, k_l) bases of the active subspaces at the start, $C_l = P_l^\top W_l P_{l-1}$ trains like a
    network of widths $k_0, \dots, k_L$ on the projected loss, and outside

    $$\dot\rho_l = -e_l\,\rho_l\Big(\gamma + \sigma \prod_{k \ne l} \rho_k^2\Big), \qquad
      z = P_L\, C_L \cdots C_1\, P_0^\top + \Big(\prod_l \rho_l\Big) E,$$

    $E$ the product of the normalised layers on the complement (one term for each value $\sigma$ of $\Sigma_{xx}$
    there). The state holds the cores under the names of the layers, $\rho_l$ (class, layer) as
    `"rho"`, and as `"untrained"` the factor (layer,) by which weight decay has shrunk the directions that no gradient
    reaches.

    Validity:
        Exact for gradient flow of the squared loss from this start (up to changes inside the subspaces and a factor
        on each complement), with weight decay $\gamma$ and layer rates $e_l$.

    References:
        [yaras2023law] (square orthogonal layers). The term in $\rho$, other widths, starts and covariances:
        here.
    """

    training: Any
    core: CompressedFactors
    subspaces: ActiveSubspaces
    start: dict[str, Any]
    rank: int | None = eqx.field(static=True)
    assume_white: bool = eqx.field(static=True)
    seed: np.ndarray
    violation: np.ndarray

    label = "compressed flow"
    statement = (
        r"\dot C_l = -e_l (C_{L:l+1}^\top (C_{L:1} \Sigma_c - \Phi_c) C_{l-1:1}^\top + \gamma C_l),\quad "
        r"\dot\rho_l = -e_l\,\rho_l (\gamma + \sigma \textstyle\prod_{k \ne l} \rho_k^2),\quad "
        r"z = P_L C_{L:1} P_0^\top + (\textstyle\prod_l \rho_l) E"
    )
    source = "[yaras2023law]; rho term and general closure derived here"
    kind = CLOSED_FORM_MORE
    order = 240.0

    def __init__(
        self,
        arch: Architecture,
        training: Training,
        *,
        core: CompressedFactors,
        subspaces: ActiveSubspaces,
        start: dict[str, Any],
        rank: int | None,
        assume_white: bool,
        seed: np.ndarray,
        violation: np.ndarray,
    ):
        self.architecture, self.training = arch, training
        self.core, self.subspaces, self.start, self.rank = core, subspaces, start, rank
        self.assume_white, self.seed, self.violation = assume_white, seed, violation

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        if loss is None:
            raise NotApplicableError(
                "Argument `loss` must be given for the compressed flow, whose subspaces depend on it, but is None."
            )
        flow = compress(arch, loss, theta0)
        if flow.numbers() >= arch.size:
            raise NotApplicableError(
                f"Argument `theta0` must have small subspaces for the compressed flow, but those of this start have "
                f"dimensions {flow.subspaces.dims} in {arch.name}: nothing is gained.",
                measured=flow.numbers(),
            )
        return flow  # pyright: ignore[reportReturnType]

    @property
    def exactness(self) -> str:
        if self.violation > WHITE:
            return f"first order in the covariance's distance from white, which is {self.violation:.3g}"
        if self.subspaces.discarded > 1e-10 * float(np.linalg.norm(self.core.loss.correlation)):
            return f"up to the discarded part of the target, of norm {self.subspaces.discarded:.3g}"
        return "exact for squared loss, from this start"

    @property
    def core_training(self) -> Training:
        """Loss, weight decay and rates of the small network: run it with `GradientFlow` or `GradientDescent` alone."""
        return Training(
            self.core.loss,
            weight_decay=float(self.training.weight_decay),
            rates={name: float(rate) for name, rate in self.training.rates.items()},
        )

    def bind(self, training: Training) -> Self:
        return compress(  # pyright: ignore[reportReturnType]
            self.architecture,
            training.loss,
            self.start,
            weight_decay=float(training.weight_decay),
            rates={name: float(rate) for name, rate in training.rates.items()},
            rank=self.rank,
            assume_white=self.assume_white,
            seed=int(self.seed),
        )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        if self.violation > WHITE:
            return Condition(
                requirement="the input covariance is a multiple of the identity (`assume_white=True`)",
                measured=float(self.violation),
                tolerance=WHITE,
                explanation=f"delta = |Sxx/mean - I|_2 = {self.violation:.3g}; without `assume_white` the subspaces "
                "have the dimensions that this covariance needs",
                # Seen: relative errors of 0.053, 5.3e-3, 5.3e-4, 5.2e-5 at delta = 1e-1 to 1e-4, after 2000 steps.
                expected_error=0.5
                * float(self.violation)
                * float(np.linalg.norm(self.core.loss.minimiser())),
                remedy="Leave out `assume_white`, or whiten the inputs first, which is another problem to optimise.",
            )
        return Condition(
            requirement="theta0 lies in the subspaces that were derived from the start given to `compress`",
            measured=self.core.gap(theta0),
            tolerance=1e-10,
            explanation="largest relative distance of a layer from its compression",
            remedy="Compress this start: `compress(arch, loss, theta0)`.",
        )

    def initial(self, theta0: Mapping[str, Any]) -> State:
        cores, ratio = self.core.project(theta0)
        rho = {"rho": self.core.scales * ratio[None, :]} if self.subspaces.residual.classes else {}
        return cores | rho | {"untrained": ratio}

    def velocity(self, t, state: State) -> State:
        return self.core.velocity(self.training, state)

    def output(self, state: State):
        return self.core.end_to_end(state)

    def loss(self, state: State):
        """$f(z)$ of a state from the small matrices alone: no matrix of the size of a layer is formed."""
        return self.core.total_loss(state)

    def without_rho(self, state: State):
        r"""$P_L C_{L:1} P_0^\top$ (d_L, d_0): the end-to-end map without the scalars, as in the paper's method."""
        return self.core.bases[-1] @ self.core.core_product(state) @ self.core.bases[0].T

    def error_without_rho(self, state: State):
        r"""The exact Frobenius error of `without_rho`: $\big(\sum_\sigma m \prod_l \rho_l^2\big)^{1/2}$."""
        return jnp.sqrt(jnp.sum(self.core.multiplicities * jnp.prod(self.core.rho(state), axis=1) ** 2))

    def layer(self, state: State, name: str):
        """The full layer $W_l$ of a state, (d_l, d_{l-1}); formed on demand, $O(d^3)$ where classes differ."""
        return self.core.layer(state, name)

    def layers(self, state: State) -> dict[str, jax.Array]:
        """All full layers of a state."""
        return {name: self.core.layer(state, name) for name in self.core.names}

    def conserved(self, state: State) -> dict[str, Any]:
        training, names = self.training, self.core.names
        if training.is_decaying or len(names) < 2:
            return {}
        cores = {name: state[name] for name in names}
        found = chain_imbalances(self.core.architecture, training, cores)
        if not self.subspaces.residual.classes:
            return found
        rates = jnp.stack([jnp.asarray(training.rate(name), dtype=float) for name in names])
        squares = state["rho"] ** 2 / rates[None, :]
        return found | {"differences of rho^2": squares[:, 1:] - squares[:, :-1]}

    def monitors(self, state: State) -> dict[str, Any]:
        if not self.subspaces.residual.classes:
            return {}
        return {"largest product of rho": jnp.max(jnp.prod(state["rho"], axis=1))}


def compress(
    arch: Architecture,
    loss: Any,
    theta0: Mapping[str, Any],
    *,
    weight_decay: float = 0.0,
    rates: Mapping[str, float] | None = None,
    rank: int | None = None,
    assume_white: bool = False,
    seed: int = 0,
) -> CompressedFlow:
    r"""The exact compression of training from `theta0`: find the active subspaces, project, keep the scalars outside.

    $O(L d^2 k)$ and $L - 1$ products of layers. The result is a reduction (`solve`, `compare`);
    `descent` in this package makes the discrete twin.

    Args:
        arch: a chain of matrices.
        loss: a `SquaredLoss`; its second moments give $\Phi$ and $\Sigma_{xx}$.
        theta0: the start, by factor name: orthogonal layers compress, Gaussian ones do not.
        weight_decay: $\gamma \ge 0$.
        rates: layer rates $e_l$ by name.
        rank: the rank to give the target, if noise leaves no gap in its spectrum.
        assume_white: derive the subspaces as if $\Sigma_{xx}$ were its mean variance times the identity. Refused by
            `solve` unless it is so; with `check=False` the error is of first order in the distance.
        seed: of the random probes.

    Raises:
        ValueError: no chain, another loss than `SquaredLoss`, a layer that is 0, a target whose
            spectrum has no gap.
        PrecisionError: JAX is in float32 mode.

    Example:
        >>> import dlntheory as dln, jax, numpy as np
        >>> arch = dln.linear_network((20, 20, 20, 20))
        >>> loss = dln.SquaredLoss.from_target(np.outer(np.arange(20.0), np.ones(20)) / 20)
        >>> theta0 = dln.orthogonal(arch, jax.random.key(0), scale=0.3)
        >>> flow = compress(arch, loss, theta0)
        >>> flow.subspaces.dims
        (2, 2, 2, 2)
        >>> both = dln.compare(dln.GradientFlow(arch, loss), flow, theta0, 2.0, ts=3, timing=False)
        >>> bool(both.max_error < 1e-9)
        True
    """
    require_float64("compress")
    names = chain_of(arch, "compression")
    if not isinstance(loss, SquaredLoss):
        raise FormError(
            f"Argument `loss` must be a SquaredLoss for compression, but is {type(loss).__name__}: the gradient of "
            "another loss has no fixed row and column space."
        )
    settings = Training(loss, weight_decay=weight_decay, rates=rates)
    settings.check(arch)
    start = {name: np.asarray(value) for name, value in arch.check(theta0).items()}
    covariance, variance, delta = _input_covariance(loss)
    if assume_white:
        covariance = None
    subspaces = active_subspaces(
        [start[name] for name in names],
        np.asarray(loss.correlation),
        covariance,
        variance=variance,
        rank=rank,
        seed=seed,
    )
    dims = subspaces.dims
    small = linear_network(dims, name=f"core {'-'.join(map(str, dims))} of {arch.name}")
    flow = CompressedFlow(
        arch,
        settings,
        core=compressed_factors(names, small, loss, start, subspaces, covariance),
        subspaces=subspaces,
        start={name: jnp.asarray(value) for name, value in start.items()},
        rank=rank,
        assume_white=assume_white,
        seed=np.asarray(seed),
        violation=np.asarray(delta if assume_white else 0.0),
    )
    return flow


def _input_covariance(loss: SquaredLoss) -> tuple[np.ndarray | None, float, float]:
    r"""$\Sigma_{xx}$ or `None` if it is white, its mean variance, and $\|\Sigma_{xx}/\text{mean} - I\|_2$."""
    if loss.factor is None:
        return None, float(loss.scale), 0.0
    covariance = np.asarray(loss.input_covariance)
    variance = float(np.trace(covariance)) / len(covariance)
    delta = float(np.linalg.norm(covariance / variance - np.eye(len(covariance)), 2))
    return (None, variance, delta) if delta <= WHITE else (covariance, variance, delta)
