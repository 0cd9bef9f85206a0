r"""One hidden neuron, $z = a\, w^\top$, on whitened data: both weights in closed form, and which way they go."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_array, real_number
from .._precision import require_float64
from ..architecture import Architecture
from ..reductions.base import Condition, chain_of, widths_of
from ..training import Training
from .base import AbstractSolution
from .riccati_frame import eigensystem, frame
from .time_checks import checked_times
from .whitened_problem import WhitenedProblem

LABEL = "neuron solution"


def neuron(t: Any, target: Any, first: Any, second: Any) -> tuple[jax.Array, jax.Array]:
    r"""$w(t)$ and $a(t)$ under $\frac12\|a w^\top - S\|_F^2$: the vector $e^{Ft}[w_0; a_0]$ over the root of a number.

    $$\begin{pmatrix} w \\ a \end{pmatrix}(t) = \frac{e^{Ft} q_0}{\sqrt{K(t)}}, \qquad
      K = 1 + q_0^\top \int_0^t e^{2Fs} ds\, q_0, \qquad
      F = \begin{pmatrix} -\frac\delta2 I & S^\top \\ S & \frac\delta2 I \end{pmatrix}, \qquad
      \delta = |a|^2 - |w|^2$$

    The largest exponential is taken out of numerator and root. Pure: jit, vmap, grad.

    Args:
        t: one time, at least 0, or times (time,).
        target: (o, d), $S$; $(1, d)$ for the vector $\beta_*$ of a scalar output. Zero is allowed.
        first: (d,), $w_0$, or the network's own $W_1$, (1, d).
        second: (o,), $a_0$, or the network's own $W_2$, (o, 1).

    Returns:
        $w(t)$ (d,) and $a(t)$ (o,), with a leading axis of times if there are several; NaN for $t < 0$, which a traced
        function cannot refuse.

    Raises:
        ValueError: shapes that do not fit.

    References:
        [kunin2024get] for the neuron; the closed form of both weights was derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> w, a = neuron(1e7, jnp.array([[3.0, 4.0]]), 1e-6 * jnp.ones(2), 1e-6 * jnp.ones(1))
        >>> print(a[0] * w)
        [3. 4.]
    """
    require_float64("neuron")
    t, target, first, second = (jnp.asarray(value, dtype=float) for value in (t, target, first, second))
    first = first[0] if first.ndim == 2 and len(first) == 1 else first
    second = second[:, 0] if second.ndim == 2 and second.shape[1] == 1 else second
    if first.ndim != 1 or second.ndim != 1 or target.shape != (second.size, first.size) or t.ndim > 1:
        raise ValueError(
            "Arguments `target`, `first` and `second` must have shapes (o, d), (d,), (o,), and `t` at most one axis, "
            f"but have {target.shape}, {first.shape}, {second.shape} and {t.shape}."
        )
    if t.ndim:
        return jax.vmap(lambda time: _neuron(time, target, first, second))(t)
    return _neuron(t, target, first, second)


def _neuron(t, target, first, second):
    begin = jnp.concatenate([first, second])
    delta = jnp.sum(second**2) - jnp.sum(first**2)
    is_later = t > 0
    factors = frame(target, delta, jnp.zeros(()), jnp.where(is_later, t, 1.0))
    parts = factors.inner.T @ begin
    size = jnp.abs(jax.lax.stop_gradient(parts))
    logs = jnp.where(size > 0, jnp.log(jnp.where(size > 0, size, 1.0)) + 0.5 * factors.log_growth, -jnp.inf)
    top = jnp.maximum(0.0, jnp.max(logs))
    # Where a part is 0 its growth may be infinite beside the others.
    grown = parts * jnp.exp(jnp.where(size > 0, 0.5 * factors.log_growth - top, 0.0))
    root = jnp.sqrt(jnp.exp(-2.0 * top) + jnp.sum(grown**2))
    end = factors.outer @ (jnp.exp(factors.log_size) * grown) / root
    end = jnp.where(is_later, end, begin)
    end = jnp.where(t >= 0, end, jnp.nan)
    return end[: first.shape[0]], end[first.shape[0] :]


def neuron_branch(target: Any, first: Any, second: Any) -> float:
    r"""$w_0 \cdot \beta_* + a_0(\kappa + \delta/2)$: its sign is that of $a(\infty)$; zero means the saddle at 0.

    $\kappa = \sqrt{\delta^2/4 + |\beta_*|^2}$; for $\delta < 0$ the bracket is $|\beta_*|^2/(\kappa - \delta/2)$.

    Args:
        target: (d,), $\beta_*$, not 0.
        first: (d,), $w_0$.
        second: the number $a_0$.

    Validity:
        Exact for whitened data and one output.

    References:
        Derived here, from the closed form.

    Raises:
        ValueError: the target is 0, so that there is no branch.

    Example:
        >>> neuron_branch([1.0, 0.0], [0.5, 0.2], -0.1) > 0  # a changes its sign on the way
        True
    """
    beta, w = (
        real_array(value, name, ndim=1, largest=1e75)
        for name, value in (("target", target), ("first", first))
    )
    a = real_number(second, "second", minimum=-1e75, maximum=1e75)
    if beta.shape != w.shape:
        raise ValueError(
            f"Arguments `target` and `first` must have one shape, but have {beta.shape} and {w.shape}."
        )
    squared = float(beta @ beta)
    if not squared > 0:
        raise ValueError("Argument `target` must not be 0 for a branch, but is.")
    delta = a * a - float(w @ w)
    kappa = np.sqrt(delta**2 / 4 + squared)
    bracket = kappa + delta / 2 if delta >= 0 else squared / (kappa - delta / 2)
    return float(w @ beta + a * bracket)


def second_layer_squared(beta: Any, delta: Any) -> jax.Array:
    r"""$a^2 = \frac12(\delta + \sqrt{\delta^2 + 4|\beta|^2})$ of the neuron whose product is β; no cancellation.

    With it the product of a neuron with one output obeys $\dot\beta = -(a^2 I + \beta\beta^\top/a^2)\nabla f$ for
    every loss, while $a \ne 0$: lazy for $\delta \gg 0$, rich near 0, and for $\delta \ll 0$ first lazy in the norm.

    Args:
        beta: (d,) the product $a w$.
        delta: $a^2 - |w|^2$, conserved.
    """
    beta, delta = jnp.asarray(beta, dtype=float), jnp.asarray(delta, dtype=float)
    squared = jnp.sum(beta**2)
    rho = jnp.sqrt(delta**2 + 4.0 * squared)
    denominator = rho - delta
    small = 2.0 * squared / jnp.where(denominator > 0, denominator, 1.0)
    return jnp.where(delta >= 0, 0.5 * (delta + rho), small)


class NeuronSolution(AbstractSolution):
    r"""$z(t) = a(t) w(t)^\top$ of a chain with one hidden neuron on whitened data, with both weights.

    Args:
        arch: a chain of widths $(d, 1, o)$.
        theta0: any start.
        training: a `SquaredLoss` with input covariance $kI$, or `Training` with layer rates.
        check: check the values of `theta0`; without it solutions can be made inside `vmap`, `jit` and `grad`.

    Validity:
        Exact at every time for every start: with one neuron the imbalance is a number.

    Raises:
        ValueError: another architecture or loss, weight decay (see `RiccatiSolution`, for balanced starts).
        ConditionError: the input covariance is no multiple of the identity.

    References:
        [kunin2024get], see `neuron`.

    Example:
        >>> import dlntheory as dln, jax
        >>> arch = dln.linear_network((3, 1, 1))
        >>> loss = dln.SquaredLoss.from_target([[1.0, 2.0, 0.0]])
        >>> solution = NeuronSolution(arch, dln.gaussian(arch, jax.random.key(0), scale=0.1), loss)
        >>> sorted(solution.weights([1.0, 2.0]))
        ['W1', 'W2']
    """

    target: np.ndarray
    layers: tuple[np.ndarray, np.ndarray]
    speed: float
    scales: tuple[float, float]

    label = LABEL

    statement = (
        r"\begin{pmatrix} w \\ a \end{pmatrix}(t) = e^{Ft} q_0 \Big/ \sqrt{1 + q_0^\top \int_0^t e^{2Fs} ds\,"
        r" q_0},\quad q_0 = [w_0; a_0],\quad F = \begin{pmatrix} -\delta/2 & S^\top \\ S & \delta/2 \end{pmatrix}"
    )

    source = "[kunin2024get] for the neuron; closed form of both weights derived here"

    exactness = "exact at every time, for every start"

    def __init__(self, arch: Architecture, theta0: Mapping[str, Any], training: Any, *, check: bool = True):
        require_float64("NeuronSolution")
        chain_of(arch, f"the {LABEL}", depth=2)
        if widths_of(arch)[1] != 1:
            raise ValueError(
                f"Argument `arch` must have one hidden neuron for the {LABEL}, but {arch.name} has "
                f"{widths_of(arch)[1]}. Use `RiccatiSolution` (balanced starts) or `GramFlow`."
            )
        settings = training if isinstance(training, Training) else Training(training)
        problem = WhitenedProblem.of(arch, settings)
        if problem.decay:
            raise ValueError(
                f"Argument `training` must have no weight decay for the {LABEL} (the imbalance would decay), but has "
                f"{float(settings.weight_decay):g}. A balanced start has a `RiccatiSolution`."
            )
        self.architecture, self.training = arch, settings
        self.start = arch.check(theta0) if check else dict(theta0)
        first, second = problem.layers(arch, self.start)
        self.layers = first[0], second[:, 0]
        self.target, self.speed = problem.target, problem.speed
        self.scales = (float(np.sqrt(problem.rates[0])), float(np.sqrt(problem.rates[1])))

    @property
    def condition(self) -> Condition:
        return Condition(
            requirement="one hidden neuron and whitened inputs, nothing else", measured=0.0, tolerance=0.0
        )

    @property
    def delta(self) -> float:
        r"""$\delta = |a|^2/e_2 - |w|^2/e_1$, which the flow conserves."""
        return float(np.sum(self.layers[1] ** 2) - np.sum(self.layers[0] ** 2))

    @property
    def branch(self) -> np.ndarray:
        r"""Components of $[w_0; a_0]$ along the growing eigenvectors of $F$, the fastest first; all 0 is the saddle.

        For one output the first one has the sign of $a(\infty)$.
        """
        values, vectors = (np.asarray(part) for part in eigensystem(self.target, self.delta))
        order = np.argsort(-values, kind="stable")
        growing = vectors[:, order[values[order] > 0]]
        if len(self.layers[1]) == 1:
            growing = growing * np.where(growing[-1:] < 0, -1.0, 1.0)
        return growing.T @ np.concatenate(self.layers)

    def weights(self, ts: Any) -> dict[str, jax.Array]:
        """The weights by factor name, (time, 1, d) and (time, o, 1), at times (time,) in gradient-flow time.

        Raises:
            ValueError: a negative time (where the values are known; a traced negative time gives NaN).
        """
        times = checked_times(ts) * self.speed
        first, second = _weights(times, self.target, *self.layers)
        names = chain_of(self.architecture, LABEL)
        return {names[0]: self.scales[0] * first[:, None, :], names[1]: self.scales[1] * second[:, :, None]}

    def z(self, ts: Any) -> jax.Array:
        first, second = self.weights(ts).values()
        return second @ first


@eqx.filter_jit
def _weights(ts, target, first, second):
    return jax.vmap(lambda t: _neuron(t, target, first, second))(ts)
