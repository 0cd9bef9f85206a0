r"""`ImplicitFlow`: the reduced equation without a closed form, by solving $\varphi(\theta) = z$, $h(\theta) = h_0$."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any, Self

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ..._errors import NotApplicableError
from ..._precision import require_float64
from ...architecture import Architecture
from ...exact.reading import require_derivative
from ...laws import ConservationLaws, conservation_laws
from ...laws.conservation import laws_to_build_on
from ...training import State, Training
from ...training.backends.rebased import AbstractRebased, Rebasing
from ...training.base import Limit
from ..base import IMPLICIT, AbstractReduction, Condition, FormError
from .fibre_points import companions_of
from .gauss_newton import FAILS, CompiledMetric, both_values, float_kernel, law_values

ACCURATE = 1e-12
REFUSED = 1e-8
_STEPS = 8
_CUTOFF = 1e-9
_KERNEL = 1e-8
_COMPANIONS = 3
_SMALLEST = "smallest singular value kept"
# Where branches meet, an error e of z is one of sqrt(e) in theta: this is above it at the default tolerance.
_NEAR_BRANCH, _BRANCH = 1e-2, 1e-3
_BRANCH_LOST = (
    "branch lost: two solutions theta of phi(theta) = z, h(theta) = h0 meet there, and z alone does not tell on which "
    "of them training goes on; use the full flow"
)
#: Above this many parameters `reduce` does not try the implicit flow.
MAX_IMPLICIT = 120


class ImplicitFlow(AbstractReduction, AbstractRebased):
    r"""The reduced flow of any architecture whose metric is intrinsic, by solving for θ in every evaluation.

    $$\dot z = -\partial\varphi\,\partial\varphi^\top \nabla f(z) \quad\text{at any θ with}\quad
    \varphi(\theta) = z,\; h(\theta) = h_0$$

    The state is $z$ alone. θ is found by at most 8 Gauss-Newton steps of minimum norm from an anchor, which `solve`
    moves along. A diagnostic that shows whether $z$ obeys an equation of its own, not an accelerator: it costs more
    than the full flow. Where it disagrees with the full flow, or its number of steps explodes, $M$ is not a function
    of $z$ on the level set. Where the solutions θ come in several branches, the flow follows the one of its anchor and
    ends where two of them meet, with the reason "branch lost".

    Args:
        arch: the architecture.
        theta0: parameters that fix the level set $h_0$; the first anchor.
        loss: a function of $z$, or `None` to `bind` later.
        laws: by default `conservation_laws(arch)`; pass the result of one call to save the search.
        tolerance: largest distance from the level set, in the laws relative to $|\theta|^2$, that passes for none.

    Validity:
        Exact where the kernel criterion holds (see `intrinsic`); its condition measures the criterion at the start.
        Gradient flow with unit rates and without weight decay.

    Raises:
        ValueError: a malformed `theta0`.
        UnsupportedPrimitiveError: laws are to be found, but φ is neither polynomial nor rational.
        PrecisionError: JAX is in float32 mode.

    References:
        The property: [marcotte2026intrinsic]. The construction is derived here.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((2, 2, 3))
        >>> theta0 = dln.lambda_balanced(arch, jax.random.key(0), 0.7)
        >>> ImplicitFlow(arch, theta0).condition(theta0).holds
        True
    """

    anchor: jax.Array
    levels: jax.Array
    tolerance: float = eqx.field(static=True)
    metric: CompiledMetric = eqx.field(static=True)

    label = "implicit reduced flow"
    statement = (
        r"\dot z = -\partial\varphi(\theta)\, \partial\varphi(\theta)^\top \nabla f(z), \quad "
        r"\varphi(\theta) = z,\; h(\theta) = h_0"
    )
    source = "derived here; the property: [marcotte2026intrinsic]"
    exactness = "exact where M is a function of z on the level set; a diagnostic, not an accelerator"
    kind = IMPLICIT
    order = 400.0

    def __init__(
        self,
        arch: Architecture,
        theta0: Mapping[str, Any],
        loss: Any = None,
        *,
        laws: ConservationLaws | None = None,
        tolerance: float = 1e-10,
    ):
        require_float64("ImplicitFlow")
        checked = arch.check(theta0)
        require_derivative(arch, forward=True)
        known = laws_to_build_on(arch) if laws is None else laws
        self.metric = CompiledMetric(arch, known.laws)
        self.anchor = arch.ravel(checked)
        self.levels = law_values(self.metric.laws, checked)
        self.tolerance = float(tolerance)
        # Not by `super`: the other base comes first, and takes a loss for settings.
        AbstractReduction.__init__(self, arch, loss)

    @classmethod
    def from_start(cls, arch: Architecture, theta0: Mapping[str, Any], loss: Any = None) -> Self:
        if arch.size > MAX_IMPLICIT:
            raise FormError(
                f"Argument `arch` must have at most {MAX_IMPLICIT} parameters for the {cls.label} to be tried, but "
                f"{arch.name} has {arch.size}."
            )
        flow = cls(arch, theta0, loss, laws=conservation_laws(arch, progress=False))
        others = companions_of(flow.metric, np.asarray(flow.anchor), _COMPANIONS, np.random.default_rng(0))
        spread = max((other.spread for other in others), default=0.0)
        if spread > FAILS:
            raise NotApplicableError(
                f"Argument `theta0` must be determined by z and the laws for the {cls.label}, but K is a branch: "
                f"another theta has the same z and laws and another M (by {spread:.1e}). Training crosses to it where "
                "two branches meet; `ImplicitFlow(arch, theta0)` follows one and stops there.",
                requirement="one branch of M on the level set",
                measured=spread,
                remedy="Use the full flow, or `ImplicitFlow` directly, which stops where its branch ends.",
            )
        return flow

    def check_training(self, training: Training) -> None:
        super().check_training(training)
        training.require_constant(f"the {self.label}")
        if training.is_decaying or training.rates:
            raise NotApplicableError(
                "Arguments `weight_decay` and `rates` must be 0 and equal to 1 for the implicit reduced flow (the laws "
                f"are those of plain gradient flow), but the flow has {training.conventions}.",
                requirement="no weight decay, unit rates",
            )

    def condition(self, theta0: Mapping[str, Any]) -> Condition:
        vector = np.asarray(self.architecture.ravel(dict(theta0)))
        scale = float(vector @ vector) or 1.0
        levels = np.asarray(law_values(self.metric.laws, dict(theta0)))
        distance = float(np.linalg.norm(levels - np.asarray(self.levels))) / scale
        if not distance <= self.tolerance:
            return Condition(
                requirement="the laws have the values of the level set, relative to |theta|^2",
                measured=distance,
                tolerance=self.tolerance,
                remedy="Build `ImplicitFlow` with a theta0 of the same level set.",
            )
        z = np.asarray(self.architecture(dict(theta0)))
        solution = _solve(self, jnp.asarray(z))
        if not float(solution.residual) <= REFUSED:
            return Condition(
                requirement="Gauss-Newton reaches z of the start from the anchor",
                measured=float(solution.residual),
                tolerance=REFUSED,
                explanation=f"smallest singular value kept {float(solution.smallest):.1e}",
                remedy="Build `ImplicitFlow` with this theta0.",
            )
        kernel = float_kernel(self.metric, vector, np.random.default_rng(0))
        return Condition(
            requirement="M is a function of z on the level set: |dM v|/|M| vanishes on ker dphi and ker dh",
            measured=kernel.ratio if np.isfinite(kernel.ratio) else np.inf,
            tolerance=_KERNEL,
            explanation=f"{kernel.fibre} directions change neither z nor the laws",
            remedy="`intrinsic(arch, theta0)` tells on which level sets it does; `find_closure` adds observables.",
        )

    def velocity(self, t, state: State) -> State:
        training = self.training
        assert training is not None  # `solve` refuses an unbound reduction
        z = state["z"]
        vector = recovered(self.metric, z, self.levels, self.anchor)
        return {"z": -_metric_times(self.architecture, vector, jax.grad(training.loss)(z))}

    def monitors(self, state: State) -> dict[str, Any]:
        solution = _iterated(self.metric, state["z"], self.levels, self.anchor)
        return {"residual": solution.residual, _SMALLEST: solution.smallest}

    def limits(self) -> tuple[Limit, ...]:
        # Two solutions theta of one z meet where the Jacobian loses rank. There training goes on to the other one,
        # while an equation in z alone has several continuations: the run ends before.
        return (Limit(_SMALLEST, warn_below=_NEAR_BRANCH, stop_below=_BRANCH, advice=_BRANCH_LOST),)

    def rebased(self, state: State) -> Rebasing:
        solution = _solve(self, jnp.asarray(state["z"]))
        residual, remaining = float(solution.residual), float(solution.remaining)
        failure = None
        if not residual <= REFUSED:
            failure = (
                f"Gauss-Newton left the residual {residual:.1e} of phi(theta) = z, h(theta) = h0 (at most "
                f"{REFUSED:g}); the smallest singular value kept is {float(solution.smallest):.1e}."
            )
        elif _turns_over(self.metric, np.asarray(self.anchor), np.asarray(solution.vector)):
            # A step of the solver, or of Gauss-Newton, has jumped over the place where two solutions meet.
            failure = f"The determinant of (dphi, dh) has changed its sign: {_BRANCH_LOST}."
        moved = eqx.tree_at(lambda flow: flow.anchor, self, solution.vector)
        # Off the image of phi, where the errors of an integration lead, the residual stays; the steps vanish.
        is_accurate = min(residual, remaining) <= ACCURATE and failure is None
        return Rebasing(moved, {"z": solution.z}, is_accurate, failure)


class Solution(eqx.Module):
    r"""θ with $\varphi(\theta) = z$, $h(\theta) = h_0$ as far as Gauss-Newton got.

    Attributes:
        vector: θ, flat.
        z: $\varphi$ there.
        residual: norm of $(z - \varphi, h_0 - h)$ relative to $1 + |(z, h_0)|$.
        remaining: norm of the last step relative to $1 + |\theta|$: small where the iteration has converged, even if
            $z$ is off the image of φ by the errors of an integration.
        smallest: the smallest singular value of $(\partial\varphi, \partial h)$ above the cut, relative to the largest.
    """

    vector: Any
    z: Any
    residual: Any
    remaining: Any
    smallest: Any


def _turns_over(metric: CompiledMetric, start: np.ndarray, end: np.ndarray) -> bool:
    r"""Whether $(\partial\varphi, \partial h)$ at `end` is turned over against `start`, in singular bases there."""
    before, after = (np.concatenate(metric.values(vector)[2:]) for vector in (start, end))
    left, singular, right = np.linalg.svd(before, full_matrices=False)
    kept = singular > _CUTOFF * singular[0]
    return np.linalg.slogdet(left[:, kept].T @ after @ right[kept].T)[0] <= 0


@eqx.filter_jit
def _solve(flow: ImplicitFlow, z: jax.Array) -> Solution:
    return _iterated(flow.metric, z, flow.levels, flow.anchor)


def _metric_times(arch: Architecture, vector: jax.Array, gradient: jax.Array) -> jax.Array:
    """$M(\\theta)$ applied to a cotangent, by one product with the Jacobian and one with its transpose."""

    def phi(x):
        return arch(arch.unravel(x))

    (direction,) = jax.vjp(phi, vector)[1](gradient)
    return jax.jvp(phi, (vector,), (direction,))[1]


def _maps(metric: CompiledMetric, vector):
    return jnp.concatenate(both_values(metric.arch, metric.laws, vector))


def _least_norm(metric: CompiledMetric, vector, direction):
    r"""$(\partial\varphi, \partial h)^+$ applied to a direction, and the smallest relative singular value kept."""
    u, s, vt = jnp.linalg.svd(jax.jacfwd(partial(_maps, metric))(vector), full_matrices=False)
    kept = s > _CUTOFF * s[0]
    step = vt.T @ jnp.where(kept, (u.T @ direction) / jnp.where(kept, s, 1.0), 0.0)
    return step, jnp.min(jnp.where(kept, s, s[0])) / jnp.where(s[0] > 0, s[0], 1.0)


# The inner jit makes JAX trace the iteration once, however often a solver evaluates its field.
@partial(jax.jit, static_argnums=0)
def _iterated(metric: CompiledMetric, z, levels, anchor) -> Solution:
    """Gauss-Newton from the anchor, until a step is below rounding or eight are done."""
    target = jnp.concatenate([jnp.ravel(z), levels])

    def unfinished(carry):
        count, vector, size, _ = carry
        return (count < _STEPS) & (size > 1e-15 * (1.0 + jnp.linalg.norm(vector)))

    def advance(carry):
        count, vector, _, _ = carry
        step, smallest = _least_norm(metric, vector, target - _maps(metric, vector))
        return count + 1, vector + step, jnp.linalg.norm(step), smallest

    start = (jnp.asarray(0), anchor, jnp.asarray(jnp.inf), jnp.asarray(jnp.inf))
    _, vector, size, smallest = jax.lax.while_loop(unfinished, advance, start)
    missing = target - _maps(metric, vector)
    return Solution(
        vector=vector,
        z=z - jnp.reshape(missing[: z.size], z.shape),
        residual=jnp.linalg.norm(missing) / (1.0 + jnp.linalg.norm(target)),
        remaining=size / (1.0 + jnp.linalg.norm(vector)),
        smallest=smallest,
    )


@partial(jax.custom_jvp, nondiff_argnums=(0,))
def recovered(metric: CompiledMetric, z: jax.Array, levels: jax.Array, anchor: jax.Array) -> jax.Array:
    r"""A solution θ of $\varphi(\theta) = z$, $h(\theta) = h_0$ near an anchor, flat.

    Its derivative is that of the implicit function theorem of minimum norm, $(\partial\varphi, \partial h)^+$; the
    anchor has none, since it only chooses a point of the fibre, on which what is computed from θ does not depend.

    Args:
        metric: φ and the laws.
        z: the value of φ.
        levels: the values of the laws.
        anchor: (D,).
    """
    return _iterated(metric, z, levels, anchor).vector


@recovered.defjvp
def _recovered_jvp(metric, primals, tangents):
    z, levels, anchor = primals
    dz, dlevels, _ = tangents
    vector = recovered(metric, z, levels, anchor)
    return vector, _least_norm(metric, vector, jnp.concatenate([jnp.ravel(dz), dlevels]))[0]
