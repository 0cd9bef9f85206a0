"""Exact solutions of two linear layers on whitened data, as a matrix Riccati equation, and of one hidden neuron."""

from __future__ import annotations

import jax
import numpy as np

from ...families import linear_network
from ...initial import lambda_balanced
from ...losses import SquaredLoss
from ...solutions.limit_points import limit_point
from ...solutions.neuron_limit import neuron_interpolation
from ...solutions.neuron_solution import neuron, neuron_branch
from ...solutions.riccati_solution import RiccatiSolution, riccati_gram
from ..base import claim
from ..curves import Curves
from ..evidence import Evidence
from ..reference import chain_flow, flow

_compiled_gram = jax.jit(riccati_gram)
_compiled_neuron = jax.jit(neuron)


def _square_target() -> np.ndarray:
    rng = np.random.default_rng(3)
    left, right = (np.linalg.qr(rng.standard_normal((3, 3)))[0] for _ in range(2))
    return left @ np.diag([2.0, 1.0, 0.5]) @ right


def _flow(first: np.ndarray, second: np.ndarray, target: np.ndarray, end: float, decay: float = 0.0):
    """Both layers after the flow of $\\frac12\\|W_2 W_1 - S\\|_F^2$ with weight decay."""
    return chain_flow([first, second], lambda z: z - target, end, weight_decay=decay)


