r"""From path products and laws back to the weights of a ReLU network, for any depth.

Two steps. Some weights with these path products come from ratios of them, with pivots chosen where they are largest.
Then every hidden neuron ν is rescaled by $e^{x_\nu}$ (incoming weights and bias times $e^{x_\nu}$, outgoing weights
divided by it) so that its law takes its value $h_\nu$: the unique minimum of the convex function
$F(x) = \frac12 \sum_{\text{edges}} w^2 e^{2(x_{\text{head}} - x_{\text{tail}})} - h \cdot x$, with $x = 0$ at inputs,
biases and outputs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from ...architecture import Architecture
from ...training import State
from .neurons import lifting_of

#: Newton steps are quadratic near the minimum; generic starts need at most about ten.
MAX_STEPS = 60
_ARMIJO = 1e-4


def weights_from_paths(arch: Architecture, z) -> State:
    r"""Weights with the path products $z$, unique up to a rescaling of every hidden neuron.

    The largest outgoing weight of each hidden neuron becomes 1. From the last layer down, the paths through neuron ν
    form a matrix of rank one, outgoing weight times path into ν; its largest row is taken for the paths into ν, and
    the weights are the projections of all rows on it. So weights may be zero or change sign, as long as no neuron
    vanishes; the pivots are chosen anew at every call.

    Args:
        arch: a ReLU network by its path lifting.
        z: (d_L, paths), path products.

    Returns:
        The weights and biases by name. Pure; a vanishing neuron yields zeros, never NaN.

    Raises:
        ValueError: `arch` is no path lifting with a hidden layer.

    Example:
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> arch = dln.relu_network((2, 1, 1))
        >>> {name: value.tolist() for name, value in weights_from_paths(arch, jnp.array([[3.0, -1.0]])).items()}
        {'W1': [[3.0, -1.0]], 'W2': [[1.0]]}
    """
    lifting = lifting_of(arch, "`weights_from_paths`")
    shapes = arch.shapes
    found: State = {}
    paths = z
    for layer in reversed(range(1, len(lifting.weights))):
        name = lifting.weights[layer]
        outgoing, hidden = shapes[name]
        through = paths.reshape(outgoing, hidden, -1)
        sizes = jnp.sum(through**2, axis=2)
        pivot = jnp.argmax(sizes, axis=0)
        into = jnp.take_along_axis(through, pivot[None, :, None], axis=0)[0]
        square = jnp.max(sizes, axis=0)
        inner = jnp.sum(through * into[None, :, :], axis=2)
        is_alive = (square > 0)[None, :]
        found[name] = jnp.where(is_alive, inner / jnp.where(is_alive, square[None, :], 1.0), 0.0)
        if lifting.biases:
            found[lifting.biases[layer - 1]] = into[:, -1]
            into = into[:, :-1]
        paths = into
    found[lifting.weights[0]] = paths
    return {name: found[name] for name in shapes}


def rescaling_to_laws(
    arch: Architecture, theta: Mapping[str, Any], laws, rates: Mapping[str, Any] | None = None
):
    r"""The $x$ for which rescaling hidden neurons by $e^{x_\nu}$ gives these laws, by damped Newton with Armijo's rule.

    Differentiable once, in `theta`, `laws` and `rates`: one last Newton step carries the derivative of the implicit
    function, so nothing is differentiated through the iteration.

    Args:
        arch: a ReLU network by its path lifting.
        theta: weights in which no neuron vanishes.
        laws: $h$, one number for each hidden neuron, first layer first.
        rates: learning rates $e$ by factor name; $w^2$ counts as $w^2/e$.

    Returns:
        ($x$ (hidden neurons,), number of Newton steps, remaining $\max_\nu |h(\theta_x) - h|$).
    """
    squares = {name: theta[name] ** 2 / (rates or {}).get(name, 1.0) for name in arch.shapes}
    edges = _edges(arch, squares)
    x, steps = _minimise(
        jax.tree.map(jax.lax.stop_gradient, edges), jax.lax.stop_gradient(laws), _widths(arch)
    )
    x = jax.lax.stop_gradient(x)
    gradient = _gradient(edges, laws, x, _widths(arch))
    step = _newton_step(jax.tree.map(jax.lax.stop_gradient, edges), x, gradient, _widths(arch))
    x = x + step
    return x, steps, jnp.max(jnp.abs(_gradient(edges, laws, x, _widths(arch))))


def weights_from_paths_and_laws(arch: Architecture, z, laws, rates: Mapping[str, Any] | None = None) -> State:
    r"""The weights with path products $z$ and laws $h$, unique up to the sign of every hidden neuron.

    Args:
        arch: a ReLU network by its path lifting.
        z: (d_L, paths).
        laws: $h_\nu$ = squared incoming weights and bias less squared outgoing weights, each divided by its rate;
            (hidden neurons,), first layer first.
        rates: learning rates by factor name.

    Returns:
        The weights and biases by name. Pure and once differentiable.

    Validity:
        Exact where $z$ are path products and no hidden neuron vanishes in them. Signs: the largest outgoing weight of
        each hidden neuron is positive.

    Raises:
        ValueError: `arch` is no path lifting with a hidden layer.

    References:
        [marcotte2026intrinsic] (recoverability); the convex rescaling is derived here.

    Example:
        >>> import jax; jax.config.update("jax_enable_x64", True)
        >>> import dlntheory as dln, jax.numpy as jnp
        >>> arch = dln.relu_network((1, 1, 1))
        >>> theta = weights_from_paths_and_laws(arch, jnp.array([[6.0]]), jnp.array([-5.0]))
        >>> [round(float(theta[name][0, 0]), 12) for name in ("W1", "W2")]
        [2.0, 3.0]
    """
    theta = weights_from_paths(arch, z)
    x, _, _ = rescaling_to_laws(arch, theta, laws, rates)
    return rescaled(arch, theta, x)


def rescaled(arch: Architecture, theta: Mapping[str, Any], x) -> State:
    """The weights after multiplying what enters hidden neuron ν by $e^{x_ν}$ and dividing what leaves it. Pure."""
    lifting = lifting_of(arch, "`rescaled`")
    widths = _widths(arch)
    parts = _split(x, widths)
    tails = [jnp.zeros(arch.shapes[lifting.weights[0]][1], x.dtype), *parts]
    heads = [*parts, jnp.zeros(arch.shapes[lifting.weights[-1]][0], x.dtype)]
    out = {}
    for name, head, tail in zip(lifting.weights, heads, tails, strict=True):
        out[name] = theta[name] * jnp.exp(head[:, None] - tail[None, :])
    for name, head in zip(lifting.biases, parts, strict=False):
        out[name] = theta[name] * jnp.exp(head)
    return {name: out[name] for name in arch.shapes}


def _widths(arch: Architecture) -> tuple[int, ...]:
    """Widths of the hidden layers."""
    lifting = lifting_of(arch, "`rescaling_to_laws`")
    return tuple(arch.shapes[name][0] for name in lifting.weights[:-1])


def _split(x, widths: Sequence[int]):
    parts, start = [], 0
    for width in widths:
        parts.append(x[start : start + width])
        start += width
    return parts


def _edges(arch: Architecture, squares: Mapping[str, Any]):
    """Squared weights by kind of edge: from outside into each hidden layer, between neighbours, out of the last one."""
    lifting = lifting_of(arch, "`rescaling_to_laws`")
    sources = [squares[name] for name in lifting.biases] or [
        jnp.zeros(width, squares[lifting.weights[0]].dtype) for width in _widths(arch)
    ]
    sources[0] = sources[0] + jnp.sum(squares[lifting.weights[0]], axis=1)
    between = [squares[name] for name in lifting.weights[1:-1]]
    return sources, between, jnp.sum(squares[lifting.weights[-1]], axis=0)


def _flows(edges, x, widths):
    """The terms $w^2 e^{2(x_head - x_tail)}$ by kind of edge."""
    sources, between, sinks = edges
    parts = _split(x, widths)
    entering = [source * jnp.exp(2.0 * part) for source, part in zip(sources, parts, strict=True)]
    inner = [
        square * jnp.exp(2.0 * (head[:, None] - tail[None, :]))
        for square, head, tail in zip(between, parts[1:], parts[:-1], strict=True)
    ]
    return entering, inner, sinks * jnp.exp(-2.0 * parts[-1])


def _sums(edges, x, widths):
    """Incoming and outgoing totals of every hidden neuron, (hidden neurons,) each."""
    entering, inner, leaving = _flows(edges, x, widths)
    incoming = [entering[0]] + [
        bias + jnp.sum(flow, axis=1) for bias, flow in zip(entering[1:], inner, strict=True)
    ]
    outgoing = [jnp.sum(flow, axis=0) for flow in inner] + [leaving]
    return jnp.concatenate(incoming), jnp.concatenate(outgoing)


def _value(edges, laws, x, widths):
    entering, inner, leaving = _flows(edges, x, widths)
    total = sum(jnp.sum(flow) for flow in [*entering, *inner, leaving])
    return 0.5 * total - jnp.sum(laws * x)


def _gradient(edges, laws, x, widths):
    incoming, outgoing = _sums(edges, x, widths)
    return incoming - outgoing - laws


def _newton_step(edges, x, gradient, widths):
    incoming, outgoing = _sums(edges, x, widths)
    _, inner, _ = _flows(edges, x, widths)
    hessian = jnp.diag(2.0 * (incoming + outgoing))
    start = 0
    for flow, below in zip(inner, widths[:-1], strict=True):
        above = start + below
        hessian = hessian.at[above : above + flow.shape[0], start:above].set(-2.0 * flow)
        hessian = hessian.at[start:above, above : above + flow.shape[0]].set(-2.0 * flow.T)
        start = above
    # A vanishing neuron has an empty row; it is left where it is.
    empty = incoming + outgoing <= 0.0
    hessian = hessian + jnp.diag(jnp.where(empty, 1.0, 0.0))
    return -jnp.linalg.solve(hessian, jnp.where(empty, 0.0, gradient))


def _minimise(edges, laws, widths):
    """(minimum, steps): one sweep of exact minimisation in one neuron after the other, then damped Newton steps."""
    x = jnp.zeros_like(laws)
    # In one neuron alone the condition is a e^{2y} - b e^{-2y} = h: a quadratic equation for e^{2y}.
    start = 0
    for width in widths:
        incoming, outgoing = _sums(edges, x, widths)
        a, b, law = (part[start : start + width] for part in (incoming, outgoing, laws))
        root = jnp.sqrt(law * law + 4.0 * a * b)
        alive = (a > 0) & (b > 0)
        a_safe, b_safe = jnp.where(alive, a, 1.0), jnp.where(alive, b, 1.0)
        up = jnp.where(
            law > 0, (law + root) / (2.0 * a_safe), 2.0 * b_safe / jnp.where(alive, root - law, 1.0)
        )
        move = jnp.where(alive, 0.5 * jnp.log(jnp.where(alive, up, 1.0)), 0.0)
        x = x.at[start : start + width].add(move)
        start += width

    # Below this the gradient is the rounding of its own terms.
    def tolerance(x):
        incoming, outgoing = _sums(edges, x, widths)
        return 4.0 * jnp.finfo(x.dtype).eps * jnp.max(incoming + outgoing + jnp.abs(laws))

    def keep_going(carry):
        x, gradient, steps, moved = carry
        return (steps < MAX_STEPS) & moved & (jnp.max(jnp.abs(gradient)) > tolerance(x))

    def step(carry):
        x, gradient, steps, _ = carry
        direction = _newton_step(edges, x, gradient, widths)
        slope = jnp.sum(direction * gradient)
        value = _value(edges, laws, x, widths)
        slack = 8.0 * jnp.finfo(x.dtype).eps * jnp.abs(value)

        def too_long(length):
            new = _value(edges, laws, x + length * direction, widths)
            # A non-finite value compares as false, so the sufficient decrease is what is negated.
            is_enough = new <= value + _ARMIJO * length * slope + slack
            return ~is_enough & (length > 1e-12)

        length = jax.lax.while_loop(too_long, lambda length: 0.5 * length, jnp.ones_like(value))
        new = x + length * direction
        after = _gradient(edges, laws, new, widths)
        # Near the minimum Newton's method squares the error. A step there that does not halve the gradient has met its
        # rounding, which on some processors is a few times the tolerance.
        before, left = jnp.max(jnp.abs(gradient)), jnp.max(jnp.abs(after))
        is_rounding = (left > 0.5 * before) & (before < 1e3 * tolerance(x))
        return new, after, steps + 1, (length > 1e-12) & ~is_rounding

    begin = (x, _gradient(edges, laws, x, widths), jnp.asarray(0), jnp.asarray(True))
    x, _, steps, _ = jax.lax.while_loop(keep_going, step, begin)
    return x, steps
