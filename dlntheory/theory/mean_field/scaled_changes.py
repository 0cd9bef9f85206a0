r"""Backward fields as their value at the start and their change over $\gamma_0$: what a lazy network needs.

Backward fields $g^l$ are of order 1 and move by $O(\gamma_0)$, while the initial function carries a factor
$1/\gamma_0$. In a centred output only the *change* of $g^1$ counts, and differences of covariances of $g$ itself lose
$10^{-16}/\gamma_0^2$. So all matrices of the theory act on

$$\tilde g = (g(0), \delta(1), \delta(2), \dots), \qquad g(t) = D(t)\, g(0) + \gamma_0\, \delta(t), \quad D(0) = 1,$$

with a known $D$ (1 without weight decay, else what the lazy field decays to). The equations keep their form, since this
is a change of basis in time; nothing of size $1/\gamma_0$ is ever subtracted.
"""

from __future__ import annotations

import numpy as np

from .triangular_products import put_row, symmetric_times


class ScaledChanges:
    r"""The basis $(g(0), \delta(1), \delta(2), \dots)$ of one backward field.

    Args:
        decay: $D$ (T,).
        gamma0: $\gamma_0$.
    """

    def __init__(self, decay: np.ndarray, gamma0: float):
        self.decay, self.gamma0 = decay, gamma0

    def row(self, x: np.ndarray) -> np.ndarray:
        r"""A row vector that acts on $g$, as the one that acts on $\tilde g$."""
        y = self.gamma0 * x
        y[0] = x @ self.decay[: len(x)]
        return y

    def covariance(self, changes: np.ndarray, t: int) -> np.ndarray:
        r"""Row t of the covariance of $g$, (t+1,), from that of $\tilde g$."""
        decay = self.decay[: t + 1]
        mixed = changes[0, : t + 1].copy()
        if t:
            mixed *= decay[t]
            mixed += self.gamma0 * changes[t, : t + 1]
        found = decay * mixed[0] + self.gamma0 * mixed
        found[0] = mixed[0]
        return found

    def matrix(self, changes: np.ndarray, rows: int) -> np.ndarray:
        r"""The first rows and columns of the covariance of $g$, (rows, rows)."""
        found = np.zeros((rows, rows))
        for t in range(rows):
            put_row(found, t, self.covariance(changes, t))
        return found


class InitialFunction:
    r"""What $W^0(0)$ contributes to the end-to-end vector: $\propto (d(t)\,g^1(t) - c\,g^1(0))/\gamma_0$.

    The constant $c$ is 1 for a centred output and 0 otherwise. A row $x$ over times acts on $\tilde g^1$ as
    $(x \cdot e,\ x_1 d_1,\ x_2 d_2, \dots)$, $e = (d D - c)/\gamma_0$, which vanishes if centred without weight decay.

    Args:
        basis: of $g^1$.
        shrinkage: $d$ (T,) of the optimiser.
        strength: $s_0^2/\nu$; 0 at infinite width.
        centered: whether the initial function is subtracted.
    """

    def __init__(self, basis: ScaledChanges, shrinkage: np.ndarray, strength: float, centered: bool):
        self.shrinkage, self.strength = shrinkage, strength
        self.offset = (shrinkage * basis.decay - float(centered)) / basis.gamma0

    def row(self, x: np.ndarray) -> np.ndarray:
        r"""A row vector that acts on this contribution, as the one that acts on $\tilde g^1$."""
        y = x * self.shrinkage[: len(x)]
        y[0] = x @ self.offset[: len(x)]
        return y

    def covariance_times(self, changes: np.ndarray, x: np.ndarray) -> np.ndarray:
        r"""Its covariance $P_v$ times a vector, from the covariance of $\tilde g^1$."""
        y = self.strength * symmetric_times(changes, self.row(x))
        found = self.shrinkage[: len(x)] * y
        found[0] = 0.0
        return found + self.offset[: len(x)] * y[0]
