"""`compare`: the mean-field prediction against finite networks, with errors that know their own uncertainty."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...display.displayed import Displayed
from ...display.text import one_line
from .plots import plot_against_networks
from .result import MeanFieldResult
from .simulation import Simulation

#: Where a curve has fallen below this share of its start, few slow networks carry the mean: not compared.
SMALLEST_SHARE = 0.01


@dataclasses.dataclass(frozen=True, eq=False)
class Deviation:
    """One quantity of the theory and of finite networks, at every time.

    Attributes:
        name: the quantity, as it is called in both results.
        predicted: (time,) the theory.
        mean: (time,) the mean over networks.
        standard_error: (time,) the standard error of that mean.
    """

    name: str
    predicted: np.ndarray
    mean: np.ndarray
    standard_error: np.ndarray

    @property
    def relative(self) -> np.ndarray:
        """(time,) `mean / predicted - 1`; NaN where the prediction is zero or below one percent of its start."""
        big = np.abs(self.predicted) > SMALLEST_SHARE * np.abs(self.predicted[0])
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(big, self.mean / self.predicted - 1.0, np.nan)

    @property
    def relative_error(self) -> np.ndarray:
        """(time,) the standard error of `relative`."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(np.isnan(self.relative), np.nan, self.standard_error / np.abs(self.predicted))

    @property
    def z(self) -> np.ndarray:
        """(time,) the deviation in standard errors; 0 where both agree without scatter."""
        gap = self.mean - self.predicted
        # Rounding of the prediction itself is no deviation.
        floor = 1e-14 * np.max(np.abs(self.predicted))
        return np.where(np.abs(gap) <= floor, 0.0, gap / np.maximum(self.standard_error, floor))

    @property
    def max_relative(self) -> float:
        """The largest absolute relative deviation, over the times that are compared."""
        return float(np.nanmax(np.abs(self.relative)))

    @property
    def max_z(self) -> float:
        """The largest deviation in standard errors, over all times."""
        return float(np.max(np.abs(self.z)))

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False)
class MeanFieldComparison(Displayed):
    """Theory against simulation, quantity by quantity.

    Attributes:
        theory: the prediction.
        simulation: the finite networks.
        deviations: one `Deviation` for each quantity, by name.
    """

    theory: MeanFieldResult
    simulation: Simulation
    deviations: dict[str, Deviation]

    def __getitem__(self, name: str) -> Deviation:
        return self.deviations[name]

    def rows(self) -> list[tuple[str, float, float, float]]:
        """Quantity, largest relative deviation, its standard error there, largest z."""
        result = []
        for name, one in self.deviations.items():
            where = int(np.nanargmax(np.abs(one.relative)))
            result.append((name, one.max_relative, float(one.relative_error[where]), one.max_z))
        return result

    _HEADER = ("quantity", "largest relative deviation", "standard error there", "largest z")

    def __repr__(self) -> str:
        worst = max(one.max_z for one in self.deviations.values())
        return f"MeanFieldComparison({self.simulation!r}, largest z {worst:.3g})"

    def _title(self) -> str:
        return "mean field against networks"

    def _facts(self) -> dict[str, str]:
        one = self.simulation
        return {
            "network": one.config.label,
            "simulated": f"D = {one.D}, N = {one.N}, P = {one.P}, {one.seeds} seeds",
        }

    def _tables(self) -> list[tuple[Any, ...]]:
        return [(self.rows(), self._HEADER, "lrrr")]

    def plot(self, ax=None, quantities: tuple[str, ...] = ("gen", "train")):
        """Theory as lines, networks as bands of two standard errors; returns the axes."""
        return plot_against_networks(self, ax, quantities)


def compare(theory: MeanFieldResult, simulation: Simulation) -> MeanFieldComparison:
    r"""How far the mean over finite networks is from the prediction, and whether chance explains it.

    Finite networks differ from the limit by a bias of order $1/D$, and single ones scatter by order $1/\sqrt D$.
    Quantities are compared while they exceed one percent of their start: afterwards a few slow networks carry the mean.

    Args:
        theory: the result of `solve`.
        simulation: the result of `simulate`, of at least two seeds, with the same configuration.

    Returns:
        A `MeanFieldComparison` of `gen`, `train`, `V`, and `H1` … `HL`, `G1` … `GL`.

    Raises:
        ValueError: the two have different configurations, or a network diverged while the theory did not.
    """
    if theory.config != simulation.config:
        raise ValueError(
            "Argument `simulation` must have the configuration of `theory`, but is of "
            f"{simulation.config.label} against {theory.config.label}."
        )
    length = len(theory.gen)
    if np.any(simulation.diverged) and not theory.diverged:
        raise ValueError(
            f"Argument `simulation` must stay finite, but {int(np.sum(simulation.diverged))} of {simulation.seeds} "
            "networks diverged: the learning rate is too close to the edge of stability for this `D`."
        )
    pairs: dict[str, tuple[Any, np.ndarray]] = {
        "gen": (theory.gen, simulation.gen),
        "train": (theory.train, simulation.train),
        "V": (theory.V, simulation.V),
    }
    for layer in range(theory.config.L):
        pairs[f"H{layer + 1}"] = (theory.H[layer], simulation.H[:, layer])
        pairs[f"G{layer + 1}"] = (theory.G[layer], simulation.G[:, layer])
    if simulation.seeds < 2:
        raise ValueError(
            f"Argument `simulation` must have at least 2 seeds, but has {simulation.seeds}: there is no standard error."
        )
    deviations = {}
    for name, (predicted, runs) in pairs.items():
        runs = runs[:, :length]
        error = np.std(runs, axis=0, ddof=1) / np.sqrt(len(runs))
        deviations[name] = Deviation(name, np.asarray(predicted), np.mean(runs, axis=0), error)
    return MeanFieldComparison(theory, simulation, deviations)
