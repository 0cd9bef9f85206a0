"""Claims on weight decay, spectra, critical points and discrete steps."""

from __future__ import annotations

import math

import numpy as np

from ...theory.landscape import (
    critical_points,
    decay_thresholds,
    decayed_mode,
    hessian_spectrum,
    least_weight_norm,
    ntk_spectrum,
    reduced_rank_minimum,
    sharpness,
)
from ..base import claim
from ..curves import Curves
from ..evidence import Evidence, Interval
from ..reference import chain_flow, chain_gradients, product as multiplied, rotation
from .shared import DERIVED, fibre_point


@claim(
    id="least-weight-norm",
    statement=r"$\min \sum_l \|W_l\|_F^2 = L\sum_i s_i^{2/L}$ over all factorisations, attained at balance.",
    source="[srebro2005maximum] (L = 2); [shang2016unified] (Schatten quasi-norms)",
    tolerance=3e-15,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.05},
    control="the factorisation is five percent out of balance",
)
def least_norm(stretch: float) -> Evidence:
    """The least weight norm of a product is L times a Schatten quasi-norm."""
    product = np.random.default_rng(2).standard_normal((3, 3))
    bound = least_weight_norm(product, 3)
    layers = fibre_point(product, 3, stretch)
    found = float(sum(np.sum(w**2) for w in layers))
    rng, lowest = np.random.default_rng(3), math.inf
    for _ in range(200):
        a, b = (np.eye(3) + 0.3 * rng.standard_normal((3, 3)) for _ in range(2))
        moved = (a @ layers[0], b @ layers[1] @ np.linalg.inv(a), layers[2] @ np.linalg.inv(b))
        lowest = min(lowest, float(sum(np.sum(w**2) for w in moved)))
    parts = {
        "attained": Evidence(bound, found, scale=bound),
        "200 random factorisations": Evidence(Interval(low=bound), lowest, scale=bound),
    }
    return Evidence.worst(parts, detail=f"the least of 200 is {lowest / bound:.4f} times the bound")


@claim(
    id="decay-thresholds",
    statement=r"With weight decay, a mode of depth $L > 2$ jumps to 0 at $\gamma_c = (\sigma - s_c)s_c^{1-2/L}$, "
    r"$s_c = \sigma\frac{L-2}{L-1}$.",
    source=DERIVED,
    tolerance=2e-12,
    arguments={"depth": 3},
    control_arguments={"depth": 4},
    control="the formula of four layers is taken for three",
    breaks="prediction",
)
def decay_threshold(depth: int) -> Evidence:
    """Weight decay kills a mode of a deep network at once, at a threshold in closed form."""
    sigma, grid = 1.5, np.linspace(0.0, 1.5, 20_001)
    objective = lambda gamma: 0.5 * (grid - sigma) ** 2 + gamma * 1.5 * grid ** (2 / 3)
    low, high = 0.1, 1.0
    for _ in range(40):
        middle = 0.5 * (low + high)
        low, high = (middle, high) if np.argmin(objective(middle)) else (low, middle)
    thresholds = decay_thresholds(sigma, depth)
    below = float(decayed_mode(sigma, 0.999 * thresholds.critical, depth))
    detail = f"global minimiser falls from {below:.4f} to 0; a grid of 20 001 points"
    return Evidence(thresholds.critical, low, detail=detail)


def _hessian(target: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    import jax
    import jax.numpy as jnp

    h, d = first.shape
    o = second.shape[0]

    def loss(flat):
        product = flat[h * d :].reshape(o, h) @ flat[: h * d].reshape(h, d)
        return 0.5 * jnp.sum((product - target) ** 2)

    # The gradient is a cubic polynomial, for which five-point differences of any step are exact: one small program.
    point = np.concatenate([first.ravel(), second.ravel()])
    shifts = np.array([1.0, -1.0, 2.0, -2.0])[:, None, None] * np.eye(len(point))
    slopes = np.asarray(jax.jit(jax.vmap(jax.grad(loss)))((point + shifts).reshape(-1, len(point))))
    one, back, two, far = slopes.reshape(4, len(point), len(point))
    return (8 * (one - back) - (two - far)) / 12


@claim(
    statement=r"The $h(d+o)$ Hessian eigenvalues of two layers at a balanced aligned point are known in closed form; "
    r"with $h < r$ a pair (present $j$, absent $m$) gives $s_j \pm e_m$.",
    source=DERIVED,
    tolerance=1e-14,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.1},
    control="the layers have the same product, but are not balanced",
)
def hessian_spectrum_bottleneck(stretch: float) -> Evidence:
    """The full two-layer Hessian spectrum in closed form, bottleneck included."""
    s, sigma, hidden = np.array([1.1, 0.0, 0.6]), np.array([2.0, 1.3, 0.7]), 2
    left, right, basis = rotation(3, 1), rotation(4, 2), rotation(hidden, 3)
    above, below = np.zeros((3, hidden)), np.zeros((hidden, 4))
    for unit, mode in enumerate((0, 2)):
        above[mode, unit] = below[unit, mode] = math.sqrt(s[mode])
    first, second = stretch * basis @ below @ right.T, left @ above @ basis.T / stretch
    target = left @ np.concatenate([np.diag(sigma), np.zeros((3, 1))], axis=1) @ right.T
    expected = np.linalg.eigvalsh(_hessian(target, first, second))
    found = hessian_spectrum(s, sigma, 3, 4, hidden)
    curves = _spectrum_curves("eigenvalue of the Hessian", found, expected)
    return Evidence(found, expected, curves=curves)


