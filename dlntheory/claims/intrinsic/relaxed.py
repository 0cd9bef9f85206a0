"""Claims on relaxed balanced linear networks: when the training of $z$ can be written in $z$ alone."""

from __future__ import annotations

from collections.abc import Callable
from functools import lru_cache
from typing import Any

import equinox as eqx
import jax
import numpy as np

from ...families import linear_network
from ...initial import lambda_balanced, mixed_balanced
from ...reductions.chain.mixed import MixedBalancedFlow
from ...reductions.chain.relaxed import RelaxedBalancedFlow
from ..base import claim
from ..evidence import Evidence
from ..reference import LogCosh, chain_flow, chain_products, output_along, same_flow

PAPER = "[marcotte2026intrinsic]"


TIMES = np.linspace(0.0, 2.0, 8)


def _loss(shape: tuple[int, ...]) -> LogCosh:
    return LogCosh(shape, seed=3, scale=1.5)


def _full_against(reduced, theta0) -> Evidence:
    """The reduction against the full flow of the layers, in NumPy alone."""
    layers = [np.asarray(theta0[name]) for name in reduced.architecture.chain]
    loss = _loss(reduced.architecture.output_shape)
    full = chain_products(chain_flow(layers, loss.gradient, TIMES))
    return same_flow(TIMES, full, output_along(reduced, theta0, TIMES))


def _solved(residual: Callable[[np.ndarray], np.ndarray], start: np.ndarray) -> np.ndarray:
    """A root near a start by Gauss-Newton: the step of least norm, since roots are not isolated."""
    x, units = start.ravel(), np.eye(start.size)
    for _ in range(300):
        defect = residual(x)
        if np.linalg.norm(defect) < 1e-14:
            break
        # The residual is quadratic, for which central differences of any step are exact.
        jacobian = np.stack([0.5 * (residual(x + unit) - residual(x - unit)) for unit in units], axis=1)
        x = x - np.linalg.lstsq(jacobian, defect, rcond=1e-10)[0]
    return x.reshape(start.shape)


def _layers(stacked: Any, outputs: int) -> tuple[Any, Any]:
    """$W_2$ and $W_1$ of $[W_2; W_1^\\top]$."""
    return stacked[:outputs], stacked[outputs:].T


def _turned_eigenvalues(widths: tuple[int, int, int], values: tuple[float, ...]) -> dict[str, Any]:
    """Two random layers, moved so that $S = W_2^T W_2 - W_1 W_1^T$ has the given eigenvalues."""
    inputs, hidden, outputs = widths

    def residual(flat):
        w2, w1 = _layers(flat.reshape(-1, hidden), outputs)
        return (w2.T @ w2 - w1 @ w1.T - np.diag(values)).ravel()

    start = np.random.default_rng(0).standard_normal((outputs + inputs, hidden))
    w2, w1 = _layers(_solved(residual, start), outputs)
    return {"W1": w1, "W2": w2}


def _metric(theta: dict[str, Any]) -> np.ndarray:
    """$K$ as a matrix on the entries of $z$, from the weights of two layers: $A \\otimes I + I \\otimes B$."""
    w1, w2 = np.asarray(theta["W1"]), np.asarray(theta["W2"])
    return np.kron(w2 @ w2.T, np.eye(w1.shape[1])) + np.kron(np.eye(len(w2)), w1.T @ w1)


def _other_point(theta: dict[str, Any], imbalance: np.ndarray, seed: int) -> dict[str, Any]:
    """Another point with the same $z$ and the same imbalance, found from far away."""
    z, outputs = theta["W2"] @ theta["W1"], len(theta["W2"])

    def residual(flat):
        w2, w1 = _layers(flat.reshape(stacked.shape), outputs)
        return np.concatenate([(w2 @ w1 - z).ravel(), (w2.T @ w2 - w1 @ w1.T - imbalance).ravel()])

    stacked = np.concatenate([theta["W2"], theta["W1"].T])
    away = stacked + np.random.default_rng(seed).standard_normal(stacked.shape)
    w2, w1 = _layers(_solved(residual, away), outputs)
    return {"W1": w1, "W2": w2}


@lru_cache(maxsize=16)
def _metric_spread(widths: tuple[int, int, int], values: tuple[float, ...]) -> tuple[float, float]:
    """Largest relative difference of the metric over points of one fibre, and how far they are off the fibre."""
    start = _turned_eigenvalues(widths, values)
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
    return Evidence(0.0, spread, detail=f"four further points of the fibre, off it by at most {residual:.0e}")


