"""The first claims on imbalances: what conserves them, what changes them and by how much."""

from __future__ import annotations

import jax
import numpy as np

from ..._errors import ConditionError
from ...data import digits
from ...families import linear_network
from ...initial import gaussian, lambda_balanced
from ...losses import CrossEntropyLoss, SquaredLoss
from ...reductions import BalancedFlow
from ...training import GradientDescent, GradientFlow, solve
from ..base import Evidence, claim
from ..curves import TIME, Curves
from .shared import TIGHT, LogCosh, distance, imbalances_at, target_of, weights_along


@claim(
    id="balancedness-conserved",
    paper="basics",
    statement=r"Along the gradient flow of any loss of $z = W_L \cdots W_1$ the imbalances "
    r"$D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$ are constant.",
    summary="Imbalances are constant along gradient flow, whatever the loss (digits).",
    source="[arora2018optimization], proof of Theorem 1; [du2018algorithmic]",
    tolerance=2e-13,
    holds={"weight_decay": 0.0},
    violated={"weight_decay": 0.01},
    control="weight decay is added to the loss, which then depends on more than z",
)
def balancedness_conserved(weight_decay: float) -> Evidence:
    arch = linear_network((64, 16, 10))
    data = digits(centred=True)
    theta0 = gaussian(arch, jax.random.key(1), scale=0.2)
    errors, series = {}, {}
    for name, loss in {
        "squared": data.loss(),
        "cross entropy": CrossEntropyLoss(data.inputs, data.targets),
    }.items():
        run = solve(GradientFlow(arch, loss, weight_decay=weight_decay), theta0, 20.0, **TIGHT)
        scale = max(float(np.linalg.norm(w)) ** 2 for w in run.final.values())
        start = imbalances_at(arch, theta0)
        errors[name] = distance(imbalances_at(arch, run.final), start, scale)
        changes = [distance(imbalances_at(arch, theta), start, scale) for theta in weights_along(run)]
        series[f"{name} loss"] = run.ts[1:], changes[1:]
    worst = max(errors.values())
    detail = ", ".join(f"{name} loss: {error:.1e}" for name, error in errors.items())
    label = r"change of $D_1$, relative to $\max_l \|W_l\|_F^2$"
    curves = Curves(TIME, label, series, scale="log-y", with_tolerance=True)
    return Evidence(predicted=0.0, measured=worst, error=worst, detail=detail, curves=curves)


@claim(
    id="lambda-balance-refused",
    paper="basics",
    statement=r"At a $\lambda$-balanced start, $D_1 = \lambda I_h$, the end-to-end equation is refused with the "
    r"violation $\|D_1\|_F = |\lambda|\sqrt h$.",
    summary="A λ-balanced start is refused by the balanced flow, with the violation |λ| sqrt(h).",
    source="balance: [arora2018optimization]; λ-balance: [domine2025lazy]",
    tolerance=3e-15,
    holds={"lam": 0.7},
    violated={"lam": 0.0},
    control="the start is balanced, so that nothing may be refused",
)
def lambda_balance_refused(lam: float) -> Evidence:
    arch = linear_network((4, 3, 5))
    theta0 = lambda_balanced(arch, jax.random.key(4), lam)
    predicted = 0.7 * np.sqrt(3.0)
    try:
        BalancedFlow(arch).check_start(theta0)
        measured = 0.0
    except ConditionError as refusal:
        measured = refusal.measured
    return Evidence(predicted=predicted, measured=measured, error=abs(measured - predicted) / predicted)


@claim(
    id="gd-drift-identity",
    paper="basics",
    statement=r"One step of gradient descent changes $D_l$ by exactly $\eta^2 (g_{l+1}^\top g_{l+1} - g_l g_l^\top)$, "
    r"$g_l$ the layer gradients.",
    summary="Gradient descent changes the imbalances by eta^2 (g_{l+1}^T g_{l+1} - g_l g_l^T), exactly.",
    source="elementary: first-order terms cancel; compare [du2018algorithmic]",
    tolerance=5e-15,
    holds={"weight_decay": 0.0},
    violated={"weight_decay": 0.01},
    control="weight decay is added, so that first-order terms no longer cancel",
)
def gd_drift_identity(weight_decay: float) -> Evidence:
    arch = linear_network((3, 5, 4, 2))
    eta, target = 0.1, target_of((2, 3))
    descent = GradientDescent(arch, SquaredLoss.from_target(target), eta, weight_decay=weight_decay)
    params = gaussian(arch, jax.random.key(5), scale=0.6)
    worst, scale = 0.0, 0.0
    for k in range(5):
        after = descent.step(k, params)
        w1, w2, w3 = (np.asarray(params[name]) for name in ("W1", "W2", "W3"))
        residual = w3 @ w2 @ w1 - target
        g1, g2, g3 = (w3 @ w2).T @ residual, w3.T @ residual @ w1.T, residual @ (w2 @ w1).T
        predicted = [eta**2 * (g2.T @ g2 - g1 @ g1.T), eta**2 * (g3.T @ g3 - g2 @ g2.T)]
        change = [b - a for a, b in zip(imbalances_at(arch, params), imbalances_at(arch, after), strict=True)]
        worst = max(worst, distance(change, predicted, 1.0))
        scale = max(scale, *(float(np.linalg.norm(p)) for p in predicted))
        params = after
    return Evidence(
        predicted=scale,
        measured=scale,
        error=worst,
        detail="largest predicted change; absolute error over 5 steps",
    )


@claim(
    id="weight-decay-imbalance",
    paper="basics",
    statement=r"With weight decay $\frac{\gamma}{2}\sum_l \|W_l\|^2$ the imbalances decay as "
    r"$D_l(t) = e^{-2\gamma t} D_l(0)$, for every loss and depth.",
    summary="Weight decay shrinks the imbalances as exp(-2 gamma t).",
    source="[kunin2021neural]",
    tolerance=1e-12,
    holds={"rate": 1.0},
    violated={"rate": 1.2},
    control="the last layer learns and decays 20 % faster than the others",
)
def weight_decay_imbalance(rate: float) -> Evidence:
    arch = linear_network((4, 3, 2, 5))
    gamma, end = 0.3, 2.0
    rates = {"W3": rate}
    theta0 = gaussian(arch, jax.random.key(6), scale=0.7)
    flow = GradientFlow(arch, LogCosh(arch.output_shape), weight_decay=gamma, rates=rates)
    run = solve(flow, theta0, end, **TIGHT)
    before = imbalances_at(arch, theta0, {"W3": rate})
    predicted = [np.exp(-2 * gamma * end) * d for d in before]
    after = imbalances_at(arch, run.final, {"W3": rate})
    size = max(float(np.linalg.norm(d)) for d in predicted)
    largest = max(float(np.linalg.norm(d)) for d in before)
    along = [imbalances_at(arch, theta, {"W3": rate}) for theta in weights_along(run)]
    curves = Curves(
        TIME,
        r"largest $\|D_l\|_F$",
        {
            "measured": (run.ts, [max(float(np.linalg.norm(d)) for d in one) for one in along]),
            r"predicted $e^{-2\gamma t}$": (run.ts, largest * np.exp(-2 * gamma * run.ts)),
        },
        scale="log-y",
    )
    return Evidence(
        predicted=size,
        measured=max(float(np.linalg.norm(d)) for d in after),
        error=distance(after, predicted, size),
        detail="largest norm of an imbalance at the end",
        curves=curves,
    )