def _start(lam: float, scale: float = 1.0, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    theta0 = lambda_balanced(linear_network((3, 3, 3)), jax.random.key(seed), lam, scale=scale)
    return np.array(theta0["W1"]), np.array(theta0["W2"])


def _gram_after(t: float, target, first, second, lam: float, decay: float = 0.0) -> np.ndarray:
    stacked = np.concatenate([first.T, second])
    return np.asarray(_compiled_gram(t, target, stacked, np.asarray(lam), np.asarray(decay)))


@claim(
    statement=r"If $W_2^\top W_2 - W_1 W_1^\top = \lambda I$, then $M = QQ^\top$, $Q = [W_1^\top; W_2]$, is $M(t) = "
    r"e^{Ft} Q_0 [I + Q_0^\top \int_0^t e^{2Fs} ds\, Q_0]^{-1} Q_0^\top e^{Ft}$, $F = \begin{pmatrix} -\lambda/2 & "
    r"S^\top \\ S & \lambda/2\end{pmatrix}$.",
    source="[fukumizu1998effect]; [braun2022exact]; [domine2025lazy]",
    tolerance=8e-12,
    arguments={"disturbance": 0.0},
    control_arguments={"disturbance": 1e-3},
    control="the imbalance is a multiple of the identity only up to about 1e-3",
)
def riccati_solution(disturbance: float) -> Evidence:
    """Two lambda-balanced layers on whitened data in closed form, both Gram matrices included."""
    target = _square_target()
    parts = {}
    for lam in (0.0, 1e-10, 0.7, -0.6):
        first, second = _start(lam)
        first = first + disturbance * np.arange(9.0).reshape(3, 3) / 9
        w1, w2 = _flow(first, second, target, 2.0)
        q = np.concatenate([w1.T, w2])
        mean = float(np.trace(second.T @ second - first @ first.T)) / 3
        parts[f"lambda = {lam:g}"] = Evidence(_gram_after(2.0, target, first, second, mean), q @ q.T)
    return Evidence.worst(parts, detail="an entry of M at t = 2")


@claim(
    statement=r"With $F = P f P^\top$, $g = (e^{2ft}-1)/2f$, $Y = \sqrt g P^\top Q_0$: $M = PD[I - "
    r"(I+YY^\top)^{-1}]DP^\top$, $D = e^{ft}/\sqrt g$, and the bracket from an orthonormal basis of $[I; Y]$ found by "
    "pivoting on logarithms.",
    source="derived here",
    tolerance=1.8e-14,
    arguments={"form": "stable"},
    control_arguments={"form": "as written"},
    control="the formula is evaluated as it is written, in float64",
    breaks="prediction",
)
def riccati_stable_form(form: str) -> Evidence:
    """The closed form stays exact at t = 1e5 and from a start of 1e-8; as written it does not."""
    target = _square_target()
    parts = []
    # As it is written the formula overflows at t = 1e5, where it has no value to compare.
    for lam, t in ((0.7, 40.0), (-0.6, 40.0)) + ((0.7, 1e5),) * (form == "stable"):
        first, second = _start(lam, 1e-8)
        if form == "stable":
            gram = _gram_after(t, target, first, second, lam)
        else:
            half = lam / 2 * np.eye(3)
            values, vectors = np.linalg.eigh(np.block([[-half, target.T], [target, half]]))
            z = vectors.T @ np.concatenate([first.T, second])
            grown = np.exp(values * t)[:, None] * z
            inner = np.eye(3) + z.T @ (((np.exp(2 * values * t) - 1) / (2 * values))[:, None] * z)
            gram = vectors @ (grown @ np.linalg.lstsq(inner, grown.T, rcond=None)[0]) @ vectors.T
        parts.append(Evidence(target, gram[3:, :3]))
    return Evidence.worst(parts, detail="an entry of W and of its limit S at t = 40 and t = 1e5")


@claim(
    statement=r"Square, balanced, at least as wide as the input: if $\det W(0)$ and $\det S$ have opposite signs, "
    r"$P_+^\top Q_0$ is singular and the loss converges to $\sigma_{\min}^2/2$, a saddle.",
    source="derived here",
    tolerance=5e-6,
    arguments={"sign": -1.0},
    control_arguments={"sign": 1.0},
    control="the determinants have equal signs",
)
def riccati_saddle_verdict(sign: float) -> Evidence:
    """Half of all balanced square starts converge to a saddle: the sign of the determinant decides."""
    target = _square_target()
    losses, smallest = {"flow at t = 20": [], "limit": []}, []
    for seed in range(4):
        first, second = _start(0.0, 0.7, seed)
        if np.linalg.det(second @ first) * np.linalg.det(target) * sign < 0:
            first[:, 0] *= -1
        ending = limit_point(target, np.concatenate([first.T, second]), 0.0)
        smallest.append(ending.smallest)
        w1, w2 = _flow(first, second, target, 20.0)
        for name, z in zip(losses, (w2 @ w1, ending.gram[3:, :3]), strict=True):
            losses[name].append(0.5 * float(np.sum((z - target) ** 2)))
    detail = f"loss; smallest singular value of P_+^T Q0 at most {max(smallest):.1e} |Q0|"
    return Evidence.worst({name: Evidence(0.125, found) for name, found in losses.items()}, detail=detail)


@claim(
    statement=r"For $\lambda = 0$ weight decay $\gamma$ of both layers only shifts the matrix: $F \to F - \gamma I$.",
    source="derived here",
    tolerance=2e-12,
    arguments={"lam": 0.0},
    control_arguments={"lam": 0.5},
    control="the start is lambda-balanced with lambda = 0.5, an imbalance that decays",
)
def riccati_weight_decay(lam: float) -> Evidence:
    """The Riccati solution includes weight decay at balanced starts."""
    target = _square_target()
    first, second = _start(lam)
    w1, w2 = _flow(first, second, target, 2.0, decay=0.3)
    found = _gram_after(2.0, target, first, second, lam, 0.3)[3:, :3]
    return Evidence(found, w2 @ w1, detail="an entry of W at t = 2, decay 0.3")


@claim(
    statement=r"The tangent kernel $\Theta[D] = W_2 W_2^\top D + D W_1^\top W_1$ moves over all time by $c/\lambda^2$, "
    r"relative to its size, for large imbalance $\lambda$ of either sign.",
    source="[domine2025lazy] for the lazy limit; the rate was measured here",
    tolerance=7e-3,
    arguments={"lambdas": (30.0, 100.0, -100.0)},
    control_arguments={"lambdas": (1.0, 3.0, 10.0)},
    control="the imbalance is of the size of the target",
)
def kernel_movement_lazy(lambdas: tuple[float, ...]) -> Evidence:
    """Large imbalance of either sign is lazy: the tangent kernel moves as 1/lambda^2."""
    arch = linear_network((3, 3, 3))
    target = _square_target()
    loss = SquaredLoss.from_target(target / np.linalg.norm(target))
    constants = []
    for lam in lambdas:
        solution = RiccatiSolution(arch, lambda_balanced(arch, jax.random.key(0), lam, scale=1e-6), loss)
        constants.append(lam**2 * float(solution.kernel_movement()))
    sizes = np.abs(np.array(lambdas))
    # The two signs of one size lie on top of each other: sorted, they make one line.
    order = np.argsort(sizes, kind="stable")
    curves = Curves(
        r"imbalance $|\lambda|$",
        "relative movement of the tangent kernel",
        {
            "measured": (sizes[order], (np.array(constants) / sizes**2)[order]),
            r"predicted $c/\lambda^2$": (sizes[order], constants[-1] / sizes[order] ** 2),
        },
        scale="log-log",
    )
    detail = "lambda^2 * movement: " + ", ".join(f"{value:.4f}" for value in constants)
    return Evidence(max(constants), constants, scale=max(constants), detail=detail, curves=curves)


@claim(
    statement=r"With one hidden neuron the weights themselves are known: $[w; a](t) = e^{Ft}[w_0; a_0]/\sqrt{K(t)}$, "
    r"$K = 1 + q_0^\top \int_0^t e^{2Fs}ds\, q_0$. With more neurons $Q = e^{Ft} Q_0 K^{-1/2}$ is wrong.",
    source="[kunin2024get] for the neuron; closed form derived here",
    tolerance=7e-12,
    arguments={"neurons": 1},
    control_arguments={"neurons": 3},
    control="three hidden neurons, balanced: hidden rotations are not in the formula",
)
def neuron_both_weights(neurons: int) -> Evidence:
    """One hidden neuron: both weights in closed form; with three the same formula fails."""
    rng = np.random.default_rng(4)
    parts = []
    for case in range(6):
        if neurons == 1:
            target = rng.standard_normal((1, 3))
            first, second = rng.standard_normal((1, 3)), rng.standard_normal((1, 1))
            if case % 3 == 0:
                second = np.sqrt(np.sum(first**2, axis=(0, 1), keepdims=True))
        else:
            target = _square_target()
            first, second = _start(0.0, seed=case)
        w1, w2 = _flow(first, second, target, 1.5)
        if neurons == 1:
            w, a = _compiled_neuron(1.5, target, first[0], second[:, 0])
            found = np.append(w, a)[:, None]
        else:
            found = _symmetric_root(target, np.concatenate([first.T, second]), 1.5)
        parts.append(Evidence(found, np.concatenate([w1.T, w2])))
    return Evidence.worst(parts, detail="a weight at t = 1.5; 6 starts, one third with delta = 0")


def _symmetric_root(target: np.ndarray, stacked: np.ndarray, t: float) -> np.ndarray:
    """$e^{Ft} Q_0 K^{-1/2}$ at λ = 0."""
    outputs, inputs = target.shape
    zero = np.zeros((inputs, inputs)), np.zeros((outputs, outputs))
    values, vectors = np.linalg.eigh(np.block([[zero[0], target.T], [target, zero[1]]]))
    z = vectors.T @ stacked
    safe = np.where(np.abs(values) > 1e-12, values, 1.0)
    growth = np.where(np.abs(values) > 1e-12, np.expm1(2 * safe * t) / (2 * safe), t)
    sizes, basis = np.linalg.eigh(np.eye(z.shape[1]) + z.T @ (growth[:, None] * z))
    return vectors @ (np.exp(values * t)[:, None] * z) @ (basis / np.sqrt(sizes)) @ basis.T


@claim(
    id="neuron-branch",
    statement=r"$\mathrm{sign}\,a(\infty) = \mathrm{sign}\big(w_0 \cdot \beta_* + a_0(\kappa + \delta/2)\big)$, "
    r"$\kappa = \sqrt{\delta^2/4 + |\beta_*|^2}$, $\delta = a_0^2 - |w_0|^2$.",
    source="derived here",
    tolerance=1e-3,
    arguments={"rule": "branch"},
    control_arguments={"rule": "alignment"},
    control="the sign of w_0 . beta alone is taken",
    breaks="prediction",
)
def neuron_branch_decides(rule: str) -> Evidence:
    """Which sign the second layer of a neuron ends with is decided by one number at the start."""
    rng = np.random.default_rng(5)
    signs = []
    for _ in range(100):
        beta, w0, a0 = rng.standard_normal(3), rng.standard_normal(3), float(rng.standard_normal())
        _, a = _compiled_neuron(300.0, beta[None], w0, np.array([a0]))
        guess = neuron_branch(beta, w0, a0) if rule == "branch" else float(w0 @ beta)
        signs.append(np.sign(guess) == np.sign(float(a[0])))
    return Evidence(1.0, float(np.mean(signs)), detail="share of 100 starts")


@claim(
    statement=r"On data $X, y$ a neuron with $\delta \ge 0$ ends at $\arg\min \Phi_\delta(\beta) - w_0 \cdot \beta$ "
    r"subject to $X\beta = y$, with $\nabla\Phi_\delta(\beta) = w$; $w(\infty) - w_0$ is in the row space of $X$.",
    source="[azulay2021implicit]; [kunin2024get]",
    tolerance=8e-13,
    arguments={"rate": 1.0},
    control_arguments={"rate": 1.1},
    control="the second layer learns 10 % faster, which conserves another law than delta",
)
def neuron_mirror_limit(rate: float) -> Evidence:
    """The interpolating solution of one neuron is that of its mirror potential."""
    rng = np.random.default_rng(6)
    x, y, w0 = rng.standard_normal((2, 4)), rng.standard_normal(2), 0.5 * rng.standard_normal(4)
    parts = {}
    for delta in (2.0, 0.5, 0.0):
        a0 = float(np.sqrt(delta + w0 @ w0))

        def velocity(t, w, a):
            gradient = x.T @ (x @ (a * w) - y)
            return -a * gradient, [-rate * (gradient @ w)]

        w, a = flow(velocity, [w0, [a0]], 200.0)
        parts[f"delta = {delta:g}"] = Evidence(neuron_interpolation(x, y, w0, a0).beta, a * w)
    return Evidence.worst(parts, detail="an entry of the product at t = 200")
