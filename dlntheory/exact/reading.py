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

import jax
import jax.numpy as jnp
import numpy as np
from jax.extend import core

from .._errors import UnsupportedPrimitiveError
from .linear_algebra import DEFAULT_PRIME, random_prime
from .program import Program
from .rings.base import DivisionByZeroInRing
from .rings.multidual import NilpotentModular
from .traced import TracedMap, traced_map
from .unsupported import source_line

#: Primitives whose derivative need not be that of their value.
CUTS = ("stop_gradient", "custom_jvp_call", "custom_vjp_call")
_ATTEMPTS = 6
_MAX_PRODUCTS = 10_000_000
#: Numbers in the largest array that a comparison of several factors at once may form.
_BATCH_NUMBERS = 4_000_000
# Central differences with this step are right to about 1e-10 relative to φ.
_STEP = 1e-5
_FLOAT_TOLERANCE = 1e-7


class DerivativeError(UnsupportedPrimitiveError):
    """JAX's derivative of φ is not the derivative of its value, not even with some factors held fixed."""


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


def require_derivative(
    phi: Callable[[dict[str, Any]], Any], shapes: Mapping[str, Any] | None = None, *, forward: bool = False
) -> frozenset[str]:
    """The frozen factors of any φ, for those who evaluate both φ and its derivative in floats.

    A φ that is neither polynomial nor rational is compared in floats, by central differences at a random point.

    Args:
        phi: as in `read_program`.
        shapes: likewise.
        forward: whether derivatives are taken in forward mode, which `custom_vjp` does not have.

    Raises:
        DerivativeError: JAX's derivative is not that of the value.
        UnsupportedPrimitiveError: `forward` is asked of a φ with `custom_vjp`.
    """
    traced = traced_map(phi, shapes)
    eqn = _first_cut(traced.jaxpr.jaxpr, "custom_vjp")
    if forward and eqn is not None:
        location = source_line(eqn) or "unknown line"
        raise UnsupportedPrimitiveError(
            "Argument `phi` must have derivatives in forward mode here, but uses `custom_vjp` at "
            f"{location}. Hint: `jax.custom_jvp` has both; `stop_gradient` freezes a factor.",
            primitive=eqn.primitive.name,
            location=location,
        )
    try:
        return read_program(traced).frozen
    except DerivativeError:
        raise
    except UnsupportedPrimitiveError:
        return frozenset() if _first_cut(traced.jaxpr.jaxpr) is None else _frozen_in_floats(traced)


@functools.lru_cache(maxsize=128)
def _read(traced: TracedMap) -> Reading:
    program = traced.program
    # Where no operation has a derivative of its own, JAX's is that of the value; large networks are spared the
    # arithmetic.
    is_honest = program.products > _MAX_PRODUCTS and _first_cut(traced.jaxpr.jaxpr) is None
    frozen = frozenset() if is_honest else _frozen(traced)
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
        raise _differs(traced, wrong)
    return frozenset(frozen)


def _frozen_in_floats(traced: TracedMap) -> frozenset[str]:
    """The same comparison for a φ that has no meaning over a ring: central differences at a random float point."""
    rng = np.random.default_rng(0)
    theta = {name: rng.standard_normal(shape) for name, shape in traced.shapes.items()}
    cotangent = rng.standard_normal(traced.output_shape)
    with jax.enable_x64(True):
        value, pull = jax.vjp(traced, theta)
        (gradient,) = pull(jnp.asarray(cotangent))
        frozen, wrong = set(), []
        for name, shape in traced.shapes.items():
            move = rng.standard_normal(shape)
            ahead, behind = (
                np.asarray(traced(theta | {name: theta[name] + sign * _STEP * move})) for sign in (1.0, -1.0)
            )
            change = (ahead - behind) / (2 * _STEP)
            size = np.linalg.norm(cotangent) * (np.linalg.norm(change) + np.linalg.norm(value))
            if abs(np.vdot(cotangent, change) - np.vdot(gradient[name], move)) > _FLOAT_TOLERANCE * size:
                (wrong.append if np.any(gradient[name]) else frozen.add)(name)
    if wrong:
        raise _differs(traced, wrong)
    return frozenset(frozen)


def _differs(traced: TracedMap, names: list[str]) -> DerivativeError:
    primitive, _, location = _cause(traced).partition(" at ")
    return DerivativeError(
        f"Argument `phi` must have the derivative of its value, but JAX's derivative by {', '.join(names)} "
        f"differs from it "
        f"because of `{primitive}` at {location}. Hint: freeze whole factors, or none; training and conservation "
        f"laws "
        "follow JAX's derivative and take every φ.",
        primitive=primitive,
        location=location,
    )


def _cause(traced: TracedMap) -> str:
    """`primitive at line` of the first operation of φ whose derivative JAX does not take from its value."""
    eqn = _first_cut(traced.jaxpr.jaxpr)
    if eqn is None:
        return "an operation at unknown line"
    return f"{eqn.primitive.name} at {source_line(eqn) or 'unknown line'}"


def _first_cut(jaxpr: Any, *names: str) -> Any:
    for eqn in jaxpr.eqns:
        if eqn.primitive.name.startswith(names or ("stop_gradient", "custom_")):
            return eqn
        for inner in core.jaxprs_in_params(eqn.params):
            found = _first_cut(inner, *names)
            if found is not None:
                return found
    return None


def _listed(names: Any) -> str:
    texts = sorted(names)
    return ", ".join(texts) + (" is" if len(texts) == 1 else " are")