def _spectrum_curves(what: str, predicted: np.ndarray, measured: np.ndarray) -> Curves:
    numbers = np.arange(1, len(predicted) + 1)
    series = {"measured": (numbers, measured), "predicted": (numbers, predicted)}
    return Curves("number of the eigenvalue, in increasing order", what, series)


@claim(
    statement=r"At a balanced point the tangent kernel has the eigenvalues $m_L(s_k^2, s_l^2)$; a mode paired with an "
    r"empty direction gives $s^{2-2/L}$.",
    source="[arora2018optimization] for the operator",
    tolerance=1e-14,
    arguments={"stretch": 1.0},
    control_arguments={"stretch": 1.3},
    control="the weights have the same product, but are not balanced",
)
def ntk_spectrum_empty_directions(stretch: float) -> Evidence:
    """The tangent-kernel spectrum of a balanced point, empty directions included."""
    s, depth = np.array([1.5, 0.6]), 3
    root = [np.zeros((3, 3)), np.zeros((3, 3)), np.zeros((3, 3))]
    for layer in root:
        layer[[0, 1], [0, 1]] = s ** (1 / depth)
    root[0], root[-1] = stretch * root[0], root[-1] / stretch
    kernel = np.zeros((9, 9))
    for l in range(depth):
        part = np.kron(multiplied(root[l + 1 :], 3), multiplied(root[:l], 3).T)
        kernel += part @ part.T
    expected = np.linalg.eigvalsh(kernel)
    found = ntk_spectrum(s, 3, 3, depth)
    curves = _spectrum_curves("eigenvalue of the tangent kernel", found, expected)
    return Evidence(found, expected, curves=curves)


@claim(
    statement=r"Two-layer critical points fit subsets of modes; every proper subset is a strict saddle with "
    r"$\lambda_{\min} = -\max\sigma_m$ over the missing modes.",
    source="[baldi1989neural]; [kawaguchi2016deep]; curvatures derived for dlntheory",
    tolerance=1e-14,
    arguments={"hidden": 3},
    control_arguments={"hidden": 2},
    control="there is a bottleneck: a wrong mode must be swapped, which gains only a difference",
)
def critical_points_strict_saddles(hidden: int) -> Evidence:
    """All two-layer critical points but the global minimum are strict saddles, with known curvature."""
    sigma = np.array([2.0, 1.2, 0.5])
    points = critical_points(np.diag(sigma), hidden)
    missing = [[sigma[m] for m in range(3) if m not in point.fitted] for point in points]
    predicted = [-max(one, default=0.0) for one in missing]
    found = [float(point.lowest) for point in points]
    return Evidence(predicted, found, detail=f"least curvature; {len(found)} critical points")


