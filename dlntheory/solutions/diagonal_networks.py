r"""Diagonal networks in closed form: $u^2 - v^2$ and $u \odot v$ on the way, and where a fit of few samples ends."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import SQUARABLE, broadcast_numbers, real_array, real_number
from .._errors import ConditionError, NotApplicableError, UnsupportedPrimitiveError
from .._precision import require_float64
from ..architecture import Architecture
from ..display.text import card, key_values
from ..exact.linear_algebra import DEFAULT_PRIME
from ..exact.reading import read_program
from ..exact.rings.multidual import NilpotentModular
from ..reductions.base import Condition, FormError
from ..reductions.entrywise import DiagonalFlow, SquaresFlow
from ..training import Training
from .base import AbstractSolution
from .dual_newton import dual_newton
from .time_checks import checked_times
from .two_layer_modes import balanced_mode, unbalanced_mode

#: How far the Hessian of a loss may be from a multiple of the identity, relative to it.
TOLERANCE = 1e-10


def squares_from_dual(theta: Any, alpha: Any) -> jax.Array:
    r"""$\beta = u^2 - v^2 = 2\alpha^2 \sinh(4\theta)$ with $u_0 = v_0 = \alpha$, $\theta = -\int \nabla f\,dt$.

    Args:
        theta: the accumulated descent of every entry.
        alpha: the start, positive; broadcasts.

    Returns:
        $\beta$; NaN where `alpha` is not positive, which a traced function cannot refuse.

    Validity:
        Exact for every loss.

    References:
        [woodworth2020kernel].

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> print(f"{squares_from_dual(0.25, 0.5):.6f}")
        0.587601
    """
    theta, alpha = _broadcast("squares_from_dual", theta=theta, alpha=alpha)
    return jnp.where(alpha > 0, 2.0 * alpha**2 * jnp.sinh(4.0 * theta), jnp.nan)


def powers_from_dual(theta: Any, alpha: Any, depth: int) -> jax.Array:
    r"""$\beta = u^D - v^D$ from $u_0 = v_0 = \alpha$ for $D > 2$.

    $\beta = \alpha^D [(1-z)^{-D/(D-2)} - (1+z)^{-D/(D-2)}]$, $z = \alpha^{D-2} D (D-2)\,\theta$.

    Args:
        theta: $-\int\nabla f\,dt$ of every entry.
        alpha: the start, positive; broadcasts.
        depth: $D > 2$.

    Returns:
        $\beta$; NaN from $|z| = 1$ on, which no flow reaches, and where `alpha` is not positive.

    Raises:
        ValueError: a depth of at most 2.

    References:
        [woodworth2020kernel].
    """
    if not real_number(depth, "depth", maximum=1e6) > 2:
        raise ValueError(
            f"Argument `depth` must be above 2 (for 2 see `squares_from_dual`), but is {depth!r}."
        )
    theta, alpha = _broadcast("powers_from_dual", theta=theta, alpha=alpha)
    z = alpha ** (depth - 2) * (depth * (depth - 2)) * theta
    is_legal = (alpha > 0) & (jnp.abs(z) < 1.0)
    z = jnp.where(is_legal, z, 0.0)
    power = depth / (depth - 2)
    # (1-z)^-p - (1+z)^-p = 2 (1-z^2)^(-p/2) sinh(p artanh z): nothing cancels at small z.
    value = 2.0 * alpha**depth * (1.0 - z**2) ** (-power / 2) * jnp.sinh(power * jnp.arctanh(z))
    return jnp.where(is_legal, value, jnp.nan)


def hyperbolic_potential(beta: Any, alpha: Any) -> jax.Array:
    r"""$Q_\alpha(\beta) = \sum_i \alpha^2 q(\beta_i/\alpha^2)$, whose minimum on $X\beta = y$ training selects.

    $q(z) = z\operatorname{asinh}(z/2) - z^2/(2 + \sqrt{4+z^2})$.

    The last term is $\sqrt{4 + z^2} - 2$ in a form that does not cancel. $\nabla Q_\alpha = 4\theta$ of
    `squares_from_dual`.

    Args:
        beta: (..., n).
        alpha: the start, positive.

    Returns:
        (...), summed over the last axis; NaN where `alpha` is 0.

    References:
        [woodworth2020kernel].
    """
    if not np.ndim(beta):
        raise ValueError(f"Argument `beta` must have shape (..., n), but is the number {beta}.")
    beta, alpha = _broadcast("hyperbolic_potential", beta=beta, alpha=alpha)
    z = beta / alpha**2
    value = z * jnp.arcsinh(z / 2.0) - z * (z / (2.0 + _hypotenuse(z)))
    return jnp.sum(alpha**2 * value, axis=-1)


@dataclasses.dataclass(frozen=True, eq=False)
class InterpolationLimit:
    r"""Where the flow of $u^2 - v^2$ from $u_0 = v_0 = \alpha$ ends if it fits $X\beta = y$ exactly.

    Attributes:
        beta: $\arg\min Q_\alpha$ on $X\beta = y$.
        dual: $\nu$ with $\beta = 2\alpha^2\sinh(X^\top\nu)$.
        alpha: the start.
        residual: $\max|X\beta - y| / \max|y|$.
        steps: Newton steps of the whole continuation.
    """

    beta: np.ndarray
    dual: np.ndarray
    alpha: float
    residual: float
    steps: int

    def __repr__(self) -> str:
        return f"InterpolationLimit(alpha {self.alpha:g}, {self.beta.size} weights, residual {self.residual:.1e})"

    def __str__(self) -> str:
        return key_values(self._facts())

    def _repr_html_(self) -> str:
        return card("Limit of a diagonal network", facts=self._facts())

    def _facts(self) -> dict[str, Any]:
        return {
            "start": f"u = v = {self.alpha:g}",
            "l1 norm": float(np.sum(np.abs(self.beta))),
            "l2 norm": float(np.linalg.norm(self.beta)),
            "residual": self.residual,
            "Newton steps": self.steps,
        }


def interpolation_limit(inputs: Any, targets: Any, alpha: float) -> InterpolationLimit:
    r"""The interpolating solution that gradient flow of $u^2 - v^2$ selects, from its convex dual.

    Solves $X\,2\alpha^2\sinh(X^\top\nu) = y$ by Newton steps with $\max|X^\top\delta\nu| \le 1$, continued from
    $\alpha \sim 1$ by factors of 3: works down to $\alpha = 10^{-80}$, where a cold start overflows.

    Args:
        inputs: $X$ (samples, n), of full row rank.
        targets: $y$ (samples,).
        alpha: the start $u_0 = v_0 = \alpha$, positive.

    Returns:
        An `InterpolationLimit`.

    Raises:
        ValueError: shapes that do not fit, not finite, no full row rank, or `alpha` not positive (or above 1e75).
        InfeasibleError: Newton steps did not converge.

    Validity:
        For any loss of $X\beta$ whose flow converges to $X\beta = y$. Towards $\alpha \to \infty$ this is the least
        Euclidean norm (deviation $\alpha^{-4}$), towards 0 the least l1 norm. Where its solution is unique the excess
        falls like $\alpha^{2(1-\kappa)}$, $\kappa < 1$ the largest $|X^\top\nu|$ off its support and $\nu$ the solution
        of the dual linear programme: slowly where $\kappa$ is close to 1.

    References:
        [woodworth2020kernel].

    Example:
        >>> limit = interpolation_limit([[1.0, 2.0]], [3.0], 1e-40)
        >>> print(limit.beta.round(3) + 0.0)
        [0.  1.5]
    """
    x, y = (
        real_array(value, name, largest=SQUARABLE)
        for name, value in (("inputs", inputs), ("targets", targets))
    )
    if x.ndim != 2 or y.shape != x.shape[:1]:
        raise ValueError(
            f"Arguments `inputs` and `targets` must have shapes (samples, n) and (samples,), but have {x.shape} and "
            f"{y.shape}."
        )
    alpha = checked_alpha(alpha)
    singular = np.linalg.svd(x, compute_uv=False)
    if len(x) > x.shape[1] or singular[-1] <= 1e-12 * singular[0]:
        raise ValueError(
            f"Argument `inputs` must have full row rank, but has shape {x.shape} and singular values from "
            f"{singular[0]:.3g} to {singular[-1]:.3g}."
        )

    def curve(w, a):
        # 2 a^2 sinh(w) and its slope. Large w by logs: a^2 underflows long before the product does.
        shift, is_small = 2.0 * math.log(a), np.abs(w) < 1.0
        near, far = np.where(is_small, w, 0.0), np.where(is_small, 0.0, w)
        rising, falling = np.exp(far + shift), np.exp(shift - far)
        value = np.where(is_small, 2.0 * a * a * np.sinh(near), rising - falling)
        return value, np.where(is_small, 2.0 * a * a * np.cosh(near), rising + falling)

    nu, steps = dual_newton(x, y, curve, alpha)
    beta = curve(x.T @ nu, alpha)[0]
    residual = float(np.max(np.abs(x @ beta - y))) / (float(np.max(np.abs(y))) or 1.0)
    return InterpolationLimit(beta, nu, alpha, residual, steps)


class DiagonalSolution(AbstractSolution):
    r"""$z(t)$ of a diagonal network on isotropic data: every entry is an unbalanced mode of its own.

    For $z = o + c\,(u \odot v)$ and a loss with Hessian $k I$ and minimiser $z^*$, each entry follows
    $u' = v(\sigma - uv)$, $v' = u(\sigma - uv)$ in the clock $k c^2 t$, $\sigma = (z^* - o)/c$. For
    $z = o + c(u^2 - v^2)$ the same with $u + v$ and $u - v$ in the clock $2 k c^2 t$.

    Args:
        arch: an architecture of one of these forms; the roles are read off its exact polynomials.
        theta0: the start, any signs, no balance.
        training: a quadratic function of $z$ whose Hessian is a multiple of the identity, or `Training` with it.
        check: check the values of `theta0`; without it solutions can be made inside `vmap`, `jit` and `grad`.

    Raises:
        ValueError: φ is of neither form, a malformed start, weight decay or layer rates.
        ConditionError: the Hessian of the loss is no multiple of the identity, or it is not quadratic.

    References:
        [saxe2014exact]; [woodworth2020kernel] for the setting.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import dlntheory as dln, jax.numpy as jnp, numpy as np
        >>> arch = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (2,), "v": (2,)}, name="pairs")
        >>> theta0 = {"u": np.array([1e-3, 1.0]), "v": np.array([0.0, -1.0])}
        >>> solution = DiagonalSolution(arch, theta0, lambda z: jnp.sum((z - 2.0) ** 2))
        >>> print(solution.z([50.0])[0].round(6) + 0.0)
        [2. 0.]
    """

    scale: np.ndarray
    offset: np.ndarray
    sigma: np.ndarray
    clock: np.ndarray
    first: np.ndarray
    second: np.ndarray
    defect: float = eqx.field(static=True)
    curvature: float = eqx.field(static=True)
    is_square: bool = eqx.field(static=True)

    label = "modes of a diagonal network"

    source = "[saxe2014exact]; [woodworth2020kernel]"

    exactness = "exact for quadratic losses whose Hessian is a multiple of the identity, from every start"

    def __init__(self, arch: Architecture, theta0: Mapping[str, Any], training: Any, *, check: bool = True):
        require_float64("DiagonalSolution")
        form, self.is_square = _form(arch)
        self.architecture = arch
        self.training = training if isinstance(training, Training) else Training(training)
        self.training.check(arch)
        if self.training.is_decaying or self.training.rates:
            raise NotApplicableError(
                f"Arguments `weight_decay` and `rates` must be 0 and 1 for the {self.label}, but are those of "
                f"«{self.training.conventions}»: use `DiagonalFlow`, which takes both."
            )
        self.start = arch.check(theta0) if check else dict(theta0)
        self.scale, self.offset = form.scale, form.offset
        u, v = form.roles(self.start)
        # The loss is known even where a start is traced.
        with jax.ensure_compile_time_eval():
            minimiser, self.curvature, self.defect = _isotropic(self.training.loss, arch.output_shape)
        self.sigma = (minimiser - self.offset) / self.scale
        factor = 2.0 if self.is_square else 1.0
        self.clock = factor * self.curvature * self.scale**2
        self.first, self.second = (u + v, u - v) if self.is_square else (u, v)

    @property
    def statement(self) -> str:
        if self.is_square:
            return r"\dot z = -4k \sqrt{z^2 + 4 u^2 \odot v^2} \odot (z - z^*)"
        return r"\dot z = -k \sqrt{4 z^2 + (u^2 - v^2)^2} \odot (z - z^*)"

    @property
    def condition(self) -> Condition:
        return Condition(
            requirement="the Hessian of the loss is k I",
            measured=self.defect,
            tolerance=TOLERANCE * self.curvature,
        )

    def z(self, ts) -> jax.Array:
        times = jnp.reshape(checked_times(ts), (-1,) + (1,) * len(self.architecture.output_shape))
        shape = (times.shape[0], *self.architecture.output_shape)
        spread = lambda x: jnp.broadcast_to(jnp.asarray(x)[None], shape)
        clock = jnp.broadcast_to(times, shape) * spread(self.clock)
        value = _products(clock, spread(self.sigma), spread(self.first), spread(self.second))
        return spread(self.offset) + spread(self.scale) * value


@jax.jit
def _products(clock, sigma, first, second):
    """The product of the two weights of every entry; compiled at once, since it is made of many small steps."""
    a, b = unbalanced_mode(clock, sigma, first, second)
    # An entry that starts balanced keeps its sign: its own formula holds at any time, also where E underflows.
    product = first * second
    balanced = balanced_mode(clock, jnp.sign(product) * sigma, jnp.abs(product))
    return jnp.where(jnp.abs(first) == jnp.abs(second), jnp.sign(product) * balanced, a * b)


def checked_alpha(alpha: float) -> float:
    """A start that is positive and whose square does not overflow."""
    return real_number(alpha, "alpha", above=0, maximum=1e75)


def _form(arch: Architecture) -> tuple[DiagonalFlow | SquaresFlow, bool]:
    try:
        form, is_square = DiagonalFlow(arch), False
    except FormError:
        form, is_square = SquaresFlow(arch), True
    if form.mix is not None:
        raise FormError(
            f"Argument `arch` must be entrywise for the modes of a diagonal network, but the entries of {arch.name} "
            "mix them: use `DiagonalFlow`."
        )
    return form, is_square


def _isotropic(loss: Any, shape: tuple[int, ...]) -> tuple[np.ndarray, float, float]:
    """Minimiser, curvature and defect of a loss that must be k/2 |z - z*|^2 + constant."""
    _require_quadratic(loss, shape)
    size = math.prod(shape)
    flat = lambda x: loss(jnp.reshape(x, shape))
    hessian = np.asarray(jax.hessian(flat)(np.zeros(size)))
    curvature = float(np.trace(hessian)) / size
    defect = float(np.linalg.norm(hessian - curvature * np.eye(size), 2))
    if not (curvature > 0 and defect <= TOLERANCE * curvature):
        raise ConditionError(
            f"Argument `loss` must be quadratic with a Hessian k I for a closed form, but |H - k I| = {defect:.3g} "
            f"with k = {curvature:.3g}. Whiten the data, or use `DiagonalFlow` or `SquaresFlow`.",
            measured=defect,
            tolerance=TOLERANCE * abs(curvature),
        )
    slope = np.asarray(jax.grad(flat)(np.zeros(size)))
    return np.reshape(-slope / curvature, shape), curvature, defect


def _require_quadratic(loss: Any, shape: tuple[int, ...]) -> None:
    """Raise unless a loss is a polynomial of degree 2, read off its program: third differences along a random line.

    They are taken modulo a prime, where equality is exact, so that no branch of the loss can hide between two points.
    """
    found = "uses `{}`, which is none"
    try:
        program = read_program(lambda p: loss(p["z"]), {"z": shape}).program
        ring, rng = NilpotentModular(DEFAULT_PRIME), np.random.default_rng(0)
        point, direction = rng.integers(0, DEFAULT_PRIME, (2, 1, *shape))
        values = [
            int(np.ravel(jax.tree.leaves(program.evaluate(ring, {"z": ring.from_integers(moved)}))[0])[0])
            for moved in ((point + step * direction) % DEFAULT_PRIME for step in range(4))
        ]
    except UnsupportedPrimitiveError as error:
        found = found.format(error.primitive)
    else:
        third = values[3] - 3 * values[2] + 3 * values[1] - values[0]
        if third % DEFAULT_PRIME == 0:
            return
        found = "is of higher degree"
    raise ConditionError(
        f"Argument `loss` must be a polynomial of degree 2 in z for a closed form, but {found}. Use `DiagonalFlow` or "
        "`SquaresFlow`, which take every loss.",
        measured=math.inf,
        requirement="a quadratic loss",
        remedy="Use `DiagonalFlow` or `SquaresFlow`.",
    )


def _hypotenuse(z):
    """sqrt(4 + z^2) without overflow."""
    large = jnp.maximum(jnp.abs(z), 2.0)
    small = jnp.minimum(jnp.abs(z), 2.0)
    return large * jnp.sqrt(1.0 + (small / large) ** 2)


def _broadcast(name: str, **values: Any) -> list[jax.Array]:
    require_float64(name)
    return broadcast_numbers(values)
