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
from ..base import Evidence, claim
from ..curves import TIME, Curves, error_over_time

TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-12, "step_to_ts": True, "ts": 5}
MATRIX = np.array([[1.0, 0.5, -0.3, 0.4], [0.2, -1.0, 0.6, 0.1]])
TARGETS = np.array([0.7, -0.4])


def _end_of_fit(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """z = u v at the end of the full flow on |A z - b|^2 / 2, by SciPy; u has one entry or as many as v."""
    from scipy.integrate import solve_ivp

    def field(t: float, flat: np.ndarray) -> np.ndarray:
        left, right = flat[: len(u)], flat[len(u) :]
        slope = MATRIX.T @ (MATRIX @ (left * right) - TARGETS)
        pull = slope * right
        return -np.concatenate([pull if len(u) == len(v) else [np.sum(pull)], slope * left])

    start = np.concatenate([u, v])
    end = solve_ivp(field, (0.0, 150.0), start, method="DOP853", rtol=1e-12, atol=1e-14).y[:, -1]
    return end[: len(u)] * end[len(u) :]


class _LogCosh:
    """Sum of log cosh(z - S) with a fixed random S."""

    conventions = "sum of log cosh(z - S)"

    def __init__(self, shape: tuple[int, ...]):
        self.target = 1.5 * np.random.default_rng(3).standard_normal(shape)

    def __call__(self, z):
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z) - jnp.log(2.0))

    def __hash__(self):
        return hash(self.target.shape)

    def __eq__(self, other):
        return isinstance(other, _LogCosh) and self.target.shape == other.target.shape


_FORMS = {
    "diagonal": Architecture(
        lambda p: p["u"] * p["v"], {"u": (4,), "v": (4,)}, name="diagonal", try_out=False
    ),
    "neuron": Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (4,)}, name="neuron", try_out=False),
}


@lru_cache(maxsize=4)
def _fitted(form: str):
    """The start, and z at the end of the full flow of the fit."""
    arch, rng = _FORMS[form], np.random.default_rng(5)
    theta0 = {name: rng.uniform(0.2, 0.9, shape) for name, shape in arch.shapes.items()}
    if form == "neuron":
        theta0["u"] = np.array([1.4])
    return theta0, _end_of_fit(theta0["u"], theta0["v"])


def _bias(form: str, factor: float) -> Evidence:
    """The KKT residual with the law of the start, or of a start that differs by a factor in its balance only."""
    theta0, end = _fitted(form)
    assumed = {"u": factor * theta0["u"], "v": theta0["v"] / factor}
    potential = mirror_potential(_FORMS[form], assumed)
    assert potential.exists, "these starts have positive weights"
    report = kkt_residual(potential, MATRIX, TARGETS, end)  # pyright: ignore[reportArgumentType]
    error = float("inf") if report.residual is None else report.residual
    return Evidence(predicted=0.0, measured=error, error=error, detail=f"fit residual {report.fit:.1e}")


@claim(
    id="bias-of-diagonal-networks",
    paper="intrinsic",
    statement=r"Gradient flow of $z = u \odot v$ on $\frac12|Az - b|^2$ that fits ends at the $z$ with $Az = b$ of "
    r"least Bregman divergence from $z_0$ for $\Phi' = \frac12 \operatorname{asinh}(2z/|u^2 - v^2|)$.",
    summary="Diagonal networks end at the minimiser of the hyperbolic entropy's divergence (KKT residual).",
    source="[woodworth2020kernel]; [gunasekar2018characterizing]",
    tolerance=1e-9,
    holds={"factor": 1.0},
    violated={"factor": 1.1},
    control="the potential is that of another law u^2 - v^2 with the same z",
)
def bias_of_diagonal_networks(factor: float) -> Evidence:
    return _bias("diagonal", factor)


@claim(
    id="bias-of-a-neuron",
    paper="intrinsic",
    statement=r"Gradient flow of one neuron $z = u v$, $u$ a scalar, obeys "
    r"$\frac{d}{dt}\nabla Q(z) = -|u|\nabla f(z)$ with $\nabla Q = |v| z/|z|$; a run that fits "
    r"$Az = b$ ends where $\nabla Q(z) - \nabla Q(z_0)$ is in the range of $A^\top$.",
    summary="One neuron ends at the minimiser of its warped potential's divergence (KKT residual).",
    source="derived here; compare [azulay2021implicit]",
    tolerance=1e-9,
    holds={"factor": 1.0},
    violated={"factor": 1.1},
    control="the potential is that of another law u^2 - |v|^2 with the same z",
    tier="full",
)
def bias_of_a_neuron(factor: float) -> Evidence:
    return _bias("neuron", factor)


