r"""Finite networks of the mean-field model: sizes, random draws, the probe along one direction, one step."""

from __future__ import annotations

import dataclasses
import math
from typing import Self

import numpy as np

from ..._checks import integer
from .config import MeanFieldConfig


@dataclasses.dataclass(frozen=True)
class FiniteSize:
    r"""The raw numbers of one network of finite size, for whoever writes the training loop.

    Attributes:
        input_dim: $D$.
        width: $N$.
        samples: $P$ (the size of a batch for one-pass training), or `None` on the population.
        batch: samples used in one step, or `None` on the population.
        output_multiplier: $\sqrt D/(\gamma_0 N)$, in front of $w \cdot (W^{L-1}/\sqrt N) \cdots (W^0 x/\sqrt D)$.
        learning_rate: $\eta\gamma_0^2 N$, for the loss $\frac{1}{2P}\sum_\mu (y_\mu - f(x_\mu))^2$; one for each step.
    """

    input_dim: int
    width: int
    samples: int | None
    batch: int | None
    output_multiplier: float
    learning_rate: tuple[float, ...]

    @property
    def nu(self) -> float:
        """The ratio N/D after rounding to integers."""
        return self.width / self.input_dim

    @property
    def alpha(self) -> float:
        """The ratio P/D after rounding to integers."""
        return math.inf if self.samples is None else self.samples / self.input_dim


def finite_size(config: MeanFieldConfig, input_dim: int) -> FiniteSize:
    r"""Sizes, output multiplier and learning rates of the finite network that `config` stands for.

    Args:
        config: a configuration with finite `nu`.
        input_dim: $D$. Width and samples are rounded to the nearest integer; compare `nu` and `alpha` of the result.

    Raises:
        ValueError: `nu` is infinite, or `input_dim` so small that the width or the data round to nothing.

    Example:
        >>> size = finite_size(MeanFieldConfig.mup(T=10, L=2, eta=0.1, nu=0.5, alpha=2.0), 64)
        >>> size.width, size.samples, size.output_multiplier
        (32, 128, 0.25)
    """
    input_dim = integer(input_dim, "input_dim")
    if math.isinf(config.nu):
        raise ValueError("Argument `nu` must be finite for a network of finite size, but is inf.")
    width = round(config.nu * input_dim)
    samples = None if config.is_population else round(config.alpha * input_dim)
    batch = None if samples is None else round(config.batch_fraction * samples)
    for name, count in (("nu", width), ("alpha", samples), ("batch_fraction", batch)):
        if count == 0:
            value = getattr(config, name)
            raise ValueError(
                f"Argument `input_dim` must be large enough that {name} = {value:g} leaves something, "
                f"but is {input_dim}."
            )
    scale = config.gamma0**2 * width
    return FiniteSize(
        input_dim,
        width,
        samples,
        batch,
        math.sqrt(input_dim) / (config.gamma0 * width),
        tuple(float(rate) * scale for rate in config.rates),
    )


@dataclasses.dataclass(frozen=True)
class FiniteProblem:
    """The sizes of finite networks at the ratios of a configuration.

    Attributes:
        config: the configuration.
        D: input dimension; `N`: width; `P`: samples, of the training set or of one batch (0: population).
        batch: samples that each step draws from the training set, at most `P`.
        bins: (D,) the index of the eigenvalue that each input dimension has.
    """

    config: MeanFieldConfig
    D: int
    N: int
    P: int
    batch: int
    bins: np.ndarray

    @classmethod
    def of(cls, config: MeanFieldConfig, D: int) -> Self:
        """The sizes of `finite_size`, and a share of the dimensions for each eigenvalue."""
        size = finite_size(config, D)
        return cls(config, D, size.width, size.samples or 0, size.batch or 0, _bins(config, D))


def _bins(config: MeanFieldConfig, D: int) -> np.ndarray:
    """Dimensions shared out by `p`, the largest remainders rounded up."""
    _, p, _ = config.modes
    counts = np.floor(p * D + 1e-9).astype(int)
    missing = D - int(np.sum(counts))
    counts[np.argsort(-(p * D - counts), kind="stable")[:missing]] += 1
    if np.any((counts == 0) & (p > 0)):
        raise ValueError(
            f"Argument `D` must give every eigenvalue of `config` a dimension, but D={D} gives "
            f"{int(np.sum((counts == 0) & (p > 0)))} of {len(p)} none."
        )
    return np.repeat(np.arange(len(p)), counts)


@dataclasses.dataclass
class Fields:
    """What one probe of the networks sees; every array has the seeds in front."""

    g: list[np.ndarray]
    h: list[np.ndarray]
    vhat: np.ndarray
    gen: np.ndarray
    train: np.ndarray
    overlap: np.ndarray


def draw_networks(problem: FiniteProblem, streams) -> Networks:
    """Weights, teacher, inputs and noise of several seeds, each from its own stream."""
    config, D, N, P = problem.config, problem.D, problem.N, problem.P
    lam, _, teacher2 = config.modes
    std = config.init_std
    assert std is not None  # filled in by the configuration
    generators = [np.random.default_rng(stream) for stream in streams]
    shapes = [(N, D), *[(N, N)] * (config.L - 1), (N,)]
    weights = [
        s * np.stack([generator.standard_normal(shape) for generator in generators])
        for s, shape in zip(std, shapes, strict=True)
    ]
    teacher = np.stack([generator.standard_normal(D) for generator in generators])
    for k in range(len(lam)):
        here = problem.bins == k
        # The norm in each eigenspace is exact: b_k^2 for each of its dimensions.
        size = np.sqrt(np.mean(teacher[:, here] ** 2, axis=1, keepdims=True)) if np.any(here) else 1.0
        teacher[:, here] *= math.sqrt(teacher2[k]) / size
    networks = Networks(problem, generators, weights, teacher)
    if P and config.data == "fixed":
        networks.draw_samples()
    return networks


