r"""Weight decay on whitened data: what it costs to represent a product, and which modes survive it."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np

from ..._checks import integer, real_array, real_number
from ...display.displayed import Displayed


def least_weight_norm(product: Any, depth: int) -> float:
    r"""The least $\sum_l \|W_l\|_F^2$ over all factorisations $W_L \cdots W_1$ of a product: $L \sum_i s_i^{2/L}$.

    Attained exactly by balanced factorisations (hidden layers at least as wide as the rank).

    Args:
        product: (out, inp), any real matrix.
        depth: $L \ge 1$.

    Raises:
        ValueError: no matrix, not finite, or a depth below 1.

    References:
        [srebro2005maximum] for two layers; [shang2016unified] for Schatten quasi-norms.

    Example:
        >>> least_weight_norm([[3.0, 0.0], [0.0, 1.0]], 2)
        8.0
    """
    depth = integer(depth, "depth")
    matrix = real_array(product, "product", ndim=2)
    singular = np.linalg.svd(matrix, compute_uv=False)
    return float(depth * np.sum(singular ** (2.0 / depth)))


@dataclasses.dataclass(frozen=True)
class DecayThresholds(Displayed):
    r"""Where weight decay $\gamma$ kills a mode $\sigma$ of $\frac12(s - \sigma)^2 + \gamma\frac{L}{2} s^{2/L}$.

    Attributes:
        depth: $L$.
        sigma: the target of the mode.
        critical: $\gamma_c$, from which on the global minimiser is 0.
        jump: $s_c$, the value from which it drops to 0 at $\gamma_c$; 0 for two layers, where it shrinks continuously.
        spinodal: $\gamma_{sp}$, beyond which no other stationary point than 0 exists.
        last: $s_{sp}$, where the local minimum ends at $\gamma_{sp}$.
    """

    depth: int
    sigma: float
    critical: float
    jump: float
    spinodal: float
    last: float

    def __repr__(self) -> str:
        return f"DecayThresholds(depth {self.depth}, sigma = {self.sigma:g}, critical gamma = {self.critical:.6g})"

    def _title(self) -> str:
        return "weight decay thresholds of one mode"

    def _facts(self) -> dict[str, Any]:
        how = f"a jump from {self.jump:.6g}" if self.jump else "continuously"
        rows = {
            "mode": f"sigma = {self.sigma:g}, depth {self.depth}",
            "global minimum is 0 from": f"gamma = {self.critical:.6f} ({how})",
        }
        if self.last:
            rows["local minimum ends at"] = f"gamma = {self.spinodal:.6f} (at {self.last:.6g})"
        return rows


def decay_thresholds(sigma: float, depth: int) -> DecayThresholds:
    r"""Critical and spinodal weight decay of one mode.

    $s_c = \sigma\frac{L-2}{L-1}$, $\gamma_c = (\sigma - s_c) s_c^{1 - 2/L}$;
    $s_{sp} = \sigma\frac{L-2}{2L-2}$, $\gamma_{sp} = (\sigma - s_{sp}) s_{sp}^{1-2/L}$. At $L = 2$ both are $\sigma$.

    Args:
        sigma: the target of the mode, positive.
        depth: $L \ge 2$.

    Raises:
        ValueError: `sigma` is not positive, or the depth is below 2.

    References:
        Derived here.

    Example:
        >>> thresholds = decay_thresholds(1.5, 3)
        >>> print(f"{thresholds.critical:.6f} {thresholds.spinodal:.6f}")
        0.681420 0.811265
    """
    depth = integer(depth, "depth", minimum=2)
    sigma = real_number(sigma, "sigma", above=0)
    # At depth 2 both s are 0 and 0^0 = 1.
    jump, last = sigma * (depth - 2) / (depth - 1), sigma * (depth - 2) / (2 * depth - 2)
    power = 1.0 - 2.0 / depth
    return DecayThresholds(
        depth=depth,
        sigma=float(sigma),
        critical=(sigma - jump) * jump**power,
        jump=jump,
        spinodal=(sigma - last) * last**power,
        last=last,
    )


def decayed_mode(sigma: Any, weight_decay: float, depth: int) -> np.ndarray:
    r"""The global minimiser of $\frac12(s - \sigma)^2 + \gamma\frac L2 s^{2/L}$ over $s \ge 0$.

    Two layers: $\max(\sigma - \gamma, 0)$. Deeper: 0 from $\gamma_c$ on, below it the larger root of
    $s - \sigma + \gamma s^{2/L - 1} = 0$. At $\gamma_c$ itself both are global minimisers; 0 is returned.

    Args:
        sigma: targets of the modes, at least 0.
        weight_decay: $\gamma \ge 0$.
        depth: $L \ge 2$.

    Returns:
        The minimisers, in the shape of `sigma`.

    Raises:
        ValueError: a negative or infinite argument, or a depth below 2.

    Validity:
        The *global* minimiser. For more than two layers the origin is a local minimum for every positive decay, and
        training from a small start stays there.

    Example:
        >>> print(decayed_mode([1.5, 0.4], 0.5, 2), decayed_mode([1.5, 0.4], 0.5, 3))
        [1. 0.] [1. 0.]
    """
    depth = integer(depth, "depth", minimum=2)
    targets = real_array(sigma, "sigma", empty=True)
    if np.any(targets < 0):
        raise ValueError(f"Argument `sigma` must be at least 0, but has an entry {float(np.min(targets)):g}.")
    weight_decay = real_number(weight_decay, "weight_decay", minimum=0)
    if depth == 2:
        return np.maximum(targets - weight_decay, 0.0)
    jump = targets * (depth - 2) / (depth - 1)
    survives = weight_decay < (targets - jump) * jump ** (1.0 - 2.0 / depth)
    s = np.where(survives, targets, 1.0)
    shift = np.where(survives, targets, 1.0 + weight_decay)  # dead modes: s = 1 solves their equation
    for _ in range(60):
        # Convex with a positive value at sigma: Newton falls monotonically to the larger root.
        decay = weight_decay * s ** (2.0 / depth - 1.0)
        step = (s - shift + decay) / (1.0 + (2.0 / depth - 1.0) * decay / s)
        s = s - step
        if np.all(np.abs(step) <= 1e-15 * s):
            break
    return np.where(survives, s, 0.0)
