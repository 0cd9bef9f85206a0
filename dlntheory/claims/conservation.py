"""Claims of the papers on conservation laws: counts with their proof, and the laws along real runs."""

from __future__ import annotations

import dataclasses
from fractions import Fraction
from functools import lru_cache

import jax
import jax.numpy as jnp
import numpy as np

from ..architecture import Architecture
from ..data import diabetes
from ..families import linear_network, nonnegative_factorisation, relu_network
from ..initial import gaussian
from ..laws.conservation import ConservationLaws, conservation_laws
from ..laws.law import Law
from ..laws.proof.certificate import check
from ..training import GradientDescent, GradientFlow, MirrorFlow, MomentumFlow, Trajectory, iterate, solve
from .base import claim
from .curves import TIME, Curves, power_law
from .evidence import Evidence

#: Random widths of the published kind, input to output; none has a scalar segment.
LINEAR_WIDTHS = ((2, 3, 4), (3, 5, 3), (4, 2, 4, 3), (2, 5, 2), (5, 2, 3, 4, 2), (3, 4, 3, 2))
RELU_WIDTHS = ((2, 3, 2), (3, 4, 1), (2, 3, 3, 2), (4, 2, 5))


@lru_cache(maxsize=16)
def _laws(family: str, widths: tuple[int, ...], momentum: float | None = None) -> ConservationLaws:
    if family == "nmf":
        arch = nonnegative_factorisation(*widths)
        return conservation_laws(arch, metric={"U": "theta", "V": "theta"})
    arch = (
        relu_network(widths, bias=family == "relu with biases")
        if "relu" in family
        else linear_network(widths)
    )
    return conservation_laws(arch, momentum=momentum)


def _imbalance_count(widths: tuple[int, ...]) -> int:
    """Rank of all entries of the imbalances: n(n+1)/2 less k(k+1)/2 for each hidden layer, k what is too wide."""
    total = 0
    for below, width, above in zip(widths, widths[1:], widths[2:], strict=False):
        excess = max(0, width - below - above)
        total += width * (width + 1) // 2 - excess * (excess + 1) // 2
    return total


@claim(
    statement=r"The entries of $W_{l+1}^\top W_{l+1} - W_l W_l^\top$ are all laws of a linear network without scalar "
    r"segment: $N = \sum_l [n_l(n_l+1)/2 - k_l(k_l+1)/2]$, $k_l = \max(0, n_l - n_{l-1} - n_{l+1})$.",
    source="[marcotte2023abide], Proposition 4.1 (the laws); the count is certified case by case",
    tolerance=0.5,
    arguments={"widths": LINEAR_WIDTHS},
    control_arguments={"widths": ((1, 2, 2, 1),)},
    control="input and output have width 1: the whole network is a scalar segment",
)
def linear_laws_complete(widths: tuple[tuple[int, ...], ...]) -> Evidence:
    """Linear networks: the imbalances are all laws, with a certificate for each width."""
    counts = {str(one): (_laws("linear", one), _imbalance_count(one)) for one in widths}
    return _counted(counts)


def _counted(counts: dict[str, tuple[ConservationLaws, int]]) -> Evidence:
    """Numbers of laws against those stated. A count without proof is as wrong as a wrong count."""
    laws, stated = zip(*counts.values(), strict=True)
    parts = [
        Evidence(stated, tuple(one.upper for one in laws)),
        Evidence(("complete",) * len(laws), tuple(str(one.status) for one in laws)),
    ]
    return Evidence.worst(parts, detail=f"numbers of laws of {', '.join(counts)}, and their proofs")


@claim(
    statement=r"A network with widths $(1, 2, 2, 1)$ has $D - 1 = 7$ laws, one more than its imbalances give: with one "
    r"scalar output every first integral of a single gradient field is a law.",
    source="follows from [marcotte2023abide], Corollary 3.4; derived here",
    tolerance=0.5,
    arguments={"widths": (1, 2, 2, 1)},
    control_arguments={"widths": (2, 2, 2, 1)},
    control="two inputs instead of one: no exception is left",
)
def scalar_segment_exception(widths: tuple[int, ...]) -> Evidence:
    """Width 1 at both ends: one law more than the imbalances, reported as a gap of 1."""
    laws = _laws("linear", widths)
    gap = laws.upper - laws.lower
    return Evidence(1.0, float(gap), detail=laws.certificate.statement)