@claim(
    statement=r"If $D_l = \lambda_l I$ then $\dot z = -\sum_l P_l \nabla f(z)\, Q_l$ with the eigenvalues "
    r"$\prod_{k>l}(t_i + c_k)$ and $\prod_{k<l}(t_j + c_k)$, $\prod_k (t_i + c_k) = \sigma_i^2$, for every loss.",
    source=f"{PAPER} (relaxed balanced); the form in offsets and roots derived here",
    tolerance=4e-11,
    arguments={"delta": 0.0},
    control_arguments={"delta": 0.01},
    control="the reduction is told a lambda_1 that is 0.01 too large",
)
def relaxed_balanced_deep(delta: float) -> Evidence:
    """Three layers, D_l = lambda_l I with lambda of both signs: the flow of z alone is the full one."""
    arch = linear_network((2, 2, 2, 2))
    theta0 = lambda_balanced(arch, jax.random.key(1), [0.5, -0.2])
    reduced = RelaxedBalancedFlow(arch, _loss((2, 2)), lambdas=[0.5 + delta, -0.2])
    return _full_against(reduced, theta0)


@claim(
    statement=r"If $S = \lambda I$, $\lambda > 0$, $r < n$ and $r \le m$, the equation holds while rank $z = r$, with "
    r"the eigenvalue 0, not $\lambda$, of $W_2 W_2^\top$ on the null space of $z^\top$.",
    source=f"{PAPER}; null values derived here",
    tolerance=1e-10,
    arguments={"null": 0.0},
    control_arguments={"null": 1.0},
    control="the limit lambda at sigma = 0 is used on the null space instead",
    tier="full",
)
def relaxed_balanced_rank_stratum(null: float) -> Evidence:
    """Two layers narrower than the output: the metric vanishes on the null space of z^T."""
    arch = linear_network((4, 2, 3))
    theta0 = lambda_balanced(arch, jax.random.key(1), 0.7)
    reduced = RelaxedBalancedFlow(arch, _loss((3, 4)), lambdas=0.7)
    if null:
        left = np.array([0.7 * null, 1.0])
        reduced = eqx.tree_at(lambda flow: flow.left, reduced, left)
    return _full_against(reduced, theta0)


@claim(
    statement=r"If $S = W_2^\top W_2 - W_1 W_1^\top$ has the eigenvalues $\lambda$ ($n$ times), $-\mu$ ($m$ times) "
    r"and 0, then $\dot z = -(\kappa^2 + zz^\top)^{1/2} \nabla f - \nabla f (\kappa^2 + z^\top z)^{1/2}$, "
    r"$\kappa = (\lambda + \mu)/2$.",
    source="derived here",
    tolerance=2e-11,
    arguments={"kappa": 0.65},
    control_arguments={"kappa": 0.6},
    control="kappa is the geometric mean of lambda and mu, not the arithmetic one",
    tier="full",
)
def mixed_lazy_balanced(kappa: float) -> Evidence:
    """Two layers, S of full mixed signature: the mixed lazy and balanced metric is exact."""
    arch = linear_network((2, 5, 3))
    theta0 = mixed_balanced(arch, jax.random.key(0), 0.9, 0.4)
    return _full_against(MixedBalancedFlow(arch, _loss((3, 2)), kappa=kappa), theta0)


@claim(
    statement=r"Two layers with $n = m = r = 2$: the metric is a function of $z$ on the level set of $S$ iff "
    r"$S = \lambda I$.",
    source=f"{PAPER} (necessity for r <= max(n, m)); measured on a fibre here",
    tolerance=1e-14,
    arguments={"values": (0.7, 0.7)},
    control_arguments={"values": (0.7, 0.4)},
    control="the two eigenvalues of S differ",
)
def relaxed_balanced_necessary(values: tuple[float, ...]) -> Evidence:
    """Over points with one z and one S the metric is constant only if S = lambda I."""
    return _spread_evidence((2, 2, 2), values)


@claim(
    statement=r"With $n = 2$, $m = 1$, $r = 3$ and $S$ of eigenvalues $\lambda, \lambda, -\mu$ the metric is a "
    r"function of $z$; with two different positive eigenvalues it is not.",
    source="derived here",
    tolerance=1e-14,
    arguments={"values": (0.9, 0.9, -0.4)},
    control_arguments={"values": (0.9, 0.5, -0.4)},
    control="the two positive eigenvalues of S differ",
)
def mixed_metric_on_fibre(values: tuple[float, ...]) -> Evidence:
    """Mixed signature: the metric is constant on a fibre iff the positive eigenvalues of S agree."""
    return _spread_evidence((1, 3, 2), values)


@claim(
    statement=r"With $S = \lambda I$, $\lambda > 0$ and $m < r < n$ the metric is not a function of $z$, although $S$ "
    r"is a multiple of the identity; with $r = n$ it is.",
    source=f"{PAPER}; the case m < r < n derived here",
    tolerance=1e-14,
    arguments={"hidden": 3},
    control_arguments={"hidden": 2},
    control="the hidden width lies strictly between input and output",
)
def relaxed_balanced_null_block(hidden: int) -> Evidence:
    """One input, S = lambda I: the metric is a function of z at r = n = 3, not at r = 2."""
    return _spread_evidence((1, hidden, 3), (0.7,) * hidden)
