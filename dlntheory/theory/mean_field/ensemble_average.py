r"""The average of infinitely many networks that differ in their initialisation only, trained on the same data."""

from __future__ import annotations

import numpy as np

from .sample_order_parameters import SampleOrderParameters
from .triangular_products import put_row, symmetric_times, times


class EnsembleAverage:
    r"""Covariance $C_v^{12}$ of the errors of two networks with the same data and independent initialisations.

    It obeys the equation of $C_v$ without $P_v$, and with $C_b^{12} = R_D (C_v^{12} + \sigma^2) R_D^\top$ in place of
    $C_b$; its diagonal is the test error of the averaged network. For one-pass training $C_b^{12}$ is
    diagonal; with minibatches the two networks draw their batches independently.

    Args:
        data: the data side, which must have done row t before `step(t)`.
    """

    def __init__(self, data: SampleOrderParameters):
        self.data = data
        self.Cv = np.zeros_like(data.Cv)
        self.Cb = np.zeros_like(data.Cv)

    def step(self, t: int) -> None:
        """Row t of both covariances."""
        data, n = self.data, t + 1
        row = np.zeros(n)
        for k, (lam, p, teacher2) in enumerate(zip(data.lam, data.p, data.teacher2, strict=True)):
            covariance = teacher2 * data.mean[k, t] * data.mean[k, :n]
            if data.is_sampled:
                u = data.U[k][t, :n]
                y = symmetric_times(self.Cb, u)
                covariance += (lam * data.inverse_alpha) * times(data.U[k], y)
            row += (p * lam) * covariance
        put_row(self.Cv, t, row)
        if data.RD is None:
            self.Cb[t, t] = row[t] + data.noise2
            return
        rd = data.RD[t, :n]
        seen = times(data.RD, symmetric_times(self.Cv, rd))
        put_row(self.Cb, t, seen + data.noise2 * data.row_sums[t] * data.row_sums[:n])
