r"""Langevin motion on balanced weights, simulated, beside the equilibrium that the geometry predicts.

The motion $dX = -\nabla f\,dt + \sqrt{2/\beta}\,dB$ on the balanced manifold with the metric $\sum_l \|dW_l\|^2$, in
coordinates in which that metric is explicit:

- one dimension, any depth: $W_l = r$, $\sum_l dW_l^2 = N dr^2$, a straight line;
- two by two matrices, two layers, $\det W > 0$: $W_2 = E B$, $W_1 = B^\top E$ with a rotation $E$ by $\varphi/2$ and
  any matrix $B$, where $\sum_l\|dW_l\|^2 = 2\|dB\|^2 + \frac12\|B\|^2 d\varphi^2$.

Steps are Euler-Maruyama's, of sizes $h$ and $h/2$ driven by the same noise, so that the error of the steps is measured.
Averages need chains that have forgotten their start: Ctrl-C propagates.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import numpy as np
from scipy.special import i0e

from ..._checks import integer, real_array, real_number
from ...display.displayed import Displayed
from ...display.progress import progress_bar
from .measures import log_density_factor

Step = Callable[[np.ndarray, float, np.ndarray], np.ndarray]


@dataclasses.dataclass(frozen=True, eq=False)
class LangevinReport(Displayed):
    r"""A simulated equilibrium beside the predicted one.

    Attributes:
        label: what was simulated.
        names: of the observables.
        predicted: their means under the predicted density.
        simulated: their means over independent chains, extrapolated to step 0 from the two step sizes.
        standard_errors: of `simulated`, from the scatter over chains.
        step_effects: mean at the finer step minus mean at the coarser, what halving the step changes.
        ks: Kolmogorov-Smirnov distance of each observable, at the finer step, from its predicted law.
        chains: number of independent chains.
        step: the finer step size.
        time: length of each chain.
        drifts: mean over the last quarter minus mean over the third, in its standard errors: large while the chains
            still forget their start, and then nothing may be concluded.
        naive: the means under $e^{-\beta f} dW$, that is without any factor of the geometry, for contrast.
        samples: (chains, observables) final states at the finer step.
        grid: (points, observables) points of a quadrature of the prediction.
        weights: (points,) its weights, of sum 1.
    """

    label: str
    names: tuple[str, ...]
    predicted: np.ndarray
    simulated: np.ndarray
    standard_errors: np.ndarray
    step_effects: np.ndarray
    ks: np.ndarray
    chains: int
    step: float
    time: float
    drifts: np.ndarray
    naive: np.ndarray
    samples: np.ndarray
    grid: np.ndarray
    weights: np.ndarray

    @property
    def scores(self) -> np.ndarray:
        """Deviations of the means in standard errors."""
        return (self.simulated - self.predicted) / self.standard_errors

    @property
    def naive_scores(self) -> np.ndarray:
        """The same for the density without any factor of the geometry."""
        return (self.simulated - self.naive) / self.standard_errors

    @property
    def ks_limit(self) -> float:
        r"""$1.95/\sqrt{n}$: exceeded by chance once in a thousand times."""
        return 1.95 / math.sqrt(self.chains)

    def _title(self) -> str:
        return self.label

    def _facts(self) -> dict[str, str]:
        run = f"{self.chains} chains, step {self.step:g}, time {self.time:g}"
        return {"run": run, "KS limit": f"{self.ks_limit:.4f} (0.1 %)"}

    def _tables(self) -> list[tuple[Any, ...]]:
        columns = zip(
            self.names,
            self.predicted,
            self.simulated,
            self.standard_errors,
            self.scores,
            self.step_effects,
            self.drifts,
            self.ks,
            self.naive,
            strict=True,
        )
        head = (
            "mean of",
            "predicted",
            "simulated",
            "s.e.",
            "deviation/s.e.",
            "step h to h/2",
            "drift/s.e.",
            "KS",
            "e^(-beta f) dW",
        )
        return [(list(columns), head)]

    def __repr__(self) -> str:
        return f"LangevinReport({self.label}, {self.chains} chains)"


def scalar_langevin(
    sigma: float,
    depth: int,
    *,
    beta: float = 4.0,
    chains: int = 4000,
    step: float = 0.02,
    time: float = 12.0,
    seed: int = 0,
    progress: bool | None = None,
) -> LangevinReport:
    r"""One dimension: $N$ equal scalar layers and the loss $\frac12(w - \sigma)^2$, $w = r^N$.

    Args:
        sigma: the target.
        depth: $N \ge 2$.
        beta: inverse temperature, positive.
        chains: number of independent chains, at least 100.
        step: the coarser step size.
        time: length of a chain; the second half is averaged.
        seed: of the noise.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        A `LangevinReport` on $w$ and $w^2$.

    Raises:
        ValueError: a value out of its range.
    """
    _check(beta, chains, step, time)
    sigma, N = real_number(sigma, "sigma"), integer(depth, "depth", minimum=2)

    def advance(x, h, noise):
        r = x[0]
        below = r
        for _ in range(N - 2):
            below = below * r
        gradient = (below * r - sigma) * below
        return np.stack([r - h * gradient + math.sqrt(2.0 * h / (N * beta)) * noise[0]])

    start = np.full((1, chains), max(abs(sigma), 0.1) ** (1.0 / N))

    def observe(x):
        w = x[0]
        for _ in range(N - 1):
            w = w * x[0]
        return np.stack([w, w * w])

    simulation = _simulate(advance, observe, start, step, time, seed, progress)
    # Prediction in w against Lebesgue measure; the nodes are spaced as |w|^(1/N), where it is smooth.
    top = (abs(sigma) + 8.0 / math.sqrt(beta) + 1.0) ** (1.0 / N)
    r, weights = _gauss(0.0, top, 400)
    s = r**N
    measure = np.log(weights * N * r ** (N - 1))
    signs = (1.0,) if N % 2 == 0 else (1.0, -1.0)
    grid = np.concatenate([sign * s for sign in signs])[:, None]
    energy = np.concatenate([-0.5 * beta * (sign * s - sigma) ** 2 + measure for sign in signs])
    factor = np.tile(log_density_factor(s[:, None], N, "lebesgue"), len(signs))
    points = np.concatenate([grid, grid**2], axis=1)
    label = f"one dimension, depth {N}, sigma = {sigma:g}, beta = {beta:g}"
    return _report(label, ("w", "w^2"), simulation, points, energy, factor, step, time)


def matrix_langevin(
    sigma: tuple[float, float],
    *,
    beta: float = 4.0,
    chains: int = 4000,
    step: float = 0.02,
    time: float = 12.0,
    seed: int = 0,
    progress: bool | None = None,
) -> LangevinReport:
    r"""Two by two matrices, two layers, loss $\frac12\|W - \mathrm{diag}(\sigma_1, \sigma_2)\|^2$, on $\det W > 0$.

    The prediction is the density of the singular values, with $e^{-\beta f}$ averaged over the rotations, which gives
    two Bessel functions.

    Args:
        sigma: the target's two singular values, at least 0.
        beta: inverse temperature, positive.
        chains: number of independent chains, at least 100.
        step: the coarser step size.
        time: length of a chain; the second half is averaged.
        seed: of the noise.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        A `LangevinReport` on $s_1$, $s_2$ and $\log(s_1 + s_2)$.

    Raises:
        ValueError: a value out of its range.

    Validity:
        The component $\det W > 0$ of the balanced manifold, completed where $\det W = 0$.
    """
    _check(beta, chains, step, time)
    pair = real_array(sigma, "sigma", ndim=1)
    if pair.shape != (2,) or np.min(pair) < 0:
        raise ValueError(f"Argument `sigma` must be two finite numbers of at least 0, but is {sigma!r}.")
    sigma = (float(pair[0]), float(pair[1]))
    mean, half = (sigma[0] + sigma[1]) / 2.0, (sigma[0] - sigma[1]) / 2.0

    def advance(x, h, noise):
        a, b, c, d, angle = x
        m, u, v = invariants(x)
        # f = |m R(phi) + u Z + v X - mean I - half Z|^2 / 2 in an orthogonal basis of norm sqrt(2).
        slope_m, slope_u, slope_v = 2.0 * (m - mean * np.cos(angle)), 2.0 * (u - half), 2.0 * v
        entropic = 1.0 / (4.0 * beta * m)
        first, second = entropic - 0.5 * (slope_m + slope_u), entropic - 0.5 * (slope_m - slope_u)
        cross, size = -0.5 * slope_v, math.sqrt(h / beta)
        return np.stack(
            [
                a + h * (first * a + cross * c) + size * noise[0],
                b + h * (first * b + cross * d) + size * noise[1],
                c + h * (second * c + cross * a) + size * noise[2],
                d + h * (second * d + cross * b) + size * noise[3],
                angle - h * 2.0 * mean * np.sin(angle) + np.sqrt(2.0 / m) * size * noise[4],
            ]
        )

    def observe(x):
        m, u, v = invariants(x)
        radius = np.hypot(u, v)
        return np.stack([m + radius, m - radius, np.log(2.0 * m)])

    start = np.zeros((5, chains))
    start[0], start[3] = math.sqrt(max(sigma[0], 0.1)), math.sqrt(max(sigma[1], 0.1))
    simulation = _simulate(advance, observe, start, step, time, seed, progress)
    # total = s_1 + s_2 and s_1 - s_2 = total sin(angle): the density is smooth in these.
    total, across = _gauss(0.0, sigma[0] + sigma[1] + 12.0 / math.sqrt(beta) + 1.0, 320)
    angle, around = _gauss(0.0, math.pi / 2, 160)
    total, angle = (grid.ravel() for grid in np.meshgrid(total, angle, indexing="ij"))
    measure = np.log(np.outer(across, around).ravel() * 0.5 * total * np.cos(angle))
    s = np.stack([0.5 * total * (1 + np.sin(angle)), 0.5 * total * (1 - np.sin(angle))], axis=1)
    bessel = lambda x: np.log(i0e(x)) + np.abs(x)
    energy = (
        -0.5 * beta * (np.sum(s**2, axis=1) + sigma[0] ** 2 + sigma[1] ** 2)
        + bessel(beta * mean * total)
        + bessel(beta * half * total * np.sin(angle))
    )
    factor = log_density_factor(s, 2, "singular values")
    points = np.concatenate([s, np.log(total)[:, None]], axis=1)
    label = f"two by two, depth 2, sigma = {sigma[0]:g}, {sigma[1]:g}, beta = {beta:g}"
    naive = np.log(total**2 * np.sin(angle))  # |s_1^2 - s_2^2| alone: Lebesgue measure on products
    return _report(
        label, ("s_1", "s_2", "log(s_1+s_2)"), simulation, points, energy + measure, factor, step, time, naive
    )


def balanced_weights(x: Any) -> tuple[np.ndarray, np.ndarray]:
    r"""The balanced layers $(W_1, W_2) = (B^\top E, E B)$ of coordinates $(B_{11}, B_{12}, B_{21}, B_{22}, \varphi)$.

    Example:
        >>> W1, W2 = balanced_weights([1.0, 0.5, -0.3, 2.0, 0.7])
        >>> float(np.abs(W2.T @ W2 - W1 @ W1.T).max()) < 1e-15
        True
    """
    x = np.asarray(x, dtype=np.float64)
    B, half = x[:4].reshape(2, 2), x[4] / 2.0
    E = np.array([[np.cos(half), -np.sin(half)], [np.sin(half), np.cos(half)]])
    return B.T @ E, E @ B


def invariants(x: Any) -> tuple[Any, Any, Any]:
    r"""$m, u, v$ with $BB^\top = m I + u Z + v X$, $W = m R(\varphi) + u Z + v X$, $s = m \pm \sqrt{u^2+v^2}$."""
    a, b, c, d = x[0], x[1], x[2], x[3]
    return 0.5 * (a**2 + b**2 + c**2 + d**2), 0.5 * (a**2 + b**2 - c**2 - d**2), a * c + b * d


def _simulate(
    advance: Step,
    observe: Callable,
    start: np.ndarray,
    step: float,
    time: float,
    seed: int,
    progress: bool | None,
) -> tuple[np.ndarray, np.ndarray]:
    """Averages over the last two quarters, (2 quarters, 2 step sizes, observables, chains), and the last fine state."""
    rng = np.random.default_rng(seed)
    steps = round(time / step)
    coarse, fine = start, start
    sums = np.zeros((2, 2, *observe(start).shape))
    counts = np.zeros(2)
    with progress_bar(steps, "Langevin motion", unit=" steps", progress=progress) as bar:
        for k in range(steps):
            first, second = rng.standard_normal(start.shape), rng.standard_normal(start.shape)
            fine = advance(advance(fine, step / 2, first), step / 2, second)
            coarse = advance(coarse, step, (first + second) / math.sqrt(2.0))
            quarter = 4 * k // steps - 2
            if quarter >= 0:
                sums[quarter, 0] += observe(coarse)
                sums[quarter, 1] += observe(fine)
                counts[quarter] += 1
            bar.update()
    if not (np.all(np.isfinite(coarse)) and np.all(np.isfinite(fine))):
        raise ValueError(f"Argument `step` must be smaller, but is {step:g}: a chain left every bound.")
    return sums / counts[:, None, None, None], observe(fine)


def _report(
    label: str,
    names: tuple[str, ...],
    simulation: tuple[np.ndarray, np.ndarray],
    points: np.ndarray,
    energy: np.ndarray,
    factor: np.ndarray,
    step: float,
    time: float,
    naive_factor: np.ndarray | float = 0.0,
) -> LangevinReport:
    quarters, last = simulation
    coarse, fine = np.mean(quarters, axis=0)
    chains = fine.shape[1]
    drift = quarters[1, 1] - quarters[0, 1]
    weights = _normalised(energy + factor)
    extrapolated = 2.0 * fine - coarse
    samples = last.T
    return LangevinReport(
        label=label,
        names=names,
        predicted=weights @ points,
        simulated=np.mean(extrapolated, axis=1),
        standard_errors=np.std(extrapolated, axis=1, ddof=1) / math.sqrt(chains),
        step_effects=np.mean(fine - coarse, axis=1),
        drifts=np.mean(drift, axis=1) / (np.std(drift, axis=1, ddof=1) / math.sqrt(chains)),
        ks=np.array([_ks(samples[:, i], points[:, i], weights) for i in range(len(names))]),
        chains=chains,
        step=step / 2,
        time=time,
        naive=_normalised(energy + naive_factor) @ points,
        samples=samples,
        grid=points,
        weights=weights,
    )


def _ks(sample: np.ndarray, points: np.ndarray, weights: np.ndarray) -> float:
    """Distance of an empirical law from a weighted grid, whose steps are far below the scatter of the sample."""
    places, which = np.unique(points, return_inverse=True)
    masses = np.bincount(which, weights=weights)
    # Each node carries its weight half to the left and half to the right.
    law = np.cumsum(masses) - 0.5 * masses
    sample = np.sort(sample)
    predicted = np.interp(sample, places, law, left=0.0, right=1.0)
    ranks = np.arange(len(sample) + 1) / len(sample)
    return float(max(np.max(ranks[1:] - predicted), np.max(predicted - ranks[:-1])))


def _normalised(logs: np.ndarray) -> np.ndarray:
    weights = np.exp(logs - np.max(logs))
    return weights / np.sum(weights)


def _gauss(low: float, high: float, count: int) -> tuple[np.ndarray, np.ndarray]:
    nodes, weights = np.polynomial.legendre.leggauss(count)
    return low + 0.5 * (high - low) * (nodes + 1.0), 0.5 * (high - low) * weights


def _check(beta: float, chains: int, step: float, time: float) -> None:
    for name, value in (("beta", beta), ("step", step), ("time", time)):
        real_number(value, name, above=0)
    integer(chains, "chains", minimum=100)
    if time < 4 * step:
        raise ValueError(f"Argument `time` must be at least four steps, but is {time:g}.")
