r"""Systems of vector fields: what a training rule can do, whatever the loss and the data.

A law is a function that every field of the system leaves constant; the Lie algebra of the fields counts the laws.
A system is evaluated, never expanded: its field runs over the ring $\mathbb F_p[e]/(e^2)$, where brackets come from.
"""

from __future__ import annotations

import abc
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from .._checks import real_number
from ..architecture import Architecture
from ..exact import DivisionByZeroInRing, NilpotentModular, exact_array
from .vjp import (
    AbstractVjp,
    RingState as RingState,
    random_residues,
    vjp_of,
    vjp_program as vjp_program,
)

_REDRAWS = 5


class AbstractSystem(abc.ABC):
    """A finite family of polynomial or rational vector fields on a space of named arrays, given by random combinations.

    Coordinates are the entries of the blocks in order, each block row by row. The combinations that `draw` returns
    must span all combinations; they need not be all of them.
    """

    @property
    @abc.abstractmethod
    def label(self) -> str:
        """The training rule in words, for certificates."""

    @property
    @abc.abstractmethod
    def architecture(self) -> Architecture:
        """The network that is trained."""

    @property
    @abc.abstractmethod
    def blocks(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Names and shapes of the state's arrays, in the order of the coordinates."""

    @abc.abstractmethod
    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> Any:
        """Coefficients of `batch` random combinations of the generators, level 0."""

    @abc.abstractmethod
    def field(self, ring: NilpotentModular, state: RingState, combination: Any) -> RingState:
        """The combined field at a state of the ring, block by block."""

    def _value(self) -> Any:
        """What the system is made of: two of one class are equal if this is. By default it is equal to itself only."""
        return id(self)

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self._value() == other._value()  # type: ignore[attr-defined]

    def __hash__(self) -> int:
        return hash((type(self), self._value()))

    @property
    def dimension(self) -> int:
        """The number of coordinates."""
        return sum(math.prod(shape) for _, shape in self.blocks)

    @property
    def peak_memory(self) -> int:
        """The size of the largest array that one evaluation forms, for chunks that fit the memory."""
        return self.dimension

    @property
    def generators(self) -> int | None:
        """The number of generators, which bounds the rank of the fields themselves, where it is known."""
        return None

    @property
    def is_rational(self) -> bool:
        """Whether the fields have denominators that depend on the point."""
        return False

    def has_good_reduction(self, prime: int) -> bool:
        """Whether no denominator of a constant in the fields is divisible by `prime`."""
        return True

    def defined_points(self, ring: NilpotentModular, rng: np.random.Generator, count: int) -> np.ndarray:
        """Random points (count, D), entries uniform in 1..p-1; where a denominator vanishes drawn up to 6 times.

        Raises:
            DivisionByZeroInRing: a denominator vanishes at every one of the points drawn.
        """
        points = rng.integers(1, ring.prime, size=(count, self.dimension))
        for redraws in range(_REDRAWS + 1) if self.is_rational else ():
            try:
                self.require_defined(ring, points, rng)
            except DivisionByZeroInRing as error:
                if redraws == _REDRAWS:
                    raise
                bad = np.broadcast_to(error.points, (count,))
                points[bad] = rng.integers(1, ring.prime, size=(bad.sum(), self.dimension))
            else:
                break
        return points

    def require_defined(self, ring: NilpotentModular, points: np.ndarray, rng: np.random.Generator) -> None:
        """Evaluate random combinations of the fields at points (count, D).

        Raises:
            DivisionByZeroInRing: a denominator vanishes at some of them.
        """
        combination = self.draw(ring, rng, len(points))
        self.field(ring, self.unflatten(ring, points[None]), combination)

    def flatten(self, ring: NilpotentModular, state: RingState) -> np.ndarray:
        """The blocks as one ring vector of shape (dimension,)."""
        level = max(ring.level(state[name]) for name, _ in self.blocks)
        batch = max(state[name].shape[1] for name, _ in self.blocks)
        flat = [
            np.broadcast_to(
                ring.reshape(ring.lift(state[name], level), (math.prod(shape),)),
                (2**level, batch, math.prod(shape)),
            )
            for name, shape in self.blocks
        ]
        return np.concatenate(flat, axis=2)

    def unflatten(self, ring: NilpotentModular, vector: np.ndarray) -> RingState:
        """The inverse of `flatten`."""
        state, start = {}, 0
        for name, shape in self.blocks:
            stop = start + math.prod(shape)
            state[name] = ring.reshape(vector[:, :, start:stop], shape)
            start = stop
        return state


class GradientSystem(AbstractSystem):
    r"""Gradient flow with an optional metric: $X_i = M(\theta)\,\nabla\varphi_i(\theta)$.

    Args:
        arch: the architecture.
        metric: by factor name, `"theta"` for the diagonal metric of the factor itself (multiplicative updates,
            mirror flow of the entropy); factors not named have the Euclidean metric.
        vjp: how gradients are computed; by default the cheapest way, see `vjp_of`.

    Raises:
        ValueError: `metric` names no factor, or an unknown metric.
        UnsupportedPrimitiveError: φ is neither polynomial nor rational.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        metric: Mapping[str, str] | None = None,
        vjp: AbstractVjp | None = None,
    ):
        self._arch = arch
        self._metric = _checked_metric(arch, metric, ("theta",))
        self._vjp = vjp or vjp_of(arch)

    def _value(self) -> Any:
        return self._arch, frozenset(self._metric.items()), type(self._vjp)

    @property
    def label(self) -> str:
        if not self._metric:
            return "gradient flow"
        return "metric flow, " + ", ".join(f"diag({name}) on {name}" for name in self._metric)

    @property
    def architecture(self) -> Architecture:
        return self._arch

    @property
    def metric(self) -> dict[str, str]:
        """The non-Euclidean factors and their metrics."""
        return dict(self._metric)

    @property
    def blocks(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        return self._arch.named_shapes

    @property
    def vjp(self) -> AbstractVjp:
        """How gradients are computed."""
        return self._vjp

    @property
    def peak_memory(self) -> int:
        return max(self.dimension, self._vjp.peak_memory)

    @property
    def generators(self) -> int | None:
        return self._vjp.outputs

    @property
    def is_rational(self) -> bool:
        return self._vjp.is_rational

    def has_good_reduction(self, prime: int) -> bool:
        return self._vjp.has_good_reduction(prime)

    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> Any:
        return self._vjp.draw(ring, rng, batch)

    def field(self, ring: NilpotentModular, state: RingState, combination: Any) -> RingState:
        gradient = self._vjp(ring, state, combination)
        return {
            name: ring.mul(state[name], gradient[name]) if name in self._metric else gradient[name]
            for name, _ in self.blocks
        }


class MomentumSystem(AbstractSystem):
    r"""Second-order training $\theta'' + \tau\theta' = -M\,\nabla(f\circ\varphi)$ on the state $(s, \theta, \theta')$.

    Generators, with $w = \theta'$: the drift and the impulses $(0, 0, M\nabla\varphi_i)$. The drift is $(1, w, 0)$
    without friction, $(\tau s, w, -\tau w)$ with $s = e^{\tau t}$ for friction $\tau > 0$, and $(s, s w, -c w)$
    with $s = t$ for friction $c/t$ (a field may be multiplied by a function).

    Args:
        arch: the architecture.
        friction: $\tau \ge 0$ as an integer or a fraction, or `("over_t", c)`.
        metric: by factor name, `"theta"` for diag(θ) or `"mirror"` for diag(τθ + w).
        vjp: how gradients are computed; by default the cheapest way, see `vjp_of`.

    Raises:
        ValueError: a negative friction, or an unknown metric.
    """

    def __init__(
        self,
        arch: Architecture,
        *,
        friction: Any = 0,
        metric: Mapping[str, str] | None = None,
        vjp: AbstractVjp | None = None,
    ):
        self._arch = arch
        self._metric = _checked_metric(arch, metric, ("theta", "mirror"))
        self._over_t = isinstance(friction, (tuple, list))
        if self._over_t and (len(friction) != 2 or friction[0] != "over_t"):
            raise ValueError(f'Argument `momentum` must be a number or ("over_t", c), but is {friction!r}.')
        self._friction = _friction(friction[1] if self._over_t else friction)
        if self._over_t and any(kind == "mirror" for kind in self._metric.values()):
            raise ValueError('Argument `metric` must not be "mirror" with friction c/t, but is.')
        names = [name for name, _ in self.blocks]
        if repeated := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(
                f"Argument `arch` must have no factor called like the time `s` or a velocity, but has {repeated}."
            )
        self._vjp = vjp or vjp_of(arch)

    def _value(self) -> Any:
        return self._arch, self._friction, self._over_t, frozenset(self._metric.items()), type(self._vjp)

    @property
    def label(self) -> str:
        damping = f"({self._friction})/t" if self._over_t else str(self._friction)
        metric = "".join(f", metric {kind} on {name}" for name, kind in self._metric.items())
        return f"momentum flow, friction {damping}{metric}"

    @property
    def architecture(self) -> Architecture:
        return self._arch

    @property
    def friction(self) -> Any:
        """The friction as given: a fraction, or `("over_t", fraction)`."""
        return ("over_t", self._friction) if self._over_t else self._friction

    @property
    def metric(self) -> dict[str, str]:
        """The non-Euclidean factors and their metrics."""
        return dict(self._metric)

    @property
    def blocks(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        positions = self._arch.named_shapes
        velocities = tuple((velocity_name(name), shape) for name, shape in positions)
        return (("s", ()), *positions, *velocities)

    @property
    def vjp(self) -> AbstractVjp:
        """How gradients are computed."""
        return self._vjp

    @property
    def peak_memory(self) -> int:
        return max(self.dimension, self._vjp.peak_memory)

    @property
    def generators(self) -> int | None:
        return 1 + self._vjp.outputs

    @property
    def is_rational(self) -> bool:
        return self._vjp.is_rational

    def has_good_reduction(self, prime: int) -> bool:
        return self._friction.denominator % prime != 0 and self._vjp.has_good_reduction(prime)

    def draw(self, ring: NilpotentModular, rng: np.random.Generator, batch: int) -> Any:
        return random_residues(ring, rng, batch, ()), self._vjp.draw(ring, rng, batch)

    def field(self, ring: NilpotentModular, state: RingState, combination: Any) -> RingState:
        drift, impulses = combination
        s = state["s"]
        tau = ring.constant(np.asarray(self._friction, dtype=object))
        theta = {name: state[name] for name, _ in self._arch.named_shapes}
        gradient = self._vjp(ring, theta, impulses)
        if self._over_t:
            out = {"s": ring.mul(drift, s)}
            speed = ring.mul(drift, s)
        else:
            # Without friction s is time itself; with it, s = exp(tau t).
            out = {"s": ring.mul(drift, ring.mul(tau, s)) if self._friction else drift}
            speed = drift
        for name, shape in self._arch.named_shapes:
            velocity = state[velocity_name(name)]
            impulse = gradient[name]
            if kind := self._metric.get(name):
                weight = theta[name]
                if kind == "mirror":
                    weight = ring.add(ring.mul(_spread(ring, tau, shape), theta[name]), velocity)
                impulse = ring.mul(weight, impulse)
            damping = ring.mul(_spread(ring, ring.mul(drift, tau), shape), velocity)
            out[name] = ring.mul(_spread(ring, speed, shape), velocity)
            out[velocity_name(name)] = ring.add(impulse, ring.neg(damping))
        return out


def velocity_name(factor: str) -> str:
    """The name of the velocity block of a factor."""
    return f"{factor}'"


def training_system(
    arch: Architecture, *, momentum: Any = None, metric: Mapping[str, str] | None = None
) -> GradientSystem | MomentumSystem:
    r"""The system of a training rule.

    Args:
        arch: the architecture.
        momentum: `None` for first-order gradient flow; the friction $\tau \ge 0$, or `("over_t", c)`, for
            second-order training.
        metric: by factor name, see `GradientSystem` and `MomentumSystem`.
    """
    if momentum is None:
        return GradientSystem(arch, metric=metric)
    return MomentumSystem(arch, friction=momentum, metric=metric)


def _spread(ring: NilpotentModular, scalar: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    return ring.take([ring.reshape(scalar, (1,))], np.zeros(shape, dtype=np.int64))


def _checked_metric(arch: Architecture, metric: Mapping[str, str] | None, known: tuple[str, ...]):
    if not isinstance(metric, Mapping | None):
        raise ValueError(f"Argument `metric` must be a dict by factor name, but is {metric!r}.")
    for name, kind in (metric or {}).items():
        if name not in arch.shapes:
            raise ValueError(
                f"Argument `metric` must name factors of {arch.name}, {list(arch.shapes)}, but names {name!r}."
            )
        if kind not in known:
            raise ValueError(f"Argument `metric['{name}']` must be one of {known}, but is {kind!r}.")
    return dict(metric or {})


def _friction(value: Any) -> Fraction:
    if not isinstance(value, Fraction):
        real_number(value, "momentum")
    fraction = exact_array(value).item()
    if fraction < 0:
        raise ValueError(f"Argument `momentum` must be a friction of at least 0, but is {value}.")
    return fraction
