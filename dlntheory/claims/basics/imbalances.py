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
from ..reference import LogCosh, chain_gradients, product
from .shared import TIGHT, imbalances_at, weights_along


@claim(
    statement=r"Along the gradient flow of any loss of $z = W_L \cdots W_1$ the imbalances "
    r"$D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$ are constant.",
    source="[arora2018optimization], proof of Theorem 1; [du2018algorithmic]",
    tolerance=5e-14,
    arguments={"weight_decay": 0.0},
    control_arguments={"weight_decay": 0.01},
    control="weight decay is added to the loss, which then depends on more than z",
)
def balancedness_conserved(weight_decay: float) -> Evidence:
    """Imbalances are constant along gradient flow, whatever the loss (digits)."""
    arch = linear_network((64, 16, 10))
    data = digits(centred=True)
    theta0 = gaussian(arch, jax.random.key(1), scale=0.2)
    parts, series = {}, {}
    for name, loss in {
        "squared": data.loss(),
        "cross entropy": CrossEntropyLoss(data.inputs, data.targets),
    }.items():
        run = solve(GradientFlow(arch, loss, weight_decay=weight_decay), theta0, 20.0, **TIGHT)
        scale = max(float(np.linalg.norm(w)) ** 2 for w in run.final.values())
        (start,) = imbalances_at(arch, theta0)
        parts[name] = Evidence(start, imbalances_at(arch, run.final)[0], scale)
        along = [imbalances_at(arch, theta)[0] for theta in weights_along(run)]
        series[f"{name} loss"] = run.ts[1:], np.max(np.abs(along - start), axis=(1, 2))[1:] / scale
    label = r"largest change of an entry of $D_1$, relative to $\max_l \|W_l\|_F^2$"
    curves = Curves(TIME, label, series, scale="log-y", with_tolerance=True)
    return Evidence.worst(parts, detail="the entry of D_1 that changes most", curves=curves)


@claim(
    statement=r"At a $\lambda$-balanced start, $D_1 = \lambda I_h$, the end-to-end equation is refused with the "
    r"violation $\|D_1\|_F = |\lambda|\sqrt h$.",
    source="balance: [arora2018optimization]; λ-balance: [domine2025lazy]",
    tolerance=3e-15,
    arguments={"lam": 0.7},
    control_arguments={"lam": 0.0},
    control="the start is balanced, so that nothing may be refused",
)
def lambda_balance_refused(lam: float) -> Evidence:
    """A λ-balanced start is refused by the balanced flow, with the violation |λ| sqrt(h)."""
    arch = linear_network((4, 3, 5))
    theta0 = lambda_balanced(arch, jax.random.key(4), lam)
    predicted = 0.7 * np.sqrt(3.0)
    try:
        BalancedFlow(arch).check_start(theta0)
        measured = 0.0
    except ConditionError as refusal:
        measured = refusal.measured
    return Evidence(predicted, measured, scale=predicted)


@claim(
    statement=r"One step of gradient descent changes $D_l$ by exactly $\eta^2 (g_{l+1}^\top g_{l+1} - g_l g_l^\top)$, "
    r"$g_l$ the layer gradients.",
    source="elementary: first-order terms cancel; compare [du2018algorithmic]",
    tolerance=5e-15,
    arguments={"weight_decay": 0.0},
    control_arguments={"weight_decay": 0.01},
    control="weight decay is added, so that first-order terms no longer cancel",
)
def gd_drift_identity(weight_decay: float) -> Evidence:
    """Gradient descent changes the imbalances by eta^2 (g_{l+1}^T g_{l+1} - g_l g_l^T), exactly."""
    arch = linear_network((3, 5, 4, 2))
    eta, target = 0.1, LogCosh((2, 3)).target
    descent = GradientDescent(arch, SquaredLoss.from_target(target), eta, weight_decay=weight_decay)
    params, steps = gaussian(arch, jax.random.key(5), scale=0.6), []
    for k in range(5):
        after = descent.step(k, params)
        layers = [np.asarray(params[name]) for name in ("W1", "W2", "W3")]
        g1, g2, g3 = chain_gradients(layers, product(layers) - target)
        predicted = [eta**2 * (g2.T @ g2 - g1 @ g1.T), eta**2 * (g3.T @ g3 - g2 @ g2.T)]
        before, now = imbalances_at(arch, params), imbalances_at(arch, after)
        steps.append(Evidence(predicted, [b - a for a, b in zip(before, now, strict=True)]))
        params = after
    return Evidence.worst(steps, detail="change of the entry that is off most, absolute, 5 steps")


@claim(
    statement=r"With weight decay $\frac{\gamma}{2}\sum_l \|W_l\|^2$ the imbalances decay as "
    r"$D_l(t) = e^{-2\gamma t} D_l(0)$, for every loss and depth.",
    source="[kunin2021neural]",
    tolerance=6e-13,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.2},
    control="the last layer learns and decays 20 % faster than the others",
)
def weight_decay_imbalance(rate: float) -> Evidence:
    """Weight decay shrinks the imbalances as exp(-2 gamma t)."""
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
    detail = "the entry of an imbalance at the end that is off most; relative to their largest norm"
    return Evidence(predicted, after, size, detail=detail, curves=curves)
