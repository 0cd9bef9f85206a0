"""Small settings of everything that can take long, for the tests of progress and of interrupts."""

import jax
import jax.numpy as jnp
import numpy as np

import dlntheory as dln
from dlntheory.claims.base import Claim
from dlntheory.reductions import fibre_divergence
from dlntheory.reductions.parsimony import ObservedEntries
from dlntheory.theory import alignment, mean_field, saddles

CONFIG = mean_field.MeanFieldConfig(T=6, L=2, eta=0.1, nu=1.0, alpha=2.0)
RESIDUAL = CONFIG.replace(residual=1.0)
PRODUCT = dln.Architecture(lambda p: p["u"] * p["v"], {"u": (1,), "v": (1,)}, name="uv")
START = {"u": np.array([2.0]), "v": np.array([1.0])}
THREE = dln.linear_network((1, 2, 2))
RELAXED = dln.linear_network((1, 2, 3))
TARGET = np.diag([2.0, 1.0])
NETWORK = {"W1": np.array([[1.0, 0.2], [0.1, 0.7]]), "W2": np.array([[0.8, -0.1], [0.3, 1.1]])}
SQUARED = dln.SquaredLoss.from_target(TARGET)
SEPARABLE = alignment.SeparableProblem([[0.5, 0.5], [0.5, -1.0]], [1, 1], "logistic")
HALF = {"W1": np.array([[0.2, 0.0]])}


def entries():
    rng = np.random.default_rng(0)
    target = np.outer(rng.standard_normal(12), rng.standard_normal(12))
    return ObservedEntries.from_mask(target, rng.random((12, 12)) < 0.6)


def problem():
    return saddles.completion_problem(3, 1, 0.9, norm=2.0)


def relaxed_gap(**options):
    theta0 = dln.lambda_balanced(RELAXED, jax.random.key(0), 0.7)
    flow = dln.GradientFlow(RELAXED, lambda z: 0.5 * jnp.sum((z - 1.0) ** 2))
    return fibre_divergence(flow, theta0, 0.3, ts=3, rtol=1e-6, **options)


LAWS = dln.conservation_laws(PRODUCT)


def random_layers(side):
    rng = np.random.default_rng(0)
    return {name: rng.standard_normal((side, side)) for name in ("W1", "W2")}


def claim(check):
    return Claim(
        id="long",
        paper="basics",
        summary="s",
        statement="s",
        check=check,
        arguments={"x": 1.0},
        control_arguments={"x": 2.0},
        control="x is not 1",
        tolerance=1e-3,
        source="s",
        tier="quick",
    )
