"""The marching as the equations are printed: every matrix stored, every product a full vector-matrix product.

For plain networks on a fixed training set, full batch. What `dlntheory` does in fewer and smaller products is compared
with this, for its numbers and (in `benchmarks/mean_field.py`) for its time.
"""

import numpy as np

from dlntheory.theory.mean_field import MeanFieldConfig, memory


def march_plainly(config: MeanFieldConfig) -> dict[str, np.ndarray]:
    """gen, train and the last rows of Cv and V."""
    T, L, g0, alpha = config.T, config.L, config.gamma0, config.alpha
    k, d = memory(config)
    theta = [s2 * np.outer(d, d) for s2 in config.variances]
    zeros = lambda *shape: np.zeros((*shape, T, T))
    E, A, Pr, Pu, Rg, Q, Rh, S, G, H = (zeros(L) for _ in range(10))
    Pr[L - 1] = theta[L]
    lam, p, b2 = config.modes
    K = len(lam)
    M, U, W, J = (zeros(K) for _ in range(4))
    B, Pv, RD, Rvv, Cv, Cb, V = (zeros() for _ in range(7))
    m, w = np.zeros((K, T)), np.zeros((K, T))
    for t in range(T):
        n = t + 1
        for l in reversed(range(L)):
            if l == L - 1:
                E[l, t, :t] = g0 * k[t, :t]
            else:
                E[l, t, :t] = theta[l + 1][t, :t] * Rg[l + 1, t, :t] + g0 * k[t, :t] * G[l + 1, t, :t]
                Pr[l, t, :n] = theta[l + 1][t, :n] * G[l + 1, t, :n]
                Pr[l, :n, t] = Pr[l, t, :n]
            e = E[l, t, :t]
            Rg[l, t, :t] = e + (e @ A[l, :t, :t]) @ Rg[l, :t, :t]
            Q[l, t, :t] = Rg[l, t, :t] @ A[l, :t, :t]
            Q[l, t, t] = 1.0
            G[l, t, :n] = Q[l, :n, :n] @ (Pr[l, :n, :n] @ Q[l, t, :n])
            G[l, t, :n] += Rg[l, :n, :t] @ (Pu[l, :t, :t] @ Rg[l, t, :t])
            G[l, :n, t] = G[l, t, :n]
        B[t, :t] = theta[0][t, :t] * Rg[0, t, :t] / g0 + k[t, :t] * G[0, t, :t]
        Pv[t, :n] = theta[0][t, :n] * G[0, t, :n] / (g0**2 * config.nu)
        Pv[:n, t] = Pv[t, :n]
        row = np.zeros(n)
        for i in range(K):
            M[i, t, :t] = -lam[i] * (B[t, :t] @ RD[:t, :t]) @ M[i, :t, :t]
            M[i, t, t] = 1.0
            m[i, t] = np.sum(M[i, t, :n])
            U[i, t, :t] = -M[i, t, :n] @ B[:n, :t]
            row += p[i] * lam[i] * b2[i] * m[i, t] * m[i, :n]
            row += p[i] * lam[i] * (M[i, :n, :n] @ (Pv[:n, :n] @ M[i, t, :n]))
            row += p[i] * lam[i] ** 2 / alpha * (U[i, :n, :t] @ (Cb[:t, :t] @ U[i, t, :t]))
            Rvv[t, :t] += p[i] * lam[i] * U[i, t, :t]
        RD[t, :t] = (Rvv[t, :t] @ RD[:t, :t]) / alpha
        RD[t, t] = 1.0
        Cv[t, :n] = Cv[:n, t] = row
        Cb[t, :n] = RD[:n, :n] @ ((Cv[:n, :n] + config.sigma**2) @ RD[t, :n])
        Cb[:n, t] = Cb[t, :n]
        row, response = np.zeros(n), np.zeros(n)
        for i in range(K):
            W[i, t, :n] = lam[i] * RD[t, :n] @ M[i, :n, :n]
            J[i, t, :t] = lam[i] * RD[t, :n] @ U[i, :n, :t]
            J[i, t, t] = 1.0
            w[i, t] = np.sum(W[i, t, :n])
            row += p[i] * b2[i] * w[i, t] * w[i, :n]
            row += p[i] * (W[i, :n, :n] @ (Pv[:n, :n] @ W[i, t, :n]))
            row += p[i] * lam[i] / alpha * (J[i, :n, :n] @ (Cb[:n, :n] @ J[i, t, :n]))
            response += p[i] * W[i, t, :n]
        V[t, :n] = V[:n, t] = row
        for l in range(L):
            if l == 0:
                A[0, t, :n] = -theta[0][t, :n] * response / (g0 * config.nu) + g0 * k[t, :n] * V[t, :n]
                Pu[0, t, :n] = theta[0][t, :n] * V[t, :n]
            else:
                A[l, t, :n] = theta[l][t, :n] * Rh[l - 1, t, :n] + g0 * k[t, :n] * H[l - 1, t, :n]
                Pu[l, t, :n] = theta[l][t, :n] * H[l - 1, t, :n]
            Pu[l, :n, t] = Pu[l, t, :n]
            a = A[l, t, :n]
            # Rh = A + A E Rh: the row of Rh that is being filled enters with E(t, t) = 0, hence only past rows.
            Rh[l, t, :n] = a + (a @ E[l, :n, :t]) @ Rh[l, :t, :n]
            S[l, t, :t] = Rh[l, t, :n] @ E[l, :n, :t]
            S[l, t, t] = 1.0
            H[l, t, :n] = S[l, :n, :n] @ (Pu[l, :n, :n] @ S[l, t, :n])
            H[l, t, :n] += Rh[l, :n, :n] @ (Pr[l, :n, :n] @ Rh[l, t, :n])
            H[l, :n, t] = H[l, t, :n]
    return {"gen": np.diag(Cv), "train": np.diag(Cb), "Cv": Cv[-1], "V": V[-1], "H": H[-1, -1]}