@lru_cache(maxsize=2)
def _chain():
    return linear_network((1, 1, 1, 1)), {
        "W1": np.full((1, 1), 0.3),
        "W2": np.full((1, 1), 0.8),
        "W3": np.full((1, 1), -1.1),
    }


def _error(left, right) -> float:
    return float(np.max(np.abs(left.z - right.z)) / np.max(np.abs(left.z)))


@claim(
    id="scalar-chain-in-z-alone",
    paper="intrinsic",
    statement=r"A product $z = w_3 w_2 w_1$ of scalars obeys $\dot z = -P'(t) f'(z)$ with "
    r"$P(t) = \prod_l (t + c_l) = z^2$, $c_l = w_l^2 - \min_k w_k^2$, through $z = 0$ as well.",
    summary="A scalar chain of depth 3 in z alone, with z crossing 0: reduced = full.",
    source="derived here from the laws w_{l+1}^2 - w_l^2",
    tolerance=1e-10,
    holds={"shift": 0.0},
    violated={"shift": 0.02},
    control="one constant of the law is off by 0.02",
    tier="full",
)
def scalar_chain_in_z_alone(shift: float) -> Evidence:
    arch, theta0 = _chain()
    assumed = theta0
    if shift:
        # Another chain with the same product: the constants of its laws differ.
        factor = np.sqrt(1 + shift / theta0["W2"] ** 2)
        assumed = {**theta0, "W2": factor * theta0["W2"], "W3": theta0["W3"] / factor}
    loss = _LogCosh((1, 1))
    full = solve(GradientFlow(arch, loss), theta0, 3.0, **TIGHT)
    reduced = solve(ScalarChainFlow(arch, loss), assumed, 3.0, **TIGHT)
    error = _error(full, reduced)
    crossed = bool(full.z[0, 0, 0] * full.z[-1, 0, 0] < 0)
    return Evidence(
        predicted=float(reduced.z[-1, 0, 0]),
        measured=float(full.z[-1, 0, 0]),
        error=error if crossed else float("inf"),
        detail="final z; error of z over the run",
        curves=Curves(
            TIME,
            "product $z$",
            {
                "full flow": (full.ts, full.z[:, 0, 0]),
                "reduced flow, of $z$ alone": (reduced.ts, reduced.z[:, 0, 0]),
            },
        ),
    )


@claim(
    id="power-difference-dual-form",
    paper="intrinsic",
    statement=r"For $z = u^3 - v^3$ with $u, v > 0$ the coordinate $y$ with $\dot y = -\nabla f(z)$ gives "
    r"$u = (u_0^{-1} - 3y)^{-1}$, $v = (v_0^{-1} + 3y)^{-1}$: a mirror flow with a rational law $1/u + 1/v$.",
    summary="The difference of cubes in its dual coordinate: reduced = full.",
    source="[woodworth2020kernel] for u_0 = v_0; otherwise derived here",
    tolerance=1e-10,
    holds={"shift": 0.0},
    violated={"shift": 0.02},
    control="u and v start 0.02 higher in their cubes: the same z, another law",
    tier="full",
)
def power_difference_dual_form(shift: float) -> Evidence:
    arch, loss, theta0 = _cubes()
    assumed = {name: np.cbrt(value**3 + shift) for name, value in theta0.items()}
    full = solve(GradientFlow(arch, loss), theta0, 1.0, **TIGHT)
    reduced = solve(PowersFlow(arch, loss), assumed, 1.0, **TIGHT)
    return Evidence(
        predicted=float(reduced.loss[-1]),
        measured=float(full.loss[-1]),
        error=_error(full, reduced),
        detail="final loss; error of z over the run",
        curves=error_over_time(full.ts, full.z, reduced.z),
    )


@lru_cache(maxsize=1)
def _cubes():
    arch = Architecture(
        lambda p: p["u"] ** 3 - p["v"] ** 3, {"u": (4,), "v": (4,)}, name="cubes", try_out=False
    )
    rng = np.random.default_rng(8)
    return arch, _LogCosh((4,)), {"u": rng.uniform(0.4, 1.0, 4), "v": rng.uniform(0.4, 1.0, 4)}


