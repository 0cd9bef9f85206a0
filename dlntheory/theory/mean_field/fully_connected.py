r"""The hidden layers of a plain network: one neuron of each, as causal matrices over training time, row by row."""

from __future__ import annotations

import numpy as np

from .config import MeanFieldConfig
from .scaled_changes import InitialFunction, ScaledChanges
from .triangular_products import put_row, row_times, symmetric_times, times


class FullyConnectedLayers:
    r"""Single-site processes of the layers $l = 1 \dots L$ of a fully connected network.

    $$h^l = u^l + A^l g^l, \qquad g^l = r^l + E^l h^l, \qquad u^l \sim N(0, P_u^l), \quad r^l \sim N(0, P_r^l),$$

    with $E^l = \theta_l \circ R_g^{l+1} + \gamma_0 k \circ G^{l+1}$ (strictly causal), $A^{l+1} = \theta_l \circ R_h^l
    + \gamma_0 k \circ H^l$ (causal), $P_r^l = \theta_l \circ G^{l+1}$, $P_u^{l+1} = \theta_l \circ H^l$,
    $\theta_l(t,s) = s_l^2 d(t) d(s)$. Neither $A$ nor $E$ is stored, since

    $$R_g = E S, \quad Q = (1 - EA)^{-1} = 1 + E R_h, \quad R_h = A Q, \quad S = (1 - AE)^{-1} = 1 + A R_g;$$

    All matrices that act on $g^l$ or $r^l$ do so in the basis of `ScaledChanges`; there $P_r^L$ has a single entry, so
    that first columns replace the $Q$ and $R_h$ of the top layer.

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
        self.variances = config.variances
        self.bases = [ScaledChanges(shrinkage ** (config.L - l), config.gamma0) for l in range(config.L)]
        self.initial = InitialFunction(
            self.bases[0], shrinkage, config.variances[0] / config.nu, config.centered
        )
        self.V = np.zeros((config.T, config.T))
        self.G, self.H = empty(config.L), empty(config.L)
        self.Rg, self.S = empty(config.L), empty(config.L)
        self.Q, self.Rh = empty(self.top), empty(self.top)
        self.Q0, self.Rh0 = np.zeros(config.T), np.zeros(config.T)

    @staticmethod
    def matrices(config: MeanFieldConfig) -> int:
        """Number of T x T matrices that are kept."""
        return 6 * config.L - 1

    def backward(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Row t of every $R_g^l$, $Q^l$, $G^l$, from the top layer down.

        Returns:
            row t of $R_g^1$, (t,), and of the covariance of $g^1$ itself, (t+1,).
        """
        n, top = t + 1, self.top
        e = self.kernel[t, :t]
        self.Q0[t] = e @ self.Rh0[:t] if t else 1.0
        rg = row_times(e, self.S[top])
        self.Rg[top][t, :t] = rg
        row = self.variances[top + 1] * self.Q0[t] * self.Q0[:n]
        row += self._through(self.Rg[top], n, self._source_below(top, rg))
        put_row(self.G[top], t, row)
        for l in reversed(range(top)):
            field = self.bases[l + 1].covariance(self.G[l + 1], t)
            e = self._weights(l + 1, t, t) * rg + self.kernel[t, :t] * field[:t]
            rg = row_times(e, self.S[l])
            q = np.append(row_times(e, self.Rh[l]), 1.0)
            self.Rg[l][t, :t], self.Q[l][t, :n] = rg, q
            row = times(self.Q[l], self._source_above(l, q))
            row += self._through(self.Rg[l], n, self._source_below(l, rg))
            put_row(self.G[l], t, row)
        return rg, self.bases[0].covariance(self.G[0], t)

    def forward(self, t: int, response: np.ndarray, v: np.ndarray) -> None:
        """Row t of every $R_h^l$, $S^l$, $H^l$, from the first layer up.

        Args:
            t: the row.
            response: (t+1,) row t of $\bar R$, the mean response of $\\hat v$ to a source in $v$.
            v: (t+1,) row t of $V$.
        """
        n, top = t + 1, self.top
        put_row(self.V, t, v)
        a = self.bases[0].row(self.gamma0 * self.kernel[t, :n] * v)
        a -= (self.initial.strength * self.shrinkage[t]) * self.initial.row(response)
        for l in range(top):
            rh = row_times(a, self.Q[l])
            s = row_times(a, self.Rg[l])
            s[t] = 1.0
            self.Rh[l][t, :n], self.S[l][t, :n] = rh, s
            row = times(self.S[l], self._source_below(l, s)) + times(self.Rh[l], self._source_above(l, rh))
            put_row(self.H[l], t, row)
            a = self._weights(l + 1, t, n) * rh + self.bases[l + 1].row(
                self.gamma0 * self.kernel[t, :n] * row
            )
        self.Rh0[t] = a @ self.Q0[:n]
        s = row_times(a, self.Rg[top])
        s[t] = 1.0
        self.S[top][t, :n] = s
        row = times(self.S[top], self._source_below(top, s))
        row += self.variances[top + 1] * self.Rh0[t] * self.Rh0[:n]
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