@claim(
    statement=r"A ReLU network has exactly one law for each hidden neuron, "
    r"$\|\text{outgoing}\|^2 - \|\text{incoming}\|^2 - b^2$.",
    source="[marcotte2023abide] (path lifting); certified case by case",
    tolerance=0.5,
    arguments={"families": ("relu", "relu with biases")},
    control_arguments={"families": ("linear",)},
    control="the activation is the identity, so that hidden neurons can be mixed",
)
def relu_laws_complete(families: tuple[str, ...]) -> Evidence:
    """ReLU networks, with and without biases: one law for each hidden neuron, none missing."""
    return _counted(
        {
            f"{family} {widths}": (_laws(family, widths), sum(widths[1:-1]))
            for family in families
            for widths in RELU_WIDTHS
        }
    )


@claim(
    statement=r"Nonnegative factorisation $\varphi = UV$ by multiplicative updates conserves exactly "
    r"$\sum_i U_{ik} - \sum_j V_{kj}$ for each $k$.",
    source="[marcotte2024keep] (non-Euclidean metrics)",
    tolerance=1e-14,
    arguments={"multiplicative": True},
    control_arguments={"multiplicative": False},
    control="the same quantity is watched along the Euclidean gradient flow",
)
def mirror_laws_complete(multiplicative: bool) -> Evidence:
    """Mirror flow of a nonnegative factorisation: one law for each component, and it holds."""
    laws = _laws("nmf", (3, 4, 2))
    arch = nonnegative_factorisation(3, 4, 2)
    keys = jax.random.split(jax.random.key(0), len(arch.shapes))
    theta0 = {
        name: jax.random.uniform(key, shape, minval=0.5, maxval=1.5)
        for key, (name, shape) in zip(keys, arch.shapes.items(), strict=True)
    }
    target = np.random.default_rng(0).uniform(0.0, 3.0, arch.output_shape)
    loss = _Squared(target)
    metric = dict.fromkeys(arch.shapes, "theta")
    flow = MirrorFlow(arch, loss, metric=metric) if multiplicative else GradientFlow(arch, loss)
    run = solve(flow, theta0, 3.0, ts=5, rtol=1e-10, method="dopri8", step_to_ts=True, laws=laws)
    parts = [Evidence(0.0, run.max_drift), Evidence(4, laws.count or 0)]
    detail = f"drift; {laws.certificate.statement}"
    return Evidence.worst(parts, detail=detail, curves=_drift_curves(run))


@claim(
    statement=r"With inertia and friction $\tau$ the skew matrices $e^{\tau t}[(W_l Z_l^\top - Z_l W_l^\top) + "
    r"(W_{l+1}^\top Z_{l+1} - Z_{l+1}^\top W_{l+1})]$ are conserved, and nothing else.",
    source="[marcotte2024keep] (momentum flows)",
    tolerance=4e-11,
    arguments={"friction": 1.0},
    control_arguments={"friction": 1.1},
    control="the run has 10 % more friction than the laws assume",
)
def momentum_laws(friction: float) -> Evidence:
    """Momentum: only angular momenta survive, n(n-1)/2 for a hidden layer; they hold along a run."""
    laws = _laws("linear", (3, 4, 2), 1.0)
    arch = linear_network((3, 4, 2))
    theta0 = gaussian(arch, jax.random.key(1), scale=0.7)
    velocity = gaussian(arch, jax.random.key(2), scale=0.7)
    flow = MomentumFlow(arch, _Squared(np.ones((2, 3))), friction=friction, velocity=velocity)

    def values(coordinates):
        # The laws are those of friction 1, whose time coordinate is exp(t).
        return laws({**coordinates, "s": coordinates["s"] ** (1.0 / friction)})

    run = solve(flow, theta0, 2.0, ts=5, rtol=1e-10, method="dopri8", step_to_ts=True, laws=values)
    parts = [Evidence(0.0, run.max_drift), Evidence(6, laws.count or 0)]
    detail = f"drift; {laws.certificate.statement}"
    return Evidence.worst(parts, detail=detail, curves=_drift_curves(run))


