r"""What claims are held against: one integrator, one gradient and one loss that share nothing with the package.

The integrator is SciPy's DOP853 at tight tolerances, the gradients of matrix products are written by hand in NumPy, and
the loss is neither quadratic nor a quadratic in disguise, so that an equation that holds for it holds for any.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

from .curves import error_over_time
from .evidence import Evidence

Layers = Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class LogCosh:
    r"""$f(z) = \sum_{ij} \log\cosh(z - S)_{ij}$ with a random target $S$.

    Attributes:
        shape: of $z$.
        seed: of $S$.
        scale: standard deviation of the entries of $S$.
    """

    shape: tuple[int, ...]
    seed: int = 7
    scale: float = 1.0
    conventions = "sum of log cosh(z - S)"

    @cached_property
    def target(self) -> np.ndarray:
        """$S$."""
        return self.scale * np.random.default_rng(self.seed).standard_normal(self.shape)

    def __call__(self, z: Any) -> Any:
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z) - jnp.log(2.0))

    def gradient(self, z: np.ndarray) -> np.ndarray:
        r"""$\nabla f(z) = \tanh(z - S)$, by hand."""
        return np.tanh(z - self.target)


def flow(
    velocity: Callable[..., Any], start: Any, ts: Any, *, rtol: float = 1e-12, atol: float = 1e-14
) -> list[np.ndarray]:
    """Parts of a solution of an ordinary differential equation over time, by SciPy's DOP853.

    Args:
        velocity: maps the time and each part of the state to the velocities of the parts, in order.
        start: the parts at the first time, arrays of any shapes.
        ts: increasing times, or a single one if the start is at time 0 and only the end is wanted.

    Returns:
        Each part with a leading axis of times; without it where `ts` is one number.
    """
    from scipy.integrate import solve_ivp

    start = [np.asarray(part, dtype=float) for part in start]
    cuts = np.cumsum([part.size for part in start])[:-1]
    times = np.array([0.0, ts]) if np.ndim(ts) == 0 else np.asarray(ts, dtype=float)

    def parts(y: np.ndarray) -> list[np.ndarray]:
        return [one.reshape(like.shape) for one, like in zip(np.split(y, cuts), start, strict=True)]

    def field(t: float, y: np.ndarray) -> np.ndarray:
        return np.concatenate([np.ravel(part) for part in velocity(t, *parts(y))])

    y0 = np.concatenate([part.ravel() for part in start])
    run = solve_ivp(field, (times[0], times[-1]), y0, method="DOP853", t_eval=times, rtol=rtol, atol=atol)
    if not run.success:
        raise ArithmeticError(f"The reference integration failed: {run.message}")
    along = [
        one.reshape(len(times), *like.shape)
        for one, like in zip(np.split(run.y.T, cuts, axis=1), start, strict=True)
    ]
    return [one[-1] for one in along] if np.ndim(ts) == 0 else along


def product(layers: Layers, size: int | None = None) -> np.ndarray:
    r"""$W_L \cdots W_1$; the identity of this size if there are no layers."""
    z = np.eye(len(layers[0].T) if size is None else size)
    for layer in layers:
        z = layer @ z
    return z


def chain_gradients(layers: Layers, gradient: np.ndarray) -> list[np.ndarray]:
    r"""$(W_L \cdots W_{l+1})^\top\, G\, (W_{l-1} \cdots W_1)^\top$ for each layer, for $G = \nabla f(z)$."""
    below = [np.eye(layers[0].shape[1])]
    for layer in layers[:-1]:
        below.append(layer @ below[-1])
    found = []
    for layer, right in zip(reversed(layers), reversed(below), strict=True):
        found.append(gradient @ right.T)
        gradient = layer.T @ gradient
    return found[::-1]


def chain_flow(
    layers: Layers,
    gradient: Callable[[np.ndarray], np.ndarray],
    ts: Any,
    *,
    rates: Sequence[float] | None = None,
    weight_decay: float = 0.0,
    **tolerances: float,
) -> list[np.ndarray]:
    r"""The layers of a linear network along $\dot W_l = -e_l\,(\nabla_{W_l} f + \gamma W_l)$, in the form of `flow`.

    Args:
        layers: at the start, input to output.
        gradient: $\nabla f$.
        ts: as in `flow`.
        rates: $e_l$, by default 1.
        weight_decay: $\gamma$.
        **tolerances: `rtol` and `atol`.
    """
    rates = [1.0] * len(layers) if rates is None else rates

    def velocity(t: float, *weights: np.ndarray) -> list[np.ndarray]:
        layer_gradients = chain_gradients(weights, gradient(product(weights)))
        return [
            -rate * (g + weight_decay * w) for rate, g, w in zip(rates, layer_gradients, weights, strict=True)
        ]

    return flow(velocity, layers, ts, **tolerances)


def chain_products(layers: Layers) -> np.ndarray:
    """z at each time, for layers with a leading axis of times."""
    return np.stack([product(one) for one in zip(*layers, strict=True)])


def random_layers(widths: Sequence[int], seed: int, scale: float = 1.0) -> list[np.ndarray]:
    """Gaussian layers of a linear network, input to output."""
    rng = np.random.default_rng(seed)
    return [scale * rng.standard_normal((after, before)) for before, after in itertools.pairwise(widths)]


def rotation(size: int, seed: int) -> np.ndarray:
    """A random orthogonal matrix."""
    return np.linalg.qr(np.random.default_rng(seed).standard_normal((size, size)))[0]


def named(layers: Layers) -> dict[str, np.ndarray]:
    """Layers under the names W1, W2, …"""
    return {f"W{index}": layer for index, layer in enumerate(layers, start=1)}


@eqx.filter_jit
def _velocity(dynamics: Any, like: Any, vector: Any) -> Any:
    _, unravel = ravel_pytree(like)
    return ravel_pytree(dynamics.velocity(0.0, unravel(vector)))[0]


def output_along(dynamics: Any, theta0: Mapping[str, Any], ts: Any, **tolerances: float) -> np.ndarray:
    """z along a flow of the package at these times: its velocity is the package's, the integrator is not."""
    like = dynamics.initial(dynamics.architecture.check(theta0))
    start, unravel = ravel_pytree(like)
    (states,) = flow(lambda t, y: [np.asarray(_velocity(dynamics, like, y))], [start], ts, **tolerances)
    return np.stack([np.asarray(dynamics.output(unravel(state))) for state in states])


def same_flow(ts: Any, full: Any, reduced: Any, detail: str = "") -> Evidence:
    r"""Evidence that a reduction gives the $z(t)$ of the full flow.

    Args:
        ts: (time,) times.
        full: (time, …) $z$ of the full flow, which counts as measured.
        reduced: (time, …) $z$ of the reduction, which counts as predicted.
        detail: further words.
    """
    words = "the entry of z that differs most; error relative to the largest entry"
    return Evidence(
        np.asarray(reduced),
        np.asarray(full),
        scale=float(np.max(np.abs(full))),
        detail=f"{words}; {detail}" if detail else words,
        curves=error_over_time(ts, full, reduced),
    )
