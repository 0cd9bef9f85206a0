"""Claims on invariant subspaces: what stays fixed, and what the compression owes to the scalars."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...families import linear_network
from ...losses import SquaredLoss
from ...reductions.parsimony import (
    compress,
    rho_descent,
    rho_flow,
)
from ..base import claim
from ..curves import Curves
from ..evidence import Evidence
from ..reference import named, product
from . import runs

PAPER = "[yaras2023law]"
HERE = f"derived here; setting of {PAPER}"
SIZE, RANK = 30, 3


def same_product(z: np.ndarray, full: np.ndarray, detail: str = "") -> Evidence:
    """The end-to-end map of a compression against the full one, relative to the latter's norm."""
    return Evidence(np.asarray(z), full, float(np.linalg.norm(full)), detail=detail or "an entry of z")


@lru_cache(maxsize=8)
def _square_run(
    kind: str,
    scales: tuple[float, ...],
    decay: float,
    steps: int,
    rate: float = 0.05,
    rule: str = "gradient descent",
):
    """Start, target and trained layers of a square network."""
    layers = runs.start_layers([SIZE] * (len(scales) + 1), kind, scales)
    target = runs.low_rank(SIZE, SIZE, RANK)
    return layers, target, runs.train(layers, target, rate=rate, steps=steps, decay=decay, rule=rule)


def _compressed_run(layers, target, *, steps):
    """The compression of a start and its state after the same training."""
    arch = linear_network((layers[0].shape[1], *(layer.shape[0] for layer in layers)))
    flow = compress(arch, SquaredLoss.from_target(target), named(layers))
    return flow, runs.compressed_descent(flow, layers, 0.05, steps)


@claim(
    statement=r"From orthogonal layers $W_l = \epsilon_l Q_l$ and for a whitened target of rank $r$, gradient descent "
    r"keeps $W_l(t) = U_l \,\mathrm{diag}(\tilde W_l(t), \rho_l(t) I_{d-2r})\, V_l^\top$ with constant orthogonal "
    r"$U_l, V_l$ and $\rho_l(t+1) = \rho_l(t)(1 - \eta\lambda - \eta\prod_{k \ne l}\rho_k(t)^2)$.",
    source=f"{PAPER}; recursion with weight decay re-derived here",
    tolerance=3e-15,
    arguments={"kind": "orthogonal"},
    control_arguments={"kind": "gaussian"},
    control="the layers are Gaussian instead of orthogonal",
)
def parsimony_block_structure(kind: str) -> Evidence:
    """Orthogonal start: only a 2r x 2r block of each layer learns, the rest is one scalar."""
    steps, decay, scales = 600, 0.02, (0.3, 0.5, 0.2)
    layers, target, trained = _square_run(kind, scales, decay, steps)
    # The bases from their formula, not from the closure that the library computes.
    bases = runs.explicit_bases(layers, target, RANK)
    course = np.asarray(rho_descent(np.array(scales), 0.05, steps, weight_decay=decay))
    rho, parts = course[-1], {}
    for index, (before, after) in enumerate(zip(layers, trained, strict=True)):
        right, left = bases[index], bases[index + 1]
        inside = left @ (left.T @ after @ right) @ right.T
        rest = before - left @ (left.T @ before @ right) @ right.T
        blocks = inside + rho[index] / scales[index] * rest
        parts[f"layer {index + 1}"] = Evidence(blocks, after, float(np.linalg.norm(after)))
    series = {}
    for index, after in enumerate(trained):
        outside = after - bases[index + 1] @ (bases[index + 1].T @ after)
        end = float(np.linalg.norm(outside) / np.sqrt(SIZE - 2 * RANK))
        series[f"predicted, layer {index + 1}"] = np.arange(steps + 1), course[:, index]
        series[f"measured, layer {index + 1}"] = [steps], [end]
    curves = Curves("steps of gradient descent", r"$\rho_l$ outside the subspaces", series, scale="log-y")
    detail = "an entry of a layer after 600 steps, relative to its norm"
    return Evidence.worst(parts, detail=detail, curves=curves)


@claim(
    statement=r"$W_{L:1}(t) = P_L(\tilde W_{L:1}(t) - \textstyle\prod_l\rho_l\, I)P_1^\top + \prod_l\rho_l\, Q_{L:1}$ "
    r"at every step and for every $\epsilon$, $\tilde W$ trained on the projected target alone.",
    source=HERE,
    tolerance=2e-15,
    arguments={"rule": "gradient descent"},
    control_arguments={"rule": "adam"},
    control="the full network is trained by Adam, which rescales entries and leaves the subspaces",
)
def parsimony_exact_compression(rule: str) -> Evidence:
    """A 2r-wide network and L scalars reproduce gradient descent of the full one to rounding."""
    layers, target, trained = _square_run("orthogonal", (0.1, 0.1, 0.1), 0.0, 600, rule=rule)
    flow, state = _compressed_run(layers, target, steps=600)
    found = flow.output(state)
    full = product(trained)
    detail = f"an entry of z; active dimensions {flow.subspaces.dims}, epsilon 0.1"
    return same_product(found, full, detail)


