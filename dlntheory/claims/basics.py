"""The first claims: what every later one rests on."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .._errors import ConditionError
from ..catalogue import linear_network
from ..data import digits
from ..dynamics import GradientDescent, GradientFlow, iterate, solve
from ..initial import balanced, gaussian, lambda_balanced
from ..laws import imbalances
from ..losses import CrossEntropyLoss, SquaredLoss
from ..reductions import BalancedFlow, GramFlow
from .base import Evidence, claim
from .showcase import main_job

TIGHT: dict[str, Any] = {"method": "dopri8", "rtol": 1e-10, "step_to_saves": True, "saves": 20}


@lru_cache(maxsize=4)
def _target(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(7).standard_normal(shape)


class _LogCosh:
    """A loss that is neither quadratic nor convex-quadratic in disguise: sum of log cosh(z - S)."""

    conventions = "sum of log cosh(z - S)"

    def __init__(self, shape: tuple[int, ...]):
        self.target = _target(shape)

    def __call__(self, z):
        return jnp.sum(jnp.logaddexp(z - self.target, self.target - z) - jnp.log(2.0))

    def __hash__(self):
        return hash(self.target.shape)

    def __eq__(self, other):
        return isinstance(other, _LogCosh) and self.target.shape == other.target.shape


def _imbalances(arch, params, rates=None) -> list[np.ndarray]:
    return [np.asarray(defect) for defect in imbalances(arch, params, rates)]


def _distance(left, right, scale: float) -> float:
    return max(float(np.linalg.norm(a - b)) for a, b in zip(left, right, strict=True)) / scale


@claim(
    id="balancedness-conserved",
    paper="basics",
    statement=r"Along the gradient flow of any loss of $z = W_L \cdots W_1$ the imbalances "
    r"$D_l = W_{l+1}^\top W_{l+1} - W_l W_l^\top$ are constant.",
    summary="Imbalances are constant along gradient flow, whatever the loss (digits).",
    source="Arora, Cohen, Hazan 2018, proof of Theorem 1; Du, Hu, Lee 2018",
    tolerance=2e-13,
    holds={"weight_decay": 0.0},
    violated={"weight_decay": 0.01},
    control="weight decay is added to the loss, which then depends on more than z",
)
def balancedness_conserved(weight_decay: float) -> Evidence:
    arch = linear_network((64, 16, 10))
    data = digits(centred=True)
    theta0 = gaussian(arch, jax.random.key(1), scale=0.2)
    errors = {}
    for name, loss in {
        "squared": data.loss(),
        "cross entropy": CrossEntropyLoss(data.inputs, data.targets),
    }.items():
        run = solve(GradientFlow(arch, loss, weight_decay=weight_decay), theta0, 20.0, **TIGHT)
        scale = max(float(np.linalg.norm(w)) ** 2 for w in run.final.values())
        errors[name] = _distance(_imbalances(arch, run.final), _imbalances(arch, theta0), scale)
    worst = max(errors.values())
    detail = ", ".join(f"{name} loss: {error:.1e}" for name, error in errors.items())
    return Evidence(predicted=0.0, measured=worst, error=worst, detail=detail)


@claim(
    id="balanced-end-to-end-digits",
    paper="basics",
    statement=r"From a balanced start, $\dot z = -\sum_{l=1}^L (zz^\top)^{(L-l)/L}\,\nabla f(z)\,"
    r"(z^\top z)^{(l-1)/L}$.",
    summary="The end-to-end equation reproduces the full flow from a balanced start (digits, 64-100-10).",
    source="Arora, Cohen, Hazan 2018, Theorem 1",
    tolerance=1e-11,
    holds={"start": "balanced"},
    violated={"start": "gaussian"},
    control="the start is Gaussian, hence not balanced",
)
def balanced_end_to_end_digits(start: str) -> Evidence:
    job = main_job()
    if start == "balanced":
        error = job.balanced.max_error
        loss, predicted = job.balanced.full.loss[-1], job.balanced.reduced.loss[-1]
    else:
        full = job.gaussian.full
        arch = linear_network((64, 100, 10))
        theta0 = gaussian(arch, jax.random.key(0), scale=0.1)
        reduced = BalancedFlow(arch, digits(centred=True).loss())
        run = solve(
            reduced,
            theta0,
            full.ts[-1],
            method="dopri8",
            rtol=1e-10,
            saves=60,
            step_to_saves=True,
            admit=False,
        )
        error = _relative_error(full.z, run.z)
        loss, predicted = full.loss[-1], run.loss[-1]
    return Evidence(
        predicted=float(predicted), measured=float(loss), error=error, detail="final loss; error of z"
    )


@claim(
    id="balanced-end-to-end-bottleneck",
    paper="basics",
    statement=r"The end-to-end equation holds at any depth and width if the singular values beyond "
    r"$\mathrm{rank}\, z$, which the flow conserves, are held at 0.",
    summary="Depth 3, a bottleneck, equal singular values, log-cosh loss: reduced = full.",
    source="Arora, Cohen, Hazan 2018, Theorem 1; Bah, Rauhut, Terstiege, Westdickenberg 2022 (rank)",
    tolerance=1e-10,
    holds={"balanced": True},
    violated={"balanced": False},
    control="one layer is rotated on its hidden side, which keeps all singular values but not the balance",
)
def balanced_end_to_end_bottleneck(balanced: bool) -> Evidence:
    arch = linear_network((4, 3, 2, 5))
    loss = _LogCosh(arch.output_shape)
    theta0 = _balanced_with_product(arch, np.eye(5, 2) @ np.eye(2, 4))
    if not balanced:
        angle = 0.3
        turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
        theta0 = {**theta0, "W1": turn @ np.asarray(theta0["W1"])}
    full = solve(GradientFlow(arch, loss), theta0, 2.0, **TIGHT)
    reduced = solve(BalancedFlow(arch, loss), theta0, 2.0, admit=balanced, **TIGHT)
    error = _relative_error(full.z, reduced.z)
    return Evidence(
        predicted=float(reduced.loss[-1]),
        measured=float(full.loss[-1]),
        error=error,
        detail="final loss; error of z",
    )


@claim(
    id="balanced-layer-rates",
    paper="basics",
    statement=r"With layer rates $e_l$ and $W_{l+1}^\top W_{l+1}/e_{l+1} = W_l W_l^\top/e_l$ the end-to-end flow is "
    r"that of equal rates, sped up by $(\prod_l e_l)^{1/L}$.",
    summary="Unequal layer rates speed the balanced flow up by their geometric mean.",
    source="follows from Arora, Cohen, Hazan 2018, Theorem 1, with V_l = W_l / sqrt(e_l); derived here",
    tolerance=1e-10,
    holds={"scaled": True},
    violated={"scaled": False},
    control="the start is balanced for equal rates, not for these",
)
def balanced_layer_rates(scaled: bool) -> Evidence:
    arch = linear_network((4, 3, 2, 5))
    rates = {"W1": 2.0, "W2": 1.0, "W3": 0.3}
    loss = _LogCosh(arch.output_shape)
    theta0 = balanced(arch, jax.random.key(3))
    if scaled:
        theta0 = {name: np.sqrt(rates[name]) * np.asarray(theta0[name]) for name in theta0}
    full = solve(GradientFlow(arch, loss, rates=rates), theta0, 2.0, **TIGHT)
    # The right side of the claim is computed without telling the reduction about rates: only time is rescaled.
    speed = float(np.prod(list(rates.values()))) ** (1 / 3)
    plain = solve(BalancedFlow(arch, loss), theta0, 2.0 * speed, admit=False, **TIGHT)
    error = _relative_error(full.z, plain.z)
    return Evidence(
        predicted=float(plain.loss[-1]),
        measured=float(full.loss[-1]),
        error=error,
        detail="final loss; error of z",
    )


@claim(
    id="gram-closure",
    paper="basics",
    statement=r"For two linear layers, any loss and any start, $M = QQ^\top$ with $Q = [W_1^\top; W_2]$ obeys "
    r"$\dot M = NM + MN$, $N = -\begin{pmatrix} 0 & \nabla f^\top \\ \nabla f & 0 \end{pmatrix}$.",
    summary="The Gram matrix of two layers is closed for any start and any loss: reduced = full.",
    source="Fukumizu 1998 for whitened data; elementary for any loss",
    tolerance=4e-11,
    holds={"rate": 1.0},
    violated={"rate": 1.05},
    control="the second layer learns 5 % faster than the reduction is told",
)
def gram_closure(rate: float) -> Evidence:
    arch = linear_network((6, 9, 4))
    loss = _LogCosh(arch.output_shape)
    theta0 = gaussian(arch, jax.random.key(2), scale=0.5)
    full = solve(GradientFlow(arch, loss, rates={"W2": rate}), theta0, 5.0, **TIGHT)
    reduced = solve(GramFlow(arch, loss), theta0, 5.0, **TIGHT)
    error = _relative_error(full.z, reduced.z)
    return Evidence(
        predicted=float(reduced.loss[-1]),
        measured=float(full.loss[-1]),
        error=error,
        detail="final loss; error of z",
    )


@claim(
    id="lambda-balance-refused",
    paper="basics",
    statement=r"At a $\lambda$-balanced start, $D_1 = \lambda I_h$, the end-to-end equation is refused with the "
    r"violation $\|D_1\|_F = |\lambda|\sqrt h$.",
    summary="A λ-balanced start is refused by the balanced flow, with the violation |λ| sqrt(h).",
    source="balance: Arora, Cohen, Hazan 2018; λ-balance: Dominé et al. 2024",
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
        BalancedFlow(arch).admit(theta0)
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
    source="elementary: first-order terms cancel; compare Du, Hu, Lee 2018",
    tolerance=5e-15,
    holds={"weight_decay": 0.0},
    violated={"weight_decay": 0.01},
    control="weight decay is added, so that first-order terms no longer cancel",
)
def gd_drift_identity(weight_decay: float) -> Evidence:
    arch = linear_network((3, 5, 4, 2))
    eta, target = 0.1, _target((2, 3))
    descent = GradientDescent(arch, SquaredLoss.from_target(target), eta, weight_decay=weight_decay)
    params = gaussian(arch, jax.random.key(5), scale=0.6)
    worst, scale = 0.0, 0.0
    for k in range(5):
        after = descent.step(k, params)
        w1, w2, w3 = (np.asarray(params[name]) for name in ("W1", "W2", "W3"))
        residual = w3 @ w2 @ w1 - target
        g1, g2, g3 = (w3 @ w2).T @ residual, w3.T @ residual @ w1.T, residual @ (w2 @ w1).T
        predicted = [eta**2 * (g2.T @ g2 - g1 @ g1.T), eta**2 * (g3.T @ g3 - g2 @ g2.T)]
        change = [b - a for a, b in zip(_imbalances(arch, params), _imbalances(arch, after), strict=True)]
        worst = max(worst, _distance(change, predicted, 1.0))
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
    source="Kunin, Sagastuy-Brena, Ganguli, Yamins, Tanaka 2021",
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
    flow = GradientFlow(arch, _LogCosh(arch.output_shape), weight_decay=gamma, rates=rates)
    run = solve(flow, theta0, end, **TIGHT)
    before = _imbalances(arch, theta0, {"W3": rate})
    predicted = [np.exp(-2 * gamma * end) * d for d in before]
    after = _imbalances(arch, run.final, {"W3": rate})
    size = max(float(np.linalg.norm(d)) for d in predicted)
    return Evidence(
        predicted=size,
        measured=max(float(np.linalg.norm(d)) for d in after),
        error=_distance(after, predicted, size),
        detail="largest norm of an imbalance at the end",
    )


@claim(
    id="stability-edge",
    paper="basics",
    statement=r"At a balanced minimum $z = S$ of $\frac12\|z - S\|^2$ the largest Hessian eigenvalue is "
    r"$L\,\sigma_1^{2-2/L}$, so that gradient descent is stable iff $\eta < 2/(L\,\sigma_1^{2-2/L})$.",
    summary="Sharpness at a balanced minimum is L sigma_1^(2-2/L), read off the growth of gradient descent.",
    source="Mulayoff, Michaeli 2020; elementary for a balanced minimum",
    tolerance=1e-8,
    holds={"factor": 1.0},
    violated={"factor": 1.2},
    control="the minimum is not balanced: one layer is 1.2 times, another 1/1.2 times the balanced one",
)
def stability_edge(factor: float) -> Evidence:
    arch = linear_network((4, 4, 3, 3))
    depth, target = 3, np.diag([1.5, 1.0, 0.5])[:, :3] @ np.eye(3, 4)
    minimum = _balanced_with_product(arch, target)
    minimum = {**minimum, "W1": minimum["W1"] * factor, "W3": minimum["W3"] / factor}
    sharpness = depth * 1.5 ** (2 - 2 / depth)
    eta = 1.1 * 2 / sharpness
    key = jax.random.split(jax.random.key(8), depth)
    start = {
        name: minimum[name] + 1e-12 * jax.random.normal(k, arch.shapes[name])
        for name, k in zip(arch.shapes, key, strict=True)
    }
    descent = GradientDescent(arch, SquaredLoss.from_target(target), eta)
    run = iterate(descent, start, 50, saves=np.array([40, 50]))
    # The unstable mode multiplies the residual by 1 - eta * lambda in each step.
    growth = (np.linalg.norm(run.z[1] - target) / np.linalg.norm(run.z[0] - target)) ** (1 / 10)
    measured = (1 + growth) / eta
    return Evidence(
        predicted=sharpness,
        measured=float(measured),
        error=float(abs(measured - sharpness) / sharpness),
        detail=f"residual grows by {growth:.6f} per step at 1.1 times the predicted edge",
    )


@claim(
    id="determinant-trap",
    paper="basics",
    statement=r"From a balanced start with $\mathrm{sign}\det z(0) \ne \mathrm{sign}\det S$ the flow of "
    r"$\frac12\|z - S\|^2$ converges to a saddle with loss $\frac12\sigma_{\min}(S)^2$.",
    summary="A balanced square start with the wrong determinant sign ends at a saddle.",
    source="rank conservation: Arora, Cohen, Hazan 2018; the sign criterion is derived here",
    tolerance=1e-10,
    holds={"sign": -1.0},
    violated={"sign": 1.0},
    control="the determinants of start and target have the same sign",
)
def determinant_trap(sign: float) -> Evidence:
    arch = linear_network((3, 3, 3))
    target = np.diag([2.0, 1.0, 0.5])
    product = np.diag([0.3, 0.2, sign * 0.1]) + 0.0
    rng = np.random.default_rng(11)
    # A rotation near the identity keeps the sign of the determinant and excites every mode.
    skew = 0.2 * rng.standard_normal((3, 3))
    rotation = np.linalg.solve(np.eye(3) + skew - skew.T, np.eye(3) - skew + skew.T)
    theta0 = _balanced_with_product(arch, rotation @ product)
    run = solve(GradientFlow(arch, SquaredLoss.from_target(target)), theta0, 24.0, **TIGHT)
    predicted, measured = 0.5 * 0.5**2, float(run.loss[-1])
    return Evidence(predicted=predicted, measured=measured, error=abs(measured - predicted) / predicted)


def _balanced_with_product(arch, product: np.ndarray) -> dict[str, Any]:
    return balanced(arch, jax.random.key(9), product=product)


def _relative_error(full: np.ndarray, reduced: np.ndarray) -> float:
    gap = np.linalg.norm((full - reduced).reshape(len(full), -1), axis=1)
    return float(np.max(gap) / np.max(np.linalg.norm(full.reshape(len(full), -1), axis=1)))
