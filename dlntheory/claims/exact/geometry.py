"""Claims on the balanced manifold: fibre volume, entropy, Langevin equilibrium."""

from __future__ import annotations

import itertools
import math
from functools import lru_cache

import numpy as np

from ...theory.geometry import (
    entropy,
    log_density_factor,
    log_metric_density,
    matrix_langevin,
    mean_curvature,
    metric_operator,
    scalar_langevin,
)
from ..base import claim
from ..evidence import Evidence
from ..reference import product as multiplied
from .shared import GEOMETRY, fibre_point


@claim(
    statement=r"Over $W$, the balanced weights of depth $N$ form an orbit of hidden rotations with volume element "
    r"$\prod_{k<l}\sqrt{m_N(s_k^2, s_l^2)}$, $m_N(x,y) = (x-y)/(x^{1/N} - y^{1/N})$.",
    source=GEOMETRY,
    tolerance=2e-14,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.3},
    control="the weights have the same product, but are not balanced",
)
def fibre_volume(stretch: float) -> Evidence:
    """Volume of the fibre of balanced weights, against Gram determinants of its tangents."""
    parts = {}
    for size, depth in ((2, 2), (3, 4), (4, 3)):
        z = np.random.default_rng(size).standard_normal((size, size)) + np.diag(np.arange(1.0, size + 1))
        tangents = np.stack([np.concatenate(t) for t in _vertical(fibre_point(z, depth, stretch))])
        volume = 0.5 * float(np.linalg.slogdet(tangents @ tangents.T)[1])
        parts[f"size {size}, depth {depth}"] = Evidence(entropy(z, depth), volume)
    return Evidence.worst(parts, detail="log volume element")


def _vertical(layers: list[np.ndarray]):
    """Tangents of the fibre, the hidden rotations unit in |A|^2, raveled layer by layer."""
    size, depth = layers[0].shape[0], len(layers)
    for l, (i, j) in itertools.product(range(depth - 1), itertools.combinations(range(size), 2)):
        a = np.zeros((size, size))
        a[i, j], a[j, i] = 1 / math.sqrt(2), -1 / math.sqrt(2)
        yield [
            (a @ layers[m] if m == l else -layers[m] @ a if m == l + 1 else np.zeros((size, size))).ravel()
            for m in range(depth)
        ]


@claim(
    statement=r"Balanced weights submerge onto products with metric $g = A_N^{-1}$, "
    r"$A_N G = \sum_j (WW^\top)^{(N-j)/N} G (W^\top W)^{(j-1)/N}$.",
    source="[bah2022learning]; [menon2025entropy]",
    tolerance=3e-14,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.3},
    control="the weights have the same product, but are not balanced",
)
def submersion_metric(stretch: float) -> Evidence:
    """The metric that balanced weights induce on products is the inverse of the flow's operator."""
    size, depth = 3, 3
    product = np.random.default_rng(1).standard_normal((size, size)) + np.diag([1.0, 2.0, 3.0])
    layers = fibre_point(product, depth, stretch)
    kernel = np.zeros((9, 9))
    for l in range(depth):
        part = np.kron(multiplied(layers[l + 1 :], size), multiplied(layers[:l], size).T)
        kernel += part @ part.T
    operator = metric_operator(product, depth)
    parts = {
        "operator": Evidence(operator, kernel, scale=float(np.max(np.abs(operator)))),
        "log sqrt det g": Evidence(
            log_metric_density(product, depth), -0.5 * float(np.linalg.slogdet(kernel)[1])
        ),
    }
    return Evidence.worst(parts)


