"""Claims on the subspaces themselves: their dimensions, that they are not left, what leaks off white data."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np

from ...families import linear_network
from ...initial import orthogonal
from ...losses import SquaredLoss
from ...reductions.parsimony import active_subspaces, aligned_orthogonal, compress
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence
from ..reference import named, product
from . import runs
from .structure import HERE, RANK, SIZE, same_product

SHAPES = ((24, 24, 24, 3), (30, 20, 30, 3), (24, 32, 24, 3), (30, 30, 5, 3), (20, 30, 24, 4))


@claim(
    statement=r"Generic dimensions of the smallest closed subspaces for orthogonal layers: $2r$ (square), $\min(3r, r "
    "+ d_L)$ (narrow output), $2r$ in a narrow middle; for independent layers of width $w > d$, $2r + w - d$ outside "
    "and $2r + 2(w - d)$ in the hidden layers.",
    source=HERE,
    tolerance=0.5,
    arguments={"kind": "orthogonal"},
    control_arguments={"kind": "gaussian"},
    control="the layers are Gaussian: the closure is the whole space",
)
def parsimony_closure_dimensions(kind: str) -> Evidence:
    """Closure dimensions of seven shapes; Gaussian layers have the whole space."""
    table = {
        (60, 60, 60, 60): (6, 6, 6, 6),
        (60, 60, 60, 3): (6, 6, 6, 3),
        (60, 60, 60, 20): (9, 9, 9, 6),
        (60, 60, 60, 5): (8, 8, 8, 5),
        (60, 40, 40, 60): (9, 6, 6, 9),
        (60, 80, 80, 60): (26, 46, 46, 26),
        (40, 80, 80, 80, 60): (26, 49, 49, 49, 29),
    }
    parts = {}
    for widths, dims in table.items():
        layers = runs.start_layers(widths, kind, runs.EPS)
        found = active_subspaces(layers, runs.low_rank(widths[-1], widths[0], 3)).dims
        parts[f"widths {widths}"] = Evidence(dims, tuple(found))
    return Evidence.worst(parts, detail="dimensions")


@claim(
    statement=r"For any widths and any start the smallest subspaces closed under $W_l(0)$, $W_l(0)^\top$, $\Phi$ and "
    r"$\Phi^\top$ are never left: the blocks between them and their complements stay 0.",
    source=HERE,
    tolerance=2e-14,
    arguments={"rule": "gradient descent"},
    control_arguments={"rule": "adam"},
    control="training by Adam, which rescales entries and leaves the subspaces",
)
def parsimony_general_closure(rule: str) -> Evidence:
    """No leakage out of the closure for five shapes, wide, narrow and rectangular."""
    worst, leaks = 0.0, []
    for inputs, hidden, outputs, depth in SHAPES:
        widths = (inputs, *[hidden] * (depth - 1), outputs)
        layers, target = runs.start_layers(widths, "orthogonal", runs.EPS), runs.low_rank(outputs, inputs, 2)
        found = active_subspaces(layers, target)
        bases = found.bases
        trained = runs.train(layers, target, rate=0.05, steps=300, decay=0.01, rule=rule)
        for index, weight in enumerate(trained):
            right, left = bases[index], bases[index + 1]
            escaping = weight @ right - left @ (left.T @ weight @ right)
            entering = left.T @ weight - (left.T @ weight @ right) @ right.T
            leak = np.hypot(np.linalg.norm(escaping), np.linalg.norm(entering)) / np.linalg.norm(weight)
            worst = max(worst, float(leak))
            leaks.append(float(leak))
    curves = Curves(
        "layers of the five networks, in order",
        "relative leakage",
        {"measured": (np.arange(1, len(leaks) + 1), leaks)},
        scale="log-y",
        with_tolerance=True,
    )
    detail = "largest relative leakage, 300 steps"
    return Evidence(0.0, worst, detail=detail, curves=curves)


@claim(
    statement=r"For wide layers the start $W_L \propto O\,(Q_{L-1:1})^\top$ has closure $2r$, against up to "
    r"$2r + 2(w - d)$ for independent layers.",
    source=HERE,
    tolerance=0.5,
    arguments={"aligned": True},
    control_arguments={"aligned": False},
    control="the layers are independent",
    tier="full",
)
def parsimony_aligned_wide(aligned: bool) -> Evidence:
    """Aligning the last layer with the others brings the closure of wide networks back to 2r."""
    arch, key = linear_network((12, 16, 16, 12)), jax.random.key(0)
    theta0 = (aligned_orthogonal if aligned else orthogonal)(arch, key, scale=0.3)
    dims = active_subspaces([np.asarray(w) for w in theta0.values()], runs.low_rank(12, 12, 1)).dims
    return Evidence((2, 2, 2, 2), tuple(dims))


@claim(
    statement=r"For $\Sigma_{xx} = I + $ rank $k$ the compression is exact with closure at most $2(r + k)$.",
    source=HERE,
    tolerance=2e-15,
    arguments={"noise": 0.0},
    control_arguments={"noise": 1e-3},
    control="the full network sees a covariance that is off the identity in all directions, by 0.001",
)
def parsimony_spiked_covariance(noise: float) -> Evidence:
    """Inputs that are white but for k spikes: exact, closure 2r + k here."""
    rng = np.random.default_rng(3)
    frame = runs.semi_orthogonal(rng, SIZE, 2)
    covariance = np.eye(SIZE) + frame @ np.diag([1.25, 0.44]) @ frame.T
    target = runs.low_rank(SIZE, SIZE, RANK)
    layers = runs.start_layers([SIZE] * 4, "orthogonal", runs.EPS)
    root = np.linalg.cholesky(covariance).T
    loss = SquaredLoss(root, root @ np.linalg.solve(covariance, target.T), reduction="sum")
    flow = compress(linear_network((SIZE,) * 4), loss, named(layers))
    z = flow.output(runs.compressed_descent(flow, layers, 0.03, 400))
    symmetric = rng.standard_normal((SIZE, SIZE))
    symmetric = (symmetric + symmetric.T) / np.linalg.norm(symmetric + symmetric.T, 2)
    full = runs.train(layers, target, rate=0.03, steps=400, covariance=covariance + noise * symmetric)
    parts = [Evidence((8, 8, 8, 8), tuple(flow.subspaces.dims)), same_product(z, product(full))]
    return Evidence.worst(parts, detail="active dimensions, and an entry of z after 400 steps")


@claim(
    statement=r"For non-white data the leakage out of the white subspaces is linear in $\delta = "
    r"\|\Sigma_{xx} - I\|_2$.",
    source=HERE,
    tolerance=0.05,
    arguments={"kind": "orthogonal"},
    control_arguments={"kind": "gaussian"},
    control="the layers are Gaussian, and leak without any delta",
)
def parsimony_leakage_linear(kind: str) -> Evidence:
    """Leakage / delta is constant within 5 % from delta = 1e-1.5 to 1e-4."""
    leaks = {delta: leakage_at(delta, kind) for delta in (1e-4, 1e-3, 1e-2, 10**-1.5)}
    ratios = np.array([leak / delta for delta, leak in leaks.items()])
    points = list(leaks), list(leaks.values())
    curves = Curves(
        r"$\delta = \|\Sigma_{xx} - I\|_2$",
        "leakage of the second layer",
        {"measured": points, r"predicted $\propto \delta$": power_law(*points, 1.0)},
        scale="log-log",
    )
    return Evidence(
        ratios[0],
        ratios,
        ratios[0],
        detail="leakage / delta",
        data={f"{delta:.3g}": leak for delta, leak in leaks.items()},
        curves=curves,
    )


@lru_cache(maxsize=16)
def leakage_at(delta: float, kind: str = "orthogonal", size: int = 30, steps: int = 500) -> float:
    """Leakage of the second layer, absolute, for a covariance at this distance from the identity."""
    layers, target = runs.start_layers([size] * 4, kind, runs.EPS), runs.low_rank(size, size, 3)
    noise = np.random.default_rng(5).standard_normal((size, size))
    noise = noise + noise.T
    covariance = np.eye(size) + delta * noise / np.linalg.norm(noise, 2)
    bases = runs.explicit_bases(layers, target, 3)
    trained = runs.train(layers, target, rate=0.05, steps=steps, covariance=covariance)
    right, left = bases[1], bases[2]
    escaping = trained[1] @ right - left @ (left.T @ trained[1] @ right)
    return float(np.linalg.norm(escaping))
