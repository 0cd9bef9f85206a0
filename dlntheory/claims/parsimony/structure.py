"""Claims on invariant subspaces: what stays fixed, what the compression owes to the scalars, where it ends."""

from __future__ import annotations

from functools import lru_cache

import jax
import numpy as np

from ...catalogue import linear_network
from ...initial import orthogonal
from ...losses import SquaredLoss
from ...reductions.parsimony import (
    active_subspaces,
    aligned_orthogonal,
    compress,
    rho_descent,
    rho_flow,
)
from ..base import Evidence, claim
from . import runs

PAPER = "Yaras, Wang, Hu, Zhu, Balzano, Qu 2023, arXiv 2306.01154"
HERE = f"derived here; setting of {PAPER}"
SIZE, RANK = 30, 3
SHAPES = ((24, 24, 24, 3), (30, 20, 30, 3), (24, 32, 24, 3), (30, 30, 5, 3), (20, 30, 24, 4))


def _distance(left: np.ndarray, right: np.ndarray) -> float:
    return float(np.linalg.norm(np.asarray(left) - np.asarray(right)) / np.linalg.norm(right))


@lru_cache(maxsize=8)
def _square_run(kind: str, scales: tuple[float, ...], decay: float, steps: int, rate: float = 0.05):
    """Start, target and trained layers of a square network."""
    layers = runs.start_layers([SIZE] * (len(scales) + 1), kind, scales)
    target = runs.low_rank(SIZE, SIZE, RANK)
    return layers, target, runs.train(layers, target, rate=rate, steps=steps, decay=decay)


def _compressed_run(layers, target, *, steps):
    """The compression of a start and its state after the same training."""
    arch = linear_network((layers[0].shape[1], *(layer.shape[0] for layer in layers)))
    flow = compress(arch, SquaredLoss.from_target(target), runs.named(layers))
    return flow, runs.compressed_descent(flow, layers, 0.05, steps)


@claim(
    id="parsimony-block-structure",
    paper="parsimony",
    statement=r"From orthogonal layers $W_l = \epsilon_l Q_l$ and for a whitened target of rank $r$, "
    r"gradient descent keeps "
    r"$W_l(t) = U_l \,\mathrm{diag}(\tilde W_l(t), \rho_l(t) I_{d-2r})\, V_l^\top$ with constant "
    r"orthogonal $U_l, V_l$ and "
    r"$\rho_l(t+1) = \rho_l(t)(1 - \eta\lambda - \eta\prod_{k \ne l}\rho_k(t)^2)$.",
    summary="Orthogonal start: only a 2r x 2r block of each layer learns, the rest is one scalar.",
    source=f"{PAPER}; recursion with weight decay re-derived here",
    tolerance=1e-13,
    holds={"kind": "orthogonal"},
    violated={"kind": "gaussian"},
    control="the layers are Gaussian instead of orthogonal",
)
def parsimony_block_structure(kind: str) -> Evidence:
    steps, decay, scales = 600, 0.02, (0.3, 0.5, 0.2)
    layers, target, trained = _square_run(kind, scales, decay, steps)
    # The bases from their formula, not from the closure that the library computes.
    bases = runs.explicit_bases(layers, target, RANK)
    rho = np.asarray(rho_descent(np.array(scales), 0.05, steps, weight_decay=decay))[-1]
    errors = []
    for index, (before, after) in enumerate(zip(layers, trained, strict=True)):
        right, left = bases[index], bases[index + 1]
        inside = left @ (left.T @ after @ right) @ right.T
        rest = before - left @ (left.T @ before @ right) @ right.T
        errors.append(
            np.linalg.norm(after - inside - rho[index] / scales[index] * rest) / np.linalg.norm(after)
        )
    return Evidence(
        predicted=float(rho[0]),
        measured=float(
            np.linalg.norm(trained[0] - bases[1] @ (bases[1].T @ trained[0])) / np.sqrt(SIZE - 2 * RANK)
        ),
        error=max(errors),
        detail="rho of the first layer; relative distance of a layer from its blocks, 600 steps",
    )


