"""The first claims on reductions: the end-to-end flow from balanced starts, the Gram flow from any."""

from __future__ import annotations

import jax
import numpy as np

from ...data import digits
from ...families import linear_network
from ...initial import balanced, gaussian
from ...reductions import BalancedFlow, GramFlow
from ...training import GradientFlow, solve
from ..base import Evidence, claim
from ..reference import LogCosh, same_flow
from ..showcase import main_job
from .shared import TIGHT, balanced_with_product


@claim(
    statement=r"From a balanced start, "
    r"$\dot z = -\sum_{l=1}^L (zz^\top)^{(L-l)/L}\,\nabla f(z)\,(z^\top z)^{(l-1)/L}$.",
    source="[arora2018optimization], Theorem 1",
    tolerance=1e-11,
    arguments={"start": "balanced"},
    control_arguments={"start": "gaussian"},
    control="the start is Gaussian, hence not balanced",
)
def balanced_end_to_end_digits(start: str) -> Evidence:
    """The end-to-end equation reproduces the full flow from a balanced start (digits, 64-100-10)."""
    job = main_job()
    if start == "balanced":
        full, reduced = job.balanced.full, job.balanced.reduced
    else:
        full = job.gaussian.full
        arch = linear_network((64, 100, 10))
        theta0 = gaussian(arch, jax.random.key(0), scale=0.1)
        flow = BalancedFlow(arch, digits(centred=True).loss())
        reduced = solve(flow, theta0, full.ts[-1], check=False, **{**TIGHT, "ts": 60})
    return same_flow(full.ts, full.z, reduced.z)


@claim(
    statement=r"The end-to-end equation holds at any depth and width if the singular values beyond "
    r"$\mathrm{rank}\, z$, which the flow conserves, are held at 0.",
    source="[arora2018optimization], Theorem 1; [bah2022learning] (rank)",
    tolerance=1e-10,
    arguments={"balanced": True},
    control_arguments={"balanced": False},
    control="one layer is rotated on its hidden side, which keeps all singular values but not the balance",
)
def balanced_end_to_end_bottleneck(balanced: bool) -> Evidence:
    """Depth 3, a bottleneck, equal singular values, log-cosh loss: reduced = full."""
    arch = linear_network((4, 3, 2, 5))
    loss = LogCosh(arch.output_shape)
    theta0 = balanced_with_product(arch, np.eye(5, 2) @ np.eye(2, 4))
    if not balanced:
        angle = 0.3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        theta0 = {**theta0, "W1": turn @ np.asarray(theta0["W1"])}
    full = solve(GradientFlow(arch, loss), theta0, 2.0, **TIGHT)
    reduced = solve(BalancedFlow(arch, loss), theta0, 2.0, check=balanced, **TIGHT)
    return same_flow(full.ts, full.z, reduced.z)


@claim(
    statement=r"With layer rates $e_l$ and $W_{l+1}^\top W_{l+1}/e_{l+1} = W_l W_l^\top/e_l$ the end-to-end flow is "
    r"that of equal rates, sped up by $(\prod_l e_l)^{1/L}$.",
    source="follows from [arora2018optimization], Theorem 1, with V_l = W_l / sqrt(e_l); derived here",
    tolerance=1e-10,
    arguments={"scaled": True},
    control_arguments={"scaled": False},
    control="the start is balanced for equal rates, not for these",
)
def balanced_layer_rates(scaled: bool) -> Evidence:
    """Unequal layer rates speed the balanced flow up by their geometric mean."""
    arch = linear_network((4, 3, 2, 5))
    rates = {"W1": 2.0, "W2": 1.0, "W3": 0.3}
    loss = LogCosh(arch.output_shape)
    theta0 = balanced(arch, jax.random.key(3))
    if scaled:
        theta0 = {name: np.sqrt(rates[name]) * np.asarray(theta0[name]) for name in theta0}
    full = solve(GradientFlow(arch, loss, rates=rates), theta0, 2.0, **TIGHT)
    # The right side of the claim is computed without telling the reduction about rates: only time is rescaled.
    speed = float(np.prod(list(rates.values()))) ** (1 / 3)
    plain = solve(BalancedFlow(arch, loss), theta0, 2.0 * speed, check=False, **TIGHT)
    return same_flow(full.ts, full.z, plain.z)


@claim(
    statement=r"For two linear layers, any loss and any start, $M = QQ^\top$ with $Q = [W_1^\top; W_2]$ obeys "
    r"$\dot M = NM + MN$, $N = -\begin{pmatrix} 0 & \nabla f^\top \\ \nabla f & 0 \end{pmatrix}$.",
    source="[fukumizu1998effect] for whitened data; elementary for any loss",
    tolerance=4e-11,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.05},
    control="the second layer learns 5 % faster than the reduction is told",
)
def gram_closure(rate: float) -> Evidence:
    """The Gram matrix of two layers is closed for any start and any loss: reduced = full."""
    arch = linear_network((6, 9, 4))
    loss = LogCosh(arch.output_shape)
    theta0 = gaussian(arch, jax.random.key(2), scale=0.5)
    full = solve(GradientFlow(arch, loss, rates={"W2": rate}), theta0, 5.0, **TIGHT)
    reduced = solve(GramFlow(arch, loss), theta0, 5.0, **TIGHT)
    return same_flow(full.ts, full.z, reduced.z)