class Networks:
    """Several networks of one size, trained side by side. Mutable: `step` changes the weights in place."""

    def __init__(self, problem: FiniteProblem, generators, weights, teacher):
        self.problem = problem
        self.generators = generators
        self.weights = weights
        self.teacher = teacher
        self.spectrum = np.asarray(problem.config.lam)[problem.bins]
        self.inputs = self.noise = None
        self.velocity = [np.zeros_like(w) for w in weights] if problem.config.momentum else None
        self.buffers = [np.empty_like(w) for w in weights[:-1]]
        self.initial_beta = self._beta(self._backward()) if problem.config.centered else 0.0

    def draw_samples(self) -> None:
        """A fresh set of inputs (seeds, P, D) and noises (seeds, P)."""
        P, D = self.problem.P, self.problem.D
        scale = np.sqrt(self.spectrum)
        self.inputs = np.stack([one.standard_normal((P, D)) for one in self.generators]) * scale
        self.noise = self.problem.config.sigma * np.stack([one.standard_normal(P) for one in self.generators])

    def _inner(self, layer: int, field: np.ndarray, transposed: bool) -> np.ndarray:
        """One hidden matrix applied to a field, with the skip connection of a residual network."""
        config = self.problem.config
        weight = self.weights[layer]
        through = _apply(weight, field, transposed) / math.sqrt(self.problem.N)
        return through if config.residual is None else field + math.sqrt(config.branch2) * through

    def _backward(self) -> list[np.ndarray]:
        """The fields $g^1 … g^L$."""
        fields = [self.weights[-1]]
        for layer in range(self.problem.config.L - 1, 0, -1):
            fields.insert(0, self._inner(layer, fields[0], transposed=True))
        return fields

    def _beta(self, g: list[np.ndarray]) -> np.ndarray:
        """The end-to-end vectors (seeds, D)."""
        problem = self.problem
        scale = problem.config.gamma0 * math.sqrt(problem.N / problem.D) * math.sqrt(problem.N)
        return _apply(self.weights[0], g[0], transposed=True) / scale

    def probe(self) -> Fields:
        """Fields, residuals and losses of the present weights; draws the batch of this step."""
        problem, config = self.problem, self.problem.config
        D = problem.D
        g = self._backward()
        v = self.teacher - (self._beta(g) - self.initial_beta)
        gen = np.mean(self.spectrum * v**2, axis=1)
        if config.is_population:
            vhat = self.spectrum * v
            train = gen + config.sigma**2
        else:
            if config.data == "onepass":
                self.draw_samples()
            assert self.inputs is not None
            assert self.noise is not None
            residual = _apply(self.inputs, v, transposed=False) / math.sqrt(D) + self.noise
            train = np.mean(residual**2, axis=1)
            if problem.batch < problem.P:
                keep = np.zeros_like(residual)
                for row, generator in zip(keep, self.generators, strict=True):
                    row[generator.permutation(problem.P)[: problem.batch]] = 1.0
                residual = residual * keep
            # alpha b as it came out of rounding: the batch over D.
            vhat = _apply(self.inputs, residual, transposed=True) * (math.sqrt(D) / problem.batch)
        h = [_apply(self.weights[0], vhat, transposed=False) / math.sqrt(D)]
        for layer in range(1, config.L):
            h.append(self._inner(layer, h[-1], transposed=False))
        return Fields(g=g, h=h, vhat=vhat, gen=gen, train=train, overlap=self._overlap(v))

    def _overlap(self, v: np.ndarray) -> np.ndarray:
        """(seeds, modes) the share of the teacher that is left in each eigenspace."""
        count = len(self.problem.config.lam)
        result = np.zeros((len(v), count))
        for k in range(count):
            here = self.problem.bins == k
            size = np.sum(self.teacher[:, here] ** 2, axis=1)
            along = np.sum(v[:, here] * self.teacher[:, here], axis=1)
            result[:, k] = np.where(size > 0, along / np.where(size > 0, size, 1.0), 0.0)
        return result

    def step(self, fields: Fields, rate: float) -> None:
        """One update of all layers along the fields of `probe`."""
        problem, config = self.problem, self.problem.config
        lift = rate * config.gamma0
        block = 1.0 if config.residual is None else math.sqrt(config.branch2)
        # Row and column of each layer's rank-one update; of the read-out only the row.
        lefts = [fields.g[0] * (lift / math.sqrt(problem.D))]
        lefts += [fields.g[layer] * (lift * block / math.sqrt(problem.N)) for layer in range(1, config.L)]
        rights = [fields.vhat, *fields.h[:-1]]
        updates = []
        for left, right, buffer in zip(lefts, rights, self.buffers, strict=True):
            updates.append(np.multiply(left[:, :, None], right[:, None, :], out=buffer))
        updates.append(lift * fields.h[-1])
        for index, (weight, update) in enumerate(zip(self.weights, updates, strict=True)):
            if self.velocity is not None:
                self.velocity[index] *= config.momentum
                self.velocity[index] += update
                update = self.velocity[index]
            if config.weight_decay:
                weight *= 1.0 - rate * config.weight_decay
            weight += update


def _apply(matrices: np.ndarray, vectors: np.ndarray, transposed: bool) -> np.ndarray:
    """(seeds, n, m) times (seeds, m), or its transpose times (seeds, n)."""
    if transposed:
        return np.matmul(vectors[:, None, :], matrices)[:, 0, :]
    return np.matmul(matrices, vectors[:, :, None])[:, :, 0]
