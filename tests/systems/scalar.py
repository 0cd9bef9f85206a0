r"""The two-layer scalar network $z = ab$ with $f = \frac12(z - \sigma)^2$.

It trains by $a' = b(\sigma - ab)$, $b' = a(\sigma - ab)$.

With $p = (a+b)^2$, $q = (a-b)^2$ and the conserved $\lambda = a^2 - b^2$: $p' = 2(a+b)(a'+b') = 2p(\sigma - z)$ and
$z = (p - q)/4$, $pq = \lambda^2$, hence $p' = -p^2/2 + 2\sigma p + \lambda^2/2$, a scalar Riccati equation whose
linearisation gives the formula below ($\rho = \sqrt{\sigma^2 + \lambda^2/4}$, $E = e^{-2\rho t}$). For $q$ replace
$\sigma$ by $-\sigma$. Saxe, McClelland, Ganguli 2014.
"""

import numpy as np


def exact_weights(a0, b0, sigma, t):
    """(a(t), b(t)) in closed form; t is an array."""
    lam = a0**2 - b0**2
    p = _riccati((a0 + b0) ** 2, sigma, lam, t)
    q = _riccati((a0 - b0) ** 2, -sigma, lam, t)
    plus, minus = np.sign(a0 + b0) * np.sqrt(p), np.sign(a0 - b0) * np.sqrt(q)
    return (plus + minus) / 2, (plus - minus) / 2


def _riccati(p0, sigma, lam, t):
    rho = np.sqrt(sigma**2 + lam**2 / 4)
    big = rho + abs(sigma)
    small = (lam**2 / 4) / big
    up, down = (big, small) if sigma > 0 else (small, big)  # rho + sigma, rho - sigma without cancellation
    decay, growth = np.exp(-2 * rho * t), -np.expm1(-2 * rho * t)
    return (p0 * (up + decay * down) + lam**2 / 2 * growth) / (down + decay * up + p0 / 2 * growth)