@claim(
    statement=r"Without the term in $\rho$ the end-to-end error is exactly $\sqrt{m}\,\prod_l \rho_l(t)$ in Frobenius "
    "norm, $m = d - 2r$.",
    source=HERE,
    tolerance=9e-15,
    arguments={"rate": 0.05},
    control_arguments={"rate": 0.051},
    control="the full network takes steps 2 % larger than the recursion is told",
)
def parsimony_naive_error(rate: float) -> Evidence:
    """Dropping the scalars costs exactly sqrt(m) prod rho."""
    layers, target, trained = _square_run("orthogonal", (0.3, 0.5, 0.2), 0.0, 600, rate)
    flow, state = _compressed_run(layers, target, steps=600)
    full = product(trained)
    course = np.sqrt(SIZE - 2 * RANK) * np.prod(np.asarray(rho_descent([0.3, 0.5, 0.2], 0.05, 600)), axis=1)
    predicted = float(course[-1])
    measured = float(np.linalg.norm(full - np.asarray(flow.without_rho(state))))
    curves = Curves(
        "steps of gradient descent",
        r"end-to-end error without $\rho$",
        {r"predicted $\sqrt{m}\,\prod_l\rho_l$": (np.arange(601), course), "measured": ([600], [measured])},
        scale="log-y",
    )
    return Evidence(predicted, measured, predicted, curves=curves)


@claim(
    statement=r"Under gradient flow from equal scales, $M = 2L - 2$: $\rho = ((\epsilon^{-M} + 1/\lambda)e^{M\lambda "
    r"t} - 1/\lambda)^{-1/M}$, and $(\epsilon^{-M} + Mt)^{-1/M}$ at $\lambda = 0$.",
    source=HERE,
    tolerance=6e-15,
    arguments={"scales": (0.6, 0.6, 0.6)},
    control_arguments={"scales": (0.6, 0.63, 0.6)},
    control="one layer starts 5 % larger",
)
def parsimony_rho_closed_form(scales: tuple[float, ...]) -> Evidence:
    """The scalar outside the subspaces in closed form, with and without weight decay."""
    size, rank, end, power = 10, 1, 6.0, 4
    layers, target = runs.start_layers([size] * 4, "orthogonal", scales), runs.low_rank(size, size, rank)
    bases = runs.explicit_bases(layers, target, rank)
    parts = {}
    for decay in (0.0, 0.1):
        first = runs.full_flow(layers, target, end, decay=decay)[0]
        outside = first - bases[1] @ (bases[1].T @ first)
        measured = float(np.linalg.norm(outside) / np.sqrt(size - 2 * rank))
        if decay:
            bracket = (0.6**-power + 1 / decay) * np.exp(power * decay * end) - 1 / decay
        else:
            bracket = 0.6**-power + power * end
        predicted = bracket ** (-1 / power)
        library = float(rho_flow(end, 0.6, 3, weight_decay=decay))
        parts[f"flow, decay {decay:g}"] = Evidence(predicted, measured, predicted)
        parts[f"rho_flow, decay {decay:g}"] = Evidence(predicted, library, predicted)
    return Evidence.worst(parts)


@claim(
    statement=r"$\rho_l^2 - \rho_k^2$ decays as $e^{-2\lambda t}$ under gradient flow; without weight "
    r"decay it is conserved.",
    source=HERE,
    tolerance=2e-15,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.05},
    control="the second layer learns 5 % faster",
)
def parsimony_rho_imbalance(rate: float) -> Evidence:
    """Differences of rho^2 between layers decay as exp(-2 lambda t)."""
    size, rank, end, decay = 10, 1, 6.0, 0.1
    layers, target = (
        runs.start_layers([size] * 4, "orthogonal", (0.6, 0.9, 0.3)),
        runs.low_rank(size, size, rank),
    )
    bases = runs.explicit_bases(layers, target, rank)
    squares = []
    for index, after in enumerate(runs.full_flow(layers, target, end, decay=decay, rates=(1.0, rate, 1.0))):
        outside = after - bases[index + 1] @ (bases[index + 1].T @ after)
        squares.append(float(np.sum(outside**2)) / (size - 2 * rank))
    predicted = np.array([0.9**2 - 0.6**2, 0.3**2 - 0.9**2]) * np.exp(-2 * decay * end)
    measured = np.diff(squares)
    return Evidence(predicted, measured, predicted)
