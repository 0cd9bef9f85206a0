r"""`solve`: from a configuration to its training curves."""

from __future__ import annotations

import time
import warnings

import numpy as np

from ..._checks import real_number
from ...display.progress import keeps_partial, progress_bar
from .config import MeanFieldConfig
from .result import MeanFieldResult, TwoTime
from .stability import advice
from .time_stepping import TimeStepping


def solve(
    config: MeanFieldConfig,
    *,
    two_time: bool = False,
    ensemble: bool = False,
    memory_limit: float = 4e9,
    progress: bool | None = None,
    warn: bool = True,
) -> MeanFieldResult:
    r"""Solve the dynamical mean-field theory of discrete gradient descent: exactly, in one causal pass over time.

    Every single-site process of the infinite network is linear in Gaussian fields and strictly causal. The theory is
    therefore a set of $T \times T$ causal matrices (responses and covariances), and row $t$ follows from the rows
    before it. Nothing is iterated, damped or sampled; for the step size that is used the result is exact.

    Args:
        config: network, data and optimiser.
        two_time: keep the covariances at pairs of times.
        ensemble: compute also the test error of the average over initialisations at fixed data.
        memory_limit: refuse, before allocating, a run that needs more bytes than this.
        progress: show a bar; by default on a terminal and in a notebook.
        warn: warn of configurations whose result is likely to be misread (see `advice`).

    Returns:
        a `MeanFieldResult`. If training diverges, its curves are truncated and `diverged` is set; if the user
        interrupts, `interrupted` is.

    Raises:
        ValueError: the run needs more memory than `memory_limit`; the message says how much.

    Validity:
        The limit of input dimension, width and data to infinity at fixed ratios. A single network of input dimension
        $D$ scatters around it by about $2/\sqrt D$ (relative), its mean is off by $O(1/D)$. Beyond the edge of
        stability those differences grow exponentially, and no finite network agrees for long. Time grows as $T^3$.

    References:
        [bordelon2025deep] (the theory; re-derived here for discrete steps).

    Example:
        >>> config = MeanFieldConfig(T=11, L=2, eta=0.05, nu=1.0, alpha=2.0, sigma=0.5)
        >>> result = solve(config, ensemble=True)
        >>> print(f"one network {result.gen[10]:.4f}, average of all {result.ensemble[10]:.4f}")
        one network 0.5246, average of all 0.2960
    """
    if not isinstance(config, MeanFieldConfig):
        raise TypeError(f"Argument `config` must be a MeanFieldConfig, but is a {type(config).__name__}.")
    limit = real_number(memory_limit, "memory_limit", above=0, finite=False)
    needed = TimeStepping.memory_bytes(config, ensemble=ensemble)
    if needed > limit:
        raise ValueError(
            f"Argument `T` must be so small that the run fits into memory_limit = {limit / 1e9:.3g} GB, "
            f"but T = {config.T} needs about {needed / 1e9:.3g} GB. Take larger steps, or raise the limit."
        )
    if warn:
        for line in advice(config):
            warnings.warn(line, stacklevel=2)
    begin = time.perf_counter()
    march = TimeStepping.of(config, ensemble=ensemble)
    interrupted = _run(march, config.T, progress)
    seconds = time.perf_counter() - begin
    return _collect(config, march, two_time, interrupted, seconds)


def _run(march: TimeStepping, steps: int, progress: bool | None) -> bool:
    """Fill all rows; returns whether the user interrupted."""
    with progress_bar(steps, "mean field", unit=" rows", progress=progress) as bar:
        try:
            while march.rows < steps and march.advance():
                bar.update()
        except KeyboardInterrupt:
            if not keeps_partial():
                raise
            return True
    return False


def _collect(
    config: MeanFieldConfig, march: TimeStepping, two_time: bool, interrupted: bool, seconds: float
) -> MeanFieldResult:
    rows, layers, data = march.rows, march.layers, march.data
    diagonal = lambda matrix: np.diagonal(matrix)[:rows].copy()
    stacked = lambda matrices: np.stack([diagonal(matrix) for matrix in matrices])
    fields = [basis.matrix(changes, rows) for basis, changes in zip(layers.bases, layers.G, strict=True)]
    lam, p, teacher2 = config.modes
    mean = data.mean[:, :rows]
    signal = p * lam * teacher2
    gen = diagonal(data.Cv)
    pairs = None
    if two_time:
        square = lambda matrix: matrix[:rows, :rows].copy()
        pairs = TwoTime(
            Cv=square(data.Cv),
            Cd=data.two_time_residuals(rows),
            V=square(layers.V),
            H=np.stack([square(matrix) for matrix in layers.H]),
            G=np.stack(fields),
        )
    return MeanFieldResult(
        config=config,
        gen=gen,
        train=data.train[:rows].copy(),
        bias=signal @ mean**2,
        alignment=_alignment(np.sum(signal), signal @ mean, gen),
        V=diagonal(layers.V),
        H=stacked(layers.H),
        G=stacked(fields),
        ensemble=None if march.ensemble is None else diagonal(march.ensemble.Cv),
        two_time=pairs,
        diverged_at=rows if march.diverged else None,
        interrupted=interrupted,
        seconds=seconds,
    )


def _alignment(teacher: float, mean: np.ndarray, gen: np.ndarray) -> np.ndarray:
    """Cosine of beta and beta* from |beta*|^2, E beta*.v and |v|^2 in the metric of the input covariance."""
    learned = teacher * (teacher - 2.0 * mean + gen)
    is_defined = learned > 0
    return np.where(is_defined, (teacher - mean) / np.sqrt(np.where(is_defined, learned, 1.0)), 0.0)