@claim(
    statement=r"Random flows of two layers end at $\frac12(\mathrm{tr}\,\Sigma_{yy} - \sum_{i\le h}\lambda_i("
    r"\Sigma_{yx}\Sigma_{xx}^{-1}\Sigma_{xy}))$ (finitely many runs, no proof).",
    source="[baldi1989neural]",
    tolerance=6e-16,
    arguments={"at_origin": False},
    control_arguments={"at_origin": True},
    control="the start is the saddle at the origin, which is no random start",
    tier="full",
)
def no_spurious_minima(at_origin: bool) -> Evidence:
    """Twenty random flows through a bottleneck all end at the reduced-rank minimum."""
    from ...losses import SquaredLoss

    rng = np.random.default_rng(4)
    x = rng.standard_normal((20, 4)) * np.array([1.3, 1.0, 0.8, 0.9])
    y = x @ np.diag([3.0, 2.0, 0.5, 0.0])[:, :3] + 0.1 * rng.standard_normal((20, 3))
    predicted = reduced_rank_minimum(SquaredLoss(x, y), 2)
    covariance, correlation = x.T @ x / 20, y.T @ x / 20
    losses = []
    for _ in range(1 if at_origin else 20):
        layers = [rng.standard_normal((2, 4)), rng.standard_normal((3, 2))]
        if at_origin:
            layers = [np.zeros((2, 4)), np.zeros((3, 2))]
        first, second = chain_flow(layers, lambda z: z @ covariance - correlation, 250.0)
        losses.append(0.5 * float(np.sum((x @ (second @ first).T - y) ** 2)) / 20)
    return Evidence(predicted, losses, detail=f"loss; {len(losses)} starts")


@claim(
    statement=r"Gradient descent at a balanced minimum is stable iff $\eta < 2/(L\sigma_1^{2-2/L})$.",
    source="[mulayoff2020unique]; elementary for a balanced minimum",
    tolerance=1e-27,
    arguments={"share": 0.99},
    control_arguments={"share": 1.01},
    control="the step is one percent above the edge",
)
def stability_edge_of_descent(share: float) -> Evidence:
    """Gradient descent returns to a balanced minimum just below the edge, and leaves it just above."""
    sigma, depth = np.array([1.5, 0.7]), 3
    eta = share * 2 / sharpness(np.diag(sigma), depth)
    rng = np.random.default_rng(5)
    layers = [np.diag(sigma ** (1 / depth)) + 1e-7 * rng.standard_normal((2, 2)) for _ in range(depth)]
    losses = []
    for _ in range(2000):
        g = multiplied(layers) - np.diag(sigma)
        losses.append(0.5 * float(np.sum(g**2)))
        layers = [w - eta * s for w, s in zip(layers, chain_gradients(layers, g), strict=True)]
    loss = 0.5 * float(np.sum((multiplied(layers) - np.diag(sigma)) ** 2))
    series = {"measured": (np.arange(2001), [*losses, loss])}
    curves = Curves("steps", "loss", series, scale="log-y", with_tolerance=True)
    detail = "loss after 2000 steps from a perturbation of 1e-7"
    return Evidence(0.0, loss, detail=detail, curves=curves)


@claim(
    statement=r"$Q \leftarrow (I - \frac\eta2 N)^{-1}(I + \frac\eta2 N)Q$ with $N = [[0, -G^\top], [-G, 0]]$ keeps "
    r"$W_2^\top W_2 - W_1 W_1^\top$ for any loss and step.",
    source="Cayley transforms of quadratic groups; [hairer2006geometric]",
    tolerance=2e-14,
    arguments={"rule": "cayley"},
    control_arguments={"rule": "descent"},
    control="plain gradient descent takes the same steps",
)
def cayley_step_keeps_imbalance(rule: str) -> Evidence:
    """A Cayley step of two layers keeps the imbalance to rounding; gradient descent does not."""
    import jax
    import jax.numpy as jnp

    from ...families import linear_network
    from ...losses import SquaredLoss
    from ...training import CayleyDescent, GradientDescent

    arch = linear_network((3, 4, 2))
    loss = SquaredLoss.from_target(np.random.default_rng(8).standard_normal((2, 3)))
    maker = CayleyDescent if rule == "cayley" else GradientDescent
    iteration = maker(arch, loss, 0.3)
    rng = np.random.default_rng(7)
    state = {name: jnp.asarray(0.5 * rng.standard_normal(shape)) for name, shape in arch.shapes.items()}
    step = jax.jit(lambda k, s: iteration.step(k, s))
    before = np.asarray(iteration.conserved(state)["D_1"])
    courses = []
    for k in range(30):
        state = step(k, state)
        courses.append(np.asarray(iteration.conserved(state)["D_1"]))
    changes = np.max(np.abs(np.array(courses) - before), axis=(1, 2))
    series = {"measured": (np.arange(1, 31), changes)}
    curves = Curves("steps", "change of the imbalance", series, scale="log-y", with_tolerance=True)
    detail = f"30 steps of 0.3, loss {float(loss(arch(state))):.2g} at the end"
    return Evidence(before, courses[-1], detail=detail, curves=curves)
