"""The mean-field equations iterated densely from zero: no causality, no marching, one joint linear system per site.

All hidden layers together are one linear system, x = C x + sources with x = (h^1 .. h^L, g^1 .. g^L) over all times;
an input direction is another, with x = (v, vhat). The inverse has every response, X P X^T every covariance. One sweep
makes at least one more row exact, so that 5 T sweeps are far more than enough.
"""

import numpy as np

from dlntheory.theory.mean_field import MeanFieldConfig, memory


def iterate_densely(config: MeanFieldConfig) -> dict[str, np.ndarray]:
    """gen, train, Cv, Cd, V, H, G of a configuration with few steps."""
    T, L, g0 = config.T, config.L, config.gamma0
    k, d = memory(config)
    theta = [s2 * np.outer(d, d) for s2 in config.variances]
    ones, one = np.ones((T, T)), np.eye(T)
    inv_nu, inv_alpha, noise = 1 / config.nu, 1 / config.alpha, config.sigma**2 * np.ones((T, T))
    skip, e2 = (0.0, 1.0) if config.residual is None else (1.0, config.residual**2 / (L - 1))
    kappa = 1 / config.batch_fraction - 1
    h, g = range(L), range(L, 2 * L)  # block of h^{l+1} and of g^{l+1}; sources u and r likewise
    X = np.zeros((2 * L, 2 * L, T, T))
    H, G = np.zeros((L, T, T)), np.zeros((L, T, T))
    V, Rbar, RD, Cd = (np.zeros((T, T)) for _ in range(4))
    Cb = np.zeros((T, T))
    for _ in range(5 * T):
        C, P = np.zeros((2 * L, 2 * L, T, T)), np.zeros((2 * L, T, T))
        for l in range(L):
            if l == 0:
                C[h[0], g[0]] = -theta[0] * Rbar * (inv_nu / g0) + g0 * k * V
                P[h[0]] = theta[0] * V
            else:
                C[h[l], g[l]] = e2 * (theta[l] * X[h[l - 1], g[l - 1]] + g0 * k * H[l - 1])
                C[h[l], h[l - 1]] = skip * one
                P[h[l]] = e2 * theta[l] * H[l - 1]
            if l == L - 1:
                C[g[l], h[l]] = g0 * k
                P[g[l]] = theta[L]
            else:
                C[g[l], h[l]] = e2 * (theta[l + 1] * X[g[l + 1], h[l + 1]] + g0 * k * G[l + 1])
                C[g[l], g[l + 1]] = skip * one
                P[g[l]] = e2 * theta[l + 1] * G[l + 1]
        X = _inverse(C)
        covariance = np.einsum("ikab,kbc,jkdc->ijad", X, P, X, optimize=True)
        H, G = (np.stack([covariance[i, i] for i in block]) for block in (h, g))
        B, Pv = theta[0] * X[g[0], h[0]] / g0 + k * G[0], theta[0] * G[0] * (inv_nu / g0**2)
        if config.centered:
            Pv = Pv - Pv[:, :1] - Pv[:1, :] + Pv[0, 0]
        Rvv, Cv, V, Rbar = (np.zeros((T, T)) for _ in range(4))
        for lam, p, b2 in zip(*config.modes, strict=True):
            Y = _inverse(np.array([[0 * B, -B], [lam * RD, 0 * B]]))
            sources = b2 * ones + Pv, (lam * inv_alpha) * Cb  # of v (teacher and initial noise), of vhat
            blocks = [sum(Y[i, j] @ sources[j] @ Y[i, j].T for j in (0, 1)) for i in (0, 1)]
            Cv, V = Cv + p * lam * blocks[0], V + p * blocks[1]
            Rvv, Rbar = Rvv + p * lam * Y[0, 1], Rbar + p * Y[1, 0]
        if config.centered:
            Rbar[:, 0] -= np.sum(Rbar, axis=1)
        if config.is_population or config.data == "onepass":
            RD = one
            Cd = Cv + noise if config.is_population else np.diag(np.diag(Cv + noise))
            Cb = Cd
        else:
            RD = np.linalg.inv(one - Rvv * inv_alpha)
            drawn = kappa * np.diag(np.diag(Cd))
            Cd = RD @ (Cv + noise) @ RD.T + (RD - one) @ drawn @ (RD - one).T
            Cb = RD @ (Cv + noise + drawn) @ RD.T
    return {"gen": np.diag(Cv), "train": np.diag(Cd), "Cv": Cv, "Cd": Cd, "V": V, "H": H, "G": G}


def _inverse(C: np.ndarray) -> np.ndarray:
    """(1 - C)^{-1} by blocks, (n, n, T, T)."""
    n, T = C.shape[0], C.shape[-1]
    flat = C.transpose(0, 2, 1, 3).reshape(n * T, n * T)
    return np.linalg.inv(np.eye(n * T) - flat).reshape(n, T, n, T).transpose(0, 2, 1, 3)
