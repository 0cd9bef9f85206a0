r"""Two linear layers on whitened data: the matrix Riccati equation in closed form, stable at every time."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._errors import ConditionError, SaddleWarning
from .._precision import require_float64
from ..architecture import Architecture
from ..reductions.base import Condition, chain_of
from ..training import Training
from .base import AbstractSolution
from .limit_points import LimitPoint, limit_point, rounding
from .riccati_frame import eigensystem, frame, generator
from .scaled_range import scaled_range
from .time_checks import checked_times
from .whitened_problem import WhitenedProblem

LABEL = "Riccati solution"
_UNMEASURED = Condition(
    requirement="W_2^T W_2 - W_1 W_1^T is a multiple of the identity",
    measured=0.0,
    tolerance=0.0,
    explanation="not measured (`check=False`)",
)


def riccati_gram(t: Any, target: Any, stacked: Any, lam: Any = 0.0, decay: Any = 0.0) -> jax.Array:
    r"""$M(t) = Q Q^\top$, $Q = [W_1^\top; W_2]$, of λ-balanced layers under $\frac12\|W_2 W_1 - S\|_F^2$.

    $$\dot M = F M + M F - M^2, \qquad
      M(t) = e^{Ft} Q_0 \Big[I + Q_0^\top \int_0^t e^{2Fs} ds\, Q_0\Big]^{-1} Q_0^\top e^{Ft}, \qquad
      F = \begin{pmatrix} -\frac\lambda2 I & S^\top \\ S & \frac\lambda2 I \end{pmatrix} - \gamma I$$

    Evaluated without overflow or cancellation at any time: with $F = P f P^\top$, $g = (e^{2ft} - 1)/(2f)$ and
    $Y = \sqrt g\,P^\top Q_0$, $M = P D\,[I - (I + YY^\top)^{-1}]\,D P^\top$ where $D = e^{ft}/\sqrt g$ is bounded and
    the bracket is $B_2 B_2^\top$ of `scaled_range`. Pure: jit, vmap over anything, grad, at repeated and zero
    singular values of S as well.

    Args:
        t: one time, at least 0.
        target: (o, d), $S$.
        stacked: (d + o, h), $Q_0$; any h, any rank, zero included. Only $Q_0 Q_0^\top$ matters, so that more than d + o
            columns can be replaced by a triangular factor, as `RiccatiSolution` does; the cost is $(d + o + h) h^2$.
        lam: λ of $W_2^\top W_2 - W_1 W_1^\top = \lambda I$, which the start must meet (not checked here).
        decay: weight decay γ of both layers; exact for λ = 0 only.

    Returns:
        (d + o, d + o): $W_1^\top W_1$, $W^\top$; $W$, $W_2 W_2^\top$. NaN for $t < 0$, which a traced function cannot
        refuse.

    References:
        [fukumizu1998effect]; [braun2022exact] (λ = 0); [domine2025lazy] (λ ≠ 0). The stable form and weight
        decay were derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> start = 0.1 * jnp.ones((2, 1))  # two scalar layers, 0.1 each
        >>> print(f"{float(riccati_gram(1e5, jnp.array([[2.0]]), start)[1, 0]):.12f}")
        2.000000000000
    """
    require_float64("riccati_gram")
    t, target, stacked, lam, decay = (
        jnp.asarray(value, dtype=float) for value in (t, target, stacked, lam, decay)
    )
    return _gram(t, target, stacked, lam, decay, jnp.zeros(()))


@jax.custom_jvp
def _gram(t, target, stacked, lam, decay, floor):
    """See `riccati_gram`; components along growing eigenvectors that are not above `floor` count as 0."""
    is_later = t > 0
    later = jnp.where(is_later, t, 1.0)
    factors = frame(target, lam, decay, later)
    least = jnp.where(factors.log_growth > jnp.log(later), floor, 0.0)
    _, basis = scaled_range(factors.inner.T @ stacked, 0.5 * factors.log_growth, least)
    root = factors.outer @ (jnp.exp(factors.log_size)[:, None] * basis)
    gram = jnp.where(is_later, root @ root.T, stacked @ stacked.T)
    return jnp.where(t >= 0, gram, jnp.nan)


@_gram.defjvp
def _gram_jvp(primals, tangents):
    """In time the equation itself is the derivative; the quotient of growth factors would cancel at small times."""
    t, target, stacked, lam, decay, floor = primals
    fixed = lambda *others: _plain_gram(t, *others, floor)
    gram, tangent = jax.jvp(fixed, (target, stacked, lam, decay), tangents[1:5])
    flow = generator(target, lam, decay) @ gram
    return gram, tangent + (flow + flow.T - gram @ gram) * tangents[0]


# The same function without the rule for the time, so that the rule does not call itself.
_plain_gram = _gram.fun


@eqx.filter_jit
def _grams(ts, *others):
    """(time, d + o, d + o)"""
    return jax.vmap(lambda t: _gram(t, *others))(ts)


class RiccatiSolution(AbstractSolution):
    r"""$z(t)$ of two λ-balanced linear layers on whitened data, with both Gram matrices and the tangent kernel.

    Args:
        arch: a chain of exactly two matrices.
        theta0: the start, λ-balanced: $W_2^\top W_2/e_2 - W_1 W_1^\top/e_1 = \lambda I$ for any λ, at any widths,
            rank and size, zero included.
        training: a `SquaredLoss` with input covariance $kI$, or `Training` with weight decay and layer rates.
        tolerance: largest $\|C - \lambda I\|_F / \max_l \|W_l\|_F^2$ that passes, $C$ the imbalance, $\lambda$ its
            mean eigenvalue.
        check: measure the condition and the limit point. Without it nothing is looked at, so that solutions can be made
            inside `vmap`, `jit` and `grad`: `jax.vmap(lambda theta: RiccatiSolution(arch, theta, loss,
            check=False).z(ts))`. The start must be λ-balanced all the same, and components at rounding grow.

    Validity:
        Exact at every time. Weight decay needs λ = 0 (otherwise the imbalance decays and $F$ depends on time).
        `limit_point` says where it ends. At a saddle a `SaddleWarning` is given, and components of the start that are
        0 up to rounding are kept at 0, so that the values stay right where any integration leaves the saddle.
        The individual weights are *not* functions of $M$: $Q(t) = e^{Ft} Q_0\, C(t)$ with the linear equation
        $\dot C = -\frac12 K^{-1} \dot K C$ for the hidden rotation, $K = I + Q_0^\top \int_0^t e^{2Fs} ds\, Q_0$.
        $C = K^{-1/2}$ is wrong unless all $K(t)$ commute, as with one hidden neuron (`NeuronSolution`).

    Raises:
        ConditionError: the start is not λ-balanced, the covariance no multiple of the identity, or weight decay with
            λ ≠ 0; with the measured violation, and the expected error if one went on all the same.
        ValueError: another architecture or loss, malformed parameters.

    References:
        [fukumizu1998effect], see `riccati_gram`; the tangent kernel and lazy limit: [domine2025lazy].

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 4, 2))
        >>> loss = dln.SquaredLoss.from_target([[1.0, 0, 0], [0, 2.0, 0]])
        >>> solution = RiccatiSolution(arch, dln.balanced(arch, jax.random.key(0), scale=0.1), loss)
        >>> bool(abs(solution.z([1e5])[0] - loss.minimiser()).max() < 1e-12)
        True
    """

    target: np.ndarray
    stacked: Any
    lam: Any
    decay: np.ndarray
    speed: float
    scales: tuple[float, float]
    floor: np.ndarray
    measured: Condition = eqx.field(static=True)
    ending: LimitPoint | None = eqx.field(static=True)

    label = LABEL

    statement = (
        r"M(t) = e^{Ft} Q_0 \left[I + Q_0^\top \int_0^t e^{2Fs} ds\, Q_0\right]^{-1} Q_0^\top e^{Ft},\quad "
        r"Q = [W_1^\top; W_2],\; M = QQ^\top,\; F = \begin{pmatrix} -\lambda/2 & S^\top \\ S & \lambda/2"
        r" \end{pmatrix}"
    )

    source = "[fukumizu1998effect]; [braun2022exact]; [domine2025lazy]; stable form derived here"

    def __init__(
        self,
        arch: Architecture,
        theta0: Mapping[str, Any],
        training: Any,
        *,
        tolerance: float = 1e-10,
        check: bool = True,
    ):
        require_float64("RiccatiSolution")
        chain_of(arch, f"the {LABEL}", depth=2)
        settings = training if isinstance(training, Training) else Training(training)
        problem = WhitenedProblem.of(arch, settings)
        self.architecture, self.training = arch, settings
        self.target, self.decay, self.speed = problem.target, np.asarray(problem.decay), problem.speed
        self.scales = (float(np.sqrt(problem.rates[0])), float(np.sqrt(problem.rates[1])))
        self.start = arch.check(theta0) if check else dict(theta0)
        first, second = problem.layers(arch, self.start)
        if not check:
            self.measured, self.ending = _UNMEASURED, None
            imbalance = jnp.trace(second.T @ second) - jnp.trace(first @ first.T)
            self.lam = imbalance / len(first) * (0.0 if problem.decay else 1.0)
            self.stacked = _narrow(jnp.concatenate([first.T, second]))
            self.floor = np.zeros(sum(self.target.shape))
            return
        self.measured, lam = _lambda_balance(first, second, tolerance)
        if not self.measured.holds:
            raise self.measured.error(LABEL)
        if problem.decay and abs(lam) > self.measured.tolerance:
            raise ConditionError(
                f"Argument `theta0` must have imbalance 0 for the {LABEL} with weight decay, but has lambda = "
                f"{lam:.3g}: it decays as exp(-2 gamma t), and the equation's matrix with it. Use `GramFlow`.",
                measured=abs(lam),
                tolerance=self.measured.tolerance,
            )
        lam = 0.0 if problem.decay else lam
        self.lam, self.stacked = np.asarray(lam), _narrow(np.concatenate([first.T, second]))
        self.ending = limit_point(self.target, self.stacked, lam, problem.decay)
        is_saddle = self.ending.is_saddle
        vectors = np.asarray(eigensystem(self.target, lam, problem.decay)[1])
        self.floor = rounding(vectors, self.stacked) if is_saddle else np.zeros(len(vectors))
        if is_saddle:
            warnings.warn(self._warning(), SaddleWarning, stacklevel=2)

    @property
    def exactness(self) -> str:
        if self.ending is None:
            return "exact at every time if the start is lambda-balanced, which was not measured"
        return f"exact at every time; {self.ending.message}"

    @property
    def condition(self) -> Condition:
        return self.measured

    @property
    def limit_point(self) -> LimitPoint:
        """The limit and whether it is a saddle; its times divided by `speed` are gradient-flow times.

        Raises:
            ValueError: the solution was made with `check=False`.
        """
        if self.ending is None:
            raise ValueError(
                "Argument `check` must be True for the limit point, which was not computed, but is False."
            )
        return self.ending

    def gram(self, ts: Any) -> jax.Array:
        r"""(time, d + o, d + o) $M(t)$ in the network's own parameters: $W_1^\top W_1$, $z^\top$; $z$, $W_2 W_2^\top$.

        Args:
            ts: (time,) at least 0, in gradient-flow time.

        Raises:
            ValueError: a negative time (where the values are known; a traced negative time gives NaN).
        """
        times = checked_times(ts)
        grams = _grams(times * self.speed, self.target, self.stacked, self.lam, self.decay, self.floor)
        return grams * self._weights()[None]

    def z(self, ts: Any) -> jax.Array:
        inputs = self.target.shape[1]
        return self.gram(ts)[:, inputs:, :inputs]

    def limit_gram(self) -> np.ndarray:
        r"""(d + o, d + o) $M(\infty)$: $2F_+$ restricted to what the start can reach."""
        return self.limit_point.gram * self._weights()

    def kernel(self, ts: Any) -> jax.Array:
        r"""(time, o d, o d) the tangent kernel of $z$ as a matrix on its entries.

        $\dot z = -\Theta[\nabla f(z)]$ with $\Theta[D] = e_1 W_2 W_2^\top D + e_2 D\, W_1^\top W_1$, entries of $z$
        row by row.
        """
        left, right = self._kernel_blocks(self.gram(ts))
        outputs, inputs = self.target.shape
        full = jnp.einsum("tab,ij->taibj", left, jnp.eye(inputs)) + jnp.einsum(
            "ab,tij->taibj", jnp.eye(outputs), right
        )
        return full.reshape(-1, outputs * inputs, outputs * inputs)

    def kernel_movement(self, ts: Any | None = None) -> jax.Array:
        r"""$\|\Theta(t) - \Theta(0)\|_F / \|\Theta(0)\|_F$, (time,); over all time, a number, if `ts` is left out.

        Falls as $1/\lambda^2$ for large imbalance of either sign: the lazy regime.

        Raises:
            ValueError: the kernel is 0 at the start.
        """
        before, after = self._kernel_pair(ts)
        moved = _kernel_norm(after[0] - before[0], after[1] - before[1]) / _kernel_norm(*before)
        return moved[0] if ts is None else moved

    def kernel_turn(self, ts: Any | None = None) -> jax.Array:
        r"""$1 - \cos$ of the angle between $\Theta(t)$ and $\Theta(0)$, (time,) or a number; see `kernel_movement`."""
        before, after = self._kernel_pair(ts)
        sizes = _kernel_norm(*before), _kernel_norm(*after)
        # As half a squared distance of unit vectors, since 1 minus the cosine cancels.
        gaps = [
            b / sizes[1][:, None, None] - a / sizes[0][:, None, None]
            for a, b in zip(before, after, strict=True)
        ]
        turned = 0.5 * _kernel_norm(*gaps) ** 2
        return turned[0] if ts is None else turned

    def _kernel_pair(self, ts: Any | None):
        before = self._kernel_blocks((self.stacked @ self.stacked.T * self._weights())[None])
        if not np.any(self.stacked):
            raise ValueError("Argument `theta0` must not be 0 for the movement of the kernel, but is.")
        after = self._kernel_blocks(self.limit_gram()[None] if ts is None else self.gram(ts))
        return before, after

    def _kernel_blocks(self, grams):
        inputs = self.target.shape[1]
        first, second = self.scales
        return first**2 * grams[:, inputs:, inputs:], second**2 * grams[:, :inputs, :inputs]

    def _weights(self) -> np.ndarray:
        outputs, inputs = self.target.shape
        stretch = np.concatenate([np.full(inputs, self.scales[0]), np.full(outputs, self.scales[1])])
        return stretch[:, None] * stretch[None, :]

    def _warning(self) -> str:
        return (
            f"The solution {self.limit_point.message}. It is kept there; an integration in float64 leaves the saddle "
            f"by rounding at about t = {self.limit_point.escape / self.speed:.4g}."
        )


def _narrow(stacked: Any) -> Any:
    """A start with the same $Q_0 Q_0^\\top$ and at most d + o columns: wider networks cost no more."""
    if stacked.shape[1] <= stacked.shape[0]:
        return stacked
    return jnp.linalg.qr(stacked.T)[1].T if isinstance(stacked, jax.Array) else np.linalg.qr(stacked.T).R.T


def _lambda_balance(first: np.ndarray, second: np.ndarray, tolerance: float) -> tuple[Condition, float]:
    """The distance of the imbalance from its mean times the identity, and that mean."""
    imbalance = second.T @ second - first @ first.T
    lam = float(np.trace(imbalance)) / len(imbalance)
    measured = float(np.linalg.norm(imbalance - lam * np.eye(len(imbalance))))
    scale = max(float(np.linalg.norm(first)) ** 2, float(np.linalg.norm(second)) ** 2)
    condition = Condition(
        requirement="W_2^T W_2 - W_1 W_1^T is a multiple of the identity",
        measured=measured,
        tolerance=tolerance * scale,
        explanation=f"lambda = {lam:.4g} on average, the rest has norm {measured:.2g}",
        # Seen: deviations of 6.5e-7, 1.1e-3, 0.12 gave errors of 3.4e-7, 4.5e-4, 4.8e-2.
        expected_error=measured / 2,
        remedy="Use `GramFlow` (two layers, any start), or a start from `lambda_balanced(arch, key, lam)`.",
    )
    return condition, lam


def _kernel_norm(left, right):
    """The Frobenius norm of $A \\otimes I + I \\otimes B$ without forming it, (time,)."""
    outputs, inputs = left.shape[1], right.shape[1]
    traces = jnp.trace(left, axis1=1, axis2=2) * jnp.trace(right, axis1=1, axis2=2)
    squares = inputs * jnp.sum(left**2, axis=(1, 2)) + outputs * jnp.sum(right**2, axis=(1, 2))
    return jnp.sqrt(squares + 2.0 * traces)
