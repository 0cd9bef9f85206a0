"""Full networks trained in NumPy by hand: what the claims on invariant subspaces are measured against."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ...data import digits
from ...reductions.parsimony import CompressedFlow
from ...training import State
from ..reference import chain_flow, chain_gradients, named, product

EPS = (0.3, 0.5, 0.2, 0.4)


def semi_orthogonal(rng: np.random.Generator, rows: int, columns: int) -> np.ndarray:
    """A random matrix with orthonormal columns or rows."""
    tall, _ = np.linalg.qr(rng.standard_normal((max(rows, columns), min(rows, columns))))
    return tall if rows >= columns else tall.T


def start_layers(
    widths: Sequence[int], kind: str, scales: Sequence[float], seed: int = 0
) -> list[np.ndarray]:
    """Layers `"orthogonal"` up to the scales, or `"gaussian"` with the same mean square singular value."""
    rng = np.random.default_rng(seed)
    layers = []
    for before, after, scale in zip(widths[:-1], widths[1:], scales, strict=False):
        if kind == "orthogonal":
            layers.append(scale * semi_orthogonal(rng, after, before))
        else:
            layers.append(scale * rng.standard_normal((after, before)) / np.sqrt(max(before, after)))
    return layers


def low_rank(rows: int, columns: int, rank: int, seed: int = 7) -> np.ndarray:
    """A target of this rank with singular values near 1."""
    rng = np.random.default_rng(seed)
    return rng.standard_normal((rows, rank)) @ rng.standard_normal((rank, columns)) / np.sqrt(rows * columns)


def gradients(
    layers: Sequence[np.ndarray], target: np.ndarray, covariance: np.ndarray | None, decay: float
) -> list[np.ndarray]:
    """Gradients of 1/2 |W X - Y|^2 + decay/2 sum |W_l|^2 for Sxx and Phi, layer by layer."""
    z = product(layers)
    gradient = (z if covariance is None else z @ covariance) - target
    return [one + decay * w for one, w in zip(chain_gradients(layers, gradient), layers, strict=True)]


def train(
    layers: Sequence[np.ndarray],
    target: np.ndarray,
    *,
    rate: float,
    steps: int,
    decay: float = 0.0,
    covariance: np.ndarray | None = None,
    rule: str = "gradient descent",
    momentum: float = 0.0,
) -> list[np.ndarray]:
    """The layers after full training by gradient descent, heavy ball, Nesterov or Adam."""
    weights = [np.array(layer) for layer in layers]
    speeds = [np.zeros_like(layer) for layer in layers]
    squares = [np.zeros_like(layer) for layer in layers]
    for step in range(1, steps + 1):
        at = weights
        if rule == "nesterov":
            at = [w + momentum * v for w, v in zip(weights, speeds, strict=True)]
        layer_gradients = gradients(at, target, covariance, decay)
        if rule == "adam":
            speeds = [0.9 * v + 0.1 * g for v, g in zip(speeds, layer_gradients, strict=True)]
            squares = [0.999 * s + 0.001 * g**2 for s, g in zip(squares, layer_gradients, strict=True)]
            moves = [
                -rate * (v / (1 - 0.9**step)) / (np.sqrt(s / (1 - 0.999**step)) + 1e-8)
                for v, s in zip(speeds, squares, strict=True)
            ]
        else:
            speeds = [momentum * v - rate * g for v, g in zip(speeds, layer_gradients, strict=True)]
            moves = speeds
        weights = [w + move for w, move in zip(weights, moves, strict=True)]
    return weights


def full_flow(
    layers: Sequence[np.ndarray],
    target: np.ndarray,
    end: float,
    *,
    decay: float = 0.0,
    rates: Sequence[float] = (1.0, 1.0, 1.0),
) -> list[np.ndarray]:
    """The layers at a time of the full gradient flow on 1/2 |W - Phi|^2."""
    return chain_flow(layers, lambda z: z - target, end, weight_decay=decay, rates=rates)


@eqx.filter_jit
def compressed_steps(flow: CompressedFlow, state: State, rate: Any, count: Any) -> State:
    """Steps of gradient descent on the compression; one program for all starts of one shape."""

    def step(_, y: State) -> State:
        velocity = flow.velocity(0.0, y)
        return {name: y[name] + rate * velocity[name] for name in y}

    return jax.lax.fori_loop(0, count, step, state)


def compressed_descent(flow: CompressedFlow, layers: Sequence[np.ndarray], rate: float, steps: int) -> State:
    """The state of a compression after so many steps from its start."""
    return compressed_steps(flow, flow.initial(named(layers)), np.asarray(rate), np.asarray(steps))


def explicit_bases(layers: Sequence[np.ndarray], target: np.ndarray, rank: int) -> list[np.ndarray]:
    r"""$S_0 = \mathrm{span}[B, W_{L:1}^\top A]$ and $S_l = W_l S_{l-1}$ for $\Phi = A B^\top$ and square layers."""
    left, _, right = np.linalg.svd(target)
    basis = np.linalg.qr(np.hstack([right[:rank].T, product(layers).T @ left[:, :rank]]))[0]
    bases = [basis]
    for layer in layers:
        bases.append(np.linalg.qr(layer @ bases[-1])[0])
    return bases


@lru_cache(maxsize=2)
def white_digits(whitened: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """The digits in the 61 directions in which they vary, whitened or as they are, and one-hot labels."""
    data = digits()
    left, singular, _ = np.linalg.svd(data.inputs, full_matrices=False)
    kept = int(np.sum(singular > 1e-10 * singular[0]))
    inputs = left[:, :kept] * (1.0 if whitened else singular[:kept] / singular[0])
    return np.sqrt(len(data)) * inputs, data.targets
