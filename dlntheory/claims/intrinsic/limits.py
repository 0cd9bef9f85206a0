"""Claims on intrinsic dynamics: the limit of infinite depth, and ReLU networks in their path products."""

from __future__ import annotations

from functools import lru_cache, partial

import jax
import jax.numpy as jnp
import numpy as np

from ...families import linear_network, relu_network
from ...initial import gaussian
from ...initial.near_identity import near_identity, near_identity_balanced
from ...reductions.chain.infinite_depth import InfiniteDepthFlow, near_identity_flow
from ...reductions.chain.logarithmic_mean import logarithmic_mean_operator
from ...reductions.relu import DeepPathFlow, TwoLayerPathFlow, weights_from_paths_and_laws
from ...reductions.relu.recovery import rescaled
from ...training import GradientFlow
from ..base import Evidence, claim
from ..curves import Curves, error_over_time, power_law
from .scipy_runs import scipy_run, scipy_times

SIZE = 3
SOURCE = "[marcotte2026intrinsic]"


@lru_cache(maxsize=1)
def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A symmetric start, a rotation and a target, fixed."""
    rng = np.random.default_rng(0)
    symmetric, rotation, target = rng.standard_normal((3, SIZE, SIZE))
    return 0.4 * (symmetric + symmetric.T), rotation - rotation.T, target


def _log_cosh(z):
    """A generic loss: sum of log cosh(z - S) with a fixed S."""
    target = np.random.default_rng(7).standard_normal(z.shape)
    return jnp.sum(jnp.logaddexp(z - target, target - z) - jnp.log(2.0))


def _layers(depth: int, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """A start near the identity, (L, d, d), and its product."""
    symmetric, rotation, _ = _matrices()
    arch = linear_network((SIZE,) * (depth + 1))
    if kind == "not scalar":
        theta0 = near_identity(arch, lambda s: symmetric + 0.5 * s * np.diag([1.0, -1.0, 0.0]))
    else:
        theta0 = near_identity_balanced(
            arch, symmetric, rotation=lambda s: np.cos(2 * s) * rotation, lam=lambda s: 0.5 + np.cos(2 * s)
        )
    layers = [np.asarray(theta0[name]) for name in arch.chain or ()]
    return np.stack(layers), np.linalg.multi_dot(layers[::-1])


def _finite_end(layers: np.ndarray) -> np.ndarray:
    """z(1) of the finite network under $A_l' = -\\partial f/\\partial W_l$ for f = log cosh, by SciPy."""
    from scipy.integrate import solve_ivp

    depth, target = len(layers), _matrices()[2]

    def field(t, flat):
        weights = flat.reshape(layers.shape)
        below, above = [np.eye(SIZE)], [np.eye(SIZE)]
        for layer in range(depth):
            below.append(weights[layer] @ below[-1])
            above.append(above[-1] @ weights[depth - 1 - layer])
        gradient = np.tanh(below[-1] - target)
        left, right = np.stack(above[depth - 1 :: -1]), np.stack(below[:-1])
        return (-np.swapaxes(left, 1, 2) @ gradient @ np.swapaxes(right, 1, 2) / depth).ravel()

    run = solve_ivp(field, (0.0, 1.0), layers.ravel(), method="DOP853", rtol=1e-9, atol=1e-11)
    return np.linalg.multi_dot(list(run.y[:, -1].reshape(layers.shape))[::-1])


def _limit_end(product: np.ndarray) -> np.ndarray:
    """z(1) of the limit by SciPy; its equation sees nothing of the network but the product."""
    from scipy.integrate import solve_ivp

    def field(t, flat):
        return np.asarray(_limit_velocity(flat.reshape(SIZE, SIZE))).ravel()

    run = solve_ivp(field, (0.0, 1.0), product.ravel(), method="DOP853", rtol=1e-9, atol=1e-11)
    return run.y[:, -1].reshape(SIZE, SIZE)


@jax.jit
def _limit_velocity(z):
    arch = linear_network((SIZE, SIZE, SIZE))
    target = _matrices()[2]
    flow = near_identity_flow(arch, lambda x: jnp.sum(jnp.logaddexp(x - target, target - x) - jnp.log(2.0)))
    return InfiniteDepthFlow(arch).bind(flow.training).velocity(0.0, {"z": z})["z"]