@claim(
    statement=r"The mean curvature vector of the fibre, pushed to products, is $-A_N\nabla S_N$: noise descends "
    r"$f - S_N/\beta$.",
    source=GEOMETRY,
    tolerance=4e-15,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.3},
    control="the weights have the same product, but are not balanced",
)
def fibre_mean_curvature(stretch: float) -> Evidence:
    """Noise on balanced weights drifts along the entropy of the fibre."""
    size, depth = 2, 3
    product = np.array([[1.5, 0.3], [-0.2, 0.8]])
    layers = fibre_point(product, depth, stretch)
    tangents = [[part.reshape(size, size) for part in t] for t in _vertical(layers)]
    rows = np.stack([np.concatenate([part.ravel() for part in t]) for t in tangents])
    inverse = np.linalg.inv(rows @ rows.T)
    pushed = np.zeros((size, size))
    for (a, s), (b, t) in itertools.product(enumerate(tangents), repeat=2):
        for i, j in itertools.permutations(range(depth), 2):
            parts = list(layers)
            parts[i], parts[j] = s[i], t[j]
            pushed -= inverse[a, b] * multiplied(parts, size)
    return Evidence(mean_curvature(product, depth), pushed)


@claim(
    statement=r"$e^{S_N}$ against $d\mathrm{vol}_g$ is $\prod_{k<l} m_N^{-1/2}\prod_k (N s_k^{2-2/N})^{-1/2}$ against "
    r"$dW$: the first factor grows with the product, the second favours low rank.",
    source=GEOMETRY,
    tolerance=8e-15,
    arguments={"reference": "lebesgue"},
    control_arguments={"reference": "metric"},
    control="the factor against d vol_g is taken for the one against dW",
    breaks="prediction",
)
def equilibrium_reference_measures(reference: str) -> Evidence:
    """Whether entropy favours large or low-rank products depends on the reference measure."""
    s, depth = np.array([1.7, 0.9, 0.3]), 3
    m = lambda x, y: (x - y) / (x ** (1 / depth) - y ** (1 / depth))
    pairs = math.prod(m(x**2, y**2) for x, y in itertools.combinations(s, 2))
    diagonal = math.prod(depth * x ** (2 - 2 / depth) for x in s)
    predicted = -0.5 * math.log(pairs) - 0.5 * math.log(diagonal)
    found = float(log_density_factor(s, depth, reference))
    return Evidence(predicted, found)


@lru_cache(maxsize=2)
def _langevin(dimension: int):
    if dimension == 1:
        return scalar_langevin(1.0, 2, chains=8000, step=0.02)
    return matrix_langevin((1.5, 0.6), chains=20_000, step=0.02)


def _langevin_evidence(dimension: int, with_geometry: bool) -> Evidence:
    report = _langevin(dimension)
    predicted = report.predicted if with_geometry else report.naive
    return Evidence(
        predicted,
        report.simulated,
        report.standard_errors,
        detail=f"error in standard errors; largest KS distance {np.max(report.ks):.4f} "
        f"(0.1 % limit {report.ks_limit:.4f}), {report.chains} chains",
    )


@claim(
    statement=r"Langevin motion on balanced scalar weights has the density $e^{-\beta f}\,(N w^{2-2/N})^{-1/2}dw$.",
    source=GEOMETRY + "; simulation of dlntheory",
    tolerance=4.0,
    arguments={"with_geometry": True},
    control_arguments={"with_geometry": False},
    control="the density is taken to be e^(-beta f) dw, without the factor of the metric",
    tier="full",
    breaks="prediction",
)
def langevin_equilibrium_scalar(with_geometry: bool) -> Evidence:
    """Simulated noise on two equal scalar layers has the predicted equilibrium."""
    return _langevin_evidence(1, with_geometry)


@claim(
    statement=r"Langevin motion on balanced $2\times2$ weights of two layers has the density $e^{-\beta f} e^{S_N}$ "
    r"against $d\mathrm{vol}_g$.",
    source=GEOMETRY + "; simulation of dlntheory",
    tolerance=4.0,
    arguments={"with_geometry": True},
    control_arguments={"with_geometry": False},
    control="the density is taken to be e^(-beta f) dW, without the factors of the geometry",
    tier="full",
    breaks="prediction",
)
def langevin_equilibrium_two_by_two(with_geometry: bool) -> Evidence:
    """Simulated noise on two layers of 2 x 2 weights has the predicted equilibrium."""
    return _langevin_evidence(2, with_geometry)
