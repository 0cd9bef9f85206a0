r"""`read_program`: the gate that everybody passes who reads what φ *is* instead of what JAX makes of its derivative.

Training follows JAX's derivative of φ. Words, polynomials, chains, potentials and symbols are read off the value of
φ, and equations derived from them hold only if the derivative of that value is the derivative that JAX takes. With
`stop_gradient`, `custom_jvp` or `custom_vjp` it need not be. So both are evaluated at a random point modulo a
prime, where equality is exact and a coincidence has probability of about (degree of φ)/p, factor by factor. There
are three outcomes. They agree; JAX's derivative by a whole factor is zero while that of the value is not, and the
factor is *frozen*, a constant that enters like a letter; or they differ otherwise, and φ is refused with the
operation that does it."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jax.extend import core

from .._errors import UnsupportedPrimitiveError
from .linear_algebra import DEFAULT_PRIME, random_prime
from .program import Program
from .rings.base import DivisionByZeroInRing
from .rings.multidual import NilpotentModular
from .traced import TracedMap, traced_map
from .unsupported import source_line

_ATTEMPTS = 6
#: Numbers in the largest array that a comparison of several factors at once may form.
_BATCH_NUMBERS = 4_000_000


@dataclasses.dataclass(frozen=True, eq=False)
class Reading:
    """The value of φ as a program over any ring, with a derivative that is known to be JAX's.

    Attributes:
        map: the traced φ.
        program: its value; one argument, the dict of factors.
        frozen: the factors by which JAX does not differentiate (`stop_gradient`, a custom derivative of zero),
            although
            the value depends on them. In equations of motion they are constants.
        cause: the operation that freezes them and its source line, or `""`.
    """

    map: TracedMap
    program: Program
    frozen: frozenset[str]
    cause: str

    def require_unfrozen(self, what: str) -> Program:
        """The program, if all factors move.

        Raises:
            UnsupportedPrimitiveError: a factor is frozen, and `what` has no equations for that.
        """
        if self.frozen:
            primitive, _, location = self.cause.partition(" at ")
            raise UnsupportedPrimitiveError(
                f"Argument `phi` must move all its factors for {what}, but {_listed(self.frozen)} "
                f"frozen by `{primitive}` at {location}. Put the values of frozen factors into φ as constants.",
                primitive=primitive,
                location=location,
            )
        return self.program


def read_program(phi: Callable[[dict[str, Any]], Any], shapes: Mapping[str, Any] | None = None) -> Reading:
    """The value of φ, after its derivative has been compared with JAX's, exactly at a random point modulo a prime.

    Args:
        phi: an `Architecture`, a `TracedMap`, or a function of a dict of named arrays.
        shapes: name and shape of each array, for a plain function.

    Raises:
        UnsupportedPrimitiveError: φ is neither polynomial nor rational, or JAX's derivative is not that of its value;
            the message names the operation and its line.
        DivisionByZeroInRing: a denominator of φ vanishes at every point that was tried.

    Example:
        >>> import jax
        >>> shapes = {"W1": (2, 2), "W2": (2, 2)}
        >>> read_program(lambda p: p["W2"] @ jax.lax.stop_gradient(p["W1"]), shapes).frozen
        frozenset({'W1'})
    """
    return _read(traced_map(phi, shapes))


@functools.lru_cache(maxsize=128)
def _read(traced: TracedMap) -> Reading:
    program = traced.program
    frozen = _frozen(traced)
    return Reading(traced, program, frozen, _cause(traced) if frozen else "")


def _frozen(traced: TracedMap) -> frozenset[str]:
    value, vjp = traced.program, traced.vjp_program
    rng = np.random.default_rng(0)
    prime, problem = DEFAULT_PRIME, None
    for _ in range(_ATTEMPTS):
        try:
            return _compared(traced, value, vjp, NilpotentModular(prime), rng)
        except DivisionByZeroInRing as error:
            # A denominator vanishes at this point, or modulo this prime.
            problem, prime = error, random_prime(rng)
    assert problem is not None
    raise problem


def _compared(
    traced: TracedMap, value: Program, vjp: Program, ring: NilpotentModular, rng: np.random.Generator
) -> frozenset[str]:
    r"""$\langle c, D\varphi(\theta) v\rangle$ from the value against $\langle \partial\varphi(\theta)^\top c,
    v\rangle$ from JAX.

    The first by arithmetic with $\theta + e v$, $e^2 = 0$. One random $v$ over all factors decides whether all is
    well; only if it is not, one $v$ for each factor tells which ones differ.
    """

    def draw(shape: tuple[int, ...], batch: int = 1) -> np.ndarray:
        return ring.from_integers(rng.integers(1, ring.prime, size=(batch, *shape)))

    theta = {name: draw(shape) for name, shape in traced.shapes.items()}
    direction = {name: draw(shape) for name, shape in traced.shapes.items()}
    cotangent = draw(traced.output_shape)
    gradient = vjp.evaluate(ring, theta, cotangent)

    def inner(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        product = ring.mul(a, b)
        return ring.sum(product, tuple(range(product.ndim - 2)))[0]

    def from_value(moves: Mapping[str, np.ndarray]) -> np.ndarray:
        moved = {name: ring.join(theta[name], moves[name], 0) for name in theta}
        return inner(cotangent, ring.split(value.evaluate(ring, moved), 0)[1])

    from_jax = {name: inner(gradient[name], direction[name]) for name in theta}
    if np.array_equal(from_value(direction) % ring.prime, sum(from_jax.values()) % ring.prime):
        return frozenset()
    names, largest = list(theta), max(map(math.prod, [*traced.shapes.values(), traced.output_shape]))
    chunk = max(1, _BATCH_NUMBERS // largest)
    frozen, wrong = set(), []
    for start in range(0, len(names), chunk):
        part = names[start : start + chunk]
        moves = {
            name: np.concatenate(
                [direction[name] if name == other else np.zeros_like(theta[name]) for other in part], 1
            )
            for name in names
        }
        for name, slope in zip(part, np.broadcast_to(from_value(moves), (len(part),)), strict=True):
            if slope != from_jax[name][0]:
                (wrong.append if np.any(gradient[name]) else frozen.add)(name)
    if wrong:
        primitive, _, location = _cause(traced).partition(" at ")
        raise UnsupportedPrimitiveError(
            f"Argument `phi` must have the derivative of its value, but by {_listed(wrong)[:-4]} JAX's derivative "
            f"differs "
            f"because of `{primitive}` at {location}. Hint: freeze whole factors, or none; training and "
            f"conservation laws "
            "follow JAX's derivative and need no such thing.",
            primitive=primitive,
            location=location,
        )
    return frozenset(frozen)


def _cause(traced: TracedMap) -> str:
    """`primitive at line` of the first operation of φ whose derivative JAX does not take from its value."""
    eqn = _first_cut(traced.jaxpr.jaxpr)
    if eqn is None:
        return "an operation at unknown line"
    return f"{eqn.primitive.name} at {source_line(eqn) or 'unknown line'}"


def _first_cut(jaxpr: Any) -> Any:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(("stop_gradient", "custom_")):
            return eqn
        for inner in core.jaxprs_in_params(eqn.params):
            found = _first_cut(inner)
            if found is not None:
                return found
    return None


def _listed(names: Any) -> str:
    texts = sorted(names)
    return ", ".join(texts) + (" is" if len(texts) == 1 else " are")