@claim(
    statement=r"Training a real ReLU network on data keeps $\|a_k\|^2 - \|w_k\|^2 - b_k^2$ constant for each "
    r"hidden neuron, also where activations switch.",
    source="[du2018algorithmic]; [marcotte2023abide]",
    tolerance=8e-9,
    arguments={"activation": "relu"},
    control_arguments={"activation": "tanh"},
    control="the activation is tanh, which is not homogeneous",
)
def relu_law_on_data(activation: str) -> Evidence:
    """A ReLU network trained on the diabetes data keeps its neuron laws."""
    data = diabetes()
    act = {"relu": jax.nn.relu, "tanh": jnp.tanh}[activation]
    arch = Architecture(
        lambda p: p["W2"] @ act(p["W1"] @ data.inputs.T + p["b1"][:, None]),
        {"W1": (8, 10), "b1": (8,), "W2": (1, 8)},
        name=f"{activation} network on the diabetes data",
    )
    flow = GradientFlow(arch, _MeanSquared(data.targets.T))
    theta0 = gaussian(arch, jax.random.key(3), scale=0.5)

    def law(params):
        return params["W2"][0] ** 2 - jnp.sum(params["W1"] ** 2, axis=1) - params["b1"] ** 2

    run = solve(flow, theta0, 5.0, ts=5, rtol=1e-7, laws=law, save_states=False)
    drift = float(np.max(run.drift["law"]))
    detail = f"drift; loss {run.loss[0]:.3f} -> {run.loss[-1]:.3f}"
    return Evidence(0.0, drift, detail=detail, curves=_drift_curves(run))


@claim(
    statement=r"Over a fixed time gradient descent with step $\eta$ lets every quadratic law drift by $O(\eta)$.",
    source="elementary: each step changes a quadratic law h by eta^2 h(g)",
    tolerance=0.1,
    arguments={"coefficient": -1.0},
    control_arguments={"coefficient": -1.1},
    control="one coefficient of the law is changed, which makes it no law",
)
def discrete_drift_first_order(coefficient: float) -> Evidence:
    """Drift of the laws under gradient descent falls in proportion to the step size."""
    arch = linear_network((3, 4, 2))
    theta0 = gaussian(arch, jax.random.key(4), scale=0.6)
    loss = _Squared(np.array([[1.0, 0.5, 0.0], [0.0, 1.0, 2.0]]))
    law = _ScaledImbalance(coefficient)
    etas = np.array([0.02, 0.01, 0.005])
    drifts = []
    for eta in etas:
        run = iterate(GradientDescent(arch, loss, float(eta)), theta0, round(1 / eta), ts=2, laws=law)
        drifts.append(run.drift["law"][-1])
    order = float(np.polyfit(np.log(etas), np.log(drifts), 1)[0])
    curves = Curves(
        r"step $\eta$",
        "drift of the law at $t = 1$",
        {"measured": (etas, drifts), r"predicted order $\eta^1$": power_law(etas, drifts, 1.0)},
        scale="log-log",
    )
    detail = "order in the step size"
    return Evidence(1.0, order, detail=detail, curves=curves)


@claim(
    statement=r"A certificate whose laws were changed is rejected from its recorded data alone.",
    source="dlntheory: definition of a certificate",
    tolerance=0.5,
    arguments={"factor": 2},
    control_arguments={"factor": 1},
    control="nothing is changed, so that the certificate must be accepted",
)
def altered_certificate_rejected(factor: int) -> Evidence:
    """The checker rejects a certificate with one coefficient of one law changed."""
    laws = _laws("linear", (2, 3, 2))
    law: Law = laws.laws[0]
    terms = law.terms
    assert terms is not None  # laws of linear networks are Gram matrices
    changed = dataclasses.replace(terms[0], coefficient=terms[0].coefficient * Fraction(factor))
    altered = dataclasses.replace(law, terms=(changed, *terms[1:]))
    certificate = dataclasses.replace(laws.certificate, laws=(altered, *laws.laws[1:]))
    verdict = check(certificate, laws.system)
    return Evidence("rejected", "accepted" if verdict else "rejected", detail=verdict.reason)


def _drift_curves(run: Trajectory) -> Curves:
    """The largest drift of any law over time; that of the start is 0."""
    largest = np.max(np.stack(list(run.drift.values())), axis=0)
    series = {"largest drift of a law": (run.ts[1:], largest[1:])}
    return Curves(TIME, "drift since the start", series, scale="log-y", with_tolerance=True)


@dataclasses.dataclass(frozen=True, eq=False)
class _Squared:
    target: np.ndarray
    conventions = "1/2 |z - S|^2"

    def __call__(self, z):
        return 0.5 * jnp.sum((z - self.target) ** 2)


@dataclasses.dataclass(frozen=True, eq=False)
class _MeanSquared:
    targets: np.ndarray
    conventions = "1/2 mean over samples of |z - y|^2"

    def __call__(self, z):
        return 0.5 * jnp.mean((z - self.targets) ** 2)


@dataclasses.dataclass(frozen=True)
class _ScaledImbalance:
    coefficient: float

    def __call__(self, params):
        return params["W2"].T @ params["W2"] + self.coefficient * (params["W1"] @ params["W1"].T)
