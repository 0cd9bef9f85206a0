"""Claims about closed forms beside matrix products: mirror potentials and implicit bias, tied factors, attention."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax.numpy as jnp
import numpy as np

from ...architecture import Architecture
from ...families import linear_network
from ...reductions.entrywise import PowersFlow, ScalarChainFlow
from ...reductions.intrinsicity.parameter_elimination import eliminate_parameters
from ...reductions.mirror import kkt_residual, mirror_potential
from ...reductions.products import GramBlocksFlow, TiedFlow
from ...training import GradientFlow, solve
from ..base import claim
from ..evidence import Evidence
from ..reference import LogCosh, flow, same_flow

TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-12, "step_to_ts": True, "ts": 5}
MATRIX = np.array([[1.0, 0.5, -0.3, 0.4], [0.2, -1.0, 0.6, 0.1]])
TARGETS = np.array([0.7, -0.4])


def _end_of_fit(u: np.ndarray, v: np.ndarray, rate: float) -> np.ndarray:
    """z = u v at the end of the flow on |A z - b|^2 / 2, with this rate of v; u has one entry or as many as v."""

    def velocity(t: float, left: np.ndarray, right: np.ndarray):
        gradient = MATRIX.T @ (MATRIX @ (left * right) - TARGETS)
        first = gradient * right
        return -first if len(u) == len(v) else [-np.sum(first)], -rate * gradient * left

    left, right = flow(velocity, [u, v], 150.0)
    return left * right


_FORMS = {
    "diagonal": Architecture(
        lambda p: p["u"] * p["v"], {"u": (4,), "v": (4,)}, name="diagonal", try_out=False
    ),
    "neuron": Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (4,)}, name="neuron", try_out=False),
}


@lru_cache(maxsize=4)
def _fitted(form: str, rate: float):
    """The start, and z at the end of the full flow of the fit."""
    arch, rng = _FORMS[form], np.random.default_rng(5)
    theta0 = {name: rng.uniform(0.2, 0.9, shape) for name, shape in arch.shapes.items()}
    if form == "neuron":
        theta0["u"] = np.array([1.4])
    return theta0, _end_of_fit(theta0["u"], theta0["v"], rate)


def _bias(form: str, rate: float) -> Evidence:
    """The KKT residual of the end of the fit."""
    theta0, end = _fitted(form, rate)
    potential = mirror_potential(_FORMS[form], theta0)
    assert potential.exists, "these starts have positive weights"
    report = kkt_residual(potential, MATRIX, TARGETS, end)  # pyright: ignore[reportArgumentType]
    if report.residual is None:
        return Evidence("a fit", "no fit", detail=f"fit residual {report.fit:.1e}")
    return Evidence(0.0, report.residual, detail=f"KKT residual; fit residual {report.fit:.1e}")


@claim(
    statement=r"Gradient flow of $z = u \odot v$ on $\frac12|Az - b|^2$ that fits ends at the $z$ with $Az = b$ of "
    r"least Bregman divergence from $z_0$ for $\Phi' = \frac12 \operatorname{asinh}(2z/|u^2 - v^2|)$.",
    source="[woodworth2020kernel]; [gunasekar2018characterizing]",
    tolerance=6e-13,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.1},
    control="v learns 10 % faster, which conserves another law than u^2 - v^2",
)
def bias_of_diagonal_networks(rate: float) -> Evidence:
    """Diagonal networks end at the minimiser of the hyperbolic entropy's divergence (KKT residual)."""
    return _bias("diagonal", rate)


@claim(
    statement=r"Gradient flow of one neuron $z = u v$, $u$ a scalar, obeys "
    r"$\frac{d}{dt}\nabla Q(z) = -|u|\nabla f(z)$ with $\nabla Q = |v| z/|z|$; a run that fits "
    r"$Az = b$ ends where $\nabla Q(z) - \nabla Q(z_0)$ is in the range of $A^\top$.",
    source="derived here; compare [azulay2021implicit]",
    tolerance=5e-14,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.1},
    control="v learns 10 % faster, which conserves another law than u^2 - |v|^2",
    tier="full",
)
def bias_of_a_neuron(rate: float) -> Evidence:
    """One neuron ends at the minimiser of its warped potential's divergence (KKT residual)."""
    return _bias("neuron", rate)


@lru_cache(maxsize=2)
def _chain():
    return linear_network((1, 1, 1, 1)), {
        "W1": np.full((1, 1), 0.3),
        "W2": np.full((1, 1), 0.8),
        "W3": np.full((1, 1), -1.1),
    }


def _loss(shape: tuple[int, ...]) -> LogCosh:
    return LogCosh(shape, seed=3, scale=1.5)


@claim(
    statement=r"A product $z = w_3 w_2 w_1$ of scalars obeys $\dot z = -P'(t) f'(z)$ with "
    r"$P(t) = \prod_l (t + c_l) = z^2$, $c_l = w_l^2 - \min_k w_k^2$, through $z = 0$ as well.",
    source="derived here from the laws w_{l+1}^2 - w_l^2",
    tolerance=3e-12,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.02},
    control="the middle layer learns 2 % faster, which conserves other laws",
    tier="full",
)
def scalar_chain_in_z_alone(rate: float) -> Evidence:
    """A scalar chain of depth 3 in z alone, with z crossing 0: reduced = full."""
    arch, theta0 = _chain()
    loss = _loss((1, 1))
    full = solve(GradientFlow(arch, loss, rates={"W2": rate}), theta0, 3.0, **TIGHT)
    reduced = solve(ScalarChainFlow(arch, loss), theta0, 3.0, **TIGHT)
    crossed = "crosses 0" if full.z[0, 0, 0] * full.z[-1, 0, 0] < 0 else "keeps its sign"
    return Evidence.worst([same_flow(full.ts, full.z, reduced.z), Evidence("crosses 0", crossed)])


