r"""The hidden layers of a residual network: one neuron is a joint site of all layers, filled row by row."""

from __future__ import annotations

import numpy as np

from .config import MeanFieldConfig
from .scaled_changes import InitialFunction, ScaledChanges
from .triangular_products import SMALL, put_row, row_times, symmetric_times, times


class ResidualLayers:
    r"""Single-site process of all layers $l = 1 \dots L$ of a network with skip connections.

    $$h^{l+1} = h^l + u^{l+1} + A^{l+1} g^{l+1}, \qquad g^l = g^{l+1} + r^l + E^l h^l,$$

    $$A^{l+1} = e_2 [\theta_l \circ R(h^l \leftarrow r^l) + \gamma_0 k \circ H^l], \qquad
    E^l = e_2 [\theta_l \circ R(g^{l+1} \leftarrow u^{l+1}) + \gamma_0 k \circ G^{l+1}], \qquad e_2 = b^2/(L-1),$$

    with independent Gaussian sources, $\mathrm{cov}\,u^{l+1} = e_2 \theta_l \circ H^l$ and $\mathrm{cov}\,r^l = e_2
    \theta_l \circ G^{l+1}$; first and last layer as in a plain network. $R(x \leftarrow y)$ is the total response
    through all layers, so the coefficients of every $h^l(t)$ and $g^l(t)$ on all $2L$ sources at all times are kept.

    Args:
        config: the configuration.
        kernel: (T, T) the optimiser's $k$.
        shrinkage: (T,) its $d$.
    """

    def __init__(self, config: MeanFieldConfig, kernel: np.ndarray, shrinkage: np.ndarray):
        steps, layers = config.T, config.L
        self.top, self.kernel, self.shrinkage = layers - 1, kernel, shrinkage
        self.gamma0, self.variances, self.branch2 = config.gamma0, config.variances, config.branch2
        # Without gradients a field decays to D times its start: every branch shrinks, the skip connections do not.
        decays = [shrinkage]
        for variance in config.variances[-2:0:-1]:
            grown = (1.0 + config.branch2 * variance * shrinkage) / (1.0 + config.branch2 * variance)
            decays.insert(0, decays[0] * grown)
        self.bases = [ScaledChanges(decay, config.gamma0) for decay in decays]
        self.initial = InitialFunction(
            self.bases[0], shrinkage, config.variances[0] / config.nu, config.centered
        )
        # Sources: u of layer l at index l, r of layer l at index L + l, layers counted from 0. Their covariances, up to
        # weights and shrinkage, are V, the H and the G of this very network, which are views into one stack; the top r
        # has a start only.
        self.sources = np.zeros((2 * layers, steps, steps))
        self.sources[-1, 0, 0] = 1.0
        self.V = self.sources[0]
        self.H = [*self.sources[1:layers], np.zeros((steps, steps))]
        self.G = [np.zeros((steps, steps)), *self.sources[layers:-1]]
        self.weights = self.branch2 * np.concatenate([config.variances[:-1], config.variances[1:]])
        self.weights[[0, -1]] = config.variances[[0, -1]]
        self.g = [np.zeros((2 * layers, steps, steps)) for _ in range(layers)]
        self.h = [np.zeros((2 * layers, steps, steps)) for _ in range(layers)]

    @staticmethod
    def matrices(config: MeanFieldConfig) -> int:
        """Number of T x T matrices that are kept."""
        return 4 * config.L**2 + 2 * config.L + 2

    def backward(self, t: int) -> tuple[np.ndarray, np.ndarray]:
        """Row t of every g, from the top layer down.

        Returns:
            row t of the response of $g^1$ to $u^1$, (t,), and of the covariance of $g^1$ itself, (t+1,).
        """
        n, layers = t + 1, len(self.g)
        past = self.kernel[t, :t]
        for l in reversed(range(layers)):
            row = self.g[l][:, t, :n]
            if l == self.top:
                e = past
            else:
                row += self.g[l + 1][:, t, :n]
                if t:
                    self._add_drift(row, l, t)
                response = self.g[l + 1][l + 1, t, :t]
                field = self.bases[l + 1].covariance(self.G[l + 1], t)
                e = self._weights(l + 1, t, t) * response + past * field[:t]
                e *= self.branch2
            row[:, :t] += self._apply(e, self.h[l])
            row[layers + l, t] += 1.0
            put_row(self.G[l], t, self._covariance(self.g[l], t))
        return self.g[0][0, t, :t], self.bases[0].covariance(self.G[0], t)

    def forward(self, t: int, response: np.ndarray, v: np.ndarray) -> None:
        r"""Row t of every h, from the first layer up.

        Args:
            t: the row.
            response: (t+1,) row t of $\bar R$.
            v: (t+1,) row t of $V$.
        """
        n, layers = t + 1, len(self.h)
        put_row(self.V, t, v)
        kernel = self.kernel[t, :n]
        a = self.bases[0].row(self.gamma0 * kernel * v)
        a -= (self.initial.strength * self.shrinkage[t]) * self.initial.row(response)
        for l in range(layers):
            row = self.h[l][:, t, :n]
            if l > 0:
                row += self.h[l - 1][:, t, :n]
                below = self.h[l - 1][layers + l - 1, t, :n]
                a = self._weights(l, t, n) * below + self.bases[l].row(
                    self.gamma0 * kernel * self.H[l - 1][t, :n]
                )
                a *= self.branch2
            row += self._apply(a, self.g[l])
            row[l, t] += 1.0
            put_row(self.H[l], t, self._covariance(self.h[l], t))

    def _add_drift(self, row: np.ndarray, l: int, t: int) -> None:
        """Start values that the bases of neighbouring layers share out differently; none without weight decay."""
        above, own = self.bases[l + 1].decay[t], self.bases[l].decay[t]
        row[:, 0] += ((above - own) / self.gamma0) * self.g[l + 1][:, 0, 0]
        row[len(self.g) + l, 0] += (self.shrinkage[t] * above - own) / self.gamma0

    def _weights(self, l: int, t: int, n: int) -> np.ndarray:
        """The first n entries of row t of theta_l."""
        return (self.variances[l] * self.shrinkage[t]) * self.shrinkage[:n]

    def _covariance(self, coefficients: np.ndarray, t: int) -> np.ndarray:
        """Row t of X P X^T, summed over all sources."""
        n = t + 1
        d, weights = self.shrinkage[:n], self.weights[:, None]
        x = d * coefficients[:, t, :n]
        if n <= SMALL:
            y = weights * d * np.matmul(self.sources[:, :n, :n], x[:, :, None])[:, :, 0]
            return np.sum(np.matmul(coefficients[:, :n, :n], y[:, :, None]), axis=0)[:, 0]
        found = np.zeros(n)
        for source, weight in enumerate(self.weights):
            y = (weight * d) * symmetric_times(self.sources[source], x[source])
            found += times(coefficients[source], y)
        return found

    def _apply(self, a: np.ndarray, coefficients: np.ndarray) -> np.ndarray:
        """The row vector a times the coefficients on every source, (2L, n)."""
        n = len(a)
        if n <= SMALL:
            return np.matmul(a, coefficients[:, :n, :n])
        return np.stack([row_times(a, matrix) for matrix in coefficients])