@claim(
    id="infinite-depth-limit",
    paper="intrinsic",
    statement=r"For $W_l = I + A_l/L$, $A_l' = -\partial f/\partial W_l$ and $L^2 D_l = \lambda_l I$, $z(t)$ is within "
    r"$O(1/L)$ of $\dot z = -\int_0^1 (zz^\top)^{1-s}\,\nabla f(z)\,(z^\top z)^s\,ds$.",
    summary="Near the identity a deep linear network follows the flow of infinite depth with order 1 in 1/L.",
    source=f"{SOURCE}, for the setting; the order is measured here",
    tolerance=0.01,
    holds={"imbalance": "scalar"},
    violated={"imbalance": "not scalar"},
    control="D(s) = diag(1, -1, 0) is no multiple of the identity: the error stalls",
)
def infinite_depth_limit(imbalance: str) -> Evidence:
    errors = {}
    for depth in (32, 64, 128):
        layers, product = _layers(depth, imbalance)
        errors[depth] = float(np.max(np.abs(_finite_end(layers) - _limit_end(product))))
    order = float(np.log2(errors[64] / errors[128]))
    detail = "order between L = 64 and 128; errors " + ", ".join(f"{k}: {v:.3g}" for k, v in errors.items())
    points = list(errors), list(errors.values())
    curves = Curves(
        "depth $L$",
        "largest error of $z(1)$",
        {"measured": points, "predicted order $1/L$": power_law(*points, -1.0)},
        scale="log-log",
    )
    return Evidence(
        predicted=1.0,
        measured=order,
        error=abs(order - 1.0),
        detail=detail,
        data={"errors": errors},
        curves=curves,
    )


@claim(
    id="infinite-depth-operator",
    paper="intrinsic",
    statement=r"If $D(s) = \lambda(s) I$, then $\int_0^1 \Phi(1,s)\Phi(1,s)^\top G\,\Phi(s,0)^\top\Phi(s,0)\,ds = "
    r"\hat U(\Gamma \circ \hat U^\top G \hat V)\hat V^\top$ with $\Gamma_{ij}$ the logarithmic mean of $\sigma_i^2, "
    r"\sigma_j^2$, whatever $\lambda(s)$.",
    summary="The operator of infinite depth is the logarithmic mean, whatever λ(s): quadrature along the layers.",
    source="derived here",
    tolerance=2e-13,
    holds={"spread": 0.0},
    violated={"spread": 0.3},
    control="D(s) = λ(s) I + 0.3 diag(1, -1, 0)",
    tier="full",
)
def infinite_depth_operator(spread: float) -> Evidence:
    from scipy.integrate import solve_ivp

    symmetric, rotation, gradient = _matrices()
    nodes, weights = np.polynomial.legendre.leggauss(40)
    errors = {}
    for name, lam in {"0": lambda s: 0.0, "0.5 + cos 2s": lambda s: 0.5 + np.cos(2 * s)}.items():

        def field(s, flat, lam=lam):
            x, sym = flat.reshape(2, SIZE, SIZE)
            skew = np.cos(2 * s) * rotation
            imbalance = lam(s) * np.eye(SIZE) + spread * np.diag([1.0, -1.0, 0.0])
            return np.stack([(sym + skew) @ x, skew @ sym - sym @ skew + 0.5 * imbalance]).ravel()

        run = solve_ivp(
            field,
            (0.0, 1.0),
            np.stack([np.eye(SIZE), symmetric]).ravel(),
            method="DOP853",
            t_eval=[*(nodes + 1) / 2, 1.0],
            rtol=1e-13,
            atol=1e-14,
        )
        products = run.y.T.reshape(-1, 2, SIZE, SIZE)[:, 0]
        z, total = products[-1], np.zeros((SIZE, SIZE))
        for x, weight in zip(products[:-1], weights, strict=True):
            above = z @ np.linalg.inv(x)
            total += 0.5 * weight * above @ above.T @ gradient @ x.T @ x
        formula = np.asarray(logarithmic_mean_operator(z, gradient))
        errors[name] = float(np.max(np.abs(total - formula)) / np.max(np.abs(formula)))
    worst = max(errors.values())
    detail = "relative; " + ", ".join(f"lambda(s) = {name}: {error:.1e}" for name, error in errors.items())
    return Evidence(predicted=0.0, measured=worst, error=worst, detail=detail)


