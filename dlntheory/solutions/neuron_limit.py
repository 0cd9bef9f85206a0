r"""Where one hidden neuron ends on data with more inputs than samples: the mirror potential and its minimiser."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._checks import real_number
from .._errors import IntegrationError
from ..display.text import one_line
from ..losses.base import checked_array


def neuron_potential(beta: Any, delta: Any) -> jax.Array:
    r"""$\Phi(\beta) = \frac{\sqrt2}{6}(\rho - 2\delta)\sqrt{\rho + \delta}$, $\rho = \sqrt{\delta^2 + 4|\beta|^2}$.

    $\nabla\Phi(\beta) = w$: while $a > 0$ the product of a neuron with one output follows the mirror flow of Φ in the
    clock $d\tau = a\,dt$. Pure.

    Args:
        beta: (d,).
        delta: $a^2 - |w|^2$.

    References:
        [azulay2021implicit]; [kunin2024get].
    """
    beta, delta = jnp.asarray(beta, dtype=float), jnp.asarray(delta, dtype=float)
    rho = jnp.sqrt(delta**2 + 4.0 * jnp.sum(beta**2))
    total = jnp.where(delta >= 0, rho + delta, 4.0 * jnp.sum(beta**2) / (rho + jnp.abs(delta)))
    return jnp.sqrt(2.0) / 6.0 * (rho - 2.0 * delta) * jnp.sqrt(total)


@dataclasses.dataclass(frozen=True, eq=False)
class Interpolation:
    r"""The end of a neuron on data that it fits exactly.

    Attributes:
        first: (d,), $w(\infty) = w_0 + X^\top \nu$.
        second: $a(\infty)$.
        multipliers: (n,), ν.
        residual: the largest $|X\beta - y|$.
        is_minimiser: whether $\beta$ is known to minimise $\Phi(\beta) - \mathrm{sign}(a)\,w_0 \cdot \beta$ on
            $X\beta = y$: yes for $\delta \ge 0$, where $a$ keeps its sign and the problem is convex.
    """

    first: np.ndarray
    second: float
    multipliers: np.ndarray
    residual: float
    is_minimiser: bool

    @property
    def beta(self) -> np.ndarray:
        """(d,) the product $a w$."""
        return self.second * self.first

    def __repr__(self) -> str:
        return one_line(self)


def neuron_interpolation(
    inputs: Any, targets: Any, first: Any, second: float, *, sign: int | None = None
) -> Interpolation:
    r"""The solution of $X a(w) w = y$ with $w = w_0 + X^\top \nu$, $a = \pm\sqrt{\delta + |w|^2}$: Newton in ν.

    $w(\infty) - w_0$ lies in the row space of X, always. For $\delta \ge 0$ the sign of $a$ is kept and the equations
    are those of a convex minimisation: one solution. For $\delta < 0$ the second layer may cross 0: its final sign
    is needed, and the equations may have several solutions, of which the one nearest to the start in Newton's sense is
    returned.

    Args:
        inputs: (n, d), $X$, of rank n.
        targets: (n,), $y$.
        first: (d,), $w_0$.
        second: the number $a_0$.
        sign: the sign of $a(\infty)$; for $\delta \ge 0$ that of $a_0$, and may be left out. For $\delta < 0$ the
            second layer may cross 0, and it must be given: `neuron_branch` has it for whitened data, a run for others.

    Raises:
        ValueError: shapes that do not fit, a rank below n, or no sign.
        IntegrationError: Newton's method found no solution of this sign.

    References:
        [azulay2021implicit].

    Example:
        >>> found = neuron_interpolation([[1.0, 0.0]], [2.0], [0.1, 0.3], 1.0)
        >>> bool(abs(found.beta[0] - 2.0) < 1e-12), float(found.first[1])
        (True, 0.3)
    """
    x, y, start = (
        checked_array(v, name) for v, name in ((inputs, "inputs"), (targets, "targets"), (first, "first"))
    )
    x, y, start = np.atleast_2d(np.asarray(x)), np.atleast_1d(np.asarray(y)), np.asarray(start)
    if x.shape != (y.size, start.size):
        raise ValueError(
            f"Argument `inputs` must have shape (n, d) = ({y.size}, {start.size}), but has shape {x.shape}."
        )
    if np.linalg.matrix_rank(x) < len(x):
        raise ValueError(
            f"Argument `inputs` must have rank {len(x)}, but has rank {np.linalg.matrix_rank(x)}."
        )
    second = real_number(second, "second")
    delta = second**2 - float(start @ start)
    may_cross = delta < -1e-12 * second**2 or second == 0
    if sign is None and may_cross:
        raise ValueError(
            f"Argument `sign` must be given where the second layer may cross 0 (delta = {delta:.4g}, second = "
            f"{second:.4g}), but is not. `neuron_branch` tells it for whitened data."
        )
    side = float(np.sign(second)) if sign is None else real_number(sign, "sign")
    if side not in (-1.0, 1.0):
        raise ValueError(f"Argument `sign` must be 1 or -1, but is {sign!r}.")
    nu = _newton(x, y, start, delta, side)
    w = start + x.T @ nu
    a = side * float(np.sqrt(delta + w @ w))
    residual = float(np.max(np.abs(a * (x @ w) - y)))
    return Interpolation(w, a, nu, residual, is_minimiser=delta >= 0 and side == np.sign(second))


def _newton(x: np.ndarray, y: np.ndarray, start: np.ndarray, delta: float, side: float) -> np.ndarray:
    """Newton's method with halving; for delta >= 0 it descends the convex dual of the minimisation."""

    def residual(nu: np.ndarray) -> np.ndarray | None:
        w = start + x.T @ nu
        squared = delta + w @ w
        return side * np.sqrt(squared) * (x @ w) - y if squared > 0 else None

    nu = np.linalg.lstsq(x.T, np.linalg.pinv(x) @ y * side, rcond=None)[0] if delta < 0 else np.zeros(len(x))
    now = residual(nu)
    scale = float(np.max(np.abs(y))) or 1.0
    for _ in range(200):
        if now is None or float(np.max(np.abs(now))) <= 4e-15 * scale:
            break
        w = start + x.T @ nu
        a = side * np.sqrt(delta + w @ w)
        step = np.linalg.solve(a * (x @ x.T) + np.outer(x @ w, x @ w) / a, -now)
        length, size = 1.0, float(np.linalg.norm(now))
        while length > 1e-12:
            tried = residual(nu + length * step)
            if tried is not None and float(np.linalg.norm(tried)) < (1 - 1e-4 * length) * size:
                break
            length /= 2
        else:
            break
        nu, now = nu + length * step, tried
    if now is None or float(np.max(np.abs(now))) > 1e-10 * scale:
        found = "no point of this sign" if now is None else f"a residual of {float(np.max(np.abs(now))):.2g}"
        raise IntegrationError(
            f"Newton's method for the interpolating neuron ended at {found} (delta = {delta:.4g}, sign {side:+.0f}). "
            "For delta < 0 the other `sign` may be the right one."
        )
    return nu
