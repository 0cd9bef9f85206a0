r"""Sweeps of the mean-field theory over width, data, ways of using data, and depth: labelled curves, a figure each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from ...display.displayed import Displayed
from ...display.progress import collect
from .config import MeanFieldConfig
from .plots import plot_sweep
from .result import MeanFieldResult
from .solver import solve

WIDTHS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, math.inf)
AMOUNTS = (0.25, 0.5, 1.0, 2.0, 4.0, math.inf)
BLOCKS = (1, 2, 4, 8, 16, 32)


@dataclasses.dataclass(frozen=True, eq=False)
class Sweep(Displayed):
    r"""The theory along one parameter.

    Attributes:
        title: what is varied, in words.
        parameter: the name of the parameter.
        labels: one for each value, as it is printed.
        values: the values: numbers, or the labels themselves.
        results: one `MeanFieldResult` for each value.
        interrupted: whether the user stopped it: the values are those that were finished.
    """

    title: str
    parameter: str
    labels: tuple[str, ...]
    values: tuple[Any, ...]
    results: tuple[MeanFieldResult, ...]
    interrupted: bool = False

    def __getitem__(self, value: Any) -> MeanFieldResult:
        return self.results[self.values.index(value)]

    def curves(self, name: str = "gen") -> np.ndarray:
        """(values, time) one curve for each value; NaN after a divergence."""
        return np.stack([_padded(np.asarray(getattr(one, name)), one.config.T) for one in self.results])

    @property
    def best(self) -> tuple[tuple[int, float], ...]:
        """For each value the time of the smallest test error, and that error: the best moment to stop."""
        return tuple((int(np.argmin(one.gen)), float(np.min(one.gen))) for one in self.results)

    def table(self, times: Sequence[int] | None = None, name: str = "gen") -> list[tuple[Any, ...]]:
        """Rows of one quantity at some times, by default five from the first to the last."""
        curves = self.curves(name)
        chosen = self._times(times)
        return [(label, *curves[row, chosen]) for row, label in enumerate(self.labels)]

    def _times(self, times: Sequence[int] | None) -> list[int]:
        last = min(one.config.T for one in self.results) - 1
        if times is None:
            return sorted({round(last * share) for share in (0.0, 0.1, 0.25, 0.5, 1.0)})
        if bad := [t for t in times if not 0 <= t <= last]:
            raise ValueError(f"Argument `times` must be between 0 and {last}, but has {bad}.")
        return [int(t) for t in times]

    def _title(self) -> str:
        return f"{self.title}: gen{' (interrupted)' if self.interrupted else ''}"

    def _tables(self) -> list[tuple[Any, ...]]:
        header = (self.parameter, *(f"t = {t}" for t in self._times(None)))
        return [(self.table(), header, "l" + "r" * (len(header) - 1))]

    def __repr__(self) -> str:
        mark = "; interrupted" if self.interrupted else ""
        return f"Sweep({self.title}: {', '.join(self.labels)}{mark})"

    def to_xarray(self):
        """An `xarray.Dataset` with the dimensions of the parameter and of time, in steps."""
        import xarray

        names = ("gen", "train", "bias", "alignment")
        data = {name: ((self.parameter, "step"), self.curves(name)) for name in names}
        steps = np.arange(self.results[0].config.T)
        coordinates = {
            self.parameter: list(self.values),
            "step": ("step", steps, {"units": "optimiser steps"}),
        }
        return xarray.Dataset(data, coordinates, {"title": self.title})

    def plot(self, ax=None, name: str = "gen", **style: Any):
        """One curve for each value; returns the axes."""
        return plot_sweep(self, ax, name, **style)


def sweep(
    title: str, parameter: str, configs: Mapping[Any, MeanFieldConfig], *, progress: bool | None = None
) -> Sweep:
    """Solve the theory for several configurations of one length and keep them under their values.

    Ctrl-C returns the values that are done, with `interrupted` set; before the first one it propagates.

    Args:
        title: what is varied, in words.
        parameter: the name of the parameter, the dimension of the labelled data.
        configs: a configuration for each value, numbers or words.
        progress: show a bar; by default on a terminal and in a notebook.

    Raises:
        ValueError: no configuration, or different lengths `T`.
    """
    if len({config.T for config in configs.values()}) != 1:
        raise ValueError(
            f"Argument `configs` must have one length T, but has {sorted({c.T for c in configs.values()})}."
        )
    results, interrupted = collect(
        lambda config: solve(config, progress=False), configs.values(), title, unit="value", progress=progress
    )
    values = tuple(configs)[: len(results)]
    labels = tuple(value if isinstance(value, str) else f"{value:g}" for value in values)
    return Sweep(title, parameter, labels, values, tuple(results), interrupted)


def width_sweep(
    config: MeanFieldConfig, widths: Iterable[float] = WIDTHS, *, progress: bool | None = None
) -> Sweep:
    r"""The same training at several widths $\nu = N/D$, in mean-field parameterisation.

    With population data the test error falls with the width at every time. With a noisy training set this holds early
    and for the best stopping time, but reverses late: wide networks fit the noise sooner.
    """
    return sweep("width", "nu", {float(nu): config.replace(nu=nu) for nu in widths}, progress=progress)


def data_sweep(
    config: MeanFieldConfig, amounts: Iterable[float] = AMOUNTS, *, progress: bool | None = None
) -> Sweep:
    r"""The same training with several amounts of data $\alpha = P/D$; `.best` is the early-stopping point of each."""
    configs = {float(a): config.replace(alpha=a) for a in amounts}
    return sweep("amount of data", "alpha", configs, progress=progress)


def data_modes(
    config: MeanFieldConfig,
    batch: float = 0.5,
    amounts: Sequence[float] = (10.0, 2.0),
    *,
    progress: bool | None = None,
) -> Sweep:
    r"""Fresh samples at every step against repeated ones, at one batch size.

    Args:
        config: the network; its data settings are replaced.
        batch: batch size over D.
        amounts: sizes of the training sets over D, each at least `batch`.
        progress: as in `sweep`.

    Returns:
        A sweep over `"population"`, `"one pass"`, minibatches of each training set, the last set in full batches, and
        one batch repeated for ever.
    """
    if bad := [amount for amount in amounts if amount < batch]:
        raise ValueError(f"Argument `amounts` must be at least `batch`, {batch:g}, but has {bad}.")
    plain = config.replace(data="fixed", batch_fraction=1.0, alpha=math.inf)
    configs = {"population": plain, f"one pass, batch {batch:g}": plain.replace(data="onepass", alpha=batch)}
    for amount in amounts:
        name = f"minibatch {batch:g} of {amount:g}"
        configs[name] = plain.replace(alpha=amount, batch_fraction=batch / amount)
    configs[f"full batch {amounts[-1]:g}"] = plain.replace(alpha=amounts[-1])
    configs[f"one batch {batch:g} repeated"] = plain.replace(alpha=batch)
    return sweep("online against repeated data", "data", configs, progress=progress)


def depth_sweep(
    config: MeanFieldConfig, blocks: Iterable[int] = BLOCKS, *, progress: bool | None = None
) -> Sweep:
    r"""Residual networks of several depths, the branches scaled by $1/\sqrt{\text{blocks}}$.

    Raises:
        ValueError: `config` is no residual network.
    """
    if config.residual is None:
        raise ValueError("Argument `config` must be a residual network (`residual=`), but is a plain one.")
    configs = {int(n): config.replace(L=int(n) + 1) for n in blocks}
    return sweep("residual depth", "blocks", configs, progress=progress)


def depth_deviation(found: Sweep) -> dict[int, float]:
    r"""Largest relative distance of each depth from the limit, extrapolated as $2\,x(n) - x(n/2)$ from the deepest two.

    Halves when the depth doubles: the limit is approached at rate 1/blocks.

    Raises:
        ValueError: the deepest network is not twice as deep as the one before, so that nothing can be extrapolated.
    """
    if len(found.values) < 2 or found.values[-1] != 2 * found.values[-2]:
        raise ValueError(f"Argument `found` must end with n/2 and n blocks, but has {found.values}.")
    curves = found.curves("gen")
    limit = 2.0 * curves[-1] - curves[-2]
    return {
        n: float(np.max(np.abs(curve / limit - 1.0))) for n, curve in zip(found.values, curves, strict=True)
    }


def _padded(curve: np.ndarray, length: int) -> np.ndarray:
    return np.concatenate([curve, np.full(length - len(curve), np.nan)])
