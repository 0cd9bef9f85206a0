"""Claims on relaxed balanced linear networks: when the training of $z$ can be written in $z$ alone."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from ...families import linear_network
from ...initial import lambda_balanced, mixed_balanced
from ...reductions.chain.mixed import MixedBalancedFlow
from ...reductions.chain.relaxed import RelaxedBalancedFlow
from ..base import Evidence, claim
from ..curves import error_over_time
from .scipy_runs import integrated, scipy_run, scipy_times

PAPER = "[marcotte2026intrinsic]"


class _LogCosh:
    """Sum of log cosh(z - S): neither quadratic nor convex-quadratic in disguise."""

    conventions = "sum of log cosh(z - S)"

    def __init__(self, shape: tuple[int, ...]):
        self.target = 1.5 * np.random.default_rng(3).standard_normal(shape)

    def __call__(self, z):
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z) - jnp.log(2.0))

    def __hash__(self):
        return hash(self.target.shape)

    def __eq__(self, other):
        return isinstance(other, _LogCosh) and self.target.shape == other.target.shape


def _full_against(reduced, theta0, end: float = 2.0) -> Evidence:
    """Final losses of the reduction and of the full flow, and the largest relative error of $z$."""
    loss = reduced.training.loss
    full = _full([np.asarray(theta0[name]) for name in reduced.architecture.chain], loss.target, end)
    run = scipy_run(reduced, theta0, end)
    gap = np.linalg.norm((full - run).reshape(len(full), -1), axis=1)
    size = np.max(np.linalg.norm(full.reshape(len(full), -1), axis=1))
    return Evidence(
        predicted=float(loss(run[-1])),
        measured=float(loss(full[-1])),
        error=float(np.max(gap) / size),
        detail="final loss; error of z",
        curves=error_over_time(scipy_times(end), full, run),
    )


def _full(layers: list[np.ndarray], target: np.ndarray, end: float) -> np.ndarray:
    """z of the full flow for sum of log cosh(z - target), whose gradient is tanh, in NumPy alone."""
    shapes = [layer.shape for layer in layers]
    cuts = np.cumsum([layer.size for layer in layers])[:-1]

    def unpacked(flat: np.ndarray) -> list[np.ndarray]:
        return [part.reshape(shape) for part, shape in zip(np.split(flat, cuts), shapes, strict=True)]

    def product(matrices: list[np.ndarray], size: int) -> np.ndarray:
        result = np.eye(size)
        for matrix in matrices:
            result = matrix @ result
        return result

    def field(t: float, flat: np.ndarray) -> np.ndarray:
        weights = unpacked(flat)
        gradient = np.tanh(product(weights, shapes[0][1]) - target)
        return -np.concatenate(
            [
                (
                    product(weights[l + 1 :], shapes[l][0]).T
                    @ gradient
                    @ product(weights[:l], shapes[0][1]).T
                ).ravel()
                for l in range(len(weights))
            ]
        )

    points = integrated(field, np.concatenate([layer.ravel() for layer in layers]), end)
    return np.stack([product(unpacked(point), shapes[0][1]) for point in points])


def _turned_eigenvalues(widths: tuple[int, int, int], values: tuple[float, ...], seed: int) -> dict[str, Any]:
    """Two layers with $S = W_2^T W_2 - W_1 W_1^T$ of given eigenvalues: random layers moved by Gauss-Newton."""
    rng = np.random.default_rng(seed)
    inputs, hidden, outputs = widths
    target = np.diag(values)
    stacked = rng.standard_normal((outputs + inputs, hidden))
    signs = np.diag([1.0] * outputs + [-1.0] * inputs)
    for _ in range(200):
        defect = stacked.T @ signs @ stacked - target
        if np.linalg.norm(defect) < 1e-14:
            break
        columns = []
        for index in range(stacked.size):
            step = np.zeros(stacked.size)
            step[index] = 1.0
            move = step.reshape(stacked.shape).T @ signs @ stacked
            columns.append((move + move.T).ravel())
        step = np.linalg.lstsq(np.array(columns).T, -defect.ravel(), rcond=1e-12)[0]
        stacked = stacked + step.reshape(stacked.shape)
    return {"W1": stacked[outputs:].T, "W2": stacked[:outputs]}


def _metric(theta: dict[str, Any]) -> np.ndarray:
    """$K$ as a matrix on the entries of $z$, from the weights of two layers: $A \\otimes I + I \\otimes B$."""
    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    return np.kron(w2 @ w2.T, np.eye(w1.shape[1])) + np.kron(np.eye(len(w2)), w1.T @ w1)


def _other_point(theta: dict[str, Any], imbalance: np.ndarray, seed: int) -> dict[str, Any]:
    """Another point with the same $z$ and the same imbalance, by Gauss-Newton from far away."""
    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    z = w2 @ w1
    rng = np.random.default_rng(seed)
    inputs, outputs = w1.shape[1], len(w2)
    stacked = np.concatenate([w2, w1.T]) + rng.standard_normal((outputs + inputs, w2.shape[1]))
    for _ in range(300):
        u, v = stacked[:outputs], stacked[outputs:]
        defect = np.concatenate([(u @ v.T - z).ravel(), (u.T @ u - v.T @ v - imbalance).ravel()])
        if np.linalg.norm(defect) < 1e-14:
            break
        columns = []
        for index in range(stacked.size):
            flat = np.zeros(stacked.size)
            flat[index] = 1.0
            du, dv = np.split(flat.reshape(stacked.shape), [outputs])
            law = du.T @ u + u.T @ du - dv.T @ v - v.T @ dv
            columns.append(np.concatenate([(du @ v.T + u @ dv.T).ravel(), law.ravel()]))
        step = np.linalg.lstsq(np.array(columns).T, -defect, rcond=1e-10)[0]
        stacked = stacked + step.reshape(stacked.shape)
    return {"W1": stacked[outputs:].T, "W2": stacked[:outputs]}


@lru_cache(maxsize=16)
def _metric_spread(widths: tuple[int, int, int], values: tuple[float, ...]) -> tuple[float, float]:
    """Largest relative difference of the metric over points of one fibre, and how far they are off the fibre."""
    start = _turned_eigenvalues(widths, values, seed=0)
    here, spread, residual = _metric(start), 0.0, 0.0
    z = start["W2"] @ start["W1"]
    for seed in range(1, 5):
        other = _other_point(start, np.diag(values), seed)
        law = other["W2"].T @ other["W2"] - other["W1"] @ other["W1"].T - np.diag(values)
        residual = max(
            residual, float(np.linalg.norm(law)), float(np.linalg.norm(other["W2"] @ other["W1"] - z))
        )
        spread = max(spread, float(np.linalg.norm(_metric(other) - here) / np.linalg.norm(here)))
    return spread, residual


def _spread_evidence(widths: tuple[int, int, int], values: tuple[float, ...]) -> Evidence:
    spread, residual = _metric_spread(widths, values)
    if residual > 1e-10:
        raise ArithmeticError(f"No further points of the fibre were reached: off by {residual:.1e}.")
    return Evidence(
        predicted=0.0,
        measured=spread,
        error=spread,
        detail=f"four further points of the fibre, off it by at most {residual:.0e}",
    )


@claim(
    id="relaxed-balanced-deep",
    paper="intrinsic",
    statement=r"If $D_l = \lambda_l I$ then $\dot z = -\sum_l P_l \nabla f(z)\, Q_l$ with the eigenvalues "
    r"$\prod_{k>l}(t_i + c_k)$ and $\prod_{k<l}(t_j + c_k)$, $\prod_k (t_i + c_k) = \sigma_i^2$, for every loss.",
    summary="Three layers, D_l = lambda_l I with lambda of both signs: the flow of z alone is the full one.",
    source=f"{PAPER} (relaxed balanced); the form in offsets and roots derived here",
    tolerance=1e-10,
    holds={"delta": 0.0},
    violated={"delta": 0.01},
    control="the reduction is told a lambda_1 that is 0.01 too large",
)
def relaxed_balanced_deep(delta: float) -> Evidence:
    arch = linear_network((2, 2, 2, 2))
    theta0 = lambda_balanced(arch, jax.random.key(1), [0.5, -0.2])
    reduced = RelaxedBalancedFlow(arch, _LogCosh((2, 2)), lambdas=[0.5 + delta, -0.2])
    return _full_against(reduced, theta0)


@claim(
    id="relaxed-balanced-rank-stratum",
    paper="intrinsic",
    statement=r"If $S = \lambda I$, $\lambda > 0$, $r < n$ and $r \le m$, the equation holds while rank $z = r$, with "
    r"the eigenvalue 0, not $\lambda$, of $W_2 W_2^\top$ on the null space of $z^\top$.",
    summary="Two layers narrower than the output: the metric vanishes on the null space of z^T.",
    source=f"{PAPER}; null values derived here",
    tolerance=1e-10,
    holds={"null": 0.0},
    violated={"null": 1.0},
    control="the limit lambda at sigma = 0 is used on the null space instead",
    tier="full",
)
def relaxed_balanced_rank_stratum(null: float) -> Evidence:
    arch = linear_network((4, 2, 3))
    theta0 = lambda_balanced(arch, jax.random.key(1), 0.7)
    reduced = RelaxedBalancedFlow(arch, _LogCosh((3, 4)), lambdas=0.7)
    if null:
        left = np.array([0.7 * null, 1.0])
        reduced = eqx.tree_at(lambda flow: flow.left, reduced, left)
    return _full_against(reduced, theta0)


@claim(
    id="mixed-lazy-balanced",
    paper="intrinsic",
    statement=r"If $S = W_2^\top W_2 - W_1 W_1^\top$ has the eigenvalues $\lambda$ ($n$ times), $-\mu$ ($m$ times) "
    r"and 0, then $\dot z = -(\kappa^2 + zz^\top)^{1/2} \nabla f - \nabla f (\kappa^2 + z^\top z)^{1/2}$, "
    r"$\kappa = (\lambda + \mu)/2$.",
    summary="Two layers, S of full mixed signature: the mixed lazy and balanced metric is exact.",
    source="derived here",
    tolerance=2e-11,
    holds={"kappa": 0.65},
    violated={"kappa": 0.6},
    control="kappa is the geometric mean of lambda and mu, not the arithmetic one",
    tier="full",
)
def mixed_lazy_balanced(kappa: float) -> Evidence:
    arch = linear_network((2, 5, 3))
    theta0 = mixed_balanced(arch, jax.random.key(0), 0.9, 0.4)
    return _full_against(MixedBalancedFlow(arch, _LogCosh((3, 2)), kappa=kappa), theta0)


@claim(
    id="relaxed-balanced-necessary",
    paper="intrinsic",
    statement=r"Two layers with $n = m = r = 2$: the metric is a function of $z$ on the level set of $S$ iff "
    r"$S = \lambda I$.",
    summary="Over points with one z and one S the metric is constant only if S = lambda I.",
    source=f"{PAPER} (necessity for r <= max(n, m)); measured on a fibre here",
    tolerance=1e-12,
    holds={"values": (0.7, 0.7)},
    violated={"values": (0.7, 0.4)},
    control="the two eigenvalues of S differ",
)
def relaxed_balanced_necessary(values: tuple[float, ...]) -> Evidence:
    return _spread_evidence((2, 2, 2), values)


@claim(
    id="mixed-metric-on-fibre",
    paper="intrinsic",
    statement=r"With $n = 2$, $m = 1$, $r = 3$ and $S$ of eigenvalues $\lambda, \lambda, -\mu$ the metric is a "
    r"function of $z$; with two different positive eigenvalues it is not.",
    summary="Mixed signature: the metric is constant on a fibre iff the positive eigenvalues of S agree.",
    source="derived here",
    tolerance=1e-12,
    holds={"values": (0.9, 0.9, -0.4)},
    violated={"values": (0.9, 0.5, -0.4)},
    control="the two positive eigenvalues of S differ",
)
def mixed_metric_on_fibre(values: tuple[float, ...]) -> Evidence:
    return _spread_evidence((1, 3, 2), values)


@claim(
    id="relaxed-balanced-null-block",
    paper="intrinsic",
    statement=r"With $S = \lambda I$, $\lambda > 0$ and $m < r < n$ the metric is not a function of $z$, although $S$ "
    r"is a multiple of the identity; with $r = n$ it is.",
    summary="One input, S = lambda I: the metric is a function of z at r = n = 3, not at r = 2.",
    source=f"{PAPER}; the case m < r < n derived here",
    tolerance=1e-12,
    holds={"hidden": 3},
    violated={"hidden": 2},
    control="the hidden width lies strictly between input and output",
)
def relaxed_balanced_null_block(hidden: int) -> Evidence:
    return _spread_evidence((1, hidden, 3), (0.7,) * hidden)