@lru_cache(maxsize=1)
def _tied():
    arch = Architecture(lambda p: p["U"] @ p["U"].T, {"U": (3, 5)}, name="tied", try_out=False)
    return arch, _LogCosh((3, 3)), {"U": 0.6 * np.random.default_rng(9).standard_normal((3, 5))}


@claim(
    id="tied-factors-in-z-alone",
    paper="intrinsic",
    statement=r"For $z = U U^\top$, any start and any loss, "
    r"$\dot z = -((G + G^\top) z + z (G + G^\top))$, $G = \nabla f(z)$.",
    summary="Tied factors in z alone, from any start: reduced = full.",
    source="elementary; [gunasekar2017implicit]",
    tolerance=1e-10,
    holds={"rate": 2.0},
    violated={"rate": 2.04},
    control="the reduction is told a rate that is 2 % too large",
    tier="full",
)
def tied_factors_in_z_alone(rate: float) -> Evidence:
    arch, loss, theta0 = _tied()
    full = solve(GradientFlow(arch, loss, rates={"U": 2.0}), theta0, 0.75, **TIGHT)
    reduced = solve(TiedFlow(arch, loss, rates={"U": rate}), theta0, 0.75, **TIGHT)
    return Evidence(
        predicted=float(reduced.loss[-1]),
        measured=float(full.loss[-1]),
        error=_error(full, reduced),
        detail="final loss; error of z over the run",
        curves=error_over_time(full.ts, full.z, reduced.z),
    )


@claim(
    id="shared-query-in-one-gram-matrix",
    paper="intrinsic",
    statement=r"For $z = (Q K^\top, Q V^\top)$ the Gram matrix $M$ of the stacked $[Q; K; V]$ is closed, "
    r"$\dot M = -(N M + M N)$ with $N = \nabla_M f + (\nabla_M f)^\top$, for any start and any loss.",
    summary="A query shared by two products is one two-layer problem: reduced = full.",
    source="elementary",
    tolerance=1e-10,
    holds={"rate": 2.0},
    violated={"rate": 2.04},
    control="the reduction is told a rate of the query that is 2 % too large",
    tier="full",
)
def shared_query_in_one_gram_matrix(rate: float) -> Evidence:
    shapes = {"Q": (2, 6), "K": (3, 6), "V": (2, 6)}
    arch = Architecture(
        lambda p: jnp.concatenate([p["Q"] @ p["K"].T, p["Q"] @ p["V"].T], axis=1), shapes, name="shared query"
    )
    rng = np.random.default_rng(10)
    theta0 = {name: 0.6 * rng.standard_normal(shape) for name, shape in shapes.items()}
    loss = _LogCosh((2, 5))
    full = solve(GradientFlow(arch, loss, rates={"Q": 2.0}), theta0, 1.0, **TIGHT)
    reduced = solve(GramBlocksFlow(arch, loss, rates={"Q": rate}), theta0, 1.0, **TIGHT)
    return Evidence(
        predicted=float(reduced.loss[-1]),
        measured=float(full.loss[-1]),
        error=_error(full, reduced),
        detail="final loss; error of z over the run",
        curves=error_over_time(full.ts, full.z, reduced.z),
    )


@claim(
    id="metric-of-a-chain-by-elimination",
    paper="intrinsic",
    statement=r"The metric $k = \sum_l \prod_{j \ne l} w_j^2$ of a scalar chain of depth 3 is a root of one "
    r"polynomial of degree 3 in $k$, with coefficients in $z$ and the constants of its laws.",
    summary="Elimination: the metric of a scalar chain is algebraic of degree 3 over z and its laws.",
    source="derived here; resultant",
    tolerance=1e-12,
    holds={"shift": 0.0},
    violated={"shift": 0.02},
    control="the metric is put in 2 % off",
    tier="full",
)
def metric_of_a_chain_by_elimination(shift: float) -> Evidence:
    arch, theta0 = _chain()
    relation = eliminate_parameters(arch, theta0)
    moved = solve(GradientFlow(arch, _LogCosh((1, 1))), theta0, 3.0, **TIGHT)
    weights = {name: float(np.asarray(value)[0, 0]) for name, value in moved.final.items()}
    square = {name: value**2 for name, value in weights.items()}
    k = square["W1"] * square["W2"] + square["W1"] * square["W3"] + square["W2"] * square["W3"]
    error = relation.residual((1 + shift) * k, float(np.prod(list(weights.values()))))
    return Evidence(
        predicted=3.0,
        measured=float(relation.degree or 0),
        error=error,
        detail="degree; residual after training",
    )
