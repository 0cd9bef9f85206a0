"""Exact solutions of single modes: two layers, any depth, any width, infinite depth and infinite width."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from ...solutions.depth_modes import depth_mode, depth_mode_time, next_mode
from ...solutions.two_layer_modes import (
    balanced_mode,
    balanced_mode_time,
    infinite_depth_mode,
    scalar_network,
    unbalanced_mode,
)
from ...solutions.wide_networks import wide_product
from ..base import claim
from ..curves import TIME, Curves, power_law
from ..evidence import Evidence
from ..reference import chain_flow, flow
from .shared import scalar_layers

SAXE = "[saxe2014exact]"


@claim(
    statement=r"A balanced mode of two layers obeys $s' = 2 s (\sigma - s)$, hence $s = s_0/(E + s_0 r)$ with $E = "
    r"e^{-2\sigma t}$, $r = (1 - E)/\sigma$ for $\sigma > 0$; for $\sigma \le 0$ it decays and keeps its sign.",
    source=f"{SAXE}; form without cancellation derived here",
    tolerance=8e-12,
    arguments={"imbalance": 0.0},
    control_arguments={"imbalance": 0.1},
    control="the two layers start with different weights of the same product",
)
def mode_two_balanced_layers(imbalance: float) -> Evidence:
    """A balanced two-layer mode is a sigmoid in closed form, for targets of both signs."""
    rng = np.random.default_rng(0)
    predicted, measured = [], []
    for sigma in (3.0, 1.0, 1e-13, -1.5):
        for _ in range(4):
            start, end = 10 ** rng.uniform(-3, 0.2), rng.uniform(0.2, 3.0)
            stretch = np.exp(imbalance)
            measured.append(np.prod(scalar_layers([start * stretch, start / stretch], sigma, end)))
            predicted.append(float(balanced_mode(end, sigma, start**2)))
    return Evidence(predicted, measured, scale=measured, detail="relative; 16 starts and targets")


@claim(
    statement=r"A balanced mode of depth $L > 2$ takes the time $[G(y) - G(y_0)]/\sigma^{2-2/L}$, $y = "
    r"(s/\sigma)^{1/L}$, $G(y) = -\frac{y^{2-L}}{L-2} + \frac{y^2}{2} {}_2F_1(1, \frac2L; 1 + \frac2L; y^L)$.",
    source=SAXE,
    tolerance=1e-12,
    arguments={"imbalance": 0.0},
    control_arguments={"imbalance": 0.1},
    control="the layers start with different weights of the same product",
)
def mode_depth_time(imbalance: float) -> Evidence:
    """When a balanced mode of depth 3, 4, 6 reaches a value, in closed form."""
    cases = ((3, 0.1, 3.0), (4, 0.4, 1.5), (6, 0.6, 1.0))
    predicted = []
    for depth, start, end in cases:
        weights = start * np.exp(imbalance * np.linspace(-1, 1, depth))
        reached = float(np.prod(scalar_layers(weights, 1.5, end)))
        predicted.append(float(depth_mode_time(reached, 1.5, start**depth, depth)))
    ends = [end for *_, end in cases]
    return Evidence(predicted, ends, scale=ends, detail="relative; time to the value that was reached")


@claim(
    statement=r"In the clock $\tau = L t$ a balanced mode tends to $s = \sigma/(1 + \omega(u_0 + \log u_0 - "
    r"\sigma^2\tau))$, $u_0 = \sigma/s_0 - 1$, $\omega$ the Wright omega function, with an error of order $1/L$.",
    source=f"{SAXE} for the equation",
    tolerance=0.06,
    arguments={"depths": (100.0, 200.0)},
    control_arguments={"depths": (3.0, 6.0)},
    control="three and six layers are not many",
)
def mode_infinite_depth(depths: tuple[float, float]) -> Evidence:
    """Infinitely deep networks learn a mode by the Wright omega function; finite depth is 1/L away."""
    limit = float(infinite_depth_mode(2.0, 2.0, 0.1))
    gaps = np.array([abs(float(depth_mode(2.0 / depth, 2.0, 0.1, depth)) - limit) for depth in depths])
    order = float(np.log2(gaps[0] / gaps[1]))
    curves = Curves(
        "depth $L$",
        "distance from infinite depth",
        {"measured": (depths, gaps), "predicted $1/L$": power_law(depths, gaps, -1.0)},
        scale="log-log",
    )
    return Evidence(1.0, order, detail=f"gaps {gaps[0]:.2e}, {gaps[1]:.2e}", curves=curves)


@claim(
    statement=r"Without balance $p = (a+b)^2$ and $q = (a-b)^2$ obey scalar Riccati equations: $p' = -\frac{p^2}{2} + "
    r"2\sigma p + \frac{\lambda^2}{2}$, $\lambda = a^2 - b^2$, for $q$ with $-\sigma$; $s = (p-q)/4$.",
    source=f"{SAXE} for the hyperbolic solution; this form derived here",
    tolerance=2e-12,
    arguments={"factor": 0.5},
    control_arguments={"factor": 1.0},
    control="the loss lacks the 1/2 for which the formula is written",
)
def mode_unbalanced_layers(factor: float) -> Evidence:
    """Two scalar layers of any signs and imbalance, in closed form without cancellation."""
    rng = np.random.default_rng(1)
    predicted, measured = [], []
    for sigma in (3.0, 1.0, 0.0, -1.5):
        for _ in range(4):
            (a0, b0), end = rng.standard_normal(2), rng.uniform(0.2, 2.0)
            measured.append(scalar_layers([b0, a0], sigma, 2.0 * factor * end)[::-1])
            predicted.append(np.array(unbalanced_mode(end, sigma, a0, b0), dtype=float))
    return Evidence(predicted, measured, detail="a weight, absolute; 16 starts and targets")


@claim(
    statement="One input, one output, any width and no balance: $w = W_2 W_1$ is a single mode with the effective "
    r"imbalance $\sqrt{(|W_2|^2 + |W_1|^2)^2 - 4 w^2}$, which is conserved.",
    source="derived here",
    tolerance=7e-13,
    arguments={"outputs": 1},
    control_arguments={"outputs": 2},
    control="a second output, which the target leaves at 0, shares the hidden layer",
)
def mode_any_width(outputs: int) -> Evidence:
    """The width of a scalar two-layer network enters only through its two norms."""
    rng = np.random.default_rng(2)
    predicted, measured = [], []
    for width in (1, 3, 20):
        first, second = (
            rng.standard_normal((width, 1)),
            rng.standard_normal((outputs, width)) / np.sqrt(width),
        )
        target = np.zeros((outputs, 1))
        target[0] = 1.5
        w1, w2 = chain_flow([first, second], lambda z, target=target: z - target, 0.8)
        start = float((second @ first)[0, 0]), float(np.sum(first**2) + np.sum(second**2))
        predicted += [float(value) for value in scalar_network(0.8, 1.5, *start)]
        measured += [float((w2 @ w1)[0, 0]), float(np.sum(w1**2) + np.sum(w2**2))]
    return Evidence(predicted, measured, detail="product or sum of squares, absolute; widths 1, 3, 20")


@lru_cache(maxsize=4)
def _wide_gap(hidden: int, tied: bool) -> float:
    """Root mean square distance of a finite network from the infinite one, over seeds."""
    target = np.array([[1.5, 0.2, 0.0], [-0.3, 0.8, 0.4]])
    squares = []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        first = rng.standard_normal((hidden, 3)) / np.sqrt(hidden)
        second = first[:, :2].T if tied else rng.standard_normal((2, hidden)) / np.sqrt(hidden)
        q = np.concatenate([first.T, second])
        m = q @ q.T

        def velocity(t, gram):
            g = gram[3:, :3] - target
            n = np.block([[np.zeros((3, 3)), -g.T], [-g, np.zeros((2, 2))]])
            return [n @ gram + gram @ n]

        w = flow(velocity, [m], 0.6, atol=1e-12)[0][3:, :3]
        squares.append(np.mean((w - np.asarray(wide_product(0.6, target, 1.0, 1.0))) ** 2))
    return float(np.sqrt(np.mean(squares)))


@claim(
    statement=r"Two layers with independent entries of variance $v_l/h$: as $h \to \infty$ the product stays diagonal "
    "in the singular bases of $S$, each mode with effective imbalance $v_1 + v_2$; width $h$ is $O(h^{-1/2})$ away.",
    source="derived here; compare [chizat2024infinite]",
    tolerance=0.1,
    arguments={"tied": False},
    control_arguments={"tied": True},
    control="the second layer repeats the first, so that the product does not start at 0",
)
def infinite_width(tied: bool) -> Evidence:
    """Infinitely wide two-layer networks in closed form; finite width deviates by its sampling error."""
    gaps = [_wide_gap(hidden, tied) for hidden in (100, 6400)]
    slope = float(np.log(gaps[0] / gaps[1]) / np.log(64.0))
    points = (100, 6400), gaps
    curves = Curves(
        "hidden width $h$",
        "distance from infinite width",
        {"measured": points, "predicted $h^{-1/2}$": power_law(*points, -0.5)},
        scale="log-log",
    )
    return Evidence(0.5, slope, detail=f"deviations {gaps[0]:.2e}, {gaps[1]:.2e}", curves=curves)


@claim(
    statement=r"When the mode $\sigma_1$ is half learned from $s_0$, the mode $\sigma_2$ is at "
    r"$s_0^{1-\rho}\sigma_1^{\rho}$ for "
    r"$L = 2$ and at $s_0(1-\rho)^{-L/(L-2)}$ for $L > 2$, $\rho = \sigma_2/\sigma_1$, as $s_0 \to 0$.",
    source="[saxe2019mathematical]; [gissin2020implicit]",
    tolerance=0.01,
    arguments={"start": 1e-8},
    control_arguments={"start": 1e-1},
    control="the start is not small",
)
def incremental_learning(start: float) -> Evidence:
    """How far the second mode is when the first is half learned: modes are learned one by one."""
    when = balanced_mode_time(1.5, 3.0, start)
    ratios = [float(balanced_mode(when, 1.0, start)) / next_mode(3.0, 1.0, start, 2)]
    for depth in (3, 4):
        at = float(depth_mode_time(1.5, 3.0, start, depth))
        ratios.append(float(depth_mode(at, 1.0, start, depth)) / next_mode(3.0, 1.0, start, depth))
    curves = _mode_curves(start, float(when))
    return Evidence(1.0, ratios, detail="measured over predicted; L = 2, 3, 4", curves=curves)


def _mode_curves(start: float, when: float) -> Curves:
    """Both modes of two layers over time, with the value predicted for the second when the first is half learned."""
    ts = np.linspace(0.0, 3.0 * when, 120)
    series = {
        rf"mode $\sigma_{index} = {sigma:g}$": (ts, np.asarray(balanced_mode(ts, sigma, start)))
        for index, sigma in ((1, 3.0), (2, 1.0))
    }
    series[r"predicted $s_0^{1-\rho}\sigma_1^\rho$"] = (
        np.array([when]),
        np.array([next_mode(3.0, 1.0, start, 2)]),
    )
    return Curves(TIME, "size of the mode, $L = 2$", series, scale="log-y")