@claim(
    id="parsimony-exact-compression",
    paper="parsimony",
    statement=r"$W_{L:1}(t) = P_L(\tilde W_{L:1}(t) - \textstyle\prod_l\rho_l\, I)P_1^\top + "
    r"\prod_l\rho_l\, Q_{L:1}$ at every step and "
    r"for every $\epsilon$, $\tilde W$ trained on the projected target alone.",
    summary="A 2r-wide network and L scalars reproduce gradient descent of the full one to rounding.",
    source=HERE,
    tolerance=1e-12,
    holds={"with_rho": True},
    violated={"with_rho": False},
    control="the term in rho is left out",
)
def parsimony_exact_compression(with_rho: bool) -> Evidence:
    # Large enough a scale that the omitted term is not below the tolerance.
    layers, target, trained = _square_run("orthogonal", (0.1, 0.1, 0.1), 0.0, 600)
    flow, state = _compressed_run(layers, target, steps=600)
    found = flow.observe(state) if with_rho else flow.without_rho(state)
    full = runs.product(trained)
    return Evidence(
        predicted=float(np.linalg.norm(full)),
        measured=float(np.linalg.norm(found)),
        error=_distance(found, full),
        detail=f"norm of z; active dimensions {flow.subspaces.dims}, epsilon 0.1",
    )


@claim(
    id="parsimony-naive-error",
    paper="parsimony",
    statement=r"Without the term in $\rho$ the end-to-end error is exactly $\sqrt{m}\,\prod_l \rho_l(t)$ "
    r"in Frobenius norm, "
    r"$m = d - 2r$.",
    summary="Dropping the scalars costs exactly sqrt(m) prod rho.",
    source=HERE,
    tolerance=1e-9,
    holds={"rate": 0.05},
    violated={"rate": 0.051},
    control="the full network takes steps 2 % larger than the recursion is told",
)
def parsimony_naive_error(rate: float) -> Evidence:
    layers, target, trained = _square_run("orthogonal", (0.3, 0.5, 0.2), 0.0, 600, rate)
    flow, state = _compressed_run(layers, target, steps=600)
    full = runs.product(trained)
    rho = np.asarray(rho_descent([0.3, 0.5, 0.2], 0.05, 600))[-1]
    predicted = float(np.sqrt(SIZE - 2 * RANK) * np.prod(rho))
    measured = float(np.linalg.norm(full - np.asarray(flow.without_rho(state))))
    return Evidence(predicted=predicted, measured=measured, error=abs(measured - predicted) / predicted)


@claim(
    id="parsimony-rho-closed-form",
    paper="parsimony",
    statement=r"Under gradient flow from equal scales, $M = 2L - 2$: $\rho = ((\epsilon^{-M} + "
    r"1/\lambda)e^{M\lambda t} - "
    r"1/\lambda)^{-1/M}$, and $(\epsilon^{-M} + Mt)^{-1/M}$ at $\lambda = 0$.",
    summary="The scalar outside the subspaces in closed form, with and without weight decay.",
    source=HERE,
    tolerance=1e-9,
    holds={"scales": (0.6, 0.6, 0.6)},
    violated={"scales": (0.6, 0.63, 0.6)},
    control="one layer starts 5 % larger",
)
def parsimony_rho_closed_form(scales: tuple[float, ...]) -> Evidence:
    size, rank, end, power = 10, 1, 6.0, 4
    layers, target = runs.start_layers([size] * 4, "orthogonal", scales), runs.low_rank(size, size, rank)
    bases = runs.explicit_bases(layers, target, rank)
    errors, values = [], []
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
        errors += [abs(measured - predicted) / predicted, abs(library - predicted) / predicted]
        values.append((predicted, measured))
    return Evidence(predicted=values[1][0], measured=values[1][1], error=max(errors))


