r"""`simulate`: finite networks trained step by step, the ground truth that the mean-field theory is compared with."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ..._checks import integer
from ...display.displayed import Displayed
from ...display.progress import collect
from ...display.text import format_number
from .config import MeanFieldConfig
from .finite_networks import FiniteProblem, draw_networks

#: Weights of several seeds are trained side by side while they fit into this many numbers (a share of the cache).
CHUNK_ENTRIES = 400_000


@dataclasses.dataclass(frozen=True, eq=False)
class Simulation(Displayed):
    r"""What `simulate` measured, one row for each seed.

    Attributes:
        config: the configuration, with the exact ratios.
        D: input dimension; `N`: width; `P`: size of the training set or of one batch (0: population).
        gen: (seeds, time) $E_x(\beta_* \cdot x/\sqrt D - f)^2$, without noise and without ½.
        train: (seeds, time) mean of $(y - f)^2$ over the training set; on the fresh batch for one-pass training.
        H: (seeds, layers, time) $|h^l|^2/N$ for $l = 1 \dots L$.
        G: (seeds, layers, time) $|g^l|^2/N$.
        V: (seeds, time) $|\hat v|^2/D$.
        overlap: (seeds, modes, time) $v_k \cdot \beta_{*k}/|\beta_{*k}|^2$, whose mean over seeds is $m_k(t)$.
        alignment: (seeds, time) cosine between $\beta$ and $\beta_*$ in the metric $\Lambda$.
        interrupted: whether the user stopped it: there are fewer seeds than intended.
    """

    config: MeanFieldConfig
    D: int
    N: int
    P: int
    gen: np.ndarray
    train: np.ndarray
    H: np.ndarray
    G: np.ndarray
    V: np.ndarray
    overlap: np.ndarray
    alignment: np.ndarray
    interrupted: bool = False

    def _title(self) -> str:
        return f"simulation of {self.config.label}"

    def _facts(self) -> list[tuple[str, str]]:
        mark = " (interrupted)" if self.interrupted else ""
        start, end = (float(np.mean(self.gen[:, place])) for place in (0, -1))
        return [
            ("sizes", f"D = {self.D}, N = {self.N}, P = {self.P}"),
            ("seeds", f"{self.seeds}{mark}"),
            ("gen", f"{format_number(start)} -> {format_number(end)} (mean over seeds)"),
        ]

    @property
    def seeds(self) -> int:
        """Number of networks."""
        return len(self.gen)

    @property
    def test(self) -> np.ndarray:
        r"""(seeds, time) `gen` + $\sigma^2$: the error on noisy labels."""
        return self.gen + self.config.sigma**2

    @property
    def diverged(self) -> np.ndarray:
        """(seeds,) whether the error of a network left the floating-point range or grew a million-fold."""
        with np.errstate(invalid="ignore"):
            return ~np.all(self.gen <= 1e6 * np.maximum(self.gen[:, :1], 1.0), axis=1)

    def mean(self, name: str) -> np.ndarray:
        """The mean over the seeds of one attribute."""
        return np.mean(getattr(self, name), axis=0)

    def standard_error(self, name: str) -> np.ndarray:
        """The standard error of that mean; needs two seeds.

        Raises:
            ValueError: there is only one seed.
        """
        if self.seeds < 2:
            raise ValueError(f"A standard error needs at least 2 seeds, but the simulation has {self.seeds}.")
        return np.std(getattr(self, name), axis=0, ddof=1) / math.sqrt(self.seeds)

    @property
    def bias(self) -> np.ndarray:
        r"""(time,) squared bias $\sum_k p_k \lambda_k b_k^2 m_k^2$, with the spread of the mean overlap taken out."""
        lam, p, teacher2 = self.config.modes
        mean = self.mean("overlap")
        square = mean**2
        if self.seeds > 1:
            square = square - np.var(self.overlap, axis=0, ddof=1) / self.seeds
        return (p * lam * teacher2) @ square

    def __repr__(self) -> str:
        mark = ", interrupted" if self.interrupted else ""
        sizes = f"D={self.D}, N={self.N}, P={self.P}, {self.seeds} seeds"
        return f"Simulation({self.config.label}; {sizes}{mark})"


def simulate(
    config: MeanFieldConfig, D: int, seeds: int = 20, *, seed: int = 0, progress: bool | None = None
) -> Simulation:
    r"""Train `seeds` finite networks by the optimiser of `config` and record the order parameters.

    One step costs $O(LN^2 + ND + PD)$: the network is probed along one direction only, the weights change by
    matrices of rank one in place, and neither $X^\top X$ nor a product of weights is ever formed.

    Args:
        config: the limit to approach; `nu` finite, since $N = \nu D$.
        D: input dimension. $N = \nu D$ and $P = \alpha D$ are rounded.
        seeds: number of networks; each has its own initial weights, teacher, training set and noise.
        seed: start of the stream of random numbers.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        The recorded curves at the times $0 \dots T-1$. An unstable network gives large or infinite values, never an
        error: see `Simulation.diverged`. Ctrl-C returns the networks that are done, with `interrupted` set; before
        the first one it propagates.

    Raises:
        ValueError: `nu` is infinite, `D` is too small for a width of 1, one sample, or one dimension for each
            eigenvalue, or `seeds` is below 1.

    Validity:
        Exact gradient descent of the network of `MeanFieldConfig`; the norm of the teacher is fixed in every
        eigenspace, because its fluctuation is no part of the theory.

    Example:
        >>> config = MeanFieldConfig.mup(T=3, L=1, eta=0.1, nu=1.0, alpha=2.0)
        >>> simulate(config, 16, seeds=2).gen.shape
        (2, 3)
    """
    D = integer(D, "D")
    seeds = integer(seeds, "seeds")
    problem = FiniteProblem.of(config, D)
    entries = problem.N * D + (config.L - 1) * problem.N**2 + problem.P * D
    chunk = int(np.clip(CHUNK_ENTRIES // entries, 1, seeds))
    streams = np.random.SeedSequence(seed).spawn(seeds)
    groups = [streams[start : start + chunk] for start in range(0, seeds, chunk)]
    parts, interrupted = collect(
        lambda group: _train(problem, group), groups, "networks", unit="seed", progress=progress, size=len
    )
    curves: dict[str, Any] = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    return Simulation(config=config, D=D, N=problem.N, P=problem.P, interrupted=interrupted, **curves)


def _train(problem: FiniteProblem, streams) -> dict[str, np.ndarray]:
    """The curves of a few seeds that are trained side by side."""
    config = problem.config
    lam, p, teacher2 = config.modes
    weight = p * lam * teacher2
    networks = draw_networks(problem, streams)
    layers, steps, count = config.L, config.T, len(streams)
    curves = {
        "gen": np.empty((count, steps)),
        "train": np.empty((count, steps)),
        "H": np.empty((count, layers, steps)),
        "G": np.empty((count, layers, steps)),
        "V": np.empty((count, steps)),
        "overlap": np.empty((count, len(lam), steps)),
        "alignment": np.empty((count, steps)),
    }
    total = float(np.sum(weight))
    # An unstable network overflows; its curves say so.
    with np.errstate(over="ignore", invalid="ignore"):
        for t in range(steps):
            fields = networks.probe()
            curves["gen"][:, t] = fields.gen
            curves["train"][:, t] = fields.train
            for layer in range(layers):
                curves["H"][:, layer, t] = np.mean(fields.h[layer] ** 2, axis=1)
                curves["G"][:, layer, t] = np.mean(fields.g[layer] ** 2, axis=1)
            curves["V"][:, t] = np.mean(fields.vhat**2, axis=1)
            curves["overlap"][:, :, t] = fields.overlap
            along = total - fields.overlap @ weight
            size = total * (total - 2 * (fields.overlap @ weight) + fields.gen)
            curves["alignment"][:, t] = np.where(
                size > 0, along / np.sqrt(np.where(size > 0, size, 1.0)), 0.0
            )
            if t + 1 < steps:
                networks.step(fields, float(config.rates[t]))
    return curves
