r"""The hidden layers of a plain network: one neuron of each, as causal matrices over training time, row by row."""

from __future__ import annotations

import math

import numpy as np

from .config import MeanFieldConfig
from .triangular_products import put_row, row_times, symmetric_times, times


class PlainLayers:
    r"""Single-site processes of the layers $l = 1 \dots L$ of a fully connected network.

    $$h^l = u^l + A^l g^l, \qquad g^l = r^l + E^l h^l, \qquad u^l \sim N(0, P_u^l), \quad r^l \sim N(0, P_r^l),$$

    with $E^l = \theta_l \circ R_g^{l+1} + \gamma_0 k \circ G^{l+1}$ (strictly causal), $A^{l+1} = \theta_l \circ R_h^l
    + \gamma_0 k \circ H^l$ (causal), $P_r^l = \theta_l \circ G^{l+1}$, $P_u^{l+1} = \theta_l \circ H^l$,
    $\theta_l(t,s) = s_l^2 d(t) d(s)$. Neither $A$ nor $E$ is stored, since

    $$R_g = E S, \quad Q = (1 - EA)^{-1} = 1 + E R_h, \quad R_h = A Q, \quad S = (1 - AE)^{-1} = 1 + A R_g;$$

    the top layer has $P_r^L = \theta_L$ of rank one, so that the vectors $Q d$ and $R_h d$ replace its $Q$ and $R_h$.

    Args:
        config: the configuration.
        kernel: (T, T) the optimiser's $k$.
        shrinkage: (T,) its $d$.
    """

    def __init__(self, config: MeanFieldConfig, kernel: np.ndarray, shrinkage: np.ndarray):
        empty = lambda count: [np.zeros((config.T, config.T)) for _ in range(count)]
        self.top = config.L - 1
        self.kernel, self.shrinkage = kernel, shrinkage
        self.gamma0 = config.gamma0
        self.noise_response = 0.0 if math.isinf(config.nu) else 1.0 / (config.gamma0 * config.nu)
        self.variances = config.variances
        self.V = np.zeros((config.T, config.T))
        self.G, self.H = empty(config.L), empty(config.L)
        self.Rg, self.S = empty(config.L), empty(config.L)
        self.Q, self.Rh = empty(self.top), empty(self.top)
        self.Qd, self.Rhd = np.zeros(config.T), np.zeros(config.T)

    @staticmethod
    def matrices(config: MeanFieldConfig) -> int:
        """Number of T x T matrices that are kept."""
        return 6 * config.L - 1

    def backward(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Row t of every $R_g^l$, $Q^l$, $G^l$, from the top layer down.

        Returns:
            row t of $R_g^1$, (t,), and of $G^1$, (t+1,).
        """
        n, top, d = t + 1, self.top, self.shrinkage
        e = self.gamma0 * self.kernel[t, :t]
        self.Qd[t] = d[t] + e @ self.Rhd[:t]
        rg = row_times(e, self.S[top])
        self.Rg[top][t, :t] = rg
        row = self.variances[top + 1] * self.Qd[t] * self.Qd[:n]
        row += self._through(self.Rg[top], n, self._source_below(top, rg))
        put_row(self.G[top], t, row)
        for l in reversed(range(top)):
            e = self._weights(l + 1, t, t) * rg + self.gamma0 * self.kernel[t, :t] * row[:t]
            rg = row_times(e, self.S[l])
            q = np.append(row_times(e, self.Rh[l]), 1.0)
            self.Rg[l][t, :t], self.Q[l][t, :n] = rg, q
            row = times(self.Q[l], self._source_above(l, q))
            row += self._through(self.Rg[l], n, self._source_below(l, rg))
            put_row(self.G[l], t, row)
        return rg, row

    def forward(self, t: int, response: np.ndarray, v: np.ndarray) -> None:
        """Row t of every $R_h^l$, $S^l$, $H^l$, from the first layer up.

        Args:
            t: the row.
            response: (t+1,) row t of $\bar R$, the mean response of $\\hat v$ to a source in $v$.
            v: (t+1,) row t of $V$.
        """
        n, top = t + 1, self.top
        put_row(self.V, t, v)
        a = self.gamma0 * self.kernel[t, :n] * v - self.noise_response * self._weights(0, t, n) * response
        for l in range(top):
            rh = row_times(a, self.Q[l])
            s = row_times(a, self.Rg[l])
            s[t] = 1.0
            self.Rh[l][t, :n], self.S[l][t, :n] = rh, s
            row = times(self.S[l], self._source_below(l, s)) + times(self.Rh[l], self._source_above(l, rh))
            put_row(self.H[l], t, row)
            a = self._weights(l + 1, t, n) * rh + self.gamma0 * self.kernel[t, :n] * row
        self.Rhd[t] = a @ self.Qd[:n]
        s = row_times(a, self.Rg[top])
        s[t] = 1.0
        self.S[top][t, :n] = s
        row = times(self.S[top], self._source_below(top, s))
        row += self.variances[top + 1] * self.Rhd[t] * self.Rhd[:n]
        put_row(self.H[top], t, row)

    def _weights(self, l: int, t: int, n: int) -> np.ndarray:
        """The first n entries of row t of theta_l."""
        return (self.variances[l] * self.shrinkage[t]) * self.shrinkage[:n]

    def _source_below(self, l: int, x: np.ndarray) -> np.ndarray:
        """Covariance of the source u^{l+1} (counting layers from 1) times x."""
        return self._theta_times(l, self.H[l - 1] if l else self.V, x)

    def _source_above(self, l: int, x: np.ndarray) -> np.ndarray:
        """Covariance of the source r^{l+1} (counting layers from 1) times x, below the top."""
        return self._theta_times(l + 1, self.G[l + 1], x)

    def _theta_times(self, l: int, matrix: np.ndarray, x: np.ndarray) -> np.ndarray:
        d = self.shrinkage[: len(x)]
        return (self.variances[l] * d) * symmetric_times(matrix, d * x)

    @staticmethod
    def _through(strict: np.ndarray, n: int, x: np.ndarray) -> np.ndarray:
        """The first n entries of a strictly lower triangular matrix times x, of length n - 1."""
        return np.append(times(strict, x), strict[n - 1, : n - 1] @ x)
