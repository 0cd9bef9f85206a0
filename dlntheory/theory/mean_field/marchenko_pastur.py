r"""Averages over the Marchenko–Pastur law, by a rule that is exact to rounding."""

from __future__ import annotations

import numpy as np

from ..._checks import real_number

MASS_TOLERANCE = 1e-12
LARGEST_RULE = 1 << 20


def marchenko_pastur(ratio: float) -> tuple[np.ndarray, np.ndarray]:
    r"""Nodes and weights of the Marchenko–Pastur law, the spectrum of $X^\top X/P$ for a P x D Gaussian matrix.

    With $c = D/P$ and $x = 1 + c + 2\sqrt c \cos\vartheta$ the continuous part is $\frac2\pi \frac{\sin^2\vartheta}{x}
    d\vartheta$ on $(0, \pi)$; for $c > 1$ there is an atom $1 - 1/c$ at 0. The midpoint-type rule
    $\vartheta_j = j\pi/(n+1)$ converges exponentially; $n$ is doubled until the total mass is 1.

    Args:
        ratio: $c$, positive.

    Returns:
        nodes and weights, 1-D; the atom, where there is one, is the node 0 at the end.

    Raises:
        ValueError: `ratio` is so near 1 that a million nodes do not suffice (the law then diverges at 0).

    Example:
        >>> x, weight = marchenko_pastur(0.5)
        >>> round(float(weight @ x**2), 12)  # the second moment is 1 + c
        1.5
    """
    c = real_number(ratio, "ratio", above=0)
    count = 64
    while count <= LARGEST_RULE:
        theta = np.arange(1, count + 1) * (np.pi / (count + 1))
        # (1 - sqrt c)^2 + 4 sqrt c cos^2(theta/2): without cancellation at the lower edge.
        x = (1.0 - np.sqrt(c)) ** 2 + 4.0 * np.sqrt(c) * np.cos(theta / 2) ** 2
        weight = 2.0 / (count + 1) * np.sin(theta) ** 2 / x
        if abs(np.sum(weight) - min(1.0, 1.0 / c)) < MASS_TOLERANCE:
            if c <= 1:
                return x, weight
            return np.append(x, 0.0), np.append(weight, 1.0 - 1.0 / c)
        count *= 2
    raise ValueError(f"Argument `ratio` must be farther from 1 for the rule to converge, but is {c!r}.")