@claim(
    id="path-lifting-recoverable",
    paper="intrinsic",
    statement=r"The weights of a ReLU network with biases are a function of its path products $z$ and its laws $h$, "
    "up to signs of hidden neurons, if no hidden neuron vanishes.",
    summary="Weights of a ReLU 2-3-3-2 net with biases come back from path products and laws, after rescalings e^±3.",
    source=f"{SOURCE} (path lifting is recoverable); the recovery is derived here",
    tolerance=1e-14,
    holds={"alive": True},
    violated={"alive": False},
    control="one hidden neuron has no outgoing weights, so its incoming ones are in no path product",
    tier="full",
)
def path_lifting_recoverable(alive: bool) -> Evidence:
    arch = relu_network((2, 3, 3, 2), bias=True)
    worst = 0.0
    rng = np.random.default_rng(3)
    for seed in range(10):
        theta = gaussian(arch, jax.random.key(seed))
        if not alive:
            theta["W3"] = theta["W3"].at[:, 1].set(0.0)
        worst = max(worst, float(_round_trip(arch, theta, jnp.asarray(rng.uniform(-3.0, 3.0, 6)))))
    return Evidence(
        predicted=0.0, measured=worst, error=worst, detail="largest error of a weight, 10 random networks"
    )


# One program for the claim and its control.
@partial(jax.jit, static_argnums=0)
def _round_trip(arch, theta, x):
    """The largest error of a weight that is rescaled and recovered from path products and laws."""
    turned = rescaled(arch, theta, x)
    laws = DeepPathFlow(arch).initial(theta)["h"]
    found = weights_from_paths_and_laws(arch, arch(turned), laws)
    gaps = [jnp.max(jnp.abs(jnp.abs(found[name]) - jnp.abs(theta[name]))) for name in theta]
    return jnp.max(jnp.stack(gaps))


@lru_cache(maxsize=2)
def _full_paths(widths: tuple[int, ...]):
    """A network, its start, and z of its full flow; the same for a claim and its control."""
    arch = relu_network(widths, bias=True)
    theta0 = gaussian(arch, jax.random.key(1), scale=0.8)
    return arch, theta0, scipy_run(GradientFlow(arch, _log_cosh), theta0, 1.0)


def _reduced_against_full(reduction, widths: tuple[int, ...], start: str) -> Evidence:
    arch, theta0, full = _full_paths(widths)
    other = theta0
    if start == "rescaled":
        lifting = arch.phi
        hidden = sum(arch.shapes[name][0] for name in lifting.weights[:-1])
        other = rescaled(arch, theta0, 0.05 * jnp.ones(hidden))
    reduced = scipy_run(reduction(arch, _log_cosh), other, 1.0)
    error = float(np.max(np.abs(full - reduced)) / np.max(np.abs(full)))
    return Evidence(
        predicted=float(_log_cosh(reduced[-1])),
        measured=float(_log_cosh(full[-1])),
        error=error,
        detail="final loss; error of z relative to its largest entry",
        curves=error_over_time(scipy_times(1.0), full, reduced),
    )


@claim(
    id="path-lifting-two-layers",
    paper="intrinsic",
    statement=r"For one hidden layer, each neuron $Z = uv^\top$ obeys "
    r"$\dot Z = -(ZZ^\top G/|v|^2 + G Z^\top Z/|u|^2)$ with "
    r"$|u|^2, |v|^2 = \frac12(\sqrt{\lambda^2 + 4\|Z\|^2} \pm \lambda)$ and $\lambda = |u|^2 - |v|^2$ at the start.",
    summary="Path products of a ReLU 3-4-2 net with biases: closed form = full flow.",
    source=f"path lifting of {SOURCE}; closed form derived here",
    tolerance=1e-11,
    holds={"start": "the same"},
    violated={"start": "rescaled"},
    control="the reduction starts at the same path products but at the laws of neurons rescaled by e^0.05",
)
def path_lifting_two_layers(start: str) -> Evidence:
    return _reduced_against_full(TwoLayerPathFlow, (3, 4, 2), start)


@claim(
    id="path-lifting-deep",
    paper="intrinsic",
    statement=r"For any depth, $\dot z = -K(z; h)\,\nabla f(z)$ with $K = \partial\varphi\,\partial\varphi^\top$ at "
    r"the weights that have the path products $z$ and the laws $h$ of the start.",
    summary="Path products of a ReLU 2-3-3-2 net with biases: reduced = full flow.",
    source=f"{SOURCE} (path lifting is recoverable)",
    tolerance=1e-10,
    holds={"start": "the same"},
    violated={"start": "rescaled"},
    control="the reduction starts at the same path products but at the laws of neurons rescaled by e^0.05",
    tier="full",
)
def path_lifting_deep(start: str) -> Evidence:
    return _reduced_against_full(DeepPathFlow, (2, 3, 3, 2), start)
