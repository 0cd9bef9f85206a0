"""Claims on diagonal networks, commuting sensing and the greedy path."""

from __future__ import annotations

import math

import numpy as np

from ...solutions.commuting_sensing import CommutingSensing, largest_commutator
from ...solutions.diagonal_networks import interpolation_limit, squares_from_dual
from ...theory.saddles import approach_exponent, closest_approach_of_modes
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence
from ..reference import flow, rotation


@claim(
    statement=r"For $\beta = u^2 - v^2$ from $u = v = \alpha$: $\beta = 2\alpha^2\sinh(4\theta)$, "
    r"$\theta = -\int\nabla f$, and an interpolating flow ends at $\arg\min Q_\alpha$ on $X\beta = y$.",
    source="[woodworth2020kernel]",
    tolerance=5e-14,
    arguments={"shared_start": True},
    control_arguments={"shared_start": False},
    control="u starts ten percent above v",
)
def diagonal_sinh_and_dual_limit(shared_start: bool) -> Evidence:
    """Diagonal networks end at the least hyperbolic entropy, found by a dual Newton method."""
    rng = np.random.default_rng(3)
    x, y, alpha = rng.standard_normal((3, 6)), rng.standard_normal(3), 0.3

    def velocity(t, u, v, _):
        gradient = x.T @ (x @ (u**2 - v**2) - y)
        return -2 * u * gradient, 2 * v * gradient, -gradient

    u0 = alpha * (1.0 if shared_start else 1.1)
    u, v, theta = flow(velocity, [np.full(6, u0), np.full(6, alpha), np.zeros(6)], 60.0)
    parts = {
        "limit": Evidence(interpolation_limit(x, y, alpha).beta, u**2 - v**2),
        "sinh": Evidence(np.asarray(squares_from_dual(theta, alpha)), u**2 - v**2),
    }
    return Evidence.worst(parts)


@claim(
    id="diagonal-least-l1-from-tiny-start",
    statement=r"As $\alpha \to 0$ the interpolating $\beta$ tends to the least $\ell_1$ norm; where that is "
    r"unique the excess falls like $\alpha^{2(1-\kappa)}$, $\kappa = \max |X^\top\nu|$ off its support.",
    source="[woodworth2020kernel] for the limit; the rate is derived here",
    tolerance=9e-13,
    arguments={"alpha": 1e-80},
    control_arguments={"alpha": 1e-4},
    control="the start is small, but not that small",
)
def diagonal_least_l1(alpha: float) -> Evidence:
    """A diagonal network finds the least l1 norm, often only from absurdly small starts."""
    from scipy.optimize import linprog

    rng = np.random.default_rng(3)
    x, y = rng.standard_normal((4, 9)), rng.standard_normal(4)
    least = float(linprog(np.ones(18), A_eq=np.hstack([x, -x]), b_eq=y).fun)
    found = float(np.sum(np.abs(interpolation_limit(x, y, alpha).beta)))
    return Evidence(least, found)


@claim(
    statement=r"For commuting $A_i$ and $X = UU^\top$ from $\alpha I$: $X(t) = \alpha\exp(4\sum_i s_i A_i)$, "
    r"$s_i = -\int(\langle A_i, X\rangle - y_i)\,dt$.",
    source="[gunasekar2017implicit]",
    tolerance=7e-14,
    arguments={"commuting": True},
    control_arguments={"commuting": False},
    control="the measurements do not commute",
)
def commuting_sensing(commuting: bool) -> Evidence:
    """Matrix sensing with commuting measurements is an exponential of m numbers."""
    from scipy.linalg import expm

    basis, rng = rotation(3, 5), np.random.default_rng(6)
    a = np.stack([(basis * d) @ basis.T for d in rng.standard_normal((2, 3))])
    if not commuting:
        a[1] = np.diag([1.0, -0.5, 0.2])
    y, alpha = np.array([0.4, 0.9]), 0.3

    def velocity(t, u, _):
        residual = np.einsum("mij,ij->m", a, u @ u.T) - y
        return -2 * np.einsum("m,mij->ij", residual, a) @ u, -residual

    u, s = flow(velocity, [math.sqrt(alpha) * np.eye(3), np.zeros(2)], 2.0)
    formula = alpha * expm(4 * np.einsum("m,mij->ij", s, a))
    curve = CommutingSensing(a, y, alpha).curve([2.0])[0] if commuting else formula
    detail = f"an entry of X; max |[A_i, A_j]| = {largest_commutator(a):.2g}"
    return Evidence.worst([Evidence(found, u @ u.T) for found in (formula, curve)], detail=detail)


@claim(
    statement=r"From weights of size $\epsilon$ the flow passes the best rank-one map at a distance of order "
    r"$\epsilon^{2(1-\rho)/(1+\rho)}$, $\rho = \sigma_2/\sigma_1$.",
    source="derived for dlntheory; setting of [li2021resolving] and [jacot2021saddle]",
    tolerance=1e-6,
    arguments={"small": 1e-7},
    control_arguments={"small": 0.2},
    control="the initialisation is not small",
)
def greedy_closest_approach(small: float) -> Evidence:
    """Closest approach to rank one is a power of the initialisation that depends on the gap."""
    ratio = 1 / 3
    distances = closest_approach_of_modes(3.0, 3.0 * ratio, [small, small / 2])
    slope = math.log2(distances[0] / distances[1])
    predicted = approach_exponent(2, 1.0, ratio)
    points = (small, small / 2), distances
    series = {"measured": points, rf"predicted $\epsilon^{{{predicted:.3g}}}$": power_law(*points, predicted)}
    curves = Curves(r"size $\epsilon$ of the start", "closest approach to rank one", series, scale="log-log")
    return Evidence(predicted, slope, curves=curves)
