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
from ..base import claim
from ..curves import Curves, power_law
from ..evidence import Evidence
from ..reference import LogCosh, chain_flow, flow, output_along, product, same_flow

SIZE = 3
TIMES = np.linspace(0.0, 1.0, 8)
SOURCE = "[marcotte2026intrinsic]"


@lru_cache(maxsize=1)
def _matrices() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A symmetric start, a rotation and a target, fixed."""
    rng = np.random.default_rng(0)
    symmetric, rotation, target = rng.standard_normal((3, SIZE, SIZE))
    return 0.4 * (symmetric + symmetric.T), rotation - rotation.T, target


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
    return np.stack(layers), product(layers)


def _finite_end(layers: np.ndarray) -> np.ndarray:
    """z(1) of the finite network under $A_l' = -\\partial f/\\partial W_l$ for f = log cosh."""
    target, depth = _matrices()[2], len(layers)
    end = chain_flow(
        list(layers), lambda z: np.tanh(z - target), 1.0, rates=[1 / depth] * depth, rtol=1e-9, atol=1e-11
    )
    return product(end)


def _limit_end(start: np.ndarray) -> np.ndarray:
    """z(1) of the limit; its equation sees nothing of the network but the product."""
    return flow(lambda t, z: [np.asarray(_limit_velocity(z))], [start], 1.0, rtol=1e-9, atol=1e-11)[0]


@jax.jit
def _limit_velocity(z):
    arch = linear_network((SIZE, SIZE, SIZE))
    target = _matrices()[2]
    limit = near_identity_flow(arch, lambda x: jnp.sum(jnp.logaddexp(x - target, target - x) - jnp.log(2.0)))
    return InfiniteDepthFlow(arch).bind(limit.training).velocity(0.0, {"z": z})["z"]


@claim(
    statement=r"For $W_l = I + A_l/L$, $A_l' = -\partial f/\partial W_l$ and $L^2 D_l = \lambda_l I$, $z(t)$ is within "
    r"$O(1/L)$ of $\dot z = -\int_0^1 (zz^\top)^{1-s}\,\nabla f(z)\,(z^\top z)^s\,ds$.",
    source=f"{SOURCE}, for the setting; the order is measured here",
    tolerance=0.01,
    arguments={"imbalance": "scalar"},
    control_arguments={"imbalance": "not scalar"},
    control="D(s) = diag(1, -1, 0) is no multiple of the identity: the error stalls",
)
def infinite_depth_limit(imbalance: str) -> Evidence:
    """Near the identity a deep linear network follows the flow of infinite depth with order 1 in 1/L."""
    errors = {}
    for depth in (32, 64, 128):
        layers, start = _layers(depth, imbalance)
        errors[depth] = float(np.max(np.abs(_finite_end(layers) - _limit_end(start))))
    order = float(np.log2(errors[64] / errors[128]))
    detail = "order between L = 64 and 128; errors " + ", ".join(f"{k}: {v:.3g}" for k, v in errors.items())
    points = list(errors), list(errors.values())
    curves = Curves(
        "depth $L$",
        "largest error of $z(1)$",
        {"measured": points, "predicted order $1/L$": power_law(*points, -1.0)},
        scale="log-log",
    )
    return Evidence(1.0, order, detail=detail, data={"errors": errors}, curves=curves)


@claim(
    statement=r"If $D(s) = \lambda(s) I$, then $\int_0^1 \Phi(1,s)\Phi(1,s)^\top G\,\Phi(s,0)^\top\Phi(s,0)\,ds = "
    r"\hat U(\Gamma \circ \hat U^\top G \hat V)\hat V^\top$ with $\Gamma_{ij}$ the logarithmic mean of $\sigma_i^2, "
    r"\sigma_j^2$, whatever $\lambda(s)$.",
    source="derived here",
    tolerance=2e-13,
    arguments={"spread": 0.0},
    control_arguments={"spread": 0.3},
    control="D(s) = λ(s) I + 0.3 diag(1, -1, 0)",
    tier="full",
)
def infinite_depth_operator(spread: float) -> Evidence:
    """The operator of infinite depth is the logarithmic mean, whatever λ(s): quadrature along the layers."""
    symmetric, rotation, gradient = _matrices()
    nodes, weights = np.polynomial.legendre.leggauss(40)
    parts = {}
    for name, lam in {"0": lambda s: 0.0, "0.5 + cos 2s": lambda s: 0.5 + np.cos(2 * s)}.items():

        def velocity(s, x, sym, lam=lam):
            skew = np.cos(2 * s) * rotation
            imbalance = lam(s) * np.eye(SIZE) + spread * np.diag([1.0, -1.0, 0.0])
            return (sym + skew) @ x, skew @ sym - sym @ skew + 0.5 * imbalance

        depths = np.array([0.0, *(nodes + 1) / 2, 1.0])
        products = flow(velocity, [np.eye(SIZE), symmetric], depths, rtol=1e-13)[0][1:]
        z, total = products[-1], np.zeros((SIZE, SIZE))
        for x, weight in zip(products[:-1], weights, strict=True):
            above = z @ np.linalg.inv(x)
            total += 0.5 * weight * above @ above.T @ gradient @ x.T @ x
        formula = np.asarray(logarithmic_mean_operator(z, gradient))
        parts[f"lambda(s) = {name}"] = Evidence(formula, total, float(np.max(np.abs(formula))))
    return Evidence.worst(parts, detail="an entry of the operator, relative to the largest")


