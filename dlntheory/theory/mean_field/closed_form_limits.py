r"""Limits of the mean-field theory that have a closed form: each an independent check, and a formula to use."""

from __future__ import annotations

import math

import numpy as np

from ..._checks import integer, real_number
from .config import MeanFieldConfig
from .marchenko_pastur import marchenko_pastur

#: Squares of arguments must be doubles.
LARGEST = 1e150


def initial_error(config: MeanFieldConfig) -> float:
    r"""Test error before training, exactly: the teacher's variance plus that of the initial function.

    $$\sum_k p_k \lambda_k b_k^2 + \frac{\sum_k p_k \lambda_k}{\gamma_0^2 \nu}\, s_0^2 s_L^2 \prod_{l=1}^{L-1} a_l,
    \qquad a_l = s_l^2 \text{ (plain)},\quad 1 + s_l^2\, b^2/(L-1) \text{ (residual)};$$

    the second term is absent for a centred output and at infinite `nu`.

    Example:
        >>> initial_error(MeanFieldConfig(T=1, L=2, eta=0.1, nu=0.5))
        3.0
    """
    lam, p, teacher2 = config.modes
    signal = float(np.sum(p * lam * teacher2))
    if config.centered or math.isinf(config.nu):
        return signal
    inner = config.variances[1:-1]
    if config.residual is not None:
        inner = 1.0 + config.branch2 * inner
    size = config.variances[0] * config.variances[-1] * np.prod(inner)
    return signal + float(np.sum(p * lam) * size) / (config.gamma0**2 * config.nu)


def infinite_one_layer(T: int, *, eta: float, gamma0: float) -> np.ndarray:
    r"""Test error of one hidden layer at infinite width on the population, at any richness.

    The components of $(W^0, w)$ along and against the teacher grow and shrink:
    $q_\pm' = q_\pm (1 \pm \eta\gamma_0 v)$, $q_\pm(0) = 1$, $v = 1 - (q_+^2 - q_-^2)/(2\gamma_0)$; the error is $v^2$.

    Returns:
        (T,) errors.

    Validity:
        `nu` = `alpha` = inf, $L = 1$, isotropic data, unit weights, constant rate; exact.

    Example:
        >>> infinite_one_layer(3, eta=0.05, gamma0=3.0)[1].round(12)
        np.float64(0.81)
    """
    T = integer(T, "T")
    eta = real_number(eta, "eta", minimum=0, maximum=LARGEST)
    gamma0 = real_number(gamma0, "gamma0", above=0, maximum=LARGEST)
    plus = minus = 1.0
    errors = np.empty(T)
    for t in range(T):
        v = 1.0 - (plus**2 - minus**2) / (2.0 * gamma0)
        errors[t] = v**2
        plus, minus = plus * (1.0 + eta * gamma0 * v), minus * (1.0 - eta * gamma0 * v)
    return errors


def lazy_finite_data(
    T: int, *, L: int, eta: float, alpha: float, sigma: float = 0.0
) -> tuple[np.ndarray, np.ndarray]:
    r"""Test and training error of a lazy network of infinite width on a finite training set.

    With $c = \eta(L+1)$ and averages over the Marchenko–Pastur law of $X^\top X/P$,

    $$\mathrm{gen} = \langle (1-cx)^{2t}\rangle + \frac{\sigma^2}{\alpha} \Big\langle \frac{(1-(1-cx)^t)^2}{x}
    \Big\rangle_{x>0}, \quad \mathrm{train} = \langle x(1-cx)^{2t}\rangle + \sigma^2 \Big[ \frac1\alpha \langle
    (1-cx)^{2t}\rangle_{x>0} + 1 - \frac{\text{mass of } x>0}{\alpha} \Big].$$

    Returns:
        (T,) test and (T,) training errors.

    Validity:
        `nu` = inf, `gamma0` → 0 (error $O(\gamma_0^2)$), full batch, isotropic data, unit weights, plain network.

    Example:
        >>> gen, train = lazy_finite_data(2, L=1, eta=0.1, alpha=2.0)
        >>> gen.round(12).tolist()  # 1 - 2c + c^2 (1 + 1/alpha) after one step, c = 0.2
        [1.0, 0.66]
    """
    T = integer(T, "T")
    L, eta = integer(L, "L"), real_number(eta, "eta")
    alpha, sigma = (
        real_number(alpha, "alpha", above=0),
        real_number(sigma, "sigma", minimum=0, maximum=LARGEST),
    )
    x, weight = marchenko_pastur(1.0 / alpha)
    positive = x > 0
    xs, ws = x[positive], weight[positive]
    c = eta * (L + 1)
    gen, train = np.empty(T), np.empty(T)
    for t in range(T):
        decay = (1.0 - c * xs) ** t
        forgotten = ws @ decay**2
        gen[t] = forgotten + np.sum(weight[~positive]) + sigma**2 / alpha * (ws @ ((1.0 - decay) ** 2 / xs))
        noise = forgotten / alpha + 1.0 - np.sum(ws) / alpha
        train[t] = ws @ (xs * decay**2) + sigma**2 * noise
    return gen, train


def lazy_finite_width(T: int, *, eta: float, nu: float) -> np.ndarray:
    r"""Test error of a lazy network with one hidden layer of finite width ratio, on the population.

    $$\mathrm{gen} = \langle (1 - \eta(1+x))^{2t} \rangle,$$

    averaged over the Marchenko–Pastur law of $W^{0\top} W^0/N$, ratio $1/\nu$.

    Returns:
        (T,) errors.

    Validity:
        $L = 1$, `alpha` = inf, centred output, `gamma0` → 0 (error $O(\gamma_0^2)$), isotropic data, unit weights.
    """
    T = integer(T, "T")
    eta, nu = real_number(eta, "eta"), real_number(nu, "nu", above=0)
    x, weight = marchenko_pastur(1.0 / nu)
    return np.array([weight @ (1.0 - eta * (1.0 + x)) ** (2 * t) for t in range(T)])


def least_squares_floor(alpha: float, sigma: float) -> tuple[float, float]:
    r"""Test and training error of ordinary least squares, where full-batch training ends if `alpha` > 1.

    $$\mathrm{gen} \to \frac{\sigma^2}{\alpha - 1}, \qquad \mathrm{train} \to \sigma^2 (1 - 1/\alpha).$$

    Example:
        >>> least_squares_floor(5.0, 1.0)
        (0.25, 0.8)
    """
    alpha = real_number(alpha, "alpha", above=1, finite=False)
    sigma = real_number(sigma, "sigma", minimum=0, maximum=LARGEST)
    return sigma**2 / (alpha - 1.0), sigma**2 * (1.0 - 1.0 / alpha)