@claim(
    id="parsimony-rho-imbalance",
    paper="parsimony",
    statement=r"$\rho_l^2 - \rho_k^2$ decays as $e^{-2\lambda t}$ under gradient flow; without weight "
    r"decay it is conserved.",
    summary="Differences of rho^2 between layers decay as exp(-2 lambda t).",
    source=HERE,
    tolerance=1e-9,
    holds={"rate": 1.0},
    violated={"rate": 1.05},
    control="the second layer learns 5 % faster",
)
def parsimony_rho_imbalance(rate: float) -> Evidence:
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
    error = float(np.max(np.abs(measured - predicted) / np.abs(predicted)))
    return Evidence(predicted=float(predicted[0]), measured=float(measured[0]), error=error)


@claim(
    id="parsimony-closure-dimensions",
    paper="parsimony",
    statement=r"Generic dimensions of the smallest closed subspaces for orthogonal layers: $2r$ (square), "
    r"$\min(3r, r + d_L)$ (narrow "
    r"output), $2r$ in a narrow middle; for independent layers of width $w > d$, $2r + w - d$ outside and "
    r"$2r + 2(w - d)$ in the hidden "
    r"layers.",
    summary="Closure dimensions of seven shapes; Gaussian layers have the whole space.",
    source=HERE,
    tolerance=0.5,
    holds={"kind": "orthogonal"},
    violated={"kind": "gaussian"},
    control="the layers are Gaussian: the closure is the whole space",
)
def parsimony_closure_dimensions(kind: str) -> Evidence:
    table = {
        (60, 60, 60, 60): (6, 6, 6, 6),
        (60, 60, 60, 3): (6, 6, 6, 3),
        (60, 60, 60, 20): (9, 9, 9, 6),
        (60, 60, 60, 5): (8, 8, 8, 5),
        (60, 40, 40, 60): (9, 6, 6, 9),
        (60, 80, 80, 60): (26, 46, 46, 26),
        (40, 80, 80, 80, 60): (26, 49, 49, 49, 29),
    }
    worst, found = 0, {}
    for widths, dims in table.items():
        layers = runs.start_layers(widths, kind, runs.EPS)
        found[widths] = active_subspaces(layers, runs.low_rank(widths[-1], widths[0], 3)).dims
        worst = max(worst, *(abs(a - b) for a, b in zip(found[widths], dims, strict=True)))
    key = (60, 80, 80, 60)
    return Evidence(
        predicted=str(table[key]),
        measured=str(found[key]),
        error=float(worst),
        detail="dimensions at widths 60-80-80-60; largest difference over all shapes",
    )


@claim(
    id="parsimony-general-closure",
    paper="parsimony",
    statement=r"For any widths and any start the smallest subspaces closed under $W_l(0)$, $W_l(0)^\top$, "
    r"$\Phi$ and $\Phi^\top$ are "
    r"never left: the blocks between them and their complements stay 0.",
    summary="No leakage out of the closure for five shapes, wide, narrow and rectangular.",
    source=HERE,
    tolerance=2e-14,
    holds={"missing": 0},
    violated={"missing": 1},
    control="one direction is taken out of the last subspace",
)
def parsimony_general_closure(missing: int) -> Evidence:
    worst = 0.0
    for inputs, hidden, outputs, depth in SHAPES:
        widths = (inputs, *[hidden] * (depth - 1), outputs)
        layers, target = runs.start_layers(widths, "orthogonal", runs.EPS), runs.low_rank(outputs, inputs, 2)
        found = active_subspaces(layers, target)
        bases = [*found.bases[:-1], found.bases[-1][:, : found.dims[-1] - missing]]
        trained = runs.train(layers, target, rate=0.05, steps=300, decay=0.01)
        for index, weight in enumerate(trained):
            right, left = bases[index], bases[index + 1]
            escaping = weight @ right - left @ (left.T @ weight @ right)
            entering = left.T @ weight - (left.T @ weight @ right) @ right.T
            leak = np.hypot(np.linalg.norm(escaping), np.linalg.norm(entering)) / np.linalg.norm(weight)
            worst = max(worst, float(leak))
    return Evidence(predicted=0.0, measured=worst, error=worst, detail="largest relative leakage, 300 steps")