@claim(
    statement=r"The weights of a ReLU network with biases are a function of its path products $z$ and its laws $h$, "
    "up to signs of hidden neurons, if no hidden neuron vanishes.",
    source=f"{SOURCE} (path lifting is recoverable); the recovery is derived here",
    tolerance=4e-15,
    arguments={"alive": True},
    control_arguments={"alive": False},
    control="one hidden neuron has no outgoing weights, so its incoming ones are in no path product",
    tier="full",
)
def path_lifting_recoverable(alive: bool) -> Evidence:
    """Weights of a ReLU 2-3-3-2 net with biases come back from path products and laws, after rescalings e^±3."""
    arch = relu_network((2, 3, 3, 2), bias=True)
    errors, rng = [], np.random.default_rng(3)
    for seed in range(10):
        theta = gaussian(arch, jax.random.key(seed))
        if not alive:
            theta["W3"] = theta["W3"].at[:, 1].set(0.0)
        errors.append(float(_round_trip(arch, theta, jnp.asarray(rng.uniform(-3.0, 3.0, 6)))))
    return Evidence(0.0, errors, detail="largest error of a weight, 10 random networks")


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
    return arch, theta0, output_along(GradientFlow(arch, LogCosh(arch.output_shape)), theta0, TIMES)


def _reduced_against_full(reduction, widths: tuple[int, ...], start: str) -> Evidence:
    arch, theta0, full = _full_paths(widths)
    other = theta0
    if start == "rescaled":
        lifting = arch.phi
        hidden = sum(arch.shapes[name][0] for name in lifting.weights[:-1])
        other = rescaled(arch, theta0, 0.05 * jnp.ones(hidden))
    reduced = output_along(reduction(arch, LogCosh(arch.output_shape)), other, TIMES)
    return same_flow(TIMES, full, reduced)


@claim(
    statement=r"For one hidden layer, each neuron $Z = uv^\top$ obeys "
    r"$\dot Z = -(ZZ^\top G/|v|^2 + G Z^\top Z/|u|^2)$ with "
    r"$|u|^2, |v|^2 = \frac12(\sqrt{\lambda^2 + 4\|Z\|^2} \pm \lambda)$ and $\lambda = |u|^2 - |v|^2$ at the start.",
    source=f"path lifting of {SOURCE}; closed form derived here",
    tolerance=1e-11,
    arguments={"start": "the same"},
    control_arguments={"start": "rescaled"},
    control="the reduction starts at the same path products but at the laws of neurons rescaled by e^0.05",
)
def path_lifting_two_layers(start: str) -> Evidence:
    """Path products of a ReLU 3-4-2 net with biases: closed form = full flow."""
    return _reduced_against_full(TwoLayerPathFlow, (3, 4, 2), start)


@claim(
    statement=r"For any depth, $\dot z = -K(z; h)\,\nabla f(z)$ with $K = \partial\varphi\,\partial\varphi^\top$ at "
    r"the weights that have the path products $z$ and the laws $h$ of the start.",
    source=f"{SOURCE} (path lifting is recoverable)",
    tolerance=2e-11,
    arguments={"start": "the same"},
    control_arguments={"start": "rescaled"},
    control="the reduction starts at the same path products but at the laws of neurons rescaled by e^0.05",
    tier="full",
)
def path_lifting_deep(start: str) -> Evidence:
    """Path products of a ReLU 2-3-3-2 net with biases: reduced = full flow."""
    return _reduced_against_full(DeepPathFlow, (2, 3, 3, 2), start)
