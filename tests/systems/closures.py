"""Functions φ as users write them, with what is known about their closures, and full flows to compare with."""

from collections.abc import Callable, Mapping
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.integrate import solve_ivp

OFFSET = np.array([[0.5, -1.0, 0.25], [1.0, 0.0, -0.5], [0.0, 2.0, 1.0], [-1.0, 0.75, 0.0]])
HIDDEN = {"U": (4, 50), "V": (3, 50)}
BLOCKS = {"U2": (2, 1), "V2": (2, 1), "U1": (2, 1), "V1": (2, 1)}
CHAIN = {"W1": (3, 4), "W2": (4, 3), "W3": (2, 4)}
SMALL_CHAIN = {"W1": (2, 1), "W2": (2, 2), "W3": (1, 2)}
SQUARE = dict.fromkeys("QKVO", (2, 2))


def chain(p):
    return p["W3"] @ p["W2"] @ p["W1"]


def residual(p):
    return (jnp.eye(2) + p["U2"] @ p["V2"].T) @ (jnp.eye(2) + p["U1"] @ p["V1"].T)


def attention(p):
    return jnp.stack([p["Q"] @ p["K"].T, p["V"] @ p["O"].T])


def shared_query(p):
    return jnp.einsum("ik,hjk->hij", p["Q"], jnp.stack([p["K"], p["V"]]))


class Row(NamedTuple):
    """A row of the table of closures: status, number of observables (matrices or entries), ranks."""

    phi: Callable[[dict[str, Any]], Any]
    shapes: Mapping[str, tuple[int, ...]]
    level: Literal["words", "entries"]
    status: str
    observables: int
    rank: int
    level_set: int
    z_level_set: int
    hints: tuple[str, ...] = ()


CLOSED, IN_Z, FULL = "closed", "closed in z", "full space: no reduction"

TABLE = {
    "UV^T, words": Row(lambda p: p["U"] @ p["V"].T, {"U": (2, 3), "V": (2, 3)}, "words", CLOSED, 3, 9, 6, 4),
    "UV^T": Row(lambda p: p["U"] @ p["V"].T, {"U": (2, 3), "V": (2, 3)}, "entries", CLOSED, 10, 9, 6, 4),
    "low rank": Row(
        lambda p: OFFSET[:2, :2] + p["U"] @ p["V"].T, {"U": (2, 3), "V": (2, 3)}, "words", CLOSED, 3, 9, 6, 4
    ),
    "I + UV^T": Row(
        lambda p: jnp.eye(2) + p["U"] @ p["V"].T, {"U": (2, 3), "V": (2, 3)}, "entries", CLOSED, 10, 9, 6, 4
    ),
    "tied, words": Row(lambda p: p["U"] @ p["U"].T, {"U": (2, 3)}, "words", IN_Z, 1, 3, 3, 3),
    "tied": Row(lambda p: p["U"] @ p["U"].T, {"U": (2, 3)}, "entries", IN_Z, 3, 3, 3, 3),
    "attention, words": Row(attention, SQUARE, "words", CLOSED, 6, 14, 10, 8),
    "attention": Row(attention, SQUARE, "entries", CLOSED, 20, 14, 10, 8),
    "shared query": Row(shared_query, dict.fromkeys("QKV", (2, 2)), "words", CLOSED, 6, 11, 9, 8),
    "diagonal": Row(lambda p: p["u"] * p["v"], {"u": (3,), "v": (3,)}, "entries", FULL, 9, 6, 3, 3),
    "neuron, words": Row(
        lambda p: jnp.outer(p["u"], p["v"]), {"u": (2,), "v": (2,)}, "words", FULL, 3, 4, 3, 3
    ),
    "neuron": Row(lambda p: jnp.outer(p["u"], p["v"]), {"u": (2,), "v": (2,)}, "entries", FULL, 10, 4, 3, 3),
    "scalar chain": Row(
        lambda p: p["a"] * p["b"] * p["c"], {"a": (), "b": (), "c": ()}, "entries", FULL, 4, 3, 1, 1
    ),
    "three layers with hints": Row(
        chain, SMALL_CHAIN, "entries", CLOSED, 8, 6, 2, 1, ("tr(W2 W2^T)", "det(W2)")
    ),
    "residual, words": Row(residual, BLOCKS, "words", FULL, 7, 8, 6, 4),
    "residual": Row(residual, BLOCKS, "entries", FULL, 24, 8, 6, 4),
    "cube": Row(lambda p: p["U"] @ p["U"] @ p["U"], {"U": (2, 2)}, "words", FULL, 2, 4, 4, 4),
}


class Loss:
    """Sum of log cosh(z - S): neither quadratic nor a function of any norm of z."""

    conventions = "sum of log cosh(z - S)"

    def __init__(self, shape, seed=7):
        self.target = np.random.default_rng(seed).standard_normal(shape)

    def __call__(self, z):
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z))


def start(shapes, seed=0, scale=0.7):
    rng = np.random.default_rng(seed)
    return {name: scale * rng.standard_normal(shape) for name, shape in shapes.items()}


def integrate(state, velocity, output, ts):
    """z (time, *shape) of a dict-valued equation by SciPy's DOP853 at tight tolerance."""
    names = list(state)
    shapes = [np.shape(state[name]) for name in names]
    cuts = np.cumsum([int(np.prod(shape)) for shape in shapes])[:-1]

    def unpack(y):
        parts = np.split(y, cuts)
        return {n: part.reshape(shape) for n, part, shape in zip(names, parts, shapes, strict=True)}

    moved = jax.jit(velocity)

    def field(t, y):
        change = moved(unpack(y))
        return np.concatenate([np.ravel(change[name]) for name in names])

    y0 = np.concatenate([np.ravel(state[name]) for name in names])
    run = solve_ivp(field, (ts[0], ts[-1]), y0, method="DOP853", t_eval=ts, rtol=1e-12, atol=1e-14)
    assert run.success, run.message
    seen = jax.jit(lambda state: output(state))
    return np.stack([np.asarray(seen(unpack(y))) for y in run.y.T])


def full_flow(phi, loss, theta0, ts):
    """The full gradient flow by automatic differentiation of the composition."""
    slope = jax.grad(lambda theta: loss(phi(theta)))
    return integrate(theta0, lambda theta: jax.tree.map(jnp.negative, slope(theta)), phi, ts)


def closed_equations(dynamics, theta0, ts):
    """The equations of the observables themselves; `solve` integrates factors where they are matrices."""
    system, slope = dynamics.system, jax.grad(dynamics.training.loss)
    state = jax.jit(system.initial)(dynamics.check_start(theta0))
    return integrate(state, lambda y: system.velocity(y, slope(system.output(y))), system.output, ts)


def relative_error(full, reduced):
    return np.max(np.abs(full - reduced)) / np.max(np.abs(full))
