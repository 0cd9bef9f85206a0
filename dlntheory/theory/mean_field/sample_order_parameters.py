r"""Order parameters of the samples: the error $v = \beta_* - \beta$ and its image $\hat v$ in the training set."""

from __future__ import annotations

import math

import numpy as np

from .config import MeanFieldConfig
from .fully_connected import FullyConnectedLayers
from .residual_layers import ResidualLayers
from .triangular_products import put_row, row_times, symmetric_times, times


class SampleOrderParameters:
    r"""Processes of one input direction in each eigenspace $k$ (share $p_k$, eigenvalue $\lambda_k$, teacher $b_k^2$).

    $$v_k = \beta_{*k} - \rho - B \hat v_k, \qquad
    \hat v_k = \sqrt{\lambda_k/\alpha}\, \zeta + \lambda_k R_D v_k, \qquad
    \rho \sim N(0, P_v), \quad \zeta \sim N(0, C_b),$$

    with $B = \theta_0 \circ R_g^1/\gamma_0 + k \circ G^1$ and $P_v = \theta_0 \circ G^1/(\gamma_0^2 \nu)$. Stored for
    each mode are $M_k = (1 + \lambda_k B R_D)^{-1}$ (finite `nu`) and $U_k = -M_k B$ (finite `alpha`); with
    $C_2 = \sum_k p_k \lambda_k^2\, \mathrm{cov}(v_k)$ and $N = R_D \sum_k (p_k \lambda_k^2/\alpha)\, U_k$,

    $$V = \Big(\sum_k p_k \lambda_k/\alpha\Big) C_b + N C_b + C_b N^\top + R_D C_2 R_D^\top, \qquad
    \bar R = R_D \sum_k p_k \lambda_k M_k .$$

    Args:
        config: the configuration.
        kernel: (T, T) the optimiser's $k$.
        shrinkage: (T,) its $d$.
        layers: the hidden layers, which have done the backward row t before `step(t)`.
    """

    def __init__(
        self,
        config: MeanFieldConfig,
        kernel: np.ndarray,
        shrinkage: np.ndarray,
        layers: FullyConnectedLayers | ResidualLayers,
    ):
        steps = config.T
        square = lambda: np.zeros((steps, steps))
        self.kernel, self.shrinkage = kernel, shrinkage
        self.initial, self.changes = layers.initial, layers.G[0]
        self.lam, self.p, self.teacher2 = config.modes
        self.variance, self.noise2 = config.variances[0], config.sigma**2
        self.is_narrow = not math.isinf(config.nu)
        self.is_sampled = not config.is_population
        self.is_repeated = self.is_sampled and config.data == "fixed"
        self.inverse_alpha = 1.0 / config.alpha if self.is_sampled else 0.0
        self.kappa = 1.0 / config.batch_fraction - 1.0
        modes = len(self.lam)
        self.mean = np.zeros((modes, steps))
        self.Cv = square()
        self.C2 = square() if self.is_repeated and modes > 1 else None
        self.M = [square() for _ in range(modes)] if self.is_narrow else []
        self.M_sum = square() if self.is_narrow and self.is_repeated and modes > 1 else None
        self.U = [square() for _ in range(modes)] if self.is_sampled else []
        self.train = np.zeros(steps)
        self.Cb = square() if self.is_repeated else None
        self.RD = square() if self.is_repeated else None
        self.N = square() if self.is_repeated else None
        self.U_sum = square() if self.is_repeated and modes > 1 else None
        self.row_sums = np.zeros(steps)

    @staticmethod
    def matrices(config: MeanFieldConfig) -> int:
        """Number of T x T matrices that are kept."""
        modes = len(config.lam)
        is_narrow, is_sampled = not math.isinf(config.nu), not config.is_population
        is_repeated = is_sampled and config.data == "fixed"
        sums = is_repeated * (is_narrow + 2) if modes > 1 else 0
        return 1 + modes * (is_narrow + is_sampled) + 3 * is_repeated + sums

    def step(self, t: int, rg: np.ndarray, g: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        r"""Row t of everything on the data side.

        Args:
            t: the row.
            rg: (t,) row t of the response $R_g^1/\gamma_0$.
            g: (t+1,) row t of $G^1$.

        Returns:
            row t of $\bar R$ and of $V$, each (t+1,).
        """
        b = (self.variance * self.shrinkage[t]) * self.shrinkage[:t] * rg
        b += self.kernel[t, :t] * g[:t]
        x = b if self.RD is None else row_times(b, self.RD)
        covariance, covariance2 = self._advance_modes(t, b, x)
        put_row(self.Cv, t, covariance)
        finish = self._repeated if self.is_repeated else self._fresh
        return finish(t, covariance, covariance2)

    def two_time_residuals(self, rows: int) -> np.ndarray:
        r"""The two-time residuals $C_d(t,s)$ on the training data, (rows, rows)."""
        train = self.train[:rows]
        if not self.is_sampled:
            return self.Cv[:rows, :rows] + self.noise2
        if self.RD is None or self.Cb is None:
            return np.diag(train)
        if self.kappa == 0:
            return self.Cb[:rows, :rows].copy()
        strict = np.tril(self.RD[:rows, :rows], -1) * train
        return self.Cb[:rows, :rows] - self.kappa * (np.diag(train) + strict + strict.T)

    def _advance_modes(self, t: int, b: np.ndarray, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Row t of every mode; returns row t of the covariances of v, weighted by p lambda and by p lambda^2."""
        n, weights = t + 1, self.p * self.lam
        self.mean[:, t] = 1.0 - self.lam * (self.mean[:, :t] @ x)
        signal = weights * self.teacher2 * self.mean[:, t]
        total, total2 = signal @ self.mean[:, :n], (signal * self.lam) @ self.mean[:, :n]
        if not (self.is_narrow or self.is_sampled):
            return total, total2
        for k, (lam, weight) in enumerate(zip(self.lam, weights, strict=True)):
            covariance = np.zeros(n)
            if self.is_narrow:
                row = self.M[k][t]
                row[:t] = -lam * row_times(x, self.M[k])
                row[t] = 1.0
                covariance += times(self.M[k], self.initial.covariance_times(self.changes, row[:n]))
            if self.is_sampled:
                u = -b - lam * row_times(x, self.U[k])
                self.U[k][t, :t] = u
                y = symmetric_times(self.Cb, u) if self.Cb is not None else self.train[:t] * u
                covariance[:t] += (lam * self.inverse_alpha) * times(self.U[k], y)
                covariance[t] += (lam * self.inverse_alpha) * (u @ y)
            total += weight * covariance
            total2 += (weight * lam) * covariance
        return total, total2

    def _weighted_row(self, matrices: list[np.ndarray], t: int, weights: np.ndarray, n: int) -> np.ndarray:
        row = np.zeros(n)
        for weight, matrix in zip(weights, matrices, strict=True):
            row += weight * matrix[t, :n]
        return row

    def _fresh(
        self, t: int, covariance: np.ndarray, covariance2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Population and one-pass training: no sample is seen twice, R_D = 1."""
        n = t + 1
        self.train[t] = covariance[t] + self.noise2
        response = np.zeros(n)
        if self.is_narrow:
            response = self._weighted_row(self.M, t, self.p * self.lam, n)
        v = covariance2
        if self.is_sampled:
            weights = self.p * self.lam * self.inverse_alpha
            v[:t] += self._weighted_row(self.U, t, weights * self.lam, t) * self.train[:t]
            v[t] += np.sum(weights) * self.train[t]
        return response, v

    def _repeated(
        self, t: int, covariance: np.ndarray, covariance2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """A fixed training set: R_D feeds the past errors on the same samples back."""
        assert self.RD is not None
        assert self.Cb is not None
        assert self.N is not None
        n = t + 1
        weights = self.p * self.lam
        rd = np.append(
            self.inverse_alpha * row_times(self._weighted_row(self.U, t, weights, t), self.RD), 1.0
        )
        self.RD[t, :n] = rd
        self.row_sums[t] = np.sum(rd)
        seen = times(self.RD, symmetric_times(self.Cv, rd))
        batch = seen + self.noise2 * self.row_sums[t] * self.row_sums[:n]
        self.train[t] = batch[t]
        if self.kappa:
            drawn = times(self.RD, np.append(self.train[:t] * rd[:t], 0.0))
            # Row t of (R_D - 1) diag(Cd) (R_D - 1)^T ends with the sum below; `drawn` has R_D in place of R_D - 1.
            self.train[t] += self.kappa * (rd[:t] ** 2 @ self.train[:t])
            drawn[t] += self.train[t]
            batch += self.kappa * drawn
        put_row(self.Cb, t, batch)
        seen2, response, noise = self._summed_modes(t, rd, seen, covariance2)
        self.N[t, :t] = noise
        v = (np.sum(weights) * self.inverse_alpha) * batch + seen2
        v += symmetric_times(self.Cb, np.append(noise, 0.0)) + times(self.N, batch)
        return response, v

    def _summed_modes(
        self, t: int, rd: np.ndarray, seen: np.ndarray, covariance2: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Row t of R_D C_2 R_D^T, of R_D sum p lambda M, and (up to t) of N; a single mode shares most of it."""
        n, lam = len(rd), self.lam
        response = np.zeros(n)
        if len(lam) == 1:
            if self.is_narrow:
                response = lam[0] * row_times(rd, self.M[0])
            return lam[0] * seen, response, lam[0] * rd[:t]
        assert self.RD is not None
        assert self.C2 is not None
        assert self.U_sum is not None
        put_row(self.C2, t, covariance2)
        self.U_sum[t, :t] = self._weighted_row(self.U, t, self.p * lam**2 * self.inverse_alpha, t)
        if self.M_sum is not None:
            self.M_sum[t, :n] = self._weighted_row(self.M, t, self.p * lam, n)
            response = row_times(rd, self.M_sum)
        seen2 = times(self.RD, symmetric_times(self.C2, rd))
        return seen2, response, row_times(rd, self.U_sum)[:t]
