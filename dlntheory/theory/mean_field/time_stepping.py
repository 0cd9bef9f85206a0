"""Causal time stepping: row t of every matrix from the rows before it, exactly, with no iteration and no sampling."""

from __future__ import annotations

import dataclasses

import numpy as np

from .config import MeanFieldConfig
from .ensemble_average import EnsembleAverage
from .fully_connected import FullyConnectedLayers
from .optimiser_memory import memory
from .residual_layers import ResidualLayers
from .sample_order_parameters import SampleOrderParameters

#: A test error this many times its start (or 1, if larger) counts as divergence.
CAP = 1e6


@dataclasses.dataclass
class TimeStepping:
    """The state of the time stepping: the matrices of both sides, filled up to `rows`.

    Attributes:
        layers: the hidden layers.
        data: the data side.
        ensemble: the average over initialisations, or `None`.
        rows: rows that are complete.
        diverged: whether row `rows` of the test error is infinite or above the cap.
    """

    layers: FullyConnectedLayers | ResidualLayers
    data: SampleOrderParameters
    ensemble: EnsembleAverage | None
    rows: int = 0
    diverged: bool = False

    @classmethod
    def of(cls, config: MeanFieldConfig, *, ensemble: bool) -> TimeStepping:
        """Nothing filled yet; allocates everything."""
        kernel, shrinkage = memory(config)
        kind = FullyConnectedLayers if config.residual is None else ResidualLayers
        layers = kind(config, kernel, shrinkage)
        data = SampleOrderParameters(config, kernel, shrinkage, layers)
        return cls(layers, data, EnsembleAverage(data) if ensemble else None)

    @staticmethod
    def memory_bytes(config: MeanFieldConfig, *, ensemble: bool) -> int:
        """What `of` will allocate."""
        kind = FullyConnectedLayers if config.residual is None else ResidualLayers
        matrices = 1 + kind.matrices(config) + SampleOrderParameters.matrices(config) + 2 * ensemble
        return 8 * matrices * config.T**2

    def advance(self) -> bool:
        """Fill the next row; `False`, and `diverged` set, if the test error left all bounds."""
        t = self.rows
        with np.errstate(over="ignore", invalid="ignore"):
            rg, g = self.layers.backward(t)
            response, v = self.data.step(t, rg, g)
            error = self.data.Cv[t, t]
            # Written so that NaN counts as divergence.
            if not error <= CAP * max(1.0, self.data.Cv[0, 0]):
                self.diverged = True
                return False
            self.layers.forward(t, response, v)
            if self.ensemble is not None:
                self.ensemble.step(t)
        self.rows += 1
        return True
