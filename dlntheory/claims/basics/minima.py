"""The first claims on where training ends: the edge of stability, and the saddle behind the wrong determinant."""

from __future__ import annotations

import jax
import numpy as np

from ...families import linear_network
from ...losses import SquaredLoss
from ...training import GradientDescent, GradientFlow, iterate, solve
from ..base import Evidence, claim
from ..curves import TIME, Curves
from .shared import TIGHT, balanced_with_product


@claim(
    statement=r"At a balanced minimum $z = S$ of $\frac12\|z - S\|^2$ the largest Hessian eigenvalue is "
    r"$L\,\sigma_1^{2-2/L}$, so that gradient descent is stable iff $\eta < 2/(L\,\sigma_1^{2-2/L})$.",
    source="[mulayoff2020unique]; elementary for a balanced minimum",
    tolerance=1e-8,
    arguments={"factor": 1.0},
    control_arguments={"factor": 1.2},
    control="the minimum is not balanced: one layer is 1.2 times, another 1/1.2 times the balanced one",
)
def stability_edge(factor: float) -> Evidence:
    """Sharpness at a balanced minimum is L sigma_1^(2-2/L), read off the growth of gradient descent."""
    arch = linear_network((4, 4, 3, 3))
    depth, target = 3, np.diag([1.5, 1.0, 0.5])[:, :3] @ np.eye(3, 4)
    minimum = balanced_with_product(arch, target)
    minimum = {**minimum, "W1": minimum["W1"] * factor, "W3": minimum["W3"] / factor}
    sharpness = depth * 1.5 ** (2 - 2 / depth)
    eta = 1.1 * 2 / sharpness
    key = jax.random.split(jax.random.key(8), depth)
    start = {
        name: minimum[name] + 1e-12 * jax.random.normal(k, arch.shapes[name])
        for name, k in zip(arch.shapes, key, strict=True)
    }
    descent = GradientDescent(arch, SquaredLoss.from_target(target), eta)
    run = iterate(descent, start, 50, ts=np.array([40, 50]))
    # The unstable mode multiplies the residual by 1 - eta * lambda in each step.
    growth = (np.linalg.norm(run.z[1] - target) / np.linalg.norm(run.z[0] - target)) ** (1 / 10)
    measured = (1 + growth) / eta
    return Evidence(
        sharpness,
        float(measured),
        scale=sharpness,
        detail=f"residual grows by {growth:.6f} per step at 1.1 times the predicted edge",
    )


@claim(
    statement=r"From a balanced start with $\mathrm{sign}\det z(0) \ne \mathrm{sign}\det S$ the flow of "
    r"$\frac12\|z - S\|^2$ converges to a saddle with loss $\frac12\sigma_{\min}(S)^2$.",
    source="rank conservation: [arora2018optimization]; the sign criterion is derived here",
    tolerance=1e-10,
    arguments={"sign": -1.0},
    control_arguments={"sign": 1.0},
    control="the determinants of start and target have the same sign",
)
def determinant_trap(sign: float) -> Evidence:
    """A balanced square start with the wrong determinant sign ends at a saddle."""
    arch = linear_network((3, 3, 3))
    target = np.diag([2.0, 1.0, 0.5])
    product = np.diag([0.3, 0.2, sign * 0.1]) + 0.0
    rng = np.random.default_rng(11)
    # A rotation near the identity keeps the sign of the determinant and excites every mode.
    skew = 0.2 * rng.standard_normal((3, 3))
    rotation = np.linalg.solve(np.eye(3) + skew - skew.T, np.eye(3) - skew + skew.T)
    theta0 = balanced_with_product(arch, rotation @ product)
    run = solve(GradientFlow(arch, SquaredLoss.from_target(target)), theta0, 24.0, check=False, **TIGHT)
    predicted, measured = 0.5 * 0.5**2, float(run.loss[-1])
    curves = Curves(
        TIME,
        "loss $f(z)$",
        {"measured": (run.ts, run.loss), "predicted limit": (run.ts[[0, -1]], [predicted, predicted])},
        scale="log-y",
    )
    return Evidence(predicted, measured, scale=predicted, curves=curves)
