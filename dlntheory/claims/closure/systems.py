"""Architectures whose closures the claims examine, and the check that all of them share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...reductions.closure import Closure, find_closure
from ..evidence import Evidence

SQUARE = dict.fromkeys("QKVO", (2, 2))
BLOCKS = {"U2": (2, 1), "V2": (2, 1), "U1": (2, 1), "V1": (2, 1)}
TWO_LAYERS = {"U": (2, 3), "V": (2, 3)}


def _residual(p):
    eye = jnp.eye(2)
    return (eye + p["U2"] @ p["V2"].T) @ (eye + p["U1"] @ p["V1"].T)


FAMILIES: Mapping[str, Any] = {
    "two layers": (lambda p: p["U"] @ p["V"].T, TWO_LAYERS),
    "tied": (lambda p: p["U"] @ p["U"].T, {"U": (2, 3)}),
    "attention": (lambda p: jnp.stack([p["Q"] @ p["K"].T, p["V"] @ p["O"].T]), SQUARE),
    "shared query": (
        lambda p: jnp.stack([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T]),
        dict.fromkeys("QKV", (2, 2)),
    ),
    "diagonal": (lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}),
    "neuron": (lambda p: jnp.outer(p["u"], p["v"]), {"u": (2,), "v": (2,)}),
    "scalar chain": (lambda p: p["a"] * p["b"] * p["c"], {"a": (), "b": (), "c": ()}),
    "residual": (_residual, BLOCKS),
    "cube": (lambda p: p["U"] @ p["U"] @ p["U"], {"U": (2, 2)}),
}


@lru_cache(maxsize=32)
def architecture(name: str) -> Architecture:
    phi, shapes = FAMILIES[name]
    return Architecture(phi, shapes, name=name, try_out=False)


@lru_cache(maxsize=32)
def closure_of(name: str, level: str) -> Closure:
    return find_closure(architecture(name), level=level, propose=False)  # pyright: ignore[reportArgumentType]


def start(arch: Architecture, seed: int = 0, scale: float = 0.8) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal(shape) for name, shape in arch.shapes.items()}


class Velocities(NamedTuple):
    r"""What the observables do at some parameters, in two ways.

    Attributes:
        state: the observables.
        exact: their time derivative by the chain rule, $\partial o\,\dot\theta$.
        closed: the same by the closed equations.
        gradient: $\nabla f(z)$.
        gap: $z(o) - \varphi(\theta)$.
    """

    state: Mapping[str, Any]
    exact: Mapping[str, Any]
    closed: Mapping[str, Any]
    gradient: Any
    gap: Any

    @property
    def evidence(self) -> Evidence:
        """The closed equations against the full flow, relative to the largest time derivative, and the gap in z."""
        names = list(self.exact)
        closed, exact = ([np.asarray(values[name]) for name in names] for values in (self.closed, self.exact))
        scale = max(float(np.max(np.abs(value))) for value in exact)
        return Evidence.worst([Evidence(closed, exact, scale), Evidence(0.0, np.asarray(self.gap))])


def velocities(
    closures: Sequence[Closure], starts: Sequence[Mapping[str, Any]], factor: float = 1.0
) -> list[Velocities]:
    r"""Exact and closed time derivatives for $f(z) = \sum \log\cosh(z - S)$, all closures in one compilation.

    Args:
        closures: the closed systems.
        starts: the parameters for each.
        factor: what the last parameter array's learning rate is multiplied by; the equations hold for 1.
    """
    params = tuple(c.architecture.check(theta) for c, theta in zip(closures, starts, strict=True))
    return [Velocities(*found) for found in _compiled(tuple(closures))(params, factor)]


@lru_cache(maxsize=8)
def _compiled(closures: tuple[Closure, ...]):
    def both(starts, factor):
        return [_both(closure, params, factor) for closure, params in zip(closures, starts, strict=True)]

    return jax.jit(both)


def _both(closure: Closure, params: Mapping[str, Any], factor: Any) -> tuple[Any, ...]:
    arch, system = closure.architecture, closure.system
    assert system is not None  # every closure here is closed
    last = list(arch.shapes)[-1]
    target = np.random.default_rng(3).standard_normal(arch.output_shape)
    z, back = jax.vjp(arch, params)
    gradient = jnp.tanh(z - target)
    (layers,) = back(gradient)
    moved = {name: -value * (factor if name == last else 1.0) for name, value in layers.items()}
    state, exact = jax.jvp(system.initial, (params,), (moved,))
    return state, exact, system.velocity(state, gradient), gradient, system.output(state) - z
