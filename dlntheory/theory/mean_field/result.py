r"""`MeanFieldResult`: what the theory predicts at each training time, as read-only NumPy arrays with their names."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ...display.displayed import Displayed
from ...display.text import format_number, one_line
from .config import MeanFieldConfig

TABLE_ROWS = 7


@dataclasses.dataclass(frozen=True, eq=False)
class TwoTime:
    r"""The matrices at pairs of times.

    Attributes:
        Cv: (time, time) $C_v(t,s) = \frac1D \sum_k \lambda_k v_k(t) v_k(s)$, $v = \beta_* - \beta$.
        Cd: (time, time) $C_d(t,s) = \frac1P \sum_\mu \Delta_\mu(t) \Delta_\mu(s)$, the residuals on the training data.
        V: (time, time) $V = \hat v \cdot \hat v/D$, $\hat v$ the direction in which the data probe the network.
        H: (layer, time, time) $H^l = h^l \cdot h^l/N$, forward fields in that direction.
        G: (layer, time, time) $G^l = g^l \cdot g^l/N$, backward fields.
    """

    Cv: np.ndarray
    Cd: np.ndarray
    V: np.ndarray
    H: np.ndarray
    G: np.ndarray

    def __repr__(self) -> str:
        return one_line(self)


@dataclasses.dataclass(frozen=True, eq=False)
class MeanFieldResult(Displayed):
    r"""Training curves of an infinitely large network. Times are $t = 0 \dots$, in updates.

    Attributes:
        config: what was solved.
        gen: (time,) noise-free test error $E_x (\beta_* \cdot x/\sqrt D - f)^2$; far below 1e-15 it is rounding.
        train: (time,) mean squared residual on the training data; for one-pass training on the batch about to be used.
        bias: (time,) the part of `gen` that averaging over data and initialisations would leave.
        alignment: (time,) cosine of $\beta$ and $\beta_*$ in the metric of the input covariance; 0 where $\beta = 0$.
        V: (time,) $V(t,t)$, squared size of the probed direction.
        H: (layer, time) $H^l(t,t)$, squared size of the forward fields of the hidden layers.
        G: (layer, time) $G^l(t,t)$, squared size of the backward fields.
        ensemble: (time,) test error of the average over initialisations at fixed data, or `None`.
        two_time: the matrices at pairs of times, or `None`.
        diverged_at: the update after which the test error was infinite or above the cap (1e6, or that many times the
            start where it is larger), or `None`. The curves then end one time earlier.
        interrupted: whether the user stopped it before its end; the curves are then complete up to there.
        seconds: wall time of the computation.
    """

    config: MeanFieldConfig
    gen: np.ndarray
    train: np.ndarray
    bias: np.ndarray
    alignment: np.ndarray
    V: np.ndarray
    H: np.ndarray
    G: np.ndarray
    ensemble: np.ndarray | None = None
    two_time: TwoTime | None = None
    diverged_at: int | None = None
    interrupted: bool = False
    seconds: float = 0.0

    def __post_init__(self):
        arrays = [self, self.two_time] if self.two_time is not None else [self]
        for holder in arrays:
            for field in dataclasses.fields(holder):
                value = getattr(holder, field.name)
                if isinstance(value, np.ndarray):
                    value.setflags(write=False)

    def __len__(self) -> int:
        return len(self.gen)

    @property
    def times(self) -> np.ndarray:
        """(time,) number of updates."""
        return np.arange(len(self))

    @property
    def test(self) -> np.ndarray:
        r"""(time,) test error on noisy labels, `gen` + $\sigma^2$."""
        return self.gen + self.config.sigma**2

    @property
    def diverged(self) -> bool:
        """Whether training left all bounds. Not an error: the curves are truncated."""
        return self.diverged_at is not None

    @property
    def best_stop(self) -> tuple[int, float]:
        """The time at which `gen` is smallest, and its value there.

        Raises:
            ValueError: nothing was computed.
        """
        if not len(self):
            raise ValueError("A result must have at least one time for a best one, but has none.")
        t = int(np.argmin(self.gen))
        return t, float(self.gen[t])

    def to_dict(self) -> dict[str, Any]:
        """Configuration and curves by name, in plain types; two-time matrices by name if they were kept."""
        curves = {name: value.tolist() for name, value in self._curves().items()}
        pairs = {}
        if self.two_time is not None:
            pairs = {
                field.name: getattr(self.two_time, field.name).tolist()
                for field in dataclasses.fields(self.two_time)
            }
        return {
            "config": self.config.to_dict(),
            **curves,
            **({"two_time": pairs} if pairs else {}),
            "diverged": self.diverged,
            "diverged_at": self.diverged_at,
            "interrupted": self.interrupted,
        }

    def to_xarray(self):
        """A labelled `xarray.Dataset` with dimensions `time`, `layer` (from 1) and, for pairs, `time_2`."""
        import xarray as xr

        dims = {
            name: ("layer", "time") if value.ndim == 2 else ("time",)
            for name, value in self._curves().items()
        }
        variables: dict[str, Any] = {name: (dims[name], value) for name, value in self._curves().items()}
        if self.two_time is not None:
            for field in dataclasses.fields(self.two_time):
                value = getattr(self.two_time, field.name)
                pair = ("time", "time_2")
                variables[f"two_time_{field.name}"] = (("layer", *pair) if value.ndim == 3 else pair, value)
        attributes = {
            name: str(value) if value is None or isinstance(value, bool) else value
            for name, value in self.config.to_dict().items()
        }
        coordinates = {"time": self.times, "layer": np.arange(1, self.config.L + 1)}
        if self.two_time is not None:
            coordinates["time_2"] = self.times
        state = {"diverged": str(self.diverged), "interrupted": str(self.interrupted)}
        return xr.Dataset(variables, coords=coordinates, attrs=attributes | state)

    def __repr__(self) -> str:
        last = f", gen {self.gen[0]:.4g} -> {self.gen[-1]:.4g}" if len(self) else ""
        return f"MeanFieldResult({self.config.label}, {len(self)} times{last}{self._ending(', ')})"

    def _title(self) -> str:
        return f"mean field of {self.config.label}"

    def _tables(self) -> list[tuple[Any, ...]]:
        return [self._table()] if len(self) else []

    def _table(self) -> tuple[list[tuple[Any, ...]], tuple[str, ...], str]:
        chosen = np.unique(np.linspace(0, len(self) - 1, TABLE_ROWS).round().astype(int))
        rows = [
            (
                int(t),
                *(format_number(float(curve[t]), 5) for curve in (self.gen, self.train, self.alignment)),
                *(format_number(float(curve[t]), 5) for curve in (self.H[-1], self.G[0])),
            )
            for t in chosen
        ]
        headers = ("t", "gen", "train", "alignment", f"H^{self.config.L}", "G^1")
        return rows, headers, "rrrrrr"

    def _curves(self) -> dict[str, np.ndarray]:
        names = ("gen", "train", "bias", "alignment", "V", "H", "G")
        curves = {name: getattr(self, name) for name in names}
        return curves if self.ensemble is None else curves | {"ensemble": self.ensemble}

    def _ending(self, before: str) -> str:
        if self.diverged:
            return f"{before}diverged at update {self.diverged_at}"
        return f"{before}interrupted" if self.interrupted else ""

    def _facts(self) -> list[tuple[str, str]]:
        config = self.config
        rates = config.rates
        rate = f"{rates[0]:g}" if np.ptp(rates) == 0 else f"schedule, {np.min(rates):g} to {np.max(rates):g}"
        rows = [
            ("network", config.label),
            ("learning rate", rate + "".join(_extras(config))),
            ("label noise", f"sigma {config.sigma:g}"),
            ("times", f"{len(self)} of {config.T}{self._ending(', ')}"),
        ]
        if len(self):
            t, value = self.best_stop
            rows += [
                ("gen", f"{self.gen[0]:.6g} -> {self.gen[-1]:.6g}, smallest {value:.6g} at t = {t}"),
                ("train", f"{self.train[0]:.6g} -> {self.train[-1]:.6g}"),
            ]
        return [*rows, ("seconds", format_number(self.seconds, 3))]


def _extras(config: MeanFieldConfig) -> list[str]:
    extras = []
    if config.momentum:
        extras.append(f", momentum {config.momentum:g}")
    if config.weight_decay:
        extras.append(f", weight decay {config.weight_decay:g}")
    if config.centered:
        extras.append(", centred output")
    if len(config.lam) > 1:
        extras.append(f", {len(config.lam)} eigenvalues")
    return extras