@claim(
    statement=r"For $z = u^3 - v^3$ with $u, v > 0$ the coordinate $y$ with $\dot y = -\nabla f(z)$ gives "
    r"$u = (u_0^{-1} - 3y)^{-1}$, $v = (v_0^{-1} + 3y)^{-1}$: a mirror flow with a rational law $1/u + 1/v$.",
    source="[woodworth2020kernel] for u_0 = v_0; otherwise derived here",
    tolerance=1.2e-12,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.02},
    control="v learns 2 % faster, which conserves another law",
    tier="full",
)
def power_difference_dual_form(rate: float) -> Evidence:
    """The difference of cubes in its dual coordinate: reduced = full."""
    arch, loss, theta0 = _cubes()
    full = solve(GradientFlow(arch, loss, rates={"v": rate}), theta0, 1.0, **TIGHT)
    reduced = solve(PowersFlow(arch, loss), theta0, 1.0, **TIGHT)
    return same_flow(full.ts, full.z, reduced.z)


@lru_cache(maxsize=1)
def _cubes():
    arch = Architecture(
        lambda p: p["u"] ** 3 - p["v"] ** 3, {"u": (4,), "v": (4,)}, name="cubes", try_out=False
    )
    rng = np.random.default_rng(8)
    return arch, _loss((4,)), {"u": rng.uniform(0.4, 1.0, 4), "v": rng.uniform(0.4, 1.0, 4)}


@lru_cache(maxsize=1)
def _tied():
    arch = Architecture(lambda p: p["U"] @ p["U"].T, {"U": (3, 5)}, name="tied", try_out=False)
    return arch, _loss((3, 3)), {"U": 0.6 * np.random.default_rng(9).standard_normal((3, 5))}


@claim(
    statement=r"For $z = U U^\top$, any start and any loss, "
    r"$\dot z = -((G + G^\top) z + z (G + G^\top))$, $G = \nabla f(z)$.",
    source="elementary; [gunasekar2017implicit]",
    tolerance=2e-13,
    arguments={"rate": 2.0},
    control_arguments={"rate": 2.04},
    control="the reduction is told a rate that is 2 % too large",
    tier="full",
    breaks="prediction",
)
def tied_factors_in_z_alone(rate: float) -> Evidence:
    """Tied factors in z alone, from any start: reduced = full."""
    arch, loss, theta0 = _tied()
    full = solve(GradientFlow(arch, loss, rates={"U": 2.0}), theta0, 0.75, **TIGHT)
    reduced = solve(TiedFlow(arch, loss, rates={"U": rate}), theta0, 0.75, **TIGHT)
    return same_flow(full.ts, full.z, reduced.z)


@claim(
    statement=r"For $z = (Q K^\top, Q V^\top)$ the Gram matrix $M$ of the stacked $[Q; K; V]$ is closed, "
    r"$\dot M = -(N M + M N)$ with $N = \nabla_M f + (\nabla_M f)^\top$, for any start and any loss.",
    source="elementary",
    tolerance=8e-14,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.02},
    control="the keys learn 2 % faster than query and values, whose products then do not close",
    tier="full",
)
def shared_query_in_one_gram_matrix(rate: float) -> Evidence:
    """A query shared by two products is one two-layer problem: reduced = full."""
    shapes = {"Q": (2, 6), "K": (3, 6), "V": (2, 6)}
    arch = Architecture(
        lambda p: jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1), shapes, name="shared query"
    )
    rng = np.random.default_rng(10)
    theta0 = {name: 0.6 * rng.standard_normal(shape) for name, shape in shapes.items()}
    loss = _loss((2, 5))
    full = solve(GradientFlow(arch, loss, rates={"K": rate}), theta0, 1.0, **TIGHT)
    reduced = solve(GramBlocksFlow(arch, loss), theta0, 1.0, **TIGHT)
    return same_flow(full.ts, full.z, reduced.z)


@claim(
    statement=r"The metric $k = \sum_l \prod_{j \ne l} w_j^2$ of a scalar chain of depth 3 is a root of one "
    r"polynomial of degree 3 in $k$, with coefficients in $z$ and the constants of its laws.",
    source="derived here; resultant",
    tolerance=1e-12,
    arguments={"shift": 0.0},
    control_arguments={"shift": 0.02},
    control="the metric is put in 2 % off",
    tier="full",
    breaks="prediction",
)
def metric_of_a_chain_by_elimination(shift: float) -> Evidence:
    """Elimination: the metric of a scalar chain is algebraic of degree 3 over z and its laws."""
    arch, theta0 = _chain()
    relation = eliminate_parameters(arch, theta0)
    moved = solve(GradientFlow(arch, _loss((1, 1))), theta0, 3.0, **TIGHT)
    weights = {name: float(np.asarray(value)[0, 0]) for name, value in moved.final.items()}
    square = {name: value**2 for name, value in weights.items()}
    k = square["W1"] * square["W2"] + square["W1"] * square["W3"] + square["W2"] * square["W3"]
    z = float(np.prod(list(weights.values())))
    parts = {
        "degree": Evidence(3, relation.degree or 0),
        "residual after training": Evidence(0.0, relation.residual((1 + shift) * k, z)),
    }
    return Evidence.worst(parts)
