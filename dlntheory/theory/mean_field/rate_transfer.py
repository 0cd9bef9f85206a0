r"""The best learning rate, and whether it transfers: across width in two parameterisations, across depth."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ..._checks import real_number
from ..._errors import NotApplicableError
from ...display.displayed import Displayed
from ...display.progress import collect, progress_bar, whole_runs
from .config import MeanFieldConfig
from .plots import plot_rate_transfer
from .solver import solve


class DivergesError(NotApplicableError):
    """Every learning rate of the grid diverges."""


class GridEndError(NotApplicableError):
    """The smallest error is at an end of the grid of learning rates, so that the best rate may lie outside.

    Attributes:
        gen: the error at that end.
    """

    def __init__(self, message: str, *, gen: float):
        super().__init__(message, measured=gen)
        self.gen = gen


@dataclasses.dataclass(frozen=True)
class BestRate:
    """The learning rate with the smallest test error after a number of updates.

    Attributes:
        eta: the rate.
        gen: the test error there.
        grid: the rates that were tried first, and their errors; infinite where training diverged.
    """

    eta: float
    gen: float
    grid: tuple[tuple[float, float], ...]


def best_rate(
    config: MeanFieldConfig,
    lowest: float = 0.01,
    highest: float = 1.5,
    *,
    factor: float = 1.05,
    progress: bool | None = None,
) -> BestRate:
    r"""The constant learning rate that minimises the test error at the last time of `config`.

    A geometric grid finds the valleys of $\log$ gen, a bounded search inside each deep one its minimum.
    Divergence counts as an infinite error. About 150 solutions of the theory. Ctrl-C propagates: half
    a grid has no best rate.

    Args:
        config: the training; its `eta` is ignored. The error is read after `T - 1` updates.
        lowest: smallest rate of the grid.
        highest: largest rate of the grid.
        factor: between neighbouring rates; near the edge of stability valleys can be as narrow as 1.05.
        progress: count the solutions; by default on a terminal and in a notebook.

    Raises:
        ValueError: a grid that does not rise.
        GridEndError: the best rate lies at an end of the grid; the message says which way to widen it.
        DivergesError: every rate of the grid diverges.
    """
    lowest = real_number(lowest, "lowest", above=0)
    highest = real_number(highest, "highest", above=lowest)
    factor = real_number(factor, "factor", above=1)
    # How many solutions the bounded searches take is not known.
    with progress_bar(None, "learning rates", unit=" solutions", progress=progress) as bar:

        def final_error(eta: float) -> float:
            bar.update()
            return _final_error(config, eta)

        with whole_runs():
            return _best(final_error, lowest, highest, factor)


def _best(final_error: Callable[[float], float], lowest: float, highest: float, factor: float) -> BestRate:
    from scipy.optimize import minimize_scalar

    count = max(3, 1 + math.ceil(math.log(highest / lowest) / math.log(factor)))
    grid = np.geomspace(lowest, highest, count)
    errors = np.array([final_error(float(eta)) for eta in grid])
    if not np.any(np.isfinite(errors)):
        raise DivergesError(
            f"Argument `lowest` must be a rate that trains, but every rate from {lowest:g} to {highest:g} diverges."
        )
    place = int(np.argmin(errors))
    if place in (0, count - 1):
        end = "lowest" if place == 0 else "highest"
        raise GridEndError(
            f"Argument `{end}` must leave the best rate inside the grid, but the smallest error is at its end, "
            f"eta = {grid[place]:.3g}: take a {'smaller' if place == 0 else 'larger'} one.",
            gen=float(errors[place]),
        )
    tried = {math.log(eta): error for eta, error in zip(grid, errors, strict=True)}

    def objective(log_eta: float) -> float:
        error = final_error(math.exp(log_eta))
        tried[log_eta] = error
        # The bounded search needs finite numbers; anything above every error of the grid will do.
        return math.log(error) if 0 < error < math.inf else 1e3

    # The error of an unstable training oscillates with the rate: every valley of the grid is searched.
    inner = [
        k for k in range(1, count - 1) if errors[k] <= min(errors[k - 1], errors[k + 1], 10 * errors[place])
    ]
    for k in inner:
        bounds = (math.log(grid[k - 1]), math.log(grid[k + 1]))
        minimize_scalar(objective, bounds=bounds, method="bounded", options={"xatol": 1e-4})
    best = min(tried, key=lambda key: tried[key])
    return BestRate(math.exp(best), tried[best], tuple(zip(grid.tolist(), errors.tolist(), strict=True)))


def _final_error(config: MeanFieldConfig, eta: float) -> float:
    result = solve(config.replace(eta=eta), warn=False, progress=False)
    error = math.inf if result.diverged else float(result.gen[-1])
    return error if error > 0 else math.inf


@dataclasses.dataclass(frozen=True, eq=False)
class RateTransfer(Displayed):
    """Best learning rates along a parameter, for one or more ways of scaling.

    Attributes:
        parameter: what is varied.
        values: its values.
        rates: for each way of scaling, one `BestRate` for each value; `None` where nothing trained.
        interrupted: whether the user stopped it: the values are those that were finished.
    """

    parameter: str
    values: tuple[float, ...]
    rates: Mapping[str, tuple[BestRate | None, ...]]
    interrupted: bool = False

    def etas(self, name: str) -> np.ndarray:
        """(values,) the best rates of one way of scaling; NaN where nothing trained."""
        return np.array([math.nan if one is None else one.eta for one in self.rates[name]])

    def ratio(self, name: str, value: float, reference: float) -> float:
        """Best rate at one value over that at another: 1 is perfect transfer."""
        etas = self.etas(name)
        return float(etas[self.values.index(value)] / etas[self.values.index(reference)])

    def _rows(self) -> tuple[list[tuple[Any, ...]], tuple[str, ...]]:
        names = tuple(self.rates)
        header = (self.parameter, *(f"{name}: {what}" for name in names for what in ("best eta", "gen")))
        rows = []
        for place, value in enumerate(self.values):
            cells: list[Any] = [f"{value:g}"]
            for name in names:
                one = self.rates[name][place]
                cells += ["-", "-"] if one is None else [one.eta, one.gen]
            rows.append(tuple(cells))
        return rows, header

    def _title(self) -> str:
        return f"best learning rates along {self.parameter}{' (interrupted)' if self.interrupted else ''}"

    def _tables(self) -> list[tuple[Any, ...]]:
        rows, header = self._rows()
        return [(rows, header, "l" + "r" * (len(header) - 1))]

    def __repr__(self) -> str:
        values = ", ".join(f"{value:g}" for value in self.values)
        mark = "; interrupted" if self.interrupted else ""
        return f"RateTransfer({self.parameter} = {values}; {', '.join(self.rates)}{mark})"

    def to_xarray(self):
        """An `xarray.Dataset` of `eta` and `gen` with the dimensions of scaling and parameter."""
        import xarray

        dims = ("scaling", self.parameter)
        errors = [[math.nan if one is None else one.gen for one in row] for row in self.rates.values()]
        data = {
            "eta": (dims, np.stack([self.etas(name) for name in self.rates])),
            "gen": (dims, np.array(errors)),
        }
        return xarray.Dataset(data, {"scaling": list(self.rates), self.parameter: list(self.values)})

    def plot(self, ax=None, **style: Any):
        """Best rates against the parameter; returns the axes."""
        return plot_rate_transfer(self, ax, **style)


def width_transfer(
    config: MeanFieldConfig,
    widths: Iterable[float] = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0),
    *,
    gamma: float = 4.0,
    lowest: float = 0.01,
    highest: float = 1.5,
    factor: float = 1.05,
    progress: bool | None = None,
) -> RateTransfer:
    r"""Best learning rates by width, $\gamma_0$ fixed (μP) against $\gamma_0 = \gamma/\sqrt\nu$ (NTK parameterisation).

    Ctrl-C returns the widths that are done, with `interrupted` set; before the first one it propagates.

    Args:
        config: the training in μP; `nu` and `eta` are replaced.
        widths: values of $\nu$, finite.
        gamma: richness of the NTK parameterisation.
        lowest: smallest rate tried.
        highest: largest rate tried.
        factor: see `best_rate`.
        progress: show a bar; by default on a terminal and in a notebook.
    """

    def rate(nu: float, **change: float) -> BestRate:
        return best_rate(config.replace(nu=nu, **change), lowest, highest, factor=factor, progress=False)

    ways = {"muP": rate, "NTK": lambda nu: rate(nu, gamma0=gamma / math.sqrt(nu))}
    return _transfer("nu", tuple(float(nu) for nu in widths), ways, progress)


def depth_transfer(
    config: MeanFieldConfig,
    blocks: Iterable[int] = (1, 2, 4, 8, 16),
    *,
    fixed_branch: float = 0.5,
    lowest: float = 1e-3,
    highest: float = 1.5,
    factor: float = 1.1,
    progress: bool | None = None,
) -> RateTransfer:
    r"""Best learning rates by depth: branches scaled by $1/\sqrt{\text{blocks}}$, branches of a fixed scale, no skips.

    Ctrl-C returns the depths that are done, with `interrupted` set; before the first one it propagates.

    Args:
        config: the training, with `residual` the branch scale b; `L` and `eta` are replaced.
        blocks: numbers of residual blocks; the plain networks have the same number of matrices.
        fixed_branch: scale of the branches that do not shrink with depth.
        lowest: smallest rate tried.
        highest: largest rate tried.
        factor: see `best_rate`.
        progress: show a bar; by default on a terminal and in a notebook.

    Returns:
        Rates under `"scaled"`, `"fixed"` and `"plain"`; `None` where no rate of the grid brings the error below its
        start.

    Raises:
        ValueError: `config` is no residual network, or a grid that does not rise.
        GridEndError: a network trains, but its best rate lies at an end of the grid.
    """
    if config.residual is None:
        raise ValueError("Argument `config` must be a residual network (`residual=`), but is a plain one.")

    def rate(n: float, **change: float | None) -> BestRate | None:
        deep = config.replace(L=int(n) + 1, **change)
        start = float(solve(deep.replace(T=1), warn=False, progress=False).gen[0])
        try:
            best = best_rate(deep, lowest, highest, factor=factor, progress=False)
        except DivergesError:
            return None
        except GridEndError as end:
            if end.gen < start:
                raise
            return None
        return best if best.gen < start else None

    ways = {
        "scaled": rate,
        "fixed": lambda n: rate(n, residual=fixed_branch * math.sqrt(n)),
        "plain": lambda n: rate(n, residual=None),
    }
    return _transfer("blocks", tuple(float(int(n)) for n in blocks), ways, progress)


def _transfer(
    parameter: str,
    values: tuple[float, ...],
    ways: Mapping[str, Callable[[float], BestRate | None]],
    progress: bool | None,
) -> RateTransfer:
    """Value by value, so that an interrupt leaves whole rows."""
    rows, interrupted = collect(
        lambda value: [rate(value) for rate in ways.values()],
        values,
        "best rates",
        unit="value",
        progress=progress,
    )
    rates = {name: tuple(row[place] for row in rows) for place, name in enumerate(ways)}
    return RateTransfer(parameter, values[: len(rows)], rates, interrupted)