@claim(
    id="parsimony-aligned-wide",
    paper="parsimony",
    statement=r"For wide layers the start $W_L \propto O\,(Q_{L-1:1})^\top$ has closure $2r$, against up to "
    r"$2r + 2(w - d)$ for independent layers.",
    summary="Aligning the last layer with the others brings the closure of wide networks back to 2r.",
    source=HERE,
    tolerance=0.5,
    holds={"aligned": True},
    violated={"aligned": False},
    control="the layers are independent",
    tier="full",
)
def parsimony_aligned_wide(aligned: bool) -> Evidence:
    arch, key = linear_network((12, 16, 16, 12)), jax.random.key(0)
    theta0 = (aligned_orthogonal if aligned else orthogonal)(arch, key, scale=0.3)
    dims = active_subspaces([np.asarray(w) for w in theta0.values()], runs.low_rank(12, 12, 1)).dims
    return Evidence(predicted="(2, 2, 2, 2)", measured=str(dims), error=float(max(abs(k - 2) for k in dims)))


@claim(
    id="parsimony-spiked-covariance",
    paper="parsimony",
    statement=r"For $\Sigma_{xx} = I + $ rank $k$ the compression is exact with closure at most $2(r + k)$.",
    summary="Inputs that are white but for k spikes: exact, closure 2r + k here.",
    source=HERE,
    tolerance=1e-12,
    holds={"noise": 0.0},
    violated={"noise": 1e-3},
    control="the full network sees a covariance that is off the identity in all directions, by 0.001",
)
def parsimony_spiked_covariance(noise: float) -> Evidence:
    rng = np.random.default_rng(3)
    frame = runs.semi_orthogonal(rng, SIZE, 2)
    covariance = np.eye(SIZE) + frame @ np.diag([1.25, 0.44]) @ frame.T
    target = runs.low_rank(SIZE, SIZE, RANK)
    layers = runs.start_layers([SIZE] * 4, "orthogonal", runs.EPS)
    root = np.linalg.cholesky(covariance).T
    loss = SquaredLoss(root, root @ np.linalg.solve(covariance, target.T), reduction="sum")
    flow = compress(linear_network((SIZE,) * 4), loss, runs.named(layers))
    z = flow.observe(runs.compressed_descent(flow, layers, 0.03, 400))
    symmetric = rng.standard_normal((SIZE, SIZE))
    symmetric = (symmetric + symmetric.T) / np.linalg.norm(symmetric + symmetric.T, 2)
    full = runs.train(layers, target, rate=0.03, steps=400, covariance=covariance + noise * symmetric)
    return Evidence(
        predicted="(8, 8, 8, 8)",
        measured=str(flow.subspaces.dims),
        error=_distance(z, runs.product(full)),
        detail="active dimensions; relative error of z after 400 steps",
    )


@claim(
    id="parsimony-leakage-linear",
    paper="parsimony",
    statement=r"For non-white data the leakage out of the white subspaces is linear in $\delta = "
    r"\|\Sigma_{xx} - I\|_2$.",
    summary="Leakage / delta is constant within 5 % from delta = 1e-1.5 to 1e-4.",
    source=HERE,
    tolerance=0.05,
    holds={"kind": "orthogonal"},
    violated={"kind": "gaussian"},
    control="the layers are Gaussian, and leak without any delta",
)
def parsimony_leakage_linear(kind: str) -> Evidence:
    leaks = {delta: leakage_at(delta, kind) for delta in (1e-4, 1e-3, 1e-2, 10**-1.5)}
    ratios = np.array([leak / delta for delta, leak in leaks.items()])
    error = float(np.max(np.abs(ratios / ratios[0] - 1)))
    return Evidence(
        predicted=float(ratios[0]),
        measured=float(ratios[-1]),
        error=error,
        detail="leakage / delta",
        data={f"{delta:.3g}": leak for delta, leak in leaks.items()},
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
